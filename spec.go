package osl

import (
	"net"
	"net/netip"
	"strings"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/want"
)

// Network says what several sandboxes and the links between them should be. It
// is what a network file of the osl command holds. The zero value is an empty
// network.
type Network struct {
	// Name is what the network is known by: up to 64 bytes without a slash,
	// white space or a control character. Its sandboxes carry it; one that does
	// and is not among Sandboxes any more is removed by Apply, and Down removes
	// all of them. Empty for a network without a name, which only knows those
	// that it lists. In a file the default is the file's own name.
	Name string `json:"name,omitempty"`
	// Sandboxes are made in this order. Their names are unique.
	Sandboxes []Spec `json:"sandboxes"`
	// Links are veth pairs between sandboxes, made with both ends in place.
	// An end that is not among the interfaces of its sandbox is added there
	// without addresses.
	Links []Link `json:"links,omitempty"`
	// Segments say more of the segments that interfaces are on. Where any is
	// listed, all are.
	Segments []SegmentSpec `json:"segments,omitempty"`
	// Checks say what must hold when the network is up. Apply ignores them;
	// the osl command runs them.
	Checks []Check `json:"checks,omitempty"`
}

// SegmentSpec says more of a segment than that it is there.
type SegmentSpec struct {
	// Name is that of the segment, and of its bridge: up to 15 bytes, no slash,
	// colon or white space.
	Name string `json:"name"`
	// Subnet are subnets of which the segment's interfaces get addresses; see
	// InterfaceSpec.Subnet. In a file one stands for a list of one.
	Subnet []netip.Prefix `json:"subnet,omitempty"`
}

// Link is a veth pair: its two ends, in no particular order.
type Link [2]Endpoint

// Endpoint is one end of a link, as text "SANDBOX/INTERFACE". The sandbox
// "host" is the host itself.
type Endpoint struct {
	Sandbox   string
	Interface string
}

// HostName is the name that stands for the host in an [Endpoint] and in
// [InterfaceSpec.Parent].
const HostName = want.HostName

// String returns "SANDBOX/INTERFACE".
func (e Endpoint) String() string { return e.Sandbox + "/" + e.Interface }

// MarshalText returns "SANDBOX/INTERFACE".
func (e Endpoint) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText parses "SANDBOX/INTERFACE".
func (e *Endpoint) UnmarshalText(b []byte) error {
	i := strings.LastIndexByte(string(b), '/')
	if i <= 0 || i == len(b)-1 {
		return fault.Invalidf("%q is no end of a link: write SANDBOX/INTERFACE, or host/INTERFACE", b)
	}
	e.Sandbox, e.Interface = string(b[:i]), string(b[i+1:])
	return nil
}

// Spec says what one sandbox should be. The zero value of a field leaves that
// matter alone.
type Spec struct {
	// Name is a name in the base path, or the path of the key itself. "host" is the
	// host: there osl makes bridges and the ends of links, and gives these what they
	// are to have; of others it changes nothing. Such a network needs a name, and
	// another sandbox.
	Name string `json:"name"`
	// Interfaces are the links of the sandbox. Their names are unique.
	Interfaces []InterfaceSpec `json:"interfaces,omitempty"`
	// Gateway is the IPv4 default gateway. It must be directly connected.
	Gateway netip.Addr `json:"gateway,omitzero"`
	// Gateway6 is the IPv6 default gateway. A link-local one needs a zone,
	// the interface: "fe80::1%eth0".
	Gateway6 netip.Addr `json:"gateway6,omitzero"`
	// Nexthops are next hops that are objects of their own, by which the routes lead
	// that name them: many routes change their way in one step.
	Nexthops []NexthopSpec `json:"nexthops,omitempty"`
	// Routes are routes beyond those of gateways and interfaces.
	Routes []RouteSpec `json:"routes,omitempty"`
	// Rules say which routing table is looked up for which packets, beside the
	// kernel's own: local at 0, main at 32766, default at 32767.
	Rules []RuleSpec `json:"rules,omitempty"`
	// Neighbors are permanent neighbor and forwarding entries.
	Neighbors []NeighborSpec `json:"neighbors,omitempty"`
	// Sysctls are settings of the whole sandbox, by their name without "net.":
	// "ipv4.ip_forward": "1". Both dots and slashes separate: the first in
	// a name does, and the other stands for it within a part, as in
	// "ipv4.conf.eth0/100.rp_filter". New links have what "ipv4.conf.default…" and
	// "ipv6.conf.default…" say. A setting that no sandbox has of its own is
	// ErrInvalid.
	Sysctls map[string]string `json:"sysctls,omitempty"`
	// Masquerade are subnets whose packets leave by an uplink with the address that
	// that has. For the sandbox "host" only.
	Masquerade []MasqueradeSpec `json:"masquerade,omitempty"`
	// Labels are kept on the sandbox and shown by Inspect and List. Together
	// they must fit in about 200 bytes.
	Labels map[string]string `json:"labels,omitempty"`
}

