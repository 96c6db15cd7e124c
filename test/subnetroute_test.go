//go:build linux

package osltest

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// The route to a subnet goes with the last address that makes it, also where the kernel
// leaves it since another address of the subnet stays; what fails puts it back.
func TestSubnetsWithoutRoutes(t *testing.T) {
	begin(t)
	p := netip.MustParsePrefix
	all := []string{"fd01::1/64", "fd01::2/64", "fd02::1/64"}
	lab := func(addrs []string, without ...string) osl.Network {
		options := map[netip.Prefix]osl.AddressOptions{}
		for _, s := range without {
			options[p(s)] = osl.AddressOptions{NoPrefixRoute: true}
		}
		return osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "edge", Interfaces: []osl.InterfaceSpec{
			{Name: "b0", Type: "bridge", Addresses: prefixes(addrs...), AddressOptions: options}}}}}
	}
	defer func() { _, err := osl.Down(t.Context(), lab(all)); must(t, err) }()
	routes := func() string { return ipCommand(t, "-n", "edge", "-6", "route", "show", "root", "fd00::/8") }
	one, both := []string{all[0]}, all[:2]
	for _, x := range []struct {
		before, after osl.Network
		has           bool
	}{
		{lab(both), lab(both, both...), false},
		{lab(both, one...), lab(both, both...), false},
		{lab(both, one...), lab(one, one...), false},
		{lab(one), lab(both, both...), false},
		{lab(one), lab([]string{all[1], all[0]}, both...), false},
		{lab(all), lab(all, both...), false},
		{lab(both), lab(both, one...), true},
		{lab(both, both...), lab(both, one...), true},
	} {
		settled(t, x.before)
		had := routes()
		failsAtTheEnd(t, x.after, "b0")
		if got := routes(); got != had {
			t.Errorf("after a failure of %s there is\n%s\nand there was\n%s", toText(x.after), got, had)
		}
		settled(t, x.after)
		if got := routes(); strings.Contains(got, "fd01::/64") != x.has || strings.Contains(got, "fd02::/64") != slices.Contains(textsOf(x.after), "fd02::1/64") {
			t.Errorf("%s has the routes\n%s", toText(x.after), got)
		}
		_, err := osl.Down(t.Context(), x.after)
		must(t, err)
	}
}

// failsAtTheEnd applies a network with a route in its first sandbox that the kernel alone
// refuses, when all before it is done.
func failsAtTheEnd(t *testing.T, net osl.Network, dev string) {
	t.Helper()
	net.Sandboxes = slices.Clone(net.Sandboxes)
	net.Sandboxes[0].Routes = noRoute()
	net.Sandboxes[0].Routes[0].Dev = dev
	if _, err := osl.Apply(t.Context(), net); err == nil || errors.Is(err, osl.ErrNotFound) {
		t.Fatalf("the route was taken, or not tried: %v", err)
	}
}

// So does that of a subnet where an address stays that somebody else gave, which makes none;
// a route that somebody made in the kernel's name stays.
func TestSubnetOfOthersWithoutRoute(t *testing.T) {
	begin(t)
	lab := func(addrs ...string) osl.Network {
		return osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "edge", Interfaces: []osl.InterfaceSpec{{Name: "b0", Type: "bridge", Addresses: prefixes(addrs...)}}}}}
	}
	defer func() { _, err := osl.Down(t.Context(), lab()); must(t, err) }()
	settled(t, lab("fd01::1/64", "fd02::1/64"))
	ipCommand(t, "-n", "edge", "addr", "add", "fd01::7/64", "dev", "b0", "noprefixroute")
	ipCommand(t, "-n", "edge", "route", "add", "fd01::/64", "dev", "b0", "proto", "kernel", "metric", "100")
	routes := func() string { return ipCommand(t, "-n", "edge", "-6", "route", "show", "root", "fd00::/8") }
	had, after := routes(), lab("fd02::1/64")
	failsAtTheEnd(t, after, "b0")
	if got := routes(); got != had {
		t.Errorf("after a failure there is\n%s\nand there was\n%s", got, had)
	}
	_, err := osl.Apply(t.Context(), after)
	must(t, err)
	if c, err := osl.Diff(t.Context(), after); err != nil || len(c) > 0 {
		t.Errorf("diff: %v\n%s", err, c)
	}
	var left []string
	for line := range strings.Lines(routes()) {
		if strings.HasPrefix(line, "fd01::/64") {
			left = append(left, line)
		}
	}
	if len(left) != 1 || !strings.Contains(left[0], "metric 100") {
		t.Errorf("to the subnet lead %q", left)
	}
}

