//go:build linux

package osltest

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// cards returns the names of the machine's network cards, all plugged into one
// hub. Each is up, with settings that are not those of the driver, whatever an
// earlier test did. Without such a machine the test is skipped.
func cards(t *testing.T) (list []string) {
	t.Helper()
	if !testnet.Physical() {
		t.Skip("no physical device may be touched here: run make kernel-test")
	}
	for n := range 4 {
		l := cardLink(t, n)
		if l == nil {
			t.Fatalf("card %d is not on the host: %v", n, linkNames(t, ""))
		}
		card, also := fmt.Sprintf("eth%d", n), fmt.Sprintf("card-with-a-number-%d", n)
		must(t, netlink.LinkSetDown(l))
		if l.Attrs().Name != card {
			must(t, netlink.LinkSetName(l, card))
		}
		must(t, netlink.LinkSetHardwareAddr(l, cardMAC(n)))
		must(t, netlink.LinkSetMTU(l, 1400+10*n))
		must(t, netlink.LinkSetTxQLen(l, 500+n))
		must(t, netlink.LinkSetAlias(l, fmt.Sprintf("cable %d", n)))
		if !slices.Contains(l.Attrs().AltNames, also) {
			must(t, netlink.LinkAddAltName(l, also))
		}
		must(t, netlink.LinkSetUp(l))
		list = append(list, card)
	}
	return list
}

// cardLink returns the host's link that is card n by the address that is
// burned into it, nil if that is elsewhere.
func cardLink(t *testing.T, n int) netlink.Link {
	t.Helper()
	for _, l := range links(t, "") {
		if l.Attrs().PermHWAddr.String() == fmt.Sprintf("52:54:00:00:00:%02x", n+1) {
			return l
		}
	}
	return nil
}

func cardMAC(n int) net.HardwareAddr { return mac(fmt.Sprintf("02:00:00:00:ca:%02x", n)) }

// withAddress gives a card an address and a route for the time of a test; it
// comes before begin, so that these belong to the host as it was.
func withAddress(t *testing.T, card string) {
	t.Helper()
	l := needLink(t, "", card)
	a := &netlink.Addr{IPNet: ipnet("10.210.0.1/24")}
	must(t, netlink.AddrAdd(l, a))
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipnet("10.211.0.0/16"), Gw: ip("10.210.0.9")}))
	t.Cleanup(func() { must(t, netlink.AddrDel(needLink(t, "", card), a)) })
}

func TestPhysicalComesHome(t *testing.T) {
	list := cards(t)
	for _, way := range []string{"Remove", "Destroy"} {
		for _, up := range []bool{true, false} {
			for n, card := range list {
				t.Run(fmt.Sprintf("%s of %s, up %v", way, card, up), func(t *testing.T) {
					cards(t)
					if !up {
						must(t, netlink.LinkSetDown(needLink(t, "", card)))
					}
					w := begin(t)
					before := snapshot(t, "")
					sb := w.sandbox()
					dst := w.add(sb, card, "wan", sb.InterfaceOptions().MacAddress(mac("02:00:00:00:cb:01")), osl.WithMTU(1300),
						osl.WithTxQueueLen(77), addresses("10.212.0.2/24", "fd12::2/64"))
					a := needLink(t, sb.Key(), dst).Attrs()
					if dst != "wan0" || a.MTU != 1300 || a.TxQLen != 77 || a.HardwareAddr.String() != "02:00:00:00:cb:01" || a.Flags&net.FlagUp == 0 {
						t.Errorf("inside it is %s %+v", dst, a)
					}
					if linkOf(t, "", card) != nil {
						t.Errorf("%s is on the host still", card)
					}
					if way == "Remove" {
						must(t, iface(t, sb, card).Remove())
					} else {
						must(t, sb.Destroy())
					}
					same(t, "the host", before, func() []string { return snapshot(t, "") })
					if got := needLink(t, "", card).Attrs().HardwareAddr.String(); got != cardMAC(n).String() {
						t.Errorf("it has the address %s", got)
					}
				})
			}
		}
	}
}

