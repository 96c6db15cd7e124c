//go:build linux

package osltest

import (
	"context"
	"errors"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// What a change that fails at its very end has put back.

// failing adds what the kernel refuses when all else is done.
func failing(n osl.Network) osl.Network {
	bad := osl.Spec{Name: "zz"}
	refusedRoute(&bad)
	n.Sandboxes = append(slices.Clone(n.Sandboxes), bad)
	return n
}

// refusedRoute adds a route that only the kernel refuses.
func refusedRoute(s *osl.Spec) {
	s.Interfaces = append(s.Interfaces, osl.InterfaceSpec{Name: "up0", Type: "bridge", IPv6: "off"})
	s.Routes = append(s.Routes, osl.RouteSpec{To: netip.MustParsePrefix("10.250.0.0/16"), Via: netip.MustParseAddr("fe80::9"), Dev: "up0"})
}

// lab returns a network of one sandbox, which is gone after the test.
func lab(t *testing.T, routes []osl.RouteSpec, ifaces ...osl.InterfaceSpec) osl.Network {
	t.Cleanup(func() {
		_, err := osl.Down(context.Background(), osl.Network{Name: "lab"})
		must(t, err)
	})
	return osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "sa", Interfaces: ifaces, Routes: routes}}}
}

// Routes of others go with an address, with the last address of a link, and with a link
// that is set down; osl's go with the address of a link that stays where the one that
// they lead by is made anew.
func TestRoutesComeBack(t *testing.T) {
	begin(t)
	up := lab(t, []osl.RouteSpec{
		{To: netip.MustParsePrefix("10.88.0.0/16"), Dev: "e1", Src: netip.MustParseAddr("10.1.0.1")},
		{To: netip.MustParsePrefix("fd88::/64"), Dev: "e1", Src: netip.MustParseAddr("fd01::1")},
	}, osl.InterfaceSpec{Name: "e0", Type: "bridge", Addresses: prefixes("10.1.0.1/24", "10.1.0.2/24", "fd01::1/64")},
		osl.InterfaceSpec{Name: "e1", Type: "bridge", Addresses: prefixes("10.2.0.1/24", "fd02::1/64")})
	_, err := osl.Apply(t.Context(), up)
	must(t, err)
	key := osl.GenerateKey("sa")
	witness(t, key, func(h *netlink.Handle) {
		dev := func(name string) int { return linkOf(t, key, name).Attrs().Index }
		for _, r := range []netlink.Route{
			{LinkIndex: dev("e1"), Dst: ipnet("198.51.100.0/24"), Src: ip("10.1.0.1"), Protocol: unix.RTPROT_STATIC, Scope: unix.RT_SCOPE_LINK},
			{LinkIndex: dev("e1"), Dst: ipnet("203.0.113.0/24"), Gw: ip("198.51.100.9"), Protocol: unix.RTPROT_BOOT, Priority: 7, Table: 99, Flags: unix.RTNH_F_ONLINK},
			{LinkIndex: dev("e0"), Dst: ipnet("192.0.2.0/24"), Protocol: unix.RTPROT_DHCP, Scope: unix.RT_SCOPE_LINK, MTU: 1300},
			{LinkIndex: dev("e1"), Dst: ipnet("fd98::/64"), Src: ip("fd01::1"), Protocol: unix.RTPROT_STATIC},
			{LinkIndex: dev("e1"), Dst: ipnet("fd99::/64"), Gw: ip("fd98::9"), Protocol: unix.RTPROT_STATIC, Priority: 7},
			{Dst: ipnet("fd97::/64"), Type: unix.RTN_BLACKHOLE, Protocol: unix.RTPROT_STATIC},
		} {
			must(t, h.RouteAdd(&r))
		}
	})
	before := snapshot(t, key)
	bridge := func(name string, down bool, addrs ...string) osl.InterfaceSpec {
		return osl.InterfaceSpec{Name: name, Type: "bridge", Down: down, Addresses: prefixes(addrs...)}
	}
	both := []string{"10.2.0.1/24", "fd02::1/64"}
	for what, edit := range map[string][]osl.InterfaceSpec{
		"the sources go":        {bridge("e0", false, "10.1.0.2/24"), bridge("e1", false, both...)},
		"the last address goes": {bridge("e0", false), bridge("e1", false)},
		"the sources are moved": {bridge("e0", false, "10.3.0.1/24"), bridge("e1", false, append(both, "10.1.0.1/24", "fd01::1/128")...)},
		"links are set down":    {bridge("e0", true, "10.1.0.1/24", "fd01::1/64"), bridge("e1", true, both...)},
		"a link is another":     {bridge("e0", false), {Name: "e1", Type: "veth", Peer: osl.Endpoint{Sandbox: "sa", Interface: "e2"}}, {Name: "e2"}},
		"nothing stays":         nil,
	} {
		n := up
		n.Sandboxes = []osl.Spec{{Name: "sa", Interfaces: edit}}
		_, err := osl.Apply(t.Context(), failing(n))
		if err == nil || strings.Contains(err.Error(), "left behind") {
			t.Errorf("%s: %v", what, err)
		}
		same(t, what+": the sandbox", before, func() []string { return snapshot(t, key) })
	}
	sb, err := osl.NewSandbox(key, false, true)
	must(t, err)
	if _, err := osl.Apply(t.Context(), up); err != nil {
		t.Error(err)
	}
	must(t, sb.RemoveAliasIP("e0", ipnet("10.1.0.2/24")))
}

