//go:build linux

package osltest

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// linkValues are what a link of each type may be, at the borders of its fields.
func linkValues() map[string][]osl.InterfaceSpec {
	type s = osl.InterfaceSpec
	a := netip.MustParseAddr
	far := osl.Endpoint{Sandbox: osl.HostName, Interface: "far0"}
	all := func(list ...netip.Addr) []netip.Addr { return list }
	v4, o4, v6, o6 := a("192.0.2.2"), a("192.0.2.3"), a("2001:db8::2"), a("2001:db8::3")
	here4, here6 := a("192.0.2.1"), a("2001:db8::1")
	m := map[string][]s{
		"dummy": {{}, {MTU: 68}, {MAC: osl.MAC{2, 0, 0, 0, 0, 9}}}, "vcan": {{MTU: 72}, {MTU: 16}, {MTU: 2060}},
		"ifb":    {{}, {NumTxQueues: 2}, {NumRxQueues: 4096}, {MAC: osl.MAC{2, 0, 0, 0, 0, 9}}},
		"bridge": {{}, {MTU: 68}, {MTU: 65535}, {Bridge: &osl.BridgeSpec{STP: yes()}}, {Bridge: &osl.BridgeSpec{STP: no(), ForwardDelay: dur("0s")}}},
		"veth":   {{Peer: far}, {Peer: far, NumTxQueues: 3}, {Peer: far, MTU: 65535}, {Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "far1"}}},
		"netkit": {{Peer: far}, {Peer: far, Mode: "l2"}, {Peer: far, Policy: "blackhole"}, {Peer: far, PeerPolicy: "blackhole"}},
		"tap":    {{}, {Owner: id(0)}, {OwnerGroup: id(0)}, {MultiQueue: true}, {VNetHdr: true}}, "tun": {{}, {Owner: id(0), MultiQueue: true}},
		"vrf":  {{Table: 1}, {Table: 253}, {Table: 256}, {Table: 1<<31 - 1}},
		"bond": {{}, {Mode: "active-backup"}, {Mode: "802.3ad", MIIMon: 1}, {MIIMon: 1<<31 - 1}, {Mode: "balance-alb"}},
		"vlan": {{VLAN: 1}, {VLAN: 4094}, {VLAN: 1, Protocol: "802.1ad"}, {VLAN: 1, EgressQoSMap: map[string]string{"0": "7", "4294967295": "1"}},
			{VLAN: 1, EgressQoSMap: map[string]string{"1": "1"}, IngressQoSMap: map[string]string{"0": "4294967295", "7": "1"}}},
		"vxlan": {{}, {MTU: 1300}, {Remote: v4}, {Remote: o4, TTL: 255, TOS: 255}, {Remote: v6}, {Local: here4}, {Local: here6}, {Local: here4, Remote: v4}, {Local: here6, Remote: v6},
			{Remotes: all(v4, o4)}, {Remotes: all(o4)}, {Local: here6, Remotes: all(v6, o6)}, {Parent: "up", Remote: v6}, {Parent: "up", Remote: a("239.1.1.1")},
			{Parent: "up", Remote: a("ff05::5"), Learning: no()}, {Port: 1}, {VNI: 1<<24 - 1, Port: 65535}},
		"geneve": {{Remote: v4}, {Remote: o4, TTL: 255}, {Remote: v6, TOS: 255}, {Remote: o6}, {Remote: v4, MTU: 1300}, {Remote: v4, Port: 1}, {Remote: v6, VNI: 1<<24 - 1, Port: 65535}},
	}
	for _, kind := range []string{"macvlan", "macvtap"} {
		m[kind] = []s{{}, {Mode: "private"}, {Mode: "vepa"}}
	}
	for _, kind := range []string{"ipvlan", "ipvtap"} {
		m[kind] = []s{{}, {Mode: "l2"}, {Mode: "l3", Flags: "private"}, {Mode: "l2", Flags: "vepa"}}
	}
	for _, kind := range []string{"gre", "gretap", "ip6gre", "ip6gretap", "ipip", "sit"} {
		here, there, other := here4, v4, o4
		if kind == "ip6gre" || kind == "ip6gretap" {
			here, there, other = here6, v6, o6
		}
		m[kind] = []s{{Remote: there}, {Remote: there, MTU: 1300}, {Remote: other, TTL: 255}, {Local: here, Remote: there, TOS: 255}, {Local: here, Remote: there, Parent: "up"}}
		if kind != "gretap" && kind != "ip6gretap" {
			m[kind] = append(m[kind], s{Local: here})
		}
		if kind != "ipip" && kind != "sit" {
			m[kind] = append(m[kind], s{Remote: there, Key: 1}, s{Remote: there, Key: 2, MTU: 1300}, s{Remote: there, Key: 1<<31 - 1})
		}
	}
	for kind, list := range m {
		for i := range list {
			x := &list[i]
			x.Name, x.Type = "k0", kind
			if x.VNI == 0 && (kind == "vxlan" || kind == "geneve") {
				x.VNI = 44
			}
			if slices.Contains([]string{"vlan", "macvlan", "macvtap", "ipvlan", "ipvtap"}, kind) {
				x.Parent = "up"
			}
		}
	}
	return m
}

