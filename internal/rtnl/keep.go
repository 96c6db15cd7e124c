//go:build linux

package rtnl

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Kept is an address, a route or a neighbour of a link as the kernel
// described it, whole: what this package does not know of it too.
type Kept struct {
	typ  uint16 // RTM_NEWADDR, RTM_NEWROUTE or RTM_NEWNEIGH
	data []byte
}

// KeepAll reads what the kernel forgets of a link when it leaves its
// namespace: addresses, routes of all tables, and permanent neighbours. What
// the kernel makes again by itself is left out. Of routes those with a next hop
// come last, since that has to be reachable.
func (c *Conn) KeepAll(ctx context.Context, index int) (list []Kept, err error) {
	keep := func(typ uint16, head []byte, device uint16, wanted func([]byte) bool) error {
		b := buffer(head)
		if device != 0 {
			b.u32(device, uint32(index))
		}
		start := len(list)
		err := c.dump(ctx, Request{Type: typ + 2, Data: b}, func() { list = list[:start] }, func(p []byte) {
			if wanted(p) {
				list = append(list, Kept{typ, append([]byte(nil), p...)})
			}
		})
		if absentTable(err) {
			return nil
		}
		return err
	}
	head := make([]byte, unix.SizeofIfAddrmsg)
	binary.NativeEndian.PutUint32(head[4:], uint32(index))
	if err := keep(unix.RTM_NEWADDR, head, 0, ownAddr); err != nil {
		return nil, err
	}
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		head := make([]byte, unix.SizeofRtMsg, 32)
		head[0] = family
		start := len(list)
		if err := keep(unix.RTM_NEWROUTE, head, unix.RTA_OIF, ownRoute); err != nil {
			return nil, err
		}
		slices.SortStableFunc(list[start:], func(a, b Kept) int { return hasVia(a.data) - hasVia(b.data) })
	}
	err = keep(unix.RTM_NEWNEIGH, make([]byte, 12, 32), unix.NDA_IFINDEX, func(p []byte) bool {
		return len(p) >= 12 && int(getU32(p[4:])) == index && getU16(p[8:])&unix.NUD_PERMANENT != 0
	})
	return list, err
}

// kernelLinkLocal is IFAPROT_KERNEL_LL of linux/if_addr.h.
const kernelLinkLocal = 3

// ownAddr reports whether somebody gave the link this address. The link-local
// address that the kernel makes has a mark, but on kernels before 5.18: there
// it is known by its form, the hardware address with ff:fe in its middle.
func ownAddr(p []byte) bool {
	a, ok := ParseAddr(p)
	if !ok || a.Proto == kernelLinkLocal || a.Flags&unix.IFA_F_PERMANENT == 0 && a.Flags&unix.IFA_F_MANAGETEMPADDR != 0 {
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
	if len(p) < unix.SizeofRtMsg {
		return false
	}
	return p[5] != unix.RTPROT_KERNEL && p[5] != unix.RTPROT_RA && p[5] != unix.RTPROT_REDIRECT && getU32(p[8:])&unix.RTM_F_CLONED == 0
}

// hasVia is 1 for a route with a next hop, else 0.
func hasVia(p []byte) int {
	for t := range attrs(p[unix.SizeofRtMsg:]) {
		if t == unix.RTA_GATEWAY || t == unix.RTA_VIA || t == unix.RTA_MULTIPATH {
			return 1
		}
	}
	return 0
}

// Request returns the request that puts it back. It fails with EEXIST where it
// is there. An IPv6 address is usable at once.
func (k Kept) Request() Request {
	r := Request{Type: k.typ, Flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL}
	head := headers[k.typ]
	b := append(make(buffer, 0, len(k.data)+8), k.data[:head]...)
	for t, v := range attrs(k.data[head:]) {
		switch {
		case k.typ == unix.RTM_NEWADDR && t == unix.IFA_FLAGS && k.data[0] == unix.AF_INET6:
			b.u32(t, getU32(v)|unix.IFA_F_NODAD)
		case k.typ == unix.RTM_NEWROUTE && (t == unix.RTA_CACHEINFO || t == unix.RTA_PREF):
			// The one can not be set; the other is what it is by default.
		case k.typ == unix.RTM_NEWNEIGH && (t == unix.NDA_CACHEINFO || t == unix.NDA_PROBES):
		default:
			b.bytes(t, v)
		}
	}
	if k.typ == unix.RTM_NEWROUTE {
		// Several routes may lead to one destination.
		r.Flags = unix.NLM_F_CREATE | unix.NLM_F_APPEND
		binary.NativeEndian.PutUint32(b[8:], getU32(b[8:])&unix.RTNH_F_ONLINK)
	}
	r.Data = b
	return r
}

// String returns what the ip command takes for it.
func (k Kept) String() string {
	switch k.typ {
	case unix.RTM_NEWADDR:
		a, _ := ParseAddr(k.data)
		return "addr add " + a.Prefix.String()
	case unix.RTM_NEWNEIGH:
		n, _ := ParseNeigh(k.data)
		return fmt.Sprintf("neigh add %v lladdr %v nud permanent", n.IP, n.MAC)
	}
	r, _ := ParseRoute(k.data)
	if r.Via != (netip.Addr{}) {
		return fmt.Sprintf("route add %v via %v", r.Dst, r.Via)
	}
	return fmt.Sprintf("route add %v", r.Dst)
}
