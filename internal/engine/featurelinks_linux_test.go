package engine_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// kindsLab is a sandbox with links of many types, each in one of two forms. Without
// other they are of the same type, and can be changed in place.
func kindsLab(form int, other bool) osl.Network {
	pick := func(a, b int) int { return []int{a, b}[form] }
	word := func(a, b string) string { return []string{a, b}[form] }
	a := netip.MustParseAddr
	mode, protocol := "active-backup", "802.1ad"
	if other {
		mode, protocol = word("active-backup", "balance-rr"), word("802.1ad", "802.1Q")
	}
	return osl.Network{Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{
		{Name: "bond0", Type: "bond", Mode: mode, MIIMon: pick(100, 50), MAC: osl.MAC(hw(60)), Addresses: v4("10.30.0.1/24")},
		{Name: "p0", Type: "veth", Master: "bond0", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "p0far"}},
		{Name: "p1", Type: "veth", Master: "bond0", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "p1far"}},
		{Name: "q", Type: "vlan", VLAN: 7, Protocol: protocol, Parent: "bond0", EgressQoSMap: map[string]string{"1": word("2", "3"), word("5", "6"): "4"}},
		{Name: "up", Type: "veth", MAC: osl.MAC(hw(61)), Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "upfar"}},
		{Name: "ipv", Type: "ipvlan", Parent: "up", Mode: word("l2", "l3"), Flags: word("bridge", "private"), Addresses: v4("10.31.0.1/24")},
		{Name: "gre", Type: "gre", Local: a("192.0.2.1"), Remote: a(word("192.0.2.2", "192.0.2.3")), Key: pick(0, 7), MTU: pick(1300, 0), Addresses: v4("10.32.0.1/24")},
		{Name: "six", Type: "ip6gre", Local: a("2001:db8::1"), Remote: a("2001:db8::2"), TTL: pick(9, 10), MTU: 1300},
		{Name: "ipt", Type: "ipvtap", Parent: "up", Mode: word("l2", "l3"), Flags: word("bridge", "private")},
		{Name: "dum", Type: "dummy", MAC: osl.MAC(hw(63)), MTU: pick(0, 1400), ARP: &[]bool{true, false}[form]},
		{Name: "can", Type: "vcan", TxQueueLen: &[]int{10, 20}[form]},
		{Name: "tap", Type: "gretap", MAC: osl.MAC(hw(68)), Remote: a("192.0.2.4"), Key: pick(7, 0)},
		{Name: "ips", Type: "ipip", Remote: a("192.0.2.5"), TTL: pick(9, 10), MTU: 1300},
		{Name: "sit", Type: "sit", Remote: a(word("192.0.2.6", "192.0.2.7")), MTU: 1300},
		{Name: "gnv", Type: "geneve", VNI: 5, MAC: osl.MAC(hw(62)), Remote: a("192.0.2.9"), TOS: pick(16, 32)},
	}}}}
}

// portsLab is a sandbox with a bond and a vrf, and links with all that a link can
// lose: as ports of these, or of nothing.
func portsLab(ports bool) osl.Network {
	e0 := osl.InterfaceSpec{Name: "e0", Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "e0far"}}
	e1 := osl.InterfaceSpec{Name: "e1", Type: "veth", MAC: osl.MAC(hw(64)), Addresses: append(v4("10.34.0.1/24"), prefixes(1)...), Routes: v4("172.22.0.0/16"),
		Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "e1far"}}
	if ports {
		e0.Master, e1.Master = "bond0", "red"
	} else {
		e0.Addresses, e0.Routes = append(v4("10.33.0.1/24"), netip.MustParsePrefix("2001:db8:33::1/64")), v4("172.23.0.0/16")
	}
	return osl.Network{Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{
		{Name: "bond0", Type: "bond", MAC: osl.MAC(hw(65))}, {Name: "red", Type: "vrf", Table: 10, MAC: osl.MAC(hw(66))}, e0, e1,
	}, Neighbors: []osl.NeighborSpec{{Dev: "e1", IP: netip.MustParseAddr("10.34.0.7"), MAC: osl.MAC(hw(67))}}}}}
}