// InterfaceSpec says what one interface of a sandbox should be. The zero value
// of a field leaves that property as the kernel makes it, or as it is on a
// link that exists; unset is never zero. What a Spec asked for, and the next one
// that is applied does not, goes back to what a new link has, or to what one with
// a Source had on the host; not so MAC, a cost that versions of the kernel choose
// differently, and what a link is made with: its queues, an owner, the ends of a tunnel.
type InterfaceSpec struct {
	// Name is the interface's name inside the sandbox: up to 15 bytes, no
	// slash, colon or white space. "lo" is the loopback interface.
	Name string `json:"name"`
	// Type is what to make: dummy, ifb, tun, tap or vcan; veth or netkit, which
	// have two ends; bridge, vrf or bond, which have ports; macvlan, macvtap,
	// ipvlan, ipvtap or vlan, which lie on a parent; or a tunnel, vxlan, geneve,
	// gre, gretap, ip6gre, ip6gretap, ipip, sit or wireguard. Empty for an end of
	// a [Link] that is a veth, for one that has a Source, and for "lo".
	Type string `json:"type,omitempty"`
	// Source is the name of an existing link of the host that is moved in, or an
	// alternative one, which may be longer.
	Source string `json:"source,omitempty"`
	// MAC is the hardware address.
	MAC MAC `json:"mac,omitempty"`
	// MACPolicy persistent gives an interface that is made, and of which MAC says nothing, a
	// hardware address by the names of its network, sandbox and interface: the same each time and
	// on every machine. What has none of its own (a port of a bond, a vlan, an ipvlan, a link that
	// is there and moved in, …) has none by that. none, as empty, leaves it to the kernel. For the
	// interfaces of a network with a name.
	MACPolicy string `json:"mac_policy,omitempty"`
	// MTU in bytes. 0 leaves it; what is made on another link, such as a vlan or a vxlan, and
	// has the MTU that it got by that, then follows it.
	MTU int `json:"mtu,omitempty"`
	// TxQueueLen is the length of the transmit queue in packets; nil leaves it.
	TxQueueLen *int `json:"txqueuelen,omitempty"`
	// AltNames are further names by which the interface is found, up to 8: of up to 127
	// bytes each, else as a name. Those that it has from others stay.
	AltNames []string `json:"altnames,omitempty"`
	// Group is the number of the group that the interface is in, which the ip command
	// can name instead of interfaces; nil leaves it.
	Group *int `json:"group,omitempty"`
	// Promisc makes the interface take all frames, not only those to its address; nil
	// leaves it.
	Promisc *bool `json:"promisc,omitempty"`
	// AllMulticast makes it take all multicast; nil leaves it.
	AllMulticast *bool `json:"allmulticast,omitempty"`
	// ARP false keeps it from asking for and telling hardware addresses by ARP and
	// neighbor discovery; nil leaves it.
	ARP *bool `json:"arp,omitempty"`
	// AddrGenMode is how the kernel makes the IPv6 link-local address: eui64, by the
	// hardware address, none or random; empty leaves it.
	AddrGenMode string `json:"addrgenmode,omitempty"`
	// GSOMaxSize is the most bytes that the kernel hands to the device in one piece, to be
	// cut there: 193 or more, by the kernel up to 321. 0 leaves it, as with those after
	// it. A bridge has what its ports allow.
	GSOMaxSize int `json:"gso_max_size,omitempty"`
	// GSOMaxSegs is the most segments of such a piece.
	GSOMaxSegs int `json:"gso_max_segs,omitempty"`
	// GROMaxSize is the most bytes that the kernel puts together of what comes in.
	GROMaxSize int `json:"gro_max_size,omitempty"`
	// GSOIPv4MaxSize is GSOMaxSize of IPv4, since Linux 6.3: where nothing is said of it, that
	// one, and 65536 at the most.
	GSOIPv4MaxSize int `json:"gso_ipv4_max_size,omitempty"`
	// GROIPv4MaxSize is GROMaxSize of IPv4, in the same way.
	GROIPv4MaxSize int `json:"gro_ipv4_max_size,omitempty"`
	// Addresses of both families. IPv6 is off on an interface without an IPv6
	// address, unless IPv6 says otherwise.
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	// AddressOptions are what an address of Addresses or Aliases has beside itself.
	// In a file it can also stand with the address: {address: 10.0.0.1/32, peer:
	// 10.0.0.2}.
	AddressOptions map[netip.Prefix]AddressOptions `json:"address_options,omitempty"`
	// IPv6 is off, link-local (on, with the address that the kernel makes of the
	// hardware address, and deaf to routers) or auto (on, with the addresses and
	// routes that routers advertise, also where the sandbox forwards). Empty is on
	// where the interface has an IPv6 address, else off. A setting "ipv6.accept_ra"
	// of Sysctls counts more.
	IPv6 string `json:"ipv6,omitempty"`
	// SharedSubnet lets the subnets of Addresses be on other interfaces of the
	// sandbox too. Else that is ErrAddressConflict, since the kernel then chooses
	// one of them for what goes there; interfaces in different VRFs may have it
	// anyway.
	SharedSubnet bool `json:"shared_subnet,omitempty"`
	// Aliases are further addresses, such as a virtual service's.
	Aliases []netip.Prefix `json:"aliases,omitempty"`
	// Master is the bridge, bond or vrf of the sandbox that the interface is a
	// port of. A port of a bond has the bond's hardware address and MTU.
	Master string `json:"master,omitempty"`
	// BridgePort is what the interface is to be as a port of its Master.
	BridgePort *BridgePortSpec `json:"bridge_port,omitempty"`
	// Routes are networks that are reached through the interface directly.
	// 0.0.0.0/0 or ::/0 makes it the default route; in a file, "default" does
	// for each family that it has an address of.
	Routes []netip.Prefix `json:"routes,omitempty"`
	// Sysctls are settings of this interface, by their name after the
	// interface's: "ipv4.rp_filter": "2", "ipv6.accept_ra": "0".
	// "ipv6.disable_ipv6": "0" keeps its IPv6 on without an IPv6 address.
	Sysctls map[string]string `json:"sysctls,omitempty"`
	// Impair is what becomes of the packets that leave by it: delay, loss, a rate.
	// Without one, what osl did before is taken away. One that another program did is
	// not touched, and is ErrExists.
	Impair *ImpairSpec `json:"impair,omitempty"`
	// Offloads are what the device does for the kernel, on or off, by the names of
	// ethtool -K, long, short or the kernel's: "tx-checksumming": false. A group,
	// such as tx-checksumming, counts as on where one of its features is. Those that
	// are not named stay as they are; one that was named is as on a new link. What the
	// driver does not let anybody change is ErrInvalid. Not for one that has a Source.
	Offloads map[string]bool `json:"offloads,omitempty"`
	// DisableARPForVIP stops the interface from answering and asking for
	// addresses of other interfaces.
	DisableARPForVIP bool `json:"disable_arp_for_vip,omitempty"`
	// Down leaves the interface down.
	Down bool `json:"down,omitempty"`
	// Note is what a program wants to find again with the interface, such as the
	// id of a container: up to 160 printable characters of ASCII, without ";". It
	// is kept with the interface, and shown by Inspect; a new veth's other end on
	// the host has it too.
	Note string `json:"note,omitempty"`

	// Bridge is what a bridge is to be beside that.
	Bridge *BridgeSpec `json:"bridge,omitempty"`
	// WireGuard is what a wireguard is to be: its key and its peers.
	WireGuard *WireGuardSpec `json:"wireguard,omitempty"`
	// Peer is the other end of a veth or netkit: "SANDBOX/INTERFACE" or
	// "host/INTERFACE". Instead of a [Link].
	Peer Endpoint `json:"peer,omitzero"`
	// PeerMaster is the bridge of the host that the other end becomes a port
	// of, for a Peer on the host: one that is there, or that the network makes there.
	PeerMaster string `json:"peer_master,omitempty"`
	// Segment is the Ethernet segment that the interface is on: osl makes it as
	// a veth, whose other end is a port of the segment's bridge. The bridges are
	// in a sandbox of the network called NAME.segments, after the network, which
	// needs a name. For a veth only, and instead of a Peer or a [Link].
	Segment string `json:"segment,omitempty"`
	// Subnet are subnets of which the interface gets an address, where it has no
	// address of that family and no Master: the first that is free among the
	// interfaces of its segment, or of its link, else of all of the network that
	// name the subnet, in the order of the network. An address that one of them
	// has in Addresses is passed over. Of a segment's interface the default is
	// the segment's. In a file one stands for a list of one.
	Subnet []netip.Prefix `json:"subnet,omitempty"`
	// Parent is the link below a macvlan, macvtap, ipvlan, ipvtap or vlan, and
	// the device of a tunnel: an interface of the sandbox, or "host/INTERFACE".
	// Of a tunnel that is no vxlan it is one of the sandbox.
	Parent string `json:"parent,omitempty"`
	// Mode of a macvlan or macvtap: bridge (also if empty), private, vepa,
	// passthru. Of an ipvlan or ipvtap: l3 (also if empty), l2, l3s; all on one
	// parent have the same. Of a netkit: l3 (also if empty), l2. Of a bond:
	// balance-rr (also if empty), active-backup, balance-xor, broadcast, 802.3ad,
	// balance-tlb, balance-alb.
	Mode string `json:"mode,omitempty"`
	// Flags of an ipvlan or ipvtap: bridge, private or vepa; all on one parent
	// have the same. Empty leaves them; the kernel makes it bridge.
	Flags string `json:"flags,omitempty"`
	// VLAN is the tag of a vlan, 1 to 4094.
	VLAN int `json:"vlan,omitempty"`
	// Protocol of a vlan: 802.1Q (also if empty) or 802.1ad.
	Protocol string `json:"protocol,omitempty"`
	// IngressQoSMap of a vlan maps priorities of tags, 0 to 7, to those of
	// packets: "3": "5". nil leaves it; one that it does not name is 0.
	IngressQoSMap map[string]string `json:"ingress_qos_map,omitempty"`
	// EgressQoSMap of a vlan maps priorities of packets to those of tags, 0 to 7.
	// nil leaves it; one that it does not name is 0.
	EgressQoSMap map[string]string `json:"egress_qos_map,omitempty"`
	// Table is the routing table of a vrf.
	Table int `json:"table,omitempty"`
	// MIIMon is how often a bond looks at the carriers of its ports, in
	// milliseconds. 0 leaves it; the kernel looks every 100 ms where the mode
	// needs it, else never.
	MIIMon int `json:"miimon,omitempty"`
	// VNI is the network identifier of a vxlan or geneve, 1 to 16777215.
	VNI int `json:"vni,omitempty"`
	// Local is a tunnel's own address.
	Local netip.Addr `json:"local,omitzero"`
	// Remote is the other end of a tunnel. Of a vxlan it may be a multicast
	// group, with Parent the device that it is joined on.
	Remote netip.Addr `json:"remote,omitzero"`
	// Remotes are the other ends of a vxlan that has several: what is for
	// everybody, or for an address that it knows nothing of, goes to each. Instead
	// of a Remote, and of the family of Local, else of IPv4.
	Remotes []netip.Addr `json:"remotes,omitempty"`
	// Port is the UDP port of a vxlan or geneve; 0 means 4789 and 6081.
	Port int `json:"port,omitempty"`
	// Key of a gre, gretap, ip6gre or ip6gretap, in both directions. 0 leaves it;
	// the kernel makes it without one.
	Key int `json:"key,omitempty"`
	// TTL is the time to live of a tunnel's packets, 1 to 255. 0 leaves it; the
	// kernel takes that of the packet inside, or of a vxlan and geneve its default.
	TTL int `json:"ttl,omitempty"`
	// TOS is the type of service of a tunnel's packets, the traffic class on
	// IPv6, up to 255. 0 leaves it; the kernel makes it 0. 1 takes that of the
	// packet inside.
	TOS int `json:"tos,omitempty"`
	// Learning says whether a vxlan learns where hardware addresses are from the
	// packets that come. nil leaves it; the kernel makes it true.
	Learning *bool `json:"learning,omitempty"`
	// Policy of a netkit is what becomes of packets that no program decides on
	// and that this end sends: forward or blackhole. Empty leaves it; the kernel
	// makes it forward.
	Policy string `json:"policy,omitempty"`
	// PeerPolicy of a netkit is that of its other end.
	PeerPolicy string `json:"peer_policy,omitempty"`
	// Owner is the number of the user that may open a tun or tap beside root of the
	// sandbox; nil for any.
	Owner *int `json:"owner,omitempty"`
	// OwnerGroup is the number of the group that may; nil for any.
	OwnerGroup *int `json:"owner_group,omitempty"`
	// MultiQueue makes a tun or tap that can be opened more than once.
	MultiQueue bool `json:"multi_queue,omitempty"`
	// VNetHdr makes a tun or tap whose packets have virtio's header.
	VNetHdr bool `json:"vnet_hdr,omitempty"`
	// NumTxQueues is the number of transmit queues of a veth or ifb, 1 to 4096. 0
	// leaves it; a veth is made with one.
	NumTxQueues int `json:"numtxqueues,omitempty"`
	// NumRxQueues is the number of receive queues, likewise.
	NumRxQueues int `json:"numrxqueues,omitempty"`
}

