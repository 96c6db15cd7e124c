//go:build !linux

package osl

import (
	"context"
	"iter"
	"net"
	"net/netip"

	"github.com/seed59451c2b/osl/types"
)

// Namespace is an open sandbox. On this system there are none: every call
// returns ErrUnsupported.
type Namespace struct{}

var _ Sandbox = (*Namespace)(nil)

func unsupportedOp(op string) error { return &Error{Op: op, Err: ErrUnsupported} }

// NewSandbox returns ErrUnsupported on this system.
func NewSandbox(key string, osCreate, isRestore bool) (Sandbox, error) {
	return nil, unsupportedOp("create the sandbox")
}

// GetSandboxForExternalKey returns ErrUnsupported on this system.
func GetSandboxForExternalKey(basePath string, key string) (Sandbox, error) {
	return nil, unsupportedOp("adopt the namespace")
}

// GC does nothing on this system.
func GC() {}

// InitOSContext does nothing on this system.
func InitOSContext() func() { return func() {} }

// Create returns ErrUnsupported on this system.
func Create(ctx context.Context, name string) (*Namespace, error) {
	return nil, unsupportedOp("create the sandbox")
}

// Open returns ErrUnsupported on this system.
func Open(ctx context.Context, name string) (*Namespace, error) {
	return nil, unsupportedOp("open the sandbox")
}

// List returns ErrUnsupported on this system.
func List(ctx context.Context) ([]Entry, error) { return nil, unsupportedOp("list the sandboxes") }

// Remove returns ErrUnsupported on this system.
func Remove(ctx context.Context, name string, options ...RemoveOption) error {
	return unsupportedOp("remove the sandbox")
}

// Recover returns ErrUnsupported on this system.
func Recover(ctx context.Context, name string) error { return unsupportedOp("recover the sandbox") }

// RecoverHost returns ErrUnsupported on this system.
func RecoverHost(ctx context.Context) error { return unsupportedOp("recover the host") }

// Apply returns ErrUnsupported on this system.
func Apply(ctx context.Context, net Network) (Changes, error) {
	return nil, unsupportedOp("apply the network")
}

// Diff returns ErrUnsupported on this system.
func Diff(ctx context.Context, net Network) (Changes, error) {
	return nil, unsupportedOp("compare the network")
}

// Down returns ErrUnsupported on this system.
func Down(ctx context.Context, net Network, options ...RemoveOption) (Changes, error) {
	return nil, unsupportedOp("take the network down")
}

// DiffDown returns ErrUnsupported on this system.
func DiffDown(ctx context.Context, net Network, options ...RemoveOption) (Changes, error) {
	return nil, unsupportedOp("compare the network")
}

func (n *Namespace) Apply(ctx context.Context, s Spec) (Changes, error) {
	return nil, unsupportedOp("apply to the sandbox")
}

func (n *Namespace) Diff(ctx context.Context, s Spec) (Changes, error) {
	return nil, unsupportedOp("compare the sandbox")
}

// Watch yields ErrUnsupported on this system.
func (n *Namespace) Watch(ctx context.Context) iter.Seq2[*Status, error] {
	return func(yield func(*Status, error) bool) { yield(nil, unsupportedOp("watch the sandbox")) }
}

func (n *Namespace) Inspect(ctx context.Context) (*Status, error) {
	return nil, unsupportedOp("inspect the sandbox")
}

func (n *Namespace) AddLink(ctx context.Context, s InterfaceSpec) error {
	return unsupportedOp("add link")
}

func (n *Namespace) PlanLink(ctx context.Context, s InterfaceSpec) (Changes, error) {
	return nil, unsupportedOp("plan link")
}

func (n *Namespace) RemoveLink(ctx context.Context, name string) error {
	return unsupportedOp("remove link")
}

func (n *Namespace) Close() error                          { return unsupportedOp("close the sandbox") }
func (n *Namespace) Key() string                           { return "" }
func (n *Namespace) GetLoopbackIfaceName() string          { return "" }
func (n *Namespace) InterfaceOptions() IfaceOptionSetter   { return ifaceOptions{} }
func (n *Namespace) NeighborOptions() NeighborOptionSetter { return neighborOptions{} }
func (n *Namespace) Info() Info                            { return noInfo{} }
func (n *Namespace) ApplyOSTweaks(types []SandboxType)     {}
func (n *Namespace) SetGateway(gw net.IP) error            { return unsupportedOp("set gateway") }
func (n *Namespace) SetGatewayIPv6(gw net.IP) error        { return unsupportedOp("set IPv6 gateway") }
func (n *Namespace) UnsetGateway() error                   { return unsupportedOp("unset gateway") }
func (n *Namespace) UnsetGatewayIPv6() error               { return unsupportedOp("unset IPv6 gateway") }
func (n *Namespace) DisableARPForVIP(ifName string) error {
	return unsupportedOp("disable ARP for VIPs on")
}
func (n *Namespace) InvokeFunc(f func()) error { return unsupportedOp("run a function in the sandbox") }
func (n *Namespace) Destroy() error            { return unsupportedOp("destroy the sandbox") }

