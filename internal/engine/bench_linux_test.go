package engine_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/seed59451c2b/osl"

	"github.com/seed59451c2b/osl/types"
)

// bench returns an open sandbox with a bridge that has an address, and a veth
// whose other end is in a second sandbox.
func bench(b *testing.B) *osl.Namespace {
	ctx := context.Background()
	var open []*osl.Namespace
	for _, name := range []string{"bench", "other"} {
		n, err := osl.Create(ctx, name)
		if err != nil {
			b.Fatal(err)
		}
		open = append(open, n)
		b.Cleanup(func() { _ = n.Destroy() })
	}
	if err := open[0].AddLink(ctx, osl.InterfaceSpec{Name: "eth0", Type: "veth", Peer: osl.Endpoint{Sandbox: "other", Interface: "eth0"},
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.2.0.1/16"), netip.MustParsePrefix("2001:db8:2::1/64")}}); err != nil {
		b.Fatal(err)
	}
	return open[0]
}

func each(b *testing.B, name string, f func(i int) error) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if err := f(i); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// The time and the memory that calls take, also where the sandbox holds a lot.
// Figures beside those of other programs come from the module bench.
func BenchmarkCalls(b *testing.B) {
	n := bench(b)
	for _, routes := range []int{0, 5000} {
		for i := range routes {
			if err := n.AddStaticRoute(&types.StaticRoute{Destination: destination(fmt.Sprintf("172.%d.%d.0/24", 16+i/250, i%250)), NextHop: net.ParseIP("10.2.0.9")}); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(fmt.Sprintf("routes=%d", routes), func(b *testing.B) { benchCalls(b, n) })
	}
}

func benchCalls(b *testing.B, n *osl.Namespace) {
	gw := net.ParseIP("10.2.0.254")
	each(b, "gateway", func(int) error { return both(n.SetGateway(gw), n.UnsetGateway()) })
	r := &types.StaticRoute{Destination: destination("192.168.0.0/16"), NextHop: net.ParseIP("10.2.0.9")}
	each(b, "route", func(int) error { return both(n.AddStaticRoute(r), n.RemoveStaticRoute(r)) })
	ip, mac := net.ParseIP("10.2.0.7"), hw(7)
	each(b, "neighbor", func(int) error { return both(n.AddNeighbor(ip, mac, false), n.DeleteNeighbor(ip, mac, true)) })
	each(b, "alias", func(int) error {
		return both(n.AddAliasIP("eth0", cidr("10.9.9.9/32")), n.RemoveAliasIP("eth0", cidr("10.9.9.9/32")))
	})
	each(b, "alias6", func(int) error {
		return both(n.AddAliasIP("eth0", cidr("2001:db8:9::9/128")), n.RemoveAliasIP("eth0", cidr("2001:db8:9::9/128")))
	})
	each(b, "invoke", func(int) error { return n.InvokeFunc(func() {}) })
	iface := n.Info().Interfaces()[0]
	each(b, "statistics", func(int) error { _, err := iface.Statistics(); return err })
	each(b, "info", func(int) error { n.Info(); return nil })
	ctx := context.Background()
	each(b, "link", func(i int) error {
		name := fmt.Sprintf("e%d", i)
		err := n.AddLink(ctx, osl.InterfaceSpec{Name: name, Type: "veth", Peer: osl.Endpoint{Sandbox: "other", Interface: name},
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.66.0.1/24"), netip.MustParsePrefix("2001:db8:66::1/64")},
			Routes:    []netip.Prefix{netip.MustParsePrefix("10.67.0.0/24")}})
		return both(err, n.RemoveLink(ctx, name))
	})
	each(b, "life", func(int) error {
		n, err := osl.Create(ctx, "life")
		if err != nil {
			return err
		}
		return n.Destroy()
	})
}

func both(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// What a network costs for each of its sandboxes, which have two links: as much
// where there are many.
func BenchmarkUp(b *testing.B) {
	ctx := context.Background()
	for _, n := range []int{100, 1000} {
		var net osl.Network
		for i := range n {
			net.Sandboxes = append(net.Sandboxes, osl.Spec{Name: fmt.Sprintf("u%d", i)})
			net.Links = append(net.Links, osl.Link{{Sandbox: fmt.Sprintf("u%d", i), Interface: "e0"}, {Sandbox: fmt.Sprintf("u%d", (i+1)%n), Interface: "e1"}})
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				_, err := osl.Apply(ctx, net)
				_, derr := osl.Down(ctx, net)
				if err := both(err, derr); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/sandbox")
		})
	}
}
