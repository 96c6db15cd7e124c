package osl

import (
	"context"
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/engine"
	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// Status is what a sandbox holds, as the kernel says.
type Status struct {
	// Name is the key's name in the base path, or the key.
	Name string `json:"name"`
	// Key is the path.
	Key string `json:"key"`
	// Made reports whether osl made the sandbox.
	Made bool `json:"made"`
	// From is the path at which osl found the namespace that it pinned at the key
	// as well, see [Adopt]; empty where it did not.
	From string `json:"from,omitempty"`
	// Owner is what who pinned it there said whose it is.
	Owner string `json:"owner,omitempty"`
	// Network is the name of the network that made it, empty for none.
	Network string `json:"network,omitempty"`
	// Labels are those of Spec.Labels.
	Labels map[string]string `json:"labels,omitempty"`
	// Interfaces are all links of the sandbox but an untouched "lo".
	Interfaces []InterfaceStatus `json:"interfaces"`
	Gateway    netip.Addr        `json:"gateway,omitzero"`
	Gateway6   netip.Addr        `json:"gateway6,omitzero"`
	// Routes are the static routes that osl holds.
	Routes []RouteSpec `json:"routes,omitempty"`
	// Neighbors are the permanent entries that osl holds.
	Neighbors []NeighborSpec `json:"neighbors,omitempty"`
	// OtherRoutes are the routes that osl does not hold: those that the kernel made
	// to the subnets of addresses, and those of others.
	OtherRoutes []OtherRoute `json:"other_routes,omitempty"`
	// Rules are the rules of policy routing that osl holds, one for each family.
	Rules []RuleSpec `json:"rules,omitempty"`
	// OtherRules are the rules of others beside the kernel's first ones.
	OtherRules []OtherRule `json:"other_rules,omitempty"`
}

// OtherRoute is a route that osl does not hold.
type OtherRoute struct {
	RouteSpec
	// Metric is the route's priority: of two routes to one destination the
	// kernel takes the lower.
	Metric uint32 `json:"metric,omitempty"`
	// Proto says who made it, as the ip command does: kernel, boot, static,
	// dhcp, ra, or a number.
	Proto string `json:"proto"`
}

// OtherRule is a rule of policy routing that osl did not make.
type OtherRule struct {
	// Priority is its place: the kernel tries the lower first.
	Priority int `json:"priority"`
	// From and To are what it is about; not valid for all.
	From netip.Prefix `json:"from,omitzero"`
	To   netip.Prefix `json:"to,omitzero"`
	// In and Out are names of interfaces, empty for any.
	In  string `json:"iif,omitempty"`
	Out string `json:"oif,omitempty"`
	// Mark is that of a packet, 0 for any.
	Mark uint32 `json:"fwmark,omitempty"`
	// Table is the routing table that it looks up; 0 where it does something
	// else.
	Table int `json:"table,omitempty"`
	// Action is what it does else: blackhole, unreachable, prohibit, goto, nop;
	// empty where it looks a table up.
	Action string `json:"action,omitempty"`
	// Rule is all of it, as a Spec says it.
	Rule RuleSpec `json:"rule"`
}

// InterfaceStatus is one link of a sandbox.
type InterfaceStatus struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
	// Type is the kernel's name of the kind: bridge, veth, vxlan …; empty for
	// a physical device.
	Type string `json:"type,omitempty"`
	// Details are what makes a link of its type, by the names of the fields of
	// InterfaceSpec: "vlan": "7". What nobody asked for is what the kernel made it.
	Details map[string]string `json:"details,omitempty"`
	// Source is the name that it had on the host, or was made under; empty for
	// a link that osl does not hold.
	Source string `json:"source,omitempty"`
	// Origin is "host" for a link that was moved in, "made" for one that osl
	// made, "kept" for one that was in the sandbox already, "" for others.
	Origin string `json:"origin,omitempty"`
	// Note is that of InterfaceSpec.Note.
	Note string `json:"note,omitempty"`
	// UnderWay reports that a change of the link has not come to its end.
	UnderWay bool   `json:"under_way,omitempty"`
	MAC      MAC    `json:"mac,omitempty"`
	MTU      int    `json:"mtu"`
	Up       bool   `json:"up"`
	Carrier  bool   `json:"carrier"`
	Master   string `json:"master,omitempty"`
	// IPv6 is what [InterfaceSpec.IPv6] calls it: off, link-local where it is on
	// and takes nothing that routers advertise, auto where it does.
	IPv6 string `json:"ipv6,omitempty"`
	// Addresses are all but the aliases, those that the kernel made included.
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	Aliases   []netip.Prefix `json:"aliases,omitempty"`
	// AddressOptions are what addresses that osl gave have beside themselves, with
	// what is left of their time.
	AddressOptions map[netip.Prefix]AddressOptions `json:"address_options,omitempty"`
	// Others are those of Addresses that osl did not give the interface.
	Others []netip.Prefix `json:"others,omitempty"`
	Routes []netip.Prefix `json:"routes,omitempty"`
	// Impair is what osl does to the packets that leave by it.
	Impair *ImpairSpec `json:"impair,omitempty"`
	// WireGuard is what a wireguard is, without its secrets, and what its peers said.
	WireGuard *WireGuardStatus `json:"wireguard,omitempty"`
	// Offloads are those that can be turned on and off, by the kernel's names, and
	// whether each is on.
	Offloads map[string]bool `json:"offloads,omitempty"`
	// Group, Promisc, AllMulticast, ARP, AddrGenMode and the sizes are as in
	// InterfaceSpec.
	Group int `json:"group,omitempty"`
	// AltNames are its further names.
	AltNames     []string `json:"altnames,omitempty"`
	Promisc      bool     `json:"promisc,omitempty"`
	AllMulticast bool     `json:"allmulticast,omitempty"`
	ARP          bool     `json:"arp"`
	AddrGenMode  string   `json:"addrgenmode,omitempty"`
	GSOMaxSize   int      `json:"gso_max_size,omitempty"`
	GSOMaxSegs   int      `json:"gso_max_segs,omitempty"`
	GROMaxSize   int      `json:"gro_max_size,omitempty"`
	// Bridge is what a bridge is, BridgePort what a port of one is; their VLANs are told
	// where a bridge of the sandbox filters them.
	Bridge     *BridgeSpec     `json:"bridge,omitempty"`
	BridgePort *BridgePortSpec `json:"bridge_port,omitempty"`
}

