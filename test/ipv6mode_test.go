//go:build linux

package osltest

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

// advertise sends what a router says from an interface of a sandbox: it is the
// default router, and the prefix is for addresses.
func advertise(t *testing.T, box, dev, prefix string) {
	t.Helper()
	n, err := osl.Open(t.Context(), box)
	must(t, err)
	defer n.Close()
	b := []byte{134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 64, 0xc0}
	b = binary.BigEndian.AppendUint32(b, 3600)
	b = binary.BigEndian.AppendUint32(b, 1800)
	b = append(binary.BigEndian.AppendUint32(b, 0), netip.MustParseAddr(prefix).AsSlice()...)
	var sent error
	must(t, n.InvokeFunc(func() {
		var i *net.Interface
		if i, sent = net.InterfaceByName(dev); sent != nil {
			return
		}
		var fd int
		if fd, sent = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6); sent != nil {
			return
		}
		defer unix.Close(fd)
		for opt, value := range map[int]int{unix.IPV6_MULTICAST_HOPS: 255, unix.IPV6_MULTICAST_IF: i.Index} {
			if sent = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, opt, value); sent != nil {
				return
			}
		}
		sent = unix.Sendto(fd, b, 0, &unix.SockaddrInet6{ZoneId: uint32(i.Index), Addr: netip.MustParseAddr("ff02::1").As16()})
	}))
	must(t, sent)
}

// globalIPv6 are the addresses of an interface beside the link-local ones.
func globalIPv6(t *testing.T, box, dev string) (list []string) {
	t.Helper()
	witness(t, "/run/netns/"+box, func(h *netlink.Handle) {
		l, err := h.LinkByName(dev)
		must(t, err)
		addrs, err := h.AddrList(l, netlink.FAMILY_V6)
		must(t, err)
		for _, a := range addrs {
			if !a.IP.IsLinkLocalUnicast() {
				list = append(list, a.IPNet.String())
			}
		}
	})
	return list
}

// An interface without an IPv6 address has IPv6 by its mode: a link-local address and
// nothing else, or what a router advertises, and neither is a difference for Diff, or
// goes with the next Apply.
func TestIPv6Modes(t *testing.T) {
	begin(t)
	end := func(name string) osl.Endpoint { return osl.Endpoint{Sandbox: "router", Interface: name} }
	n := osl.Network{Name: "lab", Sandboxes: []osl.Spec{
		{Name: "host1", Sysctls: map[string]string{"ipv6.conf.all.forwarding": "1"}, Interfaces: []osl.InterfaceSpec{
			{Name: "auto", Peer: end("r0"), IPv6: "auto"},
			{Name: "local", Peer: end("r1"), IPv6: "link-local"},
			{Name: "off", Peer: end("r2"), IPv6: "off"},
			{Name: "none", Peer: end("r3")},
			{Name: "own", Peer: end("r4"), IPv6: "auto", Sysctls: map[string]string{"ipv6.accept_ra": "0"}},
		}},
		{Name: "router", Interfaces: []osl.InterfaceSpec{{Name: "r0", IPv6: "link-local"}, {Name: "r1", IPv6: "link-local"}, {Name: "r4", IPv6: "link-local"}}},
	}}
	defer func() { _, err := osl.Down(t.Context(), n); must(t, err) }()
	settled := func(when string) {
		t.Helper()
		if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
			t.Fatalf("diff %s: %v\n%s", when, err, c)
		}
		asRead(t, n)
	}
	_, err := osl.Apply(t.Context(), n)
	must(t, err)
	settled("at first")
	modes := func() map[string]string {
		box, err := osl.Open(t.Context(), "host1")
		must(t, err)
		defer box.Close()
		st, err := box.Inspect(t.Context())
		must(t, err)
		m := map[string]string{}
		for _, i := range st.Interfaces {
			m[i.Name] = i.IPv6
		}
		return m
	}
	for dev, mode := range map[string]string{"auto": "auto", "local": "link-local", "off": "off", "none": "off", "own": "link-local"} {
		if got := modes()[dev]; got != mode {
			t.Errorf("Inspect says that the IPv6 of %s is %q, want %q", dev, got, mode)
		}
	}
	for _, dev := range []string{"r0", "r1", "r4"} {
		eventually(t, "the router's link-local address is usable", func() bool {
			usable := false
			witness(t, "/run/netns/router", func(h *netlink.Handle) {
				l, err := h.LinkByName(dev)
				must(t, err)
				addrs, err := h.AddrList(l, netlink.FAMILY_V6)
				must(t, err)
				usable = slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.Flags&unix.IFA_F_TENTATIVE == 0 })
			})
			return usable
		})
	}
	advertise(t, "router", "r1", "2001:db8:2::")
	advertise(t, "router", "r4", "2001:db8:3::")
	eventually(t, "an address of the advertised prefix", func() bool {
		advertise(t, "router", "r0", "2001:db8:1::")
		return len(globalIPv6(t, "host1", "auto")) == 1
	})
	learned := globalIPv6(t, "host1", "auto")
	for _, dev := range []string{"local", "own"} {
		if list := globalIPv6(t, "host1", dev); len(list) > 0 {
			t.Errorf("%s heard a router: %v", dev, list)
		}
	}
	settled("with what the router said")
	n.Sandboxes[0].Labels = map[string]string{"a": "b"} // something to do
	_, err = osl.Apply(t.Context(), n)
	must(t, err)
	if list := globalIPv6(t, "host1", "auto"); !slices.Equal(list, learned) {
		t.Errorf("after another Apply the interface has %v, and had %v", list, learned)
	}
	// Without its mode the interface is as any without an address.
	n.Sandboxes[0].Interfaces[0].IPv6, n.Sandboxes[0].Interfaces[1].IPv6 = "", "off"
	_, err = osl.Apply(t.Context(), n)
	must(t, err)
	settled("without the mode")
	if m := modes(); m["auto"] != "off" || m["local"] != "off" {
		t.Errorf("without their modes the interfaces have %v", m)
	}
}

