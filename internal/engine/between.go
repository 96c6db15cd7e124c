//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/sysctl"
)

// between finds a link of the host in another sandbox of the change, which does not want it
// any more. It is nil where there is none.
func (p *prepared) between(w *plan.Sandbox, name string) (*plan.HostLink, error) {
	for i := range p.want {
		o := &p.want[i]
		s := p.have[o.Key]
		if o.Key == w.Key || o.Key == plan.HostNS || s == nil {
			continue
		}
		source := sourceCalled(s, name)
		l, t := s.BySource(source)
		if l == nil || t.Origin != plan.Host {
			continue
		}
		if (o.Prune || o.Ends) && !slices.ContainsFunc(o.Ifaces, func(f plan.Iface) bool { return f.From != nil && sourceCalled(s, f.From.Link.Name) == source }) {
			return p.leaver(o, s, l, t)
		}
		return nil, &fault.Error{Err: fmt.Errorf("%w on the host: the link %q is in the sandbox %s, as %s", fault.ErrNotFound, source, base.NameOf(o.Key), l.Name),
			Hint: fmt.Sprintf("send it home first: osl link rm %s %s", base.NameOf(o.Key), l.Name)}
	}
	return nil, nil
}

// leaver reads a link of the host that leaves the sandbox o, with what it loses there.
func (p *prepared) leaver(o *plan.Sandbox, s *plan.State, l *rtnl.Link, t plan.Tag) (*plan.HostLink, error) {
	if on := s.Atop(l.Index); on != nil {
		return nil, &fault.Error{Err: fmt.Errorf("%w: the link %q is in the sandbox %s, as %s, and %q is on it", fault.ErrInvalid, t.Source, base.NameOf(o.Key), l.Name, on.Name),
			Hint: fmt.Sprintf("take %s away before, with an up of its own", on.Name)}
	}
	if err := tagFits(t); err != nil {
		return nil, err
	}
	h, err := p.leaving(o, l, t, nil)
	if h != nil {
		h.Link.Name = t.Source
	}
	return h, err
}

// carries finds the links that osl made, and that go from one sandbox to another, or before
// what they exclude.
func (p *prepared) carries() (err error) {
	for _, c := range plan.Carries(p.want, p.have) {
		if p.have[c.Key].Atop(c.Link.Index) != nil {
			continue // the kernel says why it can not be
		}
		i := slices.IndexFunc(p.want, func(w plan.Sandbox) bool { return w.Key == c.Key })
		if c.To.Comes, err = p.leaving(&p.want[i], c.Link, c.Tag, c.To); err != nil {
			return fail("", c.Key, c.Link.Name, err)
		}
	}
	for _, y := range plan.Yields(p.want, p.have) {
		w := &p.want[y.In]
		if p.have[w.Key].Atop(y.Link.Index) != nil {
			continue // the kernel says why it can not be
		}
		h, err := p.leaving(w, y.Link, y.Tag, nil)
		if err != nil {
			return fail("", w.Key, y.Link.Name, err)
		}
		w.Yields = append(w.Yields, *h)
	}
	return nil
}

// leaving reads a link that leaves the sandbox o, for another one or for good, with what it loses there.
// It may become an interface, nil where that is not so.
func (p *prepared) leaving(o *plan.Sandbox, l *rtnl.Link, t plan.Tag, to *plan.Iface) (*plan.HostLink, error) {
	n, err := p.run.space(o.Key)
	if err != nil {
		return nil, err
	}
	h := &plan.HostLink{Link: *l, In: &plan.Inside{Key: o.Key, Link: *l}}
	h.Link.AltName = slices.DeleteFunc(slices.Clone(l.AltName), func(name string) bool { return slices.Contains(t.Gave(l), name) })
	if h.Kept, err = n.conn.KeepOwn(p.run.ctx, l.Index); err != nil {
		return nil, err
	}
	if t.HadOffloads() || to != nil && len(to.Offloads) > 0 {
		g, err := p.run.generic(o.Key)
		if err != nil {
			return nil, err
		}
		if h.In.Features, err = g.features(p.run.ctx, l.Index); err != nil {
			return nil, err
		}
	}
	err = p.run.inside(o.Key, func() (err error) {
		// What becomes of a default that this change sets too, nobody knows before.
		h.In.Settings, err = leaverSettings(l.Name, len(o.Sysctls) > 0)
		return err
	})
	return h, err
}

// leaverSettings reads the settings of a link of the thread's namespace that it would not have
// by the defaults; with all also those that it would.
func leaverSettings(dev string, all bool) (list []plan.Setting, err error) {
	own, usual, err := sysctl.OfLink(dev)
	// Who writes a secret sets the mode too.
	const secret, mode = "ipv6/conf/%s/stable_secret", "ipv6/conf/%s/addr_gen_mode"
	if v, has := own[secret]; has {
		list = append(list, plan.Setting{Path: secret, Value: v}, plan.Setting{Path: mode, Value: own[mode]})
		delete(own, secret)
		delete(own, mode)
	}
	for _, path := range slices.Sorted(maps.Keys(own)) {
		if v, known := usual[path]; all || !known || v != own[path] {
			list = append(list, plan.Setting{Path: path, Value: own[path]})
		}
	}
	return list, err
}

