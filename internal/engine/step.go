//go:build linux

package engine

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/sysctl"
)

// ipv6 turns a link's IPv6 on or off, by the state that was read before. It
// fails rather than leave IPv6 on where nobody asked for it.
func (r *run) ipv6(key string, a plan.IPv6) error {
	id := linkID{key, a.Index}
	l, ok := r.links[id]
	switch {
	case !ok:
		return fmt.Errorf("%w: the link is gone", fault.ErrNotFound)
	case !l.Inet.HasIPv6State && a.On && l.MTU > 0 && l.MTU < 1280:
		return fmt.Errorf("%w: IPv6 needs an MTU of 1280 bytes, the link has %d", fault.ErrInvalid, l.MTU)
	case !l.Inet.HasIPv6State && a.On:
		return fmt.Errorf("%w: the kernel has no IPv6 for this link", fault.ErrUnsupported)
	case l.Inet.DisableIPv6 == !a.On:
		return nil
	}
	conf := "ipv6/conf/" + l.Name + "/"
	settings, back := r.ipv6s[id]
	switch {
	case back: // to what it was
	case a.On:
		// New links most often have the others by the sandbox's defaults.
		if l.Inet.AcceptDAD != 0 {
			settings = append(settings, setting{conf + "accept_dad", "0"})
		}
		if !l.Inet.NDISCNotify {
			settings = append(settings, setting{conf + "ndisc_notify", "1"})
		}
		settings = append(settings, setting{conf + "disable_ipv6", "0"}) // when the others are right
	default:
		settings = []setting{{conf + "disable_ipv6", "1"}}
	}
	var before []setting
	err := r.inside(key, func() error {
		for _, s := range settings {
			old, err := sysctl.Set(s.path, s.value)
			if err != nil {
				for _, b := range before {
					_, _ = sysctl.Set(b.path, b.value)
				}
				return err
			}
			before = append([]setting{{s.path, old}}, before...)
		}
		return nil
	})
	if err == nil {
		r.ipv6s[id] = before
		l.Inet.DisableIPv6 = !a.On
		r.links[id] = l
	}
	return err
}

// verify compares a link with what it was told to be.
func (r *run) verify(key string, a plan.Verify) error {
	n, err := r.space(key)
	if err != nil {
		return err
	}
	l := r.links[linkID{key, a.Index}] // read after it was set up
	if a.MAC != nil && !bytes.Equal(a.MAC, l.MAC) {
		return fmt.Errorf("the kernel did not keep the hardware address %v; the link has %v", a.MAC, l.MAC)
	}
	if a.MTU != 0 && a.MTU != l.MTU {
		return fmt.Errorf("the kernel did not keep the MTU %d; the link has %d", a.MTU, l.MTU)
	}
	if err := kept(&l, a); err != nil {
		return err
	}
	if len(a.Addrs) == 0 {
		return nil
	}
	addrs, err := n.settledAddrs(r.ctx, &l)
	if err != nil {
		return err
	}
	there := map[netip.Prefix]bool{}
	for _, h := range addrs {
		there[h.Prefix] = true
	}
	for _, p := range a.Addrs {
		if !there[p] {
			return fmt.Errorf("the kernel did not keep the address %v", p)
		}
	}
	return nil
}

// kept compares the settings of a bridge, and of a port of one, with what they were
// told to be.
func kept(l *rtnl.Link, a plan.Verify) error {
	for _, x := range []struct {
		table      []rtnl.Option
		want, have *rtnl.Options
	}{{rtnl.BridgeOptions, &a.Bridge, l.Bridge}, {rtnl.PortOptions, &a.Port, l.Port}, {rtnl.LinkOptions, &a.Link, &l.Options}} {
		for at, option := range x.table {
			want, wanted := x.want.Get(at)
			if have, known := x.have.Get(at); wanted && !known {
				return fmt.Errorf("%w: the kernel has no setting %q of this link", fault.ErrUnsupported, option.Name)
			} else if wanted && have != want && !x.have.Borrowed(at) {
				return fmt.Errorf("the kernel did not keep %s %d; the link has %d", option.Name, want, have)
			}
		}
	}
	return nil
}

// settleTime bounds the waiting for what the kernel does a moment after a link
// went up. It is microseconds on a quiet machine, but has to wait its turn for
// the lock that every change of a link on the machine takes.
const settleTime = time.Second

// settledAddrs reads the addresses of a link. The kernel gives a link that has
// gone up its IPv6 link-local address in the background; until it is usable,
// the link is not what its user expects.
func (n *Namespace) settledAddrs(ctx context.Context, l *rtnl.Link) ([]rtnl.Addr, error) {
	for i, end := 0, time.Now().Add(settleTime); ; i++ {
		if i > 8 { // most often it is done by then
			time.Sleep(50 * time.Microsecond)
		}
		addrs, err := n.conn.Addrs(ctx, l.Index)
		if err != nil || l.Flags&unix.IFF_LOWER_UP == 0 || l.Inet.AcceptDAD > 0 || time.Now().After(end) ||
			!slices.ContainsFunc(addrs, func(a rtnl.Addr) bool { return a.Flags&unix.IFA_F_TENTATIVE != 0 }) {
			return addrs, err
		}
	}
}

// announce sets the hardware address that the link has: that makes the kernel
// send its ARP and neighbour announcements.
func (r *run) announce(key string, a plan.Announce) error {
	n, err := r.space(key)
	if err != nil {
		return err
	}
	l := r.links[linkID{key, a.Index}]
	if len(l.MAC) != 6 {
		return nil
	}
	if a.Wait {
		if err := r.settle(n, a.Index, &l, func() bool { return l.Flags&unix.IFF_LOWER_UP == 0 || l.Oper }); err != nil {
			return err
		}
		if l.ParentNS && plan.KindOf(l.Kind).Pair {
			r.settlePeer(a.At, l.Parent)
		}
	}
	err = n.conn.One(r.ctx, rtnl.SetLink(rtnl.LinkSet{Index: a.Index, MAC: l.MAC}))
	if err != nil {
		slog.Debug("osl: the addresses were not announced again", "key", key, "interface", l.Name, "error", err)
	}
	return nil
}

// awaitCarrier waits until a link has a carrier. One that gets none is left to the kernel
// to refuse, which says what it wants it for.
func (r *run) awaitCarrier(key string, a plan.AwaitCarrier) error {
	n, err := r.space(key)
	if err != nil {
		return err
	}
	var l rtnl.Link
	return r.settle(n, a.Index, &l, func() bool { return l.Flags&unix.IFF_LOWER_UP != 0 })
}

// settle reads a link until it is as it is to be, for settleTime at most.
func (r *run) settle(n *Namespace, index int, l *rtnl.Link, done func() bool) error {
	for end := time.Now().Add(settleTime); ; time.Sleep(200 * time.Microsecond) {
		if err := n.conn.One(r.ctx, rtnl.GetLink(index, "", l)); err != nil || done() || time.Now().After(end) {
			return err
		}
	}
}

// settlePeer reads the other end of a veth, where it most likely is, perhaps as the
// port of a bridge: being asked for a link, the kernel first does what it has put
// off about it, and the port forwards.
func (r *run) settlePeer(key string, index int) {
	n, err := r.space(key)
	if err != nil {
		return
	}
	var l rtnl.Link
	_ = n.conn.One(r.ctx, rtnl.GetLink(index, "", &l)) // it may be elsewhere
}
