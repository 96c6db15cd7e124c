package plan

import (
	"cmp"
	"slices"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// What comes in on a link goes to one receiver: to the bridge or the bond that it is a port
// of, to the macvlans or to the ipvlans that are on it (rx_handler in the kernel). Another one
// is refused as long as the first is there. So a macvlan or an ipvlan that goes, and has what
// another receiver is to have, goes before that comes, and not at the end; the inverse makes
// it again, which takes no secret, and gives it back what it had.

// A vxlan of a sandbox that loses its parent goes first too, and so does one that had none and
// gets one: there the kernel has one of each VNI and port, and it takes no parent away from one
// that is there, which a change that fails would have to do.

// port is the receiver of a link that has a master; the others are types of links.
const port = "port"

// receiver returns what links of a type are to the one that they are on, empty for those that
// leave that to others.
func receiver(kind string) string {
	switch {
	case IsMacvlan(kind):
		return "macvlan"
	case IsIPvlan(kind):
		return "ipvlan"
	}
	return ""
}

// receiverOf is that for one of a mode: a passthru has no others beside it.
func receiverOf(kind, mode string) string {
	if IsMacvlan(kind) && mode == "passthru" {
		return kind + " " + mode
	}
	return receiver(kind)
}

// receives reports whether a master takes all that comes in on its ports.
func receives(kind string) bool { return KindOf(kind).Ports && kind != "vrf" }

// Yield is a link that goes before something else can come.
type Yield struct {
	In   int // the number of its sandbox
	Link *rtnl.Link
	Tag  Tag
}

// Yields finds the links of osl's that nobody wants any more, and that are on a link which is
// to have another receiver, and the vxlans that lose their parent, or get a first one. What is
// on links of the host is not among them.
func Yields(want []Sandbox, have map[string]*State) (list []Yield) {
	for i := range want {
		if w, s := &want[i], have[want[i].Key]; s != nil && w.Prune && !w.Ends && w.Key != HostNS {
			for _, y := range s.yields(w) {
				y.In = i
				list = append(list, y)
			}
		}
	}
	return list
}

func (s *State) yields(w *Sandbox) (list []Yield) {
	var all []Yield
	for i := range s.Links {
		if l := &s.Links[i]; receiver(l.Kind) != "" && isStacked(l) || l.Kind == "vxlan" && !l.ParentNS {
			switch t, ok := ParseTag(l.Alias); {
			case !ok || t.Origin != Made:
			case receiver(l.Kind) != "":
				all = append(all, Yield{Link: l, Tag: t})
			case w.parts(l, &t):
				list = append(list, Yield{Link: l, Tag: t})
			}
		}
	}
	if len(all) == 0 {
		return list
	}
	k := know(s)
	is := func(f *Iface) *rtnl.Link {
		if l := k.source[f.SourceName()]; l != nil {
			return l
		}
		return k.Link(f.Name)
	}
	named := map[string]*Iface{}
	for i := range w.Ifaces {
		named[w.Ifaces[i].Name] = &w.Ifaces[i]
	}
	kindOf := func(name string) string {
		if f := named[name]; f != nil && f.Kind != "" {
			return f.Kind
		} else if l := k.Link(name); l != nil {
			return l.Kind
		}
		return ""
	}
	gets, stays := map[int]map[string]bool{}, map[int]bool{}
	get := func(index int, what string) {
		if gets[index] == nil {
			gets[index] = map[string]bool{}
		}
		gets[index][what] = true
	}
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		l := is(f)
		if l != nil && f.Kind == "" {
			stays[l.Index] = true
		}
		if l != nil && f.Master != "" && receives(kindOf(f.Master)) {
			get(l.Index, port)
		}
		if what := receiverOf(f.Kind, f.Data.Mode); what != "" && f.Parent != "" {
			p := k.Link(f.Parent)
			if f := named[f.Parent]; f != nil {
				p = is(f)
			}
			if p != nil {
				if below, far := under(f, p); !far {
					get(below, what)
				}
			}
		}
	}
	for _, y := range all {
		if to := gets[y.Link.Parent]; len(to) > 0 && !to[receiverOf(y.Link.Kind, y.Link.Data.Mode)] && !stays[y.Link.Index] {
			list = append(list, y)
		}
	}
	return list
}

// parts reports whether a vxlan that is there is to be without its parent, or to have a first
// one, or another one is to be so in its place.
func (w *Sandbox) parts(l *rtnl.Link, t *Tag) bool {
	return slices.ContainsFunc(w.Ifaces, func(f Iface) bool {
		switch {
		case f.Kind != l.Kind || f.Data.VNI != l.Data.VNI || f.Data.Port != l.Data.Port || otherFamily(&f, l, t.Asked) != "":
			return false
		case l.Parent == 0:
			return f.Parent != ""
		}
		return f.Parent == "" && f.HostParent == nil && t.Asked.field("parent")
	})
}

// yield plans to take such links of a sandbox away, the youngest first: they are made again in
// the order in which they were made, by which ipvlans have their link-local addresses.
func (b *builder) yield(w *Sandbox, k *known) {
	slices.SortStableFunc(w.Yields, func(x, y HostLink) int { return cmp.Compare(k.tags[y.Link.Index].Born, k.tags[x.Link.Index].Born) })
	for i := range w.Yields {
		h := &w.Yields[i]
		l := k.ByIndex(h.Link.Index)
		b.vacates = append(b.vacates, Op{NS: w.Key, Dev: l.Name, Do: DelLink{l.Index}, Half: true, Undo: k.remade(w.Key, h)})
	}
}

// remade returns what makes a link again that was taken away, with all that it had.
func (k *known) remade(key string, h *HostLink) (ops []Op) {
	l := k.ByIndex(h.Link.Index)
	add := func(do Action) { ops = append(ops, Op{NS: key, Dev: l.Name, Do: do}) }
	n := rtnl.LinkNew{Index: l.Index, Name: l.Name, Kind: l.Kind, TxQLen: &l.TxQLen, Parent: l.Parent, Data: l.Data}
	if !IsIPvlan(l.Kind) { // which has those of the link below
		n.MAC, n.MTU = l.MAC, l.MTU
	}
	add(NewLink{Link: n, Parent: k.nameOf(l.Parent)})
	add(SetLink{Link: rtnl.LinkSet{Index: l.Index, Alias: &l.Alias}})
	if len(h.Link.AltName) > 0 {
		add(NewAltName{l.Index, h.Link.AltName})
	}
	set := rtnl.LinkSet{Index: l.Index, Options: l.Options}
	set.Options.Drop(rtnl.LinkAddrGenMode) // among the settings
	if !set.Options.Empty() {
		add(SetLink{Link: set})
	}
	return append(ops, k.standing(key, l, h, nil)...)
}

// leavesPort reports whether a link is to be made on one that is the port of another
// receiver: that is over when masters have changed.
func (b *builder) leavesPort(w *Sandbox, f *Iface) bool {
	if receiver(f.Kind) == "" {
		return false
	}
	p, in := f.HostParent, HostNS
	if p == nil {
		p, in = b.parent(w, f), w.Key
	} else if x := b.is[end{HostNS, p.Name}]; x.link != nil {
		p = x.link
	}
	if p == nil || p.Master == 0 {
		return false
	}
	k := b.known[in]
	if k == nil {
		return false
	}
	m := k.ByIndex(p.Master)
	return m != nil && receives(m.Kind)
}

// Makes reports whether the step of a record makes a link.
func (s Step) Makes() bool { return s.Type == linux.RTM_NEWLINK && s.Flags&linux.NLM_F_CREATE != 0 }
