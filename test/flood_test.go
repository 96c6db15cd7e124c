//go:build linux

package osltest

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
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

// A vxlan that gets another parent, a first one or none sends as a new one there does, by
// that and by no other: to its remote, to those beside it, and to others in its place.
// Where the change fails, it sends as before. The parent that it had may go in the same
// change.
func TestVXLANSendsByItsParent(t *testing.T) {
	w := begin(t)
	a := netip.MustParseAddr
	hosts := []string{osl.HostName + "/" + w.parent(), osl.HostName + "/" + w.parent()}
	forms := map[string]struct {
		f      osl.InterfaceSpec
		others []osl.NeighborSpec
		both   bool // there is the other parent, too
	}{
		"a remote": {f: osl.InterfaceSpec{Remote: a("192.0.2.1")}},
		"a remote beside entries": {both: true, f: osl.InterfaceSpec{Remote: a("192.0.2.1")}, others: []osl.NeighborSpec{
			{IP: a("192.0.2.2"), MAC: make(osl.MAC, 6), FDB: true}, {IP: a("192.0.2.3"), MAC: osl.MAC{2, 0, 0, 0, 0, 7}, FDB: true}}},
		"remotes": {f: osl.InterfaceSpec{Remotes: []netip.Addr{a("192.0.2.1"), a("192.0.2.2")}}},
		"IPv6":    {f: osl.InterfaceSpec{Remote: a("2001:db8::7"), Local: a("2001:db8::1")}},
		"a group": {both: true, f: osl.InterfaceSpec{Remote: a("239.1.1.1")}},
	}
	lab := func(key, form, parent string, vni int, more ...osl.RouteSpec) osl.Network {
		x := forms[form]
		x.f.Name, x.f.Type, x.f.VNI, x.f.Parent = "k0", "vxlan", vni, parent
		s := osl.Spec{Name: key, Interfaces: []osl.InterfaceSpec{x.f}, Routes: more}
		for _, name := range []string{"e0", "e1"} {
			if x.both || parent == name {
				s.Interfaces = append(s.Interfaces, osl.InterfaceSpec{Name: name, Type: "bridge", IPv6: "link-local"})
			}
		}
		for _, n := range x.others {
			n.Dev = "k0"
			s.Neighbors = append(s.Neighbors, n)
		}
		return osl.Network{Name: filepath.Base(key), Sandboxes: []osl.Spec{s}}
	}
	sends := func(key string) []string {
		list := strings.Split(nsenter(t, key, "bridge", "fdb", "show", "dev", "k0"), "\n")
		slices.Sort(list)
		of := settingsSaid(t, key, "k0")["linkinfo"].(map[string]any)["info_data"].(map[string]any)
		delete(of, "id")
		return append(list, fmt.Sprint(of))
	}
	change := func(form, from, to string) {
		what := fmt.Sprintf("%s, from %q to %q", form, from, to)
		key, fresh := newKey(), newKey()
		defer func() {
			for _, key := range []string{key, fresh} {
				_, err := osl.Down(t.Context(), osl.Network{Name: filepath.Base(key)})
				must(t, err)
			}
		}()
		settled(t, lab(key, form, from, 5))
		before := sends(key)
		if _, err := osl.Apply(t.Context(), lab(key, form, to, 5, noRoute()...)); err == nil || errors.Is(err, osl.ErrIncomplete) {
			t.Errorf("%s: it did not fail: %v", what, err)
		}
		if got := sends(key); !slices.Equal(got, before) {
			t.Errorf("%s: after a change that failed it sends\n%q, before\n%q", what, got, before)
		}
		settled(t, lab(key, form, to, 5))
		settled(t, lab(fresh, form, to, 6))
		if got, want := sends(key), sends(fresh); !slices.Equal(got, want) {
			t.Errorf("%s: it sends\n%q, a new one\n%q", what, got, want)
		}
	}
	for form := range forms {
		parents := []string{"e0", "e1"}
		if form != "a group" { // which needs one
			parents = append(parents, "")
		}
		if form != "IPv6" { // which those on the host are without
			parents = append(parents, hosts...)
		}
		for _, from := range parents {
			for _, to := range parents {
				if from != to {
					change(form, from, to)
				}
			}
		}
	}
}