func TestIPv6ModesRefused(t *testing.T) {
	begin(t)
	for _, x := range []struct {
		iface osl.InterfaceSpec
		words string
	}{
		{osl.InterfaceSpec{Name: "e0", Type: "bridge", IPv6: "atuo"}, `did you mean "auto"`},
		{osl.InterfaceSpec{Name: "lo", IPv6: "auto"}, "lo"},
		{osl.InterfaceSpec{Name: "e0", Type: "bridge", IPv6: "off", Addresses: []netip.Prefix{netip.MustParsePrefix("fd00::1/64")}}, "turns off the IPv6"},
		{osl.InterfaceSpec{Name: "e0", Type: "bridge", IPv6: "auto", Sysctls: map[string]string{"ipv6.disable_ipv6": "1"}}, "the same setting"},
	} {
		_, err := osl.Apply(t.Context(), osl.Network{Sandboxes: []osl.Spec{{Name: "edge", Interfaces: []osl.InterfaceSpec{x.iface}}}})
		refused(t, toText(x.iface), err, osl.ErrInvalid, x.words)
	}
}

// One subnet is on two interfaces where one of them says so, and stays on both.
func TestSharedSubnet(t *testing.T) {
	begin(t)
	bridge := func(name, addr string, shared bool) osl.InterfaceSpec {
		return osl.InterfaceSpec{Name: name, Type: "bridge", Addresses: []netip.Prefix{netip.MustParsePrefix(addr)}, SharedSubnet: shared}
	}
	n := osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "edge", Interfaces: []osl.InterfaceSpec{bridge("b0", "10.0.0.1/24", false), bridge("b1", "10.0.0.2/24", false)}}}}
	_, err := osl.Apply(t.Context(), n)
	refused(t, "one subnet twice", err, osl.ErrAddressConflict, "shared_subnet")
	defer func() { _, err := osl.Down(t.Context(), n); must(t, err) }()
	for _, which := range []int{0, 1} {
		for i := range n.Sandboxes[0].Interfaces {
			n.Sandboxes[0].Interfaces[i].SharedSubnet = i == which
		}
		_, err = osl.Apply(t.Context(), n)
		must(t, err)
		if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
			t.Fatalf("diff: %v\n%s", err, c)
		}
		asRead(t, n)
	}
	n.Sandboxes[0].Interfaces[1].SharedSubnet = false
	_, err = osl.Apply(t.Context(), n)
	refused(t, "one subnet twice, where it is", err, osl.ErrAddressConflict, "shared_subnet")
}

// That lo has its IPv6 by the address ::1 alone is read, and is no more when the file drops it.
func TestLoopbackIPv6IsRead(t *testing.T) {
	begin(t)
	for _, list := range [][]string{{"::1/128"}, {"10.3.3.3/32"}, {"10.3.3.3/32", "::1/128"}, {"127.0.0.1/8"}} {
		settled(t, lab(t, nil, osl.InterfaceSpec{Name: "lo", Addresses: prefixes(list...)}))
		if off, want := sysctl(t, osl.GenerateKey("sa"), "ipv6/conf/lo/disable_ipv6"), map[bool]string{true: "0", false: "1"}[slices.Contains(list, "::1/128")]; off != want {
			t.Errorf("%v: disable_ipv6 is %s", list, off)
		}
	}
}
