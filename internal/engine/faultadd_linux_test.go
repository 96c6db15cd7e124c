package engine_test

import (
	"context"
	"net/netip"

	"github.com/seed59451c2b/osl"
)

// addLab is what Add makes beside what is there: a veth from a to the host, a port of
// a bridge there that is made with it or was before, and a route through it.
func addLab(bridge bool) osl.Network {
	p := netip.MustParsePrefix
	host := osl.Spec{Name: osl.HostName, Interfaces: []osl.InterfaceSpec{{Name: "a-end", Type: "veth", MAC: osl.MAC(hw(85)), Master: "br-add", Note: "a eth7"}}}
	if bridge {
		host.Interfaces = append(host.Interfaces, osl.InterfaceSpec{Name: "br-add", Type: "bridge", MAC: osl.MAC(hw(86)), Aliases: []netip.Prefix{p("10.65.0.1/24")}})
	}
	a := osl.Spec{Name: "a", Interfaces: []osl.InterfaceSpec{{Name: "eth7", Type: "veth", MAC: osl.MAC(hw(87)), Aliases: []netip.Prefix{p("10.65.0.2/24"), p("2001:db8:65::2/64")},
		Note: "a eth7"}}, Routes: []osl.RouteSpec{{To: p("10.66.0.0/16"), Via: netip.MustParseAddr("10.65.0.1"), Dev: "eth7"}}}
	return osl.Network{Sandboxes: []osl.Spec{host, a}, Links: []osl.Link{{{Sandbox: "a", Interface: "eth7"}, {Sandbox: osl.HostName, Interface: "a-end"}}}}
}

// addOps make a part of a network, also on the host.
func addOps() []faultOp {
	ctx := context.Background()
	addOnHost := func(l osl.InterfaceSpec) error {
		sb, err := osl.NewSandbox(osl.HostName, false, false)
		if err != nil {
			return err
		}
		n := sb.(*osl.Namespace)
		defer n.Close()
		return n.AddLink(ctx, l)
	}
	bridge := osl.InterfaceSpec{Name: "br-add", Type: "bridge", MAC: osl.MAC(hw(86)), Aliases: []netip.Prefix{netip.MustParsePrefix("10.65.0.1/24")}}
	return []faultOp{
		{name: "Add of a port of a bridge of the host", before: func(w *faultWorld) {
			sandboxA(w)
			w.must(addOnHost(bridge))
		}, do: func(*faultWorld) error { return osl.Add(ctx, addLab(false)) }},
		{name: "Add of a bridge on the host and its port", before: sandboxA, do: func(*faultWorld) error { return osl.Add(ctx, addLab(true)) }},
		{name: "AddLink of a bridge on the host", before: sandboxA, do: func(*faultWorld) error { return addOnHost(bridge) }},
	}
}
