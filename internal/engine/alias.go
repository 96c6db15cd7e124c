//go:build linux

package engine

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/sysctl"
	"github.com/seed59451c2b/osl/internal/want"
)

// AddAliasIP adds an address to an interface.
func (n *Namespace) AddAliasIP(ifName string, ip *net.IPNet) error {
	const op = "add alias IP to"
	p, err := want.ToPrefix(ip)
	if err == nil {
		err = want.Unicast(p)
	}
	if err == nil {
		err = want.ValidName(ifName)
	}
	if err != nil {
		return fail(op, n.key, ifName, err)
	}
	return fail(op, n.key, ifName, n.change(func(ctx context.Context, conn *netlink.Conn) error {
		return byName(ctx, conn, ifName, func(dev string) error { return n.addAliases(ctx, conn, dev, []netip.Prefix{p}) })
	}))
}

// byName calls f with the name of an interface inside the sandbox, and where none
// has it, with the name of the one that osl knows by this source name.
func byName(ctx context.Context, conn *netlink.Conn, name string, f func(dev string) error) error {
	err := f(name)
	if !errors.Is(err, unix.ENODEV) {
		return err
	}
	links, lerr := conn.Links(ctx)
	if lerr != nil {
		return err
	}
	s := &plan.State{Links: links}
	if l, t := s.BySource(name); l != nil && t.Origin != plan.Far && l.Name != name {
		return f(l.Name)
	}
	return err
}

// aliasOf is an alias IP as these calls always wrote it: of the host's scope in 127/8 and
// of that of all elsewhere, where a file gives 169.254/16 that of the link. A file leaves
// one that is there as it is.
func aliasOf(index int, p netip.Prefix) rtnl.Addr {
	a := rtnl.Addr{Index: index, Prefix: p, Proto: rtnl.AliasProtocol}
	if isIPv4(p) && p.Addr().IsLoopback() {
		a.Scope = unix.RT_SCOPE_HOST
	}
	return a
}

func isIPv4(p netip.Prefix) bool { return p.Addr().Is4() }
func isIPv6(p netip.Prefix) bool { return p.Addr().Is6() }

// withLastIPv4 reads what the kernel takes with the last IPv4 address of a link, of
// which s has the addresses and routes, and returns what puts it back.
func (n *Namespace) withLastIPv4(ctx context.Context, conn *netlink.Conn, l *rtnl.Link, s *plan.State) (ops []plan.Op, err error) {
	if s.Neighs, err = conn.Neighs(ctx); err != nil {
		return nil, err
	}
	s.Neighs = slices.DeleteFunc(s.Neighs, func(n rtnl.Neigh) bool { return n.Proto != rtnl.Protocol })
	return plan.WithLastIPv4(n.space(), l, s), nil
}

