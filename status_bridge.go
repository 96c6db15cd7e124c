package osl

import (
	"net/netip"
	"time"

	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// told are settings of a link, as a Spec has them.
type told struct{ *rtnl.Options }

func (o told) flag(at int) *bool {
	v, ok := o.Get(at)
	if !ok {
		return nil
	}
	on := v != 0
	return &on
}

func (o told) number(at int) *int {
	v, ok := o.Get(at)
	if !ok {
		return nil
	}
	n := int(v)
	return &n
}

func (o told) duration(at int) *Duration {
	v, ok := o.Get(at)
	if !ok {
		return nil
	}
	d := Duration(time.Duration(v) * 10 * time.Millisecond)
	return &d
}

// settingsStatus tells the settings that any link has.
func settingsStatus(l *rtnl.Link, x *InterfaceStatus) {
	get := func(at int) int {
		v, _ := l.Options.Get(at)
		return int(v)
	}
	x.Group, x.GSOMaxSize, x.GSOMaxSegs, x.GROMaxSize = get(rtnl.LinkGroup), get(rtnl.LinkGSOMaxSize), get(rtnl.LinkGSOMaxSegs), get(rtnl.LinkGROMaxSize)
	for _, name := range l.AltName {
		if !plan.IsOwnName(name) {
			x.AltNames = append(x.AltNames, name)
		}
	}
	x.Promisc, x.AllMulticast, x.ARP = get(rtnl.LinkPromisc) != 0, get(rtnl.LinkAllMulticast) != 0, get(rtnl.LinkARP) != 0
	if v, ok := l.Options.Get(rtnl.LinkAddrGenMode); ok && int(v) < len(plan.AddrGenModes) {
		x.AddrGenMode = plan.AddrGenModes[v]
	}
}

// bridgeStatus tells what a link is as a bridge, and as a port of one; VLANs as far as
// they were read.
func bridgeStatus(s *plan.State, l *rtnl.Link, x *InterfaceStatus) {
	vlans, pvid := vlanStatus(s.VLANs[l.Index])
	if o := (told{l.Bridge}); l.Bridge != nil {
		x.Bridge = &BridgeSpec{VLANFiltering: o.flag(rtnl.BridgeVLANFiltering), VLANDefaultPVID: o.number(rtnl.BridgeVLANDefaultPVID),
			PVID: pvid, VLANs: vlans, STP: o.flag(rtnl.BridgeSTP), Priority: o.number(rtnl.BridgePriority),
			AgeingTime: o.duration(rtnl.BridgeAgeingTime), ForwardDelay: o.duration(rtnl.BridgeForwardDelay),
			HelloTime: o.duration(rtnl.BridgeHelloTime), MaxAge: o.duration(rtnl.BridgeMaxAge),
			MulticastSnooping: o.flag(rtnl.BridgeMulticastSnooping), MulticastQuerier: o.flag(rtnl.BridgeMulticastQuerier)}
		if v, ok := o.Get(rtnl.BridgeVLANProtocol); ok {
			x.Bridge.VLANProtocol = plan.VLANProtocol(v)
		}
	}
	if o := (told{l.Port}); l.Port != nil {
		x.BridgePort = &BridgePortSpec{PVID: pvid, VLANs: vlans, Learning: o.flag(rtnl.PortLearning), Flood: o.flag(rtnl.PortFlood),
			MulticastFlood: o.flag(rtnl.PortMulticastFlood), BroadcastFlood: o.flag(rtnl.PortBroadcastFlood),
			Isolated: o.flag(rtnl.PortIsolated), Hairpin: o.flag(rtnl.PortHairpin), NeighSuppress: o.flag(rtnl.PortNeighSuppress),
			Guard: o.flag(rtnl.PortGuard), RootBlock: o.flag(rtnl.PortRootBlock), FastLeave: o.flag(rtnl.PortFastLeave),
			Cost: o.number(rtnl.PortCost), Priority: o.number(rtnl.PortPriority), MulticastRouter: o.number(rtnl.PortMulticastRouter)}
	}
}

func vlanStatus(all []rtnl.VLAN) (list []VLANRange, pvid *int) {
	for _, v := range all {
		list = append(list, VLANRange{int(v.First), int(v.Last), v.Untagged})
		if v.PVID {
			id := int(v.First)
			pvid = &id
		}
	}
	return list, pvid
}

// WireGuardStatus is what the kernel says of a wireguard.
type WireGuardStatus struct {
	// PublicKey is that of its private one; zero where it has none.
	PublicKey  PublicKey             `json:"public_key,omitzero"`
	ListenPort int                   `json:"listen_port,omitempty"`
	FwMark     uint32                `json:"fwmark,omitempty"`
	Peers      []WireGuardPeerStatus `json:"peers,omitempty"`
}

// WireGuardPeerStatus is what the kernel says of a peer.
type WireGuardPeerStatus struct {
	PublicKey PublicKey `json:"public_key"`
	// Preshared reports whether there is a preshared key.
	Preshared bool `json:"preshared,omitempty"`
	// Endpoint is where the peer was heard last, or is to be.
	Endpoint   netip.AddrPort `json:"endpoint,omitzero"`
	AllowedIPs []netip.Prefix `json:"allowed_ips,omitempty"`
	// PersistentKeepalive is in seconds, 0 for never.
	PersistentKeepalive int `json:"persistent_keepalive,omitempty"`
	// LatestHandshake is when both agreed on keys last; zero for never.
	LatestHandshake time.Time `json:"latest_handshake,omitzero"`
	// RxBytes and TxBytes are what came from it and went to it.
	RxBytes uint64 `json:"rx_bytes"`
	TxBytes uint64 `json:"tx_bytes"`
}

func wireGuardStatus(w *rtnl.WireGuard) *WireGuardStatus {
	if w == nil {
		return nil
	}
	st := &WireGuardStatus{PublicKey: PublicKey(w.Public), ListenPort: int(w.ListenPort), FwMark: w.FwMark}
	for _, p := range w.Peers {
		st.Peers = append(st.Peers, WireGuardPeerStatus{PublicKey: PublicKey(p.Public), Preshared: !p.Preshared.IsZero(), Endpoint: p.Endpoint,
			AllowedIPs: p.AllowedIPs, PersistentKeepalive: int(p.Keepalive), LatestHandshake: p.LastHandshake, RxBytes: p.Rx, TxBytes: p.Tx})
	}
	return st
}
