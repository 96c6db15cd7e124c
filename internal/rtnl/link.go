package rtnl

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/linux"
)

// Link is a link as the kernel describes it.
type Link struct {
	Index int
	Name  string
	Kind  string // empty for a physical device and lo; a tap is "tap" here
	Flags uint32 // IFF_*
	// Oper reports that the kernel has dealt with the link's being up, and
	// told the bridge, if the other end is a port of one.
	Oper    bool
	MAC     net.HardwareAddr
	MTU     int
	MinMTU  int
	MaxMTU  int // 0 for no limit
	TxQLen  int
	Alias   string
	AltName []string
	Master  int // index of the bridge, 0 for none
	Parent  int // index of the link below, or of a veth's peer; 0 for none
	// ParentNS reports that Parent is in another namespace, which has the number ParentNSID
	// in the link's own.
	ParentNS   bool
	ParentNSID int32
	// Qdisc is the kind of the queueing discipline at its root.
	Qdisc string
	Data  LinkData
	Inet  Inet
	// Bridge are the settings of a bridge, Port those of a port of one; nil for others.
	Bridge, Port *Options
	Options      Options // those of LinkOptions
}

// Up reports whether the link is set up.
func (l *Link) Up() bool { return l.Flags&linux.IFF_UP != 0 }

// Inet holds the settings of a link's IPv4 and IPv6 that osl cares about.
type Inet struct {
	ARPIgnore, ARPAnnounce, ARPNotify uint32
	// Promote is promote_secondaries: with 0 the first address of a subnet takes
	// the others along when it is deleted, unless that of all links says 1.
	Promote uint32
	// DisableIPv6 is true too where the link has no IPv6 state at all.
	DisableIPv6  bool
	NDISCNotify  bool
	AcceptDAD    int32
	HasIPv6State bool
	AcceptRA     int32
	// HearsRouters says that what routers advertise is taken.
	HearsRouters bool
}

// LinkData is what makes a link of its kind. Zero is what the kernel makes.
type LinkData struct {
	VNI           int        // vxlan, geneve
	Local, Remote netip.Addr // tunnels
	Port          int        // vxlan, geneve
	VLAN          int        // vlan
	Protocol      string     // vlan: 802.1Q or 802.1ad
	// IngressQoS and EgressQoS of a vlan are as ip has them, "1:2 3:4", in the
	// order of the first numbers.
	IngressQoS, EgressQoS string
	Mode                  string // macvlan, macvtap, ipvlan, ipvtap, bond, netkit
	Flags                 string // ipvlan, ipvtap
	Table                 int    // vrf
	MIIMon                int    // bond: milliseconds
	Key                   int    // gre and its kin
	TTL, TOS              int    // tunnels; 0 is that of the packet inside
	Learning              string // vxlan: on or off
	Policy, PeerPolicy    string // netkit
	Secondary             bool   // netkit: made from its other end
	Owner, OwnerGroup     string // tun, tap: numbers
	MultiQueue, VNetHdr   bool   // tun, tap
	// TxQueues and RxQueues are numbers of queues.
	TxQueues, RxQueues int
}

// LinkSet says what to change of a link: only what is set.
type LinkSet struct {
	Index    int // 0 means the link that has Name
	NSFD     int // move there; 0 for no move
	NewIndex int // index after the move; 0 lets the kernel choose
	Name     string
	MAC      net.HardwareAddr
	MTU      int
	TxQLen   *int
	Alias    *string
	Master   *int
	Up       *bool
	Group    uint32     // 0 leaves it
	ARP      *[2]uint32 // arp_ignore and arp_announce
	// ARPNotify makes the link announce its IPv4 addresses when it goes up.
	ARPNotify bool
	Promote   *uint32 // promote_secondaries
	Options   Options // those of LinkOptions
}

// LinkNew describes a link to be made where the socket is.
type LinkNew struct {
	Index  int
	Name   string
	Kind   string // bridge, veth, vxlan …
	MAC    net.HardwareAddr
	MTU    int
	TxQLen *int
	Parent int // in the socket's namespace
	Data   LinkData
	Peer   *Peer
	// NSFD makes the link in another namespace than the socket's; 0 for here.
	NSFD int
}

