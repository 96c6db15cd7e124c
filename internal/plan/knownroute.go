package plan

import (
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// RouteKey is what the kernel has one route of osl's for.
type RouteKey struct {
	table  uint32
	dst    netip.Prefix
	metric uint32
}

// KeyOfRoute returns it: without a metric a route has that of its family.
func KeyOfRoute(r rtnl.Route) RouteKey {
	if r.Metric == 0 {
		r.Metric = defaultMetric(r.Dst)
	}
	return RouteKey{r.Table, r.Dst, r.Metric}
}

// knowRoutes looks at the routes: what there is for one place, and what goes with a
// link, by way of which it leads or whose address it has as its source.
func (k *known) knowRoutes() {
	links := map[netip.Addr][]int{} // that have an address
	for _, list := range [][]rtnl.Route{k.Routes, k.Others} {
		for _, r := range list {
			if r.Src.IsValid() {
				links[r.Src] = nil
			}
		}
	}
	if len(links) > 0 {
		for _, a := range k.Addrs {
			if list, ok := links[a.Prefix.Addr()]; ok {
				links[a.Prefix.Addr()] = append(list, a.Index)
			}
		}
	}
	hang := func(on map[int][]rtnl.Route, r rtnl.Route) {
		if len(r.Hops) == 0 && !r.Src.IsValid() {
			on[r.Index] = append(on[r.Index], r)
			return
		}
		if r.Src.IsValid() {
			k.sourced[r.Src] = append(k.sourced[r.Src], r)
		}
		list := []int{r.Index}
		for _, h := range r.Hops {
			list = append(list, h.Index)
		}
		list = append(list, links[r.Src]...)
		slices.Sort(list)
		for _, i := range slices.Compact(list) {
			on[i] = append(on[i], r)
		}
	}
	k.Routes = k.withNames(k.Routes)
	for _, r := range k.Routes {
		k.routes[KeyOfRoute(r)] = append(k.routes[KeyOfRoute(r)], r)
		hang(k.on, r)
	}
	k.Others = k.withNames(k.Others)
	for _, r := range k.Others {
		k.others[KeyOfRoute(r)] = append(k.others[KeyOfRoute(r)], r)
		if r.Whole != nil {
			hang(k.othersOn, r)
		}
	}
}

// withNames gives next hops the names that their devices have by now, for who reads.
func (k *known) withNames(list []rtnl.Route) []rtnl.Route {
	if !slices.ContainsFunc(list, func(r rtnl.Route) bool { return len(r.Hops) > 0 }) {
		return list
	}
	list = slices.Clone(list)
	for i := range list {
		list[i].Hops = slices.Clone(list[i].Hops)
		for j := range list[i].Hops {
			if h := &list[i].Hops[j]; k.index[h.Index] != nil {
				h.Dev = k.nameOf(h.Index)
			}
		}
	}
	return list
}

// routesOf returns osl's routes that go with a link: by way of which they lead, or
// whose address they have as their source.
func (s *State) routesOf(index int) []rtnl.Route { return s.going(s.Routes, index) }

// going returns those of some routes that go with a link.
func (s *State) going(routes []rtnl.Route, index int) (list []rtnl.Route) {
	is := map[int]bool{index: true}
	for _, r := range routes {
		if r.Touches(is) || r.Src.IsValid() && slices.ContainsFunc(s.Addrs, func(a rtnl.Addr) bool { return a.Index == index && a.Prefix.Addr() == r.Src }) {
			list = append(list, r)
		}
	}
	return list
}

// backWith returns what puts back the routes that went with a link: those of osl and
// those of others that were read.
func (s *State) backWith(key string, l *rtnl.Link, is func(rtnl.Route) bool) []Op {
	return s.back(key, l, append(s.routesOf(l.Index), s.going(s.Others, l.Index)...), is)
}

func (s *State) back(key string, l *rtnl.Link, routes []rtnl.Route, is func(rtnl.Route) bool) (ops []Op) {
	for _, r := range routes {
		if !is(r) || r.Proto != rtnl.Protocol && r.Whole == nil {
			continue
		}
		if r.Whole != nil && r.Src.Is6() { // which stays, without its source
			ops = append(ops, Op{NS: key, Dev: devOf(r, l), Do: DelRoute{r}})
		}
		ops = append(ops, Op{NS: key, Dev: devOf(r, l), Do: restore(r)})
	}
	return ops
}

// WithSource returns what puts back the routes that go with an address which they have
// as their source, from whichever link.
func WithSource(key string, s *State, ip netip.Addr) []Op {
	return s.back(key, &rtnl.Link{}, slices.Concat(s.Routes, s.Others), func(r rtnl.Route) bool { return r.Src == ip })
}

// backFrom returns those of them that are asked for; a person has to name the link of each.
func (k *known) backFrom(key string, a rtnl.Addr, is func(rtnl.Route) bool) (ops []Op) {
	for _, r := range k.sourced[a.Prefix.Addr()] {
		ops = append(ops, k.back(key, &rtnl.Link{Index: r.Index, Name: k.nameOf(r.Index)}, []rtnl.Route{r}, is)...)
	}
	return ops
}

// restore returns what brings a route back that the kernel took, or a part of it: of
// several next hops one may be left.
func restore(r rtnl.Route) Action {
	if r.Whole != nil {
		return PutBack{*r.Whole}
	}
	if len(r.Hops) > 0 || r.Nexthop != 0 || r.Src.IsValid() && r.Dst.Addr().Is6() { // or its source alone was taken
		return ReplaceRoute{r}
	}
	return NewRoute{r}
}

// IsSimple reports whether a route is one that the seed's calls can say: of the main
// table, with its family's metric, by one next hop of its family or none.
func IsSimple(r rtnl.Route) bool {
	return r.Table == 0 && r.Type == 0 && len(r.Hops) == 0 && r.Nexthop == 0 && HasUsualMetric(r) &&
		(!r.Via.IsValid() || r.Via.Is4() == r.Dst.Addr().Is4())
}

// HasUsualMetric reports whether a route has the metric of one that names none.
func HasUsualMetric(r rtnl.Route) bool { return r.Metric == 0 || r.Metric == defaultMetric(r.Dst) }

// isOfSandbox reports whether a simple route has the shape of one of the sandbox, not
// of an interface: through a next hop, or connected with the mark that tells it from
// those.
func isOfSandbox(r rtnl.Route) bool {
	if r.Via.IsValid() {
		return r.Dst.Bits() > 0
	}
	return r.Dst.Addr().Is4() && r.Scope != linux.RT_SCOPE_LINK || r.Dst.Addr().Is6() && r.OnLink
}

// IsSeedStatic reports whether a route of osl is a static one that the seed's calls
// can say.
func IsSeedStatic(r rtnl.Route) bool { return IsSimple(r) && isOfSandbox(r) }

// IsStatic reports whether a route of osl is one of the sandbox, and neither its
// gateway nor of an interface.
func IsStatic(r rtnl.Route) bool {
	return isOfSandbox(r) || !IsSimple(r) || r.Src.IsValid() || r.MTU|r.AdvMSS != 0
}
