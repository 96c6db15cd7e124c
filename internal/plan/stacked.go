package plan

import (
	"fmt"
	"slices"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// A link that is made on another one has no larger an MTU than that: the kernel refuses
// it, and takes it down with its parent's, but not up again. An ipvlan has its parent's.

// isStacked reports whether a link is on another one of its namespace.
func isStacked(l *rtnl.Link) bool {
	return KindOf(l.Kind).ownParent && l.Parent != 0 && !l.ParentNS
}

// overParent says what is wrong with an MTU that is wanted of a link on another one.
func (b *builder) overParent(w *Sandbox, f *Iface, k *known) string {
	if f.MTU == 0 || !KindOf(f.Kind).ownParent {
		return ""
	}
	name, mtu := f.Parent, 0
	if f.HostParent != nil {
		name, mtu = f.HostParent.Name, b.mtuOf(HostNS, f.HostParent)
	} else if i := slices.IndexFunc(w.Ifaces, func(o Iface) bool { return o.Name == f.Parent }); i >= 0 {
		mtu = w.Ifaces[i].lowestMTU(k, b.is[end{w.Key, f.Parent}].link)
		if w.Ifaces[i].Kind == "bridge" && w.Ifaces[i].MTU == 0 {
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

// mtuOf returns the MTU that a link which is there has, or is to have.
func (b *builder) mtuOf(key string, l *rtnl.Link) int {
	if mtu := b.resized[place{key, l.Index}]; mtu != 0 {
		return mtu
	}
	return l.MTU
}

// holdSizes plans to give links that are there the MTU back that they lose with that of
// their parent, when that has it again: so it comes before all else. A bridge has the
// MTU of its ports.
func (b *builder) holdSizes(w *Sandbox, k *known, changes bool) {
	var ops []Op
	depth := map[int]int{}
	for i := range k.Links {
		l, resized := &k.Links[i], false
		for p := l; p != nil; p = k.ByIndex(p.Parent) {
			resized = resized || b.resized[place{w.Key, p.Index}] != 0 || p.Kind == "bridge" && changes
			if !isStacked(p) {
				break
			}
			depth[l.Index]++
		}
		if resized && depth[l.Index] > 0 {
			hold := Op{NS: w.Key, Dev: l.Name, Do: SetLink{Link: rtnl.LinkSet{Index: l.Index, MTU: l.MTU}}, Quiet: true}
			hold.Undo = []Op{hold}
			ops = append(ops, hold)
		}
	}
	// What is undone last is the first, and a link comes back after its parent.
	index := func(op Op) int { return op.Do.(SetLink).Link.Index }
	slices.SortStableFunc(ops, func(x, y Op) int { return depth[index(y)] - depth[index(x)] })
	b.aside = append(ops, b.aside...)
}
