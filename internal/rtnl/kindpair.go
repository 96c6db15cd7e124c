package rtnl

import "github.com/seed59451c2b/osl/internal/linux"

// pairKinds are made with their other end.
var pairKinds = map[string]kind{
	"veth": {
		oneQueue: true,
		data:     func(b *buffer, n *LinkNew) { b.nest(vethInfoPeer, func() { b.peer(n.Peer, true) }) },
	},
	"netkit": {
		data: func(b *buffer, n *LinkNew) {
			b.nest(iflaNetkitPeerInfo, func() { b.peer(n.Peer, false) })
			if n.Data.Mode != "" {
				b.u32(iflaNetkitMode, netkitModes[n.Data.Mode])
			}
			b.netkit(n.Data, 0)
		},
		change: (*buffer).netkit,
		parse: func(l *Link, t uint16, v []byte) {
			switch t {
			case iflaNetkitPrimary:
				l.Data.Secondary = getU8(v) == 0
			case iflaNetkitPolicy:
				l.Data.Policy = netkitPolicies.word(getU32(v))
			case iflaNetkitPeerPolicy:
				l.Data.PeerPolicy = netkitPolicies.word(getU32(v))
			case iflaNetkitMode:
				l.Data.Mode = netkitModes.word(getU32(v))
			}
		},
	},
}

// Attribute numbers and values of linux/veth.h and linux/if_link.h.
const (
	vethInfoPeer         = 1
	iflaNetkitPeerInfo   = 1
	iflaNetkitPrimary    = 2
	iflaNetkitPolicy     = 3
	iflaNetkitPeerPolicy = 4
	iflaNetkitMode       = 5
)

var (
	netkitModes    = numbers{"l2": 0, "l3": 1}
	netkitPolicies = numbers{"forward": 0, "blackhole": 2}
)

// netkit appends what can be changed of one, by the end that it was made from.
func (b *buffer) netkit(d LinkData, _ int) {
	if d.Policy != "" {
		b.u32(iflaNetkitPolicy, netkitPolicies[d.Policy])
	}
	if d.PeerPolicy != "" {
		b.u32(iflaNetkitPeerPolicy, netkitPolicies[d.PeerPolicy])
	}
}

func (b *buffer) peer(p *Peer, oneQueue bool) {
	*b = append(*b, ifinfo(linux.AF_UNSPEC, p.Index, 0, 0)...)
	b.str(linux.IFLA_IFNAME, p.Name)
	if p.NSFD != 0 {
		b.u32(linux.IFLA_NET_NS_FD, uint32(p.NSFD))
	}
	if p.MAC != nil {
		b.bytes(linux.IFLA_ADDRESS, p.MAC)
	}
	if p.MTU != 0 {
		b.u32(linux.IFLA_MTU, uint32(p.MTU))
	}
	b.queues(p.TxQueues, p.RxQueues, oneQueue)
}
