//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/want"
	"github.com/seed59451c2b/osl/types"
)

// SetGateway sets the default IPv4 gateway.
func (n *Namespace) SetGateway(gw net.IP) error { return n.setGateway("set gateway", gw, true) }

// SetGatewayIPv6 sets the default IPv6 gateway.
func (n *Namespace) SetGatewayIPv6(gw net.IP) error {
	return n.setGateway("set IPv6 gateway", gw, false)
}

// UnsetGateway takes the default IPv4 gateway away.
func (n *Namespace) UnsetGateway() error {
	return n.unsetGateway("unset gateway", netip.IPv4Unspecified())
}

// UnsetGatewayIPv6 takes the default IPv6 gateway away.
func (n *Namespace) UnsetGatewayIPv6() error {
	return n.unsetGateway("unset IPv6 gateway", netip.IPv6Unspecified())
}

func (n *Namespace) setGateway(op string, gw net.IP, v4 bool) error {
	if len(gw) == 0 || gw.IsUnspecified() {
		return nil
	}
	ip, err := want.ToAddr(gw)
	if err == nil && ip.Is4() != v4 {
		family := map[bool]string{true: "IPv4", false: "IPv6"}
		err = fault.Invalidf("the %s gateway %v is an %s address", family[v4], ip, family[!v4])
	}
	if err == nil {
		err = n.change(func(ctx context.Context, conn *netlink.Conn) (err error) {
			r := rtnl.Route{Dst: netip.PrefixFrom(plan.Unspecified(ip), 0), Via: ip, Proto: rtnl.Protocol}
			if ip.IsLinkLocalUnicast() && !v4 {
				if r.Index, err = onlyIPv6(ctx, conn); err != nil {
					return err
				}
			}
			if v4 {
				return setGateway4(ctx, conn, r)
			}
			return notOwn(ctx, conn, ip, one(ctx, conn, plan.ReplaceRoute{Route: r}))
		})
	}
	if err != nil { // only then is it said what was tried
		return fail(op+" "+gw.String(), n.key, "", err)
	}
	return nil
}

// setGateway4 sets a gateway that is no address of the sandbox itself: the kernel
// refuses such a one on IPv6 only, so it is asked in the same send. Most often there
// is no gateway yet; then it is at once the only one.
func setGateway4(ctx context.Context, conn *netlink.Conn, r rtnl.Route) error {
	var to rtnl.Route
	errs, unknown := conn.Do(ctx, rtnl.NewRoute(r, nil), rtnl.RouteTo(r.Via, &to))
	if unknown != nil {
		if err := conn.One(ctx, rtnl.RouteTo(r.Via, &to)); err != nil {
			return errors.Join(unknown, err)
		}
	}
	switch {
	case to.Type == unix.RTN_LOCAL:
		if unknown != nil || errs[0] == nil {
			if _, err := conn.Surely(ctx, rtnl.DelRoute(r, nil)); err != nil && !plan.Absent(err) {
				return err
			}
		}
		return fault.Invalidf("%v is an address of the sandbox itself", r.Via)
	case unknown == nil && !errors.Is(errs[0], unix.EEXIST):
		if errs[0] == nil {
			return nil
		}
		return ofAction(plan.Op{Do: plan.NewRoute{Route: r}}, errs[0])
	}
	return one(ctx, conn, plan.ReplaceRoute{Route: r})
}

// notOwn is the error of a route that the kernel refused: it does so where the
// next hop is an address of the sandbox, and does not always say that.
func notOwn(ctx context.Context, conn *netlink.Conn, ip netip.Addr, err error) error {
	if err == nil || !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENETUNREACH) && !errors.Is(err, unix.EHOSTUNREACH) {
		return err
	}
	addrs, aerr := conn.Addrs(ctx, 0)
	if aerr == nil && slices.ContainsFunc(addrs, func(a rtnl.Addr) bool { return a.Prefix.Addr() == ip }) {
		return fault.Invalidf("%v is an address of the sandbox itself", ip)
	}
	return err
}

func (n *Namespace) unsetGateway(op string, zero netip.Addr) error {
	err := n.change(func(ctx context.Context, conn *netlink.Conn) error {
		_, err := conn.Surely(ctx, rtnl.DelGateway(zero.Is4(), rtnl.Protocol))
		if plan.Absent(err) {
			return nil
		}
		return err
	})
	if isClosed(err) {
		return nil
	}
	return fail(op, n.key, "", err)
}

// change runs f with the sandbox locked.
func (n *Namespace) change(f func(ctx context.Context, conn *netlink.Conn) error) error {
	ctx := context.Background()
	conn, unlock, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return f(ctx, conn)
}

// one carries out a step that is a single message and may be done twice: it is
// done, or it is not.
func one(ctx context.Context, conn *netlink.Conn, m plan.Message) error {
	_, err := conn.Surely(ctx, m.Request(nil))
	if err == nil || plan.There(m, err) {
		return nil
	}
	return ofAction(plan.Op{Do: m}, err)
}

