package osl

import (
	"iter"
	"net"
	"net/netip"
	"time"

	"github.com/seed59451c2b/osl/internal/engine"
	"github.com/seed59451c2b/osl/internal/stand"
	"github.com/seed59451c2b/osl/internal/want"
	"github.com/seed59451c2b/osl/internal/wgkey"
)

// Here what a caller asks for becomes what package want checks (wanted), and what the
// engine read or did becomes what a caller sees (…Of): field by field, and nothing else.

func (net *Network) wanted() want.Network {
	w := want.Network{Name: net.Name, Segments: each(net.Segments, SegmentSpec.wanted), Links: each(net.Links, Link.wanted)}
	for i := range net.Sandboxes {
		w.Sandboxes = append(w.Sandboxes, net.Sandboxes[i].wanted())
	}
	return w
}

func networkOf(w want.Network) Network {
	net := Network{Name: w.Name, Sandboxes: []Spec{}, Segments: each(w.Segments, segmentOf), Links: each(w.Links, linkOf)}
	for i := range w.Sandboxes {
		net.Sandboxes = append(net.Sandboxes, specOf(&w.Sandboxes[i]))
	}
	return net
}

func (s SegmentSpec) wanted() want.Segment         { return want.Segment(s) }
func segmentOf(w want.Segment) SegmentSpec         { return SegmentSpec(w) }
func (l Link) wanted() want.Link                   { return want.Link{want.Endpoint(l[0]), want.Endpoint(l[1])} }
func linkOf(w want.Link) Link                      { return Link{Endpoint(w[0]), Endpoint(w[1])} }
func (m MasqueradeSpec) wanted() want.Masq         { return want.Masq(m) }
func masqueradeOf(w want.Masq) MasqueradeSpec      { return MasqueradeSpec(w) }
func (n NexthopMember) wanted() want.NexthopMember { return want.NexthopMember(n) }
func memberOf(w want.NexthopMember) NexthopMember  { return NexthopMember(w) }
func (r RuleSpec) wanted() want.Rule               { return want.Rule(r) }
func ruleOf(w want.Rule) RuleSpec                  { return RuleSpec(w) }

func (s *Spec) wanted() want.Sandbox {
	w := want.Sandbox{Name: s.Name, Gateway: s.Gateway, Gateway6: s.Gateway6, Sysctls: s.Sysctls, Labels: s.Labels,
		Masquerade: each(s.Masquerade, MasqueradeSpec.wanted), Routes: each(s.Routes, RouteSpec.wanted),
		Nexthops: each(s.Nexthops, NexthopSpec.wanted), Rules: each(s.Rules, RuleSpec.wanted), Neighbors: each(s.Neighbors, NeighborSpec.wanted)}
	for i := range s.Interfaces {
		w.Interfaces = append(w.Interfaces, s.Interfaces[i].wanted())
	}
	return w
}

func specOf(w *want.Sandbox) Spec {
	s := Spec{Name: w.Name, Gateway: w.Gateway, Gateway6: w.Gateway6, Sysctls: w.Sysctls, Labels: w.Labels,
		Masquerade: each(w.Masquerade, masqueradeOf), Routes: each(w.Routes, routeOf),
		Nexthops: each(w.Nexthops, nexthopOf), Rules: each(w.Rules, ruleOf), Neighbors: each(w.Neighbors, neighborOf)}
	for i := range w.Interfaces {
		s.Interfaces = append(s.Interfaces, interfaceOf(&w.Interfaces[i]))
	}
	return s
}

