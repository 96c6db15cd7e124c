//go:build linux

package osltest

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"pgregory.net/rapid"

	"github.com/seed59451c2b/osl"
)

// TestSourceEdits is TestEdits for links of the host that networks take: they go from one
// name to another, and home, with what they had there. From one sandbox to another takes two
// changes (docs/reliability.md).
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
	draws(t, 10, 2)
	rapid.Check(t, func(r *rapid.T) {
		first := everywhere(t)
		defer func() {
			if _, err := osl.Down(t.Context(), osl.Network{Name: "lab"}); err != nil {
				r.Fatalf("down: %v", err)
			}
			if left := differs(t, first, everywhere); left != "" {
				r.Fatalf("after Down: %s", left)
			}
		}()
		d := drawer{T: r}
		for range 5 {
			n := d.taking(sources)
			text, _ := json.Marshal(n)
			r.Logf("apply %s", text)
			would, err := osl.Diff(t.Context(), n)
			if err != nil {
				r.Fatalf("diff: %v", err)
			}
			did, err := osl.Apply(t.Context(), n)
			if err != nil || would.String() != did.String() {
				r.Fatalf("apply: %v\n%s\ndiff had said\n%s", err, did, would)
			}
			if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
				r.Fatalf("diff after that: %v\n%s", err, c)
			}
			for _, s := range n.Sandboxes {
				for _, f := range s.Interfaces {
					if l := needLink(t, "/run/netns/"+s.Name, f.Name); f.MTU != 0 && l.Attrs().MTU != f.MTU {
						r.Errorf("%s/%s has the MTU %d", s.Name, f.Name, l.Attrs().MTU)
					}
				}
			}
			bad := d.taking(sources)
			if !d.spoil(&bad) {
				continue
			}
			text, _ = json.Marshal(bad)
			r.Logf("a failing apply %s", text)
			before := everywhere(t)
			if did, err := osl.Apply(t.Context(), bad); err == nil {
				r.Fatalf("it did not fail:\n%s", did)
			}
			if changed := differs(t, before, everywhere); changed != "" {
				r.Fatalf("a change that failed has changed %s", changed)
			}
		}
	})
}

// taking draws a network that takes some links of the host, each into one sandbox.
func (r *drawer) taking(sources []string) osl.Network {
	n := osl.Network{Name: "lab"}
	for i, name := range []string{"sa", "sb"} {
		mine := [][]string{{sources[0], sources[2]}, {sources[1]}}[i]
		mine = rapid.Permutation(mine).Draw(r.T, "sources")
		if r.sometimes(name, 3) {
			continue
		}
		s := osl.Spec{Name: name}
		for j, dev := range []string{"e0", "e1"} {
			f := osl.InterfaceSpec{Name: dev}
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
			f.Down = r.sometimes("down", 5)
			if !f.Down && r.sometimes("route", 2) {
				f.Routes = append(f.Routes, netip.MustParsePrefix(fmt.Sprintf("172.21.%d.0/24", 10*i+j)))
			}
			s.Interfaces = append(s.Interfaces, f)
		}
		n.Sandboxes = append(n.Sandboxes, s)
	}
	return n
}
