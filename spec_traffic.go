package osl

import (
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/seed59451c2b/osl/internal/fault"
)

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
	// Nexthop is the ID of one of the sandbox's Nexthops, by which it leads. In place of
	// Via, Dev, NextHops and Type. An IPv6 route needs one of IPv6.
	Nexthop uint32 `json:"nexthop,omitempty"`
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
	// MTU in bytes of the path, 65520 at most; 0 is the interface's.
	MTU uint32 `json:"mtu,omitempty"`
	// AdvMSS is the segment size in bytes that TCP announces, 65495 at most; 0 is the
	// kernel's.
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

// NexthopSpec is a next hop that is an object of its own (ip nexthop): one address, or
// interface, or blackhole, or a group of such. The kernel makes one only on an interface
// that is up and has a carrier, and takes it away, with the routes that lead by it, as
// soon as that is not so: as the other end of a pair goes down, too. To apply the network
// again brings it back. It needs Linux 5.3.
type NexthopSpec struct {
	// ID is the number by which routes and groups name it, 1 to 4294967295.
	ID uint32 `json:"id"`
	// Via is the address of the next hop, which is taken to be on the link of Dev.
	Via netip.Addr `json:"via,omitzero"`
	// Dev is the interface. Without Via, what is sent there is for hosts on its link.
	Dev string `json:"dev,omitempty"`
	// Family is ipv4 or ipv6, where Via does not say it; empty is ipv4. By one of IPv6
	// routes of both families lead, by one of IPv4 those of IPv4 only.
	Family string `json:"family,omitempty"`
	// Blackhole drops what is sent there. In place of Via and Dev. One of IPv6 needs an
	// interface with IPv6 in the sandbox, since it is on lo.
	Blackhole bool `json:"blackhole,omitempty"`
	// Group are several of the sandbox's Nexthops, among which the kernel divides what it
	// sends; a blackhole only alone, and no groups. In place of Via, Dev, Family and
	// Blackhole.
	Group []NexthopMember `json:"group,omitempty"`
	// Type is that of a group: mpath (also if empty), which divides anew whenever the group
	// changes, or resilient, where most flows keep their next hop then. The latter needs
	// Linux 5.13. With another type the kernel makes the group anew.
	Type string `json:"type,omitempty"`
	// Buckets is how many of them a resilient group has, by which it divides flows, 1 to
	// 65535. Needed there. With another number the kernel makes the group anew.
	Buckets int `json:"buckets,omitempty"`
	// IdleTimer is how long a bucket of a resilient group has to be without a packet before
	// it gets another next hop, in whole seconds; the kernel's is 120s.
	IdleTimer *Duration `json:"idle_timer,omitempty"`
	// UnbalancedTimer is how long a resilient group may be without its shares before
	// buckets get another next hop that are in use, in whole seconds; the kernel's is 0s,
	// for ever.
	UnbalancedTimer *Duration `json:"unbalanced_timer,omitempty"`
}

// NexthopMember is a next hop of a group.
type NexthopMember struct {
	// ID is that of the next hop.
	ID uint32 `json:"id"`
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
	// SuppressIfGroup passes over what the table has by an interface of this group. nil
	// passes over nothing.
	SuppressIfGroup *int `json:"suppress_ifgroup,omitempty"`
	// Goto is the priority, higher than its own, of the rule to go on with.
	Goto uint32 `json:"goto,omitempty"`
	// Action is blackhole, unreachable, prohibit or nop, in place of a table.
	Action string `json:"action,omitempty"`
	// L3MDev looks up the table of the VRF that the interface is in.
	L3MDev bool `json:"l3mdev,omitempty"`
}

// NeighborSpec is a permanent neighbor entry, or with FDB or MDB a forwarding entry: of a
// vxlan, which has an IP, or of a bridge. Those of a bridge stay where they are, whatever
// the bridge hears.
type NeighborSpec struct {
	// Dev is the interface of the entry. For one of a bridge it is the port where the
	// address is, or the bridge itself.
	Dev string `json:"dev"`
	// IP is the neighbor's address; with FDB the tunnel endpoint's, and with MDB the
	// multicast group.
	IP netip.Addr `json:"ip,omitzero"`
	// MAC is the neighbor's hardware address. With MDB it is the group, where that has no
	// IP.
	MAC MAC `json:"mac,omitempty"`
	// FDB makes a forwarding entry. With IP it is one of the vxlan Dev: MAC is behind the
	// tunnel endpoint IP. Without, it is one of a bridge: MAC is at its port Dev, or with
	// Dev the bridge itself, it is heard by the sandbox.
	FDB bool `json:"fdb,omitempty"`
	// MDB makes a multicast entry of a bridge: the group IP, or MAC, is sent to its port
	// Dev. It needs Linux 6.3.
	MDB bool `json:"mdb,omitempty"`
	// VLAN is that of an entry of a bridge which filters VLANs.
	VLAN int `json:"vlan,omitempty"`
}

