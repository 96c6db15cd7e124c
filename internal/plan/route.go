//go:build linux

package plan

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// leaving is what a plan takes from one sandbox, as far as routes depend on it.
type leaving struct {
	gone map[int]bool // links that go
	// bare are links that stay and lose their last IPv4 address. The kernel then
	// drops their IPv4 routes and neighbours too.
	bare map[int]bool
	// lost are the subnets that addresses and routes lead to which go.
	lost []netip.Prefix
	// to are the destinations that routes are wanted to.
	to map[netip.Prefix]bool
	// late are routes that come when addresses have gone.
	late []Op
}

// leave finds what goes from a sandbox.
func leave(w *Sandbox, s *State, index map[end]int) leaving {
	v := leaving{gone: map[int]bool{}, bare: map[int]bool{}, to: map[netip.Prefix]bool{}}
	if !w.Prune {
		return v
	}
	wanted := map[int]*Iface{}
	for i := range w.Ifaces {
		wanted[index[end{w.Key, w.Ifaces[i].Name}]] = &w.Ifaces[i]
	}
	for i := range s.Links {
		l := &s.Links[i]
		if _, ok := ParseTag(l.Alias); ok && wanted[l.Index] == nil {
			v.gone[l.Index] = true
		}
	}
	keeps := map[int]bool{}
	for _, a := range s.Addrs {
		f := wanted[a.Index]
		if v.gone[a.Index] || f != nil && f.Down || oslsAddr(a) && !f.has(a.Prefix) {
			v.lost = append(v.lost, a.Prefix.Masked())
		}
		keeps[a.Index] = keeps[a.Index] || a.Prefix.Addr().Is4() && !oslsAddr(a) ||
			f != nil && slices.ContainsFunc(f.Addrs, func(x Addr) bool { return x.Prefix.Addr().Is4() })
	}
	for _, a := range s.Addrs {
		if a.Prefix.Addr().Is4() && !v.gone[a.Index] && !keeps[a.Index] {
			v.bare[a.Index] = true
		}
	}
	for _, r := range s.Routes {
		if f := wanted[r.Index]; !r.Via.IsValid() && !r.Global && (f == nil || f.Down || !slices.Contains(f.Routes, r.Dst)) {
			v.lost = append(v.lost, r.Dst)
		}
	}
	return v
}

// has reports whether an address is wanted of an interface, which may be nil.
func (i *Iface) has(p netip.Prefix) bool {
	return i != nil && slices.ContainsFunc(i.Addrs, func(a Addr) bool { return a.Prefix == p })
}

// routes plans the routes of a sandbox: those of its interfaces, then the
// others, which may be by way of them.
func (b *builder) routes(w *Sandbox, s *State) error {
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		for _, r := range f.Routes {
			if err := b.route(w, f.device(), ifaceRoute(r, b.index[end{w.Key, f.Name}]), s); err != nil {
				return err
			}
		}
	}
	list := slices.Clone(w.Routes)
	for _, g := range w.Gateways {
		list = append(list, Route{Route: g, Dev: g.Via.Zone()})
	}
	for _, r := range list {
		r.Proto = rtnl.Protocol
		if r.Dev != "" {
			r.Index = b.index[end{w.Key, r.Dev}]
			if r.Index == 0 {
				return &Problem{Key: w.Key, Dev: r.Dev, Kind: NotFound,
					Text: fmt.Sprintf("the device of the route to %v is not in the sandbox", r.Dst)}
			}
		} else if slices.ContainsFunc(b.lost, func(p netip.Prefix) bool { return p.Contains(r.Via) }) {
			// The kernel does not know yet what goes, and could take that.
			if r.Index = b.reach(w, s, r.Via); r.Index == 0 {
				return &Problem{Key: w.Key, Kind: Unreachable,
					Text: fmt.Sprintf("only what goes reaches the next hop %v of the route to %v", r.Via, r.Dst)}
			}
		}
		if err := b.route(w, r.Dev, r.Route, s); err != nil {
			return err
		}
	}
	return nil
}

// reach returns the link that reaches a next hop when all is as it is wanted, 0
// for none: by an address of it or a route on it, the longest prefix first.
func (b *builder) reach(w *Sandbox, s *State, hop netip.Addr) (index int) {
	best := -1
	try := func(p netip.Prefix, i int) {
		if p = p.Masked(); p.Contains(hop) && p.Bits() > best && !b.gone[i] {
			best, index = p.Bits(), i
		}
	}
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		at := b.index[end{w.Key, f.Name}]
		if f.Down {
			continue
		}
		for _, a := range f.Addrs {
			try(a.Prefix, at)
		}
		for _, p := range f.Routes {
			try(p, at)
		}
	}
	for _, r := range w.Routes {
		if !r.Via.IsValid() && hop.Is6() { // on IPv4 its scope is too wide
			try(r.Dst, b.index[end{w.Key, r.Dev}])
		}
	}
	for _, a := range s.Addrs {
		if !oslsAddr(a) {
			try(a.Prefix, a.Index)
		}
	}
	for _, r := range s.Others {
		if !r.Via.IsValid() {
			try(r.Dst, r.Index)
		}
	}
	return index
}

// route plans a route of osl: left alone if it is there, in the place of
// another one of osl's to the same destination, or new.
func (b *builder) route(w *Sandbox, dev string, r rtnl.Route, s *State) error {
	if b.to[r.Dst] {
		return &Problem{Key: w.Key, Dev: dev, Kind: Exists, Text: fmt.Sprintf("another route to %v is wanted too", r.Dst)}
	}
	b.to[r.Dst] = true
	late := r.Dst.Addr().Is4() && b.bare[r.Index]
	for _, h := range s.Routes {
		if h.Dst != r.Dst || h.Proto != rtnl.Protocol || !w.Prune && s.ByIndex(r.Index) == nil {
			continue
		}
		undo := func(a Action) []Op { return []Op{{NS: w.Key, Do: a}} }
		switch {
		case late:
			b.config = append(b.config, Op{NS: w.Key, Dev: name(s, h.Index), Do: DelRoute{h}, Undo: undo(NewRoute{h})})
			b.late = append(b.late, routeOp(w.Key, dev, r))
		case !sameRoute(h, r) || b.gone[h.Index]:
			// On IPv6 the kernel fills the device in; the inverse keeps it.
			back := undo(ReplaceRoute{h})
			if h.Dst.Addr().Is6() && b.dark[end{w.Key, name(s, h.Index)}] {
				back = undo(DelRoute{r}) // h comes back with the IPv6 of its link
			}
			b.config = append(b.config, Op{NS: w.Key, Dev: dev, Do: ReplaceRoute{r}, Undo: back})
		}
		return nil
	}
	if late {
		b.late = append(b.late, routeOp(w.Key, dev, r))
	} else {
		b.config = append(b.config, routeOp(w.Key, dev, r))
	}
	return nil
}

// name returns the name of a link, empty if there is none.
func name(s *State, index int) string {
	if l := s.ByIndex(index); l != nil {
		return l.Name
	}
	return ""
}

// sameRoute reports whether the route h that is there is the wanted w, whose
// device may be left to the kernel.
func sameRoute(h, w rtnl.Route) bool {
	return h.Dst == w.Dst && h.Via == w.Via.WithZone("") && (w.Index == 0 || h.Index == w.Index) &&
		(w.Via.IsValid() || h.Global == w.Global && (w.Dst.Addr().Is4() || h.OnLink == w.OnLink))
}
