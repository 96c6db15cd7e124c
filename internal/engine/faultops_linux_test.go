package engine_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/seed59451c2b/osl"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/types"
)

// faultOp is an operation that is made to fail at each step.
type faultOp struct {
	name string
	host string // commands of ip on the host before
	// before prepares the sandbox a; nil where there is none.
	before func(w *faultWorld)
	do     func(w *faultWorld) error
	// ends says that the operation ends something: after a fault some of it
	// may have ended, but nothing of the host's is lost, and doing it again
	// ends the rest.
	ends bool
	// bulk says that it is one send and has no record: docs/reliability.md says
	// what a kill then leaves of one of which the kernel refused a part.
	bulk bool
	// recovers says that it puts right what a dead process left, so that after a
	// second time nothing is as before.
	recovers bool
}

// A host's link with everything that a move takes from it.
const richVeth = `
link add va index 41 address 02:5a:00:00:00:01 mtu 1400 txqueuelen 77 type veth peer name vb index 42 address 02:5a:00:00:00:02
link set va alias hello;a=b
link property add dev va altname va-by-another-name
link set vb up
link set va up
addr add 192.0.2.1/24 dev va label va:x
addr add 192.0.2.2/24 dev va
addr add 198.51.100.1 peer 198.51.100.2/32 dev va
addr add 2001:db8:9::1/64 dev va nodad
addr add fe80::5/64 dev va nodad
route add 203.0.113.0/24 via 192.0.2.9 dev va mtu 1300
route add 203.0.113.0/24 dev va table 77
route add 2001:db8:77::/48 via 2001:db8:9::9 dev va
neigh add 192.0.2.77 lladdr 02:5a:00:00:00:77 dev va nud permanent
`

const plainVeth = `
link add va index 41 address 02:5a:00:00:00:01 type veth peer name vb index 42 address 02:5a:00:00:00:02
link set vb up
`

const portVeth = plainVeth + `
link add hb index 43 address 02:5a:00:00:00:03 type bridge
link set va master hb up
`

const hostVXLAN = `
link add vx index 44 address 02:5a:00:00:00:04 type vxlan id 7 dstport 4789
`

func cidr(s string) *net.IPNet {
	p := netip.MustParsePrefix(s)
	return ipNet(p)
}

func hw(last byte) net.HardwareAddr { return net.HardwareAddr{2, 0x5a, 0, 0, 0, last} }

func destination(s string) *net.IPNet { return ipNet(netip.MustParsePrefix(s)) }

// sandboxA makes a sandbox with a bridge, and a link of the host as its port.
func sandboxA(w *faultWorld) {
	w.a = w.make("a")
	o := w.a.InterfaceOptions()
	w.must(w.a.AddInterface("br", "br", o.Bridge(true), o.MacAddress(hw(20)), o.Address(cidr("10.1.0.1/16"))))
}

// sandboxWithLink is sandboxA with va in it as eth0.
func sandboxWithLink(w *faultWorld) {
	sandboxA(w)
	w.must(addRich(w))
}

// sandboxWithRoutes is sandboxWithLink with everything that can be set on it.
func sandboxWithRoutes(w *faultWorld) {
	sandboxWithLink(w)
	w.must(w.a.SetGateway(net.ParseIP("10.2.0.254")))
	w.must(w.a.SetGatewayIPv6(net.ParseIP("2001:db8:2::fe")))
	w.must(w.a.AddStaticRoute(nextHop))
	w.must(w.a.AddStaticRoute(connectedRoute))
	w.must(w.a.AddAliasIP("eth0", cidr("10.9.9.9/32")))
	w.must(w.a.AddNeighbor(net.ParseIP("10.2.0.7"), hw(7), false))
}

func sandboxAndB(w *faultWorld) {
	sandboxA(w)
	w.make("b")
}

// vethsToB are links from a to b.
func vethsToB(n int) (list []osl.InterfaceSpec) {
	for i := range n {
		name := fmt.Sprintf("l%d", i)
		list = append(list, osl.InterfaceSpec{Name: name, Type: "veth", MAC: osl.MAC(hw(byte(80 + i))), Peer: osl.Endpoint{Sandbox: "b", Interface: name}, Addresses: prefixes(n)[i : i+1]})
	}
	return list
}

