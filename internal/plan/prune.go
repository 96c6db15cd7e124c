//go:build linux

package plan

import (
	"bytes"
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// prune plans to take away what osl holds in a sandbox and nobody wants any
// more. What others made there stays.
func (b *builder) prune(w *Sandbox, s *State) {
	wanted := map[int]*Iface{}
	for i := range w.Ifaces {
		wanted[b.index[end{w.Key, w.Ifaces[i].Name}]] = &w.Ifaces[i]
	}
	undo := func(index int, a Action) []Op {
		return b.lit(s, []Op{{NS: w.Key, Dev: name(s, index), Do: a}})
	}
	for i := range s.Links {
		l := &s.Links[i]
		if t, ok := ParseTag(l.Alias); ok && b.gone[l.Index] {
			b.remove = append(b.remove, Remove(w.Key, l, t, s)...)
			b.neighs = append(b.neighs, Forget(w.Key, l, t, s)...)
		}
	}
	for _, r := range s.Routes {
		if !b.gone[r.Index] && !b.to[r.Dst] {
			b.config = append(b.config, Op{NS: w.Key, Dev: name(s, r.Index), Do: DelRoute{r},
				Undo: undo(r.Index, NewRoute{r})})
		}
	}
	for _, n := range s.Neighs {
		if !b.gone[n.Index] && !wantsNeigh(w, name(s, n.Index), n) {
			b.neighs = append(b.neighs, Op{NS: w.Key, Dev: name(s, n.Index), Do: DelNeigh{n},
				Undo: undo(n.Index, NewNeigh{n})})
		}
	}
	back := map[int]bool{}
	for _, a := range s.Addrs {
		if !oslsAddr(a) || b.gone[a.Index] || wanted[a.Index].has(a.Prefix) {
			continue
		}
		undo := undo(a.Index, NewAddr{a})
		if b.bare[a.Index] && a.Prefix.Addr().Is4() && !back[a.Index] { // the first is undone last
			back[a.Index] = true
			undo = append(undo, WithLastIPv4(w.Key, s.ByIndex(a.Index), s)...)
		}
		b.config = append(b.config, Op{NS: w.Key, Dev: name(s, a.Index), Do: DelAddr{a}, Undo: undo})
	}
}

// lit leaves out of ops those that bring IPv6 to a link whose IPv6 goes off: to
// undo that brings it all back, and before that the kernel refuses it.
func (b *builder) lit(s *State, ops []Op) []Op {
	return slices.DeleteFunc(ops, func(op Op) bool {
		var ip netip.Addr
		index, _ := on(op.Do)
		switch a := op.Do.(type) {
		case NewAddr:
			ip = a.Addr.Prefix.Addr()
		case NewRoute:
			ip = a.Route.Dst.Addr()
		case NewNeigh:
			if !a.Neigh.FDB {
				ip = a.Neigh.IP
			}
		}
		return ip.Is6() && b.dark[end{op.NS, name(s, index)}]
	})
}

func wantsNeigh(w *Sandbox, dev string, h rtnl.Neigh) bool {
	return slices.ContainsFunc(w.Neighs, func(n Neigh) bool {
		return n.Dev == dev && n.FDB == h.FDB && (n.FDB && bytes.Equal(n.MAC, h.MAC) || !n.FDB && n.IP == h.IP)
	})
}

// Remove plans to take a link of osl's out of a sandbox: back to the host,
// deleted, or as it was before osl configured it.
func Remove(key string, l *rtnl.Link, t Tag, s *State) []Op {
	switch t.Origin {
	case Host:
		op := goHome(key, l.Name, l.Index, t)
		op.Do, op.Last = op.Do.(SetLink).Since(l), true
		return []Op{op}
	case Kept:
		return release(key, l, t, s)
	}
	return []Op{{NS: key, Dev: l.Name, Do: DelLink{l.Index}, Last: true}}
}

// Forget plans to take osl's forwarding entries from a vxlan that goes home: the
// kernel leaves them on it. Those that it brought stay.
func Forget(key string, l *rtnl.Link, t Tag, s *State) (ops []Op) {
	for _, n := range s.Neighs {
		if t.Origin == Host && n.FDB && n.Index == l.Index {
			ops = append(ops, Op{NS: key, Dev: l.Name, Do: DelNeigh{n}, Undo: []Op{{NS: key, Dev: l.Name, Do: NewNeigh{n}}}})
		}
	}
	return ops
}

// release plans to give a link that stays what it had before.
func release(key string, l *rtnl.Link, t Tag, s *State) []Op {
	var ops []Op
	for _, r := range s.Routes {
		if r.Index == l.Index {
			ops = append(ops, Op{NS: key, Dev: l.Name, Do: DelRoute{r}, Undo: []Op{{NS: key, Dev: l.Name, Do: NewRoute{r}}}})
		}
	}
	for _, a := range s.Addrs {
		if a.Index == l.Index && oslsAddr(a) {
			ops = append(ops, Op{NS: key, Dev: l.Name, Do: DelAddr{a}, Undo: []Op{{NS: key, Dev: l.Name, Do: NewAddr{a}}}})
		}
	}
	up, alias := l.Up(), l.Alias
	if t.Source != l.Name && up && !RenamesUp {
		ops = append(ops, downToRename(key, l, s))
	}
	if t.Source == l.Name {
		t.Source = ""
	}
	set := lacks(rtnl.LinkSet{Index: l.Index, Name: t.Source, MAC: t.MAC, MTU: t.MTU, TxQLen: &t.TxQLen, Alias: &t.Alias, Up: &t.Up}, l)
	back := rtnl.LinkSet{Index: l.Index, Name: l.Name, Alias: &alias, Up: &up}
	if set.MAC != nil {
		back.MAC = l.MAC
	}
	if set.MTU != 0 {
		back.MTU = l.MTU
	}
	if set.TxQLen != nil {
		back.TxQLen = &l.TxQLen
	}
	return append(ops, Op{NS: key, Dev: l.Name, Half: true, Do: SetLink{Link: set}, Undo: []Op{{NS: key, Dev: l.Name, Do: SetLink{Link: back}}}})
}
