//go:build linux

package osltest

import (
	"net"
	"net/netip"
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
	known := func(addr string) string { return knownOn(t, bridge.Attrs().Index, addr) }
	w.add(a, srcA, "eth", opts("02:00:00:00:30:0a")...)
	meet(t, bridge.Attrs().Index, "02:00:00:00:30:0a", "10.112.0.2", "fd70::2")
	must(t, iface(t, a, srcA).Remove())
	w.add(b, srcB, "eth", opts("02:00:00:00:30:0b")...)
	for _, addr := range []string{"10.112.0.2", "fd70::2"} {
		eventually(t, "the host learns that "+addr+" moved", func() bool { return known(addr) == "02:00:00:00:30:0b" })
		if got := known(addr); got == "02:00:00:00:30:0a" {
			t.Errorf("it still sends what is for %s to the first sandbox", addr)
		}
	}
}

// knownOn returns the hardware address that the host knows for an address.
func knownOn(t *testing.T, index int, addr string) (found string) {
	for _, f := range []int{unix.AF_INET, unix.AF_INET6} {
		witness(t, "", func(h *netlink.Handle) {
			for _, n := range dump(t, func() ([]netlink.Neigh, error) { return h.NeighList(index, f) }) {
				if n.IP.Equal(net.ParseIP(addr)) {
					found = n.HardwareAddr.String()
				}
			}
		})
	}
	return found
}

// meet sends to addresses until the host knows them at a hardware address.
func meet(t *testing.T, index int, hw string, addrs ...string) {
	for _, addr := range addrs {
		c, err := net.Dial("udp", net.JoinHostPort(addr, "9"))
		must(t, err)
		eventually(t, "the host knows "+addr, func() bool {
			_, _ = c.Write([]byte("hello"))
			return knownOn(t, index, addr) == hw
		})
		_ = c.Close()
	}
}

// TestReq30PeersLearnAnAddressOfALink: the same where the links are made in place,
// with their other ends at a bridge of the host.
func TestReq30PeersLearnAnAddressOfALink(t *testing.T) {
	w := begin(t)
	br := name("br")
	w.link(&netlink.Bridge{LinkAttrs: attrs(br)})
	bridge := needLink(t, "", br)
	must(t, netlink.LinkSetHardwareAddr(bridge, mac("02:00:00:00:31:01"))) // else it follows the ports, and forgets neighbours
	w.up(br)
	for _, a := range []string{"10.113.0.1/24", "fd71::1/64"} {
		must(t, netlink.AddrAdd(bridge, &netlink.Addr{IPNet: ipnet(a), Flags: unix.IFA_F_NODAD}))
	}
	src, peer := w.vethUp()
	must(t, netlink.LinkSetMaster(needLink(t, "", peer), bridge))
	w.up(src)
	for i, hw := range []string{"02:00:00:00:31:0a", "02:00:00:00:31:0b"} {
		n, end := w.namespace(), name("pm")
		must(t, n.AddLink(t.Context(), osl.InterfaceSpec{Name: "eth", Type: "veth", MAC: osl.MAC(mac(hw)), Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: end},
			PeerMaster: br, Addresses: []netip.Prefix{netip.MustParsePrefix("10.113.0.2/24"), netip.MustParsePrefix("fd71::2/64")}}))
		if i == 0 {
			meet(t, bridge.Attrs().Index, hw, "10.113.0.2", "fd71::2")
		}
		for _, addr := range []string{"10.113.0.2", "fd71::2"} {
			eventually(t, "the host learns that "+addr+" moved", func() bool { return knownOn(t, bridge.Attrs().Index, addr) == hw })
		}
		must(t, n.RemoveLink(t.Context(), "eth"))
	}
}
