package engine_test

import (
	"context"
	"net/netip"

	"github.com/seed59451c2b/osl"
)

// madeOnHost are links that are made on those of the host, and have what there can be once
// only; two forms of each, of the same type and changed in place: of what every kernel has,
// or of what is rare. far changes what is on the host too.
func madeOnHost(form int, rare, far bool) (list []osl.InterfaceSpec, entries []osl.NeighborSpec) {
	a, p := netip.MustParseAddr, netip.MustParsePrefix
	word := func(a, b string) string { return []string{a, b}[form] }
	there := func(a, b string) string {
		if far {
			return word(a, b)
		}
		return a
	}
	up, low := osl.HostName+"/va", osl.HostName+"/vb"
	if rare {
		return []osl.InterfaceSpec{
			{Name: "tag" + word("", "s"), Type: "vlan", VLAN: 7, Parent: up, MTU: []int{1300, 1350}[form], EgressQoSMap: map[string]string{"1": word("2", "3")},
				Addresses: append(v4("10.40.0.1/24"), p("2001:db8:40::1/64")), Routes: v4("172.24.0.0/16")},
			{Name: "ipv", Type: "ipvlan", Parent: low, Mode: "l2", Flags: there("bridge", "private"), Addresses: v4("10.41.0.1/24", word("10.41.0.2/24", "10.41.0.3/24"))},
		}, nil
	}
	return []osl.InterfaceSpec{
			{Name: "vx" + word("0", "1"), Type: "vxlan", VNI: 7, Parent: up, Remote: a(there("192.0.2.7", "192.0.2.8")), TTL: len(there("", "ttl")), MAC: osl.MAC(hw(70)), MTU: 1300,
				Addresses: append(v4("10.40.0.1/24"), p("2001:db8:40::1/64")), Routes: v4("172.24.0.0/16"), AltNames: []string{word("blue", "red")}, Sysctls: map[string]string{"ipv4.rp_filter": word("1", "2")},
				Offloads: map[string]bool{word("tx", "gso"): false, "gro": form == 0}},
			{Name: "br0", Type: "bridge", MAC: osl.MAC(hw(71)), Addresses: v4("10.41.0.1/24")},
			{Name: "vx9", Type: "vxlan", VNI: 9, Parent: up, Remotes: []netip.Addr{a("192.0.2.7"), a(word("192.0.2.8", "192.0.2.9"))}, MAC: osl.MAC(hw(73)), Master: "br0"},
			{Name: "mv0", Type: "macvlan", Mode: word("bridge", "private"), Parent: up, MAC: osl.MAC(hw(72)), Addresses: v4("10.42.0.1/24")},
			{Name: "mt" + word("0", "1"), Type: "macvtap", Mode: "passthru", Parent: low, Addresses: v4("10.43.0.1/24")},
		}, []osl.NeighborSpec{{Dev: "vx" + word("0", "1"), IP: a(word("192.0.2.17", "192.0.2.18")), MAC: osl.MAC(hw(74)), FDB: true},
			{Dev: "mv0", IP: a("10.42.0.9"), MAC: osl.MAC(hw(75))}}
}

// carryOps are changes in which links that osl made on those of the host go from one
// sandbox to another. far is for faults alone: what is changed on the host a kill leaves, as
// docs/reliability.md says.
func carryOps(rare, far bool) []faultOp {
	ctx := context.Background()
	with := func(name string, form int) osl.Spec {
		s := osl.Spec{Name: name}
		s.Interfaces, s.Neighbors = madeOnHost(form, rare, far)
		return s
	}
	apply := func(s ...osl.Spec) func(w *faultWorld) error {
		return func(*faultWorld) error { _, err := osl.Apply(ctx, osl.Network{Name: "lab", Sandboxes: s}); return err }
	}
	standing := func(s ...osl.Spec) func(w *faultWorld) {
		return func(w *faultWorld) { w.must(apply(s...)(w)) }
	}
	host := plainVeth + "link set va up\nlink set vb up\n"
	list := []faultOp{
		{name: "Apply that gives a sandbox with links on the host another name", host: host, before: standing(with("a", 0)), do: apply(with("b", 1))},
		{name: "Apply that moves links on the host to the leader", host: host, before: standing(osl.Spec{Name: "a"}, with("b", 0)), do: apply(with("a", 1), osl.Spec{Name: "b"})},
		{name: "Apply that gives links on the host other names", host: host, before: standing(with("a", 0)), do: apply(with("a", 1))},
	}
	for i := range list {
		if far {
			list[i].name += ", and changes these"
		}
	}
	return list
}
