//go:build linux

package osltest

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"pgregory.net/rapid"

	"github.com/seed59451c2b/osl"
)

// TestSourceEdits is TestEdits for links of the host that networks take: they go from one
// name and one sandbox to another, and home, with what they had there.
func TestSourceEdits(t *testing.T) {
	begin(t)
	var sources []string
	for i := range 3 {
		dev := name("v")
		sources = append(sources, dev)
		must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs(dev), PeerName: dev + "p"}))
		defer func() { must(t, netlink.LinkDel(needLink(t, "", dev))) }()
		for _, end := range []string{dev, dev + "p"} {
			must(t, netlink.LinkSetUp(needLink(t, "", end)))
		}
		address, err := netlink.ParseAddr(fmt.Sprintf("10.9%d.0.1/24", i))
		must(t, err)
		must(t, netlink.AddrAdd(needLink(t, "", dev), address))
		must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: needLink(t, "", dev).Attrs().Index, Dst: ipnet(fmt.Sprintf("172.22.%d.0/24", i)), Gw: ip(fmt.Sprintf("10.9%d.0.9", i))}))
	}
	anyInput(t, 10, func(r *rapid.T) {
		d := drawer{T: r}
		first := everywhere(t)
		defer d.takesBack(t, first, everywhere)
		for range 5 {
			d.edit(t, edits{look: everywhere, draw: func() osl.Network { return d.taking(sources) }, holds: func(n osl.Network) { d.took(t, n) }})
		}
	})
}

// took compares the interfaces of a network with what the kernel has.
func (r *drawer) took(t *testing.T, n osl.Network) {
	for _, s := range n.Sandboxes {
		for _, f := range s.Interfaces {
			if l := needLink(t, "/run/netns/"+s.Name, f.Name); f.MTU != 0 && l.Attrs().MTU != f.MTU {
				r.Errorf("%s/%s has the MTU %d", s.Name, f.Name, l.Attrs().MTU)
			}
		}
	}
}

// taking draws a network that takes some links of the host, each into one of its sandboxes.
func (r *drawer) taking(sources []string) osl.Network {
	n := osl.Network{Name: "lab"}
	mine := rapid.Permutation(sources).Draw(r.T, "sources")
	for i, name := range []string{"sa", "sb", "sc"} {
		if r.sometimes(name, 3) {
			continue
		}
		s := osl.Spec{Name: name}
		for j, dev := range []string{"e0", "e1"} {
			f := osl.InterfaceSpec{Name: dev, AltNames: draw(r, "altnames", nil, nil, []string{"alt" + dev}, []string{"other" + dev, "alt" + dev})}
			switch kind := draw(r, "kind", "source", "source", "bridge", "none"); {
			case kind == "source" && len(mine) > 0:
				f.Source, mine = mine[0], mine[1:]
			case kind == "bridge":
				f.Type = "bridge"
			default:
				continue
			}
			r.addressed(&f, 10*i+j)
			r.settings(&f)
			r.routed(&f, 10*i+j)
			s.Interfaces = append(s.Interfaces, f)
		}
		n.Sandboxes = append(n.Sandboxes, s)
	}
	return n
}

// routed draws whether a link is down, or has a route.
func (r *drawer) routed(f *osl.InterfaceSpec, subnet int) {
	f.Down = r.sometimes("down", 5)
	if !f.Down && r.sometimes("route", 2) {
		f.Routes = append(f.Routes, netip.MustParsePrefix(fmt.Sprintf("172.21.%d.0/24", subnet)))
	}
}
