package plan

import (
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// leaving is what a plan takes from one sandbox, as far as others depend on it.
type leaving struct {
	prune  bool
	wanted map[int]*Iface // by the index of the link that it is
	addrs  map[address]bool
	gone   map[int]bool // links that go
	// bare are links that stay and lose their last IPv4 address. The kernel then
	// drops their IPv4 routes and neighbours too.
	bare map[int]bool
	// fallen are links that are set down, and cycled those that are for a moment.
	fallen, cycled map[int]bool
	// rises are links that come up, by which those come up that follow them.
	rises map[int]bool
	// lost are the subnets that addresses and routes lead to which go, and near
	// those that lead to a link when all is as it is wanted; nil until it is asked
	// for.
	lost  subnets
	near  *subnets
	names map[int]string // of the wanted links, where near is known
	// to are the places that routes are wanted for.
	to map[RouteKey]bool
	// places keep the kernel's routes from coming again; nil until it is asked for.
	places *places
	// moved are addresses that go and come again: with one of IPv4 the kernel takes the routes
	// that have it as their source, and one of IPv6 it takes from them.
	moved map[netip.Addr]bool
	// renewed are the addresses of links that go and come again, comesAgain the same, and
	// standsIn the links that have another IPv4 address meanwhile.
	renewed    map[int][]rtnl.Addr
	comesAgain map[address]bool
	standsIn   map[int]bool
	// sheds take addresses away.
	sheds []Op
	// late are routes that come when addresses have gone.
	late []Op
	// sized are the wanted routes whose MTU the kernel changes with that of their link, and
	// reported the bridges that have the MTU of their ports, where these change: true if a
	// port goes at the end.
	sized    []Route
	reported map[int]bool
	// byNexthop are the wanted routes that lead by a next hop which is an object.
	byNexthop []Route
}

// leave finds what goes from a sandbox.
func (b *builder) leave(w *Sandbox, k *known) leaving {
	v := leaving{prune: w.Prune, wanted: map[int]*Iface{}, addrs: map[address]bool{}, gone: map[int]bool{}, bare: map[int]bool{}, fallen: map[int]bool{}, cycled: map[int]bool{}, rises: map[int]bool{}, to: map[RouteKey]bool{}, moved: map[netip.Addr]bool{},
		renewed: map[int][]rtnl.Addr{}, comesAgain: map[address]bool{}, standsIn: map[int]bool{}}
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		index := b.index[end{w.Key, f.Name}]
		v.wanted[index] = f
		for _, a := range f.Addrs {
			v.addrs[address{index, a.Prefix}] = true
		}
		v.renewals(w, k, index, f)
	}
	if !w.Prune {
		return v
	}
	for i := range k.Links {
		l := &k.Links[i]
		if x := b.is[end{w.Key, b.called[place{w.Key, l.Index}]}]; x.link != nil && x.link.Index == l.Index {
			continue
		}
		if b.prunes(w, k.tags[l.Index]) {
			v.gone[l.Index] = true
		}
	}
	for index := range b.away[w.Key] {
		v.gone[index] = true
		for _, a := range b.full[w.Key].addrs[index] {
			v.lost.add(a.Subnet(), index)
		}
	}
	keeps, dests := map[int]bool{}, map[address]bool{}
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		index := b.index[end{w.Key, f.Name}]
		keeps[index] = slices.ContainsFunc(f.Addrs, func(x Addr) bool { return x.Prefix.Addr().Is4() })
		for _, r := range f.Routes {
			dests[address{index, r}] = true
		}
	}
	routed := map[int]map[netip.Prefix]bool{}
	for index := range v.wanted {
		routed[index] = v.routed(w, k, index)
	}
	for _, a := range k.Addrs {
		f := v.wanted[a.Index]
		if v.drops(a) || f != nil && (f.Down || !routeless(a.Flags) && !a.Secondary() && !routed[a.Index][a.Subnet().Masked()]) {
			v.lost.add(a.Subnet(), a.Index)
		}
		keeps[a.Index] = keeps[a.Index] || a.Prefix.Addr().Is4() && !IsOslsAddr(a)
	}
	for _, a := range k.Addrs {
		if a.Prefix.Addr().Is4() && !v.gone[a.Index] && !keeps[a.Index] {
			v.bare[a.Index] = true
		}
	}
	for _, r := range k.Routes {
		if f := v.wanted[r.Index]; onLink(r) && (f == nil || f.Down || !dests[address{r.Index, r.Dst}]) {
			v.lost.add(r.Dst, r.Index)
		}
	}
	return v
}

// routed tells of the subnets of a link's addresses, when all is as it is wanted, whether one
// of them makes the route there. Of IPv4 only the first of a subnet may: those that stay are
// before those that come, whatever the order that is wanted.
func (v *leaving) routed(w *Sandbox, k *known, index int) map[netip.Prefix]bool {
	subnets := map[netip.Prefix]bool{}
	see := func(a rtnl.Addr) {
		p := a.Subnet().Masked()
		if routes, seen := subnets[p]; !seen || p.Addr().Is6() {
			subnets[p] = routes || !routeless(a.Flags)
		}
	}
	wanted, comes := map[netip.Prefix]Addr{}, []rtnl.Addr(nil)
	if f := v.wanted[index]; f != nil {
		for _, a := range f.Addrs {
			wanted[a.Prefix] = a
			if _, there := k.at[address{index, a.Prefix}]; !there {
				comes = append(comes, a.On(index))
			}
		}
	}
	for _, h := range k.addrs[index] {
		if a, is := wanted[h.Prefix]; is && (IsOslsAddr(h) || mended(w, k, h)) {
			h = a.over(h)
		}
		if !v.drops(h) {
			see(h)
		}
	}
	for _, a := range comes {
		see(a)
	}
	return subnets
}

// drops reports whether an address goes, with its link or alone.
func (v *leaving) drops(a rtnl.Addr) bool {
	return v.prune && (v.gone[a.Index] || IsOslsAddr(a) && !v.addrs[address{a.Index, a.Prefix}])
}
