//go:build linux

package main

import (
	"net/netip"
	"slices"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/seed59451c2b/osl"
)

var ptpMode = &mode{needs: true, early: true, masq: true, valid: (*conf).validMasq, plan: planPTP, confirm: confirmPTP}

// planPTP makes a veth whose host's end is the gateway. All that the container sends
// goes there, also to its own subnet: so its address is a single one, and the subnet
// is reached through the gateway.
func planPTP(a *attachment, lease *current.Result) (net osl.Network, err error) {
	var gateways, single []netip.Prefix
	var routes []osl.RouteSpec
	for _, ip := range lease.IPs {
		p, err := prefixOf(ip.Address)
		if err != nil {
			return net, err
		}
		g, ok := addrOf(ip.Gateway)
		if !ok {
			return net, invalid("the address %v has no gateway, which a ptp needs", p)
		}
		own := netip.PrefixFrom(p.Addr(), p.Addr().BitLen())
		single = append(single, own)
		if gw := netip.PrefixFrom(g, g.BitLen()); !has(gateways, gw) {
			gateways = append(gateways, gw)
			r := osl.RouteSpec{To: gw, Dev: a.args.IfName, Src: p.Addr()}
			if g.Is4() {
				r.Scope = scopeLink
			}
			routes = append(routes, r)
		}
		if p.Masked() != own {
			routes = append(routes, osl.RouteSpec{To: p.Masked(), Via: g, Dev: a.args.IfName, Src: p.Addr()})
		}
	}
	if err := a.forward(gateways); err != nil {
		return net, err
	}
	f, err := a.iface("veth", lease)
	if err != nil {
		return net, err
	}
	f.Aliases = single
	if f.MAC == nil {
		f.MAC = osl.MAC(newMAC())
	}
	mac := newMAC()
	a.result.Interfaces = []*current.Interface{{Name: a.end, Mac: mac.String()}}
	end := osl.InterfaceSpec{Name: a.end, Type: "veth", MAC: osl.MAC(mac), MTU: a.c.MTU, Aliases: gateways, Routes: single, Note: f.Note}
	if slices.ContainsFunc(gateways, func(p netip.Prefix) bool { return p.Addr().Is6() }) {
		end.Sysctls = map[string]string{"ipv6.accept_ra": "0"} // the container is not the host's router
	}
	net = a.veth(end)
	a.inContainer(([]byte)(f.MAC), lease)
	s, err := a.sandbox(f, lease)
	for _, r := range routes {
		s.Routes = alternative(s.Routes, r)
	}
	for i := range s.Routes { // the gateway is reached by a route of its own
		if r := &s.Routes[i]; r.Via.IsValid() && has(gateways, netip.PrefixFrom(r.Via, r.Via.BitLen())) {
			r.Dev = a.args.IfName
		}
	}
	net.Sandboxes = append(net.Sandboxes, s)
	return net, err
}

// confirmPTP looks at the host's end: it is up, and has the gateways' addresses and
// the routes to the container.
func confirmPTP(a *attachment, prev *current.Result) error {
	end, err := a.hostEnd()
	switch {
	case err != nil:
		return err
	case !end.Up:
		return differs("the host's end %s is down", a.end)
	}
	for _, ip := range prev.IPs {
		p, err := prefixOf(ip.Address)
		if err != nil {
			return err
		}
		if g, ok := addrOf(ip.Gateway); ok && !has(end.Aliases, netip.PrefixFrom(g, g.BitLen())) {
			return differs("the host's end %s has not got the address %v", a.end, g)
		}
		if own := netip.PrefixFrom(p.Addr(), p.Addr().BitLen()); !has(end.Routes, own) {
			return differs("the host has no route to %v on %s", own, a.end)
		}
	}
	return nil
}
