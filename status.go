package osl

import (
	"context"
	"iter"
	"net/netip"
	"slices"
	"time"

	"github.com/seed59451c2b/osl/internal/engine"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/stand"
	"github.com/seed59451c2b/osl/types"
)

// Status is what a sandbox holds, as the kernel says.
type Status struct {
	// Name is the key's name in the base path, or the key.
	Name string `json:"name"`
	// Key is the path.
	Key string `json:"key"`
	// Made reports whether osl made the sandbox.
	Made bool `json:"made"`
	// From is the path at which osl found the namespace that it pinned at the key
	// as well, see [Adopt]; empty where it did not.
	From string `json:"from,omitempty"`
	// Owner is what who pinned it there said whose it is.
	Owner string `json:"owner,omitempty"`
	// Network is the name of the network that made it, empty for none.
	Network string `json:"network,omitempty"`
	// Labels are those of Spec.Labels.
	Labels map[string]string `json:"labels,omitempty"`
	// Interfaces are all links of the sandbox but an untouched "lo", in the order in
	// which they came.
	Interfaces []InterfaceStatus `json:"interfaces"`
	// Gateway and Gateway6 are the default gateways that osl holds; not valid for none. A
	// link-local one has its interface as its zone.
	Gateway  netip.Addr `json:"gateway,omitzero"`
	Gateway6 netip.Addr `json:"gateway6,omitzero"`
	// Routes are the static routes that osl holds.
	Routes []RouteSpec `json:"routes,omitempty"`
	// Neighbors are the permanent entries that osl holds.
	Neighbors []NeighborSpec `json:"neighbors,omitempty"`
	// OtherRoutes are the routes that osl does not hold: those that the kernel made
	// to the subnets of addresses, and those of others.
	OtherRoutes []OtherRoute `json:"other_routes,omitempty"`
	// Nexthops are the next hops that are objects and that osl holds.
	Nexthops []NexthopSpec `json:"nexthops,omitempty"`
	// OtherNexthops are those that osl does not hold, as far as a Spec can say them.
	OtherNexthops []NexthopSpec `json:"other_nexthops,omitempty"`
	// Rules are the rules of policy routing that osl holds, one for each family.
	Rules []RuleSpec `json:"rules,omitempty"`
	// OtherRules are the rules of others beside the kernel's first ones.
	OtherRules []OtherRule `json:"other_rules,omitempty"`
	// Sysctls are the settings of the whole sandbox that were asked for, by their names,
	// as they are now; of the host those that a network of osl's turned on.
	Sysctls map[string]string `json:"sysctls,omitempty"`
	// Masquerade is what networks of osl's masquerade, which the host alone does. Who may
	// not see the kernel's tables of nftables is told of none.
	Masquerade []HostMasquerade `json:"masquerade,omitempty"`
}

// HostMasquerade is what a network masquerades.
type HostMasquerade struct {
	MasqueradeSpec
	Network string `json:"network"`
}

// OtherRoute is a route that osl does not hold.
type OtherRoute struct {
	RouteSpec
	// Metric is the route's priority, also where it is the usual one: of two routes to
	// one destination the kernel takes the lower.
	Metric uint32 `json:"metric,omitempty"`
	// Proto says who made it, as the ip command does: kernel, boot, static,
	// dhcp, ra, or a number.
	Proto string `json:"proto"`
}

// OtherRule is a rule of policy routing that osl did not make.
type OtherRule struct {
	// Priority is its place: the kernel tries the lower first.
	Priority int `json:"priority"`
	// From and To are what it is about; not valid for all.
	From netip.Prefix `json:"from,omitzero"`
	To   netip.Prefix `json:"to,omitzero"`
	// In and Out are names of interfaces, empty for any.
	In  string `json:"iif,omitempty"`
	Out string `json:"oif,omitempty"`
	// Mark is that of a packet, 0 for any.
	Mark uint32 `json:"fwmark,omitempty"`
	// Table is the routing table that it looks up; 0 where it does something
	// else.
	Table int `json:"table,omitempty"`
	// Action is what it does else: blackhole, unreachable, prohibit, goto, nop;
	// empty where it looks a table up.
	Action string `json:"action,omitempty"`
	// Rule is all of it, as a Spec says it.
	Rule RuleSpec `json:"rule"`
}

