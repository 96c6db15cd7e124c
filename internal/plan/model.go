package plan

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// Sandbox is what is wanted of one sandbox.
type Sandbox struct {
	Key      string
	Lock     string // the key in the one spelling by which locks are taken, empty for Key
	Ifaces   []Iface
	Gateways []rtnl.Route // without Index, or with Dev
	Routes   []Route
	Nexthops []Nexthop
	Rules    []rtnl.Rule
	Neighs   []Neigh
	Sysctls  []Setting
	Labels   map[string]string
	// Masq is what leaves the host with its own address.
	Masq []Masq
	// Network is the name of the network that it is of; empty leaves that.
	Network string
	// OnHost says that the network has something on the host.
	OnHost bool
	// Prune takes away what osl holds there and is not wanted.
	Prune bool
	// Ends says that the sandbox is not wanted any more.
	Ends bool
	// Yields are links of osl's in it that go before what they exclude comes.
	Yields []HostLink
	// LoIPv6 is whether lo's IPv6 is to be on, nil where the interfaces say.
	LoIPv6 *bool
}

// Iface is what is wanted of one interface.
type Iface struct {
	// Name inside the sandbox. Where From is given or the link is made, a %d
	// in it stands for the lowest free number.
	Name   string
	Source string // the name it is known by; empty for Name
	// Kind of link to make; empty for one that exists.
	Kind   string
	Data   rtnl.LinkData
	Parent string // name in the sandbox
	// HostParent is the link of the host below it, nil if Parent is inside.
	HostParent *rtnl.Link
	Peer       *End       // of a veth that is made from here
	PeerMaster *rtnl.Link // the bridge that a Peer on the host is a port of, nil for none
	MadeBy     *End       // of a veth that is made from its other end
	// From is the existing link of the host that moves in.
	From *HostLink
	// Owner is the network that a link of the host's is made for, and Unlisted says of an end of
	// one there that the network says nothing of it any more.
	Owner    string
	Unlisted bool
	// Fresh is a link that is none of those that are there.
	Fresh bool
	// Keep configures a link that is in the sandbox and osl does not hold.
	Keep bool
	// Pin marks the key by which a program has the host's namespace, for a link there; empty
	// for none.
	Pin string
	// Stands is such a one, or one of osl's, of which all stays that is not said.
	Stands bool
	MAC    net.HardwareAddr
	MTU    int
	TxQLen *int
	Addrs  []Addr
	Master string // name in the sandbox
	// MasterIndex is the master's index where its name is not known.
	MasterIndex int
	Routes      []netip.Prefix
	HideVIPs    bool
	// SharedSubnet lets its subnets be on other interfaces too.
	SharedSubnet bool
	Down         bool
	Sysctls      []Setting // %s in the path is the name
	// Impair is what becomes of the packets that leave by it, nil for nothing.
	Impair *rtnl.Impair
	// Remotes are where a vxlan sends what is for everybody, in the place of one remote
	// of its own; none where nothing is said of them.
	Remotes []netip.Addr
	// WireGuard is what a wireguard link is to be, nil for others.
	WireGuard *WireGuard
	// Offloads are to be on or off; see Offload for their names.
	Offloads map[string]bool
	// IPv6 is whether its IPv6 is to be on, nil where its addresses say.
	IPv6 *bool
	// Note is who it is for.
	Note string
	// Bridge and Port are its settings as a bridge, and as a port of one; VLANs are
	// exactly those that it is to be in as one or the other, nil leaves them.
	Bridge, Port rtnl.Options
	Options      rtnl.Options // those of rtnl.LinkOptions
	AltNames     []string
	VLANs        *VLANs
	// Comes is the link that it is to be and that stands in another sandbox, which it
	// leaves, since both can not be there at once; see Carries. Nil for none.
	Comes *HostLink

	asked Asked // what was asked for, and not what follows from what was before
	drops Asked // what was, and is not any more
}

// End is the other end of a veth.
type End struct {
	Key  string // HostNS for the host
	Name string
	// Claimed says that the other end is an interface of a wanted sandbox,
	// which says what it is to be.
	Claimed bool
	// Master is the name of the bridge that it is wanted to be a port of there.
	Master string
	MTU    int // 0 for the kernel's
	// TxQueues and RxQueues are numbers of queues, 0 for one.
	TxQueues, RxQueues int
}

// OtherEnd returns the other end of a veth, nil where the interface is none or says
// nothing of it.
func (i *Iface) OtherEnd() *End {
	if i.MadeBy != nil {
		return i.MadeBy
	}
	return i.Peer
}

// HostLink is an existing link with what is lost when it moves.
type HostLink struct {
	Link rtnl.Link
	Kept []rtnl.Kept
	// Lost is how much of that can not be noted on the link.
	Lost int
	// In says where it stands that is in another sandbox, nil for the host.
	In     *Inside
	record string
}

// Addr is an address of an interface.
type Addr struct {
	Prefix netip.Prefix
	Alias  bool
	Peer   netip.Addr
	// Scope of an IPv4 address, nil for the usual one.
	Scope    *uint8
	Lifetime *rtnl.Lifetime // nil for one that stays
	Flags    uint32         // IFA_F_NOPREFIXROUTE, IFA_F_HOMEADDRESS
}

