package rtnl

import (
	"encoding/binary"
	"net/netip"

	"github.com/seed59451c2b/osl/internal/linux"
)

// tunnelKinds carry frames in UDP.
var tunnelKinds = map[string]kind{
	"vxlan": {
		tunnel: true,
		data: func(b *buffer, n *LinkNew) {
			b.vxlan(n.Data, n.Parent)
			b.be16(linux.IFLA_VXLAN_PORT, uint16(n.Data.Port))
		},
		change: (*buffer).vxlan,
		parse:  (*Link).parseVXLAN,
	},
	"geneve": {
		tunnel: true,
		data: func(b *buffer, n *LinkNew) {
			b.geneve(n.Data, 0)
			b.be16(iflaGenevePort, uint16(n.Data.Port))
		},
		change: (*buffer).geneve,
		parse:  (*Link).parseGeneve,
	},
}

// Attribute numbers of linux/if_link.h.
const (
	iflaVXLANTTL      = 5
	iflaVXLANTOS      = 6
	iflaVXLANLearning = 7
	iflaGeneveID      = 1
	iflaGeneveRemote  = 2
	iflaGeneveTTL     = 3
	iflaGeneveTOS     = 4
	iflaGenevePort    = 5
	iflaGeneveRemote6 = 7
)

// onOff are the words of a setting of one byte.
var onOff = numbers{"off": 0, "on": 1}

// vxlan appends what can be changed of one, and the VNI.
func (b *buffer) vxlan(d LinkData, parent int) {
	b.u32(linux.IFLA_VXLAN_ID, uint32(d.VNI))
	b.either(linux.IFLA_VXLAN_GROUP, linux.IFLA_VXLAN_GROUP6, d.Remote)
	b.either(linux.IFLA_VXLAN_LOCAL, linux.IFLA_VXLAN_LOCAL6, d.Local)
	if parent != 0 {
		b.u32(linux.IFLA_VXLAN_LINK, uint32(parent))
	}
	b.u8(iflaVXLANTTL, uint8(d.TTL))
	b.u8(iflaVXLANTOS, uint8(d.TOS))
	if d.Learning != "" {
		b.u8(iflaVXLANLearning, uint8(onOff[d.Learning]))
	}
}

// either appends an address by the attribute for its family.
func (b *buffer) either(four, six uint16, a netip.Addr) {
	if a.Is4() {
		b.ip(four, a)
	} else if a.Is6() {
		b.ip(six, a)
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
		l.Data.Port = getBE16(v)
	case iflaVXLANTTL:
		l.Data.TTL = int(getU8(v))
	case iflaVXLANTOS:
		l.Data.TOS = int(getU8(v))
	case iflaVXLANLearning:
		l.Data.Learning = onOff.word(uint32(getU8(v)))
	}
}

// geneve appends what can be changed of one, and the VNI.
func (b *buffer) geneve(d LinkData, _ int) {
	b.u32(iflaGeneveID, uint32(d.VNI))
	b.either(iflaGeneveRemote, iflaGeneveRemote6, d.Remote)
	b.u8(iflaGeneveTTL, uint8(d.TTL))
	b.u8(iflaGeneveTOS, uint8(d.TOS))
}

func (l *Link) parseGeneve(t uint16, v []byte) {
	switch t {
	case iflaGeneveID:
		l.Data.VNI = int(getU32(v))
	case iflaGeneveRemote, iflaGeneveRemote6:
		l.Data.Remote, _ = netip.AddrFromSlice(v)
	case iflaGenevePort:
		l.Data.Port = getBE16(v)
	case iflaGeneveTTL:
		l.Data.TTL = int(getU8(v))
	case iflaGeneveTOS:
		l.Data.TOS = int(getU8(v))
	}
}

func getBE16(v []byte) int {
	if len(v) < 2 {
		return 0
	}
	return int(binary.BigEndian.Uint16(v))
}
