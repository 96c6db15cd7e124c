package want

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/where"
)

func (s *Sandbox) plan(w *plan.Sandbox) error {
	names := make(map[string]int, len(s.Interfaces))
	for i := range s.Interfaces {
		f, err := s.Interfaces[i].plan()
		if first, twice := names[s.Interfaces[i].Name]; twice && err == nil {
			err = where.In("interfaces", strconv.Itoa(i), where.BesideIn("interfaces", strconv.Itoa(first), fault.Invalidf("the name is there twice")))
		}
		if err != nil {
			return fault.At("", s.Interfaces[i].Name, err)
		}
		names[f.Name] = i
		w.Ifaces = append(w.Ifaces, *f)
	}
	if err := together(w); err != nil {
		return err
	}
	for _, g := range []struct {
		field    string
		ip, zero netip.Addr
	}{{"gateway", s.Gateway, netip.IPv4Unspecified()}, {"gateway6", s.Gateway6, netip.IPv6Unspecified()}} {
		switch {
		case !g.ip.IsValid():
			continue
		case g.ip.Is4() != g.zero.Is4() || g.ip.Is4In6():
			return where.In(g.field, "", fault.Invalidf("%v is no gateway of its family: gateway is IPv4, gateway6 is IPv6", g.ip))
		case !ofOne(g.ip):
			return where.In(g.field, "", fault.Invalidf("the %s %v is no address of one host", g.field, g.ip))
		case g.ip.Is6() && g.ip.IsLinkLocalUnicast() && g.ip.Zone() == "":
			return where.In(g.field, "", fault.Invalidf("the %s %v is link-local, and needs its interface: %v%%eth0", g.field, g.ip, g.ip))
		}
		w.Gateways = append(w.Gateways, rtnl.Route{Dst: netip.PrefixFrom(g.zero, 0), Via: g.ip})
	}
	for i, x := range s.Routes {
		route, err := ToRoute(x)
		if err != nil {
			return where.In("routes", strconv.Itoa(i), err)
		}
		w.Routes = append(w.Routes, route)
	}
	if err := s.neighbors(w); err != nil {
		return err
	}
	for i, m := range s.Masquerade {
		switch {
		case s.Name != HostName:
			return where.In("masquerade", strconv.Itoa(i), fault.Invalidf("only the host masquerades: say it at the sandbox host"))
		case !m.Subnet.IsValid() || m.Subnet.Masked() != m.Subnet:
			return where.In("masquerade", strconv.Itoa(i), where.In("subnet", "", fault.Invalidf("%v is no subnet: write %v", m.Subnet, m.Subnet.Masked())))
		}
		if err := ValidName(m.Uplink); err != nil {
			return where.In("masquerade", strconv.Itoa(i), where.In("uplink", "", fmt.Errorf("the uplink: %w", err)))
		}
		if x := plan.Masq(m); !slices.Contains(w.Masq, x) {
			w.Masq = append(w.Masq, x)
		}
	}
	for i := range s.Interfaces {
		list, err := s.Interfaces[i].remotes()
		if err != nil {
			return fault.At("", s.Interfaces[i].Name, where.In("remotes", "", err))
		}
		w.Neighs, w.Ifaces[i].Remotes = append(w.Neighs, list...), s.Interfaces[i].Kind.Remotes
	}
	w.Labels = s.Labels
	var err error
	if w.Nexthops, err = planNexthops(s.Nexthops); err != nil {
		return err
	}
	if w.Rules, err = ToRules(s.Rules); err != nil {
		return err
	}
	w.Sysctls, err = wantSettings(s.Sysctls, "")
	return err
}

