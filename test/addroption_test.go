//go:build linux

package osltest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/seed59451c2b/osl"
)

// addrsWithOptions are the addresses of an interface with what they have, sorted.
func addrsWithOptions(t *testing.T, box, dev string) []string {
	t.Helper()
	list := addrsInOrder(t, box, dev)
	slices.Sort(list)
	return list
}

// addrsInOrder are the addresses of an interface with what they have, as the ip command
// shows them.
func addrsInOrder(t *testing.T, box, dev string) (list []string) {
	t.Helper()
	for _, l := range ipJSON(t, "-n", box, "-d", "addr", "show", "dev", dev) {
		for _, x := range l["addr_info"].([]any) {
			a := x.(map[string]any)
			s := a["local"].(string)
			if a["scope"] == "link" && strings.HasPrefix(s, "fe80") {
				continue
			}
			for _, name := range []string{"address", "prefixlen", "scope", "noprefixroute", "home", "deprecated"} {
				if v, ok := a[name]; ok {
					s += fmt.Sprint(" ", name, " ", v)
				}
			}
			for _, name := range []string{"valid_life_time", "preferred_life_time"} {
				if v := a[name].(float64); v == 0 {
					s += " no " + name
				} else if v < 1<<32-1 {
					s += " some " + name
				}
			}
			list = append(list, s)
		}
	}
	return list
}

