// Package osl stands in the place of moby's package of this name: what moby's libnetwork
// asks of that, it asks of osl here. What the two have alike is embedded.
package osl

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/moby/moby/v2/daemon/libnetwork/nlwrap"
	"github.com/moby/moby/v2/daemon/libnetwork/types"
	"github.com/seed59451c2b/osl"
	osltypes "github.com/seed59451c2b/osl/types"
	"github.com/vishvananda/netlink"
)

type (
	NeighborSearchError = osl.NeighborSearchError
	NeighOption         = osl.NeighOption
	SandboxType         = osl.SandboxType
)

const (
	SandboxTypeIngress      = osl.SandboxTypeIngress
	SandboxTypeLoadBalancer = osl.SandboxTypeLoadBalancer
)

func SetBasePath(path string)      { osl.SetBasePath(path) }
func GenerateKey(id string) string { return osl.GenerateKey(id) }

func WithLinkName(name string) NeighOption { return neighbor.LinkName(name) }
func WithFamily(family int) NeighOption    { return neighbor.Family(family) }

var neighbor = new(osl.Namespace).NeighborOptions()

// Namespace is osl's, and what moby keeps beside it of each interface.
type Namespace struct {
	*osl.Namespace

	mu       sync.Mutex
	defaults map[string][]netip.Prefix // by source name: those of its routes that SetDefaultRoute waits for
}

// NewSandbox makes a sandbox, or opens one that is there.
func NewSandbox(key string, osCreate, isRestore bool) (*Namespace, error) {
	s, err := osl.NewSandbox(key, osCreate, isRestore)
	if err != nil {
		return nil, err
	}
	return of(s.(*osl.Namespace)), nil
}

// GetSandboxForExternalKey pins a container's namespace. What its IPv6 is to be its
// runtime has been told: moby asks whether lo has it (IPv6LoEnabled).
func GetSandboxForExternalKey(basePath, key string) (*Namespace, error) {
	n, err := osl.Adopt(context.Background(), basePath, key, "", osl.WithoutDefaults())
	if err != nil {
		return nil, err
	}
	return of(n), nil
}

func of(n *osl.Namespace) *Namespace {
	return &Namespace{Namespace: n, defaults: map[string][]netip.Prefix{}}
}

// AddInterface brings a link in. It is called dstName, or else dstPrefix with a number.
func (n *Namespace) AddInterface(ctx context.Context, srcName, dstPrefix, dstName string, options ...IfaceOption) error {
	i := collect(options)
	if i.err != nil {
		return i.err
	}
	prefix := dstPrefix
	if dstName != "" {
		prefix = dstName
		i.options = append(i.options, osl.WithName())
	}
	if err := n.Namespace.AddInterface(srcName, prefix, i.all()...); err != nil {
		return err
	}
	n.keep(srcName, i)
	n.advertise(srcName, i)
	return nil
}

func (n *Namespace) keep(srcName string, i *iface) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.defaults[srcName] = i.defaults
}

// RestoreInterfaces tells osl of interfaces that it may not know by itself, since another
// daemon brought them in, and the neighbors of all.
func (n *Namespace) RestoreInterfaces(_ context.Context, interfaces map[Iface][]IfaceOption) error {
	for x, options := range interfaces {
		i := collect(options)
		if i.err != nil {
			return i.err
		}
		prefix := x.DstPrefix
		if x.DstName != "" {
			prefix = x.DstName
		}
		if err := n.Restore(map[string][]osl.IfaceOption{x.SrcName + "+" + prefix: i.all()}, nil, nil, nil); err != nil {
			return err
		}
		n.keep(x.SrcName, i)
		n.advertise(x.SrcName, i)
	}
	return nil
}

// RestoreRoutes and RestoreGateway have nothing to do: the kernel has both, and osl knows
// its own.
func (n *Namespace) RestoreRoutes([]*types.StaticRoute)        {}
func (n *Namespace) RestoreGateway(_ bool, _ net.IP, _ string) {}

// Interfaces returns those that were added.
func (n *Namespace) Interfaces() (list []*Interface) {
	for _, i := range n.Info().Interfaces() {
		list = append(list, &Interface{i, n})
	}
	return list
}

// InterfaceBySrcName returns the one with a source name, nil if there is none.
func (n *Namespace) InterfaceBySrcName(srcName string) *Interface {
	list := n.Interfaces()
	if at := slices.IndexFunc(list, func(i *Interface) bool { return i.SrcName() == srcName }); at >= 0 {
		return list[at]
	}
	return nil
}

