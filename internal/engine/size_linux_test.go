package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/engine"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// wide is a network of n sandboxes; each has a link to a switch that is not made by
// it, one to the host, and one to the next.
func wide(n int) (net osl.Network) {
	for i := range n {
		box, next := fmt.Sprintf("w%d", i), fmt.Sprintf("w%d", (i+1)%n)
		net.Sandboxes = append(net.Sandboxes, osl.Spec{Name: box, Interfaces: []osl.InterfaceSpec{{Name: "eth0",
			Addresses: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.%d.%d.1/24", 100+i/250, i%250))}}}})
		net.Links = append(net.Links, osl.Link{{Sandbox: box, Interface: "eth0"}, {Sandbox: "sw", Interface: fmt.Sprintf("p%d", i)}},
			osl.Link{{Sandbox: box, Interface: "up"}, {Sandbox: osl.HostName, Interface: fmt.Sprintf("h%d", i)}}, osl.Link{{Sandbox: box, Interface: "e0"}, {Sandbox: next, Interface: "e1"}})
	}
	sw := osl.Spec{Name: "sw", Interfaces: []osl.InterfaceSpec{{Name: "br0", Type: "bridge"}}}
	for i := range n {
		sw.Interfaces = append(sw.Interfaces, osl.InterfaceSpec{Name: fmt.Sprintf("p%d", i), Master: "br0"})
	}
	net.Sandboxes = append(net.Sandboxes, sw)
	return net
}

// A change of many sandboxes that fails leaves nothing, and is free for another
// when the call returns: no sandbox, no link in a sandbox of before or on the host.
// Its way back asks the kernel as often, however many links there are.
func TestWayBackOfMany(t *testing.T) {
	w := &faultWorld{t: t}
	w.clear()
	t.Cleanup(w.clear)
	ctx := context.Background()
	var sends, none atomic.Int64
	netlink.Intercept = func(t netlink.Transport) netlink.Transport { return counter{t, &sends, &none} }
	t.Cleanup(func() { netlink.Intercept = nil })
	host, err := engine.DialHost()
	w.must(err)
	defer host.Close()
	w.must(func() error {
		_, err := osl.Apply(ctx, osl.Network{Sandboxes: []osl.Spec{{Name: "sw", Interfaces: []osl.InterfaceSpec{{Name: "br0", Type: "bridge"}}}}})
		return err
	}())
	defer osl.Remove(ctx, "sw")
	back := func(n int) int64 {
		net := wide(n)
		p, err := engine.Prepare(ctx, wanted(net), true)
		w.must(err)
		defer p.Close()
		ops, _, err := p.Build()
		w.must(err)
		before := sends.Load()
		p.Run().SetOps(ops)
		w.must(p.Run().Forward(ops))
		there := sends.Load() - before
		if left := p.Run().Back(); len(left) > 0 {
			t.Errorf("%d sandboxes: left %v", n, left)
		}
		for _, s := range net.Sandboxes[:n] {
			if _, err := engine.OpenAt("/run/netns/" + s.Name); !errors.Is(err, unix.ENOENT) {
				t.Errorf("%s is there: %v", s.Name, err)
			}
		}
		for i := range n {
			var l rtnl.Link
			if err := host.One(ctx, rtnl.GetLink(0, fmt.Sprintf("h%d", i), &l)); !errors.Is(err, unix.ENODEV) {
				t.Errorf("h%d is on the host: %v", i, err)
			}
		}
		sw, err := osl.Open(ctx, "sw")
		w.must(err)
		defer sw.Close()
		links, err := connOf(t, sw).Links(ctx)
		w.must(err)
		if len(links) != 2 { // lo and br0
			t.Errorf("%d links are in sw", len(links))
		}
		return sends.Load() - before - there
	}
	one, many := back(10), back(40)
	// The looks of this test: a question for each link of the host, and the list.
	one, many = one-10, many-40
	t.Logf("%d and %d messages", one, many)
	if many > one {
		t.Errorf("the way back of 40 sandboxes took %d messages, of 10 %d", many, one)
	}
	bad := wide(30)
	bad.Sandboxes[0].Sysctls = map[string]string{"ipv4.nope": "1"}
	if _, err := osl.Apply(ctx, bad); err == nil || errors.Is(err, osl.ErrIncomplete) {
		t.Fatal(err)
	}
	if _, err := osl.Apply(ctx, wide(30)); err != nil {
		t.Errorf("at once after one that failed: %v", err)
	}
	_, err = osl.Down(ctx, wide(30))
	w.must(err)
}

// An index that is taken, where nobody looked, is no failure.
func TestIndexesTaken(t *testing.T) {
	w := &faultWorld{t: t}
	w.clear()
	t.Cleanup(w.clear)
	ctx := context.Background()
	n, err := osl.Create(ctx, "a")
	w.must(err)
	defer n.Destroy()
	host, err := engine.DialHost()
	w.must(err)
	defer host.Close()
	add := func(name string) int {
		w.must(n.AddLink(ctx, osl.InterfaceSpec{Name: name, Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: name + "h"}}))
		i, err := host.Index(name + "h")
		w.must(err)
		return i
	}
	last := add("x0")
	for i := range 8 { // those that come next
		w.must(host.One(ctx, rtnl.NewLink(rtnl.LinkNew{Index: last + 1 + i, Name: fmt.Sprintf("t%d", i), Kind: "bridge"})))
		defer host.One(ctx, rtnl.DelLink(last+1+i))
	}
	add("x1")
}
