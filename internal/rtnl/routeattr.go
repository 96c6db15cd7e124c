package rtnl

import (
	"encoding/binary"
	"net/netip"

	"github.com/seed59451c2b/osl/internal/linux"
)

// routeAttr is an attribute of a route beside its destination: how it is written,
// and read. They go by value, so that many routes take no memory of their own.
type routeAttr struct {
	typ   uint16
	put   func(b buffer, r Route) buffer // nothing where the route says nothing
	parse func(r Route, v []byte) Route
}

var routeAttrs = [...]routeAttr{
	{linux.RTA_GATEWAY,
		func(b buffer, r Route) buffer {
			if r.crosses() {
				return b
			}
			return b.addr(linux.RTA_GATEWAY, r.Via)
		},
		func(r Route, v []byte) Route { r.Via, _ = netip.AddrFromSlice(v); return r }},
	{linux.RTA_OIF,
		func(b buffer, r Route) buffer { return b.number(linux.RTA_OIF, uint32(r.Index)) },
		func(r Route, v []byte) Route { r.Index = int(getU32(v)); return r }},
	{linux.RTA_PRIORITY,
		func(b buffer, r Route) buffer { return b.number(linux.RTA_PRIORITY, r.Metric) },
		func(r Route, v []byte) Route { r.Metric = getU32(v); return r }},
	{linux.RTA_PREFSRC,
		func(b buffer, r Route) buffer { return b.addr(linux.RTA_PREFSRC, r.Src) },
		func(r Route, v []byte) Route { r.Src, _ = netip.AddrFromSlice(v); return r }},
}

// rareAttrs are those that most routes have none of.
var rareAttrs = [...]routeAttr{
	{linux.RTA_TABLE,
		func(b buffer, r Route) buffer {
			if r.Table > 255 {
				b.u32(linux.RTA_TABLE, r.Table)
			}
			return b
		},
		func(r Route, v []byte) Route { r.Table = getU32(v); return r }},
	{linux.RTA_VIA, // a next hop of the other family
		func(b buffer, r Route) buffer {
			if r.crosses() {
				b.via(r.Via)
			}
			return b
		},
		func(r Route, v []byte) Route { r.Via = getVia(v); return r }},
	{linux.RTA_METRICS,
		func(b buffer, r Route) buffer {
			// Of an IPv4 route that says nothing of them and leads by an object the kernel
			// may make the metrics of another one by that.
			if r.MTU|r.AdvMSS != 0 || r.Nexthop != 0 && r.Dst.Addr().Is4() {
				b.nest(linux.RTA_METRICS, func() { b = b.number(linux.RTAX_MTU, r.MTU).number(linux.RTAX_ADVMSS, r.AdvMSS) })
			}
			return b
		},
		func(r Route, v []byte) Route {
			for t, v := range attrs(v) {
				switch t {
				case linux.RTAX_MTU:
					r.MTU = getU32(v)
				case linux.RTAX_ADVMSS:
					r.AdvMSS = getU32(v)
				}
			}
			return r
		}},
	{linux.RTA_MULTIPATH,
		func(b buffer, r Route) buffer {
			if len(r.Hops) > 0 {
				b.hops(r)
			}
			return b
		},
		func(r Route, v []byte) Route { r.Hops = getHops(v); return r }},
	{linux.RTA_NH_ID,
		func(b buffer, r Route) buffer { return b.number(linux.RTA_NH_ID, r.Nexthop) },
		func(r Route, v []byte) Route { r.Nexthop = getU32(v); return r }},
}

// via appends a next hop with its family: struct rtvia of linux/rtnetlink.h.
func (b *buffer) via(a netip.Addr) {
	family := uint16(linux.AF_INET)
	if a.Is6() {
		family = linux.AF_INET6
	}
	b.bytes(linux.RTA_VIA, append(binary.NativeEndian.AppendUint16(nil, family), a.WithZone("").AsSlice()...))
}

func getVia(v []byte) (a netip.Addr) {
	if len(v) > 2 {
		a, _ = netip.AddrFromSlice(v[2:])
	}
	return a
}

// hops appends the next hops of a route: each a struct rtnexthop of
// linux/rtnetlink.h with its own attributes.
func (b *buffer) hops(r Route) {
	b.nest(linux.RTA_MULTIPATH, func() {
		for _, h := range r.Hops {
			at := len(*b)
			var flags uint8
			if h.OnLink {
				flags = linux.RTNH_F_ONLINK
			}
			*b = append(*b, 0, 0, flags, uint8(max(h.Weight, 1)-1))
			*b = binary.NativeEndian.AppendUint32(*b, uint32(h.Index))
			switch {
			case !h.Via.IsValid():
			case h.Via.Is4() == r.Dst.Addr().Is4():
				b.ip(linux.RTA_GATEWAY, h.Via)
			default:
				b.via(h.Via)
			}
			binary.NativeEndian.PutUint16((*b)[at:], uint16(len(*b)-at))
		}
	})
}

func getHops(v []byte) (list []Hop) {
	for len(v) >= linux.SizeofRtNexthop {
		n := int(getU16(v))
		if n < linux.SizeofRtNexthop || n > len(v) {
			return list
		}
		h := Hop{Index: int(getU32(v[4:])), Weight: int(v[3]) + 1, OnLink: v[2]&linux.RTNH_F_ONLINK != 0}
		for t, v := range attrs(v[linux.SizeofRtNexthop:n]) {
			switch t {
			case linux.RTA_GATEWAY:
				h.Via, _ = netip.AddrFromSlice(v)
			case linux.RTA_VIA:
				h.Via = getVia(v)
			}
		}
		list = append(list, h)
		v = v[min((n+3)&^3, len(v)):]
	}
	return list
}

// addr appends an address, if it is one.
func (b buffer) addr(t uint16, a netip.Addr) buffer {
	if a.IsValid() {
		b.ip(t, a)
	}
	return b
}

// number appends a number, if it is not 0.
func (b buffer) number(t uint16, n uint32) buffer {
	if n != 0 {
		b.u32(t, n)
	}
	return b
}
