package osl

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"

	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"golang.org/x/sys/unix"
)

// InterfaceOptions returns the setters of interface options.
func (n *Namespace) InterfaceOptions() IfaceOptionSetter { return ifaceOptions{} }

// AddInterface moves a link of the host into the sandbox; see [Sandbox].
func (n *Namespace) AddInterface(srcName, dstPrefix string, options ...IfaceOption) error {
	return fail("add interface", n.key, srcName, n.addInterface(context.Background(), srcName, dstPrefix, options))
}

func (n *Namespace) addInterface(ctx context.Context, src, prefix string, options []IfaceOption) error {
	var i nwIface
	for _, o := range options {
		if o != nil {
			o(&i)
		}
	}
	if i.err != nil {
		return i.err
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
func (i *nwIface) want(r *run, n *Namespace, conn *rtnl.Conn, src, prefix string) (*plan.Iface, *plan.State, error) {
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
	if i.inside || n.host || i.master != "" || len(w.Name) > maxName {
		s, err = readState(r.ctx, conn, false)
	} else {
		s, err = readPart(r.ctx, conn, &plan.Sandbox{Ifaces: []plan.Iface{*w}})
	}
	if err != nil {
		return nil, nil, err
	}
	if len(w.Name) > maxName {
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
		w.From, err = r.hostLink(src)
	}
	return w, s, err
}

// numbered returns the name that has the lowest free number, for where the
// kernel's pattern would be too long.
func numbered(s *plan.State, prefix string) string {
	taken := func(name string) bool {
		return slices.ContainsFunc(s.Links, func(l rtnl.Link) bool { return l.Name == name || slices.Contains(l.AltName, name) })
	}
	n := 0
	for taken(prefix + strconv.Itoa(n)) {
		n++
	}
	return prefix + strconv.Itoa(n)
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

// hostLink reads a link of the host, with what it loses when it moves.
func (r *run) hostLink(name string) (*plan.HostLink, error) {
	l, err := r.onHost(name)
	if err != nil {
		return nil, err
	}
	h := &plan.HostLink{Link: *l}
	if h.Link.Flags&unix.IFF_LOOPBACK != 0 {
		return nil, invalidf("a loopback can not be moved")
	}
	if h.Link.Kind == "bridge" {
		return nil, invalidf("a bridge can not be moved; make one in the sandbox with the option Bridge")
	}
	tag := plan.TagOf(&h.Link, plan.Host)
	tag.UnderWay, tag.Born = true, math.MaxInt64>>10 // as long as it can get
	if len(tag.String()) > plan.MaxAlias {
		return nil, invalidf("its alias is too long: osl keeps the link's settings beside it in %d bytes", plan.MaxAlias)
	}
	host := r.spaces[plan.HostNS]
	h.Kept, err = host.conn.KeepAll(r.ctx, h.Link.Index)
	return h, err
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

// AddLink makes the link s in the sandbox, configured and up, or moves it in
// if it has a Source; nothing else there changes. A veth's other end, s.Peer,
// is made in its place in the same step. It returns ErrNameInUse if the
// sandbox has a link of this name.
func (n *Namespace) AddLink(ctx context.Context, s InterfaceSpec) error {
	_, err := n.addLink(ctx, s, true)
	return fail("add link", n.key, s.Name, err)
}

// PlanLink returns what AddLink would do.
func (n *Namespace) PlanLink(ctx context.Context, s InterfaceSpec) (Changes, error) {
	ops, err := n.addLink(ctx, s, false)
	return changes(ops), fail("add link", n.key, s.Name, err)
}

func (n *Namespace) addLink(ctx context.Context, s InterfaceSpec, really bool) ([]plan.Op, error) {
	net := Network{Sandboxes: []Spec{{Name: n.key, Interfaces: []InterfaceSpec{s}}}}
	switch peer, err := KeyPath(s.Peer.Sandbox); {
	case s.Peer == (Endpoint{}) || s.Peer.Sandbox == HostName:
	case err != nil:
		return nil, err
	case peer == n.key:
		net.Sandboxes[0].Interfaces[0].Peer.Sandbox = n.key
	default:
		net.Sandboxes = append(net.Sandboxes, Spec{Name: s.Peer.Sandbox})
	}
	if _, err := n.live(); err != nil {
		return nil, err
	}
	p := &prepared{run: newRun(ctx, n), have: map[string]*plan.State{}, part: true}
	defer p.close()
	if err := p.open(ctx, net, really); err != nil {
		return nil, err
	}
	for i := range p.want {
		p.want[i].Prune = false
		for j := range p.want[i].Ifaces {
			w := &p.want[i].Ifaces[j]
			st := p.have[p.want[i].Key]
			if st == nil {
				return nil, fmt.Errorf("%w: there is no sandbox %s", ErrNotFound, p.want[i].Key)
			}
			if !w.Keep && st.Link(w.Name) != nil {
				return nil, &Error{Key: p.want[i].Key, Interface: w.Name, Err: ErrNameInUse}
			}
			w.Fresh = !w.Keep
		}
	}
	return p.carryOut(really)
}

// RemoveLink takes the link that is named name inside the sandbox out of it:
// back to the host as it was, or deleted if osl made it. It returns ErrNotFound
// if osl holds no such link.
func (n *Namespace) RemoveLink(ctx context.Context, name string) error {
	const op = "remove link"
	if err := validName(name); err != nil {
		return fail(op, n.key, name, err)
	}
	conn, err := n.live()
	if err != nil {
		return fail(op, n.key, name, err)
	}
	var l rtnl.Link
	if err := conn.One(ctx, rtnl.GetLink(0, name, &l)); err != nil {
		return fail(op, n.key, name, err)
	}
	if _, ok := plan.ParseTag(l.Alias); !ok {
		return fail(op, n.key, name, &Error{Err: fmt.Errorf("%w: osl did not add this link", ErrNotFound),
			Hint: "what others made is theirs to delete: ip link del"})
	}
	return fail(op, n.key, name, n.removeIndex(ctx, l.Index, l.Alias))
}

// removeIndex takes a link out of the sandbox. It succeeds if the link with
// this index and tag is there no longer.
func (n *Namespace) removeIndex(ctx context.Context, index int, alias string) error {
	conn, unlock, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := readLinks(ctx, conn)
	if err != nil {
		return err
	}
	l := s.ByIndex(index)
	if l == nil {
		return nil
	}
	t, ok := plan.ParseTag(alias)
	if now, _ := plan.ParseTag(l.Alias); !ok || now.Source != t.Source {
		return nil // another link has the index
	}
	if t.Origin == plan.Kept {
		if s, err = readState(ctx, conn, false); err != nil {
			return err
		}
	}
	r := newRun(ctx, n)
	defer r.close()
	return r.do(append(r.loopbackOff(n, s, index), plan.Remove(n.space(), l, t, s)...), plan.Commit{})
}

// loopbackOff plans to turn lo's IPv6 off where the last interface with an IPv6
// address is going from a sandbox that osl made.
func (r *run) loopbackOff(n *Namespace, s *plan.State, gone int) []plan.Op {
	lo := s.ByIndex(1)
	if lo == nil || lo.Inet.DisableIPv6 {
		return nil
	}
	if _, made := plan.ParseSandboxTag(lo.Alias); !made {
		return nil
	}
	for _, a := range s.Addrs {
		if a.Index != gone && a.Prefix.Addr().Is6() && !a.Prefix.Addr().IsLoopback() {
			return nil
		}
	}
	return []plan.Op{r.switchIPv6(n, lo, false)}
}
