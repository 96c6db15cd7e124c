package osl

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/sysctl"
)

// kinds are the types of links that osl makes.
var kinds = map[string]bool{"bridge": true, "veth": true, "vxlan": true, "macvlan": true,
	"vlan": true, "dummy": true, "tun": true, "tap": true}

// networkNames is what a network is about.
type networkNames struct {
	keys     []string
	hostEnds []string
}

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
				names.hostEnds = append(names.hostEnds, p.Interface)
			}
		}
	}
	for _, l := range net.Links {
		for _, e := range l {
			if e.Sandbox == HostName {
				names.hostEnds = append(names.hostEnds, e.Interface)
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
		want[i].Key, want[i].Prune = names.keys[i], true
		byKey[want[i].Key] = &want[i]
		byName[net.Sandboxes[i].Name] = want[i].Key
	}
	for i := range net.Sandboxes {
		if err := r.wantSandbox(&want[i], &net.Sandboxes[i]); err != nil {
			return nil, fail("", want[i].Key, "", err)
		}
	}
	links := net.Links
	for i := range net.Sandboxes {
		for _, f := range net.Sandboxes[i].Interfaces {
			if f.Peer != (Endpoint{}) {
				links = append(links[:len(links):len(links)], Link{{net.Sandboxes[i].Name, f.Name}, f.Peer})
			}
		}
	}
	for _, l := range links {
		if err := wantLink(byKey, byName, l); err != nil {
			return nil, fmt.Errorf("link %v - %v: %w", l[0], l[1], err)
		}
	}
	for i := range want {
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
	tag := plan.SandboxTag{UnderWay: true, Commit: plan.Commit{ID: "ffffffff", Leader: leader}.For(w.Key), Labels: w.Labels}
	if over := len(tag.String()) - plan.MaxAlias; over > 0 {
		return invalidf("the labels, and the path of the sandbox that leads the change, take %d bytes too many", over)
	}
	return nil
}

// sources finds the links that are to move in: on the host, or in the sandbox
// already.
func (r *run) sources(w *plan.Sandbox) error {
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		if f.From == nil {
			continue
		}
		var err error
		if r.adds {
			f.From, err = r.hostLink(f.From.Link.Name)
		} else {
			f.From, err = r.source(w.Key, f.From.Link.Name)
		}
		if err != nil {
			return fail("", w.Key, f.Name, err)
		}
	}
	return nil
}

// wantLink makes two interfaces the ends of a veth.
func wantLink(byKey map[string]*plan.Sandbox, byName map[string]string, l Link) error {
	if l[0].Sandbox == HostName {
		l[0], l[1] = l[1], l[0]
	}
	if l[0].Sandbox == HostName {
		return invalidf("both ends are on the host")
	}
	var ends [2]*plan.Iface
	var at [2]plan.End
	for i, e := range l {
		key, ok := byName[e.Sandbox]
		if !ok {
			return fmt.Errorf("%w: there is no sandbox %q in the network", ErrNotFound, e.Sandbox)
		}
		if err := validName(e.Interface); err != nil {
			return err
		}
		at[i] = plan.End{Key: key, Name: e.Interface, Claimed: key != plan.HostNS}
		if key == plan.HostNS {
			continue
		}
		w := byKey[key]
		var f *plan.Iface
		for j := range w.Ifaces {
			if w.Ifaces[j].Name == e.Interface {
				f = &w.Ifaces[j]
			}
		}
		if f == nil {
			w.Ifaces = append(w.Ifaces, plan.Iface{Name: e.Interface})
			f = &w.Ifaces[len(w.Ifaces)-1]
		}
		if f.Kind != "" && f.Kind != "veth" || f.From != nil || f.Peer != nil || f.MadeBy != nil {
			return invalidf("%v is something else already, or in another link", e)
		}
		f.Kind, f.Keep = "veth", false
		ends[i] = f
	}
	if l[0] == l[1] {
		return invalidf("both ends are the same")
	}
	// A pointer into Ifaces may be stale after the other end was appended.
	first := find(byKey[at[0].Key], l[0].Interface)
	first.Peer = &at[1]
	var other *plan.Iface
	if at[1].Claimed {
		other = find(byKey[at[1].Key], l[1].Interface)
		other.MadeBy = &at[0]
	}
	plan.Pair(first, other)
	return nil
}

func find(w *plan.Sandbox, name string) *plan.Iface {
	for i := range w.Ifaces {
		if w.Ifaces[i].Name == name {
			return &w.Ifaces[i]
		}
	}
	return nil
}

func (r *run) wantSandbox(w *plan.Sandbox, s *Spec) error {
	for i := range s.Interfaces {
		f, err := r.wantIface(&s.Interfaces[i])
		if err == nil && find(w, f.Name) != nil {
			err = invalidf("the name is there twice")
		}
		if err != nil {
			return fail("", "", s.Interfaces[i].Name, err)
		}
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
			return invalidf("%v is no gateway of its family: gateway is IPv4, gateway6 is IPv6", g.ip)
		}
		w.Gateways = append(w.Gateways, rtnl.Route{Dst: netip.PrefixFrom(g.zero, 0), Via: g.ip})
	}
	for _, x := range s.Routes {
		route, err := wantRoute(x)
		if err != nil {
			return err
		}
		w.Routes = append(w.Routes, plan.Route{Route: route, Dev: x.Dev})
	}
	for _, x := range s.Neighbors {
		if !x.IP.IsValid() || len(x.MAC) != 6 || x.Dev == "" {
			return invalidf("a neighbor needs dev, ip and mac")
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

// wantSettings turns names of sysctls into paths. For an interface they are
// below conf, with %s for its name.
func wantSettings(m map[string]string, link string) ([]plan.Setting, error) {
	var list []plan.Setting
	for _, name := range sorted(m) {
		path := strings.TrimPrefix(strings.TrimPrefix(name, "net."), "net/")
		if !strings.Contains(path, "/") {
			path = strings.ReplaceAll(path, ".", "/")
		}
		family, rest, _ := strings.Cut(path, "/")
		if sysctl.Path(path) != nil || strings.Contains(path, "%") || rest == "" ||
			link != "" && family != "ipv4" && family != "ipv6" && family != "mpls" {
			return nil, invalidf("%q is no sysctl of a sandbox: write ipv4.ip_forward, or for an interface ipv4.rp_filter", name)
		}
		if link != "" {
			path = family + "/conf/%s/" + rest
		}
		list = append(list, plan.Setting{Path: path, Value: m[name]})
	}
	return list, nil
}

// commonIface takes over what the imperative calls and a Spec share.
func commonIface(s *InterfaceSpec) (*plan.Iface, error) {
	f := &plan.Iface{MAC: net.HardwareAddr(s.MAC), MTU: s.MTU, TxQLen: s.TxQueueLen, HideVIPs: s.DisableARPForVIP, Down: s.Down}
	if s.MTU < 0 {
		return nil, invalidf("the MTU %d is negative", s.MTU)
	}
	if s.TxQueueLen != nil && *s.TxQueueLen < 0 {
		return nil, invalidf("the queue length %d is negative", *s.TxQueueLen)
	}
	if s.MAC != nil && (len(s.MAC) != 6 || s.MAC[0]&1 != 0) {
		return nil, invalidf("%v is no hardware address of a single interface", s.MAC)
	}
	for _, list := range [][]netip.Prefix{s.Addresses, s.Aliases} {
		for _, p := range list {
			if err := validPrefix(p); err != nil {
				return nil, err
			}
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
			return nil, invalidf("%v is no destination of a route", p)
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
			return nil, err
		}
	default:
		f.Parent = s.Parent
	}
	if s.PeerMaster != "" {
		if f.PeerMaster, err = r.onHost(s.PeerMaster); err != nil {
			return nil, err
		}
		if f.PeerMaster.Kind != "bridge" {
			return nil, invalidf("the master of its peer, %q, is no bridge of the host", s.PeerMaster)
		}
	}
	if s.Source != "" {
		if err := validName(s.Source); err != nil {
			return nil, err
		}
		f.From = &plan.HostLink{Link: rtnl.Link{Name: s.Source}} // see sources
	}
	f.Keep = f.Kind == "" && f.From == nil && f.Name != "lo"
	return f, nil
}

// checkKind refuses what does not fit the type of an interface.
func checkKind(s *InterfaceSpec, f *plan.Iface) error {
	switch {
	case s.Type != "" && !kinds[s.Type]:
		return invalidf("the type %q is none of bridge, veth, vxlan, macvlan, vlan, dummy, tun, tap", s.Type)
	case s.Type != "" && s.Source != "":
		return invalidf("it has a type and a source: osl either makes it or moves it in")
	case s.Peer != (Endpoint{}) && f.Kind != "veth":
		return invalidf("only a veth has a peer")
	case s.PeerMaster != "" && s.Peer.Sandbox != HostName:
		return invalidf("only a peer on the host has a peer_master: an interface of a sandbox has its own master")
	case f.Kind == "vxlan" && (s.VNI < 1 || s.VNI >= 1<<24):
		return invalidf("a vxlan needs a vni from 1 to %d", 1<<24-1)
	case f.Kind == "vlan" && (s.VLAN < 1 || s.VLAN > 4094):
		return invalidf("a vlan needs a tag, vlan, from 1 to 4094")
	case (f.Kind == "vlan" || f.Kind == "macvlan") && s.Parent == "":
		return invalidf("a %s needs a parent", f.Kind)
	case !rtnl.MacvlanMode(s.Mode):
		return invalidf("the mode %q of a macvlan is none of bridge, private, vepa, passthru", s.Mode)
	case s.Port < 0 || s.Port > 65535:
		return invalidf("the port %d is none", s.Port)
	case s.Master == s.Name && s.Master != "":
		return invalidf("it is its own master")
	case s.Name == "lo" && (s.Type != "" || s.Source != "" || s.Master != ""):
		return invalidf("lo is there already: it has no type, source or master")
	}
	return nil
}
