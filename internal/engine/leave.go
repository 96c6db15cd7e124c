//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// stay says what is done with a namespace that does not end where its sandbox is
// destroyed: another program made it, or another key of osl's leads to it.
type stay struct {
	takeOut bool       // what osl put in
	unpin   bool       // the key
	found   plan.Noted // what makes the namespace what it was before osl had it
}

// stays returns nil where the namespace ends with its key: osl made it, and has
// no other key for it. lo says so, and what osl noted there of its keys.
func (n *Namespace) stays(lo *rtnl.Link) *stay {
	_, made := plan.ParseSandboxTag(lo.Alias)
	var mine, found plan.Noted
	others := false
	for _, r := range notes(lo) {
		switch {
		case r.Role == plan.Found:
			found = r
		case len(r.Parts) >= 2 && canonical(r.Parts[0]) == canonical(n.key):
			mine = r
		case len(r.Parts) >= 2 && netns.At(r.Parts[0], n.id):
			others = true
		}
	}
	switch {
	case n.host:
		return &stay{takeOut: mine.Whole || !others, unpin: mine.Whole}
	case mine.Whole && (others || made && netns.At(mine.Parts[1], n.id)):
		return &stay{unpin: true}
	case mine.Whole && !made:
		return &stay{takeOut: true, unpin: true, found: found}
	case made && !others:
		return nil
	}
	return &stay{takeOut: true, unpin: made || n.force && !isLink(n.key)}
}

// lockPins takes the lock of the namespace itself, besides that of a key: who pins it at
// another key, or gives one up, looks which others there are.
func (n *Namespace) lockPins(ctx context.Context) (unlock func(), err error) {
	if n.host {
		return func() {}, nil // it has one lock by all keys
	}
	id := lockOf(base.HostKey())
	id.key = fmt.Sprintf("namespace %d of %d", n.id.Ino, n.id.Dev) // no key begins so
	h, err := id.take(ctx)
	return func() {
		if id.file == n.lock.file { // it is held for the key
			h.Unlock()
		} else {
			id.letGo(h)
		}
	}, err
}

// isLink reports whether a key is a link of the kernel's in /proc, which no one can
// take away.
func isLink(key string) bool {
	st, err := os.Lstat(key)
	return err == nil && st.Mode()&os.ModeSymlink != 0
}

// notes are the records of lo that say at which keys osl pinned the namespace.
func notes(lo *rtnl.Link) (list []plan.Noted) {
	if lo == nil || len(lo.AltName) == 0 {
		return nil
	}
	return slices.DeleteFunc(plan.ParseRecords(lo.AltName), func(r plan.Noted) bool { return !r.Whole || !r.Role.IsNote() })
}

// pinned returns the record that osl pinned the namespace at this key as well; it has
// no parts where it did not.
func (n *Namespace) pinned(lo *rtnl.Link) (r plan.Noted) {
	for _, r := range notes(lo) {
		if len(r.Parts) >= 2 && canonical(r.Parts[0]) == canonical(n.key) {
			return r
		}
	}
	return r
}

// plan plans to take out of the sandbox what osl put in, and its key.
func (s *stay) plan(ctx context.Context, n *Namespace) (ops []plan.Op, err error) {
	if s.takeOut {
		state, err := readState(ctx, n.conn, true)
		if err != nil {
			return nil, err
		}
		inOrder(state.Links)
		if n.host {
			ops = n.releaseLinks(state)
		} else if ops, err = takeOut(n.space(), state); err != nil {
			return nil, err
		}
	}
	last := slices.IndexFunc(ops, func(op plan.Op) bool { return op.Last })
	if last < 0 {
		last = len(ops)
	}
	var back []plan.Op
	if lo, err := n.loopback(ctx); err != nil {
		return nil, err
	} else if s.takeOut {
		back = plan.Unnote(n.space(), &lo)
	}
	for _, step := range s.found.Steps {
		op := plan.Op{NS: n.space(), Dev: "lo", Quiet: true, Do: plan.Sysctl{Setting: plan.Setting{Path: step.Path, Value: step.Value}}}
		if step.IsMessage() {
			op.Do = plan.Again{Step: step}
		}
		if up := true; step.Type == unix.RTM_NEWLINK { // which also brings lo's address
			op.Undo = []plan.Op{{NS: n.space(), Dev: "lo", Do: plan.SetLink{Link: rtnl.LinkSet{Index: 1, Up: &up}}}}
		}
		back = append(back, op)
	}
	ops = slices.Insert(ops, last, back...)
	if s.unpin {
		ops = append(ops, plan.Op{NS: n.space(), Do: plan.Unpin{Key: n.key}, Last: true})
	}
	return ops, nil
}

