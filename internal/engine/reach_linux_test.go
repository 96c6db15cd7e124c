package engine_test

import (
	"net"
	"net/netip"
	"reflect"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/engine"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/want"
)

// engineOf opens what a handle of the root is about, for as long as the test runs.
func engineOf(t testing.TB, n *osl.Namespace) *engine.Namespace {
	t.Helper()
	e, err := engine.OpenAt(n.Key())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// connOf returns a socket in the sandbox of a handle.
func connOf(t testing.TB, n *osl.Namespace) *netlink.Conn {
	t.Helper()
	return engineOf(t, n).Conn()
}

// wanted is a network as the root hands it to the engine.
func wanted(net osl.Network) (w want.Network) {
	copyTo(reflect.ValueOf(&w).Elem(), reflect.ValueOf(net))
	return w
}

// copyTo copies what has the same name or place.
func copyTo(to, from reflect.Value) {
	switch {
	case from.Type().ConvertibleTo(to.Type()):
		to.Set(from.Convert(to.Type()))
	case to.Kind() == reflect.Struct:
		for i := range to.NumField() {
			if f := from.FieldByName(to.Type().Field(i).Name); f.IsValid() { // else the engine's own
				copyTo(to.Field(i), f)
			}
		}
	case to.Kind() == reflect.Slice:
		for i := range from.Len() {
			to.Set(reflect.Append(to, reflect.Zero(to.Type().Elem())))
			copyTo(to.Index(i), from.Index(i))
		}
	case to.Kind() == reflect.Array:
		for i := range from.Len() {
			copyTo(to.Index(i), from.Index(i))
		}
	case to.Kind() == reflect.Map:
		for k, v := range from.Seq2() {
			if to.IsNil() {
				to.Set(reflect.MakeMap(to.Type()))
			}
			x := reflect.New(to.Type().Elem()).Elem()
			copyTo(x, v)
			to.SetMapIndex(k, x)
		}
	case to.Kind() == reflect.Pointer:
		if !from.IsNil() {
			to.Set(reflect.New(to.Type().Elem()))
			copyTo(to.Elem(), from.Elem())
		}
	default:
		panic("no way from " + from.Type().String() + " to " + to.Type().String())
	}
}

// setters are those of the options of neighbors.
var setters = (*osl.Namespace)(nil).NeighborOptions()

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
