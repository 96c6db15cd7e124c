package plan

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// ofLink are the names among Kind.Fields that are no part of rtnl.LinkData.
var ofLink = []string{"parent", "peer"}

// A name that is none, or a field that no name stands for, would be passed over without a
// word.
func TestFieldsAreKnown(t *testing.T) {
	used := map[string]bool{}
	for _, k := range Kinds {
		for _, name := range k.Fields {
			used[name] = true
			if fieldOf(name) == nil && !slices.Contains(ofLink, name) {
				t.Errorf("%s has the field %q, which is none", k.Name, name)
			}
		}
		for _, name := range k.InPlace {
			if !slices.Contains(k.Fields, name) || fieldOf(name) == nil {
				t.Errorf("%s changes %q in place, which is no field of it", k.Name, name)
			}
		}
		for name := range k.Words {
			if !slices.Contains(k.Fields, name) {
				t.Errorf("%s has words for %q, which is no field of it", k.Name, name)
			}
		}
		for _, name := range Given(&k.Defaults) {
			if !slices.Contains(k.Fields, name) {
				t.Errorf("%s has a default of %q, which is no field of it", k.Name, name)
			}
		}
	}
	for _, x := range fields {
		if !used[x.name] {
			t.Errorf("no type has the field %q", x.name)
		}
	}
	names := map[string]string{}
	for f := range reflect.TypeFor[rtnl.LinkData]().Fields() {
		if f.Name == "Secondary" { // is read, and never asked for
			continue
		}
		var d rtnl.LinkData
		switch v := reflect.ValueOf(&d).Elem().FieldByIndex(f.Index); p := v.Addr().Interface().(type) {
		case *int:
			*p = 7
		case *string:
			*p = "7"
		case *bool:
			*p = true
		case *netip.Addr:
			*p = netip.IPv6LinkLocalAllNodes()
		default:
			t.Errorf("field knows no %s, the type of LinkData.%s", f.Type, f.Name)
			continue
		}
		list := Given(&d)
		if len(list) != 1 || names[list[0]] != "" {
			t.Errorf("LinkData.%s is the fields %q, and not one of its own", f.Name, list)
			continue
		}
		names[list[0]] = f.Name
		var c rtnl.LinkData
		if fieldOf(list[0]).copy(&c, &d); !reflect.DeepEqual(c, d) {
			t.Errorf("LinkData.%s is not copied", f.Name)
		}
	}
}

// A field of which a file may say nothing is dropped where it says no more: a tag has it, in a
// place that no other field of the type has.
func TestFieldsAreDropped(t *testing.T) {
	needed := []string{"vni", "vlan", "table", "peer"}
	for _, k := range Kinds {
		at := map[int]string{}
		for _, name := range k.Fields {
			place, is := askedFields[name]
			given := slices.Contains(Given(&k.Defaults), name) || slices.Contains(needed, name)
			if is == given {
				t.Errorf("the %s of %s is asked for %v, and may be dropped %v", name, A(k.Name), given, is)
			}
			if other := at[place]; is && other != "" {
				t.Errorf("the %s and the %s of %s have one place", name, other, A(k.Name))
			} else if is {
				at[place] = name
			}
		}
	}
}

// What makes a link of a type, and what is changed of one, is told to the kernel and read
// as it is told. Those of a tun are given to the device.
func TestFieldsAreTold(t *testing.T) {
	samples := map[string]string{"ingress_qos_map": "1:2", "egress_qos_map": "3:4", "learning": "off"}
	for _, k := range Kinds {
		if k.byDevice {
			continue
		}
		var d rtnl.LinkData
		for _, name := range k.Fields {
			x := fieldOf(name)
			if x == nil {
				continue
			}
			switch p := x.at(&d).(type) {
			case *int:
				*p = 7
			case *bool:
				*p = true
			case *netip.Addr:
				*p = netip.AddrFrom4([4]byte{10, 0, 0, 7})
				if strings.HasPrefix(k.Name, "ip6") {
					*p = netip.MustParseAddr("fd00::7")
				}
			case *string:
				if *p = samples[name]; k.Words[name] != nil {
					*p = k.Words[name][len(k.Words[name])-1]
				}
			}
			if x.text(&d) == "" {
				t.Errorf("the test has no sample of %q", name)
			}
		}
		n := rtnl.LinkNew{Index: 1, Name: "e0", Kind: k.Name, Data: d}
		if k.Pair {
			n.Peer = &rtnl.Peer{Name: "e1"}
		}
		made := rtnl.ParseLink(rtnl.NewLink(n).Data)
		for _, name := range k.Fields {
			if x := fieldOf(name); x != nil && x.text(&made.Data) != x.text(&d) {
				t.Errorf("%s is made with the %s %q, and was to be with %q", A(k.Name), name, x.text(&made.Data), x.text(&d))
			}
		}
		if len(k.InPlace) == 0 {
			continue
		}
		changed := rtnl.ParseLink(rtnl.ChangeLink(1, k.Name, d, 0, 0).Data)
		for _, name := range k.InPlace {
			if x := fieldOf(name); x.text(&changed.Data) != x.text(&d) {
				t.Errorf("of %s the %s is changed to %q, and was to be to %q", A(k.Name), name, x.text(&changed.Data), x.text(&d))
			}
		}
	}
}