// With the MTU of a link go those of the links on it, and with the MTU of a bridge's port
// that of the bridge.
func TestSizesComeBack(t *testing.T) {
	begin(t)
	on := func(name, parent string, mtu int) osl.InterfaceSpec {
		return osl.InterfaceSpec{Name: name, Type: "macvlan", Parent: parent, MTU: mtu}
	}
	base := []osl.InterfaceSpec{{Name: "e0", Type: "bridge", MTU: 9000}, on("m0", "e0", 9000), on("m1", "e0", 0), {Name: "br", Type: "bridge"}, on("b0", "br", 0)}
	up := lab(t, nil, base...)
	_, err := osl.Apply(t.Context(), up)
	lacks(t, "macvlan", err)
	must(t, err)
	key := osl.GenerateKey("sa")
	before := snapshot(t, key)
	edit := func(change func(list []osl.InterfaceSpec) []osl.InterfaceSpec) osl.Network {
		n := up
		n.Sandboxes = []osl.Spec{{Name: "sa", Interfaces: change(slices.Clone(base))}}
		return n
	}
	lower := edit(func(list []osl.InterfaceSpec) []osl.InterfaceSpec {
		list[0].MTU, list[1].MTU = 1400, 1300
		return list
	})
	port := edit(func(list []osl.InterfaceSpec) []osl.InterfaceSpec {
		return append(list, osl.InterfaceSpec{Name: "p0", Type: "veth", MTU: 1300, Master: "br", Peer: osl.Endpoint{Sandbox: "sa", Interface: "p1"}}, osl.InterfaceSpec{Name: "p1"})
	})
	for what, n := range map[string]osl.Network{
		"lower": lower, "lower by a port": port,
		"of one that goes": edit(func(list []osl.InterfaceSpec) []osl.InterfaceSpec {
			list[0].MTU = 1400
			return slices.Delete(list, 1, 2)
		}),
	} {
		if _, err := osl.Apply(t.Context(), failing(n)); err == nil || strings.Contains(err.Error(), "left behind") {
			t.Errorf("%s: %v", what, err)
		}
		same(t, what+": the sandbox", before, func() []string { return snapshot(t, key) })
	}
	too := edit(func(list []osl.InterfaceSpec) []osl.InterfaceSpec { list[0].MTU = 1400; return list })
	if _, err := osl.Apply(t.Context(), too); !errors.Is(err, osl.ErrInvalid) || !strings.Contains(err.Error(), `the MTU 9000 is over that of its parent "e0", 1400`) {
		t.Errorf("a link on one with less: %v", err)
	}
	for _, n := range []osl.Network{lower, up, port, up} {
		_, err := osl.Apply(t.Context(), n)
		must(t, err)
		if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
			t.Errorf("diff after that: %v %v", c, err)
		}
	}
}

