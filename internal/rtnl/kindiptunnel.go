package rtnl

import (
	"encoding/binary"
	"net/netip"
)

// ipTunnelKinds carry packets in IP. What is changed of one is told whole: what is
// not said is reset.
var ipTunnelKinds = map[string]kind{
	"gre": gre(false), "gretap": gre(false), "ip6gre": gre(true), "ip6gretap": gre(true),
	"ipip": ipTunnel, "sit": ipTunnel,
}

// gre is what GRE has over either family.
func gre(six bool) kind {
	write := func(b *buffer, d LinkData, parent int) {
		if parent != 0 {
			b.u32(iflaGRELink, uint32(parent))
		}
		if d.Key != 0 {
			b.be16(iflaGREIFlags, greKey)
			b.be16(iflaGREOFlags, greKey)
			key := binary.BigEndian.AppendUint32(nil, uint32(d.Key))
			b.bytes(iflaGREIKey, key)
			b.bytes(iflaGREOKey, key)
		}
		b.either(iflaGRELocal, iflaGRELocal, d.Local)
		b.either(iflaGRERemote, iflaGRERemote, d.Remote)
		b.u8(iflaGRETTL, uint8(d.TTL))
		if six {
			b.u8(iflaGREEncapLimit, encapLimit)
			b.bytes(iflaGREFlowInfo, binary.BigEndian.AppendUint32(nil, uint32(d.TOS)<<20))
		} else {
			b.u8(iflaGRETOS, uint8(d.TOS))
		}
	}
	return kind{
		tunnel: true,
		data:   func(b *buffer, n *LinkNew) { write(b, n.Data, n.Parent) },
		change: write,
		parse: func(l *Link, t uint16, v []byte) {
			switch t {
			case iflaGREIKey:
				if len(v) >= 4 {
					l.Data.Key = int(binary.BigEndian.Uint32(v))
				}
			case iflaGRELocal:
				l.Data.Local = someAddr(v)
			case iflaGRERemote:
				l.Data.Remote = someAddr(v)
			case iflaGRETTL:
				l.Data.TTL = int(getU8(v))
			case iflaGRETOS:
				if !six {
					l.Data.TOS = int(getU8(v))
				}
			case iflaGREFlowInfo:
				if len(v) >= 4 && six {
					l.Data.TOS = int(binary.BigEndian.Uint32(v) >> 20 & 0xff)
				}
			}
		},
	}
}

var ipTunnel = kind{
	tunnel: true,
	data:   func(b *buffer, n *LinkNew) { b.ipTunnel(n.Data, n.Parent) },
	change: (*buffer).ipTunnel,
	parse: func(l *Link, t uint16, v []byte) {
		switch t {
		case iflaIPTunLocal:
			l.Data.Local = someAddr(v)
		case iflaIPTunRemote:
			l.Data.Remote = someAddr(v)
		case iflaIPTunTTL:
			l.Data.TTL = int(getU8(v))
		case iflaIPTunTOS:
			l.Data.TOS = int(getU8(v))
		}
	},
}

// Attribute numbers and flags of linux/if_tunnel.h.
const (
	iflaGRELink       = 1
	iflaGREIFlags     = 2
	iflaGREOFlags     = 3
	iflaGREIKey       = 4
	iflaGREOKey       = 5
	iflaGRELocal      = 6
	iflaGRERemote     = 7
	iflaGRETTL        = 8
	iflaGRETOS        = 9
	iflaGREEncapLimit = 11
	iflaGREFlowInfo   = 12
	greKey            = 0x2000
	iflaIPTunLink     = 1
	iflaIPTunLocal    = 2
	iflaIPTunRemote   = 3
	iflaIPTunTTL      = 4
	iflaIPTunTOS      = 5
	// encapLimit is what ip gives a tunnel of IPv6, IPV6_DEFAULT_TNL_ENCAP_LIMIT of
	// linux/ip6_tunnel.h. Without one the kernel writes 0, and no tunnel may lie in it.
	encapLimit = 4
)

func (b *buffer) ipTunnel(d LinkData, parent int) {
	if parent != 0 {
		b.u32(iflaIPTunLink, uint32(parent))
	}
	b.either(iflaIPTunLocal, iflaIPTunLocal, d.Local)
	b.either(iflaIPTunRemote, iflaIPTunRemote, d.Remote)
	b.u8(iflaIPTunTTL, uint8(d.TTL))
	b.u8(iflaIPTunTOS, uint8(d.TOS))
}

// someAddr returns an address, none where it is that of all.
func someAddr(v []byte) netip.Addr {
	if a, _ := netip.AddrFromSlice(v); a.IsValid() && !a.IsUnspecified() {
		return a
	}
	return netip.Addr{}
}
