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

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// errInterrupted says that a sandbox was removed because a process died that was
// just making it, or ending it.
var errInterrupted = fmt.Errorf("%w: it was being made, or removed, and that was interrupted; what was left of it is removed", fault.ErrNotFound)

// errEnded says that a sandbox was removed because the change in which it was to
// end had happened.
var errEnded = fmt.Errorf("%w: it was to end with a change that was interrupted, and is removed", errInterrupted)

// Recover puts right what a process that died left of the sandbox at the key of a
// name.
func Recover(ctx context.Context, name string) error {
	if key, err := base.KeyIn(ctx, name); err == nil {
		if ended, err := endKilledWith(ctx, key); err != nil || ended {
			return err
		}
	}
	n, err := Open(ctx, name)
	if errors.Is(err, errInterrupted) {
		return nil
	}
	if key, kerr := base.KeyIn(ctx, name); kerr == nil && isDead(err) {
		collect(key)
		return nil
	}
	if err != nil {
		return err
	}
	return n.Close()
}

// killedOf is the change of which the sandbox at a key was just to be made, or to end, with the
// key of its leader; none where more than the sandbox has to be put right.
func killedOf(key string, lo *rtnl.Link) plan.Commit {
	t, _ := plan.ParseSandboxTag(lo.Alias)
	if !t.UnderWay || t.Commit.ID == "" || len(records(lo)) > 0 {
		return plan.Commit{}
	}
	return plan.Commit{ID: t.Commit.ID, Leader: cmp.Or(t.Commit.Leader, key)}
}

// endKilledWith does endKilled for what died with the sandbox at a key, where that says no more
// than that. It reports whether it did.
func endKilledWith(ctx context.Context, key string) (ended bool, err error) {
	n, err := open(key)
	if err != nil {
		return false, nil // who opens it is told
	}
	lo, err := n.loopback(ctx)
	n.Close()
	c := killedOf(n.key, &lo)
	if err != nil || n.host || c.ID == "" {
		return false, nil
	}
	// The others are looked for where they are to end only.
	if happened, err := committed(ctx, c.For(n.key)); err != nil || happened {
		return false, nil
	}
	all, err := baseKeys(ctx)
	if err != nil {
		return false, err
	}
	return endKilled(ctx, c, all)
}

// endKilled ends those sandboxes at keys that a process was making, or ending, by a change
// when it died: together, since one by one each waits for a grace period of the kernel. All
// else is left to who opens them. It reports whether it did.
func endKilled(ctx context.Context, c plan.Commit, keys []string) (ended bool, err error) {
	// What is no part of the change is not waited for: a record may be forged.
	keys, err = keysWhose(ctx, keys, func(key string, lo *rtnl.Link) bool { return killedOf(key, lo) == c })
	if err != nil || len(keys) < 2 { // what can not be read is not of it, or met by who opens it
		return false, nil
	}
	d := doomed{run: newRun(ctx), of: c}
	defer d.close()
	order, ids := inLockOrder(keys)
	if err := d.find(ctx, order, ids, true); err != nil || len(d.open) < 2 {
		return false, err
	}
	happened, err := committed(ctx, c.For(d.open[0].key))
	if err != nil || happened {
		return false, err
	}
	if err := d.endAll(ctx, make([]func(), len(d.open))); err != nil {
		return false, err
	}
	recoverArrived(ctx)
	return true, nil
}

// RecoverHost puts right what a process that died, or a namespace that ended without
// osl, left on the host.
func RecoverHost(ctx context.Context) error {
	const op = "recover the host"
	host, err := openHost()
	if err != nil {
		return fail(op, "", "", err)
	}
	defer host.Close()
	links, err := host.conn.Links(ctx)
	if err != nil {
		return fail(op, "", "", err)
	}
	var failed error
	for _, rec := range records((&plan.State{Links: links}).ByIndex(1)) {
		failed = errors.Join(failed, fail(op, rec.Leader, "", host.recoverRecord(ctx, rec)))
	}
	return errors.Join(failed, host.recoverLinks(ctx, links))
}

