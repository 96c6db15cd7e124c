//go:build linux

package engine

import (
	"context"
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// standingRoutes returns the routes of osl that those of the list name. They have all
// that a caller need not say: so just they are deleted, and come back as they were.
func standingRoutes(ctx context.Context, conn *netlink.Conn, list []rtnl.Route) (found []rtnl.Route, err error) {
	all, err := conn.EveryRoute(ctx, rtnl.Protocol, 0)
	if err != nil {
		return nil, err
	}
	type place struct {
		table uint32
		dst   netip.Prefix
	}
	there := make(map[place][]rtnl.Route, len(all))
	for _, r := range all {
		at := place{r.Table, r.Dst}
		there[at] = append(there[at], r)
	}
	for _, w := range list {
		at := place{w.Table, w.Dst}
		// The first is the one of the lowest metric, which the kernel takes too.
		if i := slices.IndexFunc(there[at], func(h rtnl.Route) bool { return plan.IsNamed(h, w) }); i >= 0 {
			found = append(found, there[at][i])
			there[at] = slices.Delete(there[at], i, i+1)
		}
	}
	return found, nil
}

// standingNeighs returns the entries of the kernel that those of the list name, whoever
// made them.
func standingNeighs(ctx context.Context, conn *netlink.Conn, list []rtnl.Neigh) ([]rtnl.Neigh, error) {
	type place struct {
		index int
		ip    netip.Addr
		mac   string // of forwarding entries only
	}
	placeOf := func(n rtnl.Neigh) place {
		if n.FDB {
			return place{n.Index, n.IP, string(n.MAC)}
		}
		return place{n.Index, n.IP, ""}
	}
	named, vxlans := make(map[place]bool, len(list)), map[int]bool{}
	for _, n := range list {
		named[placeOf(n)] = true
		if n.FDB {
			vxlans[n.Index] = true
		}
	}
	all, err := conn.Neighs(ctx)
	if err != nil {
		return nil, err
	}
	for index := range vxlans {
		entries, err := conn.Forwarding(ctx, index)
		if err != nil {
			return nil, err
		}
		all = append(all, entries...)
	}
	return slices.DeleteFunc(all, func(h rtnl.Neigh) bool { return h.Bridge != 0 || !named[placeOf(h)] }), nil
}
