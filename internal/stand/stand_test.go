package stand

import (
	"net"
	"net/netip"
	"reflect"
	"testing"

	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/want"
	"github.com/seed59451c2b/osl/internal/wgkey"
)

// usual returns a link of a kind as the kernel makes it, which osl made.
func usual(kind string) rtnl.Link {
	k := plan.KindOf(kind)
	l := rtnl.Link{Index: 7, Name: "a", Kind: kind, MTU: k.UsualMTU(), TxQLen: k.UsualQueue(), Flags: 1, Alias: plan.Tag{Origin: plan.Made, Source: "a"}.String()}
	if kind == "vrf" {
		l.MTU = 65575 // as 6.1 and 6.12 make it
	}
	l.Options = *k.UsualLink().Options()
	l.Inet.DisableIPv6 = true
	return l
}

// specOf is the Spec of a sandbox with these links.
func specOf(s *Standing, links ...rtnl.Link) want.Sandbox {
	if s.Reading == nil {
		s.Reading = &Reading{Name: "s", State: &plan.State{}}
	}
	s.State.Links = links
	return s.Spec()
}

// Of a link that is as the kernel makes it, a Spec says the type alone.
func TestWhatIsUsualIsNotSaid(t *testing.T) {
	for _, k := range plan.Kinds {
		w := specOf(&Standing{}, usual(k.Name))
		x := want.Iface{Name: "a", Type: k.Name}
		if k.Pair {
			x.Peer.Sandbox = "?"
		}
		if len(w.Interfaces) != 1 || !reflect.DeepEqual(w.Interfaces[0], x) {
			t.Errorf("%s is told as %+v", k.Name, w.Interfaces)
		}
	}
}

func TestWhatIsNotUsualIsSaid(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	dummy, tap := usual("dummy"), usual("tap")
	dummy.MAC, dummy.MTU, dummy.TxQLen = mac, 1400, 7
	dummy.Options.Set(rtnl.LinkARP, 1)
	dummy.Options.Set(rtnl.LinkGSOMaxSize, 1000)
	dummy.Options.Set(rtnl.LinkGSOIPv4MaxSize, 1000) // as the kernel sets it with that
	tap.Index, tap.Name = 8, "b"
	tap.Options.Set(rtnl.LinkARP, 0)
	w := specOf(&Standing{}, dummy, tap)
	on, off, seven := true, false, 7
	x := want.Iface{Name: "a", Type: "dummy", MAC: mac, MTU: 1400, TxQueueLen: &seven, LinkOptions: want.LinkOptions{ARP: &on, GSOMaxSize: 1000}}
	y := want.Iface{Name: "b", Type: "tap", LinkOptions: want.LinkOptions{ARP: &off}}
	if !reflect.DeepEqual(w.Interfaces, []want.Iface{x, y}) {
		t.Errorf("%+v", w.Interfaces)
	}
	// Of one that was there before, what osl changed.
	host := usual("")
	tag := plan.Tag{Origin: plan.Host, Source: "eth9", MTU: 1500, TxQLen: 1000}
	tag.Was.Set(rtnl.LinkGroup, 3)
	host.MTU, host.Alias = 1400, tag.String()
	host.Options.Set(rtnl.LinkPromisc, 1)
	w = specOf(&Standing{}, host)
	zero := 0
	x = want.Iface{Name: "a", Source: "eth9", MTU: 1400, LinkOptions: want.LinkOptions{Group: &zero}}
	if !reflect.DeepEqual(w.Interfaces, []want.Iface{x}) {
		t.Errorf("%+v", w.Interfaces)
	}
}

// What a bridge makes of its ports is not said of each of them.
func TestBridgeBeside(t *testing.T) {
	br, port := usual("bridge"), usual("dummy")
	br.Bridge, port.Port = plan.UsualBridge.Options(), plan.UsualPort.Options()
	port.Index, port.Name, port.Master = 8, "b", br.Index
	member := func(pvid uint16) []rtnl.VLAN {
		return []rtnl.VLAN{{First: pvid, Last: pvid, Untagged: true, PVID: true}}
	}
	s := &Standing{Reading: &Reading{State: &plan.State{VLANs: map[int][]rtnl.VLAN{7: member(1), 8: member(1)}}}}
	w := specOf(s, br, port)
	if w.Interfaces[0].Bridge != nil || w.Interfaces[1].BridgePort != nil {
		t.Errorf("%+v", w.Interfaces)
	}
	br.Bridge.Set(rtnl.BridgeVLANFiltering, 1)
	s.State.VLANs[8] = member(9)
	w = specOf(s, br, port)
	on, nine := true, 9
	if b, p := w.Interfaces[0].Bridge, w.Interfaces[1].BridgePort; !reflect.DeepEqual(b, &want.Bridge{VLANFiltering: &on}) || !reflect.DeepEqual(p, &want.BridgePort{PVID: &nine, VLANs: []want.VLANRange{}}) {
		t.Errorf("%+v %+v", b, p)
	}
}

