//go:build linux

package osltest

import (
	"encoding/json"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/types"
)

// Each call and the one that undoes it leave a sandbox that has something of every sort as it
// was.
func TestCallsLeaveTheRest(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	n, err := osl.Open(t.Context(), sb.Key())
	must(t, err)
	defer n.Close()
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	yes, seven := true, 7
	_, err = osl.Apply(t.Context(), osl.Network{
		Sandboxes: []osl.Spec{{
			Name: sb.Key(), Labels: map[string]string{"a": "b"}, Gateway: addr("10.7.0.2"), Gateway6: addr("2001:db8:5::2"),
			Sysctls: map[string]string{"ipv6.conf.default.accept_ra": "0", "net.core.somaxconn": "512"},
			Interfaces: []osl.InterfaceSpec{
				{Name: "e0", MTU: 1400, TxQueueLen: &seven, AltNames: []string{"another"}, Group: &seven, Promisc: &yes, Note: "mine",
					Addresses: []netip.Prefix{prefix("10.7.0.1/24"), prefix("2001:db8:5::1/64")}, Aliases: []netip.Prefix{prefix("10.8.0.1/32"), prefix("2001:db8:8::1/128")},
					Routes: []netip.Prefix{prefix("198.51.100.0/24")}, Sysctls: map[string]string{"ipv4.rp_filter": "2", "ipv6.accept_ra": "0"}, DisableARPForVIP: true},
				{Name: "e1", Master: "br0", BridgePort: &osl.BridgePortSpec{Hairpin: &yes}},
				{Name: "br0", Type: "bridge", IPv6: "auto"},
				{Name: "lo", Addresses: []netip.Prefix{prefix("10.255.0.1/32")}, Sysctls: map[string]string{"ipv4.accept_local": "1"}},
			},
			Routes: []osl.RouteSpec{{To: prefix("192.0.2.0/24"), Via: addr("10.7.0.2")}, {To: prefix("2001:db8:7::/64"), Dev: "e0"},
				{To: prefix("203.0.113.0/24"), Type: "blackhole"}, {To: prefix("192.0.2.0/24"), Nexthop: 7, Table: 9}},
			Nexthops:  []osl.NexthopSpec{{ID: 7, Via: addr("10.7.0.3"), Dev: "e0"}},
			Rules:     []osl.RuleSpec{{Priority: 100, From: prefix("10.7.0.0/24"), Table: 9}},
			Neighbors: []osl.NeighborSpec{{IP: addr("10.7.0.2"), MAC: osl.MAC{2, 0, 0, 0, 0, 1}, Dev: "e0"}, {MAC: osl.MAC{2, 0, 0, 0, 0, 2}, Dev: "e1", FDB: true}},
		}},
		Links: []osl.Link{{{Sandbox: sb.Key(), Interface: "e0"}, {Sandbox: sb.Key(), Interface: "e1"}}},
	})
	must(t, err)
	ipNet := func(s string) *net.IPNet {
		ip, n, err := net.ParseCIDR(s)
		must(t, err)
		n.IP = ip
		return n
	}
	ctx := t.Context()
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	src, _ := w.vethUp()
	six := osl.RouteSpec{To: prefix("2001:db8:77::/64"), Via: addr("2001:db8:5::9")}
	rule := osl.RuleSpec{Priority: 200, From: prefix("10.9.0.0/16"), Table: 9}
	entry := osl.NeighborSpec{IP: addr("2001:db8:5::77"), MAC: osl.MAC(mac), Dev: "e0"}
	static := &types.StaticRoute{Destination: ipNet("10.66.0.0/16"), NextHop: net.IPv4(10, 7, 0, 9)}
	part := func(s osl.Spec) osl.Network { s.Name = sb.Key(); return osl.Network{Sandboxes: []osl.Spec{s}} }
	for what, calls := range map[string][]func() error{
		"alias IP":         {func() error { return n.AddAliasIP("e0", ipNet("10.9.0.5/32")) }, func() error { return n.RemoveAliasIP("e0", ipNet("10.9.0.5/32")) }},
		"alias IP of IPv6": {func() error { return n.AddAliasIP("e0", ipNet("2001:db8:9::5/128")) }, func() error { return n.RemoveAliasIP("e0", ipNet("2001:db8:9::5/128")) }},
		"addresses": {func() error {
			return n.AddAddresses(ctx, "e0", slices.Values([]netip.Prefix{prefix("10.7.0.77/24"), prefix("10.10.0.1/24"), prefix("2001:db8:5::77/64")}))
		}, func() error {
			return n.RemoveAddresses(ctx, "e0", slices.Values([]netip.Prefix{prefix("10.7.0.77/24"), prefix("10.10.0.1/24"), prefix("2001:db8:5::77/64")}))
		}},
		"gateway":         {func() error { return n.SetGateway(net.IPv4(10, 7, 0, 9)) }, func() error { return n.SetGateway(net.IPv4(10, 7, 0, 2)) }},
		"no gateway":      {n.UnsetGateway, func() error { return n.SetGateway(net.IPv4(10, 7, 0, 2)) }},
		"no IPv6 gateway": {n.UnsetGatewayIPv6, func() error { return n.SetGatewayIPv6(net.ParseIP("2001:db8:5::2")) }},
		"static route":    {func() error { return n.AddStaticRoute(static) }, func() error { return n.RemoveStaticRoute(static) }},
		"route":           {func() error { return n.AddRoute(ctx, six) }, func() error { return n.RemoveRoute(ctx, six) }},
		"rule":            {func() error { return osl.Add(ctx, part(osl.Spec{Rules: []osl.RuleSpec{rule}})) }, func() error { return n.RemoveRules(ctx, slices.Values([]osl.RuleSpec{rule})) }},
		"neighbor": {func() error {
			return n.AddNeighbor(net.IPv4(10, 7, 0, 50), mac, false, n.NeighborOptions().LinkName("e0"))
		}, func() error { return n.DeleteNeighbor(net.IPv4(10, 7, 0, 50), mac, true) }},
		"neighbors": {func() error { return n.AddNeighbors(ctx, slices.Values([]osl.NeighborSpec{entry})) }, func() error { return n.DeleteNeighbors(ctx, slices.Values([]osl.NeighborSpec{entry})) }},
		"link": {func() error {
			return n.AddLink(ctx, osl.InterfaceSpec{Name: "br1", Type: "bridge", Addresses: []netip.Prefix{prefix("10.20.0.1/24"), prefix("2001:db8:20::1/64")}})
		}, func() error { return n.RemoveLink(ctx, "br1") }},
		"port": {func() error { return n.AddLink(ctx, osl.InterfaceSpec{Name: "i0", Type: "ifb", Master: "br0"}) }, func() error { return n.RemoveLink(ctx, "i0") }},
		"interface": {func() error {
			return n.AddInterface(src, "eth", osl.WithAddresses(prefix("10.30.0.1/24"), prefix("2001:db8:30::1/64")))
		}, func() error { return n.RemoveLink(ctx, "eth0") }},
		"mtu": {func() error { return n.SetLink(ctx, "e0", osl.LinkChange{MTU: 1300}) }, func() error { return n.SetLink(ctx, "e0", osl.LinkChange{MTU: 1400}) }},
	} {
		t.Run(what, func(t *testing.T) {
			before, _ := json.Marshal(specNow(t, n))
			for _, call := range calls {
				must(t, call())
			}
			if after, _ := json.Marshal(specNow(t, n)); string(after) != string(before) {
				t.Errorf("there was\n%s\nand is\n%s", before, after)
			}
		})
	}
}
