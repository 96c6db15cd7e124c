//go:build !linux

package engine

import (
	"context"
	"iter"
	"net"
	"net/netip"
	"os"
	"os/exec"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/inside"
	"github.com/seed59451c2b/osl/internal/stand"
	"github.com/seed59451c2b/osl/internal/want"
	"github.com/seed59451c2b/osl/types"
)

// Namespace is an open sandbox, of which there are none on this system.
type Namespace struct{}

// Pool makes none beforehand.
type Pool struct{}

func no(op string) error { return &fault.Error{Op: op, Err: fault.ErrUnsupported} }

// noneOf refuses to do a change, or to say what it would be.
func noneOf(do bool, doing, saying string) ([]Change, error) {
	if do {
		return nil, no(doing)
	}
	return nil, no(saying)
}

func GC()                       {}
func Join(string) (bool, error) { return false, nil }
func InitOSContext() func()     { return func() {} }
func (*Pool) Start(int)         {}
func (*Pool) Wait()             {}
func (*Pool) Close() error      { return nil }

func NewSandbox(string, bool, bool) (*Namespace, error) { return nil, no("create the sandbox") }
func Adopt(context.Context, string, string, string, bool) (*Namespace, error) {
	return nil, no("adopt the namespace")
}
func Create(context.Context, string, map[string]string) (*Namespace, error) {
	return nil, no("create the sandbox")
}
func Open(context.Context, string) (*Namespace, error) { return nil, no("open the sandbox") }
func List(context.Context) ([]Entry, error)            { return nil, no("list the sandboxes") }
func Remove(context.Context, string, bool) error       { return no("remove the sandbox") }
func Recover(context.Context, string) error            { return no("recover the sandbox") }
func RecoverHost(context.Context) error                { return no("recover the host") }
func Apply(_ context.Context, _ want.Network, do bool) ([]Change, error) {
	return noneOf(do, "apply the network", "compare the network")
}
func Add(context.Context, want.Network) error { return no("add to the network") }
func Down(_ context.Context, _ want.Network, _, do bool) ([]Change, error) {
	return noneOf(do, "take the network down", "compare the network")
}
func (*Pool) Create(context.Context, string) (*Namespace, error) {
	return nil, no("create the sandbox")
}

func (*Namespace) Name() string                 { return "" }
func (*Namespace) Key() string                  { return "" }
func (*Namespace) Close() error                 { return no("close the sandbox") }
func (*Namespace) Destroy() error               { return no("destroy the sandbox") }
func (*Namespace) InvokeFunc(func()) error      { return no("run a function in the sandbox") }
func (*Namespace) Enter() (func() error, error) { return nil, no("enter the sandbox") }
func (*Namespace) Held() *stand.Held            { return &stand.Held{} }
func (*Namespace) Inspect(context.Context) (*stand.Sandbox, error) {
	return nil, no("inspect the sandbox")
}
func (*Namespace) Spec(context.Context) (want.Sandbox, error) {
	return want.Sandbox{}, no("read the sandbox")
}
func Export(context.Context, ...string) (want.Network, error) {
	return want.Network{}, no("list the sandboxes")
}
func (*Namespace) Interface(context.Context, string) (*stand.Iface, error) {
	return nil, no("read the interface")
}
func (*Namespace) Watch(context.Context, func(*stand.Sandbox) bool) error {
	return no("watch the sandbox")
}
func (*Namespace) Apply(_ context.Context, _ want.Sandbox, do bool) ([]Change, error) {
	return noneOf(do, "apply to the sandbox", "compare the sandbox")
}
func (*Namespace) Restore(map[string]*want.Options, []*types.StaticRoute, net.IP, net.IP) error {
	return no("restore the sandbox")
}

