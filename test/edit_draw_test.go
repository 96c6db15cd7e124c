//go:build linux

package osltest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/seed59451c2b/osl"
)

// What TestEdits draws of interfaces and sandboxes beside what they are.

// drawer draws networks that can be built, on a kernel that has these kinds.
type drawer struct {
	*rapid.T
	kinds []string
	rates bool
}

func draw[T any](r *drawer, what string, list ...T) T {
	return rapid.SampledFrom(list).Draw(r.T, what)
}

// sometimes is true one time in n.
func (r *drawer) sometimes(what string, n int) bool {
	return rapid.IntRange(1, n).Draw(r.T, what) == n
}

// maybe draws one of two values, or none.
func maybe[T any](r *drawer, what string, a, b T) *T {
	return draw(r, what, nil, nil, &a, &b)
}

// probe finds the kinds that not every kernel has.
func probe(t *testing.T) (d drawer) {
	t.Helper()
	owner := &netlink.Veth{LinkAttrs: attrs("probe0"), PeerName: "probe1"}
	must(t, netlink.LinkAdd(owner))
	defer func() { must(t, netlink.LinkDel(owner)) }()
	on := attrs("probe2")
	on.ParentIndex = needLink(t, "", "probe0").Attrs().Index
	for kind, l := range map[string]netlink.Link{
		"bridge": &netlink.Bridge{LinkAttrs: attrs("probe2")}, "vxlan": &netlink.Vxlan{LinkAttrs: attrs("probe2"), VxlanId: 1},
		"vlan":      &netlink.Vlan{LinkAttrs: on, VlanId: 7},
		"wireguard": &netlink.Wireguard{LinkAttrs: attrs("probe2")},
		"ifb":       &netlink.Ifb{LinkAttrs: attrs("probe2")}, "macvlan": &netlink.Macvlan{LinkAttrs: on, Mode: netlink.MACVLAN_MODE_PRIVATE},
		"macvtap": &netlink.Macvtap{Macvlan: netlink.Macvlan{LinkAttrs: on, Mode: netlink.MACVLAN_MODE_PRIVATE}},
		"tun":     &netlink.Tuntap{LinkAttrs: attrs("probe2"), Mode: netlink.TUNTAP_MODE_TUN},
	} {
		if err := netlink.LinkAdd(l); err == nil {
			must(t, netlink.LinkDel(l))
			if d.kinds = append(d.kinds, kind); kind == "tun" {
				d.kinds = append(d.kinds, "tap")
			}
		} else if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOENT) && (kind != "tun" || !errors.Is(err, unix.EACCES)) { // whose device may be root's alone
			t.Fatalf("the witness makes no %s: %v", kind, err)
		}
	}
	d.kinds = append(d.kinds, probeKinds(t)...)
	slices.Sort(d.kinds)
	all := []string{"bond", "bridge", "dummy", "geneve", "gre", "gretap", "ifb", "ip6gre", "ip6gretap", "ipip", "ipvlan", "ipvtap", "macvlan", "macvtap", "netkit", "sit",
		"tap", "tun", "vcan", "vlan", "vlans", "vrf", "vxlan", "wireguard", "IPv4 sizes", "netem", "mdb"}
	t.Logf("not drawn, since there are none here: %v", slices.DeleteFunc(all, func(kind string) bool { return slices.Contains(d.kinds, kind) }))
	tbf := &netlink.Tbf{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: on.ParentIndex, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}, Rate: 1000, Limit: 9000, Buffer: 90000}
	d.rates = netlink.QdiscAdd(tbf) == nil
	return d
}

