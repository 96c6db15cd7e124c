//go:build linux

package osltest

import (
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/seed59451c2b/osl"
)

// The tests of this file are named after the rows of the requirements from the
// field.

func TestReq15NameTakenInside(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	w.eth(sb, "10.131.0.2/24")
	src := w.dressed(true)
	before, within := snapshot(t, ""), snapshot(t, sb.Key())
	refused(t, "a taken name", sb.AddInterface(src, "eth0", osl.WithName()), osl.ErrNameInUse, src, "eth0", sb.Key())
	same(t, "the host", before, func() []string { return snapshot(t, "") })
	same(t, "the sandbox", within, func() []string { return snapshot(t, sb.Key()) })
	refused(t, "a bridge with a taken name", sb.AddInterface("brx", "eth0", osl.WithName(), sb.InterfaceOptions().Bridge(true)), osl.ErrNameInUse)
	same(t, "the sandbox", within, func() []string { return snapshot(t, sb.Key()) })
}

func TestReq15NameTakenAtHome(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src, _, _ := w.eth(sb, "10.132.0.2/24")
	within, info := snapshot(t, sb.Key()), infoText(sb.Info())
	// Someone made another link with the name meanwhile.
	w.link(&netlink.Bridge{LinkAttrs: attrs(src)})
	i := iface(t, sb, src)
	refused(t, "Remove", i.Remove(), osl.ErrNameInUse, src, sb.Key())
	same(t, "the sandbox", within, func() []string { return snapshot(t, sb.Key()) })
	if got := infoText(sb.Info()); got != info {
		t.Errorf("Info was\n%s\nand is\n%s", info, got)
	}
	must(t, netlink.LinkDel(needLink(t, "", src)))
	// Row 19: after the failure, Remove can be called again, and once more.
	for range 3 {
		must(t, i.Remove())
	}
	if l := needLink(t, "", src); l.Type() != "veth" {
		t.Errorf("%s is a %s", src, l.Type())
	}
}

// What came from the host is not lost when its name is taken there: either
// Destroy fails and the sandbox stays, or the link is home in some way.
func TestReq18aDestroyWithTheNameTaken(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src, dst, _ := w.eth(sb, "10.133.0.2/24")
	hw := needLink(t, sb.Key(), dst).Attrs().HardwareAddr.String()
	w.link(&netlink.Bridge{LinkAttrs: attrs(src)})
	atHome := func() string {
		for _, l := range links(t, "") {
			if l.Type() == "veth" && l.Attrs().HardwareAddr.String() == hw {
				return l.Attrs().Name
			}
		}
		return ""
	}
	if err := sb.Destroy(); err != nil {
		refused(t, "Destroy", err, osl.ErrNameInUse, src, sb.Key())
		if linkOf(t, sb.Key(), dst) == nil && atHome() == "" {
			t.Error("the link is lost")
		}
	} else if n := atHome(); n == "" {
		t.Error("Destroy succeeded and the link is lost")
	} else {
		w.made = append(w.made, n)
	}
	must(t, netlink.LinkDel(needLink(t, "", src)))
	must(t, sb.Destroy())
}

func TestReq16RenamedInside(t *testing.T) {
	w := begin(t)
	src := w.dressed(true)
	sb := w.sandbox()
	before := snapshot(t, "")
	dst := w.add(sb, src, "eth", addresses("10.134.0.2/24"))
	i := iface(t, sb, src)
	witness(t, sb.Key(), func(h *netlink.Handle) {
		rename(t, h, needLink(t, sb.Key(), dst), "renamed")
	})
	if _, err := i.Statistics(); err != nil {
		t.Errorf("Statistics: %v", err)
	}
	if got := iface(t, sb, src).DstName(); got != "renamed" {
		t.Errorf("DstName is %q", got)
	}
	// Its number is free again.
	other, _ := w.veth()
	if got := w.add(sb, other, "eth"); got != "eth0" {
		t.Errorf("the next one is %s", got)
	}
	must(t, iface(t, sb, other).Remove())
	must(t, i.Remove())
	must(t, netlink.LinkDel(needLink(t, "", other)))
	same(t, "the host", before, func() []string { return snapshot(t, "") })
}