// MayConflict reports whether the subnet of the address may be on one link only.
// Link-local subnets and single addresses are on many.
func (a Addr) MayConflict() bool {
	return !a.Alias && !a.Peer.IsValid() && !a.Prefix.IsSingleIP() && !a.Prefix.Addr().IsLinkLocalUnicast()
}

// Route is a static route; Dev is a name in the sandbox.
type Route struct {
	rtnl.Route
	Dev string
}

// Neigh is a neighbour entry; Dev is a name in the sandbox.
type Neigh struct {
	rtnl.Neigh
	Dev string
	// OfBridge: it is an entry of the bridge that Dev is, or is a port of.
	OfBridge bool
}

// Setting is a sysctl by its path below /proc/sys/net.
type Setting struct {
	Path, Value string
	Name        string // as the user wrote it
	Dropped     bool   // nobody asks for it any more
}

// State is what the kernel holds of one sandbox.
type State struct {
	Links  []rtnl.Link
	Addrs  []rtnl.Addr
	Routes []rtnl.Route // those of osl
	Others []rtnl.Route // those of others, if they were read
	// Nexthops are those of osl, and OtherNexthops those of others.
	Nexthops, OtherNexthops []rtnl.Nexthop
	// Rules are those of osl, OtherRules those of others but for the kernel's first ones.
	Rules, OtherRules []rtnl.Rule
	Neighs            []rtnl.Neigh // those of osl
	// VLANs are those of bridges and their ports, by their indexes, if they were read.
	VLANs map[int][]rtnl.VLAN
	// Settings are the values of those that a Sandbox asks for, and of those
	// that change with them, by their paths.
	Settings map[string]string
	// Notes are those of the host, and Hidden the names of its links that are no
	// business of osl's.
	Notes  []HostNote
	Hidden []string
	// Masq is what the network's table of the host says, and MasqOdd that it says
	// something else too.
	Masq    []Masq
	MasqOdd bool
	// Ends are the keys of the namespaces with the other ends of pairs that were made by hand,
	// by index: two such pairs may have the same indexes. Empty is one that was not read.
	Ends map[int]string
	// Qdiscs are the queueing disciplines, if they were read.
	Qdiscs []rtnl.Qdisc
	// Features are those of the links that are wanted with offloads, by index.
	Features map[int]*rtnl.Features
	// Speeds are those of the ports that may lose their cost, by index, in Mbit/s.
	Speeds map[int]uint32
	// WireGuards are what the wireguard links are, by index, if they were read.
	WireGuards map[int]*rtnl.WireGuard
	// Redirects is whether SendRedirects is on, if a wireguard is wanted.
	Redirects bool
}

// Link returns the link with a name, nil if there is none.
func (s *State) Link(name string) *rtnl.Link {
	for i := range s.Links {
		if s.Links[i].Name == name {
			return &s.Links[i]
		}
	}
	return nil
}

// ByIndex returns the link with an index, nil if there is none.
func (s *State) ByIndex(index int) *rtnl.Link {
	for i := range s.Links {
		if s.Links[i].Index == index {
			return &s.Links[i]
		}
	}
	return nil
}

// Parts returns the addresses and routes of each link, so that who looks at one link
// after another does not look through all each time.
func (s *State) Parts() map[int]*State {
	parts := make(map[int]*State, len(s.Links))
	for i := range s.Links {
		parts[s.Links[i].Index] = &State{}
	}
	for _, a := range s.Addrs {
		if p := parts[a.Index]; p != nil {
			p.Addrs = append(p.Addrs, a)
		}
	}
	for _, r := range s.Routes {
		if p := parts[r.Index]; p != nil {
			p.Routes = append(p.Routes, r)
		}
	}
	return parts
}

// BySource returns the link that osl holds under a source name, and its tag.
func (s *State) BySource(name string) (*rtnl.Link, Tag) {
	for i := range s.Links {
		if t, ok := ParseTag(s.Links[i].Alias); ok && t.Source == name {
			return &s.Links[i], t
		}
	}
	return nil, Tag{}
}

// device names the interface in errors and commands: by its name, or before it
// has one by its source.
func (i *Iface) device() string {
	if strings.Contains(i.Name, "%") {
		return i.Source
	}
	return i.Name
}

func errnoOf(err error) (e syscall.Errno, ok bool) {
	ok = errors.As(err, &e)
	return e, ok
}

// HasIPv6 reports whether its IPv6 is to be on: as its setting says, else where
// an IPv6 address is among the wanted.
func (i *Iface) HasIPv6() bool {
	if i.IPv6 != nil {
		return *i.IPv6
	}
	return i.hasIPv6Addr()
}

func (i *Iface) hasIPv6Addr() bool {
	for _, a := range i.Addrs {
		if a.Prefix.Addr().Is6() {
			return true
		}
	}
	return false
}

// Iface returns the wanted interface with a name, nil if there is none. It looks at one
// after the other: of the many that have no parent or master, not at all.
func (w *Sandbox) Iface(name string) *Iface {
	if name == "" {
		return nil
	}
	for i := range w.Ifaces {
		if w.Ifaces[i].Name == name {
			return &w.Ifaces[i]
		}
	}
	return nil
}

// Gateway returns the next hop of osl's default route of a family.
func (s *State) Gateway(v4 bool) netip.Addr {
	for _, r := range s.Routes {
		if r.Dst.Bits() == 0 && r.Dst.Addr().Is4() == v4 && r.Via.IsValid() && IsSimple(r) {
			return r.Via
		}
	}
	return netip.Addr{}
}
