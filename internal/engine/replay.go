//go:build linux

package engine

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/sysctl"
)

// replay carries out the steps of a record of the change id. Each can be carried out where it is
// done already, or where what it is about is gone.
func (n *Namespace) replay(ctx context.Context, id string, steps []plan.Step) error {
	r := newRun(ctx, n)
	defer r.close()
	waited := 0 // settings at the end, since others bounded them
	for len(steps) > 0 {
		switch s := steps[0]; {
		case s.Path != "":
			err := n.replaySetting(r, s, waited < len(steps))
			steps = steps[1:]
			switch {
			case errors.Is(err, unix.EINVAL):
				steps, waited = append(steps[:len(steps):len(steps)], s), waited+1
			case err != nil:
				return err
			}
		case s.Table != "":
			if err := r.masquerade(plan.Op{NS: n.space()}, plan.Masquerade{Table: s.Table, Set: s.Masq}); err != nil {
				return err
			}
			steps = steps[1:]
		case s.WireGuard != nil:
			if err := n.replayWireGuard(r, *s.WireGuard); err != nil {
				return err
			}
			steps = steps[1:]
		case s.Offloads != nil:
			err := r.offloads(plan.Op{NS: n.space()}, plan.Offloads{Index: s.Index, Set: s.Offloads, Back: true})
			if err := n.unlessRefused(err); err != nil {
				return err
			}
			steps = steps[1:]
		case s.In != "":
			steps = steps[1:] // the sandbox asks for it
		case s.Far != 0:
			if err := n.settleFar(ctx, id, s.Far); err != nil {
				return err
			}
			steps = steps[1:]
		case s.Move != nil:
			if err := n.settleMove(ctx, id, *s.Move); err != nil {
				return err
			}
			steps = steps[1:]
		case s.Unpin != "":
			if err := n.unpin(ctx, s.Unpin); err != nil {
				return err
			}
			steps = steps[1:]
		default:
			var reqs []rtnl.Request
			for len(steps) > 0 && steps[0].IsMessage() {
				if n.ours(ctx, steps[0]) {
					reqs = append(reqs, steps[0].Request())
				}
				steps = steps[1:]
			}
			errs, err := n.conn.Do(ctx, reqs...)
			if err != nil {
				return err
			}
			for i, err := range errs {
				if err != nil && !plan.Absent(err) {
					_, err = n.conn.Surely(ctx, reqs[i])
				}
				if err := n.unlessRefused(err); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// ours reports whether a step acts in this namespace alone. What changes a tunnel
// acts where that is, and what changes an ipvlan on the link below; to make a link on
// a macvlan or an ipvlan is to make it on what that is on.
func (n *Namespace) ours(ctx context.Context, s plan.Step) bool {
	index, far := 0, false
	var l rtnl.Link
	if s.Makes() {
		index, kind := rtnl.Stacks(s.Data)
		if index == 0 {
			return kind == "vxlan"
		}
		return n.conn.One(ctx, rtnl.GetLink(index, "", &l)) == nil && (kind == "vxlan" || !(l.ParentNS && (plan.IsMacvlan(l.Kind) || plan.IsIPvlan(l.Kind))))
	}
	if s.Type == unix.RTM_NEWLINK {
		index, far = rtnl.Reshapes(s.Data)
	}
	return !far || n.conn.One(ctx, rtnl.GetLink(index, "", &l)) == nil && !l.ParentNS
}

// passOver tells of a step that the kernel refuses. What is as good as it can be
// must not keep the rest from it.
func (n *Namespace) passOver(err error) {
	if err != nil && !plan.Absent(err) {
		slog.Warn("osl: a step of an interrupted change could not be taken back", "key", n.key, "error", err)
	}
}

// unlessRefused passes over what the kernel refused of a message, and returns an error of
// one that it did not get.
func (n *Namespace) unlessRefused(err error) error {
	var refused *rtnl.Error
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	n.passOver(err)
	return nil
}

// replaySetting carries out a setting. With wait it returns EINVAL where the
// kernel does: another one may have to come first.
func (n *Namespace) replaySetting(r *run, s plan.Step, wait bool) error {
	path, err := n.named(r.ctx, s.Path, s.Index)
	if plan.Absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var refused *fs.PathError
	for range 2 {
		err = r.inside(n.space(), func() error { _, err := sysctl.Set(path, s.Value); return err })
		if err == nil || plan.Absent(err) {
			return nil
		}
	}
	if wait && errors.Is(err, unix.EINVAL) {
		return err
	}
	if errors.As(err, &refused) && !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.ENFILE) {
		n.passOver(err)
		return nil
	}
	return err
}

// replayHome sends those of the links home that are in the sandbox still.
func (n *Namespace) replayHome(ctx context.Context, steps []plan.Step) error {
	if len(steps) == 0 {
		return nil
	}
	r := newRun(ctx, n)
	defer r.close()
	var links []rtnl.Link
	for _, s := range steps {
		var l rtnl.Link
		err := n.conn.One(ctx, rtnl.GetLink(s.Home, "", &l))
		if plan.Absent(err) {
			defer recoverArrived(ctx)
			continue
		}
		if err != nil {
			return err
		}
		if _, ok := plan.ParseTag(l.Alias); !ok {
			l.Alias = s.Value // the kernel was not done with it
		}
		links = append(links, l)
	}
	return r.home(n, links)
}