// Two cards in two sandboxes talk through the hub.
func TestPhysicalCarriesTraffic(t *testing.T) {
	list := cards(t)
	for _, pair := range [][2]string{{list[0], list[1]}, {list[2], list[3]}} {
		t.Run(pair[0]+" "+pair[1], func(t *testing.T) {
			w := begin(t)
			a, b := w.sandbox(), w.sandbox()
			w.add(a, pair[0], "eth", osl.WithMTU(1400), addresses("10.213.0.1/24", "fd13::1/64"))
			w.add(b, pair[1], "eth", osl.WithMTU(1400), addresses("10.213.0.2/24", "fd13::2/64"))
			for _, to := range []string{"10.213.0.2", "fd13::2"} {
				flows(t, a.(*osl.Namespace), b.(*osl.Namespace), to)
			}
		})
	}
}

func TestPhysicalFailedAdd(t *testing.T) {
	list := cards(t)
	o := (*osl.Namespace)(nil).InterfaceOptions()
	for what, try := range map[string]struct {
		prefix  string
		options []osl.IfaceOption
	}{
		"the name is in use":            {"taken", []osl.IfaceOption{osl.WithName()}},
		"no such master":                {"eth", []osl.IfaceOption{o.Master("nowhere")}},
		"the subnet is there already":   {"eth", []osl.IfaceOption{addresses("10.214.0.7/24")}},
		"more than the driver can do":   {"eth", []osl.IfaceOption{osl.WithMTU(70000)}},
		"a hardware address of a group": {"eth", []osl.IfaceOption{o.MacAddress(mac("01:00:5e:00:00:01"))}},
		"no such setting":               {"eth", []osl.IfaceOption{addresses("10.215.0.1/24"), osl.WithSysctls(map[string]string{"ipv4.nonsense": "1"})}},
		"an MTU too small for IPv6":     {"eth", []osl.IfaceOption{addresses("fd15::1/64"), osl.WithMTU(1000)}},
	} {
		for _, card := range []string{list[0], list[3]} { // one of each driver
			t.Run(what+" "+card, func(t *testing.T) {
				withAddress(t, card)
				w := begin(t)
				sb := w.sandbox()
				must(t, sb.(*osl.Namespace).AddLink(t.Context(), osl.InterfaceSpec{Name: "taken", Type: "dummy", Addresses: []netip.Prefix{netip.MustParsePrefix("10.214.0.1/24")}}))
				host, within := snapshot(t, ""), snapshot(t, sb.Key())
				err := sb.AddInterface(card, try.prefix, try.options...)
				if err == nil {
					t.Error("it succeeded")
				}
				t.Log(err)
				same(t, "the host", host, func() []string { return snapshot(t, "") })
				same(t, "the sandbox", within, func() []string { return snapshot(t, sb.Key()) })
			})
		}
	}
}

// A process ends that held the last reference of its namespace, with a card in
// it: the kernel brings the card to the host, under its name there, with the
// tag that osl gave it. Recovery makes it what it was.
func TestPhysicalHolderDies(t *testing.T) {
	list := cards(t)
	for what, prefix := range map[string]string{"its name is free": "ct7", "its name is another card's": list[1]} {
		for n, card := range map[int]string{0: list[0], 3: list[3]} {
			t.Run(what+" "+card, func(t *testing.T) {
				cards(t)
				w := begin(t)
				before := snapshot(t, "")
				holder := exec.Command("sleep", "600")
				holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
				must(t, holder.Start())
				defer func() { _ = holder.Process.Kill(); _ = holder.Wait() }()
				sb, err := osl.GetSandboxForExternalKey(fmt.Sprintf("/proc/%d/ns/net", holder.Process.Pid), newKey())
				must(t, err)
				w.add(sb, card, prefix, osl.WithName(), osl.WithMTU(1300), addresses("10.216.0.2/24"))
				must(t, sb.(*osl.Namespace).Close())
				must(t, unix.Unmount(sb.Key(), unix.MNT_DETACH))
				osl.GC() // the file
				must(t, holder.Process.Kill())
				_ = holder.Wait()
				eventually(t, "the kernel brought the card to the host", func() bool { return cardLink(t, n) != nil })
				if l := cardLink(t, n); l == nil || l.Attrs().Name == card || !strings.HasPrefix(l.Attrs().Alias, "osl1;") {
					t.Fatalf("the test's condition does not hold: %+v", l)
				}
				if out, err := child("osl", "recover").CombinedOutput(); err != nil {
					t.Errorf("osl recover: %v\n%s", err, out)
				}
				same(t, "the host", before, func() []string { return snapshot(t, "") })
			})
		}
	}
}
