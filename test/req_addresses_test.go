//go:build linux

package osltest

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/types"
)

func TestReq23IPv6IsUsableAtOnce(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src, _ := w.vethUp()
	o := sb.InterfaceOptions()
	dst := w.add(sb, src, "eth", o.AddressIPv6(ipnet("fd8d::2/64")), o.LinkLocalAddresses([]*net.IPNet{ipnet("fe80::8d/64")}))
	must(t, sb.AddAliasIP(dst, ipnet("fd8d:1::1/128")))
	must(t, sb.AddAliasIP("lo", ipnet("fd8d:1::2/128")))
	for _, n := range []string{dst, "lo"} {
		l := needLink(t, sb.Key(), n)
		witness(t, sb.Key(), func(h *netlink.Handle) {
			for _, a := range dump(t, func() ([]netlink.Addr, error) { return h.AddrList(l, netlink.FAMILY_V6) }) {
				if a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED|unix.IFA_F_OPTIMISTIC) != 0 {
					t.Errorf("%v on %s has flags %#x", a.IPNet, n, a.Flags)
				}
			}
		})
	}
	zone := uint32(needLink(t, sb.Key(), dst).Attrs().Index)
	must(t, sb.InvokeFunc(func() {
		// Without package net: it remembers the number of a zone's name for a
		// minute, and may know another sandbox's.
		for _, a := range []string{"fd8d::2", "fe80::8d", "fd8d:1::1", "fd8d:1::2"} {
			fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			must(t, err)
			at := &unix.SockaddrInet6{Addr: netip.MustParseAddr(a).As16()}
			if a == "fe80::8d" {
				at.ZoneId = zone
			}
			if err := unix.Bind(fd, at); err != nil {
				t.Errorf("%s is not usable at once: %v", a, err)
			}
			_ = unix.Close(fd)
		}
	}))
}

func TestReq25WhatIsAnAddressConflict(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src, _ := w.vethUp()
	o := sb.InterfaceOptions()
	w.add(sb, src, "eth", o.Address(ipnet("10.141.0.2/24")), o.AddressIPv6(ipnet("fd8e::2/64")),
		o.LinkLocalAddresses([]*net.IPNet{ipnet("169.254.1.1/16"), ipnet("fe80::1:1/64")}), o.Routes([]*net.IPNet{ipnet("10.142.0.0/16")}))
	must(t, sb.SetGateway(ip("10.141.0.1")))
	must(t, sb.AddStaticRoute(route("10.143.0.0/16", types.NEXTHOP, "10.141.0.9")))
	must(t, sb.AddStaticRoute(route("10.144.0.0/16", types.CONNECTED, "")))
	add := func(opts ...osl.IfaceOption) error {
		s, _ := w.vethUp()
		return sb.AddInterface(s, "eth", opts...)
	}
	refused(t, "the same subnet", add(o.Address(ipnet("10.141.0.3/24"))), osl.ErrAddressConflict, sb.Key(), "10.141.0")
	refused(t, "the same IPv6 subnet", add(o.AddressIPv6(ipnet("fd8e::3/64"))), osl.ErrAddressConflict, sb.Key(), "fd8e::")
	for what, opt := range map[string]osl.IfaceOption{
		"below an interface's route":    o.Address(ipnet("10.142.7.2/24")),
		"below a static route":          o.Address(ipnet("10.143.7.2/24")),
		"the same as a static route":    o.Address(ipnet("10.143.0.2/16")),
		"below a connected route":       o.Address(ipnet("10.144.7.2/24")),
		"below the default route":       o.Address(ipnet("172.20.0.2/24")),
		"link-local as an address":      o.Address(ipnet("169.254.1.2/16")),
		"link-local, both families":     o.LinkLocalAddresses([]*net.IPNet{ipnet("169.254.1.3/16"), ipnet("fe80::1:3/64")}),
		"link-local as an IPv6 address": o.AddressIPv6(ipnet("fe80::1:4/64")),
	} {
		if err := add(opt); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestReq26GatewayOutsideTheSubnet(t *testing.T) {
	begin(t)
	via, via6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	s := applied(t, osl.Network{
		Sandboxes: []osl.Spec{
			{Name: "g1", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Addresses: prefixes("10.145.0.2/32", "fd91::2/128")}},
				Routes: []osl.RouteSpec{
					{To: netip.MustParsePrefix("198.51.100.0/24"), Via: via, Dev: "eth0"},
					{To: netip.MustParsePrefix("2001:db8:1::/48"), Via: via6, Dev: "eth0"},
					{To: netip.MustParsePrefix("203.0.113.0/24"), Dev: "eth0"},
				}},
			{Name: "g2", Interfaces: []osl.InterfaceSpec{{Name: "eth0"}}},
		},
		Links: []osl.Link{cable("g1", "eth0", "g2", "eth0")},
	})
	for _, want := range []string{"198.51.100.0/24 via 192.0.2.1 dev eth0", "2001:db8:1::/48 via 2001:db8::1 dev eth0", "203.0.113.0/24 dev eth0"} {
		if !hasRoute(t, s["g1"].Key(), want) {
			t.Errorf("%q is missing: %v", want, routesOf(t, s["g1"].Key()))
		}
	}
}

