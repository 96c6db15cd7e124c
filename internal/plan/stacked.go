package plan

import (
	"fmt"
	"iter"
	"slices"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// A link that is made on another one has no larger an MTU than that: the kernel refuses
// it, and takes it down with its parent's, but not up again. An ipvlan has its parent's.

// isStacked reports whether a link is on another one of its namespace.
func isStacked(l *rtnl.Link) bool {
	return KindOf(l.Kind).ownParent && l.Parent != 0 && !l.ParentNS
}

// limited reports whether a link can have no larger an MTU than one that it is on.
func limited(l *rtnl.Link) bool {
	kind := KindOf(l.Kind)
	return l.Parent != 0 && (kind.ownParent || kind.headers > 0)
}

// below yields a link, and those that it is on, each before the one below it.
func (k *known) below(l *rtnl.Link) iter.Seq[*rtnl.Link] {
	return func(yield func(*rtnl.Link) bool) {
		for l != nil && yield(l) && isStacked(l) {
			l = k.ByIndex(l.Parent)
		}
	}
}

// topFirst returns those of some links that are there, each before the one that it is on:
// a link takes along what is on it, and a command that deletes that would fail then.
func (k *known) topFirst(some map[int]bool) (list []*rtnl.Link) {
	depth := map[int]int{}
	for i := range k.Links {
		l := &k.Links[i]
		if !some[l.Index] {
			continue
		}
		list = append(list, l)
		for on := l; on != nil && on.Parent != 0 && !on.ParentNS && !KindOf(on.Kind).Pair; on = k.ByIndex(on.Parent) {
			depth[l.Index]++
		}
	}
	slices.SortStableFunc(list, func(x, y *rtnl.Link) int { return depth[y.Index] - depth[x.Index] })
	return list
}

// overParent says what is wrong with an MTU that is wanted of a link on another one.
func (b *builder) overParent(w *Sandbox, f *Iface, k *known) string {
	if f.MTU == 0 || !KindOf(f.Kind).ownParent {
		return ""
	}
	name, mtu := f.Parent, 0
	if f.HostParent != nil {
		name, mtu = f.HostParent.Name, b.mtuOf(HostNS, f.HostParent)
	} else if below := b.wanted[b.index[end{w.Key, f.Parent}]]; below != nil {
		mtu = below.lowestMTU(k, b.is[end{w.Key, f.Parent}].link)
		if below.Kind == "bridge" && below.MTU == 0 {
			return "" // by its ports
		}
	} else if l := k.Link(f.Parent); l != nil {
		mtu = l.MTU
	}
	if mtu == 0 || f.MTU <= mtu {
		return ""
	}
	return fmt.Sprintf("the MTU %d is over that of its parent %q, %d", f.MTU, name, mtu)
}

// onHost gives what is on links of the host that this change makes, or keeps there, those
// links. It returns the sandboxes in the order in which they are planned: the host before
// what is on it, since a link goes up when what it is on is up.
func (b *builder) onHost(want []Sandbox) []*Sandbox {
	order, on := make([]*Sandbox, 0, len(want)), false
	for i := range want {
		order = append(order, &want[i])
		for j := 0; want[i].Key == HostNS && j < len(want[i].Ifaces); j++ {
			b.onMachine[want[i].Ifaces[j].Name] = &want[i].Ifaces[j]
		}
	}
	for _, w := range order {
		for j := range w.Ifaces {
			f := &w.Ifaces[j]
			if f.HostParent == nil {
				continue
			}
			at := end{HostNS, f.HostParent.Name}
			x, wanted := b.is[at]
			if !wanted {
				continue
			}
			l := rtnl.Link{Index: b.index[at], MTU: defaultMTU}
			if x.link != nil {
				l = *x.link
			} else if mtu := b.onMachine[at.name].MTU; mtu != 0 {
				l.MTU = mtu
			}
			l.Name = at.name
			f.HostParent, on = &l, true
		}
	}
	if on {
		slices.SortStableFunc(order, func(x, y *Sandbox) int { return b2i(y.Key == HostNS) - b2i(x.Key == HostNS) })
	}
	return order
}

// mtuOf returns the MTU that a link which is there has, or is to have.
func (b *builder) mtuOf(key string, l *rtnl.Link) int {
	if mtu := b.resized[place{key, l.Index}]; mtu != 0 {
		return mtu
	}
	return l.MTU
}

// holdSizes plans to give links that are there the MTU back that they lose with that of
// their parent, when that has it again, and what went with it: so it comes before all
// else. A bridge has the MTU of its ports.
func (b *builder) holdSizes(w *Sandbox, k *known, changes bool) {
	var ops []Op
	depth := map[int]int{}
	for i := range k.Links {
		l, resized := &k.Links[i], false
		for p := l; p != nil && depth[l.Index] <= len(k.Links); p = k.ByIndex(p.Parent) { // tunnels may be on each other
			resized = resized || b.resized[place{w.Key, p.Index}] != 0 || p.Kind == "bridge" && changes
			if !limited(p) {
				break
			}
			depth[l.Index]++
			if p.ParentNS {
				resized = resized || b.resized[place{HostNS, p.Parent}] != 0
				break
			}
		}
		starves := resized && b.starved(w, k, l)
		if resized && depth[l.Index] > 0 || starves {
			hold := Op{NS: w.Key, Dev: l.Name, Do: SetLink{Link: rtnl.LinkSet{Index: l.Index, MTU: l.MTU}}, Quiet: true}
			hold.Undo = []Op{hold}
			if starves {
				hold.Undo = append(hold.Undo, IPv6Back(w.Key, l, k.part(l))...)
			}
			ops = append(ops, hold)
		}
	}
	// What is undone last is the first, and a link comes back after its parent.
	index := func(op Op) int { return op.Do.(SetLink).Link.Index }
	slices.SortStableFunc(ops, func(x, y Op) int { return depth[index(y)] - depth[index(x)] })
	b.aside = append(ops, b.aside...)
}

// A vlan goes down and up with the link that it is on, and loses by that what any link
// loses that goes down.

// followers returns what goes down and up with a link, each after the one that it is on.
func (k *known) followers(l *rtnl.Link) (list []*rtnl.Link) {
	if len(k.stacked) == 0 {
		return nil
	}
	for _, v := range k.stacked[l.Index] {
		if KindOf(v.Kind).follows {
			list = append(append(list, v), k.followers(v)...)
		}
	}
	return list
}

// lower plans to set a link down, and before it what follows it: on the way back each is
// set up after the one that it is on, and then gets back what it had.
func (b *builder) lower(key string, k *known, l *rtnl.Link) (ops []Op) {
	self, down := SetDown(key, l, k.part(l)), false
	for _, v := range k.followers(l) {
		if v.Up() {
			op := SetDown(key, v, k.part(v))
			op.Quiet = true // it goes by itself
			ops = append(ops, op)
		} else { // the kernel sets it up
			self.Undo = append(self.Undo, Op{NS: key, Dev: v.Name, Do: SetLink{Link: rtnl.LinkSet{Index: v.Index, Up: &down}}})
		}
	}
	slices.Reverse(ops)
	return append(ops, self)
}

// cycle notes that a link is set down and up again, and what follows it.
func (b *builder) cycle(k *known, l *rtnl.Link) {
	b.cycled[l.Index] = true
	for _, v := range k.followers(l) {
		b.cycled[v.Index] = b.cycled[v.Index] || v.Up()
	}
}

// kept plans to give a link back what it lost when it was set down, and keeps. One that
// stays down has no routes.
func (b *builder) kept(key string, k *known, l *rtnl.Link, stays bool) []Op {
	s := k.part(l)
	s.Others = nil
	ops := b.lit(k, slices.DeleteFunc(addrsOf(key, l, s), func(op Op) bool {
		if a, is := op.Do.(NewAddr); is {
			return b.drops(a.Addr)
		}
		return stays
	}))
	for i := range ops {
		if a, is := ops[i].Do.(NewAddr); is && stays { // it comes again when the link is up: see reroute
			ops[i].Undo = []Op{{NS: key, Dev: ops[i].Dev, Do: DelAddr(a)}}
		}
	}
	return ops
}

// atRest plans to give a link that was down, and is so again, what it had all the same:
// addresses and neighbours.
func (b *builder) atRest(key string, k *known, l *rtnl.Link) []Op {
	return b.lit(k, slices.DeleteFunc(addrsOf(key, l, k.part(l)), func(op Op) bool { return turn(op.Do) != atOnce }))
}

// raised plans what a link that has come up does to those that follow it: they come up
// too, and have lost what goes with that.
func (b *builder) raised(key string, k *known, l *rtnl.Link) {
	b.rises[l.Index] = true
	down := false
	for _, v := range k.followers(l) {
		switch f := b.wanted[v.Index]; {
		case b.gone[v.Index]:
		case v.Up() && b.cycled[v.Index]:
			b.config = append(b.config, b.kept(key, k, v, false)...)
		case !v.Up() && (f == nil || f.Down):
			b.config = append(b.config, Op{NS: key, Dev: v.Name, Do: SetLink{Link: rtnl.LinkSet{Index: v.Index, Up: &down}}})
			b.config = append(b.config, b.kept(key, k, v, true)...)
		}
	}
}

// UsualARP is whether a link is made with ARP: a vlan as its parent is.
func UsualARP(l *rtnl.Link, byIndex func(int) *rtnl.Link) (on uint32, known bool) {
	for l.Kind == "vlan" {
		parent := byIndex(l.Parent)
		if parent == nil || l.ParentNS {
			return 0, false
		}
		l = parent
	}
	return KindOf(l.Kind).UsualLink().of(rtnl.LinkARP)
}

// arpAsNew returns an interface that is made, and what it is to be: a vlan on a link that stands
// would have that one's ARP off, or on, as somebody set it.
func (b *builder) arpAsNew(w *Sandbox, f *Iface) *Iface {
	if _, said := f.Options.Get(rtnl.LinkARP); said || f.Kind != "vlan" || f.HostParent != nil {
		return f
	}
	parent := b.parent(w, f)
	if parent == nil {
		return f
	}
	usual, known := b.known[w.Key].usualOption(parent, rtnl.LinkARP)
	if !known || parent.Options.Is(rtnl.LinkARP, usual) {
		return f
	}
	same := *f
	same.Options.Set(rtnl.LinkARP, usual)
	return &same
}
