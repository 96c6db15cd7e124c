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
		Addresses: []netip.Prefix{p("10.96.0.1/24"), p("10.96.0.2/24"), p("10.97.0.1/32"), p("10.98.0.1/24"), p("2001:db8:97::1/64"), p("2001:db8:98::1/64")},
		AddressOptions: map[netip.Prefix]osl.AddressOptions{p("10.97.0.1/32"): {Peer: a("10.97.0.2")}, p("10.98.0.1/24"): {Scope: "link", NoPrefixRoute: true},
			p("2001:db8:98::1/64"): {Peer: netip.MustParseAddr("2001:db8:99::1")}, p("10.96.0.2/24"): {PreferredLft: &none}, p("2001:db8:97::1/64"): {PreferredLft: &none}}}
	if other {
		f.Addresses, f.IPv6 = f.Addresses[1:], "link-local"
		delete(f.AddressOptions, p("10.96.0.2/24"))
		f.AddressOptions[p("2001:db8:97::1/64")] = osl.AddressOptions{NoPrefixRoute: true}
	}
	return osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{f,
		{Name: "br1", Type: "bridge", MAC: osl.MAC(hw(77)), IPv6: "link-local"}}}}}
}

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
	return []faultOp{
		{name: "Apply that sets a link with peers up", before: before(lies), do: apply(addressLab(false))},
		{name: "Apply that sets a link with peers down", before: before(addressLab(false)), do: apply(lies)},
		{name: "Apply of addresses with options", do: apply(addressLab(false))},
		{name: "Apply that changes options of addresses", before: before(addressLab(false)), do: apply(addressLab(true))},
		{name: "Apply that changes options back", before: before(addressLab(true)), do: apply(addressLab(false))},
		{name: "Apply that drops addresses with options", before: before(addressLab(false)), do: apply(none)},
		{name: "Apply that gives addresses with options", before: before(none), do: apply(addressLab(false))},
	}
}
