//go:build linux

package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/want"
)

// AddNeighbors adds permanent neighbor and forwarding entries, all of them or none.
func (n *Namespace) AddNeighbors(ctx context.Context, entries iter.Seq[want.Neigh]) error {
	return n.bulk(ctx, "add neighbors", func(conn *netlink.Conn) error {
		list, err := wantNeighs(ctx, conn, entries)
		if err != nil {
			return err
		}
		b := batch{text: func(i int) string { return fmt.Sprintf("neighbor %v", list[i].IP) }}
		var room rtnl.Room
		b.do = make([]rtnl.Request, len(list))
		for i, w := range list {
			b.do[i] = rtnl.NewNeigh(w, &room)
		}
		b.undo = func(i int) rtnl.Request { return rtnl.DelNeigh(list[i], nil) }
		b.again = func(i int) rtnl.Request { return rtnl.ReplaceNeigh(list[i]) }
		b.refused = func(i int, err error) error {
			if !errors.Is(err, unix.EEXIST) {
				return err
			}
			if held, herr := holds(ctx, conn, list[i]); herr != nil || held {
				return errors.Join(herr, fault.NeighborError{IP: list[i].IP.String(), MAC: list[i].MAC.String(), Present: true})
			}
			b.late = append(b.late, rtnl.ReplaceNeigh(list[i])) // of others, or learned
			return nil
		}
		return b.send(ctx, conn)
	})
}

// DeleteNeighbors deletes entries, all of them or none. One that is not there
// is no error.
func (n *Namespace) DeleteNeighbors(ctx context.Context, entries iter.Seq[want.Neigh]) error {
	return n.bulk(ctx, "delete neighbors", func(conn *netlink.Conn) error {
		list, err := wantNeighs(ctx, conn, entries)
		if err != nil {
			return err
		}
		read := len(list) > 1 // one that goes alone needs no way back
		if read {
			if list, err = standingNeighs(ctx, conn, list); err != nil {
				return err
			}
		}
		b := batch{text: func(i int) string { return fmt.Sprintf("neighbor %v", list[i].IP) }, refused: unlessAbsent}
		var room rtnl.Room
		b.do = make([]rtnl.Request, len(list))
		for i, w := range list {
			b.do[i] = rtnl.DelNeigh(w, &room)
		}
		if read {
			b.undo = func(i int) rtnl.Request { return rtnl.ReplaceNeigh(list[i]) }
		}
		b.again = func(i int) rtnl.Request { return b.do[i] }
		return b.send(ctx, conn)
	})
}

// AddRoutes adds static routes, all of them or none.
func (n *Namespace) AddRoutes(ctx context.Context, routes iter.Seq[want.Route]) error {
	return n.bulk(ctx, "add routes", func(conn *netlink.Conn) error {
		list, err := wantRoutes(conn, routes)
		if err != nil {
			return err
		}
		var have map[plan.RouteKey][]rtnl.Route
		b := batch{text: func(i int) string { return fmt.Sprintf("route to %v", list[i].Dst) }}
		var room rtnl.Room
		b.do = make([]rtnl.Request, len(list))
		for i, r := range list {
			b.do[i] = rtnl.NewRoute(r, &room)
		}
		b.undo = func(i int) rtnl.Request { return rtnl.DelRoute(list[i], nil) }
		b.again = func(i int) rtnl.Request { return rtnl.ReplaceRoute(list[i]) }
		b.refused = func(i int, err error) error {
			if !errors.Is(err, unix.EEXIST) {
				return ofAction(plan.Op{NS: n.key, Do: plan.NewRoute{Route: list[i]}}, err)
			}
			if have == nil {
				have = map[plan.RouteKey][]rtnl.Route{}
				there, rerr := conn.EveryRoute(ctx, rtnl.Protocol, 0)
				if rerr != nil {
					return rerr
				}
				for _, r := range there {
					have[plan.KeyOfRoute(r)] = append(have[plan.KeyOfRoute(r)], r)
				}
			}
			if slices.ContainsFunc(have[plan.KeyOfRoute(list[i])], func(h rtnl.Route) bool { return plan.SameRoute(h, list[i]) }) {
				return nil
			}
			return err
		}
		return b.send(ctx, conn)
	})
}

