package plan

import (
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// phases are the operations of a plan in the order in which the kinds of them
// are run. Links exist before anything refers to them; IPv6 is decided before
// a link goes up, so that it never has an address that nobody asked for;
// addresses come before up, so that the kernel announces them; new sandboxes
// lose their mark last.
type phases struct {
	born   int64 // of the next link
	spaces []Op  // sandboxes
	aside  []Op  // what is in the way of a name, and goes
	preset []Op  // settings of a sandbox, which its new links have from the first
	// vacates take away what uses links that leave for another sandbox, moves are of these,
	// and named give them names that others of them had.
	vacates, moves, named []Op
	make                  []Op // links
	wire                  []Op // tags, masters
	read                  []Op // what the next steps have to know
	decide                []Op // IPv6, settings
	over                  []Op // links that need the IPv6 of others, from their making to that
	config                []Op // addresses, up, routes: a batch for each sandbox
	hops                  []Op // next hops that are objects, which need links with a carrier
	tell                  []Op // peers
	neighs                []Op // the kernel drops a link's neighbours when it is announced
	check                 []Op
	final                 []Op
	remove                []Op // what can not be taken back comes when all else is done
	ends                  []Op // and then whole sandboxes
}

// lists are the operations in the order of the plan, but for those that are taken
// away or end.
func (p *phases) lists() [][]Op {
	return [][]Op{p.spaces, p.aside, p.preset, p.vacates, p.moves, p.named, p.make, p.wire, p.read, p.decide, p.over, p.config, p.hops, p.tell, p.neighs, p.check}
}

func (p *phases) all() []Op {
	// A link that stays is given back what it had, which can be undone.
	slices.SortStableFunc(p.remove, func(a, b Op) int { return b2i(a.Last) - b2i(b.Last) })
	last := slices.IndexFunc(p.remove, func(op Op) bool { return op.Last })
	if last < 0 {
		last = len(p.remove)
	}
	return slices.Concat(append(p.lists(), p.remove[:last], p.final, p.remove[last:], p.ends)...)
}

// afterIPv6 has what plan plans done when the IPv6 of other links is on.
func (p *phases) afterIPv6(plan func() error) error {
	was := *p
	err := plan()
	for _, x := range []struct {
		all *[]Op
		n   int
	}{{&p.make, len(was.make)}, {&p.wire, len(was.wire)}, {&p.read, len(was.read)}, {&p.decide, len(was.decide)}} {
		p.over = append(p.over, (*x.all)[x.n:]...)
		*x.all = (*x.all)[:x.n]
	}
	return err
}

// needsIPv6 reports whether a link can be made only when another one of the sandbox has its
// IPv6, which is off as that is made: a vxlan over IPv6, and what is on such a one.
func (b *builder) needsIPv6(w *Sandbox, f *Iface) bool {
	p, at := w.Iface(f.Parent), end{w.Key, f.Parent}
	if f.HostParent != nil {
		p, at = b.onMachine[f.HostParent.Name], end{HostNS, f.HostParent.Name}
	}
	switch {
	case p == nil || f.Kind == "":
		return false
	case b.waits[at]:
		return true
	}
	l := b.is[at].link
	return f.Kind == "vxlan" && (f.Data.Local.Is6() || f.Data.Remote.Is6()) && p.HasIPv6() && (l == nil || l.Inet.DisableIPv6)
}

// newLink plans a link that is made where it belongs, or moved in.
func (b *builder) newLink(key string, w *Iface, index, parent, master int) {
	tag := Tag{Origin: Made, Source: orElse(w.Source, w.Name)}
	options := w.Options
	from := w.From
	if w.Comes != nil {
		from = w.Comes
	} else if w.From != nil && w.From.In != nil {
		tag = w.carriedTag(&options)
	} else if w.From != nil {
		tag = TagOf(&w.From.Link, Host)
		_, tag.Was = linkLacks(w.Options, &w.From.Link.Options)
	}
	if from != nil {
		to, _ := linkLacks(w.Options, &from.Link.Options)
		for _, x := range Sizes {
			if size, changes := to.Get(x.IPv4); changes {
				options.Set(x.IPv4, size)
			}
		}
	}
	if w.Kind == "bridge" {
		tag.MTU = w.MTU
	}
	if tag.Network = w.network(); w.Owner != "" && w.MadeBy != nil {
		tag.Origin = Far
	}
	tag.Born, tag.Pin, tag.Note, tag.Entries, tag.Asked = b.birth(), w.Pin, w.Note, b.entries[end{key, w.Name}], w.asked
	tag.Marks = w.marks()
	dev := w.device()
	before := &rtnl.Link{}
	if from != nil {
		before = &from.Link
	}
	names := b.altNames(&Sandbox{Key: key}, w, index, before, &tag)
	switch {
	case w.between() != nil:
		b.moveBetween(key, w, tag, index, options)
	case w.From != nil:
		b.make = append(b.make, moveIn(key, w, tag, index))
		b.noteHome(key, w, tag, index)
	case w.MadeBy != nil:
	case KindOf(w.Kind).byDevice:
		b.make = append(b.make, Op{NS: key, Dev: dev, Do: NewTun{index, w.Name, w.Kind, w.Data},
			Undo: []Op{{NS: key, Dev: dev, Do: DelLink{index}}}})
	default:
		b.make = append(b.make, makeLink(key, w, index, parent))
	}
	alias := tag.String()
	set := rtnl.LinkSet{Index: index, ARPNotify: !KindOf(w.Kind).NoIP, ARP: arp(w.HideVIPs), Options: options}
	if from == nil {
		set.Alias = &alias
		if KindOf(w.Kind).byDevice || w.MadeBy != nil {
			set.MAC, set.MTU, set.TxQLen = w.MAC, w.MTU, w.TxQLen
		}
		if w.Kind == "bridge" || KindOf(w.Kind).ownParent {
			set.MTU = w.MTU
		}
		if w.MTU == 0 {
			set.MTU = b.mtuOnResized(key, w, index, parent)
		}
	}
	if master != 0 {
		set.Master = &master
	}
	others := b.ofOthers(key)
	tagged := others && (key != HostNS || tag.Network != "") || tag.Entries || tag.Note != ""
	b.wire = append(b.wire, Op{NS: key, Dev: dev, Do: SetLink{Link: set, Master: w.Master, Tagged: tagged},
		Quiet: !tagged && master == 0 && set.ARP == nil && set.MAC == nil && set.MTU == 0 && set.TxQLen == nil && options.Empty()})
	b.wire = append(b.wire, names...)
	if w.Comes != nil {
		b.reshapeMoved(key, w, index)
	}
	b.read = append(b.read, Op{NS: key, Dev: dev, Do: ReadLink{index}, Quiet: true})
	b.decide = append(b.decide, Op{NS: key, Dev: dev, Do: IPv6{Index: index, On: w.HasIPv6()}, Quiet: !w.HasIPv6() && !others})
	for _, s := range w.Sysctls {
		b.decide = append(b.decide, Op{NS: key, Dev: dev, Do: Sysctl{Setting: s, Index: index}})
	}
	if w.Comes != nil && w.Comes.In.Features != nil {
		had, _ := ParseTag(w.Comes.Link.Alias)
		have := w.Comes.In.Features
		b.setOffloads(key, w, index, have, w.droppedOffloads(&had, have, w.Kind), false)
	} else if len(w.Offloads) > 0 {
		b.decide = append(b.decide, Op{NS: key, Dev: dev, Do: Offloads{Index: index, Set: w.Offloads}})
	}
	b.newWireGuard(key, dev, index, w.WireGuard)
	if w.Down && KindOf(w.Kind).follows && b.rises[parent] {
		down := false
		b.config = append(b.config, Op{NS: key, Dev: dev, Do: SetLink{Link: rtnl.LinkSet{Index: index, Up: &down}}})
	}
	for _, a := range w.Addrs {
		b.addr(key, dev, index, a)
	}
	if w.Impair != nil {
		b.config = append(b.config, Op{NS: key, Dev: dev, Do: NewQdisc{w.Impair.Qdisc(index)}})
		var l *rtnl.Link
		if from != nil {
			l = &from.Link
		}
		if w.hasNoQueue(l) {
			b.config = append(b.config, noQueue(key, dev, index))
		}
	}
	if !w.Down {
		up := true
		undo := b.redirects(key, dev, w.Kind)
		b.config = append(b.config, Op{NS: key, Dev: dev, Do: SetLink{Link: rtnl.LinkSet{Index: index, Up: &up}}, Undo: undo, Half: len(undo) > 0})
		b.reroute(key, dev, index, w)
		b.rises[index] = true
	}
	b.verify(key, dev, index, w)
	if unheard, at := b.unheard(w); unheard && !w.Down && len(w.Addrs) > 0 {
		b.tell = append(b.tell, Op{NS: key, Dev: dev, Do: Announce{Index: index, Wait: from == nil || !KindOf(from.Link.Kind).silent, At: at}, Quiet: true})
	}
}

// mtuOnResized is the MTU of a new link that is made on one which has another than it gets, 0
// where that is not so.
func (b *builder) mtuOnResized(key string, w *Iface, index, parent int) int {
	below := place{key, parent}
	if w.HostParent != nil {
		below = place{HostNS, w.HostParent.Index}
	}
	mtu := b.resized[below]
	switch kind := KindOf(w.Kind); {
	case mtu == 0 || kind.sized || kind.byRoute:
		return 0
	case kind.headers > 0:
		mtu -= w.headers(&rtnl.Link{Kind: w.Kind, Data: w.Data})
	case !kind.ownParent:
		return 0
	}
	b.resized[place{key, index}] = mtu
	return mtu
}

// unheard reports whether what the kernel says of a new link's addresses when it
// goes up is lost: where the other end is a port of a bridge, which begins to
// forward only later. One that is made with the link has nobody behind it who knew
// the addresses. Of a link that moves in nobody knows what is at its other end. at
// is where that end is, or may be.
func (b *builder) unheard(w *Iface) (unheard bool, at string) {
	other := w.OtherEnd()
	switch {
	case w.From != nil || w.Comes != nil:
		return true, HostNS
	case other == nil:
		return false, HostNS
	case other.Key == HostNS:
		return w.PeerMaster != nil || other.Master != "", HostNS
	}
	s := b.have[other.Key]
	return s != nil && other.Master != "" && s.Link(other.Master) != nil, other.Key
}

// birth returns a time that is later than the one before.
func (p *phases) birth() int64 {
	p.born++
	return p.born
}

// verify plans to read back what the kernel may have dropped in silence.
func (p *phases) verify(key, dev string, index int, w *Iface) {
	v := Verify{Index: index, MTU: w.MTU, MAC: w.MAC, Bridge: w.Bridge, Port: w.Port, Link: w.Options}
	for _, a := range w.Addrs {
		v.Addrs = append(v.Addrs, a.Prefix)
	}
	if v.MTU != 0 || v.MAC != nil || v.Addrs != nil || !w.Bridge.Empty() || !w.Port.Empty() || !w.Options.Empty() {
		p.config = append(p.config, Op{NS: key, Dev: dev, Do: ReadLink{index}, Quiet: true})
		p.check = append(p.check, Op{NS: key, Dev: dev, Do: v, Quiet: true})
	}
}

func retag(key, dev string, index int, alias string) Op {
	return Op{NS: key, Dev: dev, Do: SetLink{Link: rtnl.LinkSet{Index: index, Alias: &alias}}, Quiet: true}
}

// ofOthers reports whether a namespace is one that osl did not make: there a link is known
// as osl's by its tag alone, and has IPv6 where nobody turns it off.
func (b *builder) ofOthers(key string) bool {
	return key == HostNS || b.have[key] != nil && !b.known[key].made()
}

func arp(hide bool) *[2]uint32 {
	if hide {
		return &[2]uint32{1, 2}
	}
	return nil
}

func makeLink(key string, w *Iface, index, parent int) Op {
	n := NewLink{Parent: w.Parent, Link: rtnl.LinkNew{Index: index, Name: w.Name, Kind: w.Kind, MAC: w.MAC, MTU: w.MTU,
		TxQLen: w.TxQLen, Parent: parent, Data: w.Data}}
	if KindOf(w.Kind).ownParent {
		n.Link.MTU = 0 // it is set when its parent has its own
	}
	op := Op{NS: key, Dev: w.device(), Undo: []Op{{NS: key, Dev: w.device(), Do: DelLink{index}}}}
	if w.HostParent != nil {
		// Sent where the parent is: a vxlan then keeps its tunnel there.
		op.NS, n.In, n.Link.Parent, n.Parent = HostNS, &key, w.HostParent.Index, w.HostParent.Name
	}
	if w.Kind == "bridge" {
		n.Link.MTU = 0 // it is set in a message of its own
		if w.MTU == defaultMTU {
			n.Link.MTU = otherMTU(w.MTU)
		}
	}
	if w.Peer != nil {
		n.Link.Peer = &rtnl.Peer{Name: w.Peer.Name}
		if w.Peer.Key != key {
			n.PeerNS = &w.Peer.Key
		}
	}
	op.Do = n
	return op
}

// moveIn plans the move of a host's link. Its inverse brings the link home
// and gives it back what a move takes: state, addresses, routes, neighbours.
func moveIn(key string, w *Iface, tag Tag, index int) Op {
	l := &w.From.Link
	alias := tag.String()
	host := HostNS
	undo := []Op{goHome(key, w.device(), index, tag)}
	if l.Master != 0 {
		m := l.Master
		undo = append(undo, Op{NS: host, Dev: l.Name, Do: SetLink{Link: rtnl.LinkSet{Index: l.Index, Master: &m}}})
		undo = append(undo, portBack(host, l, nil)...)
	}
	for _, k := range w.From.Kept {
		undo = append(undo, Op{NS: host, Dev: l.Name, Do: PutBack{k}})
	}
	return Op{NS: host, Dev: l.Name, Half: true, Undo: undo, Do: SetLink{To: &key, Link: rtnl.LinkSet{
		Index: l.Index, NewIndex: index, Name: w.Name, MAC: w.MAC, MTU: w.MTU, TxQLen: w.TxQLen, Alias: &alias,
	}}}
}

func ifaceRoute(dst netip.Prefix, index int) rtnl.Route {
	r := rtnl.Route{Dst: dst.Masked(), Index: index, Proto: rtnl.Protocol}
	if r.Dst.Addr().Is4() {
		r.Scope = linux.RT_SCOPE_LINK
	}
	return r
}

func routeOp(key, dev string, r rtnl.Route) Op {
	return Op{NS: key, Dev: dev, Do: NewRoute{r}, Undo: []Op{{NS: key, Dev: dev, Do: DelRoute{r}}}}
}

// hostEnd plans the end of a veth that is on the host and that no sandbox
// claims.
func (p *phases) hostEnd(name, note string, index int, master *rtnl.Link) {
	alias := Tag{Origin: Far, Source: name, Note: note, Port: master != nil}.String()
	up := true
	set := SetLink{Link: rtnl.LinkSet{Index: index, Alias: &alias, Up: &up}}
	if master != nil {
		set.Link.Master, set.Master = &master.Index, master.Name
	}
	p.read = append(p.read, Op{NS: HostNS, Dev: name, Do: set}) // not between those of the sandbox
}
