package rtnl

import (
	"encoding/binary"
	"net/netip"

	"github.com/seed59451c2b/osl/internal/linux"
)

// Route is a unicast route of the main table.
type Route struct {
	Dst   netip.Prefix // the default route is 0.0.0.0/0 or ::/0
	Via   netip.Addr   // invalid for a route on the link
	Index int          // of the device; 0 lets the kernel find the next hop's
	Proto uint8
	// OnLink takes Via to be on the link of Index without looking. On an IPv6
	// route without Via it has no effect but to be kept.
	OnLink bool
	// Global gives an IPv4 route without Via a scope beyond the link: that of the
	// site, which tells it from a route through a next hop too.
	Global bool
	Metric uint32
	Src    netip.Addr
	// Local says that it leads to an address of this namespace, as RouteTo finds of
	// one; osl makes none.
	Local bool
}

func (r Route) message(room *Room) buffer {
	family := uint8(linux.AF_INET)
	if r.Dst.Addr().Is6() {
		family = linux.AF_INET6
	}
	scope := uint8(linux.RT_SCOPE_UNIVERSE)
	switch {
	case family == linux.AF_INET6 || r.Via.IsValid():
	case r.Global:
		scope = linux.RT_SCOPE_SITE
	default:
		scope = linux.RT_SCOPE_LINK
	}
	kind := uint8(linux.RTN_UNICAST)
	if r.Local {
		kind = linux.RTN_LOCAL
	}
	var flags uint32
	if r.OnLink {
		flags = linux.RTNH_F_ONLINK
	}
	b := room.take(96)
	b = append(b, family, uint8(r.Dst.Bits()), 0, 0, linux.RT_TABLE_MAIN, r.Proto, scope, kind)
	b = binary.NativeEndian.AppendUint32(b, flags)
	if r.Dst.Bits() > 0 {
		b.ip(linux.RTA_DST, r.Dst.Addr())
	}
	for i := range routeAttrs {
		b = routeAttrs[i].put(b, r)
	}
	return b
}

// NewRoute returns the request that adds a route. It fails with EEXIST if
// there is one to the same destination with the same metric. Like that of the
// others, room may be nil.
func NewRoute(r Route, room *Room) Request {
	return Request{Type: linux.RTM_NEWROUTE, Flags: linux.NLM_F_CREATE | linux.NLM_F_EXCL, Data: r.message(room)}
}

// ReplaceRoute returns the request that adds a route or replaces the one to
// the same destination with the same metric.
func ReplaceRoute(r Route) Request {
	return Request{Type: linux.RTM_NEWROUTE, Flags: linux.NLM_F_CREATE | linux.NLM_F_REPLACE, Data: r.message(nil)}
}

// DelRoute returns the request that deletes a route: through the next hop Via,
// which need not be reachable, or through none. Of the rest the kernel compares
// what is set of r.
func DelRoute(r Route, room *Room) Request {
	b := r.message(room)
	if !r.Via.IsValid() && r.Dst.Addr().Is6() {
		b.ip(linux.RTA_GATEWAY, netip.IPv6Unspecified()) // none, where nothing said means any
	}
	// Flags of a next hop would make the kernel look the next hop up again.
	binary.NativeEndian.PutUint32(b[8:], 0)
	return Request{Type: linux.RTM_DELROUTE, Data: b}
}

// DelGateway returns the request that deletes the default route of a family
// that is through a next hop, whichever. On IPv6 the kernel takes one without
// for it too.
func DelGateway(v4 bool, proto uint8) Request {
	r := Route{Dst: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Proto: proto}
	if v4 {
		r.Dst = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	b := r.message(nil)
	b[6] = linux.RT_SCOPE_UNIVERSE
	return Request{Type: linux.RTM_DELROUTE, Data: b}
}

// AllRoutes returns the request that lists the unicast routes of the main table of
// a family. With proto not 0 only those with that protocol, with index not 0 only
// those on that device; the kernel does both selections.
func AllRoutes(family, proto uint8, index int) Request {
	b := make(buffer, 0, 32)
	b = append(b, family, 0, 0, 0, linux.RT_TABLE_MAIN, proto, 0, linux.RTN_UNICAST, 0, 0, 0, 0)
	b.u32(linux.RTA_TABLE, linux.RT_TABLE_MAIN)
	if index != 0 {
		b.u32(linux.RTA_OIF, uint32(index))
	}
	return Request{Type: linux.RTM_GETROUTE, Data: b}
}

// RouteTo returns the request that asks the kernel by which route it reaches
// an address.
func RouteTo(ip netip.Addr, r *Route) Request {
	family := uint8(linux.AF_INET)
	if ip.Is6() {
		family = linux.AF_INET6
	}
	b := make(buffer, 0, 32)
	b = append(b, family, uint8(ip.BitLen()), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	b.ip(linux.RTA_DST, ip)
	return Request{Type: linux.RTM_GETROUTE, Data: b, Reply: func(p []byte) { *r, _ = ParseRoute(p) }}
}

// ParseRoute decodes the payload of an RTM_NEWROUTE of IPv4 or IPv6 with a
// single next hop.
func ParseRoute(p []byte) (r Route, ok bool) {
	if len(p) < linux.SizeofRtMsg {
		return r, false
	}
	zero := netip.IPv4Unspecified()
	if p[0] == linux.AF_INET6 {
		zero = netip.IPv6Unspecified()
	} else if p[0] != linux.AF_INET {
		return r, false
	}
	r.Proto = p[5]
	r.Global = p[0] == linux.AF_INET && p[6] == linux.RT_SCOPE_SITE
	r.OnLink = getU32(p[8:])&linux.RTNH_F_ONLINK != 0
	r.Local = p[7] == linux.RTN_LOCAL
	dst := zero
	for t, v := range attrs(p[linux.SizeofRtMsg:]) {
		if t == linux.RTA_DST {
			dst, _ = netip.AddrFromSlice(v)
		}
		for i := range routeAttrs {
			if routeAttrs[i].typ == t {
				r = routeAttrs[i].parse(r, v)
			}
		}
	}
	r.Dst = netip.PrefixFrom(dst, int(p[1]))
	return r, r.Dst.IsValid()
}
