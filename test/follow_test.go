//go:build linux

package osltest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/seed59451c2b/osl"
)

// following is a network of a link with an MTU, 0 for none said, and others on it, of types
// that this kernel has: in its sandbox, and on its other end, on the host. Those that are
// called n… have an MTU of their own.
func following(mtu int, kinds ...string) osl.Network {
	onHost := osl.Endpoint{Sandbox: osl.HostName, Interface: "h"}
	s := osl.Spec{Name: "sa", Interfaces: []osl.InterfaceSpec{{Name: "e", Type: "veth", MTU: mtu, Peer: onHost, Addresses: prefixes("10.1.0.1/24", "fd01::1/64")}}}
	for i, kind := range kinds {
		f := osl.InterfaceSpec{Type: kind, Parent: "e"}
		add := func(name string, change func(*osl.InterfaceSpec)) {
			g := f
			g.Name = fmt.Sprint(name, i)
			change(&g)
			s.Interfaces = append(s.Interfaces, g)
		}
		net := func(n int, f *osl.InterfaceSpec) {
			f.Addresses = prefixes(fmt.Sprintf("10.%d.%d.1/24", n, i), fmt.Sprintf("fd%02d:%d::1/64", n, i))
		}
		switch kind {
		case "macvlan", "vlan":
			tag := func(f *osl.InterfaceSpec, n int) {
				if kind == "vlan" {
					f.VLAN = n
				}
			}
			add("f", func(f *osl.InterfaceSpec) { net(2, f); tag(f, 2) })
			add("g", func(f *osl.InterfaceSpec) { f.Parent = fmt.Sprint("f", i); net(3, f); tag(f, 3) })
			add("n", func(f *osl.InterfaceSpec) { f.MTU = 1300; tag(f, 4) })
			add("m", func(f *osl.InterfaceSpec) { tag(f, 6) }) // by hand
			if kind == "macvlan" {
				add("x", func(f *osl.InterfaceSpec) { f.Parent = "host/h" })
			}
		case "vxlan":
			add("f", func(f *osl.InterfaceSpec) { f.VNI = 7; net(4, f) })
			add("n", func(f *osl.InterfaceSpec) { f.VNI, f.MTU = 8, 1300 })
			add("m", func(f *osl.InterfaceSpec) { f.VNI = 9 })
			add("x", func(f *osl.InterfaceSpec) { f.VNI, f.Parent = 10, "host/h" })
			if i > 0 {
				add("g", func(f *osl.InterfaceSpec) { f.VNI, f.Parent, f.Port = 7, fmt.Sprint("g", i-1), 4790 })
			}
		case "gre", "ipip":
			add("f", func(f *osl.InterfaceSpec) {
				f.Local, f.Remote = netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.1.0.9")
			})
			add("n", func(f *osl.InterfaceSpec) {
				f.Local, f.Remote, f.MTU = netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.1.0.8"), 1300
			})
			add("m", func(f *osl.InterfaceSpec) {
				f.Local, f.Remote = netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.1.0.7")
			})
		}
	}
	return osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: osl.HostName, Interfaces: []osl.InterfaceSpec{{Name: "h"}}}, s}}
}

// A link without an MTU has that of what it is on, after an edit as when it is new; one that
// has its own, by the file or by hand, keeps it. What fails leaves all as it was.
func mtuFollows(t *testing.T, kinds ...string) {
	begin(t)
	lab(t, nil)
	key := osl.GenerateKey("sa")
	mtus := func() (all []string) {
		for _, l := range links(t, key) {
			all = append(all, fmt.Sprint(l.Attrs().Name, " ", l.Attrs().MTU))
		}
		slices.Sort(all)
		return all
	}
	fresh := map[int][]string{}
	sizes := []int{0, 9000, 1600, 1400, 0, 2000}
	for _, mtu := range sizes {
		if fresh[mtu] != nil {
			continue
		}
		_, err := osl.Apply(t.Context(), following(mtu, kinds...))
		for _, kind := range kinds {
			lacks(t, kind, err)
		}
		must(t, err)
		fresh[mtu] = mtus()
		_, err = osl.Down(t.Context(), osl.Network{Name: "lab"})
		must(t, err)
	}
	settled(t, following(0, kinds...))
	byHand := map[string]bool{}
	witness(t, key, func(h *netlink.Handle) {
		for _, l := range links(t, key) {
			if name := l.Attrs().Name; strings.HasPrefix(name, "m") {
				byHand[name] = true
				must(t, h.LinkSetMTU(l, 1340))
			}
		}
	})
	for _, mtu := range sizes[1:] {
		before, beside := snapshot(t, key), mtus()
		if _, err := osl.Apply(t.Context(), failing(following(mtu, kinds...))); err == nil || strings.Contains(err.Error(), "left behind") {
			t.Errorf("to %d, which fails: %v", mtu, err)
		}
		same(t, fmt.Sprintf("to %d, which fails: the sandbox", mtu), before, func() []string { return snapshot(t, key) })
		same(t, fmt.Sprintf("to %d, which fails: MTUs", mtu), beside, mtus)
		settled(t, following(mtu, kinds...))
		for i, now := range mtus() {
			if name, _, _ := strings.Cut(now, " "); byHand[name] {
				if now != name+" 1340" {
					t.Errorf("to %d: %s, which by hand was given 1340", mtu, now)
				}
			} else if now != fresh[mtu][i] {
				t.Errorf("to %d: %s, and new %s", mtu, now, fresh[mtu][i])
			}
		}
	}
}

func TestMTUFollows(t *testing.T) { mtuFollows(t, "macvlan", "vxlan") }
func TestFeatureMTUFollows(t *testing.T) {
	for _, kind := range []string{"vlan", "gre", "ipip"} {
		t.Run(kind, func(t *testing.T) { mtuFollows(t, kind) })
	}
	t.Run("vlan and vxlan", func(t *testing.T) { mtuFollows(t, "vlan", "vxlan") })
}
