//go:build linux

package osltest

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

// A monitor that runs the whole time sees no IPv6 address, not even for a
// moment, while interfaces with IPv4 only come, change and go.
func TestNoIPv6AddressIsEverSeen(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	key := sb.Key()
	m := watch(t, key, unix.RTNLGRP_IPV6_IFADDR)
	o := sb.InterfaceOptions()
	w.add(sb, "br-src", "br", o.Bridge(true), o.Address(ipnet("10.121.1.1/24")))
	// One that had IPv6 on the host.
	src, _ := w.vethUp()
	w.up(src)
	eventually(t, "the host's link has a link-local address", func() bool { return len(ipv6Of(t, "", src)) > 0 })
	must(t, netlink.AddrAdd(needLink(t, "", src), &netlink.Addr{IPNet: ipnet("2001:db8::5/64"), Flags: unix.IFA_F_NODAD}))
	dst := w.add(sb, src, "eth", o.Address(ipnet("10.121.0.2/24")))
	port, _ := w.vethUp()
	w.add(sb, port, "veth", o.Master("br-src"))
	bare, _ := w.vethUp()
	w.add(sb, bare, "eth")
	vx := w.vxlan(4401)
	w.add(sb, vx, "vxlan", o.Address(ipnet("10.122.0.2/24")))
	must(t, sb.SetGateway(ip("10.121.0.1")))
	must(t, sb.AddAliasIP(dst, ipnet("10.255.121.1/32")))
	must(t, sb.AddAliasIP("lo", ipnet("10.255.121.2/32")))
	must(t, sb.AddNeighbor(ip("10.121.0.9"), mac("02:00:00:00:21:09"), false, sb.NeighborOptions().LinkName(src)))
	must(t, sb.DisableARPForVIP(dst))
	witness(t, key, func(h *netlink.Handle) {
		for _, n := range []string{dst, "lo", "br0"} {
			must(t, h.LinkSetDown(needLink(t, key, n)))
			must(t, h.LinkSetUp(needLink(t, key, n)))
		}
	})
	sb.ApplyOSTweaks([]osl.SandboxType{osl.SandboxTypeIngress})
	m.noIPv6("IPv4 only")
	for _, n := range linkNames(t, key) {
		if got := ipv6Of(t, key, n); len(got) > 0 {
			t.Errorf("%s has %v", n, got)
		}
		if got := sysctl(t, key, "ipv6/conf/"+n+"/disable_ipv6"); got != "1" && got != "-" {
			t.Errorf("IPv6 is on at %s: disable_ipv6 is %s", n, got)
		}
	}
	must(t, iface(t, sb, src).Remove())
	m.noIPv6("after Remove")
	m.close()
}

// Beside an interface with IPv6, one with IPv4 only has none, whatever the
// order in which they came.
func TestNoIPv6BesideIPv6(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	key := sb.Key()
	m := watch(t, key, unix.RTNLGRP_IPV6_IFADDR)
	first, _ := w.vethUp()
	dst1 := w.add(sb, first, "eth", addresses("10.123.1.2/24"))
	six, _ := w.vethUp()
	dst6 := w.add(sb, six, "eth", addresses("fd7b::2/64"))
	last, _ := w.vethUp()
	dst2 := w.add(sb, last, "eth", addresses("10.123.2.2/24"))
	index := func(n string) int { return needLink(t, key, n).Attrs().Index }
	m.noIPv6("beside IPv6", index(dst1), index(dst2))
	if got := ipv6Of(t, key, dst6); len(got) == 0 {
		t.Error("the interface with IPv6 has none")
	}
	if got := ipv6Of(t, key, "lo"); len(got) == 0 {
		t.Error("lo has no ::1 while there is an interface with IPv6")
	}
	if got := sysctl(t, key, "ipv6/conf/default/disable_ipv6"); got != "1" {
		t.Errorf("conf.default.disable_ipv6 is %s", got)
	}
	must(t, iface(t, sb, six).Remove())
	if got := ipv6Of(t, key, "lo"); len(got) > 0 {
		t.Errorf("lo has %v and there is no interface with IPv6", got)
	}
	m.noIPv6("after the one with IPv6 went", index(dst1), index(dst2))
	m.close()
}

