package want

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/where"
)

// What a type of link can not be is refused before the kernel is asked, by the field.
func TestKindRefused(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	a := netip.MustParseAddr
	one := func(f Iface, more ...Iface) []Iface { return append([]Iface{f}, more...) }
	bond := Iface{Name: "bond0", Type: "bond"}
	for _, x := range []struct {
		what   string
		ifaces []Iface
		field  string
		says   string
	}{
		{"a hardware address of an ipvlan", one(Iface{Name: "e", Type: "ipvlan", Parent: "p", MAC: mac}), "mac", "of its parent"},
		{"a hardware address of a gre", one(Iface{Name: "e", Type: "gre", MAC: mac}), "mac", "without hardware addresses"},
		{"a mode of an ipvlan", one(Iface{Name: "e", Type: "ipvlan", Parent: "p", Kind: Kind{Mode: "l4"}}), "mode", "none of l3, l2, l3s"},
		{"flags of a macvlan", one(Iface{Name: "e", Type: "macvlan", Parent: "p", Kind: Kind{Flags: "private"}}), "flags", "only an ipvlan or an ipvtap has it"},
		{"two modes on one parent", one(Iface{Name: "e", Type: "ipvlan", Parent: "p", Kind: Kind{Mode: "l2"}}, Iface{Name: "f", Type: "ipvlan", Parent: "p"}), "mode", "e has l2"},
		{"a vrf without a table", one(Iface{Name: "e", Type: "vrf"}), "table", "table of its own"},
		{"a vrf of the main table", one(Iface{Name: "e", Type: "vrf", Kind: Kind{Table: 254}}), "table", "not 254"},
		{"a mode of a bond", one(Iface{Name: "e", Type: "bond", Kind: Kind{Mode: "lacp"}}), "mode", "802.3ad"},
		{"an MTU of a bond's port", one(bond, Iface{Name: "e", Type: "dummy", Master: "bond0", MTU: 1400}), "mtu", "the MTU of that, 1500"},
		{"a hardware address of a bond's port", one(bond, Iface{Name: "e", Type: "dummy", Master: "bond0", MAC: mac}), "mac", "of that"},
		{"a port of a bond that is down", one(bond, Iface{Name: "e", Type: "dummy", Master: "bond0", Down: true}), "down", "sets its ports up"},
		{"a protocol of a vlan", one(Iface{Name: "e", Type: "vlan", Parent: "p", Kind: Kind{VLAN: 1, Protocol: "802.1q"}}), "protocol", "802.1Q"},
		{"a priority of a tag", one(Iface{Name: "e", Type: "vlan", Parent: "p", Kind: Kind{VLAN: 1, EgressQoSMap: map[string]string{"1": "8"}}}), "egress_qos_map", "from 0 to 7"},
		{"a priority that is none", one(Iface{Name: "e", Type: "vlan", Parent: "p", Kind: Kind{VLAN: 1, IngressQoSMap: map[string]string{"a": "8"}}}), "ingress_qos_map", "is no priority"},
		{"a geneve to nobody", one(Iface{Name: "e", Type: "geneve", Kind: Kind{VNI: 1}}), "remote", "needs a remote"},
		{"a local that stands for none", one(Iface{Name: "e", Type: "vxlan", Kind: Kind{VNI: 1, Local: a("0.0.0.0")}}), "local", "leave it out"},
		{"a remote that stands for none", one(Iface{Name: "e", Type: "gre", Kind: Kind{Remote: a("0.0.0.0")}}), "remote", "leave it out"},
		{"a remote of IPv6 that stands for none", one(Iface{Name: "e", Type: "geneve", Kind: Kind{VNI: 1, Remote: a("::")}}), "remote", "leave it out"},
		{"a group for a local", one(Iface{Name: "e", Type: "vxlan", Kind: Kind{VNI: 1, Local: a("239.1.1.1")}}), "local", "is a multicast group"},
		{"a group for a remote", one(Iface{Name: "e", Type: "ip6gretap", Kind: Kind{Remote: a("ff02::1")}}), "remote", "the remote of an ip6gretap is one other end"},
		{"a group of a geneve", one(Iface{Name: "e", Type: "geneve", Kind: Kind{VNI: 1, Remote: a("239.1.1.1")}}), "remote", "the remote of a geneve is one other end"},
		{"a group that is joined nowhere", one(Iface{Name: "e", Type: "vxlan", Kind: Kind{VNI: 1, Remote: a("239.1.1.1")}}), "parent", "a vxlan to the group 239.1.1.1 needs a parent"},
		{"IPv4 as IPv6", one(Iface{Name: "e", Type: "vxlan", Kind: Kind{VNI: 1, Remote: a("::ffff:10.0.0.1")}}), "remote", "write 10.0.0.1"},
		{"a zone", one(Iface{Name: "e", Type: "vxlan", Kind: Kind{VNI: 1, Remote: a("fe80::1%e0")}}), "remote", "without %e0"},
		{"two families", one(Iface{Name: "e", Type: "vxlan", Kind: Kind{VNI: 1, Local: a("10.0.0.1"), Remote: a("fd00::1")}}), "remote", "not of the family of local"},
		{"a family", one(Iface{Name: "e", Type: "gre", Kind: Kind{Local: a("fd00::1")}}), "local", "not of the family"},
		{"another family", one(Iface{Name: "e", Type: "ip6gre", Kind: Kind{Remote: a("10.0.0.1")}}), "remote", "not of the family"},
		{"a gre on the host", one(Iface{Name: "e", Type: "gre", Parent: "host/eth0"}), "parent", "in the sandbox itself"},
		{"a TTL", one(Iface{Name: "e", Type: "ipip", Kind: Kind{TTL: 256}}), "ttl", "from 1 to 255"},
		{"a key of a sit", one(Iface{Name: "e", Type: "sit", Kind: Kind{Key: 1}}), "key", "means nothing for a sit"},
		{"an address of a vcan", one(Iface{Name: "e", Type: "vcan", Addresses: prefixes("10.0.0.1/8")}), "addresses", "carries no IP"},
		{"an MTU of a vcan", one(Iface{Name: "e", Type: "vcan", MTU: 8}), "mtu", "below 16"},
		{"an MTU between those of a vcan", one(Iface{Name: "e", Type: "vcan", MTU: 20}), "mtu", "72 (CAN FD)"},
		{"queues", one(Iface{Name: "e", Type: "ifb", Kind: Kind{NumTxQueues: 5000}}), "numtxqueues", "from 1 to 4096"},
		{"an owner", one(Iface{Name: "e", Type: "tap", Kind: Kind{Owner: new(int)}}, Iface{Name: "f", Type: "dummy", Kind: Kind{OwnerGroup: new(int)}}), "owner_group", "means nothing for a dummy"},
		{"a netkit without another end", one(Iface{Name: "e", Type: "netkit"}), "", "needs its other end"},
		{"a hardware address of a netkit", one(Iface{Name: "e", Type: "netkit", MAC: mac, Peer: Endpoint{"host", "x"}}), "mac", "one of the mode l2 has"},
		{"ARP of an ipvlan", one(Iface{Name: "e", Type: "ipvlan", Parent: "f", LinkOptions: LinkOptions{ARP: new(bool)}, Kind: Kind{Mode: "l2"}}, Iface{Name: "f", Type: "dummy"}), "arp", "with ARP in the mode l2"},
		{"remotes of another type", one(Iface{Name: "e", Type: "geneve", Kind: Kind{VNI: 1, Remote: a("10.0.0.1"), Remotes: []netip.Addr{a("10.0.0.2")}}}), "remotes", "only a vxlan"},
		{"a remote and remotes", one(Iface{Name: "e", Type: "vxlan", Kind: Kind{VNI: 1, Remote: a("10.0.0.1"), Remotes: []netip.Addr{a("10.0.0.2")}}}), "remotes", "write all in remotes"},
		{"remotes of IPv6 from nowhere", one(Iface{Name: "e", Type: "vxlan", Kind: Kind{VNI: 1, Remotes: []netip.Addr{a("fd00::2")}}}), "remotes", "needs a local address"},
		{"a remote twice", one(Iface{Name: "e", Type: "vxlan", Kind: Kind{VNI: 1, Remotes: []netip.Addr{a("10.0.0.2"), a("10.0.0.2")}}}), "remotes", "twice"},
	} {
		network := Network{Sandboxes: []Sandbox{{Name: "a", Interfaces: x.ifaces}}}
		w, err := network.Plan(keys)
		field, _ := where.Of(err)
		if !errors.Is(err, fault.ErrInvalid) || field != x.field || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: field %q, %v; %v", x.what, field, err, w)
		}
	}
}