// settings draws those of a link.
func (r *drawer) settings(f *osl.InterfaceSpec) {
	f.Group, f.Promisc = maybe(r, "group", 0, 77), maybe(r, "promisc", true, false)
	f.AllMulticast, f.ARP = maybe(r, "allmulticast", true, false), maybe(r, "arp", true, false)
	if strings.HasPrefix(f.Type, "ipv") { // which has it by its mode
		f.ARP = nil
	}
	f.TxQueueLen = maybe(r, "txqueuelen", 500, 2000)
	if r.sometimes("arp_accept", 4) {
		f.Sysctls = map[string]string{"ipv4.arp_accept": "1"}
	}
	if f.Type != "wireguard" && f.Type != "vcan" { // which have none
		f.AddrGenMode = draw(r, "addrgenmode", "", "", "eui64", "none", "random")
	}
	f.GROMaxSize = draw(r, "gro_max_size", 0, 0, 32768, 65536)
	if slices.Contains(r.kinds, "IPv4 sizes") {
		f.GROIPv4MaxSize = draw(r, "gro_ipv4_max_size", 0, 0, 20000, 65536)
		if f.Type != "bridge" {
			f.GSOIPv4MaxSize = draw(r, "gso_ipv4_max_size", 0, 0, 20000, 65536)
		}
	}
	if f.Type != "bridge" {
		f.GSOMaxSize, f.GSOMaxSegs = draw(r, "gso_max_size", 0, 0, 16384, 65536), draw(r, "gso_max_segs", 0, 0, 16, 65535)
	}
	if f.Parent == "" { // it can't be larger than its parent's
		f.MTU = draw(r, "mtu", 0, 0, 1300, 1400)
	}
	if f.Type == "ifb" || f.Type == "tun" { // an MTU that is too small for IPv6 stays until another is said
		f.MTU = max(f.MTU, 1300)
		if !has6(*f) && r.sometimes("small", 2) {
			f.MTU, f.AddrGenMode = 1000, ""
		}
	}
	if f.Type == "bridge" && r.sometimes("bridge options", 2) {
		age := func(what string, a, b osl.Duration) *osl.Duration { return maybe(r, what, a, b) }
		f.Bridge = &osl.BridgeSpec{Priority: maybe(r, "bridge priority", 4096, 32768), AgeingTime: age("ageing_time", 10e9, 300e9),
			HelloTime: age("hello_time", 1e9, 2e9), ForwardDelay: age("forward_delay", 4e9, 15e9),
			MaxAge: age("max_age", 10e9, 20e9), MulticastQuerier: maybe(r, "mcast_querier", true, false),
			MulticastSnooping: maybe(r, "mcast_snooping", true, false), STP: maybe(r, "stp", true, false)}
	}
	if f.Type == "bridge" {
		r.filtering(f)
	}
}

// offloads draws those that the witness looks at.
func (r *drawer) offloads(f *osl.InterfaceSpec) {
	if hasOffloads(*f) {
		f.Offloads = draw(r, "offloads", nil, nil, map[string]bool{"tso": false}, map[string]bool{"gro": true}, map[string]bool{"tx-tcp-segmentation": true, "tso": false})
	}
}

// addressOptions draws what addresses have beside themselves.
func (r *drawer) addressOptions(f *osl.InterfaceSpec) {
	scope := draw(r, "scope", "", "", "link") // the kernel wants one of all of a subnet
	for _, p := range slices.Concat(f.Addresses, f.Aliases) {
		o := osl.AddressOptions{ValidLft: draw[uint32](r, "valid_lft", 0, 0, 4000, 5000)}
		ip := p.Addr().AsSlice()
		if ip[1] == 5 { // all of one subnet: it is made longer only with the address
			o.PreferredLft = new(uint32)
		}
		switch {
		case p.Addr().Is6():
			// The kernel keeps the route of one that ends by itself: docs/kernel-notes.md.
			o.Home, o.NoPrefixRoute = r.sometimes("home", 4), r.sometimes("noprefixroute", 4) || o.ValidLft != 0
			o.Peer = draw(r, "peer", netip.Addr{}, netip.Addr{}, p.Addr().Next(), netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x50 + ip[1], 15: 9}))
		default:
			o.Scope, o.NoPrefixRoute = scope, r.sometimes("noprefixroute", 3)
			o.Peer = draw(r, "peer", netip.Addr{}, netip.Addr{}, netip.AddrFrom4([4]byte{10, ip[1], 0, 99}), netip.AddrFrom4([4]byte{10, 50 + ip[1], 0, 99}))
		}
		if strings.HasPrefix(f.Type, "ipv") { // of which the kernel compares the peers, and no two have one
			o.Peer = netip.Addr{}
		}
		if o != (osl.AddressOptions{}) {
			if f.AddressOptions == nil {
				f.AddressOptions = map[netip.Prefix]osl.AddressOptions{}
			}
			f.AddressOptions[p] = o
		}
	}
}

