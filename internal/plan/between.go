package plan

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// A link of the host that stands in one sandbox, and that another one is to have, goes
// from the one to the other in one step, and not by way of the host: there its name may be
// taken, and other programs would find it. Its tag, and the record of what it had at home,
// go with it.
//
// For the rest of the plan the sandbox that it leaves never had it: what used it there goes
// first, in steps with inverses of their own, and what the kernel takes with it comes back
// with it.

// Inside says in which sandbox a link of the host stands that is to move into another one.
type Inside struct {
	Key  string
	Link rtnl.Link // as it is there; that of the HostLink has its name on the host
	// Settings are those that it would not have by itself, with %s for its name.
	Settings []Setting
	// Features are its own where it is to have offloads, or may have been; else nil.
	Features *rtnl.Features
}

// Move is the part of a record that takes such a move back: each of the two sandboxes has
// one of it, and without the other it is worth nothing, since who could write it has rights
// in his own sandbox only.
type Move struct {
	Key         string // of the other sandbox
	Here, There int    // the indexes of the link in this one, and in the other
	Back        bool   // it comes back here; else it leaves for there
}

// Set returns what takes the move back, for a link that is in the sandbox that it leaves.
// The name is one that nothing else has: what has its own may have to go first.
func (m Move) Set() SetLink {
	if !m.Back {
		m.Here, m.There = m.There, m.Here
	}
	return SetLink{Link: rtnl.LinkSet{Index: m.There, NewIndex: m.Here, Name: asideName(m.Here)}}
}

// Agrees reports whether o is the other sandbox's part of m.
func (m Move) Agrees(o Move) bool {
	return m.Here == o.There && m.There == o.Here && m.Back != o.Back
}

// Leavers returns the links that leave a sandbox, for another one or since they are in the
// way, by the key of the sandbox and their index there.
func Leavers(want []Sandbox) map[string]map[int]bool {
	away := map[string]map[int]bool{}
	add := func(key string, index int) {
		if away[key] == nil {
			away[key] = map[int]bool{}
		}
		away[key][index] = true
	}
	for i := range want {
		for _, h := range want[i].Yields {
			add(h.In.Key, h.Link.Index)
		}
		for j := range want[i].Ifaces {
			if from := want[i].Ifaces[j].between(); from != nil {
				add(from.In.Key, from.In.Link.Index)
			}
		}
	}
	return away
}

// between returns the link of another sandbox that an interface is to be, nil for none.
func (i *Iface) between() *HostLink {
	if i.From != nil && i.From.In != nil {
		return i.From
	}
	return i.Comes
}

// without returns the state as it is when links have left, and what used them has gone.
func (k *known) without(away map[int]bool) *State {
	s := *k.State
	hit := k.nexthopsOn(away)
	goes := func(r rtnl.Route) bool { return k.leadsBy(r, away) || hit[r.Nexthop] }
	s.Links = slices.DeleteFunc(slices.Clone(s.Links), func(l rtnl.Link) bool { return away[l.Index] })
	s.Addrs = slices.DeleteFunc(slices.Clone(s.Addrs), func(a rtnl.Addr) bool { return away[a.Index] })
	s.Routes = slices.DeleteFunc(slices.Clone(s.Routes), goes)
	s.Others = slices.DeleteFunc(slices.Clone(s.Others), goes)
	s.Neighs = slices.DeleteFunc(slices.Clone(s.Neighs), func(n rtnl.Neigh) bool { return away[n.Index] })
	s.Qdiscs = slices.DeleteFunc(slices.Clone(s.Qdiscs), func(q rtnl.Qdisc) bool { return away[q.Index] })
	s.Nexthops = slices.DeleteFunc(slices.Clone(s.Nexthops), func(n rtnl.Nexthop) bool { return hit[n.ID] })
	others := s.OtherNexthops
	s.OtherNexthops = nil
	for _, n := range others { // of a group of others the kernel takes what has gone
		left := slices.DeleteFunc(slices.Clone(n.Group), func(m rtnl.Member) bool { return hit[m.ID] })
		if !away[n.Index] && (len(n.Group) == 0 || len(left) > 0) {
			n.Group = left
			s.OtherNexthops = append(s.OtherNexthops, n)
		}
	}
	return &s
}

