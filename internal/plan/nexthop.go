package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
)

// Nexthop is a next hop that is an object of its own; Dev is a name in the sandbox.
type Nexthop struct {
	rtnl.Nexthop
	Dev string
}

type (
	// NewNexthop, ReplaceNexthop and DelNexthop are about a next hop that is an object.
	NewNexthop     struct{ Nexthop rtnl.Nexthop }
	ReplaceNexthop struct{ Nexthop rtnl.Nexthop }
	DelNexthop     struct{ Nexthop rtnl.Nexthop }
	// AwaitCarrier waits for a moment until a link has a carrier, without which the
	// kernel makes no next hop on it. Many links have it a while after they are up.
	AwaitCarrier struct{ Index int }
)

func (a NewNexthop) Request(FDs) rtnl.Request     { return rtnl.NewNexthop(a.Nexthop) }
func (a ReplaceNexthop) Request(FDs) rtnl.Request { return rtnl.ReplaceNexthop(a.Nexthop) }
func (a DelNexthop) Request(FDs) rtnl.Request     { return rtnl.DelNexthop(a.Nexthop.ID) }

func (a NewNexthop) Command(string) string     { return nexthopCommand("add", a.Nexthop) }
func (a ReplaceNexthop) Command(string) string { return nexthopCommand("replace", a.Nexthop) }
func (a DelNexthop) Command(string) string     { return fmt.Sprintf("nexthop del id %d", a.Nexthop.ID) }
func (a AwaitCarrier) Command(dev string) string {
	return "link show dev " + shell.Quote(dev)
}

func nexthopCommand(verb string, n rtnl.Nexthop) string {
	var b strings.Builder
	if n.Family == linux.AF_INET6 {
		b.WriteString("-6 ")
	}
	fmt.Fprintf(&b, "nexthop %s id %d%s proto %d", verb, n.ID, nexthopText(n), n.Proto)
	return b.String()
}

// nexthopText says where a next hop is, as the ip command does.
func nexthopText(n rtnl.Nexthop) (s string) {
	if n.Blackhole {
		return " blackhole"
	}
	for i, m := range n.Group {
		s += map[bool]string{true: " group ", false: "/"}[i == 0] + fmt.Sprint(m.ID)
		if m.Weight > 1 {
			s += fmt.Sprintf(",%d", m.Weight)
		}
	}
	if r := n.Resilient; r.Buckets != 0 {
		s += fmt.Sprintf(" type resilient buckets %d idle_timer %d unbalanced_timer %d", r.Buckets, r.Idle/100, r.Unbalanced/100)
	}
	if n.Via.IsValid() {
		s += " via " + n.Via.String()
	}
	if n.Dev != "" {
		s += " dev " + shell.Quote(n.Dev)
	}
	if n.OnLink {
		s += " onlink"
	}
	return s
}

// SameNexthop reports whether the next hop h that is there is the wanted w, whoever made
// it. That it is onlink changes nothing of where packets go.
func SameNexthop(h, w rtnl.Nexthop) bool {
	byID := func(list []rtnl.Member) []rtnl.Member {
		return slices.SortedFunc(slices.Values(list), func(x, y rtnl.Member) int { return int(int64(x.ID) - int64(y.ID)) })
	}
	return h.ID == w.ID && h.Family == w.Family && h.Via == w.Via && (h.Index == w.Index || w.Blackhole) && h.Blackhole == w.Blackhole &&
		slices.Equal(byID(h.Group), byID(w.Group)) && h.Resilient == w.Resilient
}

// becomes reports whether the kernel makes w of the next hop h that is there: a group is
// never made of one, nor one of another type or with other buckets, and by one of IPv4 no
// route of IPv6 leads, and by a blackhole no group with others in it.
func becomes(h, w rtnl.Nexthop) bool {
	return len(h.Group) > 0 == (len(w.Group) > 0) && h.Resilient.Buckets == w.Resilient.Buckets && h.Blackhole == w.Blackhole && !(h.Family == linux.AF_INET6 && w.Family == linux.AF_INET)
}

// singlesFirst returns next hops with groups after those that they are groups of.
func singlesFirst[T any](list []T, members func(T) []rtnl.Member) []T {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(x, y T) int { return b2i(len(members(x)) > 0) - b2i(len(members(y)) > 0) })
	return list
}

func membersOf(n rtnl.Nexthop) []rtnl.Member { return n.Group }

