package plan

import (
	"net/netip"
	"strings"

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
	var b strings.Builder
	b.WriteString("link set dev " + shell.Quote(dev) + " type " + a.Kind)
	KindOf(a.Kind).change(&b, &a)
	return b.String()
}

// reshape plans to change in place what makes a link of its kind.
func (b *builder) reshape(w *Sandbox, f *Iface, l *rtnl.Link) {
	kind := KindOf(f.Kind)
	if kind.reshape == nil {
		return
	}
	to := ChangeLink{Index: l.Index, Kind: f.Kind}
	from := to
	kind.reshape(f, l, &to, &from)
	if !kind.ownParent { // the device of a tunnel
		parent := f.HostParent
		if f.Parent != "" {
			parent = b.parent(w, f)
		}
		if index := b.parentIndex(w, f, parent); index != 0 && index != l.Parent {
			to.Parent, from.Parent, to.Name = index, l.Parent, f.Parent
		}
	}
	if to != from {
		b.wire = append(b.wire, Op{NS: w.Key, Dev: f.Name, Do: to, Half: true, Undo: []Op{{NS: w.Key, Dev: f.Name, Do: from}}})
	}
}

func (b *builder) parentIndex(w *Sandbox, f *Iface, parent *rtnl.Link) int {
	if parent != nil {
		return parent.Index
	}
	return b.index[end{w.Key, f.Parent}]
}

// Unspecified is the address that stands for none of a family.
func Unspecified(like netip.Addr) netip.Addr {
	if like.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
