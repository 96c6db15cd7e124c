//go:build linux

package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/sysctl"
	"github.com/seed59451c2b/osl/internal/want"
)

// setting reads what a setting is, for the record of a change.
func (r *run) setting(ns, path string, index int) (value string, ok bool) {
	n, err := r.space(ns)
	if err != nil {
		return "", false
	}
	if path, err = n.named(r.ctx, path, index); err != nil {
		return "", false
	}
	err = r.inside(ns, func() (err error) {
		value, err = sysctl.Read(path)
		return err
	})
	return value, err == nil
}

// named puts the name that a link has now into the path of a setting of its.
func (n *Namespace) named(ctx context.Context, path string, index int) (string, error) {
	if !strings.Contains(path, "%s") {
		return path, nil
	}
	var l rtnl.Link
	if err := n.conn.One(ctx, rtnl.GetLink(index, "", &l)); err != nil {
		return "", err
	}
	return fmt.Sprintf(path, l.Name), nil
}

// tidy clears marks and takes records away after a change has happened, also
// where its time is over. They say nothing wrong where they stay: whoever opens
// the sandbox next sees by its leader that the change has happened, and takes
// them away; and who opens or ends the leader does so in its parts first.
func (r *run) tidy(ops []plan.Op) (done bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), undoTimeout)
	defer cancel()
	n, err := r.space(ops[0].NS)
	if err == nil {
		var reqs []rtnl.Request
		for _, op := range ops {
			reqs = append(reqs, op.Do.(plan.Message).Request(r.fd))
		}
		errs, unknown := n.conn.Do(ctx, reqs...)
		for i := range reqs {
			if errs[i] == nil && unknown == nil || plan.Absent(errs[i]) {
				continue
			}
			if _, again := n.conn.Surely(ctx, reqs[i]); !plan.Absent(again) {
				err = errors.Join(err, again)
			}
		}
	}
	if err != nil {
		slog.Warn("osl: a change has happened, but its marks were not cleared; osl recover does it", "key", cmp.Or(ops[0].NS, want.HostName), "error", err)
	}
	return err == nil
}

// records are those of changes that lo carries.
func records(lo *rtnl.Link) []plan.Noted {
	if lo == nil {
		return nil
	}
	return slices.DeleteFunc(plan.ParseRecords(lo.AltName), func(r plan.Noted) bool { return r.Role.IsNote() })
}

// loopback reads lo, which says what is under way.
func (n *Namespace) loopback(ctx context.Context) (lo rtnl.Link, err error) {
	err = n.conn.One(ctx, rtnl.GetLink(1, "", &lo))
	return lo, err
}

