//go:build linux

package netlink

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// list reads a list, of which parse decodes an entry or leaves it out.
func list[T any](ctx context.Context, c *Conn, r rtnl.Request, parse func([]byte) (T, bool)) (all []T, err error) {
	err = c.dump(ctx, r, func() { all = all[:0] }, func(p []byte) {
		if x, ok := parse(p); ok {
			all = append(all, x)
		}
	})
	return all, err
}

// Links reads all links.
func (c *Conn) Links(ctx context.Context) ([]rtnl.Link, error) {
	return list(ctx, c, rtnl.AllLinks(), func(p []byte) (rtnl.Link, bool) { return rtnl.ParseLink(p), true })
}

// Addrs reads the addresses of both families of one link, or of all links if
// index is 0.
func (c *Conn) Addrs(ctx context.Context, index int) ([]rtnl.Addr, error) {
	return list(ctx, c, rtnl.AllAddrs(index), rtnl.ParseAddr)
}

// IPv6Addrs reads the IPv6 addresses of all links.
func (c *Conn) IPv6Addrs(ctx context.Context) ([]rtnl.Addr, error) {
	return list(ctx, c, rtnl.AllIPv6Addrs(), rtnl.ParseAddr)
}

// Routes reads the unicast routes of the main table of both families; see
// rtnl.AllRoutes.
func (c *Conn) Routes(ctx context.Context, proto uint8, index int) (all []rtnl.Route, err error) {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		part, err := list(ctx, c, rtnl.AllRoutes(family, proto, index), rtnl.ParseRoute)
		if err != nil && !(rtnl.NoTable(err) && (family == unix.AF_INET6 || errors.Is(err, unix.ENOENT))) {
			return nil, err // what is refused is not empty, and IPv4 is always there
		}
		all = append(all, part...)
	}
	return all, nil
}

// EveryRoute reads the routes of all types and tables but what is in the table local
// by the kernel; see rtnl.EveryRoute.
func (c *Conn) EveryRoute(ctx context.Context, proto uint8, index int) ([]rtnl.Route, error) {
	return list(ctx, c, rtnl.EveryRoute(proto, index), rtnl.ParseMade)
}

// Neighs reads the neighbours of both families.
func (c *Conn) Neighs(ctx context.Context) ([]rtnl.Neigh, error) {
	return list(ctx, c, rtnl.AllNeighs(), rtnl.ParseNeigh)
}

// FDB reads the forwarding entries of osl of one link.
func (c *Conn) FDB(ctx context.Context, index int) ([]rtnl.Neigh, error) {
	all, err := c.Forwarding(ctx, index)
	return slices.DeleteFunc(all, func(n rtnl.Neigh) bool { return n.Proto != rtnl.Protocol }), err
}

// Forwarding reads the forwarding entries of a link, whoever made them.
func (c *Conn) Forwarding(ctx context.Context, index int) ([]rtnl.Neigh, error) {
	return list(ctx, c, rtnl.AllFDB(index), rtnl.ParseNeigh)
}

// MDB reads the multicast entries of all bridges that are osl's, or that somebody made by hand.
func (c *Conn) MDB(ctx context.Context) (all []rtnl.Neigh, err error) {
	parts, err := list(ctx, c, rtnl.AllMDB(), rtnl.ParseMDB)
	if rtnl.NoTable(err) {
		err = nil
	}
	all = slices.Concat(parts...)
	return slices.DeleteFunc(all, func(n rtnl.Neigh) bool { return n.Proto != rtnl.Protocol && n.Proto != linux.RTPROT_STATIC }), err
}

// VLANs reads the VLANs of all bridges and of their ports.
func (c *Conn) VLANs(ctx context.Context) ([]rtnl.VLANsOf, error) {
	return list(ctx, c, rtnl.AllVLANs(), rtnl.ParseVLANs)
}

// SetElements reads the elements of a set of nftables.
func (c *Conn) SetElements(ctx context.Context, family uint8, table, set string) ([]rtnl.SetElement, error) {
	all, err := list(ctx, c, rtnl.AllSetElements(family, table, set), func(p []byte) ([]rtnl.SetElement, bool) { return rtnl.ParseSetElements(p), true })
	return slices.Concat(all...), err
}

// Rules reads the rules of policy routing of both families, those that the kernel
// begins with left out.
func (c *Conn) Rules(ctx context.Context) ([]rtnl.Rule, error) {
	read := func(family uint8) ([]rtnl.Rule, error) {
		return list(ctx, c, rtnl.AllRules(family), func(p []byte) (rtnl.Rule, bool) {
			r, ok := rtnl.ParseRule(p)
			return r, ok && !r.IsFirst()
		})
	}
	all, err := read(unix.AF_UNSPEC)
	if rtnl.NoTable(err) {
		// A kernel without has one table and no rules; but what is refused is not empty.
		if _, again := read(unix.AF_INET); rtnl.NoTable(again) {
			return nil, nil
		}
	}
	return all, err
}

// Nexthops reads the next hops that are objects; a kernel without them has none.
func (c *Conn) Nexthops(ctx context.Context) ([]rtnl.Nexthop, error) {
	all, err := list(ctx, c, rtnl.AllNexthops(), rtnl.ParseNexthop)
	if rtnl.NoTable(err) { // but what is refused is not empty
		if all, err = list(ctx, c, rtnl.AllNexthops(), rtnl.ParseNexthop); rtnl.NoTable(err) {
			return nil, nil
		}
	}
	return all, err
}

// Qdiscs reads the queueing disciplines at the roots of the links.
func (c *Conn) Qdiscs(ctx context.Context) ([]rtnl.Qdisc, error) {
	return list(ctx, c, rtnl.AllQdiscs(), rtnl.ParseQdisc)
}

// Features reads the features of all links, for a socket of generic netlink.
func (c *Conn) Features(ctx context.Context, family uint16) ([]rtnl.Features, error) {
	return list(ctx, c, rtnl.AllFeatures(family), func(p []byte) (rtnl.Features, bool) { return rtnl.ParseFeatures(p), true })
}

// WireGuard reads what a wireguard link is, in parts, for a socket of generic netlink.
func (c *Conn) WireGuard(ctx context.Context, family uint16, index int) ([]rtnl.WireGuard, error) {
	return list(ctx, c, rtnl.GetWireGuard(family, index), func(p []byte) (rtnl.WireGuard, bool) { return rtnl.ParseWireGuard(p), true })
}

// Keep reads what the kernel forgets of a link when it leaves its namespace, in the
// order in which it can be put back.
func (c *Conn) Keep(ctx context.Context, index int) (all []rtnl.Kept, err error) {
	return c.keep(ctx, rtnl.Keepers(index))
}

// KeepOwn is Keep without the routes that lead by next hops which are objects of their own.
func (c *Conn) KeepOwn(ctx context.Context, index int) (all []rtnl.Kept, err error) {
	return c.keep(ctx, rtnl.OwnKeepers(index))
}

func (c *Conn) keep(ctx context.Context, keepers []rtnl.Keeper) (all []rtnl.Kept, err error) {
	for _, k := range keepers {
		part, err := list(ctx, c, k.Request, k.Keep)
		if err != nil && !rtnl.NoTable(err) {
			return nil, err
		}
		rtnl.AsTheyCame(part)
		all = append(all, part...)
	}
	return all, nil
}
