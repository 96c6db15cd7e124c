package plan

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net"
	"slices"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// withMAC returns an interface that is made, and what it is to be: with the hardware address of
// the link in whose place it comes, where nothing says another one. So the neighbors of a link
// that is plugged elsewhere know it as before.
func (b *builder) withMAC(w *Sandbox, f *Iface) *Iface {
	k := b.known[w.Key]
	l := k.source[f.SourceName()]
	if l == nil {
		l = k.Link(f.Name)
	}
	for i := range w.Yields { // which go before it
		if h := &w.Yields[i].Link; l == nil && h.Name == f.Name {
			l = h
		}
	}
	if f.MAC != nil || f.From != nil || f.Comes != nil || !w.Prune || l == nil || !hasOwnMAC(f.Kind, &f.Data) || !hasOwnMAC(l.Kind, &l.Data) {
		return f
	}
	if m := k.ByIndex(l.Master); m != nil && m.Kind == "bond" { // which it has its own from
		return f
	}
	tag, _ := ParseTag(l.Alias)
	_, stays := b.called[place{w.Key, l.Index}]
	if stays || tag.Origin != Made && (tag.Origin != Far || tag.Network != f.Owner) || len(l.MAC) != 6 || b.claimed(end{w.Key, f.Name}, l.MAC) {
		return f
	}
	same := *f
	same.MAC = l.MAC
	return &same
}

// leaveMACs gives links that stay another hardware address where theirs becomes that of another
// one of their sandbox or their segment, as two that were made anew would have it: what a file
// says no more stays with its link.
func (b *builder) leaveMACs(want []Sandbox) {
	b.claims = map[string][]end{}
	for i := range want {
		for j := range want[i].Ifaces {
			f := &want[i].Ifaces[j]
			at := end{want[i].Key, f.Name}
			if l := b.is[at].link; f.MAC != nil && (l == nil || !bytes.Equal(l.MAC, f.MAC)) {
				b.claims[string(f.MAC)] = append(b.claims[string(f.MAC)], at)
			}
		}
	}
	if len(b.claims) == 0 {
		return
	}
	b.joined = b.joinedBy(want)
	for i := range want {
		w, own := &want[i], false
		for j := 0; w.Prune && j < len(w.Ifaces); j++ {
			f := &w.Ifaces[j]
			at := end{w.Key, f.Name}
			x := b.is[at]
			if f.MAC != nil || x.link == nil || !b.claimed(at, x.link.MAC) || x.tag.Origin != Made && x.tag.Origin != Far ||
				KindOf(x.link.Kind).keepsMAC || !hasOwnMAC(x.link.Kind, &x.link.Data) || b.kindOf(w, f.Master) == "bond" {
				continue
			}
			if !own {
				w.Ifaces, own = slices.Clone(w.Ifaces), true
			}
			w.Ifaces[j].MAC = otherMAC(at, x.link.MAC)
		}
	}
}

// otherMAC is one by chance for an interface that gives its own away, the same each time the
// change is planned: what is told before is what happens.
func otherMAC(at end, had net.HardwareAddr) net.HardwareAddr {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s %s", at.key, at.name, had))
	return LocalMAC(sum[:])
}

// LocalMAC makes a hardware address of the kind that is for everyone's use, of one station, of
// six bytes or more.
func LocalMAC(of []byte) net.HardwareAddr {
	of[0] = of[0]&^1 | 2
	return of[:6:6]
}

// claimed reports whether another interface of the sandbox or the segment gets a hardware
// address, which it has not.
func (b *builder) claimed(at end, mac net.HardwareAddr) bool {
	return slices.ContainsFunc(b.claims[string(mac)], func(o end) bool {
		return o != at && (o.key == at.key || b.joined.first(o) == b.joined.first(at))
	})
}

// joined leads from each interface to another one of its segment, and so to the one that stands
// for all of that.
type joined map[end]end

// joinedBy finds the segments of a network: what bridges, pairs, macvlans and the like join.
func (b *builder) joinedBy(want []Sandbox) joined {
	all := joined{}
	for i := range want {
		w := &want[i]
		routed := map[string]bool{} // masters that join nothing
		for j := range w.Ifaces {
			routed[w.Ifaces[j].Name] = w.Ifaces[j].Kind == "vrf"
		}
		for j := range w.Ifaces {
			f := &w.Ifaces[j]
			at, kind := end{w.Key, f.Name}, KindOf(f.Kind)
			if f.Master != "" && !routed[f.Master] {
				all.join(at, end{w.Key, f.Master})
			}
			if o := f.OtherEnd(); o != nil {
				all.join(at, end{o.Key, o.Name})
				if f.PeerMaster != nil {
					all.join(at, end{HostNS, f.PeerMaster.Name})
				}
			}
			switch {
			case kind.ownParent && f.HostParent != nil:
				all.join(at, end{HostNS, f.HostParent.Name})
			case kind.ownParent && f.Parent != "":
				all.join(at, end{w.Key, f.Parent})
			}
		}
	}
	return all
}

func (all joined) first(at end) end {
	for to, more := all[at]; more; to, more = all[at] {
		if further, more := all[to]; more {
			all[at] = further // the way is shorter for the next one
		}
		at = to
	}
	return at
}

func (all joined) join(a, b end) {
	if a, b = all.first(a), all.first(b); a != b {
		all[a] = b
	}
}

// hasOwnMAC reports whether a link of a type has a hardware address by chance, and not by its
// parent or its ports. One by its parent may be there once only on that.
func hasOwnMAC(name string, d *rtnl.LinkData) bool {
	kind := KindOf(name)
	return !kind.ownParent && name != "bond" && (kind.NoMAC == nil || kind.NoMAC(d) == "")
}
