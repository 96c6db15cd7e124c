package engine_test

import (
	"context"
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl"
)

// routesLab is a sandbox with two links to another, which has no routes.
func routesLab(routes ...osl.RouteSpec) osl.Network {
	p := netip.MustParsePrefix
	peer := func(name string) osl.Endpoint { return osl.Endpoint{Sandbox: "b", Interface: name} }
	return osl.Network{Name: "lab", Sandboxes: []osl.Spec{
		{Name: "a", Routes: routes, Interfaces: []osl.InterfaceSpec{
			{Name: "e0", MAC: osl.MAC(hw(96)), Peer: peer("e0"), Addresses: []netip.Prefix{p("10.70.0.1/24"), p("2001:db8:70::1/64")}},
			{Name: "e1", MAC: osl.MAC(hw(97)), Peer: peer("e1"), Addresses: []netip.Prefix{p("10.71.0.1/24"), p("2001:db8:71::1/64")}},
		}},
		{Name: "b", Interfaces: []osl.InterfaceSpec{{Name: "e0", MAC: osl.MAC(hw(98))}, {Name: "e1", MAC: osl.MAC(hw(99))}}},
	}}
}

// everyRoute are routes of every kind. With other each has something else.
func everyRoute(other bool) (list []osl.RouteSpec) {
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	choose := func(one, two osl.RouteSpec) {
		if other {
			one = two
		}
		list = append(list, one)
	}
	hop := func(via, dev string, weight int) osl.NextHop {
		return osl.NextHop{Via: a(via), Dev: dev, Weight: weight}
	}
	for i, family := range [][3]string{{"10.70.0.9", "10.71.0.9", "10.71.0.8"}, {"2001:db8:70::9", "2001:db8:71::9", "2001:db8:71::8"}} {
		to := func(n int) netip.Prefix {
			if i == 0 {
				return netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(n), 0}), 24)
			}
			return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0xff, byte(n)}), 48)
		}
		all := []netip.Prefix{p("0.0.0.0/0"), p("::/0")}[i]
		one, two := a(family[0]), a(family[1])
		own := []netip.Addr{a("10.71.0.1"), a("2001:db8:71::1")}[i]
		choose(osl.RouteSpec{To: all, Via: one, Metric: 50}, osl.RouteSpec{To: all, Via: two, Metric: 50})
		choose(osl.RouteSpec{To: all, Via: two, Metric: 5000}, osl.RouteSpec{To: all, Via: two, Metric: 5001})
		choose(osl.RouteSpec{To: all, Via: one, Table: 100}, osl.RouteSpec{To: all, Via: one, Table: 70000})
		choose(osl.RouteSpec{To: to(1), Via: one, Src: own, MTU: 1300}, osl.RouteSpec{To: to(1), Via: one, AdvMSS: 1200})
		choose(osl.RouteSpec{To: to(2), Type: "blackhole"}, osl.RouteSpec{To: to(2), Type: "unreachable"})
		choose(osl.RouteSpec{To: to(3), Type: "prohibit", Table: 100}, osl.RouteSpec{To: to(3), Via: two, Table: 100})
		choose(osl.RouteSpec{To: to(4), Type: "local", Dev: "lo"}, osl.RouteSpec{To: to(4), Type: "throw"})
		choose(osl.RouteSpec{To: to(5), NextHops: []osl.NextHop{hop(family[0], "", 0), hop(family[1], "", 3)}},
			osl.RouteSpec{To: to(5), NextHops: []osl.NextHop{hop(family[2], "e1", 0), hop(family[1], "e1", 2), hop(family[0], "e0", 0)}})
		choose(osl.RouteSpec{To: to(6), NextHops: []osl.NextHop{hop(family[0], "", 0), hop(family[1], "", 3)}}, osl.RouteSpec{To: to(6), Via: two})
		choose(osl.RouteSpec{To: to(7), Type: "blackhole"}, osl.RouteSpec{To: to(7), NextHops: []osl.NextHop{hop(family[0], "", 0), hop(family[1], "", 3)}})
	}
	choose(osl.RouteSpec{To: p("172.17.0.0/24"), Dev: "e0", Scope: "global"}, osl.RouteSpec{To: p("172.17.0.0/24"), Dev: "e1", Scope: "link"})
	choose(osl.RouteSpec{To: p("172.18.0.0/24"), Via: a("2001:db8:70::9")}, osl.RouteSpec{To: p("172.18.0.0/24"), Via: a("10.70.0.9")})
	choose(osl.RouteSpec{To: p("172.19.0.0/24"), NextHops: []osl.NextHop{hop("fe80::9", "e0", 0), hop("10.71.0.9", "", 0)}},
		osl.RouteSpec{To: p("172.19.0.0/24"), NextHops: []osl.NextHop{hop("fe80::9", "e1", 0), hop("fe80::9", "e0", 0)}})
	return list
}

// sharedRoutes is a host with routes by way of several links, and to nowhere.
const sharedRoutes = plainVeth + `
link add vc index 47 address 02:5a:00:00:00:47 type veth peer name vd index 48 address 02:5a:00:00:00:48
link set vd up
link set va up
link set vc up
addr add 192.0.2.1/24 dev va
addr add 198.51.100.1/24 dev vc
addr add 2001:db8:9::1/64 dev va nodad
addr add 2001:db8:8::1/64 dev vc nodad
route add 203.0.113.0/24 nexthop via 192.0.2.9 dev va weight 2 nexthop via 198.51.100.9 dev vc
route add 203.0.113.0/24 table 77 nexthop via 192.0.2.9 dev va weight 2 nexthop via 192.0.2.8 dev va
route add 2001:db8:77::/48 nexthop via 2001:db8:9::9 dev va weight 2 nexthop via 2001:db8:8::9 dev vc
route add 2001:db8:78::/48 metric 7 nexthop via 2001:db8:9::9 dev va nexthop via 2001:db8:9::8 dev va weight 3
route replace blackhole 203.0.114.0/24
route replace unreachable 2001:db8:79::/48 metric 9
`

