//go:build linux

package osltest

import (
	"context"
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/types"
)

// furnished is a sandbox with one of everything.
type furnished struct {
	sb                 osl.Sandbox
	eth, six, port, vx string // source names
	routes             []*types.StaticRoute
	opts               map[string][]osl.IfaceOption
}

func (w *world) furnished() *furnished {
	w.t.Helper()
	t, sb := w.t, w.sandbox()
	f := &furnished{sb: sb, opts: map[string][]osl.IfaceOption{}}
	o, no := sb.InterfaceOptions(), sb.NeighborOptions()
	add := func(src, prefix string, opts ...osl.IfaceOption) string {
		f.opts[src+"+"+prefix] = opts
		return w.add(sb, src, prefix, opts...)
	}
	add("br-src", "br", o.Bridge(true), o.Address(ipnet("10.61.1.1/24")), o.AddressIPv6(ipnet("fd61:1::1/64")))
	f.eth, _ = w.vethUp()
	eth := add(f.eth, "eth", o.MacAddress(mac("02:00:00:00:61:02")), o.Address(ipnet("10.61.0.2/24")), o.AddressIPv6(ipnet("fd61::2/64")),
		o.LinkLocalAddresses([]*net.IPNet{ipnet("169.254.61.1/16"), ipnet("fe80::61/64")}),
		o.Routes([]*net.IPNet{ipnet("10.161.0.0/16"), ipnet("fd61:a::/48")}), osl.WithMTU(1400))
	f.six, _ = w.vethUp()
	add(f.six, "eth", o.AddressIPv6(ipnet("fd62::2/64")))
	f.port, _ = w.vethUp()
	add(f.port, "veth", o.Master("br-src"))
	f.vx = w.vxlan(4200)
	add(f.vx, "vxlan", o.Master("br-src"))
	must(t, sb.SetGateway(ip("10.61.0.1")))
	must(t, sb.SetGatewayIPv6(ip("fd61::1")))
	f.routes = []*types.StaticRoute{
		route("10.162.0.0/16", types.NEXTHOP, "10.61.0.9"), route("fd61:b::/48", types.NEXTHOP, "fd61::9"),
		route("10.163.0.0/16", types.CONNECTED, ""),
	}
	for _, r := range f.routes {
		must(t, sb.AddStaticRoute(r))
	}
	must(t, sb.AddAliasIP(eth, ipnet("10.255.61.1/32")))
	must(t, sb.AddAliasIP("lo", ipnet("10.255.61.2/32")))
	must(t, sb.AddAliasIP(eth, ipnet("fd61:c::1/128")))
	must(t, sb.AddNeighbor(ip("10.61.0.77"), mac("02:00:00:00:61:77"), false, no.LinkName(f.eth)))
	must(t, sb.AddNeighbor(ip("fd61::77"), mac("02:00:00:00:61:77"), false, no.LinkName(f.eth)))
	must(t, sb.AddNeighbor(ip("192.0.2.61"), mac("02:00:00:00:61:88"), false, no.LinkName(f.vx), no.Family(unix.AF_BRIDGE)))
	must(t, sb.DisableARPForVIP(eth))
	return f
}

func TestInfo(t *testing.T) {
	w := begin(t)
	f := w.furnished()
	info := f.sb.Info()
	var srcs, dsts []string
	for _, i := range info.Interfaces() {
		srcs, dsts = append(srcs, i.SrcName()), append(dsts, i.DstName())
	}
	for i, x := range []struct{ src, dst, master string }{
		{"br-src", "br0", ""}, {f.eth, "eth0", ""}, {f.six, "eth1", ""}, {f.port, "veth0", "br-src"}, {f.vx, "vxlan0", "br-src"},
	} {
		at := slices.Index(srcs, x.src)
		if at != i { // in the order of the calls
			t.Errorf("%s is number %d of %v, not %d", x.src, at, srcs, i)
		}
		if at < 0 || dsts[at] != x.dst {
			t.Errorf("interface %d, %s as %s, is not in %v as %v", i, x.src, x.dst, srcs, dsts)
		} else if m := info.Interfaces()[at].Master(); m != x.master {
			t.Errorf("%s has master %q, want %q", x.src, m, x.master)
		}
	}
	if len(srcs) != 5 {
		t.Errorf("the interfaces are %v", srcs)
	}
	if !info.Gateway().Equal(ip("10.61.0.1")) || !info.GatewayIPv6().Equal(ip("fd61::1")) {
		t.Errorf("gateways: %v, %v", info.Gateway(), info.GatewayIPv6())
	}
	for _, r := range f.routes {
		if n := holds(f.sb, r); n != 1 {
			t.Errorf("%v is there %d times", r, n)
		}
	}
	if n := len(info.StaticRoutes()); n != len(f.routes) {
		t.Errorf("%d static routes, want %d:\n%s", n, len(f.routes), infoText(info))
	}
	// What a caller does with the answer is no concern of the sandbox.
	before := infoText(f.sb.Info())
	for _, r := range info.StaticRoutes() {
		r.Destination.IP[0], r.RouteType = 99, 99
	}
	iface(t, f.sb, f.eth).Address().IP[0] = 99
	if got := infoText(f.sb.Info()); got != before {
		t.Errorf("changing what Info returned changed the sandbox:\n%s", got)
	}
}

