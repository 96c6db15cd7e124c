package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// addrFlags are those that osl sets.
const addrFlags = linux.IFA_F_NOPREFIXROUTE | linux.IFA_F_HOMEADDRESS

// addrOptions are how the ip command says what an address has beside itself.
func addrOptions(a rtnl.Addr) string {
	var b strings.Builder
	if a.Scope != usualAddrScope(a) {
		b.WriteString(" scope " + ScopeName(a.Scope))
	}
	if t := a.Lifetime; t != nil {
		for _, x := range []struct {
			name string
			n    uint32
		}{{"valid_lft", t.Valid}, {"preferred_lft", t.Preferred}} {
			if x.n != rtnl.Forever {
				fmt.Fprintf(&b, " %s %d", x.name, x.n)
			}
		}
	}
	if a.Flags&linux.IFA_F_NOPREFIXROUTE != 0 {
		b.WriteString(" noprefixroute")
	}
	if a.Flags&linux.IFA_F_HOMEADDRESS != 0 {
		b.WriteString(" home")
	}
	return b.String()
}

// noDAD is what has an IPv6 address usable when it comes, as osl's are: a route that has it
// as its source is refused before.
func noDAD(a rtnl.Addr) string {
	if a.Prefix.Addr().Is6() {
		return " nodad"
	}
	return ""
}

// addrText is an address as the ip command takes it, with its peer.
func addrText(a rtnl.Addr) string {
	if a.Peer.IsValid() {
		return a.Prefix.Addr().String() + " peer " + a.Subnet().String()
	}
	return a.Prefix.String()
}

// usualAddrScope is the scope of an address that names none.
func usualAddrScope(a rtnl.Addr) uint8 {
	return Addr{Prefix: a.Prefix}.On(0).Scope
}

// sameAddr reports whether an address that is there is as it is wanted. Of its time a
// part may be over.
func sameAddr(h, w rtnl.Addr) bool {
	return h.Peer == w.Peer && h.Flags&addrFlags == w.Flags&addrFlags && (h.Prefix.Addr().Is6() || h.Scope == w.Scope) && sameLifetime(h.Lifetime, w.Lifetime)
}

func sameLifetime(h, w *rtnl.Lifetime) bool {
	if h == nil || w == nil {
		return h == w
	}
	within := func(h, w uint32) bool { return (h == rtnl.Forever) == (w == rtnl.Forever) && h <= w }
	return within(h.Valid, w.Valid) && within(h.Preferred, w.Preferred)
}

// changesInPlace reports whether the kernel can make of an address that is there what is
// wanted, and the other way round: of IPv4 it changes the lifetime alone. Of IPv6 it takes a
// peer from none that has one, and with another one the route to the subnet goes; and one that
// was found to be another's it never uses.
func changesInPlace(h, w rtnl.Addr) bool {
	if h.Prefix.Addr().Is6() {
		return h.Flags&linux.IFA_F_DADFAILED == 0 && (h.Peer == w.Peer || h.Peer.IsValid() && w.Peer.IsValid() && h.Prefix.IsSingleIP())
	}
	return h.Peer == w.Peer && h.Flags&addrFlags == w.Flags&addrFlags && h.Scope == w.Scope
}

// AddrOptions returns what an address that is there has beside itself, as a wish.
func AddrOptions(h rtnl.Addr) (a Addr, any bool) {
	a = Addr{Peer: h.Peer, Lifetime: h.Lifetime, Flags: h.Flags & addrFlags}
	if h.Prefix.Addr().Is4() && h.Scope != usualAddrScope(h) {
		a.Scope = &h.Scope
	}
	return a, a != Addr{}
}

// routeless reports whether an address makes no route to its subnet.
func routeless(flags uint32) bool { return flags&linux.IFA_F_NOPREFIXROUTE != 0 }