func (s *InterfaceSpec) wanted() want.Iface {
	return want.Iface{
		Name: s.Name, Type: s.Type, Source: s.Source, MAC: net.HardwareAddr(s.MAC), MACPolicy: s.MACPolicy, MTU: s.MTU, TxQueueLen: s.TxQueueLen,
		Addresses: s.Addresses, AddressOptions: eachValue(s.AddressOptions, AddressOptions.wanted), IPv6: s.IPv6,
		SharedSubnet: s.SharedSubnet, Aliases: s.Aliases, Master: s.Master, Routes: s.Routes, Sysctls: s.Sysctls,
		DisableARPForVIP: s.DisableARPForVIP, Down: s.Down, Note: s.Note, Segment: s.Segment, Subnet: s.Subnet,
		Peer: want.Endpoint(s.Peer), PeerMaster: s.PeerMaster, Parent: s.Parent, Offloads: s.Offloads,
		Impair: s.Impair.wanted(), WireGuard: s.WireGuard.wanted(), Bridge: s.Bridge.wanted(), BridgePort: s.BridgePort.wanted(),
		LinkOptions: want.LinkOptions{
			AltNames: s.AltNames, Group: s.Group, Promisc: s.Promisc, AllMulticast: s.AllMulticast, ARP: s.ARP,
			AddrGenMode: s.AddrGenMode, GSOMaxSize: s.GSOMaxSize, GSOMaxSegs: s.GSOMaxSegs, GROMaxSize: s.GROMaxSize,
			GSOIPv4MaxSize: s.GSOIPv4MaxSize, GROIPv4MaxSize: s.GROIPv4MaxSize,
		},
		Kind: want.Kind{
			VLAN: s.VLAN, VNI: s.VNI, Local: s.Local, Remote: s.Remote, Port: s.Port, Mode: s.Mode, Flags: s.Flags, Protocol: s.Protocol,
			IngressQoSMap: s.IngressQoSMap, EgressQoSMap: s.EgressQoSMap, Table: s.Table, MIIMon: s.MIIMon, Key: s.Key, TTL: s.TTL, TOS: s.TOS,
			Learning: s.Learning, Policy: s.Policy, PeerPolicy: s.PeerPolicy, Owner: s.Owner, OwnerGroup: s.OwnerGroup,
			MultiQueue: s.MultiQueue, VNetHdr: s.VNetHdr, NumTxQueues: s.NumTxQueues, NumRxQueues: s.NumRxQueues, Remotes: s.Remotes,
		},
	}
}

func interfaceOf(w *want.Iface) InterfaceSpec {
	o, k := &w.LinkOptions, &w.Kind
	return InterfaceSpec{
		Name: w.Name, Type: w.Type, Source: w.Source, MAC: MAC(w.MAC), MACPolicy: w.MACPolicy, MTU: w.MTU, TxQueueLen: w.TxQueueLen,
		Addresses: w.Addresses, AddressOptions: eachValue(w.AddressOptions, addressOptionsOf), IPv6: w.IPv6,
		SharedSubnet: w.SharedSubnet, Aliases: w.Aliases, Master: w.Master, Routes: w.Routes, Sysctls: w.Sysctls,
		DisableARPForVIP: w.DisableARPForVIP, Down: w.Down, Note: w.Note, Segment: w.Segment, Subnet: w.Subnet,
		Peer: Endpoint(w.Peer), PeerMaster: w.PeerMaster, Parent: w.Parent, Offloads: w.Offloads,
		Impair: impairOf(w.Impair), WireGuard: wireGuardOf(w.WireGuard), Bridge: bridgeOf(w.Bridge), BridgePort: bridgePortOf(w.BridgePort),

		AltNames: o.AltNames, Group: o.Group, Promisc: o.Promisc, AllMulticast: o.AllMulticast, ARP: o.ARP,
		AddrGenMode: o.AddrGenMode, GSOMaxSize: o.GSOMaxSize, GSOMaxSegs: o.GSOMaxSegs, GROMaxSize: o.GROMaxSize,
		GSOIPv4MaxSize: o.GSOIPv4MaxSize, GROIPv4MaxSize: o.GROIPv4MaxSize,

		VLAN: k.VLAN, VNI: k.VNI, Local: k.Local, Remote: k.Remote, Port: k.Port, Mode: k.Mode, Flags: k.Flags, Protocol: k.Protocol,
		IngressQoSMap: k.IngressQoSMap, EgressQoSMap: k.EgressQoSMap, Table: k.Table, MIIMon: k.MIIMon, Key: k.Key, TTL: k.TTL, TOS: k.TOS,
		Learning: k.Learning, Policy: k.Policy, PeerPolicy: k.PeerPolicy, Owner: k.Owner, OwnerGroup: k.OwnerGroup,
		MultiQueue: k.MultiQueue, VNetHdr: k.VNetHdr, NumTxQueues: k.NumTxQueues, NumRxQueues: k.NumRxQueues, Remotes: k.Remotes,
	}
}

func (o AddressOptions) wanted() want.AddressOptions        { return want.AddressOptions(o) }
func addressOptionsOf(w want.AddressOptions) AddressOptions { return AddressOptions(w) }

