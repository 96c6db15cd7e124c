package osl

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/internal/engine"
	"github.com/seed59451c2b/osl/internal/want"
)

// Apply brings the sandboxes of net, and the links between them, to what net
// says: all of it, or nothing. What is there already is left alone, so that a
// second Apply changes nothing; what osl made in these sandboxes and net does
// not mention any more is taken away; what others made there stays. It returns
// what it did.
func Apply(ctx context.Context, net Network) (Changes, error) {
	c, err := engine.Apply(ctx, net.wanted(), true)
	return changesOf(c), public(err)
}

// Add makes the interfaces of net in its sandboxes, which are there, with the links
// between them, routes, rules, neighbors and settings: all of it, or nothing. What else is
// there stays. The sandbox [HostName] is the host's own namespace, in which a link can
// be made, but none moved in. It returns ErrNameInUse where a sandbox has a link of a
// name already; an interface without Type, Source and link is one that is there, and
// gets what it lacks. Names and labels are not looked at.
func Add(ctx context.Context, net Network) error {
	return public(engine.Add(ctx, net.wanted()))
}

// Validate returns what is wrong with net as it is written, which is what [Apply] looks at
// first: nil, or an error as Apply's, mostly ErrInvalid, that names the sandbox, the
// interface and the field. It asks nothing of the kernel, needs no privileges, works on every
// system, and reads no file but those with keys of WireGuard (one that is a pipe is empty
// after that). So it does not find what only
// the machine can say: that a link is not there, or that the kernel has no such type.
func (net Network) Validate() error { return public(engine.Validate(net.wanted())) }

// Diff returns what Apply would do, and does nothing.
func Diff(ctx context.Context, net Network) (Changes, error) {
	c, err := engine.Apply(ctx, net.wanted(), false)
	return changesOf(c), public(err)
}

// Apply brings the sandbox to what s says, as the function [Apply] does. The
// name in s is not used.
func (n *Namespace) Apply(ctx context.Context, s Spec) (Changes, error) {
	c, err := n.opened().Apply(ctx, s.wanted(), true)
	return changesOf(c), public(err)
}

// Diff returns what Apply would do, and does nothing.
func (n *Namespace) Diff(ctx context.Context, s Spec) (Changes, error) {
	c, err := n.opened().Apply(ctx, s.wanted(), false)
	return changesOf(c), public(err)
}

// Down destroys the sandboxes of net and the ends of its links on the host. Where
// net has a name that is all that carries it, whether or not net lists it: a name
// is enough. What is not there is passed over; a sandbox of another network is
// ErrExists. A namespace that another program made stays, without what osl put
// in; see [Remove]. It returns what it did.
func Down(ctx context.Context, net Network, options ...RemoveOption) (Changes, error) {
	c, err := engine.Down(ctx, net.wanted(), removalOf(options).force, true)
	return changesOf(c), public(err)
}

// DiffDown returns what Down would do, and does nothing.
func DiffDown(ctx context.Context, net Network, options ...RemoveOption) (Changes, error) {
	c, err := engine.Down(ctx, net.wanted(), removalOf(options).force, false)
	return changesOf(c), public(err)
}

// Spec reads what the sandbox is, as a Spec: to Apply it changes nothing, and where the
// sandbox is gone makes one like it. It has what osl holds, with the hardware addresses
// and the MTUs as they are, and of settings those that differ from a new sandbox's. It
// has not what others made in the sandbox; and of offloads nobody knows which were
// asked for. An interface whose other end is in a sandbox has a name and no type, and
// must be there, as one that is neither osl's to make nor from the host: [Export]
// has both ends. A wireguard has no keys, but the names of files for them, which are not
// written: SANDBOX.INTERFACE.key, and SANDBOX.INTERFACE.1.psk for its first peer. It
// writes nothing and needs what Open needs.
func (n *Namespace) Spec(ctx context.Context) (Spec, error) {
	s, err := n.opened().Spec(ctx)
	return specOf(&s), public(err)
}

// Export reads what the sandboxes with these names are, as a network: as
// [Namespace.Spec] does, with a veth between two of them as one of its links. Where they
// are all that there are of one network, it has that one's name and what it has on the
// host. Checks are nowhere to be read. A sandbox that is not there is ErrNotFound; one
// that is named twice is there once.
func Export(ctx context.Context, names ...string) (Network, error) {
	net, err := engine.Export(ctx, names...)
	if err != nil {
		return Network{}, public(err)
	}
	return networkOf(net), nil
}

// Changes are what Apply did, or what Diff and a dry run would do, in order.
type Changes []Change

