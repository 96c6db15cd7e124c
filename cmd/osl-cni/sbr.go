//go:build linux

package main

import (
	"context"
	"net/netip"
	"slices"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/seed59451c2b/osl"
)

// sbrConf are the keys of the sbr plugin: what comes from an address of the interface
// goes by a table of its own.
type sbrConf struct {
	// Table is one that is filled otherwise, by routes that say it; without it each
	// address has one that osl-cni chooses, with the routes of the interface.
	Table *uint32 `json:"table"`
	// Gateways are those to use in place of the lease's, at most one of each family.
	Gateways []netip.Addr `json:"gateways"`
	// AddSourceHints leaves the subnets of the addresses in the main table too.
	AddSourceHints bool `json:"addSourceHints"`
}

func (c *conf) validSBR() error {
	b := c.SBR
	switch {
	case c.IPAM.Type == "":
		return invalid("sbr is about the addresses of the interface, and it has none: ipam is missing")
	case b.Table != nil && *b.Table == 0:
		return invalid("sbr: there is no table 0; without table one is chosen")
	case b.Table != nil && (len(b.Gateways) > 0 || b.AddSourceHints):
		return invalid("sbr: gateways and addSourceHints are for tables that osl-cni fills, not for one that is named")
	case len(b.Gateways) == 2 && b.Gateways[0].Is4() == b.Gateways[1].Is4(), len(b.Gateways) > 2:
		return invalid("sbr: gateways are at most one of each family")
	}
	return nil
}

// gateway returns the configuration's of the family of a prefix; not valid for none.
func (b *sbrConf) gateway(p netip.Prefix) netip.Addr {
	i := slices.IndexFunc(b.Gateways, func(g netip.Addr) bool { return g.Is4() == p.Addr().Is4() })
	if i < 0 {
		return netip.Addr{}
	}
	return b.Gateways[i]
}

// bySource gives each address a rule and a table, with the routes by which what comes
// from it leaves.
func (a *attachment) bySource(s *osl.Spec, lease *current.Result, st *osl.Status) error {
	b := a.c.SBR
	f := &s.Interfaces[0]
	var own []osl.RouteSpec
	if b.Table == nil {
		own = a.ownRoutes(s)
		f.AddressOptions = map[netip.Prefix]osl.AddressOptions{}
		for _, p := range f.Aliases { // else the kernel's own routes are in the main table
			f.AddressOptions[p] = osl.AddressOptions{NoPrefixRoute: true}
		}
	}
	tables, places := freeTables(st), freePlaces(st)
	placed, subnets := make([]bool, len(own)), map[netip.Prefix]bool{}
	for _, ip := range lease.IPs {
		p, err := prefixOf(ip.Address)
		if err != nil {
			return err
		}
		rule := osl.RuleSpec{Priority: places(), From: single(p.Addr())}
		if b.Table != nil {
			rule.Table = *b.Table
			s.Rules = append(s.Rules, rule)
			continue
		}
		rule.Table, subnets[p.Masked()] = tables(), true
		s.Rules = append(s.Rules, rule)
		add := func(r osl.RouteSpec) {
			r.Table = rule.Table
			if !slices.ContainsFunc(s.Routes, func(o osl.RouteSpec) bool { return o.To == r.To && o.Table == r.Table && o.Metric == r.Metric }) {
				s.Routes = append(s.Routes, r)
			}
		}
		all := netip.PrefixFrom(p.Addr(), 0).Masked()
		if g := b.gateway(p); g.IsValid() {
			add(osl.RouteSpec{To: all, Via: g, Dev: f.Name})
		}
		if has(f.Aliases, p) && !p.IsSingleIP() {
			subnet := osl.RouteSpec{To: p.Masked(), Dev: f.Name, Src: p.Addr()}
			if p.Addr().Is4() {
				subnet.Scope = "link"
			}
			add(subnet)
			if b.AddSourceHints && !slices.ContainsFunc(s.Routes, func(o osl.RouteSpec) bool { return o.To == subnet.To && o.Table == 0 }) {
				s.Routes = append(s.Routes, subnet)
			}
		}
		for j, r := range own {
			if leadsFrom(r, p) {
				placed[j] = true
				add(r)
			}
		}
		if g, ok := addrOf(ip.Gateway); ok {
			add(osl.RouteSpec{To: all, Via: g, Dev: f.Name})
		}
	}
	for j, r := range own { // what no address has to do with is not lost
		if !placed[j] || b.AddSourceHints && (!r.Via.IsValid() && r.NextHops == nil || subnets[r.To]) {
			s.Routes = append(s.Routes, r)
		}
	}
	return nil
}