// unroute takes the routes to IPv6 subnets away of which no address makes one any more: the
// kernel does so with the last address of a subnet alone, and leaves the route where another
// one stays, though that makes none (check_cleanup_prefix_route).
func (b *builder) unroute(w *Sandbox, f *Iface, k *known, l *rtnl.Link) {
	if f.Down || !w.Prune || !slices.ContainsFunc(f.Addrs, func(a Addr) bool { return routeless(a.Flags) }) &&
		!slices.ContainsFunc(k.addrs[l.Index], func(h rtnl.Addr) bool { return routeless(h.Flags) }) {
		return
	}
	stays := map[netip.Prefix][]rtnl.Addr{} // and comes
	for _, a := range f.Addrs {
		stays[a.Prefix.Masked()] = append(stays[a.Prefix.Masked()], a.On(l.Index))
	}
	for _, h := range k.addrs[l.Index] {
		if !IsOslsAddr(h) && !(mended(w, k, h) && b.addrs[address{l.Index, h.Prefix}]) {
			stays[h.Prefix.Masked()] = append(stays[h.Prefix.Masked()], h)
		}
	}
	done := map[netip.Prefix]bool{}
	for _, h := range k.addrs[l.Index] {
		net := h.Prefix.Masked()
		if list := stays[net]; done[net] || !net.Addr().Is6() || h.Peer.IsValid() || routeless(h.Flags) || len(list) == 0 || slices.ContainsFunc(list, mayRoute) {
			continue
		}
		done[net] = true
		if r, is := k.ownRoute(l.Index, net); is {
			b.config = append(b.config, Op{NS: w.Key, Dev: f.Name, Do: DelRoute{r}, Undo: []Op{{NS: w.Key, Dev: f.Name, Do: ReplaceRoute{r}}}})
		}
	}
}

// unrouteBack has the inverses of the steps that give a link such an address, from the first
// on, take the route to its subnet away that the kernel would leave as before.
func (b *builder) unrouteBack(key, dev string, k *known, l *rtnl.Link, first int) {
	for i := first; i < len(b.config); i++ {
		op := &b.config[i]
		var a rtnl.Addr
		switch do := op.Do.(type) {
		case NewAddr:
			a = do.Addr
		case ReplaceAddr:
			a = do.Addr
		}
		net := a.Prefix.Masked()
		if a.Index != l.Index || !a.Prefix.Addr().Is6() || routeless(a.Flags) || a.Peer.IsValid() {
			continue
		}
		any, routed := false, false
		for _, h := range k.addrs[l.Index] {
			if h.Prefix.Masked() == net {
				any, routed = true, routed || mayRoute(h)
			}
		}
		if _, is := k.ownRoute(l.Index, net); any && !routed && !is {
			op.Undo = append(op.Undo, Op{NS: key, Dev: dev, Do: DelRoute{rtnl.Route{Dst: net, Index: l.Index, Proto: linux.RTPROT_KERNEL, Metric: prefixMetric}}})
		}
	}
}

// prefixMetric is that of the kernel's routes to IPv6 subnets (IP6_RT_PRIO_ADDRCONF of
// linux/ipv6_route.h).
const prefixMetric = 256

// mayRoute reports whether the route to an address's subnet may be of its making.
func mayRoute(a rtnl.Addr) bool { return !routeless(a.Flags) || a.Peer.IsValid() }

// ownRoute returns the kernel's route to an IPv6 subnet that is on a link; others make such
// routes in its name, with another metric.
func (k *known) ownRoute(index int, net netip.Prefix) (rtnl.Route, bool) {
	at := slices.IndexFunc(k.Others, func(r rtnl.Route) bool {
		return r.Proto == linux.RTPROT_KERNEL && r.Index == index && r.Dst == net && r.Metric == prefixMetric && onLink(r)
	})
	if at < 0 {
		return rtnl.Route{}, false
	}
	return k.Others[at], true
}

// places are what keeps the kernel's routes to subnets from coming again in a sandbox.
type places struct {
	wanted map[RouteKey]bool      // and of what comes again
	comes  map[netip.Prefix][]int // links that get an address of a subnet, with which the kernel makes the route
	others map[tablePlace]bool    // by which link others lead to a subnet itself
}

