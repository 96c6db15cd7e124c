package engine_test

import (
	"context"
	"net/netip"

	"github.com/seed59451c2b/osl"
)

// offloadLab is a pair whose ends have these offloads.
func offloadLab(a, b map[string]bool) osl.Network {
	return osl.Network{Sandboxes: []osl.Spec{
		{Name: "a", Interfaces: []osl.InterfaceSpec{{Name: "eth0", MAC: osl.MAC(hw(96)), Offloads: a}}},
		{Name: "b", Interfaces: []osl.InterfaceSpec{{Name: "eth0", MAC: osl.MAC(hw(97)), Offloads: b}}},
	}, Links: []osl.Link{{{Sandbox: "a", Interface: "eth0"}, {Sandbox: "b", Interface: "eth0"}}}}
}

// impairLab is a pair whose ends are impaired.
func impairLab(a, b *osl.ImpairSpec) osl.Network {
	n := offloadLab(nil, nil)
	n.Sandboxes[0].Interfaces[0].Impair, n.Sandboxes[1].Interfaces[0].Impair = a, b
	return n
}

// hostLab is a network with a bridge on the host, and two ends of links there: one is
// its port, the other has addresses. The lesser one has another bridge, another
// address and no port.
func hostLab(lesser bool) osl.Network {
	p := netip.MustParsePrefix
	host := osl.Spec{Name: osl.HostName, Interfaces: []osl.InterfaceSpec{
		{Name: "br-lab", Type: "bridge", MAC: osl.MAC(hw(98)), Addresses: []netip.Prefix{p("10.60.0.1/24"), p("2001:db8:60::1/64")}},
		{Name: "a-host", Master: "br-lab", MTU: 1400}, {Name: "b-host", Addresses: []netip.Prefix{p("10.61.0.1/24")}, Routes: []netip.Prefix{p("10.62.0.0/24")}}},
		Routes:     []osl.RouteSpec{{To: p("10.63.0.0/16"), Via: netip.MustParseAddr("10.60.0.2"), Dev: "br-lab"}},
		Sysctls:    map[string]string{"ipv4.ip_forward": "1"},
		Masquerade: []osl.MasqueradeSpec{{Subnet: p("10.60.0.0/24"), Uplink: "b-host"}, {Subnet: p("2001:db8:60::/64"), Uplink: "b-host"}}}
	if lesser {
		host = osl.Spec{Name: osl.HostName, Interfaces: []osl.InterfaceSpec{{Name: "br-new", Type: "bridge", MAC: osl.MAC(hw(99))},
			{Name: "b-host", Addresses: []netip.Prefix{p("10.64.0.1/24")}, Impair: &osl.ImpairSpec{Rate: 1e6}}},
			Sysctls: map[string]string{"ipv6.conf.all.forwarding": "1"}, Masquerade: []osl.MasqueradeSpec{{Subnet: p("10.60.0.0/16"), Uplink: "b-host"}}}
	}
	return osl.Network{Name: "hostlab", Sandboxes: []osl.Spec{host,
		{Name: "a", Interfaces: []osl.InterfaceSpec{{Name: "eth0", MAC: osl.MAC(hw(88)), Addresses: []netip.Prefix{p("10.60.0.2/24")}}}},
		{Name: "b", Interfaces: []osl.InterfaceSpec{{Name: "eth0", MAC: osl.MAC(hw(89))}}}},
		Links: []osl.Link{{{Sandbox: "a", Interface: "eth0"}, {Sandbox: osl.HostName, Interface: "a-host"}}, {{Sandbox: osl.HostName, Interface: "b-host"}, {Sandbox: "b", Interface: "eth0"}}}}
}

// trafficOps change what becomes of packets.
func trafficOps() []faultOp {
	apply := func(n osl.Network) func(w *faultWorld) error {
		return func(*faultWorld) error { _, err := osl.Apply(context.Background(), n); return err }
	}
	first := func(n osl.Network) func(w *faultWorld) { return func(w *faultWorld) { w.must(apply(n)(w)) } }
	off, some := map[string]bool{"tx": false, "tso": false}, map[string]bool{"tx": true, "sg": false, "rx": false}
	slow, fast := &osl.ImpairSpec{Rate: 1e6}, &osl.ImpairSpec{Rate: 1e9}
	without := hostLab(false)
	without.Sandboxes = without.Sandboxes[1:]
	return []faultOp{
		{name: "Apply with the host", host: plainVeth, do: apply(hostLab(false))},
		{name: "Apply that changes the host", before: first(hostLab(false)), do: apply(hostLab(true))},
		{name: "Apply without the host any more", before: first(hostLab(false)), do: apply(without)},
		{name: "Down with the host", host: plainVeth, ends: true, before: first(hostLab(false)),
			do: func(*faultWorld) error {
				_, err := osl.Down(context.Background(), osl.Network{Name: "hostlab"})
				return err
			}},
		{name: "Apply of a rate in new sandboxes", do: apply(impairLab(slow, fast))},
		{name: "Apply of a rate that changes, comes and goes", before: first(impairLab(slow, nil)), do: apply(impairLab(fast, slow))},
		{name: "Apply without a rate", before: first(impairLab(slow, fast)), do: apply(impairLab(nil, slow))},
		{name: "Apply of offloads in new sandboxes", do: apply(offloadLab(off, some))},
		{name: "Apply that drops offloads", before: first(offloadLab(off, some)), do: apply(offloadLab(nil, map[string]bool{"tso": false}))},
		{name: "Apply of offloads", before: first(offloadLab(off, nil)), do: apply(offloadLab(some, off))},
	}
}
