package osl

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/where"
)

// networkNames is what a network is about.
type networkNames struct {
	keys     []string
	hostEnds []hostEnd
}

// hostEnd is the end of a link on the host, and the sandbox of the other one.
type hostEnd struct{ name, key string }

// wantNetworkNames checks the names of a network, and no more: a network whose
// host lacks something can still be taken down.
func (r *run) wantNetworkNames(net Network) (names networkNames, err error) {
	seen := map[string]bool{}
	for i := range net.Sandboxes {
		s := &net.Sandboxes[i]
		key, err := KeyPath(s.Name)
		if err != nil {
			return names, err
		}
		if seen[canonical(key)] {
			return names, invalidf("the sandbox %q is there twice", s.Name)
		}
		seen[canonical(key)] = true
		names.keys = append(names.keys, key)
		for j := range s.Interfaces {
			if p := s.Interfaces[j].Peer; p.Sandbox == HostName {
				names.hostEnds = append(names.hostEnds, hostEnd{p.Interface, key})
			}
		}
	}
	for _, l := range net.Links {
		for i, e := range l {
			if key, err := KeyPath(l[1-i].Sandbox); err == nil && e.Sandbox == HostName {
				names.hostEnds = append(names.hostEnds, hostEnd{e.Interface, key})
			}
		}
	}
	return names, nil
}

// wantNetwork checks a network and turns it into what plans are made of. Of
// the kernel it reads only the links of the host that are named.
func (r *run) wantNetwork(net Network) ([]plan.Sandbox, error) {
	names, err := r.wantNetworkNames(net)
	if err != nil {
		return nil, err
	}
	want := make([]plan.Sandbox, len(net.Sandboxes))
	byKey := map[string]*plan.Sandbox{}
	byName := map[string]string{HostName: plan.HostNS}
	for i := range net.Sandboxes {
		want[i].Key, want[i].Prune, want[i].Network = names.keys[i], true, net.Name
		byKey[want[i].Key] = &want[i]
		byName[net.Sandboxes[i].Name] = want[i].Key
	}
	for i := range net.Sandboxes {
		if err := r.wantSandbox(&want[i], &net.Sandboxes[i]); err != nil {
			return nil, fail("", want[i].Key, "", err)
		}
	}
	links := slices.Clone(net.Links)
	for i := range net.Sandboxes {
		for _, f := range net.Sandboxes[i].Interfaces {
			if f.Peer != (Endpoint{}) {
				links = append(links, Link{{net.Sandboxes[i].Name, f.Name}, f.Peer})
			}
		}
	}
	places := placesOf(want)
	for i, l := range links {
		if err := wantLink(byKey, byName, places, l); err != nil {
			err = fmt.Errorf("link %v - %v: %w", l[0], l[1], err)
			if i < len(net.Links) {
				return nil, where.In("links", strconv.Itoa(i), err)
			}
			return nil, fail("", byName[l[0].Sandbox], l[0].Interface, where.In("peer", "", err))
		}
	}
	for i := range want {
		if err := settleSettings(&want[i]); err != nil {
			return nil, fail("", want[i].Key, "", err)
		}
		for j := range want[i].Ifaces {
			if f := &want[i].Ifaces[j]; f.Kind == "veth" && f.Peer == nil && f.MadeBy == nil {
				return nil, fail("", want[i].Key, f.Name, invalidf("a veth needs its other end: a peer, or a link"))
			}
		}
	}
	return want, nil
}

// roomForLabels returns an error where there is no room for labels beside what the
// sandbox says while it is made.
func roomForLabels(w *plan.Sandbox, leader string) error {
	tag := plan.SandboxTag{UnderWay: true, Commit: plan.Commit{ID: "ffffffff", Leader: leader}.For(w.Key), Network: w.Network, Labels: w.Labels}
	if over := len(tag.String()) - plan.MaxAlias; over > 0 {
		return invalidf("the labels, the name of the network, and the path of the sandbox that leads the change, take %d bytes too many", over)
	}
	return nil
}

// ifaceName names a wanted interface.
type ifaceName struct{ key, name string }

// placesOf returns where each wanted interface is in the list of its sandbox.
func placesOf(want []plan.Sandbox) map[ifaceName]int {
	places := map[ifaceName]int{}
	for i := range want {
		for j := range want[i].Ifaces {
			places[ifaceName{want[i].Key, want[i].Ifaces[j].Name}] = j
		}
	}
	return places
}