type tablePlace struct {
	table uint32
	at    address
}

func (b *builder) placesOf(w *Sandbox, k *known) *places {
	if b.places != nil {
		return b.places
	}
	p := &places{map[RouteKey]bool{}, map[netip.Prefix][]int{}, map[tablePlace]bool{}}
	b.places = p
	for _, r := range w.Routes {
		p.wanted[KeyOfRoute(r.Route)] = true
	}
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		index := b.index[end{w.Key, f.Name}]
		for _, dst := range f.Routes {
			p.wanted[KeyOfRoute(ifaceRoute(dst, index))] = true
		}
		l := k.ByIndex(index)
		stands := l != nil && l.Up() && !b.fallen[index]
		for _, a := range f.Addrs {
			h, there := k.at[address{index, a.Prefix}]
			if stands && there && !b.renews(h) {
				continue
			}
			net := a.On(index).Subnet().Masked()
			if list := p.comes[net]; len(list) == 0 || list[len(list)-1] != index {
				p.comes[net] = append(list, index)
			}
		}
	}
	for _, r := range k.Others {
		if !r.Via.IsValid() {
			p.others[tablePlace{r.Table, address{r.Index, r.Dst}}] = true
		}
	}
	return p
}

// free reports whether the kernel's route to a subnet can come again: of one table, subnet and
// metric it takes one, but from itself.
func (p *places) free(k *known, r rtnl.Route) bool {
	key := KeyOfRoute(r)
	return len(k.others[key])+len(k.routes[key]) == 0 && !p.wanted[key] && !p.others[tablePlace{r.Table, address{r.Index, r.Dst}}] &&
		!slices.ContainsFunc(p.comes[r.Dst], func(index int) bool { return index != r.Index })
}

// rerouted gives the addresses that stay on a link the kernel's routes to their subnets that
// somebody took away: by none else is a next hop there reached. Of the host the plan knows
// too little to tell whether the place of one is free.
func (b *builder) rerouted(w *Sandbox, f *Iface, k *known, l *rtnl.Link) {
	table, ofVRF := uint32(0), false
	if m := k.ByIndex(l.Master); m != nil && m.Kind == "vrf" {
		table, ofVRF = uint32(m.Data.Table), true
	} else if l.Kind == "vrf" {
		table = uint32(l.Data.Table)
	}
	if !w.Prune || w.Key == HostNS || k.Others == nil || f.Down || !l.Up() || b.fallen[l.Index] || l.Index == loopback || ofVRF && b.index[end{w.Key, f.Master}] != l.Master {
		return
	}
	done := map[netip.Prefix]bool{}
	for _, a := range f.Addrs {
		h, there := k.at[address{l.Index, a.Prefix}]
		net := h.Subnet().Masked()
		if !there || done[net] || !IsOslsAddr(h) || h.Secondary() || routeless(h.Flags|a.Flags) || h.Lifetime != nil && h.Lifetime.Valid != rtnl.Forever || b.renews(h) ||
			net.Addr().IsLinkLocalUnicast() || net.Addr().Is6() && (h.Peer.IsValid() || b.dark[end{w.Key, f.Name}]) || net.Addr().Is4() && (net.IsSingleIP() && !h.Peer.IsValid() || net.Addr().As4()[0] == 0) { // of 0.0.0.0/8, and so of all, the kernel makes none
			continue
		}
		done[net] = true
		r := rtnl.Route{Dst: net, Index: l.Index, Proto: linux.RTPROT_KERNEL, Table: table, Metric: prefixMetric}
		if net.Addr().Is4() {
			r.Metric, r.Scope, r.Src = 0, linux.RT_SCOPE_LINK, h.Prefix.Addr()
		}
		if p := b.placesOf(w, k); p.free(k, r) {
			p.wanted[KeyOfRoute(r)] = true
			b.config = append(b.config, routeOp(w.Key, f.Name, r))
		}
	}
}
