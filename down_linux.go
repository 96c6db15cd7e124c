package osl

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"golang.org/x/sys/unix"
)

// Down destroys the sandboxes of net and the ends of its links on the host.
// What is not there is passed over. It returns what it did.
func Down(ctx context.Context, net Network) (Changes, error) {
	c, err := down(ctx, net, true)
	return c, fail("take the network down", "", "", err)
}

// DiffDown returns what Down would do, and does nothing.
func DiffDown(ctx context.Context, net Network) (Changes, error) {
	c, err := down(ctx, net, false)
	return c, fail("compare the network", "", "", err)
}

// doomed are the sandboxes that a Down destroys, locked where it really does.
type doomed struct {
	run    *run
	open   []*Namespace
	stale  []string // keys without a namespace
	unlock []func()
}

func down(ctx context.Context, net Network, really bool) (c Changes, err error) {
	d := doomed{run: newRun(ctx)}
	defer d.close()
	want, err := d.run.wantNetworkNames(net)
	if err != nil {
		return nil, err
	}
	// In the order of keys, so that nobody waits for each other.
	for _, key := range slices.Sorted(slices.Values(want.keys)) {
		if err := d.find(ctx, key, really); err != nil {
			return nil, fail("", key, "", err)
		}
	}
	ends, err := d.run.hostEnds(want.hostEnds)
	if err != nil {
		return nil, err
	}
	for _, e := range ends {
		c = append(c, Change{Sandbox: HostName, Kind: ChangeEdit, Command: "ip link del dev " + e.Dev})
	}
	for _, key := range want.keys {
		if !slices.Contains(d.stale, key) && !slices.ContainsFunc(d.open, func(n *Namespace) bool { return n.key == key }) {
			continue
		}
		name, known := commandName(key)
		cmd := "ip netns del " + name
		if !known {
			cmd = "umount " + key + " && rm " + key
		}
		c = append(c, Change{Sandbox: nameOf(key), Kind: ChangeRemove, Command: cmd})
	}
	if !really {
		return c, nil
	}
	return c, d.destroy(ctx, ends)
}

func (d *doomed) close() {
	for _, n := range d.open {
		n.Close()
	}
	d.run.close()
	for _, u := range slices.Backward(d.unlock) {
		u()
	}
}

// find opens a sandbox, or notes that its namespace is gone.
func (d *doomed) find(ctx context.Context, key string, really bool) error {
	if really {
		unlock, err := lockToRemove(ctx, key)
		if err != nil {
			return err
		}
		d.unlock = append(d.unlock, unlock)
	}
	n, err := open(key)
	switch {
	case err == nil:
		d.open = append(d.open, n)
	case errors.Is(err, netns.ErrNotNamespace) && dead(key):
		d.stale = append(d.stale, key)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return nil
}

// destroy marks all sandboxes before it ends the first: the leader, the last to
// be marked and to end, decides. Whoever finds one marked finishes the work if
// the leader is marked or gone, and takes the mark back if it is not.
func (d *doomed) destroy(ctx context.Context, ends []plan.Op) error {
	unmark := map[*Namespace]func(){}
	giveUp := func(err error) error {
		for _, f := range unmark {
			f()
		}
		return err
	}
	order := slices.Clone(d.open)
	slices.Reverse(order) // the lowest key leads
	if len(order)+len(ends) > 1 && len(order) > 0 {
		commit := plan.NewCommit(order[len(order)-1].key)
		for _, n := range order {
			f, err := n.mark(ctx, n.conn, commit.For(n.key))
			unmark[n] = f
			if err != nil {
				return giveUp(fail("", n.key, "", err))
			}
		}
	}
	if host := d.run.spaces[plan.HostNS]; host != nil {
		if err := d.run.remove(host, ends); err != nil {
			return giveUp(err)
		}
	}
	for _, n := range order {
		if err := n.destroyLocked(ctx, n.conn); err != nil {
			return giveUp(fail("", n.key, "", err))
		}
		delete(unmark, n)
	}
	for _, key := range d.stale {
		if err := netns.Unpin(key); err != nil {
			return fail("", key, "", err)
		}
	}
	return nil
}

// hostEnds returns the steps that delete the links of the host with these names,
// as far as osl made them.
func (r *run) hostEnds(names []string) (ops []plan.Op, err error) {
	if len(names) == 0 {
		return nil, nil
	}
	host, err := r.space(plan.HostNS)
	if err != nil {
		return nil, err
	}
	found := make([]rtnl.Link, len(names))
	reqs := make([]rtnl.Request, len(names))
	for i, name := range names {
		reqs[i] = rtnl.GetLink(0, name, &found[i])
	}
	errs, err := host.conn.Do(r.ctx, reqs...)
	if err != nil {
		return nil, err
	}
	for i, l := range found {
		t, ok := plan.ParseTag(l.Alias)
		if errors.Is(errs[i], unix.ENODEV) || errs[i] == nil && (!ok || t.Origin != plan.Far) {
			continue
		}
		if errs[i] != nil {
			return nil, fail("", "", names[i], errs[i])
		}
		ops = append(ops, plan.Op{NS: plan.HostNS, Dev: names[i], Do: plan.DelLink{Index: l.Index}, Last: true})
	}
	return ops, nil
}