// leadsBy reports whether a route leads by one of some links, or has an address of theirs
// as its source.
func (k *known) leadsBy(r rtnl.Route, links map[int]bool) bool {
	return r.Touches(links) || r.Src.IsValid() && slices.ContainsFunc(k.Addrs, func(a rtnl.Addr) bool { return links[a.Index] && a.Prefix.Addr() == r.Src })
}

// nexthopsOn finds the next hops that do not stay as they are when links leave: those on
// them, osl's groups with one of these, and those groups of others that end with all.
func (k *known) nexthopsOn(away map[int]bool) map[uint32]bool {
	hit := map[uint32]bool{}
	for _, n := range singlesFirst(slices.Concat(k.Nexthops, k.OtherNexthops), membersOf) {
		in := func(m rtnl.Member) bool { return hit[m.ID] }
		if len(n.Group) == 0 {
			hit[n.ID] = away[n.Index]
		} else if n.Proto == rtnl.Protocol {
			hit[n.ID] = slices.ContainsFunc(n.Group, in)
		} else {
			hit[n.ID] = !slices.ContainsFunc(n.Group, func(m rtnl.Member) bool { return !in(m) })
		}
	}
	delete(hit, 0) // of routes that lead by none
	return hit
}

// Atop returns a link that is made on another one of the sandbox, and goes with it, nil where
// none is.
func (s *State) Atop(index int) *rtnl.Link {
	for i := range s.Links {
		if l := &s.Links[i]; l.Parent == index && (isStacked(l) || l.Kind == "vxlan" && !l.ParentNS) {
			return l
		}
	}
	return nil
}

// vacate plans to take away what uses the links that leave a sandbox.
func (b *builder) vacate(key string, k *known) {
	away := b.away[key]
	step := func(op Op) { // one that is refused goes with the link, which leaves in the same send
		op.Half = true
		b.vacates = append(b.vacates, op)
	}
	add := func(dev string, do, undo Action) {
		step(Op{NS: key, Dev: dev, Do: do, Undo: []Op{{NS: key, Dev: dev, Do: undo}}})
	}
	hit := k.nexthopsOn(away)
	if len(hit) > 0 {
		step(Op{NS: key, Dev: "lo", Do: ReadLink{loopback}, Quiet: true, Undo: k.nexthopsBack(key)})
	}
	for _, r := range k.Routes {
		if hit[r.Nexthop] || k.leadsBy(r, away) && !r.Within(away) {
			add(k.nameOf(r.Index), DelRoute{b.known[key].withNames([]rtnl.Route{r})[0]}, restore(r))
		}
	}
	for _, n := range slices.Backward(singlesFirst(k.Nexthops, membersOf)) {
		if hit[n.ID] {
			add(n.Dev, DelNexthop{n}, ReplaceNexthop{n})
		}
	}
	for i := range k.Links {
		l := &k.Links[i]
		if !away[l.Index] {
			continue
		}
		t := k.tags[l.Index]
		for _, op := range forgets(key, l, k.part(l)) {
			step(op)
		}
		if q, own := k.QdiscOf(l); own {
			step(unimpaired(key, l, *q))
		}
		for _, name := range t.Gave(l) {
			add(l.Name, DelAltName{l.Index, []string{name}}, NewAltName{l.Index, []string{name}})
		}
	}
}

