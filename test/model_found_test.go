//go:build linux

package osltest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/types"
)

// What TestModel found, in short.

// namespace returns a sandbox as what has the calls beyond the contract.
func (w *world) namespace() *osl.Namespace { return w.sandbox().(*osl.Namespace) }

func TestFoundConnectedRouteIsRemovedAlone(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	o := sb.InterfaceOptions()
	_, dst, _ := w.eth(sb, "10.201.0.2/24", "fd20:1::2/64")
	src, _ := w.vethUp()
	w.add(sb, src, "eth", addresses("10.206.0.2/24", "fd20:6::2/64"), o.Routes([]*net.IPNet{ipnet("10.211.0.0/16"), ipnet("fd20:11::/48")}))
	for _, x := range [][4]string{{"10.211.0.0/16", "10.212.0.0/16", "10.201.0.1", "10.213.0.0/16"}, {"fd20:11::/48", "fd20:12::/48", "fd20:1::1", "fd20:13::/48"}} {
		own, other, via := x[0], x[1], ip(x[2])
		connected := &types.StaticRoute{Destination: ipnet(own), RouteType: types.CONNECTED, NextHop: via}
		refused(t, "one beside an interface's own", sb.AddStaticRoute(connected), osl.ErrExists)
		must(t, sb.AddStaticRoute(&types.StaticRoute{Destination: ipnet(other), NextHop: via}))
		before := snapshot(t, sb.Key())
		must(t, sb.RemoveStaticRoute(connected))
		must(t, sb.RemoveStaticRoute(&types.StaticRoute{Destination: ipnet(other), RouteType: types.CONNECTED}))
		same(t, "the sandbox", before, func() []string { return snapshot(t, sb.Key()) })
		mine := &types.StaticRoute{Destination: ipnet(x[3]), RouteType: types.CONNECTED, NextHop: via}
		must(t, sb.AddStaticRoute(mine))
		if !hasRoute(t, sb.Key(), x[3]+" dev "+dst) {
			t.Errorf("%s is not there", x[3])
		}
		must(t, sb.RemoveStaticRoute(mine))
		same(t, "the sandbox", before, func() []string { return snapshot(t, sb.Key()) })
	}
}

// The bulk forms know the two kinds of routes as the single ones do.
func TestFoundConnectedRoutesInBulk(t *testing.T) {
	w := begin(t)
	n, ctx := w.namespace(), t.Context()
	src, _ := w.vethUp()
	w.add(n, src, "eth", addresses("10.206.0.2/24", "fd20:6::2/64"), n.InterfaceOptions().Routes([]*net.IPNet{ipnet("10.211.0.0/16"), ipnet("fd20:11::/48")}))
	dev := iface(t, n, src).DstName()
	before := snapshot(t, n.Key())
	for _, x := range [][2]string{{"10.211.0.0/16", "10.213.0.0/16"}, {"fd20:11::/48", "fd20:13::/48"}} {
		own := osl.RouteSpec{To: netip.MustParsePrefix(x[0]), Dev: dev}
		mine := osl.RouteSpec{To: netip.MustParsePrefix(x[1]), Dev: dev}
		refused(t, "one beside an interface's own", n.AddRoutes(ctx, slices.Values([]osl.RouteSpec{mine, own})), osl.ErrExists)
		must(t, n.RemoveRoutes(ctx, slices.Values([]osl.RouteSpec{mine, own})))
		same(t, "the sandbox", before, func() []string { return snapshot(t, n.Key()) })
		must(t, n.AddRoutes(ctx, slices.Values([]osl.RouteSpec{mine, mine})))
		if !hasRoute(t, n.Key(), x[1]+" dev "+dev) {
			t.Errorf("%s is not there", x[1])
		}
		must(t, n.RemoveRoutes(ctx, slices.Values([]osl.RouteSpec{own, mine, mine})))
		same(t, "the sandbox", before, func() []string { return snapshot(t, n.Key()) })
	}
}