// A network of a file, too.
func TestNoIPv6InAppliedNetworks(t *testing.T) {
	begin(t)
	s := applied(t, osl.Network{
		Sandboxes: []osl.Spec{
			{Name: "four", Interfaces: []osl.InterfaceSpec{
				{Name: "eth0", Addresses: prefixes("10.124.0.1/24")}, {Name: "br0", Type: "bridge"}, {Name: "mv0", Type: "macvlan", Parent: "eth0"}}},
			{Name: "both", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Addresses: prefixes("10.124.0.2/24", "fd7c::2/64")}}},
		},
		Links: []osl.Link{cable("four", "eth0", "both", "eth0")},
	})
	key := s["four"].Key()
	for _, n := range linkNames(t, key) {
		if got := ipv6Of(t, key, n); len(got) > 0 {
			t.Errorf("%s has %v", n, got)
		}
	}
}

// TestReq24ReadOnlyProcSys: with a /proc/sys that can't be written there is no
// IPv6 either, or no sandbox.
func TestReq24ReadOnlyProcSys(t *testing.T) {
	w := begin(t)
	src, _ := w.vethUp()
	must(t, unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND, ""))
	defer func() { must(t, unix.Unmount("/proc/sys", unix.MNT_DETACH)) }()
	if err := unix.Mount("", "/proc/sys", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		t.Fatalf("make /proc/sys read-only: %v", err)
	}
	host := snapshot(t, "")
	files := mountsAndKeys(t)
	key := newKey()
	sb, err := osl.NewSandbox(key, true, false)
	if err != nil {
		if !errors.Is(err, unix.EROFS) {
			t.Errorf("the cause is not found in: %v", err)
		}
		refused(t, "NewSandbox", err, nil, key)
		same(t, "mounts and keys", files, func() []string { return mountsAndKeys(t) })
		return
	}
	defer sb.Destroy()
	m := watch(t, key, unix.RTNLGRP_IPV6_IFADDR)
	defer m.close()
	if err := sb.AddInterface(src, "eth", addresses("10.125.0.2/24")); err != nil {
		refused(t, "AddInterface", err, nil, src, key)
		same(t, "the host", host, func() []string { return snapshot(t, "") })
	}
	m.noIPv6("with a read-only /proc/sys")
	for _, n := range linkNames(t, key) {
		if got := ipv6Of(t, key, n); len(got) > 0 {
			t.Errorf("%s has %v", n, got)
		}
	}
}

// In a namespace of another program that had no IPv6, lo has it as long as an interface
// has, as in one that osl made. Where the program had some, lo's is its own.
func TestLoopbackIPv6OfAPinnedNamespace(t *testing.T) {
	for _, had := range []bool{false, true} {
		w := begin(t)
		path, key := w.process(), newKey()
		witness(t, path, func(h *netlink.Handle) {
			if had {
				must(t, h.LinkAdd(&netlink.Veth{LinkAttrs: attrs("own0"), PeerName: "own1"}))
				must(t, h.AddrAdd(needLink(t, path, "own0"), &netlink.Addr{IPNet: ipnet("fd7c::1/64"), Flags: unix.IFA_F_NODAD}))
			}
		})
		sb, err := osl.GetSandboxForExternalKey(path, key)
		must(t, err)
		if had { // what is left says nothing of it
			witness(t, path, func(h *netlink.Handle) { must(t, h.LinkDel(needLink(t, path, "own0"))) })
		}
		look := func(when string, want bool) {
			t.Helper()
			if got := ipv6Of(t, key, "lo"); len(got) > 0 != want {
				t.Errorf("had IPv6 %v, %s: lo has %v", had, when, got)
			}
		}
		look("at first", had)
		src, _, _ := w.eth(sb, "10.124.0.2/24", "fd7d::2/64")
		look("with an interface", true)
		must(t, iface(t, sb, src).Remove())
		look("without it", had)
		_, dst, _ := w.eth(sb, "10.124.0.2/24")
		must(t, sb.AddAliasIP(dst, ipnet("fd7d::3/64")))
		look("with an alias", true)
		must(t, sb.RemoveAliasIP(dst, ipnet("fd7d::3/64")))
		look("without that", had)
		for _, with := range []string{"fd7e::2/64", "10.125.0.2/24"} {
			bridge := osl.InterfaceSpec{Name: "b0", Type: "bridge", Addresses: []netip.Prefix{netip.MustParsePrefix(with)}}
			_, err = osl.Apply(t.Context(), osl.Network{Name: "pinned", Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{bridge}}}})
			must(t, err)
			look("with a network of "+with, had || bridge.Addresses[0].Addr().Is6())
		}
		must(t, sb.Destroy())
	}
}

