package plan

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
)

// routeAttr is what osl asks of a route beside its destination: how the ip command says
// it, in its order, and whether the route h that is there has what is wanted, nil where
// that makes no other route of it, or is what tells routes to one destination apart
// (RouteKey). How the kernel is told is in package rtnl.
type routeAttr struct {
	text func(r rtnl.Route, dev string) string
	same func(h, w rtnl.Route) bool
}

var routeAttrs = [...]routeAttr{
	{ // the next hop
		text: func(r rtnl.Route, _ string) string {
			switch {
			case !r.Via.IsValid():
				return ""
			case r.Via.Is6() && r.Dst.Addr().Is4():
				return " via inet6 " + r.Via.WithZone("").String()
			}
			return " via " + r.Via.WithZone("").String()
		},
		same: func(h, w rtnl.Route) bool { return h.Via == w.Via.WithZone("") },
	},
	{ // the device, which may be left to the kernel
		text: func(r rtnl.Route, dev string) string {
			if dev == "" || r.Refuses() {
				return ""
			}
			return " dev " + shell.Quote(dev)
		},
		same: func(h, w rtnl.Route) bool { return w.Index == 0 || h.Index == w.Index },
	},
	{ // of a route without a next hop it only says whose it is, and on IPv6
		text: func(r rtnl.Route, _ string) string {
			if !r.OnLink || !r.Via.IsValid() {
				return ""
			}
			return " onlink"
		},
		same: func(h, w rtnl.Route) bool {
			return w.Via.IsValid() || len(w.Hops) > 0 || w.Type != 0 || w.Dst.Addr().Is4() || h.OnLink == w.OnLink
		},
	},
	{ // where it stands
		text: func(r rtnl.Route, _ string) (s string) {
			switch {
			case r.Table != 0:
				s = fmt.Sprintf(" table %d", r.Table)
			case r.Type == linux.RTN_LOCAL: // which ip puts into the table local
				s = " table main"
			}
			if r.Metric != 0 && r.Metric != defaultMetric(r.Dst) {
				s += fmt.Sprintf(" metric %d", r.Metric)
			}
			return s
		},
	},
	{
		text: func(r rtnl.Route, _ string) string {
			if !r.Src.IsValid() {
				return ""
			}
			return " src " + r.Src.String()
		},
		same: func(h, w rtnl.Route) bool { return h.Src == w.Src },
	},
	{
		text: func(r rtnl.Route, _ string) (s string) {
			if r.MTU != 0 {
				s = fmt.Sprintf(" mtu %d", r.MTU)
			}
			if r.AdvMSS != 0 {
				s += fmt.Sprintf(" advmss %d", r.AdvMSS)
			}
			return s
		},
		same: func(h, w rtnl.Route) bool { return h.MTU == w.MTU && h.AdvMSS == w.AdvMSS },
	},
	{ // a next hop that is an object
		text: func(r rtnl.Route, _ string) string {
			if r.Nexthop == 0 {
				return ""
			}
			return fmt.Sprintf(" nhid %d", r.Nexthop)
		},
		same: func(h, w rtnl.Route) bool { return h.Nexthop == w.Nexthop },
	},
	{text: func(r rtnl.Route, _ string) string { return fmt.Sprintf(" proto %d", r.Proto) }},
	{ // the scope, which of a route without a next hop says whose it is
		text: func(r rtnl.Route, _ string) string {
			if r.Scope == UsualScope(r) {
				return ""
			}
			return " scope " + ScopeName(r.Scope)
		},
		same: func(h, w rtnl.Route) bool { return h.Scope == w.Scope },
	},
	{ // several next hops, which ip takes last, so that routeCommand names a metric before this entry
		text: func(r rtnl.Route, _ string) (s string) {
			for _, h := range r.Hops {
				s += " nexthop" + hopText(h, r.Dst.Addr().Is4())
			}
			return s
		},
		same: func(h, w rtnl.Route) bool { return sameHops(h.Hops, w.Hops) },
	},
}

func hopText(h rtnl.Hop, v4 bool) (s string) {
	if h.Via.IsValid() {
		s = " via " + map[bool]string{true: "inet6 "}[v4 && h.Via.Is6()] + h.Via.WithZone("").String()
	}
	if h.Dev != "" {
		s += " dev " + shell.Quote(h.Dev)
	}
	if h.Weight > 1 {
		s += fmt.Sprintf(" weight %d", h.Weight)
	}
	if h.OnLink && h.Via.IsValid() {
		s += " onlink"
	}
	return s
}

