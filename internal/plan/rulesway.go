package plan

import (
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// openWays has the kernel find the next hops of a sandbox's routes of IPv4 where a rule
// denies the way to them. When a route is made it looks its next hop up by the rules
// (fib_check_nh), so that a route which stands behind such a rule could be neither changed
// nor put back. While it is done a rule before all others leads to each such next hop, for
// what the sandbox itself sends there.
func (b *builder) openWays(w *Sandbox) {
	k := b.known[w.Key]
	if w.Ends || b.have[w.Key] == nil {
		return
	}
	var denies []rtnl.Rule
	for _, r := range slices.Concat(k.Rules, k.OtherRules) {
		if r.Family == linux.AF_INET && (r.Action == linux.FR_ACT_PROHIBIT || r.Action == linux.FR_ACT_UNREACHABLE || r.Action == linux.FR_ACT_BLACKHOLE) {
			denies = append(denies, r)
		}
	}
	if len(denies) == 0 {
		return
	}
	var open, shut []Op
	for _, via := range b.nextHopsOf(w.Key) {
		if !slices.ContainsFunc(denies, func(r rtnl.Rule) bool { return denied(r, via) }) {
			continue
		}
		r := rtnl.Rule{Family: linux.AF_INET, To: netip.PrefixFrom(via, via.BitLen()), In: "lo", Action: linux.FR_ACT_TO_TBL, Table: linux.RT_TABLE_MAIN, Proto: rtnl.Protocol}
		there, gone := Op{NS: w.Key, Do: NewRule{r}}, Op{NS: w.Key, Do: DelRule{r}}
		open = append(open, Op{NS: w.Key, Do: there.Do, Undo: []Op{gone}})
		// Of the messages of one send the kernel may refuse the first and do this one.
		shut = append(shut, Op{NS: w.Key, Do: gone.Do, Undo: []Op{there, gone}})
	}
	b.aside = append(open, b.aside...)
	b.check = append(b.check, shut...)
}

// denied reports whether the kernel may apply a rule when it looks a next hop up: that has
// neither a source nor a mark, a protocol or a port, and comes from the sandbox itself.
func denied(r rtnl.Rule, via netip.Addr) bool {
	return r.Not || (!r.To.IsValid() || r.To.Contains(via)) && (r.In == "" || r.In == "lo") &&
		r.From.Bits() <= 0 && r.Mark == 0 && r.IPProto == 0 && r.SPort == rtnl.Ports{} && r.DPort == rtnl.Ports{}
}

// nextHopsOf returns the next hops of IPv4 that the plan names in a sandbox, on the way
// there or back, each once.
func (b *builder) nextHopsOf(key string) (list []netip.Addr) {
	noted := map[netip.Addr]bool{}
	note := func(via netip.Addr) {
		if via.Is4() && !noted[via] {
			noted[via] = true
			list = append(list, via)
		}
	}
	route := func(r rtnl.Route) {
		note(r.Via)
		for _, h := range r.Hops {
			note(h.Via)
		}
	}
	look := func(op Op) {
		if op.NS != key {
			return
		}
		switch a := op.Do.(type) {
		case NewRoute:
			route(a.Route)
		case ReplaceRoute:
			route(a.Route)
		case PutBack:
			if r, is := a.Kept.Route(); is {
				route(r)
			}
		case NewNexthop:
			note(a.Nexthop.Via)
		case ReplaceNexthop:
			note(a.Nexthop.Via)
		}
	}
	for _, ops := range append(b.lists(), b.remove) {
		for _, op := range ops {
			look(op)
			for _, u := range op.Undo {
				look(u)
			}
		}
	}
	return list
}
