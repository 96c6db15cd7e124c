//go:build linux

package osltest

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

func TestAddInterfaceWithEverything(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	o := sb.InterfaceOptions()
	w.add(sb, "bridge0", "br", o.Bridge(true))
	src, _ := w.vethUp()
	dst := w.add(sb, src, "eth",
		o.MacAddress(mac("02:00:00:00:00:17")),
		o.Address(ipnet("10.5.0.2/24")),
		o.AddressIPv6(ipnet("fd05::2/64")),
		o.LinkLocalAddresses([]*net.IPNet{ipnet("169.254.5.5/16"), ipnet("fe80::5:5/64")}),
		o.Routes([]*net.IPNet{ipnet("10.55.0.0/16"), ipnet("fd55::/64")}),
		osl.WithMTU(1420), osl.WithTxQueueLen(77))
	if dst != "eth0" {
		t.Errorf("DstName is %q, want eth0", dst)
	}
	key := sb.Key()
	a := needLink(t, key, dst).Attrs()
	if a.HardwareAddr.String() != "02:00:00:00:00:17" || a.MTU != 1420 || a.TxQLen != 77 || a.Flags&net.FlagUp == 0 {
		t.Errorf("the link is mac=%v mtu=%d txqlen=%d flags=%v", a.HardwareAddr, a.MTU, a.TxQLen, a.Flags)
	}
	got := addrsOf(t, key, dst)
	for _, want := range []string{"10.5.0.2/24", "fd05::2/64", "169.254.5.5/16", "fe80::5:5/64"} {
		if !slices.Contains(got, want) {
			t.Errorf("address %s is missing: %v", want, got)
		}
	}
	for _, want := range []string{"10.55.0.0/16 dev eth0", "fd55::/64 dev eth0", "10.5.0.0/24 dev eth0", "fd05::/64 dev eth0"} {
		if !hasRoute(t, key, want) {
			t.Errorf("route %q is missing: %v", want, routesOf(t, key))
		}
	}
	i := iface(t, sb, src)
	if i.Address().String() != "10.5.0.2/24" || i.AddressIPv6().String() != "fd05::2/64" {
		t.Errorf("Info says %v and %v", i.Address(), i.AddressIPv6())
	}
	if got := sorted(i.LinkLocalAddresses()); !slices.Equal(got, []string{"169.254.5.5/16", "fe80::5:5/64"}) {
		t.Errorf("LinkLocalAddresses are %v", got)
	}
	if got := sorted(i.Routes()); !slices.Equal(got, []string{"10.55.0.0/16", "fd55::/64"}) {
		t.Errorf("Routes are %v", got)
	}
	if i.Bridge() || i.Master() != "" {
		t.Errorf("Bridge is %v, Master %q", i.Bridge(), i.Master())
	}
	if linkOf(t, "", src) != nil {
		t.Error("the link is on the host still")
	}
}

func TestAddInterfaceBridgeAndMaster(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	o := sb.InterfaceOptions()
	br := w.add(sb, "overlaybr", "br", o.Bridge(true), o.Address(ipnet("10.6.0.1/24")), o.AddressIPv6(ipnet("fd06::1/64")))
	if br != "br0" {
		t.Errorf("the bridge is %q, want br0", br)
	}
	l := needLink(t, sb.Key(), br)
	if l.Type() != "bridge" || l.Attrs().Flags&net.FlagUp == 0 {
		t.Errorf("%s is a %s with flags %v", br, l.Type(), l.Attrs().Flags)
	}
	if got := addrsOf(t, sb.Key(), br); !slices.Contains(got, "10.6.0.1/24") || !slices.Contains(got, "fd06::1/64") {
		t.Errorf("addresses: %v", got)
	}
	src, _ := w.vethUp()
	port := w.add(sb, src, "veth", o.Master("overlaybr"))
	if m := needLink(t, sb.Key(), port).Attrs().MasterIndex; m != l.Attrs().Index {
		t.Errorf("the port's master is link %d, want %d", m, l.Attrs().Index)
	}
	if i := iface(t, sb, "overlaybr"); !i.Bridge() || i.Master() != "" {
		t.Errorf("the bridge: Bridge is %v, Master %q", i.Bridge(), i.Master())
	}
	if i := iface(t, sb, src); i.Bridge() || i.Master() != "overlaybr" {
		t.Errorf("the port: Bridge is %v, Master %q", i.Bridge(), i.Master())
	}
	must(t, iface(t, sb, src).Remove())
	if m := needLink(t, "", src).Attrs().MasterIndex; m != 0 {
		t.Errorf("on the host the port has master %d", m)
	}
	must(t, iface(t, sb, "overlaybr").Remove())
	if got := linkNames(t, sb.Key()); !slices.Equal(got, []string{"lo"}) {
		t.Errorf("left inside: %v", got)
	}
}

