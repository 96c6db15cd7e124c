//go:build linux

package main

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/seed59451c2b/osl"
)

// scopeLink is that of an IPv4 route to what is on the link. By one of the scope that osl
// gives where it is told none, the kernel finds no gateway for the routes of others.
const scopeLink = "link"

// onLink reports whether a next hop is on the link of an interface by the subnets of a lease.
func onLink(lease *current.Result, via netip.Addr) bool {
	return via.IsLinkLocalUnicast() || slices.ContainsFunc(lease.IPs, func(ip *current.IPConfig) bool {
		p, err := prefixOf(ip.Address)
		return err == nil && p.Contains(via)
	})
}

// alternative adds a route to others; where one is to the same destination, as a next
// hop of that.
func alternative(list []osl.RouteSpec, x osl.RouteSpec) []osl.RouteSpec {
	i := slices.IndexFunc(list, func(o osl.RouteSpec) bool { return o.To == x.To && o.Table == x.Table && o.Metric == x.Metric })
	if i < 0 {
		return append(list, x)
	}
	hop, o := osl.NextHop{Via: x.Via, Dev: x.Dev}, &list[i]
	if o.NextHops == nil {
		o.NextHops = []osl.NextHop{{Via: o.Via, Dev: o.Dev}}
	}
	if !slices.Contains(o.NextHops, hop) {
		o.NextHops = append(o.NextHops, hop)
	}
	if len(o.NextHops) == 1 {
		o.NextHops = nil // a gateway that is there by itself and by isDefaultGateway
	} else {
		o.Via, o.Dev = netip.Addr{}, ""
	}
	return list
}

// routeOf turns a route of CNI into one of osl. One without a gateway is through the
// first that a lease has for its family.
func routeOf(r *types.Route, lease *current.Result) (x osl.RouteSpec, err error) {
	if x.To, err = prefixOf(r.Dst); err != nil {
		return x, err
	}
	x.To = x.To.Masked()
	x.Via, _ = addrOf(r.GW)
	for _, ip := range lease.IPs {
		if g, ok := addrOf(ip.Gateway); ok && !x.Via.IsValid() && g.Is4() == x.To.Addr().Is4() {
			x.Via = g
		}
	}
	if r.MTU < 0 || r.AdvMSS < 0 || r.Priority < 0 || r.Table != nil && *r.Table < 0 {
		return x, invalid("the route to %v has a negative number", x.To)
	}
	x.MTU, x.AdvMSS, x.Metric = uint32(r.MTU), uint32(r.AdvMSS), uint32(r.Priority)
	if r.Table != nil && *r.Table != mainTable {
		x.Table = uint32(*r.Table)
	}
	if r.Scope != nil && x.To.Addr().Is4() { // IPv6 has none
		x.Scope = strconv.Itoa(*r.Scope)
	}
	return x, nil
}

// mainTable is RT_TABLE_MAIN of linux/rtnetlink.h.
const mainTable = 254