func TestReq17AltNamesNeverBlockTheMoveHome(t *testing.T) {
	for _, destroy := range []bool{false, true} {
		t.Run(map[bool]string{false: "Remove", true: "Destroy"}[destroy], func(t *testing.T) {
			w := begin(t)
			sb := w.sandbox()
			src, dst, _ := w.eth(sb, "10.135.0.2/24")
			own := name("own")
			witness(t, sb.Key(), func(h *netlink.Handle) {
				l := needLink(t, sb.Key(), dst)
				// A daemon inside keeps the first name as an alternative one.
				must(t, h.LinkAddAltName(l, src))
				must(t, h.LinkAddAltName(l, own))
				must(t, h.LinkAddAltName(l, "harmless"+own))
			})
			// And on the host another link has one of them meanwhile.
			w.link(&netlink.Bridge{LinkAttrs: attrs(own)})
			if destroy {
				must(t, sb.Destroy())
			} else {
				must(t, iface(t, sb, src).Remove())
			}
			a := needLink(t, "", src).Attrs()
			if !slices.Contains(a.AltNames, "harmless"+own) {
				t.Errorf("the alternative name that blocks nothing is gone: %v", a.AltNames)
			}
		})
	}
}

// An alternative name is a name: the kernel gives it to no other link.
func TestReq17AltNamesCountAsTaken(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	witness(t, sb.Key(), func(h *netlink.Handle) {
		must(t, h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs("other")}))
		must(t, h.LinkAddAltName(needLink(t, sb.Key(), "other"), "eth0"))
	})
	src, _ := w.veth()
	if dst := w.add(sb, src, "eth"); dst != "eth1" {
		t.Errorf("the name is %s, want eth1", dst)
	}
	// A prefix that leaves room for one digit only.
	long := strings.Repeat("p", 14)
	witness(t, sb.Key(), func(h *netlink.Handle) {
		must(t, h.LinkAddAltName(needLink(t, sb.Key(), "other"), long+"0"))
	})
	third, _ := w.veth()
	if dst := w.add(sb, third, long); dst != long+"1" {
		t.Errorf("the name is %s, want %s1", dst, long)
	}
	// One that the moving link brings, and that is taken inside.
	next := w.dressed(true)
	must(t, netlink.LinkAddAltName(needLink(t, "", next), "other"))
	before, within := snapshot(t, ""), snapshot(t, sb.Key())
	if err := sb.AddInterface(next, "eth"); err != nil {
		refused(t, "an alternative name that is taken", err, osl.ErrNameInUse, next)
		same(t, "the host", before, func() []string { return snapshot(t, "") })
		same(t, "the sandbox", within, func() []string { return snapshot(t, sb.Key()) })
	}
}

func TestReq19RemoveAnyNumberOfTimes(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src, dst, peer := w.eth(sb, "10.136.0.2/24")
	i := iface(t, sb, src)
	for range 5 {
		must(t, i.Remove())
	}
	// It was added again by someone: the old Interface is not about it, or
	// takes it home; it never fails.
	w.add(sb, src, "eth")
	must(t, i.Remove())
	if again := findIface(sb, src); again != nil {
		must(t, again.Remove())
	}
	// The link is gone altogether: its other end was deleted.
	w.add(sb, src, "eth", addresses("10.136.0.2/24"))
	i = iface(t, sb, src)
	must(t, netlink.LinkDel(needLink(t, "", peer)))
	if linkOf(t, sb.Key(), dst) != nil {
		t.Fatal("the link is there still")
	}
	must(t, i.Remove())
	must(t, i.Remove())
	if _, err := i.Statistics(); err == nil {
		t.Error("Statistics of a link that is gone: no error")
	} else {
		refused(t, "Statistics of a link that is gone", err, osl.ErrNotFound, dst)
	}
}

func TestReq20UnsetIsNotZero(t *testing.T) {
	w := begin(t)
	src := w.dressed(false)
	sb := w.sandbox()
	a := needLink(t, sb.Key(), w.add(sb, src, "eth")).Attrs()
	if a.MTU != 1380 || a.TxQLen != 333 || a.HardwareAddr.String() != "02:aa:00:00:00:01" {
		t.Errorf("mtu=%d txqlen=%d mac=%v", a.MTU, a.TxQLen, a.HardwareAddr)
	}
	must(t, iface(t, sb, src).Remove())
	// Zero, where it was set, is zero.
	a = needLink(t, sb.Key(), w.add(sb, src, "eth", osl.WithTxQueueLen(0))).Attrs()
	if a.TxQLen != 0 || a.MTU != 1380 {
		t.Errorf("mtu=%d txqlen=%d", a.MTU, a.TxQLen)
	}
	must(t, iface(t, sb, src).Remove())
	if a := needLink(t, "", src).Attrs(); a.TxQLen != 333 {
		t.Errorf("home with txqlen=%d", a.TxQLen)
	}
}

