//go:build linux

package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/want"
)

// Advertise tells the neighbors of an interface which addresses it has. The kernel does so
// when a link goes up, where arp_notify and ndisc_notify say so, and never for an address
// that comes to one that is up; to have it do so again would take the link's entries of
// neighbors away (see announce).
func (n *Namespace) Advertise(ctx context.Context, ifName string) error {
	return fail("advertise the addresses of", n.key, ifName, n.advertise(ctx, ifName))
}

func (n *Namespace) advertise(ctx context.Context, ifName string) error {
	if err := want.ValidName(ifName); err != nil {
		return err
	}
	conn, err := n.live()
	if err != nil {
		return err
	}
	return byName(ctx, conn, ifName, func(dev string) error { return n.advertiseLink(ctx, conn, dev) })
}

func (n *Namespace) advertiseLink(ctx context.Context, conn *netlink.Conn, dev string) error {
	var l rtnl.Link
	if err := conn.One(ctx, rtnl.GetLink(0, dev, &l)); err != nil {
		return err
	}
	if len(l.MAC) != 6 || l.Flags&unix.IFF_NOARP != 0 || l.Flags&unix.IFF_LOOPBACK != 0 {
		return nil // nobody asks for its hardware address
	}
	addrs, err := conn.Addrs(ctx, l.Index)
	if err != nil {
		return err
	}
	return n.within(netns.Do, func() error {
		var errs []error
		for _, family := range []struct {
			is   func(netip.Prefix) bool
			open func(*rtnl.Link) (int, error)
			send func(fd int, l *rtnl.Link, ip netip.Addr) error
		}{{isIPv4, arpSocket, sendARP}, {isIPv6, naSocket, sendNA}} {
			of := slices.DeleteFunc(slices.Clone(addrs), func(a rtnl.Addr) bool {
				return !family.is(a.Prefix) || a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 // it is not known yet whose it is
			})
			if len(of) == 0 {
				continue
			}
			fd, err := family.open(&l)
			for _, a := range of {
				if err == nil {
					err = family.send(fd, &l, a.Prefix.Addr())
				}
			}
			if fd >= 0 {
				unix.Close(fd)
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}

func arpSocket(*rtnl.Link) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0) // which receives nothing
	return fd, os.NewSyscallError("socket", err)
}

// sendARP sends an ARP announcement (RFC 5227, 3): a request for the address that has it
// as the sender's too.
func sendARP(fd int, l *rtnl.Link, ip netip.Addr) error {
	p := binary.BigEndian.AppendUint16(nil, unix.ARPHRD_ETHER)
	p = binary.BigEndian.AppendUint16(p, unix.ETH_P_IP)
	p = append(p, 6, 4, 0, 1) // lengths of addresses; a request
	p = append(append(p, l.MAC...), ip.AsSlice()...)
	p = append(append(p, 0, 0, 0, 0, 0, 0), ip.AsSlice()...)
	to := &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16([]byte{unix.ETH_P_ARP >> 8, unix.ETH_P_ARP & 0xff}),
		Ifindex: l.Index, Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}
	return os.NewSyscallError("send ARP", unix.Sendto(fd, p, 0, to))
}

func naSocket(l *rtnl.Link) (int, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err == nil { // RFC 4861, 7.1.2: what came through a router has less, and does not count
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255)
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, l.Index)
	}
	return fd, os.NewSyscallError("socket of ICMPv6", err)
}

// sendNA sends an unsolicited neighbor advertisement to all nodes (RFC 4861, 7.2.6), of
// which the kernel makes the checksum.
func sendNA(fd int, l *rtnl.Link, ip netip.Addr) error {
	p := append([]byte{136, 0, 0, 0, 0x20, 0, 0, 0}, ip.AsSlice()...) // it overrides what is known
	p = append(append(p, 2, 1), l.MAC...)                             // the target's link-layer address
	from := &unix.Inet6Pktinfo{Ifindex: uint32(l.Index), Addr: ip.As16()}
	to := &unix.SockaddrInet6{Addr: netip.IPv6LinkLocalAllNodes().As16(), ZoneId: uint32(l.Index)}
	_, err := unix.SendmsgN(fd, p, unix.PktInfo6(from), to, 0)
	return os.NewSyscallError("send a neighbor advertisement", err)
}