// has6 reports whether the IPv6 of an interface is on.
func has6(f osl.InterfaceSpec) bool {
	return f.IPv6 != "off" && f.IPv6 != "" || slices.ContainsFunc(slices.Concat(f.Addresses, f.Aliases), func(p netip.Prefix) bool { return p.Addr().Is6() })
}

// furnish draws what of a sandbox is about several of its interfaces.
func (r *drawer) furnish(s *osl.Spec) {
	names := rapid.Permutation([]string{"n0", "n1", "n2", "the-name-that-is-longer-than-a-name", "n4"}).Draw(r.T, "altnames")
	for i := range s.Interfaces {
		f := &s.Interfaces[i]
		r.master(f, s.Interfaces)
		n := rapid.IntRange(0, min(2, len(names))).Draw(r.T, "number of altnames")
		f.AltNames, names = names[:n:n], names[n:]
	}
	r.macs(s.Interfaces, s.Name)
	// Of a bond the ports lead nowhere, and neither does a vrf, which is of routes itself.
	up := slices.DeleteFunc(slices.Clone(s.Interfaces), func(f osl.InterfaceSpec) bool {
		return f.Down || f.Type == "vrf" || f.Type == "vcan" || interfaceIn(s.Interfaces, f.Master).Type == "bond"
	})
	s.Nexthops = r.nexthops(up)
	s.Routes, s.Neighbors = r.routes(up, s.Nexthops), r.neighbors(up, s.Interfaces)
	s.Rules = r.rules()
	if r.sometimes("lo", 3) { // which nothing else leads by
		lo := osl.InterfaceSpec{Name: "lo", Addresses: prefixes(draw(r, "address of lo", "10.123.0.1/32", "10.123.0.2/32"))}
		lo.Addresses = append(lo.Addresses, draw(r, "more of lo", nil, prefixes("127.0.0.1/8", "::1/128"), prefixes("fd12::1/128"), prefixes("127.0.0.9/8"))...)
		s.Interfaces = append(s.Interfaces, lo)
	}
}

// netem draws what one does beside a rate alone.
func (r *drawer) netem() *osl.ImpairSpec {
	ms := osl.Duration(1e6)
	i := &osl.ImpairSpec{Delay: draw(r, "delay", ms, 40*ms, 90*ms), Loss: draw[osl.Percent](r, "loss", 0, 0.5, 100), Duplicate: draw[osl.Percent](r, "duplicate", 0, 0, 1),
		Corrupt: draw[osl.Percent](r, "corrupt", 0, 0, 0.1), Rate: draw[osl.Rate](r, "rate of a netem", 0, 0, 8000, 40e9), Limit: draw(r, "limit", 0, 0, 7000)}
	i.Jitter, i.Reorder = draw(r, "jitter", 0, 0, ms/2), draw[osl.Percent](r, "reorder", 0, 0, 25)
	return i
}

// qos draws a map of priorities, or none.
func (r *drawer) qos(what string) map[string]string {
	return draw(r, what, nil, nil, map[string]string{"1": "3"}, map[string]string{"1": "2", "7": "5"})
}