func sandboxWithVXLAN(w *faultWorld) {
	w.a = w.make("a")
	w.must(w.a.AddInterface("vx", "vx", w.a.InterfaceOptions().Address(cidr("10.3.0.1/24"))))
	w.must(w.a.AddNeighbor(net.ParseIP("192.0.2.9"), hw(9), false, onVX...))
}

var (
	nextHop        = &types.StaticRoute{Destination: destination("172.16.0.0/16"), NextHop: net.ParseIP("10.2.0.9")}
	connectedRoute = &types.StaticRoute{Destination: destination("172.17.0.0/16"), RouteType: types.CONNECTED, NextHop: net.ParseIP("10.2.0.1")}
	onVX           = []osl.NeighOption{setters.LinkName("vx"), setters.Family(unix.AF_BRIDGE)}
)

// addRich moves va in with every option there is.
func addRich(w *faultWorld) error {
	o := w.a.InterfaceOptions()
	return w.a.AddInterface("va", "eth", o.MacAddress(hw(30)), o.Address(cidr("10.2.0.1/24")), o.AddressIPv6(cidr("2001:db8:2::1/64")),
		o.LinkLocalAddresses([]*net.IPNet{cidr("169.254.7.7/16"), cidr("fe80::7/64")}), o.Master("br"), o.Routes([]*net.IPNet{cidr("172.31.0.0/16")}),
		osl.WithMTU(1300), osl.WithTxQueueLen(55), osl.WithSysctls(map[string]string{"ipv4.rp_filter": "2", "ipv6.accept_ra": "0"}))
}

// foreign makes a namespace as another program does, with a link of its own.
func foreign(w *faultWorld) {
	w.foreign("x")
}

// foreignWithAll is such a namespace at the key a, with everything of osl's in it.
func foreignWithAll(w *faultWorld) {
	w.foreign("a")
	n, err := osl.Open(context.Background(), "a")
	w.must(err)
	w.open = append(w.open, n)
	w.a = n
	fill(w)
}

func adoptedWithAll(w *faultWorld) {
	foreign(w)
	var err error
	w.a, err = w.keep(osl.GetSandboxForExternalKey("x", "a"))
	w.must(err)
	fill(w)
}

// fill gives the sandbox a everything that osl can put into one.
func fill(w *faultWorld) {
	o := w.a.InterfaceOptions()
	w.must(w.a.AddInterface("br", "br", o.Bridge(true), o.MacAddress(hw(20)), o.Address(cidr("10.1.0.1/16"))))
	w.must(addRich(w))
	w.must(w.a.AddInterface("mine", "own", osl.WithLinkInside(), o.Address(cidr("10.5.0.1/24"))))
	w.must(w.a.AddStaticRoute(nextHop))
	w.must(w.a.AddNeighbor(net.ParseIP("10.2.0.7"), hw(7), false))
	w.must(w.a.AddAliasIP("lo", cidr("10.9.9.9/32")))
}

