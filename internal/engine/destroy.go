//go:build linux

package engine

import (
	"context"
	"log/slog"
	"slices"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// Remove destroys the sandbox at the key of a name; with force also where another
// program made it.
func Remove(ctx context.Context, name string, force bool) error {
	const op = "remove the sandbox"
	key, err := base.KeyIn(ctx, name)
	if err != nil {
		return fail(op, name, "", err)
	}
	unlock, err := lock(ctx, key)
	if err != nil {
		return fail(op, key, "", err)
	}
	defer unlock()
	n, err := open(key)
	if isDead(err) {
		return fail(op, key, "", netns.Unpin(key))
	}
	if err != nil {
		return fail(op, key, "", err)
	}
	defer n.Close()
	n.force = force
	if n.host {
		h, err := n.lock.take(ctx)
		if err != nil {
			return fail(op, key, "", err)
		}
		defer h.Unlock()
	}
	return fail(op, key, "", n.destroyLocked(ctx))
}

// Destroy sends the links that came from the host home, and removes the sandbox with
// everything that osl made in it.
func (n *Namespace) Destroy() error {
	const op = "destroy the sandbox"
	ctx := context.Background()
	if _, err := n.handle(); err != nil {
		return nil
	}
	unlock, err := n.lockToEnd(ctx)
	if err != nil {
		return fail(op, n.key, "", err)
	}
	defer unlock()
	if _, err := n.handle(); err != nil {
		return nil // another call did it in the meantime
	}
	return fail(op, n.key, "", n.destroyLocked(ctx))
}

// destroyLocked ends the sandbox, or leaves it; the caller holds the lock.
func (n *Namespace) destroyLocked(ctx context.Context) error {
	if n.host {
		if err := n.healLocked(ctx); err != nil {
			return err
		}
	}
	links, err := n.conn.Links(ctx)
	if err != nil {
		return err
	}
	ends, err := n.empty(ctx, links, nil)
	if err != nil || !ends {
		return err
	}
	return n.endKey(links)
}

// empty takes out of a sandbox with these links what must not end with it, and
// deletes what would outlast it elsewhere but for what is in sandboxes that end as
// well, as ending says. It reports whether the key is to end: of a namespace that
// stays, all is done. Who gives it up gives up nothing that has begun.
func (n *Namespace) empty(ctx context.Context, links []rtnl.Link, ending map[linkEnds]bool) (ends bool, err error) {
	if ctx, err = uninterrupted(ctx); err != nil {
		return false, err
	}
	s := &plan.State{Links: links}
	if some, err := n.settleMoves(ctx, s.ByIndex(1)); err != nil {
		return false, err
	} else if some {
		if s.Links, err = n.conn.Links(ctx); err != nil {
			return false, err
		}
	}
	if len(notes(s.ByIndex(1))) > 0 { // which may be of others who end as well
		unlock, err := n.lockPins(ctx)
		if err != nil {
			return false, err
		}
		defer unlock()
		if s.Links, err = n.conn.Links(ctx); err != nil {
			return false, err
		}
	}
	if stay := n.stays(s.ByIndex(1)); stay != nil {
		return false, n.leave(ctx, stay)
	}
	r := newRun(ctx, n)
	defer r.close()
	unmark := func() {}
	far := abroad(s.Links, ending)
	if len(far) > 0 || slices.ContainsFunc(s.Links, func(l rtnl.Link) bool { t, _ := plan.ParseTag(l.Alias); return t.Origin == plan.Host }) {
		if unmark, err = n.mark(ctx, s.ByIndex(1), plan.Commit{}); err != nil {
			return false, err
		}
	}
	noted := slices.DeleteFunc(records(s.ByIndex(1)), plan.Noted.Ends) // those end with the sandbox
	if err = r.home(n, s.Links); err != nil {                          // those that are home have no use for what they lack
		if left := r.back(); len(left) > 0 {
			err = &fault.Error{Err: err, Left: left}
		}
	}
	if t, _ := plan.ParseSandboxTag(s.ByIndex(1).Alias); err == nil && t.UnderWay {
		err, far = r.deleteAbroad(ctx, n, far), nil // of which others had the names, and get them back
	}
	if err == nil {
		err = n.settleRecords(ctx, noted) // what a dead process did elsewhere
	}
	if err == nil {
		err = r.deleteAbroad(ctx, n, far)
	}
	if err != nil {
		unmark()
	}
	return err == nil, err
}

// mark notes on the sandbox that it is being destroyed, before links leave it:
// whoever finds it so after this process died finishes the work. The returned
// function takes the mark back. lo is as it was read under the lock.
func (n *Namespace) mark(ctx context.Context, lo *rtnl.Link, c plan.Commit) (unmark func(), err error) {
	if stay := n.stays(lo); stay != nil {
		ops, err := stay.plan(ctx, n)
		if err != nil {
			return func() {}, err
		}
		return n.markOut(ctx, ops, c)
	}
	tag, _ := plan.ParseSandboxTag(lo.Alias)
	if tag.UnderWay {
		return func() {}, nil
	}
	tag.UnderWay, tag.Commit = true, c
	marked, before := tag.Fitting().String(), lo.Alias
	err = n.conn.One(ctx, rtnl.SetLink(rtnl.LinkSet{Index: 1, Alias: &marked}))
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		if err := n.conn.One(ctx, rtnl.SetLink(rtnl.LinkSet{Index: 1, Alias: &before})); err != nil {
			slog.Warn("osl: the mark of a sandbox that could not be destroyed was not taken back", "key", n.key, "error", err)
		}
	}, err
}

// endKey takes away the key of a sandbox in which nothing is of value any more, and
// closes it. It had these links. Someone may have unmounted the key, and left the file; then this
// handle was the last to keep the links. What another process put at the key since
// is not touched.
func (n *Namespace) endKey(links []rtnl.Link) error {
	if netns.At(n.key, n.id) || isDead(standing(n.key)) {
		if err := netns.Unpin(n.key); err != nil {
			// A file without its namespace would say nothing to who tries again.
			if ns, ferr := n.file(); ferr == nil {
				netns.Repin(ns.FD(), n.key)
				ns.Release()
			}
			return err
		}
	}
	n.endSockets(len(links) > 1)
	return n.Close()
}
