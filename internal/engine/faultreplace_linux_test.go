package engine_test

import (
	"context"
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl"
)

// replaceOps are changes in which something has to make room, or ends.
func replaceOps() []faultOp {
	ctx := context.Background()
	apply := func(n osl.Network) func(w *faultWorld) error {
		return func(*faultWorld) error { _, err := osl.Apply(ctx, n); return err }
	}
	standing := func(n osl.Network) func(w *faultWorld) {
		return func(w *faultWorld) {
			if n.Name == "" {
				w.make("a")
			}
			w.must(apply(n)(w))
		}
	}
	return []faultOp{
		{name: "Apply that changes addresses of a subnet", before: standing(subnet("10.9.0.1/24", "10.9.0.2/24", "10.9.0.3/24")),
			do: apply(subnet("10.9.0.2/24", "10.9.0.9/24"))},
		{name: "Apply that changes the only address of a subnet", before: standing(subnet("10.9.0.1/24")), do: apply(subnet("10.9.0.2/24"))},
		{name: "RemoveAddresses, the first of a subnet", before: standing(subnet("10.9.0.1/24", "10.9.0.2/24", "10.9.0.3/24", "10.9.0.4/24")),
			do: func(w *faultWorld) error {
				return w.ns("a").RemoveAddresses(ctx, "eth0", slices.Values(v4("10.9.0.1/24", "10.9.0.3/24")))
			}},
		{name: "RemoveAliasIP, the first of a subnet", before: standing(subnet("10.9.0.1/24", "10.9.0.2/24")), do: func(w *faultWorld) error {
			return w.ns("a").RemoveAliasIP("eth0", cidr("10.9.0.1/24"))
		}},
		{name: "Apply that plugs a link elsewhere", before: standing(plugged("b")), do: apply(plugged("c"))},
		{name: "Apply that drops sandboxes", host: richVeth, before: standing(three(3)), do: apply(three(1))},
		{name: "Apply that drops the leader", before: standing(osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "a"}, {Name: "b"}}}),
			do: apply(osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "b", Labels: map[string]string{"only": "one"}}, {Name: "c"}}})},
		{name: "Apply that replaces links by others", before: standing(shapes(5, "vx0", "veth", "bridge")), do: apply(shapes(6, "vx1", "bridge", "veth"))},
		{name: "Apply that gives a vxlan another remote", before: standing(spread("192.0.2.1", "192.0.2.3", "192.0.2.4")), do: apply(spread("192.0.2.2", "192.0.2.3", "192.0.2.5"))},
		{name: "Apply that gives a vxlan remotes for one", before: standing(spread("192.0.2.1")), do: apply(spread("", "192.0.2.1", "192.0.2.2"))},
		{name: "Apply that gives a vxlan one remote for several", before: standing(spread("", "192.0.2.1", "192.0.2.2")), do: apply(spread("192.0.2.1"))},
		{name: "Apply that gives a vxlan another parent", before: standing(vxlanOn("br1")), do: apply(vxlanOn("br2"))},
		{name: "Apply that gives a vxlan a parent", before: standing(vxlanOn("")), do: apply(vxlanOn("br2"))},
		{name: "Apply of a vxlan over the IPv6 of the same change", before: standing(spread("192.0.2.1")), do: apply(overIPv6())},
		{name: "Apply that changes tunnels in place", before: standing(tunnel("192.0.2.1", "bridge")), do: apply(tunnel("192.0.2.2", "private"))},
		{name: "Apply that takes over what was made by hand", before: func(w *faultWorld) {
			standing(osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "a"}, {Name: "b"}}})(w)
			w.ip("link", "add", "name", "eth0", "netns", "a", "address", hw(90).String(), "type", "veth", "peer", "name", "eth0", "netns", "b", "address", hw(91).String())
			w.ip("-n", "a", "addr", "add", "10.9.0.1/24", "dev", "eth0")
			w.ip("-n", "a", "link", "set", "eth0", "up")
		}, do: apply(plugged("b"))},
		{name: "Apply that drops settings", before: standing(set(true)), do: apply(set(false))},
		{name: "Apply that drops what makes links", before: standing(ofFields(true)), do: apply(ofFields(false))},
		{name: "Apply to a namespace of another, of a network", before: func(w *faultWorld) { w.foreign("c") }, do: apply(besides("c"))},
		{name: "Apply that drops a namespace of another", before: func(w *faultWorld) { w.foreign("c"); standing(besides("c"))(w) }, do: apply(besides())},
		{name: "Down by the name of a network", host: richVeth, ends: true, before: standing(three(3)), do: func(*faultWorld) error {
			_, err := osl.Down(ctx, osl.Network{Name: "lab"})
			return err
		}},
	}
}