// Interface is osl's, with moby's type of counters.
type Interface struct {
	osl.Interface
	in *Namespace
}

// Remove brings the link to the host. osl leaves one in the sandbox that was made there;
// moby's driver looks for it on the host, by its first name, to delete it.
func (i *Interface) Remove() error {
	if err := i.Interface.Remove(); err != nil {
		return err
	}
	host, err := os.Open("/proc/self/ns/net") // of the first thread, which never leaves it
	if err != nil {
		return err
	}
	defer host.Close()
	in := i.in.InvokeFunc(func() {
		var l netlink.Link
		if l, err = nlwrap.LinkByName(i.SrcName()); err == nil {
			err = netlink.LinkSetNsFd(l, int(host.Fd()))
		} else if errors.As(err, &netlink.LinkNotFoundError{}) {
			err = nil
		}
	})
	return errors.Join(in, err)
}

func (i *Interface) Statistics() (*types.InterfaceStatistics, error) {
	s, err := i.Interface.Statistics()
	return (*types.InterfaceStatistics)(s), err
}

// AddressIPv6 returns the address that was asked for. osl tells one of fe80::/10 among the
// link-local ones, whichever it was asked as.
func (i *Interface) AddressIPv6() *net.IPNet {
	if a := i.Interface.AddressIPv6(); a != nil {
		return a
	}
	for _, a := range i.LinkLocalAddresses() {
		if a.IP.To4() == nil {
			return a
		}
	}
	return nil
}

func (n *Namespace) AddNeighbor(dstIP net.IP, dstMac net.HardwareAddr, options ...NeighOption) error {
	return n.Namespace.AddNeighbor(dstIP, dstMac, false, options...)
}

func (n *Namespace) DeleteNeighbor(dstIP net.IP, dstMac net.HardwareAddr, _ ...NeighOption) error {
	return n.Namespace.DeleteNeighbor(dstIP, dstMac, true)
}

func (n *Namespace) AddStaticRoute(r *types.StaticRoute) error {
	return n.Namespace.AddStaticRoute(static(r))
}

func (n *Namespace) RemoveStaticRoute(r *types.StaticRoute) error {
	return n.Namespace.RemoveStaticRoute(static(r))
}

func static(r *types.StaticRoute) *osltypes.StaticRoute {
	return &osltypes.StaticRoute{Destination: r.Destination, RouteType: int(r.RouteType), NextHop: r.NextHop}
}

var (
	default4 = netip.MustParsePrefix("0.0.0.0/0")
	default6 = netip.MustParsePrefix("::/0")
)

// SetDefaultRouteIPv4 makes an interface the default route that had one among its routes.
func (n *Namespace) SetDefaultRouteIPv4(srcName string) error { return n.setDefault(srcName, default4) }
func (n *Namespace) SetDefaultRouteIPv6(srcName string) error { return n.setDefault(srcName, default6) }

func (n *Namespace) setDefault(srcName string, to netip.Prefix) error {
	i := n.InterfaceBySrcName(srcName)
	switch {
	case i == nil:
		return fmt.Errorf("the sandbox has no interface %s", srcName)
	case !n.has(srcName, to):
		return fmt.Errorf("the interface %s has no route to %s", srcName, to)
	}
	return n.AddRoute(context.Background(), osl.RouteSpec{To: to, Dev: i.DstName()})
}

// UnsetDefaultRouteIPv4 takes away what SetDefaultRouteIPv4 made.
func (n *Namespace) UnsetDefaultRouteIPv4() error { return n.unsetDefault(default4) }
func (n *Namespace) UnsetDefaultRouteIPv6() error { return n.unsetDefault(default6) }

func (n *Namespace) unsetDefault(to netip.Prefix) error {
	var errs []error
	for _, i := range n.Interfaces() {
		if n.has(i.SrcName(), to) {
			errs = append(errs, n.RemoveRoute(context.Background(), osl.RouteSpec{To: to, Dev: i.DstName()}))
		}
	}
	return errors.Join(errs...)
}

func (n *Namespace) has(srcName string, to netip.Prefix) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(n.defaults[srcName], to)
}

// IPv6LoEnabled reports whether lo has IPv6.
func (n *Namespace) IPv6LoEnabled() bool {
	lo, err := n.Interface(context.Background(), n.GetLoopbackIfaceName())
	return err == nil && lo.IPv6 != "off"
}

// RefreshIPv6LoEnabled has nothing to do: the kernel is asked each time.
func (n *Namespace) RefreshIPv6LoEnabled() {}
