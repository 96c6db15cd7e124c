package engine_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/engine"

	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/types"
)

// counter counts what goes through all sockets.
type counter struct {
	netlink.Transport
	sends, recvs *atomic.Int64
}

func (c counter) Send(b []byte) error {
	c.sends.Add(1)
	return c.Transport.Send(b)
}

func (c counter) Recv(b []byte) (int, error) {
	c.recvs.Add(1)
	return c.Transport.Recv(b)
}

// exchanges are a call and what it may cost: sends, and receives, each a system
// call. A call that waits for the kernel is not here.
type exchanges struct {
	name         string
	do           func() error
	sends, recvs int64
}

// Each call takes as many exchanges with the kernel as are written here, the first
// of them to look whether a dead process left something, which those that follow
// within a millisecond need not (TestSystemCalls has these), and as many where the
// sandbox holds much else: a thousand routes, neighbours and addresses, and a
// hundred links.
func TestExchanges(t *testing.T) {
	var sends, recvs atomic.Int64
	netlink.Intercept = func(t netlink.Transport) netlink.Transport { return counter{t, &sends, &recvs} }
	defer func() { netlink.Intercept = nil }()
	w := world(t, plainVeth+hostVXLAN)
	ctx := context.Background()
	w.a = w.make("a")
	w.make("b")
	n := w.ns("a")
	p := netip.MustParsePrefix
	w.must(n.AddLink(ctx, osl.InterfaceSpec{Name: "eth0", Type: "veth", Peer: osl.Endpoint{Sandbox: "b", Interface: "eth0"}, Addresses: []netip.Prefix{p("10.2.0.1/15"), p("2001:db8:2::1/64")}}))
	w.must(n.AddInterface("vx", "vx"))
	iface := n.Info().Interfaces()[0]
	link := func(s osl.InterfaceSpec) func() error { return func() error { return n.AddLink(ctx, s) } }
	veth := osl.InterfaceSpec{Name: "new0", Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "new0-host"}, Addresses: []netip.Prefix{p("10.66.0.1/24"), p("2001:db8:66::1/64")}, Down: true}
	bridge := osl.InterfaceSpec{Name: "br0", Type: "bridge", Down: true}
	remove := func(name string) func() error { return func() error { return n.RemoveLink(ctx, name) } }
	var fresh *osl.Namespace
	list := []exchanges{
		{"SetGateway", func() error { return n.SetGateway(net.ParseIP("10.2.0.254")) }, 2, 2},
		{"SetGateway over another", func() error { return n.SetGateway(net.ParseIP("10.2.0.253")) }, 3, 4},
		{"UnsetGateway", n.UnsetGateway, 2, 2},
		{"SetGatewayIPv6", func() error { return n.SetGatewayIPv6(net.ParseIP("2001:db8:2::fe")) }, 2, 2},
		{"UnsetGatewayIPv6", n.UnsetGatewayIPv6, 2, 2},
		{"AddStaticRoute", func() error { return n.AddStaticRoute(nextHop) }, 2, 2},
		{"RemoveStaticRoute", func() error { return n.RemoveStaticRoute(nextHop) }, 2, 2},
		{"AddStaticRoute, connected", func() error {
			return n.AddStaticRoute(&types.StaticRoute{Destination: destination("192.168.7.0/24"), RouteType: types.CONNECTED, NextHop: net.ParseIP("10.2.0.1")})
		}, 3, 3},
		{"RemoveStaticRoute, connected", func() error {
			return n.RemoveStaticRoute(&types.StaticRoute{Destination: destination("192.168.7.0/24"), RouteType: types.CONNECTED})
		}, 2, 2},
		{"AddNeighbor", func() error { return n.AddNeighbor(net.ParseIP("10.3.255.7"), hw(7), false) }, 3, 3},
		{"DeleteNeighbor", func() error { return n.DeleteNeighbor(net.ParseIP("10.3.255.7"), hw(7), true) }, 2, 2},
		{"AddNeighbor of a vxlan", func() error { return n.AddNeighbor(net.ParseIP("192.0.2.7"), hw(7), false, onVX...) }, 2, 2},
		{"DeleteNeighbor of a vxlan", func() error { return n.DeleteNeighbor(net.ParseIP("192.0.2.7"), hw(7), true) }, 2, 2},
		{"AddAliasIP", func() error { return n.AddAliasIP("eth0", cidr("10.9.9.9/32")) }, 2, 2},
		{"RemoveAliasIP", func() error { return n.RemoveAliasIP("eth0", cidr("10.9.9.9/32")) }, 2, 2},
		{"AddAliasIP of IPv6", func() error { return n.AddAliasIP("eth0", cidr("2001:db8:9::9/128")) }, 3, 3},
		{"DisableARPForVIP", func() error { return n.DisableARPForVIP("eth0") }, 2, 2},
		{"Statistics", func() error { _, err := iface.Statistics(); return err }, 1, 1},
		{"InvokeFunc", func() error { return n.InvokeFunc(func() {}) }, 0, 0},
		// Reading lo, the name, and what may be in conflict; the record; the links
		// with their tags, on both sides; addresses, state and routes; reading back;
		// the record taken away.
		{"AddLink of a veth", link(veth), 8, -1},
		{"RemoveLink of a veth", remove("new0"), 5, -1},
		{"AddLink of a bridge", link(bridge), 4, -1},
		{"RemoveLink of a bridge", remove("br0"), 5, -1},
		{"Create", func() (err error) { fresh, err = osl.Create(ctx, "fresh"); return err }, 1, 1},
		{"Destroy", func() error { return fresh.Destroy() }, 1, -1},
	}
	measure := func(check func(x *exchanges, sends, recvs int64)) {
		for i := range list {
			x := &list[i]
			engine.ForgetLock(n.Key())
			sends.Store(0)
			recvs.Store(0)
			if err := x.do(); err != nil {
				t.Fatalf("%s: %v", x.name, err)
			}
			check(x, sends.Load(), recvs.Load())
		}
	}
	w.must(n.AddNeighbor(net.ParseIP("192.0.2.8"), hw(8), false, onVX...)) // from now on the link's index is known
	measure(func(x *exchanges, sends, recvs int64) {
		t.Logf("%s: %d sends, %d receives", x.name, sends, recvs)
		if x.recvs < 0 {
			x.recvs = recvs // of a list, which kernels cut differently
		}
		if sends != x.sends || recvs != x.recvs {
			t.Errorf("%s: %d sends and %d receives, want %d and %d", x.name, sends, recvs, x.sends, x.recvs)
		}
	})
	var links []osl.InterfaceSpec
	for i := range 100 {
		links = append(links, osl.InterfaceSpec{Name: fmt.Sprintf("b%d", i), Type: "bridge", Down: true})
	}
	w.must(n.AddLinks(ctx, slices.Values(links)))
	w.must(n.AddRoutes(ctx, slices.Values(staticRoutes(1000))))
	w.must(n.AddNeighbors(ctx, slices.Values(neighbours(1000))))
	measure(func(x *exchanges, sends, recvs int64) {
		if sends != x.sends || recvs != x.recvs && x.name != "Destroy" {
			t.Errorf("%s where there is much: %d sends and %d receives, want %d and %d", x.name, sends, recvs, x.sends, x.recvs)
		}
	})
}
