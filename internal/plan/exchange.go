package plan

import (
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// Are returns which links the wanted interfaces of each sandbox are already, by the names
// that they are to have: a link may have another one, or that of one that it is not.
func Are(want []Sandbox, have map[string]*State) map[string]map[string]*rtnl.Link {
	b := builder{have: have, known: map[string]*known{}, full: map[string]*known{}, is: map[end]found{}, entries: map[end]bool{}, tunnels: map[end][]rtnl.Neigh{}}
	b.know(want)
	_ = b.resolve(want) // Build says what is wrong
	are := map[string]map[string]*rtnl.Link{}
	for at, x := range b.is {
		if x.link == nil {
			continue
		}
		if are[at.key] == nil {
			are[at.key] = map[string]*rtnl.Link{}
		}
		are[at.key][at.name] = x.link
	}
	return are
}

// exchanged finds the macvlans and ipvlans that are to have what another one of the sandbox
// has, and that is there once only: that one they are, under another name.
func (b *builder) exchanged(w *Sandbox) {
	if !w.Prune || !slices.ContainsFunc(w.Ifaces, func(f Iface) bool { return receiver(f.Kind) != "" }) {
		return
	}
	k, holder := b.known[w.Key], map[int]*Iface{}
	is := func(f *Iface, l *rtnl.Link) {
		b.is[end{w.Key, f.Name}] = found{link: l, tag: k.tags[l.Index]}
		holder[l.Index] = f
	}
	has := map[string][]*rtnl.Link{} // by what it is that another one can not have
	for i := range k.Links {
		l := &k.Links[i]
		if receiver(l.Kind) == "" {
			continue
		}
		var ips []netip.Addr
		for _, a := range k.addrs[l.Index] {
			ips = append(ips, a.Prefix.Addr())
		}
		for _, key := range onlyOnes(l.Kind, l.Data, 0, l.MAC, ips) {
			has[key] = append(has[key], l)
		}
	}
	for i := range w.Ifaces {
		if l := b.is[end{w.Key, w.Ifaces[i].Name}].link; l != nil {
			holder[l.Index] = &w.Ifaces[i]
		}
	}
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		own := b.is[end{w.Key, f.Name}].link
		if receiver(f.Kind) == "" || f.Comes != nil || f.Fresh || own != nil && f.excludes(own, k.addrs[own.Index]) {
			continue
		}
		var those []*rtnl.Link
		for _, key := range onlyOnes(f.Kind, f.Data, 0, f.MAC, f.ips()) {
			those = append(those, has[key]...)
		}
		for _, l := range those {
			other := holder[l.Index]
			if other != nil && other.excludes(l, k.addrs[l.Index]) || !b.becomes(w, f, l) {
				continue
			}
			if own != nil {
				delete(holder, own.Index)
			}
			if other != nil && own != nil && b.becomes(w, other, own) {
				is(other, own)
			} else if other != nil {
				b.is[end{w.Key, other.Name}] = found{}
			}
			is(f, l)
			break
		}
	}
}

// becomes reports whether a link of osl's can be changed into what is wanted, in place.
func (b *builder) becomes(w *Sandbox, f *Iface, l *rtnl.Link) bool {
	t := b.known[w.Key].tags[l.Index]
	return t.Origin == Made && l.Kind == f.Kind && b.differs(w, f, l, t) == "" && b.parented(w, f, found{link: l})
}

// renamed finds, for those that are not there, a link that goes and has what
// there is once only: the VNI of a vxlan, the tag of a vlan, the hardware address of a
// macvlan, an address of an ipvlan.
func (b *builder) renamed(w *Sandbox) {
	k := b.known[w.Key]
	if !w.Prune {
		return
	}
	var going []*rtnl.Link
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		at := end{w.Key, f.Name}
		if b.is[at].link != nil || f.Comes != nil || !KindOf(f.Kind).once() {
			continue
		}
		if going == nil {
			going = b.going(w)
		}
		for j, l := range going {
			if f.excludes(l, k.addrs[l.Index]) && b.becomes(w, f, l) {
				b.is[at] = found{link: l, tag: k.tags[l.Index]}
				going = slices.Delete(going, j, j+1)
				break
			}
		}
	}
}

// going returns the links of osl's that no wanted interface is.
func (b *builder) going(w *Sandbox) (list []*rtnl.Link) {
	stays := map[int]bool{}
	for i := range w.Ifaces {
		if l := b.is[end{w.Key, w.Ifaces[i].Name}].link; l != nil {
			stays[l.Index] = true
		}
	}
	k := b.known[w.Key]
	for i := range k.Links {
		if l := &k.Links[i]; k.tags[l.Index].Origin != None && !stays[l.Index] {
			list = append(list, l)
		}
	}
	return list
}

// newNames names the links that get another name by that in the steps that come after it.
func (b *builder) newNames() {
	renamed := map[place]string{}
	for at, name := range b.called {
		if l := b.known[at.ns].ByIndex(at.index); l != nil && l.Name != name {
			renamed[at] = name
		}
	}
	if len(renamed) == 0 {
		return
	}
	for _, list := range [][]Op{b.config, b.hops, b.neighs, b.remove} {
		for i := range list {
			op := &list[i]
			index, _ := on(op.Do)
			if name := renamed[place{op.NS, index}]; name != "" && op.Dev == b.known[op.NS].nameOf(index) {
				op.Dev = name
			}
		}
	}
}