// Peer is the other end of a veth.
type Peer struct {
	NSFD  int // its namespace; 0 for the socket's
	Index int
	Name  string
	MAC   net.HardwareAddr
	MTU   int
	// TxQueues and RxQueues are numbers of queues, 0 for one.
	TxQueues, RxQueues int
}

// Attribute numbers of linux/if_link.h, linux/ip.h and
// linux/ipv6.h that x/sys/unix lacks.
const (
	iflaInfoKind      = 1
	iflaInfoData      = 2
	iflaInetConf      = 1
	iflaInet6Conf     = 2
	ipv4ARPAnnounce   = 18
	ipv4ARPIgnore     = 19
	ipv4Promote       = 20
	ipv4ARPNotify     = 22
	ipv6Forwarding    = 0
	ipv6AcceptRA      = 3
	ipv6DisableIPv6   = 26
	ipv6AcceptDAD     = 27
	ipv6NDISCNotify   = 29
	extSkipStats      = 8 // RTEXT_FILTER_SKIP_STATS
	iflaAltIfname     = 53
	iflaPropList      = 52
	iflaNewIfindex    = 49
	iflaMinMTU        = 50
	iflaMaxMTU        = 51
	iflaLinkNetnsid   = 37
	iflaTargetNetnsid = 46
	ifOperUp          = 6  // IF_OPER_UP
	maxName           = 15 // IFNAMSIZ of linux/if.h without the closing NUL
)

// ifinfo starts a message with struct ifinfomsg.
func ifinfo(family uint8, index int, flags, change uint32) buffer {
	b := make(buffer, 0, 256)
	b = append(b, family, 0, 0, 0)
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = binary.NativeEndian.AppendUint32(b, flags)
	return binary.NativeEndian.AppendUint32(b, change)
}

// SetLink returns the request that changes a link.
func SetLink(s LinkSet) Request {
	var flags, change uint32
	if s.Up != nil {
		change = linux.IFF_UP
		if *s.Up {
			flags = linux.IFF_UP
		}
	}
	set, those := s.Options.flagged()
	b := ifinfo(linux.AF_UNSPEC, s.Index, flags|set, change|those)
	b.options(LinkOptions, &s.Options)
	if s.NSFD != 0 {
		b.u32(linux.IFLA_NET_NS_FD, uint32(s.NSFD))
		if s.NewIndex != 0 {
			b.u32(iflaNewIfindex, uint32(s.NewIndex))
		}
	}
	if s.Name != "" {
		b.str(linux.IFLA_IFNAME, s.Name)
	}
	if s.MAC != nil {
		b.bytes(linux.IFLA_ADDRESS, s.MAC)
	}
	if s.MTU != 0 {
		b.u32(linux.IFLA_MTU, uint32(s.MTU))
	}
	if s.TxQLen != nil {
		b.u32(linux.IFLA_TXQLEN, uint32(*s.TxQLen))
	}
	if s.Alias != nil {
		b.str(linux.IFLA_IFALIAS, *s.Alias)
	}
	if s.Master != nil {
		b.u32(linux.IFLA_MASTER, uint32(*s.Master))
	}
	if s.Group != 0 {
		b.u32(linux.IFLA_GROUP, s.Group)
	}
	mode, genMode := s.Options.Get(LinkAddrGenMode)
	if s.ARP != nil || s.ARPNotify || s.Promote != nil || genMode {
		b.nest(linux.IFLA_AF_SPEC, func() {
			if genMode {
				b.nest(linux.AF_INET6, func() { b.u8(iflaInet6AddrGenMode, uint8(mode)) })
			}
			if s.ARP == nil && !s.ARPNotify && s.Promote == nil {
				return
			}
			b.nest(linux.AF_INET, func() {
				b.nest(iflaInetConf, func() {
					if s.ARP != nil {
						b.u32(ipv4ARPIgnore, s.ARP[0])
						b.u32(ipv4ARPAnnounce, s.ARP[1])
					}
					if s.Promote != nil {
						b.u32(ipv4Promote, *s.Promote)
					}
					if s.ARPNotify {
						b.u32(ipv4ARPNotify, 1)
					}
				})
			})
		})
	}
	return Request{Type: linux.RTM_NEWLINK, Data: b}
}

