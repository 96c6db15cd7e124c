//go:build linux

package main

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/seed59451c2b/osl"
)

// brought is what a link of the host brings along with useInterfaceNetwork: its
// addresses, the routes by it, and the rules by which these are used.
type brought struct {
	addrs  []netip.Prefix
	routes []osl.RouteSpec
	rules  []osl.RuleSpec
}

// broughtBy reads what a link of the host has. What the kernel made of an address or heard
// from a router it makes again in the container.
func (a *attachment) broughtBy(name string) (b brought, err error) {
	x, err := a.host.Interface(a.ctx, name)
	if err != nil {
		return b, err
	}
	st, err := a.host.Inspect(a.ctx)
	if err != nil {
		return b, err
	}
	passing, err := a.passing()
	if err != nil {
		return b, err
	}
	for _, p := range slices.Concat(x.Addresses, x.Aliases) {
		if !p.Addr().IsLinkLocalUnicast() && !passing[p.Addr()] {
			b.addrs = append(b.addrs, p)
		}
	}
	take := func(r osl.RouteSpec) {
		if r.Dev == x.Name && !r.To.Addr().IsLinkLocalUnicast() && !r.To.Addr().IsMulticast() {
			r.Dev = a.args.IfName
			b.routes = append(b.routes, r)
		}
	}
	for _, r := range st.OtherRoutes {
		if r.Proto != "kernel" && r.Proto != "ra" {
			r.RouteSpec.Metric = r.Metric
			if r.Scope == "" && !r.Via.IsValid() && r.To.Addr().Is4() {
				r.Scope = "link" // which others' routes have where they say none
			}
			take(r.RouteSpec)
		}
	}
	for _, r := range st.Routes {
		take(r)
	}
	rules := st.Rules
	for _, r := range st.OtherRules {
		rules = append(rules, r.Rule)
	}
	b.rules = rulesOf(rules, b.addrs, b.routes)
	return b, nil
}

// passing are the IPv6 addresses of the host that last for a time: a router, or a server,
// gives the container its own.
func (a *attachment) passing() (map[netip.Addr]bool, error) {
	var text []byte
	var err error
	if ierr := a.host.InvokeFunc(func() { text, err = os.ReadFile("/proc/thread-self/net/if_inet6") }); ierr != nil {
		return nil, ierr
	}
	if os.IsNotExist(err) {
		return nil, nil // a kernel without IPv6
	}
	list := map[netip.Addr]bool{}
	for line := range strings.Lines(string(text)) { // address, index, length, scope, flags, name
		const permanent = 0x80 // IFA_F_PERMANENT of linux/if_addr.h
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		flags, ferr := strconv.ParseUint(f[4], 16, 32)
		addr, aerr := netip.ParseAddr(colons(f[0]))
		if ferr == nil && aerr == nil && flags&permanent == 0 {
			list[addr] = true
		}
	}
	return list, err
}

// colons writes an IPv6 address of 32 digits as it is read.
func colons(digits string) string {
	var groups []string
	for four := range slices.Chunk([]byte(digits), 4) {
		groups = append(groups, string(four))
	}
	return strings.Join(groups, ":")
}

// rulesOf are the rules by which what comes from addresses goes by a table of routes.
func rulesOf(rules []osl.RuleSpec, addrs []netip.Prefix, routes []osl.RouteSpec) (list []osl.RuleSpec) {
	for _, r := range rules {
		from := r.From.IsValid() && slices.ContainsFunc(addrs, func(p netip.Prefix) bool { return r.From.Contains(p.Addr()) })
		if from && slices.ContainsFunc(routes, func(x osl.RouteSpec) bool { return x.Table == r.Table }) {
			list = append(list, r)
		}
	}
	return list
}

// add adds it to what is wanted, unless that was done before the lease was there, and to
// the lease, of which the result is made. What both have is there once.
func (b brought) add(s *osl.Spec, lease *current.Result, done bool) {
	f := &s.Interfaces[0]
	for _, p := range b.addrs {
		switch i := slices.Index(f.Aliases, p); {
		case i < 0:
			lease.IPs = append(lease.IPs, &current.IPConfig{Interface: current.Int(0), Address: ipNet(p)})
			if !done {
				f.Aliases = append(f.Aliases, p)
			}
		case done:
			f.Aliases = slices.Delete(f.Aliases, i, i+1)
		}
	}
	for _, r := range b.routes {
		same := func(o osl.RouteSpec) bool { return o.To == r.To && o.Table == r.Table && o.Metric == r.Metric }
		if slices.ContainsFunc(s.Routes, same) {
			continue // the one of the lease
		}
		route := &types.Route{Dst: ipNet(r.To), GW: r.Via.AsSlice(), Priority: int(r.Metric), MTU: int(r.MTU), AdvMSS: int(r.AdvMSS)}
		if r.Table != 0 {
			route.Table = current.Int(int(r.Table))
		}
		lease.Routes = append(lease.Routes, route)
		if !done {
			s.Routes = append(s.Routes, r)
		}
	}
	if !done {
		s.Rules = append(s.Rules, b.rules...)
	}
}

// dropBrought takes away the rules that a link brought along: those of osl's by which what
// comes from its addresses goes by its routes.
func dropBrought(ctx context.Context, n *osl.Namespace, ifName, owner string) error {
	st, err := n.Inspect(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(st.Interfaces, func(x osl.InterfaceStatus) bool { return x.Name == ifName && x.Note == owner })
	if i < 0 {
		return nil
	}
	x := st.Interfaces[i]
	by := slices.DeleteFunc(st.Routes, func(r osl.RouteSpec) bool { return r.Dev != ifName })
	list := rulesOf(st.Rules, slices.Concat(x.Addresses, x.Aliases), by)
	if list == nil {
		return nil
	}
	return n.RemoveRules(ctx, slices.Values(list))
}