func TestRestore(t *testing.T) {
	w := begin(t)
	f := w.furnished()
	before, want := snapshot(t, f.sb.Key()), infoText(f.sb.Info())
	hostBefore := snapshot(t, "")
	in, host := watch(t, f.sb.Key(), everything...), watch(t, "", everything...)
	in.quiet()
	host.quiet()
	sb, err := osl.NewSandbox(f.sb.Key(), true, true)
	must(t, err)
	if got := infoText(sb.Info()); got != want {
		t.Errorf("Info of the sandbox opened again was\n%s\nand is\n%s", want, got)
	}
	must(t, sb.Restore(f.opts, f.routes, ip("10.61.0.1"), ip("fd61::1")))
	if got := infoText(sb.Info()); got != want {
		t.Errorf("Info after Restore was\n%s\nand is\n%s", want, got)
	}
	in.silent("NewSandbox and Restore")
	host.silent("NewSandbox and Restore")
	same(t, "the sandbox", before, func() []string { return snapshot(t, f.sb.Key()) })
	same(t, "the host", hostBefore, func() []string { return snapshot(t, "") })

	// What is named but not there.
	missing := map[string][]osl.IfaceOption{"nothing+eth": nil}
	refused(t, "an interface that is not there", sb.Restore(missing, nil, nil, nil), osl.ErrNotFound, "nothing", sb.Key())
	in.silent("a failed Restore")
	for _, key := range []string{"", "+", "noplus", "+eth"} {
		ends(t, "Restore of "+key, func() {
			if sb.Restore(map[string][]osl.IfaceOption{key: nil}, nil, nil, nil) == nil {
				t.Errorf("Restore accepts the interface %q", key)
			}
		})
	}
	must(t, sb.Restore(nil, nil, nil, nil))
	in.silent("a Restore of nothing")
	in.close()
	host.close()

	// The second handle can do what the first one could.
	must(t, sb.DeleteNeighbor(ip("10.61.0.77"), mac("02:00:00:00:61:77"), true))
	must(t, sb.DeleteNeighbor(ip("fd61::77"), mac("02:00:00:00:61:77"), true))
	must(t, sb.DeleteNeighbor(ip("192.0.2.61"), mac("02:00:00:00:61:88"), true))
	must(t, sb.RemoveAliasIP("eth0", ipnet("10.255.61.1/32")))
	for _, r := range f.routes {
		must(t, sb.RemoveStaticRoute(r))
	}
	must(t, sb.UnsetGateway())
	must(t, sb.UnsetGatewayIPv6())
	for _, i := range sb.Info().Interfaces() {
		must(t, i.Remove())
	}
	if got := linkNames(t, sb.Key()); !slices.Equal(got, []string{"lo"}) {
		t.Errorf("left inside: %v", got)
	}
	for _, n := range []string{f.eth, f.six, f.port, f.vx} {
		needLink(t, "", n)
	}
}

func TestReq34OpeningRestoresAllAndWritesNothing(t *testing.T) {
	w := begin(t)
	f := w.furnished()
	ctx := context.Background()
	first, err := osl.Open(ctx, f.sb.Key())
	must(t, err)
	defer first.Close()
	eventually(t, "the bridge, a port of which has a carrier, gets its link-local address", func() bool {
		return slices.ContainsFunc(addrsOf(t, f.sb.Key(), "br0"), func(a string) bool { return strings.HasPrefix(a, "fe80:") })
	})
	want := status(t, first)
	in, host := watch(t, f.sb.Key(), everything...), watch(t, "", everything...)
	in.quiet()
	host.quiet()
	for range 3 {
		n, err := osl.Open(ctx, f.sb.Key())
		must(t, err)
		if got := status(t, n); got != want {
			t.Errorf("Inspect was\n%s\nand is\n%s", want, got)
		}
		if got, want := infoText(n.Info()), infoText(f.sb.Info()); got != want {
			t.Errorf("Info was\n%s\nand is\n%s", want, got)
		}
		must(t, n.Close())
	}
	_, err = osl.List(ctx)
	must(t, err)
	in.silent("Open, Inspect, Info, List and Close")
	host.silent("Open, Inspect, Info, List and Close")

	s, err := first.Inspect(ctx)
	must(t, err)
	if !s.Made || s.Key != f.sb.Key() || s.Gateway.String() != "10.61.0.1" || s.Gateway6.String() != "fd61::1" || len(s.Routes) != 3 || len(s.Neighbors) != 3 {
		t.Errorf("Inspect says:\n%s", want)
	}
	for _, i := range s.Interfaces {
		if i.Name == "eth0" && (i.Source != f.eth || i.Origin != "host" || i.MTU != 1400 || !i.Up || i.UnderWay || len(i.Aliases) != 2 || len(i.Routes) != 2) {
			t.Errorf("Inspect says of eth0: %+v", i)
		}
		if i.Name == "br0" && (i.Source != "br-src" || i.Origin != "made" || i.Type != "bridge") {
			t.Errorf("Inspect says of br0: %+v", i)
		}
		if i.Name == "veth0" && i.Master != "br0" {
			t.Errorf("Inspect says of veth0: %+v", i)
		}
	}
}

// status is Inspect as text.
func status(t *testing.T, n *osl.Namespace) string {
	t.Helper()
	s, err := n.Inspect(context.Background())
	must(t, err)
	b, err := json.MarshalIndent(s, "", " ")
	must(t, err)
	return string(b)
}
