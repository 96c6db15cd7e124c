//go:build linux

package main

import (
	"context"
	"maps"
	"net/netip"
	"os"
	"reflect"
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
		lost := r.Src.IsValid() && !slices.ContainsFunc(b.addrs, func(p netip.Prefix) bool { return p.Addr() == r.Src })
		if r.Dev == x.Name && !lost && !r.To.Addr().IsLinkLocalUnicast() && !r.To.Addr().IsMulticast() {
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
	rules := slices.Clone(st.Rules)
	for _, r := range st.OtherRules {
		rules = append(rules, r.Rule)
	}
	in, err := a.ns.Inspect(a.ctx)
	if err != nil {
		return b, err
	}
	for _, r := range rulesOf(rules, addrsOf(b.addrs), tablesOf(b.routes)) {
		for _, name := range []*string{&r.IIF, &r.OIF} {
			if *name == x.Name {
				*name = a.args.IfName
			}
		}
		if !slices.ContainsFunc(in.Rules, func(o osl.RuleSpec) bool { return reflect.DeepEqual(o, r) }) { // another link brought it
			b.rules = append(b.rules, r)
		}
	}
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

// rulesOf are the rules by which what comes from one of some addresses goes by a table.
func rulesOf(rules []osl.RuleSpec, addrs map[netip.Addr]bool, tables map[uint32]bool) (list []osl.RuleSpec) {
	for _, r := range rules {
		from := func(a netip.Addr) bool { return r.From.Contains(a) }
		if r.From.IsValid() && tables[r.Table] && slices.ContainsFunc(slices.Collect(maps.Keys(addrs)), from) {
			list = append(list, r)
		}
	}
	return list
}

func addrsOf(list []netip.Prefix) map[netip.Addr]bool {
	addrs := map[netip.Addr]bool{}
	for _, p := range list {
		addrs[p.Addr()] = true
	}
	return addrs
}

func tablesOf(list []osl.RouteSpec) map[uint32]bool {
	tables := map[uint32]bool{}
	for _, r := range list {
		tables[r.Table] = true
	}
	return tables
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
		same := func(o osl.RouteSpec) bool { return o.To == r.To && o.Table == r.Table && metricOf(o) == metricOf(r) }
		if slices.ContainsFunc(s.Routes, same) || slices.ContainsFunc(f.Routes, func(to netip.Prefix) bool { return same(osl.RouteSpec{To: to}) }) {
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

// metricOf is the metric that a route has in the kernel.
func metricOf(r osl.RouteSpec) uint32 {
	if r.Metric == 0 && r.To.Addr().Is6() {
		return 1024
	}
	return r.Metric
}

// dropBrought takes away the rules that a link brought along: those of osl's by which what
// comes from its addresses goes by its routes, and nothing of another one. prev tells of
// what is not there any more.
func dropBrought(ctx context.Context, n *osl.Namespace, ifName, owner string, prev *current.Result) error {
	st, err := n.Inspect(ctx)
	if err != nil {
		return err
	}
	is := func(x osl.InterfaceStatus) bool { return x.Name == ifName && x.Note == owner }
	there := slices.ContainsFunc(st.Interfaces, is)
	var ips []*current.IPConfig
	mine, others := map[uint32]bool{}, map[uint32]bool{}
	for _, r := range st.Routes {
		switch {
		case r.Dev == ifName && there:
			mine[r.Table] = true
		case r.Dev != "":
			others[r.Table] = true
		}
	}
	if prev != nil {
		ips = prev.IPs
		for _, r := range prev.Routes {
			if x, err := routeOf(r, prev); err == nil {
				mine[x.Table] = true
			}
		}
	}
	var elsewhere []netip.Prefix
	for _, x := range st.Interfaces {
		if !is(x) {
			elsewhere = append(elsewhere, slices.Concat(x.Addresses, x.Aliases)...)
		}
	}
	used := rulesOf(st.Rules, addrsOf(elsewhere), others)
	list := slices.DeleteFunc(rulesOf(st.Rules, sourcesOf(st, ifName, owner, ips), mine), func(r osl.RuleSpec) bool {
		return slices.ContainsFunc(used, func(o osl.RuleSpec) bool { return reflect.DeepEqual(o, r) })
	})
	if len(list) == 0 {
		return nil
	}
	return n.RemoveRules(ctx, slices.Values(list))
}