// Entry is a sandbox in a list.
type Entry struct {
	// Name is the key's name in the base path.
	Name string `json:"name"`
	// Key is the path.
	Key string `json:"key"`
	// Made reports whether osl made the sandbox; others were made by another
	// program, such as ip netns.
	Made bool `json:"made"`
	// Network is the name of the network that made it, empty for none.
	Network string `json:"network,omitempty"`
	// Labels are those of Spec.Labels.
	Labels map[string]string `json:"labels,omitempty"`
	// Interfaces is the number of links beside lo.
	Interfaces int `json:"interfaces"`
	// Problem says why the sandbox could not be read, empty where it could.
	Problem string `json:"problem,omitempty"`
}

// List returns the sandboxes of the base path by name, those that others made
// included. A key that can't be read is listed with its problem.
func List(ctx context.Context) ([]Entry, error) {
	entries, err := engine.List(ctx)
	if err != nil {
		return nil, public(err)
	}
	list := make([]Entry, 0, len(entries))
	for _, e := range entries {
		list = append(list, Entry(e))
	}
	return list, nil
}

// Interface reads one link of the sandbox, by its name there: also "lo", which is
// UnderWay where a change of anything is, and those that osl does not hold. It returns
// ErrNotFound if there is none.
func (n *Namespace) Interface(ctx context.Context, name string) (*InterfaceStatus, error) {
	r, err := n.opened().Interface(ctx, name)
	if err != nil {
		return nil, public(err)
	}
	x := interfaceStatus(r.State, &r.State.Links[0])
	x.WireGuard = wireGuardStatus(r.State.WireGuards[x.Index])
	x.UnderWay = r.All || r.Some[x.Index] || name == "lo" && len(r.Some) > 0
	if len(r.State.Links) > 1 {
		x.Master = r.State.Links[1].Name
	}
	return &x, nil
}

