//go:build linux

package engine

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"slices"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
	"github.com/seed59451c2b/osl/internal/want"
)

// Down destroys the sandboxes of net and the ends of its links on the host, with
// force also those that another program made. Without really it does nothing. It
// returns what there was to do.
func Down(ctx context.Context, net want.Network, force, really bool) ([]Change, error) {
	op := "compare the network"
	if really {
		op = "take the network down"
	}
	c, err := down(ctx, net, force, really)
	return c, fail(op, "", "", err)
}

// doomed are the sandboxes that a Down destroys, locked where it really does.
type doomed struct {
	force bool
	run   *run
	open  []*Namespace // in the order of their keys
	lo    []rtnl.Link  // of each
	stale []string     // keys without a namespace
	of    plan.Commit  // the change that died of which alone they are
	name  string       // of the network, empty for none
	note  []string     // alternative names of the leader's lo, which say who ends with it
	locks lockSet
}

func down(ctx context.Context, net want.Network, force, really bool) (c []Change, err error) {
	d := doomed{run: newRun(ctx), force: force}
	defer d.close()
	names, err := net.Names(keysOf(ctx))
	if err == nil && really {
		err = d.locks.network(ctx, net.Name)
	}
	if err != nil {
		return nil, err
	}
	more, err := ofNetwork(ctx, net.Name, names.Keys)
	if err != nil {
		return nil, err
	}
	names.Keys = append(names.Keys, more...)
	d.name = net.Name
	order, ids := inLockOrder(names.Keys)
	err = d.find(ctx, order, ids, really)
	if errors.Is(err, errUnsettled) {
		// One by one: who puts a change back takes the locks of its parts.
		d.letGo()
		for _, key := range order {
			if err := Recover(ctx, key); err != nil && !errors.Is(err, fault.ErrNotFound) {
				return nil, err
			}
		}
		if err = d.locks.network(ctx, net.Name); err == nil {
			err = d.find(ctx, order, ids, really)
		}
	}
	if err != nil {
		return nil, err
	}
	ends, err := d.hostEnds(names.HostEnds)
	if err != nil {
		return nil, err
	}
	// Where all of its sandboxes are gone none says whether it had something there.
	made, err := d.madeOnHost(ctx, names.OnHost || len(names.Keys) == 0)
	if err != nil {
		return nil, fail("read the host", "", "", err)
	}
	ends = append(ends, made...)
	for _, e := range ends {
		c = append(c, commands(e, shell.For(base.Path()))...)
	}
	there := map[string][]Change{}
	for i, n := range d.open {
		if there[n.key], err = n.endChanges(ctx, &d.lo[i], nil); err != nil {
			return nil, fail("", n.key, "", err)
		}
	}
	for _, key := range d.stale {
		there[key] = []Change{removeChange(key)}
	}
	for _, key := range names.Keys {
		c = append(c, there[key]...)
	}
	if !really {
		return c, nil
	}
	return c, d.destroy(ctx, ends, len(made) > 0)
}

func (d *doomed) close() {
	d.run.close()
	d.letGo()
}

func (d *doomed) letGo() {
	for _, n := range d.open {
		n.Close()
	}
	d.locks.letGo()
	d.open, d.lo, d.stale, d.locks = nil, nil, nil, lockSet{}
}

// errUnsettled says that a dead process left something under way.
var errUnsettled = errors.New("a change was interrupted; put it right with: osl recover")

// find opens sandboxes, or notes that their namespaces are gone.
func (d *doomed) find(ctx context.Context, keys []string, ids map[string]lockID, really bool) error {
	if really {
		for _, key := range keys {
			if err := d.locks.add(ctx, ids[key]); err != nil {
				return fail("", key, "", err)
			}
		}
	}
	found := make([]*Namespace, len(keys))
	lo := make([]rtnl.Link, len(keys))
	stale := make([]bool, len(keys))
	err := inParallel(len(keys), func(i int) (err error) {
		found[i], err = openAs(keys[i], ids[keys[i]])
		if stale[i] = isDead(err); stale[i] || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			found[i].force = d.force
			lo[i], err = found[i].loopback(ctx)
		}
		if err == nil && !found[i].host {
			network := plan.NetworkOf(&lo[i])
			switch {
			case d.of != plan.Commit{}:
				if killedOf(keys[i], &lo[i]) != d.of || found[i].stays(&lo[i]) != nil {
					found[i].Close()
					found[i] = nil
				}
			case d.name != "" && network != "" && network != d.name:
				err = anotherNetworks(keys[i], network)
			case really && underWay(&lo[i]):
				err = errUnsettled
			}
		}
		return fail("", keys[i], "", err)
	})
	for i, n := range found {
		switch {
		case n != nil:
			d.open, d.lo = append(d.open, n), append(d.lo, lo[i])
		case stale[i]:
			d.stale = append(d.stale, keys[i])
		}
	}
	if really && err == nil {
		err = d.healHost(ctx)
	}
	return err
}

// healHost locks the host's own namespace where it is among the sandboxes, and puts
// right what a dead process left of it, before anything is noted there.
func (d *doomed) healHost(ctx context.Context) error {
	if !slices.ContainsFunc(d.open, func(n *Namespace) bool { return n.host }) {
		return nil
	}
	if err := d.locks.take(ctx, base.HostKey()); err != nil {
		return err
	}
	for i := len(d.open) - 1; i >= 0; i-- {
		n := d.open[i]
		if !n.host {
			continue
		}
		err := n.healLocked(ctx)
		if errors.Is(err, errInterrupted) { // its key was to go, and is gone
			n.Close()
			d.open, d.lo = slices.Delete(d.open, i, i+1), slices.Delete(d.lo, i, i+1)
			continue
		}
		if err == nil {
			d.lo[i], err = n.loopback(ctx)
		}
		if err != nil {
			return fail("", n.key, "", err)
		}
	}
	return nil
}

