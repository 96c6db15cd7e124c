package rtnl

import (
	"encoding/binary"
	"net/netip"

	"github.com/seed59451c2b/osl/internal/linux"
)

// Protocol marks the routes and neighbours of osl, and its addresses:
// rtm_protocol, NDA_PROTOCOL and IFA_PROTO.
const Protocol = 111

// AliasProtocol marks the addresses of osl that are alias IPs.
const AliasProtocol = 112

// ifaProto is IFA_PROTO of linux/if_addr.h, since Linux 5.18.
const ifaProto = 11

// Addr is an address of a link.
type Addr struct {
	Index  int
	Prefix netip.Prefix
	Proto  uint8
	Flags  uint32 // IFA_F_*
	Scope  uint8
	// Peer is the other end of a point-to-point link, to whose subnet the length
	// belongs; not valid for none.
	Peer netip.Addr
	// Lifetime is nil for an address that stays.
	Lifetime *Lifetime
	// Whole is all that the kernel said of an address that it lists and that is
	// not osl's.
	Whole *Kept
}

// Lifetime says for how many seconds an address is there, and for how many it is
// chosen as a source; Forever for all.
type Lifetime struct{ Valid, Preferred uint32 }

// Forever is INFINITY_LIFE_TIME of net/addrconf.h.
const Forever = 1<<32 - 1

// Subnet is what the kernel takes to be on the link by the address.
func (a Addr) Subnet() netip.Prefix {
	if a.Peer.IsValid() {
		return netip.PrefixFrom(a.Peer, a.Prefix.Bits())
	}
	return a.Prefix
}

// Secondary reports whether an IPv4 address follows another one of its subnet.
func (a Addr) Secondary() bool { return a.Prefix.Addr().Is4() && a.Flags&linux.IFA_F_SECONDARY != 0 }

// Learned reports whether the kernel made an IPv6 address by what a router said.
func (a Addr) Learned() bool {
	return a.Prefix.Addr().Is6() && a.Flags&linux.IFA_F_PERMANENT == 0 && a.Flags&linux.IFA_F_MANAGETEMPADDR != 0
}

func (a Addr) message() buffer {
	family := uint8(linux.AF_INET)
	flags := a.Flags
	if a.Prefix.Addr().Is6() {
		family = linux.AF_INET6
		flags |= linux.IFA_F_NODAD // usable at once
	}
	b := make(buffer, 0, 96)
	b = append(b, family, uint8(a.Prefix.Bits()), uint8(flags), a.Scope)
	b = binary.NativeEndian.AppendUint32(b, uint32(a.Index))
	ip := a.Prefix.Addr().AsSlice()
	b.bytes(linux.IFA_LOCAL, ip)
	b.bytes(linux.IFA_ADDRESS, a.Subnet().Addr().AsSlice())
	if flags != 0 {
		b.u32(linux.IFA_FLAGS, flags)
	}
	return b
}

// NewAddr returns the request that adds an address. It fails with EEXIST if
// the link has it.
func NewAddr(a Addr) Request { return a.add(linux.NLM_F_EXCL) }

// ReplaceAddr returns the request that adds an address, or gives the one that
// the link has this protocol.
func ReplaceAddr(a Addr) Request { return a.add(linux.NLM_F_REPLACE) }

func (a Addr) add(flags uint16) Request {
	b := a.message()
	if a.Prefix.Addr().Is4() && a.Prefix.Bits() <= 30 && !a.Prefix.Addr().IsLoopback() && !a.Peer.IsValid() {
		b.bytes(linux.IFA_BROADCAST, broadcast(a.Prefix))
	}
	if a.Proto != 0 {
		b.u8(ifaProto, a.Proto)
	}
	if t := a.Lifetime; t != nil {
		v := binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, t.Preferred), t.Valid)
		b.bytes(linux.IFA_CACHEINFO, append(v, make([]byte, 8)...)) // when it was made and changed
	}
	return Request{Type: linux.RTM_NEWADDR, Flags: linux.NLM_F_CREATE | flags, Data: b}
}

// DelAddr returns the request that deletes an address.
func DelAddr(a Addr) Request {
	a.Flags = 0
	return Request{Type: linux.RTM_DELADDR, Data: a.message()}
}

func broadcast(p netip.Prefix) []byte {
	b := p.Addr().As4()
	host := ^uint32(0) >> p.Bits()
	return binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(b[:])|host)
}

// AllAddrs returns the request that lists the addresses of both families of one
// link, or of all links if index is 0.
func AllAddrs(index int) Request {
	b := make(buffer, 0, 8)
	b = append(b, linux.AF_UNSPEC, 0, 0, 0)
	return Request{Type: linux.RTM_GETADDR, Data: binary.NativeEndian.AppendUint32(b, uint32(index))}
}

// AllIPv6Addrs returns the request that lists the IPv6 addresses.
func AllIPv6Addrs() Request {
	return Request{Type: linux.RTM_GETADDR, Data: append(make(buffer, 0, 8), linux.AF_INET6, 0, 0, 0, 0, 0, 0, 0)}
}

// ParseAddr decodes the payload of an RTM_NEWADDR of IPv4 or IPv6.
func ParseAddr(p []byte) (a Addr, ok bool) {
	if len(p) < linux.SizeofIfAddrmsg {
		return a, false
	}
	bits := int(p[1])
	a.Flags, a.Scope = uint32(p[2]), p[3]
	a.Index = int(getU32(p[4:]))
	var ip, address netip.Addr
	life := Lifetime{Forever, Forever}
	for t, v := range attrs(p[linux.SizeofIfAddrmsg:]) {
		switch t {
		case linux.IFA_LOCAL: // the own one of a point-to-point pair
			ip, _ = netip.AddrFromSlice(v)
		case linux.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(v)
		case linux.IFA_CACHEINFO:
			if len(v) >= 8 {
				life = Lifetime{Preferred: getU32(v), Valid: getU32(v[4:])}
			}
		case linux.IFA_FLAGS:
			a.Flags = getU32(v)
		case ifaProto:
			a.Proto = getU8(v)
		}
	}
	if a.Flags&linux.IFA_F_DEPRECATED != 0 {
		life.Preferred = 0 // which is not said of an IPv4 address that stays
	}
	if life != (Lifetime{Forever, Forever}) {
		a.Lifetime = &life
	}
	if !ip.IsValid() {
		ip = address
	} else if address.IsValid() && address != ip {
		a.Peer = address
	}
	a.Prefix = netip.PrefixFrom(ip, bits)
	if a.Proto != Protocol && a.Proto != AliasProtocol {
		a.Whole = &Kept{linux.RTM_NEWADDR, append([]byte(nil), p...)}
	}
	return a, a.Prefix.IsValid()
}
