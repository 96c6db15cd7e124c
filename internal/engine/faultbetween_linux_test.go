package engine_test

import (
	"context"
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl"
)

// holder is a sandbox with the host's va as wan, and all that can be on it.
func holder(name string) osl.Spec {
	a, p, on, queue := netip.MustParseAddr, netip.MustParsePrefix, true, 44
	return osl.Spec{Name: name, Sysctls: map[string]string{"ipv4.conf.default.rp_filter": "2", "ipv4.ip_forward": "1"}, Interfaces: []osl.InterfaceSpec{
		{Name: "wan", Source: "va", MAC: osl.MAC(hw(30)), MTU: 1300, TxQueueLen: &queue, AltNames: []string{"wan-of-" + name}, Promisc: &on, AddrGenMode: "none", Group: new(77),
			Addresses: append(v4("10.8.0.1/24", "10.8.0.2/24"), p("2001:db8:8::1/64")), Aliases: v4("10.9.9.9/32"), Routes: v4("172.31.0.0/16"),
			Sysctls: map[string]string{"ipv4.rp_filter": "1", "ipv6.accept_ra": "0"}},
		{Name: "br0", Type: "bridge", MAC: osl.MAC(hw(31)), Addresses: append(v4("10.7.0.1/24"), p("2001:db8:7::1/64"))},
	}, Gateway: a("10.8.0.254"), Gateway6: a("2001:db8:8::fe"),
		Routes: []osl.RouteSpec{{To: p("172.20.0.0/16"), Via: a("10.8.0.9")}, {To: p("172.21.0.0/16"), Via: a("10.7.0.9"), Src: a("10.8.0.1")},
			{To: p("2001:db8:21::/48"), Via: a("2001:db8:7::9"), Src: a("2001:db8:8::1")},
			{To: p("172.22.0.0/16"), NextHops: []osl.NextHop{{Via: a("10.8.0.9")}, {Via: a("10.7.0.9")}}},
			{To: p("2001:db8:22::/48"), NextHops: []osl.NextHop{{Via: a("2001:db8:8::9")}, {Via: a("2001:db8:7::9")}}}},
		Rules:     []osl.RuleSpec{{From: p("10.8.0.0/24"), Table: 100, Priority: 50}},
		Neighbors: []osl.NeighborSpec{{Dev: "wan", IP: a("10.8.0.9"), MAC: osl.MAC(hw(64))}, {Dev: "wan", IP: a("2001:db8:8::9"), MAC: osl.MAC(hw(65))}}}
}

// taker is a sandbox with a link of the host under another name.
func taker(name, source, dev string) osl.Spec {
	return osl.Spec{Name: name, Interfaces: []osl.InterfaceSpec{
		{Name: dev, Source: source, MTU: 1350, AltNames: []string{dev + "-of-" + name}, Addresses: append(v4("10.8.0.1/24"), netip.MustParsePrefix("2001:db8:8::1/64")), Routes: v4("172.30.0.0/16")},
		{Name: "br0", Type: "bridge", MAC: osl.MAC(hw(32)), Addresses: v4("10.7.0.1/24")}},
		Routes:    []osl.RouteSpec{{To: netip.MustParsePrefix("172.20.0.0/16"), Via: netip.MustParseAddr("10.8.0.9")}},
		Neighbors: []osl.NeighborSpec{{Dev: dev, IP: netip.MustParseAddr("10.8.0.9"), MAC: osl.MAC(hw(66))}}}
}

// besideWan is what others have put at the link of a holder.
const besideWan = `
addr add 198.51.100.9/24 dev wan label wan:x
addr add fe80::77/64 dev wan nodad
route add 203.0.113.0/24 via 10.8.0.77 dev wan proto static
route add 203.0.114.0/24 via 10.7.0.77 src 10.8.0.1 proto static
route add 203.0.115.0/24 proto static nexthop via 10.8.0.77 nexthop via 10.7.0.77
route add 2001:db8:77::/48 via 2001:db8:8::77 dev wan
neigh add 10.8.0.78 lladdr 02:5a:00:00:00:78 dev wan nud permanent
`

// nexthopsOnWan gives a sandbox next hops that are objects, on a link and on br0, which has a
// carrier, and routes by them.
func nexthopsOnWan(s osl.Spec, dev string, hop string) osl.Spec {
	a, p := netip.MustParseAddr, netip.MustParsePrefix
	i := slices.IndexFunc(s.Interfaces, func(f osl.InterfaceSpec) bool { return f.Name == "br0" })
	s.Interfaces[i] = osl.InterfaceSpec{Name: "br0", Type: "veth", MAC: osl.MAC(hw(35)), Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "cable-" + s.Name}, Addresses: append(v4("10.7.0.1/24"), netip.MustParsePrefix("2001:db8:7::1/64"))}
	s.Nexthops = []osl.NexthopSpec{{ID: 1, Via: a(hop), Dev: dev}, {ID: 2, Via: a("10.7.0.8"), Dev: "br0"},
		{ID: 3, Group: []osl.NexthopMember{{ID: 1, Weight: 1}, {ID: 2, Weight: 2}}}, {ID: 4, Dev: dev}}
	s.Routes = append(s.Routes, osl.RouteSpec{To: p("172.26.1.0/24"), Nexthop: 1}, osl.RouteSpec{To: p("172.26.3.0/24"), Nexthop: 3}, osl.RouteSpec{To: p("172.26.4.0/24"), Nexthop: 4})
	return s
}

