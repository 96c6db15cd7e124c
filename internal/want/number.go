package want

import (
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/where"
)

// group are the interfaces that share the numbers of a subnet: those of one segment,
// of one link, or all others that name it.
type group struct {
	wire   wire
	subnet netip.Prefix
}

// wire is what an interface is on: a segment, or a link, by its first end.
type wire struct {
	segment string
	link    Endpoint
}

// number gives addresses to the interfaces that have a subnet and no address of its
// family: the first one that is free, in the order of the network, so that they are
// the same each time, and stay where an interface is added at the end.
func (net *Network) number(k Keys) error {
	wires := net.wires()
	at := map[Endpoint]*Iface{}
	var order []Endpoint
	for _, l := range net.Links {
		order = append(order, l[0], l[1])
	}
	for i := range net.Sandboxes {
		s := &net.Sandboxes[i]
		for j := range s.Interfaces {
			e := Endpoint{s.Name, s.Interfaces[j].Name}
			at[e], order = &s.Interfaces[j], append(order, e)
		}
	}
	type taken struct {
		wire wire
		addr netip.Addr
	}
	written := map[taken]bool{} // all of them by the wire that is none
	for e, f := range at {
		for _, p := range f.Addresses {
			written[taken{wires[e], p.Addr()}], written[taken{wire{}, p.Addr()}] = true, true
		}
	}
	next, done := map[group]netip.Addr{}, map[Endpoint]bool{}
	for _, e := range order {
		f := at[e]
		if f == nil || done[e] {
			continue
		}
		done[e] = true
		err := validSubnets(f.Subnet)
		subnets := net.subnetsOf(f)
		f.Subnet = nil
		if err != nil || f.Master != "" {
			subnets = nil
		}
		had := slices.Clone(f.Addresses)
		for _, p := range subnets {
			if slices.ContainsFunc(had, func(a netip.Prefix) bool { return a.Addr().Is4() == p.Addr().Is4() }) {
				continue
			}
			g := group{wires[e], p}
			a, ok := free(p, next[g], func(a netip.Addr) bool { return written[taken{g.wire, a}] })
			if !ok {
				err = fault.Invalidf("the subnet %v has no address left for it", p)
				break
			}
			next[g] = a.Next()
			// The caller's list stays as it is.
			f.Addresses = append(slices.Clip(f.Addresses), netip.PrefixFrom(a, p.Bits()))
		}
		if err != nil {
			return aboutIface(k, e.Sandbox, e.Interface, where.In("subnet", "", err))
		}
	}
	return nil
}

// subnetsOf returns the subnets of an interface, its own or those of its segment.
func (net *Network) subnetsOf(f *Iface) []netip.Prefix {
	if len(f.Subnet) > 0 || f.Segment == "" {
		return f.Subnet
	}
	for _, s := range net.Segments {
		if s.Name == f.Segment {
			return s.Subnet
		}
	}
	return nil
}

// wires returns what the interfaces are on, as far as that is known.
func (net *Network) wires() map[Endpoint]wire {
	wires := map[Endpoint]wire{}
	for _, l := range net.Links {
		wires[l[0]], wires[l[1]] = wire{link: l[0]}, wire{link: l[0]}
	}
	for i := range net.Sandboxes {
		for _, f := range net.Sandboxes[i].Interfaces {
			e := Endpoint{net.Sandboxes[i].Name, f.Name}
			switch {
			case f.Segment != "":
				wires[e] = wire{segment: f.Segment}
			case f.Peer != (Endpoint{}):
				wires[e], wires[f.Peer] = wire{link: e}, wire{link: e}
			}
		}
	}
	return wires
}

// free returns the first address of p that an interface can have and is not taken, not
// before from, if that is valid.
func free(p netip.Prefix, from netip.Addr, taken func(netip.Addr) bool) (netip.Addr, bool) {
	a, whole := from, p.Addr().BitLen()-p.Bits() > 1 // else the kernel keeps none for itself
	if !a.IsValid() {
		if a = p.Addr(); whole {
			a = a.Next()
		}
	}
	for taken(a) {
		a = a.Next()
	}
	last := whole && a.Is4() && !p.Contains(a.Next()) // broadcast
	return a, a.IsValid() && p.Contains(a) && !last
}
