package osl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// InterfaceOptions returns the setters of interface options.
func (n *Namespace) InterfaceOptions() IfaceOptionSetter { return ifaceOptions{} }

// AddInterface moves a link of the host into the sandbox; see [Sandbox].
func (n *Namespace) AddInterface(srcName, dstPrefix string, options ...IfaceOption) error {
	return fail("add interface", n.key, srcName, n.addInterface(context.Background(), srcName, dstPrefix, options))
}

func (n *Namespace) addInterface(ctx context.Context, src, prefix string, options []IfaceOption) error {
	var i nwIface
	if err := i.collect(options); err != nil {
		return err
	}
	if err := validName(src); err != nil {
		return err
	}
	if !n.host {
		longest := prefix
		if !i.exactName {
			longest += "0"
		}
		if err := validName(longest); err != nil {
			return err
		}
	}
	conn, unlock, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	r := newRun(ctx, n)
	defer r.close()
	w, s, err := i.want(r, n, conn, src, prefix)
	if err != nil {
		return err
	}
	p := prepared{run: r, want: []plan.Sandbox{{Key: n.space(), Ifaces: []plan.Iface{*w}}}, have: map[string]*plan.State{n.space(): s}}
	_, err = p.carryOut(true)
	return err
}

// want turns the options into what the plan is made of, and reads as much of the
// sandbox as they call for.
func (i *nwIface) want(r *run, n *Namespace, conn *netlink.Conn, src, prefix string) (*plan.Iface, *plan.State, error) {
	w, err := commonIface(&i.spec)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range i.linkLocal {
		w.Addrs = append(w.Addrs, plan.Addr{Prefix: p})
	}
	if i.defaultRoute {
		w.Routes = append(w.Routes, defaultsFor(w.Addrs)...)
	}
	w.Name, w.Source = prefix, src
	if !i.exactName {
		w.Name += "%d" // the kernel finds the lowest free number
	}
	var s *plan.State
	if i.inside || n.host || i.master != "" {
		s, err = readState(r.ctx, conn, false)
	} else {
		s, err = readPart(r.ctx, conn, &plan.Sandbox{Ifaces: []plan.Iface{*w}}, src)
	}
	if err != nil {
		return nil, nil, err
	}
	// The kernel numbers a link when it has moved, and counts what it is named by
	// then: its first name, or the number it got for the move where that was taken.
	if moves := !i.inside && !i.bridge && !n.host; moves && !i.exactName && (named(s, src) || isNumbered(src, prefix)) || len(w.Name) > maxName {
		if s.Links, err = conn.Links(r.ctx); err != nil {
			return nil, nil, err
		}
		w.Name = numbered(s, prefix)
	}
	if i.master != "" {
		m, _ := s.BySource(i.master)
		if m == nil && n.host {
			m = s.Link(i.master)
		}
		if m == nil {
			return nil, nil, fmt.Errorf("%w: its master %q was not added to the sandbox", ErrNotFound, i.master)
		}
		if m.Kind != "bridge" {
			return nil, nil, invalidf("its master %q is no bridge", i.master)
		}
		w.MasterIndex = m.Index
	}
	switch {
	case i.bridge && !n.host:
		w.Kind, w.Fresh = "bridge", true
	case i.inside || n.host:
		w.Keep = true
		l := s.Link(src)
		if l == nil {
			return nil, nil, fmt.Errorf("%w: the sandbox has no such link", ErrNotFound)
		}
		if n.host || !i.exactName && isNumbered(l.Name, prefix) {
			w.Name = l.Name
		}
	default:
		w.Fresh = true
		w.From, err = r.hostLink(src, true)
	}
	return w, s, err
}

// numbered returns the name that has the lowest free number, for where the
// kernel's pattern would be too long.
func numbered(s *plan.State, prefix string) string {
	n := 0
	for named(s, prefix+strconv.Itoa(n)) {
		n++
	}
	return prefix + strconv.Itoa(n)
}

// named reports whether a link has a name, as its own or beside it.
func named(s *plan.State, name string) bool {
	return slices.ContainsFunc(s.Links, func(l rtnl.Link) bool { return l.Name == name || slices.Contains(l.AltName, name) })
}

// isNumbered reports whether name is prefix and a number.
func isNumbered(name, prefix string) bool {
	if len(name) <= len(prefix) || name[:len(prefix)] != prefix {
		return false
	}
	return !slices.ContainsFunc([]byte(name[len(prefix):]), func(c byte) bool { return c < '0' || c > '9' })
}

// defaultsFor returns the default destination of each family.
func defaultsFor(addrs []plan.Addr) (list []netip.Prefix) {
	for _, zero := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		if slices.ContainsFunc(addrs, func(a plan.Addr) bool { return a.Prefix.Addr().Is4() == zero.Is4() }) {
			list = append(list, netip.PrefixFrom(zero, 0))
		}
	}
	return list
}

// hostLink reads a link of the host, with what it loses when it moves. With write
// one that came home by half is put in order first.
func (r *run) hostLink(name string, write bool) (*plan.HostLink, error) {
	l, err := r.onHost(name)
	if err != nil {
		return nil, err
	}
	if t, ok := plan.ParseTag(l.Alias); write && ok && t.Origin == plan.Host && t.Source == name {
		// It came home without osl, or with one that died on the way.
		host := r.spaces[plan.HostNS]
		if err := host.recoverLink(r.ctx, l, t); err != nil {
			return nil, err
		}
		if l, err = r.onHost(name); err != nil {
			return nil, err
		}
	}
	if write {
		if err := r.spaces[plan.HostNS].stripHomeRecord(r.ctx, l); err != nil {
			return nil, err
		}
	}
	h := &plan.HostLink{Link: *l}
	if h.Link.Flags&unix.IFF_LOOPBACK != 0 {
		return nil, invalidf("a loopback can not be moved")
	}
	if h.Link.Kind == "bridge" {
		return nil, invalidf("a bridge can not be moved; make one in the sandbox with the option Bridge")
	}
	tag := plan.TagOf(&h.Link, plan.Host)
	tag.Born = math.MaxInt64 >> 10 // as long as it can get
	if len(tag.String()) > plan.MaxAlias {
		return nil, invalidf("its alias is too long: osl keeps the link's settings beside it in %d bytes", plan.MaxAlias)
	}
	host := r.spaces[plan.HostNS]
	if h.Kept, err = host.conn.Keep(r.ctx, h.Link.Index); err != nil {
		return nil, err
	}
	if h.Note(); h.Lost > 0 {
		slog.Warn("osl: there is no room to note all addresses, routes and neighbors of a link; some will be missing when it comes home",
			"interface", name, "missing", h.Lost)
	}
	return h, nil
}

// onHost reads a link of the host.
func (r *run) onHost(name string) (*rtnl.Link, error) {
	host, err := r.space(plan.HostNS)
	if err != nil {
		return nil, err
	}
	var l rtnl.Link
	err = host.conn.One(r.ctx, rtnl.GetLink(0, name, &l))
	if errors.Is(err, unix.ENODEV) {
		return nil, &Error{Err: fmt.Errorf("%w: the host has no link %q", ErrNotFound, name), Hint: "list the host's links with: ip link"}
	}
	return &l, err
}
