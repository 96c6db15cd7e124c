package osl

import "net/netip"

// Status is what a sandbox holds, as the kernel says.
type Status struct {
	// Name is the key's name in the base path, or the key.
	Name string `json:"name"`
	// Key is the path.
	Key string `json:"key"`
	// Made reports whether osl made the sandbox.
	Made bool `json:"made"`
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
	// OtherRoutes are the routes of the main table that osl does not hold: those
	// that the kernel made for addresses, and those of others.
	OtherRoutes []OtherRoute `json:"other_routes,omitempty"`
	// OtherRules are the rules of policy routing beside the kernel's first ones;
	// osl makes none.
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
}

// InterfaceStatus is one link of a sandbox.
type InterfaceStatus struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
	// Type is the kernel's name of the kind: bridge, veth, vxlan …; empty for
	// a physical device.
	Type string `json:"type,omitempty"`
	// Source is the name that it had on the host, or was made under; empty for
	// a link that osl does not hold.
	Source string `json:"source,omitempty"`
	// Origin is "host" for a link that was moved in, "made" for one that osl
	// made, "kept" for one that was in the sandbox already, "" for others.
	Origin string `json:"origin,omitempty"`
	// UnderWay reports that a change of the link has not come to its end.
	UnderWay bool   `json:"under_way,omitempty"`
	MAC      MAC    `json:"mac,omitempty"`
	MTU      int    `json:"mtu"`
	Up       bool   `json:"up"`
	Carrier  bool   `json:"carrier"`
	Master   string `json:"master,omitempty"`
	// Addresses are all but the aliases, those that the kernel made included.
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	Aliases   []netip.Prefix `json:"aliases,omitempty"`
	// Others are those of Addresses that osl did not give the interface.
	Others []netip.Prefix `json:"others,omitempty"`
	Routes []netip.Prefix `json:"routes,omitempty"`
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