// netkitLab is a pair of netkits, and one with its other end on the host.
func netkitLab(policy string, mtu int) osl.Network {
	return osl.Network{Sandboxes: []osl.Spec{
		{Name: "a", Interfaces: []osl.InterfaceSpec{{Name: "e0", Type: "netkit", Mode: "l2", MAC: osl.MAC(hw(102)), Policy: policy, MTU: mtu, Addresses: v4("10.35.0.1/24")},
			{Name: "e1", Type: "netkit", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "e1far"}, MTU: mtu, Addresses: prefixes(1)}}},
		{Name: "b", Interfaces: []osl.InterfaceSpec{{Name: "e0", MAC: osl.MAC(hw(103))}}},
	}, Links: []osl.Link{{{Sandbox: "a", Interface: "e0"}, {Sandbox: "b", Interface: "e0"}}}}
}

// linkOps are changes of links that not every kernel has.
func linkOps() []faultOp {
	ctx := context.Background()
	apply := func(n osl.Network) func(w *faultWorld) error {
		return func(*faultWorld) error { _, err := osl.Apply(ctx, n); return err }
	}
	standing := func(n osl.Network) func(w *faultWorld) { return func(w *faultWorld) { w.must(apply(n)(w)) } }
	list := carryOps(true, false)
	for i := range list {
		list[i].name = "links on the host: " + list[i].name
	}
	for _, op := range yieldOps(true) {
		op.name = "link types: " + op.name
		list = append(list, op)
	}
	lossy, slow := &osl.ImpairSpec{Delay: 1e7, Loss: 1, Rate: 1e6}, &osl.ImpairSpec{Delay: 2e7, Jitter: 1e6, Duplicate: 1, Limit: 77}
	rate := &osl.ImpairSpec{Rate: 1e6}
	return append(list, []faultOp{
		{name: "netem: in new sandboxes", do: apply(impairLab(lossy, slow))},
		{name: "netem: changed, and gone", before: standing(impairLab(lossy, slow)), do: apply(impairLab(slow, nil))},
		{name: "netem: in the place of a rate", before: standing(impairLab(rate, lossy)), do: apply(impairLab(lossy, rate))},
		{name: "netkit: in new sandboxes", do: apply(netkitLab("forward", 0))},
		{name: "netkit: changed in place", before: standing(netkitLab("forward", 1400)), do: apply(netkitLab("forward", 1300))},
		{name: "netkit: replaced", before: standing(netkitLab("forward", 1400)), do: apply(netkitLab("blackhole", 0))},
		{name: "link types: a fresh network", do: apply(kindsLab(0, false))},
		{name: "link types: changed in place", before: standing(kindsLab(0, false)), do: apply(kindsLab(1, false))},
		{name: "link types: replaced", before: standing(kindsLab(0, true)), do: apply(kindsLab(1, true))},
		{name: "ports of a bond and a vrf: plugged", before: standing(portsLab(false)), do: apply(portsLab(true))},
		{name: "ports of a bond and a vrf: unplugged", before: standing(portsLab(true)), do: apply(portsLab(false))},
	}...)
}

// linkKillOps are linkOps, and what the osl command does with such links.
func linkKillOps() []faultOp {
	list := linkOps()
	for _, op := range exampleOps("vrf", vrfExample) {
		op.name = "ports of a bond and a vrf: " + op.name
		list = append(list, op)
	}
	return list
}

// feature says that an operation is of a feature, and skips where that is lacking.
func feature(t *testing.T, name string, op faultOp) {
	t.Helper()
	what, _, _ := strings.Cut(op.name, ":")
	needs := []osl.Network{kindsLab(0, false), portsLab(true)}
	switch what {
	case "netem":
		needs = []osl.Network{impairLab(&osl.ImpairSpec{Delay: 1e7}, nil)}
	case "netkit":
		needs = []osl.Network{netkitLab("forward", 0)}
	}
	var err error
	for _, n := range needs {
		if err == nil {
			_, err = osl.Apply(t.Context(), n)
		}
	}
	if _, down := osl.Down(t.Context(), osl.Network{Sandboxes: []osl.Spec{{Name: "a"}, {Name: "b"}}}); err == nil {
		err = down
	}
	testnet.Feature(t, name+" of "+what, err)
}

func TestFeatureLinkFaults(t *testing.T) {
	for _, op := range linkOps() {
		t.Run(op.name, func(t *testing.T) {
			feature(t, "faults", op)
			driveFaults(t, op)
		})
	}
}

func TestFeatureLinkKills(t *testing.T) {
	for i, op := range linkKillOps() {
		t.Run(op.name, func(t *testing.T) {
			feature(t, "kills", op)
			driveKills(t, op, i)
		})
	}
}
