//go:build linux

package engine

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/stand"
	"github.com/seed59451c2b/osl/internal/want"
)

// readLinks reads the links of a sandbox and their addresses. The links come first:
// that waits for who is just changing something, who has told of it by then.
func readLinks(ctx context.Context, conn *netlink.Conn) (*plan.State, error) {
	s := &plan.State{}
	var err error
	if s.Links, err = conn.Links(ctx); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(s.Links, impaired) {
		if s.Qdiscs, err = conn.Qdiscs(ctx); err != nil {
			return nil, err
		}
	}
	s.Addrs, err = conn.Addrs(ctx, 0)
	return s, err
}

// impaired reports whether osl may do something to the packets that leave by a link.
func impaired(l rtnl.Link) bool { return l.Qdisc == "netem" || l.Qdisc == "tbf" }

// readPart reads as much of a sandbox as new interfaces call for, so that what
// else it holds costs nothing: lo, the links with these names as far as they are
// there, and all addresses where one of the new ones may be in conflict. Where a link that
// is there may lose what it has, all is read, so that it comes back if the change fails.
func readPart(ctx context.Context, conn *netlink.Conn, w *plan.Sandbox, names ...string) (*plan.State, error) {
	conflicts := false
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		if off := f.IPv6 != nil && !*f.IPv6; f.Keep && (off || f.Down || f.Master != "" || f.MTU != 0 && f.MTU < plan.MinIPv6) {
			return readState(ctx, conn, true)
		}
		names = append(names, f.Name, f.Master, f.Parent)
		conflicts = conflicts || slices.ContainsFunc(f.Addrs, plan.Addr.MayConflict)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	found := make([]rtnl.Link, 1, len(names)+1)
	reqs := []rtnl.Request{rtnl.GetLink(1, "", &found[0])}
	for _, name := range names {
		if name != "" && name != "lo" && !strings.Contains(name, "%") {
			found = append(found, rtnl.Link{})
			reqs = append(reqs, rtnl.GetLink(0, name, &found[len(found)-1]))
		}
	}
	errs, err := conn.Do(ctx, reqs...)
	if err != nil {
		return nil, err
	}
	s := &plan.State{}
	for i, err := range errs {
		switch {
		case err == nil:
			s.Links = append(s.Links, found[i])
		case !errors.Is(err, unix.ENODEV):
			return nil, err
		}
	}
	if conflicts {
		s.Addrs, err = conn.Addrs(ctx, 0)
	}
	return s, err
}

// linksNamed asks for the link of each name in one send: what came of each, and
// what is wrong with the whole.
func linksNamed(ctx context.Context, conn *netlink.Conn, names []string) (found []rtnl.Link, errs []error, err error) {
	found = make([]rtnl.Link, len(names))
	reqs := make([]rtnl.Request, len(names))
	for i, name := range names {
		reqs[i] = rtnl.GetLink(0, name, &found[i])
	}
	errs, err = conn.Do(ctx, reqs...)
	return found, errs, err
}

// readState reads what a sandbox holds. With all, neighbours, next hops and rules too, and the
// routes of others.
func readState(ctx context.Context, conn *netlink.Conn, all bool) (*plan.State, error) {
	s, err := readLinks(ctx, conn)
	if err != nil {
		return nil, err
	}
	if !all {
		s.Routes, err = conn.EveryRoute(ctx, rtnl.Protocol, 0)
		return s, err
	}
	if s.Routes, s.Others, err = readRoutes(ctx, conn); err != nil {
		return s, err
	}
	hops, err := conn.Nexthops(ctx)
	if err != nil {
		return s, err
	}
	s.Nexthops, s.OtherNexthops = whose(hops, func(n *rtnl.Nexthop) uint8 { return n.Proto })
	rules, err := conn.Rules(ctx)
	s.Rules, s.OtherRules = whose(rules, func(r *rtnl.Rule) uint8 { return r.Proto })
	if err == nil {
		s.Neighs, err = readNeighs(ctx, conn, s.Links)
	}
	return s, err
}

// readRoutes reads the routes of osl, and those of others.
func readRoutes(ctx context.Context, conn *netlink.Conn) (osls, others []rtnl.Route, err error) {
	all, err := conn.EveryRoute(ctx, 0, 0)
	osls, others = whose(all, func(r *rtnl.Route) uint8 { return r.Proto })
	return osls, others, err
}

// whose parts what osl made from what others did, by the protocol. That there is nothing
// of others is known too: it is no nil.
func whose[T any](all []T, proto func(*T) uint8) (osls, others []T) {
	others = []T{}
	for i := range all {
		if proto(&all[i]) == rtnl.Protocol {
			osls = append(osls, all[i])
		} else {
			others = append(others, all[i])
		}
	}
	return osls, others
}