// A bridge keeps its address, its neighbours, and the MTU that it was given,
// whatever its ports do.
func TestFoundBridgeStaysAsItIs(t *testing.T) {
	for _, mtu := range []int{0, 1400, 1500, 9000} {
		w := begin(t)
		n := w.namespace()
		must(t, n.AddInterface("b", "br", n.InterfaceOptions().Bridge(true), addresses("10.202.0.1/24"), osl.WithMTU(mtu)))
		must(t, n.AddNeighbor(ip("10.202.0.9"), mac("02:00:00:00:09:09"), false))
		was := needLink(t, n.Key(), "br0").Attrs()
		src, _ := w.vethUp()
		must(t, n.AddInterface(src, "eth", n.InterfaceOptions().Master("b"), osl.WithMTU(1300), n.InterfaceOptions().MacAddress(mac("00:00:00:00:00:02"))))
		is := needLink(t, n.Key(), "br0").Attrs()
		want := mtu
		if mtu == 0 {
			want = 1300 // it follows
		}
		if is.MTU != want || is.HardwareAddr.String() != was.HardwareAddr.String() || was.HardwareAddr[0]&3 != 2 {
			t.Errorf("MTU %d: the bridge had %v and MTU %d, and has %v and %d", mtu, was.HardwareAddr, was.MTU, is.HardwareAddr, is.MTU)
		}
		must(t, n.RemoveLink(t.Context(), "eth0"))
		if got := neighborsOf(t, n.Key(), "br0", unix.AF_INET); len(got) != 1 {
			t.Errorf("MTU %d: the bridge's neighbors are %v", mtu, got)
		}
	}
}

// A bridge that follows its ports is given an MTU that it has already: it no
// longer does.
func TestFoundBridgeTakesTheMTUItHas(t *testing.T) {
	begin(t)
	name := name("t")
	spec := func(mtu, port int) osl.Network {
		s := osl.Spec{Name: name, Interfaces: []osl.InterfaceSpec{{Name: "br0", Type: "bridge", MTU: mtu}}}
		if port != 0 {
			s.Interfaces = append(s.Interfaces, osl.InterfaceSpec{Name: "vx0", Type: "vxlan", VNI: 5, MTU: port, Master: "br0"})
		}
		return osl.Network{Sandboxes: []osl.Spec{s}}
	}
	t.Cleanup(func() { must(t, osl.Remove(context.Background(), name)) })
	for _, want := range []osl.Network{spec(0, 0), spec(1500, 0), spec(1500, 1350)} {
		_, err := osl.Apply(t.Context(), want)
		must(t, err)
		if c, err := osl.Apply(t.Context(), want); err != nil || len(c) > 0 {
			t.Errorf("a second Apply: %v %v", c, err)
		}
	}
	if got := needLink(t, osl.GenerateKey(name), "br0").Attrs().MTU; got != 1500 {
		t.Errorf("the bridge has the MTU %d", got)
	}
}

func TestFoundPortTooSmallForIPv6(t *testing.T) {
	w := begin(t)
	n := w.namespace()
	o := n.InterfaceOptions()
	must(t, n.AddInterface("b", "br", o.Bridge(true), addresses("fd20:3::1/64")))
	must(t, n.AddInterface("fixed", "br", o.Bridge(true), addresses("fd20:4::1/64"), osl.WithMTU(1400)))
	src, _ := w.vethUp()
	before := snapshot(t, n.Key())
	refused(t, "a small port", n.AddInterface(src, "eth", o.Master("b"), osl.WithMTU(1000)), osl.ErrInvalid, "1280")
	same(t, "the sandbox", before, func() []string { return snapshot(t, n.Key()) })
	must(t, n.AddInterface(src, "eth", o.Master("fixed"), osl.WithMTU(1000)))
	if got := ipv6Of(t, n.Key(), "br1"); !slices.Contains(got, "fd20:4::1/64") {
		t.Errorf("the bridge with an MTU of its own has %v", got)
	}
}

func TestFoundVNITaken(t *testing.T) {
	n := begin(t).namespace()
	vx := func(name string) error {
		return n.AddLink(t.Context(), osl.InterfaceSpec{Name: name, Type: "vxlan", VNI: 4321})
	}
	must(t, vx("vx0"))
	refused(t, "a VNI that is taken", vx("vx1"), osl.ErrExists, "4321")
	refused(t, "a name that is taken", vx("vx0"), osl.ErrNameInUse)
}

