//go:build linux

package osltest

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

func TestAliasIP(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src, dst, _ := w.eth(sb, "10.31.0.2/24", "fd31::2/64")
	key := sb.Key()
	for _, x := range []struct{ link, addr string }{
		{dst, "10.255.31.1/32"}, {dst, "fd31:ff::1/128"},
		{"lo", "10.255.31.2/32"}, {"lo", "fd31:ff::2/128"},
		{dst, "10.31.0.77/24"},
	} {
		before, info := addrsOf(t, key, x.link), infoText(sb.Info())
		for range 2 {
			if err := sb.AddAliasIP(x.link, ipnet(x.addr)); err != nil {
				t.Errorf("AddAliasIP(%s, %s): %v", x.link, x.addr, err)
			}
		}
		if got := addrsOf(t, key, x.link); !slices.Contains(got, x.addr) {
			t.Errorf("%s is not on %s: %v", x.addr, x.link, got)
		}
		i := iface(t, sb, src)
		if i.Address().String() != "10.31.0.2/24" || i.AddressIPv6().String() != "fd31::2/64" {
			t.Errorf("an alias became an address: %v, %v", i.Address(), i.AddressIPv6())
		}
		for range 2 {
			if err := sb.RemoveAliasIP(x.link, ipnet(x.addr)); err != nil {
				t.Errorf("RemoveAliasIP(%s, %s): %v", x.link, x.addr, err)
			}
		}
		if got := addrsOf(t, key, x.link); !slices.Equal(got, before) {
			t.Errorf("after RemoveAliasIP(%s, %s): %v, before %v", x.link, x.addr, got, before)
		}
		if got := infoText(sb.Info()); got != info {
			t.Errorf("Info was\n%s\nand is\n%s", info, got)
		}
	}
	refused(t, "an interface that is not there", sb.AddAliasIP("eth7", ipnet("10.255.31.1/32")), osl.ErrNotFound, "eth7", key)
}

// With the last IPv4 address of a link the kernel takes all routes by way of it, and its
// neighbours: those that need no address stay.
func TestLastAddressLeavesTheLink(t *testing.T) {
	w := begin(t)
	n := w.namespace()
	src, _ := w.vethUp()
	o := n.InterfaceOptions()
	must(t, n.AddInterface(src, "eth", addresses("10.34.0.2/24"), o.Routes([]*net.IPNet{ipnet("10.35.0.0/16")})))
	must(t, n.AddAliasIP("eth0", ipnet("10.36.0.1/24")))
	must(t, n.SetGateway(ip("10.34.0.1")))
	must(t, n.AddNeighbor(ip("10.34.0.9"), mac("02:00:00:00:34:09"), true, n.NeighborOptions().LinkName(src)))
	must(t, n.RemoveAliasIP("eth0", ipnet("10.36.0.1/24")))
	if g := n.Info().Gateway(); g == nil {
		t.Error("the gateway went with an alias")
	}
	must(t, n.RemoveAddresses(t.Context(), "eth0", slices.Values(prefixes("10.34.0.2/24"))))
	if got := addrsOf(t, n.Key(), "eth0"); slices.Contains(got, "10.34.0.2/24") {
		t.Errorf("addresses: %v", got)
	}
	if got := iface(t, n, src).Routes(); len(got) != 1 || got[0].String() != "10.35.0.0/16" {
		t.Errorf("its routes: %v", got)
	}
	if got := neighborsOf(t, n.Key(), "eth0", unix.AF_INET); len(got) != 1 {
		t.Errorf("its neighbors: %v", got)
	}
	if g := n.Info().Gateway(); g != nil {
		t.Errorf("the gateway %v is not reached any more", g)
	}
	must(t, n.RemoveAddresses(t.Context(), "eth0", slices.Values(prefixes("10.34.0.2/24", "10.34.0.3/24")))) // they are not there
	must(t, n.AddAddresses(t.Context(), "eth0", slices.Values(prefixes("10.34.0.2/24"))))
	must(t, n.DeleteNeighbor(ip("10.34.0.9"), mac("02:00:00:00:34:09"), true))
}

// So do those that others made, that are local, and whose source is on another link.
func TestLastAddressLeavesRoutes(t *testing.T) {
	begin(t)
	p := netip.MustParsePrefix
	lab := osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "edge", Interfaces: []osl.InterfaceSpec{
		{Name: "b0", Type: "bridge", Addresses: prefixes("10.70.0.1/24")}, {Name: "b1", Type: "bridge", Addresses: prefixes("10.7.0.1/24")}},
		Routes: []osl.RouteSpec{
			{To: p("10.71.0.0/16"), Dev: "b0", Src: netip.MustParseAddr("10.7.0.1")},
			{To: p("10.72.0.0/16"), Dev: "b0", Type: "local"},
			{To: p("10.74.0.0/16"), Dev: "b0", Src: netip.MustParseAddr("10.70.0.1")},
		}}}}
	defer func() { _, err := osl.Down(t.Context(), lab); must(t, err) }()
	settled(t, lab)
	ipCommand(t, "-n", "edge", "route", "add", "10.73.0.0/16", "dev", "b0", "scope", "link")
	ipCommand(t, "-n", "edge", "route", "add", "10.75.0.0/16", "via", "10.70.0.9")
	n, err := osl.Open(t.Context(), "edge")
	must(t, err)
	must(t, n.RemoveAddresses(t.Context(), "b0", slices.Values(prefixes("10.70.0.1/24"))))
	got := ipCommand(t, "-n", "edge", "-4", "route", "show", "table", "all")
	for dst, stays := range map[string]bool{"10.71.0.0/16": true, "10.72.0.0/16": true, "10.73.0.0/16": true, "10.74.0.0/16": false, "10.75.0.0/16": false, "10.70.0": false} {
		if strings.Contains(got, dst) != stays {
			t.Errorf("%s stays: %v, and is in\n%s", dst, stays, got)
		}
	}
}

// An interface that has an alias only, has no address of its own.
func TestAliasIsNoAddress(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src, dst, _ := w.eth(sb)
	must(t, sb.AddAliasIP(dst, ipnet("10.32.0.1/32")))
	if a := iface(t, sb, src).Address(); a != nil {
		t.Errorf("Address is %v", a)
	}
	if got := addrsOf(t, sb.Key(), dst); !slices.Contains(got, "10.32.0.1/32") {
		t.Errorf("addresses: %v", got)
	}
}

func TestDisableARPForVIP(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	_, dst, _ := w.eth(sb, "10.33.0.2/24")
	hostAll := [2]string{sysctl(t, "", "ipv4/conf/all/arp_ignore"), sysctl(t, "", "ipv4/conf/default/arp_announce")}
	for range 2 {
		must(t, sb.DisableARPForVIP(dst))
		ignore, announce := sysctl(t, sb.Key(), "ipv4/conf/"+dst+"/arp_ignore"), sysctl(t, sb.Key(), "ipv4/conf/"+dst+"/arp_announce")
		if ignore != "1" || announce != "2" {
			t.Errorf("arp_ignore=%s arp_announce=%s, want 1 and 2", ignore, announce)
		}
	}
	if got := [2]string{sysctl(t, "", "ipv4/conf/all/arp_ignore"), sysctl(t, "", "ipv4/conf/default/arp_announce")}; got != hostAll {
		t.Errorf("the host's settings are %v, were %v", got, hostAll)
	}
	refused(t, "an interface that is not there", sb.DisableARPForVIP("eth7"), osl.ErrNotFound, "eth7", sb.Key())
}