// With the carrier of a link go its next hops that are objects, also in a sandbox that was to
// end: where another one sets the other end down, or is to have that name on the host, for
// which the link there is set down before Linux 6.2.
func TestNexthopsComeBack(t *testing.T) {
	begin(t)
	here, there := name("s"), name("p")
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs(here), PeerName: there}))
	defer func() { must(t, netlink.LinkDel(needLink(t, "", here))) }()
	sb := func(f osl.InterfaceSpec) osl.Spec {
		f.Name, f.Addresses = "e0", prefixes("10.1.0.2/24")
		return osl.Spec{Name: "sb", Interfaces: []osl.InterfaceSpec{f}, Nexthops: []osl.NexthopSpec{{ID: 1, Via: netip.MustParseAddr("10.1.0.1"), Dev: "e0"}},
			Routes: []osl.RouteSpec{{To: netip.MustParsePrefix("172.16.0.0/16"), Nexthop: 1}}}
	}
	sa := func(f osl.InterfaceSpec) osl.Spec {
		f.Name = "e0"
		return osl.Spec{Name: "sa", Interfaces: []osl.InterfaceSpec{f}}
	}
	onHost := osl.InterfaceSpec{Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: name("f")}}
	look := func() []string { return slices.Concat(nexthopsIn(t, "sb"), routesByNexthop(t, "sb")) }
	for what, x := range map[string]struct{ was, bad []osl.Spec }{
		"its other end is set down": {[]osl.Spec{sa(osl.InterfaceSpec{Source: here}), sb(osl.InterfaceSpec{Source: there})}, []osl.Spec{sa(osl.InterfaceSpec{Source: here, Down: true})}},
		"its name goes to another":  {[]osl.Spec{sb(onHost)}, []osl.Spec{sa(onHost)}},
	} {
		n := lab(t, nil)
		n.Sandboxes = x.was
		_, err := osl.Apply(t.Context(), n)
		must(t, err)
		before := look()
		n.Sandboxes = x.bad
		if _, err := osl.Apply(t.Context(), failing(n)); err == nil || strings.Contains(err.Error(), "left behind") {
			t.Errorf("%s: %v", what, err)
		}
		time.Sleep(100 * time.Millisecond) // the kernel takes them a while later
		same(t, what+": the sandbox", before, look)
		_, err = osl.Down(t.Context(), n)
		must(t, err)
	}
}

// What others have on an end on the host comes back with that, where the file says something
// of the host.
func TestOthersOnTheHostComeBack(t *testing.T) {
	begin(t)
	far := name("f")
	net := func(inside, outside bool) osl.Network {
		return osl.Network{Name: "lab", Sandboxes: []osl.Spec{
			{Name: "sa", Interfaces: []osl.InterfaceSpec{{Name: "e0", Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: far}, Down: inside}}},
			{Name: osl.HostName, Interfaces: []osl.InterfaceSpec{{Name: far, Addresses: prefixes("10.1.0.1/24"), Down: outside}}},
		}}
	}
	_, err := osl.Apply(t.Context(), net(false, false))
	must(t, err)
	defer func() {
		_, err := osl.Down(t.Context(), net(false, false))
		must(t, err)
	}()
	ip := func(line string) string {
		out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
		return string(out)
	}
	for _, line := range []string{"nexthop add id 901 via 10.1.0.7 proto static dev " + far, "nexthop add id 902 group 901 proto static",
		"route add 192.88.99.0/24 nhid 902 proto static", "route add 192.88.98.0/24 via 10.1.0.7 proto static"} {
		ip(line)
	}
	look := func() []string { return append(hostNow(t), ip("nexthop"), ip("route show proto static")) }
	before := look()
	for what, n := range map[string]osl.Network{"the end in the sandbox is set down": net(true, false), "that on the host is": net(false, true)} {
		if _, err := osl.Apply(t.Context(), failing(n)); err == nil || strings.Contains(err.Error(), "left behind") {
			t.Errorf("%s: %v", what, err)
		}
		time.Sleep(100 * time.Millisecond) // the kernel takes next hops a while later
		same(t, what+": the host", before, look)
	}
}

// A link that is down has addresses all the same, and loses them when it is set down
// again on the way back.
func TestDownComesBack(t *testing.T) {
	begin(t)
	spec := func(down bool, addrs ...string) osl.InterfaceSpec {
		return osl.InterfaceSpec{Name: "e0", Type: "bridge", Down: down, Addresses: prefixes(addrs...)}
	}
	n := lab(t, nil, spec(true, "10.1.0.1/24", "fd01::1/64", "fd02::1/64"))
	_, err := osl.Apply(t.Context(), n)
	must(t, err)
	key := osl.GenerateKey("sa")
	before := snapshot(t, key)
	for what, f := range map[string]osl.InterfaceSpec{"up": spec(false, "10.1.0.1/24", "fd01::1/64", "fd02::1/64"), "up with others": spec(false, "10.3.0.1/24", "fd01::1/64", "fd03::1/64"), "up with none": spec(false)} {
		bad := n
		bad.Sandboxes = []osl.Spec{{Name: "sa", Interfaces: []osl.InterfaceSpec{f}}}
		if _, err := osl.Apply(t.Context(), failing(bad)); err == nil || strings.Contains(err.Error(), "left behind") {
			t.Errorf("%s: %v", what, err)
		}
		same(t, what+": the sandbox", before, func() []string { return snapshot(t, key) })
	}
}