// InterfaceStatus is one link of a sandbox. Fields that are called as those of an
// [InterfaceSpec] mean the same, and say what is so.
type InterfaceStatus struct {
	Name string `json:"name"`
	// Index is the kernel's number of it in the sandbox.
	Index int `json:"index"`
	// Type is the kernel's name of the kind: bridge, veth, vxlan …; empty for
	// a physical device.
	Type string `json:"type,omitempty"`
	// Details are what makes a link of its type, by the names of the fields of
	// InterfaceSpec: "vlan": "7". What nobody asked for is what the kernel made it.
	Details map[string]string `json:"details,omitempty"`
	// Source is the name that it had on the host, or was made under; empty for
	// a link that osl does not hold.
	Source string `json:"source,omitempty"`
	// Origin is "host" for a link that was moved in, "made" for one that osl
	// made, "kept" for one that was in the sandbox already, "" for others.
	Origin string `json:"origin,omitempty"`
	// Note is that of InterfaceSpec.Note.
	Note string `json:"note,omitempty"`
	// UnderWay reports that a change of the link has not come to its end.
	UnderWay bool `json:"under_way,omitempty"`
	MAC      MAC  `json:"mac,omitempty"`
	MTU      int  `json:"mtu"`
	// TxQueueLen is that of InterfaceSpec.
	TxQueueLen int `json:"txqueuelen"`
	// Up is whether it was set up, Carrier whether there is something at its other side,
	// so that packets pass.
	Up      bool   `json:"up"`
	Carrier bool   `json:"carrier"`
	Master  string `json:"master,omitempty"`
	// IPv6 is what [InterfaceSpec.IPv6] calls it: off, link-local where it is on
	// and takes nothing that routers advertise, auto where it does.
	IPv6 string `json:"ipv6,omitempty"`
	// Addresses are all but the aliases, those that the kernel made included.
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	Aliases   []netip.Prefix `json:"aliases,omitempty"`
	// AddressOptions are what addresses that osl gave have beside themselves, with
	// what is left of their time.
	AddressOptions map[netip.Prefix]AddressOptions `json:"address_options,omitempty"`
	// Others are those of Addresses that osl did not give the interface.
	Others []netip.Prefix `json:"others,omitempty"`
	// Routes are those that osl holds.
	Routes []netip.Prefix `json:"routes,omitempty"`
	// Impair is what osl does to the packets that leave by it.
	Impair *ImpairSpec `json:"impair,omitempty"`
	// WireGuard is what a wireguard is, without its secrets, and what its peers said.
	WireGuard *WireGuardStatus `json:"wireguard,omitempty"`
	// Offloads are those that can be turned on and off, by the kernel's names, and
	// whether each is on.
	Offloads map[string]bool `json:"offloads,omitempty"`
	// AskedOffloads are those that were asked for, by the names that InterfaceSpec.Offloads
	// had, as they are.
	AskedOffloads map[string]bool `json:"asked_offloads,omitempty"`
	Group         int             `json:"group,omitempty"`
	// AltNames are its further names, of whomever.
	AltNames       []string `json:"altnames,omitempty"`
	Promisc        bool     `json:"promisc,omitempty"`
	AllMulticast   bool     `json:"allmulticast,omitempty"`
	ARP            bool     `json:"arp"`
	AddrGenMode    string   `json:"addrgenmode,omitempty"`
	GSOMaxSize     int      `json:"gso_max_size,omitempty"`
	GSOMaxSegs     int      `json:"gso_max_segs,omitempty"`
	GROMaxSize     int      `json:"gro_max_size,omitempty"`
	GSOIPv4MaxSize int      `json:"gso_ipv4_max_size,omitempty"`
	GROIPv4MaxSize int      `json:"gro_ipv4_max_size,omitempty"`
	// Bridge is what a bridge is, BridgePort what a port of one is; their VLANs are told
	// where a bridge of the sandbox filters them.
	Bridge     *BridgeSpec     `json:"bridge,omitempty"`
	BridgePort *BridgePortSpec `json:"bridge_port,omitempty"`
	// Sysctls are the settings of the interface that were asked for, by their names after
	// the interface's, as they are now; [Namespace.Interface] does not tell them, nor Impair
	// and Offloads.
	Sysctls          map[string]string `json:"sysctls,omitempty"`
	DisableARPForVIP bool              `json:"disable_arp_for_vip,omitempty"`
}

// WireGuardStatus is what the kernel says of a wireguard.
type WireGuardStatus struct {
	// PublicKey is that of its private one; zero where it has none.
	PublicKey PublicKey `json:"public_key,omitzero"`
	// ListenPort, FwMark and Peers are as in [WireGuardSpec].
	ListenPort int                   `json:"listen_port,omitempty"`
	FwMark     uint32                `json:"fwmark,omitempty"`
	Peers      []WireGuardPeerStatus `json:"peers,omitempty"`
}

// WireGuardPeerStatus is what the kernel says of a peer of a wireguard.
type WireGuardPeerStatus struct {
	PublicKey PublicKey `json:"public_key"`
	// Preshared reports whether there is a preshared key.
	Preshared bool `json:"preshared,omitempty"`
	// Endpoint is where the peer was heard last, or is to be.
	Endpoint   netip.AddrPort `json:"endpoint,omitzero"`
	AllowedIPs []netip.Prefix `json:"allowed_ips,omitempty"`
	// PersistentKeepalive is in seconds, 0 for never.
	PersistentKeepalive int `json:"persistent_keepalive,omitempty"`
	// LatestHandshake is when both agreed on keys last; zero for never.
	LatestHandshake time.Time `json:"latest_handshake,omitzero"`
	// RxBytes and TxBytes are how many bytes came from it and went to it.
	RxBytes uint64 `json:"rx_bytes"`
	TxBytes uint64 `json:"tx_bytes"`
}

