//go:build linux

package osltest

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

// fdbOf returns the entries of a hardware address at a link, as
// "192.0.2.1 self" or "- master".
func fdbOf(t *testing.T, key, link, hw string) (out []string) {
	t.Helper()
	index := needLink(t, key, link).Attrs().Index
	witness(t, key, func(h *netlink.Handle) {
		for _, n := range dump(t, func() ([]netlink.Neigh, error) { return h.NeighList(0, unix.AF_BRIDGE) }) {
			if n.LinkIndex != index || n.HardwareAddr.String() != hw {
				continue
			}
			where, at := "-", "master"
			if n.IP != nil {
				where = n.IP.String()
			}
			if n.Flags&netlink.NTF_SELF != 0 {
				at = "self"
			}
			out = append(out, where+" "+at)
		}
	})
	slices.Sort(out)
	// Where the bridge has VLANs, it keeps an entry for each.
	return slices.Compact(out)
}

func TestReq31ForwardingEntriesReplaceWhatWasLearned(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	key := sb.Key()
	o, no := sb.InterfaceOptions(), sb.NeighborOptions()
	w.add(sb, "br-src", "br", o.Bridge(true))
	vx := w.vxlan(4501)
	dst := w.add(sb, vx, "vxlan", o.Master("br-src"))
	index := needLink(t, key, dst).Attrs().Index
	hw := mac("02:00:00:00:31:01")
	fdb := []osl.NeighOption{no.LinkName(vx), no.Family(unix.AF_BRIDGE)}
	witness(t, key, func(h *netlink.Handle) {
		// As the vxlan and the bridge would have learned it from a frame.
		must(t, h.NeighAppend(&netlink.Neigh{LinkIndex: index, Family: unix.AF_BRIDGE, Flags: netlink.NTF_SELF, State: netlink.NUD_REACHABLE, IP: ip("192.0.2.50"), HardwareAddr: hw}))
		must(t, h.NeighSet(&netlink.Neigh{LinkIndex: index, Family: unix.AF_BRIDGE, Flags: netlink.NTF_MASTER, State: netlink.NUD_REACHABLE, HardwareAddr: hw}))
	})
	if got := fdbOf(t, key, dst, hw.String()); !slices.Equal(got, []string{"- master", "192.0.2.50 self"}) {
		t.Fatalf("the test's condition does not hold: %v", got)
	}
	must(t, sb.AddNeighbor(ip("192.0.2.51"), hw, false, fdb...))
	if got := fdbOf(t, key, dst, hw.String()); !slices.Equal(got, []string{"- master", "192.0.2.51 self"}) {
		t.Errorf("after AddNeighbor: %v", got)
	}
	must(t, sb.DeleteNeighbor(ip("192.0.2.51"), hw, true))
	// From the vxlan's table, and from no other.
	if got := fdbOf(t, key, dst, hw.String()); !slices.Equal(got, []string{"- master"}) {
		t.Errorf("after DeleteNeighbor: %v", got)
	}
}

// An ARP entry that the kernel learned is replaced, too.
func TestReq31NeighborsReplaceWhatWasLearned(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src, dst, _ := w.eth(sb, "10.161.0.2/24")
	index := needLink(t, sb.Key(), dst).Attrs().Index
	witness(t, sb.Key(), func(h *netlink.Handle) {
		must(t, h.NeighAdd(&netlink.Neigh{LinkIndex: index, Family: unix.AF_INET, State: netlink.NUD_REACHABLE, IP: ip("10.161.0.9"), HardwareAddr: mac("02:00:00:00:31:02")}))
	})
	must(t, sb.AddNeighbor(ip("10.161.0.9"), mac("02:00:00:00:31:03"), false, sb.NeighborOptions().LinkName(src)))
	if got := neighborsOf(t, sb.Key(), dst, unix.AF_INET); !slices.Equal(got, []string{"10.161.0.9 02:00:00:00:31:03"}) {
		t.Errorf("entries: %v", got)
	}
}

func TestReq32AliasTwice(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	_, dst, _ := w.eth(sb, "10.162.0.2/24")
	vip := ipnet("10.255.162.1/32")
	for range 3 {
		must(t, sb.AddAliasIP(dst, vip))
	}
	// Another process's handle finds it there as well.
	other, err := osl.NewSandbox(sb.Key(), false, true)
	must(t, err)
	must(t, other.AddAliasIP(dst, vip))
	for range 3 {
		must(t, other.RemoveAliasIP(dst, vip))
	}
	must(t, sb.RemoveAliasIP(dst, vip))
	must(t, sb.RemoveAliasIP(dst, ipnet("10.255.162.9/32")))
	if got := addrsOf(t, sb.Key(), dst); !slices.Equal(got, []string{"10.162.0.2/24"}) {
		t.Errorf("addresses: %v", got)
	}
}