func (b *BridgeSpec) wanted() *want.Bridge {
	if b == nil {
		return nil
	}
	return &want.Bridge{VLANFiltering: b.VLANFiltering, VLANProtocol: b.VLANProtocol, VLANDefaultPVID: b.VLANDefaultPVID,
		PVID: b.PVID, VLANs: each(b.VLANs, VLANRange.wanted), STP: b.STP, Priority: b.Priority,
		AgeingTime: (*time.Duration)(b.AgeingTime), ForwardDelay: (*time.Duration)(b.ForwardDelay),
		HelloTime: (*time.Duration)(b.HelloTime), MaxAge: (*time.Duration)(b.MaxAge),
		MulticastSnooping: b.MulticastSnooping, MulticastQuerier: b.MulticastQuerier}
}

func bridgeOf(w *want.Bridge) *BridgeSpec {
	if w == nil {
		return nil
	}
	return &BridgeSpec{VLANFiltering: w.VLANFiltering, VLANProtocol: w.VLANProtocol, VLANDefaultPVID: w.VLANDefaultPVID,
		PVID: w.PVID, VLANs: each(w.VLANs, vlanRangeOf), STP: w.STP, Priority: w.Priority,
		AgeingTime: (*Duration)(w.AgeingTime), ForwardDelay: (*Duration)(w.ForwardDelay),
		HelloTime: (*Duration)(w.HelloTime), MaxAge: (*Duration)(w.MaxAge),
		MulticastSnooping: w.MulticastSnooping, MulticastQuerier: w.MulticastQuerier}
}

func (p *BridgePortSpec) wanted() *want.BridgePort {
	if p == nil {
		return nil
	}
	return &want.BridgePort{PVID: p.PVID, VLANs: each(p.VLANs, VLANRange.wanted), Learning: p.Learning, Flood: p.Flood,
		MulticastFlood: p.MulticastFlood, BroadcastFlood: p.BroadcastFlood, Isolated: p.Isolated, Hairpin: p.Hairpin,
		NeighSuppress: p.NeighSuppress, Guard: p.Guard, RootBlock: p.RootBlock, FastLeave: p.FastLeave,
		Cost: p.Cost, Priority: p.Priority, MulticastRouter: p.MulticastRouter}
}

func bridgePortOf(w *want.BridgePort) *BridgePortSpec {
	if w == nil {
		return nil
	}
	return &BridgePortSpec{PVID: w.PVID, VLANs: each(w.VLANs, vlanRangeOf), Learning: w.Learning, Flood: w.Flood,
		MulticastFlood: w.MulticastFlood, BroadcastFlood: w.BroadcastFlood, Isolated: w.Isolated, Hairpin: w.Hairpin,
		NeighSuppress: w.NeighSuppress, Guard: w.Guard, RootBlock: w.RootBlock, FastLeave: w.FastLeave,
		Cost: w.Cost, Priority: w.Priority, MulticastRouter: w.MulticastRouter}
}

func (v VLANRange) wanted() want.VLANRange   { return want.VLANRange(v) }
func vlanRangeOf(w want.VLANRange) VLANRange { return VLANRange(w) }

func (s *WireGuardSpec) wanted() *want.WireGuard {
	if s == nil {
		return nil
	}
	return &want.WireGuard{PrivateKey: s.PrivateKey.key, PrivateKeyFile: s.PrivateKeyFile, ListenPort: s.ListenPort, FwMark: s.FwMark,
		Peers: each(s.Peers, WireGuardPeerSpec.wanted)}
}

func wireGuardOf(w *want.WireGuard) *WireGuardSpec {
	if w == nil {
		return nil
	}
	return &WireGuardSpec{PrivateKey: SecretKey{w.PrivateKey}, PrivateKeyFile: w.PrivateKeyFile, ListenPort: w.ListenPort, FwMark: w.FwMark,
		Peers: each(w.Peers, wireGuardPeerOf)}
}

func (p WireGuardPeerSpec) wanted() want.WireGuardPeer {
	return want.WireGuardPeer{PublicKey: wgkey.Public(p.PublicKey), Interface: want.Endpoint(p.Interface),
		PresharedKey: p.PresharedKey.key, PresharedKeyFile: p.PresharedKeyFile, Endpoint: p.Endpoint, AllowedIPs: p.AllowedIPs,
		PersistentKeepalive: p.PersistentKeepalive}
}

func wireGuardPeerOf(w want.WireGuardPeer) WireGuardPeerSpec {
	return WireGuardPeerSpec{PublicKey: PublicKey(w.PublicKey), Interface: Endpoint(w.Interface),
		PresharedKey: SecretKey{w.PresharedKey}, PresharedKeyFile: w.PresharedKeyFile, Endpoint: w.Endpoint, AllowedIPs: w.AllowedIPs,
		PersistentKeepalive: w.PersistentKeepalive}
}

