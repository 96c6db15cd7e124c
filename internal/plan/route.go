package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// routes plans the routes of a sandbox: those of its interfaces, then the
// others, which may be by way of them.
func (b *builder) routes(w *Sandbox, k *known) error {
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		for _, r := range f.Routes {
			if err := b.route(w, f.device(), ifaceRoute(r, b.index[end{w.Key, f.Name}]), k); err != nil {
				return err
			}
		}
	}
	list := slices.Clone(w.Routes)
	for _, g := range w.Gateways {
		list = append(list, Route{Route: g, Dev: g.Via.Zone()})
	}
	// By those on a device others may be reached.
	slices.SortStableFunc(list, func(x, y Route) int { return turnOf(x.Route) - turnOf(y.Route) })
	for _, r := range list {
		r.Proto = rtnl.Protocol
		var err error
		if r.Index, r.Dev, err = b.device(w, k, r.Route, r.Via, r.Dev); err != nil {
			return err
		}
		r.Hops = slices.Clone(r.Hops)
		for i := range r.Hops {
			h := &r.Hops[i]
			if h.Index, h.Dev, err = b.device(w, k, r.Route, h.Via, h.Dev); err != nil {
				return err
			}
		}
		if r.Nexthop != 0 && !b.hasNexthop(w, k, r.Nexthop) {
			return &Problem{Key: w.Key, Kind: NotFound, Field: "routes", Entry: entryOf(r.Route), Within: "nexthop",
				Text: fmt.Sprintf("the nexthop %d of the route to %v is not in the sandbox", r.Nexthop, r.Dst)}
		}
		if err := b.source(w, k, r.Route); err != nil {
			return err
		}
		if err := b.route(w, r.Dev, r.Route, k); err != nil {
			return err
		}
	}
	return nil
}

// RouteEntry names a route among those of a sandbox.
func RouteEntry(dst netip.Prefix, table, metric uint32) string {
	s := dst.String()
	if table != 0 && table != linux.RT_TABLE_MAIN {
		s += fmt.Sprintf(" table %d", table)
	}
	if dst.IsValid() && metric != 0 && metric != defaultMetric(dst) {
		s += fmt.Sprintf(" metric %d", metric)
	}
	return s
}

func entryOf(r rtnl.Route) string { return RouteEntry(r.Dst, r.Table, r.Metric) }

// device returns the index and the name of the device of a route, or of one of its next
// hops, 0 where the kernel finds it.
func (b *builder) device(w *Sandbox, k *known, r rtnl.Route, via netip.Addr, dev string) (index int, name string, err error) {
	problem := func(kind ProblemKind, format string, args ...any) error {
		return &Problem{Key: w.Key, Dev: dev, Kind: kind, Field: "routes", Entry: entryOf(r), Within: map[bool]string{true: "dev", false: "via"}[dev != ""], Text: fmt.Sprintf(format, args...)}
	}
	if dev != "" {
		if index = b.index[end{w.Key, dev}]; index == 0 {
			err = problem(NotFound, "the device of the route to %v is not in the sandbox%s", r.Dst, near.Hint(dev, k.named(w)))
		}
		return index, dev, err
	}
	if !via.IsValid() {
		return 0, "", nil
	}
	if _, lost := b.lost.find(via); lost {
		// The kernel does not know yet what goes, and could take that.
		if index = b.reach(w, k, via); index == 0 {
			err = problem(Unreachable, "only what goes reaches the next hop %v of the route to %v", via, r.Dst)
		}
		name = orElse(b.names[index], k.nameOf(index))
	}
	return index, name, err
}

// source refuses a preferred source that is no address of the sandbox when all is as
// it is wanted: with an address that goes the kernel takes the route.
func (b *builder) source(w *Sandbox, k *known, r rtnl.Route) error {
	if !r.Src.IsValid() {
		return nil
	}
	for _, f := range w.Ifaces {
		if slices.ContainsFunc(f.Addrs, func(a Addr) bool { return a.Prefix.Addr() == r.Src }) {
			return nil
		}
	}
	if slices.ContainsFunc(k.Addrs, func(a rtnl.Addr) bool { return a.Prefix.Addr() == r.Src && !b.drops(a) }) {
		return nil
	}
	return &Problem{Key: w.Key, Kind: Invalid, Field: "routes", Entry: entryOf(r), Within: "src",
		Text: fmt.Sprintf("the preferred source %v of the route to %v is no address of the sandbox", r.Src, r.Dst)}
}

// reach returns the link that reaches a next hop when all is as it is wanted, 0
// for none: by an address of it or a route on it, the longest prefix first.
func (b *builder) reach(w *Sandbox, k *known, hop netip.Addr) (index int) {
	if b.near == nil {
		b.near = b.nearby(w, k)
	}
	index, _ = b.near.find(hop)
	return index
}

