package plan

import "github.com/seed59451c2b/osl/internal/rtnl"

// A link that is made on another one has its MTU by that. When that gets another, the kernel
// lowers the MTU of a vlan or a macvlan with it, raises none, and leaves that of a tunnel. One
// that says none, and has what it got by its parent, is to have what a new one would get.

// follow has the links that stay follow the MTU of what they are on.
func (b *builder) follow(w *Sandbox) {
	own := false
	for j := range w.Ifaces {
		l := b.is[end{w.Key, w.Ifaces[j].Name}].link
		switch mtu := b.trails(w, &w.Ifaces[j]); {
		case mtu == 0 || mtu == l.MTU:
		case mtu < l.MTU && KindOf(l.Kind).ownParent: // by the kernel
		default:
			if !own {
				w.Ifaces, own = append([]Iface(nil), w.Ifaces...), true
			}
			w.Ifaces[j].MTU = mtu
		}
	}
}

// trails returns the MTU that a link which stays gets by what it is on, 0 where it has one of
// its own, or none that is by that.
func (b *builder) trails(w *Sandbox, f *Iface) int {
	kind := KindOf(f.Kind)
	if !w.Prune || f.MTU != 0 || f.Comes != nil || f.Parent == "" && f.HostParent == nil || kind.sized || kind.byRoute || !kind.ownParent && kind.headers == 0 {
		return 0
	}
	l, tag, had := b.hadAsked(w, f)
	if l == nil || tag.Origin != Made || l.Kind != f.Kind || had.has(askedMTU) {
		return 0
	}
	if kind.resizes {
		if to, from := f.reshaped(l, b.parentIndex(w, f)); !to.same(from) {
			return 0 // see reshape
		}
	}
	k := b.known[w.Key]
	if l.ParentNS {
		k = b.known[HostNS]
	}
	if k == nil {
		return 0
	}
	was := k.ByIndex(l.Parent)
	at := end{w.Key, f.Name}
	if was == nil || l.ParentNS != (f.HostParent != nil) || !b.staysOn(w, f, was) || b.sizing[at] || l.MTU != kind.sizeOn(was.MTU-(&Iface{Kind: l.Kind, Data: l.Data}).headers(nil), l) {
		return 0
	}
	b.sizing[at] = true // links may lead back to it, which is refused later
	defer delete(b.sizing, at)
	is := b.mtuBelow(w, f.HostParent, f.Parent)
	if is == 0 {
		return 0
	}
	return kind.sizeOn(is-f.headers(l), l)
}

// staysOn reports whether what an interface is to be on is a link that is there, and it is on
// that: one that gets another parent has its own MTU, which the kernel may lower.
func (b *builder) staysOn(w *Sandbox, f *Iface, p *rtnl.Link) bool {
	is := f.HostParent
	if is == nil {
		is = b.parent(w, f)
	} else if x, wanted := b.is[end{HostNS, is.Name}]; wanted {
		is = x.link
	}
	if is == nil {
		return false
	}
	index, _ := under(f, is)
	return index == p.Index
}

// sizeOn is the MTU of a link of this kind on another one that leaves it so much, 0 where that
// is too little to be set.
func (k *Kind) sizeOn(mtu int, l *rtnl.Link) int {
	switch {
	case mtu < l.MinMTU && k.Here:
		return l.MinMTU
	case mtu < l.MinMTU: // the kernel makes one with that, and then sets none
		return 0
	case l.MaxMTU > 0:
		return min(mtu, l.MaxMTU)
	}
	return mtu
}
