package plan

import (
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// prune plans to take away what osl holds in a sandbox and nobody wants any
// more. What others made there stays.
func (b *builder) prune(w *Sandbox, k *known) {
	undo := func(index int, a Action) []Op {
		return b.lit(k, []Op{{NS: w.Key, Dev: k.nameOf(index), Do: a}})
	}
	for _, l := range k.topFirst(b.gone) {
		t, ok := k.tags[l.Index]
		if !ok {
			continue
		}
		ops := Remove(w.Key, l, t, k.part(l))
		if _, deletes := ops[0].Do.(DelLink); deletes && KindOf(l.Kind).Pair {
			ends := b.pairOf(w.Key, l)
			ops[0].Quiet = b.cut[ends] // it went with its other end
			b.cut[ends] = true
		}
		b.remove = append(b.remove, ops...)
		b.neighs = append(b.neighs, Forget(w.Key, l, t, k.part(l))...)
	}
	b.resize(w, k)
	for _, r := range k.Routes {
		if !r.Within(b.gone) && !b.to[KeyOfRoute(r)] {
			b.config = append(b.config, Op{NS: w.Key, Dev: k.nameOf(r.Index), Do: DelRoute{k.withNames([]rtnl.Route{r})[0]},
				Undo: undo(r.Index, restore(r)), Quiet: b.routeFell(w.Key, k, r)})
		}
	}
	wanted, comes, all := map[neighKey]rtnl.Neigh{}, map[seat]bool{}, map[int]bool{}
	for _, n := range w.Neighs {
		n.Index, n.Proto = b.index[end{w.Key, n.Dev}], rtnl.Protocol
		if n.OfBridge {
			b.seat(w, &n)
		}
		wanted[keyOf(n.Neigh)] = n.Neigh
		all[n.Index] = all[n.Index] || n.ForAll()
		if n.Bridge != 0 && !n.MDB {
			comes[seatOf(n.Neigh)] = true
		}
	}
	for _, n := range k.Neighs {
		if n.Proto != rtnl.Protocol && (n.MDB || !all[n.Index]) {
			continue // such as what a routing daemon tells a vxlan
		}
		if f := b.wanted[n.Index]; f != nil && n.ForAll() && remoteOf(f, k.ByIndex(n.Index)) == n.IP {
			continue // from now on it is there by that
		}
		key := keyOf(n)
		_, stays := wanted[key]
		if key.bridge && !key.mdb { // one that another port gets has left; one without a VLAN is in all of the port's
			key.vlan = 0
			_, everywhere := wanted[key]
			stays = stays || everywhere || comes[seatOf(n)]
		}
		if !b.gone[n.Index] && !stays && !b.leftBridge(w.Key, n) {
			n.BridgeName = k.nameOf(n.Bridge)
			op := Op{NS: w.Key, Dev: k.nameOf(n.Index), Do: DelNeigh{n}, Undo: undo(n.Index, NewNeigh{n}), Quiet: b.neighFell(w.Key, k, n)}
			if n.Bridge != 0 { // while the port is in its VLAN: the kernel deletes none of others
				b.aside = append(b.aside, op)
			} else {
				b.neighs = append(b.neighs, op)
			}
			for _, o := range sameSeats(wanted, n) {
				b.neighs = append(b.neighs, Op{NS: w.Key, Dev: k.nameOf(n.Index), Do: NewNeigh{o}, Quiet: true})
			}
		}
	}
	b.repair(w, k)
	for i := range b.sheds {
		b.sheds[i].Undo = b.risen(b.lit(k, b.sheds[i].Undo))
		if d, is := b.sheds[i].Do.(DelAddr); is && d.Addr.Prefix.Addr().Is6() && (b.cycled[d.Addr.Index] || b.fell(w.Key, k, d.Addr.Index, true)) {
			b.sheds[i].Quiet = true
		}
	}
	b.config = append(b.config, b.sheds...)
}

// fell reports whether what a link has of a family goes by a step before it is
// taken away: with the link's IPv6, or as the link is set down. A command that
// takes it away would fail then.
func (b *builder) fell(key string, k *known, index int, six bool) bool {
	return b.fallen[index] || six && b.dark[end{key, k.nameOf(index)}]
}

func (b *builder) routeFell(key string, k *known, r rtnl.Route) bool {
	if r.Refuses() && r.Dst.Addr().Is6() { // which the kernel has on lo
		return b.dark[end{key, "lo"}]
	}
	if r.Src.Is4() && b.moved[r.Src] {
		return true
	}
	if r.Nexthop != 0 {
		return b.nexthopFell(key, k, r.Nexthop)
	}
	if len(r.Hops) == 0 {
		return b.fell(key, k, r.Index, r.Dst.Addr().Is6())
	}
	return !slices.ContainsFunc(r.Hops, func(h rtnl.Hop) bool { return !b.fell(key, k, h.Index, r.Dst.Addr().Is6()) })
}

// neighFell is that for a neighbour, which also goes with the link's hardware
// address, and its last IPv4 address.
func (b *builder) neighFell(key string, k *known, n rtnl.Neigh) bool {
	return !n.FDB && n.Bridge == 0 && (b.fell(key, k, n.Index, n.IP.Is6()) || b.forgot[end{key, b.called[place{key, n.Index}]}] || b.bare[n.Index] && n.IP.Is4())
}

// shedding plans to take addresses that nobody wants from the links that stay:
// what has to be before others come, at once, and the rest for later.
func (b *builder) shedding(w *Sandbox, k *known) {
	for i := range k.Links {
		l := &k.Links[i]
		if b.gone[l.Index] || !slices.ContainsFunc(k.addrs[l.Index], b.drops) {
			continue
		}
		ops := b.shed(w, k, l)
		if len(ops) == 0 {
			continue
		}
		if _, deletes := ops[0].Do.(DelAddr); !deletes {
			ops[0].Alone = true
			b.config, ops = append(b.config, ops[0]), ops[1:]
		}
		// What comes has to be there: a link without any address loses more.
		ops[0].Apart = len(b.sheds) == 0
		b.sheds = append(b.sheds, ops...)
	}
}

func (b *builder) shed(w *Sandbox, k *known, l *rtnl.Link) []Op {
	addrs := slices.DeleteFunc(slices.Clone(k.addrs[l.Index]), func(a rtnl.Addr) bool { return b.drops(a) && b.renews(a) })
	var comes []netip.Prefix
	promote := l.Inet.Promote
	if f := b.wanted[l.Index]; f != nil {
		for _, a := range f.Addrs {
			if a.Prefix.Addr().Is4() { // behind another one of its peer's subnet
				a.Prefix = a.On(l.Index).Subnet()
			}
			comes = append(comes, a.Prefix)
		}
		promote = wishedPromote(w, f, promote)
	}
	ops := Shed(w.Key, l.Name, l, addrs, b.drops, comes, promote)
	back := !b.bare[l.Index]
	for i := range ops {
		d, is := ops[i].Do.(DelAddr)
		if is && !back && d.Addr.Prefix.Addr().Is4() { // the first is undone last
			back = true
			ops[i].Undo = append(ops[i].Undo, WithLastIPv4(w.Key, l, k.part(l))...)
		} else if is { // osl's other routes have steps of their own
			ops[i].Undo = append(ops[i].Undo, k.backFrom(w.Key, d.Addr, func(r rtnl.Route) bool {
				return r.Whole != nil || r.Within(b.gone) || b.to[KeyOfRoute(r)]
			})...)
		}
	}
	return ops
}

// wishedPromote returns what promote_secondaries of a link is to be.
func wishedPromote(w *Sandbox, f *Iface, now uint32) uint32 {
	wish := func(list []Setting, path string) {
		for _, s := range list {
			if s.Path == path {
				now = uint32(b2i(s.Value != "0"))
			}
		}
	}
	wish(w.Sysctls, "ipv4/conf/default/promote_secondaries")
	wish(f.Sysctls, "ipv4/conf/%s/promote_secondaries")
	return now
}

// lit leaves out of ops those that bring IPv6 to a link whose IPv6 goes off: to
// undo that brings it all back, and before that the kernel refuses it.
func (b *builder) lit(k *known, ops []Op) []Op {
	return slices.DeleteFunc(ops, func(op Op) bool {
		var ip netip.Addr
		index, _ := on(op.Do)
		dark := func(index int) bool { return b.dark[end{op.NS, k.nameOf(index)}] }
		switch a := op.Do.(type) {
		case NewAddr:
			ip = a.Addr.Prefix.Addr()
		case PutBack:
			if addr, is := a.Kept.Addr(); is {
				ip, index = addr.Prefix.Addr(), addr.Index
			} else if r, is := a.Kept.Route(); is {
				if ip, index = r.Dst.Addr(), r.Index; r.Refuses() {
					index = loopback
				}
			}
		case NewRoute:
			if ip = a.Route.Dst.Addr(); a.Route.Refuses() {
				index = loopback
			}
		case ReplaceRoute:
			ip = a.Route.Dst.Addr()
			if slices.ContainsFunc(a.Route.Hops, func(h rtnl.Hop) bool { return dark(h.Index) }) || a.Route.Refuses() && dark(loopback) {
				return ip.Is6()
			}
		case NewNeigh:
			if !a.Neigh.FDB {
				ip = a.Neigh.IP
			}
		}
		return ip.Is6() && dark(index)
	})
}

// risen leaves out of ops those that bring an IPv6 address to a link that is set down: to
// undo that brings it back, and only on a link that is up the kernel makes all of its routes.
func (b *builder) risen(ops []Op) []Op {
	return slices.DeleteFunc(ops, func(op Op) bool {
		switch a := op.Do.(type) {
		case NewAddr:
			return a.Addr.Prefix.Addr().Is6() && b.fallen[a.Addr.Index]
		case PutBack:
			addr, is := a.Kept.Addr()
			return is && addr.Prefix.Addr().Is6() && b.fallen[addr.Index]
		}
		return false
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
func Forget(key string, l *rtnl.Link, t Tag, s *State) []Op {
	if t.Origin != Host {
		return nil
	}
	return forgets(key, l, s)
}

// forgets is Forget of one that stays a link when it leaves the sandbox.
func forgets(key string, l *rtnl.Link, s *State) (ops []Op) {
	for _, n := range s.Neighs {
		if n.FDB && n.Bridge == 0 && n.Index == l.Index && n.Proto == rtnl.Protocol && !l.HasAsRemote(n) {
			ops = append(ops, Op{NS: key, Dev: l.Name, Do: DelNeigh{n}, Undo: []Op{{NS: key, Dev: l.Name, Do: NewNeigh{n}}}})
		}
	}
	return ops
}

// release plans to give a link that stays what it had before.
func release(key string, l *rtnl.Link, t Tag, s *State) []Op {
	var ops []Op
	for _, r := range s.routesOf(l.Index) {
		ops = append(ops, Op{NS: key, Dev: devOf(r, l), Do: DelRoute{r}, Undo: []Op{{NS: key, Dev: devOf(r, l), Do: restore(r)}}})
	}
	for _, n := range s.Neighs {
		if n.Index == l.Index && n.Proto == rtnl.Protocol {
			ops = append(ops, Op{NS: key, Dev: l.Name, Do: DelNeigh{n}, Undo: []Op{{NS: key, Dev: l.Name, Do: NewNeigh{n}}}})
		}
	}
	if q, own := s.QdiscOf(l); own {
		ops = append(ops, unimpaired(key, l, *q))
	}
	var addrs []rtnl.Addr
	for _, a := range s.Addrs {
		if a.Index == l.Index {
			addrs = append(addrs, a)
		}
	}
	ops = append(ops, Shed(key, l.Name, l, addrs, IsOslsAddr, nil, l.Inet.Promote)...)
	up, alias := l.Up(), l.Alias
	var undo []Op
	if t.Source != l.Name && up && !RenamesUp {
		ops, undo = append(ops, SetDown(key, l, s)), []Op{lowered(key, l.Name, l)}
	}
	if t.Source == l.Name {
		t.Source = ""
	}
	set := lacks(rtnl.LinkSet{Index: l.Index, Name: t.Source, MAC: t.MAC, MTU: t.MTU, TxQLen: &t.TxQLen, Alias: &t.Alias, Up: &t.Up, Options: t.Was}, l)
	back := rtnl.LinkSet{Index: l.Index, Name: l.Name, Alias: &alias, Up: &up}
	_, back.Options = linkLacks(set.Options, &l.Options)
	if set.MAC != nil {
		back.MAC = l.MAC
	}
	if set.MTU != 0 {
		back.MTU = l.MTU
	}
	if set.TxQLen != nil {
		back.TxQLen = &l.TxQLen
	}
	for _, name := range t.Gave(l) {
		ops = append(ops, Op{NS: key, Dev: l.Name, Do: DelAltName{l.Index, []string{name}}, Undo: []Op{{NS: key, Dev: l.Name, Do: NewAltName{l.Index, []string{name}}}}})
	}
	undo = append(undo, Op{NS: key, Dev: l.Name, Do: SetLink{Link: back}})
	return append(ops, Op{NS: key, Dev: l.Name, Half: true, Do: SetLink{Link: set}, Undo: undo})
}
