//go:build linux

package osltest

import (
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/types"
)

// defaults returns the default routes of the main table.
func defaults(t *testing.T, key string) (out []string) {
	t.Helper()
	for _, r := range routesOf(t, key) {
		if strings.HasPrefix(r, "default") {
			out = append(out, r)
		}
	}
	return out
}

func TestGateways(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	w.eth(sb, "10.21.0.2/24", "fd21::2/64")
	key := sb.Key()
	check := func(what string, gw, gw6 string) {
		t.Helper()
		var want []string
		if gw != "" {
			want = append(want, "default via "+gw+" dev eth0")
		}
		if gw6 != "" {
			want = append(want, "default6 via "+gw6+" dev eth0")
		}
		if got := defaults(t, key); !slices.Equal(got, want) {
			t.Errorf("%s: the kernel has %v, want %v", what, got, want)
		}
		for _, x := range []struct {
			got  net.IP
			want string
		}{{sb.Info().Gateway(), gw}, {sb.Info().GatewayIPv6(), gw6}} {
			if x.want == "" && x.got != nil || x.want != "" && !x.got.Equal(ip(x.want)) {
				t.Errorf("%s: Info says %v, want %q", what, x.got, x.want)
			}
		}
	}
	check("at first", "", "")
	must(t, sb.SetGateway(ip("10.21.0.1")))
	check("SetGateway", "10.21.0.1", "")
	must(t, sb.SetGatewayIPv6(ip("fd21::1")))
	check("SetGatewayIPv6", "10.21.0.1", "fd21::1")
	must(t, sb.SetGateway(ip("10.21.0.1")))
	check("the same again", "10.21.0.1", "fd21::1")
	must(t, sb.SetGateway(ip("10.21.0.254")))
	must(t, sb.SetGatewayIPv6(ip("fd21::fe")))
	check("others", "10.21.0.254", "fd21::fe")
	for _, none := range []net.IP{nil, {}, net.IPv4zero, net.IPv6zero} {
		if err := sb.SetGateway(none); err != nil {
			t.Errorf("SetGateway(%v): %v", none, err)
		}
		if err := sb.SetGatewayIPv6(none); err != nil {
			t.Errorf("SetGatewayIPv6(%v): %v", none, err)
		}
	}
	check("none given", "10.21.0.254", "fd21::fe")
	must(t, sb.UnsetGateway())
	check("UnsetGateway", "", "fd21::fe")
	must(t, sb.UnsetGatewayIPv6())
	check("UnsetGatewayIPv6", "", "")
	must(t, sb.UnsetGateway())
	must(t, sb.UnsetGatewayIPv6())
	check("unset twice", "", "")
	refused(t, "a gateway that is nowhere", sb.SetGateway(ip("10.99.0.1")), osl.ErrUnreachable, key, "10.99.0.1")
	refused(t, "a v6 gateway that is nowhere", sb.SetGatewayIPv6(ip("fd99::1")), osl.ErrUnreachable, key, "fd99::1")
	check("after a refusal", "", "")
	must(t, sb.SetGateway(ip("10.21.0.1")))
	refused(t, "a gateway that is nowhere", sb.SetGateway(ip("10.99.0.1")), osl.ErrUnreachable)
	check("a refusal keeps the one before", "10.21.0.1", "")
}

func TestLinkLocalGateway(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	w.eth(sb, "10.22.0.2/24", "fd22::2/64")
	must(t, sb.SetGatewayIPv6(ip("fe80::1")))
	if got := defaults(t, sb.Key()); !slices.Equal(got, []string{"default6 via fe80::1 dev eth0"}) {
		t.Errorf("the kernel has %v", got)
	}
	if got := sb.Info().GatewayIPv6(); !got.Equal(ip("fe80::1")) {
		t.Errorf("Info says %v", got)
	}
	must(t, sb.UnsetGatewayIPv6())
	w.eth(sb, "fd23::2/64")
	refused(t, "a link-local gateway with two interfaces", sb.SetGatewayIPv6(ip("fe80::1")), nil, sb.Key())
}

func route(dst string, kind int, via string) *types.StaticRoute {
	r := &types.StaticRoute{Destination: ipnet(dst), RouteType: kind}
	if via != "" {
		r.NextHop = ip(via)
	}
	return r
}