// wantLink makes two interfaces the ends of a veth.
func wantLink(byKey map[string]*plan.Sandbox, byName map[string]string, places map[ifaceName]int, l Link) error {
	if l[0].Sandbox == HostName {
		l[0], l[1] = l[1], l[0]
	}
	if l[0].Sandbox == HostName {
		return invalidf("both ends are on the host")
	}
	var at [2]plan.End
	for i, e := range l {
		key, ok := byName[e.Sandbox]
		if !ok {
			return fmt.Errorf("%w: there is no sandbox %q in the network%s", ErrNotFound, e.Sandbox,
				near.Hint(e.Sandbox, slices.Collect(maps.Keys(byName))))
		}
		if err := validName(e.Interface); err != nil {
			return err
		}
		at[i] = plan.End{Key: key, Name: e.Interface, Claimed: key != plan.HostNS}
		if key == plan.HostNS {
			continue
		}
		w, name := byKey[key], ifaceName{key, e.Interface}
		j, there := places[name]
		if !there {
			j = len(w.Ifaces)
			w.Ifaces, places[name] = append(w.Ifaces, plan.Iface{Name: e.Interface}), j
		}
		f := &w.Ifaces[j]
		if f.Kind != "" && f.Kind != "veth" || f.From != nil || f.Peer != nil || f.MadeBy != nil {
			return invalidf("%v is %s already", e, already(f))
		}
		f.Kind, f.Keep, at[i].Master = "veth", false, f.Master
	}
	if l[0] == l[1] {
		return invalidf("both ends are the same")
	}
	// A pointer into Ifaces may be stale after the other end was appended.
	end := func(e plan.End) *plan.Iface { return &byKey[e.Key].Ifaces[places[ifaceName{e.Key, e.Name}]] }
	first := end(at[0])
	first.Peer = &at[1]
	var other *plan.Iface
	if at[1].Claimed {
		other = end(at[1])
		other.MadeBy = &at[0]
	}
	plan.Pair(first, other)
	return nil
}

// already says what an interface is that can be no end of a link.
func already(f *plan.Iface) string {
	switch other := f.OtherEnd(); {
	case other != nil:
		return "the end of a link to " + spaceName(other.Key) + "/" + other.Name
	case f.From != nil:
		return "a link of the host, " + f.From.Link.Name
	}
	return "a " + f.Kind
}

func (r *run) wantSandbox(w *plan.Sandbox, s *Spec) error {
	names := make(map[string]bool, len(s.Interfaces))
	for i := range s.Interfaces {
		f, err := r.wantIface(&s.Interfaces[i])
		if err == nil && names[f.Name] {
			err = invalidf("the name is there twice")
		}
		if err != nil {
			return fail("", "", s.Interfaces[i].Name, err)
		}
		names[f.Name] = true
		w.Ifaces = append(w.Ifaces, *f)
	}
	for _, g := range []struct {
		ip   netip.Addr
		zero netip.Addr
	}{{s.Gateway, netip.IPv4Unspecified()}, {s.Gateway6, netip.IPv6Unspecified()}} {
		if !g.ip.IsValid() {
			continue
		}
		if g.ip.Is4() != g.zero.Is4() || g.ip.Is4In6() {
			field := map[bool]string{true: "gateway", false: "gateway6"}[g.zero.Is4()]
			return where.In(field, "", invalidf("%v is no gateway of its family: gateway is IPv4, gateway6 is IPv6", g.ip))
		}
		w.Gateways = append(w.Gateways, rtnl.Route{Dst: netip.PrefixFrom(g.zero, 0), Via: g.ip})
	}
	for _, x := range s.Routes {
		route, err := wantRoute(x)
		if err != nil {
			return where.In("routes", x.To.String(), err)
		}
		w.Routes = append(w.Routes, plan.Route{Route: route, Dev: x.Dev})
	}
	for _, x := range s.Neighbors {
		if !x.IP.IsValid() || len(x.MAC) != 6 || x.Dev == "" {
			return where.In("neighbors", x.IP.String(), invalidf("a neighbor needs dev, ip and mac, six bytes of it"))
		}
		w.Neighs = append(w.Neighs, plan.Neigh{Dev: x.Dev, Neigh: rtnl.Neigh{IP: x.IP.Unmap(), MAC: net.HardwareAddr(x.MAC), FDB: x.FDB}})
	}
	w.Labels = s.Labels
	var err error
	w.Sysctls, err = wantSettings(s.Sysctls, "")
	return err
}

