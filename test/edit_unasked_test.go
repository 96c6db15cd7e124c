//go:build linux

package osltest

import (
	"cmp"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl"
)

// unasked are the settings that an interface of the model does not say, with what the
// kernel gives a new link, whatever the networks before said of it.
func unasked(f osl.InterfaceSpec, all []osl.InterfaceSpec) map[string]any {
	kind, queue := cmp.Or(f.Type, "veth"), 1000
	switch kind {
	case "tun", "macvtap", "ipvtap":
		queue = 500
	case "ifb":
		queue = 32
	}
	arpBy := kind
	for o := f; o.Type == "vlan"; { // which has its parent's
		o = interfaceIn(all, o.Parent)
		arpBy = cmp.Or(o.Type, "veth")
	}
	usual := map[string]any{"group": 0, "promisc": false, "allmulti": false, "txqueuelen": queue,
		"arp": !slices.Contains([]string{"dummy", "ifb", "tun", "wireguard", "vrf", "netkit", "vcan", "ipvlan", "ipvtap", "gre", "ip6gre", "ipip", "sit"}, arpBy)}
	if f.Mode == "l2" || f.Down && strings.HasPrefix(kind, "ipv") {
		delete(usual, "arp") // on in this mode, which is not the usual one, and until it is up
	}
	if f.Parent == "" {
		usual["gro_max_size"] = 65536
	}
	if kind == "bridge" && (f.Bridge == nil || value(f.Bridge.STP) != true) {
		usual["snooping"], usual["ageing"], usual["hello"] = true, 30000, 200
	}
	if isPort(f, all) {
		for what, v := range map[string]bool{"learning": true, "flood": true, "isolated": false, "hairpin": false, "guard": false,
			"root_block": false, "fastleave": false, "neigh_suppress": false} {
			usual[what] = v
		}
	}
	for what, v := range settingsOf(f) {
		if v != nil && v != 0 && v != "" || what == "group" && f.Group != nil || what == "gro_max_size" && f.GROMaxSize != 0 {
			delete(usual, what)
		}
	}
	return usual
}

// hasOffloads reports whether the model has offloads of an interface, and looks at them.
func hasOffloads(f osl.InterfaceSpec) bool {
	return f.Source == "" && (f.Type == "" || f.Type == "veth" || f.Type == "vxlan")
}

// isPort reports whether an interface of the model is a port of a bridge.
func isPort(f osl.InterfaceSpec, all []osl.InterfaceSpec) bool {
	return interfaceIn(all, f.Master).Type == "bridge"
}
