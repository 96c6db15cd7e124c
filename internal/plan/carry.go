package plan

import (
	"bytes"
	"fmt"
	"net/netip"
	"path"
	"slices"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// Of what is made on a link of the host, some things are there once only, in whichever
// sandbox: a tag, a VNI, a hardware address of a macvlan, an address of an ipvlan. One that a
// sandbox loses and another one gets can not be made before the first is gone, and what is
// gone can not be brought back where the change fails. So the link itself goes there, as one
// of the host does that moves from one sandbox to another (between.go).

// Carry is a link of a sandbox that an interface of another one is to be.
type Carry struct {
	To   *Iface
	Key  string // of the sandbox that it leaves
	Link *rtnl.Link
	Tag  Tag
}

// Carries finds the links of osl's that are made on those of the host, that leave a sandbox
// in a change, and without which another one can not have what it is to have.
func Carries(want []Sandbox, have map[string]*State) (list []Carry) {
	if !slices.ContainsFunc(want, func(w Sandbox) bool { return slices.ContainsFunc(w.Ifaces, isOnHost) }) {
		return nil
	}
	has := map[string][]Carry{} // by what it is that another one can not have
	leaves := map[string]bool{}
	for _, w := range want {
		if s := have[w.Key]; s != nil && w.Key != HostNS {
			leaves[w.Key] = w.Prune || w.Ends
			for key, of := range s.onlyOnes() {
				for _, l := range of {
					t, _ := ParseTag(l.Alias)
					has[key] = append(has[key], Carry{Key: w.Key, Link: l, Tag: t})
				}
			}
		}
	}
	is := map[*Iface]bool{}
	taken := map[*rtnl.Link]bool{}
	find := func(f *Iface, usable func(Carry) bool) (c Carry, ok bool) {
		below := f.belowOnHost(have[HostNS])
		for _, key := range onlyOnes(f.Kind, f.Data, below, f.MAC, f.ips()) {
			for _, c := range has[key] {
				if !taken[c.Link] && f.canBe(c.Link, below, f.dropped(&c.Tag)) && usable(c) {
					taken[c.Link] = true
					return c, true
				}
			}
		}
		return c, false
	}
	for i := range want {
		for w, j := &want[i], 0; j < len(w.Ifaces); j++ {
			if f := &w.Ifaces[j]; isOnHost(*f) {
				_, is[f] = find(f, func(c Carry) bool { return c.Key == w.Key })
			}
		}
	}
	for i := range want {
		for w, j := &want[i], 0; j < len(w.Ifaces); j++ {
			if f := &w.Ifaces[j]; isOnHost(*f) && !is[f] && w.Key != HostNS {
				if c, ok := find(f, func(c Carry) bool { return c.Key != w.Key && leaves[c.Key] && c.Tag.Origin == Made }); ok {
					c.To = f
					list = append(list, c)
				}
			}
		}
	}
	return list
}

// onlyOnes returns the links that are made on those of the host, by what they have that no
// other may have.
func (s *State) onlyOnes() map[string][]*rtnl.Link {
	addrs := map[int][]netip.Addr{}
	for _, a := range s.Addrs {
		addrs[a.Index] = append(addrs[a.Index], a.Prefix.Addr())
	}
	by := map[string][]*rtnl.Link{}
	for i := range s.Links {
		if l := &s.Links[i]; l.ParentNS && KindOf(l.Kind).once() {
			for _, key := range onlyOnes(l.Kind, l.Data, l.Parent, l.MAC, addrs[l.Index]) {
				by[key] = append(by[key], l)
			}
		}
	}
	return by
}

// isOnHost reports whether an interface is one that is made on a link of the host.
func isOnHost(f Iface) bool {
	return f.HostParent != nil && f.From == nil && !f.Fresh && KindOf(f.Kind).once()
}

// belowOnHost returns the link of the host that one on it says it is on, 0 for none that is
// there. What it is of the change itself only the host's state tells.
func (f *Iface) belowOnHost(host *State) int {
	parent := f.HostParent
	if parent.Index == 0 && host != nil {
		parent = host.Link(parent.Name)
	}
	if parent == nil {
		return 0
	}
	below, _ := under(f, parent)
	return below
}

// canBe reports whether a link on one of the host can become what is wanted.
func (f *Iface) canBe(l *rtnl.Link, below int, dropped Asked) bool {
	return l.Kind == f.Kind && below != 0 && KindOf(f.Kind).fixed(f, l, dropped) == "" && (!KindOf(f.Kind).ownParent || l.Parent == below)
}

// carried refuses that a link goes to another sandbox while what it is on is made anew.
func (b *builder) carried(want []Sandbox) error {
	for i := range want {
		for j := range want[i].Ifaces {
			f := &want[i].Ifaces[j]
			if f.Comes == nil {
				continue
			}
			if x, wanted := b.is[end{HostNS, f.HostParent.Name}]; wanted && x.link == nil {
				return &Problem{Key: want[i].Key, Dev: f.device(), Kind: Exists, Field: "parent",
					Text: fmt.Sprintf("it is in another sandbox, as %q on the host's %q, which is made anew: take it away before", f.Comes.Link.Name, f.HostParent.Name)}
			}
		}
	}
	return nil
}

// alone refuses a new macvlan on a link of the host beside one that is there, of which one has the
// mode passthru: what goes there goes at the end, and the kernel would refuse the other before.
func (b *builder) alone(want []Sandbox) error {
	onHost := func(f Iface) bool { return f.HostParent != nil && IsMacvlan(f.Kind) }
	if !slices.ContainsFunc(want, func(w Sandbox) bool { return slices.ContainsFunc(w.Ifaces, onHost) }) {
		return nil
	}
	type one struct {
		key string
		*rtnl.Link
	}
	on := map[int][]one{}
	for i := range want {
		for j := range b.known[want[i].Key].Links {
			if l := &b.known[want[i].Key].Links[j]; l.ParentNS && IsMacvlan(l.Kind) {
				on[l.Parent] = append(on[l.Parent], one{want[i].Key, l})
			}
		}
	}
	for i := range want {
		for j := range want[i].Ifaces {
			f := &want[i].Ifaces[j]
			if !onHost(*f) || f.Comes != nil || b.is[end{want[i].Key, f.Name}].link != nil {
				continue
			}
			for _, l := range on[f.belowOnHost(b.have[HostNS])] {
				if l.Data.Mode == "passthru" || f.Data.Mode == "passthru" {
					return &Problem{Key: want[i].Key, Dev: f.device(), Kind: Exists, Field: "mode",
						Text: fmt.Sprintf("%q of the sandbox %s is on the host's %q, which one of the mode passthru has for itself: take that away before, in a change of its own", l.Name, path.Base(l.key), f.HostParent.Name)}
				}
			}
		}
	}
	return nil
}

// once reports whether there is anything of which links of a type exclude each other.
func (k *Kind) once() bool { return k.Once != nil || IsMacvlan(k.Name) || IsIPvlan(k.Name) }

// IsMacvlan reports whether links of a type are macvlans, of which those of one parent have a
// hardware address each.
func IsMacvlan(kind string) bool { return kind == "macvlan" || kind == "macvtap" }

// IsIPvlan reports whether links of a type are ipvlans, of which those of one parent share its
// hardware address.
func IsIPvlan(kind string) bool { return kind == "ipvlan" || kind == "ipvtap" }

func (f *Iface) ips() (list []netip.Addr) {
	for _, a := range f.Addrs {
		list = append(list, a.Prefix.Addr())
	}
	return list
}

// onlyOnes names what a link on one of the host has that no other may have.
func onlyOnes(kind string, d rtnl.LinkData, parent int, mac []byte, ips []netip.Addr) (keys []string) {
	switch {
	case IsMacvlan(kind) && d.Mode == "passthru":
		return []string{fmt.Sprint(kind, " passthru on ", parent)}
	case IsMacvlan(kind) && mac != nil:
		return []string{fmt.Sprintf("%s %x on %d", kind, mac, parent)}
	case IsIPvlan(kind):
		for _, ip := range ips {
			keys = append(keys, fmt.Sprint(kind, " ", ip, " on ", parent))
		}
	case kind == "vlan":
		return []string{fmt.Sprint("vlan ", d.VLAN, " on ", parent)}
	case kind == "vxlan":
		return []string{fmt.Sprint("vxlan ", d.VNI)}
	}
	return keys
}

// excludes reports whether an interface can not be made while a link that it can become is
// there, which has some addresses.
func (f *Iface) excludes(l *rtnl.Link, addrs []rtnl.Addr) bool {
	switch {
	case IsMacvlan(f.Kind):
		return f.Data.Mode == "passthru" || f.MAC != nil && bytes.Equal(f.MAC, l.MAC)
	case IsIPvlan(f.Kind):
		return slices.ContainsFunc(addrs, func(a rtnl.Addr) bool { return slices.Contains(f.ips(), a.Prefix.Addr()) })
	}
	return true
}

// reshapeMoved plans to make of a link what is wanted, when it has come from another
// sandbox. What takes that back is done there (returned).
func (b *builder) reshapeMoved(key string, w *Iface, index int) {
	l := w.Comes.In.Link
	l.Index = index
	if to, from := w.reshaped(&l, w.HostParent.Index); !to.same(from) {
		b.wire = append(b.wire, Op{NS: key, Dev: w.device(), Do: to})
	}
}

// Excludes reports whether another such link may be refused as long as this one is there.
func (a NewLink) Excludes() bool {
	return IsIPvlan(a.Link.Kind) || len(onlyOnes(a.Link.Kind, a.Link.Data, a.Link.Parent, a.Link.MAC, nil)) > 0
}