// statusOf turns what the engine read into a Status.
func (n *Namespace) statusOf(r *engine.Reading) *Status {
	s := r.State
	st := &Status{Name: n.Name(), Key: r.Key, From: r.From, Owner: r.Owner, Interfaces: []InterfaceStatus{}, Gateway: s.Gateway(true), Gateway6: s.Gateway(false)}
	if lo := s.ByIndex(1); lo != nil {
		var t plan.SandboxTag
		t, st.Made = plan.ParseSandboxTag(lo.Alias)
		st.Network, st.Labels = plan.NetworkOf(lo), t.Labels
	}
	names := map[int]string{}
	for i := range s.Links {
		names[s.Links[i].Index] = s.Links[i].Name
	}
	parts := s.Parts()
	for i := range s.Links {
		x := interfaceStatus(parts[s.Links[i].Index], &s.Links[i])
		x.Master = names[s.Links[i].Master]
		if l := &s.Links[i]; plan.IsOnParent(l) && names[l.Parent] != "" {
			x.Details["parent"] = names[l.Parent]
		}
		bridgeStatus(s, &s.Links[i], &x)
		x.UnderWay = r.All || r.Some[x.Index]
		if q, own := s.QdiscOf(&s.Links[i]); own {
			x.Impair = impairOf(q)
		}
		x.WireGuard = wireGuardStatus(s.WireGuards[x.Index])
		if f := s.Features[x.Index]; f != nil {
			x.Offloads = plan.Changeable(f)
		}
		if x.Name != "lo" || len(x.Aliases) > 0 || slices.ContainsFunc(x.Addresses, func(p netip.Prefix) bool { return !p.Addr().IsLoopback() }) {
			st.Interfaces = append(st.Interfaces, x)
		}
	}
	for _, x := range s.Routes {
		if plan.IsStatic(x) {
			st.Routes = append(st.Routes, routeSpec(x, names, linux.RT_SCOPE_SITE))
		}
	}
	for _, x := range s.Others {
		st.OtherRoutes = append(st.OtherRoutes, OtherRoute{routeSpec(x, names, linux.RT_SCOPE_LINK), x.Metric, plan.ProtocolName(x.Proto)})
	}
	for _, x := range s.Rules {
		st.Rules = append(st.Rules, ruleSpec(x))
	}
	for _, x := range s.OtherRules {
		st.OtherRules = append(st.OtherRules, otherRule(x))
	}
	for _, x := range s.Neighs {
		if x.Proto == rtnl.Protocol && !plan.Implied(s.Neighs, x) {
			st.Neighbors = append(st.Neighbors, NeighborSpec{Dev: names[x.Index], IP: x.IP, MAC: MAC(x.MAC), FDB: x.FDB && !x.MDB, MDB: x.MDB, VLAN: int(x.VLAN)})
		}
	}
	return st
}

// routeSpec says what a route is. usual is the scope of one on a device, which is not
// told.
func routeSpec(r rtnl.Route, names map[int]string, usual uint8) RouteSpec {
	s := RouteSpec{To: r.Dst, Via: r.Via, Dev: names[r.Index], Type: plan.RouteTypeName(r.Type), Table: r.Table, Src: r.Src, MTU: r.MTU, AdvMSS: r.AdvMSS}
	if !plan.HasUsualMetric(r) {
		s.Metric = r.Metric
	}
	for _, h := range r.Hops {
		s.NextHops = append(s.NextHops, NextHop{Via: h.Via, Dev: names[h.Index], Weight: h.Weight})
	}
	if want := plan.UsualScope(r); r.Scope != want && (want != linux.RT_SCOPE_LINK || r.Scope != usual) {
		s.Scope = plan.ScopeName(r.Scope)
	}
	return s
}

