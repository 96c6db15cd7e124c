//go:build linux

package osltest

import (
	"net"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

func TestReq30AddressesAreAnnounced(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src, peer := w.vethUp()
	fd := packetSocket(t, peer)
	o := sb.InterfaceOptions()
	w.add(sb, src, "eth", o.MacAddress(mac("02:00:00:00:30:01")), o.Address(ipnet("10.111.0.2/24")), o.AddressIPv6(ipnet("fd6f::2/64")))
	got := announcements(t, fd, 3*time.Second, "10.111.0.2", "fd6f::2")
	for _, a := range []string{"10.111.0.2", "fd6f::2"} {
		if got[a] != "02:00:00:00:30:01" {
			t.Errorf("%s was announced with %q; seen: %v", a, got[a], got)
		}
	}
}

// TestReq30PeersLearnAMovedAddress: an address moves to another sandbox with
// another hardware address, and a machine that knew the old one knows the new
// one without asking.
func TestReq30PeersLearnAMovedAddress(t *testing.T) {
	w := begin(t)
	br := name("br")
	w.link(&netlink.Bridge{LinkAttrs: attrs(br)})
	bridge := needLink(t, "", br)
	w.up(br)
	for _, a := range []string{"10.112.0.1/24", "fd70::1/64"} {
		must(t, netlink.AddrAdd(bridge, &netlink.Addr{IPNet: ipnet(a), Flags: unix.IFA_F_NODAD}))
	}
	plug := func() string {
		src, peer := w.vethUp()
		must(t, netlink.LinkSetMaster(needLink(t, "", peer), bridge))
		return src
	}
	// A port with a carrier the whole time: a bridge without one forgets its
	// neighbours, and there would be nobody to learn anything.
	w.up(plug())
	a, b := w.sandbox(), w.sandbox()
	srcA, srcB := plug(), plug()
	opts := func(hw string) []osl.IfaceOption {
		o := a.InterfaceOptions()
		return []osl.IfaceOption{o.MacAddress(mac(hw)), o.Address(ipnet("10.112.0.2/24")), o.AddressIPv6(ipnet("fd70::2/64"))}
	}
	known := func(addr string) string {
		found := ""
		for _, f := range []int{unix.AF_INET, unix.AF_INET6} {
			witness(t, "", func(h *netlink.Handle) {
				for _, n := range dump(t, func() ([]netlink.Neigh, error) { return h.NeighList(bridge.Attrs().Index, f) }) {
					if n.IP.Equal(net.ParseIP(addr)) {
						found = n.HardwareAddr.String()
					}
				}
			})
		}
		return found
	}
	w.add(a, srcA, "eth", opts("02:00:00:00:30:0a")...)
	for _, addr := range []string{"10.112.0.2", "fd70::2"} {
		c, err := net.Dial("udp", net.JoinHostPort(addr, "9"))
		must(t, err)
		eventually(t, "the host knows "+addr, func() bool {
			_, _ = c.Write([]byte("hello"))
			return known(addr) == "02:00:00:00:30:0a"
		})
		_ = c.Close()
	}
	must(t, iface(t, a, srcA).Remove())
	w.add(b, srcB, "eth", opts("02:00:00:00:30:0b")...)
	for _, addr := range []string{"10.112.0.2", "fd70::2"} {
		eventually(t, "the host learns that "+addr+" moved", func() bool { return known(addr) == "02:00:00:00:30:0b" })
		if got := known(addr); got == "02:00:00:00:30:0a" {
			t.Errorf("it still sends what is for %s to the first sandbox", addr)
		}
	}
}