func faultOps() []faultOp {
	ctx := context.Background()
	lab := faultLab()
	return slices.Concat(replaceOps(), trafficOps(), addOps(), routeOps(), nexthopOps(), addressOps(), bridgeOps(), betweenOps(), carryOps(false, false), yieldOps(false), []faultOp{
		{name: "NewSandbox", do: func(w *faultWorld) (err error) { w.a, err = w.sandbox("a"); return err }},
		{name: "AddInterface of a link with everything", host: richVeth, before: sandboxA, do: addRich},
		{name: "AddInterface of a bridge's port", host: portVeth, before: sandboxA, do: addRich},
		{name: "AddInterface of a vxlan", host: hostVXLAN, before: sandboxA, do: func(w *faultWorld) error {
			return w.a.AddInterface("vx", "vx", w.a.InterfaceOptions().Master("br"))
		}},
		{name: "AddInterface of a bridge", before: sandboxA, do: func(w *faultWorld) error {
			o := w.a.InterfaceOptions()
			return w.a.AddInterface("b2", "br", o.Bridge(true), o.MacAddress(hw(21)), o.AddressIPv6(cidr("2001:db8:3::1/64")))
		}},
		{name: "AddInterface of a link inside", before: func(w *faultWorld) {
			sandboxA(w)
			w.ip("-n", "a", "link", "add", "in0", "address", hw(40).String(), "type", "veth", "peer", "name", "in1", "address", hw(41).String())
		}, do: func(w *faultWorld) error {
			o := w.a.InterfaceOptions()
			return w.a.AddInterface("in0", "eth", osl.WithLinkInside(), o.Address(cidr("10.5.0.1/24")), o.AddressIPv6(cidr("2001:db8:5::1/64")),
				o.Master("br"), o.MacAddress(hw(42)), osl.WithMTU(1400))
		}},
		{name: "Interface.Remove of a host's link", host: richVeth, before: func(w *faultWorld) { sandboxWithRoutes(w); w.find("va") }, do: func(w *faultWorld) error { return w.found.Remove() }},
		{name: "Interface.Remove of a bridge", host: richVeth, before: func(w *faultWorld) { sandboxWithLink(w); w.find("br") }, do: func(w *faultWorld) error { return w.found.Remove() }},
		{name: "SetGateway", host: richVeth, before: sandboxWithLink, do: func(w *faultWorld) error { return w.a.SetGateway(net.ParseIP("10.2.0.254")) }},
		{name: "SetGateway over another", host: richVeth, before: sandboxWithRoutes, do: func(w *faultWorld) error { return w.a.SetGateway(net.ParseIP("10.2.0.253")) }},
		{name: "SetGatewayIPv6", host: richVeth, before: sandboxWithLink, do: func(w *faultWorld) error { return w.a.SetGatewayIPv6(net.ParseIP("2001:db8:2::fe")) }},
		{name: "SetGatewayIPv6 over another", host: richVeth, before: sandboxWithRoutes, do: func(w *faultWorld) error { return w.a.SetGatewayIPv6(net.ParseIP("2001:db8:2::fd")) }},
		{name: "UnsetGateway", host: richVeth, before: sandboxWithRoutes, do: func(w *faultWorld) error { return w.a.UnsetGateway() }},
		{name: "UnsetGatewayIPv6", host: richVeth, before: sandboxWithRoutes, do: func(w *faultWorld) error { return w.a.UnsetGatewayIPv6() }},
		{name: "AddStaticRoute", host: richVeth, before: sandboxWithLink, do: func(w *faultWorld) error { return w.a.AddStaticRoute(nextHop) }},
		{name: "AddStaticRoute, connected", host: richVeth, before: sandboxWithLink, do: func(w *faultWorld) error { return w.a.AddStaticRoute(connectedRoute) }},
		{name: "AddStaticRoute that is there", host: richVeth, before: sandboxWithRoutes, do: func(w *faultWorld) error { return w.a.AddStaticRoute(nextHop) }},
		{name: "RemoveStaticRoute", host: richVeth, before: sandboxWithRoutes, do: func(w *faultWorld) error { return w.a.RemoveStaticRoute(nextHop) }},
		{name: "AddAliasIP", host: richVeth, before: sandboxWithLink, do: func(w *faultWorld) error { return w.a.AddAliasIP("eth0", cidr("10.9.9.9/32")) }},
		{name: "AddAliasIP that is there", host: richVeth, before: sandboxWithRoutes, do: func(w *faultWorld) error { return w.a.AddAliasIP("eth0", cidr("10.9.9.9/32")) }},
		{name: "AddAliasIP, the first IPv6 address", before: sandboxA, do: func(w *faultWorld) error { return w.a.AddAliasIP("br0", cidr("2001:db8::9/128")) }},
		{name: "RemoveAliasIP", host: richVeth, before: sandboxWithRoutes, do: func(w *faultWorld) error { return w.a.RemoveAliasIP("eth0", cidr("10.9.9.9/32")) }},
		{name: "AddNeighbor", host: richVeth, before: sandboxWithLink, do: func(w *faultWorld) error { return w.a.AddNeighbor(net.ParseIP("10.2.0.7"), hw(7), false) }},
		{name: "AddNeighbor by force", host: richVeth, before: sandboxWithRoutes, do: func(w *faultWorld) error { return w.a.AddNeighbor(net.ParseIP("10.2.0.7"), hw(8), true) }},
		{name: "AddNeighbor of a vxlan", host: hostVXLAN, before: sandboxWithVXLAN, do: func(w *faultWorld) error {
			return w.a.AddNeighbor(net.ParseIP("192.0.2.7"), hw(7), false, onVX...)
		}},
		{name: "DeleteNeighbor", host: richVeth, before: sandboxWithRoutes, do: func(w *faultWorld) error { return w.a.DeleteNeighbor(net.ParseIP("10.2.0.7"), hw(7), true) }},
		{name: "DeleteNeighbor in name", host: richVeth, before: sandboxWithRoutes, do: func(w *faultWorld) error { return w.a.DeleteNeighbor(net.ParseIP("10.2.0.7"), hw(7), false) }},
		{name: "DeleteNeighbor of a vxlan", host: hostVXLAN, before: sandboxWithVXLAN, do: func(w *faultWorld) error { return w.a.DeleteNeighbor(net.ParseIP("192.0.2.9"), hw(9), true) }},
		{name: "DisableARPForVIP", host: richVeth, before: sandboxWithLink, do: func(w *faultWorld) error { return w.a.DisableARPForVIP("eth0") }},
		{name: "AddLink with a peer on the host", before: sandboxA, do: func(w *faultWorld) error {
			return w.ns("a").AddLink(ctx, osl.InterfaceSpec{Name: "eth0", Type: "veth", MAC: osl.MAC(hw(50)), Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "eth0-host"},
				Addresses: []netip.Prefix{netip.MustParsePrefix("10.6.0.1/24"), netip.MustParsePrefix("2001:db8:6::1/64")}, Master: "br0"})
		}},
		{name: "AddLink with a peer in another sandbox", before: func(w *faultWorld) { sandboxA(w); w.make("b") }, do: func(w *faultWorld) error {
			return w.ns("a").AddLink(ctx, osl.InterfaceSpec{Name: "eth0", Type: "veth", MAC: osl.MAC(hw(50)), Peer: osl.Endpoint{Sandbox: "b", Interface: "eth7"},
				Addresses: []netip.Prefix{netip.MustParsePrefix("10.6.0.1/24")}})
		}},
		{name: "AddLink of a macvlan on a link of the host", host: plainVeth, before: sandboxA, do: func(w *faultWorld) error {
			return w.ns("a").AddLink(ctx, osl.InterfaceSpec{Name: "mv0", Type: "macvlan", Parent: "host/vb", MAC: osl.MAC(hw(51)),
				Addresses: []netip.Prefix{netip.MustParsePrefix("10.6.0.1/24")}})
		}},
		{name: "AddNeighbors", bulk: true, host: richVeth, before: sandboxWithLink, do: func(w *faultWorld) error { return w.ns("a").AddNeighbors(ctx, slices.Values(neighbours(30))) }},
		{name: "DeleteNeighbors", bulk: true, host: richVeth, before: func(w *faultWorld) {
			sandboxWithLink(w)
			w.must(w.ns("a").AddNeighbors(ctx, slices.Values(neighbours(30))))
			w.ip("-n", "a", "neigh", "replace", "10.2.0.7", "lladdr", "02:5a:00:00:00:77", "dev", "eth0", "nud", "permanent")
		}, do: func(w *faultWorld) error { return w.ns("a").DeleteNeighbors(ctx, slices.Values(neighbours(30))) }},
		{name: "DeleteNeighbors of a vxlan", bulk: true, host: hostVXLAN, before: func(w *faultWorld) {
			sandboxWithVXLAN(w)
			w.must(w.ns("a").AddNeighbors(ctx, slices.Values(tunnels(3))))
		}, do: func(w *faultWorld) error { return w.ns("a").DeleteNeighbors(ctx, slices.Values(tunnels(4))) }},
		{name: "AddRoutes", bulk: true, host: richVeth, before: sandboxWithLink, do: func(w *faultWorld) error { return w.ns("a").AddRoutes(ctx, slices.Values(staticRoutes(30))) }},
		{name: "RemoveRoutes", bulk: true, host: richVeth, before: func(w *faultWorld) {
			sandboxWithLink(w)
			w.must(w.ns("a").AddRoutes(ctx, slices.Values(fullRoutes(30))))
		}, do: func(w *faultWorld) error { return w.ns("a").RemoveRoutes(ctx, slices.Values(staticRoutes(30))) }},
		{name: "RemoveRules", bulk: true, before: func(w *faultWorld) {
			sandboxA(w)
			w.must(osl.Add(ctx, osl.Network{Sandboxes: []osl.Spec{{Name: "a", Rules: sourceRules(5)}}}))
			w.ip("-n", "a", "rule", "add", "from", "10.7.0.1", "priority", "1001", "table", "100") // of others
		}, do: func(w *faultWorld) error { return w.ns("a").RemoveRules(ctx, slices.Values(sourceRules(7))) }},
		{name: "AddAddresses, the first of IPv6", before: sandboxA, do: func(w *faultWorld) error { return w.ns("a").AddAddresses(ctx, "br0", slices.Values(prefixes(30))) }},
		{name: "RemoveAddresses, the last of IPv4", before: func(w *faultWorld) {
			sandboxA(w)
			w.must(w.a.AddStaticRoute(&types.StaticRoute{Destination: destination("10.77.0.0/16"), RouteType: types.NEXTHOP, NextHop: net.ParseIP("10.1.0.9")}))
			w.must(w.ns("a").AddRoutes(ctx, slices.Values([]osl.RouteSpec{{To: netip.MustParsePrefix("10.78.0.0/16"), Dev: "br0", Scope: "link"}, {To: netip.MustParsePrefix("10.79.0.0/16"), Dev: "br0"},
				{To: netip.MustParsePrefix("10.80.0.0/16"), Dev: "br0", Type: "local"}})))
			w.ip("-n", "a", "route", "add", "10.81.0.0/16", "dev", "br0", "scope", "link") // of others
			w.must(w.a.AddNeighbor(net.ParseIP("10.1.0.7"), hw(7), true, w.a.NeighborOptions().LinkName("br")))
		}, do: func(w *faultWorld) error {
			return w.ns("a").RemoveAddresses(ctx, "br0", slices.Values([]netip.Prefix{netip.MustParsePrefix("10.1.0.1/16")}))
		}},
		{name: "RemoveAddresses, the last of IPv6", before: func(w *faultWorld) {
			sandboxA(w)
			w.must(w.ns("a").AddAddresses(ctx, "br0", slices.Values(prefixes(30))))
		}, do: func(w *faultWorld) error { return w.ns("a").RemoveAddresses(ctx, "br0", slices.Values(prefixes(30))) }},
		{name: "SetLink, all but the name", host: richVeth, before: sandboxWithRoutes, do: func(w *faultWorld) error {
			queue, down := 77, false
			return w.ns("a").SetLink(ctx, "eth0", osl.LinkChange{MTU: 1300, TxQueueLen: &queue, Up: &down})
		}},
		{name: "SetLink, a new name", host: richVeth, before: sandboxWithRoutes, do: func(w *faultWorld) error {
			return w.ns("a").SetLink(ctx, "eth0", osl.LinkChange{Name: "wan0"})
		}},
		{name: "SetLink up", before: func(w *faultWorld) {
			down := false
			sandboxA(w)
			w.must(w.ns("a").SetLink(ctx, "br0", osl.LinkChange{Up: &down}))
		}, do: func(w *faultWorld) error {
			up := true
			return w.ns("a").SetLink(ctx, "br0", osl.LinkChange{Up: &up, MTU: 1400})
		}},
		{name: "AddLinks", before: sandboxAndB, do: func(w *faultWorld) error { return w.ns("a").AddLinks(ctx, slices.Values(vethsToB(3))) }},
		{name: "RemoveLinks", ends: true, before: func(w *faultWorld) {
			sandboxAndB(w)
			w.must(w.ns("a").AddLinks(ctx, slices.Values(vethsToB(3))))
		}, do: func(w *faultWorld) error {
			err := w.ns("a").RemoveLinks(ctx, slices.Values([]string{"l0", "l1", "l2"}))
			if errors.Is(err, osl.ErrNotFound) {
				return nil // the second call
			}
			return err
		}},
		{name: "RemoveLink", host: richVeth, before: sandboxWithRoutes, do: func(w *faultWorld) error { return w.ns("a").RemoveLink(ctx, "eth0") }},
		{name: "Apply of a fresh network", host: richVeth, do: func(w *faultWorld) error { _, err := osl.Apply(ctx, lab); return err }},
		{name: "Apply beside a sandbox of before", host: richVeth, before: func(w *faultWorld) { w.make("a") },
			do: func(w *faultWorld) error { _, err := osl.Apply(ctx, lab); return err }},
		{name: "Apply that mends", host: richVeth + hostVXLAN, before: func(w *faultWorld) { w.lab(); w.harm() },
			do: func(w *faultWorld) error { _, err := osl.Apply(ctx, lab); return err }},
		{name: "Apply that removes", host: richVeth + hostVXLAN, before: func(w *faultWorld) { w.lab(); w.harm() },
			do: func(w *faultWorld) error { _, err := osl.Apply(ctx, lesserLab()); return err }},
		{name: "Apply that moves addresses and routes", host: hostVXLAN, before: applyBefore, do: applyAfter},
		{name: "Apply that changes a prefix length of IPv6", before: func(w *faultWorld) { _, err := osl.Apply(ctx, lengthOf("2001:db8::1/64")); w.must(err) },
			do: func(w *faultWorld) error { _, err := osl.Apply(ctx, lengthOf("2001:db8::1/48")); return err }},
		{name: "Apply of settings", before: settingsBefore, do: func(w *faultWorld) error { _, err := osl.Apply(ctx, settingsLab(true)); return err }},
		{name: "Apply of settings in a new sandbox", do: func(w *faultWorld) error { _, err := osl.Apply(ctx, settingsLab(true)); return err }},
		{name: "Apply of settings that turn IPv6 off", before: settingsBefore, do: func(w *faultWorld) error {
			_, err := osl.Apply(ctx, osl.Network{Sandboxes: []osl.Spec{{Name: "a", Sysctls: map[string]string{"ipv6.conf.all.disable_ipv6": "1"}, Interfaces: settingsLab(false).Sandboxes[0].Interfaces[:1]}}})
			return err
		}},
		{name: "Apply that moves a vxlan in", host: hostVXLAN, before: func(w *faultWorld) { w.make("a") }, do: func(w *faultWorld) error {
			_, err := osl.Apply(ctx, osl.Network{Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{{Name: "vx0", Source: "vx"}},
				Neighbors: []osl.NeighborSpec{{Dev: "vx0", IP: netip.MustParseAddr("192.0.2.9"), MAC: osl.MAC(hw(73)), FDB: true}}}}})
			return err
		}},
		{name: "Interface.Remove of a host's vxlan", host: hostVXLAN, before: func(w *faultWorld) { sandboxWithVXLAN(w); w.find("vx") }, do: func(w *faultWorld) error { return w.found.Remove() }},
		{name: "Destroy, a host's vxlan in it", host: hostVXLAN, ends: true, before: sandboxWithVXLAN, do: func(w *faultWorld) error { return w.a.Destroy() }},
		{name: "Destroy", host: richVeth + hostVXLAN, ends: true, before: func(w *faultWorld) {
			sandboxWithRoutes(w)
			w.must(w.a.AddInterface("vx", "vx"))
		}, do: func(w *faultWorld) error { return w.a.Destroy() }},
		{name: "Destroy, links elsewhere, a handle open", host: plainVeth, ends: true, before: func(w *faultWorld) {
			sandboxAndB(w)
			w.must(w.ns("a").AddLinks(ctx, slices.Values(append(vethsToB(2), osl.InterfaceSpec{Name: "h0", Type: "veth", MAC: osl.MAC(hw(90)), Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "a-host"}},
				osl.InterfaceSpec{Name: "mv0", Type: "macvlan", MAC: osl.MAC(hw(91)), Parent: "host/vb"}))))
			again, err := osl.Open(ctx, "a")
			w.must(err)
			w.open = append(w.open, again)
		}, do: func(w *faultWorld) error { return w.a.Destroy() }},
		{name: "Apply of links that stand on each other", do: func(w *faultWorld) error { _, err := osl.Apply(ctx, stackedLab(1400)); return err }},
		{name: "Apply of links on one that it makes on the host", do: func(w *faultWorld) error { _, err := osl.Apply(ctx, standingOnHost("e0")); return err }},
		{name: "Apply of links on another one on the host", before: func(w *faultWorld) { _, err := osl.Apply(ctx, standingOnHost("e0")); w.must(err) },
			do: func(w *faultWorld) error { _, err := osl.Apply(ctx, standingOnHost("")); return err }},
		{name: "Apply of segments", do: func(w *faultWorld) error { _, err := osl.Apply(ctx, segmentLab("blue", "green")); return err }},
		{name: "Apply that puts an end to a segment", before: func(w *faultWorld) { _, err := osl.Apply(ctx, segmentLab("blue", "green")); w.must(err) },
			do: func(w *faultWorld) error { _, err := osl.Apply(ctx, segmentLab("blue", "blue")); return err }},
		{name: "Apply that puts an end to all segments", before: func(w *faultWorld) { _, err := osl.Apply(ctx, segmentLab("blue", "green")); w.must(err) },
			do: func(w *faultWorld) error { _, err := osl.Apply(ctx, segmentLab("", "")); return err }},
		{name: "Apply that changes the MTU of a pair", before: func(w *faultWorld) { _, err := osl.Apply(ctx, stackedLab(1400)); w.must(err) },
			do: func(w *faultWorld) error { _, err := osl.Apply(ctx, stackedLab(1450)); return err }},
		{name: "GetSandboxForExternalKey", before: foreign, do: func(w *faultWorld) error {
			_, err := w.keep(osl.GetSandboxForExternalKey("x", "a"))
			return err
		}},
		{name: "GetSandboxForExternalKey of a sandbox", before: func(w *faultWorld) { w.make("x") }, do: func(w *faultWorld) error {
			_, err := w.keep(osl.GetSandboxForExternalKey("x", "a"))
			return err
		}},
		{name: "Destroy of one that was adopted", host: richVeth, ends: true, before: adoptedWithAll, do: func(w *faultWorld) error { return w.a.Destroy() }},
		{name: "Remove of one that another made", host: richVeth, before: foreignWithAll, ends: true, do: func(w *faultWorld) error {
			err := osl.Remove(ctx, "a")
			if errors.Is(err, osl.ErrNotFound) {
				return nil
			}
			return err
		}},
		{name: "Remove by force of one that another made", host: richVeth, before: foreignWithAll, ends: true, do: func(w *faultWorld) error {
			err := osl.Remove(ctx, "a", osl.WithForce())
			if errors.Is(err, osl.ErrNotFound) {
				return nil
			}
			return err
		}},
		{name: "Down of some, one that another made", host: richVeth, before: func(w *faultWorld) { w.make("b"); foreignWithAll(w) }, ends: true, do: func(w *faultWorld) error {
			_, err := osl.Down(ctx, osl.Network{Sandboxes: []osl.Spec{{Name: "a"}, {Name: "b"}}})
			return err
		}},
		{name: "NewSandbox of the host", do: func(w *faultWorld) error {
			_, err := w.keep(osl.NewSandbox("a", false, false))
			return err
		}},
		{name: "Destroy of the host's key", host: richVeth, ends: true, before: func(w *faultWorld) {
			var err error
			w.a, err = w.keep(osl.NewSandbox("a", false, false))
			w.must(err)
			w.must(w.a.AddInterface("va", "eth", w.a.InterfaceOptions().Address(cidr("10.2.0.1/24")), osl.WithMTU(1300)))
		}, do: func(w *faultWorld) error { return w.a.Destroy() }},
		{name: "Down", host: richVeth, ends: true, before: func(w *faultWorld) { w.lab() }, do: func(w *faultWorld) error { _, err := osl.Down(ctx, lab); return err }},
	})
}

var allFaults = flag.Bool("faults.all", false, "make an operation fail at every point; otherwise at five")

// A change is complete, or it did not happen, whatever the kernel answers to
// any message of it.
func TestFaults(t *testing.T) {
	sum, ops, ran := faultCount{}, slices.Concat(faultOps(), carryOps(false, true)), 0
	for i := range sampled(t, len(ops), *allFaults) {
		ran++
		t.Run(ops[i].name, func(t *testing.T) { sum.add(driveFaults(t, ops[i])) })
	}
	t.Logf("operations %d, fault points %d, held %d, not held %d", ran, sum.points, sum.held, sum.points-sum.held)
}
