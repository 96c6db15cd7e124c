package want

import (
	"errors"
	"net"
	"net/netip"
	"path"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/where"
)

var keys = Keys{
	Path: func(name string) (string, error) {
		if name == HostName || name == "" {
			return "", fault.Invalidf("%q is no name of a sandbox", name)
		}
		return "/run/netns/" + name, nil
	},
	Same: path.Clean,
	Name: path.Base,
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// A network becomes what plans are made of: its links both ends, its gateways
// routes, its settings paths, and what is of the host a name.
func TestPlan(t *testing.T) {
	queue := 5
	net1 := Network{Name: "lab", Sandboxes: []Sandbox{
		{Name: "a", Gateway: netip.MustParseAddr("10.0.0.9"), Sysctls: map[string]string{"net.ipv4.ip_forward": " 1 ", "ipv6.conf.eth0.disable_ipv6": "0"},
			Interfaces: []Iface{
				{Name: "eth0", Addresses: prefixes("10.0.0.1/24"), Aliases: prefixes("10.0.0.2/32"), Routes: prefixes("10.9.1.1/16"), TxQueueLen: &queue},
				{Name: "up", Type: "macvlan", Parent: "host/eno1"},
				{Name: "wan", Source: "eno2"},
			}},
		{Name: "b", Interfaces: []Iface{{Name: "p0", MTU: 1400, Peer: Endpoint{HostName, "b-host"}, PeerMaster: "br-host"}}},
	}, Links: []Link{{{"a", "eth0"}, {"b", "eth0"}}}}
	w, err := net1.Plan(keys)
	if err != nil {
		t.Fatal(err)
	}
	a, b := &w[0], &w[1]
	if a.Key != "/run/netns/a" || a.Network != "lab" || !a.Prune || len(a.Gateways) != 1 || a.Gateways[0].Dst.Bits() != 0 {
		t.Errorf("a is %+v", a)
	}
	eth := a.Iface("eth0")
	if eth.Kind != "veth" || eth.Peer == nil || eth.Peer.Key != b.Key || b.Iface("eth0").MadeBy.Key != a.Key {
		t.Errorf("the link is %+v and %+v", eth, b.Iface("eth0"))
	}
	if len(eth.Addrs) != 2 || eth.Addrs[0].Alias || !eth.Addrs[1].Alias || eth.Routes[0] != netip.MustParsePrefix("10.9.0.0/16") || *eth.TxQLen != 5 {
		t.Errorf("eth0 is %+v", eth)
	}
	if eth.IPv6 == nil || !*eth.IPv6 || len(a.Sysctls) != 1 || a.Sysctls[0].Path != "ipv4/ip_forward" || a.Sysctls[0].Value != "1" {
		t.Errorf("the settings are %+v, IPv6 of eth0 %v", a.Sysctls, eth.IPv6)
	}
	if up := a.Iface("up"); up.HostParent == nil || up.HostParent.Name != "eno1" || up.Parent != "" {
		t.Errorf("up is %+v", up)
	}
	if wan := a.Iface("wan"); wan.From == nil || wan.From.Link.Name != "eno2" || wan.Keep {
		t.Errorf("wan is %+v", wan)
	}
	if p := b.Iface("p0"); p.Peer.Key != plan.HostNS || p.Peer.MTU != 1400 || p.PeerMaster.Name != "br-host" {
		t.Errorf("p0 is %+v", p)
	}
	names, err := net1.Names(keys)
	if err != nil || len(names.Keys) != 2 || len(names.HostEnds) != 1 || names.HostEnds[0] != (HostEnd{"b-host", b.Key}) {
		t.Errorf("%+v, %v", names, err)
	}
}

// What can never work is refused, with the sandbox, the interface and the field.
func TestRefused(t *testing.T) {
	iface := func(f Iface) Network { return Network{Sandboxes: []Sandbox{{Name: "a", Interfaces: []Iface{f}}}} }
	route := func(r Route) Network {
		r.To = prefixes("10.9.0.0/16")[0]
		return Network{Sandboxes: []Sandbox{{Name: "a", Routes: []Route{r}}}}
	}
	preferred := uint32(1000)
	for _, x := range []struct {
		what  string
		net   Network
		field string
		says  string
	}{
		{"a type", iface(Iface{Name: "e", Type: "vxlam"}), "type", `did you mean "vxlan"`},
		{"a field of another type", iface(Iface{Name: "e", Type: "bridge", Kind: Kind{VNI: 5}}), "vni", "means nothing for a bridge"},
		{"a field of a link of the host", iface(Iface{Name: "e", Source: "x", Kind: Kind{Mode: "vepa"}}), "mode", "a link of the host"},
		{"no VNI", iface(Iface{Name: "e", Type: "vxlan"}), "vni", "from 1 to 16777215"},
		{"a port", iface(Iface{Name: "e", Type: "vxlan", Kind: Kind{VNI: 1, Port: 70000}}), "port", "from 1 to 65535"},
		{"no tag", iface(Iface{Name: "e", Type: "vlan", Parent: "p"}), "vlan", "from 1 to 4094"},
		{"no parent", iface(Iface{Name: "e", Type: "macvlan"}), "parent", "needs a parent"},
		{"a mode", iface(Iface{Name: "e", Type: "macvlan", Parent: "p", Kind: Kind{Mode: "brigde"}}), "mode", `did you mean "bridge"`},
		{"an MTU", iface(Iface{Name: "e", Type: "bridge", MTU: 60}), "mtu", "below 68"},
		{"an MTU of a tap", iface(Iface{Name: "e", Type: "tap", MTU: 65530}), "mtu", "65521"},
		{"an MTU of a link's end", Network{Sandboxes: []Sandbox{{Name: "a", Interfaces: []Iface{{Name: "e", MTU: 70000}}}, {Name: "b"}}, Links: []Link{{{"a", "e"}, {"b", "e"}}}},
			"mtu", "over the limit of a veth, 65535"},
		{"a setting that disable_arp_for_vip makes", iface(Iface{Name: "e", Type: "bridge", DisableARPForVIP: true, Sysctls: map[string]string{"ipv4.arp_ignore": "0"}}),
			"sysctls", "disable_arp_for_vip makes it 1"},
		{"that setting, of the sandbox", Network{Sandboxes: []Sandbox{{Name: "a", Sysctls: map[string]string{"ipv4.conf.e.arp_announce": "1"},
			Interfaces: []Iface{{Name: "e", Type: "bridge", DisableARPForVIP: true}}}}}, "sysctls", "disable_arp_for_vip makes it 2"},
		{"a hardware address of many", iface(Iface{Name: "e", Type: "bridge", MAC: net.HardwareAddr{1, 0, 0, 0, 0, 1}}), "mac", "single interface"},
		{"an address", iface(Iface{Name: "e", Type: "bridge", Addresses: prefixes("224.0.0.1/4")}), "addresses", "no address of an interface"},
		{"a preferred lifetime of one for good", iface(Iface{Name: "e", Type: "bridge", Addresses: prefixes("10.0.0.1/24"),
			AddressOptions: map[netip.Prefix]AddressOptions{prefixes("10.0.0.1/24")[0]: {PreferredLft: &preferred}}}), "addresses", "keeps no preferred_lft of it but 0"},
		{"an address twice", iface(Iface{Name: "e", Type: "bridge", Addresses: prefixes("10.0.0.1/24"), Aliases: prefixes("10.0.0.1/24")}), "aliases", "there twice"},
		{"a veth without a peer", iface(Iface{Name: "e", Type: "veth"}), "", "needs its other end"},
		{"a setting", iface(Iface{Name: "e", Type: "bridge", Sysctls: map[string]string{"kernel.x": "1"}}), "sysctls", "no sysctl"},
		{"a setting with the interface in it", iface(Iface{Name: "e", Type: "bridge", Sysctls: map[string]string{"net.ipv4.conf.e.rp_filter": "1"}}), "sysctls", "write ipv4.rp_filter, without the interface"},
		{"a setting with slashes", iface(Iface{Name: "e.7", Type: "bridge", Sysctls: map[string]string{"ipv6/conf/e.7/accept_ra": "1"}}), "sysctls", "write ipv6.accept_ra, without the interface"},
		{"a setting of all", iface(Iface{Name: "e", Type: "bridge", Sysctls: map[string]string{"ipv4.conf.all.rp_filter": "1"}}), "sysctls", "in the sysctls of the sandbox"},
		{"IPv6 off and used", iface(Iface{Name: "e", Type: "bridge", Addresses: prefixes("fd00::1/64"), Sysctls: map[string]string{"ipv6.disable_ipv6": "1"}}), "sysctls", "turns off"},
		{"a name", iface(Iface{Name: "a/b", Type: "bridge"}), "name", "slash"},
		{"a name twice", Network{Sandboxes: []Sandbox{{Name: "a", Interfaces: []Iface{{Name: "e", Type: "bridge"}, {Name: "e", Type: "dummy"}}}}}, "interfaces", "there twice"},
		{"a sandbox twice", Network{Sandboxes: []Sandbox{{Name: "a"}, {Name: "b/../a"}}}, "name", "there twice"},
		{"a gateway", Network{Sandboxes: []Sandbox{{Name: "a", Gateway: netip.MustParseAddr("fd00::1")}}}, "gateway", "no gateway of its family"},
		{"a route", Network{Sandboxes: []Sandbox{{Name: "a", Routes: []Route{{To: prefixes("10.0.0.0/8")[0]}}}}}, "routes", "needs via, dev or both"},
		{"a gateway that is no host", Network{Sandboxes: []Sandbox{{Name: "a", Gateway: netip.MustParseAddr("0.0.0.0")}}}, "gateway", "gateway 0.0.0.0 is no address of one host"},
		{"a gateway of many hosts", Network{Sandboxes: []Sandbox{{Name: "a", Gateway6: netip.MustParseAddr("ff02::1")}}}, "gateway6", "gateway6 ff02::1 is no address of one host"},
		{"a next hop that is no host", route(Route{Via: netip.MustParseAddr("0.0.0.0"), Dev: "e"}), "routes", "next hop (via) 0.0.0.0"},
		{"a next hop of many hosts", route(Route{Via: netip.MustParseAddr("ff02::1")}), "routes", "next hop (via) ff02::1"},
		{"a next hop that is all hosts", route(Route{Via: netip.MustParseAddr("255.255.255.255"), Dev: "e"}), "routes", "no address of one host"},
		{"one of several next hops", route(Route{NextHops: []NextHop{{Via: netip.MustParseAddr("10.0.0.1")}, {Via: netip.MustParseAddr("239.1.1.1"), Dev: "e"}}}), "routes", "next hop (via) 239.1.1.1"},
		{"an MTU of a route", route(Route{Dev: "e", MTU: 65521}), "routes", "none over 65520"},
		{"a segment size of a route", route(Route{Dev: "e", AdvMSS: 65496}), "routes", "none over 65495"},
		{"a zone of a neighbor", Network{Sandboxes: []Sandbox{{Name: "a", Neighbors: []Neigh{{Dev: "e", IP: netip.MustParseAddr("fe80::1%e"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}}}}}, "neighbors", "without %e"},
		{"pieces that are too small", iface(Iface{Name: "e", Type: "tap", LinkOptions: LinkOptions{GSOMaxSize: 192}}), "gso_max_size", "is 193 to 524280"},
		{"a neighbor", Network{Sandboxes: []Sandbox{{Name: "a", Neighbors: []Neigh{{Dev: "e"}}}}}, "neighbors", "six bytes"},
		{"a link to nothing", Network{Sandboxes: []Sandbox{{Name: "web"}}, Links: []Link{{{"web", "e"}, {"wep", "e"}}}}, "links", `did you mean "web"`},
		{"a link on the host", Network{Links: []Link{{{HostName, "e"}, {HostName, "f"}}}}, "links", "both ends are on the host"},
		{"a link of one end", Network{Sandboxes: []Sandbox{{Name: "a"}}, Links: []Link{{{"a", "e"}, {"a", "e"}}}}, "links", "both ends are the same"},
	} {
		w, err := x.net.Plan(keys)
		field, _ := where.Of(err)
		if !errors.Is(err, fault.ErrInvalid) && !errors.Is(err, fault.ErrNotFound) || field != x.field || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: field %q, %v; %v", x.what, field, err, w)
		}
	}
}

// The options of an interface count as given last; what is wrong with one is said
// when all are there.
func TestOptions(t *testing.T) {
	_, four, _ := net.ParseCIDR("10.0.0.0/24")
	var o Options
	o.SetAddress(0, &net.IPNet{IP: net.ParseIP("10.0.0.1"), Mask: four.Mask})
	o.SetAddress(0, &net.IPNet{IP: net.ParseIP("10.0.0.2"), Mask: four.Mask})
	o.AddAddresses(prefixes("fd00::1/64"))
	o.DefaultRoute = true
	if err := o.Done(); err != nil {
		t.Fatal(err)
	}
	f, err := o.Plan("src", "eth")
	if err != nil || f.Name != "eth%d" || f.Source != "src" || len(f.Addrs) != 2 || f.Addrs[0].Prefix != prefixes("10.0.0.2/24")[0] || len(f.Routes) != 2 {
		t.Errorf("%+v, %v", f, err)
	}
	for what, set := range map[string]func(o *Options){
		"an address of the other family": func(o *Options) { o.SetAddress(1, four) },
		"a hardware address":             func(o *Options) { o.SetMAC(net.HardwareAddr{1}) },
		"a link-local address":           func(o *Options) { o.SetLinkLocal([]*net.IPNet{four}) },
		"no route":                       func(o *Options) { o.SetRoutes([]*net.IPNet{nil}) },
	} {
		var o Options
		set(&o)
		if err := o.Done(); !errors.Is(err, fault.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