// RemoveRoutes takes static routes away, all of them or none. One that is not
// there is no error.
func (n *Namespace) RemoveRoutes(ctx context.Context, routes iter.Seq[want.Route]) error {
	return n.bulk(ctx, "remove routes", func(conn *netlink.Conn) error {
		list, err := wantRoutes(conn, routes)
		if err != nil {
			return err
		}
		// One that goes alone needs no way back. Of a connected one of IPv6 no attribute
		// that a deletion can name tells it from an interface's own.
		read := len(list) > 1 || slices.ContainsFunc(list, isConnected6)
		if read {
			if list, err = standingRoutes(ctx, conn, list); err != nil {
				return err
			}
		}
		b := batch{text: func(i int) string { return fmt.Sprintf("route to %v", list[i].Dst) }, refused: unlessAbsent}
		var room rtnl.Room
		b.do = make([]rtnl.Request, len(list))
		for i, r := range list {
			b.do[i] = rtnl.DelRoute(r, &room)
		}
		if read {
			b.undo = func(i int) rtnl.Request { return rtnl.NewRoute(list[i], nil) }
		}
		b.again = func(i int) rtnl.Request { return b.do[i] }
		return b.send(ctx, conn)
	})
}

// RemoveRules takes rules of osl away, all of them or none. One that is not there is no
// error. They are read first: a deletion says what a rule has, and not what it has not, so
// that it could take another one.
func (n *Namespace) RemoveRules(ctx context.Context, rules []want.Rule) error {
	return n.bulk(ctx, "remove rules", func(conn *netlink.Conn) error {
		wanted, err := want.ToRules(rules)
		if err != nil {
			return err
		}
		all, err := conn.Rules(ctx)
		if err != nil {
			return err
		}
		var list []rtnl.Rule
		b := batch{text: func(i int) string { return fmt.Sprintf("rule of the priority %d", list[i].Priority) }, refused: unlessAbsent}
		for _, r := range wanted {
			if r.Proto = rtnl.Protocol; slices.Contains(all, r) {
				list = append(list, r)
				b.do = append(b.do, rtnl.DelRule(r))
			}
		}
		b.undo = func(i int) rtnl.Request { return rtnl.NewRule(list[i]) }
		b.again = func(i int) rtnl.Request { return b.do[i] }
		return b.send(ctx, conn)
	})
}

// AddAddresses adds addresses to an interface, all of them or none.
func (n *Namespace) AddAddresses(ctx context.Context, ifName string, addrs iter.Seq[netip.Prefix]) error {
	return n.addresses(ctx, "add addresses to", ifName, addrs, n.addAliases)
}

// RemoveAddresses takes addresses away from an interface, all of them or none.
func (n *Namespace) RemoveAddresses(ctx context.Context, ifName string, addrs iter.Seq[netip.Prefix]) error {
	return n.addresses(ctx, "remove addresses from", ifName, addrs, n.removeAliases)
}

func (n *Namespace) addresses(ctx context.Context, op, ifName string, addrs iter.Seq[netip.Prefix],
	change func(context.Context, *netlink.Conn, string, []netip.Prefix) error) error {
	err := want.ValidName(ifName)
	if err == nil {
		err = n.bulk(ctx, op, func(conn *netlink.Conn) error {
			var list []netip.Prefix
			for p := range addrs {
				if err := want.ValidPrefix(p); err != nil {
					return err
				}
				list = append(list, p)
			}
			return byName(ctx, conn, ifName, func(dev string) error { return change(ctx, conn, dev, list) })
		})
	}
	return fail(op, n.key, ifName, err)
}

// bulk runs f with the sandbox locked.
func (n *Namespace) bulk(ctx context.Context, op string, f func(conn *netlink.Conn) error) error {
	conn, unlock, err := n.begin(ctx)
	if err != nil {
		return fail(op, n.key, "", err)
	}
	defer unlock()
	return fail(op, n.key, "", f(conn))
}

// batch is many changes of one kind, which happen together.
type batch struct {
	do []rtnl.Request
	// undo takes number i back, nil where that is not known; again does it where it may be
	// done already.
	undo, again func(i int) rtnl.Request
	// refused looks at a refusal: nil where it is no failure after all.
	refused func(i int, err error) error
	text    func(i int) string
	// late are sent when all else is done: there is no way back from them.
	late []rtnl.Request
}

func (b *batch) send(ctx context.Context, conn *netlink.Conn) error {
	if len(b.do) == 0 {
		return nil
	}
	errs, unknown := conn.Do(ctx, b.do...)
	if unknown != nil {
		reqs := make([]rtnl.Request, len(b.do))
		for i := range reqs {
			reqs[i] = b.again(i)
		}
		errs, unknown = conn.Do(ctx, reqs...)
	}
	var failed error
	for i, err := range errs {
		if err == nil {
			continue
		}
		if err = b.refused(i, err); err != nil && failed == nil {
			failed = fmt.Errorf("%s: %w", b.text(i), err)
		}
	}
	if failed == nil {
		failed = unknown
	}
	if failed == nil && len(b.late) > 0 {
		lateErrs, err := conn.Do(ctx, b.late...)
		failed = cmp.Or(err, cmp.Or(lateErrs...))
	}
	if failed == nil {
		return nil
	}
	return b.back(ctx, conn, errs, failed)
}

