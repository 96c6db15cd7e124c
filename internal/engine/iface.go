//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/want"
)

// AddInterface moves a link of the host into the sandbox, or makes a bridge.
func (n *Namespace) AddInterface(src, prefix string, options *want.Options) error {
	return fail("add interface", n.key, src, n.addInterface(context.Background(), src, prefix, options))
}

func (n *Namespace) addInterface(ctx context.Context, src, prefix string, i *want.Options) error {
	if err := i.Done(); err != nil {
		return err
	}
	if err := want.ValidName(src); err != nil {
		return err
	}
	if !n.host {
		longest := prefix
		if !i.ExactName {
			longest += "0"
		}
		if err := want.ValidName(longest); err != nil {
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
	w, s, err := n.wanted(r, conn, i, src, prefix)
	if err != nil {
		return err
	}
	p := prepared{run: r, want: []plan.Sandbox{{Key: n.space(), Ifaces: []plan.Iface{*w}}}, have: map[string]*plan.State{n.space(): s}}
	_, err = p.carryOut(true)
	return err
}

// wanted turns the options into what the plan is made of, and reads as much of the
// sandbox as they call for.
func (n *Namespace) wanted(r *run, conn *netlink.Conn, i *want.Options, src, prefix string) (*plan.Iface, *plan.State, error) {
	w, err := i.Plan(src, prefix)
	if err != nil {
		return nil, nil, err
	}
	var s *plan.State
	if i.Inside || n.host || i.Master != "" {
		s, err = readState(r.ctx, conn, false)
	} else {
		s, err = readPart(r.ctx, conn, &plan.Sandbox{Ifaces: []plan.Iface{*w}}, src)
	}
	if err != nil {
		return nil, nil, err
	}
	// The kernel numbers a link when it has moved, and counts what it is named by
	// then: its first name, or the number it got for the move where that was taken.
	if moves := !i.Inside && !i.Bridge && !n.host; moves && !i.ExactName && (named(s, src) || want.IsNumbered(src, prefix)) || len(w.Name) > want.MaxName {
		if s.Links, err = conn.Links(r.ctx); err != nil {
			return nil, nil, err
		}
		w.Name = numbered(s, prefix)
	}
	if i.Master != "" {
		m, _ := s.BySource(i.Master)
		if m == nil && n.host {
			m = s.Link(i.Master)
		}
		if m == nil {
			return nil, nil, fmt.Errorf("%w: its master %q was not added to the sandbox", fault.ErrNotFound, i.Master)
		}
		if m.Kind != "bridge" {
			return nil, nil, fault.Invalidf("its master %q is no bridge", i.Master)
		}
		w.MasterIndex = m.Index
	}
	switch {
	case i.Bridge:
		w.Kind, w.Fresh = "bridge", true
		if n.host {
			w.Name = src
		}
	case i.Inside || n.host:
		w.Keep = true
		l := s.Link(src)
		if l == nil {
			return nil, nil, fmt.Errorf("%w: the sandbox has no such link", fault.ErrNotFound)
		}
		if n.host || !i.ExactName && want.IsNumbered(l.Name, prefix) {
			w.Name = l.Name
		} else if !i.ExactName { // by the kernel it would have its number after its settings
			w.Name = numbered(s, prefix)
		}
	default:
		w.Fresh = true
		if w.From, err = r.hostLink(src, true); errors.Is(err, fault.ErrNotFound) {
			w.From, err = r.cameHome(src, true, err)
		}
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

// hostLink reads a link of the host, with what it loses when it moves. With write
// one that came home by half is put in order first.
func (r *run) hostLink(name string, write bool) (*plan.HostLink, error) {
	l, err := r.onHost(name)
	if err != nil {
		return nil, err
	}
	return r.hostLinkOf(l, name, write)
}

// cameHome is hostLink of one that left a sandbox under the name that it had there: somebody
// moved it, or the kernel, as it brings home what a namespace has that ends. Where there is
// none it returns absent.
func (r *run) cameHome(name string, write bool, absent error) (*plan.HostLink, error) {
	links, err := r.linksOnHost()
	if err != nil {
		return nil, err
	}
	for i := range links {
		if t, ok := plan.ParseTag(links[i].Alias); ok && t.Origin == plan.Host && t.Source == name {
			return r.hostLinkOf(&links[i], name, write)
		}
	}
	return nil, absent
}

func (r *run) hostLinkOf(l *rtnl.Link, name string, write bool) (_ *plan.HostLink, err error) {
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
		return nil, fault.Invalidf("a loopback can not be moved")
	}
	if h.Link.Kind == "bridge" {
		return nil, fault.Invalidf("a bridge can not be moved; make one in the sandbox (type: bridge, or the option Bridge)")
	}
	if err := tagFits(plan.TagOf(&h.Link, plan.Host)); err != nil {
		return nil, err
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
		return nil, &fault.Error{Err: fmt.Errorf("%w: the host has no link %q", fault.ErrNotFound, name), Hint: "list the host's links with: ip link"}
	}
	return &l, err
}

// tagFits makes sure that a tag has room in an alias, whenever it is written.
func tagFits(t plan.Tag) error {
	t.Born = math.MaxInt64 >> 10 // as long as it can get
	if len(t.String()) > plan.MaxAlias {
		return fault.Invalidf("its alias is too long: osl keeps the link's settings beside it in %d bytes", plan.MaxAlias)
	}
	return nil
}