func (n *Namespace) AddInterface(srcName, dstPrefix string, options ...IfaceOption) error {
	return unsupportedOp("add interface")
}

func (n *Namespace) AddAliasIP(ifName string, ip *net.IPNet) error {
	return unsupportedOp("add alias IP to")
}

func (n *Namespace) RemoveAliasIP(ifName string, ip *net.IPNet) error {
	return unsupportedOp("remove alias IP from")
}

func (n *Namespace) AddStaticRoute(r *types.StaticRoute) error {
	return unsupportedOp("add static route")
}

func (n *Namespace) RemoveStaticRoute(r *types.StaticRoute) error {
	return unsupportedOp("remove static route")
}

func (n *Namespace) AddNeighbor(dstIP net.IP, dstMac net.HardwareAddr, force bool, option ...NeighOption) error {
	return unsupportedOp("add neighbor on")
}

func (n *Namespace) DeleteNeighbor(dstIP net.IP, dstMac net.HardwareAddr, osDelete bool) error {
	return unsupportedOp("delete neighbor")
}

func (n *Namespace) Restore(ifsopt map[string][]IfaceOption, routes []*types.StaticRoute, gw net.IP, gw6 net.IP) error {
	return unsupportedOp("restore the sandbox")
}

type noInfo struct{}

func (noInfo) Interfaces() []Interface            { return nil }
func (noInfo) Gateway() net.IP                    { return nil }
func (noInfo) GatewayIPv6() net.IP                { return nil }
func (noInfo) StaticRoutes() []*types.StaticRoute { return nil }

// AddLinks returns ErrUnsupported on this system.
func (n *Namespace) AddLinks(ctx context.Context, links iter.Seq[InterfaceSpec]) error {
	return unsupportedOp("add links")
}

// RemoveLinks returns ErrUnsupported on this system.
func (n *Namespace) RemoveLinks(ctx context.Context, names iter.Seq[string]) error {
	return unsupportedOp("remove links")
}

// AddNeighbors returns ErrUnsupported on this system.
func (n *Namespace) AddNeighbors(ctx context.Context, entries iter.Seq[NeighborSpec]) error {
	return unsupportedOp("add neighbors")
}

// DeleteNeighbors returns ErrUnsupported on this system.
func (n *Namespace) DeleteNeighbors(ctx context.Context, entries iter.Seq[NeighborSpec]) error {
	return unsupportedOp("delete neighbors")
}

// AddRoutes returns ErrUnsupported on this system.
func (n *Namespace) AddRoutes(ctx context.Context, routes iter.Seq[RouteSpec]) error {
	return unsupportedOp("add routes")
}

// RemoveRoutes returns ErrUnsupported on this system.
func (n *Namespace) RemoveRoutes(ctx context.Context, routes iter.Seq[RouteSpec]) error {
	return unsupportedOp("remove routes")
}

// AddAddresses returns ErrUnsupported on this system.
func (n *Namespace) AddAddresses(ctx context.Context, ifName string, addrs iter.Seq[netip.Prefix]) error {
	return unsupportedOp("add addresses to")
}

// RemoveAddresses returns ErrUnsupported on this system.
func (n *Namespace) RemoveAddresses(ctx context.Context, ifName string, addrs iter.Seq[netip.Prefix]) error {
	return unsupportedOp("remove addresses from")
}

// Pool makes network namespaces beforehand; not on this system.
type Pool struct{}

// NewPool returns a pool whose Create returns ErrUnsupported on this system.
func NewPool(size int) *Pool { return &Pool{} }

// Create returns ErrUnsupported on this system.
func (p *Pool) Create(ctx context.Context, name string) (*Namespace, error) {
	return nil, unsupportedOp("create the sandbox")
}

// Wait returns at once on this system.
func (p *Pool) Wait() {}

// Close does nothing on this system.
func (p *Pool) Close() error { return nil }
