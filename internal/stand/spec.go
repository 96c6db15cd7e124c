package stand

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/want"
)

// Spec says what a sandbox is to be that is as this one.
func (s *Standing) Spec() want.Sandbox {
	is := s.Sandbox()
	spec := want.Sandbox{Name: is.Name, Gateway: s.gateway(true), Gateway6: s.gateway(false), Routes: is.Routes, Nexthops: is.Nexthops, Rules: is.Rules,
		Sysctls: byName(s.Settings.Sandbox), Labels: is.Labels}
	remotes := map[string][]netip.Addr{}
	for _, n := range is.Neighbors {
		if n.FDB && n.IP.IsValid() && bytes.Equal(n.MAC, make(net.HardwareAddr, 6)) && !hasRemote(s.State.Link(n.Dev)) {
			remotes[n.Dev] = append(remotes[n.Dev], n.IP)
			continue
		}
		spec.Neighbors = append(spec.Neighbors, n)
	}
	links := map[int]*rtnl.Link{}
	for i := range s.State.Links {
		links[s.State.Links[i].Index] = &s.State.Links[i]
	}
	subnets := map[netip.Prefix]string{}
	shared := map[string]bool{}
	for i := range is.Interfaces {
		f, ours := s.iface(is.Name, &is.Interfaces[i], links)
		if !ours {
			continue
		}
		f.Kind.Remotes = remotes[f.Name]
		for _, p := range f.Addresses {
			if first, there := subnets[p.Masked()]; there && first != f.Name {
				shared[first], shared[f.Name] = true, true
			}
			subnets[p.Masked()] = f.Name
		}
		spec.Interfaces = append(spec.Interfaces, f)
	}
	s.loopback(&spec)
	for _, m := range s.State.Masq {
		spec.Masquerade = append(spec.Masquerade, want.Masq(m))
	}
	for i := range spec.Interfaces {
		spec.Interfaces[i].SharedSubnet = shared[spec.Interfaces[i].Name]
	}
	return spec
}

// loopback gives lo the address by which its IPv6 is on where nothing else in the sandbox says so.
func (s *Standing) loopback(spec *want.Sandbox) {
	lo := s.State.Link("lo")
	if lo == nil || lo.Inet.DisableIPv6 || !plan.HadNoIPv6(lo) || slices.ContainsFunc(spec.Interfaces, hasIPv6) {
		return
	}
	own := netip.PrefixFrom(netip.IPv6Loopback(), 128)
	for i := range spec.Interfaces {
		if f := &spec.Interfaces[i]; f.Name == "lo" {
			f.Addresses = append(f.Addresses, own)
			return
		}
	}
	spec.Interfaces = append(spec.Interfaces, want.Iface{Name: "lo", Addresses: []netip.Prefix{own}})
}

// hasIPv6 reports whether an interface says that its IPv6 is on.
func hasIPv6(f want.Iface) bool {
	return f.IPv6 != "" || f.Sysctls["ipv6.disable_ipv6"] == "0" ||
		slices.ContainsFunc(slices.Concat(f.Addresses, f.Aliases), func(p netip.Prefix) bool { return p.Addr().Is6() })
}

// gateway returns the next hop of a default route that says nothing else: one with a source
// or a size is among the routes.
func (s *Reading) gateway(v4 bool) netip.Addr {
	for _, r := range s.State.Routes {
		if r.Dst.Bits() == 0 && r.Dst.Addr().Is4() == v4 && r.Via.IsValid() && !plan.IsStatic(r) {
			if l := s.State.ByIndex(r.Index); l != nil && r.Via.Is6() && r.Via.IsLinkLocalUnicast() {
				return r.Via.WithZone(l.Name)
			}
			return r.Via
		}
	}
	return netip.Addr{}
}

// hasRemote reports whether a vxlan has a remote of its own: others are entries beside it.
func hasRemote(l *rtnl.Link) bool { return l != nil && l.Data.Remote.IsValid() }

// asGiven returns addresses in the order in which they are to be given to a link that is to have
// them as this one: of IPv6 the kernel has the newest first.
func asGiven(list []netip.Prefix) []netip.Prefix {
	is6 := func(p netip.Prefix) bool { return p.Addr().Is6() }
	six := slices.DeleteFunc(slices.Clone(list), func(p netip.Prefix) bool { return !is6(p) })
	slices.Reverse(six)
	return append(slices.DeleteFunc(slices.Clone(list), is6), six...)
}

