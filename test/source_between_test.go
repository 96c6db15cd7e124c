//go:build linux

package osltest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/seed59451c2b/osl"
)

// A link of the host goes from one sandbox to another in one change, whatever it is, and
// home from there with what it had there when it left.
func TestSourceToAnotherSandbox(t *testing.T) {
	for _, kind := range []string{"veth", "vxlan", "dummy"} {
		t.Run(kind, func(t *testing.T) {
			begin(t)
			dev := name("v")
			link := netlink.Link(&netlink.Veth{LinkAttrs: attrs(dev), PeerName: dev + "p"})
			switch kind {
			case "vxlan":
				link = &netlink.Vxlan{LinkAttrs: attrs(dev), VxlanId: 77, Port: 4789}
			case "dummy":
				link = &netlink.Dummy{LinkAttrs: attrs(dev)}
			}
			if err := netlink.LinkAdd(link); kind == "dummy" && err != nil {
				t.Skip("this kernel makes no dummy: ", err)
			} else {
				must(t, err)
			}
			defer func() { must(t, netlink.LinkDel(needLink(t, "", dev))) }()
			for _, end := range []string{dev, dev + "p"} {
				if linkOf(t, "", end) != nil {
					must(t, netlink.LinkSetUp(needLink(t, "", end)))
				}
			}
			address, err := netlink.ParseAddr("10.91.0.1/24")
			must(t, err)
			must(t, netlink.AddrAdd(needLink(t, "", dev), address))
			must(t, netlink.LinkSetAlias(needLink(t, "", dev), "mine"))
			movesAbout(t, dev)
		})
	}
}

// movesAbout takes a link of the host through sandboxes under several names.
func movesAbout(t *testing.T, dev string) {
	first := everywhere(t)
	lab := func(sandboxes ...string) osl.Network { // each with the name of the link there, if it has it
		n := osl.Network{Name: "lab"}
		for i, text := range sandboxes {
			name, as, has := strings.Cut(text, "/")
			s := osl.Spec{Name: name}
			if has {
				s.Interfaces = []osl.InterfaceSpec{{Name: as, Source: dev, MTU: 1300 + 10*i, AltNames: []string{"of-" + name}, Addresses: nets("10.92.0.1/24"), Routes: nets("172.21.0.0/24")}}
			}
			n.Sandboxes = append(n.Sandboxes, s)
		}
		return n
	}
	for _, n := range []osl.Network{lab("sa/e0", "sb"), lab("sa", "sb/e1"), lab("sc/e1"), lab("sb/e0"), lab("sa/e0", "sb"), lab("sa/e9")} {
		would, err := osl.Diff(t.Context(), n)
		must(t, err)
		did, err := osl.Apply(t.Context(), n)
		if err != nil || did.String() != would.String() {
			t.Fatalf("apply: %v\n%s\ndiff had said\n%s", err, did, would)
		}
		if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
			t.Errorf("diff after that: %v\n%s", err, c)
		}
		for i, s := range n.Sandboxes {
			for _, f := range s.Interfaces {
				l := needLink(t, "/run/netns/"+s.Name, f.Name).Attrs()
				if l.MTU != 1300+10*i || !slices.Contains(l.AltNames, "of-"+s.Name) || strings.Count(fmt.Sprint(l.AltNames), "of-") != 1 {
					t.Errorf("%s/%s has the MTU %d and the names %v", s.Name, f.Name, l.MTU, l.AltNames)
				}
			}
		}
		bad, before := lab("sa", "sz/e0"), everywhere(t)
		refusedRoute(&bad.Sandboxes[1])
		if did, err := osl.Apply(t.Context(), bad); err == nil {
			t.Fatalf("it did not fail:\n%s", did)
		}
		if changed := differs(t, before, everywhere); changed != "" {
			t.Errorf("a change that failed has changed %s", changed)
		}
	}
	both := lab("sa/e9", "sb/e0")
	both.Sandboxes[1].Interfaces[0].Addresses = nil
	if did, err := osl.Apply(t.Context(), both); err == nil || errors.Is(err, osl.ErrIncomplete) {
		t.Errorf("two sandboxes have one link: %v\n%s", err, did)
	}
	_, err := osl.Down(t.Context(), osl.Network{Name: "lab"})
	must(t, err)
	if left := differs(t, first, everywhere); left != "" {
		t.Errorf("after Down: %s", left)
	}
}