func (b *builder) nearby(w *Sandbox, k *known) *subnets {
	var n subnets
	b.names = make(map[int]string, len(w.Ifaces))
	try := func(p netip.Prefix, i int) {
		if !b.gone[i] {
			n.add(p, i)
		}
	}
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		at := b.index[end{w.Key, f.Name}]
		b.names[at] = f.Name
		if f.Down {
			continue
		}
		for p, is := range b.routed(w, k, at) {
			if is {
				try(p, at)
			}
		}
		for _, p := range f.Routes {
			try(p, at)
		}
	}
	for _, r := range w.Routes {
		if onLink(r.Route) { // else, on IPv4, its scope is too wide
			try(r.Dst, b.index[end{w.Key, r.Dev}])
		}
	}
	for i := range k.Links {
		at := k.Links[i].Index
		if b.wanted[at] != nil {
			continue
		}
		for p, is := range b.routed(w, k, at) {
			if is {
				try(p, at)
			}
		}
	}
	for _, r := range k.Others {
		if onLink(r) && r.Proto != linux.RTPROT_KERNEL { // those go with their addresses
			try(r.Dst, r.Index)
		}
	}
	return &n
}

// subnets finds the longest of many prefixes that has an address.
type subnets struct {
	index map[netip.Prefix]int
	bits  []int // the lengths that there are, the longest first
}

func (n *subnets) add(p netip.Prefix, index int) {
	if n.index == nil {
		n.index = map[netip.Prefix]int{}
	}
	p = p.Masked()
	if _, ok := n.index[p]; ok {
		return
	}
	n.index[p] = index
	if at, ok := slices.BinarySearchFunc(n.bits, p.Bits(), func(a, b int) int { return b - a }); !ok {
		n.bits = slices.Insert(n.bits, at, p.Bits())
	}
}

func (n *subnets) find(ip netip.Addr) (index int, ok bool) {
	for _, bits := range n.bits {
		if p, err := ip.WithZone("").Prefix(bits); err == nil {
			if index, ok = n.index[p]; ok {
				return index, true
			}
		}
	}
	return 0, false
}

// onLink reports whether what a route leads to is on a link, where a next hop can be.
func onLink(r rtnl.Route) bool {
	return r.Type == 0 && r.Table == 0 && !r.Via.IsValid() && len(r.Hops) == 0 && r.Nexthop == 0 && (r.Dst.Addr().Is6() || r.Scope >= linux.RT_SCOPE_LINK)
}

// route plans a route of osl: left alone if it is there, in the place of
// another one of osl's to the same destination, or new.
func (b *builder) route(w *Sandbox, dev string, r rtnl.Route, k *known) error {
	key := KeyOfRoute(r)
	if b.to[key] {
		return &Problem{Key: w.Key, Dev: dev, Kind: Exists, Field: "routes", Entry: entryOf(r),
			Text: fmt.Sprintf("another route to %v is wanted too, with the same table and metric", r.Dst)}
	}
	b.to[key] = true
	for _, index := range r.Links() {
		if f := b.wanted[index]; f != nil && f.Down {
			return &Problem{Key: w.Key, Dev: dev, Kind: Invalid, Field: "routes", Entry: entryOf(r),
				Text: fmt.Sprintf("the route to %v leads by way of %q, which is to be down", r.Dst, f.Name)}
		}
	}
	if sizedByLink(r) {
		b.sized = append(b.sized, Route{r, dev})
	}
	if r.Nexthop != 0 {
		b.byNexthop = append(b.byNexthop, Route{r, dev})
		return nil
	}
	return b.putRoute(w, dev, r, k, &b.config, false)
}

// putRoute plans a route, among the steps of a phase. Again is one that went with its next
// hop.
func (b *builder) putRoute(w *Sandbox, dev string, r rtnl.Route, k *known, into *[]Op, again bool) error {
	key := KeyOfRoute(r)
	late := r.Dst.Addr().Is4() && r.Touches(b.bare)
	for _, h := range k.routes[key] {
		if h.Proto != rtnl.Protocol || !w.Prune && k.ByIndex(r.Index) == nil {
			continue
		}
		undo := func(a Action) []Op { return []Op{{NS: w.Key, Do: a}} }
		switch {
		case late:
			b.config = append(b.config, Op{NS: w.Key, Dev: k.nameOf(h.Index), Do: DelRoute{k.withNames([]rtnl.Route{h})[0]}, Undo: undo(restore(h))})
			b.late = append(b.late, routeOp(w.Key, dev, r))
		case again || !SameRoute(h, r) || h.Touches(b.gone) || b.moved[r.Src] || b.unlit(w, h) || sizedByLink(h) && b.resizes(w, h):
			// On IPv6 the kernel fills the device in; the inverse keeps it.
			back := undo(ReplaceRoute{h})
			if h.Dst.Addr().Is6() && b.dark[end{w.Key, k.nameOf(h.Index)}] || b.unlit(w, h) {
				back = undo(DelRoute{r}) // h comes back with the IPv6 of its link
			}
			*into = append(*into, Op{NS: w.Key, Dev: dev, Do: ReplaceRoute{r}, Undo: back, Half: len(r.Hops)+len(h.Hops) > 0})
		case r.Nexthop != 0 && b.shakes: // it may have gone with its next hop
			*into = append(*into, Op{NS: w.Key, Do: ReplaceRoute{r}, Undo: undo(ReplaceRoute{h}), Quiet: true})
		}
		return nil
	}
	if there, err := b.routeOfOthers(w, dev, r, k); there || err != nil {
		return err
	}
	if late {
		b.late = append(b.late, routeOp(w.Key, dev, r))
	} else {
		*into = append(*into, routeOp(w.Key, dev, r))
	}
	return nil
}

