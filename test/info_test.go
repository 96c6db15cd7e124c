//go:build linux

package osltest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/types"
)

// readAnew is what a handle says that has never been asked before.
func readAnew(t *testing.T, key string) string {
	t.Helper()
	n, err := osl.Open(context.Background(), key)
	must(t, err)
	defer n.Close()
	return infoText(n.Info())
}

// Info of a handle that was asked before says at each moment what one says that reads
// all anew: after changes of osl's, of this handle and of another, and of others, and
// after so many that the kernel has no room to tell of them.
func TestInfoIsNeverStale(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	key := sb.Key()
	_, dst, _ := w.eth(sb, "10.77.0.2/24", "fd77::2/64")
	_, second, _ := w.eth(sb, "10.78.0.2/24")
	other, err := osl.Open(context.Background(), key)
	must(t, err)
	defer other.Close()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	witness(t, key, func(h *netlink.Handle) {
		link := func(name string) netlink.Link { l, _ := h.LinkByName(name); return l }
		names := []string{dst, second}
		tried := func(error) {} // what is refused changes nothing, or it does
		changes := map[string]func(){
			"an alias IP":       func() { tried(sb.AddAliasIP(dst, ipnet(fmt.Sprintf("10.255.0.%d/32", 1+r.IntN(9))))) },
			"no alias IP":       func() { tried(sb.RemoveAliasIP(dst, ipnet(fmt.Sprintf("10.255.0.%d/32", 1+r.IntN(9))))) },
			"a route":           func() { tried(sb.AddStaticRoute(route("10.9.0.0/16", types.NEXTHOP, "10.77.0.9"))) },
			"no route":          func() { tried(sb.RemoveStaticRoute(route("10.9.0.0/16", types.NEXTHOP, "10.77.0.9"))) },
			"a gateway":         func() { tried(other.SetGateway(ip(fmt.Sprintf("10.77.0.%d", 10+r.IntN(9))))) },
			"no gateway":        func() { tried(other.UnsetGateway()) },
			"a gateway of IPv6": func() { tried(other.SetGatewayIPv6(ip("fd77::9"))) },
			"an address of others": func() {
				tried(h.AddrAdd(link(dst), &netlink.Addr{IPNet: ipnet(fmt.Sprintf("10.77.0.%d/24", 20+r.IntN(9)))}))
			},
			"no address":        func() { tried(h.AddrDel(link(dst), &netlink.Addr{IPNet: ipnet("10.77.0.2/24")})) },
			"the address again": func() { tried(h.AddrReplace(link(dst), &netlink.Addr{IPNet: ipnet("10.77.0.2/24")})) },
			"an IPv6 address":   func() { tried(h.AddrReplace(link(dst), &netlink.Addr{IPNet: ipnet("fd77::7/64")})) },
			"an IPv6 alias": func() {
				tried(other.AddAliasIP(dst, ipnet(fmt.Sprintf("fd77::%x/64", 32+r.IntN(9)))))
			},
			"no IPv6 alias": func() {
				tried(sb.RemoveAliasIP(dst, ipnet(fmt.Sprintf("fd77::%x/64", 32+r.IntN(9)))))
			},
			"other IPv6 addresses": func() {
				tried(other.AddLink(context.Background(), osl.InterfaceSpec{Name: dst, Addresses: []netip.Prefix{
					netip.MustParsePrefix(fmt.Sprintf("fd77::%x/64", 64+r.IntN(9))), netip.MustParsePrefix(fmt.Sprintf("fe80::%x/64", 64+r.IntN(9)))}}))
			},
			"no IPv6 address":     func() { tried(h.AddrDel(link(dst), &netlink.Addr{IPNet: ipnet("fd77::7/64")})) },
			"down":                func() { tried(h.LinkSetDown(link(names[r.IntN(2)]))) },
			"up":                  func() { tried(h.LinkSetUp(link(names[r.IntN(2)]))) },
			"another tag":         func() { tried(h.LinkSetAlias(link(second), fmt.Sprintf("osl1;o=m;b=%d", 1+r.IntN(5)))) },
			"a bridge":            func() { tried(other.AddLink(context.Background(), osl.InterfaceSpec{Name: "br", Type: "bridge"})) },
			"no bridge":           func() { tried(other.RemoveLink(context.Background(), "br")) },
			"a master":            func() { tried(h.LinkSetMasterByIndex(link(second), link("br").Attrs().Index)) },
			"no master":           func() { tried(h.LinkSetNoMaster(link(second))) },
			"another link's name": func() { tried(h.LinkSetName(link("br"), "br2")); tried(h.LinkSetName(link("br2"), "br")) },
			"a route of osl's kind": func() {
				tried(h.RouteReplace(&netlink.Route{Dst: ipnet("10.11.0.0/16"), LinkIndex: link(dst).Attrs().Index, Protocol: 111}))
			},
		}
		for _, name := range []string{"a master", "another link's name"} {
			f := changes[name]
			changes[name] = func() {
				if l := link("br"); l != nil {
					f()
				}
			}
		}
		var order []string
		for name := range changes {
			order = append(order, name)
		}
		for i := range 300 {
			name := order[r.IntN(len(order))]
			changes[name]()
			// What the kernel does by itself a moment later may come between the three.
			for {
				want, got, still := readAnew(t, key), infoText(sb.Info()), readAnew(t, key)
				if want == still && got != want {
					t.Fatalf("after %d changes, the last %q, Info says\n%s\nbut there is\n%s", i+1, name, got, want)
				}
				if want == still {
					break
				}
			}
		}
		last := &netlink.Route{Dst: ipnet("10.12.0.0/16"), LinkIndex: link(dst).Attrs().Index, Protocol: 111}
		must(t, h.LinkSetUp(link(dst)))
		must(t, h.RouteReplace(last))
		before := infoText(sb.Info())
		for i := range 3000 {
			must(t, h.AddrAdd(link(dst), &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 200, byte(i/250), byte(i%250)), Mask: net.CIDRMask(32, 32)}}))
		}
		must(t, h.RouteDel(last))
		if infoText(sb.Info()) == before {
			t.Error("after a flood Info says what it said before")
		}
		if got, want := infoText(sb.Info()), readAnew(t, key); got != want {
			t.Errorf("after a flood Info says\n%s\nbut there is\n%s", got, want)
		}
	})
}

// What a caller does with what Info gave it is its own affair, and a change that has
// returned is in the next Info of all who ask at once.
func TestInfoOfMany(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src, _, _ := w.eth(sb, "10.79.0.2/24")
	want := infoText(sb.Info())
	sb.Info()
	i := iface(t, sb, src)
	i.Address().IP[0], i.Address().Mask[0] = 99, 0
	list := sb.Info().Interfaces()
	list[0] = nil
	if got := infoText(sb.Info()); got != want {
		t.Errorf("Info says\n%s\nand said\n%s", got, want)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				sb.Info()
			}
		})
	}
	for n := range 200 {
		gw := fmt.Sprintf("10.79.0.%d", 3+n)
		must(t, sb.SetGateway(ip(gw)))
		if got := sb.Info().Gateway().String(); got != gw {
			t.Errorf("the gateway is %s, and Info says %s", gw, got)
		}
	}
	wg.Wait()
	must(t, sb.Destroy())
	if got := infoText(sb.Info()); strings.Contains(got, "interface") {
		t.Errorf("of a sandbox that is gone Info says\n%s", got)
	}
}
