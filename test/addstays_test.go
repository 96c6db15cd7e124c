//go:build linux

package osltest

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/seed59451c2b/osl"
)

// What an interface has stays with it when Add gives it an address: all of it, of whatever
// sort, and what others gave it.
func TestAddLeavesTheRest(t *testing.T) {
	w := begin(t)
	yes, no, seven := true, false, 7
	six := netip.MustParsePrefix("2001:db8:5::1/64")
	ofAll := map[string]func(s *osl.Spec){
		"the sandbox's sysctls": func(s *osl.Spec) {
			s.Sysctls = map[string]string{"ipv4.ip_forward": "1", "ipv6.conf.default.accept_ra": "0"}
		},
		"labels": func(s *osl.Spec) { s.Labels = map[string]string{"a": "b"} },
		"a gateway": func(s *osl.Spec) {
			s.Interfaces[0].Addresses, s.Gateway = []netip.Prefix{netip.MustParsePrefix("10.7.0.1/24")}, netip.MustParseAddr("10.7.0.2")
		},
		"routes of all kinds": func(s *osl.Spec) {
			s.Interfaces[0].Addresses = []netip.Prefix{netip.MustParsePrefix("10.7.0.1/24"), six}
			s.Routes = []osl.RouteSpec{{To: netip.MustParsePrefix("192.0.2.0/24"), Via: netip.MustParseAddr("10.7.0.2")}, {To: netip.MustParsePrefix("2001:db8:7::/64"), Dev: "e0"},
				{To: netip.MustParsePrefix("203.0.113.0/24"), Type: "blackhole"}, {To: netip.MustParsePrefix("192.0.2.0/24"), Nexthop: 7, Table: 9}}
			s.Nexthops = []osl.NexthopSpec{{ID: 7, Via: netip.MustParseAddr("10.7.0.3"), Dev: "e0"}}
			s.Rules = []osl.RuleSpec{{Priority: 100, From: netip.MustParsePrefix("10.7.0.0/24"), Table: 9}}
			s.Neighbors = []osl.NeighborSpec{{IP: netip.MustParseAddr("10.7.0.2"), MAC: osl.MAC{2, 0, 0, 0, 0, 1}, Dev: "e0"}}
		},
		"lo": func(s *osl.Spec) {
			s.Interfaces = append(s.Interfaces, osl.InterfaceSpec{Name: "lo", Addresses: []netip.Prefix{netip.MustParsePrefix("10.255.0.1/32")}, Sysctls: map[string]string{"ipv4.accept_local": "1"}})
		},
	}
	for what, set := range map[string]func(f *osl.InterfaceSpec){
		"nothing":           func(*osl.InterfaceSpec) {},
		"an IPv6 address":   func(f *osl.InterfaceSpec) { f.Addresses = []netip.Prefix{six} },
		"an IPv6 alias":     func(f *osl.InterfaceSpec) { f.Aliases = []netip.Prefix{six} },
		"IPv6 of a router":  func(f *osl.InterfaceSpec) { f.IPv6 = "auto" },
		"IPv6, link-local":  func(f *osl.InterfaceSpec) { f.IPv6 = "link-local" },
		"addrgenmode":       func(f *osl.InterfaceSpec) { f.IPv6, f.AddrGenMode = "link-local", "none" },
		"mac":               func(f *osl.InterfaceSpec) { f.MAC = osl.MAC{2, 0, 0, 0, 0, 9} },
		"mtu":               func(f *osl.InterfaceSpec) { f.MTU = 1400 },
		"txqueuelen":        func(f *osl.InterfaceSpec) { f.TxQueueLen = &seven },
		"altnames":          func(f *osl.InterfaceSpec) { f.AltNames = []string{"another"} },
		"group":             func(f *osl.InterfaceSpec) { f.Group = &seven },
		"promisc":           func(f *osl.InterfaceSpec) { f.Promisc = &yes },
		"allmulticast":      func(f *osl.InterfaceSpec) { f.AllMulticast = &yes },
		"arp":               func(f *osl.InterfaceSpec) { f.ARP = &no },
		"gso_max_size":      func(f *osl.InterfaceSpec) { f.GSOMaxSize = 20000 },
		"a master":          func(f *osl.InterfaceSpec) { f.Master = "br0" },
		"a port's settings": func(f *osl.InterfaceSpec) { f.Master, f.BridgePort = "br0", &osl.BridgePortSpec{Hairpin: &yes} },
		"routes":            func(f *osl.InterfaceSpec) { f.Routes = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")} },
		"a sysctl":          func(f *osl.InterfaceSpec) { f.Sysctls = map[string]string{"ipv4.rp_filter": "2"} },
		"a sysctl of IPv6":  func(f *osl.InterfaceSpec) { f.Sysctls = map[string]string{"ipv6.disable_ipv6": "0"} },
		"offloads":          func(f *osl.InterfaceSpec) { f.Offloads = map[string]bool{"tx-checksum-ip-generic": false} },
		"arp for a VIP":     func(f *osl.InterfaceSpec) { f.DisableARPForVIP = true },
		"a note":            func(f *osl.InterfaceSpec) { f.Note = "mine" },
		"address options": func(f *osl.InterfaceSpec) {
			p := netip.MustParsePrefix("10.7.0.1/24")
			f.Addresses, f.AddressOptions = []netip.Prefix{p}, map[netip.Prefix]osl.AddressOptions{p: {NoPrefixRoute: true}}
		},
	} {
		ofAll[what] = func(s *osl.Spec) { set(&s.Interfaces[0]) }
	}
	for what, set := range ofAll {
		t.Run(what, func(t *testing.T) {
			sb := w.sandbox()
			n, err := osl.Open(t.Context(), sb.Key())
			must(t, err)
			defer n.Close()
			s := osl.Spec{Name: sb.Key(), Interfaces: []osl.InterfaceSpec{{Name: "e0"}, {Name: "br0", Type: "bridge"}}}
			set(&s)
			_, err = osl.Apply(t.Context(), osl.Network{
				Sandboxes: []osl.Spec{s},
				Links:     []osl.Link{{{Sandbox: sb.Key(), Interface: "e0"}, {Sandbox: sb.Key(), Interface: "e1"}}},
			})
			must(t, err)
			before := specNow(t, n)
			p := netip.MustParsePrefix("10.9.0.1/24")
			must(t, osl.Add(t.Context(), osl.Network{Sandboxes: []osl.Spec{{Name: sb.Key(), Interfaces: []osl.InterfaceSpec{{Name: "e0", Aliases: []netip.Prefix{p}}}}}}))
			after := specNow(t, n)
			e0 := &after.Interfaces[slices.IndexFunc(after.Interfaces, func(f osl.InterfaceSpec) bool { return f.Name == "e0" })]
			at := slices.Index(e0.Aliases, p)
			if at < 0 {
				t.Fatalf("the address is not there: %+v", e0)
			}
			if e0.Aliases = slices.Delete(e0.Aliases, at, at+1); len(e0.Aliases) == 0 {
				e0.Aliases = nil
			}
			if !reflect.DeepEqual(after, before) {
				was, _ := json.Marshal(before)
				is, _ := json.Marshal(after)
				t.Errorf("there was\n%s\nand is\n%s", was, is)
			}
		})
	}
}

func specNow(t *testing.T, n *osl.Namespace) osl.Spec {
	t.Helper()
	s, err := n.Spec(t.Context())
	must(t, err)
	return s
}

// So it is with what others made: whatever Add says of a link, what it does not say stays,
// and all of it where the call fails.
func TestAddLeavesWhatOthersHave(t *testing.T) {
	w := begin(t)
	yes := true
	for what, f := range map[string]osl.InterfaceSpec{
		"mtu":         {MTU: 1400},
		"note":        {Note: "x"},
		"an address":  {Aliases: []netip.Prefix{netip.MustParsePrefix("10.1.1.1/24")}},
		"promisc":     {Promisc: &yes},
		"a small mtu": {MTU: 1000},
		"down":        {Down: true},
		"a master":    {Master: "br0"},
		"no IPv6":     {IPv6: "off"},
	} {
		t.Run(what, func(t *testing.T) {
			sb := w.sandbox()
			n, err := osl.Open(t.Context(), sb.Key())
			must(t, err)
			defer n.Close()
			run := func(line string) string {
				out, err := n.Command(t.Context(), "sh", "-ec", line).CombinedOutput()
				if err != nil {
					t.Fatalf("%s: %v: %s", line, err, out)
				}
				return string(out)
			}
			run(`ip link add br0 type bridge
ip link set br0 up
ip link add d0 type veth peer name d1
sysctl -qw net.ipv6.conf.d0.disable_ipv6=0
ip addr add 2001:db8::1/64 dev d0 nodad
ip addr add 192.0.2.1/24 dev d0
ip link set d0 up
ip link set d1 up
ip route add 2001:db8:9::/64 via 2001:db8::9
ip route add 198.51.100.0/24 via 192.0.2.9`)
			look := func() []string {
				return []string{run(`ip -o link show d0 | sed 's/[\\].*//; s/^[0-9]*: //'; ip -o addr show dev d0 scope global | sed 's/^[0-9]*: //'; ip route show dev d0; ip -6 route show dev d0 | grep -v fe80; cat /proc/sys/net/ipv6/conf/d0/disable_ipv6`)}
			}
			before := look()
			bad := f
			bad.Name, bad.Sysctls = "d0", map[string]string{"ipv4.arp_ignore": "x"}
			if err := osl.Add(t.Context(), osl.Network{Sandboxes: []osl.Spec{{Name: sb.Key(), Interfaces: []osl.InterfaceSpec{bad}}}}); err == nil {
				t.Error("a setting that there is not succeeds")
			}
			same(t, "after a call that failed", before, look)
			switch what {
			case "a small mtu", "down", "a master", "no IPv6":
				return // of which is asked for what is lost
			}
			f.Name = "d0"
			must(t, osl.Add(t.Context(), osl.Network{Sandboxes: []osl.Spec{{Name: sb.Key(), Interfaces: []osl.InterfaceSpec{f}}}}))
			run("ip link set d0 mtu 1500 promisc off; ip addr del 10.1.1.1/24 dev d0 2>/dev/null || :")
			same(t, "after the call", before, look)
		})
	}
}
