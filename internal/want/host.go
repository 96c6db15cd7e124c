package want

import (
	"slices"
	"strconv"
	"strings"

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
		return bad(map[bool]string{true: "gateway", false: "gateway6"}[s.Gateway.IsValid()], "", "the host's gateway is not osl's")
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
	for i, r := range s.Routes {
		if !made[r.Dev] {
			return bad("routes", strconv.Itoa(i), "a route of the host needs a dev that osl makes there")
		}
	}
	for i, n := range s.Neighbors {
		if !made[n.Dev] {
			return bad("neighbors", strconv.Itoa(i), "a neighbor of the host needs a dev that osl makes there")
		}
	}
	return nil
}

// endsOnHost returns the network with those ends of its links on the host among the
// host's interfaces on which something of it depends: that they are ports of a bridge
// that it makes there, or that another interface is made on them.
func (net *Network) endsOnHost() *Network {
	at := slices.IndexFunc(net.Sandboxes, func(s Sandbox) bool { return s.Name == HostName })
	if net.Host || net.Name == "" {
		return net
	}
	w := *net
	w.Sandboxes = slices.Clone(net.Sandboxes)
	host := Sandbox{Name: HostName}
	if at >= 0 {
		host = w.Sandboxes[at]
	}
	host.Interfaces = slices.Clip(host.Interfaces)
	made, parents := map[string]bool{}, map[string]bool{}
	for _, f := range host.Interfaces {
		made[f.Name] = true
	}
	for i := range w.Sandboxes {
		for _, f := range w.Sandboxes[i].Interfaces {
			if name, onHost := strings.CutPrefix(f.Parent, HostName+"/"); onHost {
				parents[name] = true
			}
		}
	}
	for i := range w.Sandboxes {
		s := &w.Sandboxes[i]
		moves := func(f Iface) bool {
			return f.Peer.Sandbox == HostName && !made[f.Peer.Interface] && (made[f.PeerMaster] || f.PeerMaster == "" && parents[f.Peer.Interface])
		}
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
	for _, l := range net.Links {
		for _, e := range l {
			if e.Sandbox == HostName && parents[e.Interface] && !slices.ContainsFunc(host.Interfaces, func(f Iface) bool { return f.Name == e.Interface }) {
				host.Interfaces = append(host.Interfaces, Iface{Name: e.Interface})
			}
		}
	}
	switch {
	case at >= 0:
		w.Sandboxes[at] = host
	case len(host.Interfaces) > 0:
		w.Sandboxes = append(w.Sandboxes, host)
	}
	return &w
}
