package want

import (
	"slices"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/sysctl"
	"github.com/seed59451c2b/osl/internal/where"
)

// at is how an error names a key.
func (k Keys) at(key string) string {
	if key == plan.HostNS {
		return HostName
	}
	return key
}

// checkHost refuses what osl does not do on the host: it makes bridges there and the
// ends of links, and changes nothing of others.
func (net *Network) checkHost(s *Sandbox) error {
	bad := func(field, entry, format string, args ...any) error {
		return where.In(field, entry, fault.Invalidf(format, args...))
	}
	made := map[string]bool{}
	for i := range s.Interfaces {
		f := &s.Interfaces[i]
		made[f.Name] = true
		var err error
		switch {
		case f.Source != "":
			err = bad("source", "", "a link of the host is not moved to the host")
		case f.Type != "" && f.Type != "bridge" && !plan.KindOf(f.Type).Pair:
			err = bad("type", "", "on the host osl makes bridges and the ends of links, no %s", f.Type)
		case f.Name == "lo":
			err = bad("name", "", "the host's lo is not osl's")
		case f.Peer.Sandbox == HostName:
			err = bad("peer", "", "both ends are on the host")
		}
		if err != nil {
			return fault.At("", f.Name, err)
		}
	}
	switch {
	case net.Name == "":
		return bad("name", "", "what is made on the host is known by the network's name: give it one")
	case len(net.Sandboxes) < 2:
		return bad("name", "", "the network has nothing but the host: it needs a sandbox, which knows of it")
	case s.Gateway.IsValid() || s.Gateway6.IsValid():
		return bad("gateway", "", "the host's gateway is not osl's")
	case len(s.Nexthops) > 0:
		return bad("nexthops", "", "the host's next hops are not osl's")
	case len(s.Rules) > 0:
		return bad("rules", "", "the host's rules are not osl's")
	case len(s.Labels) > 0:
		return bad("labels", "", "the host has no labels")
	}
	settings, err := wantSettings(s.Sysctls, "")
	if err != nil {
		return err
	}
	for _, x := range settings {
		if !slices.Contains(plan.Forwards, x.Path) || !sysctl.Same("1", x.Value) {
			return bad("sysctls", x.Name, "of the host's settings osl turns on forwarding, ipv4.ip_forward and ipv6.conf.all.forwarding, and no others")
		}
	}
	for _, r := range s.Routes {
		if !made[r.Dev] {
			return bad("routes", r.To.String(), "a route of the host needs a dev that osl makes there")
		}
	}
	for _, n := range s.Neighbors {
		if !made[n.Dev] {
			return bad("neighbors", n.IP.String(), "a neighbor of the host needs a dev that osl makes there")
		}
	}
	return nil
}

// mastersOnHost returns the network with what its interfaces say of the masters of their
// other ends said among the host's interfaces, where it makes those bridges there itself.
func (net *Network) mastersOnHost() *Network {
	at := slices.IndexFunc(net.Sandboxes, func(s Sandbox) bool { return s.Name == HostName })
	if at < 0 || net.Host {
		return net
	}
	made := map[string]bool{}
	for _, f := range net.Sandboxes[at].Interfaces {
		made[f.Name] = true
	}
	w := *net
	w.Sandboxes = slices.Clone(net.Sandboxes)
	host := &w.Sandboxes[at]
	host.Interfaces = slices.Clip(host.Interfaces)
	for i := range w.Sandboxes {
		s := &w.Sandboxes[i]
		moves := func(f Iface) bool { return f.Peer.Sandbox == HostName && made[f.PeerMaster] && !made[f.Peer.Interface] }
		if i == at || !slices.ContainsFunc(s.Interfaces, moves) {
			continue
		}
		s.Interfaces = slices.Clone(s.Interfaces)
		for j := range s.Interfaces {
			if f := &s.Interfaces[j]; moves(*f) {
				host.Interfaces = append(host.Interfaces, Iface{Name: f.Peer.Interface, Master: f.PeerMaster})
				f.PeerMaster = ""
			}
		}
	}
	return &w
}
