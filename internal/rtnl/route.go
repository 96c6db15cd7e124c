package rtnl

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/linux"
)

// Route is a route.
type Route struct {
	Dst   netip.Prefix // the default route is 0.0.0.0/0 or ::/0
	Via   netip.Addr   // invalid for a route on the link; an IPv4 one may have one of IPv6
	Index int          // of the device; 0 lets the kernel find the next hop's
	Proto uint8
	// Type is RTN_*, and 0 for unicast.
	Type uint8
	// Scope is RT_SCOPE_* of an IPv4 route. That of the site tells a static route
	// without Via from one of an interface, and from one through a next hop too.
	Scope uint8
	// OnLink takes Via to be on the link of Index without looking. On an IPv6
	// route without Via it has no effect but to be kept.
	OnLink bool
	Table  uint32 // 0 for the main one
	Metric uint32
	Src    netip.Addr
	MTU    uint32
	AdvMSS uint32
	// Hops are several next hops, in place of Via and Index.
	Hops []Hop
	// Nexthop is the ID of a next hop that is an object of its own, in place of Via, Index
	// and Hops; what these are then is that object's.
	Nexthop uint32
	// Whole is all that the kernel said of a route of others that it lists and does not
	// make again by itself.
	Whole *Kept
}

// Hop is one of several next hops.
type Hop struct {
	Via    netip.Addr // invalid for what is on the link
	Index  int
	Weight int // 1 to 256
	OnLink bool
	Dev    string // the name of Index, for who reads
}

// Touches reports whether the route leads by way of one of some links.
func (r Route) Touches(links map[int]bool) bool {
	return links[r.Index] || slices.ContainsFunc(r.Hops, func(h Hop) bool { return links[h.Index] })
}

// Links returns the devices by way of which the route leads, as far as it says.
func (r Route) Links() (list []int) {
	if r.Index != 0 {
		list = append(list, r.Index)
	}
	for _, h := range r.Hops {
		if h.Index != 0 {
			list = append(list, h.Index)
		}
	}
	return list
}

// Within reports whether the route leads by way of some links and of no other.
func (r Route) Within(links map[int]bool) bool {
	return links[r.Index] || len(r.Hops) > 0 && !slices.ContainsFunc(r.Hops, func(h Hop) bool { return !links[h.Index] })
}

// Refuses reports whether the route leads nowhere: blackhole, unreachable, prohibit
// or throw.
func (r Route) Refuses() bool { return r.Type >= linux.RTN_BLACKHOLE && r.Type <= linux.RTN_THROW }

// isRare reports whether the route has an attribute of rareAttrs.
func (r Route) isRare() bool {
	return r.Table > 255 || r.MTU|r.AdvMSS != 0 || len(r.Hops) > 0 || r.Nexthop != 0 || r.crosses()
}

// crosses reports whether the next hop is of the other family.
func (r Route) crosses() bool { return r.Via.IsValid() && r.Via.Is4() != r.Dst.Addr().Is4() }

