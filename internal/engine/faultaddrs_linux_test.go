package engine_test

import (
	"context"
	"net/netip"

	"github.com/seed59451c2b/osl"
)

// addressLab is a sandbox whose addresses have options; with other each has others.
func addressLab(other bool) osl.Network {
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	none := uint32(0)
	f := osl.InterfaceSpec{Name: "br0", Type: "bridge", MAC: osl.MAC(hw(76)), IPv6: "auto",
		Addresses: []netip.Prefix{p("10.96.0.1/24"), p("10.96.0.2/24"), p("10.97.0.1/32"), p("10.98.0.1/24"), p("2001:db8:97::1/64"), p("2001:db8:97::2/64"), p("2001:db8:98::1/64")},
		AddressOptions: map[netip.Prefix]osl.AddressOptions{p("10.97.0.1/32"): {Peer: a("10.97.0.2")}, p("10.98.0.1/24"): {Scope: "link", NoPrefixRoute: true},
			p("2001:db8:98::1/64"): {Peer: netip.MustParseAddr("2001:db8:99::1")}, p("10.96.0.2/24"): {PreferredLft: &none}, p("2001:db8:97::1/64"): {PreferredLft: &none}, p("2001:db8:97::2/64"): {NoPrefixRoute: true}}}
	if other {
		f.Addresses, f.IPv6 = f.Addresses[1:], "link-local"
		delete(f.AddressOptions, p("10.96.0.2/24"))
		f.AddressOptions[p("2001:db8:97::1/64")] = osl.AddressOptions{NoPrefixRoute: true}
	}
	return osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{f,
		{Name: "br1", Type: "bridge", MAC: osl.MAC(hw(77)), IPv6: "link-local"}}}}}
}

// peersLab is a sandbox with addresses of which the kernel changes no peer and no flag, and
// routes by them; with other each has another one. One is the only one of its link.
func peersLab(other bool) osl.Network {
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	n := routesLab(
		osl.RouteSpec{To: p("172.16.1.0/24"), Dev: "e0", Src: a("10.70.0.1")},
		osl.RouteSpec{To: p("172.16.2.0/24"), Via: a("10.72.0.9"), Src: a("10.71.0.2")},
		osl.RouteSpec{To: p("2001:db8:ff00::/48"), Via: a("2001:db8:73::9"), Src: a("2001:db8:71::1")},
		osl.RouteSpec{To: p("172.16.3.0/24"), Nexthop: 7, Src: a("10.71.0.1")})
	s := &n.Sandboxes[0]
	s.Nexthops = []osl.NexthopSpec{{ID: 7, Via: a("10.72.0.9"), Dev: "e1"}}
	s.Neighbors = []osl.NeighborSpec{{Dev: "e0", IP: a("10.70.0.77"), MAC: osl.MAC(hw(77))}}
	s.Interfaces[0].Addresses = []netip.Prefix{p("10.70.0.1/32")}
	s.Interfaces[1].Addresses = []netip.Prefix{p("10.72.0.1/24"), p("10.71.0.1/24"), p("10.71.0.2/24"), p("2001:db8:71::1/64"), p("2001:db8:73::1/64")}
	e0, e1 := map[netip.Prefix]osl.AddressOptions{}, map[netip.Prefix]osl.AddressOptions{}
	s.Interfaces[0].AddressOptions, s.Interfaces[1].AddressOptions = e0, e1
	e0[p("10.70.0.1/32")] = osl.AddressOptions{Peer: a("10.70.0.2")}
	if other {
		e0[p("10.70.0.1/32")] = osl.AddressOptions{Peer: a("10.70.0.3")}
		e1[p("10.71.0.1/24")] = osl.AddressOptions{NoPrefixRoute: true}
		e1[p("2001:db8:71::1/64")] = osl.AddressOptions{Peer: a("2001:db8:74::1")}
	}
	return n
}

// besidePeers is what others have put there.
const besidePeers = `
addr add 10.71.0.50/24 dev e1
addr add 10.75.0.1/24 dev e1
route add 203.0.113.0/24 dev e0
route add 198.51.100.0/24 dev e0 src 10.70.0.1 table 77
route add 192.0.2.0/24 via 10.72.0.7 src 10.71.0.50
route add 2001:db8:99::/48 dev e1 src 2001:db8:71::1 metric 7
neigh add 10.70.0.78 lladdr 02:5a:00:00:00:78 dev e0 nud permanent
`

func addressOps() []faultOp {
	apply := func(n osl.Network) func(w *faultWorld) error {
		return func(*faultWorld) error { _, err := osl.Apply(context.Background(), n); return err }
	}
	before := func(n osl.Network) func(w *faultWorld) { return func(w *faultWorld) { w.must(apply(n)(w)) } }
	none := addressLab(false)
	none.Sandboxes[0].Interfaces[0].Addresses, none.Sandboxes[0].Interfaces[0].AddressOptions = nil, nil
	none.Sandboxes[0].Interfaces[0].IPv6, none.Sandboxes[0].Interfaces[1].IPv6 = "", "off"
	// Those with a peer come again when their link goes up.
	lies := addressLab(false)
	lies.Sandboxes[0].Interfaces[0].Down = true
	beside := func(n osl.Network) func(w *faultWorld) {
		return func(w *faultWorld) { before(n)(w); w.linesIn("a", besidePeers) }
	}
	bare := addressLab(false)
	bare.Sandboxes[0].Interfaces[0].Down, bare.Sandboxes[0].Interfaces[0].AddressOptions = true, nil
	bare.Sandboxes[0].Interfaces[0].Addresses = bare.Sandboxes[0].Interfaces[0].Addresses[:1]
	return []faultOp{
		{name: "Apply that sets a link with peers down, and drops them", before: before(addressLab(false)), do: apply(bare)},
		{name: "Apply that changes peers of addresses", before: beside(peersLab(false)), do: apply(peersLab(true))},
		{name: "Apply that changes peers back", before: beside(peersLab(true)), do: apply(peersLab(false))},
		{name: "Apply that sets a link with peers up", before: before(lies), do: apply(addressLab(false))},
		{name: "Apply that sets a link with peers down", before: before(addressLab(false)), do: apply(lies)},
		{name: "Apply of addresses with options", do: apply(addressLab(false))},
		{name: "Apply that changes options of addresses", before: before(addressLab(false)), do: apply(addressLab(true))},
		{name: "Apply that changes options back", before: before(addressLab(true)), do: apply(addressLab(false))},
		{name: "Apply that drops addresses with options", before: before(addressLab(false)), do: apply(none)},
		{name: "Apply that gives addresses with options", before: before(none), do: apply(addressLab(false))},
	}
}
