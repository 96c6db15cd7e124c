// Package want has what a caller asks for, and turns it into what plans are made
// of: it checks all that can be known without the kernel, and says what is wrong in
// the caller's words. Beside each way down is the way up: what the kernel has, in the
// same words (RouteOf, RuleOf, KindOf …). It makes no system call.
package want

import (
	"net"
	"net/netip"
)

// HostName stands for the host where a sandbox is named.
const HostName = "host"

// Network is what several sandboxes and the links between them should be. The
// fields are those of osl.Network, which says what they mean.
type Network struct {
	Name      string
	Sandboxes []Sandbox
	Links     []Link
	// Host says that a sandbox that is called HostName is the host's own namespace,
	// and that lo is any link: what is wanted is beside what is there.
	Host     bool
	Segments []Segment
}

// Link is a veth pair.
type Link [2]Endpoint

// Endpoint is one end of a link.
type Endpoint struct{ Sandbox, Interface string }

// String returns "SANDBOX/INTERFACE".
func (e Endpoint) String() string { return e.Sandbox + "/" + e.Interface }

// Sandbox is what one sandbox should be: osl.Spec.
type Sandbox struct {
	Name       string
	Interfaces []Iface
	Gateway    netip.Addr
	Gateway6   netip.Addr
	Routes     []Route
	Nexthops   []Nexthop
	Rules      []Rule
	Neighbors  []Neigh
	Masquerade []Masq
	Sysctls    map[string]string
	Labels     map[string]string
}

// Iface is what one interface should be: osl.InterfaceSpec.
type Iface struct {
	Name, Type, Source     string
	MAC                    net.HardwareAddr
	MACPolicy              string
	MTU                    int
	TxQueueLen             *int
	Addresses, Aliases     []netip.Prefix
	IPv6                   string
	AddressOptions         map[netip.Prefix]AddressOptions
	SharedSubnet           bool
	Master                 string
	Routes                 []netip.Prefix
	Sysctls                map[string]string
	DisableARPForVIP, Down bool
	Note                   string
	Peer                   Endpoint
	PeerMaster, Parent     string
	Kind                   Kind
	Offloads               map[string]bool
	Impair                 *Impair
	WireGuard              *WireGuard
	Bridge                 *Bridge
	BridgePort             *BridgePort
	LinkOptions
	Segment string
	Subnet  []netip.Prefix
}

// Kind is what makes an interface of its type.
type Kind struct {
	VLAN, VNI, Port              int
	Local, Remote                netip.Addr
	Mode, Flags, Protocol        string
	IngressQoSMap, EgressQoSMap  map[string]string
	Table, MIIMon, Key, TTL, TOS int
	Learning                     *bool
	Policy, PeerPolicy           string
	Owner, OwnerGroup            *int
	MultiQueue, VNetHdr          bool
	NumTxQueues, NumRxQueues     int
	Remotes                      []netip.Addr
}

// Route is a route of a sandbox: osl.RouteSpec.
type Route struct {
	To       netip.Prefix
	Via      netip.Addr
	Dev      string
	NextHops []NextHop
	Nexthop  uint32
	Type     string
	Table    uint32
	Metric   uint32
	Src      netip.Addr
	MTU      uint32
	AdvMSS   uint32
	Scope    string
}

// NextHop is one of several next hops of a route: osl.NextHop.
type NextHop struct {
	Via    netip.Addr
	Dev    string
	Weight int
}

// Neigh is a neighbor or forwarding entry: osl.NeighborSpec.
type Neigh struct {
	Dev string
	IP  netip.Addr
	MAC net.HardwareAddr
	FDB bool
	MDB bool
	// VLAN of an entry of a bridge, 0 for none.
	VLAN int
}

// Keys says which key of a sandbox a name stands for, when two spellings are of one key,
// and what a key is called. File reads the text of a file with a key of WireGuard.
type Keys struct {
	Path func(name string) (string, error)
	Same func(key string) string
	Name func(key string) string
	File func(path string) (string, error)
}

// Masq is a subnet behind an uplink: osl.MasqueradeSpec.
type Masq struct {
	Subnet netip.Prefix
	Uplink string
}
