package osl

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// readLinks reads the links of a sandbox and their addresses.
func readLinks(ctx context.Context, conn *netlink.Conn) (*plan.State, error) {
	s := &plan.State{}
	var err error
	if s.Links, err = conn.Links(ctx); err != nil {
		return nil, err
	}
	s.Addrs, err = conn.Addrs(ctx, 0)
	return s, err
}

// readPart reads as much of a sandbox as new interfaces call for, so that what
// else it holds costs nothing: lo, the links with these names as far as they are
// there, and all addresses where one of the new ones may be in conflict.
func readPart(ctx context.Context, conn *netlink.Conn, w *plan.Sandbox, names ...string) (*plan.State, error) {
	conflicts := false
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
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

// readState reads what a sandbox holds. With all, neighbours too, and the routes
// of others.
func readState(ctx context.Context, conn *netlink.Conn, all bool) (*plan.State, error) {
	s, err := readLinks(ctx, conn)
	if err != nil {
		return nil, err
	}
	if !all {
		s.Routes, err = conn.Routes(ctx, rtnl.Protocol, 0)
		return s, err
	}
	if s.Routes, s.Others, err = readRoutes(ctx, conn); err == nil {
		s.Neighs, err = readNeighs(ctx, conn, s.Links)
	}
	return s, err
}

// readRoutes reads the routes of osl, and those of others.
func readRoutes(ctx context.Context, conn *netlink.Conn) (osls, others []rtnl.Route, err error) {
	all, err := conn.Routes(ctx, 0, 0)
	others = []rtnl.Route{}
	for _, r := range all {
		if r.Proto == rtnl.Protocol {
			osls = append(osls, r)
		} else {
			others = append(others, r)
		}
	}
	return osls, others, err
}

// readNeighs reads the neighbour entries of osl, and the static forwarding
// entries of its vxlans.
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
	for i := range links {
		if links[i].Kind != "vxlan" {
			continue
		}
		fdb, err := conn.FDB(ctx, links[i].Index)
		if err != nil {
			return nil, err
		}
		for _, n := range fdb {
			// The default entry of a vxlan's remote is all zero.
			if n.State&unix.NUD_PERMANENT != 0 && slices.ContainsFunc(n.MAC, func(b byte) bool { return b != 0 }) {
				list = append(list, n)
			}
		}
	}
	return list, nil
}

// state reads the sandbox for a call that can return no error.
func (n *Namespace) state() *plan.State {
	conn, err := n.live()
	if err == nil {
		var s *plan.State
		if s, err = readState(context.Background(), conn, false); err == nil {
			return s
		}
	}
	if !errors.Is(err, ErrClosed) {
		slog.Error("osl: the sandbox can not be read", "key", n.key, "error", err)
	}
	return &plan.State{}
}

// defaultRoute returns the gateway of one family.
func defaultRoute(s *plan.State, v4 bool) netip.Addr {
	for _, r := range s.Routes {
		if r.Dst.Bits() == 0 && r.Dst.Addr().Is4() == v4 && r.Via.IsValid() {
			return r.Via
		}
	}
	return netip.Addr{}
}

// isStatic reports whether a route of osl is one of AddStaticRoute: through a
// next hop, or connected with the mark that tells it from an interface's.
func isStatic(r rtnl.Route) bool {
	if r.Via.IsValid() {
		return r.Dst.Bits() > 0
	}
	return r.Global || r.Dst.Addr().Is6() && r.OnLink
}

// Inspect reads what the sandbox holds.
func (n *Namespace) Inspect(ctx context.Context) (*Status, error) {
	st, err := n.status(ctx)
	if err != nil {
		return nil, fail("inspect the sandbox", n.key, "", err)
	}
	return st, nil
}

