//go:build linux

package osltest

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/seed59451c2b/osl"
)

// Where a vxlan sends what is for all may be told by a routing daemon: that stays, and
// is no difference. Where the network says it, that is all of it.
func TestFloodsOfOthers(t *testing.T) {
	begin(t)
	a := netip.MustParseAddr
	vx := osl.InterfaceSpec{Name: "vx0", Type: "vxlan", VNI: 7, Local: a("192.0.2.1")}
	n := osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "leaf", Interfaces: []osl.InterfaceSpec{vx}}}}
	defer func() { _, err := osl.Down(t.Context(), n); must(t, err) }()
	remotes := func() (list []string) {
		for _, e := range asked[[]struct{ MAC, Dst string }](t, "/run/netns/leaf", "bridge", "-json", "fdb", "show", "dev", "vx0") {
			if e.MAC == "00:00:00:00:00:00" {
				list = append(list, e.Dst)
			}
		}
		slices.Sort(list)
		return list
	}
	says := func(what string, changes int, want ...string) {
		t.Helper()
		diff, err := osl.Diff(t.Context(), n)
		must(t, err)
		if len(diff) != changes {
			t.Errorf("%s: Diff says %v, want %d changes", what, diff, changes)
		}
		_, err = osl.Apply(t.Context(), n)
		must(t, err)
		if got := remotes(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
		diff, err = osl.Diff(t.Context(), n)
		must(t, err)
		if len(diff) != 0 {
			t.Errorf("%s: after Apply Diff says %v", what, diff)
		}
	}
	add := func(ip string) {
		t.Helper()
		nsenter(t, "/run/netns/leaf", "bridge", "fdb", "append", "00:00:00:00:00:00", "dst", ip, "dev", "vx0")
	}
	_, err := osl.Apply(t.Context(), n)
	must(t, err)
	add("192.0.2.2")
	says("another's", 0, "192.0.2.2")
	n.Sandboxes[0].Interfaces[0].Remotes = []netip.Addr{a("192.0.2.3"), a("192.0.2.4")}
	says("those of the network", 3, "192.0.2.3", "192.0.2.4")
	add("192.0.2.9") // which takes the mark of the others, too
	says("one more", 3, "192.0.2.3", "192.0.2.4")
	n.Sandboxes[0].Interfaces[0].Remotes = nil
	says("none any more", 2)
	add("192.0.2.2")
	says("another's again", 0, "192.0.2.2")
}