func TestStaticRoutes(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	w.eth(sb, "10.24.0.2/24", "fd24::2/64")
	key := sb.Key()
	must(t, sb.SetGateway(ip("10.24.0.1")))
	must(t, sb.SetGatewayIPv6(ip("fd24::1")))
	for _, x := range []struct {
		r      *types.StaticRoute
		kernel string
	}{
		{route("10.240.0.0/16", types.NEXTHOP, "10.24.0.9"), "10.240.0.0/16 via 10.24.0.9 dev eth0"},
		{route("fd24:f::/48", types.NEXTHOP, "fd24::9"), "fd24:f::/48 via fd24::9 dev eth0"},
		{route("10.241.0.0/16", types.CONNECTED, ""), "10.241.0.0/16 dev eth0"},
		{route("fd24:e::/48", types.CONNECTED, ""), "fd24:e::/48 dev eth0"},
		{route("10.24.0.128/25", types.CONNECTED, ""), "10.24.0.128/25 dev eth0"},
		{route("203.0.113.5/32", types.NEXTHOP, "10.24.0.9"), "203.0.113.5/32 via 10.24.0.9 dev eth0"},
	} {
		before := infoText(sb.Info())
		if hasRoute(t, key, x.kernel) {
			t.Fatalf("%q is there before", x.kernel)
		}
		if err := sb.AddStaticRoute(x.r); err != nil {
			t.Errorf("AddStaticRoute %v: %v", x.r, err)
			continue
		}
		if !hasRoute(t, key, x.kernel) {
			t.Errorf("%q is missing: %v", x.kernel, routesOf(t, key))
		}
		if err := sb.AddStaticRoute(x.r.GetCopy()); err != nil {
			t.Errorf("AddStaticRoute %v a second time: %v", x.r, err)
		}
		if n := holds(sb, x.r); n != 1 {
			t.Errorf("Info has %v %d times:\n%s", x.r, n, infoText(sb.Info()))
		}
		// Another route to the same place is not this one.
		other := x.r.GetCopy()
		other.Destination = ipnet("172.31.0.0/16")
		if x.r.Destination.IP.To4() == nil {
			other.Destination = ipnet("fd31::/32")
		}
		must(t, sb.RemoveStaticRoute(other))
		if x.r.RouteType == types.NEXTHOP {
			other = x.r.GetCopy()
			other.NextHop[len(other.NextHop)-1] ^= 0x40
			must(t, sb.RemoveStaticRoute(other))
		}
		if !hasRoute(t, key, x.kernel) {
			t.Errorf("removing another route took %q away", x.kernel)
		}
		// By value, never by pointer.
		must(t, sb.RemoveStaticRoute(x.r.GetCopy()))
		if hasRoute(t, key, x.kernel) {
			t.Errorf("%q is there after RemoveStaticRoute", x.kernel)
		}
		must(t, sb.RemoveStaticRoute(x.r))
		if got := infoText(sb.Info()); got != before {
			t.Errorf("Info was\n%s\nand is\n%s", before, got)
		}
	}
	refused(t, "a next hop that is nowhere", sb.AddStaticRoute(route("10.250.0.0/16", types.NEXTHOP, "10.99.0.9")), osl.ErrUnreachable, key, "10.250.0.0/16")
}

func TestConnectedRouteNeedsAWay(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	w.eth(sb, "10.25.0.2/24")
	refused(t, "a network that nothing leads to", sb.AddStaticRoute(route("10.251.0.0/16", types.CONNECTED, "")), osl.ErrUnreachable, sb.Key())
	if n := len(sb.Info().StaticRoutes()); n != 0 {
		t.Errorf("Info has %d routes", n)
	}
}

// A route that someone else made is neither shown nor taken away.
func TestForeignRoutesAreLeftAlone(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	w.eth(sb, "10.26.0.2/24")
	witness(t, sb.Key(), func(h *netlink.Handle) {
		must(t, h.RouteAdd(&netlink.Route{Dst: ipnet("10.252.0.0/16"), Gw: ip("10.26.0.9")}))
	})
	if n := len(sb.Info().StaticRoutes()); n != 0 {
		t.Errorf("Info has a route that osl did not make:\n%s", infoText(sb.Info()))
	}
}

// holds counts a route in Info, by value.
func holds(sb osl.Sandbox, r *types.StaticRoute) (n int) {
	for _, x := range sb.Info().StaticRoutes() {
		if x.Destination.String() == r.Destination.String() && x.RouteType == r.RouteType &&
			(r.RouteType == types.CONNECTED || x.NextHop.Equal(r.NextHop)) {
			n++
		}
	}
	return n
}
