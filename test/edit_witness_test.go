//go:build linux

package osltest

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/netns"
)

// said collects lines of what a network, or the kernel, says.
type said map[string]bool

func (s said) line(words ...any) { s[strings.Join(strings.Fields(fmt.Sprintln(words...)), " ")] = true }

func value[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// setting adds a line for one that is set; the kernel is asked for no other.
func (s said) setting(box, dev, what string, v any) {
	if v != nil && v != 0 && v != "" {
		s.line(box, dev, what, v)
	}
}

// sysctls adds those of a sandbox that are drawn: they are as in a new one where nobody
// asks for them.
func (s said) sysctls(box string, value func(path, usual string) string) {
	for path, usual := range asInANewSandbox() {
		s.line(box, path, value(path, usual))
	}
}

// asInANewSandbox has what the kernel gives a new namespace: some of it is that of the machine.
var asInANewSandbox = sync.OnceValue(func() map[string]string {
	all := map[string]string{}
	if err := netns.Make(func() error {
		for _, path := range []string{"ipv4/conf/all/promote_secondaries", "ipv4/tcp_ecn", "ipv4/ip_forward"} {
			b, err := os.ReadFile("/proc/sys/net/" + path)
			if err != nil {
				return err
			}
			all[path] = strings.TrimSpace(string(b))
		}
		return nil
	}); err != nil {
		panic(err)
	}
	return all
})

// described says what a network is, in lines.
func described(n osl.Network) said {
	s := said{}
	segments, numbered := map[string]bool{}, 0
	for _, b := range n.Sandboxes {
		s.line(b.Name)
		s.sysctls(b.Name, func(path, usual string) string { return cmp.Or(b.Sysctls[strings.ReplaceAll(path, "/", ".")], usual) })
		for _, f := range b.Interfaces {
			if f.Name == "lo" {
				s.ofLo(b.Name, f.Addresses...)
				continue
			}
			kind := cmp.Or(f.Type, "veth")
			s.line(b.Name, f.Name, kind, "on", f.Master, "up", !f.Down)
			if f.VLAN != 0 {
				s.line(b.Name, f.Name, "tag", f.VLAN, "of", f.Parent)
			}
			options := f.AddressOptions
			for _, p := range slices.Concat(f.Addresses, f.Aliases) {
				s.address(b.Name, f.Name, p, options[p])
			}
			if f.Segment != "" {
				segments[f.Segment] = true
				s.line("lab.segments", b.Name+"."+f.Name, "veth on", f.Segment)
			}
			if f.Segment == "blue" && !slices.ContainsFunc(f.Addresses, func(p netip.Prefix) bool { return p.Addr().Is4() }) {
				numbered++
				s.address(b.Name, f.Name, netip.MustParsePrefix(fmt.Sprintf("10.77.0.%d/24", numbered)), osl.AddressOptions{})
			}
			if f.Impair != nil {
				s.line(b.Name, f.Name, impairLine(*f.Impair))
			}
			if f.WireGuard != nil {
				for _, line := range wgLines(wgDescribed(f.WireGuard)) {
					s.line(b.Name, f.Name, line)
				}
			}
			for _, name := range f.AltNames {
				s.line(b.Name, f.Name, "is", name)
			}
			for what, v := range settingsOf(f) {
				s.setting(b.Name, f.Name, what, v)
			}
			for what, v := range unasked(f, b.Interfaces) {
				s.line(b.Name, f.Name, "unasked", what, v)
			}
			if hasOffloads(f) {
				tso, said := f.Offloads["tso"]
				s.line(b.Name, f.Name, "tso", tso || !said || f.Offloads["tx-tcp-segmentation"], "gro", f.Offloads["gro"] || f.Type == "vxlan")
			}
			if mac := macSaid(n.Name, b.Name, f, b.Interfaces); mac != "" {
				s.line(b.Name, f.Name, "has", mac)
			}
			s.line(b.Name, f.Name, "arp_accept", cmp.Or(f.Sysctls["ipv4.arp_accept"], "0"))
			s.line(b.Name, f.Name, "IPv6 off", !has6(f))
			if accept := map[string]string{"link-local": "0", "auto": "2"}[f.IPv6]; accept != "" {
				s.line(b.Name, f.Name, "accept_ra", accept)
			}
		}
		for _, x := range b.Routes {
			s.route(b.Name, x)
		}
		for _, x := range b.Nexthops {
			s.line(b.Name, "nexthop", nexthopLine(x))
		}
		for _, x := range b.Rules {
			for _, six := range []bool{false, true} {
				if x.Family != map[bool]string{true: "ipv4", false: "ipv6"}[six] && (!x.From.IsValid() || x.From.Addr().Is6() == six) && (!x.To.IsValid() || x.To.Addr().Is6() == six) {
					s.rule(b.Name, six, x)
				}
			}
		}
		for _, x := range b.Neighbors {
			if x.MDB {
				s.line(b.Name, "group", x.Dev, cmp.Or(strings.TrimPrefix(x.IP.String(), "invalid IP"), x.MAC.String()), x.VLAN)
				continue
			}
			s.line(b.Name, x.Dev, "neighbor", x.IP, x.MAC, x.FDB, x.VLAN)
		}
	}
	for name := range segments {
		s.line("lab.segments", name, "bridge on")
		s.line("lab.segments")
	}
	return s
}

// settingsOf are the settings of an interface, nil where nothing is said.
func settingsOf(f osl.InterfaceSpec) map[string]any {
	set := map[string]any{"group": value(f.Group), "promisc": value(f.Promisc), "allmulti": value(f.AllMulticast), "arp": value(f.ARP),
		"txqueuelen": value(f.TxQueueLen), "addr_gen_mode": map[string]any{"eui64": "0", "none": "1", "random": "3"}[f.AddrGenMode],
		"gro_max_size": f.GROMaxSize, "gso_max_size": f.GSOMaxSize, "gso_max_segs": f.GSOMaxSegs, "mtu": f.MTU,
		"gso_ipv4_max_size": f.GSOIPv4MaxSize, "gro_ipv4_max_size": f.GROIPv4MaxSize}
	if f.Type == "vlan" {
		set["protocol"], set["ingress"], set["egress"] = cmp.Or(f.Protocol, "802.1Q"), qosText(f.IngressQoSMap), qosText(f.EgressQoSMap)
	}
	if b := f.Bridge; b != nil {
		set["snooping"], set["querier"] = value(b.MulticastSnooping), value(b.MulticastQuerier)
		for what, d := range map[string]*osl.Duration{"ageing": b.AgeingTime, "hello": b.HelloTime, "max_age": b.MaxAge} {
			if d != nil {
				set[what] = int(*d / 1e7)
			}
		}
	}
	if p := f.BridgePort; p != nil {
		for what, v := range map[string]*bool{"learning": p.Learning, "flood": p.Flood, "isolated": p.Isolated, "hairpin": p.Hairpin,
			"guard": p.Guard, "root_block": p.RootBlock, "fastleave": p.FastLeave, "neigh_suppress": p.NeighSuppress} {
			set[what] = value(v)
		}
	}
	maps.Copy(set, kindSettings(f))
	return set
}

func (s said) address(box, dev string, p netip.Prefix, o osl.AddressOptions) {
	s.line(box, dev, "address", p, "peer", o.Peer, "scope", cmp.Or(o.Scope, "global"), "ends", o.ValidLft != 0, "deprecated", o.PreferredLft != nil, "home", o.Home, "noprefixroute", o.NoPrefixRoute)
}

// ofLo adds addresses of lo that it does not have by itself.
func (s said) ofLo(box string, list ...netip.Prefix) {
	for _, p := range list {
		if p.String() != "127.0.0.1/8" && p.String() != "::1/128" {
			s.line(box, "lo", p)
		}
	}
}

func (s said) route(box string, x osl.RouteSpec) {
	var hops []string
	for _, h := range x.NextHops {
		if weight := max(h.Weight, 1); len(x.NextHops) == 1 {
			hops = append(hops, fmt.Sprint(h.Via, h.Dev))
		} else {
			hops = append(hops, fmt.Sprint(h.Via, h.Dev, weight))
		}
	}
	if x.Via.IsValid() {
		hops = []string{fmt.Sprint(x.Via, x.Dev)}
	}
	if x.To.Addr().Is6() && x.Metric == 0 {
		x.Metric = 1024
	}
	if !x.Via.IsValid() && x.Dev != "" { // by a device
		hops = []string{x.Dev}
		if x.To.Addr().Is4() {
			hops = append(hops, "scope "+cmp.Or(x.Scope, map[string]string{"local": "host"}[x.Type], "site"))
		}
	}
	if x.Nexthop != 0 {
		hops = []string{fmt.Sprint("by ", x.Nexthop)}
	}
	slices.Sort(hops)
	s.line(box, "route", x.To, "table", cmp.Or(x.Table, 254), "metric", x.Metric, cmp.Or(x.Type, "unicast"), hops, "mtu", x.MTU, "advmss", x.AdvMSS, "src", x.Src)
}

func (s said) rule(box string, six bool, x osl.RuleSpec) {
	if x.Table == 0 && x.Goto == 0 && x.Action == "" {
		x.Table = 254
	}
	switch x.IPProto {
	case "tcp":
		x.IPProto = "6"
	case "":
		x.IPProto = "0"
	}
	suppress := -1
	if x.SuppressPrefixLength != nil {
		suppress = *x.SuppressPrefixLength
	}
	group := -1
	if x.SuppressIfGroup != nil {
		group = *x.SuppressIfGroup
	}
	s.line(box, "rule", x.Priority, six, x.Not, x.From, x.To, x.FWMark, x.FWMask, x.IIF, x.OIF, x.IPProto, x.SPort, x.DPort, x.Table, x.Goto, suppress, group)
}

// standing says the same of what the kernel has, read by another library.
func standing(t *testing.T, n osl.Network) said {
	t.Helper()
	s := said{}
	files, _ := os.ReadDir("/run/netns")
	for _, file := range files {
		box := file.Name()
		s.line(box)
		var spec osl.Spec
		for _, b := range n.Sandboxes {
			if b.Name == box {
				spec = b
			}
		}
		if spec.Name != "" {
			s.sysctls(box, func(path, _ string) string { return sysctl(t, "/run/netns/"+box, path) })
		}
		for _, group := range groupsSaid(t, "/run/netns/"+box) {
			s.line(box, "group", group)
		}
		witness(t, "/run/netns/"+box, func(h *netlink.Handle) {
			names := map[int]string{0: ""}
			links := dump(t, h.LinkList)
			for _, l := range links {
				names[l.Attrs().Index] = l.Attrs().Name
			}
			for _, l := range links {
				if l.Attrs().Name == "lo" {
					for _, x := range dump(t, func() ([]netlink.Addr, error) { return h.AddrList(l, netlink.FAMILY_ALL) }) {
						s.ofLo(box, netip.MustParsePrefix(x.IPNet.String()))
					}
					continue
				}
				var f osl.InterfaceSpec
				for _, i := range spec.Interfaces {
					if i.Name == l.Attrs().Name {
						f = i
					}
				}
				s.link(t, h, n.Name, box, l, names[l.Attrs().MasterIndex], f, spec.Interfaces)
			}
			s.routing(t, h, box, names)
			for _, family := range []int{unix.AF_INET, unix.AF_INET6, unix.AF_BRIDGE} {
				all := dump(t, func() ([]netlink.Neigh, error) { return h.NeighList(0, family) })
				for _, x := range all {
					if x.Vlan != 0 && slices.ContainsFunc(all, func(o netlink.Neigh) bool {
						return o.Vlan == 0 && o.LinkIndex == x.LinkIndex && bytes.Equal(o.HardwareAddr, x.HardwareAddr)
					}) {
						continue // the kernel's own beside one of no VLAN
					}
					// Of a vxlan the kernel tells its bridge, which has an entry of its own.
					if strings.HasPrefix(x.HardwareAddr.String(), drawnMAC) {
						s.line(box, names[x.LinkIndex], "neighbor", toAddr(x.IP), x.HardwareAddr, family == unix.AF_BRIDGE, x.Vlan)
					}
				}
			}
		})
	}
	return s
}

func toAddr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

func (s said) link(t *testing.T, h *netlink.Handle, network, box string, l netlink.Link, master string, f osl.InterfaceSpec, all []osl.InterfaceSpec) {
	a := l.Attrs()
	kind := l.Type()
	if tun, ok := l.(*netlink.Tuntap); ok {
		kind = tun.Mode.String()
	}
	if f.Name == "" {
		s.line(box, a.Name, kind, "on", master)
	} else {
		s.line(box, a.Name, kind, "on", master, "up", a.Flags&net.FlagUp != 0)
	}
	if v, ok := l.(*netlink.Vlan); ok {
		below, err := h.LinkByIndex(a.ParentIndex)
		must(t, err)
		s.line(box, a.Name, "tag", v.VlanId, "of", below.Attrs().Name)
	}
	if kind == "wireguard" {
		for _, line := range wgLines(wgDevice(t, "/run/netns/"+box, a.Name)) {
			s.line(box, a.Name, line)
		}
	}
	for _, x := range dump(t, func() ([]netlink.Addr, error) { return h.AddrList(l, netlink.FAMILY_ALL) }) {
		p := netip.MustParsePrefix(x.IPNet.String())
		if p.Addr().IsLinkLocalUnicast() {
			continue
		}
		o := osl.AddressOptions{Home: x.Flags&unix.IFA_F_HOMEADDRESS != 0, NoPrefixRoute: x.Flags&unix.IFA_F_NOPREFIXROUTE != 0,
			Scope: map[int]string{253: "link"}[x.Scope]}
		if x.Peer != nil && !x.Peer.IP.Equal(x.IP) {
			o.Peer = toAddr(x.Peer.IP)
			p = netip.PrefixFrom(p.Addr(), netip.MustParsePrefix(x.Peer.String()).Bits())
		}
		if x.ValidLft > 0 && uint32(x.ValidLft) != 1<<32-1 {
			o.ValidLft = uint32(x.ValidLft)
		}
		if x.Flags&unix.IFA_F_DEPRECATED != 0 {
			o.PreferredLft = new(uint32)
		}
		s.address(box, a.Name, p, o)
	}
	for _, q := range dump(t, func() ([]netlink.Qdisc, error) { return h.QdiscList(l) }) {
		switch q := q.(type) {
		case *netlink.Tbf:
			s.line(box, a.Name, "rate", int(q.Rate))
		case *netlink.Netem:
			s.line(box, a.Name, netemSays(t, "/run/netns/"+box, a.Name))
		}
	}
	for _, name := range a.AltNames {
		s.line(box, a.Name, "is", name)
	}
	if f.Name == "" {
		return // the other end of one on a segment
	}
	conf := func(what string) string { return sysctl(t, "/run/netns/"+box, "ipv6/conf/"+a.Name+"/"+what) }
	has := map[string]any{"group": int(a.Group), "promisc": a.RawFlags&unix.IFF_PROMISC != 0, "allmulti": a.RawFlags&unix.IFF_ALLMULTI != 0,
		"arp": a.RawFlags&unix.IFF_NOARP == 0, "txqueuelen": a.TxQLen, "addr_gen_mode": conf("addr_gen_mode"),
		"gro_max_size": int(a.GROMaxSize), "gso_max_size": int(a.GSOMaxSize), "gso_max_segs": int(a.GSOMaxSegs), "mtu": a.MTU,
		"gso_ipv4_max_size": int(a.GSOIPv4MaxSize), "gro_ipv4_max_size": int(a.GROIPv4MaxSize)}
	if v, ok := l.(*netlink.Vlan); ok {
		has["protocol"], has["ingress"], has["egress"] = map[bool]string{true: "802.1ad", false: "802.1Q"}[v.VlanProtocol == netlink.VLAN_PROTOCOL_8021AD], qosText(v.IngressQosMap), qosText(v.EgressQosMap)
	}
	if f.Bridge != nil && (f.Bridge.MulticastQuerier != nil || f.Bridge.MaxAge != nil) {
		own, _ := linkSays(t, "/run/netns/"+box, a.Name)
		has["querier"], has["max_age"] = fmt.Sprint(own["mcast_querier"]) == "1", int(own["max_age"].(float64))
	}
	if b, ok := l.(*netlink.Bridge); ok {
		has["snooping"], has["ageing"], has["hello"] = value(b.MulticastSnooping), int(*b.AgeingTime), int(*b.HelloTime)
	}
	if f.BridgePort != nil || isPort(f, all) {
		p, err := h.LinkGetProtinfo(l)
		must(t, err)
		has["learning"], has["flood"], has["isolated"], has["hairpin"] = p.Learning, p.Flood, p.Isolated, p.Hairpin
		has["guard"], has["root_block"], has["fastleave"], has["neigh_suppress"] = p.Guard, p.RootBlock, p.FastLeave, p.NeighSuppress
	}
	maps.Copy(has, kindHas(t, h, "/run/netns/"+box, l, f))
	for what, v := range settingsOf(f) {
		if v != nil && v != 0 && v != "" {
			s.line(box, a.Name, what, has[what])
		}
	}
	for what := range unasked(f, all) {
		s.line(box, a.Name, "unasked", what, has[what])
	}
	if hasOffloads(f) {
		key := "/run/netns/" + box
		s.line(box, a.Name, "tso", offload(t, key, a.Name, ethtoolGTSO), "gro", offload(t, key, a.Name, ethtoolGGRO))
	}
	if macSaid(network, box, f, all) != "" {
		s.line(box, a.Name, "has", a.HardwareAddr)
	}
	s.line(box, a.Name, "arp_accept", sysctl(t, "/run/netns/"+box, "ipv4/conf/"+a.Name+"/arp_accept"))
	s.line(box, a.Name, "IPv6 off", conf("disable_ipv6") != "0") // or there is none
	if f.IPv6 == "link-local" || f.IPv6 == "auto" {
		s.line(box, a.Name, "accept_ra", conf("accept_ra"))
	}
}

// routing adds the routes that are drawn, and the rules.
func (s said) routing(t *testing.T, h *netlink.Handle, box string, names map[int]string) {
	for _, line := range nexthopsIn(t, box) {
		s.line(box, "nexthop", line)
	}
	by := routesByID(t, box)
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		for _, x := range dump(t, func() ([]netlink.Route, error) {
			return h.RouteListFiltered(family, &netlink.Route{Protocol: 111}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
		}) {
			to := netip.MustParsePrefix(x.Dst.String())
			if text := to.String(); !strings.HasPrefix(text, "172.2") || strings.HasPrefix(text, "172.20") {
				if !strings.HasPrefix(text, "fd88") {
					continue // an interface's own
				}
			}
			r := osl.RouteSpec{To: to, Table: uint32(x.Table), Metric: uint32(x.Priority), MTU: uint32(x.MTU), AdvMSS: uint32(x.AdvMSS), Src: toAddr(x.Src),
				Type: map[int]string{unix.RTN_BLACKHOLE: "blackhole", unix.RTN_UNREACHABLE: "unreachable", unix.RTN_PROHIBIT: "prohibit", unix.RTN_THROW: "throw", unix.RTN_UNICAST: "unicast", unix.RTN_LOCAL: "local"}[x.Type]}
			hop := func(gw net.IP, via netlink.Destination) netip.Addr {
				if v, ok := via.(*netlink.Via); ok {
					return toAddr(v.Addr)
				}
				return toAddr(gw)
			}
			if r.Via = hop(x.Gw, x.Via); r.Via.IsValid() {
				r.Dev = names[x.LinkIndex]
			}
			if r.Dev == "" && len(x.MultiPath) == 0 && (x.Type == unix.RTN_UNICAST || x.Type == unix.RTN_LOCAL) {
				r.Dev = names[x.LinkIndex]
				r.Scope = cmp.Or(map[netlink.Scope]string{unix.RT_SCOPE_UNIVERSE: "global", unix.RT_SCOPE_SITE: "site", unix.RT_SCOPE_LINK: "link", unix.RT_SCOPE_HOST: "host"}[x.Scope], itoa(int(x.Scope)))
			}
			for _, m := range x.MultiPath {
				r.NextHops = append(r.NextHops, osl.NextHop{Via: hop(m.Gw, m.Via), Dev: names[m.LinkIndex], Weight: m.Hops + 1})
			}
			if id := by[routePlace{to.String(), cmp.Or(x.Table, 254), x.Priority}]; id != 0 { // that library tells what it is, and not its id
				r.Nexthop, r.Via, r.NextHops, r.Type = uint32(id), netip.Addr{}, nil, "unicast"
				r.Dev = ""
			}
			s.route(box, r)
		}
		for _, x := range dump(t, func() ([]netlink.Rule, error) { return h.RuleList(family) }) {
			if x.Protocol != 111 {
				continue
			}
			r := osl.RuleSpec{Priority: uint32(x.Priority), Not: x.Invert, FWMark: x.Mark, IIF: x.IifName, OIF: x.OifName, Table: uint32(x.Table), Goto: uint32(max(x.Goto, 0)), Action: "told by no field"}
			if x.Src != nil {
				r.From = netip.MustParsePrefix(x.Src.String())
			}
			if x.Dst != nil {
				r.To = netip.MustParsePrefix(x.Dst.String())
			}
			if x.Mask != nil {
				r.FWMask = *x.Mask
			}
			if x.Dport != nil {
				r.DPort = fmt.Sprint(x.Dport.Start, "-", x.Dport.End)
			}
			if x.Sport != nil {
				r.SPort = itoa(int(x.Sport.Start))
			}
			r.IPProto = itoa(x.IPProto)
			if x.SuppressPrefixlen >= 0 {
				r.SuppressPrefixLength = &x.SuppressPrefixlen
			}
			if x.SuppressIfgroup >= 0 {
				r.SuppressIfGroup = &x.SuppressIfgroup
			}
			s.rule(box, family == netlink.FAMILY_V6, r)
		}
	}
}