// An MTU that takes a link's IPv6 stays where somebody else set it: who asks for IPv6 then
// is told, before anything is done. One that the file drops goes, and IPv6 is there again.
func TestIPv6ByAnMTUThatStays(t *testing.T) {
	begin(t)
	key := newKey()
	lab := func(mtu int, addresses ...string) osl.Network {
		return osl.Network{Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{
			{Name: "e0", MTU: mtu, Addresses: prefixes(addresses...), Peer: osl.Endpoint{Sandbox: key, Interface: "e1"}}, {Name: "e1", MTU: mtu}}}}}
	}
	defer func() { _, err := osl.Down(t.Context(), lab(0)); must(t, err) }()
	settled(t, lab(1000))
	settled(t, lab(0, "2001:db8::1/64"))
	settled(t, lab(0))
	nsenter(t, key, "ip", "link", "set", "dev", "e0", "mtu", "1000")
	for what, f := range map[string]func(context.Context, osl.Network) (osl.Changes, error){"Apply": osl.Apply, "Diff": osl.Diff} {
		if _, err := f(t.Context(), lab(0, "2001:db8::1/64")); !errors.Is(err, osl.ErrInvalid) || !strings.Contains(err.Error(), "the link has 1000") {
			t.Errorf("%s: %v", what, err)
		}
	}
	settled(t, lab(0, "192.0.2.1/24"))
	settled(t, lab(1500, "2001:db8::1/64"))
}

// What a dropped MTU gives way to may be too small for IPv6: the host's own, or that of a
// bridge's ports. That is told before anything is done.
func TestIPv6ByAnMTUThatIsDropped(t *testing.T) {
	begin(t)
	key, host := newKey(), name("q")
	nsenter(t, "/proc/thread-self/ns/net", "ip", "link", "add", host, "mtu", "1000", "type", "veth", "peer", "name", host+"p")
	defer nsenter(t, "/proc/thread-self/ns/net", "ip", "link", "del", host)
	lab := func(mtu int, address string) osl.Network {
		return osl.Network{Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{
			{Name: "e0", Source: host, MTU: mtu, Addresses: prefixes("2001:db8::1/64")},
			{Name: "b0", Type: "bridge", MTU: mtu, Addresses: prefixes(address)},
			{Name: "p0", Master: "b0", MTU: 1000, Peer: osl.Endpoint{Sandbox: key, Interface: "p1"}}, {Name: "p1"}}}}}
	}
	defer func() { _, err := osl.Down(t.Context(), lab(1400, "192.0.2.1/24")); must(t, err) }()
	for _, dev := range []string{"e0", "b0"} {
		was := lab(1400, "2001:db8:1::1/64")
		settled(t, was)
		for _, i := range []int{0, 1} {
			if n := lab(1400, "2001:db8:1::1/64"); n.Sandboxes[0].Interfaces[i].Name == dev {
				n.Sandboxes[0].Interfaces[i].MTU = 0
				if _, err := osl.Apply(t.Context(), n); !errors.Is(err, osl.ErrInvalid) || !strings.Contains(err.Error(), "gets 1000") {
					t.Errorf("%s: %v", dev, err)
				}
			}
		}
		if did := settled(t, was); len(did) > 0 {
			t.Errorf("%s: what was refused left this to do:\n%v", dev, did)
		}
	}
}