// iface says what an interface is to be, if it is one of osl's.
func (s *Standing) iface(sandbox string, x *Iface, links map[int]*rtnl.Link) (f want.Iface, ours bool) {
	l := links[x.Index]
	tag, ours := plan.ParseTag(l.Alias)
	if f.Name = x.Name; f.Name == "lo" {
		ours = true
	}
	f.Aliases, f.AddressOptions, f.Impair, f.Note = x.Aliases, x.AddressOptions, x.Impair, x.Note
	for _, p := range x.Addresses {
		if !slices.Contains(x.Others, p) {
			f.Addresses = append(f.Addresses, p)
		}
	}
	f.Addresses, f.Aliases = asGiven(f.Addresses), asGiven(f.Aliases)
	if !ours || f.Name == "lo" && len(f.Addresses)+len(f.Aliases)+len(s.Settings.Links["lo"])+len(x.Routes) == 0 {
		return f, false
	}
	f.Master, f.Routes, f.Down = x.Master, x.Routes, !x.Up && f.Name != "lo"
	f.Sysctls = byName(s.Settings.Links[x.Name])
	ipv6(&f, x.IPv6)
	if f.Name == "lo" {
		return f, true
	}
	f.Offloads = tag.AskedOffloads(s.State.Features[l.Index])
	master := links[l.Master]
	switch tag.Origin {
	case plan.Far:
		if k := want.KindOf(l); k.NumTxQueues != 0 || k.NumRxQueues != 0 {
			f.Type, f.Kind.NumTxQueues, f.Kind.NumRxQueues = l.Kind, k.NumTxQueues, k.NumRxQueues
		}
		made(&f, l, master, &tag, false, links)
	case plan.Host, plan.Kept:
		if tag.Origin == plan.Host {
			f.Source = x.Source
		}
		changed(&f, l, &tag)
	default:
		f.Type, f.Kind, f.Parent = x.Type, want.KindOf(l), x.Details["parent"]
		if w := s.State.WireGuards[l.Index]; w != nil {
			f.WireGuard = want.WireGuardOf(w, strings.ReplaceAll(strings.Trim(sandbox, "/"), "/", "_")+"."+x.Name)
		}
		far := s.connected(&f, sandbox, l, links[l.Parent])
		made(&f, l, master, &tag, far != nil && far.MTU != plan.KindOf(far.Kind).UsualMTU(), links) // an end that says none gets the other one's
		if master != nil && master.Kind == "bond" && l.MTU == master.MTU && far != nil && far.MTU != l.MTU && f.Peer.Sandbox == want.HostName {
			f.MTU = 0 // it has that of the bond, and the end on the host another, which nothing says
		}
	}
	if f.DisableARPForVIP = hidesVIPs(l); f.DisableARPForVIP {
		delete(f.Sysctls, "ipv4.arp_ignore")
		delete(f.Sysctls, "ipv4.arp_announce")
	}
	f.AltNames = tag.Gave(l)
	f.Bridge, f.BridgePort = bridge(l, s.State.VLANs), bridgePort(l, master, s.State.VLANs)
	return f, true
}

// connected says what a link that osl made is connected with: the other end of a pair,
// which it returns if it is found, or the link below. below is that link, or end, where it
// is in the sandbox too.
func (s *Standing) connected(f *want.Iface, sandbox string, l, below *rtnl.Link) (end *rtnl.Link) {
	far, found := s.Far[l.Index]
	if !found && !l.ParentNS && below != nil {
		far, found = Far{Sandbox: sandbox, Link: *below}, true
	}
	onHost := far.Sandbox == want.HostName
	switch pair := plan.KindOf(l.Kind).Pair; {
	case pair && found:
		f.Peer = want.Endpoint{Sandbox: far.Sandbox, Interface: far.Link.Name}
		if onHost {
			f.PeerMaster = far.Master
		}
		return &far.Link
	case pair:
		f.Peer.Sandbox = "?" // where no name leads
	case found && onHost:
		f.Parent = want.HostName + "/" + far.Link.Name
	}
	return nil
}

// ipv6 says how IPv6 is on where an address does not say it. mode is what it is.
func ipv6(f *want.Iface, mode string) {
	const disable = "ipv6.disable_ipv6"
	six := slices.ContainsFunc(slices.Concat(f.Addresses, f.Aliases), func(p netip.Prefix) bool { return p.Addr().Is6() })
	hears := f.Sysctls[acceptRA]
	switch {
	case mode == "off":
		delete(f.Sysctls, acceptRA)
	case f.Name == "lo":
	case hears == heard["link-local"], hears == heard["auto"]:
		f.IPv6 = map[string]string{"0": "link-local", "2": "auto"}[hears]
		delete(f.Sysctls, acceptRA)
	case !six:
		if f.Sysctls == nil {
			f.Sysctls = map[string]string{}
		}
		f.Sysctls[disable] = "0"
	}
	if len(f.Sysctls) == 0 {
		f.Sysctls = nil
	}
}

// byName returns settings by their names.
func byName(paths map[string]string) map[string]string {
	if len(paths) == 0 {
		return nil
	}
	names := make(map[string]string, len(paths))
	for path, value := range paths {
		if !strings.Contains(path, ".") {
			path = strings.ReplaceAll(path, "/", ".")
		}
		names[path] = strings.Join(strings.Fields(value), " ")
	}
	return names
}