const nexthopsBesideWan = `
nexthop add id 100 via 10.8.0.7 dev wan proto zebra
nexthop add id 101 via 10.7.0.7 dev br0 proto zebra
nexthop add id 90 group 100,2/101 proto zebra
nexthop add id 91 group 100 proto zebra
route add 172.26.0.0/16 via 10.8.0.9 dev wan onlink
route add 172.27.0.0/24 nhid 90 proto zebra
route add 172.27.1.0/24 nhid 91 proto zebra
route add 172.27.2.0/24 nhid 100 proto zebra
`

const twoVeths = richVeth + `
link add vc index 47 address 02:5a:00:00:00:07 type veth peer name vd index 48 address 02:5a:00:00:00:08
link set vd up
addr add 192.0.3.1/24 dev vc
`

// betweenOps are changes in which links of the host go from one sandbox into another.
func betweenOps() []faultOp {
	ctx := context.Background()
	lab := func(s ...osl.Spec) osl.Network { return osl.Network{Name: "lab", Sandboxes: s} }
	apply := func(n osl.Network) func(w *faultWorld) error {
		return func(*faultWorld) error { _, err := osl.Apply(ctx, n); return err }
	}
	standing := func(n osl.Network, in, lines string) func(w *faultWorld) {
		return func(w *faultWorld) {
			w.must(apply(n)(w))
			w.linesIn(in, lines)
		}
	}
	empty := func(name string) osl.Spec { return osl.Spec{Name: name} }
	bridged := func(name, dev string) osl.Spec {
		on := true
		s := osl.Spec{Name: name, Interfaces: []osl.InterfaceSpec{
			{Name: "br0", Type: "bridge", MAC: osl.MAC(hw(33)), Addresses: v4("10.7.0.1/24")},
			{Name: dev, Source: "va", Master: "br0", BridgePort: &osl.BridgePortSpec{Isolated: &on}},
			{Name: "vx0", Source: "vx", MTU: 1400}},
			Neighbors: []osl.NeighborSpec{{Dev: "vx0", IP: netip.MustParseAddr("192.0.2.9"), MAC: osl.MAC(hw(9)), FDB: true}}}
		if name == "b" {
			s.Neighbors[0].IP = netip.MustParseAddr("192.0.2.8")
		}
		return s
	}
	instead := holder("b") // a bridge under the name of the link that leaves
	instead.Interfaces[0] = osl.InterfaceSpec{Name: "wan", Type: "bridge", MAC: osl.MAC(hw(34)), Addresses: v4("10.8.0.3/24")}
	instead.Gateway, instead.Gateway6, instead.Routes, instead.Neighbors = netip.Addr{}, netip.Addr{}, nil, nil
	return []faultOp{
		{name: "Apply that moves a link of the host to another sandbox", host: richVeth, before: standing(lab(holder("a"), empty("b")), "a", besideWan),
			do: apply(lab(empty("a"), taker("b", "va", "eth0")))},
		{name: "Apply that moves a link of the host to the leader", host: richVeth, before: standing(lab(empty("a"), holder("b")), "b", besideWan),
			do: apply(lab(taker("a", "va", "wan"), instead))},
		{name: "Apply that gives a sandbox with a link of the host another name", host: richVeth, before: standing(lab(holder("a")), "a", besideWan),
			do: apply(lab(holder("b")))},
		{name: "Apply that gives a sandbox with a link of the host a name before its own", host: richVeth, before: standing(lab(holder("b")), "b", besideWan),
			do: apply(lab(holder("a")))},
		{name: "Apply that moves a link of the host, led by a new sandbox", host: richVeth, before: standing(lab(holder("c"), empty("d")), "c", besideWan),
			do: apply(lab(empty("a"), empty("c"), taker("d", "va", "eth0")))},
		{name: "Apply that swaps links of the host", host: twoVeths, before: standing(lab(taker("a", "va", "wan"), taker("b", "vc", "wan")), "a", ""),
			do: apply(lab(taker("a", "vc", "wan"), taker("b", "va", "wan")))},
		{name: "Apply that moves a link of the host with nexthops", host: richVeth, before: func(w *faultWorld) {
			standing(lab(nexthopsOnWan(holder("a"), "wan", "10.8.0.8"), nexthopsOnWan(bridgeAlone("b"), "br0", "10.7.0.6")), "a", besideWan+nexthopsBesideWan)(w)
		}, do: apply(lab(nexthopsOnWan(bridgeAlone("a"), "br0", "10.7.0.6"), nexthopsOnWan(taker("b", "va", "wan"), "wan", "10.8.0.8")))},
		{name: "Apply that moves a port of a bridge and a vxlan of the host", host: richVeth + hostVXLAN, before: standing(lab(bridged("a", "p0"), empty("b")), "a", ""),
			do: apply(lab(bridged("b", "p7")))},
		{name: "Apply that moves a link of the host out of a namespace of another", host: richVeth, before: func(w *faultWorld) {
			w.foreign("b")
			s := holder("b")
			s.Sysctls = nil
			standing(lab(empty("a"), s), "b", besideWan)(w)
		}, do: apply(lab(taker("a", "va", "eth0")))},
		{name: "Apply that moves a link of the host into a namespace of another", host: richVeth, before: func(w *faultWorld) {
			w.foreign("b")
			standing(lab(holder("a"), empty("b")), "a", besideWan)(w)
		}, do: apply(lab(taker("b", "va", "eth0")))},
	}
}

// bridgeAlone is a sandbox with the bridge of a holder alone.
func bridgeAlone(name string) osl.Spec {
	return osl.Spec{Name: name, Interfaces: holder(name).Interfaces[1:]}
}