// readNeighs reads the neighbour entries of osl, and its static forwarding entries: of
// vxlans, and of bridges where a tag says that there are some.
func readNeighs(ctx context.Context, conn *netlink.Conn, links []rtnl.Link) (list []rtnl.Neigh, err error) {
	neighs, err := conn.Neighs(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range neighs {
		if n.Proto == rtnl.Protocol && n.State&unix.NUD_PERMANENT != 0 {
			list = append(list, n)
		}
	}
	entries := false
	for i := range links {
		l := &links[i]
		t := plan.Tag{}
		if l.Port != nil || l.Bridge != nil {
			t, _ = plan.ParseTag(l.Alias)
		}
		entries = entries || t.Entries
		if l.Kind != "vxlan" && !t.Entries {
			continue
		}
		fdb, err := conn.Forwarding(ctx, l.Index)
		if err != nil {
			return nil, err
		}
		for _, n := range fdb {
			// Those for all have one state: who adds one marks or unmarks all of them, also
			// that of the vxlan's own remote.
			if l.HasAsRemote(n) {
				continue
			}
			osls := n.Proto == rtnl.Protocol
			if n.Bridge != 0 && osls && t.Entries || n.Bridge == 0 && (osls || n.ForAll() && n.State&unix.NUD_NOARP != 0) {
				list = append(list, n)
			}
		}
	}
	if entries {
		mdb, err := conn.MDB(ctx)
		if err != nil {
			return nil, err
		}
		list = append(list, mdb...)
	}
	return list, nil
}

// Inspect reads what the sandbox holds.
func (n *Namespace) Inspect(ctx context.Context) (*stand.Sandbox, error) {
	r, err := n.inspect(ctx)
	if err != nil {
		return nil, fail("inspect the sandbox", n.key, "", err)
	}
	return r.Sandbox(), nil
}

// inspect is reading, with the settings that were asked for.
func (n *Namespace) inspect(ctx context.Context) (*stand.Reading, error) {
	r, err := n.reading(ctx)
	if err == nil {
		err = n.readAsked(ctx, r)
	}
	return r, err
}

func (n *Namespace) reading(ctx context.Context) (*stand.Reading, error) {
	conn, err := n.live()
	if err != nil {
		return nil, err
	}
	r := &stand.Reading{Name: n.Name(), Key: n.key}
	if r.State, err = readState(ctx, conn, true); err != nil {
		return nil, err
	}
	if r.All, r.Some, err = unfinished(ctx, r.State.ByIndex(1)); err != nil {
		return nil, err
	}
	if r.State.FiltersVLANs() {
		vlans, err := conn.VLANs(ctx)
		if err != nil {
			return nil, err
		}
		r.State.SetVLANs(vlans)
	}
	if parts := n.pinned(r.State.ByIndex(1)).Parts; len(parts) > 1 {
		r.From, r.Owner = parts[1], strings.Join(parts[2:], "")
	}
	inOrder(r.State.Links)
	if r.State.Features, err = n.features(ctx); err != nil {
		return nil, err
	}
	if r.State.WireGuards, err = n.wireguards(ctx, r.State.Links); err != nil {
		return nil, err
	}
	return r, nil
}

// Interface reads one link of the sandbox.
func (n *Namespace) Interface(ctx context.Context, name string) (*stand.Iface, error) {
	r, err := n.readOne(ctx, name)
	if err != nil {
		return nil, fail("read the interface", n.key, name, err)
	}
	return r.Iface(), nil
}

// readOne reads a link: it is the first of those that are read, and its master the
// second, where it has one.
func (n *Namespace) readOne(ctx context.Context, name string) (*stand.Reading, error) {
	if err := want.ValidName(name); err != nil {
		return nil, err
	}
	conn, err := n.live()
	if err != nil {
		return nil, err
	}
	r := &stand.Reading{Key: n.key, State: &plan.State{Links: make([]rtnl.Link, 1)}}
	var lo rtnl.Link
	l := &r.State.Links[0]
	errs, err := conn.Do(ctx, rtnl.GetLink(0, name, l), rtnl.GetLink(1, "", &lo))
	if err = cmp.Or(err, errs[0], errs[1]); err != nil {
		return nil, err
	}
	if r.All, r.Some, err = unfinished(ctx, &lo); err != nil {
		return nil, err
	}
	if r.State.WireGuards, err = n.wireguards(ctx, r.State.Links); err != nil {
		return nil, err
	}
	if r.State.Addrs, err = conn.Addrs(ctx, l.Index); err != nil {
		return nil, err
	}
	if r.State.Routes, err = conn.Routes(ctx, rtnl.Protocol, l.Index); err != nil || l.Master == 0 {
		return r, err
	}
	var m rtnl.Link
	if err := conn.One(ctx, rtnl.GetLink(l.Master, "", &m)); err != nil && !plan.Absent(err) {
		return nil, err
	} else if err == nil {
		r.State.Links = append(r.State.Links, m)
	}
	return r, nil
}

// inOrder sorts links by when they came: indexes are random, and some kernels
// list links in no order at all.
func inOrder(links []rtnl.Link) {
	born := make(map[int]int64, len(links))
	for i := range links {
		t, _ := plan.ParseTag(links[i].Alias)
		born[links[i].Index] = t.Born
	}
	slices.SortStableFunc(links, func(a, b rtnl.Link) int {
		return cmp.Or(cmp.Compare(born[a.Index], born[b.Index]), cmp.Compare(a.Index, b.Index))
	})
}

func hasAll(s *plan.State, index int, addrs []netip.Prefix) bool {
	for _, p := range addrs {
		if !slices.ContainsFunc(s.Addrs, func(a rtnl.Addr) bool { return a.Index == index && a.Prefix == p }) {
			return false
		}
	}
	return true
}
