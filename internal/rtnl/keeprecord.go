package rtnl

import (
	"encoding/binary"
	"slices"

	"github.com/seed59451c2b/osl/internal/linux"
)

// plainAttrs are the attributes that say what a kept object is, and that can be
// set on any link. What names another object of the namespace is not among them.
var plainAttrs = map[uint16][]uint16{
	linux.RTM_NEWADDR: {linux.IFA_ADDRESS, linux.IFA_LOCAL, linux.IFA_LABEL, linux.IFA_BROADCAST, linux.IFA_CACHEINFO, linux.IFA_FLAGS,
		linux.IFA_RT_PRIORITY, ifaProto},
	linux.RTM_NEWROUTE: {linux.RTA_DST, linux.RTA_SRC, linux.RTA_OIF, linux.RTA_GATEWAY, linux.RTA_VIA, linux.RTA_PRIORITY, linux.RTA_PREFSRC,
		linux.RTA_METRICS, linux.RTA_MULTIPATH, linux.RTA_FLOW, linux.RTA_TABLE},
	linux.RTM_NEWNEIGH: {linux.NDA_DST, linux.NDA_LLADDR, ndaProtocol, ndaFlagsExt},
}

// ndaFlagsExt is NDA_FLAGS_EXT of linux/neighbour.h.
const ndaFlagsExt = 15

// Portable returns the parts of k, a thing of the link index, from which NewKept
// makes it again, without what belongs to the moment; ok is false for what is not
// of that link alone, or needs more than can be noted: a route by way of other
// links too, or with an encapsulation.
func (k Kept) Portable(index int) (typ uint16, data []byte, ok bool) {
	p, ok := k.on(index, 0)
	return p.typ, p.data, ok
}

// NewKept returns what Portable took apart, as a thing of no link yet. Whatever
// the data say, it is never one of another link than OnLink says.
func NewKept(typ uint16, data []byte) (k Kept, ok bool) { return Kept{typ, data}.on(0, 0) }

// OnLink returns what NewKept made as a thing of a link.
func (k Kept) OnLink(index int) Kept {
	k, _ = k.on(0, index)
	return k
}

// IsAddr reports whether k is an address.
func (k Kept) IsAddr() bool { return k.typ == linux.RTM_NEWADDR }

// Delete returns the request that takes an address away.
func (k Kept) Delete() Request { return Request{Type: linux.RTM_DELADDR, Data: k.Request().Data} }

// on returns k with the index to in place of from.
func (k Kept) on(from, to int) (Kept, bool) {
	size := headers[k.typ]
	if size == 0 || len(k.data) < size || k.data[0] != linux.AF_INET && k.data[0] != linux.AF_INET6 {
		return Kept{}, false
	}
	b := append(make(buffer, 0, len(k.data)), k.data[:size]...)
	u32 := binary.NativeEndian.PutUint32
	device := k.typ != linux.RTM_NEWROUTE
	switch k.typ {
	case linux.RTM_NEWROUTE:
		if t := b[7]; t == linux.RTN_UNSPEC || t > linux.RTN_MULTICAST {
			return Kept{}, false
		}
		u32(b[8:], getU32(b[8:])&linux.RTNH_F_ONLINK)
	case linux.RTM_NEWNEIGH:
		if getU16(b[8:])&linux.NUD_PERMANENT == 0 {
			return Kept{}, false
		}
		fallthrough
	default:
		u32(b[4:], uint32(to))
	}
	for t, v := range attrs(k.data[size:]) {
		if k.typ == linux.RTM_NEWROUTE && (t == linux.RTA_ENCAP || t == linux.RTA_ENCAP_TYPE) {
			return Kept{}, false
		}
		if !slices.Contains(plainAttrs[k.typ], t) {
			continue
		}
		v = slices.Clone(v)
		switch {
		case k.typ == linux.RTM_NEWADDR && t == linux.IFA_CACHEINFO && len(v) == 16:
			clear(v[8:]) // when it was made and changed
		case k.typ == linux.RTM_NEWROUTE && t == linux.RTA_OIF && len(v) == 4:
			u32(v, uint32(to))
			device = true
		case k.typ == linux.RTM_NEWROUTE && t == linux.RTA_MULTIPATH:
			if !hopsOn(v, from, to) {
				return Kept{}, false
			}
			device = true
		}
		b.bytes(t, v)
	}
	return Kept{k.typ, b}, device
}

// headers are the sizes of the structures before the attributes.
var headers = map[uint16]int{linux.RTM_NEWADDR: linux.SizeofIfAddrmsg, linux.RTM_NEWROUTE: linux.SizeofRtMsg, linux.RTM_NEWNEIGH: linux.SizeofNdMsg}

// hopsOn puts the index to into each next hop of a route. It reports whether all
// were on from, and have nothing that names another object.
func hopsOn(v []byte, from, to int) bool {
	for len(v) > 0 {
		if len(v) < linux.SizeofRtNexthop {
			return false
		}
		n := int(getU16(v))
		if n < linux.SizeofRtNexthop || n > len(v) || int(getU32(v[4:])) != from {
			return false
		}
		for t := range attrs(v[linux.SizeofRtNexthop:n]) {
			if t != linux.RTA_GATEWAY && t != linux.RTA_VIA && t != linux.RTA_FLOW {
				return false
			}
		}
		v[2] &= linux.RTNH_F_ONLINK
		binary.NativeEndian.PutUint32(v[4:], uint32(to))
		v = v[min((n+3)&^3, len(v)):]
	}
	return true
}
