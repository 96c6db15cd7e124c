//go:build linux

package osltest

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// linkCase is a type of link: as it is made, and as it is changed.
type linkCase struct {
	feature string
	spec    osl.InterfaceSpec
	// want are words of "ip -d link show" of what spec makes; "" for a kind that ip
	// may not know.
	want []string
	// change makes another spec of it, and then are words of what that is.
	change func(s *osl.InterfaceSpec)
	then   []string
	// anew says that the change needs another link.
	anew bool
	// noIP says that it carries none.
	noIP bool
	// fdb and thenFDB are where what is for everybody goes.
	fdb, thenFDB []string
}

func yes() *bool { v := true; return &v }
func no() *bool  { v := false; return &v }
func id(n int) *int {
	return &n
}

func linkCases() []linkCase {
	a := netip.MustParseAddr
	four := func(s osl.InterfaceSpec) osl.InterfaceSpec {
		s.Local, s.Remote = a("192.0.2.1"), a("192.0.2.2")
		return s
	}
	six := func(s osl.InterfaceSpec) osl.InterfaceSpec {
		s.Local, s.Remote = a("2001:db8::1"), a("2001:db8::2")
		return s
	}
	onUp := func(s osl.InterfaceSpec) osl.InterfaceSpec { s.Parent = "up"; return s }
	return []linkCase{
		{feature: "dummy", spec: osl.InterfaceSpec{Type: "dummy", MTU: 1400}, want: []string{"dummy", "mtu 1400"}},
		{feature: "ifb", spec: osl.InterfaceSpec{Type: "ifb"}, want: []string{"ifb"}},
		{feature: "ifb", spec: osl.InterfaceSpec{Type: "ifb", MAC: osl.MAC{2, 0, 0, 0, 0, 1}}, want: []string{"ifb", "02:00:00:00:00:01"},
			change: func(s *osl.InterfaceSpec) { s.MAC = osl.MAC{2, 0, 0, 0, 0, 2} }, then: []string{"ifb", "02:00:00:00:00:02"}, anew: true},
		{feature: "ifb queues", spec: osl.InterfaceSpec{Type: "ifb", NumTxQueues: 2, NumRxQueues: 2}, want: []string{"ifb", "numtxqueues 2 numrxqueues 2"},
			change: func(s *osl.InterfaceSpec) { s.NumTxQueues = 3 }, then: []string{"numtxqueues 3"}, anew: true},
		{feature: "vcan", spec: osl.InterfaceSpec{Type: "vcan", MTU: 16}, want: []string{"vcan", "mtu 16"}, noIP: true},
		{feature: "vrf", spec: osl.InterfaceSpec{Type: "vrf", Table: 10}, want: []string{"vrf table 10"},
			change: func(s *osl.InterfaceSpec) { s.Table = 11 }, then: []string{"vrf table 11"}, anew: true},
		{feature: "bond", spec: osl.InterfaceSpec{Type: "bond", Mode: "active-backup", MIIMon: 100}, want: []string{"bond mode active-backup", "miimon 100"},
			change: func(s *osl.InterfaceSpec) { s.MIIMon = 50 }, then: []string{"miimon 50"}},
		{feature: "bond", spec: osl.InterfaceSpec{Type: "bond"}, want: []string{"bond mode balance-rr"},
			change: func(s *osl.InterfaceSpec) { s.Mode = "802.3ad" }, then: []string{"mode 802.3ad"}, anew: true},
		{feature: "macvlan", spec: onUp(osl.InterfaceSpec{Type: "macvlan"}), want: []string{"macvlan mode bridge"},
			change: func(s *osl.InterfaceSpec) { s.Mode = "private" }, then: []string{"macvlan mode private"}},
		{feature: "macvtap", spec: onUp(osl.InterfaceSpec{Type: "macvtap"}), want: []string{"macvtap mode bridge"},
			change: func(s *osl.InterfaceSpec) { s.Mode = "vepa" }, then: []string{"macvtap mode vepa"}},
		{feature: "ipvlan", spec: onUp(osl.InterfaceSpec{Type: "ipvlan", Mode: "l2"}), want: []string{"ipvlan", "mode l2 bridge"},
			change: func(s *osl.InterfaceSpec) { s.Mode, s.Flags = "l3", "private" }, then: []string{"mode l3 private"}},
		{feature: "ipvlan l3s", spec: onUp(osl.InterfaceSpec{Type: "ipvlan", Mode: "l3s", Flags: "vepa"}), want: []string{"mode l3s vepa"}},
		{feature: "ipvtap", spec: onUp(osl.InterfaceSpec{Type: "ipvtap", Mode: "l2"}), want: []string{"ipvtap", "mode l2 bridge"}},
		{feature: "vlan", spec: onUp(osl.InterfaceSpec{Type: "vlan", VLAN: 7}), want: []string{"protocol 802.1Q id 7"},
			change: func(s *osl.InterfaceSpec) { s.VLAN = 8 }, then: []string{"id 8"}, anew: true},
		{feature: "vlan 802.1ad", spec: onUp(osl.InterfaceSpec{Type: "vlan", VLAN: 7, Protocol: "802.1ad"}), want: []string{"protocol 802.1ad id 7"},
			change: func(s *osl.InterfaceSpec) { s.Protocol = "802.1Q" }, then: []string{"protocol 802.1Q id 7"}, anew: true},
		{feature: "vlan QoS", spec: onUp(osl.InterfaceSpec{Type: "vlan", VLAN: 9, IngressQoSMap: map[string]string{"1": "2", "3": "300"}, EgressQoSMap: map[string]string{"70000": "7"}}),
			want: []string{"ingress-qos-map { 1:2 3:300 }", "egress-qos-map { 70000:7 }"},
			change: func(s *osl.InterfaceSpec) {
				s.IngressQoSMap, s.EgressQoSMap = map[string]string{"3": "4"}, map[string]string{"5": "6"}
			},
			then: []string{"ingress-qos-map { 3:4 }", "egress-qos-map { 5:6 }"}},
		{feature: "vxlan options", spec: osl.InterfaceSpec{Type: "vxlan", VNI: 42, Port: 8472, Learning: no(), TTL: 5, TOS: 16, Local: a("192.0.2.1")},
			want:   []string{"vxlan id 42", "dstport 8472", "nolearning", "ttl 5", "tos 0x"},
			change: func(s *osl.InterfaceSpec) { s.Learning, s.TTL, s.Remote = yes(), 6, a("192.0.2.3") }, then: []string{"ttl 6", "remote 192.0.2.3"}},
		{feature: "vxlan remotes", spec: osl.InterfaceSpec{Type: "vxlan", VNI: 44, Local: a("192.0.2.1"), Remotes: []netip.Addr{a("192.0.2.2"), a("192.0.2.3")}},
			want: []string{"vxlan id 44 local 192.0.2.1"}, fdb: []string{"192.0.2.2", "192.0.2.3"},
			change: func(s *osl.InterfaceSpec) { s.Remotes = []netip.Addr{a("192.0.2.3"), a("192.0.2.4")} }, then: []string{"vxlan id 44"}, thenFDB: []string{"192.0.2.3", "192.0.2.4"}},
		{feature: "vxlan remotes", spec: osl.InterfaceSpec{Type: "vxlan", VNI: 44, Remote: a("192.0.2.2")}, want: []string{"vxlan id 44 remote 192.0.2.2"}, fdb: []string{"192.0.2.2"},
			change: func(s *osl.InterfaceSpec) {
				s.Remote, s.Remotes = netip.Addr{}, []netip.Addr{a("192.0.2.2"), a("192.0.2.3")}
			}, then: []string{"vxlan id 44"}, thenFDB: []string{"192.0.2.2", "192.0.2.3"}},
		{feature: "vxlan remotes", spec: osl.InterfaceSpec{Type: "vxlan", VNI: 44, Remotes: []netip.Addr{a("192.0.2.2"), a("192.0.2.3")}}, want: []string{"vxlan id 44"}, fdb: []string{"192.0.2.2", "192.0.2.3"},
			change: func(s *osl.InterfaceSpec) { s.Remote, s.Remotes = a("192.0.2.2"), nil }, then: []string{"vxlan id 44 remote 192.0.2.2"}, thenFDB: []string{"192.0.2.2"}},
		{feature: "vxlan", spec: osl.InterfaceSpec{Type: "vxlan", VNI: 44, Remote: a("2001:db8::2")}, want: []string{"vxlan id 44 remote 2001:db8::2"},
			change: func(s *osl.InterfaceSpec) { s.Remote = a("192.0.2.2") }, then: []string{"vxlan id 44 remote 192.0.2.2"}, anew: true},
		{feature: "vxlan", spec: osl.InterfaceSpec{Type: "vxlan", VNI: 44}, want: []string{"vxlan id 44"},
			change: func(s *osl.InterfaceSpec) { s.Local = a("2001:db8::1") }, then: []string{"vxlan id 44 local 2001:db8::1"}, anew: true},
		{feature: "vxlan", spec: osl.InterfaceSpec{Type: "vxlan", VNI: 44, Remote: a("2001:db8::2")}, want: []string{"vxlan id 44 remote 2001:db8::2"}, fdb: []string{"2001:db8::2"},
			change: func(s *osl.InterfaceSpec) { s.Remote, s.Remotes = netip.Addr{}, []netip.Addr{a("192.0.2.2")} }, then: []string{"vxlan id 44"}, thenFDB: []string{"192.0.2.2"}, anew: true},
		{feature: "vxlan group", spec: onUp(osl.InterfaceSpec{Type: "vxlan", VNI: 43, Remote: a("239.1.1.1")}), want: []string{"group 239.1.1.1 dev up"}},
		{feature: "geneve", spec: osl.InterfaceSpec{Type: "geneve", VNI: 42, Remote: a("192.0.2.2"), TTL: 5}, want: []string{"geneve id 42 remote 192.0.2.2 ttl 5 dstport 6081"},
			change: func(s *osl.InterfaceSpec) { s.Remote, s.TOS = a("192.0.2.3"), 16 }, then: []string{"remote 192.0.2.3 ttl 5 tos 0x10"}},
		{feature: "geneve", spec: osl.InterfaceSpec{Type: "geneve", VNI: 42, Remote: a("2001:db8::2"), Port: 6000}, want: []string{"geneve id 42 remote 2001:db8::2", "dstport 6000"},
			change: func(s *osl.InterfaceSpec) { s.VNI = 43 }, then: []string{"geneve id 43"}, anew: true},
		{feature: "geneve", spec: osl.InterfaceSpec{Type: "geneve", VNI: 42, Remote: a("2001:db8::2")}, want: []string{"geneve id 42 remote 2001:db8::2"},
			change: func(s *osl.InterfaceSpec) { s.Remote = a("192.0.2.2") }, then: []string{"geneve id 42 remote 192.0.2.2"}, anew: true},
		{feature: "gre", spec: four(osl.InterfaceSpec{Type: "gre", Key: 7, TTL: 9}), want: []string{"gre remote 192.0.2.2 local 192.0.2.1 ttl 9", "ikey 0.0.0.7 okey 0.0.0.7"},
			change: func(s *osl.InterfaceSpec) { s.Remote, s.Key = a("192.0.2.3"), 8 }, then: []string{"gre remote 192.0.2.3 local 192.0.2.1 ttl 9", "ikey 0.0.0.8"}},
		{feature: "gre", spec: osl.InterfaceSpec{Type: "gre", Local: a("192.0.2.1")}, want: []string{"gre remote any local 192.0.2.1"},
			change: func(s *osl.InterfaceSpec) { s.Remote = a("192.0.2.3") }, then: []string{"gre remote 192.0.2.3"}, anew: true},
		{feature: "gretap", spec: onUp(four(osl.InterfaceSpec{Type: "gretap"})), want: []string{"gretap remote 192.0.2.2 local 192.0.2.1 dev up"},
			change: func(s *osl.InterfaceSpec) { s.TOS = 16 }, then: []string{"gretap remote 192.0.2.2 local 192.0.2.1 dev up ttl inherit tos 0x10"}},
		{feature: "ip6gre", spec: six(osl.InterfaceSpec{Type: "ip6gre", Key: 7}), want: []string{"ip6gre remote 2001:db8::2 local 2001:db8::1", "encaplimit 4", "ikey 0.0.0.7"},
			change: func(s *osl.InterfaceSpec) { s.TTL, s.TOS = 9, 16 }, then: []string{"hoplimit 9", "tclass 0x10"}},
		{feature: "ip6gretap", spec: six(osl.InterfaceSpec{Type: "ip6gretap"}), want: []string{"ip6gretap remote 2001:db8::2 local 2001:db8::1"},
			change: func(s *osl.InterfaceSpec) { s.Local = a("2001:db8::5") }, then: []string{"local 2001:db8::5"}},
		{feature: "ipip", spec: four(osl.InterfaceSpec{Type: "ipip"}), want: []string{"ipip", "remote 192.0.2.2 local 192.0.2.1"},
			change: func(s *osl.InterfaceSpec) { s.Local, s.TTL = a("192.0.2.5"), 9 }, then: []string{"remote 192.0.2.2 local 192.0.2.5 ttl 9"}},
		{feature: "sit", spec: four(osl.InterfaceSpec{Type: "sit"}), want: []string{"sit", "remote 192.0.2.2 local 192.0.2.1"},
			change: func(s *osl.InterfaceSpec) { s.Remote, s.TTL = a("192.0.2.5"), 9 }, then: []string{"remote 192.0.2.5 local 192.0.2.1 ttl 9"}},
		{feature: "veth queues", spec: osl.InterfaceSpec{Type: "veth", NumTxQueues: 2, NumRxQueues: 3, Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "far0"}},
			want: []string{"veth", "numtxqueues 2 numrxqueues 3"}, change: func(s *osl.InterfaceSpec) { s.NumRxQueues = 1 }, then: []string{"numtxqueues 2 numrxqueues 1"}, anew: true},
		{feature: "netkit", spec: osl.InterfaceSpec{Type: "netkit", Mode: "l2", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "far0"}},
			change: func(s *osl.InterfaceSpec) { s.Mode = "l3" }, anew: true},
		{feature: "netkit policy", spec: osl.InterfaceSpec{Type: "netkit", Policy: "blackhole", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "far0"}},
			change: func(s *osl.InterfaceSpec) { s.Policy, s.PeerPolicy = "forward", "blackhole" }},
		{feature: "tap options", spec: osl.InterfaceSpec{Type: "tap", Owner: id(0), OwnerGroup: id(0), MultiQueue: true, VNetHdr: true}, want: []string{"tun type tap", "vnet_hdr on", "multi_queue", "user root"},
			change: func(s *osl.InterfaceSpec) {
				s.MultiQueue, s.VNetHdr, s.Owner = false, false, nil
				s.Type = "tun"
				s.OwnerGroup = nil
			}, then: []string{"tun type tun"}, anew: true},
	}
}