// AddressOptions are what an address has beside itself. Of an IPv4 address that is
// there the kernel changes the lifetimes alone; to change the rest it must go first,
// as must an IPv6 address that is to have no peer any more, or another one in its subnet.
type AddressOptions struct {
	// Peer is the address at the other end of a point-to-point link. The length of
	// the address is then that of the peer's network.
	Peer netip.Addr `json:"peer,omitzero"`
	// Scope of an IPv4 address: global, site, link, host, nowhere, or a number to
	// 255. Empty is link for 169.254.0.0/16, host for 127.0.0.0/8, else global.
	Scope string `json:"scope,omitempty"`
	// ValidLft is for how many seconds it is there, from when it is made; 0 means
	// for good. What is over is made again by the next Apply. To make it longer
	// than it was reaches an address that is there only where it is made anew.
	ValidLft uint32 `json:"valid_lft,omitempty"`
	// PreferredLft is for how many seconds it is chosen as a source: 0 for none,
	// nil as long as it is there. Of an IPv4 address that is there for good it is 0 or nil.
	PreferredLft *uint32 `json:"preferred_lft,omitempty"`
	// NoPrefixRoute makes no route to its subnet.
	NoPrefixRoute bool `json:"noprefixroute,omitempty"`
	// Home marks a home address of mobile IPv6.
	Home bool `json:"home,omitempty"`
}

