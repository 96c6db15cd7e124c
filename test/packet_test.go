//go:build linux

package osltest

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func htons(v uint16) uint16 { return binary.NativeEndian.Uint16([]byte{byte(v >> 8), byte(v)}) }

// packetSocket is a socket that sees every frame of a link of the host.
func packetSocket(t *testing.T, link string) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	must(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: needLink(t, "", link).Attrs().Index}))
	return fd
}

// sendFrame sends one Ethernet frame from a link of the host.
func sendFrame(t *testing.T, link string, to net.HardwareAddr, proto uint16, payload []byte) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	l := needLink(t, "", link).Attrs()
	frame := append(append(append([]byte{}, to...), l.HardwareAddr...), byte(proto>>8), byte(proto))
	must(t, unix.Sendto(fd, append(frame, payload...), 0, &unix.SockaddrLinklayer{Ifindex: l.Index}))
}

// announcements reads frames until it has seen a gratuitous ARP or an
// unsolicited neighbour advertisement of each address, or the time is over.
// It returns the hardware address that each was announced with.
func announcements(t *testing.T, fd int, wait time.Duration, want ...string) map[string]string {
	t.Helper()
	seen := map[string]string{}
	tv := unix.NsecToTimeval(int64(20 * time.Millisecond))
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv))
	b := make([]byte, 2048)
	for end := time.Now().Add(wait); time.Now().Before(end); {
		n, from, err := unix.Recvfrom(fd, b, 0)
		if err != nil {
			continue
		}
		// What the host's own end sends is no announcement of the sandbox.
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if addr, hw := announced(b[:n]); addr.IsValid() {
			seen[addr.String()] = hw.String()
		}
		all := true
		for _, w := range want {
			all = all && seen[w] != ""
		}
		if all {
			break
		}
	}
	return seen
}

// announced returns the address that a frame announces, and with what.
func announced(f []byte) (netip.Addr, net.HardwareAddr) {
	if len(f) < 42 {
		return netip.Addr{}, nil
	}
	switch binary.BigEndian.Uint16(f[12:]) {
	case unix.ETH_P_ARP: // RFC 826: sender and target are the same
		sender, target := f[28:32], f[38:42]
		if string(sender) == string(target) {
			a, _ := netip.AddrFromSlice(sender)
			return a, append(net.HardwareAddr(nil), f[22:28]...)
		}
	case unix.ETH_P_IPV6: // RFC 4861, 4.4: type 136, no solicited flag
		if len(f) >= 86 && f[20] == unix.IPPROTO_ICMPV6 && f[54] == 136 && f[58]&0x40 == 0 {
			a, _ := netip.AddrFromSlice(f[62:78])
			if f[78] == 2 { // the target's link-layer address
				return a, append(net.HardwareAddr(nil), f[80:86]...)
			}
			return a, append(net.HardwareAddr(nil), f[6:12]...)
		}
	}
	return netip.Addr{}, nil
}