// macs draws hardware addresses of interfaces, each of its own in the network.
func (r *drawer) macs(on []osl.InterfaceSpec, box string) {
	last := rapid.Permutation([]byte{1, 2, 3, 4, 5, 6}).Draw(r.T, "hardware addresses")
	for i := range on {
		f := &on[i]
		f.MACPolicy = draw(r, "mac_policy", "", "none", "persistent")
		if hasMAC(*f, on) && r.sometimes("mac", 3) {
			f.MAC, last = osl.MAC{2, 0x12, 0, 0, box[len(box)-1], last[0]}, last[1:]
			if f.Type == "bridge" { // a command makes one that follows its ports, and had theirs by that
				f.MAC[2] = 1
			}
		}
	}
}

// hasMAC reports whether an interface of the model may have a hardware address of its own.
func hasMAC(f osl.InterfaceSpec, all []osl.InterfaceSpec) bool {
	return !slices.Contains([]string{"tun", "wireguard", "vcan", "gre", "ip6gre", "ipip", "sit", "ipvlan", "ipvtap"}, f.Type) &&
		(f.Type != "netkit" || f.Mode == "l2") && interfaceIn(all, f.Master).Type != "bond"
}

// routes draws routes that need no address but the source that some have.
func (r *drawer) routes(on []osl.InterfaceSpec, hops []osl.NexthopSpec) (list []osl.RouteSpec) {
	var six, four []string
	var sources []netip.Addr // of no vrf: those hold there alone
	for _, f := range on {
		if four = append(four, f.Name); has6(f) && f.ARP == nil {
			six = append(six, f.Name)
		}
		for _, p := range f.Addresses {
			if f.Master == "" {
				sources = append(sources, p.Addr())
			}
		}
	}
	to := []string{"172.24.0.0/16", "172.25.0.0/16", "172.26.0.0/16", "fd88:1::/48", "fd88:2::/48"}
	for _, dst := range to {
		for _, metric := range rapid.SliceOfNDistinct(rapid.SampledFrom([]uint32{0, 7, 4278198272}), 0, 2, rapid.ID).Draw(r.T, "metrics") {
			x := osl.RouteSpec{To: netip.MustParsePrefix(dst), Metric: metric, Table: draw[uint32](r, "table", 0, 100, 70000),
				MTU: draw[uint32](r, "route MTU", 0, 0, 1300), AdvMSS: draw[uint32](r, "advmss", 0, 0, 1200)}
			devs, via := four, "192.0.2."
			if x.To.Addr().Is6() {
				devs, via = six, "fe80::"
			}
			by := byNexthop(x.To.Addr().Is6(), hops)
			hops := rapid.IntRange(0, 3).Draw(r.T, "hops")
			switch {
			case len(by) > 0 && r.sometimes("by a nexthop", 2):
				x.Nexthop = draw(r, "nexthop", by...)
			case len(four) > 0 && x.To.Addr().Is4() && r.sometimes("by a device", 4):
				x.Dev, x.Scope = draw(r, "dev", four...), draw(r, "scope", "", "global", "link", "host", "77")
			case len(devs) > 0 && x.Table != 0 && r.sometimes("a local route", 6):
				x.Dev, x.Type, x.MTU, x.AdvMSS = draw(r, "dev", devs...), "local", 0, 0
			case len(devs) == 0 || hops == 0:
				x.Type = draw(r, "type", "blackhole", "unreachable", "prohibit", "throw")
			case x.To.Addr().Is4() && len(six) > 0 && r.sometimes("by IPv6", 3):
				x.Via, x.Dev = netip.MustParseAddr("fe80::9"), draw(r, "dev", six...)
			default:
				for j := range hops {
					x.NextHops = append(x.NextHops, osl.NextHop{Via: netip.MustParseAddr(via + itoa(j+1)),
						Dev: draw(r, "dev", devs...), Weight: rapid.IntRange(0, 3).Draw(r.T, "weight")})
				}
			}
			of := slices.DeleteFunc(slices.Clone(sources), func(a netip.Addr) bool { return a.Is4() != x.To.Addr().Is4() })
			if x.Type == "" && len(of) > 0 && !byPorts(x, on) && r.sometimes("src", 3) {
				x.Src = draw(r, "source", of...)
			}
			if !slices.ContainsFunc(list, func(o osl.RouteSpec) bool { return o.To == x.To && o.Metric == x.Metric && o.Table == x.Table }) {
				list = append(list, x)
			}
		}
	}
	return list
}

