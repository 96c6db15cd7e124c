//go:build linux

package plan

import (
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// Shed plans to take addresses from a link that stays, and nothing with them.
// With the first address of an IPv4 subnet the kernel takes the others, unless
// the link is told to promote them: so it is, for as long as that takes. addrs
// are all addresses of the link in the kernel's order; comes are those that it
// is given before, and promote is what the setting is to be afterwards.
func Shed(key, dev string, l *rtnl.Link, addrs []rtnl.Addr, gone func(rtnl.Addr) bool, comes []netip.Prefix, promote uint32) []Op {
	subnets := map[netip.Prefix]*subnet{}
	for _, p := range comes {
		if p.Addr().Is4() {
			subnets[p.Masked()] = &subnet{stays: true}
		}
	}
	for _, a := range addrs {
		if !a.Prefix.Addr().Is4() {
			continue
		}
		n := subnets[a.Prefix.Masked()]
		if n == nil {
			n = &subnet{}
			subnets[a.Prefix.Masked()] = n
		}
		n.see(a, gone(a))
	}
	var ops []Op
	needed := false
	// The last is the first to go: so none takes another one along that goes too,
	// and an undo makes them in their order.
	for _, a := range slices.Backward(addrs) {
		if !gone(a) {
			continue
		}
		op := Op{NS: key, Dev: dev, Do: DelAddr{a}, Undo: []Op{putBack(key, dev, a)}}
		if n := subnets[a.Prefix.Masked()]; n != nil {
			needed = needed || n.first && n.stays
			// Those that stay go behind again: which is first chooses the source
			// of what is sent.
			for _, o := range n.turn {
				op.Undo = append(op.Undo, Op{NS: key, Dev: dev, Do: DelAddr{o}}, putBack(key, dev, o))
			}
			n.turn = nil
		}
		ops = append(ops, op)
	}
	if !needed || l.Inet.Promote != 0 && promote != 0 {
		return ops
	}
	set := func(value uint32) Op {
		return Op{NS: key, Dev: dev, Do: SetLink{Link: rtnl.LinkSet{Index: l.Index, Promote: &value}}}
	}
	on, off := set(1), set(promote)
	on.Undo, off.Undo = []Op{set(l.Inet.Promote)}, []Op{set(1)}
	return append(append([]Op{on}, ops...), off)
}

// subnet is what happens to the IPv4 addresses of one on a link.
type subnet struct {
	first bool        // the one that has the others behind it goes
	stays bool        // one stays, or comes
	turn  []rtnl.Addr // those behind the first that goes, if one of them stays
	gone  bool
	seen  []rtnl.Addr
}

func (n *subnet) see(a rtnl.Addr, gone bool) {
	n.first = n.first || gone && !a.Secondary()
	n.stays = n.stays || !gone
	if n.gone {
		n.seen = append(n.seen, a)
		if !gone {
			n.turn = n.seen
		}
	}
	n.gone = n.gone || gone
}

// putBack adds an address that was there, one of others as the kernel described it.
func putBack(key, dev string, a rtnl.Addr) Op {
	if a.Whole != nil {
		return Op{NS: key, Dev: dev, Do: PutBack{*a.Whole}}
	}
	return Op{NS: key, Dev: dev, Do: NewAddr{a}}
}