// carriedTag returns the tag of a link that comes from another sandbox: what it had on the
// host, and not what it had there. set gets what it is given back of that, but for what is
// wanted of it.
func (w *Iface) carriedTag(set *rtnl.Options) Tag {
	l := &w.From.In.Link
	tag, _ := ParseTag(l.Alias)
	was := tag.Was
	_, tag.Was = linkLacks(w.Options, &l.Options)
	for at := range rtnl.LinkOptions {
		v, noted := was.Get(at)
		if _, wanted := w.Options.Get(at); noted && (wanted || at == rtnl.LinkAddrGenMode) { // the kernel forgets that one
			tag.Was.Set(at, v)
		} else if noted {
			for _, x := range Sizes { // that for IPv4 goes with the one for all
				if all, wanted := w.Options.Get(x.All); wanted && at == x.IPv4 {
					tag.Was.Set(at, v)
					v = ImpliedSize(all)
				}
			}
			set.Set(at, v)
		}
	}
	tag.Names, tag.Network, tag.Port = nil, "", false
	return tag
}

// moveBetween plans the move of a link from one sandbox into another.
func (b *builder) moveBetween(key string, w *Iface, tag Tag, index int, options rtnl.Options) {
	h := w.between().In
	l := b.full[h.Key].ByIndex(h.Link.Index)
	alias := tag.String()
	set := rtnl.LinkSet{Index: l.Index, NewIndex: index, Name: w.Name, MAC: w.MAC, MTU: w.MTU, TxQLen: w.TxQLen, Alias: &alias}
	if w.Comes != nil && bytes.Equal(set.MAC, l.MAC) {
		set.MAC = nil
	}
	if w.From != nil {
		if set.MAC == nil && tag.MAC != nil && !bytes.Equal(tag.MAC, l.MAC) {
			set.MAC = tag.MAC
		}
		if set.MTU == 0 && tag.MTU != l.MTU {
			set.MTU = tag.MTU
		}
		if set.TxQLen == nil && tag.TxQLen != l.TxQLen {
			set.TxQLen = &tag.TxQLen
		}
	}
	if b.leavesLater(key, w.Name) {
		set.Name = fmt.Sprintf("osl~m%x", len(b.moves))
		b.named = append(b.named, Op{NS: key, Dev: set.Name, Do: SetLink{Link: rtnl.LinkSet{Index: index, Name: w.Name}}})
	}
	// What it had there it gets back when all links are where they were, and have gone from
	// where they went: one may have its name.
	b.vacates = append(b.vacates, Op{NS: h.Key, Dev: l.Name, Do: ReadLink{l.Index}, Quiet: true, Half: true, Undo: b.returned(key, w, set, options)})
	b.moves = append(b.moves, Op{NS: h.Key, Dev: l.Name, Half: true, Do: SetLink{To: &key, Link: set, Tagged: w.Comes != nil && b.full[h.Key].tags[l.Index].Source != tag.Source},
		Undo: []Op{{NS: key, Dev: w.device(), Do: SetLink{To: &h.Key, Link: Move{Here: l.Index, There: index, Back: true}.Set().Link}}}})
}

// leavesLater reports whether a link with a name is to leave a sandbox, and its move is not
// planned yet.
func (b *builder) leavesLater(key, name string) bool {
	if b.full[key] == nil {
		return false
	}
	l := b.full[key].Link(name)
	return l != nil && b.away[key][l.Index] && !slices.ContainsFunc(b.moves, func(op Op) bool {
		return op.NS == key && op.Do.(SetLink).Link.Index == l.Index
	})
}

