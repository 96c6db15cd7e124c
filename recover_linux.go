package osl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// errInterrupted says that a sandbox was removed because the process that made
// it died before it was complete.
var errInterrupted = fmt.Errorf("%w: its creation was interrupted; what was left of it is removed", ErrNotFound)

// Recover opens the sandbox at the key of name as Open does and puts back what
// a process that died left half done. Nothing to do is no error, nor is a
// sandbox that was itself half made: it is removed, and what came from the
// host goes home; so is a key that never got a namespace, or lost it.
func Recover(ctx context.Context, name string) error {
	n, err := Open(ctx, name)
	if errors.Is(err, errInterrupted) {
		return nil
	}
	if key, kerr := KeyPath(name); kerr == nil && errors.Is(err, ErrNotNamespace) && stale(key) {
		collect(key)
		return nil
	}
	if err != nil {
		return err
	}
	return n.Close()
}

// RecoverHost puts right what a process that died, or a namespace that ended
// without osl, left on the host: a physical device that the kernel brought back
// under the name that it had inside gets its first name and settings again, and
// a change of the host that was interrupted is taken back. Nothing to do is no
// error. A device whose first name is taken meanwhile keeps the one it has, and
// the error says so.
func RecoverHost(ctx context.Context) error {
	const op = "recover the host"
	conn, err := dialHost()
	if err != nil {
		return fail(op, "", "", err)
	}
	host := &Namespace{host: true, conn: conn}
	defer host.Close()
	links, err := conn.Links(ctx)
	if err != nil {
		return fail(op, "", "", err)
	}
	var failed error
	for _, rec := range records(links) {
		failed = errors.Join(failed, fail(op, rec.Leader, "", host.recoverRecord(ctx, rec)))
	}
	for i := range links {
		if t, ok := plan.ParseTag(links[i].Alias); ok && t.Origin == plan.Host {
			failed = errors.Join(failed, fail(op, "", links[i].Name, host.recoverLink(ctx, &links[i], t)))
		}
	}
	return failed
}

// recoverRecord settles a record on the host once nobody is at work on the
// change any more. Opening its leader does so, if there is one.
func (n *Namespace) recoverRecord(ctx context.Context, rec plan.Noted) error {
	key := rec.Leader
	if key == "" {
		key = hostKey()
	} else if leader, err := Open(ctx, key); err == nil {
		leader.Close()
	}
	unlock, err := lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	return n.settleOne(ctx, rec.ID)
}

// recoverLink gives a link that came home by itself its first name and settings
// back.
func (n *Namespace) recoverLink(ctx context.Context, l *rtnl.Link, t plan.Tag) error {
	home := plan.Remove(plan.HostNS, l, t, nil)[0].Do.(plan.SetLink)
	set := home.Link
	set.Index, set.NewIndex = l.Index, 0
	if set.Name == l.Name {
		set.Name = ""
	}
	_, err := n.conn.Surely(ctx, rtnl.SetLink(set))
	if err != nil {
		return ofAction(plan.Op{Dev: l.Name, Do: plan.SetLink{Link: set}}, err)
	}
	return nil
}

// heal puts back what a dead process left under way. It locks the sandbox only
// if something is: then either its owner lives, and heal waits for it, or it
// is dead and its lock free.
func (n *Namespace) heal(ctx context.Context) error {
	links, err := n.conn.Links(ctx)
	if err != nil {
		return err
	}
	if !underWay(links) {
		return nil
	}
	unlock, err := lockToRemove(ctx, n.key)
	if err != nil {
		return err
	}
	defer unlock()
	if !netns.At(n.key, n.id) {
		return errInterrupted
	}
	return n.healLocked(ctx, n.conn)
}

func underWay(links []rtnl.Link) bool {
	for i := range links {
		if t, ok := plan.ParseTag(links[i].Alias); ok && t.UnderWay {
			return true
		}
		if t, ok := plan.ParseSandboxTag(links[i].Alias); ok && t.UnderWay {
			return true
		}
	}
	return len(records(links)) > 0
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
	var lo rtnl.Link
	if err := leader.conn.One(ctx, rtnl.GetLink(1, "", &lo)); err != nil {
		return false, fail("ask the sandbox that led the change", c.Leader, "", err)
	}
	return over(&lo, c.ID), nil
}

// happened is committed for a part of a change that is found in a sandbox with
// these links.
func happened(ctx context.Context, c plan.Commit, links []rtnl.Link) (bool, error) {
	if c.Leader != "" {
		return committed(ctx, c)
	}
	if c.ID == "" {
		return false, nil
	}
	for i := range links {
		if links[i].Index == 1 {
			return over(&links[i], c.ID), nil
		}
	}
	return false, nil
}

// over reports whether a leader's lo does not say that the change is under way.
func over(lo *rtnl.Link, id string) bool {
	for _, rec := range plan.ParseRecords(lo.AltName) {
		if rec.Whole && rec.Role == plan.Undo && rec.ID == id {
			return false
		}
	}
	t, ok := plan.ParseSandboxTag(lo.Alias)
	return !ok || !(t.UnderWay && t.Commit.ID == id)
}

func (n *Namespace) healLocked(ctx context.Context, conn *rtnl.Conn) error {
	links, err := conn.Links(ctx)
	if err != nil || !underWay(links) {
		return err
	}
	r := newRun(ctx, n)
	defer r.close()
	fdb, err := homewardFDB(ctx, conn, links)
	if err != nil {
		return err
	}
	state := &plan.State{Neighs: fdb}
	var home, clear, gone, forget []plan.Op
	doomed := false
	for i := range links {
		l := &links[i]
		if t, ok := plan.ParseSandboxTag(l.Alias); ok && t.UnderWay {
			done, err := happened(ctx, t.Commit, links)
			if err != nil {
				return err
			}
			if doomed = !done; !doomed {
				t.UnderWay, t.Commit = false, plan.Commit{}
				clear = append(clear, plan.Retag(n.space(), l, t.String()))
			}
			continue
		}
		t, ok := plan.ParseTag(l.Alias)
		if !ok || !t.UnderWay {
			continue
		}
		done, err := happened(ctx, t.Commit, links)
		if err != nil {
			return err
		}
		switch {
		case done:
			t.UnderWay, t.Commit = false, plan.Commit{}
			clear = append(clear, plan.Retag(n.space(), l, t.String()))
		case t.Origin == plan.Host:
			forget = append(forget, plan.Forget(n.space(), l, t, state)...)
			home = append(home, plan.Remove(n.space(), l, t, state)...)
		default:
			gone = append(gone, plan.Remove(n.space(), l, t, &plan.State{})...)
		}
	}
	// Links first: what a record puts back on the host is on them.
	if err := r.forward(forget); err != nil {
		return err
	}
	if err := r.sendHome(conn, home, true); err != nil {
		return err
	}
	if doomed {
		if err := n.destroyLocked(ctx, conn); err != nil {
			return err
		}
		return errInterrupted
	}
	// Records last: that a change has not happened is in them.
	if err := r.forward(append(clear, gone...)); err != nil {
		return err
	}
	return n.settleRecords(ctx, records(links))
}
