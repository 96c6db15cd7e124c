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
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

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
