//go:build linux

package floor

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Attribute numbers of linux/if_link.h and linux/veth.h that x/sys/unix lacks.
const (
	iflaInfoKind  = 1
	iflaInfoData  = 2
	vethInfoPeer  = 1
	iflaNewIfidx  = 49
	skipStats     = 8 // RTEXT_FILTER_SKIP_STATS
	statsLink64   = 1 // IFLA_STATS_LINK_64
	protocol      = unix.RTPROT_STATIC
	createNew     = unix.NLM_F_CREATE | unix.NLM_F_EXCL
	createReplace = unix.NLM_F_CREATE | unix.NLM_F_REPLACE
)

func (c *Conn) ifinfo(index int, flags, change uint32) {
	c.out = binary.NativeEndian.AppendUint32(c.out, unix.AF_UNSPEC)
	c.out = binary.NativeEndian.AppendUint32(c.out, uint32(index))
	c.out = binary.NativeEndian.AppendUint32(c.out, flags)
	c.out = binary.NativeEndian.AppendUint32(c.out, change)
}

// Up queues a message that sets a link up, by its index, or by its name where
// the index is 0.
func (c *Conn) Up(index int, name string) {
	c.message(unix.RTM_NEWLINK, 0)
	c.ifinfo(index, unix.IFF_UP, unix.IFF_UP)
	if index == 0 {
		c.str(unix.IFLA_IFNAME, name)
	}
}

// Delete queues a message that deletes a link by its name.
func (c *Conn) Delete(name string) {
	c.message(unix.RTM_DELLINK, 0)
	c.ifinfo(0, 0, 0)
	c.str(unix.IFLA_IFNAME, name)
}

// ends is the group of the links whose other ends are elsewhere, by which one message
// deletes them all.
const ends = 1

// DeleteEnds queues a message that deletes the veths of a namespace, with their peers.
func (c *Conn) DeleteEnds() {
	c.message(unix.RTM_DELLINK, 0)
	c.ifinfo(0, 0, 0)
	c.u32(unix.IFLA_GROUP, ends)
}

// Veth queues a message that makes a veth here, and its peer in the namespace
// peerNS, with an index that the kernel chooses where peerIndex is 0. More than
// one queue would cost a grace period.
func (c *Conn) Veth(index int, name string, peerNS, peerIndex int, peer string, master int) {
	c.message(unix.RTM_NEWLINK, createNew)
	c.ifinfo(index, 0, 0)
	c.str(unix.IFLA_IFNAME, name)
	c.u32(unix.IFLA_NUM_TX_QUEUES, 1)
	c.u32(unix.IFLA_NUM_RX_QUEUES, 1)
	c.u32(unix.IFLA_GROUP, ends)
	if master != 0 {
		c.u32(unix.IFLA_MASTER, uint32(master))
	}
	c.open(unix.IFLA_LINKINFO)
	c.str(iflaInfoKind, "veth")
	c.open(iflaInfoData)
	c.open(vethInfoPeer)
	c.ifinfo(peerIndex, 0, 0)
	c.str(unix.IFLA_IFNAME, peer)
	c.u32(unix.IFLA_NUM_TX_QUEUES, 1)
	c.u32(unix.IFLA_NUM_RX_QUEUES, 1)
	c.u32(unix.IFLA_NET_NS_FD, uint32(peerNS))
	c.close()
	c.close()
	c.close()
}

// Bridge queues a message that makes a bridge and sets it up.
func (c *Conn) Bridge(index int, name string) {
	c.message(unix.RTM_NEWLINK, createNew)
	c.ifinfo(index, unix.IFF_UP, unix.IFF_UP)
	c.str(unix.IFLA_IFNAME, name)
	c.open(unix.IFLA_LINKINFO)
	c.str(iflaInfoKind, "bridge")
	c.close()
}

// Move queues a message that moves a link to the namespace ns, where it has
// the index and the name and is up.
func (c *Conn) Move(index, ns, newIndex int, name string) {
	c.message(unix.RTM_NEWLINK, 0)
	c.ifinfo(index, unix.IFF_UP, unix.IFF_UP)
	c.u32(unix.IFLA_NET_NS_FD, uint32(ns))
	c.u32(iflaNewIfidx, uint32(newIndex))
	c.str(unix.IFLA_IFNAME, name)
}

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func (c *Conn) addr(typ uint16, a netip.Addr) {
	if a.Is4() {
		b := a.As4()
		c.bytes(typ, b[:])
		return
	}
	b := a.As16()
	c.bytes(typ, b[:])
}

func (c *Conn) ifaddr(index int, p netip.Prefix) {
	c.out = append(c.out, family(p.Addr()), uint8(p.Bits()), unix.IFA_F_NODAD, unix.RT_SCOPE_UNIVERSE)
	c.out = binary.NativeEndian.AppendUint32(c.out, uint32(index))
	c.addr(unix.IFA_LOCAL, p.Addr())
}

// Addr queues a message that gives a link an address.
func (c *Conn) Addr(index int, p netip.Prefix) {
	c.message(unix.RTM_NEWADDR, createNew)
	c.ifaddr(index, p)
}

