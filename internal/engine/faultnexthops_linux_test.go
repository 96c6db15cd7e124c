package engine_test

import (
	"context"
	"net/netip"

	"github.com/seed59451c2b/osl"
)

// nexthopsLab is routesLab with next hops that are objects, and routes by them. With
// other each of them is something else.
func nexthopsLab(other bool) osl.Network {
	a, p := netip.MustParseAddr, netip.MustParsePrefix
	member := func(id uint32, weight int) osl.NexthopMember { return osl.NexthopMember{ID: id, Weight: weight} }
	n := routesLab(
		osl.RouteSpec{To: p("172.16.1.0/24"), Nexthop: 1},
		osl.RouteSpec{To: p("172.16.3.0/24"), Nexthop: 3, Table: 100},
		osl.RouteSpec{To: p("172.16.4.0/24"), Nexthop: 4, Src: a("10.71.0.1")},
		osl.RouteSpec{To: p("172.16.5.0/24"), Nexthop: 5, Metric: 7},
		osl.RouteSpec{To: p("2001:db8:ff06::/48"), Nexthop: 6},
		osl.RouteSpec{To: p("2001:db8:ff07::/48"), Nexthop: 7, Metric: 50},
		osl.RouteSpec{To: p("172.16.8.0/24"), Nexthop: 8},
		osl.RouteSpec{To: p("172.16.10.0/24"), Nexthop: 10},
		osl.RouteSpec{To: p("172.16.11.0/24"), Nexthop: 11},
	)
	minute := osl.Duration(60e9)
	resilient := func(id uint32, buckets int, idle *osl.Duration, of ...osl.NexthopMember) osl.NexthopSpec {
		return osl.NexthopSpec{ID: id, Group: of, Type: "resilient", Buckets: buckets, IdleTimer: idle}
	}
	hops := []osl.NexthopSpec{{ID: 1, Via: a("10.70.0.9"), Dev: "e0"}, {ID: 2, Via: a("10.71.0.9"), Dev: "e1"},
		{ID: 3, Group: []osl.NexthopMember{member(1, 1), member(2, 3)}}, {ID: 4, Dev: "e1"}, {ID: 5, Blackhole: true},
		{ID: 6, Via: a("2001:db8:70::9"), Dev: "e0"}, {ID: 7, Blackhole: true, Family: "ipv6"}, {ID: 8, Group: []osl.NexthopMember{member(5, 1)}},
		resilient(10, 8, nil, member(1, 1), member(2, 3)), resilient(11, 8, nil, member(2, 1))}
	if other { // in place, a group of other ones, of other buckets and none any more, one of none, of the other family, and other ways of routes
		hops = []osl.NexthopSpec{{ID: 1, Via: a("10.71.0.9"), Dev: "e1"}, {ID: 3, Via: a("2001:db8:71::9"), Dev: "e1"},
			{ID: 4, Group: []osl.NexthopMember{member(1, 256), member(9, 2)}}, {ID: 5, Dev: "e0"}, {ID: 6, Blackhole: true, Family: "ipv6"},
			{ID: 7, Via: a("fe80::9"), Dev: "e0"}, {ID: 8, Group: []osl.NexthopMember{member(1, 1), member(5, 1)}}, {ID: 9, Via: a("10.70.0.8"), Dev: "e0"},
			resilient(10, 16, nil, member(1, 1), member(9, 1)), resilient(11, 8, &minute, member(1, 1), member(9, 7))}
		n.Sandboxes[0].Routes[1] = osl.RouteSpec{To: p("172.16.3.0/24"), Via: a("10.70.0.9"), Table: 100}
		n.Sandboxes[0].Routes[6].Nexthop = 4
		n.Sandboxes[0].Routes = append(n.Sandboxes[0].Routes, osl.RouteSpec{To: p("172.16.9.0/24"), Nexthop: 9})
	}
	n.Sandboxes[0].Nexthops = hops
	return n
}

