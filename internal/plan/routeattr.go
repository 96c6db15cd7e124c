package plan

import (
	"fmt"

	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
)

// routeAttr is what osl asks of a route beside its destination: how the ip command says
// it, in its order, and whether the route h that is there has what is wanted, nil where
// that makes no other route of it. How the kernel is told is in package rtnl, which
// also knows a metric and a source: those of others have them.
type routeAttr struct {
	text func(r rtnl.Route, dev string) string
	same func(h, w rtnl.Route) bool
}

var routeAttrs = [...]routeAttr{
	{ // the next hop
		text: func(r rtnl.Route, _ string) string {
			if !r.Via.IsValid() {
				return ""
			}
			return " via " + r.Via.WithZone("").String()
		},
		same: func(h, w rtnl.Route) bool { return h.Via == w.Via.WithZone("") },
	},
	{ // the device, which may be left to the kernel
		text: func(_ rtnl.Route, dev string) string {
			if dev == "" {
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
		same: func(h, w rtnl.Route) bool { return w.Via.IsValid() || w.Dst.Addr().Is4() || h.OnLink == w.OnLink },
	},
	{text: func(r rtnl.Route, _ string) string { return fmt.Sprintf(" proto %d", r.Proto) }},
	{ // the scope, which says whose one without a next hop is
		text: func(r rtnl.Route, _ string) string {
			if !r.Global || r.Via.IsValid() {
				return ""
			}
			return " scope site"
		},
		same: func(h, w rtnl.Route) bool { return w.Via.IsValid() || h.Global == w.Global },
	},
}

// sameRoute reports whether the route h that is there is the wanted w.
func sameRoute(h, w rtnl.Route) bool {
	if h.Dst != w.Dst {
		return false
	}
	for _, a := range routeAttrs {
		if a.same != nil && !a.same(h, w) {
			return false
		}
	}
	return true
}

func routeCommand(verb string, r rtnl.Route, dev string) string {
	s := "route " + verb + " " + r.Dst.String()
	for _, a := range routeAttrs {
		s += a.text(r, dev)
	}
	return s
}
