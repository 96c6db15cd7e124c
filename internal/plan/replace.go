package plan

import (
	"fmt"
	"slices"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// found is the link that a wanted interface is already.
type found struct {
	link *rtnl.Link
	tag  Tag
	// taken says that somebody else made the link just as it is wanted.
	taken bool
}

// resolve finds for each wanted interface the link that it is. One that can not
// be changed into what is wanted is none: another is made in its place, and it
// goes when all is done.
func (b *builder) resolve(want []Sandbox) error {
	for i := range want {
		w := &want[i]
		if w.Ends {
			continue
		}
		claimed := map[*rtnl.Link]bool{}
		for j := range w.Ifaces {
			if l := b.known[w.Key].source[w.Ifaces[j].SourceName()]; l != nil {
				claimed[l] = true
			}
		}
		for j := range w.Ifaces {
			f := &w.Ifaces[j]
			x, err := b.match(w, f, claimed)
			if err != nil {
				return err
			}
			b.is[end{w.Key, f.Name}] = x
		}
		b.exchanged(w)
		b.renamed(w)
	}
	for again := true; again; {
		again = false
		for i := range want {
			for j := range want[i].Ifaces {
				w, f := &want[i], &want[i].Ifaces[j]
				at := end{w.Key, f.Name}
				x := b.is[at]
				if x.link == nil || b.plugged(w, f, x) && b.parented(w, f, x) {
					continue
				}
				if x.farEnd(w, f) {
					b.is[at], again = found{}, true // asides looks whether it goes
					continue
				}
				if !x.replaceable(w) {
					return &Problem{Key: w.Key, Dev: f.device(), Kind: Exists, Text: "it is there, with another other end or parent, and is not osl's to replace"}
				}
				b.is[at], again = found{}, true
			}
		}
	}
	return nil
}

// farEnd reports whether the link is the host's end of a pair, which goes with its
// other end.
func (x found) farEnd(w *Sandbox, f *Iface) bool {
	return w.Key == HostNS && f.MadeBy != nil && x.tag.Origin == Far
}

// replaceable reports whether osl may take the link away for another one.
func (x found) replaceable(w *Sandbox) bool {
	return w.Prune && (x.tag.Origin == Made || x.tag.Origin == Host || x.taken)
}

// SourceName is the name that osl knows an interface by.
func (i *Iface) SourceName() string {
	if i.From != nil {
		return i.From.Link.Name
	}
	return orElse(i.Source, i.Name)
}

// match finds the link that a wanted interface is: by the name that osl knows
// it by, since someone may have renamed it, else by its name, unless another one
// is that link.
func (b *builder) match(w *Sandbox, f *Iface, claimed map[*rtnl.Link]bool) (x found, err error) {
	k := b.known[w.Key]
	if f.Fresh || f.Comes != nil {
		return x, nil
	}
	name := f.Name
	if f.Keep {
		name = f.SourceName()
	}
	l := k.source[f.SourceName()]
	if l == nil {
		if l = k.Link(name); l == nil || claimed[l] {
			return x, nil
		}
	}
	x = found{link: l, tag: k.tags[l.Index]}
	problem := func(kind ProblemKind, format string, args ...any) (found, error) {
		return found{}, &Problem{Key: w.Key, Dev: f.device(), Kind: kind, Text: fmt.Sprintf(format, args...)}
	}
	if w.Key == HostNS && x.tag.Origin == Made && x.tag.Network != w.Network {
		return problem(NameInUse, "the host's link of this name is of the network %q", x.tag.Network)
	}
	if w.Key == HostNS && x.tag.Origin == Far && !x.farEnd(w, f) {
		return found{}, nil // asides looks whether it goes
	}
	switch why := b.differs(w, f, l, x.tag); {
	case f.Name == "lo" || f.Kind == "" && f.From == nil:
		return x, nil
	case x.tag.Origin == None && why == "" && w.Prune && k.made():
		x.taken = true // by the commands that osl prints, perhaps
		return x, nil
	case x.tag.Origin != Made && x.tag.Origin != Host && !x.farEnd(w, f):
		p := &Problem{Key: w.Key, Dev: f.device(), Kind: NameInUse, Text: "a link that osl did not make has this name" + map[bool]string{true: ", " + why}[why != ""]}
		if w.Key != HostNS && l.Kind != "" { // a device can not be taken away, and what is on the host somebody needs
			p.Away = &Op{NS: w.Key, Dev: l.Name, Do: DelLink{l.Index}}
		}
		return found{}, p
	case why == "":
		return x, nil
	}
	return found{}, nil // what is there goes, an end with its other end
}

// made reports whether osl made the sandbox.
func (k *known) made() bool {
	lo := k.ByIndex(loopback)
	if lo == nil {
		return false
	}
	_, ok := ParseSandboxTag(lo.Alias)
	return ok
}

// differs says why a link can not become what is wanted, empty if it can.
func (b *builder) differs(w *Sandbox, f *Iface, l *rtnl.Link, t Tag) string {
	switch {
	case f.From != nil && t.Origin == Made:
		return "made by osl, and not " + f.From.Link.Name + " of the host"
	case f.From != nil && t.Origin == Host && t.Source != f.From.Link.Name:
		return "the host's " + t.Source
	case f.From != nil && t.Origin == None && f.From.Link.Index != 0:
		return "not " + f.From.Link.Name + " of the host"
	case f.From != nil || f.Kind == "":
		return ""
	case t.Origin == Host:
		return "moved in from the host"
	case f.Kind != l.Kind:
		return "of the type " + orElse(l.Kind, "physical")
	}
	kind := KindOf(f.Kind)
	if usual := kind.UsualMTU(); kind.keepsMTU && w.Prune && f.losesMTU(l, &t, t.Asked) && l.MTU != usual {
		return fmt.Sprintf("with the MTU %d", l.MTU)
	}
	var dropped Asked
	if w.Prune {
		dropped = f.dropped(&t)
	}
	return orElse(kind.fixed(f, l, dropped), rekeyed(f.WireGuard, b.known[w.Key].WireGuards[l.Index]))
}

// plugged reports whether a veth has the other end that is wanted.
func (b *builder) plugged(w *Sandbox, f *Iface, x found) bool {
	other := f.OtherEnd()
	if other == nil || !KindOf(f.Kind).Pair {
		return true
	}
	o := b.otherLink(other)
	return o != nil && o.Index == x.link.Parent && o.Parent == x.link.Index && x.link.ParentNS == (other.Key != w.Key) &&
		b.pairOf(w.Key, x.link) == b.pairOf(other.Key, o)
}

// otherLink returns the link that the other end of a veth is, nil for none.
func (b *builder) otherLink(e *End) *rtnl.Link {
	if e.Claimed {
		return b.is[end{e.Key, e.Name}].link
	}
	if k := b.known[e.Key]; k != nil {
		return k.Link(e.Name)
	}
	return nil
}

// parented reports whether a link is on the parent that is wanted, or can be
// put there.
func (b *builder) parented(w *Sandbox, f *Iface, x found) bool {
	switch {
	case !KindOf(f.Kind).ownParent:
		return true // a tunnel's device is changed in place
	case f.HostParent != nil:
		parent := f.HostParent
		if host, wanted := b.is[end{HostNS, parent.Name}]; wanted {
			parent = host.link
		}
		if parent == nil {
			return false
		}
		below, _ := under(f, parent)
		return x.link.ParentNS && x.link.Parent == below
	}
	p := b.parent(w, f)
	if p == nil {
		return false
	}
	below, far := under(f, p)
	return x.link.Parent == below && x.link.ParentNS == far
}

// under returns which link the kernel says that one on a parent is on, and whether
// that is in another namespace.
func under(f *Iface, parent *rtnl.Link) (index int, far bool) {
	if below := KindOf(f.Kind).below; below != nil {
		return below(parent)
	}
	return parent.Index, false
}

// parent returns the link that is a wanted interface's parent in the sandbox
// and stays, nil where there is none yet.
func (b *builder) parent(w *Sandbox, f *Iface) *rtnl.Link {
	if x, wanted := b.is[end{w.Key, f.Parent}]; wanted {
		return x.link
	}
	return b.known[w.Key].Link(f.Parent)
}

// asides renames what has a name that something else is to have, and goes or is
// renamed itself in this change.
func (b *builder) asides(want []Sandbox) error {
	var host *Sandbox // nil where the change prunes nothing there
	if i := slices.IndexFunc(want, func(w Sandbox) bool { return w.Key == HostNS && w.Prune }); i >= 0 {
		host = &want[i]
	}
	for i := range want {
		w := &want[i]
		k := b.known[w.Key]
		for j := range w.Ifaces {
			f := &w.Ifaces[j]
			x := b.is[end{w.Key, f.Name}]
			if x.link == nil && f.Peer != nil && f.Peer.Key == HostNS && !f.Peer.Claimed {
				if err := b.asideOnHost(w, f.device(), f.Peer.Name, host); err != nil {
					return err
				}
			}
			if x.link == nil && w.Key == HostNS {
				if err := b.asideOnHost(w, f.Name, f.Name, host); err != nil {
					return err
				}
				continue
			}
			for _, name := range f.AltNames {
				if l := k.Link(name); l != nil && l != x.link && w.Prune && k.tags[l.Index].leaves() {
					if _, stays := b.called[place{w.Key, l.Index}]; !stays {
						b.setAside(w.Key, k, l)
					}
				}
			}
			l := k.Link(f.Name)
			if l == nil || l == x.link || f.Fresh {
				continue
			}
			if _, stays := b.called[place{w.Key, l.Index}]; !stays && (!w.Prune || !k.tags[l.Index].leaves()) {
				return &Problem{Key: w.Key, Dev: f.device(), Kind: NameInUse, Text: "another link has this name"}
			}
			b.setAside(w.Key, k, l)
		}
		if k != nil {
			b.freeNames(w, k)
			b.unbind(w, k)
		}
	}
	return nil
}

// leaves reports whether a link of osl's that nobody wants leaves the sandbox.
func (t Tag) leaves() bool { return t.Origin == Made || t.Origin == Host || t.Origin == Far }

// asideOnHost makes room for a link on the host where one has its name that goes: the end
// of a pair that does, or what was made there for the network.
func (b *builder) asideOnHost(w *Sandbox, dev, name string, host *Sandbox) error {
	k := b.known[HostNS]
	if k == nil {
		return nil
	}
	l := k.Link(name)
	if l == nil {
		return nil
	}
	_, stays := b.called[place{HostNS, l.Index}]
	if t := k.tags[l.Index]; b.farEnds[b.pairOf(HostNS, l)] && t.Origin == Far || !stays && host != nil && b.prunes(host, t) {
		b.setAside(HostNS, k, l)
		return nil
	}
	return &Problem{Key: w.Key, Dev: dev, Kind: NameInUse, Far: name,
		Text: fmt.Sprintf("the host has another link %q already", name)}
}

// prunes reports whether a link of osl's that is not wanted goes with this change: on
// the host only what was made there for this network, since pairs go by their other
// ends.
func (b *builder) prunes(w *Sandbox, t Tag) bool {
	if w.Key == HostNS {
		return t.Origin == Made && t.Network == w.Network
	}
	return t.Origin != None
}

// asideName is a name that nobody wants, for a link of a sandbox.
func asideName(index int) string { return fmt.Sprintf("osl~%x", index) }

// setAside plans to give a link a name that nobody wants.
func (b *builder) setAside(key string, k *known, l *rtnl.Link) {
	name := asideName(l.Index)
	undo := []Op{{NS: key, Dev: name, Do: SetLink{Link: rtnl.LinkSet{Index: l.Index, Name: l.Name}}}}
	if l.Up() && !RenamesUp { // on the way back it is up again, where it has got another name since
		b.aside = append(b.aside, b.lower(key, k, l)...)
		undo = append([]Op{lowered(key, name, l)}, undo...)
	}
	b.aside = append(b.aside, Op{NS: key, Dev: l.Name, Do: SetLink{Link: rtnl.LinkSet{Index: l.Index, Name: name}}, Gone: true, Half: true, Undo: undo})
	delete(k.name, l.Name)
	if k.first == nil {
		k.first = map[int]string{}
	}
	k.first[l.Index], l.Name = k.firstName(l), name
	k.name[name] = l
}
