package want

import (
	"net"
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/plan"
)

// Options are those of one AddInterface.
type Options struct {
	Spec         Iface
	LinkLocal    []netip.Prefix
	Bridge       bool
	Master       string // the source name of a bridge
	ExactName    bool
	Inside       bool
	DefaultRoute bool

	address [2]netip.Prefix // of SetAddress
	err     error           // the first bad option
}

// SetAddress sets the address of one family: 0 is IPv4, 1 is IPv6.
func (i *Options) SetAddress(family int, n *net.IPNet) {
	i.address[family] = netip.Prefix{}
	if n == nil {
		return
	}
	p, err := ToPrefix(n)
	if err == nil && p.Addr().Is4() != (family == 0) {
		err = fault.Invalidf("%v is no %s address", n, [...]string{"IPv4", "IPv6"}[family])
	}
	if err == nil {
		err = Unicast(p)
	}
	i.address[family] = p
	i.Fail(err)
}

// SetMAC sets the hardware address.
func (i *Options) SetMAC(mac net.HardwareAddr) {
	if len(mac) != 0 && len(mac) != 6 {
		i.Fail(fault.Invalidf("hardware address %q has %d bytes, not 6", mac, len(mac)))
		return
	}
	i.Spec.MAC = append(net.HardwareAddr(nil), mac...)
}

// SetLinkLocal sets the link-local addresses.
func (i *Options) SetLinkLocal(list []*net.IPNet) {
	i.LinkLocal = nil
	for _, n := range list {
		p, err := ToPrefix(n)
		if err == nil && !p.Addr().IsLinkLocalUnicast() {
			err = fault.Invalidf("%v is no link-local address", p)
		}
		i.Fail(err)
		i.LinkLocal = append(i.LinkLocal, p)
	}
}

// SetRoutes sets the networks that are reached directly.
func (i *Options) SetRoutes(list []*net.IPNet) {
	i.Spec.Routes = nil
	for _, n := range list {
		p, err := ToPrefix(n)
		i.Fail(err)
		i.Spec.Routes = append(i.Spec.Routes, p.Masked())
	}
}

// AddAddresses adds addresses of either family.
func (i *Options) AddAddresses(list []netip.Prefix) {
	for _, p := range list {
		i.Fail(ValidPrefix(p))
	}
	i.Spec.Addresses = append(i.Spec.Addresses, list...)
}

// Done puts the addresses in order, when all options were applied, and returns what
// was wrong with the first bad one.
func (i *Options) Done() error {
	var first []netip.Prefix
	for _, p := range i.address {
		if p.IsValid() && !slices.Contains(i.Spec.Addresses, p) {
			first = append(first, p)
		}
	}
	i.Spec.Addresses = append(first, i.Spec.Addresses...)
	return i.err
}

// Fail notes what is wrong with an option.
func (i *Options) Fail(err error) {
	if i.err == nil {
		i.err = err
	}
}

// Plan turns the options into what a plan is made of. prefix is what the name begins
// with, or is.
func (i *Options) Plan(src, prefix string) (*plan.Iface, error) {
	w, err := i.Spec.common()
	if err != nil {
		return nil, err
	}
	for _, p := range i.LinkLocal {
		w.Addrs = append(w.Addrs, plan.Addr{Prefix: p})
	}
	if i.DefaultRoute {
		w.Routes = append(w.Routes, defaultsFor(w.Addrs)...)
	}
	w.Name, w.Source = prefix, src
	if !i.ExactName {
		w.Name += "%d" // the kernel finds the lowest free number
	}
	return w, nil
}

// IsNumbered reports whether name is prefix and a number.
func IsNumbered(name, prefix string) bool {
	if len(name) <= len(prefix) || name[:len(prefix)] != prefix {
		return false
	}
	return !slices.ContainsFunc([]byte(name[len(prefix):]), func(c byte) bool { return c < '0' || c > '9' })
}

// defaultsFor returns the default destination of each family.
func defaultsFor(addrs []plan.Addr) (list []netip.Prefix) {
	for _, zero := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		if slices.ContainsFunc(addrs, func(a plan.Addr) bool { return a.Prefix.Addr().Is4() == zero.Is4() }) {
			list = append(list, netip.PrefixFrom(zero, 0))
		}
	}
	return list
}