func (s *ImpairSpec) wanted() *want.Impair {
	if s == nil {
		return nil
	}
	return &want.Impair{Delay: time.Duration(s.Delay), Jitter: time.Duration(s.Jitter), Loss: float64(s.Loss), Duplicate: float64(s.Duplicate),
		Reorder: float64(s.Reorder), Corrupt: float64(s.Corrupt), Rate: uint64(s.Rate), Limit: s.Limit}
}

func impairOf(w *want.Impair) *ImpairSpec {
	if w == nil {
		return nil
	}
	return &ImpairSpec{Delay: Duration(w.Delay), Jitter: Duration(w.Jitter), Loss: Percent(w.Loss), Duplicate: Percent(w.Duplicate),
		Reorder: Percent(w.Reorder), Corrupt: Percent(w.Corrupt), Rate: Rate(w.Rate), Limit: w.Limit}
}

func (r RouteSpec) wanted() want.Route {
	return want.Route{To: r.To, Via: r.Via, Dev: r.Dev, NextHops: each(r.NextHops, NextHop.wanted), Type: r.Type, Table: r.Table,
		Metric: r.Metric, Src: r.Src, MTU: r.MTU, AdvMSS: r.AdvMSS, Nexthop: r.Nexthop, Scope: r.Scope}
}

func routeOf(w want.Route) RouteSpec {
	return RouteSpec{To: w.To, Via: w.Via, Dev: w.Dev, NextHops: each(w.NextHops, nextHopOf), Type: w.Type, Table: w.Table,
		Metric: w.Metric, Src: w.Src, MTU: w.MTU, AdvMSS: w.AdvMSS, Nexthop: w.Nexthop, Scope: w.Scope}
}

func (h NextHop) wanted() want.NextHop { return want.NextHop(h) }
func nextHopOf(w want.NextHop) NextHop { return NextHop(w) }

func (n NeighborSpec) wanted() want.Neigh {
	return want.Neigh{Dev: n.Dev, IP: n.IP, MAC: net.HardwareAddr(n.MAC), FDB: n.FDB, MDB: n.MDB, VLAN: n.VLAN}
}

func neighborOf(w want.Neigh) NeighborSpec {
	return NeighborSpec{Dev: w.Dev, IP: w.IP, MAC: MAC(w.MAC), FDB: w.FDB, MDB: w.MDB, VLAN: w.VLAN}
}

func (c LinkChange) wanted() want.LinkChange {
	return want.LinkChange{Name: c.Name, MTU: c.MTU, MAC: net.HardwareAddr(c.MAC), TxQueueLen: c.TxQueueLen, Up: c.Up}
}

func statusOf(s *stand.Sandbox) *Status {
	st := &Status{Name: s.Name, Key: s.Key, Made: s.Made, From: s.From, Owner: s.Owner, Network: s.Network, Labels: s.Labels,
		Interfaces: make([]InterfaceStatus, 0, len(s.Interfaces)), Gateway: s.Gateway, Gateway6: s.Gateway6, Routes: each(s.Routes, routeOf),
		Neighbors: each(s.Neighbors, neighborOf), OtherRoutes: each(s.OtherRoutes, otherRouteOf),
		Nexthops: each(s.Nexthops, nexthopOf), OtherNexthops: each(s.OtherNexthops, nexthopOf),
		Rules: each(s.Rules, ruleOf), OtherRules: each(s.OtherRules, otherRuleOf), Sysctls: s.Sysctls,
		Masquerade: each(s.Masquerade, func(m stand.Masquerade) HostMasquerade { return HostMasquerade{masqueradeOf(m.Masq), m.Network} })}
	for i := range s.Interfaces {
		st.Interfaces = append(st.Interfaces, interfaceStatusOf(&s.Interfaces[i]))
	}
	return st
}