// The files for the keys of a wireguard are called after it, and its peers.
func TestWireGuardIsSaid(t *testing.T) {
	s := &Standing{Reading: &Reading{Name: "/a/b", State: &plan.State{WireGuards: map[int]*rtnl.WireGuard{7: {Peers: []rtnl.WGPeer{{Preshared: wgkey.NewSecret([32]byte{1})}}}}}}}
	f := specOf(s, usual("wireguard")).Interfaces[0]
	if f.WireGuard.PrivateKeyFile != "a_b.a.key" || f.WireGuard.Peers[0].PresharedKeyFile != "a_b.a.1.psk" {
		t.Errorf("%+v", f.WireGuard)
	}
	if p := s.Sandbox().Interfaces[0].WireGuard.Peers[0]; !p.Preshared {
		t.Errorf("%+v", p)
	}
}

// Pairs with both ends in the network are links of it, the other ends are as they are.
func TestConnect(t *testing.T) {
	at := func(s, i string) want.Endpoint { return want.Endpoint{Sandbox: s, Interface: i} }
	veth := func(name string, peer want.Endpoint) want.Iface {
		return want.Iface{Name: name, Type: "veth", Peer: peer, PeerMaster: "br"}
	}
	nk := want.Iface{Name: "n", Type: "netkit", Peer: at("b", "n"), Kind: want.Kind{Mode: "l2", Policy: "forward"}}
	queues := func(name string, peer want.Endpoint) want.Iface {
		return want.Iface{Name: name, Type: "veth", Peer: peer, Kind: want.Kind{NumTxQueues: 3}}
	}
	mk := want.Iface{Name: "n", Type: "netkit", Peer: at("a", "n"), Kind: want.Kind{Mode: "l2", PeerPolicy: "forward"}}
	net := &want.Network{Sandboxes: []want.Sandbox{
		{Name: "a", Interfaces: []want.Iface{veth("e", at("b", "f")), veth("g", at("elsewhere", "h")), veth("i", at(want.HostName, "j")), nk, queues("q", at("b", "q"))}},
		{Name: "b", Interfaces: []want.Iface{{Name: "f", Type: "veth", Peer: at("a", "e"), Master: "m"}, mk, {Name: "q", Type: "veth", Peer: at("a", "q")}}},
	}}
	Connect(net)
	x := &want.Network{Links: []want.Link{{at("a", "e"), at("b", "f")}, {at("a", "q"), at("b", "q")}}, Sandboxes: []want.Sandbox{
		{Name: "a", Interfaces: []want.Iface{{Name: "e"}, {Name: "g", PeerMaster: "br"}, veth("i", at(want.HostName, "j")), nk, queues("q", want.Endpoint{})}},
		{Name: "b", Interfaces: []want.Iface{{Name: "f", Master: "m"}, {Name: "n"}, {Name: "q"}}},
	}}
	if !reflect.DeepEqual(net, x) {
		t.Errorf("%+v", net)
	}
	s := Alone(want.Sandbox{Interfaces: []want.Iface{nk, veth("i", at(want.HostName, "j"))}})
	if !reflect.DeepEqual(s.Interfaces, []want.Iface{{Name: "n"}, veth("i", at(want.HostName, "j"))}) {
		t.Errorf("%+v", s.Interfaces)
	}
}

// What osl gave an interface, what it was given by others, and what is an alias.
func TestAddressesAreToldApart(t *testing.T) {
	p := netip.MustParsePrefix
	addr := func(prefix string, proto uint8) rtnl.Addr {
		return rtnl.Addr{Index: 7, Prefix: p(prefix), Proto: proto}
	}
	r := &Reading{State: &plan.State{Links: []rtnl.Link{usual("dummy")},
		Addrs: []rtnl.Addr{addr("10.0.0.1/24", rtnl.Protocol), addr("10.0.0.2/24", 2), addr("10.0.0.3/32", rtnl.AliasProtocol)}}}
	x := r.Sandbox().Interfaces[0]
	if !reflect.DeepEqual(x.Addresses, []netip.Prefix{p("10.0.0.1/24"), p("10.0.0.2/24")}) || !reflect.DeepEqual(x.Others, []netip.Prefix{p("10.0.0.2/24")}) ||
		!reflect.DeepEqual(x.Aliases, []netip.Prefix{p("10.0.0.3/32")}) {
		t.Errorf("%+v", x)
	}
	f := (&Standing{Reading: r}).Spec().Interfaces[0]
	if !reflect.DeepEqual(f.Addresses, x.Addresses[:1]) || !reflect.DeepEqual(f.Aliases, x.Aliases) {
		t.Errorf("%+v", f)
	}
	held := &Held{State: *r.State}
	if i := held.Info().All(); len(i) != 1 || i[0].Address().String() != "10.0.0.1/24" || i[0].SrcName() != "a" {
		t.Errorf("%+v", i)
	}
	// Of a link without a tag that was adopted, all that it has.
	held.Links[0].Alias, held.Sources = "", map[int]string{7: "eth9"}
	if i := held.Info().All(); len(i) != 1 || i[0].Address().String() != "10.0.0.1/24" || i[0].SrcName() != "eth9" {
		t.Errorf("%+v", i)
	}
}