// labOf is a sandbox with the link k0, and one below it or beside it.
func labOf(name string, c linkCase) osl.Network {
	s := c.spec
	s.Name = "k0"
	if !c.noIP {
		s.Addresses = []netip.Prefix{netip.MustParsePrefix("10.222.0.2/24")}
	}
	up := osl.InterfaceSpec{Name: "up", Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "upfar"},
		Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}}
	return osl.Network{Sandboxes: []osl.Spec{{Name: name, Interfaces: []osl.InterfaceSpec{s, up}}}}
}

// TestFeatureLinks makes each type of link, reads it back with ip and in another
// process, changes it in place or for another one, and takes it away; and what a
// dry run prints makes the same.
func TestFeatureLinks(t *testing.T) {
	for _, c := range linkCases() {
		t.Run(c.feature, func(t *testing.T) {
			if c.spec.Type == "tap" {
				testnet.NeedTun(t)
			}
			w := begin(t)
			sb := w.sandbox().(*osl.Namespace)
			name := strings.TrimPrefix(sb.Key(), "/run/netns/")
			net := labOf(name, c)
			would, err := osl.Diff(t.Context(), net)
			must(t, err)
			_, err = osl.Apply(t.Context(), net)
			testnet.Feature(t, "link "+c.feature, err)
			first := settledLink(t, sb, net, c.want)
			forAll(t, sb.Key(), c.fdb)
			if c.change != nil {
				c.change(&net.Sandboxes[0].Interfaces[0])
				_, err := osl.Apply(t.Context(), net)
				must(t, err)
				if then := settledLink(t, sb, net, c.then); (then == first) == c.anew {
					t.Errorf("the index was %d and is %d", first, then)
				}
				forAll(t, sb.Key(), c.thenFDB)
			}
			net.Sandboxes[0].Interfaces = net.Sandboxes[0].Interfaces[1:]
			_, err = osl.Apply(t.Context(), net)
			must(t, err)
			if linkOf(t, sb.Key(), "k0") != nil {
				t.Error("it is there still")
			}
			if c.want == nil {
				return // ip may not know it
			}
			// The same by hand.
			net.Sandboxes[0].Interfaces = nil
			_, err = osl.Apply(t.Context(), net)
			must(t, err)
			script := "set -e\n"
			for _, x := range would {
				script += x.Command + "\n"
			}
			if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s\n%s", err, out, script)
			}
			net = labOf(name, c)
			shown(t, sb.Key(), "k0", c.want)
			forAll(t, sb.Key(), c.fdb)
			changes, err := osl.Apply(t.Context(), net)
			must(t, err)
			for _, x := range changes {
				if strings.Contains(x.Command, "link add") || strings.Contains(x.Command, " type ") {
					t.Errorf("what was made by hand is not it: %s", x.Command)
				}
			}
		})
	}
}