// NewLink returns the request that makes a link; it fails if the name or the
// index is taken.
func NewLink(n LinkNew) Request {
	b := ifinfo(linux.AF_UNSPEC, n.Index, 0, 0)
	b.str(linux.IFLA_IFNAME, n.Name)
	if n.NSFD != 0 {
		b.u32(linux.IFLA_NET_NS_FD, uint32(n.NSFD))
	}
	if n.MAC != nil {
		b.bytes(linux.IFLA_ADDRESS, n.MAC)
	}
	if n.MTU != 0 {
		b.u32(linux.IFLA_MTU, uint32(n.MTU))
	}
	if n.TxQLen != nil {
		b.u32(linux.IFLA_TXQLEN, uint32(*n.TxQLen))
	}
	k := kinds[n.Kind]
	if n.Parent != 0 && !k.tunnel {
		b.u32(linux.IFLA_LINK, uint32(n.Parent))
	}
	b.queues(n.Data.TxQueues, n.Data.RxQueues, k.oneQueue)
	b.nest(linux.IFLA_LINKINFO, func() {
		b.str(iflaInfoKind, n.Kind)
		if k.data != nil {
			b.nest(iflaInfoData, func() { k.data(&b, &n) })
		}
	})
	return Request{Type: linux.RTM_NEWLINK, Flags: linux.NLM_F_CREATE | linux.NLM_F_EXCL, Data: b}
}

// ChangeLink returns the request that changes what makes a link of its kind, as far
// as that can be changed: to all that d says. parent is the device of a tunnel,
// mtu its MTU in bytes, 0 for one of the kernel's choice.
func ChangeLink(index int, kind string, d LinkData, parent, mtu int) Request {
	b := ifinfo(linux.AF_UNSPEC, index, 0, 0)
	if mtu != 0 {
		b.u32(linux.IFLA_MTU, uint32(mtu))
	}
	b.nest(linux.IFLA_LINKINFO, func() {
		b.str(iflaInfoKind, kind)
		b.nest(iflaInfoData, func() { kinds[kind].change(&b, d, parent) })
	})
	return Request{Type: linux.RTM_NEWLINK, Data: b}
}

// DelLink returns the request that deletes a link.
func DelLink(index int) Request {
	return Request{Type: linux.RTM_DELLINK, Data: ifinfo(linux.AF_UNSPEC, index, 0, 0)}
}

// DelGroup returns the request that deletes all links of a group.
func DelGroup(group uint32) Request {
	b := ifinfo(linux.AF_UNSPEC, 0, 0, 0)
	b.u32(linux.IFLA_GROUP, group)
	return Request{Type: linux.RTM_DELLINK, Data: b}
}

// NewAltName returns the request that gives a link other names beside its own.
// The kernel stops at the first that it refuses.
func NewAltName(index int, names ...string) Request {
	return altName(linux.RTM_NEWLINKPROP, index, names)
}

// DelAltName returns the request that takes alternative names away. The kernel
// stops at the first that is not there.
func DelAltName(index int, names ...string) Request {
	return altName(linux.RTM_DELLINKPROP, index, names)
}

func altName(typ uint16, index int, names []string) Request {
	b := ifinfo(linux.AF_UNSPEC, index, 0, 0)
	b.nest(iflaPropList, func() {
		for _, name := range names {
			b.str(iflaAltIfname, name)
		}
	})
	r := Request{Type: typ, Data: b}
	if typ == linux.RTM_NEWLINKPROP {
		r.Flags = linux.NLM_F_CREATE | linux.NLM_F_EXCL | linux.NLM_F_APPEND
	}
	return r
}

