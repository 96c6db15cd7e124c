//go:build linux

package osltest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// A vlan goes down and up with the link that it is on, and loses by that what a link
// loses that goes down.
func TestFeatureVLANFollowsItsParent(t *testing.T) {
	begin(t)
	base := []osl.InterfaceSpec{
		{Name: "e0", Type: "veth", Addresses: prefixes("10.1.0.1/24", "fd01::1/64"), Peer: osl.Endpoint{Sandbox: "sa", Interface: "e9"}}, {Name: "e9"},
		{Name: "v1", Type: "vlan", VLAN: 7, Parent: "e0", Addresses: prefixes("10.2.0.1/24", "fd02::1/64"), Routes: prefixes("10.88.0.0/16", "fd88::/64")},
		{Name: "v2", Type: "vlan", VLAN: 8, Parent: "v1", Addresses: prefixes("10.3.0.1/24", "fd03::1/64")},
		{Name: "vrf0", Type: "vrf", Table: 100},
	}
	n := func(change func(list []osl.InterfaceSpec)) osl.Network {
		list := slices.Clone(base)
		change(list)
		return osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "sa", Interfaces: list}}}
	}
	up := n(func([]osl.InterfaceSpec) {})
	down := n(func(l []osl.InterfaceSpec) { l[0].Down, l[2].Down, l[3].Down, l[2].Routes = true, true, true, nil })
	vlansDown := n(func(l []osl.InterfaceSpec) { l[2].Down, l[3].Down, l[2].Routes = true, true, nil })
	port := n(func(l []osl.InterfaceSpec) { l[0].Master = "vrf0" })
	vlanPort := n(func(l []osl.InterfaceSpec) { l[2].Master = "vrf0" })
	lab(t, nil)
	_, err := osl.Apply(t.Context(), up)
	lacks(t, "vlan", err)
	must(t, err)
	key := osl.GenerateKey("sa")
	witness(t, key, func(h *netlink.Handle) {
		dev := func(name string) int { return linkOf(t, key, name).Attrs().Index }
		for _, r := range []netlink.Route{
			{LinkIndex: dev("v1"), Dst: ipnet("198.51.100.0/24"), Src: ip("10.2.0.1"), Protocol: unix.RTPROT_STATIC, Scope: unix.RT_SCOPE_LINK},
			{LinkIndex: dev("v2"), Dst: ipnet("fd98::/64"), Protocol: unix.RTPROT_STATIC},
		} {
			must(t, h.RouteAdd(&r))
		}
	})
	before := snapshot(t, key)
	for what, n := range map[string]osl.Network{"down": down, "the vlans down": vlansDown, "a port": port, "the vlan a port": vlanPort,
		"less": n(func(l []osl.InterfaceSpec) { l[0].MTU = 1300 })} {
		if _, err := osl.Apply(t.Context(), failing(n)); err == nil || strings.Contains(err.Error(), "left behind") {
			t.Errorf("%s: %v", what, err)
		}
		same(t, what+": the sandbox", before, func() []string { return snapshot(t, key) })
	}
	bad := n(func(l []osl.InterfaceSpec) { l[0].Down, l[2].Routes = true, nil })
	if _, err := osl.Apply(t.Context(), bad); !errors.Is(err, osl.ErrInvalid) || !strings.Contains(err.Error(), `its parent "e0" is to be down`) {
		t.Errorf("a vlan that is up on a link that is down: %v", err)
	}
	led := n(func(l []osl.InterfaceSpec) { l[2].Down, l[3].Down = true, true })
	if _, err := osl.Apply(t.Context(), led); !errors.Is(err, osl.ErrInvalid) || !strings.Contains(err.Error(), `leads by way of "v1", which is to be down`) {
		t.Errorf("a route by way of what is down: %v", err)
	}
	for i, n := range []osl.Network{down, up, port, up, vlanPort, up, vlansDown, down, vlansDown, up, {Name: "lab"}, vlansDown, {Name: "lab"}, down, up, port} {
		_, err := osl.Apply(t.Context(), n)
		must(t, err)
		if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
			t.Errorf("step %d: diff after that: %v %v", i, c, err)
		}
	}
}

// The ARP of a vlan of which nothing is said is as its parent is made, whenever the vlan is made,
// and whatever was said of either before.
func TestFeatureVLANsARP(t *testing.T) {
	begin(t)
	lab(t, nil)
	d := osl.InterfaceSpec{Name: "d", Type: "dummy"}
	b := osl.InterfaceSpec{Name: "b", Type: "bridge", ARP: ptr(false)}
	v := func(name, parent string, arp *bool) osl.InterfaceSpec {
		return osl.InterfaceSpec{Name: name, Type: "vlan", VLAN: 7, Parent: parent, ARP: arp}
	}
	n := func(list ...osl.InterfaceSpec) osl.Network {
		return osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "sa", Interfaces: append(list, d, b)}}}
	}
	_, err := osl.Apply(t.Context(), n(v("vd", "d", nil)))
	testnet.Feature(t, "ARP of a vlan", err)
	for i, x := range []osl.Network{n(v("vd", "d", nil)), n(v("vd", "d", ptr(false)), v("vb", "b", nil)), n(v("vd", "d", nil), v("vb", "b", nil)),
		n(v("vd", "d", ptr(true)), v("vb", "b", ptr(false))), n(v("vd", "d", nil), v("vb", "b", nil), v("vv", "vb", nil)), n(), n(v("vb", "b", nil), v("vd", "d", nil))} {
		settled(t, x)
		for _, f := range x.Sandboxes[0].Interfaces {
			on := f.Name == "vb" || f.Name == "vv"
			if f.ARP != nil {
				on = *f.ARP
			}
			if has := needLink(t, osl.GenerateKey("sa"), f.Name).Attrs().RawFlags&unix.IFF_NOARP == 0; has != on {
				t.Errorf("%d: the ARP of %s is %v", i, f.Name, has)
			}
		}
	}
}