// recoverLinks gives those links of the host that are there with a tag what they
// lack.
func (n *Namespace) recoverLinks(ctx context.Context, links []rtnl.Link) (failed error) {
	for i := range links {
		if t, ok := plan.ParseTag(links[i].Alias); ok && t.Origin == plan.Host {
			failed = errors.Join(failed, fail("recover the host", "", links[i].Name, n.recoverLink(ctx, &links[i], t)))
		} else if !ok {
			failed = errors.Join(failed, fail("recover the host", "", links[i].Name, n.stripHomeRecord(ctx, &links[i])))
		}
	}
	return failed
}

// stripHomeRecord takes away what is left of the record of a link that is home: it
// has all since its tag is gone.
func (n *Namespace) stripHomeRecord(ctx context.Context, l *rtnl.Link) error {
	for _, name := range l.AltName {
		if plan.IsHomeRecord(name) {
			if _, err := n.conn.Surely(ctx, rtnl.DelAltName(l.Index, name)); err != nil && !plan.Absent(err) {
				return err
			}
		}
	}
	return nil
}

// recoverArrived does so where a sandbox is found half ended, or a change half
// taken back: a link may have come home without the rest.
func recoverArrived(ctx context.Context) {
	host, err := openHost()
	if err == nil {
		defer host.Close()
		var links []rtnl.Link
		if links, err = host.conn.Links(ctx); err == nil {
			err = host.recoverLinks(ctx, links)
		}
	}
	if err != nil {
		slog.Warn("osl: what came home of an interrupted change may lack something; osl recover puts that right", "error", err)
	}
}

// recoverRecord settles a record on the host once nobody is at work on the
// change any more. Opening its leader does so, if there is one.
func (n *Namespace) recoverRecord(ctx context.Context, rec plan.Noted) error {
	key := rec.Leader
	if key == "" {
		key = base.HostKey()
	} else if leader, err := Open(ctx, key); err == nil {
		leader.Close()
	}
	unlock, err := lock(ctx, key)
	if errors.Is(err, fs.ErrNotExist) { // with its directory
		unlock, err = lock(ctx, base.HostKey())
	}
	if err != nil {
		return err
	}
	defer unlock()
	return n.settleOne(ctx, rec.ID)
}

// recoverLink gives a link that came home by itself its first name and settings
// back.
func (n *Namespace) recoverLink(ctx context.Context, l *rtnl.Link, t plan.Tag) error {
	op := plan.Remove(plan.HostNS, l, t, nil)[0]
	r := newRun(ctx, n)
	defer r.close()
	ops, err := r.settleAtHome(l, op.Do.(plan.SetLink))
	if err != nil {
		return ofAction(op, err)
	}
	// Some of its addresses may be there: all come back in their order.
	_, unknown := n.conn.Do(ctx, takeBack(ops)...)
	refused, err := r.unpack(ops)
	if unknown != nil && err == nil {
		err = unknown
	}
	warnRefused(refused)
	return err
}

// heal puts back what a dead process left under way. It locks the sandbox only
// if something is: then either its owner lives, and heal waits for it, or it
// is dead and its lock free.
func (n *Namespace) heal(ctx context.Context) error {
	lo, err := n.loopback(ctx)
	if err != nil || !underWay(&lo) {
		return err
	}
	unlock, err := n.lockToEnd(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if !netns.At(n.key, n.id) {
		return errInterrupted
	}
	return n.healLocked(ctx)
}

// underWay reports whether a change of a sandbox has not come to its end. Its lo
// says so, whatever the change is about.
func underWay(lo *rtnl.Link) bool {
	t, _ := plan.ParseSandboxTag(lo.Alias)
	return t.UnderWay || slices.ContainsFunc(lo.AltName, plan.IsRecord)
}

// unfinished tells, for who reads a sandbox and may not heal it, what of it is of a
// change that has not happened: all of it, or some links.
func unfinished(ctx context.Context, lo *rtnl.Link) (all bool, links map[int]bool, err error) {
	if lo == nil || !underWay(lo) {
		return false, nil, nil
	}
	if t, _ := plan.ParseSandboxTag(lo.Alias); t.UnderWay {
		happened, err := committed(ctx, t.Commit)
		if err != nil || !happened {
			return true, nil, err
		}
	}
	links = map[int]bool{}
	for _, rec := range records(lo) {
		if !rec.Whole || rec.Role != plan.Undo {
			continue
		}
		happened, err := committed(ctx, plan.Commit{ID: rec.ID, Leader: rec.Leader})
		if err != nil {
			return false, nil, err
		}
		for _, s := range rec.Steps {
			if !happened {
				links[s.Home+s.Gone] = true
			}
			if !happened && s.Move != nil && !s.Move.Back {
				links[s.Move.Here] = true
			}
		}
	}
	return false, links, nil
}

// committed reports whether the change of several sandboxes, of which a part is
// found under way, has happened all the same: its leader is not under way for
// it any more. A leader that is gone was itself put back; one that can not be
// asked is an error, since to guess would take back what has happened.
func committed(ctx context.Context, c plan.Commit) (bool, error) {
	if c.Leader == "" {
		return false, nil
	}
	leader, err := open(c.Leader)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, netns.ErrNotNamespace) {
		return false, nil
	}
	if err != nil {
		return false, fail("ask the sandbox that led the change", c.Leader, "", err)
	}
	defer leader.Close()
	lo, err := leader.loopback(ctx)
	if err != nil {
		return false, fail("ask the sandbox that led the change", c.Leader, "", err)
	}
	return over(&lo, c.ID), nil
}