func (n *Namespace) status(ctx context.Context) (*Status, error) {
	conn, err := n.live()
	if err != nil {
		return nil, err
	}
	s, err := readState(ctx, conn, true)
	if err != nil {
		return nil, err
	}
	st := &Status{Name: nameOf(n.key), Key: n.key, Interfaces: []InterfaceStatus{},
		Gateway: defaultRoute(s, true), Gateway6: defaultRoute(s, false)}
	if lo := s.ByIndex(1); lo != nil {
		var t plan.SandboxTag
		t, st.Made = plan.ParseSandboxTag(lo.Alias)
		st.Network, st.Labels = plan.NetworkOf(lo), t.Labels
	}
	names := map[int]string{}
	for i := range s.Links {
		names[s.Links[i].Index] = s.Links[i].Name
	}
	dev := func(index int) string { return names[index] }
	all, some, err := unfinished(ctx, s.ByIndex(1))
	if err != nil {
		return nil, err
	}
	inOrder(s.Links)
	parts := s.Parts()
	for i := range s.Links {
		x := interfaceStatus(parts[s.Links[i].Index], &s.Links[i])
		x.Master = names[s.Links[i].Master]
		x.UnderWay = all || some[x.Index]
		if x.Name != "lo" || len(x.Aliases) > 0 || slices.ContainsFunc(x.Addresses, func(p netip.Prefix) bool { return !p.Addr().IsLoopback() }) {
			st.Interfaces = append(st.Interfaces, x)
		}
	}
	for _, r := range s.Routes {
		if isStatic(r) {
			st.Routes = append(st.Routes, RouteSpec{To: r.Dst, Via: r.Via, Dev: dev(r.Index)})
		}
	}
	for _, r := range s.Others {
		st.OtherRoutes = append(st.OtherRoutes, OtherRoute{RouteSpec{To: r.Dst, Via: r.Via, Dev: dev(r.Index)}, r.Metric, plan.ProtocolName(r.Proto)})
	}
	if st.OtherRules, err = otherRules(ctx, conn); err != nil {
		return nil, err
	}
	for _, x := range s.Neighs {
		st.Neighbors = append(st.Neighbors, NeighborSpec{Dev: dev(x.Index), IP: x.IP, MAC: MAC(x.MAC), FDB: x.FDB})
	}
	return st, nil
}

// otherRules reads the rules of policy routing.
func otherRules(ctx context.Context, conn *netlink.Conn) (list []OtherRule, err error) {
	rules, err := conn.Rules(ctx)
	for _, r := range rules {
		o := OtherRule{Priority: r.Priority, From: r.From, To: r.To, In: r.In, Out: r.Out, Mark: r.Mark}
		// FR_ACT_* of linux/fib_rules.h.
		if o.Action = map[uint8]string{2: "goto", 3: "nop", 6: "blackhole", 7: "unreachable", 8: "prohibit"}[r.Action]; o.Action == "" {
			o.Table = r.Table
		}
		list = append(list, o)
	}
	return list, err
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

// interfaceStatus tells what an interface is. s is what is on it.
func interfaceStatus(s *plan.State, l *rtnl.Link) InterfaceStatus {
	x := InterfaceStatus{Name: l.Name, Index: l.Index, Type: l.Kind, MTU: l.MTU, Up: l.Up(),
		Carrier: l.Flags&unix.IFF_LOWER_UP != 0, MAC: MAC(l.MAC)}
	if t, ok := plan.ParseTag(l.Alias); ok {
		x.Source = t.Source
		x.Origin = map[plan.Origin]string{plan.Host: "host", plan.Made: "made", plan.Kept: "kept", plan.Far: "made"}[t.Origin]
	}
	for _, a := range s.Addrs {
		if a.Proto == rtnl.AliasProtocol {
			x.Aliases = append(x.Aliases, a.Prefix)
			continue
		}
		x.Addresses = append(x.Addresses, a.Prefix)
		if a.Proto != rtnl.Protocol {
			x.Others = append(x.Others, a.Prefix)
		}
	}
	for _, r := range s.Routes {
		if !r.Via.IsValid() && !isStatic(r) {
			x.Routes = append(x.Routes, r.Dst)
		}
	}
	return x
}

// maxName is how many bytes the name of an interface can have: IFNAMSIZ of
// linux/if.h without the closing NUL.
const maxName = 15

// validName returns an error for what can not be the name of an interface.
func validName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return invalidf("%q is no name of an interface", name)
	case len(name) > maxName:
		return invalidf("the interface name %q has %d bytes; the kernel takes %d", name, len(name), maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' || r == ':' || r == 0x7f }):
		return invalidf("the interface name %q has a slash, a colon, a space or a control character", name)
	case name == "all" || name == "default":
		return invalidf("the interface name %q stands for others in the kernel's settings", name)
	case strings.Contains(name, "%"):
		return invalidf("the interface name %q has a %%, which the kernel takes for a number", name)
	}
	return nil
}