// MasqueradeSpec is a subnet behind an uplink of the host: what it sends there has the
// uplink's address, and the answers find back. It is all of packet filtering that osl
// does, in a table of nftables of each network.
type MasqueradeSpec struct {
	// Subnet is where the packets come from: "10.77.0.0/24".
	Subnet netip.Prefix `json:"subnet"`
	// Uplink is the link of the host by which they leave.
	Uplink string `json:"uplink"`
}

// ImpairSpec says what becomes of the packets that leave by an interface: what comes
// the other way is up to the other end. The zero value of a field does nothing of that
// kind. It is a netem at the root of the interface, or a tbf where there is a Rate and
// nothing else, with a handle of osl's.
type ImpairSpec struct {
	// Delay is how long each packet is held back, up to an hour: "10ms".
	Delay Duration `json:"delay,omitempty"`
	// Jitter is how much more or less that may be, up to two seconds: "2ms". Packets
	// may overtake each other by it. It needs a Delay.
	Jitter Duration `json:"jitter,omitempty"`
	// Loss is how many packets are lost, by chance: "1%".
	Loss Percent `json:"loss,omitempty"`
	// Duplicate is how many packets come twice: "0.5%".
	Duplicate Percent `json:"duplicate,omitempty"`
	// Reorder is how many packets are sent at once, before those that are held back:
	// "25%". It needs a Delay.
	Reorder Percent `json:"reorder,omitempty"`
	// Corrupt is how many packets get a wrong bit: "0.1%".
	Corrupt Percent `json:"corrupt,omitempty"`
	// Rate is how much leaves in a second, from 8kbit on: "10mbit". What is more
	// waits: as many packets as Limit says, or what takes 50 ms where there is nothing
	// but a Rate.
	Rate Rate `json:"rate,omitempty"`
	// Limit is how many packets wait, and are held back, at most; others are dropped.
	// 0 means 1000. A long Delay at a high Rate needs more.
	Limit int `json:"limit,omitempty"`
}

// Duration is a time as text "10ms": a number and ns, us, ms, s, m or h.
type Duration time.Duration

// String returns the duration as Go writes it.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText returns the text form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText parses the text form.
func (d *Duration) UnmarshalText(b []byte) error {
	t, err := time.ParseDuration(string(b))
	if err != nil && len(b) > 0 && strings.Trim(string(b), "0123456789.") == "" {
		return fault.Invalidf("%q is no duration: it lacks a unit, as in %sms", b, b)
	}
	if err != nil {
		return fault.Invalidf("%q is no duration: write 10ms", b)
	}
	*d = Duration(t)
	return nil
}

// Percent is a part of a hundred as text "1%".
type Percent float64

// String returns the text form.
func (p Percent) String() string { return strconv.FormatFloat(float64(p), 'f', -1, 64) + "%" }

// MarshalText returns the text form.
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText parses the text form.
func (p *Percent) UnmarshalText(b []byte) error {
	text, ok := strings.CutSuffix(string(b), "%")
	f, err := strconv.ParseFloat(text, 64)
	if !ok || err != nil || math.IsNaN(f) || f < 0 || f > 100 {
		if err == nil && !ok && f >= 0 && f <= 100 {
			return fault.Invalidf("%q is no part of a hundred: write %s%%", b, b)
		}
		return fault.Invalidf("%q is no part of a hundred: it is from 0%% to 100%%, such as 1%%", b)
	}
	*p = Percent(f)
	return nil
}

// Rate is a number of bits each second as text "10mbit", in bit, kbit, mbit, gbit or
// tbit, each a thousand of the one before.
type Rate uint64

var rateUnits = []struct {
	name string
	bits float64
}{{"tbit", 1e12}, {"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}}

// String returns the text form.
func (r Rate) String() string {
	for _, u := range rateUnits {
		if r != 0 && uint64(r)%uint64(u.bits) == 0 {
			return strconv.FormatUint(uint64(r)/uint64(u.bits), 10) + u.name
		}
	}
	return "0bit"
}

// MarshalText returns the text form.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText parses the text form, in letters of any case.
func (r *Rate) UnmarshalText(b []byte) error {
	for _, u := range rateUnits {
		text, ok := strings.CutSuffix(strings.ToLower(string(b)), u.name)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(text, 64)
		if bits := f * u.bits; err == nil && bits >= 0 && bits <= 1e15 && bits == math.Trunc(bits) {
			*r = Rate(bits)
			return nil
		}
		break
	}
	return fault.Invalidf("%q is no number of bits each second: write 10mbit", b)
}