// addAliases adds addresses to a link, which are alias IPs. Where one of IPv6 is
// the first, the IPv6 of the link and of lo is turned on.
func (n *Namespace) addAliases(ctx context.Context, conn *netlink.Conn, ifName string, list []netip.Prefix) error {
	var l, lo rtnl.Link
	var err error
	if !slices.ContainsFunc(list, isIPv6) {
		if l.Index, err = conn.Index(ifName); err != nil {
			return err
		}
		if len(list) == 1 {
			return one(ctx, conn, plan.EnsureAddr{Addr: aliasOf(l.Index, list[0])})
		}
	} else if err := conn.One(ctx, rtnl.GetLink(0, ifName, &l)); err != nil {
		return err
	}
	r := newRun(ctx, n)
	defer r.close()
	var ops []plan.Op
	if l.Name != "" && l.Inet.DisableIPv6 {
		if err := conn.One(ctx, rtnl.GetLink(1, "", &lo)); err != nil {
			return err
		}
		ops = append(ops, r.switchIPv6(n, &l, true))
		if l.Index != lo.Index && lo.Inet.DisableIPv6 {
			ops = append(ops, r.switchIPv6(n, &lo, true))
		}
	}
	there := map[netip.Prefix]bool{} // what undoing must leave alone
	var lost []plan.Op               // what the kernel would take with it
	if len(list) > 1 {
		s := &plan.State{}
		if s.Addrs, err = conn.Addrs(ctx, l.Index); err != nil {
			return err
		}
		if slices.ContainsFunc(list, isIPv4) && !slices.ContainsFunc(s.Addrs, func(a rtnl.Addr) bool { return isIPv4(a.Prefix) }) {
			if s.Routes, s.Others, err = readRoutes(ctx, conn); err == nil {
				lost, err = n.withLastIPv4(ctx, conn, &rtnl.Link{Index: l.Index, Name: ifName}, s)
			}
			if err != nil {
				return err
			}
		}
		for _, a := range s.Addrs {
			there[a.Prefix] = true
		}
	}
	for _, p := range list {
		if there[p] {
			continue
		}
		a := aliasOf(l.Index, p)
		op := plan.Op{NS: n.space(), Dev: ifName, Do: plan.EnsureAddr{Addr: a}}
		if len(list) > 1 {
			op.Undo = []plan.Op{{NS: n.space(), Dev: ifName, Do: plan.DelAddr{Addr: a}}}
			if isIPv4(p) { // the first is undone last
				op.Undo = append(op.Undo, lost...)
				lost = nil
			}
		}
		ops = append(ops, op)
	}
	return r.do(ops, plan.Commit{})
}

// switchIPv6 plans to turn a link's IPv6 on or off.
func (r *run) switchIPv6(n *Namespace, l *rtnl.Link, on bool) plan.Op {
	r.links[linkID{n.space(), l.Index}] = *l
	return plan.Op{NS: n.space(), Dev: l.Name, Do: plan.IPv6{Index: l.Index, On: on, Before: l.Inet},
		Undo: []plan.Op{{NS: n.space(), Dev: l.Name, Do: plan.IPv6{Index: l.Index, On: !on}}}}
}

// RemoveAliasIP takes an address away from an interface.
func (n *Namespace) RemoveAliasIP(ifName string, ip *net.IPNet) error {
	const op = "remove alias IP from"
	p, err := want.ToPrefix(ip)
	if err == nil {
		err = want.ValidName(ifName)
	}
	if err != nil {
		return fail(op, n.key, ifName, err)
	}
	err = n.change(func(ctx context.Context, conn *netlink.Conn) error {
		return byName(ctx, conn, ifName, func(dev string) error { return n.removeAliases(ctx, conn, dev, []netip.Prefix{p}) })
	})
	if isClosed(err) {
		return nil
	}
	return fail(op, n.key, ifName, err)
}