func (r Route) message(room *Room) buffer {
	family := uint8(linux.AF_INET)
	if r.Dst.Addr().Is6() {
		family = linux.AF_INET6
	}
	kind := uint8(linux.RTN_UNICAST)
	if r.Type != 0 {
		kind = r.Type
	}
	table := uint8(linux.RT_TABLE_MAIN)
	if r.Table > 255 {
		table = linux.RT_TABLE_UNSPEC // it has an attribute
	} else if r.Table != 0 {
		table = uint8(r.Table)
	}
	var flags uint32
	if r.OnLink {
		flags = linux.RTNH_F_ONLINK
	}
	b := room.take(96)
	b = append(b, family, uint8(r.Dst.Bits()), 0, 0, table, r.Proto, r.Scope, kind)
	b = binary.NativeEndian.AppendUint32(b, flags)
	if r.Dst.Bits() > 0 {
		b.ip(linux.RTA_DST, r.Dst.Addr())
	}
	for i := range routeAttrs {
		b = routeAttrs[i].put(b, r)
	}
	if r.isRare() {
		for i := range rareAttrs {
			b = rareAttrs[i].put(b, r)
		}
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
	if r.Metric == 0 && r.Dst.Addr().Is6() {
		r.Metric = DefaultMetric6 // where nothing said means any
	}
	b := r.message(room)
	if !r.Via.IsValid() && len(r.Hops) == 0 && r.Nexthop == 0 && !r.Refuses() && r.Dst.Addr().Is6() {
		b.ip(linux.RTA_GATEWAY, netip.IPv6Unspecified()) // none, where nothing said means any
	}
	// Flags of a next hop would make the kernel look the next hop up again.
	binary.NativeEndian.PutUint32(b[8:], 0)
	return Request{Type: linux.RTM_DELROUTE, Data: b}
}

// DefaultMetric6 is that of an IPv6 route that names none: IP6_RT_PRIO_USER of
// linux/ipv6_route.h.
const DefaultMetric6 = 1024

// DelGateway returns the request that deletes the default route of a family
// that is through a next hop, whichever. On IPv6 the kernel takes one without
// for it too.
func DelGateway(v4 bool, proto uint8) Request {
	r := Route{Dst: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Proto: proto}
	if v4 {
		r.Dst = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return Request{Type: linux.RTM_DELROUTE, Data: r.message(nil)}
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

// EveryRoute returns the request that lists the routes of all types, tables and of
// both families. With proto not 0 only those with that protocol, with index not 0
// only those that lead by way of that device; the kernel does both selections.
func EveryRoute(proto uint8, index int) Request {
	b := append(make(buffer, 0, 32), linux.AF_UNSPEC, 0, 0, 0, linux.RT_TABLE_UNSPEC, proto, 0, linux.RTN_UNSPEC, 0, 0, 0, 0)
	if index != 0 {
		b.u32(linux.RTA_OIF, uint32(index))
	}
	return Request{Type: linux.RTM_GETROUTE, Data: b}
}

// ParseMade decodes a route as ParseRoute does, and leaves out what the kernel made
// beside the routes to the subnets of addresses: most are of the table local.
func ParseMade(p []byte) (r Route, ok bool) {
	if len(p) >= linux.SizeofRtMsg && p[5] == linux.RTPROT_KERNEL && (p[4] == linux.RT_TABLE_LOCAL || p[7] != linux.RTN_UNICAST) {
		return r, false
	}
	r, ok = ParseRoute(p)
	if ok && r.Proto != Protocol && ownRoute(p) {
		r.Whole = &Kept{linux.RTM_NEWROUTE, append([]byte(nil), p...)}
	}
	return r, ok
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

// ParseRoute decodes the payload of an RTM_NEWROUTE of IPv4 or IPv6.
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
	r.Table, r.Proto = uint32(p[4]), p[5]
	if p[0] == linux.AF_INET {
		r.Scope = p[6]
	}
	if p[7] != linux.RTN_UNICAST {
		r.Type = p[7]
	}
	r.OnLink = getU32(p[8:])&linux.RTNH_F_ONLINK != 0
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
		for i := range rareAttrs {
			if rareAttrs[i].typ == t {
				r = rareAttrs[i].parse(r, v)
			}
		}
	}
	if r.Table == linux.RT_TABLE_MAIN {
		r.Table = 0
	}
	if r.Nexthop != 0 { // the kernel says what that is beside it
		r.Via, r.Index, r.OnLink, r.Hops = netip.Addr{}, 0, false, nil
		if r.Type == linux.RTN_BLACKHOLE {
			r.Type = 0
		}
	}
	if r.Refuses() {
		r.Index = 0 // on IPv6 the kernel says lo
	}
	r.Dst = netip.PrefixFrom(dst, int(p[1]))
	return r, r.Dst.IsValid()
}
