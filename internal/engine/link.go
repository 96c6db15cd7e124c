//go:build linux

package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/want"
	"github.com/seed59451c2b/osl/types"
)

// AddLink makes the link s in the sandbox, or moves it in, and nothing else there
// changes.
func (n *Namespace) AddLink(ctx context.Context, s want.Iface) error {
	_, err := n.addLinks(ctx, []want.Iface{s}, true)
	return fail("add link", n.key, s.Name, err)
}

// PlanLink returns what AddLink would do.
func (n *Namespace) PlanLink(ctx context.Context, s want.Iface) ([]Change, error) {
	ops, err := n.addLinks(ctx, []want.Iface{s}, false)
	return changes(ops, nil), fail("add link", n.key, s.Name, err)
}

// AddLinks makes links as AddLink does, all of them or none.
func (n *Namespace) AddLinks(ctx context.Context, links []want.Iface) error {
	_, err := n.addLinks(ctx, links, true)
	return fail("add links", n.key, "", err)
}

func (n *Namespace) addLinks(ctx context.Context, list []want.Iface, really bool) ([]plan.Op, error) {
	ctx = n.in(ctx)
	name := n.key
	if n.host {
		name = want.HostName
	}
	net := want.Network{Sandboxes: []want.Sandbox{{Name: name, Interfaces: list}}, Host: n.host}
	peers := map[string]bool{}
	for i := range list {
		p := &list[i].Peer
		if *p == (want.Endpoint{}) || p.Sandbox == want.HostName {
			continue
		}
		switch key, err := base.KeyIn(ctx, p.Sandbox); {
		case err != nil:
			return nil, err
		case key == n.key:
			p.Sandbox = n.key
		case !peers[p.Sandbox]:
			peers[p.Sandbox] = true
			net.Sandboxes = append(net.Sandboxes, want.Sandbox{Name: p.Sandbox})
		}
	}
	if _, err := n.live(); err != nil {
		return nil, err
	}
	return add(ctx, net, really, n)
}

// Add makes what a network says beside what is there: all of it, or nothing. The
// host may be one of its sandboxes.
func Add(ctx context.Context, net want.Network) error {
	net.Host = true
	onHost := func(l want.Link) bool { return l[0].Sandbox == want.HostName && l[1].Sandbox == want.HostName }
	isHost := func(s want.Sandbox) bool { return s.Name == want.HostName }
	if slices.ContainsFunc(net.Links, onHost) && !slices.ContainsFunc(net.Sandboxes, isHost) {
		net.Sandboxes = append(slices.Clip(net.Sandboxes), want.Sandbox{Name: want.HostName})
	}
	_, err := add(ctx, net, true)
	return fail("add to the network", "", "", err)
}

// add plans, and if really carries out, what a network says that is new. spaces are
// open.
func add(ctx context.Context, net want.Network, really bool, spaces ...*Namespace) ([]plan.Op, error) {
	p := &prepared{run: newRun(ctx, spaces...), have: map[string]*plan.State{}, part: true}
	defer p.close()
	p.run.adds = true
	if err := p.open(ctx, net, keysOf(ctx), really); err != nil {
		return nil, err
	}
	for i := range p.want {
		st := p.have[p.want[i].Key]
		if st == nil {
			return nil, fmt.Errorf("%w: there is no sandbox %s", fault.ErrNotFound, p.want[i].Key)
		}
		for j := range p.want[i].Ifaces {
			w := &p.want[i].Ifaces[j]
			if w.Stands = w.Keep; w.Keep || w.Name == "lo" {
				continue
			}
			if st.Link(w.Name) != nil {
				return nil, &fault.Error{Key: p.want[i].Key, Interface: w.Name, Err: fault.ErrNameInUse}
			}
			w.Fresh = true
		}
	}
	return p.carryOut(really)
}

// RemoveLink takes the link with a name inside the sandbox out of it.
func (n *Namespace) RemoveLink(ctx context.Context, name string) error {
	return fail("remove link", n.key, name, n.removeLinks(ctx, []string{name}))
}

// RemoveLinks takes links out; one that can not be removed is in the error.
func (n *Namespace) RemoveLinks(ctx context.Context, names []string) error {
	return fail("remove links", n.key, "", n.removeLinks(ctx, names))
}

func (n *Namespace) removeLinks(ctx context.Context, names []string) error {
	for _, name := range names {
		if err := want.ValidName(name); err != nil {
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
			return &fault.Error{Interface: name, Err: fmt.Errorf("%w: osl did not add this link", fault.ErrNotFound),
				Hint: "what others made is theirs to delete: ip link del"}
		}
	}
	return n.take(ctx, conn, found)
}

// RemoveFound takes a link out of the sandbox that was found there, as dev. It
// succeeds if the link with this index and alias is there no longer.
func (n *Namespace) RemoveFound(ctx context.Context, dev string, index int, alias string) error {
	err := n.removeIndex(ctx, index, alias)
	if isClosed(err) {
		return nil
	}
	return fail("remove interface", n.key, dev, err)
}

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
		if l := &links[i]; plan.KindOf(l.Kind).Pair && !l.ParentNS {
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
// address is going from a sandbox that had no IPv6 without osl.
func (r *run) loopbackOff(n *Namespace, s *plan.State, gone ...int) []plan.Op {
	lo := s.ByIndex(1)
	if lo == nil || lo.Inet.DisableIPv6 || !plan.HadNoIPv6(lo) {
		return nil
	}
	for _, a := range s.Addrs {
		if !slices.Contains(gone, a.Index) && a.Prefix.Addr().Is6() && !a.Prefix.Addr().IsLoopback() {
			return nil
		}
	}
	return []plan.Op{r.switchIPv6(n, lo, false)}
}

// Statistics reads the counters of a link that was found there as dev.
func (n *Namespace) Statistics(ctx context.Context, dev string, index int) (*types.InterfaceStatistics, error) {
	var s rtnl.Stats
	conn, err := n.live()
	if err == nil {
		err = conn.One(ctx, rtnl.GetStats(index, &s))
	}
	if err != nil {
		return nil, fail("read the statistics of interface", n.key, dev, err)
	}
	x := statistics(s)
	return &x, nil
}

func statistics(s rtnl.Stats) types.InterfaceStatistics {
	return types.InterfaceStatistics{RxBytes: s.RxBytes, RxPackets: s.RxPackets, RxErrors: s.RxErrors, RxDropped: s.RxDropped,
		TxBytes: s.TxBytes, TxPackets: s.TxPackets, TxErrors: s.TxErrors, TxDropped: s.TxDropped}
}