// takesQueue reports whether the kernel gives a link a queue of a length, as some do of any.
func takesQueue(t *testing.T, key, dev string, length int) (takes bool) {
	t.Helper()
	witness(t, key, func(h *netlink.Handle) {
		l := linkOf(t, key, dev)
		takes = h.LinkSetTxQLen(l, length) == nil
		must(t, h.LinkSetTxQLen(l, l.Attrs().TxQLen))
	})
	return takes
}

// With an MTU below 1280 the kernel takes the IPv6 of a link, and of those on it, with its
// settings where it is off; that of a tap it has changed already when it refuses the queue
// length.
func TestIPv6ComesBackWithTheMTU(t *testing.T) {
	testnet.NeedTun(t)
	begin(t)
	long := 1<<31 - 1
	tap := osl.InterfaceSpec{Name: "t0", Type: "tap", MTU: 1500, Addresses: prefixes("10.2.0.1/24", "fd02::1/64"), Routes: prefixes("fd92::/64"), IPv6: "auto", AddrGenMode: "none"}
	base := []osl.InterfaceSpec{{Name: "e0", Type: "bridge", MTU: 1500, Addresses: prefixes("10.1.0.1/24", "fd01::1/64"), Routes: prefixes("fd91::/64", "10.91.0.0/16"), IPv6: "link-local"},
		{Name: "m0", Type: "macvlan", Parent: "e0", Addresses: prefixes("fd03::1/64")}, tap,
		{Name: "t1", Type: "tap", MTU: 1500, IPv6: "off", AddrGenMode: "random"}}
	n := lab(t, nil, base...)
	n.Sandboxes[0].Neighbors = []osl.NeighborSpec{{Dev: "t0", IP: netip.MustParseAddr("fd02::9"), MAC: osl.MAC(mac("02:00:00:00:00:09"))}}
	_, err := osl.Apply(t.Context(), n)
	must(t, err)
	key := osl.GenerateKey("sa")
	conf := func() (list []string) {
		for _, dev := range []string{"e0", "m0", "t0", "t1"} {
			for _, what := range []string{"disable_ipv6", "accept_ra", "accept_dad", "ndisc_notify", "addr_gen_mode"} {
				list = append(list, dev+" "+what+" "+sysctl(t, key, "ipv6/conf/"+dev+"/"+what))
			}
		}
		return append(list, snapshot(t, key)...)
	}
	before := conf()
	edit := func(change func(list []osl.InterfaceSpec)) osl.Network {
		n := n
		list := slices.Clone(base)
		change(list)
		n.Sandboxes = []osl.Spec{{Name: "sa", Interfaces: list}}
		return n
	}
	small := edit(func(l []osl.InterfaceSpec) {
		l[0].MTU, l[0].Addresses, l[0].Routes, l[0].IPv6 = 1000, l[0].Addresses[:1], nil, ""
		l[1].Addresses = nil
		l[2].MTU, l[2].Addresses, l[2].Routes, l[2].IPv6, l[2].AddrGenMode = 1000, l[2].Addresses[:1], nil, "", ""
		l[3].MTU, l[3].AddrGenMode = 1000, ""
	})
	half := edit(func(l []osl.InterfaceSpec) {
		l[2].MTU, l[2].TxQueueLen, l[2].Addresses, l[2].Routes, l[2].IPv6, l[2].AddrGenMode = 1000, &long, l[2].Addresses[:1], nil, "", ""
	})
	fail := map[string]osl.Network{"at the end": failing(small)}
	if !takesQueue(t, key, "t1", long) {
		fail["by half"] = half
	}
	for what, n := range fail {
		if _, err := osl.Apply(t.Context(), n); err == nil || strings.Contains(err.Error(), "left behind") {
			t.Errorf("%s: %v", what, err)
		}
		same(t, what+": the sandbox", before, conf)
	}
	ns, err := osl.Open(t.Context(), "sa")
	must(t, err)
	defer ns.Close()
	if err := ns.SetLink(t.Context(), "t0", osl.LinkChange{MTU: 1000, TxQueueLen: &long}); !errors.Is(err, osl.ErrInvalid) || !strings.Contains(err.Error(), "IPv6") {
		t.Errorf("SetLink: %v", err)
	}
	if fail["by half"].Name != "" {
		if err := ns.SetLink(t.Context(), "t1", osl.LinkChange{MTU: 1000, TxQueueLen: &long}); err == nil {
			t.Error("SetLink of t1 did not fail")
		}
	}
	same(t, "SetLink: the sandbox", before, conf)
	unsaid := edit(func(l []osl.InterfaceSpec) { l[1].MTU, l[2].MTU = 1500, 0 })
	again := edit(func(l []osl.InterfaceSpec) { l[1].MTU = 1500 }) // which has that of its parent
	for i, n := range []osl.Network{small, again} {
		if i == 1 {
			if _, err := osl.Diff(t.Context(), unsaid); err != nil {
				t.Errorf("IPv6 where the small MTU is asked for no more: %v", err)
			}
		}
		_, err := osl.Apply(t.Context(), n)
		must(t, err)
		if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
			t.Errorf("diff after that: %v %v", c, err)
		}
	}
}

