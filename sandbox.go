package osl

import (
	"context"
	"net"
	"slices"

	"github.com/seed59451c2b/osl/internal/engine"
	"github.com/seed59451c2b/osl/internal/want"
	"github.com/seed59451c2b/osl/types"
)

// SandboxType says what a sandbox is for, so that special settings can be
// applied to it; see [Sandbox.ApplyOSTweaks].
type SandboxType int

const (
	// SandboxTypeIngress indicates that the sandbox is for the ingress
	SandboxTypeIngress = iota
	// SandboxTypeLoadBalancer indicates that the sandbox is a load balancer
	SandboxTypeLoadBalancer = iota
)

// Sandbox is a private network stack, identified by its key. [Namespace]
// implements it. All methods may be called from many goroutines; those that
// change something exclude each other, also between processes.
//
// After Destroy, calls that ask for a change return ErrClosed, and calls that
// take something away do nothing and succeed.
type Sandbox interface {
	// Key returns the path where the network namespace is mounted.
	Key() string

	// AddInterface moves the host's link srcName into the sandbox, names it
	// dstPrefix followed by the lowest number that is free among all links
	// there, and configures it. The link keeps what no option changes. On an
	// error the link is on the host again, as it was.
	//
	// With the option Bridge(true) nothing is moved: a bridge is made inside
	// the sandbox, known as srcName to Master, and is gone with the sandbox.
	AddInterface(srcName string, dstPrefix string, options ...IfaceOption) error

	// SetGateway sets the default IPv4 gateway; it replaces the one before.
	// The gateway must be directly connected; an address of the sandbox itself is
	// ErrInvalid. nil or an unspecified address leaves everything as it is.
	SetGateway(gw net.IP) error
	// SetGatewayIPv6 sets the default IPv6 gateway as SetGateway does. For a
	// link-local gateway the sandbox must have a single IPv6 interface.
	SetGatewayIPv6(gw net.IP) error
	// UnsetGateway takes the default IPv4 gateway away, reachable or not.
	UnsetGateway() error
	// UnsetGatewayIPv6 takes the default IPv6 gateway away.
	UnsetGatewayIPv6() error

	// GetLoopbackIfaceName returns the name of the loopback interface.
	GetLoopbackIfaceName() string

	// AddAliasIP adds an address to the interface that is named ifName inside
	// the sandbox, or that has this source name where none is named so. Adding
	// one that is there already succeeds.
	AddAliasIP(ifName string, ip *net.IPNet) error
	// RemoveAliasIP takes an address away from the interface that AddAliasIP
	// finds by ifName. Removing one that is not there succeeds.
	RemoveAliasIP(ifName string, ip *net.IPNet) error

	// DisableARPForVIP stops the interface from answering and asking for
	// addresses of other interfaces (arp_ignore=1, arp_announce=2). It is found
	// by ifName as AddAliasIP does.
	DisableARPForVIP(ifName string) error

	// AddStaticRoute adds a route. Adding one that is there succeeds.
	AddStaticRoute(r *types.StaticRoute) error
	// RemoveStaticRoute takes away the route that is equal to r in value. A
	// route that is not there is no error, nor is an unreachable next hop.
	RemoveStaticRoute(r *types.StaticRoute) error

	// AddNeighbor adds a permanent neighbor entry. If osl holds one for dstIP
	// already it returns a NeighborSearchError, unless force is set: then the
	// entry is replaced. What the kernel learned by itself is replaced always.
	AddNeighbor(dstIP net.IP, dstMac net.HardwareAddr, force bool, option ...NeighOption) error
	// DeleteNeighbor deletes an entry that was added with AddNeighbor, or
	// returns a NeighborSearchError if there is none. With osDelete false the
	// kernel keeps the entry and osl forgets that it is its own.
	DeleteNeighbor(dstIP net.IP, dstMac net.HardwareAddr, osDelete bool) error

	// NeighborOptions returns the setters of neighbor options.
	NeighborOptions() NeighborOptionSetter
	// InterfaceOptions returns the setters of interface options; further ones
	// are functions of this package, such as [WithMTU].
	InterfaceOptions() IfaceOptionSetter

	// InvokeFunc runs f in the sandbox: on the caller's thread, which is
	// afterwards where it was, or if that is the main one, on another. Goroutines
	// that f starts are not in the sandbox. f must not change the thread's
	// namespace, nor leave the goroutine locked to it. A panic or runtime.Goexit
	// in f reaches the caller. Where the thread can not come back, f was run, and
	// an error says so; the thread ends, and the caller is on another, unless it
	// had locked itself to that one.
	InvokeFunc(f func()) error

	// Info returns access to what is in the sandbox at the moment of the call,
	// as the kernel has it.
	Info() Info

	// Destroy sends the links that came from the host home and removes the
	// sandbox. A second Destroy succeeds.
	Destroy() error

	// Restore adopts interfaces that are in the sandbox already. The keys of
	// ifsopt are "<source name>+<prefix>". It writes nothing; what is named
	// but not there is an error.
	Restore(ifsopt map[string][]IfaceOption, routes []*types.StaticRoute, gw net.IP, gw6 net.IP) error

	// ApplyOSTweaks sets the IPVS knobs of a load-balancing sandbox, inside
	// the sandbox only. One that the kernel lacks is logged; the call can be
	// repeated once it is there.
	ApplyOSTweaks(types []SandboxType)
}

