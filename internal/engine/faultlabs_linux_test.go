package engine_test

import (
	"context"
	"net/netip"

	"github.com/seed59451c2b/osl"

	"github.com/seed59451c2b/osl/internal/sysctl"
)

// settingsLab is a sandbox with settings of which some change others. Without all
// it has none of these.
func settingsLab(all bool) osl.Network {
	s := osl.Spec{Name: "a", Interfaces: []osl.InterfaceSpec{{Name: "br0", Type: "bridge", MAC: osl.MAC(hw(74)), Addresses: v4("10.95.0.1/24")},
		{Name: "br1", Type: "bridge", MAC: osl.MAC(hw(75)), Sysctls: map[string]string{"ipv6.disable_ipv6": "0"}}}}
	if all {
		s.Sysctls = map[string]string{"ipv4.ip_forward": "1", "ipv4.conf.default.forwarding": "0", "ipv4.conf.default.rp_filter": "2",
			"ipv6.conf.all.forwarding": "1", "ipv4.ip_local_port_range": "500 60000", "ipv4.ip_unprivileged_port_start": "0"}
		s.Interfaces[0].Sysctls = map[string]string{"ipv4.forwarding": "0", "ipv4.rp_filter": "1"}
		s.Interfaces[1].Sysctls = map[string]string{"ipv6.disable_ipv6": "0", "ipv6.mtu": "1300", "ipv6.accept_ra": "2"}
	}
	return osl.Network{Sandboxes: []osl.Spec{s}}
}

// settingsBefore makes a sandbox of two bridges with settings of its own, one by
// one: of those that a change of others reaches, each is something else.
func settingsBefore(w *faultWorld) {
	w.a = w.make("a")
	_, err := osl.Apply(context.Background(), settingsLab(false))
	w.must(err)
	w.must(w.a.InvokeFunc(func() {
		for _, x := range [][2]string{{"ipv4/conf/all/accept_redirects", "1"}, {"ipv4/conf/br1/forwarding", "1"}, {"ipv4/conf/br0/rp_filter", "0"}, {"ipv6/conf/br1/forwarding", "1"}} {
			_, err := sysctl.Set(x[0], x[1])
			w.must(err)
		}
	}))
}

// stackedLab is a network of links that are made on each other, listed the wrong
// way round, and of pairs of which one end has an MTU.
func stackedLab(mtu int) osl.Network {
	return osl.Network{Sandboxes: []osl.Spec{
		{Name: "a", Interfaces: []osl.InterfaceSpec{
			{Name: "mv1", Type: "macvlan", MAC: osl.MAC(hw(92)), Parent: "mv0"},
			{Name: "mv0", Type: "macvlan", MAC: osl.MAC(hw(93)), Parent: "lan"},
			{Name: "up0", MAC: osl.MAC(hw(94)), MTU: mtu, Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "a-host"}},
		}},
		{Name: "b", Interfaces: []osl.InterfaceSpec{{Name: "eth0", MAC: osl.MAC(hw(95)), MTU: mtu}}},
	}, Links: []osl.Link{{{Sandbox: "b", Interface: "eth0"}, {Sandbox: "a", Interface: "lan"}}}}
}

// segmentLab is a network of two sandboxes on segments, of which one has a subnet; on
// none where that is empty.
func segmentLab(of ...string) osl.Network {
	net := osl.Network{Name: "lab", Segments: []osl.SegmentSpec{{Name: "blue", Subnet: v4("10.94.0.0/24")}, {Name: "green"}}}
	for i, name := range []string{"a", "b"} {
		s := osl.Spec{Name: name}
		if of[i] != "" {
			s.Interfaces = []osl.InterfaceSpec{{Name: "eth0", Segment: of[i], MAC: osl.MAC(hw(96))}}
			if i > 0 {
				s.Interfaces[0].MAC, s.Interfaces[0].MACPolicy = nil, "persistent"
			}
		}
		net.Sandboxes = append(net.Sandboxes, s)
	}
	return net
}

// standingOnHost is a network in which b is made first, on a link that the network makes on
// the host: the other end of one of a, called as end says, or a bridge.
func standingOnHost(end string) osl.Network {
	on := osl.InterfaceSpec{Name: "on-host", MAC: osl.MAC(hw(98)), Addresses: v4("10.93.0.1/24")}
	a := osl.Spec{Name: "a"}
	if end == "" {
		on.Type = "bridge"
	} else {
		a.Interfaces = []osl.InterfaceSpec{{Name: end, MAC: osl.MAC(hw(99)), Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "on-host"}}}
	}
	b := osl.Spec{Name: "b", Interfaces: []osl.InterfaceSpec{{Name: "mv0", Type: "macvlan", MAC: osl.MAC(hw(100)), Parent: "host/on-host", Addresses: v4("10.93.0.2/24")},
		{Name: "vx0", Type: "vxlan", VNI: 93, Parent: "host/on-host", Remote: netip.MustParseAddr("10.93.0.9"), MAC: osl.MAC(hw(101))}}}
	return osl.Network{Name: "lab", Sandboxes: []osl.Spec{b,
		a, {Name: osl.HostName, Interfaces: []osl.InterfaceSpec{on}}}}
}

