package osl

import "net/netip"

// RouteSpec is a route of a sandbox: through a next hop, or several of them, or on
// a device. Of two routes to one destination the kernel takes that of the longer
// prefix, then that of the lower metric; a sandbox has one for each destination,
// table and metric.
type RouteSpec struct {
	// To is the destination. In a file, "default" is that of all: ::/0 where
	// Via, the first of NextHops or Src is of IPv6, else 0.0.0.0/0.
	To netip.Prefix `json:"to"`
	// Via is the next hop. Without Dev it must be directly connected. An IPv4
	// route may have one of IPv6 (RFC 5549), on an interface with IPv6.
	Via netip.Addr `json:"via,omitzero"`
	// Dev is the interface. With Via, the next hop is taken to be on its link,
	// which the ip command calls onlink.
	Dev string `json:"dev,omitempty"`
	// NextHops are several next hops, among which the kernel divides what it
	// sends. In place of Via and Dev.
	NextHops []NextHop `json:"next_hops,omitempty"`
	// Type is what becomes of packets that are sent where it leads to otherwise:
	// blackhole drops them, unreachable and prohibit tell the sender so, throw
	// ends the search in this table, local takes them for the sandbox's own
	// (with Dev, often "lo"). Empty for a plain route.
	Type string `json:"type,omitempty"`
	// Table is the number of the routing table; 0 means the main one, 254. Others
	// are looked up where a rule says so.
	Table uint32 `json:"table,omitempty"`
	// Metric is the priority among routes to one destination, the lower first;
	// 0 is the kernel's: 0 on IPv4, 1024 on IPv6.
	Metric uint32 `json:"metric,omitempty"`
	// Src is the preferred source address, one of the sandbox.
	Src netip.Addr `json:"src,omitzero"`
	// MTU in bytes of the path; 0 is the interface's.
	MTU uint32 `json:"mtu,omitempty"`
	// AdvMSS is the segment size in bytes that TCP announces; 0 is the kernel's.
	AdvMSS uint32 `json:"advmss,omitempty"`
	// Scope of an IPv4 route: global, site, link, host, nowhere, or a number to
	// 255. Empty is global through a next hop, host for local, and site on a
	// device, by which osl knows its own.
	Scope string `json:"scope,omitempty"`
}

// NextHop is one of several next hops of a route.
type NextHop struct {
	// Via is the next hop. On IPv4 it may be missing, with Dev.
	Via netip.Addr `json:"via,omitzero"`
	// Dev is the interface; with Via, the next hop is taken to be on its link.
	Dev string `json:"dev,omitempty"`
	// Weight is its share of what is sent, 1 (also if 0) to 256.
	Weight int `json:"weight,omitempty"`
}

// RuleSpec is a rule of policy routing: what is so in all that it says is sent by
// what it does. It looks up the main table where it says nothing else.
type RuleSpec struct {
	// Priority is its place, 1 to 4294967295: the kernel tries the lower first.
	// A sandbox has one rule of osl for each priority and family.
	Priority uint32 `json:"priority"`
	// Family is ipv4 or ipv6. Empty is that of From and To, and without these
	// both.
	Family string `json:"family,omitempty"`
	// Not makes it a rule for all packets that are not so.
	Not bool `json:"not,omitempty"`
	// From is the network that packets come from.
	From netip.Prefix `json:"from,omitzero"`
	// To is the network that they go to.
	To netip.Prefix `json:"to,omitzero"`
	// IIF is the name of the interface by which they came, "lo" for those of the
	// sandbox's own programs. It need not be there yet.
	IIF string `json:"iif,omitempty"`
	// OIF is the name of the interface that a socket is bound to.
	OIF string `json:"oif,omitempty"`
	// FWMark is the mark of packets, in the bits of FWMask.
	FWMark uint32 `json:"fwmark,omitempty"`
	// FWMask are the bits of FWMark that count; 0 means all of them where FWMark
	// is not 0.
	FWMask uint32 `json:"fwmask,omitempty"`
	// IPProto is the protocol above IP: tcp, udp, icmp, another name, or a number.
	IPProto string `json:"ipproto,omitempty"`
	// SPort is the port, or range of ports ("8000-8080"), that they come from.
	SPort string `json:"sport,omitempty"`
	// DPort is the port, or range, that they go to.
	DPort string `json:"dport,omitempty"`
	// Table is the number of the table that it looks up; 0 means the main one,
	// 254. Where that has no route, the next rule is tried.
	Table uint32 `json:"table,omitempty"`
	// SuppressPrefixLength passes over what the table has where its prefix is of
	// this length in bits or shorter: 0 passes over its default route. nil passes
	// over nothing.
	SuppressPrefixLength *int `json:"suppress_prefixlength,omitempty"`
	// Goto is the priority, higher than its own, of the rule to go on with.
	Goto uint32 `json:"goto,omitempty"`
	// Action is blackhole, unreachable, prohibit or nop, in place of a table.
	Action string `json:"action,omitempty"`
	// L3MDev looks up the table of the VRF that the interface is in.
	L3MDev bool `json:"l3mdev,omitempty"`
}