// subnet is a sandbox with addresses of one subnet, and what hangs on them.
func subnet(addrs ...string) osl.Network {
	return osl.Network{Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Type: "veth", MAC: osl.MAC(hw(92)),
		Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "va"}, Addresses: v4(addrs[:1]...), Aliases: v4(addrs[1:]...), Routes: v4("172.22.0.0/16")}},
		Gateway:   netip.MustParseAddr("10.9.0.254"),
		Neighbors: []osl.NeighborSpec{{Dev: "eth0", IP: netip.MustParseAddr("10.9.0.77"), MAC: osl.MAC(hw(77))}}}}}
}

// plugged is a link from a to another sandbox.
func plugged(to string) osl.Network {
	return osl.Network{Name: "lab", Links: []osl.Link{{{Sandbox: "a", Interface: "eth0"}, {Sandbox: to, Interface: "eth0"}}}, Sandboxes: []osl.Spec{
		{Name: "a", Interfaces: []osl.InterfaceSpec{{Name: "eth0", MAC: osl.MAC(hw(90)), Addresses: v4("10.9.0.1/24")}}, Gateway: netip.MustParseAddr("10.9.0.3")},
		{Name: to, Interfaces: []osl.InterfaceSpec{{Name: "eth0", MAC: osl.MAC(hw(91)), Addresses: v4("10.9.0.3/24")}}}}}
}

// three is a network of which the first sandboxes are wanted: b has a link of the
// host, c an end there.
func three(n int) osl.Network {
	return osl.Network{Name: "lab", Sandboxes: []osl.Spec{
		{Name: "a", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Type: "veth", MAC: osl.MAC(hw(93)), Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "a-host"}}}},
		{Name: "b", Interfaces: []osl.InterfaceSpec{{Name: "wan", Source: "va", Addresses: v4("10.8.0.1/24")}}},
		{Name: "c", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Type: "veth", MAC: osl.MAC(hw(94)), Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "c-host"}}}},
	}[:n]}
}

// shapes is a sandbox whose links are of other kinds each time, with the same
// names.
func shapes(vni int, vxlan, one, two string) osl.Network {
	link := func(name, kind string, mac byte) osl.InterfaceSpec {
		s := osl.InterfaceSpec{Name: name, Type: kind, MAC: osl.MAC(hw(mac)), Addresses: v4("10.9." + name[1:] + ".1/24")}
		if kind == "veth" {
			s.Peer = osl.Endpoint{Sandbox: osl.HostName, Interface: "far"}
		}
		return s
	}
	return osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{
		{Name: "vx", Type: "vxlan", VNI: vni, MAC: osl.MAC(hw(95)), Addresses: v4("10.9.9.1/24")},
		{Name: vxlan, Type: "vxlan", VNI: 77, MAC: osl.MAC(hw(96))}, // renamed
		link("l1", one, 97), link("l2", two, 98),
	}}}}
}

// ofFields is a sandbox of whose links the file says what makes them, or no more than that
// they are of their types.
func ofFields(said bool) osl.Network {
	under := osl.InterfaceSpec{Name: "under", Type: "bridge", MAC: osl.MAC(hw(99)), Addresses: v4("10.9.0.1/24")}
	on := osl.InterfaceSpec{Name: "vx", Type: "vxlan", VNI: 5, MAC: osl.MAC(hw(95)), Addresses: v4("10.9.1.1/24"), Routes: v4("172.22.0.0/16"), AltNames: []string{"vx-by-another-name"},
		Sysctls: map[string]string{"ipv4.rp_filter": "2"}, Offloads: map[string]bool{"gro": false}}
	to := osl.InterfaceSpec{Name: "vy", Type: "vxlan", VNI: 6, MAC: osl.MAC(hw(96))}
	q := osl.InterfaceSpec{Name: "q", Type: "veth", MAC: osl.MAC(hw(97)), Peer: osl.Endpoint{Sandbox: "a", Interface: "r"}}
	if said {
		on.Parent, on.Remote = "under", netip.MustParseAddr("10.9.0.2")
		to.Local, to.Remote, q.NumTxQueues = netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("10.9.0.3"), 2
	}
	return osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{under, on, to, q, {Name: "r", MAC: osl.MAC(hw(98))}},
		Neighbors: []osl.NeighborSpec{{Dev: "vx", FDB: true, MAC: osl.MAC(hw(77)), IP: netip.MustParseAddr("10.9.0.7")}, {Dev: "vy", FDB: true, MAC: osl.MAC(hw(78)), IP: netip.MustParseAddr("10.9.0.8")}}}}}
}

