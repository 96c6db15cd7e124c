package rtnl

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/seed59451c2b/osl/internal/linux"
)

// Kept is an address, a route or a neighbour of a link as the kernel
// described it, whole: what this package does not know of it too.
type Kept struct {
	typ  uint16 // RTM_NEWADDR, RTM_NEWROUTE or RTM_NEWNEIGH
	data []byte
}

// Keeper lists one sort of what the kernel forgets of a link when it leaves its
// namespace.
type Keeper struct {
	Request
	typ    uint16
	wanted func([]byte) bool
}

// Keepers list all of it: addresses, routes of all tables, and permanent
// neighbours. What the kernel makes again by itself is left out.
func Keepers(index int) (list []Keeper) {
	add := func(typ uint16, head []byte, device uint16, wanted func([]byte) bool) {
		b := buffer(head)
		if device != 0 {
			b.u32(device, uint32(index))
		}
		list = append(list, Keeper{Request{Type: typ + 2, Data: b}, typ, wanted})
	}
	head := make([]byte, linux.SizeofIfAddrmsg)
	binary.NativeEndian.PutUint32(head[4:], uint32(index))
	add(linux.RTM_NEWADDR, head, 0, ownAddr)
	for _, family := range []byte{linux.AF_INET, linux.AF_INET6} {
		head := make([]byte, linux.SizeofRtMsg, 32)
		head[0] = family
		add(linux.RTM_NEWROUTE, head, linux.RTA_OIF, ownRoute)
	}
	add(linux.RTM_NEWNEIGH, make([]byte, 12, 32), linux.NDA_IFINDEX, func(p []byte) bool {
		return len(p) >= 12 && int(getU32(p[4:])) == index && getU16(p[8:])&linux.NUD_PERMANENT != 0
	})
	return list
}

// OwnKeepers are Keepers that leave out the routes which lead by next hops that are objects
// of their own, for who brings these back with the objects.
func OwnKeepers(index int) []Keeper {
	list := Keepers(index)
	for i := range list {
		if wanted := list[i].wanted; list[i].typ == linux.RTM_NEWROUTE {
			list[i].wanted = func(p []byte) bool { return wanted(p) && !LeadsByID(p) }
		}
	}
	return list
}

// Keep returns an entry of the list, if it is one that is to be kept.
func (k Keeper) Keep(p []byte) (Kept, bool) {
	if !k.wanted(p) {
		return Kept{}, false
	}
	if k.typ == linux.RTM_NEWROUTE && LeadsByID(p) {
		p = withoutID(p)
	}
	return Kept{k.typ, append([]byte(nil), p...)}, true
}

// withoutID returns the message of a route that leads by a next hop which is an object of
// its own as that of one which says itself where it leads: the object ends as the link
// leaves its namespace.
func withoutID(p []byte) []byte {
	b := append(make(buffer, 0, len(p)), p[:linux.SizeofRtMsg]...)
	for t, v := range attrs(p[linux.SizeofRtMsg:]) {
		if t != linux.RTA_NH_ID {
			b.bytes(t, v)
		}
	}
	return b
}