// A link of somebody else's that has a wanted name and is something else is told with what it
// is, and with the command that takes it away.
func TestFoundLinkInTheWay(t *testing.T) {
	begin(t)
	lab := osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "edge", Interfaces: []osl.InterfaceSpec{{Name: "vx0", Type: "vxlan", VNI: 5, Port: 4789}}}}}
	t.Cleanup(func() { _, err := osl.Down(context.Background(), lab); must(t, err) })
	settled(t, lab)
	for command, is := range map[string]string{"vxlan id 6 dstport 4789": "with the VNI 6", "bridge": "of the type bridge"} {
		ipCommand(t, "-n", "edge", "link", "del", "vx0")
		ipCommand(t, append([]string{"-n", "edge", "link", "add", "name", "vx0", "type"}, strings.Fields(command)...)...)
		_, err := osl.Diff(t.Context(), lab)
		refused(t, "a "+command, err, osl.ErrNameInUse, is)
		_, away, _ := strings.Cut(err.Error(), "take that away with: ")
		if out, err := exec.Command("sh", "-c", away).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", away, err, out)
		}
		settled(t, lab)
	}
}

// Forwarding entries of osl stay in the sandbox, the host's own come back.
func TestFoundForwardingEntriesStay(t *testing.T) {
	w := begin(t)
	src := w.vxlan(77)
	l := needLink(t, "", src)
	must(t, netlink.NeighAppend(&netlink.Neigh{LinkIndex: l.Attrs().Index, Family: unix.AF_BRIDGE, Flags: netlink.NTF_SELF,
		State: netlink.NUD_PERMANENT, IP: ip("192.0.2.1"), HardwareAddr: mac("02:00:00:00:77:01")}))
	own := neighborsOf(t, "", src, unix.AF_BRIDGE)
	for what, leave := range map[string]func(osl.Sandbox) error{
		"Remove":  func(sb osl.Sandbox) error { return iface(t, sb, src).Remove() },
		"Destroy": osl.Sandbox.Destroy,
	} {
		sb := w.sandbox()
		dst := w.add(sb, src, "vx")
		o := sb.NeighborOptions()
		must(t, sb.AddNeighbor(ip("192.0.2.2"), mac("02:00:00:00:77:02"), false, o.LinkName(src), o.Family(unix.AF_BRIDGE)))
		if got := neighborsOf(t, sb.Key(), dst, unix.AF_BRIDGE); len(got) != len(own)+1 {
			t.Errorf("%s: in the sandbox: %v", what, got)
		}
		must(t, leave(sb))
		if got := neighborsOf(t, "", src, unix.AF_BRIDGE); !slices.Equal(got, own) {
			t.Errorf("%s: at home: %v, want %v", what, got, own)
		}
	}
}

// The lowest free number, also for a link whose name on the host has the same
// form.
func TestFoundNumber(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	for _, x := range [][2]string{{"num0", "num0"}, {"num5", "num1"}, {"num1", "num2"}} {
		w.link(&netlink.Veth{LinkAttrs: attrs(x[0]), PeerName: name("p")})
		if got := w.add(sb, x[0], "num"); got != x[1] {
			t.Errorf("%s is named %s, want %s", x[0], got, x[1])
		}
	}
}

func olderThan(t *testing.T, major, minor int) bool {
	var u unix.Utsname
	must(t, unix.Uname(&u))
	var have [2]int
	_, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &have[0], &have[1])
	must(t, err)
	return have[0] < major || have[0] == major && have[1] < minor
}