// What an address has beside itself is in the kernel as the network says, Diff is
// empty then, Inspect says it, and what can be changed in place is.
func TestAddressOptions(t *testing.T) {
	begin(t)
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	none := uint32(0)
	options := map[netip.Prefix]osl.AddressOptions{
		p("10.0.0.1/32"):     {Peer: a("10.0.0.2")},
		p("10.1.0.1/24"):     {NoPrefixRoute: true},
		p("10.2.0.1/24"):     {Scope: "link"},
		p("10.3.0.1/24"):     {ValidLft: 5000, PreferredLft: &none},
		p("10.4.0.1/32"):     {ValidLft: 5000},
		p("10.5.0.1/24"):     {PreferredLft: &none},
		p("fd00::1/128"):     {Peer: a("fd00::2")},
		p("fd01::1/64"):      {NoPrefixRoute: true, Home: true},
		p("fd02::1/64"):      {PreferredLft: &none},
		p("2001:db8::1/128"): {ValidLft: 5000},
	}
	f := osl.InterfaceSpec{Name: "b0", Type: "bridge", Addresses: []netip.Prefix{p("10.9.0.1/24")}, AddressOptions: options,
		Aliases: []netip.Prefix{p("10.4.0.1/32"), p("2001:db8::1/128")}}
	for _, s := range []string{"10.0.0.1/32", "10.1.0.1/24", "10.2.0.1/24", "10.3.0.1/24", "10.5.0.1/24", "fd00::1/128", "fd01::1/64", "fd02::1/64"} {
		f.Addresses = append(f.Addresses, p(s))
	}
	n := osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "edge", Interfaces: []osl.InterfaceSpec{f}}}}
	defer func() { _, err := osl.Down(t.Context(), n); must(t, err) }()
	up := func() {
		t.Helper()
		_, err := osl.Apply(t.Context(), n)
		must(t, err)
		if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
			t.Fatalf("diff: %v\n%s", err, c)
		}
		asRead(t, n)
	}
	up()
	want := []string{
		"10.0.0.1 address 10.0.0.2 prefixlen 32 scope global",
		"10.1.0.1 prefixlen 24 scope global noprefixroute true",
		"10.2.0.1 prefixlen 24 scope link",
		"10.3.0.1 prefixlen 24 scope global deprecated true some valid_life_time no preferred_life_time",
		"10.4.0.1 prefixlen 32 scope global some valid_life_time some preferred_life_time",
		"10.5.0.1 prefixlen 24 scope global deprecated true",
		"10.9.0.1 prefixlen 24 scope global",
		"2001:db8::1 prefixlen 128 scope global some valid_life_time some preferred_life_time",
		"fd00::1 address fd00::2 prefixlen 128 scope global",
		"fd01::1 prefixlen 64 scope global noprefixroute true home true",
		"fd02::1 prefixlen 64 scope global deprecated true no preferred_life_time",
	}
	if got := addrsWithOptions(t, "edge", "b0"); !slices.Equal(got, want) {
		t.Errorf("the kernel has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	edge, err := osl.Open(t.Context(), "edge")
	must(t, err)
	defer edge.Close()
	st, err := edge.Inspect(t.Context())
	must(t, err)
	said := st.Interfaces[0].AddressOptions
	for q, o := range options {
		got := said[q]
		if got.ValidLft > 0 && got.ValidLft <= o.ValidLft && got.ValidLft > o.ValidLft-60 {
			got.ValidLft = o.ValidLft
		}
		if toText(got) != toText(o) {
			t.Errorf("Inspect says of %v %s, want %s", q, toText(got), toText(o))
		}
	}
	// In place: lifetimes of both families, and all of IPv6 but a peer of a longer prefix.
	options[p("10.3.0.1/24")] = osl.AddressOptions{}
	options[p("10.4.0.1/32")] = osl.AddressOptions{ValidLft: 100}
	options[p("fd00::1/128")] = osl.AddressOptions{Peer: a("fd00::3")}
	options[p("fd01::1/64")] = osl.AddressOptions{ValidLft: 100, PreferredLft: &none}
	options[p("fd02::1/64")] = osl.AddressOptions{NoPrefixRoute: true}
	up()
	want[3] = "10.3.0.1 prefixlen 24 scope global"
	want[8] = "fd00::1 address fd00::3 prefixlen 128 scope global"
	want[9] = "fd01::1 prefixlen 64 scope global deprecated true some valid_life_time no preferred_life_time"
	want[10] = "fd02::1 prefixlen 64 scope global noprefixroute true"
	if got := addrsWithOptions(t, "edge", "b0"); !slices.Equal(got, want) {
		t.Errorf("after the edit the kernel has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// It goes as any address does.
	n.Sandboxes[0].Interfaces[0].Addresses, n.Sandboxes[0].Interfaces[0].Aliases, n.Sandboxes[0].Interfaces[0].AddressOptions = f.Addresses[:1], nil, nil
	up()
	if got := addrsWithOptions(t, "edge", "b0"); !slices.Equal(got, want[6:7]) {
		t.Errorf("without them the interface has %v", got)
	}
}

// lo has 127.0.0.1/8 and ::1/128 of its own, and takes others of theirs.
func TestLoopbackAddresses(t *testing.T) {
	begin(t)
	p := netip.MustParsePrefix
	n := osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "edge", Interfaces: []osl.InterfaceSpec{{Name: "lo",
		Addresses: []netip.Prefix{p("127.0.0.1/8"), p("::1/128"), p("127.0.0.53/8"), p("127.1.0.1/32"), p("10.255.0.1/32"), p("fd00::1/128")}}}}}}
	defer func() { _, err := osl.Down(t.Context(), n); must(t, err) }()
	for range 2 {
		_, err := osl.Apply(t.Context(), n)
		must(t, err)
		if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
			t.Fatalf("diff: %v\n%s", err, c)
		}
		asRead(t, n)
	}
	want := []string{"10.255.0.1 prefixlen 32 scope global", "127.0.0.1 prefixlen 8 scope host", "127.0.0.53 prefixlen 8 scope host",
		"127.1.0.1 prefixlen 32 scope host", "::1 prefixlen 128 scope host", "fd00::1 prefixlen 128 scope global"}
	if got := addrsWithOptions(t, "edge", "lo"); !slices.Equal(got, want) {
		t.Errorf("lo has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAddressOptionsRefused(t *testing.T) {
	begin(t)
	over := uint32(9)
	for _, x := range []struct {
		addr    string
		options osl.AddressOptions
		words   string
	}{
		{"10.0.0.1/32", osl.AddressOptions{Peer: netip.MustParseAddr("fd00::1")}, "peer"},
		{"fd00::1/64", osl.AddressOptions{Scope: "link"}, "scope"},
		{"10.0.0.1/24", osl.AddressOptions{Scope: "moon"}, "no scope"},
		{"10.0.0.1/24", osl.AddressOptions{Home: true}, "IPv4"},
		{"10.0.0.1/24", osl.AddressOptions{ValidLft: 8, PreferredLft: &over}, "longer"},
		{"10.0.0.9/24", osl.AddressOptions{}, "does not have"},
	} {
		p := netip.MustParsePrefix(x.addr)
		f := osl.InterfaceSpec{Name: "b0", Type: "bridge", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("fd00::1/64")},
			AddressOptions: map[netip.Prefix]osl.AddressOptions{p: x.options}}
		_, err := osl.Apply(t.Context(), osl.Network{Sandboxes: []osl.Spec{{Name: "edge", Interfaces: []osl.InterfaceSpec{f}}}})
		refused(t, x.addr+toText(x.options), err, osl.ErrInvalid, x.words)
	}
}