// Entry is a sandbox in a list.
type Entry struct {
	// Name is the key's name in the base path.
	Name string `json:"name"`
	// Key is the path.
	Key string `json:"key"`
	// Made reports whether osl made the sandbox; others were made by another
	// program, such as ip netns.
	Made bool `json:"made"`
	// Network is the name of the network that made it, empty for none.
	Network string `json:"network,omitempty"`
	// Labels are those of Spec.Labels.
	Labels map[string]string `json:"labels,omitempty"`
	// Interfaces is the number of links beside lo.
	Interfaces int `json:"interfaces"`
	// Problem says why the sandbox could not be read, empty where it could.
	Problem string `json:"problem,omitempty"`
}

// List returns the sandboxes of the base path by name, those that others made
// included. A key that can't be read is listed with its problem.
func List(ctx context.Context) ([]Entry, error) {
	entries, err := engine.List(ctx)
	if err != nil {
		return nil, public(err)
	}
	list := make([]Entry, 0, len(entries))
	for _, e := range entries {
		list = append(list, Entry(e))
	}
	return list, nil
}

// Inspect reads what the sandbox holds, as the kernel has it at this moment: also what
// others put there. It writes nothing.
func (n *Namespace) Inspect(ctx context.Context) (*Status, error) {
	s, err := n.opened().Inspect(ctx)
	if err != nil {
		return nil, public(err)
	}
	return statusOf(s), nil
}

// Interface reads one link of the sandbox, by its name there: also "lo", which is
// UnderWay where a change of anything is, and those that osl does not hold. It returns
// ErrNotFound if there is none.
func (n *Namespace) Interface(ctx context.Context, name string) (*InterfaceStatus, error) {
	x, err := n.opened().Interface(ctx, name)
	if err != nil {
		return nil, public(err)
	}
	st := interfaceStatusOf(x)
	return &st, nil
}

// Watch yields what the sandbox holds, at once and then after each change of
// it, whoever made the change. Changes within some milliseconds are yielded as
// one, and a change that is taken back at once is not. Each Status is a fresh
// reading: it holds also where the kernel had no room for the events of many
// changes.
//
// It ends with an error: with ctx's when that is done, with ErrClosed when the
// sandbox is gone from its key, or the handle was closed. While it waits it holds
// no thread, and four descriptors; it holds nothing when the loop is left.
func (n *Namespace) Watch(ctx context.Context) iter.Seq2[*Status, error] {
	return func(yield func(*Status, error) bool) {
		err := n.opened().Watch(ctx, func(s *stand.Sandbox) bool { return yield(statusOf(s), nil) })
		if err != nil {
			yield(nil, public(err))
		}
	}
}

// WaitFor returns when f holds for what the sandbox holds: at once, or after a change
// of it, see [Namespace.Watch], which also says which errors end it. Without an f it is
// ErrInvalid.
func (n *Namespace) WaitFor(ctx context.Context, f func(*Status) bool) error {
	if f == nil {
		return public(&fault.Error{Op: "wait for the sandbox", Key: n.Key(), Err: fault.Invalidf("the function is nil")})
	}
	for st, err := range n.Watch(ctx) {
		if err != nil {
			return err
		}
		if f(st) {
			return nil
		}
	}
	return nil
}

// Statistics reads the counters of all interfaces, those of others and lo too, by their
// names in the sandbox. Where the sandbox is gone it is ErrClosed.
func (n *Namespace) Statistics(ctx context.Context) (map[string]types.InterfaceStatistics, error) {
	all, err := n.opened().AllStatistics(ctx)
	return all, public(err)
}

// info is what the sandbox held when Info was called.
type info struct {
	*stand.Info
	of     *stand.Held
	ifaces []Interface
}

// iface is one interface as Info read it.
type iface struct {
	stand.Interface
	n *Namespace
}

// Info returns what the sandbox holds at this moment, and of a sandbox that is gone
// nothing. From the second call on the handle listens to what the kernel tells of
// changes, for which it takes a descriptor more, and reads only what may be otherwise.
func (n *Namespace) Info() Info {
	held := n.opened().Held()
	if last := n.info.Load(); last != nil && last.of == held {
		return last
	}
	i := &info{Info: held.Info(), of: held}
	for _, x := range i.All() {
		i.ifaces = append(i.ifaces, &iface{x, n})
	}
	n.info.Store(i)
	return i
}

func (i *info) Interfaces() []Interface { return slices.Clone(i.ifaces) }

// Remove takes the interface out of the sandbox; see [Interface].
func (i *iface) Remove() error {
	index, alias := i.Found()
	return public(i.n.opened().RemoveFound(context.Background(), i.DstName(), index, alias))
}

// Statistics reads the counters of the interface.
func (i *iface) Statistics() (*types.InterfaceStatistics, error) {
	index, _ := i.Found()
	s, err := i.n.opened().Statistics(context.Background(), i.DstName(), index)
	return s, public(err)
}
