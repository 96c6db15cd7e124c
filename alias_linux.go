package osl

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"

	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/sysctl"
	"golang.org/x/sys/unix"
)

// GetLoopbackIfaceName returns the name of the loopback interface.
func (n *Namespace) GetLoopbackIfaceName() string { return "lo" }

// AddAliasIP adds an address to an interface; see [Sandbox].
func (n *Namespace) AddAliasIP(ifName string, ip *net.IPNet) error {
	const op = "add alias IP to"
	p, err := toPrefix(ip)
	if err == nil {
		err = unicast(p)
	}
	if err == nil {
		err = validName(ifName)
	}
	if err != nil {
		return fail(op, n.key, ifName, err)
	}
	return fail(op, n.key, ifName, n.change(func(ctx context.Context, conn *rtnl.Conn) error {
		if p.Addr().Is4() {
			index, err := conn.Index(ifName)
			if err != nil {
				return err
			}
			return one(ctx, conn, plan.EnsureAddr{Addr: rtnl.Addr{Index: index, Prefix: p, Proto: rtnl.AliasProtocol}})
		}
		var l, lo rtnl.Link
		if err := conn.One(ctx, rtnl.GetLink(0, ifName, &l)); err != nil {
			return err
		}
		r := newRun(ctx, n)
		defer r.close()
		var ops []plan.Op
		if l.Inet.DisableIPv6 {
			if err := conn.One(ctx, rtnl.GetLink(1, "", &lo)); err != nil {
				return err
			}
			ops = append(ops, r.switchIPv6(n, &l, true))
			if l.Index != lo.Index && lo.Inet.DisableIPv6 {
				ops = append(ops, r.switchIPv6(n, &lo, true))
			}
		}
		a := rtnl.Addr{Index: l.Index, Prefix: p, Proto: rtnl.AliasProtocol}
		return r.do(append(ops, plan.Op{NS: n.space(), Dev: l.Name, Do: plan.EnsureAddr{Addr: a}}), plan.Commit{})
	}))
}

// switchIPv6 plans to turn a link's IPv6 on or off.
func (r *run) switchIPv6(n *Namespace, l *rtnl.Link, on bool) plan.Op {
	r.links[linkID{n.space(), l.Index}] = *l
	return plan.Op{NS: n.space(), Dev: l.Name, Do: plan.IPv6{Index: l.Index, On: on},
		Undo: []plan.Op{{NS: n.space(), Dev: l.Name, Do: plan.IPv6{Index: l.Index, On: !on}}}}
}

// RemoveAliasIP takes an address away from an interface; see [Sandbox].
func (n *Namespace) RemoveAliasIP(ifName string, ip *net.IPNet) error {
	const op = "remove alias IP from"
	p, err := toPrefix(ip)
	if err == nil {
		err = validName(ifName)
	}
	if err != nil {
		return fail(op, n.key, ifName, err)
	}
	err = n.change(func(ctx context.Context, conn *rtnl.Conn) error {
		if p.Addr().Is6() {
			return n.removeIPv6(ctx, conn, ifName, p)
		}
		index, err := conn.Index(ifName)
		if err != nil {
			return err
		}
		_, err = conn.Surely(ctx, rtnl.DelAddr(rtnl.Addr{Index: index, Prefix: p}))
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return err
		}
		return nil
	})
	if isClosed(err) {
		return nil
	}
	return fail(op, n.key, ifName, err)
}

// removeIPv6 takes an IPv6 address from a link. The IPv6 of one that has no
// address of it left but what the kernel gave it is turned off, and lo's with
// the last of all.
func (n *Namespace) removeIPv6(ctx context.Context, conn *rtnl.Conn, ifName string, p netip.Prefix) error {
	index, err := conn.Index(ifName)
	if err != nil {
		return err
	}
	s, err := readLinks(ctx, conn)
	if err != nil {
		return err
	}
	l := s.ByIndex(index)
	if l == nil {
		return unix.ENODEV
	}
	r := newRun(ctx, n)
	defer r.close()
	var ops []plan.Op
	_, held := plan.ParseTag(l.Alias)
	stays := false // another address
	for _, a := range s.Addrs {
		osls := a.Proto == rtnl.Protocol || a.Proto == rtnl.AliasProtocol
		switch {
		case a.Index != l.Index || a.Prefix.Addr().Is4():
		case a.Prefix == p:
			ops = append(ops, plan.Op{NS: n.space(), Dev: l.Name, Do: plan.DelAddr{Addr: a},
				Undo: []plan.Op{{NS: n.space(), Dev: l.Name, Do: plan.NewAddr{Addr: a}}}})
		case osls || !a.Prefix.Addr().IsLinkLocalUnicast() && !a.Prefix.Addr().IsLoopback():
			stays = true
		}
	}
	if !stays && held && !l.Inet.DisableIPv6 {
		ops = append(ops, r.switchIPv6(n, l, false))
	}
	if !stays {
		ops = append(ops, r.loopbackOff(n, s, l.Index)...)
	}
	return r.do(ops, plan.Commit{})
}

// DisableARPForVIP makes an interface keep quiet about addresses of others;
// see [Sandbox].
func (n *Namespace) DisableARPForVIP(ifName string) error {
	const op = "disable ARP for VIPs on"
	if err := validName(ifName); err != nil {
		return fail(op, n.key, ifName, err)
	}
	return fail(op, n.key, ifName, n.change(func(ctx context.Context, conn *rtnl.Conn) error {
		return one(ctx, conn, plan.SetLink{Link: rtnl.LinkSet{Name: ifName, ARP: &[2]uint32{1, 2}}})
	}))
}

// ipvsKnobs are the settings that IPVS needs in a sandbox that balances load:
// connections follow their backend when it changes.
var ipvsKnobs = [...][2]string{
	{"ipv4/vs/conn_reuse_mode", "0"},
	{"ipv4/vs/expire_nodest_conn", "1"},
	{"ipv4/vs/expire_quiescent_template", "1"},
}

// ApplyOSTweaks sets the IPVS knobs; see [Sandbox].
func (n *Namespace) ApplyOSTweaks(types []SandboxType) {
	wanted := false
	for _, t := range types {
		wanted = wanted || t == SandboxTypeIngress || t == SandboxTypeLoadBalancer
	}
	if !wanted || n.host {
		return
	}
	err := n.change(func(ctx context.Context, _ *rtnl.Conn) error {
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
