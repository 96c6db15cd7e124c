//go:build linux

package osltest

import (
	"context"
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// standsAgain applies a network, reads what stands, takes it down, makes it of what was
// read, and reads the same. It returns the error of the first Apply.
func standsAgain(t *testing.T, net osl.Network) error {
	t.Helper()
	down := func() {
		t.Helper()
		if _, err := osl.Down(context.Background(), net); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := osl.Apply(t.Context(), net); err != nil {
		return err
	}
	defer down()
	read := asRead(t, net)
	text, err := json.MarshalIndent(read, "", " ")
	must(t, err)
	for i := range read.Sandboxes {
		name := read.Sandboxes[i].Name
		if name == osl.HostName {
			continue
		}
		n, err := osl.Open(t.Context(), name)
		must(t, err)
		alone, err := n.Spec(t.Context())
		must(t, err)
		rekey(osl.Network{Sandboxes: []osl.Spec{alone}}, net)
		if c, err := n.Diff(t.Context(), alone); err != nil || len(c) > 0 {
			t.Errorf("to apply what was read of %s alone: %v\n%vof %+v", name, err, c, alone)
		}
		must(t, n.Close())
	}
	down()
	if _, err := osl.Apply(t.Context(), read); err != nil {
		t.Errorf("what was read can not be made: %v\n%s", err, text)
		return nil
	}
	if c, err := osl.Diff(t.Context(), net); err != nil || len(c) > 0 {
		t.Errorf("what was made of it lacks: %v\n%vof %s", err, c, text)
	}
	if again := asRead(t, net); !reflect.DeepEqual(again, read) {
		more, _ := json.MarshalIndent(again, "", " ")
		t.Errorf("made of\n%s\nit is read as\n%s", text, more)
	}
	return nil
}

// A link of each type is read as what it is, as it is first made and as it is changed.
func TestFeatureStandsLinks(t *testing.T) {
	for _, c := range linkCases() {
		t.Run(c.feature, func(t *testing.T) {
			if c.spec.Type == "tap" {
				testnet.NeedTun(t)
			}
			begin(t)
			net := labOf(name("st"), c)
			testnet.Feature(t, "link "+c.feature, standsAgain(t, net))
			if c.change != nil {
				c.change(&net.Sandboxes[0].Interfaces[0])
				must(t, standsAgain(t, net))
			}
		})
	}
}

// What links are to each other is read too: ports and what they are ports of, links on
// others, pairs between sandboxes and with the host; and what is set of them.
func TestFeatureStandsTogether(t *testing.T) {
	a := netip.MustParseAddr
	ms := func(n int) osl.Duration { return osl.Duration(time.Duration(n) * time.Millisecond) }
	pairs := func(s *osl.Spec, to string, names ...string) (other osl.Spec) {
		other.Name = to
		for _, n := range names {
			s.Interfaces = append(s.Interfaces, osl.InterfaceSpec{Name: n, Type: "veth", Peer: osl.Endpoint{Sandbox: to, Interface: n}})
			other.Interfaces = append(other.Interfaces, osl.InterfaceSpec{Name: n})
		}
		return other
	}
	for feature, of := range map[string]func(l, r, parent string) []osl.Spec{
		"ports of a bond": func(l, r, _ string) []osl.Spec {
			s := osl.Spec{Name: l, Gateway: a("10.97.0.254"), Interfaces: []osl.InterfaceSpec{
				{Name: "bond0", Type: "bond", Mode: "active-backup", MIIMon: 100, MTU: 1450, MAC: osl.MAC{2, 0, 0, 0, 9, 7}, Addresses: nets("10.97.0.1/24", "fd97::1/64")},
				{Name: "vlan7", Type: "vlan", VLAN: 7, Parent: "bond0", Addresses: nets("10.97.7.1/24")}}}
			other := pairs(&s, r, "p0", "p1")
			s.Interfaces[2].Master, s.Interfaces[3].Master = "bond0", "bond0"
			return []osl.Spec{s, other}
		},
		"ports of a vrf": func(l, r, _ string) []osl.Spec {
			s := osl.Spec{Name: l, Interfaces: []osl.InterfaceSpec{{Name: "red", Type: "vrf", Table: 10, Addresses: nets("192.0.2.9/32"), Impair: &osl.ImpairSpec{Rate: 8e6}}, {Name: "blue", Type: "vrf", Table: 20}},
				Routes: []osl.RouteSpec{{To: netip.MustParsePrefix("198.51.100.0/24"), Via: a("10.97.0.2"), Dev: "p0", Table: 10},
					{To: netip.MustParsePrefix("0.0.0.0/0"), Type: "unreachable", Table: 20, Metric: 4278198272}},
				Rules: []osl.RuleSpec{{Priority: 1000, L3MDev: true}}}
			other := pairs(&s, r, "p0", "p1")
			s.Interfaces[2].Master, s.Interfaces[2].Addresses = "red", nets("10.97.0.1/24", "fd97::1/64")
			s.Interfaces[3].Master, s.Interfaces[3].Addresses, s.Interfaces[3].SharedSubnet = "blue", nets("10.97.0.1/24"), true
			s.Interfaces[2].SharedSubnet = true
			return []osl.Spec{s, other}
		},
		"netkit between sandboxes": func(l, r, _ string) []osl.Spec {
			return []osl.Spec{
				{Name: l, Interfaces: []osl.InterfaceSpec{{Name: "nk0", Type: "netkit", Mode: "l2", Policy: "blackhole", Peer: osl.Endpoint{Sandbox: r, Interface: "nk1"},
					MAC: osl.MAC{2, 0, 0, 0, 9, 8}, Addresses: nets("10.97.0.1/24", "fd97::1/64"), MTU: 1400}}},
				{Name: r, Interfaces: []osl.InterfaceSpec{{Name: "nk1", Addresses: nets("10.97.0.2/24")}}},
			}
		},
		"netkit l3 with the host": func(l, _, _ string) []osl.Spec {
			return []osl.Spec{{Name: l, Interfaces: []osl.InterfaceSpec{{Name: "nk0", Type: "netkit", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "nkfar"}, Addresses: nets("10.97.0.1/24")}}}}
		},
		"links on a link of the host": func(l, _, parent string) []osl.Spec {
			on := osl.HostName + "/" + parent
			return []osl.Spec{
				{Name: l, Interfaces: []osl.InterfaceSpec{
					{Name: "v7", Type: "vlan", VLAN: 7, Parent: on, Addresses: nets("10.97.7.1/24")},
					{Name: "mv0", Type: "macvlan", Mode: "vepa", Parent: on},
				}}}
		},
		"tunnels from the host": func(l, _, parent string) []osl.Spec {
			return []osl.Spec{{Name: l, Interfaces: []osl.InterfaceSpec{
				{Name: "vx0", Type: "vxlan", VNI: 97, Parent: osl.HostName + "/" + parent, Local: a("192.0.2.1"), Remote: a("192.0.2.2"), Addresses: nets("10.97.0.1/24")},
				{Name: "vx1", Type: "vxlan", VNI: 98, Parent: osl.HostName + "/" + parent, Remote: a("239.0.0.1")}}}}
		},
		"ipvlans on a link of the host": func(l, _, parent string) []osl.Spec {
			on := osl.HostName + "/" + parent
			return []osl.Spec{
				{Name: l, Interfaces: []osl.InterfaceSpec{
					{Name: "iv0", Type: "ipvlan", Mode: "l3", Flags: "private", Parent: on, Addresses: nets("10.97.0.1/24")},
					{Name: "iv1", Type: "ipvlan", Mode: "l3", Flags: "private", Parent: on, Addresses: nets("10.97.1.1/24")},
				}}}
		},
		"tunnels in bridges": func(l, r, _ string) []osl.Spec {
			s := osl.Spec{Name: l, Interfaces: []osl.InterfaceSpec{
				{Name: "br0", Type: "bridge", Bridge: &osl.BridgeSpec{VLANFiltering: yes(), VLANProtocol: "802.1ad", VLANDefaultPVID: id(0), VLANs: []osl.VLANRange{{First: 5, Last: 6}}}},
				{Name: "gt0", Type: "gretap", Local: a("192.0.2.1"), Remote: a("192.0.2.3"), Master: "br0", BridgePort: &osl.BridgePortSpec{PVID: id(5), Isolated: yes()}},
				{Name: "ge0", Type: "geneve", VNI: 9, Remote: a("192.0.2.3"), Master: "br0", BridgePort: &osl.BridgePortSpec{VLANs: []osl.VLANRange{{First: 6, Last: 6, Untagged: true}}}},
				{Name: "vx0", Type: "vxlan", VNI: 9, Local: a("192.0.2.1"), Remotes: []netip.Addr{a("192.0.2.4")}, Master: "br0"}},
				Neighbors: []osl.NeighborSpec{{Dev: "gt0", MAC: osl.MAC{2, 0, 0, 0, 9, 9}, FDB: true, VLAN: 5}, {Dev: "vx0", MAC: osl.MAC{2, 0, 0, 0, 9, 9}, IP: a("192.0.2.5"), FDB: true}}}
			other := pairs(&s, r, "u")
			s.Interfaces[4].Addresses = nets("192.0.2.1/24")
			return []osl.Spec{s, other}
		},
		"impaired links": func(l, r, _ string) []osl.Spec {
			s := osl.Spec{Name: l}
			other := pairs(&s, r, "u", "v")
			s.Interfaces[0].Impair = &osl.ImpairSpec{Delay: ms(40), Jitter: ms(1), Loss: 0.5, Duplicate: 1, Reorder: 25, Corrupt: 0.1, Rate: 40e9, Limit: 7000}
			s.Interfaces[1].Impair = &osl.ImpairSpec{Loss: 100}
			other.Interfaces[0].Impair = &osl.ImpairSpec{Rate: 1e6, Limit: 10}
			return []osl.Spec{s, other}
		},
		"settings of links": func(l, r, _ string) []osl.Spec {
			s := osl.Spec{Name: l, Interfaces: []osl.InterfaceSpec{
				{Name: "d0", Type: "dummy", MAC: osl.MAC{2, 0, 0, 0, 9, 1}, TxQueueLen: id(7), Group: id(3), Promisc: yes(), AllMulticast: yes(), ARP: yes(), AddrGenMode: "none",
					GSOMaxSize: 9000, GSOMaxSegs: 12, GROMaxSize: 8000, Note: "one", Addresses: nets("10.97.3.1/24"), Routes: nets("203.0.113.0/24")},
				{Name: "t0", Type: "gretap", Local: a("192.0.2.1"), Remote: a("192.0.2.3"), MTU: 1300, TTL: 3, TOS: 8, ARP: no(), IPv6: "link-local", Down: true},
				{Name: "s0", Type: "sit", Local: a("192.0.2.1"), Remote: a("192.0.2.3"), Addresses: nets("fd97::1/64"), TxQueueLen: id(5)},
				{Name: "r0", Type: "vrf", Table: 44, ARP: yes(), Down: true},
			}}
			return []osl.Spec{s, pairs(&s, r, "u")}
		},
	} {
		t.Run(feature, func(t *testing.T) {
			w := begin(t)
			net := osl.Network{Name: name("stands"), Sandboxes: of(name("sl"), name("sr"), w.parent())}
			testnet.Feature(t, "export of "+feature, standsAgain(t, net))
		})
	}
}