// eachToEach applies each of several networks after each other one, and demands that it goes
// up and that nothing is left to do then.
func eachToEach(t *testing.T, list []osl.Network) {
	t.Helper()
	show := func(n osl.Network) string {
		text, err := json.Marshal(n.Sandboxes[0].Interfaces[0])
		must(t, err)
		return string(text)
	}
	to := func(n osl.Network, from string) {
		t.Helper()
		_, err := osl.Apply(t.Context(), n)
		left, derr := osl.Diff(t.Context(), n)
		if err != nil || derr != nil || len(left) > 0 {
			t.Errorf("from %s\nto %s: %v\nDiff after it: %v\n%v", from, show(n), err, derr, left)
		}
	}
	for i, n := range list {
		to(n, "another")
		for j, o := range list {
			if j > i {
				to(o, show(n))
				to(n, show(o))
			}
		}
	}
}

// TestFeatureLinkPairs changes a link of each type from each value to each other, and links
// of all types that the kernel has into each other.
func TestFeatureLinkPairs(t *testing.T) {
	var every []osl.Network
	for kind, specs := range linkValues() {
		t.Run(kind, func(t *testing.T) {
			if kind == "tun" || kind == "tap" {
				testnet.NeedTun(t)
			}
			begin(t)
			key := newKey()
			if testing.Short() {
				specs = specs[:min(len(specs), 5)]
			}
			var list []osl.Network
			for _, s := range specs {
				n := labOf(key, linkCase{spec: s, noIP: kind == "vcan"})
				list = append(list, n)
			}
			_, err := osl.Apply(t.Context(), list[0])
			testnet.Feature(t, "link "+kind, err)
			defer func() { _, err := osl.Down(t.Context(), list[0]); must(t, err) }()
			if kind != "ipvlan" && kind != "ipvtap" { // which no parent has beside a macvlan
				every = append(every, list[0])
			}
			eachToEach(t, list)
		})
	}
	t.Run("types", func(t *testing.T) {
		begin(t)
		key := newKey()
		for i := range every {
			every[i].Sandboxes[0].Name = key
		}
		eachToEach(t, every)
		_, err := osl.Down(t.Context(), every[0])
		must(t, err)
		if _, err := osl.Open(t.Context(), key); !errors.Is(err, osl.ErrNotFound) {
			t.Errorf("after Down: %v", err)
		}
	})
	// The host's end has an entry of its own, and is a link of another type by and by.
	t.Run("ends on the host", func(t *testing.T) {
		begin(t)
		key, far := newKey(), name("f")
		var list []osl.Network
		for kind, mode := range map[string]string{"veth": "", "netkit": "l2"} {
			end := osl.Endpoint{Sandbox: osl.HostName, Interface: far}
			n := osl.Network{Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{{Name: "k0", Type: kind, Mode: mode, Peer: end}}},
				{Name: osl.HostName, Interfaces: []osl.InterfaceSpec{{Name: far, Type: kind, Mode: mode, MTU: 1400, Addresses: nets("10.98.0.1/24")}}}}}
			bridge := osl.Network{Name: n.Name, Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{{Name: "k0", Type: kind, Mode: mode,
				Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: far + "p"}}}},
				{Name: osl.HostName, Interfaces: []osl.InterfaceSpec{{Name: far, Type: "bridge", Addresses: nets("10.98.0.1/24")}, {Name: far + "p", Master: far}}}}}
			if kind == "netkit" && !slices.ContainsFunc(every, func(n osl.Network) bool { return n.Sandboxes[0].Interfaces[0].Type == kind }) {
				continue // the kernel has none
			}
			list = append(list, n, bridge)
		}
		for i := range list {
			list[i].Name = "ends"
		}
		eachToEach(t, list)
		_, err := osl.Down(t.Context(), list[0])
		must(t, err)
	})
}
