package osl

import (
	"net"
	"net/netip"
	"slices"
)

// nwIface collects the options of one AddInterface.
type nwIface struct {
	spec         InterfaceSpec
	address      [2]netip.Prefix // of Address and AddressIPv6
	linkLocal    []netip.Prefix
	bridge       bool
	master       string
	exactName    bool
	inside       bool
	defaultRoute bool
	err          error // the first bad option
}

type ifaceOptions struct{}

func (ifaceOptions) Bridge(is bool) IfaceOption {
	return func(i *nwIface) { i.bridge = is }
}

func (ifaceOptions) MacAddress(mac net.HardwareAddr) IfaceOption {
	return func(i *nwIface) {
		if len(mac) != 0 && len(mac) != 6 {
			i.fail(invalidf("hardware address %q has %d bytes, not 6", mac, len(mac)))
			return
		}
		i.spec.MAC = append(MAC(nil), mac...)
	}
}

func (ifaceOptions) Address(n *net.IPNet) IfaceOption {
	return func(i *nwIface) { i.set(0, n) }
}

func (ifaceOptions) AddressIPv6(n *net.IPNet) IfaceOption {
	return func(i *nwIface) { i.set(1, n) }
}

func (ifaceOptions) LinkLocalAddresses(list []*net.IPNet) IfaceOption {
	return func(i *nwIface) {
		i.linkLocal = nil
		for _, n := range list {
			p, err := toPrefix(n)
			if err == nil && !p.Addr().IsLinkLocalUnicast() {
				err = invalidf("%v is no link-local address", p)
			}
			i.fail(err)
			i.linkLocal = append(i.linkLocal, p)
		}
	}
}

func (ifaceOptions) Master(src string) IfaceOption {
	return func(i *nwIface) { i.master = src }
}

func (ifaceOptions) Routes(list []*net.IPNet) IfaceOption {
	return func(i *nwIface) {
		i.spec.Routes = nil
		for _, n := range list {
			p, err := toPrefix(n)
			i.fail(err)
			i.spec.Routes = append(i.spec.Routes, p.Masked())
		}
	}
}

// WithName gives the interface the name prefix itself, without a number; the
// call fails with ErrNameInUse if that is taken.
func WithName() IfaceOption { return func(i *nwIface) { i.exactName = true } }

// WithMTU sets the MTU in bytes. 0 leaves it as it is.
func WithMTU(mtu int) IfaceOption {
	return func(i *nwIface) {
		if mtu < 0 {
			i.fail(invalidf("MTU %d is negative", mtu))
		}
		i.spec.MTU = mtu
	}
}

// WithTxQueueLen sets the length of the transmit queue in packets; 0 is a
// length too.
func WithTxQueueLen(packets int) IfaceOption {
	return func(i *nwIface) {
		if packets < 0 {
			i.fail(invalidf("queue length %d is negative", packets))
		}
		i.spec.TxQueueLen = &packets
	}
}

// WithSysctls sets settings of the interface, after it has its name. The keys
// are as in [InterfaceSpec.Sysctls].
func WithSysctls(settings map[string]string) IfaceOption {
	return func(i *nwIface) { i.spec.Sysctls = settings }
}

// WithAddresses adds addresses of either family to those of Address and
// AddressIPv6.
func WithAddresses(list ...netip.Prefix) IfaceOption {
	return func(i *nwIface) {
		for _, p := range list {
			i.fail(validPrefix(p))
		}
		i.spec.Addresses = append(i.spec.Addresses, list...)
	}
}

// WithDefaultRoute makes the interface the default route of each family that
// it has an address of; no gateway is needed.
func WithDefaultRoute() IfaceOption {
	return func(i *nwIface) { i.defaultRoute = true }
}

// WithLinkInside says that the link srcName is in the sandbox already: it is
// configured and, unless it has it, given its name; it does not move. Remove
// gives it its first name and settings back.
func WithLinkInside() IfaceOption { return func(i *nwIface) { i.inside = true } }

// set sets the address of one family: 0 is IPv4, 1 is IPv6.
func (i *nwIface) set(family int, n *net.IPNet) {
	i.address[family] = netip.Prefix{}
	if n == nil {
		return
	}
	p, err := toPrefix(n)
	if err == nil && p.Addr().Is4() != (family == 0) {
		err = invalidf("%v is no %s address", n, [...]string{"IPv4", "IPv6"}[family])
	}
	if err == nil {
		err = unicast(p)
	}
	i.address[family] = p
	i.fail(err)
}

// collect applies options. A setter that is given twice counts as given last.
func (i *nwIface) collect(options []IfaceOption) error {
	for _, o := range options {
		if o != nil {
			o(i)
		}
	}
	var first []netip.Prefix
	for _, p := range i.address {
		if p.IsValid() && !slices.Contains(i.spec.Addresses, p) {
			first = append(first, p)
		}
	}
	i.spec.Addresses = append(first, i.spec.Addresses...)
	return i.err
}

func (i *nwIface) fail(err error) {
	if i.err == nil {
		i.err = err
	}
}

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

// toPrefix converts a network of either form; 16-byte and 4-byte IPv4
// addresses and masks mean the same.
func toPrefix(n *net.IPNet) (netip.Prefix, error) {
	if n == nil {
		return netip.Prefix{}, invalidf("the address is nil")
	}
	a, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return netip.Prefix{}, invalidf("address %v has %d bytes", n, len(n.IP))
	}
	a = a.Unmap()
	ones, bits := n.Mask.Size()
	if bits == 128 && a.Is4() && ones >= 96 {
		ones, bits = ones-96, 32
	}
	if bits != a.BitLen() {
		return netip.Prefix{}, invalidf("address %v has no mask that fits its family", n.IP)
	}
	return netip.PrefixFrom(a, ones), nil
}

// unicast refuses an address that no interface can have.
func unicast(p netip.Prefix) error {
	if a := p.Addr(); a.IsUnspecified() || a.IsMulticast() {
		return invalidf("%v is no address of an interface", p)
	}
	return nil
}

// validPrefix refuses what is no address of an interface.
func validPrefix(p netip.Prefix) error {
	if !p.IsValid() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
		return invalidf("%v is no address with a prefix length", p)
	}
	return unicast(p)
}

func toIPNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