// Change is one step of a change, for a person.
type Change struct {
	// Sandbox is the name or key of the sandbox, "host" for the host.
	Sandbox string `json:"sandbox"`
	// Kind is ChangeMake where the sandbox itself is made, ChangeRemove where
	// it is removed, ChangeLeave where osl takes out of a namespace what it put
	// in and that stays, and ChangeEdit otherwise.
	Kind ChangeKind `json:"kind"`
	// Interface is the one that it is about, by its name inside; empty for what is of
	// the whole sandbox.
	Interface string `json:"interface,omitempty"`
	// Object is what is changed: sandbox, link, address, route, rule, neighbor, setting,
	// vlan, impairment, offloads, altname, masquerade or wireguard.
	Object string `json:"object,omitempty"`
	// Before is what it was, in the words of the ip command: "10.0.0.2/24", "mtu 1500",
	// "ipv4.ip_forward=0". It is empty for what is new.
	Before string `json:"before,omitempty"`
	// After is what it is to be, empty for what is taken away.
	After string `json:"after,omitempty"`
	// Command does the same by the ip command. A step for which that takes several is a
	// Change for each, which say the same.
	Command string `json:"command"`
}

// ChangeKind is what a Change does to the sandbox as a whole.
type ChangeKind string

// The kinds of a Change.
const (
	ChangeEdit   ChangeKind = "edit"
	ChangeMake   ChangeKind = "make"
	ChangeRemove ChangeKind = "remove"
	ChangeLeave  ChangeKind = "leave"
)

// String returns the commands, a line each.
func (c Changes) String() string {
	var b strings.Builder
	for _, x := range c {
		fmt.Fprintln(&b, x.Command)
	}
	return b.String()
}

// AddLink makes the link s in the sandbox, configured and up, or moves it in
// if it has a Source; nothing else there changes. A veth's other end, s.Peer,
// is made in its place in the same step: on the host, there as a port of the
// bridge s.PeerMaster if that is set, or in another sandbox. It returns
// ErrNameInUse if the sandbox has a link of this name, and leaves that as it is;
// an s without Type, Source and Peer configures the link that is there instead.
func (n *Namespace) AddLink(ctx context.Context, s InterfaceSpec) error {
	return public(n.opened().AddLink(ctx, s.wanted()))
}

// PlanLink returns what AddLink would do.
func (n *Namespace) PlanLink(ctx context.Context, s InterfaceSpec) (Changes, error) {
	c, err := n.opened().PlanLink(ctx, s.wanted())
	return changesOf(c), public(err)
}

// AddLinks makes links as AddLink does, all of them or none.
func (n *Namespace) AddLinks(ctx context.Context, links iter.Seq[InterfaceSpec]) error {
	var list []want.Iface
	for s := range all(links) {
		list = append(list, s.wanted())
	}
	return public(n.opened().AddLinks(ctx, list))
}

// RemoveLink takes the link that is named name inside the sandbox out of it:
// back to the host as it was, or deleted if osl made it. It returns ErrNotFound
// if osl holds no such link.
func (n *Namespace) RemoveLink(ctx context.Context, name string) error {
	return public(n.opened().RemoveLink(ctx, name))
}

// RemoveLinks takes links out as RemoveLink does. Those that osl made are
// deleted together, which takes the kernel hardly longer than one. One that can
// not be removed is in the error; the others are.
func (n *Namespace) RemoveLinks(ctx context.Context, names iter.Seq[string]) error {
	return public(n.opened().RemoveLinks(ctx, slices.Collect(all(names))))
}

// AddRoute adds a static route. One that is there already is no error.
func (n *Namespace) AddRoute(ctx context.Context, r RouteSpec) error {
	return n.AddRoutes(ctx, slices.Values([]RouteSpec{r}))
}

// RemoveRoute takes a static route away. One that is not there is no error.
func (n *Namespace) RemoveRoute(ctx context.Context, r RouteSpec) error {
	return n.RemoveRoutes(ctx, slices.Values([]RouteSpec{r}))
}

// AddAddress adds an alias IP to an interface; see [Namespace.AddAddresses].
func (n *Namespace) AddAddress(ctx context.Context, ifName string, a netip.Prefix) error {
	return n.AddAddresses(ctx, ifName, slices.Values([]netip.Prefix{a}))
}

// RemoveAddress takes an address away; see [Namespace.RemoveAddresses].
func (n *Namespace) RemoveAddress(ctx context.Context, ifName string, a netip.Prefix) error {
	return n.RemoveAddresses(ctx, ifName, slices.Values([]netip.Prefix{a}))
}

// LinkChange is what SetLink changes of a link. The zero value of a field leaves that
// as it is.
type LinkChange struct {
	// Name is the new name. It takes a call of its own.
	Name string
	// MTU in bytes. Below 1280 the link has no IPv6, so that it must have no IPv6
	// address but the kernel's own.
	MTU int
	// MAC is the hardware address. What osl knows of neighbors stays.
	MAC MAC
	// TxQueueLen is the length of the transmit queue in packets.
	TxQueueLen *int
	// Up sets the link up or down. With down go the link's IPv4 routes and IPv6
	// addresses, as with ip link set down; up does not bring them back, Apply does.
	Up *bool
}