func TestAddInterfaceOptionsThatSetNothing(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	o := sb.InterfaceOptions()
	src, _ := w.veth()
	before := needLink(t, "", src).Attrs()
	dst := w.add(sb, src, "eth", o.Bridge(false), o.MacAddress(nil), o.Address(nil), o.AddressIPv6(nil),
		o.LinkLocalAddresses(nil), o.Master(""), o.Routes(nil), osl.WithMTU(0))
	a := needLink(t, sb.Key(), dst).Attrs()
	if a.HardwareAddr.String() != before.HardwareAddr.String() || a.MTU != before.MTU || a.TxQLen != before.TxQLen {
		t.Errorf("changed: %v, %d, %d", a.HardwareAddr, a.MTU, a.TxQLen)
	}
	if got := addrsOf(t, sb.Key(), dst); len(got) > 0 {
		t.Errorf("addresses: %v", got)
	}
	i := iface(t, sb, src)
	if i.Address() != nil || i.AddressIPv6() != nil || len(i.LinkLocalAddresses()) > 0 || len(i.Routes()) > 0 {
		t.Errorf("Info says:\n%s", infoText(sb.Info()))
	}
}

func TestAddInterfaceKinds(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	parent, _ := w.vethUp()
	w.up(parent)
	mv := name("mv")
	w.link(&netlink.Macvlan{LinkAttrs: func() netlink.LinkAttrs {
		a := attrs(mv)
		a.ParentIndex = needLink(t, "", parent).Attrs().Index
		return a
	}(), Mode: netlink.MACVLAN_MODE_BRIDGE})
	vx := w.vxlan(4001)
	kinds := map[string]string{mv: "macvlan", vx: "vxlan"}
	if fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err == nil {
		unix.Close(fd)
		tun := name("tn")
		w.link(&netlink.Tuntap{LinkAttrs: attrs(tun), Mode: netlink.TUNTAP_MODE_TUN})
		kinds[tun] = "tuntap"
	} else {
		t.Logf("no tun here: /dev/net/tun: %v", err)
	}
	n := 0
	for src, kind := range kinds {
		dst := w.add(sb, src, "eth", addresses(netip.AddrFrom4([4]byte{10, 7, byte(n), 2}).String()+"/24"))
		if got := needLink(t, sb.Key(), dst).Type(); got != kind {
			t.Errorf("%s is a %s, want %s", dst, got, kind)
		}
		n++
	}
	must(t, sb.Destroy())
	for src, kind := range kinds {
		if l := needLink(t, "", src); l.Type() != kind {
			t.Errorf("%s came home as a %s", src, l.Type())
		}
	}
}

func TestWithOptionsOfOsl(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src, _ := w.vethUp()
	dst := w.add(sb, src, "uplink", osl.WithName(), osl.WithDefaultRoute(),
		osl.WithSysctls(map[string]string{"ipv4.rp_filter": "2", "ipv6.accept_ra": "0"}),
		addresses("10.8.0.2/24", "10.8.1.2/24", "fd08::2/64", "fd08:1::2/64"))
	if dst != "uplink" {
		t.Errorf("WithName: the name is %q", dst)
	}
	got := addrsOf(t, sb.Key(), dst)
	for _, want := range []string{"10.8.0.2/24", "10.8.1.2/24", "fd08::2/64", "fd08:1::2/64"} {
		if !slices.Contains(got, want) {
			t.Errorf("address %s is missing: %v", want, got)
		}
	}
	for _, want := range []string{"default dev uplink", "default6 dev uplink"} {
		if !hasRoute(t, sb.Key(), want) {
			t.Errorf("%q is missing: %v", want, routesOf(t, sb.Key()))
		}
	}
	if got := sysctl(t, sb.Key(), "ipv4/conf/uplink/rp_filter"); got != "2" {
		t.Errorf("rp_filter is %s", got)
	}
	if got := sysctl(t, sb.Key(), "ipv6/conf/uplink/accept_ra"); got != "0" {
		t.Errorf("accept_ra is %s", got)
	}
	if i := iface(t, sb, src); i.Address().String() != "10.8.0.2/24" || i.AddressIPv6().String() != "fd08::2/64" {
		t.Errorf("the first addresses are %v and %v", i.Address(), i.AddressIPv6())
	}
}

func TestWithLinkInside(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	witness(t, sb.Key(), func(h *netlink.Handle) {
		must(t, h.LinkAdd(&netlink.Veth{LinkAttrs: attrs("there"), PeerName: "other"}))
	})
	before := snapshot(t, sb.Key())
	index := needLink(t, sb.Key(), "there").Attrs().Index
	dst := w.add(sb, "there", "eth", osl.WithLinkInside(), addresses("10.9.0.2/24"), osl.WithSysctls(map[string]string{"ipv4.arp_ignore": "1"}))
	l := needLink(t, sb.Key(), dst)
	if dst != "eth0" || l.Attrs().Index != index {
		t.Errorf("the link is %s with index %d, was %d", dst, l.Attrs().Index, index)
	}
	if got := addrsOf(t, sb.Key(), dst); !slices.Contains(got, "10.9.0.2/24") {
		t.Errorf("addresses: %v", got)
	}
	must(t, iface(t, sb, "there").Remove())
	same(t, "the sandbox after Remove", before, func() []string { return snapshot(t, sb.Key()) })
}