// rulesLab is routesLab with rules; with other each of them has more or less.
func rulesLab(other bool) osl.Network {
	p := netip.MustParsePrefix
	n := routesLab(osl.RouteSpec{To: p("0.0.0.0/0"), Type: "blackhole", Table: 100})
	zero := 0
	rules := []osl.RuleSpec{{Priority: 100, From: p("10.70.0.0/24"), Table: 100}, {Priority: 101, Table: 100},
		{Priority: 102, Family: "ipv6", FWMark: 7}, {Priority: 103, SuppressPrefixLength: &zero, SuppressIfGroup: &zero}, {Priority: 104, Action: "nop"}}
	if other {
		rules = []osl.RuleSpec{{Priority: 100, Family: "ipv4", Table: 100}, {Priority: 101, To: p("10.71.0.0/24"), Table: 100},
			{Priority: 102, FWMark: 7, FWMask: 15, IIF: "e0"}, {Priority: 103, Goto: 105, IPProto: "udp", DPort: "53"}, {Priority: 105, Action: "prohibit", From: p("fd00::/8")}}
	}
	n.Sandboxes[0].Rules = rules
	return n
}

func routeOps() []faultOp {
	apply := func(n osl.Network) func(w *faultWorld) error {
		return func(*faultWorld) error { _, err := osl.Apply(context.Background(), n); return err }
	}
	before := func(n osl.Network) func(w *faultWorld) { return func(w *faultWorld) { w.must(apply(n)(w)) } }
	// A link with hops and sources of routes goes, and those that stay lead elsewhere.
	less := routesLab(osl.RouteSpec{To: netip.MustParsePrefix("172.16.5.0/24"), NextHops: everyRoute(true)[7].NextHops[1:2]})
	less.Sandboxes[0].Interfaces = less.Sandboxes[0].Interfaces[1:]
	less.Sandboxes[1].Interfaces = less.Sandboxes[1].Interfaces[1:]
	// The addresses go, and with them what the kernel takes.
	bare := routesLab(everyRoute(false)[4])
	bare.Sandboxes[0].Interfaces[1].Addresses = nil
	down := routesLab(everyRoute(false)[4])
	down.Sandboxes[0].Interfaces[1].Down = true
	denied := func(n osl.Network) osl.Network {
		n.Sandboxes = slices.Clone(n.Sandboxes)
		n.Sandboxes[0].Rules = []osl.RuleSpec{{Priority: 5, Family: "ipv4", Action: "prohibit"}}
		return n
	}
	length := routesLab(everyRoute(false)...)
	length.Sandboxes[0].Interfaces[1].Addresses[1] = netip.MustParsePrefix("2001:db8:71::1/80")
	return []faultOp{
		{name: "Apply of rules in a new sandbox", do: apply(rulesLab(false))},
		{name: "Apply that changes rules", before: before(rulesLab(false)), do: apply(rulesLab(true))},
		{name: "Apply that changes rules back", before: before(rulesLab(true)), do: apply(rulesLab(false))},
		{name: "Apply that drops rules", before: before(rulesLab(true)), do: apply(routesLab())},
		{name: "Down of rules in a namespace of another", ends: true, before: func(w *faultWorld) {
			w.foreign("a")
			lab := rulesLab(true)
			lab.Sandboxes = lab.Sandboxes[:1]
			lab.Sandboxes[0].Interfaces = nil
			before(lab)(w)
		}, do: func(w *faultWorld) error {
			_, err := osl.Down(context.Background(), osl.Network{Name: "lab"})
			return err
		}},
		{name: "AddInterface of a link with routes of others by way of several", host: sharedRoutes, before: sandboxA,
			do: func(w *faultWorld) error { return w.a.AddInterface("va", "eth") }},
		{name: "Apply of routes of every kind", do: apply(routesLab(everyRoute(false)...))},
		{name: "Apply of routes where there are none", before: before(routesLab()), do: apply(routesLab(everyRoute(false)...))},
		{name: "Apply that changes routes of every kind", before: before(routesLab(everyRoute(false)...)), do: apply(routesLab(everyRoute(true)...))},
		{name: "Apply that changes them back", before: before(routesLab(everyRoute(true)...)), do: apply(routesLab(everyRoute(false)...))},
		{name: "Apply that drops routes of every kind", before: before(routesLab(everyRoute(false)...)), do: apply(routesLab())},
		{name: "Apply that drops a link of several next hops", before: before(routesLab(everyRoute(true)...)), do: apply(less)},
		{name: "Apply that drops the addresses of routes", before: before(routesLab(everyRoute(false)...)), do: apply(bare)},
		{name: "Apply that changes routes behind a rule that denies", before: before(denied(routesLab(everyRoute(false)...))), do: apply(denied(routesLab(everyRoute(true)...)))},
		{name: "Apply that drops a link of routes behind a rule that denies", before: before(denied(routesLab(everyRoute(true)...))), do: apply(denied(less))},
		{name: "Apply that drops a rule that denies, and routes behind it", before: before(denied(routesLab(everyRoute(false)...))), do: apply(routesLab())},
		{name: "Apply that sets a link of routes down", before: before(routesLab(everyRoute(false)...)), do: apply(down)},
		{name: "Apply that changes the prefix length of a source", before: before(routesLab(everyRoute(false)...)), do: apply(length)},
	}
}