// SetLink changes the link that is named name inside the sandbox, all of c or nothing;
// it may be one that osl did not make. A network that is applied later has the last
// word. It returns ErrNotFound where there is no such link, ErrNameInUse where the new
// name is taken, and ErrInvalid for an MTU that the link can not have, and for a new name
// together with something else.
func (n *Namespace) SetLink(ctx context.Context, name string, c LinkChange) error {
	return public(n.opened().SetLink(ctx, name, c.wanted()))
}

// Advertise tells the neighbors of the interface that is named ifName inside the sandbox,
// or has this source name, which addresses it has: by an ARP announcement for each of
// IPv4, and an unsolicited neighbor advertisement for each of IPv6. osl does so itself
// where an interface comes up; it is for an address that has come from elsewhere to an
// interface that is up, and for who wants it repeated. It sends once, and waits for
// nothing. An address of which the kernel is still finding out whether it is taken is left
// out. It needs CAP_NET_RAW, and returns ErrNotFound where there is no such interface.
func (n *Namespace) Advertise(ctx context.Context, ifName string) error {
	return public(n.opened().Advertise(ctx, ifName))
}

// AddNeighbors adds permanent neighbor and forwarding entries, all of them or
// none, as AddNeighbor without force does it: an entry of osl for one of the
// addresses is a NeighborSearchError, and what the kernel learned by itself is
// replaced. They are sent in one go, so that a kill finds all or none, where the
// process has CAP_NET_ADMIN in the first user namespace and the kernel refuses
// none; elsewhere two hundred at a time. Entries of a bridge, with MDB or with FDB and no
// IP, are for Apply only, and ErrInvalid here; so is FDB on what is no vxlan.
func (n *Namespace) AddNeighbors(ctx context.Context, entries iter.Seq[NeighborSpec]) error {
	return public(n.opened().AddNeighbors(ctx, mapped(entries, NeighborSpec.wanted)))
}

// DeleteNeighbors deletes entries, all of them or none. One that is not there
// is no error, and one that AddNeighbors does not take is ErrInvalid. The MAC of a
// neighbor is needed, and not compared.
func (n *Namespace) DeleteNeighbors(ctx context.Context, entries iter.Seq[NeighborSpec]) error {
	return public(n.opened().DeleteNeighbors(ctx, mapped(entries, NeighborSpec.wanted)))
}

// AddRoutes adds static routes, all of them or none, in one go as AddNeighbors.
// One that is there already is no error; another one of its destination, table and
// metric is ErrExists, a next hop that no interface reaches ErrUnreachable, and a device
// that is not there ErrNotFound.
func (n *Namespace) AddRoutes(ctx context.Context, routes iter.Seq[RouteSpec]) error {
	return public(n.opened().AddRoutes(ctx, mapped(routes, RouteSpec.wanted)))
}

// RemoveRoutes takes static routes away, all of them or none. One that is not
// there is no error. Where several fail, they are back with all that they had, also
// with what the call does not name.
func (n *Namespace) RemoveRoutes(ctx context.Context, routes iter.Seq[RouteSpec]) error {
	return public(n.opened().RemoveRoutes(ctx, mapped(routes, RouteSpec.wanted)))
}

// RemoveRules takes rules of policy routing away that osl made, all of them or none. They
// are those that are in all as r says, as [Status.Rules] tells them; one that is not there
// is no error. To add some, see [Add].
func (n *Namespace) RemoveRules(ctx context.Context, rules iter.Seq[RuleSpec]) error {
	return public(n.opened().RemoveRules(ctx, slices.Collect(mapped(rules, RuleSpec.wanted))))
}

// AddAddresses adds addresses to the interface that is named ifName inside the
// sandbox, or has this source name, all of them or none. One that is there already
// is no error; an interface that is not there is ErrNotFound. They are alias IPs: see
// AddAliasIP. So their subnets may be on other interfaces.
func (n *Namespace) AddAddresses(ctx context.Context, ifName string, addrs iter.Seq[netip.Prefix]) error {
	return public(n.opened().AddAddresses(ctx, ifName, all(addrs)))
}

// RemoveAddresses takes addresses away from the interface that AddAddresses finds
// by ifName, all of them or none. One that is not there is no error. With the last
// IPv4 address go the routes by way of a next hop there, those that have it as their
// source, and neighbors of others; the routes to what is on the link itself, and osl's
// neighbors, stay. One of length 32 that is taken away alone, and was the last, takes all.
func (n *Namespace) RemoveAddresses(ctx context.Context, ifName string, addrs iter.Seq[netip.Prefix]) error {
	return public(n.opened().RemoveAddresses(ctx, ifName, all(addrs)))
}