// textsOf are the addresses of a network's only interface.
func textsOf(n osl.Network) (list []string) {
	for _, p := range n.Sandboxes[0].Interfaces[0].Addresses {
		list = append(list, p.String())
	}
	return list
}

// A next hop in a subnet whose route goes in the same edit is refused, as it is of a new
// sandbox.
func TestNextHopInASubnetWithoutRoute(t *testing.T) {
	begin(t)
	lab := func(routes []osl.RouteSpec, o osl.AddressOptions) osl.Network {
		return osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "edge", Routes: routes, Interfaces: []osl.InterfaceSpec{
			{Name: "b0", Type: "bridge", Addresses: prefixes("10.1.0.1/24", "fd01::1/64"), AddressOptions: map[netip.Prefix]osl.AddressOptions{
				netip.MustParsePrefix("10.1.0.1/24"): o, netip.MustParsePrefix("fd01::1/64"): {NoPrefixRoute: o.NoPrefixRoute}}}}}}}
	}
	defer func() { _, err := osl.Down(t.Context(), lab(nil, osl.AddressOptions{})); must(t, err) }()
	for _, route := range []osl.RouteSpec{
		{To: netip.MustParsePrefix("10.2.0.0/16"), Via: netip.MustParseAddr("10.1.0.9")},
		{To: netip.MustParsePrefix("fd02::/64"), Via: netip.MustParseAddr("fd01::9")},
	} {
		routes := []osl.RouteSpec{route}
		settled(t, lab(routes, osl.AddressOptions{}))
		changes := []osl.AddressOptions{{NoPrefixRoute: true}}
		if route.To.Addr().Is4() {
			changes = append(changes, osl.AddressOptions{Peer: netip.MustParseAddr("10.3.0.1")})
		}
		for _, o := range changes {
			if _, err := osl.Apply(t.Context(), lab(routes, o)); !errors.Is(err, osl.ErrUnreachable) {
				t.Errorf("%v with %s: %v", route, toText(o), err)
			}
			settled(t, lab(nil, o))
			settled(t, lab(routes, osl.AddressOptions{}))
		}
	}
	// Of IPv4 the first address of a subnet alone makes the route, the first in the kernel.
	p := netip.MustParsePrefix
	routes := []osl.RouteSpec{{To: p("10.2.0.0/16"), Via: netip.MustParseAddr("10.1.0.9")}}
	two := func(routes []osl.RouteSpec, without string, addrs ...string) osl.Network {
		n := lab(routes, osl.AddressOptions{})
		f := &n.Sandboxes[0].Interfaces[0]
		f.Addresses, f.AddressOptions = prefixes(addrs...), nil
		if without != "" {
			f.AddressOptions = map[netip.Prefix]osl.AddressOptions{p(without): {NoPrefixRoute: true}}
		}
		return n
	}
	first, second := "10.1.0.1/24", "10.1.0.2/24"
	for _, x := range []struct {
		after   osl.Network
		refused bool
	}{
		{two(routes, first, first, second), true},
		{two(routes, first, second, first), true},
		{two(routes, second, first, second), false},
		{two(routes, second, second, first), false},
		{two(routes, second, second), true},
		{two(routes, "", second), false},
	} {
		settled(t, two(routes, "", first, second))
		if x.refused {
			if _, err := osl.Apply(t.Context(), x.after); !errors.Is(err, osl.ErrUnreachable) {
				t.Errorf("%s: %v", toText(x.after), err)
			}
			x.after.Sandboxes[0].Routes = nil
		}
		settled(t, x.after)
		if got := ipCommand(t, "-n", "edge", "route", "show", "10.1.0.0/24"); (got == "") != x.refused {
			t.Errorf("%s: the route to the subnet is %q", toText(x.after), got)
		}
		_, err := osl.Down(t.Context(), x.after)
		must(t, err)
	}
}

