//go:build linux

package osltest

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed59451c2b/osl"
)

// A network that is edited at random, again and again: each time it goes up,
// and then there is nothing to change, and the kernel has what it says. Edits
// between, which fail, leave it as it is.
func TestEdits(t *testing.T) {
	begin(t)
	has := probe(t)
	anyInput(t, 12, func(r *rapid.T) {
		d := drawer{T: r, kinds: has.kinds, rates: has.rates}
		first := everywhere(t)
		defer d.takesBack(t, first, everywhere)
		var last osl.Network
		e := edits{look: everySnapshot, draw: d.network, holds: func(n osl.Network) { d.stands(t, n); last = n },
			strangers: func(n osl.Network) func() { return d.strangers(t, n) }}
		for range 4 {
			d.edit(t, e)
		}
		d.likeNew(t, last)
	})
}

// stands compares a network with what the kernel has.
func (r *drawer) stands(t *testing.T, n osl.Network) {
	asRead(r.T, n)
	if got, want := standing(t, n), described(n); !maps.Equal(got, want) {
		for line := range want {
			if !got[line] {
				r.Errorf("the kernel does not have: %s", line)
			}
		}
		for line := range got {
			if !want[line] {
				r.Errorf("the kernel has: %s", line)
			}
		}
		r.FailNow()
	}
}

