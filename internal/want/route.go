package want

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/where"
)

// What the kernel makes of a greater number, in ip_metrics_convert.
const (
	maxRouteMTU = 65535 - 15
	maxAdvMSS   = 65535 - 40
)

// ToRoute checks a route and turns it into one of osl, whose devices are names.
func ToRoute(x Route) (r plan.Route, err error) {
	no := func(field, format string, args ...any) error {
		return where.In(field, "", fault.Invalidf("the route to %v "+format, append([]any{x.To}, args...)...))
	}
	typ, known := plan.RouteTypeOf(x.Type)
	refuses := rtnl.Route{Type: typ}.Refuses()
	switch {
	case !x.To.IsValid():
		return r, fault.Invalidf("a route needs a destination")
	case x.To.Addr().Is4In6():
		return r, no("to", "is of IPv4, and written as one of IPv6")
	case !known:
		return r, no("type", "has no type %q: there are %s%s", x.Type, strings.Join(plan.RouteTypes(), ", "), near.Hint(x.Type, plan.RouteTypes()))
	case x.Nexthop != 0 && (typ != 0 || x.Via.IsValid() || x.Dev != "" || len(x.NextHops) > 0):
		return r, no("nexthop", "has nexthop, and beside it a type, via, dev or next_hops, which are that nexthop's to say")
	case refuses && (x.Via.IsValid() || x.Dev != "" || len(x.NextHops) > 0):
		return r, no("type", "is of the type %s, which has no next hop and no device", x.Type)
	case typ != 0 && !refuses && (x.Via.IsValid() || x.Dev == "" || len(x.NextHops) > 0):
		return r, no("type", "is of the type %s, which needs dev and has no next hop", x.Type)
	case len(x.NextHops) > 0 && (x.Via.IsValid() || x.Dev != ""):
		return r, no("next_hops", "has next_hops, and via or dev beside them")
	case !x.Via.IsValid() && x.Dev == "" && len(x.NextHops) == 0 && x.Nexthop == 0 && !refuses:
		return r, no("", "needs via, dev or both")
	case x.Src.IsValid() && (x.Src.Is4() != x.To.Addr().Is4() || x.Src.Is4In6() || x.Src.Zone() != ""):
		return r, no("src", "has a preferred source of another family, %v", x.Src)
	case x.MTU > maxRouteMTU:
		return r, no("mtu", "has the MTU %d: the kernel keeps none over %d", x.MTU, maxRouteMTU)
	case x.AdvMSS > maxAdvMSS:
		return r, no("advmss", "has the segment size %d: the kernel keeps none over %d", x.AdvMSS, maxAdvMSS)
	}
	only := ""
	if len(x.NextHops) == 1 { // the kernel knows no difference
		only = "next_hops[0]."
		x.Via, x.Dev, x.NextHops = x.NextHops[0].Via, x.NextHops[0].Dev, nil
	}
	r.Route = rtnl.Route{Dst: x.To.Masked(), Type: typ, Table: x.Table, Metric: x.Metric, Src: x.Src, MTU: x.MTU, AdvMSS: x.AdvMSS, Nexthop: x.Nexthop}
	if r.Table == linux.RT_TABLE_MAIN {
		r.Table = 0
	}
	hop := func(at string, via netip.Addr, dev string, one bool) error {
		switch {
		case via.Is4In6() || via.IsValid() && via.Is4() && x.To.Addr().Is6():
			return where.In(at+"via", "", fault.Invalidf("the route to %v and its next hop %v are of different families", x.To, via))
		case one && !via.IsValid() && (dev == "" || x.To.Addr().Is6()): // the kernel makes routes for themselves of those
			return no(at+"dev", "has a next hop without via")
		case via.IsValid() && !ofOne(via):
			return no(at+"via", "has the next hop (via) %v, which is no address of one host", via)
		case via.Is6() && via.IsLinkLocalUnicast() && deviceOf(via, dev) == "":
			return no(at+"via", "has the link-local next hop %v, which needs its interface: %v%%eth0", via, via)
		case via.Zone() != "" && dev != "" && via.Zone() != dev:
			return no(at+"dev", "has a next hop on %q and on %q", via.Zone(), dev)
		}
		return nil
	}
	if err := hop(only, x.Via, x.Dev, false); err != nil {
		return r, err
	}
	r.Via, r.Dev = x.Via, deviceOf(x.Via, x.Dev)
	r.OnLink = r.Dev != "" && (r.Via.IsValid() || typ == 0 && x.To.Addr().Is6())
	for i, h := range x.NextHops {
		at := fmt.Sprintf("next_hops[%d].", i)
		if err := hop(at, h.Via, h.Dev, true); err != nil {
			return r, err
		}
		if h.Weight < 0 || h.Weight > 256 {
			return r, no(at+"weight", "has a next hop of the weight %d: it is from 1 to 256", h.Weight)
		}
		dev := deviceOf(h.Via, h.Dev)
		r.Hops = append(r.Hops, rtnl.Hop{Via: h.Via, Dev: dev, Weight: max(h.Weight, 1), OnLink: h.Via.IsValid() && dev != ""})
	}
	if r.Dst.Addr().Is6() {
		if x.Scope != "" {
			return r, no("scope", "has a scope, which IPv6 does not know")
		}
		return r, nil
	}
	switch {
	case x.Scope != "":
		if r.Scope, known = plan.ScopeOf(x.Scope); !known {
			return r, no("scope", "has no scope %q: there are global, site, link, host, nowhere, and numbers to 255", x.Scope)
		}
	case typ == linux.RTN_LOCAL:
		r.Scope = linux.RT_SCOPE_HOST
	case !r.Via.IsValid() && r.Dev != "":
		r.Scope = linux.RT_SCOPE_SITE
	}
	return r, nil
}

// ofOne reports whether an address may be that of one host.
func ofOne(ip netip.Addr) bool {
	return !ip.IsUnspecified() && !ip.IsMulticast() && ip != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// deviceOf is the device of a next hop: a link-local address may say it itself.
func deviceOf(via netip.Addr, dev string) string {
	if dev == "" {
		return via.Zone()
	}
	return dev
}

// RouteOf says what a route is; devices have names by their indexes. usual is the scope of
// one on a device, which is not told.
func RouteOf(r rtnl.Route, names map[int]string, usual uint8) Route {
	x := Route{To: r.Dst, Via: r.Via, Dev: names[r.Index], Type: plan.RouteTypeName(r.Type), Table: r.Table, Src: r.Src, MTU: r.MTU, AdvMSS: r.AdvMSS, Nexthop: r.Nexthop}
	if !plan.HasUsualMetric(r) {
		x.Metric = r.Metric
	}
	for _, h := range r.Hops {
		x.NextHops = append(x.NextHops, NextHop{Via: h.Via, Dev: names[h.Index], Weight: h.Weight})
	}
	scope := plan.UsualScope(r)
	if scope == linux.RT_SCOPE_LINK {
		scope = usual
	}
	if r.Scope != scope {
		x.Scope = plan.ScopeName(r.Scope)
	}
	return x
}