// returned returns what puts a link in order that has come back into the sandbox that it
// was in: all that the move took, and what it was given for the other one.
func (b *builder) returned(key string, w *Iface, set rtnl.LinkSet, options rtnl.Options) (ops []Op) {
	h := w.between().In
	k := b.full[h.Key]
	l := k.ByIndex(h.Link.Index)
	add := func(do Action) { ops = append(ops, Op{NS: h.Key, Dev: l.Name, Do: do}) }
	link := func(s rtnl.LinkSet) {
		s.Index = l.Index
		add(SetLink{Link: s})
	}
	if l.Up() && !RenamesUp { // it has not left, perhaps: that kernel refuses also the name that it has
		ops = append(ops, lowered(h.Key, l.Name, l))
	}
	link(rtnl.LinkSet{Name: l.Name})
	link(rtnl.LinkSet{Alias: &l.Alias})
	if set.MAC != nil {
		link(rtnl.LinkSet{MAC: l.MAC})
	}
	if set.MTU != 0 {
		link(rtnl.LinkSet{MTU: l.MTU})
	}
	if set.TxQLen != nil {
		link(rtnl.LinkSet{TxQLen: &l.TxQLen})
	}
	_, had := linkLacks(options, &l.Options)
	had.Drop(rtnl.LinkAddrGenMode) // a setting of its IPv6, which is new
	if !had.Empty() {
		link(rtnl.LinkSet{Options: had})
	}
	if w.Comes != nil {
		if to, from := w.reshaped(l, w.HostParent.Index); !to.same(from) {
			add(from)
		}
	}
	for _, n := range b.tunnels[end{key, w.Name}] {
		n.Index = l.Index
		add(DelNeigh{n})
	}
	return append(ops, k.standing(h.Key, l, w.between(), w.Offloads)...)
}

// standing returns what gives such a link its place, its settings, its offloads, of which some
// were asked for elsewhere, and what is on it.
func (k *known) standing(key string, l *rtnl.Link, from *HostLink, offloads map[string]bool) (ops []Op) {
	add := func(do Action) { ops = append(ops, Op{NS: key, Dev: l.Name, Do: do}) }
	if l.Master != 0 {
		add(SetLink{Link: rtnl.LinkSet{Index: l.Index, Master: &l.Master}})
		ops = append(ops, portBack(key, l, k.part(l))...)
		ops = append(ops, bondMAC(key, k.ByIndex(l.Master))...)
	}
	if have := from.In.Features; have != nil {
		if set := unusual(have, l.Kind, offloads); len(set) > 0 {
			add(Offloads{l.Index, set, true})
		}
	}
	late := func(s Setting) bool { return strings.HasSuffix(s.Path, "/mtu") } // the kernel sets it when the link goes up
	for _, s := range from.In.Settings {
		if !late(s) {
			add(Sysctl{Setting: s, Index: l.Index})
		}
	}
	return append(ops, k.contentsBack(from, late)...)
}

// contentsBack returns what puts back what is on such a link.
func (k *known) contentsBack(from *HostLink, late func(Setting) bool) (ops []Op) {
	h := from.In
	l, is := k.ByIndex(h.Link.Index), map[int]bool{h.Link.Index: true}
	add := func(do Action) { ops = append(ops, Op{NS: h.Key, Dev: l.Name, Do: do}) }
	six := func(x rtnl.Kept) bool { a, addr := x.Addr(); return addr && a.Prefix.Addr().Is6() }
	for _, x := range from.Kept {
		if x.IsAddr() && !six(x) {
			add(PutBack{x})
		}
	}
	if up := true; l.Up() {
		add(SetLink{Link: rtnl.LinkSet{Index: l.Index, Up: &up}})
	}
	for _, x := range from.Kept {
		if six(x) { // with the routes that the kernel makes for those on a link that is up
			add(PutBack{x})
		}
	}
	for _, s := range h.Settings {
		if late(s) {
			add(Sysctl{Setting: s, Index: l.Index})
		}
	}
	for _, x := range from.Kept {
		if r, route := x.Route(); !x.IsAddr() && !(route && r.Proto == rtnl.Protocol && !r.Within(is)) { // vacate has those
			add(PutBack{x})
		}
	}
	for _, a := range k.addrs[l.Index] {
		ops = append(ops, k.backFrom(h.Key, a, func(r rtnl.Route) bool { return r.Proto != rtnl.Protocol && !r.Touches(is) })...)
	}
	return ops
}

// outlasts reports whether the undo record of a leader that the change makes has to be
// there until the change has happened: without it a link that came from another sandbox
// would not go back there.
func (j *journal) outlasts(leader string) bool {
	return j.made[leader] && slices.ContainsFunc(j.steps[Undo][leader], func(s Step) bool { return s.Move != nil })
}