func tunnel(remote, mode string) osl.Network {
	return osl.Network{Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{
		{Name: "br0", Type: "bridge", MAC: osl.MAC(hw(99)), Addresses: v4("10.9.0.1/24")},
		{Name: "vx", Type: "vxlan", VNI: 5, MAC: osl.MAC(hw(95)), Remote: netip.MustParseAddr(remote)},
		{Name: "mv", Type: "macvlan", Parent: "br0", Mode: mode, MAC: osl.MAC(hw(96))},
	}}}}
}

// spread is a vxlan with a remote of its own, if that is not empty, and with others:
// beside it, or in its place.
func spread(remote string, others ...string) osl.Network {
	s := osl.Spec{Name: "a", Interfaces: []osl.InterfaceSpec{{Name: "vx", Type: "vxlan", VNI: 5, MAC: osl.MAC(hw(95))}}}
	if remote != "" {
		s.Interfaces[0].Remote = netip.MustParseAddr(remote)
	}
	for _, ip := range others {
		if remote == "" {
			s.Interfaces[0].Remotes = append(s.Interfaces[0].Remotes, netip.MustParseAddr(ip))
		} else {
			s.Neighbors = append(s.Neighbors, osl.NeighborSpec{Dev: "vx", IP: netip.MustParseAddr(ip), MAC: make(osl.MAC, 6), FDB: true})
		}
	}
	return osl.Network{Sandboxes: []osl.Spec{s}}
}

// vxlanOn is a vxlan with a remote and entries, on a bridge that is there for that, or on none.
func vxlanOn(parent string) osl.Network {
	n := spread("192.0.2.1", "192.0.2.2")
	s := &n.Sandboxes[0]
	s.Interfaces[0].Parent, s.Interfaces[0].MTU = parent, 1300
	if parent != "" {
		s.Interfaces = append(s.Interfaces, osl.InterfaceSpec{Name: parent, Type: "bridge", MAC: osl.MAC(hw(94)), Addresses: v4("10.9.0.1/24")})
	}
	return n
}

// overIPv6 is a vxlan whose parent gets its IPv6 with it, and a link on that vxlan.
func overIPv6() osl.Network {
	a := netip.MustParseAddr
	return osl.Network{Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{
		{Name: "br0", Type: "bridge", MAC: osl.MAC(hw(94)), Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8::1/64")}},
		{Name: "br1", Type: "bridge", MAC: osl.MAC(hw(93))},
		{Name: "vx", Type: "vxlan", VNI: 5, MAC: osl.MAC(hw(95)), Parent: "br0", Remote: a("ff05::5"), Addresses: v4("10.9.0.1/24")},
		{Name: "mv", Type: "macvlan", Parent: "vx", MAC: osl.MAC(hw(96)), Master: "br1"},
	}}}}
}

// besides is a sandbox, and namespaces of others with a link in each.
func besides(others ...string) osl.Network {
	n := osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "a"}}}
	for i, name := range others {
		n.Sandboxes = append(n.Sandboxes, osl.Spec{Name: name, Interfaces: []osl.InterfaceSpec{{Name: "eth7", Type: "veth", MAC: osl.MAC(hw(byte(85 + i))),
			Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "far"}, Addresses: v4("10.9.0.1/24")}}})
	}
	return n
}

// set is a bridge, a port of it and a vxlan that have settings of their own, or none.
func set(odd bool) osl.Network {
	br, port, end := osl.InterfaceSpec{Name: "br0", Type: "bridge"}, osl.InterfaceSpec{Name: "p0", Master: "br0"}, osl.InterfaceSpec{Name: "eth0", Addresses: v4("10.9.0.1/24")}
	vx := osl.InterfaceSpec{Name: "vx0", Type: "vxlan", Master: "br0", VNI: 7, Remote: netip.MustParseAddr("192.0.2.1")}
	var box map[string]string
	if odd {
		seven, yes, no := 7, true, false
		br.Bridge, port.BridgePort = &osl.BridgeSpec{Priority: &seven, MulticastSnooping: &no}, &osl.BridgePortSpec{Isolated: &yes, Cost: &seven}
		end.MTU, end.Group, end.TxQueueLen, port.Promisc, port.GSOMaxSize = 1400, &seven, &seven, &yes, 16384
		vx.TTL, vx.Learning, vx.BridgePort = 7, &no, &osl.BridgePortSpec{Cost: &seven}
		end.Sysctls, box = map[string]string{"ipv4.rp_filter": "2"}, map[string]string{"ipv4.ip_forward": "1", "ipv4.tcp_ecn": "1"}
	}
	return osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "a", Sysctls: box, Interfaces: []osl.InterfaceSpec{br, port, vx}}, {Name: "b", Interfaces: []osl.InterfaceSpec{end}}},
		Links: []osl.Link{{{Sandbox: "a", Interface: "p0"}, {Sandbox: "b", Interface: "eth0"}}}}
}