func interfaceStatusOf(x *stand.Iface) InterfaceStatus {
	return InterfaceStatus{Name: x.Name, Index: x.Index, Type: x.Type, Details: x.Details, Source: x.Source, Origin: x.Origin, Note: x.Note,
		UnderWay: x.UnderWay, MAC: MAC(x.MAC), MTU: x.MTU, TxQueueLen: x.TxQueueLen, Up: x.Up, Carrier: x.Carrier, Master: x.Master, IPv6: x.IPv6,
		Addresses: x.Addresses, Aliases: x.Aliases, AddressOptions: eachValue(x.AddressOptions, addressOptionsOf), Others: x.Others,
		Routes: x.Routes, Impair: impairOf(x.Impair), WireGuard: wireGuardStatusOf(x.WireGuard), Offloads: x.Offloads, AskedOffloads: x.AskedOffloads,
		Group: x.Group, AltNames: x.AltNames, Promisc: x.Promisc, AllMulticast: x.AllMulticast, ARP: x.ARP, AddrGenMode: x.AddrGenMode,
		GSOMaxSize: x.GSOMaxSize, GSOMaxSegs: x.GSOMaxSegs, GROMaxSize: x.GROMaxSize,
		GSOIPv4MaxSize: x.GSOIPv4MaxSize, GROIPv4MaxSize: x.GROIPv4MaxSize,
		Bridge: bridgeOf(x.Bridge), BridgePort: bridgePortOf(x.BridgePort),
		Sysctls: x.Sysctls, DisableARPForVIP: x.DisableARPForVIP}
}

func (n NexthopSpec) wanted() want.Nexthop {
	return want.Nexthop{ID: n.ID, Via: n.Via, Dev: n.Dev, Family: n.Family, Blackhole: n.Blackhole, Group: each(n.Group, NexthopMember.wanted),
		Type: n.Type, Buckets: n.Buckets, IdleTimer: (*time.Duration)(n.IdleTimer), UnbalancedTimer: (*time.Duration)(n.UnbalancedTimer)}
}

func nexthopOf(w want.Nexthop) NexthopSpec {
	return NexthopSpec{ID: w.ID, Via: w.Via, Dev: w.Dev, Family: w.Family, Blackhole: w.Blackhole, Group: each(w.Group, memberOf),
		Type: w.Type, Buckets: w.Buckets, IdleTimer: (*Duration)(w.IdleTimer), UnbalancedTimer: (*Duration)(w.UnbalancedTimer)}
}

func otherRouteOf(r stand.OtherRoute) OtherRoute {
	return OtherRoute{routeOf(r.Route), r.Metric, r.Proto}
}

func otherRuleOf(r stand.OtherRule) OtherRule {
	return OtherRule{Priority: r.Priority, From: r.From, To: r.To, In: r.In, Out: r.Out, Mark: r.Mark, Table: r.Table, Action: r.Action, Rule: ruleOf(r.Rule)}
}

func wireGuardStatusOf(w *stand.WireGuard) *WireGuardStatus {
	if w == nil {
		return nil
	}
	return &WireGuardStatus{PublicKey: PublicKey(w.PublicKey), ListenPort: w.ListenPort, FwMark: w.FwMark, Peers: each(w.Peers, wireGuardPeerStatusOf)}
}

func wireGuardPeerStatusOf(p stand.WireGuardPeer) WireGuardPeerStatus {
	return WireGuardPeerStatus{PublicKey: PublicKey(p.PublicKey), Preshared: p.Preshared, Endpoint: p.Endpoint, AllowedIPs: p.AllowedIPs,
		PersistentKeepalive: p.PersistentKeepalive, LatestHandshake: p.LatestHandshake, RxBytes: p.RxBytes, TxBytes: p.TxBytes}
}

func changesOf(list []engine.Change) Changes { return each(list, changeOf) }

func changeOf(c engine.Change) Change {
	return Change{Sandbox: c.Sandbox, Kind: ChangeKind(c.Kind), Interface: c.Interface,
		Object: c.Object, Before: c.Before, After: c.After, Command: c.Command}
}

// each returns what f makes of each, nil of nothing.
func each[A, B any](all []A, f func(A) B) (list []B) {
	for _, a := range all {
		list = append(list, f(a))
	}
	return list
}

// eachValue does so with the values of a map.
func eachValue[A, B any](all map[netip.Prefix]A, f func(A) B) (m map[netip.Prefix]B) {
	for k, a := range all {
		if m == nil {
			m = map[netip.Prefix]B{}
		}
		m[k] = f(a)
	}
	return m
}

// mapped yields what f makes of each.
func mapped[A, B any](list iter.Seq[A], f func(A) B) iter.Seq[B] {
	return func(yield func(B) bool) {
		for a := range all(list) {
			if !yield(f(a)) {
				return
			}
		}
	}
}

// all yields what a list does, and nothing for a nil one.
func all[T any](list iter.Seq[T]) iter.Seq[T] {
	if list == nil {
		return func(func(T) bool) {}
	}
	return list
}
