package engine_test

import (
	"context"

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

// trafficOps change what becomes of packets.
func trafficOps() []faultOp {
	apply := func(n osl.Network) func(w *faultWorld) error {
		return func(*faultWorld) error { _, err := osl.Apply(context.Background(), n); return err }
	}
	first := func(n osl.Network) func(w *faultWorld) { return func(w *faultWorld) { w.must(apply(n)(w)) } }
	off, some := map[string]bool{"tx": false, "tso": false}, map[string]bool{"tx": true, "sg": false, "rx": false}
	slow, fast := &osl.ImpairSpec{Rate: 1e6}, &osl.ImpairSpec{Rate: 1e9}
	return []faultOp{
		{name: "Apply of a rate in new sandboxes", do: apply(impairLab(slow, fast))},
		{name: "Apply of a rate that changes, comes and goes", before: first(impairLab(slow, nil)), do: apply(impairLab(fast, slow))},
		{name: "Apply without a rate", before: first(impairLab(slow, fast)), do: apply(impairLab(nil, slow))},
		{name: "Apply of offloads in new sandboxes", do: apply(offloadLab(off, some))},
		{name: "Apply of offloads", before: first(offloadLab(off, nil)), do: apply(offloadLab(some, off))},
	}
}