// destroy marks all sandboxes before it ends the first: the leader, the one with
// the lowest key, is the last to be marked and to end, and decides. Whoever
// finds one marked finishes the work if the leader is marked or gone, and takes
// the mark back if it is not.
//
// onHost says that some of the ends on the host are not those of links, which would
// go with the sandboxes.
func (d *doomed) destroy(ctx context.Context, ends []plan.Op, onHost bool) error {
	unmark := make([]func(), len(d.open)) // of those that are marked and there
	struck := func() {}
	giveUp := func(err error) error {
		for _, f := range unmark {
			if f != nil {
				f()
			}
		}
		struck()
		d.forget(ctx)
		return err
	}
	if len(d.open)+len(ends) > 1 && len(d.open) > 0 {
		commit := plan.NewCommit(d.open[0].key)
		if err := d.noteParts(ctx, commit, onHost); err != nil {
			return err
		}
		if onHost {
			var err error
			if struck, err = d.noteOnHost(ctx, commit, ends); err != nil {
				return giveUp(err)
			}
		}
		if err := d.leaderLast(func(i int) (err error) {
			n := d.open[i]
			unmark[i], err = n.mark(ctx, &d.lo[i], commit.For(n.key))
			return fail("", n.key, "", err)
		}); err != nil {
			return giveUp(err)
		}
	}
	if err := d.run.pointOfNoReturn(); err != nil {
		return giveUp(err)
	}
	ctx = d.run.ctx
	if err := d.endOnHost(ends); err != nil {
		return giveUp(err)
	}
	struck()
	if err := d.endAll(ctx, unmark); err != nil {
		return giveUp(err)
	}
	for _, key := range d.stale {
		if err := netns.Unpin(key); err != nil {
			return fail("", key, "", err)
		}
	}
	return nil
}

// endAll ends the sandboxes, and before that the ends of their links on the host together.
func (d *doomed) endAll(ctx context.Context, unmark []func()) error {
	links, err := d.links(ctx)
	if err != nil {
		return err
	}
	ending := endsIn(links)
	if err := d.endFar(links, ending); err != nil {
		return err
	}
	return d.end(ctx, links, ending, unmark)
}

// end ends the sandboxes, which have these links, those of ending to be left to the kernel,
// and takes the unmark of each that ended away.
func (d *doomed) end(ctx context.Context, links [][]rtnl.Link, ending map[linkEnds]bool, unmark []func()) error {
	if len(d.open) == 0 {
		return nil
	}
	emptied, ends := make([]bool, len(d.open)), make([]bool, len(d.open))
	empty := func(i int) (err error) {
		ends[i], err = d.open[i].empty(ctx, links[i], ending)
		emptied[i] = err == nil
		return fail("", d.open[i].key, "", err)
	}
	end := func(i int) (err error) {
		if ends[i] {
			err = d.open[i].endKey(links[i])
		}
		if err == nil {
			unmark[i] = nil
		}
		return fail("", d.open[i].key, "", err)
	}
	err := inParallel(len(d.open)-1, func(i int) error { return empty(i + 1) })
	// One after the other: to take a mount away waits for all processors, and for one
	// that is at work much longer than for one that sleeps.
	for i := 1; i < len(d.open); i++ {
		if emptied[i] {
			err = cmp.Or(err, end(i))
		}
	}
	switch lo := (&plan.State{Links: links[0]}).ByIndex(1); {
	case err != nil || lo == nil || len(d.note) == 0:
	case d.open[0].stays(lo) != nil:
		d.forget(ctx)
		links[0], err = d.open[0].conn.Links(ctx)
	default:
		// It goes with the leader. To take it away would be to wait for the kernel, which is
		// at the end of the others.
		lo.AltName = slices.DeleteFunc(lo.AltName, func(name string) bool { return slices.Contains(d.note, name) })
	}
	if err == nil {
		err = empty(0)
	}
	if err == nil {
		err = end(0)
	}
	return err
}

// noteParts notes on the leader which others are to end with it: who ends the
// leader instead, after a kill, settles them first.
func (d *doomed) noteParts(ctx context.Context, c plan.Commit, onHost bool) error {
	rec := plan.Record{Role: plan.Redo, ID: c.ID}
	if onHost {
		rec.Parts = append(rec.Parts, plan.HostNS)
	}
	for _, n := range d.open[1:] {
		rec.Parts = append(rec.Parts, n.key)
	}
	names, ok := rec.Names()
	if !ok || len(rec.Parts) == 0 {
		return nil // too many
	}
	d.note = names
	err := d.open[0].conn.One(ctx, rtnl.NewAltName(1, names...))
	if err != nil {
		d.forget(ctx)
	}
	return err
}

// forget takes that note away.
func (d *doomed) forget(ctx context.Context) {
	if len(d.note) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if err := d.open[0].strike(ctx, plan.Noted{Names: d.note}); err != nil {
		slog.Warn("osl: a note of what ends together was not taken away; osl recover does it", "key", d.open[0].key, "error", err)
	}
	d.note = nil
}

// leaderLast calls f for each sandbox that is open, for the leader when it has
// been called for all others.
func (d *doomed) leaderLast(f func(i int) error) error {
	if len(d.open) == 0 {
		return nil
	}
	if err := inParallel(len(d.open)-1, func(i int) error { return f(i + 1) }); err != nil {
		return err
	}
	return f(0)
}