// back undoes what was done, the last first.
func (b *batch) back(ctx context.Context, conn *netlink.Conn, errs []error, failed error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	var reqs []rtnl.Request
	for i := len(errs) - 1; i >= 0; i-- {
		if errs[i] == nil && b.undo != nil {
			reqs = append(reqs, b.undo(i))
		}
	}
	errs, err := conn.Do(ctx, reqs...)
	left := 0
	for _, e := range errs {
		if e != nil && !plan.Absent(e) {
			left, err = left+1, e
		}
	}
	if err == nil {
		return failed
	}
	return &fault.Error{Err: failed, Left: []string{fmt.Sprintf("%d of %d changes could not be undone (%v); see them with osl inspect", max(left, 1), len(reqs), err)}}
}

func isConnected6(r rtnl.Route) bool {
	return !r.Via.IsValid() && r.Dst.Addr().Is6() && plan.IsSimple(r)
}

func unlessAbsent(_ int, err error) error {
	if plan.Absent(err) {
		return nil
	}
	return err
}

// indexes finds the index of each name once.
type indexes struct {
	conn  *netlink.Conn
	known map[string]int
}

func (x *indexes) of(name string) (int, error) {
	if i, ok := x.known[name]; ok {
		return i, nil
	}
	if err := want.ValidName(name); err != nil {
		return 0, err
	}
	i, err := x.conn.Index(name)
	if err != nil {
		return 0, fail("", "", name, err)
	}
	x.known[name] = i
	return i, nil
}

func wantNeighs(ctx context.Context, conn *netlink.Conn, entries iter.Seq[want.Neigh]) (list []rtnl.Neigh, err error) {
	x := indexes{conn, map[string]int{}}
	var macs net.HardwareAddr // those of all entries, each a part of it
	links := map[int]*rtnl.Link{}
	for e := range entries {
		w, err := want.ToNeigh(e)
		if err == nil && w.OfBridge {
			// What is at a port is noted at the port, so that it is known again and goes with it.
			err = fault.Invalidf("an entry of a bridge, mdb or fdb without ip, is made and taken away by Apply and osl up only")
		}
		if err != nil {
			return nil, fmt.Errorf("neighbor %d, %s: %w", len(list), w.Called(), err)
		}
		if w.Index, err = x.of(e.Dev); err != nil {
			return nil, err
		}
		if w.FDB {
			if err := onVXLAN(ctx, conn, links, w); err != nil {
				return nil, fmt.Errorf("neighbor %d, %s: %w", len(list), w.Called(), err)
			}
		}
		macs = append(macs, w.MAC...)
		w.MAC = macs[len(macs)-len(w.MAC) : len(macs) : len(macs)]
		if list = append(list, w.Neigh); len(list) == cap(list) {
			list = slices.Grow(list, len(list)) // append would copy them more often
		}
	}
	return list, nil
}

// onVXLAN refuses a forwarding entry on a link that is no vxlan of its family; links are
// those that were read.
func onVXLAN(ctx context.Context, conn *netlink.Conn, links map[int]*rtnl.Link, w plan.Neigh) error {
	l := links[w.Index]
	if l == nil {
		l = &rtnl.Link{}
		if err := conn.One(ctx, rtnl.GetLink(w.Index, "", l)); err != nil {
			return err
		}
		links[w.Index] = l
	}
	if text := plan.Misplaced(nil, l, w); text != "" {
		return fault.Invalidf("%s", text)
	}
	return nil
}

func wantRoutes(conn *netlink.Conn, routes iter.Seq[want.Route]) (list []rtnl.Route, err error) {
	x := indexes{conn, map[string]int{}}
	for s := range routes {
		r, err := want.ToRoute(s)
		if err != nil {
			return nil, err
		}
		if r.Dev != "" {
			if r.Index, err = x.of(r.Dev); err != nil {
				return nil, err
			}
		}
		for i := range r.Hops {
			if h := &r.Hops[i]; h.Dev != "" {
				if h.Index, err = x.of(h.Dev); err != nil {
					return nil, err
				}
			}
		}
		r.Proto = rtnl.Protocol
		if list = append(list, r.Route); len(list) == cap(list) {
			list = slices.Grow(list, len(list))
		}
	}
	return list, nil
}