// network draws a network that can be built.
func (r *drawer) network() osl.Network {
	n := osl.Network{Name: "lab", Segments: []osl.SegmentSpec{{Name: "blue", Subnet: []netip.Prefix{netip.MustParsePrefix("10.77.0.0/24")}}, {Name: "green"}}}
	far := []string{"f0", "f1", "f2"}
	var open []osl.Endpoint // ends of links that wait for another
	for _, name := range []string{"sa", "sb", "sc"} {
		if !r.sometimes(name, 2) {
			continue
		}
		s := osl.Spec{Name: name}
		subnets := rapid.Permutation([]int{1, 2, 3, 4, 5}).Draw(r.T, "subnets")
		ports := rapid.Permutation([]int{51820, 51821, 51822, 51823}).Draw(r.T, "ports")
		parents := []string{}
		for i, dev := range []string{"e0", "e1", "e2", "e3"} {
			f := osl.InterfaceSpec{Name: dev}
			kind := draw(r, "kind of "+dev, append([]string{"none", "host", "link", "segment", "segment"}, r.kinds...)...)
			switch {
			case kind == "none":
				continue
			case kind == "host" && len(far) > 0:
				f.Type, f.Peer = "veth", osl.Endpoint{Sandbox: osl.HostName, Interface: far[0]}
				far = far[1:]
				f.NumTxQueues, f.NumRxQueues = draw(r, "numtxqueues", 0, 0, 2), draw(r, "numrxqueues", 0, 0, 3)
			case kind == "link":
				open = append(open, osl.Endpoint{Sandbox: name, Interface: dev})
			case kind == "segment":
				f.Segment = draw(r, "segment", "blue", "green")
				if slices.ContainsFunc(s.Interfaces, func(o osl.InterfaceSpec) bool { return o.Segment == "blue" }) {
					f.Segment = "green" // one sandbox has one address of a subnet
				}
			case slices.Contains(tunnels, kind):
				r.tunnel(&f, kind, i, s.Interfaces)
			case (kind == "macvlan" || kind == "macvtap") && len(without(parents, s.Interfaces, "ipv")) > 0:
				f.Type, f.Parent, f.Mode = kind, draw(r, "parent", without(parents, s.Interfaces, "ipv")...), draw(r, "mode", "bridge", "private", "vepa")
			case (kind == "ipvlan" || kind == "ipvtap") && len(without(parents, s.Interfaces, "macv")) > 0:
				r.ipvlan(&f, kind, without(parents, s.Interfaces, "macv"), s.Interfaces)
			case kind == "vlan" && len(parents) > 0:
				f.Type, f.Parent, f.VLAN = kind, draw(r, "parent", parents...), 10*i+rapid.IntRange(1, 2).Draw(r.T, "tag")
				f.Down = slices.ContainsFunc(s.Interfaces, func(o osl.InterfaceSpec) bool { return o.Name == f.Parent && o.Down })
				f.Protocol = draw(r, "protocol", "", "802.1Q", "802.1ad")
				f.IngressQoSMap, f.EgressQoSMap = r.qos("ingress_qos_map"), r.qos("egress_qos_map")
			case kind == "wireguard":
				f.Type, f.WireGuard = kind, r.wireguard(ports[i])
			case kind == "vrf" || kind == "bond":
				r.kind(&f, kind, i)
			case kind == "netkit" && len(far) > 0:
				r.kind(&f, kind, i)
				f.Peer = osl.Endpoint{Sandbox: osl.HostName, Interface: far[0]}
				far = far[1:]
			case kind == "ifb" || kind == "tun" || kind == "tap" || kind == "dummy" || kind == "vcan":
				r.plain(&f, kind)
			default:
				f.Type = "bridge"
			}
			f.Down = f.Down || r.sometimes("down", 6)
			if f.Type == "bridge" || f.Type == "dummy" || f.Type == "vlan" || f.Type == "bond" || f.Type == "veth" {
				parents = append(parents, dev)
			}
			for _, host := range rapid.SliceOfNDistinct(rapid.IntRange(1, 4), 0, 3, rapid.ID).Draw(r.T, "addresses") {
				p := netip.MustParsePrefix(fmt.Sprintf("10.%d.0.%d/24", subnets[i], host))
				if r.sometimes("alias", 2) {
					f.Aliases = append(f.Aliases, p)
				} else {
					f.Addresses = append(f.Addresses, p)
				}
			}
			if f.SharedSubnet = r.sometimes("shared_subnet", 4); f.SharedSubnet {
				f.Addresses = append(f.Addresses, netip.MustParsePrefix(fmt.Sprintf("10.6.0.%d/24", i+1)))
			}
			if r.sometimes("IPv6", 2) {
				f.Addresses = append(f.Addresses, netip.MustParsePrefix(fmt.Sprintf("fd0%d::1/64", subnets[i])))
				f.IPv6 = draw(r, "ipv6", "", "link-local", "auto")
			} else {
				f.IPv6 = draw(r, "ipv6", "", "off", "link-local", "auto")
			}
			if !f.Down && r.sometimes("route", 2) {
				f.Routes = append(f.Routes, netip.MustParsePrefix(fmt.Sprintf("172.20.%d.0/24", i)))
			}
			r.allowed(&f)
			r.addressOptions(&f)
			r.settings(&f)
			r.offloads(&f)
			if r.rates && r.sometimes("rate of "+dev, 2) {
				f.Impair = &osl.ImpairSpec{Rate: osl.Rate(8000 * rapid.IntRange(1, 3).Draw(r.T, "rate"))}
			}
			if slices.Contains(r.kinds, "netem") && r.sometimes("netem", 3) {
				f.Impair = r.netem()
			}
			s.Interfaces = append(s.Interfaces, f)
		}
		s.Sysctls = map[string]string{}
		for _, x := range [][]string{{"ipv4.conf.all.promote_secondaries", "", "0", "1"}, {"ipv4.tcp_ecn", "", "", "1"}, {"ipv4.ip_forward", "", "", "1"}} {
			if v := draw(r, x[0], x[1:]...); v != "" {
				s.Sysctls[x[0]] = v
			}
		}
		n.Sandboxes = append(n.Sandboxes, s)
	}
	open = rapid.Permutation(open).Draw(r.T, "order of links")
	for len(open) > 1 {
		n.Links = append(n.Links, osl.Link{open[0], open[1]})
		open = open[2:]
	}
	r.netkits(&n)
	for i := range n.Sandboxes {
		s := &n.Sandboxes[i]
		s.Interfaces = slices.DeleteFunc(s.Interfaces, func(f osl.InterfaceSpec) bool {
			return len(open) > 0 && open[0] == osl.Endpoint{Sandbox: s.Name, Interface: f.Name} // without another end
		})
		r.furnish(s)
	}
	return n
}

// spoil makes the kernel refuse a network, early or late.
func (r *drawer) spoil(n *osl.Network) bool {
	if len(n.Sandboxes) == 0 {
		return false
	}
	s := &n.Sandboxes[rapid.IntRange(0, len(n.Sandboxes)-1).Draw(r.T, "fails")]
	how := draw(r, "how", "route", "source", "name", "last", "last")
	if how == "last" { // when all else is done
		n.Sandboxes = append(n.Sandboxes, osl.Spec{Name: "sz"})
		s = &n.Sandboxes[len(n.Sandboxes)-1]
	}
	switch how {
	case "route", "last":
		refusedRoute(s)
	case "source": // which it does not have
		s.Interfaces = append(s.Interfaces, osl.InterfaceSpec{Name: "up0", Type: "bridge"})
		s.Routes = append(s.Routes, osl.RouteSpec{To: netip.MustParsePrefix("10.250.0.0/16"), Dev: "up0", Src: netip.MustParseAddr("10.251.0.1")})
	default: // which lo has
		s.Interfaces = append(s.Interfaces, osl.InterfaceSpec{Name: "up0", Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "lo"}})
	}
	return true
}