// sameHops reports whether the next hops that are there are the wanted ones, in
// whatever order.
func sameHops(have, want []rtnl.Hop) bool {
	if len(have) != len(want) {
		return false
	}
	rest := slices.Clone(have)
	for _, w := range want {
		i := slices.IndexFunc(rest, func(h rtnl.Hop) bool {
			return h.Via == w.Via.WithZone("") && h.Weight == w.Weight && (w.Index == 0 || h.Index == w.Index)
		})
		if i < 0 {
			return false
		}
		rest = slices.Delete(rest, i, i+1)
	}
	return true
}

// UsualScope is the scope that the ip command gives a route that says none.
func UsualScope(r rtnl.Route) uint8 {
	switch {
	case r.Dst.Addr().Is6():
		return 0 // it has none
	case r.Type == linux.RTN_LOCAL:
		return linux.RT_SCOPE_HOST
	case r.Type == 0 && !r.Via.IsValid() && len(r.Hops) == 0 && r.Nexthop == 0:
		return linux.RT_SCOPE_LINK
	}
	return linux.RT_SCOPE_UNIVERSE
}

// RT_SCOPE_* of linux/rtnetlink.h.
var scopes = map[uint8]string{linux.RT_SCOPE_UNIVERSE: "global", linux.RT_SCOPE_SITE: "site", linux.RT_SCOPE_LINK: "link",
	linux.RT_SCOPE_HOST: "host", linux.RT_SCOPE_NOWHERE: "nowhere"}

// ScopeName says how far a route or an address reaches, as the ip command does.
func ScopeName(scope uint8) string {
	if name := scopes[scope]; name != "" {
		return name
	}
	return strconv.Itoa(int(scope))
}

// ScopeOf returns the scope with a name, or a number.
func ScopeOf(name string) (scope uint8, ok bool) {
	for n, s := range scopes {
		if s == name {
			return n, true
		}
	}
	n, err := strconv.ParseUint(name, 10, 8)
	return uint8(n), err == nil
}

// routeTypes are the types of routes that are not plain ones: RTN_* of
// linux/rtnetlink.h.
var routeTypes = map[uint8]string{linux.RTN_LOCAL: "local", linux.RTN_BLACKHOLE: "blackhole", linux.RTN_UNREACHABLE: "unreachable",
	linux.RTN_PROHIBIT: "prohibit", linux.RTN_THROW: "throw"}

// RouteTypeName names the type of a route, empty for a plain one.
func RouteTypeName(typ uint8) string {
	if name := routeTypes[typ]; name != "" || typ == 0 {
		return name
	}
	return strconv.Itoa(int(typ))
}

// RouteTypeOf returns the type with a name.
func RouteTypeOf(name string) (typ uint8, ok bool) {
	for n, s := range routeTypes {
		if s == name {
			return n, true
		}
	}
	return 0, name == "" || name == "unicast"
}

// RouteTypes are the names of the types of routes.
func RouteTypes() []string { return slices.Sorted(maps.Values(routeTypes)) }

// SameRoute reports whether the route h that is there is the wanted w.
func SameRoute(h, w rtnl.Route) bool {
	if KeyOfRoute(h) != KeyOfRoute(w) || h.Type != w.Type {
		return false
	}
	for _, a := range routeAttrs {
		if a.same != nil && !a.same(h, w) {
			return false
		}
	}
	return true
}

// IsNamed reports whether who takes the route w away names the route h that is there: what
// w does not say is as h has it, and of IPv6 the kernel does not compare the rest.
func IsNamed(h, w rtnl.Route) bool {
	v6 := w.Dst.Addr().Is6()
	if w.Metric == 0 && !v6 { // of IPv6 that is the usual one: see rtnl.DelRoute
		w.Metric = h.Metric
	}
	if v6 || w.MTU == 0 {
		w.MTU = h.MTU
	}
	if v6 || w.AdvMSS == 0 {
		w.AdvMSS = h.AdvMSS
	}
	if v6 || !w.Src.IsValid() {
		w.Src = h.Src
	}
	return SameRoute(h, w)
}

func routeCommand(verb string, r rtnl.Route, dev string) string {
	s := "route " + verb + " "
	if r.Type != 0 {
		s += RouteTypeName(r.Type) + " "
	}
	s += r.Dst.String()
	for i, a := range routeAttrs {
		if last := i == len(routeAttrs)-1; last && verb == "del" && r.Dst.Addr().Is6() && HasUsualMetric(r) { // else any is deleted
			s += fmt.Sprintf(" metric %d", defaultMetric(r.Dst))
		}
		s += a.text(r, dev)
	}
	if verb != "del" && r.Nexthop != 0 && r.Dst.Addr().Is4() && r.MTU == 0 && r.AdvMSS == 0 {
		s += " mtu 0" // else it may get the metrics of another one by this next hop
	}
	return s
}
