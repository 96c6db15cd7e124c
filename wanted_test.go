package osl

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/seed59451c2b/osl/internal/stand"
	"github.com/seed59451c2b/osl/internal/wgkey"
)

// fill gives every field of a structure a value, each another one where it can.
func fill(v reflect.Value, n *int) {
	*n++
	switch p := v.Addr().Interface().(type) {
	case *netip.Addr:
		*p = netip.AddrFrom4([4]byte{10, 0, byte(*n >> 8), byte(*n)})
		return
	case *netip.Prefix:
		*p = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(*n >> 8), byte(*n)}), 24)
		return
	case *netip.AddrPort:
		*p = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(*n >> 8), byte(*n)}), uint16(*n))
		return
	case *time.Time:
		*p = time.Unix(int64(*n), 0)
		return
	case *SecretKey:
		*p = NewSecretKey([32]byte{byte(*n >> 8), byte(*n)})
		return
	case *wgkey.Secret:
		*p = wgkey.NewSecret([32]byte{byte(*n >> 8), byte(*n)})
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), n)
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, n)
		fill(value, n)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("text " + string(rune('a'+*n%26)) + time.Duration(*n).String())
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(1 + *n%249))
	case reflect.Float64:
		v.SetFloat(float64(*n))
	default:
		panic(v.Type())
	}
}

// unset returns the first field, as a path, that has no value.
func unset(v reflect.Value, path string) string {
	if v.IsZero() {
		return path
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				if at := unset(v.Field(i), path+"."+f.Name); at != "" {
					return at
				}
			}
		}
	case reflect.Pointer:
		return unset(v.Elem(), path)
	case reflect.Slice:
		return unset(v.Index(0), path+"[]")
	case reflect.Map:
		return unset(v.MapIndex(v.MapKeys()[0]), path+"[]")
	}
	return ""
}

// Nothing that a Network says is lost on the way to package want and back, nor gets into
// another field.
func TestAllThatIsWantedIsHandedOver(t *testing.T) {
	var net Network
	n := 0
	fill(reflect.ValueOf(&net).Elem(), &n)
	if at := unset(reflect.ValueOf(net), "Network"); at != "" {
		t.Fatalf("%s was not filled", at)
	}
	net.Checks = nil // they are the command's
	w := net.wanted()
	if back := networkOf(w); !reflect.DeepEqual(back, net) {
		t.Errorf("of\n%+v\ncame back\n%+v", net, back)
	}
	w.Host = true // said by the engine
	if at := unset(reflect.ValueOf(w), "Network"); at != "" {
		t.Errorf("want.%s is never said", at)
	}
	var c LinkChange
	fill(reflect.ValueOf(&c).Elem(), &n)
	if at := unset(reflect.ValueOf(c.wanted()), "LinkChange"); at != "" {
		t.Errorf("want.%s is never said", at)
	}
}

// Every field of a Status is told.
func TestAllThatStandsIsHandedOver(t *testing.T) {
	var s stand.Sandbox
	n := 0
	fill(reflect.ValueOf(&s).Elem(), &n)
	if at := unset(reflect.ValueOf(*statusOf(&s)), "Status"); at != "" {
		t.Errorf("%s is never told", at)
	}
}