// settleRecords takes back, or finishes, what the records of this namespace
// say. The caller holds its lock, so that whoever wrote them is dead.
func (n *Namespace) settleRecords(ctx context.Context, list []plan.Noted) error {
	for _, role := range []plan.Role{plan.Undo, plan.Redo} {
		for _, rec := range list {
			if rec.Whole && rec.Role != role || !rec.Whole && role == plan.Redo {
				continue
			}
			if err := n.settleRecord(ctx, rec, list); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *Namespace) settleRecord(ctx context.Context, rec plan.Noted, all []plan.Noted) error {
	happened := !slices.ContainsFunc(all, func(o plan.Noted) bool { return o.Whole && o.Role == plan.Undo && o.ID == rec.ID })
	if rec.Leader != "" {
		var err error
		if happened, err = committed(ctx, plan.Commit{ID: rec.ID, Leader: rec.Leader}); err != nil {
			return err
		}
	}
	if rec.Whole && happened == (rec.Role == plan.Redo) {
		// Its parts ask this one, and must find it as it is.
		for _, o := range all {
			if o.Whole && o.ID == rec.ID && len(rec.Parts) == 0 {
				rec.Parts = o.Parts
			}
		}
		if err := n.settleSteps(ctx, rec); err != nil {
			return err
		}
	}
	// Without its undo record a change counts as one that has happened: what would
	// be left to do then goes first.
	for _, o := range all {
		if rec.Role == plan.Undo && o.Role == plan.Redo && o.ID == rec.ID && !happened {
			if err := n.strike(ctx, o); err != nil {
				return err
			}
		}
	}
	return n.strike(ctx, rec)
}

// settleSteps carries a record out. The host comes last: after the links that are
// to be there, and when those are gone whose ends have a name there that was
// another's, also those of the other parts of the change. So do next hops that are
// objects, and what comes after them: their links have a carrier when the other ends are up.
func (n *Namespace) settleSteps(ctx context.Context, rec plan.Noted) error {
	var home, rest, late []plan.Step
	ends := false
	for _, s := range rec.Steps {
		switch {
		case s.End:
			ends = true
		case s.Home != 0:
			home = append(home, s)
		case s.WantsCarrier() || len(late) > 0:
			late = append(late, s)
		default:
			rest = append(rest, s)
		}
	}
	if err := n.replayHome(ctx, home); err != nil {
		return err
	}
	parts := slices.DeleteFunc(slices.Clone(rec.Parts), func(key string) bool { return key == plan.HostNS })
	many := 1
	if rec.Role == plan.Redo { // what goes depends on nothing elsewhere
		many = manyWaits
	}
	if err := n.replay(ctx, rec.ID, rest); err != nil {
		return err
	}
	if _, err := endKilled(ctx, plan.Commit{ID: rec.ID, Leader: n.key}, slices.DeleteFunc(slices.Clone(parts), func(key string) bool { return canonical(key) == n.lock.key })); err != nil {
		return err
	}
	settle := func(key string) error {
		if err := n.settlePart(ctx, key, rec.ID); err != nil {
			return fmt.Errorf("put back %s, a part of the same change: %w", spaceName(key), err)
		}
		return nil
	}
	err := atOnce(many, len(parts), func(i int) error { return settle(parts[i]) })
	if err == nil && len(parts) < len(rec.Parts) {
		err = settle(plan.HostNS)
	}
	if err != nil {
		return err
	}
	if err := n.replay(ctx, rec.ID, late); err != nil {
		return err
	}
	if !ends {
		return nil
	}
	if err := n.destroyLocked(ctx); err != nil {
		return err
	}
	return errEnded
}

// strike takes a record away.
func (n *Namespace) strike(ctx context.Context, rec plan.Noted) error {
	var reqs []rtnl.Request
	for _, name := range rec.Names {
		reqs = append(reqs, rtnl.DelAltName(1, name))
	}
	errs, unknown := n.conn.Do(ctx, reqs...)
	var failed error
	for i, err := range errs {
		if unknown == nil && (err == nil || plan.Absent(err)) {
			continue
		}
		if _, err = n.conn.Surely(ctx, reqs[i]); err != nil && !plan.Absent(err) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// settlePart puts back what a change of which this sandbox is the leader did
// in another namespace. The leader has the lowest key, and locks are taken in
// the order of keys.
func (n *Namespace) settlePart(ctx context.Context, key, id string) error {
	if key == plan.HostNS {
		host, err := openHost()
		if err != nil {
			return err
		}
		defer host.Close()
		return host.settleOne(ctx, id)
	}
	if canonical(key) == n.lock.key {
		return nil
	}
	part, err := open(key) // it is not waited for where it is no part of the change
	if err == nil {
		var lo rtnl.Link
		lo, err = part.loopback(ctx)
		part.Close()
		if err == nil && !isPart(&lo, id) {
			return nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, netns.ErrNotNamespace) {
		return nil // it is gone, with what was done in it
	}
	if err != nil {
		return err
	}
	if err := Recover(ctx, key); !errors.Is(err, fault.ErrNotFound) {
		return err
	}
	return nil
}

// isPart reports whether a lo says that the sandbox is a part of a change.
func isPart(lo *rtnl.Link, id string) bool {
	t, _ := plan.ParseSandboxTag(lo.Alias)
	return t.UnderWay && t.Commit.ID == id || slices.ContainsFunc(records(lo), func(r plan.Noted) bool { return r.ID == id })
}

// settleOne settles the records of one change in the host's namespace.
func (n *Namespace) settleOne(ctx context.Context, id string) error {
	lo, err := n.loopback(ctx)
	if err != nil {
		return err
	}
	return n.settleRecords(ctx, slices.DeleteFunc(records(&lo), func(r plan.Noted) bool { return r.ID != id }))
}

// spaceName names a namespace in a message.
func spaceName(key string) string {
	if key == plan.HostNS {
		return want.HostName
	}
	return base.NameOf(key)
}