func (*Namespace) AddInterface(string, string, *want.Options) error { return no("add interface") }
func (*Namespace) AddLink(context.Context, want.Iface) error        { return no("add link") }
func (*Namespace) PlanLink(context.Context, want.Iface) ([]Change, error) {
	return nil, no("plan link")
}
func (*Namespace) AddLinks(context.Context, []want.Iface) error { return no("add links") }
func (*Namespace) RemoveLink(context.Context, string) error     { return no("remove link") }
func (*Namespace) RemoveLinks(context.Context, []string) error  { return no("remove links") }
func (*Namespace) RemoveFound(context.Context, string, int, string) error {
	return no("remove interface")
}
func (*Namespace) Statistics(context.Context, string, int) (*types.InterfaceStatistics, error) {
	return nil, no("read the statistics of interface")
}

func (*Namespace) SetGateway(net.IP) error                    { return no("set gateway") }
func (*Namespace) SetGatewayIPv6(net.IP) error                { return no("set IPv6 gateway") }
func (*Namespace) UnsetGateway() error                        { return no("unset gateway") }
func (*Namespace) UnsetGatewayIPv6() error                    { return no("unset IPv6 gateway") }
func (*Namespace) AddStaticRoute(*types.StaticRoute) error    { return no("add static route") }
func (*Namespace) RemoveStaticRoute(*types.StaticRoute) error { return no("remove static route") }
func (*Namespace) AddNeighbor(net.IP, net.HardwareAddr, bool, string, int) error {
	return no("add neighbor on")
}
func (*Namespace) DeleteNeighbor(net.IP, net.HardwareAddr, bool) error { return no("delete neighbor") }
func (*Namespace) AddAliasIP(string, *net.IPNet) error                 { return no("add alias IP to") }
func (*Namespace) RemoveAliasIP(string, *net.IPNet) error              { return no("remove alias IP from") }
func (*Namespace) DisableARPForVIP(string) error                       { return no("disable ARP for VIPs on") }
func (*Namespace) BalanceLoad()                                        {}

func (*Namespace) AddNeighbors(context.Context, iter.Seq[want.Neigh]) error {
	return no("add neighbors")
}
func (*Namespace) DeleteNeighbors(context.Context, iter.Seq[want.Neigh]) error {
	return no("delete neighbors")
}
func (*Namespace) AddRoutes(context.Context, iter.Seq[want.Route]) error { return no("add routes") }
func (*Namespace) RemoveRoutes(context.Context, iter.Seq[want.Route]) error {
	return no("remove routes")
}
func (*Namespace) RemoveRules(context.Context, []want.Rule) error { return no("remove rules") }
func (*Namespace) AddAddresses(context.Context, string, iter.Seq[netip.Prefix]) error {
	return no("add addresses to")
}
func (*Namespace) RemoveAddresses(context.Context, string, iter.Seq[netip.Prefix]) error {
	return no("remove addresses from")
}

func (*Namespace) Inside(public func(error) error) *inside.Space {
	refuse := func(func() error) error { return public(no("make a socket in the sandbox")) }
	return &inside.Space{Run: refuse, RunFrom: func(_ int, f func() error) error { return refuse(f) },
		Visit: func() (func() (bool, error), error) { return nil, refuse(nil) }}
}
func (*Namespace) Do(context.Context, func(context.Context) error) error {
	return no("run a function in the sandbox")
}
func (*Namespace) File() (*os.File, error) { return nil, no("open the namespace of the sandbox") }
func (*Namespace) Command(ctx context.Context, public func(error) error, _ bool, name string, args []string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Err = public(no("start a command in the sandbox"))
	return c
}
func (*Namespace) AllStatistics(context.Context) (map[string]types.InterfaceStatistics, error) {
	return nil, no("read the statistics of the sandbox")
}
func (*Namespace) OpenTun(string) (*os.File, error) { return nil, no("open the device of") }
func (*Namespace) Advertise(context.Context, string) error {
	return no("advertise addresses")
}
func (*Namespace) SetLink(context.Context, string, want.LinkChange) error {
	return no("set link")
}

const keyFlags = os.O_RDONLY
