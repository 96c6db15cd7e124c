package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
)

// ChangeLink changes what makes a link of its kind, in place: to Data, of which it
// had Was.
type ChangeLink struct {
	Index     int
	Kind      string
	Data, Was rtnl.LinkData
	Parent    int    // of a tunnel; 0 for none
	MTU       int    // in bytes, of a type of which the kernel chooses it anew; 0 for that
	Name      string // of Parent, where that is another than it was
	Far       bool   // the tunnel is on the host
}

func (a ChangeLink) Request(FDs) rtnl.Request {
	return rtnl.ChangeLink(a.Index, a.Kind, a.Data, a.Parent, a.MTU)
}

// Command returns the command that does the same.
func (a ChangeLink) Command(dev string) string {
	var b strings.Builder
	b.WriteString("link set dev " + shell.Quote(dev))
	if a.MTU != 0 {
		fmt.Fprintf(&b, " mtu %d", a.MTU)
	}
	b.WriteString(" type " + a.Kind)
	kind := KindOf(a.Kind)
	for i, name := range kind.Fields {
		x := fieldOf(name)
		switch {
		case x != nil && (i == 0 && kind.needsID || slices.Contains(kind.InPlace, name) && x.text(&a.Data) != x.text(&a.Was)):
			if x.text(&a.Data) == "" {
				fmt.Fprintf(&b, " %s 0", orElse(x.word, x.name))
			}
			x.command(&b, &a.Data)
		case name == "parent" && a.Name != "":
			fmt.Fprintf(&b, " dev %s", shell.Quote(a.Name))
		}
	}
	return b.String()
}

// reshape plans to change in place what makes a link of its kind.
func (b *builder) reshape(w *Sandbox, f *Iface, l *rtnl.Link) {
	to, from := f.reshaped(l, b.parentIndex(w, f))
	if to.same(from) {
		return
	}
	if KindOf(f.Kind).resizes && f.MTU == 0 { // and not by the way to the other end, which a new one does not have yet
		to.MTU = b.usualMTU(w, f, l)
	}
	var list []Op
	undo := []Op{{NS: w.Key, Dev: f.Name, Do: from}}
	if b.turned(w, f, l) {
		undo = append(undo, b.forAll(w.Key, l)...)
	}
	mtu := func(n int) Op {
		return Op{NS: w.Key, Dev: f.Name, Do: SetLink{Link: rtnl.LinkSet{Index: l.Index, MTU: n}}}
	}
	if reparented(to, from) { // to one with a lower MTU, which lowers its own
		undo = append(undo, mtu(l.MTU))
	}
	if reenters(to.Parent, f, l) {
		none, back := to, from
		none.Data.Remote = Unspecified(l.Data.Remote)
		back.Data.Remote = none.Data.Remote
		list = append(list, Op{NS: w.Key, Dev: f.Name, Do: none, Half: true, Undo: undo})
		to.Was, to.Name = none.Data, ""
		undo = []Op{{NS: w.Key, Dev: f.Name, Do: back}}
	}
	list = append(list, Op{NS: w.Key, Dev: f.Name, Do: to, Half: true, Undo: undo})
	if reparented(to, from) && f.MTU != 0 { // which the former parent may have forbidden
		list = append(list, mtu(f.MTU))
	}
	wire := &b.wire
	if b.needsIPv6(w, f) {
		wire = &b.over
	}
	*wire = append(*wire, list...)
}

// reparented reports whether a tunnel, of which the kernel keeps the MTU, gets another parent.
func reparented(to, from ChangeLink) bool {
	return to.Parent != from.Parent && !KindOf(to.Kind).resizes
}

// same reports whether two make the same of a link.
func (a ChangeLink) same(o ChangeLink) bool { return a.Data == o.Data && a.Parent == o.Parent }

// reshaped returns what makes a link what is wanted of it, on a parent where it is a
// tunnel's and not 0, and what takes that back.
func (f *Iface) reshaped(l *rtnl.Link, parent int) (to, from ChangeLink) {
	kind := KindOf(f.Kind)
	to = ChangeLink{Index: l.Index, Kind: f.Kind, Data: l.Data, Was: l.Data, Far: l.ParentNS}
	if !kind.ownParent {
		to.Parent = l.Parent
	}
	from = to
	for _, name := range kind.InPlace {
		x := fieldOf(name)
		want, have := x.text(&f.Data), x.text(&l.Data)
		if want == have || want == "" && !f.dropsField(name) {
			continue
		}
		x.copy(&to.Data, &f.Data)
		switch p := x.at(&from.Data).(type) {
		case *netip.Addr:
			if !p.IsValid() {
				*p = Unspecified(*x.at(&f.Data).(*netip.Addr))
			} else if want == "" {
				*x.at(&to.Data).(*netip.Addr) = Unspecified(*p)
			}
		case *string:
			if x.gone != nil {
				*x.at(&to.Data).(*string), *p = x.gone(want, have), x.gone(have, want)
			}
		}
	}
	if remote := remoteOf(f, l); remote != to.Data.Remote { // it sends to others instead
		to.Data.Remote = Unspecified(l.Data.Remote)
	}
	if !kind.ownParent && slices.Contains(kind.Fields, "parent") && parent != 0 && parent != l.Parent { // the device of a tunnel
		to.Parent, to.Name = parent, f.Parent
	}
	from.Was = to.Data
	if kind.resizes {
		to.MTU, from.MTU = f.MTU, l.MTU
	}
	return to, from
}

// remoteOf returns the remote that a vxlan is to have itself, which is not valid for
// none. The kernel makes a forwarding entry of it, and takes that away with it.
func remoteOf(f *Iface, l *rtnl.Link) netip.Addr {
	switch {
	case len(f.Remotes) > 0:
		return netip.Addr{}
	case f.Data.Remote.IsValid() || l == nil || f.dropsField("remote"):
		return f.Data.Remote
	}
	return l.Data.Remote
}

// turned reports whether a vxlan gets another remote, or none any more, or the same again. With
// one the kernel takes the mark from all of its entries for everybody that says they are osl's.
func (b *builder) turned(w *Sandbox, f *Iface, l *rtnl.Link) bool {
	if l == nil || l.Kind != "vxlan" {
		return false
	}
	return remoteOf(f, l) != l.Data.Remote || reenters(b.parentIndex(w, f), f, l)
}

// reenters reports whether a vxlan keeps its remote on another parent. The entry for everybody
// that the kernel made of the remote goes on sending by the former parent, and no longer goes
// with the remote: so that is taken away, and comes again.
func reenters(parent int, f *Iface, l *rtnl.Link) bool {
	return l.Kind == "vxlan" && parent != 0 && parent != l.Parent && l.Data.Remote.IsValid() && remoteOf(f, l) == l.Data.Remote
}

// forAll returns what makes the entries for everybody osl's again.
func (b *builder) forAll(key string, l *rtnl.Link) (ops []Op) {
	for _, n := range b.known[key].linkNbs[l.Index] {
		if n.ForAll() && n.Proto == rtnl.Protocol {
			ops = append(ops, Op{NS: key, Dev: l.Name, Do: NewNeigh{n}})
		}
	}
	return ops
}

// parentIndex returns the index of what an interface is to be on, 0 for nothing.
func (b *builder) parentIndex(w *Sandbox, f *Iface) int {
	parent := f.HostParent
	if f.Parent != "" {
		parent = b.parent(w, f)
	}
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
