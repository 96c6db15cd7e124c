//go:build linux

package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/want"
)

// linkEnds are the indexes of a veth's end in a sandbox, and of its other end
// elsewhere. Where osl chose both, at random, no two links have the same; the kernel
// gives the same ones in each namespace.
type linkEnds struct{ here, there int }

// links reads the links of each sandbox.
func (d *doomed) links(ctx context.Context) ([][]rtnl.Link, error) {
	lists := make([][]rtnl.Link, len(d.open))
	return lists, inParallel(len(d.open), func(i int) (err error) {
		lists[i], err = d.open[i].conn.Links(ctx)
		return fail("", d.open[i].key, "", err)
	})
}

// endsIn returns the links between sandboxes that are to end, as each sees them:
// nobody is left there to see what remains of them for a moment.
func endsIn(lists [][]rtnl.Link) map[linkEnds]bool {
	if len(lists) < 2 {
		return nil
	}
	ends := map[linkEnds]bool{}
	for _, links := range lists {
		for i := range links {
			l := &links[i]
			if t, _ := plan.ParseTag(l.Alias); t.Origin == plan.Made && plan.KindOf(l.Kind).Pair && l.ParentNS && plan.IsChosen(l.Index) && plan.IsChosen(l.Parent) {
				ends[linkEnds{l.Index, l.Parent}] = true
			}
		}
	}
	return ends
}

// abroad are the links of a sandbox that ends that hold something outside of it: the
// other end of a veth, a link of the host below, a tunnel of the host. The kernel takes
// them away, those of others too, but only when nothing keeps the namespace any more,
// and then in its own time. What leads to another sandbox that ends too, as ending
// says, is left to it.
func abroad(links []rtnl.Link, ending map[linkEnds]bool) (list []rtnl.Link) {
	home := map[int]bool{} // those that leave
	for i := range links {
		if t, _ := plan.ParseTag(links[i].Alias); t.Origin == plan.Host {
			home[links[i].Index] = true
		}
	}
	for i := range links {
		if ending[linkEnds{links[i].Parent, links[i].Index}] && plan.KindOf(links[i].Kind).Pair {
			continue
		}
		switch t, _ := plan.ParseTag(links[i].Alias); {
		case t.Origin == plan.Made && (links[i].ParentNS || home[links[i].Parent]), t.Origin == plan.None && links[i].ParentNS:
			list = append(list, links[i])
		}
	}
	return list
}

// hostEnds returns the steps that delete the ends of links on the host, as far as
// osl made them and the others are in the sandboxes that are taken down, or in
// namespaces that are gone: those of a sandbox that is somewhere else stay.
func (d *doomed) hostEnds(ends []want.HostEnd) (ops []plan.Op, err error) {
	if len(ends) == 0 {
		return nil, nil
	}
	host, err := d.run.space(plan.HostNS)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(ends))
	for i, e := range ends {
		names[i] = e.Name
	}
	found, errs, err := linksNamed(d.run.ctx, host.conn, names)
	if err != nil {
		return nil, err
	}
	open := map[string]*Namespace{}
	for _, n := range d.open {
		open[n.key] = n
	}
	for i := range found {
		l := &found[i]
		t, ok := plan.ParseTag(l.Alias)
		if errors.Is(errs[i], unix.ENODEV) || errs[i] == nil && (!ok || t.Origin != plan.Far) {
			continue
		}
		if errs[i] != nil {
			return nil, fail("", "", ends[i].Name, errs[i])
		}
		n := open[ends[i].Key]
		if n == nil && !slices.Contains(d.stale, ends[i].Key) {
			continue
		}
		if n != nil {
			var other rtnl.Link
			err := n.conn.One(d.run.ctx, rtnl.GetLink(l.Parent, "", &other))
			if err != nil && !plan.Absent(err) {
				return nil, fail("", n.key, ends[i].Name, err)
			}
			if other.Parent != l.Index {
				continue
			}
		}
		ops = append(ops, plan.Op{NS: plan.HostNS, Dev: ends[i].Name, Do: plan.DelLink{Index: l.Index}, Last: true})
	}
	return ops, nil
}

// endFar deletes the ends that links of the sandboxes have on the host in one go, also those
// that no file told: one by one each waits for a grace period of the kernel. They are among
// the ending then.
func (d *doomed) endFar(lists [][]rtnl.Link, ending map[linkEnds]bool) error {
	if len(lists) < 2 {
		return nil
	}
	far := map[linkEnds]bool{}
	for i, links := range lists {
		if d.open[i].stays(&d.lo[i]) != nil {
			continue
		}
		for _, l := range abroad(links, ending) {
			if plan.KindOf(l.Kind).Pair && plan.IsChosen(l.Index) && plan.IsChosen(l.Parent) {
				far[linkEnds{l.Parent, l.Index}] = true
			}
		}
	}
	if len(far) < 2 {
		return nil
	}
	links, err := d.run.linksOnHost()
	if err != nil {
		return fail("read the host", "", "", err)
	}
	var ops []plan.Op
	for i := range links {
		l := &links[i]
		// It has no tag yet where a process died that was making it.
		if far[linkEnds{l.Index, l.Parent}] && l.ParentNS && plan.KindOf(l.Kind).Pair {
			ops = append(ops, plan.Op{NS: plan.HostNS, Dev: l.Name, Do: plan.DelLink{Index: l.Index}, Last: true})
			ending[linkEnds{l.Index, l.Parent}] = true
		}
	}
	return d.run.remove(ops)
}

// deleteAbroad deletes such links. The kernel takes them off its lists, with their
// other ends, long before it is done with them: they are gone when this returns,
// and a thread of their own waits for the rest.
func (r *run) deleteAbroad(ctx context.Context, n *Namespace, links []rtnl.Link) error {
	if len(links) == 0 {
		return nil
	}
	ops := make([]plan.Op, len(links))
	reqs := make([]rtnl.Request, len(links))
	for i, l := range links {
		ops[i] = plan.Op{NS: n.space(), Dev: l.Name, Do: plan.DelLink{Index: l.Index}, Last: true}
		reqs[i] = rtnl.DelLink(l.Index)
	}
	conn, err := dial(r.fd(n.space()))
	if err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer conn.Close()
		_, _ = conn.Do(context.WithoutCancel(ctx), together(ops, reqs)...) // what is there still is asked below
	}()
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		var listed bool
		if links, listed = stillListed(n.conn, links); !listed {
			// Who has the lock of all links after the deletion finds it done.
			var lo rtnl.Link
			return n.conn.One(ctx, rtnl.GetLink(1, "", &lo))
		}
		select {
		case <-done:
			if links, listed = stillListed(n.conn, links); listed {
				left := slices.DeleteFunc(ops, func(op plan.Op) bool {
					return !slices.ContainsFunc(links, func(l rtnl.Link) bool { return l.Name == op.Dev })
				})
				return r.remove(left)
			}
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// stillListed returns the links from the first on that the namespace still lists.
func stillListed(conn *netlink.Conn, links []rtnl.Link) ([]rtnl.Link, bool) {
	for len(links) > 0 {
		if index, err := conn.Index(links[0].Name); errors.Is(err, unix.ENODEV) || err == nil && index != links[0].Index {
			links = links[1:]
			continue
		}
		return links, true
	}
	return nil, false
}
