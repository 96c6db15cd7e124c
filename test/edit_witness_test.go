//go:build linux

package osltest

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

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
