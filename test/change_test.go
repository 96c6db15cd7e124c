//go:build linux

package osltest

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/seed59451c2b/osl"
)

// A change says of which object it is, and what that was and is to be: the same in Diff
// and in Apply.
func TestChangesSayWhat(t *testing.T) {
	begin(t)
	lab := func(mtu int, address, via, forward, lladdr string) osl.Network {
		hw, err := netip.ParsePrefix(address)
		if err != nil {
			t.Fatal(err)
		}
		var mac osl.MAC
		if err := mac.UnmarshalText([]byte(lladdr)); err != nil {
			t.Fatal(err)
		}
		return osl.Network{Sandboxes: []osl.Spec{{Name: "said", Interfaces: []osl.InterfaceSpec{
			{Name: "br0", Type: "bridge", MTU: mtu, Addresses: []netip.Prefix{hw}}},
			Routes:    []osl.RouteSpec{{To: netip.MustParsePrefix("203.0.113.0/24"), Via: netip.MustParseAddr(via)}},
			Rules:     []osl.RuleSpec{{Priority: 9, Family: "ipv4", Table: 7}},
			Neighbors: []osl.NeighborSpec{{Dev: "br0", IP: netip.MustParseAddr(via), MAC: mac}},
			Sysctls:   map[string]string{"ipv4.ip_forward": forward}}}}
	}
	type said struct{ iface, object, before, after string }
	apply := func(n osl.Network, want ...said) {
		t.Helper()
		would, err := osl.Diff(t.Context(), n)
		must(t, err)
		did, err := osl.Apply(t.Context(), n)
		must(t, err)
		var got []said
		for i, c := range did {
			if c != would[i] {
				t.Errorf("Diff said %+v, and Apply did %+v", would[i], c)
			}
			if c.Sandbox != "said" {
				t.Errorf("it is of %q", c.Sandbox)
			}
			got = append(got, said{c.Interface, c.Object, c.Before, c.After})
		}
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("no change says %+v, but these: %+v", w, got)
			}
		}
	}
	apply(lab(1400, "10.0.0.1/24", "10.0.0.2", "1", "02:00:00:00:00:02"),
		said{"", "sandbox", "", ""},
		said{"br0", "link", "", "type bridge"},
		said{"br0", "address", "", "10.0.0.1/24"},
		said{"", "route", "", "203.0.113.0/24 via 10.0.0.2"},
		said{"", "rule", "", "priority 9 table 7"},
		said{"br0", "neighbor", "", "10.0.0.2 lladdr 02:00:00:00:00:02"},
		said{"", "setting", "", "ipv4.ip_forward=1"})
	apply(lab(1300, "10.0.0.7/24", "10.0.0.3", "0", "02:00:00:00:00:03"),
		said{"br0", "link", "mtu 1400", "mtu 1300"},
		said{"br0", "address", "", "10.0.0.7/24"},
		said{"br0", "address", "10.0.0.1/24", ""},
		said{"br0", "route", "203.0.113.0/24 via 10.0.0.2 dev br0", "203.0.113.0/24 via 10.0.0.3 dev br0"},
		said{"br0", "neighbor", "10.0.0.2 lladdr 02:00:00:00:00:02", ""},
		said{"", "setting", "ipv4.ip_forward=1", "ipv4.ip_forward=0"})
	gone, err := osl.Down(t.Context(), osl.Network{Sandboxes: []osl.Spec{{Name: "said"}}})
	if err != nil || len(gone) != 1 || gone[0].Kind != osl.ChangeRemove || gone[0].Object != "sandbox" {
		t.Errorf("%+v, %v", gone, err)
	}
}