// AsTheyCame orders what was kept of one sort so that it can be given back one after the
// other: the kernel lists the newest IPv6 address first, and of routes those with a next hop
// come last, since that has to be reachable.
func AsTheyCame(list []Kept) {
	via := func(k Kept) int {
		if k.typ == linux.RTM_NEWROUTE && HasVia(k.data) {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(list, func(k, o Kept) int { return via(k) - via(o) })
	if six := slices.IndexFunc(list, func(k Kept) bool { return k.IsAddr() && k.data[0] == linux.AF_INET6 }); six >= 0 {
		slices.Reverse(list[six:])
	}
}

// kernelLinkLocal is IFAPROT_KERNEL_LL of linux/if_addr.h.
const kernelLinkLocal = 3

// ownAddr reports whether somebody gave the link this address. The link-local
// address that the kernel makes has a mark, but on kernels before 5.18: there
// it is known by its form, the hardware address with ff:fe in its middle.
func ownAddr(p []byte) bool {
	a, ok := ParseAddr(p)
	if !ok || a.Proto == kernelLinkLocal || a.Flags&linux.IFA_F_PERMANENT == 0 && a.Flags&linux.IFA_F_MANAGETEMPADDR != 0 {
		return false
	}
	ip := a.Prefix.Addr()
	if !ip.Is6() || !ip.IsLinkLocalUnicast() || a.Proto != 0 || a.Prefix.Bits() != 64 {
		return true
	}
	b := ip.As16()
	return !(b[11] == 0xff && b[12] == 0xfe)
}

// ownRoute reports whether somebody made the route: not the kernel, for an
// address, and not what it learned from a router or found on the way.
func ownRoute(p []byte) bool {
	if len(p) < linux.SizeofRtMsg {
		return false
	}
	return p[5] != linux.RTPROT_KERNEL && p[5] != linux.RTPROT_RA && p[5] != linux.RTPROT_REDIRECT && getU32(p[8:])&linux.RTM_F_CLONED == 0
}

// HasVia reports whether the route of a message has a next hop.
func HasVia(p []byte) bool {
	for t := range attrs(p[linux.SizeofRtMsg:]) {
		if t == linux.RTA_GATEWAY || t == linux.RTA_VIA || t == linux.RTA_MULTIPATH || t == linux.RTA_NH_ID {
			return true
		}
	}
	return false
}

// Request returns the request that puts it back. It fails with EEXIST where it
// is there. An IPv6 address is usable at once.
func (k Kept) Request() Request {
	r := Request{Type: k.typ, Flags: linux.NLM_F_CREATE | linux.NLM_F_EXCL}
	head := headers[k.typ]
	b := append(make(buffer, 0, len(k.data)+8), k.data[:head]...)
	byID := k.typ == linux.RTM_NEWROUTE && LeadsByID(k.data)
	if byID {
		b[7] = linux.RTN_UNICAST // what else it is follows from the next hop
	}
	for t, v := range attrs(k.data[head:]) {
		switch {
		case k.typ == linux.RTM_NEWADDR && t == linux.IFA_FLAGS && k.data[0] == linux.AF_INET6:
			b.u32(t, getU32(v)|linux.IFA_F_NODAD)
		case byID && (t == linux.RTA_OIF || t == linux.RTA_GATEWAY || t == linux.RTA_VIA || t == linux.RTA_MULTIPATH || t == linux.RTA_ENCAP || t == linux.RTA_ENCAP_TYPE):
			// Those of the next hop.
		case k.typ == linux.RTM_NEWROUTE && (t == linux.RTA_CACHEINFO || t == linux.RTA_PREF):
			// The one can not be set; the other is what it is by default.
		case k.typ == linux.RTM_NEWNEIGH && (t == linux.NDA_CACHEINFO || t == linux.NDA_PROBES):
		case k.typ == linux.RTM_NEWROUTE && t == linux.RTA_MULTIPATH:
			b.bytes(t, plainHops(v))
		default:
			b.bytes(t, v)
		}
	}
	if byID && k.data[0] == linux.AF_INET && !hasAttr(k.data[head:], linux.RTA_METRICS) {
		b.nest(linux.RTA_METRICS, func() {}) // as at any such route
	}
	if k.typ == linux.RTM_NEWROUTE {
		// Several routes may lead to one destination.
		r.Flags = linux.NLM_F_CREATE | linux.NLM_F_APPEND
		if k.data[0] == linux.AF_INET6 && k.severalLinks() {
			r.Flags = linux.NLM_F_CREATE | linux.NLM_F_REPLACE // of one whose other next hops stayed
		}
		flags := getU32(b[8:]) & linux.RTNH_F_ONLINK
		if byID {
			flags = 0 // with it the kernel would take it for another one than is there
		}
		binary.NativeEndian.PutUint32(b[8:], flags)
	}
	r.Data = b
	return r
}

// plainHops returns next hops without what the kernel says of their links: that one has no
// carrier it takes from nobody.
func plainHops(v []byte) []byte {
	v = slices.Clone(v)
	for at := 0; at+linux.SizeofRtNexthop <= len(v); {
		v[at+2] &= linux.RTNH_F_ONLINK
		at += max((int(getU16(v[at:]))+3)&^3, linux.SizeofRtNexthop)
	}
	return v
}

// severalLinks reports whether a route leads by way of more than one link.
func (k Kept) severalLinks() bool {
	r, _ := ParseRoute(k.data)
	for _, h := range r.Hops {
		if h.Index != r.Hops[0].Index {
			return true
		}
	}
	return false
}

// String returns what the ip command takes for an address or a neighbour.
func (k Kept) String() string {
	switch k.typ {
	case linux.RTM_NEWADDR:
		a, _ := ParseAddr(k.data)
		return "addr add " + a.Prefix.String()
	case linux.RTM_NEWNEIGH:
		n, _ := ParseNeigh(k.data)
		return fmt.Sprintf("neigh add %v lladdr %v nud permanent", n.IP, n.MAC)
	}
	return ""
}

// Addr returns what is kept where it is an address.
func (k Kept) Addr() (a Addr, ok bool) {
	if k.typ != linux.RTM_NEWADDR {
		return a, false
	}
	return ParseAddr(k.data)
}

// Route returns what is kept where it is a route.
func (k Kept) Route() (r Route, ok bool) {
	if k.typ != linux.RTM_NEWROUTE {
		return r, false
	}
	return ParseRoute(k.data)
}