// Reshapes returns the index of the link that a message of ChangeLink or SetBridge
// changes, 0 for any other message. far says that what it acts on is where the link below is,
// or the socket of a tunnel, which may be another namespace.
func Reshapes(data []byte) (index int, far bool) {
	if len(data) < linux.SizeofIfInfomsg {
		return 0, false
	}
	kind := ""
	for t, v := range attrs(data[linux.SizeofIfInfomsg:]) {
		switch t {
		default:
			return 0, false
		case linux.IFLA_MTU:
		case linux.IFLA_LINKINFO:
			for t, v := range attrs(v) {
				if t == iflaInfoKind {
					kind = getStr(v)
				}
			}
		}
	}
	if kinds[kind].change == nil && !kinds[kind].settings {
		return 0, false
	}
	return int(int32(getU32(data[4:]))), kinds[kind].tunnel || kinds[kind].shared
}

// Stacks returns the link on which a message of NewLink makes one, 0 for a vxlan on none, and
// the type of what it makes; an empty one where the message says anything else, such as another namespace.
func Stacks(data []byte) (parent int, kind string) {
	if len(data) < linux.SizeofIfInfomsg || int32(getU32(data[4:])) <= 0 {
		return 0, ""
	}
	for t, v := range attrs(data[linux.SizeofIfInfomsg:]) {
		switch t {
		case linux.IFLA_IFNAME, linux.IFLA_ADDRESS, linux.IFLA_MTU, linux.IFLA_TXQLEN, linux.IFLA_NUM_TX_QUEUES, linux.IFLA_NUM_RX_QUEUES:
		case linux.IFLA_LINK:
			if len(v) >= 4 {
				parent = int(int32(getU32(v)))
			}
		case linux.IFLA_LINKINFO:
			for t, v := range attrs(v) {
				switch t {
				case iflaInfoKind:
					kind = getStr(v)
				case iflaInfoData:
					for t, v := range attrs(v) {
						if kind == "vxlan" && t == linux.IFLA_VXLAN_LINK {
							parent = int(int32(getU32(v)))
						}
					}
				}
			}
		default:
			return 0, ""
		}
	}
	if parent < 0 || parent == 0 && kind != "vxlan" {
		return 0, ""
	}
	return parent, kind
}

// StaysHere reports whether a message acts in the namespace of the socket that
// it is sent on and in no other.
func StaysHere(typ uint16, data []byte) bool {
	head, elsewhere := 0, []uint16{}
	switch typ {
	case linux.RTM_NEWLINK, linux.RTM_DELLINK:
		head, elsewhere = linux.SizeofIfInfomsg, []uint16{linux.IFLA_NET_NS_PID, linux.IFLA_NET_NS_FD, linux.IFLA_LINKINFO, iflaTargetNetnsid}
	case linux.RTM_SETLINK:
		head = linux.SizeofIfInfomsg
	case linux.RTM_NEWADDR, linux.RTM_DELADDR:
		head, elsewhere = linux.SizeofIfAddrmsg, []uint16{linux.IFA_TARGET_NETNSID}
	}
	if len(data) < head {
		return false
	}
	for t, v := range attrs(data[head:]) {
		if t == linux.IFLA_LINKINFO && typ == linux.RTM_NEWLINK && ofPort(v) {
			continue
		}
		if slices.Contains(elsewhere, t) {
			return false
		}
	}
	return true
}

// GetLink returns the request that reads a link by its index, or by its name
// if index is 0, into l.
func GetLink(index int, name string, l *Link) Request {
	b := ifinfo(linux.AF_UNSPEC, index, 0, 0)
	switch {
	case index != 0:
	case len(name) > maxName: // an alternative one; shorter ones are found as the others
		b.str(iflaAltIfname, name)
	default:
		b.str(linux.IFLA_IFNAME, name)
	}
	b.u32(linux.IFLA_EXT_MASK, extSkipStats)
	return Request{Type: linux.RTM_GETLINK, Data: b, Reply: func(p []byte) { *l = ParseLink(p) }}
}

// AllLinks returns the request that lists the links.
func AllLinks() Request {
	b := ifinfo(linux.AF_UNSPEC, 0, 0, 0)
	b.u32(linux.IFLA_EXT_MASK, extSkipStats)
	return Request{Type: linux.RTM_GETLINK, Data: b}
}