// Info is what a sandbox holds.
type Info interface {
	// Interfaces returns those that were added with AddInterface or Apply, in
	// that order, and none that came in any other way.
	Interfaces() []Interface
	// Gateway returns the IPv4 gateway, nil if there is none.
	Gateway() net.IP
	// GatewayIPv6 returns the IPv6 gateway, nil if there is none.
	GatewayIPv6() net.IP
	// StaticRoutes returns the routes that were added with AddStaticRoute.
	StaticRoutes() []*types.StaticRoute
}

// Interface is one interface of a sandbox, as it was when Info read it.
type Interface interface {
	// SrcName returns the name that the link had where it came from.
	SrcName() string
	// DstName returns the name that the link has inside the sandbox.
	DstName() string
	// Address returns the first IPv4 address, nil if there is none.
	Address() *net.IPNet
	// AddressIPv6 returns the first IPv6 address, nil if there is none.
	AddressIPv6() *net.IPNet
	// LinkLocalAddresses returns the link-local addresses that were asked for.
	LinkLocalAddresses() []*net.IPNet
	// Routes returns the networks that are reached through the interface
	// directly, beside those of its addresses.
	Routes() []*net.IPNet
	// Bridge reports whether the interface is a bridge.
	Bridge() bool
	// Master returns the source name of the bridge that the interface is a
	// port of, "" if it is none.
	Master() string
	// Remove sends the link home under its first name and with its first
	// settings, or deletes it where osl made it. A second Remove succeeds.
	Remove() error
	// Statistics returns the kernel's counters, read now.
	Statistics() (*types.InterfaceStatistics, error)
}

// IfaceOption is an option of AddInterface.
type IfaceOption func(i *nwIface)

// IfaceOptionSetter makes the options of AddInterface that every engine knows; further
// ones are functions of this package, such as [WithMTU].
type IfaceOptionSetter interface {
	// Bridge says that the interface is a bridge.
	Bridge(bool) IfaceOption
	// MacAddress sets the hardware address.
	MacAddress(net.HardwareAddr) IfaceOption
	// Address sets the IPv4 address. nil sets none.
	Address(*net.IPNet) IfaceOption
	// AddressIPv6 sets the IPv6 address. nil sets none.
	AddressIPv6(*net.IPNet) IfaceOption
	// LinkLocalAddresses sets additional link-local addresses.
	LinkLocalAddresses([]*net.IPNet) IfaceOption
	// Master makes the interface a port of the bridge that was added before
	// with this source name.
	Master(string) IfaceOption
	// Routes sets networks that are reached through the interface directly.
	Routes([]*net.IPNet) IfaceOption
}

// NeighOption is an option of AddNeighbor.
type NeighOption func(nh *neigh)

// NeighborOptionSetter makes the options of AddNeighbor.
type NeighborOptionSetter interface {
	// LinkName names the interface of the entry, by its source name.
	LinkName(string) NeighOption
	// Family sets the address family of the entry. AF_BRIDGE makes a
	// forwarding entry of a vxlan: the hardware address is behind the tunnel
	// endpoint dstIP.
	Family(int) NeighOption
}

// NewSandbox returns the sandbox at key. With osCreate it is a new one; one of
// osl's that stands at key is destroyed first, and a namespace that another
// program pinned there is ErrExists. With isRestore it is the one that is there,
// and nothing is written. With neither it is the host's own namespace, pinned at
// key, where it may be already, or nowhere if key is HostName: interfaces keep
// their names and never move, and a bridge is named as its source. Destroy takes a
// key away that osl pinned, and with the last of those gives interfaces what they
// had before and deletes what was made there; what is a network's, or has a Note,
// stays. A key that leads to the host's namespace is the host sandbox for every call.
func NewSandbox(key string, osCreate, isRestore bool) (Sandbox, error) {
	return asSandbox(engine.NewSandbox(key, osCreate, isRestore))
}

// GetSandboxForExternalKey pins a network namespace that is there at key as well,
// and returns it as a sandbox. basePath leads to it: a path such as
// /proc/PID/ns/net, or a key or a name, see [KeyPath]. Its loopback is brought up,
// and where nothing in it uses IPv6 it gets the defaults of a new sandbox. A
// sandbox that stands at key is ErrExists. On an error all is as before.
//
// Destroy takes out what osl put in, gives it back what it had, and takes key
// away; the namespace and its other keys stay. The host's own namespace is
// returned as the host sandbox, see [NewSandbox].
func GetSandboxForExternalKey(basePath string, key string) (Sandbox, error) {
	return asSandbox(engine.Adopt(context.Background(), basePath, key, "", false))
}

// asSandbox keeps a nil handle from becoming a Sandbox that is not nil.
func asSandbox(e *engine.Namespace, err error) (Sandbox, error) {
	n, err := handle(e, err)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// InitOSContext initializes OS context while configuring network resources: it
// locks the calling goroutine to its thread, and brings that to the host's
// namespace if the caller had moved it. The returned function unlocks it. No
// call of this package needs it.
func InitOSContext() func() {
	return engine.InitOSContext()
}

// GC removes the stale key files of the base path now, and waits for it: empty
// plain files, as they are left where a namespace was unmounted. Namespaces and
// files with something in them are not touched.
func GC() {
	engine.GC()
}

// Restore adopts what is in the sandbox; see [Sandbox]. What osl brought there
// is known by its tags. For a link without a tag, brought by another program,
// the source name and the prefix of its name are what ifsopt says, and its
// addresses must be those of the options.
func (n *Namespace) Restore(ifsopt map[string][]IfaceOption, routes []*types.StaticRoute, gw net.IP, gw6 net.IP) error {
	adopt := map[string]*want.Options{}
	for name, options := range ifsopt {
		adopt[name] = optionsOf(options)
	}
	return public(n.opened().Restore(adopt, routes, gw, gw6))
}

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
