package osl

import (
	"iter"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/seed59451c2b/osl/internal/want"
)

// Here what a caller asks for becomes what package want checks: the fields one by
// one, and nothing else.

func (net *Network) wanted() want.Network {
	w := want.Network{Name: net.Name}
	for i := range net.Sandboxes {
		w.Sandboxes = append(w.Sandboxes, net.Sandboxes[i].wanted())
	}
	for _, l := range net.Links {
		w.Links = append(w.Links, want.Link{want.Endpoint(l[0]), want.Endpoint(l[1])})
	}
	w.Segments = slices.Collect(mapped(slices.Values(net.Segments), SegmentSpec.wanted))
	return w
}

func (s *Spec) wanted() want.Sandbox {
	w := want.Sandbox{Name: s.Name, Gateway: s.Gateway, Gateway6: s.Gateway6, Sysctls: s.Sysctls, Labels: s.Labels}
	for _, m := range s.Masquerade {
		w.Masquerade = append(w.Masquerade, want.Masq(m))
	}
	for i := range s.Interfaces {
		w.Interfaces = append(w.Interfaces, s.Interfaces[i].wanted())
	}
	for _, r := range s.Routes {
		w.Routes = append(w.Routes, r.wanted())
	}
	for _, r := range s.Rules {
		w.Rules = append(w.Rules, want.Rule(r))
	}
	for _, n := range s.Neighbors {
		w.Neighbors = append(w.Neighbors, n.wanted())
	}
	return w
}

func (s *InterfaceSpec) wanted() want.Iface {
	var options map[netip.Prefix]want.AddressOptions
	for p, o := range s.AddressOptions {
		if options == nil {
			options = map[netip.Prefix]want.AddressOptions{}
		}
		options[p] = want.AddressOptions(o)
	}
	w := want.Iface{
		Name: s.Name, Type: s.Type, Source: s.Source, MAC: net.HardwareAddr(s.MAC), MTU: s.MTU, TxQueueLen: s.TxQueueLen,
		Addresses: s.Addresses, IPv6: s.IPv6, AddressOptions: options, SharedSubnet: s.SharedSubnet, Aliases: s.Aliases, Master: s.Master, Routes: s.Routes, Sysctls: s.Sysctls,
		DisableARPForVIP: s.DisableARPForVIP, Down: s.Down, Note: s.Note,
		Segment: s.Segment, Subnet: s.Subnet,
		Peer: want.Endpoint(s.Peer), PeerMaster: s.PeerMaster, Parent: s.Parent,
		Offloads: s.Offloads, Impair: s.Impair.wanted(), WireGuard: s.WireGuard.wanted(),
		Kind: want.Kind{
			VLAN: s.VLAN, VNI: s.VNI, Local: s.Local, Remote: s.Remote, Port: s.Port, Mode: s.Mode, Flags: s.Flags, Protocol: s.Protocol,
			IngressQoSMap: s.IngressQoSMap, EgressQoSMap: s.EgressQoSMap, Table: s.Table, MIIMon: s.MIIMon, Key: s.Key, TTL: s.TTL, TOS: s.TOS,
			Learning: s.Learning, Policy: s.Policy, PeerPolicy: s.PeerPolicy, Owner: s.Owner, OwnerGroup: s.OwnerGroup,
			MultiQueue: s.MultiQueue, VNetHdr: s.VNetHdr, NumTxQueues: s.NumTxQueues, NumRxQueues: s.NumRxQueues, Remotes: s.Remotes,
		},
	}
	s.bridging(&w)
	return w
}

func (s SegmentSpec) wanted() want.Segment { return want.Segment(s) }

func (r RouteSpec) wanted() want.Route {
	w := want.Route{To: r.To, Via: r.Via, Dev: r.Dev, Type: r.Type, Table: r.Table, Metric: r.Metric, Src: r.Src,
		MTU: r.MTU, AdvMSS: r.AdvMSS, Scope: r.Scope}
	for _, h := range r.NextHops {
		w.NextHops = append(w.NextHops, want.NextHop(h))
	}
	return w
}

// mapped yields what f makes of each.
func mapped[A, B any](all iter.Seq[A], f func(A) B) iter.Seq[B] {
	return func(yield func(B) bool) {
		for a := range all {
			if !yield(f(a)) {
				return
			}
		}
	}
}

// bridging copies what an interface is to be as a bridge, and as a port of one, and its
// further settings.
func (s *InterfaceSpec) bridging(w *want.Iface) {
	w.LinkOptions = want.LinkOptions{AltNames: s.AltNames, Group: s.Group, Promisc: s.Promisc, AllMulticast: s.AllMulticast, ARP: s.ARP,
		AddrGenMode: s.AddrGenMode, GSOMaxSize: s.GSOMaxSize, GSOMaxSegs: s.GSOMaxSegs, GROMaxSize: s.GROMaxSize}
	if b := s.Bridge; b != nil {
		w.Bridge = &want.Bridge{VLANFiltering: b.VLANFiltering, VLANProtocol: b.VLANProtocol, VLANDefaultPVID: b.VLANDefaultPVID,
			PVID: b.PVID, VLANs: vlans(b.VLANs), STP: b.STP, Priority: b.Priority,
			AgeingTime: (*time.Duration)(b.AgeingTime), ForwardDelay: (*time.Duration)(b.ForwardDelay),
			HelloTime: (*time.Duration)(b.HelloTime), MaxAge: (*time.Duration)(b.MaxAge),
			MulticastSnooping: b.MulticastSnooping, MulticastQuerier: b.MulticastQuerier}
	}
	if p := s.BridgePort; p != nil {
		w.BridgePort = &want.BridgePort{PVID: p.PVID, VLANs: vlans(p.VLANs), Learning: p.Learning, Flood: p.Flood,
			MulticastFlood: p.MulticastFlood, BroadcastFlood: p.BroadcastFlood, Isolated: p.Isolated, Hairpin: p.Hairpin,
			NeighSuppress: p.NeighSuppress, Guard: p.Guard, RootBlock: p.RootBlock, FastLeave: p.FastLeave,
			Cost: p.Cost, Priority: p.Priority, MulticastRouter: p.MulticastRouter}
	}
}

func vlans(list []VLANRange) (w []want.VLANRange) {
	for _, v := range list {
		w = append(w, want.VLANRange(v))
	}
	return w
}

func (n NeighborSpec) wanted() want.Neigh {
	return want.Neigh{Dev: n.Dev, IP: n.IP, MAC: net.HardwareAddr(n.MAC), FDB: n.FDB, MDB: n.MDB, VLAN: n.VLAN}
}

func (s *ImpairSpec) wanted() *want.Impair {
	if s == nil {
		return nil
	}
	return &want.Impair{Delay: time.Duration(s.Delay), Jitter: time.Duration(s.Jitter), Loss: float64(s.Loss), Duplicate: float64(s.Duplicate),
		Reorder: float64(s.Reorder), Corrupt: float64(s.Corrupt), Rate: uint64(s.Rate), Limit: s.Limit}
}