// A gateway that only an interface's route reaches is directly connected.
func TestReq26GatewayBehindAnInterfaceRoute(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src, _ := w.vethUp()
	o := sb.InterfaceOptions()
	w.add(sb, src, "eth", o.Address(ipnet("10.146.0.2/32")), o.AddressIPv6(ipnet("fd92::2/128")),
		o.Routes([]*net.IPNet{ipnet("192.0.2.1/32"), ipnet("2001:db8::1/128")}))
	must(t, sb.SetGateway(ip("192.0.2.1")))
	must(t, sb.SetGatewayIPv6(ip("2001:db8::1")))
	if got, want := defaults(t, sb.Key()), []string{"default via 192.0.2.1 dev eth0", "default6 via 2001:db8::1 dev eth0"}; !slices.Equal(got, want) {
		t.Errorf("defaults: %v, want %v", got, want)
	}
}

func TestReq26DefaultRouteThroughADevice(t *testing.T) {
	begin(t)
	s := applied(t, osl.Network{
		Sandboxes: []osl.Spec{
			{Name: "d1", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Addresses: prefixes("10.147.0.2/24", "fd93::2/64"), Routes: prefixes("0.0.0.0/0", "::/0")}}},
			{Name: "d2", Interfaces: []osl.InterfaceSpec{{Name: "eth0"}}},
		},
		Links: []osl.Link{cable("d1", "eth0", "d2", "eth0")},
	})
	if got, want := defaults(t, s["d1"].Key()), []string{"default dev eth0", "default6 dev eth0"}; !slices.Equal(got, want) {
		t.Errorf("defaults: %v, want %v", got, want)
	}
}

func TestReq27RemovalNeedsNoReachableNextHop(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	w.eth(sb, "10.148.0.2/24", "fd94::2/64")
	key := sb.Key()
	must(t, sb.SetGateway(ip("10.148.0.1")))
	must(t, sb.SetGatewayIPv6(ip("fd94::1")))
	four, six := route("10.248.0.0/16", types.NEXTHOP, "10.148.0.9"), route("fd94:f::/48", types.NEXTHOP, "fd94::9")
	must(t, sb.AddStaticRoute(four))
	must(t, sb.AddStaticRoute(six))
	// The kernel keeps routes whose next hop can't be reached any more.
	witness(t, key, func(h *netlink.Handle) {
		for _, dst := range []string{"10.148.0.0/24", "fd94::/64"} {
			must(t, h.RouteDel(&netlink.Route{Dst: ipnet(dst), Scope: scopeOf(dst), LinkIndex: needLink(t, key, "eth0").Attrs().Index}))
		}
	})
	if !hasRoute(t, key, "10.248.0.0/16 via 10.148.0.9 dev eth0") {
		t.Fatalf("the test's condition does not hold: %v", routesOf(t, key))
	}
	must(t, sb.RemoveStaticRoute(four))
	must(t, sb.RemoveStaticRoute(six))
	must(t, sb.UnsetGateway())
	must(t, sb.UnsetGatewayIPv6())
	for _, r := range routesOf(t, key) {
		if r != "fe80::/64 dev eth0" {
			t.Errorf("left: %s", r)
		}
	}
	if got := infoText(sb.Info()); len(sb.Info().StaticRoutes()) > 0 || sb.Info().Gateway() != nil || sb.Info().GatewayIPv6() != nil {
		t.Errorf("Info says:\n%s", got)
	}
}