// leadsFrom reports whether a route is one by which packets from an address leave: its
// source or its next hop is in the address's subnet, or it is for all of its family.
func leadsFrom(r osl.RouteSpec, p netip.Prefix) bool {
	if r.To.Addr().Is4() != p.Addr().Is4() {
		return false
	}
	hops := slices.ContainsFunc(r.NextHops, func(h osl.NextHop) bool { return p.Contains(h.Via) })
	return hops || p.Contains(r.Src) || p.Contains(r.Via) || r.Via.IsLinkLocalUnicast() || !r.Src.IsValid() && !r.Via.IsValid() && r.NextHops == nil
}

// single is the network of one address.
func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// freePlaces returns what chooses the priority of a rule, another each time: the last
// before that of the main table which no rule has.
func freePlaces(st *osl.Status) func() uint32 {
	taken := map[uint32]bool{}
	for _, r := range st.Rules {
		taken[r.Priority] = true
	}
	for _, r := range st.OtherRules {
		taken[uint32(r.Priority)] = true
	}
	n := uint32(32766) // the main table's
	return func() uint32 {
		for n--; taken[n]; n-- {
		}
		return n
	}
}

// sourcesOf are the addresses of an attachment: those of its interface, if it is there,
// and those of prevResult which no other interface has.
func sourcesOf(st *osl.Status, ifName, owner string, prev []*current.IPConfig) map[netip.Addr]bool {
	found, others := map[netip.Addr]bool{}, map[netip.Addr]bool{}
	for _, x := range st.Interfaces {
		in := others
		if x.Name == ifName && x.Note == owner {
			in = found
		}
		for _, p := range slices.Concat(x.Addresses, x.Aliases) {
			in[p.Addr()] = true
		}
	}
	for _, ip := range prev {
		if a, ok := addrOf(ip.Address.IP); ok && !others[a] {
			found[a] = true
		}
	}
	return found
}

// dropRules takes the rules for addresses away that osl-cni made.
func dropRules(ctx context.Context, n *osl.Namespace, st *osl.Status, sources map[netip.Addr]bool) error {
	var list []osl.RuleSpec
	for _, r := range st.Rules {
		if r.From.IsValid() && r.From.IsSingleIP() && sources[r.From.Addr()] {
			list = append(list, r)
		}
	}
	if list == nil {
		return nil
	}
	return n.RemoveRules(ctx, slices.Values(list))
}

// checkSources looks for the rule of each address, and for the gateway in its table; it
// returns these tables.
func (a *attachment) checkSources(st *osl.Status, x *osl.InterfaceStatus, prev *current.Result) (tables []uint32, err error) {
	b := a.c.SBR
	if b.Table != nil {
		tables = []uint32{0} // the routes are not moved
	}
	for _, ip := range prev.IPs {
		if ip.Interface != nil && (*ip.Interface < 0 || *ip.Interface >= len(prev.Interfaces) || prev.Interfaces[*ip.Interface].Name != x.Name) {
			continue
		}
		p, err := prefixOf(ip.Address)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(st.Rules, func(r osl.RuleSpec) bool {
			return r.From == single(p.Addr()) && (b.Table == nil || *b.Table == r.Table)
		})
		if i < 0 {
			return nil, differs("there is no rule for what comes from %v", p.Addr())
		}
		if b.Table != nil {
			continue
		}
		table := st.Rules[i].Table
		tables = append(tables, table)
		_, has := addrOf(ip.Gateway)
		g, all := b.gateway(p), netip.PrefixFrom(p.Addr(), 0).Masked()
		is := func(r osl.RouteSpec) bool {
			return r.To == all && r.Table == table && (!g.IsValid() || r.Via.WithZone("") == g)
		}
		if (has || g.IsValid()) && !slices.ContainsFunc(st.Routes, is) {
			return nil, differs("the table %d, of what comes from %v, has no default route", table, p.Addr())
		}
	}
	return tables, nil
}

// replaced reports whether a route of the lease has given way to one through a gateway of
// the configuration.
func (a *attachment) replaced(to netip.Prefix) bool {
	return a.c.SBR != nil && to.Bits() == 0 && a.c.SBR.gateway(to).IsValid()
}

// leftInMain reports whether a route is of none of the addresses that have a table.
func (a *attachment) leftInMain(r osl.RouteSpec, prev *current.Result) bool {
	return a.c.SBR != nil && !slices.ContainsFunc(prev.IPs, func(ip *current.IPConfig) bool {
		p, err := prefixOf(ip.Address)
		return err == nil && leadsFrom(r, p)
	})
}
