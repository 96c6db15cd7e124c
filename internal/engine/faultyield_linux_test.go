package engine_test

import (
	"context"
	"net/netip"

	"github.com/seed59451c2b/osl"
)

// received are networks in which links have one receiver of what comes in after the other:
// macvlans, a bridge or, of what is rare, ipvlans; a link of a sandbox and, with far, one of
// the host.
func received(form int, rare, far bool) osl.Network {
	p := netip.MustParsePrefix
	cable := func(name string, last byte) osl.InterfaceSpec {
		return osl.InterfaceSpec{Name: name, Type: "veth", MAC: osl.MAC(hw(last)), Peer: osl.Endpoint{Sandbox: "b", Interface: "q" + name}}
	}
	on := func(kind, parent, name string, last byte) osl.InterfaceSpec {
		f := osl.InterfaceSpec{Name: name, Type: kind, Parent: parent, AltNames: []string{name + "-by-another-name"}, Sysctls: map[string]string{"ipv4.rp_filter": "2"},
			Addresses: append(v4("10."+name[1:]+".0.1/24"), p("2001:db8:"+name[1:]+"::1/64")), Routes: v4("172." + name[1:] + ".0.0/16")}
		if kind == "macvlan" {
			f.MAC, f.Mode, f.Offloads = osl.MAC(hw(last)), "private", map[string]bool{"gro": false}
		}
		return f
	}
	down, onHost := cable("p", 60), cable("hp", 61)
	a, host := osl.Spec{Name: "a"}, osl.Spec{Name: osl.HostName}
	switch {
	case form == 0 || rare:
		kind := []string{"macvlan", "ipvlan"}[form]
		a.Interfaces = []osl.InterfaceSpec{on(kind, "p", "m20", 62), on(kind, "p", "m21", 63)}
		if far {
			a.Interfaces = append(a.Interfaces, on(kind, osl.HostName+"/hp", "m22", 64))
		}
		a.Neighbors = []osl.NeighborSpec{{Dev: "m20", IP: netip.MustParseAddr("10.20.0.9"), MAC: osl.MAC(hw(66))}}
		a.Routes = []osl.RouteSpec{{To: p("172.27.0.0/16"), Via: netip.MustParseAddr("10.20.0.9")}}
	default:
		a.Interfaces = []osl.InterfaceSpec{{Name: "br", Type: "bridge", MAC: osl.MAC(hw(67)), Addresses: v4("10.20.0.1/24")}}
		host.Interfaces = []osl.InterfaceSpec{{Name: "hb", Type: "bridge", MAC: osl.MAC(hw(68))}}
		isolated := true
		down.Master, onHost.Master, down.BridgePort = "br", "hb", &osl.BridgePortSpec{Isolated: &isolated}
	}
	a.Interfaces = append(a.Interfaces, down)
	list := []osl.Spec{a, {Name: "b"}}
	if host.Interfaces = append(host.Interfaces, onHost); far {
		list = append(list, host)
	}
	return osl.Network{Name: "lab", Sandboxes: list}
}

// yieldOps are changes in which a link gets another receiver.
func yieldOps(rare bool) []faultOp {
	apply := func(form int, far bool) func(w *faultWorld) error {
		return func(*faultWorld) error {
			_, err := osl.Apply(context.Background(), received(form, rare, far))
			return err
		}
	}
	standing := func(form int, far bool) func(w *faultWorld) {
		return func(w *faultWorld) { w.must(apply(form, far)(w)) }
	}
	passthru := func(*faultWorld) error { // in the place of several
		n := received(0, false, false)
		s := &n.Sandboxes[0]
		s.Interfaces = s.Interfaces[1:]
		s.Interfaces[0].Mode, s.Interfaces[0].MAC, s.Neighbors, s.Routes = "passthru", nil, nil, nil
		_, err := osl.Apply(context.Background(), n)
		return err
	}
	ops := []faultOp{
		{name: "Apply that takes macvlans from a link for another receiver", before: standing(0, false), do: apply(1, false)},
		{name: "Apply that makes macvlans on links that had another receiver", before: standing(1, !rare), do: apply(0, !rare)},
		{name: "Apply that makes macvlans in a new sandbox on a link that had another receiver", before: func(w *faultWorld) {
			n := received(1, rare, true)
			n.Sandboxes = n.Sandboxes[1:]
			_, err := osl.Apply(context.Background(), n)
			w.must(err)
		}, do: apply(0, true)},
	}
	if !rare {
		ops = append(ops, faultOp{name: "Apply that gives a macvlan the mode passthru", before: standing(0, false), do: passthru},
			faultOp{name: "Apply that takes the mode passthru from a macvlan", before: func(w *faultWorld) { w.must(passthru(w)) }, do: apply(0, false)})
	}
	return ops
}