// allNexthops plans the next hops that are objects, and the routes that lead by them, when
// all links of the change are as they are to be: the kernel takes a next hop from a link
// that goes down or loses its carrier, as the other end of a pair does by going down, and
// with it these routes.
func (b *builder) allNexthops(want []Sandbox) error {
	var with []*Sandbox // most have none
	for i := range want {
		w := &want[i]
		if k := b.known[w.Key]; len(w.Nexthops)+len(k.Nexthops)+len(k.OtherNexthops) > 0 {
			with = append(with, w)
		}
	}
	if len(with) == 0 {
		return nil
	}
	b.shakes = b.shake()
	for _, w := range with {
		k := b.known[w.Key]
		if w.Ends && b.shakes { // it is there when the others have changed
			b.keepNexthops(w.Key, k)
		} else if w.Ends {
			continue
		} else if err := b.nexthops(w, k); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) nexthops(w *Sandbox, k *known) error {
	b.leaving = b.leavings[w.Key]
	var ops []Op
	add := func(dev string, do Action, quiet bool, undo ...Action) {
		op := Op{NS: w.Key, Dev: dev, Do: do, Quiet: quiet}
		for _, u := range undo {
			op.Undo = append(op.Undo, Op{NS: w.Key, Dev: dev, Do: u})
		}
		ops = append(ops, op)
	}
	renewed, wanted, waits, takes := map[uint32]bool{}, map[uint32]bool{}, map[int]string{}, b.shakes
	// What goes with the carrier of a link, far, goes a while later: it may be there, and be replaced.
	var gone func(h rtnl.Nexthop, far bool) bool
	gone = func(h rtnl.Nexthop, far bool) bool { // with its link, or a group with the last of its members
		if len(h.Group) > 0 {
			return !slices.ContainsFunc(h.Group, func(m rtnl.Member) bool {
				o, is := k.nexthops[m.ID]
				return !renewed[m.ID] && !(is && len(o.Group) == 0 && gone(o, far))
			})
		}
		return b.fell(w.Key, k, h.Index, false) || b.cycled[h.Index] || far && b.farFell(w.Key, k.ByIndex(h.Index))
	}
	for _, x := range singlesFirst(w.Nexthops, func(x Nexthop) []rtnl.Member { return x.Group }) {
		n, err := b.nexthop(w, k, x)
		if err != nil {
			return err
		}
		wanted[n.ID] = true
		if o, is := k.otherNexthops[n.ID]; is {
			if !SameNexthop(o, n) {
				return &Problem{Key: w.Key, Dev: n.Dev, Kind: Exists, Field: "nexthops", Entry: fmt.Sprint(n.ID), Away: &Op{NS: w.Key, Do: DelNexthop{o}},
					Text: fmt.Sprintf("there is another nexthop %d, of others:%s", n.ID, nexthopText(o))}
			}
			continue
		}
		h, is := k.nexthops[n.ID]
		fell := is && gone(h, false) || slices.ContainsFunc(n.Group, func(m rtnl.Member) bool { return renewed[m.ID] })
		count := len(ops)
		switch {
		case !is:
			add(n.Dev, NewNexthop{n}, false, DelNexthop{n})
		case !becomes(h, n):
			takes = true
			add(h.Dev, DelNexthop{h}, gone(h, false), ReplaceNexthop{h})
			add(n.Dev, NewNexthop{n}, false, DelNexthop{n})
			renewed[n.ID] = true
		case fell || !SameNexthop(h, n):
			add(n.Dev, ReplaceNexthop{n}, false, ReplaceNexthop{h})
			renewed[n.ID] = fell
			takes = takes || h.Index != n.Index // on the way back its new link may be deleted
		case b.shakes:
			add(n.Dev, ReplaceNexthop{n}, true, ReplaceNexthop{h})
		}
		if len(ops) > count && n.Index != 0 {
			waits[n.Index] = n.Dev
		}
	}
	for _, index := range slices.Sorted(maps.Keys(waits)) {
		b.hops = append(b.hops, Op{NS: w.Key, Dev: waits[index], Do: AwaitCarrier{index}, Quiet: true})
	}
	b.hops = append(b.hops, ops...)
	for _, r := range b.byNexthop {
		if err := b.putRoute(w, r.Dev, r.Route, k, &b.hops, renewed[r.Nexthop]); err != nil {
			return err
		}
	}
	ops = nil
	if w.Prune {
		for _, h := range slices.Backward(singlesFirst(k.Nexthops, membersOf)) {
			if !wanted[h.ID] {
				takes = true
				add(h.Dev, DelNexthop{h}, gone(h, true), ReplaceNexthop{h})
			}
		}
	}
	b.hops = append(b.hops, ops...)
	if takes {
		b.keepNexthops(w.Key, k)
	}
	return nil
}

// farFell reports whether a link loses its carrier, since its other end is set down in another
// sandbox.
func (b *builder) farFell(key string, l *rtnl.Link) bool {
	if l == nil || !l.ParentNS || !KindOf(l.Kind).Pair {
		return false
	}
	for other, v := range b.leavings {
		if o := b.known[other].ByIndex(l.Parent); other != key && v.fallen[l.Parent] && o != nil && b.pairOf(other, o) == b.pairOf(key, l) {
			return true
		}
	}
	return false
}

// keepNexthops has a change that fails put all next hops of a sandbox back.
func (b *builder) keepNexthops(key string, k *known) {
	if full := b.full[key]; full != nil && len(full.nexthopsOn(b.away[key])) > 0 {
		return // vacate has planned that
	}
	if back := k.nexthopsBack(key); len(back) > 0 {
		b.aside = append([]Op{{NS: key, Dev: "lo", Do: ReadLink{loopback}, Quiet: true, Half: true, Undo: back}}, b.aside...)
	}
}

// knowNexthops looks at the next hops that are objects, and gives them the names of their
// devices, for who reads.
func (k *known) knowNexthops() {
	for _, x := range []struct {
		list *[]rtnl.Nexthop
		byID map[uint32]rtnl.Nexthop
	}{{&k.Nexthops, k.nexthops}, {&k.OtherNexthops, k.otherNexthops}} {
		*x.list = slices.Clone(*x.list)
		for i := range *x.list {
			n := &(*x.list)[i]
			n.Dev = k.nameOf(n.Index)
			x.byID[n.ID] = *n
		}
	}
}

// nexthop gives a wanted next hop its device, and looks whether it can be.
func (b *builder) nexthop(w *Sandbox, k *known, x Nexthop) (n rtnl.Nexthop, err error) {
	n = x.Nexthop
	n.Proto, n.Dev = rtnl.Protocol, x.Dev
	within := "group"
	problem := func(kind ProblemKind, format string, args ...any) error {
		return &Problem{Key: w.Key, Dev: x.Dev, Kind: kind, Field: "nexthops", Entry: fmt.Sprint(n.ID), Within: within, Text: fmt.Sprintf(format, args...)}
	}
	for _, m := range n.Group {
		if !b.hasNexthop(w, k, m.ID) {
			return n, problem(NotFound, "the nexthop %d, of the group %d, is not in the sandbox", m.ID, n.ID)
		}
	}
	if x.Dev == "" {
		return n, nil
	}
	within = "dev"
	if n.Index = b.index[end{w.Key, x.Dev}]; n.Index == 0 {
		return n, problem(NotFound, "the device of the nexthop %d is not in the sandbox%s", n.ID, near.Hint(x.Dev, k.named(w)))
	}
	if f := b.wanted[n.Index]; f != nil && f.Down {
		return n, problem(Invalid, "the nexthop %d is on %q, which is to be down", n.ID, f.Name)
	}
	if m := b.lonely(w.Key, k, n.Index); m != nil {
		return n, problem(Invalid, "the last port of %q goes, and with its carrier the nexthop %d on %q: let it have a port, or take the nexthop away", m.Name, n.ID, x.Dev)
	}
	return n, nil
}

// hasNexthop reports whether a sandbox has a next hop with an ID when all is as wanted.
func (b *builder) hasNexthop(w *Sandbox, k *known, id uint32) bool {
	_, others := k.otherNexthops[id]
	_, osls := k.nexthops[id]
	return others || osls && !w.Prune || slices.ContainsFunc(w.Nexthops, func(x Nexthop) bool { return x.ID == id })
}

// nexthopFell reports whether a next hop goes by a step before a route by it is taken
// away: with all of the links that it is on.
func (b *builder) nexthopFell(key string, k *known, id uint32) bool {
	h := k.nexthops[id]
	if len(h.Group) == 0 {
		return h.Index != 0 && (b.fell(key, k, h.Index, false) || b.cycled[h.Index])
	}
	return !slices.ContainsFunc(h.Group, func(m rtnl.Member) bool { return !b.nexthopFell(key, k, m.ID) })
}

// shake reports whether a step of the plan may take the carrier of a link, in whichever
// sandbox that is.
func (b *builder) shake() bool {
	for _, list := range b.lists() {
		for _, op := range list {
			if s, is := op.Do.(SetLink); is && (s.Link.Up != nil && !*s.Link.Up || s.Link.Master != nil || s.To != nil) {
				return true
			}
		}
	}
	return false
}

// nexthopsBack returns what puts all next hops of a sandbox back that are objects, and
// the routes that lead by them: what goes with one is more than its link tells.
func (s *State) nexthopsBack(key string) (ops []Op) {
	all := singlesFirst(slices.Concat(s.Nexthops, s.OtherNexthops), membersOf)
	waits := map[int]string{}
	for _, n := range all {
		if n.Index > loopback {
			waits[n.Index] = n.Dev
		}
	}
	for _, index := range slices.Sorted(maps.Keys(waits)) {
		ops = append(ops, Op{NS: key, Dev: waits[index], Do: AwaitCarrier{index}, Quiet: true})
	}
	for _, n := range all {
		ops = append(ops, Op{NS: key, Dev: n.Dev, Do: ReplaceNexthop{n}})
	}
	return append(ops, s.back(key, &rtnl.Link{}, slices.Concat(s.Routes, s.Others), func(r rtnl.Route) bool { return r.Nexthop != 0 })...)
}

// NexthopsBack is nexthopsBack where one of the next hops is on a link, else nothing.
func NexthopsBack(key string, l *rtnl.Link, s *State) []Op {
	on := func(n rtnl.Nexthop) bool { return n.Index == l.Index }
	if !slices.ContainsFunc(s.Nexthops, on) && !slices.ContainsFunc(s.OtherNexthops, on) {
		return nil
	}
	return s.nexthopsBack(key)
}