// faultLab is a network of two sandboxes with one of everything.
func faultLab() osl.Network {
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	return osl.Network{
		Sandboxes: []osl.Spec{
			{Name: "a", Labels: map[string]string{"role": "switch"}, Sysctls: map[string]string{"ipv4.ip_forward": "1"}, Interfaces: []osl.InterfaceSpec{
				{Name: "br0", Type: "bridge", MAC: osl.MAC(hw(60)), Addresses: []netip.Prefix{p("10.7.0.1/24"), p("2001:db8:7::1/64")}},
				{Name: "wan", Source: "va", Addresses: []netip.Prefix{p("10.8.0.1/24")}},
				{Name: "p1", MAC: osl.MAC(hw(61)), Master: "br0"},
				{Name: "up0", Type: "veth", MAC: osl.MAC(hw(62)), Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "up0-host"}},
			}, Gateway: a("10.8.0.254")},
			{Name: "b", Interfaces: []osl.InterfaceSpec{{Name: "eth0", MAC: osl.MAC(hw(63)), MTU: 1400, Addresses: []netip.Prefix{p("10.7.0.2/24"), p("2001:db8:7::2/64")},
				Aliases: []netip.Prefix{p("10.7.1.1/32")}, Sysctls: map[string]string{"ipv4.rp_filter": "2"}}},
				Gateway: a("10.7.0.1"), Gateway6: a("2001:db8:7::1"),
				Routes:    []osl.RouteSpec{{To: p("172.20.0.0/16"), Via: a("10.7.0.9")}, {To: p("172.21.0.0/16"), Dev: "eth0"}},
				Neighbors: []osl.NeighborSpec{{Dev: "eth0", IP: a("10.7.0.9"), MAC: osl.MAC(hw(64))}}},
		},
		Links: []osl.Link{{{Sandbox: "a", Interface: "p1"}, {Sandbox: "b", Interface: "eth0"}}},
	}
}

// applyBefore makes a sandbox of two bridges: br0 has addresses, of which one is
// an alias IP, a neighbour and a route; br1 has a route and an address of IPv6
// only, which becomes an alias IP.
func applyBefore(w *faultWorld) {
	w.make("a")
	_, err := osl.Apply(context.Background(), bridges(
		osl.InterfaceSpec{Addresses: v4("10.99.0.1/24"), Aliases: v4("10.98.0.1/32"), Routes: v4("172.22.0.0/16")},
		osl.InterfaceSpec{Addresses: prefixes(1), Routes: v4("172.23.0.0/16")}, osl.NeighborSpec{Dev: "br0", IP: netip.MustParseAddr("10.99.0.9"), MAC: osl.MAC(hw(70))}))
	w.must(err)
}

// applyAfter makes br0 lose its addresses and keep its route and neighbour,
// and takes br1's route to it.
func applyAfter(w *faultWorld) error {
	_, err := osl.Apply(context.Background(), bridges(
		osl.InterfaceSpec{Routes: v4("172.22.0.0/16", "172.23.0.0/16")},
		osl.InterfaceSpec{Addresses: v4("10.97.0.1/24"), Aliases: prefixes(1), MTU: 1500}, osl.NeighborSpec{Dev: "br0", IP: netip.MustParseAddr("10.99.0.9"), MAC: osl.MAC(hw(70))}))
	return err
}

func v4(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func bridges(br0, br1 osl.InterfaceSpec, n osl.NeighborSpec) osl.Network {
	br0.Name, br0.Type, br0.MAC = "br0", "bridge", osl.MAC(hw(71))
	br1.Name, br1.Type, br1.MAC = "br1", "bridge", osl.MAC(hw(72))
	return osl.Network{Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{br0, br1}, Neighbors: []osl.NeighborSpec{n}}}}
}

// lesserLab is faultLab without much of it.
func lesserLab() osl.Network {
	n := faultLab()
	n.Sandboxes[0].Interfaces = append(n.Sandboxes[0].Interfaces[:1:1], n.Sandboxes[0].Interfaces[2])
	n.Sandboxes[0].Gateway = netip.Addr{}
	n.Sandboxes[1].Routes, n.Sandboxes[1].Neighbors, n.Sandboxes[1].Interfaces[0].Aliases = nil, nil, nil
	return n
}
