package osltest

import (
	"errors"
	"net"
	"reflect"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/types"
)

// The functions of the seed's page. This file compiles on every system.
var (
	_ func(string, bool, bool) (osl.Sandbox, error) = osl.NewSandbox
	_ func(string, string) (osl.Sandbox, error)     = osl.GetSandboxForExternalKey
	_ func(string) string                           = osl.GenerateKey
	_ func(string)                                  = osl.SetBasePath
	_ func()                                        = osl.GC
	_ func() func()                                 = osl.InitOSContext
)

// The constants, with their values and without a type of their own.
var (
	_ [0]struct{}     = [osl.SandboxTypeIngress]struct{}{}
	_ [1]struct{}     = [osl.SandboxTypeLoadBalancer]struct{}{}
	_ osl.SandboxType = osl.SandboxTypeIngress
	_ int             = osl.SandboxTypeLoadBalancer
	_ [0]struct{}     = [types.NEXTHOP]struct{}{}
	_ [1]struct{}     = [types.CONNECTED]struct{}{}
	_                 = int(osl.SandboxType(0))
)

type seedIfaceOptionSetter interface {
	Bridge(bool) osl.IfaceOption
	MacAddress(net.HardwareAddr) osl.IfaceOption
	Address(*net.IPNet) osl.IfaceOption
	AddressIPv6(*net.IPNet) osl.IfaceOption
	LinkLocalAddresses([]*net.IPNet) osl.IfaceOption
	Master(string) osl.IfaceOption
	Routes([]*net.IPNet) osl.IfaceOption
}

type seedInfo interface {
	Interfaces() []osl.Interface
	Gateway() net.IP
	GatewayIPv6() net.IP
	StaticRoutes() []*types.StaticRoute
}

type seedInterface interface {
	SrcName() string
	DstName() string
	Address() *net.IPNet
	AddressIPv6() *net.IPNet
	LinkLocalAddresses() []*net.IPNet
	Routes() []*net.IPNet
	Bridge() bool
	Master() string
	Remove() error
	Statistics() (*types.InterfaceStatistics, error)
}

type seedNeighborOptionSetter interface {
	LinkName(string) osl.NeighOption
	Family(int) osl.NeighOption
}

type seedSandbox interface {
	Key() string
	AddInterface(SrcName string, DstPrefix string, options ...osl.IfaceOption) error
	SetGateway(gw net.IP) error
	SetGatewayIPv6(gw net.IP) error
	UnsetGateway() error
	UnsetGatewayIPv6() error
	GetLoopbackIfaceName() string
	AddAliasIP(ifName string, ip *net.IPNet) error
	RemoveAliasIP(ifName string, ip *net.IPNet) error
	DisableARPForVIP(ifName string) error
	AddStaticRoute(*types.StaticRoute) error
	RemoveStaticRoute(*types.StaticRoute) error
	AddNeighbor(dstIP net.IP, dstMac net.HardwareAddr, force bool, option ...osl.NeighOption) error
	DeleteNeighbor(dstIP net.IP, dstMac net.HardwareAddr, osDelete bool) error
	NeighborOptions() osl.NeighborOptionSetter
	InterfaceOptions() osl.IfaceOptionSetter
	InvokeFunc(func()) error
	Info() osl.Info
	Destroy() error
	Restore(ifsopt map[string][]osl.IfaceOption, routes []*types.StaticRoute, gw net.IP, gw6 net.IP) error
	ApplyOSTweaks([]osl.SandboxType)
}

// Each way round: nothing is missing, and nothing was added that a program's
// own implementation, such as a fake, would lack.
var (
	_ seedSandbox              = osl.Sandbox(nil)
	_ osl.Sandbox              = seedSandbox(nil)
	_ seedInfo                 = osl.Info(nil)
	_ osl.Info                 = seedInfo(nil)
	_ seedInterface            = osl.Interface(nil)
	_ osl.Interface            = seedInterface(nil)
	_ seedIfaceOptionSetter    = osl.IfaceOptionSetter(nil)
	_ osl.IfaceOptionSetter    = seedIfaceOptionSetter(nil)
	_ seedNeighborOptionSetter = osl.NeighborOptionSetter(nil)
	_ osl.NeighborOptionSetter = seedNeighborOptionSetter(nil)

	_ error           = osl.NeighborSearchError{}
	_ osl.IfaceOption = osl.IfaceOption(nil)
	_ osl.NeighOption = osl.NeighOption(nil)

	// The API beside the seed's.
	_ osl.Sandbox = (*osl.Namespace)(nil)
)

// The data types: the conversion needs the same fields, types and order.
var (
	_ = types.StaticRoute(struct {
		Destination *net.IPNet
		RouteType   int
		NextHop     net.IP
	}{})
	_ = types.InterfaceStatistics(struct {
		RxBytes, RxPackets, RxErrors, RxDropped uint64
		TxBytes, TxPackets, TxErrors, TxDropped uint64
	}{})
	_ func(*types.StaticRoute) *types.StaticRoute = (*types.StaticRoute).GetCopy
)

func TestSeedTypes(t *testing.T) {
	for name, opt := range map[string]any{"nwIface": osl.IfaceOption(nil), "neigh": osl.NeighOption(nil)} {
		f := reflect.TypeOf(opt)
		if f.Kind() != reflect.Func || f.NumIn() != 1 || f.NumOut() != 0 || f.In(0).Kind() != reflect.Pointer || f.In(0).Elem().Name() != name {
			t.Errorf("%v is not func(*%s)", f, name)
		}
	}
	if k := reflect.TypeOf(osl.SandboxType(0)).Kind(); k != reflect.Int {
		t.Errorf("SandboxType is a %v", k)
	}
	n := reflect.TypeOf(osl.NeighborSearchError{})
	if n.Kind() != reflect.Struct {
		t.Errorf("NeighborSearchError is a %v", n.Kind())
	}
	for i := range n.NumField() {
		if n.Field(i).IsExported() {
			t.Errorf("NeighborSearchError has the exported field %s", n.Field(i).Name)
		}
	}
	if !errors.Is(osl.ErrUnsupported, errors.ErrUnsupported) {
		t.Error("ErrUnsupported is not errors.ErrUnsupported")
	}
}

func TestGetCopySharesNothing(t *testing.T) {
	_, dst, err := net.ParseCIDR("10.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	r := &types.StaticRoute{Destination: dst, RouteType: types.CONNECTED, NextHop: net.IPv4(10, 1, 1, 1)}
	c := r.GetCopy()
	if !reflect.DeepEqual(r, c) {
		t.Errorf("the copy is %+v, not %+v", c, r)
	}
	c.Destination.IP[0], c.Destination.Mask[0], c.NextHop[15] = 99, 1, 99
	if r.Destination.String() != "10.0.0.0/8" || !r.NextHop.Equal(net.IPv4(10, 1, 1, 1)) {
		t.Errorf("changing the copy changed the route: %+v", r)
	}
	_ = (*types.StaticRoute)(nil).GetCopy()
	_ = (&types.StaticRoute{}).GetCopy()
}