// common takes over what the imperative calls and a Spec share.
func (s *Iface) common() (*plan.Iface, error) {
	f := &plan.Iface{MAC: s.MAC, MTU: s.MTU, TxQLen: s.TxQueueLen, HideVIPs: s.DisableARPForVIP, SharedSubnet: s.SharedSubnet, Down: s.Down}
	if err := ValidNote(s.Note); err != nil {
		return nil, where.In("note", "", err)
	}
	f.Note = s.Note
	if s.MTU < 0 {
		return nil, where.In("mtu", "", fault.Invalidf("the MTU %d is negative", s.MTU))
	}
	if s.TxQueueLen != nil && *s.TxQueueLen < 0 {
		return nil, where.In("txqueuelen", "", fault.Invalidf("the queue length %d is negative", *s.TxQueueLen))
	}
	if s.MAC != nil && (len(s.MAC) != 6 || s.MAC[0]&1 != 0 || bytes.Equal(s.MAC, make([]byte, 6))) {
		return nil, where.In("mac", "", fault.Invalidf("%v is no hardware address of a single interface", s.MAC))
	}
	if err := s.checkMACPolicy(); err != nil {
		return nil, err
	}
	for i, p := range slices.Concat(s.Addresses, s.Aliases) {
		if err := ValidPrefix(p); err != nil {
			return nil, where.In(map[bool]string{true: "addresses", false: "aliases"}[i < len(s.Addresses)], p.String(), err)
		}
	}
	for _, p := range s.Addresses {
		f.Addrs = append(f.Addrs, plan.Addr{Prefix: p})
	}
	for _, p := range s.Aliases {
		f.Addrs = append(f.Addrs, plan.Addr{Prefix: p, Alias: true})
	}
	if err := s.addAddressOptions(f); err != nil {
		return nil, err
	}
	for _, p := range s.Routes {
		if !p.IsValid() {
			return nil, where.In("routes", p.String(), fault.Invalidf("%v is no destination of a route", p))
		}
		f.Routes = append(f.Routes, p.Masked())
	}
	var err error
	if f.Sysctls, err = wantSettings(s.Sysctls, "link"); err == nil {
		err = s.addIPv6(f)
	}
	if err == nil {
		err = vipSettings(f)
	}
	return f, err
}

func (s *Iface) plan() (*plan.Iface, error) {
	if err := ValidName(s.Name); err != nil {
		return nil, where.In("name", "", err)
	}
	f, err := s.common()
	if err != nil {
		return nil, err
	}
	seen := map[netip.Prefix]bool{}
	for i, a := range f.Addrs {
		if seen[a.Prefix] {
			return nil, where.In(map[bool]string{true: "addresses", false: "aliases"}[i < len(s.Addresses)], a.Prefix.String(), fault.Invalidf("the address %v is there twice", a.Prefix))
		}
		seen[a.Prefix] = true
	}
	if s.Segment != "" || len(s.Subnet) > 0 {
		return nil, fault.Invalidf("a segment or a subnet is for the interfaces of a network, not for one that is added by itself")
	}
	f.Name, f.Kind, f.Master = s.Name, s.Type, s.Master
	field := ""
	if f.Data, field, err = s.Kind.data(); err != nil {
		return nil, where.In(field, "", err)
	}
	if s.Peer != (Endpoint{}) && f.Kind == "" {
		f.Kind = "veth"
	}
	if err := checkKind(s, f); err != nil {
		return nil, err
	}
	if f.Options, err = s.LinkOptions.plan(f.Kind); err != nil {
		return nil, err
	}
	if f.AltNames, err = s.altNames(); err != nil {
		return nil, err
	}
	if err := s.bridging(f); err != nil {
		return nil, err
	}
	if parent, onHost := strings.CutPrefix(s.Parent, HostName+"/"); onHost {
		f.HostParent = &rtnl.Link{Name: parent}
	} else {
		f.Parent = s.Parent
	}
	if s.PeerMaster != "" {
		f.PeerMaster = &rtnl.Link{Name: s.PeerMaster}
	}
	if s.Source != "" {
		if err := validAltName(s.Source); err != nil {
			return nil, where.In("source", "", err)
		}
		f.From = &plan.HostLink{Link: rtnl.Link{Name: s.Source}}
	}
	if f.Offloads, err = s.offloads(); err != nil {
		return nil, err
	}
	if f.Impair, err = s.impair(); err != nil {
		return nil, err
	}
	if f.WireGuard, err = s.wireguard(); err != nil {
		return nil, err
	}
	f.Keep = f.Kind == "" && f.From == nil && f.Name != "lo"
	return f, wideEnough(f)
}

// wideEnough refuses what an interface has none of whose MTU is too small for IPv6.
func wideEnough(f *plan.Iface) error {
	if f.MTU == 0 || f.MTU >= plan.MinIPv6 || f.Name == "lo" {
		return nil
	}
	what := ""
	if _, is := f.Options.Get(rtnl.LinkAddrGenMode); is {
		what = "an addrgenmode"
	}
	for _, x := range f.Sysctls {
		if strings.HasPrefix(x.Path, "ipv6/conf/") && !(strings.HasSuffix(x.Path, "/disable_ipv6") && x.Value == "1") {
			what = x.Name
		}
	}
	if f.HasIPv6() {
		what = "IPv6"
	}
	if what == "" {
		return nil
	}
	return where.In("mtu", "", fault.Invalidf("%s needs an MTU of %d bytes, and it is to have %d", what, plan.MinIPv6, f.MTU))
}
