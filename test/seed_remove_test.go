//go:build linux

package osltest

import (
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/seed59451c2b/osl"
)

// dressed makes a veth end whose every property differs from a fresh one's.
func (w *world) dressed(up bool) (src string) {
	w.t.Helper()
	src, _ = w.vethUp()
	l := needLink(w.t, "", src)
	must(w.t, netlink.LinkSetHardwareAddr(l, mac("02:aa:00:00:00:01")))
	must(w.t, netlink.LinkSetMTU(l, 1380))
	must(w.t, netlink.LinkSetTxQLen(l, 333))
	must(w.t, netlink.LinkSetAlias(l, "the cable to the cellar"))
	must(w.t, netlink.LinkAddAltName(l, src+"-also"))
	must(w.t, netlink.LinkAddAltName(l, src+"-an-alternative-name-of-more-than-15-bytes"))
	if up {
		w.up(src)
	}
	return src
}

func TestInterfaceRemoveRestoresTheLink(t *testing.T) {
	for _, up := range []bool{false, true} {
		t.Run(fmt.Sprintf("up=%v", up), func(t *testing.T) { removeRestores(t, up) })
	}
}

func removeRestores(t *testing.T, up bool) {
	w := begin(t)
	src := w.dressed(up)
	sb := w.sandbox()
	before := snapshot(t, "")
	o := sb.InterfaceOptions()
	w.add(sb, src, "eth", o.MacAddress(mac("02:bb:00:00:00:02")), o.Address(ipnet("10.11.0.2/24")),
		o.AddressIPv6(ipnet("fd11::2/64")), osl.WithMTU(1300), osl.WithTxQueueLen(5))
	i := iface(t, sb, src)
	must(t, i.Remove())
	same(t, "the host after Remove", before, func() []string { return snapshot(t, "") })
	if got := linkNames(t, sb.Key()); !slices.Equal(got, []string{"lo"}) {
		t.Errorf("left inside: %v", got)
	}
	if findIface(sb, src) != nil {
		t.Error("Info lists it still")
	}
	if err := i.Remove(); err != nil {
		t.Errorf("a second Remove: %v", err)
	}
	same(t, "the host after a second Remove", before, func() []string { return snapshot(t, "") })
	// It can be added again, and gets the free number.
	if dst := w.add(sb, src, "eth"); dst != "eth0" {
		t.Errorf("added again it is %s", dst)
	}
}

// While it is inside, the alias belongs to osl; the link's other properties
// are the link's own.
func TestAddInterfaceKeepsWhatNoOptionChanges(t *testing.T) {
	w := begin(t)
	src := w.dressed(false)
	sb := w.sandbox()
	before := needLink(t, "", src).Attrs()
	a := needLink(t, sb.Key(), w.add(sb, src, "eth", addresses("10.12.0.2/24"))).Attrs()
	if a.HardwareAddr.String() != before.HardwareAddr.String() || a.MTU != before.MTU || a.TxQLen != before.TxQLen {
		t.Errorf("mac=%v mtu=%d txqlen=%d, was mac=%v mtu=%d txqlen=%d", a.HardwareAddr, a.MTU, a.TxQLen, before.HardwareAddr, before.MTU, before.TxQLen)
	}
	for _, n := range before.AltNames {
		if !slices.Contains(a.AltNames, n) {
			t.Errorf("alternative name %s is gone: %v", n, a.AltNames)
		}
	}
}

func TestRemoveFromAnotherHandle(t *testing.T) {
	w := begin(t)
	src := w.dressed(true)
	sb := w.sandbox()
	before := snapshot(t, "")
	w.add(sb, src, "eth", addresses("10.13.0.2/24"), osl.WithMTU(1280))
	// What is needed to go home is on the link, not in the first handle.
	other, err := osl.NewSandbox(sb.Key(), false, true)
	must(t, err)
	must(t, iface(t, other, src).Remove())
	same(t, "the host", before, func() []string { return snapshot(t, "") })
	if findIface(sb, src) != nil {
		t.Error("the first handle's Info lists it still")
	}
}

// TestFailedAddRestoresAddresses: an interface that was up on the host with
// addresses has them again when AddInterface fails.
func TestFailedAddRestoresAddresses(t *testing.T) {
	w := begin(t)
	src := w.dressed(true)
	l := needLink(t, "", src)
	for _, a := range []string{"192.0.2.7/24", "2001:db8::7/64"} {
		must(t, netlink.AddrAdd(l, &netlink.Addr{IPNet: ipnet(a), Flags: 0x02}))
	}
	sb := w.sandbox()
	w.eth(sb, "10.14.0.2/24")
	o := sb.InterfaceOptions()
	before, within, info := snapshot(t, ""), snapshot(t, sb.Key()), infoText(sb.Info())
	for what, opts := range map[string][]osl.IfaceOption{
		"a subnet that is on another interface": {o.Address(ipnet("10.14.0.3/24"))},
		"a master that does not exist":          {o.Master("nothing"), o.Address(ipnet("10.15.0.3/24"))},
		"an MTU that the link can't have":       {osl.WithMTU(1 << 20), o.Address(ipnet("10.15.0.3/24"))},
		"a MAC that no link can have":           {o.MacAddress(mac("01:00:5e:00:00:01"))},
		"a name that is taken":                  {osl.WithName()},
		"a setting that does not exist":         {osl.WithSysctls(map[string]string{"ipv4.no_such_setting": "1"})},
		"a setting that can't have the value":   {osl.WithSysctls(map[string]string{"ipv4.rp_filter": "many"})},
		"no network":                            {o.Address(&net.IPNet{})},
	} {
		prefix := "eth"
		if what == "a name that is taken" {
			prefix = "eth0"
		}
		refused(t, what, sb.AddInterface(src, prefix, opts...), nil, src, sb.Key())
		same(t, what+": the host", before, func() []string { return snapshot(t, "") })
		same(t, what+": the sandbox", within, func() []string { return snapshot(t, sb.Key()) })
		if got := infoText(sb.Info()); got != info {
			t.Errorf("%s: Info was\n%s\nand is\n%s", what, info, got)
		}
	}
}

func TestStatistics(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src, dst, peer := w.eth(sb, "10.16.0.2/24")
	for n := range 7 {
		// The kernel drops what no protocol of it takes, and counts that.
		sendFrame(t, peer, needLink(t, sb.Key(), dst).Attrs().HardwareAddr, 0x88b5, make([]byte, 100+n))
	}
	eventually(t, "Statistics are the kernel's own counters", func() bool {
		s, err := iface(t, sb, src).Statistics()
		must(t, err)
		k := needLink(t, sb.Key(), dst).Attrs().Statistics
		return s.RxPackets >= 7 && s.RxBytes >= 7*100 && s.RxDropped >= 7 &&
			s.RxBytes == k.RxBytes && s.RxPackets == k.RxPackets && s.RxErrors == k.RxErrors && s.RxDropped == k.RxDropped &&
			s.TxBytes == k.TxBytes && s.TxPackets == k.TxPackets && s.TxErrors == k.TxErrors && s.TxDropped == k.TxDropped
	})
}
