package osl

import (
	"context"
	"iter"
	"net"
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/want"
	"github.com/seed59451c2b/osl/types"
)

// InterfaceOptions returns the setters of interface options.
func (n *Namespace) InterfaceOptions() IfaceOptionSetter {
	return ifaceOptions{}
}

// NeighborOptions returns the setters of neighbor options.
func (n *Namespace) NeighborOptions() NeighborOptionSetter {
	return neighborOptions{}
}

// AddInterface moves a link of the host into the sandbox; see [Sandbox].
func (n *Namespace) AddInterface(srcName, dstPrefix string, options ...IfaceOption) error {
	return public(n.opened().AddInterface(srcName, dstPrefix, optionsOf(options)))
}

// AddLink makes the link s in the sandbox, configured and up, or moves it in
// if it has a Source; nothing else there changes. A veth's other end, s.Peer,
// is made in its place in the same step: on the host, there as a port of the
// bridge s.PeerMaster if that is set, or in another sandbox. It returns
// ErrNameInUse if the sandbox has a link of this name, and leaves that as it is;
// an s without Type, Source and Peer configures the link that is there instead.
func (n *Namespace) AddLink(ctx context.Context, s InterfaceSpec) error {
	_, err := n.opened().AddLink(ctx, s.wanted(), true)
	return public(err)
}

// PlanLink returns what AddLink would do.
func (n *Namespace) PlanLink(ctx context.Context, s InterfaceSpec) (Changes, error) {
	c, err := n.opened().AddLink(ctx, s.wanted(), false)
	return changesOf(c), public(err)
}

// AddLinks makes links as AddLink does, all of them or none.
func (n *Namespace) AddLinks(ctx context.Context, links iter.Seq[InterfaceSpec]) error {
	var list []want.Iface
	for s := range links {
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
	return public(n.opened().RemoveLinks(ctx, slices.Collect(names)))
}

// SetGateway sets the default IPv4 gateway; see [Sandbox].
func (n *Namespace) SetGateway(gw net.IP) error {
	return public(n.opened().SetGateway(gw))
}

// SetGatewayIPv6 sets the default IPv6 gateway; see [Sandbox].
func (n *Namespace) SetGatewayIPv6(gw net.IP) error {
	return public(n.opened().SetGatewayIPv6(gw))
}

// UnsetGateway takes the default IPv4 gateway away; see [Sandbox].
func (n *Namespace) UnsetGateway() error {
	return public(n.opened().UnsetGateway())
}

// UnsetGatewayIPv6 takes the default IPv6 gateway away; see [Sandbox].
func (n *Namespace) UnsetGatewayIPv6() error {
	return public(n.opened().UnsetGatewayIPv6())
}

// AddStaticRoute adds a route; see [Sandbox].
func (n *Namespace) AddStaticRoute(r *types.StaticRoute) error {
	return public(n.opened().AddStaticRoute(r))
}

// RemoveStaticRoute takes a route away; see [Sandbox].
func (n *Namespace) RemoveStaticRoute(r *types.StaticRoute) error {
	return public(n.opened().RemoveStaticRoute(r))
}

// AddNeighbor adds a permanent neighbor entry; see [Sandbox].
func (n *Namespace) AddNeighbor(dstIP net.IP, dstMac net.HardwareAddr, force bool, option ...NeighOption) error {
	var opts neigh
	for _, o := range option {
		if o != nil {
			o(&opts)
		}
	}
	return public(n.opened().AddNeighbor(dstIP, dstMac, force, opts.link, opts.family))
}

// DeleteNeighbor deletes a neighbor entry; see [Sandbox].
func (n *Namespace) DeleteNeighbor(dstIP net.IP, dstMac net.HardwareAddr, osDelete bool) error {
	return public(n.opened().DeleteNeighbor(dstIP, dstMac, osDelete))
}

// GetLoopbackIfaceName returns the name of the loopback interface.
func (n *Namespace) GetLoopbackIfaceName() string {
	return "lo"
}

// AddAliasIP adds an address to an interface; see [Sandbox].
func (n *Namespace) AddAliasIP(ifName string, ip *net.IPNet) error {
	return public(n.opened().AddAliasIP(ifName, ip))
}

// RemoveAliasIP takes an address away from an interface; see [Sandbox].
func (n *Namespace) RemoveAliasIP(ifName string, ip *net.IPNet) error {
	return public(n.opened().RemoveAliasIP(ifName, ip))
}

// DisableARPForVIP makes an interface keep quiet about addresses of others;
// see [Sandbox].
func (n *Namespace) DisableARPForVIP(ifName string) error {
	return public(n.opened().DisableARPForVIP(ifName))
}

// ApplyOSTweaks sets the IPVS knobs; see [Sandbox].
func (n *Namespace) ApplyOSTweaks(types []SandboxType) {
	if slices.Contains(types, SandboxTypeIngress) || slices.Contains(types, SandboxTypeLoadBalancer) {
		n.opened().BalanceLoad()
	}
}

// AddNeighbors adds permanent neighbor and forwarding entries, all of them or
// none, as AddNeighbor without force does it: an entry of osl for one of the
// addresses is a NeighborSearchError, and what the kernel learned by itself is
// replaced. They are sent in one go, so that a kill finds all or none, where the
// process has CAP_NET_ADMIN in the first user namespace and the kernel refuses
// none; elsewhere two hundred at a time.
func (n *Namespace) AddNeighbors(ctx context.Context, entries iter.Seq[NeighborSpec]) error {
	return public(n.opened().AddNeighbors(ctx, mapped(entries, NeighborSpec.wanted)))
}

// DeleteNeighbors deletes entries, all of them or none. One that is not there
// is no error. Of a NeighborSpec with a MAC it is taken to be what the entry has.
func (n *Namespace) DeleteNeighbors(ctx context.Context, entries iter.Seq[NeighborSpec]) error {
	return public(n.opened().DeleteNeighbors(ctx, mapped(entries, NeighborSpec.wanted)))
}

// AddRoutes adds static routes, all of them or none, in one go as AddNeighbors.
// One that is there already is no error.
func (n *Namespace) AddRoutes(ctx context.Context, routes iter.Seq[RouteSpec]) error {
	return public(n.opened().AddRoutes(ctx, mapped(routes, RouteSpec.wanted)))
}

// RemoveRoutes takes static routes away, all of them or none. One that is not
// there is no error.
func (n *Namespace) RemoveRoutes(ctx context.Context, routes iter.Seq[RouteSpec]) error {
	return public(n.opened().RemoveRoutes(ctx, mapped(routes, RouteSpec.wanted)))
}

// AddAddresses adds addresses to the interface that is named ifName inside the
// sandbox, or has this source name, all of them or none. One that is there already
// is no error. They are alias IPs: see AddAliasIP.
func (n *Namespace) AddAddresses(ctx context.Context, ifName string, addrs iter.Seq[netip.Prefix]) error {
	return public(n.opened().AddAddresses(ctx, ifName, addrs))
}

// RemoveAddresses takes addresses away from the interface that AddAddresses finds
// by ifName, all of them or none. One that is not there is no error.
func (n *Namespace) RemoveAddresses(ctx context.Context, ifName string, addrs iter.Seq[netip.Prefix]) error {
	return public(n.opened().RemoveAddresses(ctx, ifName, addrs))
}
