package want

import (
	"net"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/wgkey"
)

func to[T any](v T) *T { return &v }

// tried are the fields of this package's types that samples had a value of.
type tried map[reflect.Type]map[string]bool

func (s tried) see(v reflect.Value) {
	switch {
	case v.Kind() == reflect.Pointer && !v.IsNil():
		s.see(v.Elem())
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			s.see(v.Index(i))
		}
	case v.Kind() == reflect.Struct && v.Type().PkgPath() == reflect.TypeFor[Kind]().PkgPath():
		if s[v.Type()] == nil {
			s[v.Type()] = map[string]bool{}
		}
		for i := range v.NumField() {
			if !v.Field(i).IsZero() {
				s[v.Type()][v.Type().Field(i).Name] = true
			}
			s.see(v.Field(i))
		}
	}
}

// all fails for each field that no sample had, but for those that are told elsewhere.
func (s tried) all(t *testing.T, elsewhere ...string) {
	t.Helper()
	for typ, fields := range s {
		for f := range typ.Fields() {
			if name := typ.Name() + "." + f.Name; !fields[f.Name] && !slices.Contains(elsewhere, name) {
				t.Errorf("no sample has %s: is it told on the way up?", name)
			}
		}
	}
}

// What the kernel has of what was wanted is told in the same words.
func TestTheWayUpIsTheWayBack(t *testing.T) {
	a, p := netip.MustParseAddr, netip.MustParsePrefix
	seen := tried{}
	same := func(x, back any) {
		t.Helper()
		seen.see(reflect.ValueOf(x))
		if !reflect.DeepEqual(x, back) {
			t.Errorf("of\n%+v\ncame back\n%+v", x, back)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	names, indexes := map[int]string{0: "", 5: "eth0", 6: "eth1"}, map[string]int{"eth0": 5, "eth1": 6}
	for _, x := range []Route{
		{To: p("10.1.0.0/16"), Via: a("10.0.0.1"), Table: 7, Metric: 3, Src: a("10.0.0.2"), MTU: 1300, AdvMSS: 1200},
		{To: p("10.1.0.0/16"), Nexthop: 7},
		{To: p("10.1.0.0/16"), Dev: "eth0"},
		{To: p("10.1.0.0/16"), Dev: "eth0", Scope: "host"},
		{To: p("10.1.0.0/16"), Dev: "eth0", Scope: "link", Metric: 7},
		{To: p("10.1.0.0/16"), Dev: "eth0", Type: "local"},
		{To: p("10.1.0.0/16"), Type: "blackhole"},
		{To: p("10.1.0.0/16"), Via: a("fe80::1"), Dev: "eth1"},
		{To: p("fd00::/16"), Via: a("fe80::1"), Dev: "eth1"},
		{To: p("fd00::/16"), NextHops: []NextHop{{Via: a("fe80::1"), Dev: "eth1", Weight: 1}, {Via: a("fe80::2"), Dev: "eth0", Weight: 7}}},
	} {
		r, err := ToRoute(x)
		must(err)
		r.Index = indexes[r.Dev]
		for i := range r.Hops {
			r.Hops[i].Index = indexes[r.Hops[i].Dev]
		}
		same(x, RouteOf(r.Route, names, linux.RT_SCOPE_SITE))
	}
	for _, x := range []Rule{
		{Priority: 1, Family: "ipv4", Table: 254},
		{Priority: 1, Family: "ipv6", L3MDev: true},
		{Priority: 2, From: p("10.0.0.0/8"), To: p("10.1.0.0/16"), Not: true, IIF: "a", OIF: "b", FWMark: 3, FWMask: 7, Table: 9},
		{Priority: 3, From: p("fd00::/8"), FWMark: 3, IPProto: "tcp", SPort: "80", DPort: "81-90", Table: 254, SuppressPrefixLength: to(0), SuppressIfGroup: to(0)},
		{Priority: 4, From: p("fd00::/8"), Goto: 7},
		{Priority: 5, From: p("fd00::/8"), Action: "prohibit"},
	} {
		r, err := x.plan()
		must(err)
		same(x, RuleOf(r))
	}
	minute := time.Minute
	for _, x := range []Nexthop{
		{ID: 1, Via: a("10.0.0.1"), Dev: "eth0"},
		{ID: 2, Via: a("fe80::1"), Dev: "eth1"},
		{ID: 3, Dev: "eth0"},
		{ID: 4, Dev: "eth0", Family: "ipv6"},
		{ID: 5, Blackhole: true},
		{ID: 6, Blackhole: true, Family: "ipv6"},
		{ID: 7, Group: []NexthopMember{{ID: 1, Weight: 1}, {ID: 2, Weight: 256}}},
		{ID: 8, Group: []NexthopMember{{ID: 1, Weight: 1}}, Type: "resilient", Buckets: 65535},
		{ID: 9, Group: []NexthopMember{{ID: 1, Weight: 1}}, Type: "resilient", Buckets: 1, IdleTimer: new(time.Duration), UnbalancedTimer: &minute},
	} {
		list, err := planNexthops([]Nexthop{x})
		must(err)
		n := list[0].Nexthop
		n.Index, n.Proto = indexes[list[0].Dev], rtnl.Protocol
		read, ok := rtnl.ParseNexthop(rtnl.NewNexthop(n).Data)
		if !ok || !reflect.DeepEqual(read, n) {
			t.Errorf("of\n%+v\ncame back\n%+v", n, read)
		}
		same(x, NexthopOf(read, names))
	}
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	for _, x := range []Neigh{
		{Dev: "eth0", IP: a("10.0.0.1"), MAC: mac},
		{Dev: "eth0", IP: a("10.0.0.1"), MAC: mac, FDB: true},
		{Dev: "eth0", MAC: mac, FDB: true, VLAN: 7},
		{Dev: "eth0", IP: a("239.1.1.1"), MDB: true, VLAN: 7},
	} {
		n, err := x.plan()
		must(err)
		same(x, NeighOf(n.Neigh, n.Dev))
	}
	i := &Impair{Delay: time.Second, Jitter: time.Millisecond, Loss: 1, Duplicate: 0.5, Reorder: 25, Corrupt: 0.1, Rate: 8e6, Limit: 7}
	r, err := (&Iface{Impair: i}).impair()
	must(err)
	same(i, ImpairOf(*r))
	for _, x := range []AddressOptions{
		{Peer: a("10.0.0.9"), Scope: "link", ValidLft: 100, PreferredLft: to(uint32(0)), NoPrefixRoute: true},
		{ValidLft: 100},
		{ValidLft: 100, PreferredLft: to(uint32(7))},
		{Home: true},
	} {
		h := plan.Addr{Prefix: p("10.0.0.1/24")}
		if x.Home {
			h.Prefix = p("fd00::1/64")
		}
		must(x.plan(&h))
		is := rtnl.Addr{Prefix: h.Prefix, Peer: h.Peer, Lifetime: h.Lifetime, Flags: h.Flags, Proto: rtnl.Protocol}
		if h.Scope != nil {
			is.Scope = *h.Scope
		}
		back, any := AddressOptionsOf(is)
		if same(x, back); !any {
			t.Errorf("%+v is nothing", x)
		}
		is.Proto = 2
		if _, any := AddressOptionsOf(is); any {
			t.Errorf("the address of another has %+v", x)
		}
	}
	seen.all(t)
}

// So is what makes a link of its type, and what is set of it.
func TestTheWayUpOfLinks(t *testing.T) {
	seen := tried{}
	for kind, x := range map[string]Kind{
		"vxlan":  {VNI: 7, Local: netip.MustParseAddr("10.0.0.1"), Remote: netip.MustParseAddr("10.0.0.2"), Port: 99, TTL: 3, TOS: 4, Learning: to(false)},
		"vlan":   {VLAN: 7, Protocol: "802.1ad", IngressQoSMap: map[string]string{"3": "5", "1": "2"}, EgressQoSMap: map[string]string{"10": "7"}},
		"gre":    {Key: 7},
		"vrf":    {Table: 7},
		"bond":   {Mode: "balance-xor", MIIMon: 70},
		"ipvlan": {Mode: "l2", Flags: "vepa"},
		"netkit": {Mode: "l2", Policy: "forward", PeerPolicy: "blackhole"},
		"tap":    {Owner: to(0), OwnerGroup: to(7), MultiQueue: true, VNetHdr: true},
		"veth":   {NumTxQueues: 2, NumRxQueues: 3},
	} {
		seen.see(reflect.ValueOf(x))
		d, _, err := x.data()
		if back := KindOf(&rtnl.Link{Kind: kind, Data: d}); err != nil || !reflect.DeepEqual(back, x) {
			t.Errorf("%v: of\n%+v\ncame back\n%+v", err, x, back)
		}
	}
	// What is of another type, and one queue, nobody asked for.
	d := rtnl.LinkData{VLAN: 7, TxQueues: 1, RxQueues: 1}
	if k := KindOf(&rtnl.Link{Kind: "veth", Data: d}); !reflect.DeepEqual(k, Kind{}) {
		t.Errorf("a veth is told as %+v", k)
	}
	vlans := []rtnl.VLAN{{First: 5, Last: 5, Untagged: true, PVID: true}, {First: 20, Last: 30}}
	ranges := []VLANRange{{5, 5, true}, {20, 30, false}}
	b := &Bridge{VLANFiltering: to(true), VLANProtocol: "802.1ad", VLANDefaultPVID: to(3), PVID: to(5), VLANs: ranges, STP: to(false), Priority: to(9),
		AgeingTime: to(300 * time.Second), ForwardDelay: to(3 * time.Second), HelloTime: to(2 * time.Second), MaxAge: to(7 * time.Second),
		MulticastSnooping: to(false), MulticastQuerier: to(true)}
	o, err := b.options()
	if back := BridgeOf(&o, vlans); err != nil || !reflect.DeepEqual(back, b) {
		t.Errorf("%v: of\n%+v\ncame back\n%+v", err, b, back)
	}
	port := &BridgePort{PVID: to(5), VLANs: ranges, Cost: to(3), Priority: to(4), MulticastRouter: to(2)}
	for at, on := range port.flags() {
		*on = to(at%2 == 0)
	}
	o, err = port.options()
	if back := BridgePortOf(&o, vlans); err != nil || !reflect.DeepEqual(back, port) {
		t.Errorf("%v: of\n%+v\ncame back\n%+v", err, port, back)
	}
	set := LinkOptions{Group: to(3), Promisc: to(true), AllMulticast: to(false), ARP: to(false), AddrGenMode: "random", GSOMaxSize: 1000, GSOMaxSegs: 10, GROMaxSize: 2000, GSOIPv4MaxSize: 3000, GROIPv4MaxSize: 4000}
	o, err = set.plan("dummy")
	if back := LinkOptionsOf(&o); err != nil || !reflect.DeepEqual(back, set) {
		t.Errorf("%v: of\n%+v\ncame back\n%+v", err, set, back)
	}
	for _, x := range []any{b, port, set} {
		seen.see(reflect.ValueOf(x))
	}
	seen.all(t, "Kind.Remotes", "LinkOptions.AltNames") // of entries and of the link's tag, by package stand
	o = rtnl.Options{}
	if back := LinkOptionsOf(&o); !reflect.DeepEqual(back, LinkOptions{}) {
		t.Errorf("of nothing came back %+v", back)
	}
}

// The files for the keys of a wireguard have names by which they are told apart.
func TestWireGuardOfNamesFiles(t *testing.T) {
	w := &rtnl.WireGuard{ListenPort: 7, FwMark: 3, Peers: []rtnl.WGPeer{{Public: wgkey.Public{1}}, {Public: wgkey.Public{2}, Preshared: wgkey.NewSecret([32]byte{3}), Keepalive: 5}}}
	x := WireGuardOf(w, "a.wg0")
	if x.PrivateKeyFile != "a.wg0.key" || x.Peers[0].PresharedKeyFile != "" || x.Peers[1].PresharedKeyFile != "a.wg0.2.psk" || !x.Peers[1].PresharedKey.IsZero() {
		t.Errorf("%+v", x)
	}
	if x.ListenPort != 7 || x.FwMark != 3 || x.Peers[1].PublicKey != (wgkey.Public{2}) || x.Peers[1].PersistentKeepalive != 5 {
		t.Errorf("%+v", x)
	}
}
