package plan

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
)

// On returns the address as it is to be on a link.
func (a Addr) On(index int) rtnl.Addr {
	r := rtnl.Addr{Index: index, Prefix: a.Prefix, Proto: rtnl.Protocol, Peer: a.Peer, Lifetime: a.Lifetime, Flags: a.Flags}
	if a.Alias {
		r.Proto = rtnl.AliasProtocol
	}
	if a.Prefix.Addr().IsLinkLocalUnicast() {
		r.Scope = linux.RT_SCOPE_LINK
	}
	if a.Prefix.Addr().Is4() && a.Prefix.Addr().IsLoopback() {
		r.Scope = linux.RT_SCOPE_HOST // the kernel refuses any other
	}
	if a.Scope != nil {
		r.Scope = *a.Scope
	}
	if index == 1 && a.isLoopback() {
		r.Proto = 0
	}
	return r
}

// isLoopback reports whether the address is one of those that the kernel gives
// lo. It stays the kernel's.
func (a Addr) isLoopback() bool {
	return a.Prefix == LoopbackIPv4 || a.Prefix == netip.MustParsePrefix("::1/128")
}

// LoopbackIPv4 is the address that a new namespace has.
var LoopbackIPv4 = netip.MustParsePrefix("127.0.0.1/8")

// IsOslsAddr reports whether an address is osl's.
func IsOslsAddr(a rtnl.Addr) bool { return a.Proto == rtnl.Protocol || a.Proto == rtnl.AliasProtocol }

func (p *phases) addr(key, dev string, index int, a Addr) {
	r := a.On(index)
	p.config = append(p.config, Op{NS: key, Dev: dev, Do: NewAddr{r}, Undo: []Op{{NS: key, Dev: dev, Do: DelAddr{r}}}})
}

// reroute gives the IPv6 addresses of a link that goes up the routes that go with them:
// the kernel makes those alone to the subnets of addresses that stay for ever, and the one
// to a peer only if a work queue finds the link up, in which an address comes into use
// that was just added. So one with a peer comes again, and the ones behind it, since the
// oldest is what a link is known by. The others are said once more: where it has no memory
// that it can take without waiting, as when many namespaces are made at once, the kernel
// drops an address of a link that goes up, or its route, and tells nobody.
func (b *builder) reroute(key, dev string, index int, w *Iface) {
	k, again := b.known[key], false
	for _, a := range w.Addrs {
		r := a.On(index)
		if !r.Prefix.Addr().Is6() {
			continue
		}
		if again = again || r.Peer.IsValid(); again {
			undo := []Op{{NS: key, Dev: dev, Do: NewAddr{r}}}
			if k != nil {
				if _, there := k.at[address{index, r.Prefix}]; there {
					undo = append(undo, WithSource(key, k.State, r.Prefix.Addr())...)
					b.moved[r.Prefix.Addr()] = true
				}
			}
			b.config = append(b.config, Op{NS: key, Dev: dev, Do: DelAddr{r}, Undo: undo, Quiet: true},
				Op{NS: key, Dev: dev, Do: NewAddr{r}, Undo: []Op{{NS: key, Dev: dev, Do: DelAddr{r}}}, Quiet: true})
		} else {
			forever := r.Lifetime == nil || r.Lifetime.Valid == rtnl.Forever
			b.config = append(b.config, Op{NS: key, Dev: dev, Do: ReplaceAddr{r}, Quiet: forever})
		}
	}
}

// Shed plans to take addresses from a link that stays, and nothing with them.
// With the first address of an IPv4 subnet the kernel takes the others, unless
// the link is told to promote them: so it is, for as long as that takes, by the
// first step, which comes before any address is added, since to undo that takes
// it away. addrs are all addresses of the link in the kernel's order; comes are
// those that it is given, and promote is what the setting is to be afterwards.
func Shed(key, dev string, l *rtnl.Link, addrs []rtnl.Addr, gone func(rtnl.Addr) bool, comes []netip.Prefix, promote uint32) []Op {
	subnets, comes6 := map[netip.Prefix]*subnet{}, map[netip.Addr]bool{}
	for _, p := range comes {
		if p.Addr().Is4() {
			subnets[p.Masked()] = &subnet{stays: true}
		} else {
			comes6[p.Addr()] = true
		}
	}
	for _, a := range addrs {
		if !a.Prefix.Addr().Is4() {
			continue
		}
		n := subnets[a.Subnet().Masked()]
		if n == nil {
			n = &subnet{}
			subnets[a.Subnet().Masked()] = n
		}
		n.see(a, gone(a))
	}
	// To undo ends with those that stay going behind again: which is first chooses
	// the source of what is sent.
	var ops, turn []Op
	needed := false
	// The last is the first to go: so none takes another one along that goes too,
	// and an undo makes them in their order.
	for _, a := range slices.Backward(addrs) {
		if !gone(a) || comes6[a.Prefix.Addr()] { // with another prefix length: it went before that came
			continue
		}
		// Where this is refused, the first of its subnet may take it along all the same.
		op := Op{NS: key, Dev: dev, Do: DelAddr{a}, Undo: []Op{putBack(key, dev, a)}, Half: true}
		if n := subnets[a.Subnet().Masked()]; n != nil {
			needed = needed || n.turns || n.first && n.stays
			for i := 0; n.turns && i < len(n.after); i++ {
				turn = append(turn, Op{NS: key, Dev: dev, Do: DelAddr{n.after[i]}}, putBack(key, dev, n.after[i]))
			}
			n.turns = false
		}
		ops = append(ops, op)
	}
	if !needed {
		return ops
	}
	set := func(value uint32) Op {
		return Op{NS: key, Dev: dev, Do: SetLink{Link: rtnl.LinkSet{Index: l.Index, Promote: &value}}}
	}
	on, off := set(1), set(promote)
	on.Undo, off.Undo = append(turn, set(l.Inet.Promote)), []Op{set(1)}
	ops[0].Apart = true
	return append(append([]Op{on}, ops...), off)
}

