package osl

import (
	"context"
	"errors"
	"fmt"

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
	return false
}

// committed reports whether the change of several sandboxes, of which a part is
// found under way, has happened all the same: its leader is not under way for
// it any more. A leader that is gone was itself put back.
func committed(ctx context.Context, c plan.Commit) bool {
	if c.Leader == "" {
		return false
	}
	leader, err := open(c.Leader)
	if err != nil {
		return false
	}
	defer leader.Close()
	var lo rtnl.Link
	if err := leader.conn.One(ctx, rtnl.GetLink(1, "", false, &lo)); err != nil {
		return false
	}
	t, ok := plan.ParseSandboxTag(lo.Alias)
	return ok && !(t.UnderWay && t.Commit.ID == c.ID)
}

func (n *Namespace) healLocked(ctx context.Context, conn *rtnl.Conn) error {
	links, err := conn.Links(ctx)
	if err != nil || !underWay(links) {
		return err
	}
	r := newRun(ctx, n)
	defer r.close()
	var home, rest []plan.Op
	for i := range links {
		l := &links[i]
		if t, ok := plan.ParseSandboxTag(l.Alias); ok && t.UnderWay {
			if committed(ctx, t.Commit) {
				t.UnderWay = false
				rest = append(rest, plan.Retag(n.space(), l, t.String()))
				continue
			}
			if err := n.destroyLocked(ctx, conn); err != nil {
				return err
			}
			return errInterrupted
		}
		t, ok := plan.ParseTag(l.Alias)
		switch {
		case !ok || !t.UnderWay:
		case committed(ctx, t.Commit):
			t.UnderWay = false
			rest = append(rest, plan.Retag(n.space(), l, t.String()))
		case t.Origin == plan.Host:
			home = append(home, plan.Remove(n.space(), l, t, &plan.State{})...)
		default:
			rest = append(rest, plan.Remove(n.space(), l, t, &plan.State{})...)
		}
	}
	if err := r.sendHome(conn, home, true); err != nil {
		return err
	}
	return r.do(rest)
}