// removeAliases takes addresses from a link. The IPv6 of one that has no IPv6
// address left but what the kernel gave it is turned off, and lo's with the last
// of all.
func (n *Namespace) removeAliases(ctx context.Context, conn *netlink.Conn, ifName string, list []netip.Prefix) error {
	index, err := conn.Index(ifName)
	if err != nil {
		return err
	}
	if len(list) == 1 && isIPv4(list[0]) && list[0].IsSingleIP() { // no other has its subnet
		_, err = conn.Surely(ctx, rtnl.DelAddr(rtnl.Addr{Index: index, Prefix: list[0]}))
		if errors.Is(err, unix.EADDRNOTAVAIL) {
			return nil
		}
		return err
	}
	s := &plan.State{Links: make([]rtnl.Link, 1)}
	if slices.ContainsFunc(list, isIPv6) {
		s, err = readLinks(ctx, conn)
	} else if err = conn.One(ctx, rtnl.GetLink(index, "", &s.Links[0])); err == nil {
		s.Addrs, err = conn.Addrs(ctx, index)
	}
	if err == nil { // some go with an address, and come back with it
		s.Routes, s.Others, err = readRoutes(ctx, conn)
	}
	if err != nil {
		return err
	}
	l := s.ByIndex(index)
	if l == nil {
		return unix.ENODEV
	}
	r := newRun(ctx, n)
	defer r.close()
	gone := map[netip.Prefix]bool{}
	for _, p := range list {
		gone[p] = true
	}
	_, held := plan.ParseTag(l.Alias)
	stays := !slices.ContainsFunc(list, isIPv6) // IPv6
	var lost, stay []plan.Op
	if slices.ContainsFunc(list, isIPv4) && !slices.ContainsFunc(s.Addrs, func(a rtnl.Addr) bool {
		return a.Index == l.Index && isIPv4(a.Prefix) && !gone[a.Prefix]
	}) {
		if lost, err = n.withLastIPv4(ctx, conn, l, s); err != nil {
			return err
		}
		stay = plan.WithoutIPv4(n.space(), l, s)
	}
	var addrs []rtnl.Addr
	for _, a := range s.Addrs {
		if a.Index != l.Index {
			continue
		}
		addrs = append(addrs, a)
		if !gone[a.Prefix] && isIPv6(a.Prefix) && (plan.IsOslsAddr(a) || !a.Prefix.Addr().IsLinkLocalUnicast() && !a.Prefix.Addr().IsLoopback()) {
			stays = true // with another address
		}
	}
	ops := plan.Shed(n.space(), l.Name, l, addrs, func(a rtnl.Addr) bool { return gone[a.Prefix] }, nil, l.Inet.Promote)
	last := false // IPv4 address
	for i := range ops {
		d, is := ops[i].Do.(plan.DelAddr)
		if !is {
			continue
		}
		if isIPv4(d.Addr.Prefix) { // the first is undone last
			last = stay != nil
			ops[i].Undo = append(ops[i].Undo, lost...)
			lost = nil
		}
		ops[i].Undo = append(ops[i].Undo, plan.WithSource(n.space(), s, d.Addr.Prefix.Addr())...)
	}
	if last {
		ops = append(ops, stay...)
	}
	if !stays && held && !l.Inet.DisableIPv6 {
		ops = append(ops, r.switchIPv6(n, l, false))
	}
	if !stays {
		ops = append(ops, r.loopbackOff(n, s, l.Index)...)
	}
	return r.do(ops, plan.Commit{})
}

// DisableARPForVIP makes an interface keep quiet about addresses of others.
func (n *Namespace) DisableARPForVIP(ifName string) error {
	const op = "disable ARP for VIPs on"
	if err := want.ValidName(ifName); err != nil {
		return fail(op, n.key, ifName, err)
	}
	return fail(op, n.key, ifName, n.change(func(ctx context.Context, conn *netlink.Conn) error {
		return byName(ctx, conn, ifName, func(dev string) error {
			return one(ctx, conn, plan.SetLink{Link: rtnl.LinkSet{Name: dev, ARP: &[2]uint32{1, 2}}})
		})
	}))
}

// ipvsKnobs are the settings that IPVS needs in a sandbox that balances load:
// connections follow their backend when it changes.
var ipvsKnobs = [...][2]string{
	{"ipv4/vs/conn_reuse_mode", "0"},
	{"ipv4/vs/expire_nodest_conn", "1"},
	{"ipv4/vs/expire_quiescent_template", "1"},
}

// BalanceLoad gives a sandbox that balances load the settings that it needs.
func (n *Namespace) BalanceLoad() {
	if n.host {
		return
	}
	err := n.change(func(ctx context.Context, _ *netlink.Conn) error {
		r := newRun(ctx, n)
		defer r.close()
		return r.inside(n.space(), func() error {
			for _, k := range ipvsKnobs {
				if _, err := sysctl.Set(k[0], k[1]); err != nil {
					slog.Warn("osl: a setting could not be applied; it can be tried again", "key", n.key, "setting", k[0], "error", err)
				}
			}
			return nil
		})
	})
	if err != nil && !isClosed(err) {
		slog.Warn("osl: the settings of a load balancer could not be applied", "key", n.key, "error", err)
	}
}