// settledLink demands that nothing is left to do, here and in another process, and that
// ip says the words of k0. It returns the index.
func settledLink(t *testing.T, sb *osl.Namespace, net osl.Network, words []string) int {
	t.Helper()
	changes, err := osl.Diff(t.Context(), net)
	must(t, err)
	if len(changes) > 0 {
		t.Fatalf("after Apply there is to do:\n%v\n%s", changes, shown(t, sb.Key(), "k0", nil))
	}
	text, err := json.Marshal(net)
	must(t, err)
	cmd := child("osl", "diff", "-")
	cmd.Stdin = strings.NewReader(string(text))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("diff in another process: %v\n%s", err, out)
	}
	shown(t, sb.Key(), "k0", words)
	st, err := sb.Inspect(t.Context())
	must(t, err)
	spec, _ := json.Marshal(net.Sandboxes[0].Interfaces[0])
	var said map[string]any
	must(t, json.Unmarshal(spec, &said))
	i := slices.IndexFunc(st.Interfaces, func(i osl.InterfaceStatus) bool { return i.Name == "k0" })
	for _, field := range []string{"vni", "vlan", "protocol", "mode", "flags", "table", "miimon", "local", "remote", "port", "key", "ttl", "tos", "parent", "policy", "owner"} {
		if v, ok := said[field]; ok && st.Interfaces[i].Details[field] != fmt.Sprint(v) {
			t.Errorf("Inspect says of the %s %q, want %v", field, st.Interfaces[i].Details[field], v)
		}
	}
	return st.Interfaces[i].Index
}

// shown demands words of what ip says of a link.
func shown(t *testing.T, key, dev string, words []string) string {
	t.Helper()
	out, err := exec.Command("nsenter", "--net="+key, "ip", "-d", "link", "show", "dev", dev).CombinedOutput()
	if err != nil {
		t.Fatalf("ip: %v: %s", err, out)
	}
	text := strings.Join(strings.Fields(string(out)), " ")
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("no %q in what ip says:\n%s", word, out)
		}
	}
	return string(out)
}

// forAll demands where k0, a vxlan, sends what is for everybody.
func forAll(t *testing.T, key string, want []string) {
	t.Helper()
	if want == nil {
		return
	}
	var got []string
	witness(t, key, func(h *netlink.Handle) {
		l, err := h.LinkByName("k0")
		must(t, err)
		list, err := h.NeighList(l.Attrs().Index, unix.AF_BRIDGE)
		must(t, err)
		for _, n := range list {
			if n.HardwareAddr.String() == "00:00:00:00:00:00" {
				got = append(got, n.IP.String())
			}
		}
	})
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("what is for everybody goes to %v, want %v", got, want)
	}
}