// Apply finds a next hop that only what it removes reaches before it changes
// anything; turns an address into an alias IP and back; and gives a new link
// the route that another one has.
func TestFoundApply(t *testing.T) {
	begin(t)
	p := netip.MustParsePrefix
	name := name("t")
	apply := func(s osl.Spec) (osl.Changes, error) {
		s.Name = name
		return osl.Apply(t.Context(), osl.Network{Sandboxes: []osl.Spec{s}})
	}
	t.Cleanup(func() { must(t, osl.Remove(context.Background(), name)) })
	br := osl.InterfaceSpec{Name: "br0", Type: "bridge", Addresses: []netip.Prefix{p("10.203.0.1/24")}, Routes: []netip.Prefix{p("10.204.0.0/16")}}
	vx := osl.InterfaceSpec{Name: "vx0", Type: "vxlan", VNI: 6, Addresses: []netip.Prefix{p("10.205.0.1/24")}}
	_, err := apply(osl.Spec{Interfaces: []osl.InterfaceSpec{br}})
	must(t, err)
	key := osl.GenerateKey(name)
	before := snapshot(t, key)
	_, err = apply(osl.Spec{Interfaces: []osl.InterfaceSpec{vx}, Gateway: netip.MustParseAddr("10.203.0.9")})
	refused(t, "a next hop that goes", err, osl.ErrUnreachable, "10.203.0.9")
	same(t, "the sandbox", before, func() []string { return snapshot(t, key) })

	br.Aliases, br.Addresses = br.Addresses, nil
	c, err := apply(osl.Spec{Interfaces: []osl.InterfaceSpec{br}})
	if must(t, err); len(c) != 1 {
		t.Errorf("an alias IP of an address: %v", c)
	}
	n, err := osl.Open(t.Context(), name)
	must(t, err)
	defer n.Close()
	if got := n.Info().Interfaces()[0].Address(); got != nil {
		if olderThan(t, 6, 18) {
			t.Skip("this kernel keeps the protocol of an IPv4 address that is replaced: docs/reliability.md")
		}
		t.Errorf("the alias IP is said to be the address %v", got)
	}

	vx.Routes, br.Routes = br.Routes, nil
	both := osl.Spec{Interfaces: []osl.InterfaceSpec{br, vx}}
	_, err = apply(both)
	must(t, err)
	if !hasRoute(t, key, "10.204.0.0/16 dev vx0") {
		t.Errorf("the routes are %v", routesOf(t, key))
	}
	if c, err := apply(both); err != nil || len(c) > 0 {
		t.Errorf("a second Apply: %v %v", c, err)
	}
}

// What TestEdits found, in short.

// edited applies networks of one sandbox, one after the other. Each is then as it is
// wanted; of the last, which the kernel refuses where fails says so, nothing is left.
func edited(t *testing.T, fails bool, list ...osl.Spec) (key string) {
	t.Helper()
	begin(t)
	name := name("t")
	key = osl.GenerateKey(name)
	t.Cleanup(func() { must(t, osl.Remove(context.Background(), name)) })
	for i, s := range list {
		s.Name = name
		n := osl.Network{Sandboxes: []osl.Spec{s}}
		if !fails || i < len(list)-1 {
			settled(t, n)
			continue
		}
		n.Sandboxes[0].Interfaces = append(slices.Clone(s.Interfaces), osl.InterfaceSpec{Name: "down0", Type: "bridge", Down: true})
		n.Sandboxes[0].Routes = append(slices.Clone(s.Routes), osl.RouteSpec{To: netip.MustParsePrefix("10.250.0.0/16"), Via: netip.MustParseAddr("192.0.2.1"), Dev: "down0"})
		before := snapshot(t, key)
		if did, err := osl.Apply(t.Context(), n); err == nil {
			t.Fatalf("it did not fail:\n%s", did)
		}
		same(t, "the sandbox", before, func() []string { return snapshot(t, key) })
	}
	return key
}

func bridgeNamed(name string, addrs ...string) osl.InterfaceSpec {
	i := osl.InterfaceSpec{Name: name, Type: "bridge"}
	for _, a := range addrs {
		i.Addresses = append(i.Addresses, netip.MustParsePrefix(a))
	}
	return i
}

func ofInterfaces(list ...osl.InterfaceSpec) osl.Spec { return osl.Spec{Interfaces: list} }

// An alternative name goes from one interface to another, also where that one goes, or
// has it as its name.
func TestFoundAltNameMoves(t *testing.T) {
	named := func(i osl.InterfaceSpec, names ...string) osl.InterfaceSpec { i.AltNames = names; return i }
	a, b := bridgeNamed("a"), bridgeNamed("b")
	list := []osl.Spec{
		ofInterfaces(named(a, "one"), named(b, "two")),
		ofInterfaces(named(a, "two"), named(b, "one")),
		ofInterfaces(named(bridgeNamed("c"), "one", "two"), a),
		ofInterfaces(bridgeNamed("one"), named(a, "c")),
		ofInterfaces(named(bridgeNamed("c"), "one"), a),
	}
	key := edited(t, false, list...)
	saysList(t, "c", namesSaid(t, key, "c"), "one")
	for i := range list[1:] {
		edited(t, true, list[i], list[i+1])
	}
}