func TestReq28FormsOfAnIPv4Address(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	key := sb.Key()
	form := func(s string, n int) net.IP {
		if n == 4 {
			return ip(s).To4()
		}
		return ip(s).To16()
	}
	prefix := func(s string, ones, bytes, maskBytes int) *net.IPNet {
		if maskBytes == 16 {
			return &net.IPNet{IP: form(s, bytes), Mask: net.CIDRMask(96+ones, 128)}
		}
		return &net.IPNet{IP: form(s, bytes), Mask: net.CIDRMask(ones, 32)}
	}
	o := sb.InterfaceOptions()
	for n, x := range [][2]int{{4, 4}, {16, 4}, {16, 16}} {
		src, _ := w.vethUp()
		host := netip.AddrFrom4([4]byte{10, 149, byte(n), 2}).String()
		net24 := netip.AddrFrom4([4]byte{10, 150, byte(n), 0}).String()
		dst := w.add(sb, src, "eth", o.Address(prefix(host, 24, x[0], x[1])), o.Routes([]*net.IPNet{prefix(net24, 24, x[0], x[1])}))
		if got := addrsOf(t, key, dst); !slices.Equal(got, []string{host + "/24"}) {
			t.Errorf("%v: addresses %v", x, got)
		}
		if got := iface(t, sb, src).Address().String(); got != host+"/24" {
			t.Errorf("%v: Info says %s", x, got)
		}
		if !hasRoute(t, key, net24+"/24 dev "+dst) {
			t.Errorf("%v: routes %v", x, routesOf(t, key))
		}
	}
	link := sb.NeighborOptions().LinkName(sb.Info().Interfaces()[0].SrcName())
	m := mac("02:00:00:00:28:01")
	for _, x := range [][2]int{{4, 16}, {16, 4}} {
		in, out := x[0], x[1]
		must(t, sb.SetGateway(form("10.149.0.1", in)))
		if got := defaults(t, key); !slices.Equal(got, []string{"default via 10.149.0.1 dev eth0"}) {
			t.Errorf("%d bytes: %v", in, got)
		}
		must(t, sb.UnsetGateway())
		must(t, sb.AddAliasIP("lo", prefix("10.151.0.1", 32, in, in)))
		must(t, sb.AddAliasIP("lo", prefix("10.151.0.1", 32, out, out)))
		must(t, sb.RemoveAliasIP("lo", prefix("10.151.0.1", 32, out, out)))
		if got := addrsOf(t, key, "lo"); !slices.Equal(got, []string{"127.0.0.1/8"}) {
			t.Errorf("alias of %d bytes, removed as %d: %v", in, out, got)
		}
		r := &types.StaticRoute{Destination: prefix("10.152.0.0", 16, in, in), RouteType: types.NEXTHOP, NextHop: form("10.149.0.9", in)}
		must(t, sb.AddStaticRoute(r))
		if n := holds(sb, route("10.152.0.0/16", types.NEXTHOP, "10.149.0.9")); n != 1 {
			t.Errorf("route of %d bytes:\n%s", in, infoText(sb.Info()))
		}
		r = &types.StaticRoute{Destination: prefix("10.152.0.0", 16, out, out), RouteType: types.NEXTHOP, NextHop: form("10.149.0.9", out)}
		must(t, sb.RemoveStaticRoute(r))
		if len(sb.Info().StaticRoutes()) > 0 || hasRoute(t, key, "10.152.0.0/16 via 10.149.0.9 dev eth0") {
			t.Errorf("route of %d bytes, removed as %d:\n%s", in, out, infoText(sb.Info()))
		}
		must(t, sb.AddNeighbor(form("10.149.0.9", in), m, false, link))
		searchError(t, "the other form", sb.AddNeighbor(form("10.149.0.9", out), m, false, link))
		must(t, sb.DeleteNeighbor(form("10.149.0.9", out), m, true))
		if got := neighborsOf(t, key, "eth0", unix.AF_INET); len(got) > 0 {
			t.Errorf("neighbor of %d bytes, removed as %d: %v", in, out, got)
		}
	}
	// In the new API an IPv4-mapped address is refused where it can't be meant.
	_, err := osl.Apply(context.Background(), osl.Network{Sandboxes: []osl.Spec{{Name: "mapped",
		Interfaces: []osl.InterfaceSpec{{Name: "br0", Type: "bridge", Addresses: []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.1"), 120)}}}}}})
	refused(t, "an IPv4-mapped address", err, osl.ErrInvalid, "br0")
}

// scopeOf returns the scope of the kernel's own route to a subnet.
func scopeOf(dst string) netlink.Scope {
	if strings.Contains(dst, ":") {
		return netlink.SCOPE_UNIVERSE
	}
	return netlink.SCOPE_LINK
}