// subnet is what happens to the IPv4 addresses of one on a link.
type subnet struct {
	first bool        // the one that has the others behind it goes
	stays bool        // one stays, or comes
	gone  bool        // one goes
	after []rtnl.Addr // those behind the first that goes
	turns bool        // one of these stays
}

func (n *subnet) see(a rtnl.Addr, gone bool) {
	n.first = n.first || gone && !a.Secondary()
	n.stays = n.stays || !gone
	if n.gone {
		n.after = append(n.after, a)
		n.turns = n.turns || !gone
	}
	n.gone = n.gone || gone
}

// putBack adds an address that was there, one of others as the kernel described it.
func putBack(key, dev string, a rtnl.Addr) Op {
	if a.Whole != nil {
		return Op{NS: key, Dev: dev, Do: PutBack{*a.Whole}}
	}
	return Op{NS: key, Dev: dev, Do: NewAddr{a}}
}

// inPlace adds an IPv6 address of a link that was there, and those that came after it
// again: the oldest is what a link is known by. The kernel lists the newest first, and
// takes them as the source from routes.
func inPlace(key, dev string, a rtnl.Addr, k *known) []Op {
	ops, addrs := []Op{putBack(key, dev, a)}, k.addrs[a.Index]
	sources := WithSource(key, k.State, a.Prefix.Addr())
	at := slices.IndexFunc(addrs, func(x rtnl.Addr) bool { return x.Prefix == a.Prefix })
	for _, x := range slices.Backward(addrs[:max(at, 0)]) {
		if ip := x.Prefix.Addr(); ip.Is6() && !ip.IsLinkLocalUnicast() {
			ops = append(ops, Op{NS: key, Dev: dev, Do: DelAddr{x}}, putBack(key, dev, x))
			sources = append(sources, WithSource(key, k.State, ip)...)
		}
	}
	return append(ops, sources...)
}

// EnsureAddr adds an address, or finds it there and leaves it as it is.
type EnsureAddr struct{ Addr rtnl.Addr }

func (a EnsureAddr) Request(FDs) rtnl.Request { return rtnl.NewAddr(a.Addr) }

// Command returns the command that does the same.
func (a EnsureAddr) Command(dev string) string {
	return fmt.Sprintf("addr replace %s dev %s%s", a.Addr.Prefix, shell.Quote(dev), noDAD(a.Addr))
}

// changeAddrs plans the addresses that a link which is there lacks, or has otherwise.
func (b *builder) changeAddrs(w *Sandbox, f *Iface, k *known, l *rtnl.Link, s *State) {
	bare := !slices.ContainsFunc(s.Addrs, func(a rtnl.Addr) bool { return a.Prefix.Addr().Is4() })
	defer b.unrouteBack(w.Key, f.Name, k, l, len(b.config))
	b.unroute(w, f, k, l)
	b.renew(w, f, k, l)
	b.rerouted(w, f, k, l)
	for _, a := range f.Addrs {
		h, there := k.at[address{l.Index, a.Prefix}]
		if b.renews(h) {
			continue
		}
		if !there && l.Index == loopback && a.isLoopback() && l.Inet.DisableIPv6 && a.Prefix.Addr().Is6() {
			continue // it comes with lo's IPv6
		}
		if !there {
			if old, ok := k.six[address{l.Index, netip.PrefixFrom(a.Prefix.Addr(), 128)}]; ok && b.drops(old) && !b.renews(old) {
				// The kernel takes an IPv6 address once, whatever its prefix length.
				b.moved[old.Prefix.Addr()] = true
				b.config = append(b.config, Op{NS: w.Key, Dev: f.Name, Do: DelAddr{old}, Undo: inPlace(w.Key, f.Name, old, k)})
			}
			b.addr(w.Key, f.Name, l.Index, a)
			if bare && a.Prefix.Addr().Is4() {
				add := &b.config[len(b.config)-1]
				add.Undo = append(add.Undo, WithLastIPv4(w.Key, l, s)...)
				bare = false
			}
			continue
		}
		to := a.over(h)
		if IsOslsAddr(h) && (h.Proto != to.Proto || !sameAddr(h, to)) {
			b.config = append(b.config, Op{NS: w.Key, Dev: f.Name, Do: ReplaceAddr{to}, Undo: []Op{{NS: w.Key, Dev: f.Name, Do: ReplaceAddr{h}}}})
		} else if mended(w, k, h) {
			b.config = append(b.config, Op{NS: w.Key, Dev: f.Name, Do: ReplaceAddr{to}, Undo: []Op{{NS: w.Key, Dev: f.Name, Do: ReplaceAddr{h}}}, Quiet: sameAddr(h, to)})
		}
	}
}
