package want

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/wgkey"
	"github.com/seed59451c2b/osl/internal/where"
)

// The policy gives what osl makes a hardware address by its name, and what has none of its own
// none: what a file says by default holds for all.
func TestMACPolicy(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 7}
	of := func(f Iface) Iface { f.MACPolicy = "persistent"; return f }
	n := Network{Name: "lab", Sandboxes: []Sandbox{
		{Name: "a", Interfaces: []Iface{of(Iface{Name: "br", Type: "bridge"}), of(Iface{Name: "said", Type: "bridge", MAC: mac}), {Name: "left", Type: "bridge", MACPolicy: "none"},
			of(Iface{Name: "v", Type: "vlan", Parent: "br", Kind: Kind{VLAN: 7}}), of(Iface{Name: "mv", Type: "macvlan", Parent: "br"}),
			of(Iface{Name: "pass", Type: "macvlan", Parent: "br", Kind: Kind{Mode: "passthru"}}), of(Iface{Name: "ipv", Type: "ipvlan", Parent: "said"}),
			of(Iface{Name: "tun", Type: "tun"}), of(Iface{Name: "wg", Type: "wireguard"}), of(Iface{Name: "eno", Source: "eno1"}),
			of(Iface{Name: "bond", Type: "bond"}), of(Iface{Name: "port", Master: "bond"}), of(Iface{Name: "l3"}),
			of(Iface{Name: "seg", Segment: "blue"}), of(Iface{Name: "up"})}},
		{Name: "b", Interfaces: []Iface{of(Iface{Name: "port"}), of(Iface{Name: "l3", Type: "netkit", Kind: Kind{Mode: "l3"}})}},
		{Name: HostName, Interfaces: []Iface{of(Iface{Name: "down"})}},
	}, Links: []Link{{{"a", "port"}, {"b", "port"}}, {{"b", "l3"}, {"a", "l3"}}, {{"a", "up"}, {HostName, "down"}}}}
	n.Sandboxes[0].Interfaces[8].WireGuard = &WireGuard{PrivateKey: wgkey.NewSecret([32]byte{1})}
	w, err := n.Plan(keys)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range w {
		for _, f := range s.Ifaces {
			got[keys.Name(s.Key)+"/"+f.Name] = f.MAC.String()
		}
	}
	for name, want := range map[string]string{"a/br": "aa:84:2e:59:27:16", "a/said": mac.String(), "a/left": "", "a/v": "", "a/pass": "", "a/ipv": "", "a/tun": "", "a/wg": "", "a/eno": "",
		"a/port": "", "a/l3": "", "b/l3": ""} {
		if got[name] != want {
			t.Errorf("%s has %s, not %q", name, got[name], want)
		}
	}
	all := map[string]string{}
	for _, name := range []string{"a/br", "a/mv", "a/bond", "a/seg", "a/up", "b/port", keys.Name(plan.HostNS) + "/down"} {
		m, _ := net.ParseMAC(got[name])
		if all[got[name]] != "" || len(m) != 6 || m[0]&3 != 2 {
			t.Errorf("%s has %s, as %q", name, got[name], all[got[name]])
		}
		all[got[name]] = name
	}
	n.Name = ""
	n.Sandboxes = []Sandbox{{Name: "a", Interfaces: []Iface{of(Iface{Name: "br", Type: "bridge"})}}}
	n.Links = nil
	for text, n := range map[string]Network{"that has none": n, `did you mean "persistent"`: {Name: "lab", Sandboxes: []Sandbox{{Name: "a", Interfaces: []Iface{{Name: "br", Type: "bridge", MACPolicy: "presistent"}}}}}} {
		_, err := n.Plan(keys)
		if field, _ := where.Of(err); field != "mac_policy" || !errors.Is(err, fault.ErrInvalid) || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
