package plan

import (
	"fmt"
	"net/netip"

	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
)

// ChangeLink changes what makes a link of its kind, in place.
type ChangeLink struct {
	Index  int
	Kind   string
	Data   rtnl.LinkData
	Parent int    // of a vxlan; 0 leaves it
	Name   string // of Parent
}

func (a ChangeLink) Request(FDs) rtnl.Request {
	return rtnl.ChangeLink(a.Index, a.Kind, a.Data, a.Parent)
}

// Command returns the command that does the same.
func (a ChangeLink) Command(dev string) string {
	s := "link set dev " + shell.Quote(dev) + " type " + a.Kind
	if a.Kind == "macvlan" {
		return s + " mode " + a.Data.Mode
	}
	s += fmt.Sprintf(" id %d", a.Data.VNI)
	if a.Data.Local.IsValid() {
		s += " local " + a.Data.Local.String()
	}
	if a.Data.Remote.IsValid() {
		s += " remote " + a.Data.Remote.String()
	}
	if a.Name != "" {
		s += " dev " + shell.Quote(a.Name)
	}
	return s
}

// reshape plans to change in place what makes a link of its kind.
func (b *builder) reshape(w *Sandbox, f *Iface, l *rtnl.Link) {
	to := ChangeLink{Index: l.Index, Kind: f.Kind, Data: rtnl.LinkData{VNI: l.Data.VNI}}
	from, changed := to, false
	switch f.Kind {
	case "macvlan":
		changed = f.mode() != orElse(l.Data.Mode, "bridge")
		to.Data.Mode, from.Data.Mode = f.mode(), l.Data.Mode
	case "vxlan":
		if r := f.Data.Remote; r.IsValid() && r != l.Data.Remote {
			to.Data.Remote, from.Data.Remote, changed = r, l.Data.Remote, true
			if !from.Data.Remote.IsValid() {
				from.Data.Remote = unspecified(r)
			}
		}
		if a := f.Data.Local; a.IsValid() && a != l.Data.Local {
			to.Data.Local, from.Data.Local, changed = a, l.Data.Local, true
			if !from.Data.Local.IsValid() {
				from.Data.Local = unspecified(a)
			}
		}
		parent := f.HostParent
		if f.Parent != "" {
			parent = b.parent(w, f)
		}
		if index := b.parentIndex(w, f, parent); index != 0 && index != l.Parent {
			to.Parent, from.Parent, to.Name, changed = index, l.Parent, f.Parent, true
		}
	}
	if changed {
		b.wire = append(b.wire, Op{NS: w.Key, Dev: f.Name, Do: to, Half: true, Undo: []Op{{NS: w.Key, Dev: f.Name, Do: from}}})
	}
}

func (b *builder) parentIndex(w *Sandbox, f *Iface, parent *rtnl.Link) int {
	if parent != nil {
		return parent.Index
	}
	return b.index[end{w.Key, f.Parent}]
}

func unspecified(like netip.Addr) netip.Addr {
	if like.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