// The kernel's route to a subnet that somebody took away comes again, before what needs it; so
// do the commands of a diff bring it, and what fails leaves it as it was.
func TestSubnetRoutesOfOthersHands(t *testing.T) {
	begin(t)
	lab := osl.Network{Name: "lab", Sandboxes: []osl.Spec{{
		Name: "edge", Gateway: netip.MustParseAddr("10.1.0.9"), Gateway6: netip.MustParseAddr("fd01::9"),
		Interfaces: []osl.InterfaceSpec{
			{Name: "b0", Type: "bridge", Addresses: prefixes("10.1.0.1/24", "10.1.0.2/24", "10.2.0.1/32", "fd01::1/64", "fd01::2/64", "fd02::1/128")},
			{Name: "b1", Type: "bridge", Addresses: prefixes("10.1.0.1/16", "fd01::1/48"), SharedSubnet: true, Routes: prefixes("10.3.0.0/16")},
		}}}}
	defer func() { _, err := osl.Down(t.Context(), lab); must(t, err) }()
	routes := func() string {
		var list []string
		for _, family := range []string{"-4", "-6"} {
			for line := range strings.Lines(ipCommand(t, "-n", "edge", family, "route")) {
				list = append(list, strings.TrimSpace(line))
			}
		}
		slices.Sort(list)
		return strings.Join(list, "\n")
	}
	settled(t, lab)
	had := routes()
	for _, x := range [][]string{
		{"-4 route flush table main"}, {"-6 route flush table main"}, {"route del 10.1.0.0/24 dev b0"}, {"route flush dev b1"},
		{"-4 route flush table main", "-6 route flush table main"},
	} {
		for _, pasted := range []bool{false, true} {
			for _, command := range x {
				ipCommand(t, append([]string{"-n", "edge"}, strings.Fields(command)...)...)
			}
			without := routes()
			if without == had {
				t.Fatalf("%s took nothing away", x)
			}
			failsAtTheEnd(t, lab, "b0")
			if got := routes(); got != without {
				t.Errorf("after a failure there is\n%s\nand there was\n%s", got, without)
			}
			if pasted {
				c, err := osl.Diff(t.Context(), lab)
				must(t, err)
				if err := paste(c); err != nil {
					t.Errorf("%s: %v", x, err)
				}
			}
			c, err := osl.Apply(t.Context(), lab)
			must(t, err)
			if pasted && len(c) > 0 {
				t.Errorf("after its commands up does\n%s", c)
			}
			if got := routes(); got != had {
				t.Errorf("after %s there is\n%s\nand there was\n%s", x, got, had)
			}
			if c, err := osl.Diff(t.Context(), lab); err != nil || len(c) > 0 {
				t.Errorf("diff: %v\n%s", err, c)
			}
		}
	}
}

