package stand

import (
	"slices"

	"github.com/seed59451c2b/osl/internal/want"
)

// Connect makes links of the pairs of a network that have both ends in its sandboxes, and
// leaves the other ends as they are.
func Connect(net *want.Network) {
	link(net)
	unplug(net)
}

// Alone leaves the interfaces of a sandbox as they are that have their other end in
// another one.
func Alone(s want.Sandbox) want.Sandbox {
	for i := range s.Interfaces {
		if x := &s.Interfaces[i]; x.Peer != (want.Endpoint{}) && x.Peer.Sandbox != want.HostName {
			keep(x)
		}
	}
	return s
}

// Named returns the sandbox with a name, nil if the network lists none.
func Named(net *want.Network, name string) *want.Sandbox {
	for i := range net.Sandboxes {
		if net.Sandboxes[i].Name == name {
			return &net.Sandboxes[i]
		}
	}
	return nil
}

// link makes links of the veths that have both ends in the network.
func link(net *want.Network) {
	for i := range net.Sandboxes {
		s := &net.Sandboxes[i]
		for j := range s.Interfaces {
			x, at := &s.Interfaces[j], want.Endpoint{Sandbox: s.Name, Interface: s.Interfaces[j].Name}
			var other *want.Iface
			if o := Named(net, x.Peer.Sandbox); o != nil && x.Type == "veth" {
				if k := slices.IndexFunc(o.Interfaces, func(y want.Iface) bool { return y.Name == x.Peer.Interface }); k >= 0 {
					other = &o.Interfaces[k]
				}
			}
			if other == nil || other.Peer != at && x.Peer.Sandbox != want.HostName {
				continue
			}
			net.Links = append(net.Links, want.Link{at, x.Peer})
			if other.Master != "" {
				x.PeerMaster = ""
			}
			x.Peer, other.Peer = want.Endpoint{}, want.Endpoint{}
			for _, end := range []*want.Iface{x, other} {
				if end.Kind.NumTxQueues == 0 && end.Kind.NumRxQueues == 0 { // which only a type can have
					end.Type = ""
				}
			}
		}
	}
}

// unplug leaves the ends of links as they are whose other end is in none of the
// network's sandboxes, or says so already.
func unplug(net *want.Network) {
	said := map[want.Endpoint]bool{}
	for i := range net.Sandboxes {
		s := &net.Sandboxes[i]
		for j := range s.Interfaces {
			x := &s.Interfaces[j]
			if x.Peer == (want.Endpoint{}) || x.Peer.Sandbox == want.HostName {
				continue
			}
			peer := x.Peer
			if Named(net, peer.Sandbox) == nil || said[want.Endpoint{Sandbox: s.Name, Interface: x.Name}] {
				keep(x)
			}
			said[peer] = true
		}
	}
}

// keep leaves out what makes an interface of its type.
func keep(x *want.Iface) {
	x.Type, x.Peer = "", want.Endpoint{}
	k := &x.Kind
	k.Mode, k.Policy, k.PeerPolicy, k.NumTxQueues, k.NumRxQueues = "", "", "", 0, 0
}