// over reports whether a leader's lo does not say that the change is under way.
func over(lo *rtnl.Link, id string) bool {
	for _, rec := range records(lo) {
		if rec.Whole && rec.Role == plan.Undo && rec.ID == id {
			return false
		}
	}
	t, ok := plan.ParseSandboxTag(lo.Alias)
	return !ok || !(t.UnderWay && t.Commit.ID == id)
}

// healLocked does the work of heal; the caller holds the lock.
func (n *Namespace) healLocked(ctx context.Context) error {
	lo, err := n.loopback(ctx)
	if err != nil || !underWay(&lo) {
		return err
	}
	return n.healFrom(ctx, lo)
}

// healFrom does so where lo says that something is under way.
func (n *Namespace) healFrom(ctx context.Context, lo rtnl.Link) error {
	unlock, err := n.lockPinned(ctx, &lo)
	if err != nil {
		return err
	}
	defer unlock()
	if n.host { // what is led elsewhere is settled with its leader
		if err := n.settleRecords(ctx, slices.DeleteFunc(records(&lo), func(r plan.Noted) bool { return r.Leader != "" || !r.Whole })); err != nil {
			return err
		}
		return n.stillThere(&lo)
	}
	if t, _ := plan.ParseSandboxTag(lo.Alias); t.UnderWay {
		happened, err := committed(ctx, t.Commit)
		if err != nil {
			return err
		}
		if !happened {
			if err := n.destroyLocked(ctx); err != nil {
				return err
			}
			recoverArrived(ctx)
			return errInterrupted
		}
		t.UnderWay, t.Commit = false, plan.Commit{}
		unmarked := t.String()
		if err := n.conn.One(ctx, rtnl.SetLink(rtnl.LinkSet{Index: 1, Alias: &unmarked})); err != nil {
			return err
		}
	}
	if err := n.settleRecords(ctx, records(&lo)); err != nil {
		return err
	}
	return n.stillThere(&lo)
}

// stillThere returns errInterrupted where settling the records of lo took the key
// away.
func (n *Namespace) stillThere(lo *rtnl.Link) error {
	for _, r := range records(lo) {
		if slices.Contains(r.UnpinKeys(), n.key) && !netns.At(n.key, n.id) {
			return errInterrupted
		}
	}
	return nil
}

// lockPinned takes the locks of the keys that records are about to take away, but
// for this one, and reads lo again: who is just pinning the namespace there, or
// taking that away, holds them.
func (n *Namespace) lockPinned(ctx context.Context, lo *rtnl.Link) (unlock func(), err error) {
	var s lockSet
	for _, r := range records(lo) {
		for _, key := range r.UnpinKeys() {
			if canonical(key) == canonical(n.key) || slices.ContainsFunc(s.ids, func(l lockID) bool { return l.key == canonical(key) }) {
				continue
			}
			if err := s.take(ctx, key); err != nil {
				s.letGo()
				return nil, err
			}
		}
	}
	if len(s.ids) > 0 {
		*lo, err = n.loopback(ctx)
	}
	if err != nil {
		s.letGo()
		return nil, err
	}
	return s.letGo, nil
}