// An IPv6 route with an MTU by a bridge that has the MTU of its ports has its own when these
// change, also when one goes, and has it again where a change fails.
func TestRouteSizesByBridge(t *testing.T) {
	begin(t)
	port := func(name string, mtu int) []osl.InterfaceSpec {
		far := name + "f"
		return []osl.InterfaceSpec{{Name: name, Type: "veth", MTU: mtu, Master: "br", Peer: osl.Endpoint{Sandbox: "sa", Interface: far}}, {Name: far}}
	}
	net := func(mtu uint32, ports ...[]osl.InterfaceSpec) osl.Network {
		n := lab(t, []osl.RouteSpec{
			{To: netip.MustParsePrefix("fd88::/48"), Dev: "br", MTU: mtu}, {To: netip.MustParsePrefix("fd89::/48"), Via: netip.MustParseAddr("fd01::9"), MTU: mtu},
			{To: netip.MustParsePrefix("fd91::/48"), NextHops: []osl.NextHop{{Via: netip.MustParseAddr("fd01::8"), Dev: "br"}, {Via: netip.MustParseAddr("fd02::8"), Dev: "e0"}}, MTU: mtu},
		}, append(slices.Concat(ports...), osl.InterfaceSpec{Name: "br", Type: "bridge", Addresses: prefixes("fd01::1/64")}, osl.InterfaceSpec{Name: "e0", Type: "bridge", Addresses: prefixes("fd02::1/64")})...)
		if s := &n.Sandboxes[0]; len(ports) > 0 { // else there is no carrier
			s.Nexthops = []osl.NexthopSpec{{ID: 1, Via: netip.MustParseAddr("fd01::9"), Dev: "br"}}
			s.Routes = append(s.Routes, osl.RouteSpec{To: netip.MustParsePrefix("fd90::/48"), Nexthop: 1, MTU: mtu})
		}
		return n
	}
	leaves := port("p0", 1300)
	leaves[0].Master = ""
	key := osl.GenerateKey("sa")
	was := net(1300, port("p0", 1300), port("p1", 1400))
	for what, n := range map[string]osl.Network{
		"a port goes": net(1300, port("p1", 1400)), "all ports go": net(1300), "a port leaves": net(1300, leaves, port("p1", 1400)),
		"a port grows": net(1300, port("p0", 1400), port("p1", 1400)), "one comes": net(1300, port("p0", 1300), port("p1", 1400), port("p2", 1290)),
		"one comes as another goes": net(1400, port("p1", 1400), port("p2", 1290)), "another MTU": net(1350, port("p1", 1400)),
	} {
		_, err := osl.Apply(t.Context(), was)
		must(t, err)
		before := snapshot(t, key)
		if _, err := osl.Apply(t.Context(), failing(n)); err == nil || strings.Contains(err.Error(), "left behind") {
			t.Errorf("%s: %v", what, err)
		}
		same(t, what+": the sandbox", before, func() []string { return snapshot(t, key) })
		would, err := osl.Diff(t.Context(), n)
		must(t, err)
		did, err := osl.Apply(t.Context(), n)
		if err != nil || would.String() != did.String() {
			t.Errorf("%s: %v\n%s\ndiff had said\n%s", what, err, did, would)
		}
		for _, n := range []osl.Network{n, was} {
			if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
				t.Errorf("%s: diff after that: %v\n%s", what, err, c)
			}
			_, err := osl.Apply(t.Context(), was)
			must(t, err)
		}
	}
}
