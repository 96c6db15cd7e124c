package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
)

// pairKinds are made with their other end.
var pairKinds = []*Kind{
	{Name: "veth", MaxMTU: maxMTU, Pair: true, offloadsOff: []string{"rx-gro"}, Fields: slices.Concat([]string{"peer"}, queueFields)},
	{
		Name: "netkit", MaxMTU: maxMTU, Pair: true, NoARP: true, Fields: []string{"mode", "policy", "peer_policy", "peer"},
		InPlace:  []string{"policy", "peer_policy"},
		Words:    map[string][]string{"mode": {"l3", "l2"}, "policy": netkitPolicies, "peer_policy": netkitPolicies},
		Defaults: rtnl.LinkData{Mode: "l3"},
		NoMAC: func(d *rtnl.LinkData) string {
			if d.Mode == "l2" {
				return ""
			}
			return "a netkit of the mode l3 has no hardware address; one of the mode l2 has"
		},
		differs: func(f *Iface, l *rtnl.Link, _ Asked) string {
			d, has := f.Data, l.Data
			if has.Secondary && (d.Policy != "" && d.Policy != has.Policy || d.PeerPolicy != "" && d.PeerPolicy != has.PeerPolicy) {
				return "made from its other end" // the kernel takes the policies from that
			}
			return ""
		},
	},
}

var netkitPolicies = []string{"forward", "blackhole"}

func peerCommand(b *strings.Builder, n *NewLink) {
	if n.Link.Data.PeerPolicy == "" {
		b.WriteString(" peer")
	}
	fmt.Fprintf(b, " name %s", shell.Quote(n.Link.Peer.Name))
	if n.Link.Peer.MTU != 0 {
		fmt.Fprintf(b, " mtu %d", n.Link.Peer.MTU)
	}
	queuesCommand(b, n.Link.Peer.TxQueues, n.Link.Peer.RxQueues)
	if n.PeerNS != nil {
		fmt.Fprintf(b, " netns %s", shell.NS(*n.PeerNS))
	}
}

func queuesCommand(b *strings.Builder, tx, rx int) {
	if tx != 0 {
		fmt.Fprintf(b, " numtxqueues %d", tx)
	}
	if rx != 0 {
		fmt.Fprintf(b, " numrxqueues %d", rx)
	}
}

// masterKinds have ports, as a bridge has.
var masterKinds = []*Kind{
	{
		Name: "vrf", Ports: true, Fields: []string{"table"}, silent: true, NoARP: true,
		MTU: 65575, // IP6_MAX_MTU of drivers/net/vrf.c
		Check: func(d *rtnl.LinkData) (field, text string) {
			if d.Table < 1 || d.Table == 254 || d.Table == 255 {
				return "table", "a vrf needs a table of its own, from 1 on, and not 254 or 255"
			}
			return "", ""
		},
	},
	{
		Name: "bond", MaxMTU: maxMTU, Ports: true, Fields: []string{"mode", "miimon"}, InPlace: []string{"miimon"},
		Words:    map[string][]string{"mode": {"balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"}},
		Defaults: rtnl.LinkData{Mode: "balance-rr"},
		Check: func(d *rtnl.LinkData) (field, text string) {
			if d.MIIMon < 0 {
				return "miimon", "miimon is a number of milliseconds, and not negative"
			}
			return "", ""
		},
	},
}

// upperKinds are made on another link, which stays below them.
var upperKinds = []*Kind{
	macvlan("macvlan"), macvlan("macvtap"), ipvlan("ipvlan"), ipvlan("ipvtap"),
	{
		Name: "vlan", MaxMTU: maxMTU, Fields: []string{"protocol", "vlan", "ingress_qos_map", "egress_qos_map", "parent"},
		InPlace:   []string{"ingress_qos_map", "egress_qos_map"},
		Words:     map[string][]string{"protocol": {"802.1Q", "802.1ad"}},
		Defaults:  rtnl.LinkData{Protocol: "802.1Q"},
		ownParent: true, needsOne: true, follows: true, Check: checkVLAN,
		Once: &Once{"VLAN", func(d rtnl.LinkData) string { return fmt.Sprintf("the tag %d", d.VLAN) }, "a tag is there once for each parent"},
	},
}

func checkVLAN(d *rtnl.LinkData) (field, text string) {
	if d.VLAN < 1 || d.VLAN > 4094 {
		return "vlan", "a vlan needs a tag, vlan, from 1 to 4094"
	}
	for _, m := range rtnl.QoS(d.IngressQoS) {
		if m[0] > 7 {
			return "ingress_qos_map", fmt.Sprintf("%d is no priority of a tag: it is from 0 to 7", m[0])
		}
	}
	for _, m := range rtnl.QoS(d.EgressQoS) {
		if m[1] > 7 {
			return "egress_qos_map", fmt.Sprintf("%d is no priority of a tag: it is from 0 to 7", m[1])
		}
	}
	return "", ""
}

// upper returns what says which link one is on: one on another of its sort is on
// what that is on.
func upper(sort ...string) func(*rtnl.Link) (int, bool) {
	return func(parent *rtnl.Link) (int, bool) {
		if slices.Contains(sort, parent.Kind) {
			return parent.Parent, parent.ParentNS
		}
		return parent.Index, false
	}
}

func macvlan(name string) *Kind {
	return &Kind{
		Name: name, MaxMTU: maxMTU, QueueLen: readQueue(name), offloadsOff: []string{"rx-lro"}, Fields: []string{"mode", "parent"}, InPlace: []string{"mode"},
		Words:     map[string][]string{"mode": {"bridge", "private", "vepa", "passthru"}},
		Defaults:  rtnl.LinkData{Mode: "bridge"},
		ownParent: true, needsOne: true,
		differs: func(f *Iface, l *rtnl.Link, _ Asked) string {
			if f.Data.Mode != l.Data.Mode && (f.Data.Mode == "passthru" || l.Data.Mode == "passthru") {
				return "in the mode " + l.Data.Mode
			}
			return ""
		},
		NoMAC: func(d *rtnl.LinkData) string {
			if d.Mode == "passthru" {
				return "one of the mode passthru has the hardware address of its parent: write it there"
			}
			return ""
		},
		below: upper("macvlan", "macvtap"),
	}
}

// readQueue is the QueueLen of one whose packets a process reads: TUN_READQ_SIZE of
// linux/if_tun.h.
func readQueue(name string) int {
	if strings.HasSuffix(name, "tap") {
		return 500
	}
	return 0
}

func ipvlan(name string) *Kind {
	return &Kind{
		Name: name, MaxMTU: maxMTU, QueueLen: readQueue(name), Fields: []string{"mode", "flags", "parent"}, InPlace: []string{"mode", "flags"},
		Words:     map[string][]string{"mode": {"l3", "l2", "l3s"}, "flags": {"bridge", "private", "vepa"}},
		Defaults:  rtnl.LinkData{Mode: "l3"},
		ownParent: true, needsOne: true, NoARP: true, sized: true,
		NoMAC: because(A(name) + " has the hardware address of its parent"),
		below: upper("ipvlan", "ipvtap"),
	}
}