// DelAddr queues a message that takes an address away.
func (c *Conn) DelAddr(index int, p netip.Prefix) {
	c.message(unix.RTM_DELADDR, 0)
	c.ifaddr(index, p)
}

func (c *Conn) route(index int, dst netip.Prefix, via netip.Addr, proto, scope uint8) {
	c.out = append(c.out, family(dst.Addr()), uint8(dst.Bits()), 0, 0, unix.RT_TABLE_MAIN, proto, scope, unix.RTN_UNICAST)
	c.out = binary.NativeEndian.AppendUint32(c.out, 0)
	if dst.Bits() > 0 {
		c.addr(unix.RTA_DST, dst.Addr())
	}
	if via.IsValid() {
		c.addr(unix.RTA_GATEWAY, via)
	}
	if index != 0 {
		c.u32(unix.RTA_OIF, uint32(index))
	}
}

// Route queues a message that makes a route: through via, or on a link.
func (c *Conn) Route(index int, dst netip.Prefix, via netip.Addr) {
	c.RouteOf(index, dst, via, protocol)
}

// RouteOf is Route with the protocol that says whose it is.
func (c *Conn) RouteOf(index int, dst netip.Prefix, via netip.Addr, proto uint8) {
	scope := uint8(unix.RT_SCOPE_UNIVERSE)
	if !via.IsValid() && dst.Addr().Is4() {
		scope = unix.RT_SCOPE_LINK
	}
	c.message(unix.RTM_NEWROUTE, createReplace)
	c.route(index, dst, via, proto, scope)
}

// DelRoute queues a message that takes a route away.
func (c *Conn) DelRoute(dst netip.Prefix, via netip.Addr) {
	c.message(unix.RTM_DELROUTE, 0)
	c.route(0, dst, via, 0, unix.RT_SCOPE_NOWHERE)
}

func (c *Conn) ndmsg(index int, ip netip.Addr, state uint16) {
	c.out = append(c.out, family(ip), 0, 0, 0)
	c.out = binary.NativeEndian.AppendUint32(c.out, uint32(index))
	c.out = binary.NativeEndian.AppendUint16(c.out, state)
	c.out = append(c.out, 0, 0)
	c.addr(unix.NDA_DST, ip)
}

// Neigh queues a message that makes a permanent neighbour.
func (c *Conn) Neigh(index int, ip netip.Addr, mac net.HardwareAddr) {
	c.message(unix.RTM_NEWNEIGH, createNew)
	c.ndmsg(index, ip, unix.NUD_PERMANENT)
	c.bytes(unix.NDA_LLADDR, mac)
}

// DelNeigh queues a message that deletes a neighbour.
func (c *Conn) DelNeigh(index int, ip netip.Addr) {
	c.message(unix.RTM_DELNEIGH, 0)
	c.ndmsg(index, ip, 0)
}

// Size returns how many bytes wait to be sent.
func (c *Conn) Size() int { return len(c.out) }

// Gone reports whether there is no link of a name, which needs no lock of the kernel's.
func (c *Conn) Gone(name string) (bool, error) {
	r, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(c.fd, unix.SIOCGIFINDEX, r)
	}
	if err == unix.ENODEV {
		return true, nil
	}
	return false, err
}

// Stats are counters of a link.
type Stats struct{ RxPackets, TxPackets, RxBytes, TxBytes uint64 }

// Stats reads the counters of a link.
func (c *Conn) Stats(index int) (s Stats, err error) {
	c.message(unix.RTM_GETSTATS, 0)
	c.out = binary.NativeEndian.AppendUint32(c.out, 0)
	c.out = binary.NativeEndian.AppendUint32(c.out, uint32(index))
	c.out = binary.NativeEndian.AppendUint32(c.out, 1<<(statsLink64-1))
	if err := c.send(false); err != nil {
		return s, err
	}
	var none error
	err = c.read(func(typ uint16, _ uint32, b []byte) (bool, error) {
		if typ == unix.NLMSG_ERROR {
			return true, unix.Errno(-int32(binary.NativeEndian.Uint32(b)))
		}
		b = b[12+4:] // struct if_stats_msg, and the head of the one attribute
		u := func(i int) uint64 { return binary.NativeEndian.Uint64(b[8*i:]) }
		s = Stats{u(0), u(1), u(2), u(3)}
		return true, nil
	}, &none)
	return s, err
}

// Count dumps the links and the addresses and returns how many there are.
func (c *Conn) Count() (links, addrs int, err error) {
	c.message(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	c.ifinfo(0, 0, 0)
	c.u32(unix.IFLA_EXT_MASK, skipStats)
	if err := c.dump(func([]byte) { links++ }); err != nil {
		return 0, 0, err
	}
	c.message(unix.RTM_GETADDR, unix.NLM_F_DUMP)
	c.out = append(c.out, unix.AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0)
	err = c.dump(func([]byte) { addrs++ })
	return links, addrs, err
}
