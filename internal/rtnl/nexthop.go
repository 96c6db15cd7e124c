package rtnl

import (
	"encoding/binary"
	"net/netip"

	"github.com/seed59451c2b/osl/internal/linux"
)

// Nexthop is a next hop that is an object of its own, by which routes lead that name
// it: one, or a group of them.
type Nexthop struct {
	ID        uint32
	Family    uint8      // AF_INET or AF_INET6, and 0 of a group
	Via       netip.Addr // invalid for what is on the link
	Index     int        // of the device
	OnLink    bool       // Via is taken to be on the link without looking
	Blackhole bool
	Group     []Member
	Resilient Resilient // zero of what is no such group
	Proto     uint8
	Dev       string // the name of Index, for who reads
	// Whole is all that the kernel said of one of others, which may be more than is
	// known here.
	Whole []byte
}

// Member is a next hop of a group.
type Member struct {
	ID     uint32
	Weight int // 1 to 256
}

// Resilient is what a resilient group is beside its members. Times are in hundredths of a
// second.
type Resilient struct {
	Buckets          uint16
	Idle, Unbalanced uint32
}

// sizeofNhMsg is that of struct nhmsg, and sizeofNhGroup of struct nexthop_grp, both of
// linux/nexthop.h.
const (
	sizeofNhMsg   = 8
	sizeofNhGroup = 8
)

func (n Nexthop) message() buffer {
	if n.Whole != nil {
		return wholeNexthop(n.Whole)
	}
	flags := uint32(0)
	if n.OnLink {
		flags = linux.RTNH_F_ONLINK
	}
	b := append(make(buffer, 0, 64), n.Family, 0, n.Proto, 0)
	b = binary.NativeEndian.AppendUint32(b, flags)
	b.u32(linux.NHA_ID, n.ID)
	if n.Blackhole {
		b.bytes(linux.NHA_BLACKHOLE, nil)
	}
	b = b.number(linux.NHA_OIF, uint32(n.Index)).addr(linux.NHA_GATEWAY, n.Via)
	if len(n.Group) > 0 {
		v := make([]byte, 0, sizeofNhGroup*len(n.Group))
		for _, m := range n.Group {
			v = append(binary.NativeEndian.AppendUint32(v, m.ID), uint8(max(m.Weight, 1)-1), 0, 0, 0)
		}
		b.bytes(linux.NHA_GROUP, v)
	}
	if r := n.Resilient; r != (Resilient{}) {
		b.bytes(linux.NHA_GROUP_TYPE, binary.NativeEndian.AppendUint16(nil, linux.NEXTHOP_GRP_TYPE_RES))
		b.nest(linux.NHA_RES_GROUP, func() {
			b.bytes(linux.NHA_RES_GROUP_BUCKETS, binary.NativeEndian.AppendUint16(nil, r.Buckets))
			b.u32(linux.NHA_RES_GROUP_IDLE_TIMER, r.Idle)
			b.u32(linux.NHA_RES_GROUP_UNBALANCED, r.Unbalanced)
		})
	}
	return b
}

// wholeNexthop is the message that makes one again which the kernel described, without
// what belongs to the moment.
func wholeNexthop(p []byte) buffer {
	b := append(make(buffer, 0, len(p)), p[:sizeofNhMsg]...)
	b[1] = 0 // the scope follows from the rest
	binary.NativeEndian.PutUint32(b[4:], getU32(b[4:])&linux.RTNH_F_ONLINK)
	for t, v := range attrs(p[sizeofNhMsg:]) {
		switch t {
		case linux.NHA_ID, linux.NHA_GROUP, linux.NHA_GROUP_TYPE, linux.NHA_BLACKHOLE, linux.NHA_OIF, linux.NHA_GATEWAY,
			linux.NHA_ENCAP_TYPE, linux.NHA_FDB:
			b.bytes(t, v)
		case linux.NHA_ENCAP:
			b.bytes(t|linux.NLA_F_NESTED, v)
		case linux.NHA_RES_GROUP:
			b.nest(t, func() {
				for t, v := range attrs(v) {
					if t != linux.NHA_RES_GROUP_UNBALANCED_TIME {
						b.bytes(t, v)
					}
				}
			})
		}
	}
	return b
}

// NewNexthop returns the request that adds a next hop. It fails with EEXIST where one
// has its ID.
func NewNexthop(n Nexthop) Request {
	return Request{Type: linux.RTM_NEWNEXTHOP, Flags: linux.NLM_F_CREATE | linux.NLM_F_EXCL, Data: n.message()}
}

// ReplaceNexthop returns the request that adds a next hop, or changes the one with its
// ID: the routes that lead by that one then lead by this.
func ReplaceNexthop(n Nexthop) Request {
	return Request{Type: linux.RTM_NEWNEXTHOP, Flags: linux.NLM_F_CREATE | linux.NLM_F_REPLACE, Data: n.message()}
}

// DelNexthop returns the request that deletes a next hop, and with it the routes that
// lead by it, and its places in groups.
func DelNexthop(id uint32) Request {
	b := make(buffer, sizeofNhMsg, 16)
	b.u32(linux.NHA_ID, id)
	return Request{Type: linux.RTM_DELNEXTHOP, Data: b}
}

// AllNexthops returns the request that lists the next hops.
func AllNexthops() Request {
	return Request{Type: linux.RTM_GETNEXTHOP, Data: make([]byte, sizeofNhMsg)}
}

// ParseNexthop decodes the payload of an RTM_NEWNEXTHOP.
func ParseNexthop(p []byte) (n Nexthop, ok bool) {
	if len(p) < sizeofNhMsg {
		return n, false
	}
	n.Family, n.Proto = p[0], p[2]
	n.OnLink = getU32(p[4:])&linux.RTNH_F_ONLINK != 0
	odd := n.Proto != Protocol
	for t, v := range attrs(p[sizeofNhMsg:]) {
		switch t {
		case linux.NHA_ID:
			n.ID = getU32(v)
		case linux.NHA_BLACKHOLE:
			n.Blackhole = true
		case linux.NHA_OIF:
			n.Index = int(getU32(v))
		case linux.NHA_GATEWAY:
			n.Via, _ = netip.AddrFromSlice(v)
		case linux.NHA_GROUP:
			for ; len(v) >= sizeofNhGroup; v = v[sizeofNhGroup:] {
				n.Group = append(n.Group, Member{getU32(v), int(v[4]) + 1})
			}
		case linux.NHA_RES_GROUP:
			for t, v := range attrs(v) {
				switch {
				case t == linux.NHA_RES_GROUP_BUCKETS && len(v) >= 2:
					n.Resilient.Buckets = binary.NativeEndian.Uint16(v)
				case t == linux.NHA_RES_GROUP_IDLE_TIMER:
					n.Resilient.Idle = getU32(v)
				case t == linux.NHA_RES_GROUP_UNBALANCED:
					n.Resilient.Unbalanced = getU32(v)
				}
			}
		case linux.NHA_ENCAP, linux.NHA_FDB:
			odd = true
		}
	}
	if len(n.Group) > 0 {
		n.Family = 0
	}
	if odd {
		n.Whole = append([]byte(nil), p...)
	}
	return n, n.ID != 0
}

// LeadsByID reports whether the route of a message leads by a next hop that is an object
// of its own.
func LeadsByID(p []byte) bool {
	return len(p) >= linux.SizeofRtMsg && hasAttr(p[linux.SizeofRtMsg:], linux.RTA_NH_ID)
}

func hasAttr(b []byte, typ uint16) bool {
	for t := range attrs(b) {
		if t == typ {
			return true
		}
	}
	return false
}
