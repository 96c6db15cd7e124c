package want

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/types"
)

// ToPrefix converts a network of either form; 16-byte and 4-byte IPv4
// addresses and masks mean the same.
func ToPrefix(n *net.IPNet) (netip.Prefix, error) {
	if n == nil {
		return netip.Prefix{}, fault.Invalidf("the address is nil")
	}
	a, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return netip.Prefix{}, fault.Invalidf("address %v has %d bytes", n, len(n.IP))
	}
	a = a.Unmap()
	ones, bits := n.Mask.Size()
	if bits == 128 && a.Is4() && ones >= 96 {
		ones, bits = ones-96, 32
	}
	if bits != a.BitLen() {
		return netip.Prefix{}, fault.Invalidf("address %v has no mask that fits its family", n.IP)
	}
	return netip.PrefixFrom(a, ones), nil
}

// Unicast refuses an address that no interface can have.
func Unicast(p netip.Prefix) error {
	if a := p.Addr(); a.IsUnspecified() || a.IsMulticast() {
		return fault.Invalidf("%v is no address of an interface", p)
	}
	return nil
}

// ValidPrefix refuses what is no address of an interface.
func ValidPrefix(p netip.Prefix) error {
	if !p.IsValid() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
		return fault.Invalidf("%v is no address with a prefix length", p)
	}
	return Unicast(p)
}

// ToAddr converts an address of either form.
func ToAddr(ip net.IP) (netip.Addr, error) {
	a, ok := netip.AddrFromSlice(ip)
	if !ok {
		return a, fault.Invalidf("the address %v has %d bytes", []byte(ip), len(ip))
	}
	return a.Unmap(), nil
}

// FromStatic checks a route. via is not valid for a connected one.
func FromStatic(r *types.StaticRoute) (dst netip.Prefix, via netip.Addr, err error) {
	if r == nil {
		return dst, via, fault.Invalidf("the route is nil")
	}
	if dst, err = ToPrefix(r.Destination); err != nil {
		return dst, via, fmt.Errorf("destination: %w", err)
	}
	dst = dst.Masked()
	switch r.RouteType {
	case types.CONNECTED:
		return dst, via, nil
	case types.NEXTHOP:
		via, err = ToAddr(r.NextHop)
		if err == nil && via.Is4() != dst.Addr().Is4() {
			err = fault.Invalidf("the next hop %v and the destination %v are of different families", via, dst)
		}
		if err == nil && !ofOne(via) {
			err = fault.Invalidf("the next hop %v is no address of one host", via)
		}
		return dst, via, err
	}
	return dst, via, fault.Invalidf("the route type %d is neither NEXTHOP nor CONNECTED", r.RouteType)
}

// FromNeighbor checks a neighbor of the seed's calls.
func FromNeighbor(ip net.IP, mac net.HardwareAddr, family int) (rtnl.Neigh, error) {
	a, err := ToAddr(ip)
	if err != nil {
		return rtnl.Neigh{}, err
	}
	switch {
	case family == linux.AF_BRIDGE, family == 0, family == linux.AF_INET && a.Is4(), family == linux.AF_INET6 && a.Is6():
	default:
		return rtnl.Neigh{}, fault.Invalidf("the family %d does not fit the neighbor %v", family, a)
	}
	n, err := ToNeigh(Neigh{IP: a, MAC: bytes.Clone(mac), FDB: family == linux.AF_BRIDGE})
	return n.Neigh, err
}