// An IPv6 address with a peer has the routes of one that is added to a link that is up,
// whenever its link goes up: the kernel makes the one to the peer or not, by the moment. So
// a change that fails has no other routes to give back. The addresses are in their order.
func TestPeerRoutes(t *testing.T) {
	begin(t)
	near, far, last := netip.MustParsePrefix("fd04::1/64"), netip.MustParsePrefix("fd05::1/64"), netip.MustParsePrefix("fd07::1/64")
	f := osl.InterfaceSpec{Name: "e0", Type: "bridge", Down: true, Addresses: []netip.Prefix{near, far, last}, AddressOptions: map[netip.Prefix]osl.AddressOptions{
		near: {Peer: netip.MustParseAddr("fd04::2"), Home: true}, far: {Peer: netip.MustParseAddr("fd06::2")}}}
	route := osl.RouteSpec{To: netip.MustParsePrefix("fd88::/48"), Dev: "e1", Src: near.Addr()}
	n := lab(t, []osl.RouteSpec{route}, f, osl.InterfaceSpec{Name: "e1", Type: "bridge", Addresses: prefixes("fd03::1/64")})
	apply := func(down bool) {
		t.Helper()
		n.Sandboxes[0].Interfaces[0].Down = down
		_, err := osl.Apply(t.Context(), n)
		must(t, err)
		if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
			t.Fatalf("diff: %v\n%s", err, c)
		}
		asRead(t, n)
	}
	key := osl.GenerateKey("sa")
	routes := func() (list []string) {
		witness(t, key, func(h *netlink.Handle) {
			for _, r := range dump(t, func() ([]netlink.Route, error) { return h.RouteList(linkOf(t, key, "e0"), netlink.FAMILY_V6) }) {
				if !r.Dst.IP.IsLinkLocalUnicast() {
					list = append(list, r.Dst.String())
				}
			}
		})
		slices.Sort(list)
		return list
	}
	order := func() (list []string) {
		witness(t, key, func(h *netlink.Handle) {
			for _, a := range dump(t, func() ([]netlink.Addr, error) { return h.AddrList(linkOf(t, key, "e0"), netlink.FAMILY_V6) }) {
				list = append(list, a.IPNet.String())
			}
		})
		return list
	}
	want := []string{"fd04::/64", "fd04::2/128", "fd05::/64", "fd06::2/128", "fd07::/64"}
	apply(false)
	same(t, "a new link", want, routes)
	apply(true)
	time.Sleep(50 * time.Millisecond) // what waits in the kernel's queue finds the link down
	before, first := snapshot(t, key), order()
	fails := func(what string, e0 osl.InterfaceSpec) {
		t.Helper()
		other := n
		other.Sandboxes = []osl.Spec{{Name: "sa", Interfaces: []osl.InterfaceSpec{{Name: "e2", Type: "bridge"}, e0}}}
		if _, err := osl.Apply(t.Context(), failing(other)); err == nil || strings.Contains(err.Error(), "left behind") {
			t.Errorf("%s: %v", what, err)
		}
		same(t, what, before, func() []string { return snapshot(t, key) })
		if now := order(); !slices.Equal(now, first) {
			t.Errorf("%s: the addresses are in the order %v, and were %v", what, now, first)
		}
	}
	rises := f
	rises.Down = false
	fails("a link that was to go up", rises)
	apply(false)
	same(t, "a link that was down", want, routes)
	before, first = snapshot(t, key), order()
	fails("a link that was to go down", f)
	f.AddressOptions[last] = osl.AddressOptions{Peer: netip.MustParseAddr("fd08::2")}
	fails("an address that was to have a peer", rises)
	apply(false)
	same(t, "an address that has a peer now", append(want, "fd08::2/128"), routes)
}
