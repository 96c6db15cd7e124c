package plan

import (
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// An address that is to have what the kernel does not change goes, and comes again as it is
// wanted. It keeps its place: which address of a link is the first chooses the source of what
// is sent, and the first of an IPv4 subnet takes the others along. So those behind it go
// before it, the last one first, and come after it; to undo that is the same, with the
// addresses as they were.

// standIn is an IPv4 address that is nobody's (RFC 7600). While all others of a link go and come
// it stands there: with the last one the kernel takes routes and neighbors, also those of others.
var standIn = netip.MustParsePrefix("192.0.0.8/32")

// renewals finds the addresses of a link that go and come again, the oldest of a family first,
// those among them that nobody wants any more.
func (v *leaving) renewals(w *Sandbox, k *known, index int, f *Iface) {
	goes, scopes := map[netip.Prefix]bool{}, map[netip.Prefix]uint8{}
	for _, a := range f.Addrs {
		to := a.On(index)
		if h, there := k.at[address{index, a.Prefix}]; there && (IsOslsAddr(h) || mended(w, k, h)) {
			if to = a.over(h); !changesInPlace(h, to) {
				goes[a.Prefix] = true
			}
		}
		scopes[to.Subnet().Masked()] = to.Scope
	}
	for _, h := range k.addrs[index] { // the kernel wants one scope of all of an IPv4 subnet
		if scope, comes := scopes[h.Subnet().Masked()]; comes && h.Prefix.Addr().Is4() && v.drops(h) && h.Scope != scope {
			goes[h.Prefix] = true
		}
	}
	if len(goes) == 0 {
		return
	}
	var four, six []rtnl.Addr
	for _, h := range k.addrs[index] {
		if h.Prefix.Addr().Is4() {
			four = append(four, h)
		} else if goes[h.Prefix] || !h.Learned() && !h.Prefix.Addr().IsLinkLocalUnicast() {
			six = append(six, h)
		}
	}
	slices.Reverse(six) // the kernel lists the newest first
	for _, list := range [][]rtnl.Addr{four, six} {
		if !slices.ContainsFunc(list, func(h rtnl.Addr) bool { return goes[h.Prefix] }) {
			continue
		}
		at := slices.IndexFunc(list, func(h rtnl.Addr) bool { return goes[h.Prefix] || v.drops(h) })
		v.renewed[index] = append(v.renewed[index], list[at:]...)
		for _, h := range list[at:] {
			v.comesAgain[address{index, h.Prefix}] = true
		}
		if at == 0 && list[0].Prefix.Addr().Is4() {
			v.standsIn[index] = true
		}
	}
}

// renews reports whether an address goes, and is made again or not, before others come.
func (v *leaving) renews(h rtnl.Addr) bool { return v.comesAgain[address{h.Index, h.Prefix}] }

// renew plans it.
func (b *builder) renew(w *Sandbox, f *Iface, k *known, l *rtnl.Link) {
	list := b.renewed[l.Index]
	if len(list) == 0 {
		return
	}
	add := func(do Action, undo ...Op) {
		b.config = append(b.config, Op{NS: w.Key, Dev: f.Name, Do: do, Undo: undo, Half: TakesAway(do)})
	}
	del := func(a rtnl.Addr) Op { return Op{NS: w.Key, Dev: f.Name, Do: DelAddr{a}} }
	if b.standsIn[l.Index] {
		a := Addr{Prefix: standIn, Scope: new(uint8)}
		*a.Scope = linux.RT_SCOPE_HOST // no source of anything
		add(NewAddr{a.On(l.Index)}, del(a.On(l.Index)))
		defer func() {
			b.late = append(b.late, Op{NS: w.Key, Dev: f.Name, Do: DelAddr{a.On(l.Index)}, Undo: []Op{{NS: w.Key, Dev: f.Name, Do: NewAddr{a.On(l.Index)}}}, Half: true, Apart: true})
		}()
	}
	wanted := map[netip.Prefix]Addr{}
	for _, a := range f.Addrs {
		wanted[a.Prefix] = a
	}
	first := len(b.config)
	for _, h := range slices.Backward(list) {
		ip := h.Prefix.Addr()
		b.moved[ip] = true
		undo := append([]Op{putBack(w.Key, f.Name, h)}, WithSource(w.Key, k.State, ip)...)
		if b.drops(h) {
			undo = b.risen(undo)
		}
		add(DelAddr{h}, undo...)
	}
	b.config[first].Apart = b.standsIn[l.Index]
	for _, h := range list {
		if b.drops(h) {
			continue
		}
		op := putBack(w.Key, f.Name, h)
		if a, is := wanted[h.Prefix]; is && (IsOslsAddr(h) || mended(w, k, h)) {
			h = a.over(h)
			op.Do = NewAddr{h}
		}
		add(op.Do, del(h))
		// Those of osl have steps of their own.
		b.late = append(b.late, k.backFrom(w.Key, h, func(r rtnl.Route) bool { return r.Whole != nil && !r.Within(b.gone) })...)
	}
}

// over returns the address as it is to be in the place of one that is there.
func (a Addr) over(h rtnl.Addr) rtnl.Addr {
	to := a.On(h.Index)
	if a.Scope == nil && h.Scope == linux.RT_SCOPE_UNIVERSE {
		to.Scope = h.Scope // as an alias IP of the seed's calls has it
	}
	return to
}

// mended reports whether somebody put an address of a sandbox, or of a link on the host that is
// the network's, there by hand.
func mended(w *Sandbox, k *known, h rtnl.Addr) bool {
	osls := k.made() || w.Key == HostNS && k.tags[h.Index].OnHostFor(w.Network)
	return h.Proto == 0 && !h.Learned() && w.Prune && osls && !(h.Index == loopback && Addr{Prefix: h.Prefix}.isLoopback())
}