// byPorts reports whether a route leads, or may, by the port of a vrf.
func byPorts(x osl.RouteSpec, on []osl.InterfaceSpec) bool {
	return slices.ContainsFunc(on, func(f osl.InterfaceSpec) bool {
		by := func(h osl.NextHop) bool { return h.Dev == f.Name }
		return f.Master != "" && (x.Nexthop != 0 || x.Dev == f.Name || slices.ContainsFunc(x.NextHops, by))
	})
}

func (r *drawer) rules() (list []osl.RuleSpec) {
	zero := 0
	for _, priority := range rapid.SliceOfNDistinct(rapid.SampledFrom([]uint32{100, 101, 102, 2000}), 0, 3, rapid.ID).Draw(r.T, "rules") {
		x := draw(r, "rule", osl.RuleSpec{From: netip.MustParsePrefix("10.1.0.0/16")}, osl.RuleSpec{To: netip.MustParsePrefix("fd01::/16"), Not: true},
			osl.RuleSpec{FWMark: 16, FWMask: 255}, osl.RuleSpec{IIF: "e0", Family: "ipv4"}, osl.RuleSpec{OIF: "e1", IPProto: "tcp", DPort: "80-90", Family: "ipv6"}, osl.RuleSpec{IPProto: "17", SPort: "53"}, osl.RuleSpec{})
		x.Priority = priority
		switch draw(r, "does", "table", "main", "goto", "action", "suppress", "suppress a group") {
		case "table":
			x.Table = draw[uint32](r, "table", 100, 70000)
		case "goto":
			x.Goto = 30000
		case "action":
			x.Action = draw(r, "action", "nop", "prohibit")
		case "suppress":
			x.SuppressPrefixLength = &zero
		case "suppress a group":
			x.SuppressIfGroup = draw(r, "group", ptr(0), ptr(77))
		}
		list = append(list, x)
	}
	return list
}

// drawnMAC is the beginning of those of neighbors and entries that are drawn.
const drawnMAC = "02:00:00:fd:00:0"

func (r *drawer) neighbors(on, all []osl.InterfaceSpec) (list []osl.NeighborSpec) {
	for i, f := range on {
		mac := func(n int) osl.MAC {
			m, _ := net.ParseMAC(drawnMAC + itoa(n))
			return osl.MAC(m)
		}
		if len(f.Addresses) > 0 && f.Addresses[0].Addr().Is4() && !oneOtherEnd(f) && r.sometimes("neighbor", 2) {
			list = append(list, osl.NeighborSpec{Dev: f.Name, IP: netip.MustParseAddr(fmt.Sprintf("10.99.0.%d", i)), MAC: mac(draw(r, "MAC", 1, 2))})
		}
		if f.Type == "vxlan" && r.sometimes("entry of a vxlan", 2) {
			list = append(list, osl.NeighborSpec{Dev: f.Name, FDB: true, IP: netip.MustParseAddr(draw(r, "endpoint", "192.0.2.7", "192.0.2.8")), MAC: mac(3)})
		}
		if bridge := bridgeOf(f, all); bridge.Type == "bridge" && r.sometimes("entry of a bridge", 2) {
			list = append(list, r.entries(f, bridge, mac(4+i))...)
		}
	}
	return list
}