func TestReq21NamesFollowTheOrderOfTheCalls(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	witness(t, sb.Key(), func(h *netlink.Handle) {
		for _, n := range []string{"eth1", "eth3", "eth", "eth05", "ethx2"} {
			must(t, h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs(n)}))
		}
	})
	var srcs []string
	for _, want := range []string{"eth0", "eth2", "eth4", "eth5"} {
		src, _ := w.veth()
		srcs = append(srcs, src)
		if got := w.add(sb, src, "eth"); got != want {
			t.Errorf("the name is %s, want %s", got, want)
		}
	}
	must(t, iface(t, sb, srcs[1]).Remove())
	if got := w.add(sb, srcs[1], "eth"); got != "eth2" {
		t.Errorf("the lowest free name is eth2, not %s", got)
	}
	if got := w.add(sb, "br-src", "eth", sb.InterfaceOptions().Bridge(true)); got != "eth6" {
		t.Errorf("a bridge counts with them: eth6, not %s", got)
	}
	other, _ := w.veth()
	if got := w.add(sb, other, "veth"); got != "veth0" {
		t.Errorf("another prefix begins at veth0, not %s", got)
	}
}

func TestReq22WhatWasSetIsThere(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src := w.dressed(true)
	host, within := snapshot(t, ""), snapshot(t, sb.Key())
	for what, opt := range map[string]osl.IfaceOption{
		"an MTU that is too small":  osl.WithMTU(3),
		"an MTU that is too large":  osl.WithMTU(70_000),
		"a multicast MAC":           sb.InterfaceOptions().MacAddress(mac("03:00:00:00:00:01")),
		"the MAC of all zeros":      sb.InterfaceOptions().MacAddress(make(net.HardwareAddr, 6)),
		"the broadcast MAC":         sb.InterfaceOptions().MacAddress(mac("ff:ff:ff:ff:ff:ff")),
		"IPv6 on an MTU below 1280": osl.WithMTU(1000),
	} {
		opts := []osl.IfaceOption{opt}
		if what == "IPv6 on an MTU below 1280" {
			// The kernel switches IPv6 off at such a link and drops its addresses.
			opts = append(opts, addresses("fd84::2/64"))
		}
		refused(t, what, sb.AddInterface(src, "eth", opts...), nil, src, sb.Key())
		same(t, what+": the host", host, func() []string { return snapshot(t, "") })
		same(t, what+": the sandbox", within, func() []string { return snapshot(t, sb.Key()) })
	}
}

func TestReq29SysctlsOfNamesWithDots(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src, _ := w.vethUp()
	dst := w.add(sb, src, "eth0.100", osl.WithName(), addresses("10.137.0.2/24"),
		osl.WithSysctls(map[string]string{"ipv4.rp_filter": "2", "ipv4/accept_local": "1"}))
	if dst != "eth0.100" {
		t.Errorf("the name is %s", dst)
	}
	must(t, sb.DisableARPForVIP(dst))
	for knob, want := range map[string]string{"rp_filter": "2", "accept_local": "1", "arp_ignore": "1", "arp_announce": "2"} {
		if got := sysctl(t, sb.Key(), "ipv4/conf/eth0.100/"+knob); got != want {
			t.Errorf("%s is %s, want %s", knob, got, want)
		}
	}
	for _, conf := range []string{"all", "default"} {
		if got := sysctl(t, sb.Key(), "ipv4/conf/"+conf+"/accept_local"); got != "0" {
			t.Errorf("conf.%s.accept_local is %s", conf, got)
		}
	}
	// In the settings of the sandbox too, as sysctl(8) writes them.
	for name, value := range map[string]string{"ipv4.conf.eth0/100.rp_filter": "1", "net.ipv4.conf.eth0/100.rp_filter": "0", "ipv4/conf/eth0.100/rp_filter": "2"} {
		n, err := osl.Open(t.Context(), sb.Key())
		must(t, err)
		_, err = n.Apply(t.Context(), osl.Spec{Sysctls: map[string]string{name: value}, Interfaces: []osl.InterfaceSpec{{Name: dst, Source: src}}})
		must(t, err)
		if got := sysctl(t, sb.Key(), "ipv4/conf/eth0.100/rp_filter"); got != value {
			t.Errorf("%s is %s, want %s", name, got, value)
		}
		must(t, n.Close())
	}
	must(t, sb.AddAliasIP(dst, ipnet("fd89::1/64")))
	if got := ipv6Of(t, sb.Key(), dst); !slices.Contains(got, "fd89::1/64") {
		t.Errorf("IPv6 addresses: %v", got)
	}
}