func TestReq33AFailedVXLANLeavesNoVNI(t *testing.T) {
	begin(t)
	ctx := context.Background()
	n, err := osl.Create(ctx, name("t"))
	must(t, err)
	t.Cleanup(func() { must(t, n.Destroy()) })
	good := osl.InterfaceSpec{Name: "vx0", Type: "vxlan", VNI: 4601, Addresses: prefixes("10.163.0.1/24")}
	for what, spoil := range map[string]func(*osl.InterfaceSpec){
		"a master that is not there": func(s *osl.InterfaceSpec) { s.Master = "nothing" },
		"a parent that is not there": func(s *osl.InterfaceSpec) { s.Parent = "nothing" },
		"an MTU that can't be":       func(s *osl.InterfaceSpec) { s.MTU = 1 << 30 },
		"a setting that is none":     func(s *osl.InterfaceSpec) { s.Sysctls = map[string]string{"ipv4.no_such_setting": "1"} },
		"a name that is taken":       func(s *osl.InterfaceSpec) { s.Name = "lo" },
		"a number too large":         func(s *osl.InterfaceSpec) { s.VNI = 1 << 24 },
		"an IPv6 local, IPv4 remote": func(s *osl.InterfaceSpec) {
			s.Local, s.Remote = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")
		},
	} {
		bad := good
		spoil(&bad)
		before := snapshot(t, n.Key())
		refused(t, what, n.AddLink(ctx, bad), nil, n.Key())
		same(t, what+": the sandbox", before, func() []string { return snapshot(t, n.Key()) })
	}
	must(t, n.AddLink(ctx, good))
	before := snapshot(t, n.Key())
	second := good
	second.Name, second.Addresses = "vx1", nil
	refused(t, "the number is taken", n.AddLink(ctx, second), nil, n.Key(), "vx1")
	same(t, "the sandbox", before, func() []string { return snapshot(t, n.Key()) })
	must(t, n.RemoveLink(ctx, "vx0"))
	must(t, n.AddLink(ctx, second))
}

// The same for one that comes from the host and goes back.
func TestReq33AFailedMoveKeepsTheVNIAtHome(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	vx := w.vxlan(4602)
	before := snapshot(t, "")
	refused(t, "a master that is not there", sb.AddInterface(vx, "vxlan", sb.InterfaceOptions().Master("nothing")), osl.ErrNotFound, vx)
	same(t, "the host", before, func() []string { return snapshot(t, "") })
	if l, ok := needLink(t, "", vx).(*netlink.Vxlan); !ok || l.VxlanId != 4602 {
		t.Errorf("it is %+v", l)
	}
	w.add(sb, vx, "vxlan")
}

func TestReq36StatisticsCarryEveryCounter(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	// A tunnel without a way out counts an error for each packet that it is to
	// send.
	vx := w.vxlan(4603)
	dst := w.add(sb, vx, "vxlan", addresses("10.164.0.2/24"))
	no := sb.NeighborOptions()
	hw := mac("02:00:00:00:36:01")
	must(t, sb.AddNeighbor(ip("10.164.0.9"), hw, false, no.LinkName(vx)))
	must(t, sb.AddNeighbor(ip("203.0.113.9"), hw, false, no.LinkName(vx), no.Family(unix.AF_BRIDGE)))
	must(t, sb.InvokeFunc(func() {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		defer unix.Close(fd)
		for range 5 {
			_ = unix.Sendto(fd, []byte("lost"), 0, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{10, 164, 0, 9}})
		}
	}))
	s, err := iface(t, sb, vx).Statistics()
	must(t, err)
	k := needLink(t, sb.Key(), dst).Attrs().Statistics
	if k.TxErrors == 0 {
		t.Fatalf("the test's condition does not hold: %+v", k)
	}
	got := [8]uint64{s.RxBytes, s.RxPackets, s.RxErrors, s.RxDropped, s.TxBytes, s.TxPackets, s.TxErrors, s.TxDropped}
	want := [8]uint64{k.RxBytes, k.RxPackets, k.RxErrors, k.RxDropped, k.TxBytes, k.TxPackets, k.TxErrors, k.TxDropped}
	if got != want {
		t.Errorf("Statistics are %v, the kernel's are %v", got, want)
	}
}