func wantRoute(x RouteSpec) (r rtnl.Route, err error) {
	if !x.To.IsValid() || !x.Via.IsValid() && x.Dev == "" {
		return r, invalidf("the route to %v needs via, dev or both", x.To)
	}
	if x.Via.IsValid() && x.Via.Is4() != x.To.Addr().Is4() {
		return r, invalidf("the route to %v and its next hop %v are of different families", x.To, x.Via)
	}
	r = rtnl.Route{Dst: x.To.Masked(), Via: x.Via, OnLink: x.Via.IsValid() && x.Dev != "" || !x.Via.IsValid() && x.To.Addr().Is6()}
	r.Global = r.Dst.Addr().Is4() && !x.Via.IsValid()
	return r, nil
}

// commonIface takes over what the imperative calls and a Spec share.
func commonIface(s *InterfaceSpec) (*plan.Iface, error) {
	f := &plan.Iface{MAC: net.HardwareAddr(s.MAC), MTU: s.MTU, TxQLen: s.TxQueueLen, HideVIPs: s.DisableARPForVIP, Down: s.Down}
	if s.MTU < 0 {
		return nil, where.In("mtu", "", invalidf("the MTU %d is negative", s.MTU))
	}
	if s.TxQueueLen != nil && *s.TxQueueLen < 0 {
		return nil, where.In("txqueuelen", "", invalidf("the queue length %d is negative", *s.TxQueueLen))
	}
	if s.MAC != nil && (len(s.MAC) != 6 || s.MAC[0]&1 != 0) {
		return nil, where.In("mac", "", invalidf("%v is no hardware address of a single interface", s.MAC))
	}
	for i, p := range slices.Concat(s.Addresses, s.Aliases) {
		if err := validPrefix(p); err != nil {
			return nil, where.In(map[bool]string{true: "addresses", false: "aliases"}[i < len(s.Addresses)], p.String(), err)
		}
	}
	for _, p := range s.Addresses {
		f.Addrs = append(f.Addrs, plan.Addr{Prefix: p})
	}
	for _, p := range s.Aliases {
		f.Addrs = append(f.Addrs, plan.Addr{Prefix: p, Alias: true})
	}
	for _, p := range s.Routes {
		if !p.IsValid() {
			return nil, where.In("routes", p.String(), invalidf("%v is no destination of a route", p))
		}
		f.Routes = append(f.Routes, p.Masked())
	}
	var err error
	f.Sysctls, err = wantSettings(s.Sysctls, "link")
	return f, err
}

func (r *run) wantIface(s *InterfaceSpec) (*plan.Iface, error) {
	if err := validName(s.Name); err != nil {
		return nil, err
	}
	f, err := commonIface(s)
	if err != nil {
		return nil, err
	}
	f.Name, f.Kind, f.Master = s.Name, s.Type, s.Master
	f.Data = rtnl.LinkData{VNI: s.VNI, Local: s.Local, Remote: s.Remote, Port: s.Port, VLAN: s.VLAN, Mode: s.Mode}
	if s.Peer != (Endpoint{}) && f.Kind == "" {
		f.Kind = "veth"
	}
	if err := checkKind(s, f); err != nil {
		return nil, err
	}
	switch parent, onHost := strings.CutPrefix(s.Parent, HostName+"/"); {
	case onHost:
		if f.HostParent, err = r.onHost(parent); err != nil {
			return nil, where.In("parent", "", err)
		}
	default:
		f.Parent = s.Parent
	}
	if s.PeerMaster != "" {
		if f.PeerMaster, err = r.onHost(s.PeerMaster); err != nil {
			return nil, where.In("peer_master", "", err)
		}
		if f.PeerMaster.Kind != "bridge" {
			return nil, where.In("peer_master", "", invalidf("the master of its peer, %q, is no bridge of the host", s.PeerMaster))
		}
	}
	if s.Source != "" {
		if err := validName(s.Source); err != nil {
			return nil, where.In("source", "", err)
		}
		f.From = &plan.HostLink{Link: rtnl.Link{Name: s.Source}} // see sources
	}
	f.Keep = f.Kind == "" && f.From == nil && f.Name != "lo"
	return f, nil
}