// takeOut plans to take out of a sandbox what osl put in: nothing is wanted of it.
func takeOut(key string, s *plan.State) ([]plan.Op, error) {
	nothing := plan.Sandbox{Key: key, Prune: true}
	if lo := s.ByIndex(1); lo != nil {
		t, _ := plan.ParseSandboxTag(lo.Alias)
		nothing.Labels = t.Labels
	}
	ops, _, err := plan.Build([]plan.Sandbox{nothing}, map[string]*plan.State{key: s})
	return ops, err
}

// markOut notes in a record what is to be taken out of a sandbox: whoever finds it
// after this process died does that. The returned function takes the note back.
func (n *Namespace) markOut(ctx context.Context, ops []plan.Op, c plan.Commit) (unmark func(), err error) {
	if c.ID == "" {
		c = plan.NewCommit("")
	}
	rec := plan.Record{Role: plan.Undo, ID: c.ID, Leader: c.Leader, Steps: plan.Ahead(ops)}
	n.out = rec.Fit()
	if len(n.out) == 0 {
		return func() {}, nil
	}
	unmark = func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		if err := n.strike(ctx, plan.Noted{Names: n.out}); err != nil {
			slog.Warn("osl: the note of what was to be taken out of a sandbox was not taken back", "key", n.key, "error", err)
		}
		n.out = nil
	}
	if err = n.conn.One(ctx, rtnl.NewAltName(1, n.out...)); err != nil {
		unmark()
	}
	return unmark, err
}

// leave takes out of the namespace what osl put in, and its key where that is
// osl's, all of it or nothing. The caller holds the lock.
func (n *Namespace) leave(ctx context.Context, s *stay) error {
	ops, err := s.plan(ctx, n)
	if err != nil {
		return err
	}
	if len(ops) > 0 && n.out == nil {
		if _, err = n.markOut(ctx, ops, plan.Commit{}); err != nil {
			return err
		}
	}
	if n.out != nil {
		strike := plan.DelAltName{Index: 1, Names: n.out}
		ops = append(ops, plan.Op{NS: n.space(), Dev: "lo", Do: strike, Commit: true, Alone: true, Quiet: true})
	}
	r := newRun(ctx, n)
	r.forced = true
	defer r.close()
	if err := r.through(ops); err != nil {
		if n.out != nil && !r.gone {
			_ = n.strike(context.WithoutCancel(ctx), plan.Noted{Names: n.out})
		}
		n.out = nil
		return err
	}
	if err := n.strikeEnds(ctx); err != nil {
		return err
	}
	return n.Close()
}

// strikeEnds takes away the records that say that the sandbox is to end.
func (n *Namespace) strikeEnds(ctx context.Context) error {
	lo, err := n.loopback(ctx)
	if err != nil {
		return err
	}
	for _, rec := range records(&lo) {
		if rec.Ends() {
			err = errors.Join(err, n.strike(ctx, rec))
		}
	}
	return err
}

// unpin takes a key of this namespace away, and what lo says of it: with the last
// key also what the namespace was before.
func (n *Namespace) unpin(ctx context.Context, key string) error {
	if netns.At(key, n.id) || isDead(standing(key)) { // the file may be left
		if err := netns.Unpin(key); err != nil {
			return err
		}
	}
	lo, err := n.loopback(ctx)
	if err != nil {
		return err
	}
	var gone []string
	left := false
	all := notes(&lo)
	for _, r := range all {
		if r.Role == plan.AtKey && len(r.Parts) >= 2 && netns.At(r.Parts[0], n.id) {
			left = true
		} else if r.Role == plan.AtKey {
			gone = append(gone, r.Names...)
		}
	}
	for _, r := range all {
		if r.Role == plan.Found && !left {
			gone = append(gone, r.Names...)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return n.strike(ctx, plan.Noted{Names: gone})
}

// unpinLast carries out the last step of a plan that leaves a namespace.
func (r *run) unpinLast(n *Namespace, ops []plan.Op) (failed error) {
	for _, op := range ops {
		key := op.Do.(plan.Unpin).Key
		err := n.unpin(r.ctx, key)
		if err != nil {
			err = n.unpin(context.WithoutCancel(r.ctx), key)
		}
		if err != nil {
			failed = fmt.Errorf("take the key %s away: %w", key, err)
			r.left = append(r.left, fmt.Sprintf("the key %s, take it away with: osl rm %s", key, base.NameOf(key)))
			continue
		}
		r.gone = true
	}
	return failed
}

// replaceable returns fault.ErrExists for a namespace at whose key osl may not make
// another: who pinned it there did not ask for that.
func (n *Namespace) replaceable(ctx context.Context) error {
	lo, err := n.loopback(ctx)
	if err != nil {
		return err
	}
	if s := n.stays(&lo); s != nil && !s.unpin {
		return &fault.Error{Err: fmt.Errorf("%w, and another program made it", fault.ErrExists),
			Hint: "end it with what made it, or with: osl rm --force " + base.NameOf(n.key)}
	}
	return nil
}
