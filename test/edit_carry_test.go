//go:build linux

package osltest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"pgregory.net/rapid"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// onHost are links that are made on one of the host, and of which there can be one only:
// another one with the same tag, VNI, hardware address or address is refused as long as the
// first is there, in whichever sandbox.
func onHost(parents [3]string, kinds []string) (list []osl.InterfaceSpec) {
	up := func(i int) string { return osl.HostName + "/" + parents[i] }
	mac := func(last byte) osl.MAC { return osl.MAC{2, 0x5b, 0, 0, 0, last} }
	for _, f := range []osl.InterfaceSpec{
		{Type: "vxlan", VNI: 7, Parent: up(0)}, {Type: "vxlan", VNI: 8, Parent: up(0), Remote: netip.MustParseAddr("192.0.2.8")},
		{Type: "macvlan", Parent: up(0), MAC: mac(1)}, {Type: "macvtap", Parent: up(0), MAC: mac(2)},
		{Type: "macvlan", Mode: "passthru", Parent: up(1)},
		{Type: "vlan", VLAN: 7, Parent: up(0)}, {Type: "vlan", VLAN: 8, Protocol: "802.1ad", Parent: up(0)},
		{Type: "ipvlan", Mode: "l2", Parent: up(2), Addresses: prefixes("10.88.0.1/24")},
		{Type: "ipvlan", Mode: "l2", Parent: up(2), Addresses: prefixes("10.89.0.2/24", "fd89::2/64")},
	} {
		if slices.Contains(kinds, f.Type) {
			list = append(list, f)
		}
	}
	return list
}

// parentsOnHost makes links of the host for others to be made on, which go after the test.
func parentsOnHost(t *testing.T) (parents [3]string) {
	for i := range parents {
		dev := name("v")
		parents[i] = dev
		must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs(dev), PeerName: dev + "p"}))
		t.Cleanup(func() { must(t, netlink.LinkDel(needLink(t, "", dev))) })
		for _, end := range []string{dev, dev + "p"} {
			must(t, netlink.LinkSetUp(needLink(t, "", end)))
		}
	}
	return parents
}

// TestOnHostEdits is TestEdits for what is made on links of the host and is there once only.
func TestOnHostEdits(t *testing.T) {
	begin(t)
	list := onHost(parentsOnHost(t), probe(t).kinds)
	anyInput(t, 10, func(r *rapid.T) {
		d := drawer{T: r}
		first := everywhere(t)
		defer d.takesBack(t, first, everywhere)
		for range 5 {
			d.edit(t, edits{look: everywhere, draw: func() osl.Network { return d.madeOn(list) }, holds: func(n osl.Network) {
				d.took(t, n)
				for _, s := range n.Sandboxes {
					for _, f := range s.Interfaces {
						onlyOne(t, "/run/netns/"+s.Name, f)
					}
				}
			}})
		}
	})
}

// onlyOne compares such a link with what the kernel has.
func onlyOne(t *testing.T, key string, f osl.InterfaceSpec) {
	t.Helper()
	switch l := needLink(t, key, f.Name).(type) {
	case *netlink.Vxlan:
		if l.VxlanId != f.VNI || f.Remote.IsValid() && l.Group.String() != f.Remote.String() {
			t.Errorf("%s/%s has the VNI %d and the remote %v", key, f.Name, l.VxlanId, l.Group)
		}
	case *netlink.Vlan:
		if l.VlanId != f.VLAN {
			t.Errorf("%s/%s has the tag %d", key, f.Name, l.VlanId)
		}
	default:
		if l.Type() != f.Type || f.MAC != nil && l.Attrs().HardwareAddr.String() != f.MAC.String() {
			t.Errorf("%s/%s is a %s with the address %v", key, f.Name, l.Type(), l.Attrs().HardwareAddr)
		}
	}
	if got := fmt.Sprint(addrsOf(t, key, f.Name)); slices.ContainsFunc(f.Addresses, func(p netip.Prefix) bool { return !strings.Contains(got, p.String()) }) {
		t.Errorf("%s/%s has the addresses %s", key, f.Name, got)
	}
}

// madeOn draws a network that has some of the links of a list, each in one of its sandboxes.
func (r *drawer) madeOn(list []osl.InterfaceSpec) osl.Network {
	n := osl.Network{Name: "lab"}
	mine := rapid.Permutation(list).Draw(r.T, "links")
	for i, name := range []string{"sa", "sb", "sc"} {
		if r.sometimes(name, 3) {
			continue
		}
		s := osl.Spec{Name: name}
		for j, dev := range []string{"e0", "e1", "e2"} {
			if r.sometimes("none", 3) || len(mine) == 0 {
				continue
			}
			f := mine[0]
			mine = mine[1:]
			f.Name, f.AltNames = dev, draw(r, "altnames", nil, nil, []string{"alt" + dev})
			if f.Type != "ipvlan" {
				r.addressed(&f, 10*i+j)
				f.TxQueueLen, f.Group = maybe(r, "txqueuelen", 500, 2000), maybe(r, "group", 0, 77)
				f.MTU = draw(r, "mtu", 0, 0, 1300, 1400)
			}
			r.routed(&f, 10*i+j)
			r.offloads(&f)
			s.Interfaces = append(s.Interfaces, f)
		}
		n.Sandboxes = append(n.Sandboxes, s)
	}
	return n
}

func TestCarried(t *testing.T) { carried(t, "vxlan", "macvlan", "macvtap") }

func TestFeatureCarried(t *testing.T) { carried(t, "vlan", "ipvlan") }

// carried gives the sandbox of each such link another name, and changes the link at once; a
// file can be sent to and fro.
func carried(t *testing.T, kinds ...string) {
	begin(t)
	for _, f := range onHost(parentsOnHost(t), kinds) {
		t.Run(fmt.Sprintf("%s %d%d %s %v", f.Type, f.VNI, f.VLAN, f.Mode, f.Addresses), func(t *testing.T) {
			before := everywhere(t)
			f.Name = "e0"
			in := func(key, dev string, mtu int) osl.Network {
				f := f
				f.Name, f.MTU = dev, mtu
				return osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{f}}}}
			}
			_, err := osl.Apply(t.Context(), in("sa", "e0", 1400))
			testnet.Feature(t, "link "+f.Type, err)
			for _, n := range []osl.Network{in("sb", "e0", 1300), in("sa", "e1", 1400), in("sa", "e0", 1300), in("sb", "e7", 1300)} {
				would, err := osl.Diff(t.Context(), n)
				must(t, err)
				if did, err := osl.Apply(t.Context(), n); err != nil || born.ReplaceAllString(did.String(), "") != born.ReplaceAllString(would.String(), "") {
					t.Fatalf("apply: %v\n%s\ndiff had said\n%s", err, did, would)
				}
				if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
					t.Errorf("diff after that: %v\n%s", err, c)
				}
				onlyOne(t, "/run/netns/"+n.Sandboxes[0].Name, n.Sandboxes[0].Interfaces[0])
			}
			at := everywhere(t)
			bad := in("sc", "e0", 1400)
			refusedRoute(&bad.Sandboxes[0])
			if did, err := osl.Apply(t.Context(), bad); err == nil || errors.Is(err, osl.ErrIncomplete) {
				t.Errorf("it did not fail: %v\n%s", err, did)
			}
			if changed := differs(t, at, everywhere); changed != "" {
				t.Errorf("a change that failed has changed %s", changed)
			}
			_, err = osl.Down(t.Context(), osl.Network{Name: "lab"})
			must(t, err)
			if left := differs(t, before, everywhere); left != "" {
				t.Errorf("after Down: %s", left)
			}
		})
	}
}