// onlyIPv6 returns the one interface that a link-local gateway can be on.
func onlyIPv6(ctx context.Context, conn *netlink.Conn) (int, error) {
	links, err := conn.Links(ctx)
	if err != nil {
		return 0, err
	}
	index := 0
	for i := range links {
		l := &links[i]
		if l.Index == 1 || l.Inet.DisableIPv6 || !l.Up() || l.Master != 0 {
			continue
		}
		if index != 0 {
			return 0, fault.Invalidf("a link-local gateway needs an interface, and the sandbox has several with IPv6")
		}
		index = l.Index
	}
	if index == 0 {
		return 0, fmt.Errorf("%w: no interface of the sandbox has IPv6", fault.ErrUnreachable)
	}
	return index, nil
}

// AddStaticRoute adds a route.
func (n *Namespace) AddStaticRoute(r *types.StaticRoute) error {
	err := n.addStaticRoute(r)
	if err != nil {
		return fail("add static route"+routeText(r), n.key, "", err)
	}
	return nil
}

func (n *Namespace) addStaticRoute(r *types.StaticRoute) error {
	dst, via, err := want.FromStatic(r)
	if err != nil {
		return err
	}
	return n.change(func(ctx context.Context, conn *netlink.Conn) error {
		w := rtnl.Route{Dst: dst, Via: via, Proto: rtnl.Protocol}
		if !via.IsValid() {
			if w, err = connected(ctx, conn, w, r.NextHop); err != nil {
				return err
			}
		}
		err := notOwn(ctx, conn, w.Via, one(ctx, conn, plan.NewRoute{Route: w}))
		if !errors.Is(err, unix.EEXIST) {
			return err
		}
		have, rerr := conn.Routes(ctx, rtnl.Protocol, 0)
		if rerr != nil {
			return rerr
		}
		for _, h := range have {
			if h.Dst == w.Dst && h.Via == w.Via && plan.IsSimple(h) && plan.IsStatic(h) == plan.IsStatic(w) {
				return nil
			}
		}
		return err
	})
}

// connected fills in the device of a route without a next hop: the one by
// which the kernel reaches the destination, or an address that stands for it,
// already. The marks tell it from a route of an interface.
func connected(ctx context.Context, conn *netlink.Conn, w rtnl.Route, near net.IP) (rtnl.Route, error) {
	ip := w.Dst.Addr()
	if a, err := want.ToAddr(near); err == nil && !a.IsUnspecified() {
		ip = a
	}
	var to rtnl.Route
	if err := conn.One(ctx, rtnl.RouteTo(ip, &to)); err != nil {
		return w, err
	}
	w.Index = to.Index
	w.OnLink = w.Dst.Addr().Is6()
	w.Scope = connectedScope(w)
	return w, nil
}

// connectedScope is the scope that tells a connected static IPv4 route from others.
func connectedScope(r rtnl.Route) uint8 {
	if r.Dst.Addr().Is4() && !r.Via.IsValid() {
		return unix.RT_SCOPE_SITE
	}
	return unix.RT_SCOPE_UNIVERSE
}

// RemoveStaticRoute takes a route away.
func (n *Namespace) RemoveStaticRoute(r *types.StaticRoute) error {
	dst, via, err := want.FromStatic(r)
	if err == nil {
		err = n.change(func(ctx context.Context, conn *netlink.Conn) error {
			w := rtnl.Route{Dst: dst, Via: via, Proto: rtnl.Protocol}
			w.Scope = connectedScope(w)
			if dst.Addr().Is6() && !via.IsValid() {
				// No attribute that a deletion can name tells it from an
				// interface's own.
				if there, err := hasConnected(ctx, conn, dst); !there {
					return err
				}
			}
			if _, err := conn.Surely(ctx, rtnl.DelRoute(w, nil)); !plan.Absent(err) {
				return err
			}
			return nil
		})
	}
	if err == nil || isClosed(err) {
		return nil
	}
	return fail("remove static route"+routeText(r), n.key, "", err)
}

// hasConnected reports whether there is a connected static route.
func hasConnected(ctx context.Context, conn *netlink.Conn, dst netip.Prefix) (bool, error) {
	list, err := conn.Routes(ctx, rtnl.Protocol, 0)
	return slices.ContainsFunc(list, func(h rtnl.Route) bool { return h.Dst == dst && !h.Via.IsValid() && plan.IsSeedStatic(h) }), err
}

// routeText names a route, whatever is wrong with it.
func routeText(r *types.StaticRoute) string {
	switch {
	case r == nil || r.Destination == nil:
		return ""
	case len(r.NextHop) == 0:
		return fmt.Sprintf(" %v", r.Destination)
	}
	return fmt.Sprintf(" %v via %v", r.Destination, r.NextHop)
}

func isClosed(err error) bool { return errors.Is(err, fault.ErrClosed) }