// unlit reports whether a route that is there refuses IPv6, and goes with that of lo.
func (b *builder) unlit(w *Sandbox, h rtnl.Route) bool {
	return h.Refuses() && h.Dst.Addr().Is6() && b.dark[end{w.Key, "lo"}]
}

// resizes reports whether a link by way of which a route leads gets another MTU.
func (b *builder) resizes(w *Sandbox, h rtnl.Route) bool {
	return slices.ContainsFunc(b.ways(h), func(index int) bool {
		_, reported := b.reported[index]
		return reported || b.resized[place{w.Key, index}] != 0
	})
}

// sizedByLink reports whether the kernel changes the MTU of a route with that of its link.
func sizedByLink(r rtnl.Route) bool { return r.Dst.Addr().Is6() && r.MTU != 0 }

// routeOfOthers looks at the routes of others to the same destination, of which
// the kernel takes one only: the same as is wanted is left as it is, another
// one is in the way.
func (b *builder) routeOfOthers(w *Sandbox, dev string, r rtnl.Route, k *known) (there bool, err error) {
	var other *rtnl.Route
	for _, h := range k.others[KeyOfRoute(r)] {
		if h.Within(b.gone) || h.Proto == linux.RTPROT_KERNEL && (r.Via.IsValid() || len(r.Hops) > 0 || r.Nexthop != 0 || r.Type != 0) {
			continue
		}
		if sameAsMade(h, r) {
			return true, nil
		}
		if h.Proto != linux.RTPROT_KERNEL {
			other = &h
		}
	}
	if other == nil {
		return false, nil
	}
	at := k.nameOf(other.Index)
	return false, &Problem{Key: w.Key, Dev: dev, Kind: Exists, Field: "routes", Entry: entryOf(r), Away: &Op{NS: w.Key, Dev: at, Do: DelRoute{*other}},
		Text: fmt.Sprintf("the route to %v is to be %s, and there is one of others, %s", r.Dst, way(r, dev), way(*other, at))}
}

// sameAsMade reports whether a route that somebody made by hand does what is wanted:
// the scope and the flag that tell whose a route is are nothing that it needs, and
// what is not asked for it may have.
func sameAsMade(h, w rtnl.Route) bool {
	h.Scope, h.OnLink = w.Scope, w.OnLink
	if !w.Src.IsValid() {
		h.Src = w.Src
	}
	if w.MTU == 0 {
		h.MTU = 0
	}
	if w.AdvMSS == 0 {
		h.AdvMSS = 0
	}
	return SameRoute(h, w)
}

// defaultMetric is that of a route that names none.
func defaultMetric(dst netip.Prefix) uint32 {
	if dst.Addr().Is6() {
		return rtnl.DefaultMetric6
	}
	return 0
}

// way says where a route leads.
func way(r rtnl.Route, dev string) string {
	s := "on the link"
	switch {
	case r.Type != 0:
		s = RouteTypeName(r.Type)
	case r.Nexthop != 0:
		s = fmt.Sprintf("by the nexthop %d", r.Nexthop)
	case r.Via.IsValid():
		s = "via " + r.Via.WithZone("").String()
	case len(r.Hops) > 0:
		s = ""
		for i, h := range r.Hops {
			s += map[bool]string{true: ","}[i > 0] + hopText(h, r.Dst.Addr().Is4())
		}
		s = s[1:]
	}
	if dev != "" {
		s += " dev " + dev
	}
	if r.Proto != rtnl.Protocol {
		s += " proto " + ProtocolName(r.Proto)
	}
	return s
}

// ProtocolName says who made a route, as the ip command does.
func ProtocolName(proto uint8) string {
	if name := protocols[proto]; name != "" {
		return name
	}
	return strconv.Itoa(int(proto))
}

// RTPROT_* of linux/rtnetlink.h.
var protocols = map[uint8]string{linux.RTPROT_UNSPEC: "unspec", linux.RTPROT_REDIRECT: "redirect", linux.RTPROT_KERNEL: "kernel",
	linux.RTPROT_BOOT: "boot", linux.RTPROT_STATIC: "static", linux.RTPROT_RA: "ra", linux.RTPROT_DHCP: "dhcp", linux.RTPROT_BIRD: "bird",
	linux.RTPROT_ZEBRA: "zebra", linux.RTPROT_BGP: "bgp", linux.RTPROT_OSPF: "ospf"}