// It comes where its place is free: not beside one that comes again or is made in the same
// edit, nor one that somebody put in its place, and not on the host.
func TestSubnetRoutesThatAreTaken(t *testing.T) {
	begin(t)
	lab := func(links int) osl.Network {
		n := osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "edge"}}}
		for i, addrs := range [][]string{{"10.1.0.1/24", "fd01::1/64"}, {"10.1.0.2/24", "fd01::2/64"}, {"10.1.0.3/24", "fd01::3/64"}}[:links] {
			f := osl.InterfaceSpec{Name: "b" + strconv.Itoa(i), Type: "bridge", Addresses: prefixes(addrs...), SharedSubnet: i > 0}
			n.Sandboxes[0].Interfaces = slices.Insert(n.Sandboxes[0].Interfaces, 0, f) // what comes is before the others
		}
		return n
	}
	defer func() { _, err := osl.Down(t.Context(), lab(3)); must(t, err) }()
	for _, commands := range [][]string{
		{"-4 route flush table main"}, {"-6 route flush table main"}, {"-4 route flush table main", "-6 route flush table main"},
		{"-4 route flush table main", "route add unreachable 10.1.0.0/24"}, {"-6 route flush table main", "route add fd01::/64 dev b1 metric 256"},
	} {
		for _, links := range []int{2, 3} {
			settled(t, lab(2))
			for _, command := range commands {
				ipCommand(t, append([]string{"-n", "edge"}, strings.Fields(command)...)...)
			}
			settled(t, lab(links))
			got := ipCommand(t, "-n", "edge", "-4", "route") + ipCommand(t, "-n", "edge", "-6", "route")
			if !strings.Contains(got, "10.1.0.0/24") || !strings.Contains(got, "fd01::/64") {
				t.Errorf("after %s there is\n%s", commands, got)
			}
			_, err := osl.Down(t.Context(), lab(2))
			must(t, err)
		}
	}
	// One that leads there by the same link has another metric.
	one := lab(1)
	settled(t, one)
	for _, x := range [][2]string{{"10.1.0.0/24", "50"}, {"fd01::/64", "50"}} {
		ipCommand(t, "-n", "edge", "route", "del", x[0], "dev", "b0")
		ipCommand(t, "-n", "edge", "route", "add", x[0], "dev", "b0", "metric", x[1])
	}
	nothingLeft(t, one)
}

func TestSubnetRoutesOfTheHost(t *testing.T) {
	w := begin(t)
	br, other := name("br"), name("br")
	lab := osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "host", Interfaces: []osl.InterfaceSpec{{Name: br, Type: "bridge", Addresses: prefixes("10.89.0.1/24")}}}, {Name: "edge"}}}
	defer func() { _, err := osl.Down(t.Context(), lab); must(t, err) }()
	settled(t, lab)
	w.made = append(w.made, other)
	ipCommand(t, "link", "add", other, "up", "type", "bridge")
	ipCommand(t, "addr", "add", "10.89.0.7/24", "dev", other)
	ipCommand(t, "route", "del", "10.89.0.0/24", "dev", br)
	nothingLeft(t, lab)
	ipCommand(t, "route", "del", "10.89.0.0/24", "dev", other)
	ipCommand(t, "route", "add", "blackhole", "10.89.0.0/24")
	defer ipCommand(t, "route", "del", "blackhole", "10.89.0.0/24")
	nothingLeft(t, lab)
}

// Of what is in 0.0.0.0/8, and so of all, the kernel makes no route, and none is missing.
func TestSubnetOfAll(t *testing.T) {
	begin(t)
	settled(t, lab(t, nil, osl.InterfaceSpec{Name: "b0", Type: "bridge", Addresses: prefixes("10.2.0.1/0", "10.3.0.1/4", "fd01::1/64")}))
}

// The route to the subnet of an address of a vrf is in the table of that.
func TestFeatureVRFAddress(t *testing.T) {
	begin(t)
	n := lab(t, nil, osl.InterfaceSpec{Name: "v0", Type: "vrf", Table: 70000, Addresses: prefixes("10.2.0.1/24", "fd01::1/64")})
	_, err := osl.Apply(t.Context(), n)
	testnet.Feature(t, "addresses of a vrf", err)
	settled(t, n)
	if got := ipCommand(t, "-n", "sa", "route", "show"); strings.Contains(got, "10.2.0.0") {
		t.Errorf("the table main has\n%s", got)
	}
}