// The kernel has one neighbor at the other end of a tun, whatever its address.
func TestFoundNeighborOfATun(t *testing.T) {
	s := ofInterfaces(osl.InterfaceSpec{Name: "tun0", Type: "tun", Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24")}})
	s.Name = name("t")
	s.Neighbors = []osl.NeighborSpec{{Dev: "tun0", IP: netip.MustParseAddr("10.9.0.2"), MAC: osl.MAC(mac("02:00:00:00:09:02"))}}
	begin(t)
	_, err := osl.Apply(t.Context(), osl.Network{Sandboxes: []osl.Spec{s}})
	refused(t, "a neighbor", err, osl.ErrInvalid, "10.9.0.2", "one only")
}

// IPv6 routes that refuse are on lo: they are there still when its IPv6 went on or off.
func TestFoundRefusingRoutesWithoutIPv6(t *testing.T) {
	with := func(s osl.Spec) osl.Spec {
		s.Routes = []osl.RouteSpec{{To: netip.MustParsePrefix("fd88::/48"), Type: "unreachable"}, {To: netip.MustParsePrefix("fd89::/48"), Type: "blackhole"}}
		return s
	}
	off, on := ofInterfaces(bridgeNamed("a", "10.9.0.1/24")), ofInterfaces(bridgeNamed("a", "fd09::1/64"))
	edited(t, false, with(off), with(on), with(off), on, off)
	for _, list := range [][2]osl.Spec{{with(off), with(on)}, {with(on), with(off)}, {with(on), off}, {with(off), on}, {off, with(on)}} {
		edited(t, true, list[0], list[1])
	}
}

// With the setting of ARP the kernel drops an interface's neighbors.
func TestFoundNeighborsStayWithoutARP(t *testing.T) {
	with := func(arp bool) osl.Spec {
		i := bridgeNamed("a", "10.9.0.1/24", "fd09::1/64")
		i.ARP = &arp
		s := ofInterfaces(i)
		for _, ip := range []string{"10.9.0.2", "fd09::2"} {
			s.Neighbors = append(s.Neighbors, osl.NeighborSpec{Dev: "a", IP: netip.MustParseAddr(ip), MAC: osl.MAC(mac("02:00:00:00:09:02"))})
		}
		return s
	}
	edited(t, false, with(true), with(false), with(true))
	edited(t, true, with(true), with(false))
	edited(t, true, with(false), with(true))
}

// An IPv6 address that stays for a while has the route to its subnet, and one with a peer
// that to the peer, as others have.
func TestFoundRoutesOfAddresses(t *testing.T) {
	up := bridgeNamed("a", "fd09::1/64", "fd08::1/128")
	up.AddressOptions = map[netip.Prefix]osl.AddressOptions{netip.MustParsePrefix("fd09::1/64"): {ValidLft: 5000},
		netip.MustParsePrefix("fd08::1/128"): {Peer: netip.MustParseAddr("fd08::2")}}
	down := up
	down.Down = true
	for _, list := range [][]osl.Spec{{ofInterfaces(up)}, {ofInterfaces(down), ofInterfaces(up)}} {
		key := edited(t, false, list...)
		for _, route := range []string{"fd09::/64 dev a", "fd08::2/128 dev a"} {
			for end := time.Now().Add(5 * time.Second); !hasRoute(t, key, route); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("there is no %s: the routes are %v", route, routesOf(t, key))
				}
			}
		}
	}
}

// An IPv6 route keeps the MTU that it was given, whatever its link's becomes.
func TestFoundMTUOfARoute(t *testing.T) {
	with := func(mtu int) osl.Spec {
		i := bridgeNamed("a", "fd09::1/64")
		i.MTU = mtu
		s := ofInterfaces(i)
		s.Routes = []osl.RouteSpec{{To: netip.MustParsePrefix("fd88::/48"), Via: netip.MustParseAddr("fd09::2"), MTU: 1300}}
		return s
	}
	key := edited(t, false, with(1500), with(1300), with(1400))
	edited(t, true, with(1500), with(1300))
	said := asked[[]map[string]any](t, key, "ip", "-json", "-6", "route", "show", "fd88::/48")
	if len(said) != 1 || fmt.Sprint(said[0]["metrics"]) != "[map[mtu:1300]]" {
		t.Errorf("the kernel has %v", said)
	}
}
