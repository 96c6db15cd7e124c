package osl

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// AddLink makes the link s in the sandbox, configured and up, or moves it in
// if it has a Source; nothing else there changes. A veth's other end, s.Peer,
// is made in its place in the same step: on the host, there as a port of the
// bridge s.PeerMaster if that is set, or in another sandbox. It returns
// ErrNameInUse if the sandbox has a link of this name, and leaves that as it is;
// an s without Type, Source and Peer configures the link that is there instead.
func (n *Namespace) AddLink(ctx context.Context, s InterfaceSpec) error {
	_, err := n.addLinks(ctx, []InterfaceSpec{s}, true)
	return fail("add link", n.key, s.Name, err)
}

// AddLinks makes links as AddLink does, all of them or none.
func (n *Namespace) AddLinks(ctx context.Context, links iter.Seq[InterfaceSpec]) error {
	_, err := n.addLinks(ctx, slices.Collect(links), true)
	return fail("add links", n.key, "", err)
}

// PlanLink returns what AddLink would do.
func (n *Namespace) PlanLink(ctx context.Context, s InterfaceSpec) (Changes, error) {
	ops, err := n.addLinks(ctx, []InterfaceSpec{s}, false)
	return changes(ops, nil), fail("add link", n.key, s.Name, err)
}

func (n *Namespace) addLinks(ctx context.Context, list []InterfaceSpec, really bool) ([]plan.Op, error) {
	net := Network{Sandboxes: []Spec{{Name: n.key, Interfaces: list}}}
	peers := map[string]bool{}
	for i := range list {
		p := &list[i].Peer
		switch key, err := KeyPath(p.Sandbox); {
		case *p == (Endpoint{}) || p.Sandbox == HostName:
		case err != nil:
			return nil, err
		case key == n.key:
			p.Sandbox = n.key
		case !peers[p.Sandbox]:
			peers[p.Sandbox] = true
			net.Sandboxes = append(net.Sandboxes, Spec{Name: p.Sandbox})
		}
	}
	if _, err := n.live(); err != nil {
		return nil, err
	}
	p := &prepared{run: newRun(ctx, n), have: map[string]*plan.State{}, part: true}
	defer p.close()
	p.run.adds = true
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
	return fail("remove link", n.key, name, n.removeLinks(ctx, []string{name}))
}

// RemoveLinks takes links out as RemoveLink does. Those that osl made are
// deleted together, which takes the kernel hardly longer than one. One that can
// not be removed is in the error; the others are.
func (n *Namespace) RemoveLinks(ctx context.Context, names iter.Seq[string]) error {
	return fail("remove links", n.key, "", n.removeLinks(ctx, slices.Collect(names)))
}

func (n *Namespace) removeLinks(ctx context.Context, names []string) error {
	for _, name := range names {
		if err := validName(name); err != nil {
			return err
		}
	}
	conn, unlock, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	found, errs, err := linksNamed(ctx, conn, names)
	if err != nil {
		return err
	}
	for i, name := range names {
		if errs[i] != nil {
			return fail("", n.key, name, errs[i])
		}
	}
	for i, name := range names {
		if _, ok := plan.ParseTag(found[i].Alias); !ok {
			return &Error{Interface: name, Err: fmt.Errorf("%w: osl did not add this link", ErrNotFound),
				Hint: "what others made is theirs to delete: ip link del"}
		}
	}
	return n.take(ctx, conn, found)
}

// removeIndex takes a link out of the sandbox. It succeeds if the link with
// this index and tag is there no longer.
func (n *Namespace) removeIndex(ctx context.Context, index int, alias string) error {
	conn, unlock, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	var l rtnl.Link
	if err := conn.One(ctx, rtnl.GetLink(index, "", &l)); err != nil {
		if plan.Absent(err) {
			return nil
		}
		return err
	}
	t, ok := plan.ParseTag(alias)
	if now, _ := plan.ParseTag(l.Alias); !ok || now.Source != t.Source {
		return nil // another link has the index
	}
	return n.take(ctx, conn, []rtnl.Link{l})
}

// take takes links out of the sandbox. Of the sandbox it reads the addresses
// only where lo's IPv6 may have to go off with them.
func (n *Namespace) take(ctx context.Context, conn *netlink.Conn, links []rtnl.Link) error {
	s := &plan.State{Links: make([]rtnl.Link, 1)}
	err := conn.One(ctx, rtnl.GetLink(1, "", &s.Links[0]))
	if err != nil {
		return err
	}
	kept := func(l rtnl.Link) bool { t, _ := plan.ParseTag(l.Alias); return t.Origin == plan.Kept }
	if slices.ContainsFunc(links, kept) {
		s, err = readState(ctx, conn, true)
	} else if !s.Links[0].Inet.DisableIPv6 {
		s.Addrs, err = conn.Addrs(ctx, 0)
	}
	if err != nil {
		return err
	}
	fdb, err := homewardFDB(ctx, conn, links)
	if err != nil {
		return err
	}
	s.Neighs = append(slices.DeleteFunc(s.Neighs, func(x rtnl.Neigh) bool { return x.FDB }), fdb...)
	r := newRun(ctx, n)
	defer r.close()
	var gone []int
	for i := range links {
		gone = append(gone, links[i].Index)
		if l := &links[i]; l.Kind == "veth" && !l.ParentNS {
			gone = append(gone, l.Parent) // its other end
		}
	}
	ops := r.loopbackOff(n, s, gone...)
	for i := range links {
		t, _ := plan.ParseTag(links[i].Alias)
		ops = append(ops, plan.Forget(n.space(), &links[i], t, s)...)
		ops = append(ops, plan.Remove(n.space(), &links[i], t, s)...)
	}
	slices.SortStableFunc(ops, func(a, b plan.Op) int {
		switch {
		case a.Last == b.Last:
			return 0
		case b.Last:
			return -1
		}
		return 1
	})
	return r.do(ops, plan.Commit{})
}

// loopbackOff plans to turn lo's IPv6 off where the last interface with an IPv6
// address is going from a sandbox that osl made.
func (r *run) loopbackOff(n *Namespace, s *plan.State, gone ...int) []plan.Op {
	lo := s.ByIndex(1)
	if lo == nil || lo.Inet.DisableIPv6 {
		return nil
	}
	if _, made := plan.ParseSandboxTag(lo.Alias); !made {
		return nil
	}
	for _, a := range s.Addrs {
		if !slices.Contains(gone, a.Index) && a.Prefix.Addr().Is6() && !a.Prefix.Addr().IsLoopback() {
			return nil
		}
	}
	return []plan.Op{r.switchIPv6(n, lo, false)}
}