// moveBack undoes a move between two sandboxes: where the link is in the other one, it
// leaves that, without the alternative names that it was given there, which another one may
// have where it goes. What it is to have comes after it.
func (r *run) moveBack(op plan.Op) error {
	n, err := r.space(op.NS)
	if err != nil {
		return err
	}
	set := op.Do.(plan.SetLink)
	var l rtnl.Link
	if err := n.conn.One(r.ctx, rtnl.GetLink(set.Link.Index, "", &l)); errors.Is(err, unix.ENODEV) {
		return nil
	} else if err != nil {
		return err
	}
	t, _ := plan.ParseTag(l.Alias)
	for _, name := range t.Gave(&l) {
		if _, err := n.conn.Surely(r.ctx, rtnl.DelAltName(l.Index, name)); err != nil && !plan.Absent(err) {
			return err
		}
	}
	if _, err = n.conn.Surely(r.ctx, set.Request(r.fd)); errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// settleMove does so by a record. The other sandbox has its part of it, or the link is
// there already. Neither's lock is needed for the other: it is one message, and who finds it
// done, by whoever else, finds what it would have done.
func (n *Namespace) settleMove(ctx context.Context, id string, m plan.Move) error {
	var l rtnl.Link
	err := n.conn.One(ctx, rtnl.GetLink(m.Here, "", &l))
	if err != nil && !plan.Absent(err) {
		return err
	}
	if there := err == nil; there == m.Back {
		return nil
	}
	other, err := open(m.Key)
	gone := errors.Is(err, fs.ErrNotExist) || errors.Is(err, netns.ErrNotNamespace)
	if err != nil && !gone {
		return err
	}
	agree := false
	if !gone {
		defer other.Close()
		lo, err := other.loopback(ctx)
		if err != nil {
			return err
		}
		agree = n.agrees(&lo, id, m)
	}
	switch {
	case !agree && m.Back:
		slog.Warn("osl: a link that was to come back into a sandbox is not where it went", "key", n.key, "other", m.Key)
		return nil
	case !agree: // what it came from has ended, and would have sent it home, or taken it along
		if t, _ := plan.ParseTag(l.Alias); t.Origin == plan.Made {
			_, err := n.conn.Surely(ctx, rtnl.DelLink(m.Here))
			return err
		}
		return n.replayHome(ctx, []plan.Step{{Home: m.Here}})
	}
	from, to := n, other
	if m.Back {
		from, to = other, n
	}
	r := newRun(ctx, from, to)
	defer r.close()
	set, key := m.Set(), to.space()
	set.To = &key
	return r.moveBack(plan.Op{NS: from.space(), Do: set})
}

// settleFar does with a link of this namespace what the record of the host says, which is
// the last of a change to be settled.
func (n *Namespace) settleFar(ctx context.Context, id string, index int) error {
	host, err := openHost()
	if err != nil {
		return err
	}
	defer host.Close()
	lo, err := host.loopback(ctx)
	if err != nil {
		return err
	}
	for _, rec := range records(&lo) {
		for _, s := range rec.Steps {
			if at, _ := rtnl.Reshapes(s.Data); !rec.Whole || rec.Role != plan.Undo || rec.ID != id || at != index || s.In == "" || canonical(s.In) != canonical(n.key) {
				continue
			}
			_, err := n.conn.Surely(ctx, s.Request())
			if err := n.unlessRefused(err); err != nil {
				return err
			}
		}
	}
	return nil
}

// agrees reports whether the lo of another sandbox has its part of a move.
func (n *Namespace) agrees(lo *rtnl.Link, id string, m plan.Move) bool {
	return slices.ContainsFunc(records(lo), func(rec plan.Noted) bool {
		return rec.Whole && rec.Role == plan.Undo && rec.ID == id && slices.ContainsFunc(rec.Steps, func(s plan.Step) bool {
			return s.Move != nil && s.Move.Agrees(m) && canonical(s.Move.Key) == canonical(n.key)
		})
	})
}

// settleMoves does so before anything leaves a sandbox that ends: what was to go from it to
// another one, or to come back, is nothing of its own.
func (n *Namespace) settleMoves(ctx context.Context, lo *rtnl.Link) (some bool, err error) {
	all := records(lo)
	for _, rec := range all {
		if !rec.Whole || rec.Role != plan.Undo {
			continue
		}
		for _, s := range rec.Steps {
			if s.Move == nil {
				continue
			}
			happened := false
			if rec.Leader != "" {
				if happened, err = committed(ctx, plan.Commit{ID: rec.ID, Leader: rec.Leader}); err != nil {
					return some, err
				}
			}
			if happened {
				break
			}
			some = true
			if err := n.settleMove(ctx, rec.ID, *s.Move); err != nil {
				return some, err
			}
		}
	}
	return some, nil
}