// foreignNexthops are next hops and routes of others in the sandbox of nexthopsLab.
const foreignNexthops = `
nexthop add id 100 via 10.70.0.7 dev e0 proto zebra
nexthop add id 101 via 10.71.0.7 dev e1 proto zebra
nexthop add id 90 group 100,2/101 proto zebra
nexthop add id 91 group 1/101 type resilient buckets 8 proto zebra
route add 172.20.0.0/24 nhid 90 proto zebra
route add 172.21.0.0/24 nhid 1 proto zebra
route add 172.22.0.0/24 nhid 91 proto zebra
-6 nexthop add id 102 via 2001:db8:70::7 dev e0
-6 route add 2001:db8:fe00::/48 nhid 102
`

func nexthopOps() []faultOp {
	apply := func(n osl.Network) func(w *faultWorld) error {
		return func(*faultWorld) error { _, err := osl.Apply(context.Background(), n); return err }
	}
	before := func(n osl.Network) func(w *faultWorld) { return func(w *faultWorld) { w.must(apply(n)(w)) } }
	beside := func(n osl.Network) func(w *faultWorld) {
		return func(w *faultWorld) {
			before(n)(w)
			w.linesIn("a", foreignNexthops)
		}
	}
	// A link goes, and one is set down, here or at the other end: what was on it is on the
	// other one, or goes.
	without := func(edit func(n *osl.Network)) osl.Network {
		n := nexthopsLab(false)
		s := &n.Sandboxes[0]
		for i := range s.Nexthops {
			if h := &s.Nexthops[i]; h.Dev == "e0" {
				h.Dev = "e1"
				if h.Via.Is6() { // the kernel takes none that another link reaches
					h.Via = netip.MustParseAddr("2001:db8:71::9")
				}
			}
		}
		edit(&n)
		return n
	}
	dropped := without(func(n *osl.Network) {
		n.Sandboxes[0].Interfaces, n.Sandboxes[1].Interfaces = n.Sandboxes[0].Interfaces[1:], n.Sandboxes[1].Interfaces[1:]
	})
	down := without(func(n *osl.Network) { n.Sandboxes[0].Interfaces[0].Down = true })
	farDown := without(func(n *osl.Network) { n.Sandboxes[1].Interfaces[0].Down = true })
	replaced := nexthopsLab(false) // by a link that has other queues
	replaced.Sandboxes[0].Interfaces[0].Type, replaced.Sandboxes[0].Interfaces[0].NumTxQueues = "veth", 2
	dark := nexthopsLab(false)
	dark.Sandboxes[0].Interfaces[0].Addresses = dark.Sandboxes[0].Interfaces[0].Addresses[:1]
	dark.Sandboxes[0].Nexthops[5] = osl.NexthopSpec{ID: 6, Blackhole: true, Family: "ipv6"}
	bare := nexthopsLab(false)
	bare.Sandboxes[0].Interfaces[0].Addresses = bare.Sandboxes[0].Interfaces[0].Addresses[1:]
	off := false
	// A sandbox that ends with its next hops, and whose link loses its carrier before that:
	// the other end is set down, or makes room for another link of its name, for which it
	// is set down before Linux 6.2.
	ending := func(name string, f osl.InterfaceSpec) osl.Spec {
		f.Name, f.Addresses = "wan", v4("10.8.0.2/24")
		return osl.Spec{Name: name, Interfaces: []osl.InterfaceSpec{f}, Nexthops: []osl.NexthopSpec{{ID: 1, Via: netip.MustParseAddr("10.8.0.1"), Dev: "wan"}, {ID: 2, Group: []osl.NexthopMember{{ID: 1}}}},
			Routes: []osl.RouteSpec{{To: netip.MustParsePrefix("172.16.1.0/24"), Nexthop: 2}}}
	}
	other := func(name string, down bool) osl.Spec {
		return osl.Spec{Name: name, Interfaces: []osl.InterfaceSpec{{Name: "wan", Source: "va", Addresses: v4("10.8.0.1/24"), Down: down}}}
	}
	onHost := osl.InterfaceSpec{Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "far"}}
	lab := func(s ...osl.Spec) osl.Network { return osl.Network{Name: "lab", Sandboxes: s} }
	endsAfter := func(n osl.Network, in string) func(w *faultWorld) {
		return func(w *faultWorld) {
			before(n)(w)
			w.linesIn(in, "nexthop add id 100 via 10.8.0.7 dev wan proto zebra\nroute add 172.20.0.0/24 nhid 100 proto zebra\n")
		}
	}
	instead := onHost
	instead.Name = "e0"
	return []faultOp{
		{name: "Apply that drops a sandbox with nexthops and sets the other end down", host: plainVeth,
			before: endsAfter(lab(other("a", false), ending("b", osl.InterfaceSpec{Source: "vb"})), "b"), do: apply(lab(other("a", true)))},
		{name: "Apply that drops the leader with nexthops and sets the other end down", host: plainVeth,
			before: endsAfter(lab(ending("a", osl.InterfaceSpec{Source: "vb"}), other("b", false)), "a"), do: apply(lab(other("b", true)))},
		{name: "Apply that drops a sandbox with nexthops, its end on the host for another", before: endsAfter(lab(ending("b", onHost)), "b"),
			do: apply(lab(osl.Spec{Name: "a", Interfaces: []osl.InterfaceSpec{instead}}))},
		{name: "Apply of nexthops in a new sandbox", do: apply(nexthopsLab(false))},
		{name: "Apply of nexthops where there are none", before: before(routesLab()), do: apply(nexthopsLab(false))},
		{name: "Apply that changes nexthops", before: before(nexthopsLab(false)), do: apply(nexthopsLab(true))},
		{name: "Apply that changes nexthops back", before: before(nexthopsLab(true)), do: apply(nexthopsLab(false))},
		{name: "Apply that changes nexthops beside those of others", before: beside(nexthopsLab(false)), do: apply(nexthopsLab(true))},
		{name: "Apply that drops nexthops", before: before(nexthopsLab(true)), do: apply(routesLab())},
		{name: "Apply that drops nexthops beside those of others", before: beside(nexthopsLab(false)), do: apply(routesLab())},
		{name: "Apply that drops a link of nexthops", before: before(nexthopsLab(false)), do: apply(dropped)},
		{name: "Apply that sets a link of nexthops down", before: beside(nexthopsLab(false)), do: apply(down)},
		{name: "Apply that sets the other end of nexthops down", before: before(nexthopsLab(false)), do: apply(farDown)},
		{name: "Apply that replaces a link of nexthops", before: before(nexthopsLab(false)), do: apply(replaced)},
		{name: "Apply that takes the IPv6 of a nexthop", before: before(nexthopsLab(false)), do: apply(dark)},
		{name: "Apply that takes the IPv4 address of a link of nexthops", before: before(nexthopsLab(false)), do: apply(bare)},
		{name: "SetLink that sets a link of nexthops down", before: beside(nexthopsLab(false)), do: func(w *faultWorld) error {
			n, err := osl.Open(context.Background(), "a")
			if err != nil {
				return err
			}
			defer n.Close()
			return n.SetLink(context.Background(), "e0", osl.LinkChange{Up: &off})
		}},
		{name: "Down of nexthops in a namespace of another", ends: true, before: func(w *faultWorld) {
			w.foreign("a")
			w.linesIn("a", "link add e0 type veth peer name e1\nlink set e0 up\nlink set e1 up\n")
			lab := osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "a", Nexthops: []osl.NexthopSpec{{ID: 1, Dev: "e0"}, {ID: 2, Group: []osl.NexthopMember{{ID: 1}}}},
				Routes: []osl.RouteSpec{{To: netip.MustParsePrefix("172.16.1.0/24"), Nexthop: 2}}}}}
			before(lab)(w)
		}, do: func(w *faultWorld) error {
			_, err := osl.Down(context.Background(), osl.Network{Name: "lab"})
			return err
		}},
	}
}