// Check is something that must hold when the network is up: one of Ping, TCP
// and UDP, tried from inside a sandbox.
type Check struct {
	// From is the sandbox that it is tried from, or "host".
	From string `json:"from"`
	// Ping is an address that must answer an ICMP echo.
	Ping netip.Addr `json:"ping,omitzero"`
	// TCP is an address and port that must accept a connection.
	TCP netip.AddrPort `json:"tcp,omitzero"`
	// UDP is an address and port that must echo a datagram.
	UDP netip.AddrPort `json:"udp,omitzero"`
	// To is the sandbox in which an echo server listens on the address while
	// the check runs, for TCP and UDP. Empty uses what listens there already.
	To string `json:"to,omitempty"`
	// Expect is ok (also if empty), refused, unreachable or timeout.
	Expect string `json:"expect,omitempty"`
	// Timeout of the check as a duration, such as "500ms"; empty means 3s.
	Timeout string `json:"timeout,omitempty"`
}

// MAC is a hardware address of six bytes, as text "02:42:ac:11:00:02". nil is
// none.
type MAC net.HardwareAddr

// String returns the address in the usual form.
func (m MAC) String() string { return net.HardwareAddr(m).String() }

// MarshalText returns the address in the usual form.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText parses any form that net.ParseMAC does.
func (m *MAC) UnmarshalText(b []byte) error {
	a, err := net.ParseMAC(string(b))
	if err != nil || len(a) != 6 {
		return fault.Invalidf("%q is no hardware address: write six bytes, 02:00:00:00:00:01", b)
	}
	*m = MAC(a)
	return nil
}
