package want

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// addressesOf returns what the interfaces of a network have when it is written out.
func addressesOf(t *testing.T, net *Network) map[string]string {
	t.Helper()
	w, err := net.written(keys)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range w.Sandboxes {
		for _, f := range s.Interfaces {
			if len(f.Addresses) > 0 {
				got[s.Name+"/"+f.Name] = strings.Trim(fmt.Sprint(f.Addresses), "[]")
			}
		}
	}
	return got
}

// Who has no address of a subnet's family gets the first that is free: on a segment,
// on a link, and elsewhere each by itself.
func TestNumber(t *testing.T) {
	net := &Network{
		Name:     "n",
		Segments: []Segment{{"blue", prefixes("10.0.0.0/24", "fd00::/64")}, {Name: "green"}},
		Links:    []Link{{{"b", "p2p"}, {"a", "p2p"}}},
		Sandboxes: []Sandbox{
			{Name: "a", Interfaces: []Iface{
				{Name: "e0", Segment: "blue"}, {Name: "e1", Segment: "green"}, {Name: "p2p", Subnet: prefixes("10.9.0.0/31")},
				{Name: "br0", Type: "bridge", Subnet: prefixes("10.8.0.0/24")},
			}},
			{Name: "b", Interfaces: []Iface{
				{Name: "e0", Segment: "blue", Addresses: prefixes("10.0.0.2/24")}, {Name: "p2p", Subnet: prefixes("10.9.0.0/31")},
				{Name: "e1", Segment: "green", Subnet: prefixes("10.0.0.0/24")}, {Name: "d0", Type: "dummy", Subnet: prefixes("10.8.0.0/24")},
			}},
			{Name: "c", Interfaces: []Iface{{Name: "e0", Segment: "blue"}, {Name: "e1", Segment: "blue", Master: "br0"}, {Name: "br0", Type: "bridge", Addresses: prefixes("10.8.0.1/24", "fd00::9/64")}}},
		},
	}
	want := map[string]string{
		"a/e0": "10.0.0.1/24 fd00::1/64", "b/e0": "10.0.0.2/24 fd00::2/64", "c/e0": "10.0.0.3/24 fd00::3/64",
		"b/p2p": "10.9.0.0/31", "a/p2p": "10.9.0.1/31", "b/e1": "10.0.0.1/24", "a/br0": "10.8.0.2/24", "b/d0": "10.8.0.3/24", "c/br0": "10.8.0.1/24 fd00::9/64",
	}
	if got := addressesOf(t, net); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	// What was asked for is as it was, and an interface at the end moves nobody.
	if net.Sandboxes[0].Interfaces[0].Addresses != nil || len(net.Sandboxes) != 3 {
		t.Errorf("the network was changed: %+v", net)
	}
	net.Sandboxes = append(net.Sandboxes, Sandbox{Name: "d", Interfaces: []Iface{{Name: "e0", Segment: "blue"}}})
	want["d/e0"] = "10.0.0.4/24 fd00::4/64"
	if got := addressesOf(t, net); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// A subnet has as many addresses as interfaces can have.
func TestFree(t *testing.T) {
	for subnet, want := range map[string]string{
		"10.0.0.0/30": "10.0.0.1 10.0.0.2", "10.0.0.0/31": "10.0.0.0 10.0.0.1", "10.0.0.7/32": "10.0.0.7", "255.255.255.252/30": "255.255.255.253 255.255.255.254",
		"fd00::/126": "fd00::1 fd00::2 fd00::3", "fd00::/127": "fd00:: fd00::1", "fd00::1/128": "fd00::1",
	} {
		var got []string
		var from netip.Addr
		for {
			a, ok := free(netip.MustParsePrefix(subnet), from, func(netip.Addr) bool { return false })
			if !ok {
				break
			}
			got, from = append(got, a.String()), a.Next()
			if !from.IsValid() {
				break
			}
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: %s, want %s", subnet, s, want)
		}
	}
}

// The bridges of all segments are in one sandbox, with a port for each interface.
func TestSegments(t *testing.T) {
	net := &Network{Name: "n", Sandboxes: []Sandbox{
		{Name: "a", Interfaces: []Iface{{Name: "e0", Segment: "blue", MTU: 1400}, {Name: "lo"}}},
		{Name: "long-name-of-b", Interfaces: []Iface{{Name: "e0", Segment: "green"}, {Name: "e1", Segment: "blue", Type: "veth"}}},
	}}
	w, err := net.written(keys)
	if err != nil {
		t.Fatal(err)
	}
	room := w.Sandboxes[2]
	var got []string
	for _, f := range room.Interfaces {
		got = append(got, strings.TrimSpace(f.Name+" "+f.Type+f.Master))
	}
	if list := strings.Join(got, ", "); room.Name != "n.segments" || list != "blue bridge, a.e0 blue, green bridge, "+portName("long-name-of-b", "e0")+" green, "+portName("long-name-of-b", "e1")+" blue" {
		t.Errorf("%s: %s", room.Name, list)
	}
	if p := w.Sandboxes[0].Interfaces[0]; p.Peer != (Endpoint{"n.segments", "a.e0"}) || p.Segment != "" {
		t.Errorf("got %+v", p)
	}
	plain := &Network{Sandboxes: []Sandbox{{Name: "a"}}}
	if w, err := plain.written(keys); w != plain || err != nil {
		t.Errorf("a network without segments is another: %v, %v", w, err)
	}
	names := map[string]bool{}
	for _, e := range []Endpoint{{"a", "b.c"}, {"a.b", "c"}, {"a", "b"}, {"/run/a", "b"}, {"%", "b"}, {"ö ü", "b"}, {strings.Repeat("x", 200), "eth0"}, {strings.Repeat("x", 201), "eth0"}} {
		name := portName(e.Sandbox, e.Interface)
		if err := ValidName(name); err != nil || names[name] {
			t.Errorf("%v: %s, %v", e, name, err)
		}
		names[name] = true
	}
}

func TestBadSegments(t *testing.T) {
	for want, net := range map[string]*Network{
		"its network has a name":            {Sandboxes: []Sandbox{{Name: "a", Interfaces: []Iface{{Name: "e", Segment: "s"}}}}},
		"only a veth":                       {Name: "n", Sandboxes: []Sandbox{{Name: "a", Interfaces: []Iface{{Name: "e", Segment: "s", Type: "bridge"}}}}},
		"end of a link already":             {Name: "n", Links: []Link{{{"a", "e"}, {"host", "x"}}}, Sandboxes: []Sandbox{{Name: "a", Interfaces: []Iface{{Name: "e", Segment: "s"}}}}},
		`"red" is none of them`:             {Name: "n", Segments: []Segment{{Name: "rad"}}, Sandboxes: []Sandbox{{Name: "a", Interfaces: []Iface{{Name: "e", Segment: "red"}}}}},
		"call this one otherwise":           {Name: "n", Sandboxes: []Sandbox{{Name: "n.segments", Interfaces: []Iface{{Name: "e", Segment: "s"}}}}},
		"there twice":                       {Name: "n", Segments: []Segment{{Name: "a"}, {Name: "a"}}},
		"has a slash":                       {Name: "n", Segments: []Segment{{Name: "a/b"}}},
		"its subnet is 10.0.0.0/24":         {Name: "n", Segments: []Segment{{"a", prefixes("10.0.0.1/24")}}},
		"is no subnet":                      {Name: "n", Segments: []Segment{{"a", []netip.Prefix{{}}}}},
		"has no addresses for interfaces":   {Name: "n", Segments: []Segment{{"a", prefixes("224.0.0.0/8")}}},
		"10.0.0.4/32 has no address left":   {Sandboxes: []Sandbox{{Name: "a", Interfaces: []Iface{{Name: "e", Type: "dummy", Subnet: prefixes("10.0.0.4/32")}, {Name: "f", Type: "dummy", Subnet: prefixes("10.0.0.4/32")}}}}},
		`the segment "s" has more than the`: nil,
	} {
		if net == nil {
			want = "more interfaces than the 1023 ports"
			net = &Network{Name: "n", Sandboxes: []Sandbox{{Name: "a"}}}
			for i := range maxPorts + 1 {
				net.Sandboxes[0].Interfaces = append(net.Sandboxes[0].Interfaces, Iface{Name: fmt.Sprint("e", i), Segment: "s"})
			}
		}
		if _, err := net.Plan(keys); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
	if _, err := (&Iface{Name: "e", Segment: "s"}).plan(); err == nil {
		t.Error("a single interface is on a segment")
	}
}
