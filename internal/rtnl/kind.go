package rtnl

import (
	"encoding/binary"
	"net/netip"

	"github.com/seed59451c2b/osl/internal/linux"
)

// kind is how a type of link is told to the kernel, and read. A nil function has
// nothing to say.
type kind struct {
	// tunnel: the link below is said in the data, and IFLA_LINK says nothing.
	tunnel bool
	flat   func(b *buffer)                         // attributes beside the name and the address
	data   func(b *buffer, n *LinkNew)             // IFLA_INFO_DATA of one that is made
	change func(b *buffer, d LinkData, parent int) // the part of it that can be changed
	parse  func(l *Link, t uint16, v []byte)       // one attribute of it
	// settings: it has some that SetBridge changes.
	settings bool
}

// kinds are the types that have something of their own.
var kinds = map[string]kind{
	"bridge": {
		settings: true,
		parse: func(l *Link, t uint16, v []byte) {
			if l.Bridge == nil {
				l.Bridge = &Options{}
			}
			l.Bridge.parse(BridgeOptions, t, v)
		},
	},
	"veth": {
		// More queues cost the kernel a grace period, and a sandbox's link shares
		// its few cores with everything else.
		flat: (*buffer).oneQueue,
		data: func(b *buffer, n *LinkNew) { b.nest(vethInfoPeer, func() { b.peer(n.Peer) }) },
	},
	"vxlan": {
		tunnel: true,
		data: func(b *buffer, n *LinkNew) {
			b.vxlan(n.Data, n.Parent)
			port := n.Data.Port
			if port == 0 {
				port = VXLANPort
			}
			b.be16(linux.IFLA_VXLAN_PORT, uint16(port))
		},
		change: (*buffer).vxlan,
		parse:  (*Link).parseVXLAN,
	},
	"macvlan": {
		data:   func(b *buffer, n *LinkNew) { b.macvlan(n.Data, 0) },
		change: (*buffer).macvlan,
		parse: func(l *Link, t uint16, v []byte) {
			for name, m := range macvlanModes {
				if t == iflaMacvlanMode && m == getU32(v) && name != "" {
					l.Data.Mode = name
				}
			}
		},
	},
	"vlan": {
		data: func(b *buffer, n *LinkNew) { b.u16(iflaVlanID, uint16(n.Data.VLAN)) },
		parse: func(l *Link, t uint16, v []byte) {
			if t == iflaVlanID {
				l.Data.VLAN = int(getU16(v))
			}
		},
	},
	"tun": { // which tuntap makes
		parse: func(l *Link, t uint16, v []byte) {
			if t == iflaTunType && getU8(v) == linux.IFF_TAP {
				l.Kind = "tap"
			}
		},
	},
}

// Attribute numbers of linux/if_link.h and linux/veth.h.
const (
	vethInfoPeer    = 1
	iflaTunType     = 3
	iflaVlanID      = 1
	iflaMacvlanMode = 1
	macvlanPrivate  = 1
	macvlanVEPA     = 2
	macvlanBridge   = 4
	macvlanPassthru = 8
)

// VXLANPort is the UDP port of a vxlan that names none.
const VXLANPort = 4789

var macvlanModes = map[string]uint32{
	"": macvlanBridge, "bridge": macvlanBridge, "private": macvlanPrivate,
	"vepa": macvlanVEPA, "passthru": macvlanPassthru,
}

func (b *buffer) macvlan(d LinkData, _ int) { b.u32(iflaMacvlanMode, macvlanModes[d.Mode]) }

// vxlan appends what can be changed of one, and the VNI.
func (b *buffer) vxlan(d LinkData, parent int) {
	b.u32(linux.IFLA_VXLAN_ID, uint32(d.VNI))
	if d.Remote.Is4() {
		b.bytes(linux.IFLA_VXLAN_GROUP, d.Remote.AsSlice())
	} else if d.Remote.Is6() {
		b.bytes(linux.IFLA_VXLAN_GROUP6, d.Remote.AsSlice())
	}
	if d.Local.Is4() {
		b.bytes(linux.IFLA_VXLAN_LOCAL, d.Local.AsSlice())
	} else if d.Local.Is6() {
		b.bytes(linux.IFLA_VXLAN_LOCAL6, d.Local.AsSlice())
	}
	if parent != 0 {
		b.u32(linux.IFLA_VXLAN_LINK, uint32(parent))
	}
}

func (l *Link) parseVXLAN(t uint16, v []byte) {
	switch t {
	case linux.IFLA_VXLAN_LINK:
		l.Parent = int(getU32(v))
	case linux.IFLA_VXLAN_ID:
		l.Data.VNI = int(getU32(v))
	case linux.IFLA_VXLAN_LOCAL, linux.IFLA_VXLAN_LOCAL6:
		l.Data.Local, _ = netip.AddrFromSlice(v)
	case linux.IFLA_VXLAN_GROUP, linux.IFLA_VXLAN_GROUP6:
		l.Data.Remote, _ = netip.AddrFromSlice(v)
	case linux.IFLA_VXLAN_PORT:
		if len(v) >= 2 {
			l.Data.Port = int(binary.BigEndian.Uint16(v))
		}
	}
}

func (b *buffer) peer(p *Peer) {
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
	b.oneQueue()
}

func (b *buffer) oneQueue() {
	b.u32(linux.IFLA_NUM_TX_QUEUES, 1)
	b.u32(linux.IFLA_NUM_RX_QUEUES, 1)
}
