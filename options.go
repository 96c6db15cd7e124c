package osl

import (
	"net"
	"net/netip"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/want"
)

// nwIface collects the options of one AddInterface.
type nwIface struct{ o want.Options }

// optionsOf applies options.
func optionsOf(options []IfaceOption) *want.Options {
	var i nwIface
	for _, o := range options {
		if o != nil {
			o(&i)
		}
	}
	return &i.o
}

type ifaceOptions struct{}

func (ifaceOptions) Bridge(is bool) IfaceOption {
	return func(i *nwIface) { i.o.Bridge = is }
}

func (ifaceOptions) MacAddress(mac net.HardwareAddr) IfaceOption {
	return func(i *nwIface) { i.o.SetMAC(mac) }
}

func (ifaceOptions) Address(n *net.IPNet) IfaceOption {
	return func(i *nwIface) { i.o.SetAddress(0, n) }
}

func (ifaceOptions) AddressIPv6(n *net.IPNet) IfaceOption {
	return func(i *nwIface) { i.o.SetAddress(1, n) }
}

func (ifaceOptions) LinkLocalAddresses(list []*net.IPNet) IfaceOption {
	return func(i *nwIface) { i.o.SetLinkLocal(list) }
}

func (ifaceOptions) Master(src string) IfaceOption {
	return func(i *nwIface) { i.o.Master = src }
}

func (ifaceOptions) Routes(list []*net.IPNet) IfaceOption {
	return func(i *nwIface) { i.o.SetRoutes(list) }
}

// WithName gives the interface the name prefix itself, without a number; the
// call fails with ErrNameInUse if that is taken.
func WithName() IfaceOption { return func(i *nwIface) { i.o.ExactName = true } }

// WithMTU sets the MTU in bytes. 0 leaves it as it is.
func WithMTU(mtu int) IfaceOption {
	return func(i *nwIface) {
		if mtu < 0 {
			i.o.Fail(fault.Invalidf("MTU %d is negative", mtu))
		}
		i.o.Spec.MTU = mtu
	}
}

// WithTxQueueLen sets the length of the transmit queue in packets; 0 is a
// length too.
func WithTxQueueLen(packets int) IfaceOption {
	return func(i *nwIface) {
		if packets < 0 {
			i.o.Fail(fault.Invalidf("queue length %d is negative", packets))
		}
		i.o.Spec.TxQueueLen = &packets
	}
}

// WithSysctls sets settings of the interface, after it has its name. The keys
// are as in [InterfaceSpec.Sysctls].
func WithSysctls(settings map[string]string) IfaceOption {
	return func(i *nwIface) { i.o.Spec.Sysctls = settings }
}

// WithAddresses adds addresses of either family to those of Address and
// AddressIPv6.
func WithAddresses(list ...netip.Prefix) IfaceOption {
	return func(i *nwIface) { i.o.AddAddresses(list) }
}

// WithDefaultRoute makes the interface the default route of each family that
// it has an address of; no gateway is needed.
func WithDefaultRoute() IfaceOption {
	return func(i *nwIface) { i.o.DefaultRoute = true }
}

// WithLinkInside says that the link srcName is in the sandbox already: it is
// configured and, unless it has it, given its name; it does not move. Remove
// gives it its first name and settings back.
func WithLinkInside() IfaceOption { return func(i *nwIface) { i.o.Inside = true } }

// neigh collects the options of one AddNeighbor.
type neigh struct {
	link   string
	family int
}

type neighborOptions struct{}

func (neighborOptions) LinkName(src string) NeighOption {
	return func(nh *neigh) { nh.link = src }
}

func (neighborOptions) Family(family int) NeighOption {
	return func(nh *neigh) { nh.family = family }
}