// Of two ends of a pair one may say the type for both, and what it says of the other
// end is asked of the first.
func TestPairAlike(t *testing.T) {
	link := []Link{{{"a", "e"}, {"b", "f"}}}
	of := func(e, f Iface) Network {
		e.Name, f.Name = "e", "f"
		return Network{Links: link, Sandboxes: []Sandbox{{Name: "a", Interfaces: []Iface{e}}, {Name: "b", Interfaces: []Iface{f}}}}
	}
	network := of(Iface{}, Iface{Type: "netkit", Kind: Kind{Mode: "l2", Policy: "blackhole"}})
	w, err := network.Plan(keys)
	if err != nil {
		t.Fatal(err)
	}
	e, f := w[0].Iface("e"), w[1].Iface("f")
	if e.Kind != "netkit" || f.Kind != "netkit" || e.Data.Mode != "l2" || f.Data.Mode != "l2" || e.Data.PeerPolicy != "blackhole" || f.Data.Policy != "" {
		t.Errorf("%+v\n%+v", e, f)
	}
	for says, network := range map[string]Network{
		"one end is a netkit":     of(Iface{Type: "netkit"}, Iface{Type: "veth"}),
		"one end has the mode l2": of(Iface{Type: "netkit", Kind: Kind{Mode: "l2"}}, Iface{Type: "netkit"}),
		"not what the other says": of(Iface{Type: "netkit", Kind: Kind{PeerPolicy: "forward"}}, Iface{Type: "netkit", Kind: Kind{Policy: "blackhole"}}),
		"no hardware address":     of(Iface{Type: "netkit"}, Iface{MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}),
	} {
		if _, err := network.Plan(keys); !errors.Is(err, fault.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}