// ruleSpec says what a rule is.
func ruleSpec(r rtnl.Rule) RuleSpec {
	s := RuleSpec{Priority: r.Priority, Not: r.Not, From: r.From, To: r.To, IIF: r.In, OIF: r.Out, FWMark: r.Mark, FWMask: r.Mask,
		IPProto: plan.IPProtoName(r.IPProto), SPort: plan.PortsText(r.SPort), DPort: plan.PortsText(r.DPort),
		Table: r.Table, Goto: r.Goto, L3MDev: r.L3MDev}
	if !r.From.IsValid() && !r.To.IsValid() {
		s.Family = map[bool]string{true: "ipv4", false: "ipv6"}[r.Family == linux.AF_INET]
	}
	if r.Mark != 0 && r.Mask == 1<<32-1 {
		s.FWMask = 0
	}
	if r.Suppress != 0 {
		n := int(r.Suppress - 1)
		s.SuppressPrefixLength = &n
	}
	if r.Action != linux.FR_ACT_GOTO {
		s.Action = plan.RuleActionName(r.Action)
	}
	return s
}

func otherRule(r rtnl.Rule) OtherRule {
	o := OtherRule{Priority: int(r.Priority), From: r.From, To: r.To, In: r.In, Out: r.Out, Mark: r.Mark, Rule: ruleSpec(r)}
	if o.Action = plan.RuleActionName(r.Action); o.Action == "" {
		o.Table = int(r.Table)
	}
	return o
}

// addressOptions says what an address of osl's has beside itself.
func addressOptions(h rtnl.Addr) (o AddressOptions, any bool) {
	a, any := plan.AddrOptions(h)
	if !any || h.Proto != rtnl.Protocol && h.Proto != rtnl.AliasProtocol {
		return o, false
	}
	o = AddressOptions{Peer: a.Peer, NoPrefixRoute: a.Flags&linux.IFA_F_NOPREFIXROUTE != 0, Home: a.Flags&linux.IFA_F_HOMEADDRESS != 0}
	if a.Scope != nil {
		o.Scope = plan.ScopeName(*a.Scope)
	}
	if t := a.Lifetime; t != nil {
		if t.Valid != rtnl.Forever {
			o.ValidLft = t.Valid
		}
		if t.Preferred != t.Valid {
			o.PreferredLft = &t.Preferred
		}
	}
	return o, true
}

// interfaceStatus tells what an interface is. s is what is on it.
func interfaceStatus(s *plan.State, l *rtnl.Link) InterfaceStatus {
	x := InterfaceStatus{Name: l.Name, Index: l.Index, Type: l.Kind, MTU: l.MTU, Up: l.Up(),
		Carrier: l.Flags&linux.IFF_LOWER_UP != 0, MAC: MAC(l.MAC), Details: plan.Details(l)}
	if t, ok := plan.ParseTag(l.Alias); ok {
		x.Source, x.Note = t.Source, t.Note
		x.Origin = map[plan.Origin]string{plan.Host: "host", plan.Made: "made", plan.Kept: "kept", plan.Far: "made"}[t.Origin]
	}
	switch {
	case l.Inet.DisableIPv6:
		x.IPv6 = "off"
	case l.Inet.HearsRouters:
		x.IPv6 = "auto"
	default:
		x.IPv6 = "link-local"
	}
	for _, a := range s.Addrs {
		if o, any := addressOptions(a); any {
			if x.AddressOptions == nil {
				x.AddressOptions = map[netip.Prefix]AddressOptions{}
			}
			x.AddressOptions[a.Prefix] = o
		}
		if a.Proto == rtnl.AliasProtocol {
			x.Aliases = append(x.Aliases, a.Prefix)
			continue
		}
		x.Addresses = append(x.Addresses, a.Prefix)
		if a.Proto != rtnl.Protocol {
			x.Others = append(x.Others, a.Prefix)
		}
	}
	for _, r := range s.Routes {
		if !r.Via.IsValid() && !plan.IsStatic(r) {
			x.Routes = append(x.Routes, r.Dst)
		}
	}
	settingsStatus(l, &x)
	return x
}

// impairOf tells what a discipline of osl's does.
func impairOf(q *rtnl.Qdisc) *ImpairSpec {
	i := q.Impair
	part := func(p uint32) Percent { return Percent(plan.Percent(p)) }
	return &ImpairSpec{Delay: Duration(i.Delay), Jitter: Duration(i.Jitter), Loss: part(i.Loss), Duplicate: part(i.Duplicate),
		Reorder: part(i.Reorder), Corrupt: part(i.Corrupt), Rate: Rate(8 * i.Rate), Limit: int(i.Limit)}
}
