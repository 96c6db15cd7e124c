//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// free reports an error where the host has another link with the name of one that
// is to go home when the change has happened: there is no way back then.
func (r *run) free(ops []plan.Op) error {
	home := slices.DeleteFunc(slices.Clone(ops), func(op plan.Op) bool { _, is := op.Do.(plan.SetLink); return !is || !op.Last })
	if len(home) == 0 {
		return nil
	}
	taken, err := r.takenAtHome(home)
	for i := range taken {
		if taken[i] {
			return nameTaken(home[i])
		}
	}
	return err
}

func nameTaken(home plan.Op) error {
	return &fault.Error{Interface: home.Dev, Err: fault.ErrNameInUse,
		Hint: fmt.Sprintf("the host has another link %q; rename that one first", home.Do.(plan.SetLink).Link.Name)}
}

// homecoming keeps the links of several sandboxes, which end at the same time,
// from being given one name on the host. The kernel moves one at a time anyway.
var homecoming sync.Mutex

// sendHome brings links of a sandbox back to the host: all in one message
// batch, and one by one where that is refused. With force a link whose name is
// taken there comes home under another one.
func (r *run) sendHome(conn *netlink.Conn, ops []plan.Op, force bool) error {
	if len(ops) == 0 {
		return nil
	}
	homecoming.Lock()
	defer homecoming.Unlock()
	taken, err := r.takenAtHome(ops)
	if err != nil {
		return err
	}
	var reqs []rtnl.Request
	for i := range ops {
		home := ops[i].Do.(plan.SetLink)
		if taken[i] {
			if !force {
				return nameTaken(ops[i])
			}
			pattern := fmt.Sprintf("%.11s.%%d", home.Link.Name)
			slog.Warn("osl: the name of a link is taken on the host; it comes home under another one",
				"interface", home.Link.Name, "name", pattern)
			home.Link.Name = pattern
			ops[i].Do = home
		}
		reqs = append(reqs, home.Arrival().Request(r.fd))
	}
	errs, unknown := conn.Do(r.ctx, reqs...)
	var failed error
	var rest []plan.Op // what those lack still that have arrived
	for i := range ops {
		home := ops[i].Do.(plan.SetLink)
		known := unknown == nil && errs[i] == nil
		if known && home.AtOnce() {
			r.gone = true
			continue
		}
		more, err := r.arrive(conn, home, known)
		if err != nil {
			failed = errors.Join(failed, ofAction(ops[i], err))
			r.left = append(r.left, r.leftover(ops[i], err))
			continue
		}
		rest = append(rest, more...)
		r.gone = true
	}
	refused, err := r.unpack(rest)
	warnRefused(refused)
	return errors.Join(failed, err)
}

// home sends those of a sandbox's links home that came from the host, whether or
// not their names are free there.
func (r *run) home(n *Namespace, links []rtnl.Link) error {
	fdb, err := homewardFDB(r.ctx, n.conn, links)
	if err != nil {
		return err
	}
	state := &plan.State{Neighs: fdb}
	// In the order in which they came: which of them finds its name taken, and
	// what number it gets then, is no matter of chance.
	inOrder(links)
	var ops, forget []plan.Op
	for i := range links {
		if t, ok := plan.ParseTag(links[i].Alias); ok && t.Origin == plan.Host {
			forget = append(forget, plan.Forget(n.space(), &links[i], t, state)...)
			ops = append(ops, plan.Remove(n.space(), &links[i], t, state)...)
		}
	}
	if err = r.forward(forget); err == nil {
		err = r.sendHome(n.conn, ops, true)
	}
	return err
}

// homewardFDB reads osl's forwarding entries of those links that are vxlans of
// the host.
func homewardFDB(ctx context.Context, conn *netlink.Conn, links []rtnl.Link) (list []rtnl.Neigh, err error) {
	for i := range links {
		if t, _ := plan.ParseTag(links[i].Alias); t.Origin != plan.Host || links[i].Kind != "vxlan" {
			continue
		}
		part, err := conn.FDB(ctx, links[i].Index)
		if err != nil {
			return nil, err
		}
		list = append(list, part...)
	}
	return list, nil
}

// last carries out the steps that nothing takes back. One that fails is tried
// once more, and the others are done all the same.
func (r *run) last(ops []plan.Op) (failed error) {
	for len(ops) > 0 {
		key := ops[0].NS
		if _, ends := ops[0].Do.(plan.EndNS); ends {
			n := 1
			for n < len(ops) && ops[n].Do == ops[0].Do {
				n++
			}
			failed = errors.Join(failed, r.end(ops[:n]))
			ops = ops[n:]
			continue
		}
		if n := deletions(ops); n > 0 {
			failed = errors.Join(failed, r.remove(ops[:n]))
			ops = ops[n:]
			continue
		}
		var home, peers, rest, routes, keys []plan.Op
		for len(ops) > 0 && ops[0].NS == key {
			switch ops[0].Do.(type) {
			case plan.SetLink:
				home = append(home, ops[0])
			case plan.SetWireGuard:
				peers = append(peers, ops[0])
			case plan.ReplaceRoute:
				routes = append(routes, ops[0])
			case plan.Unpin:
				keys = append(keys, ops[0])
			default:
				rest = append(rest, ops[0])
			}
			ops = ops[1:]
		}
		n, err := r.space(key)
		if err == nil {
			err = r.sendHome(n.conn, home, r.forced)
		}
		if err == nil || r.gone {
			err = errors.Join(err, r.lastWireGuard(peers))
		}
		if err != nil && !r.gone {
			return err
		}
		failed = errors.Join(failed, err)
		if n != nil {
			failed = errors.Join(failed, r.remove(rest), r.lastRoutes(n, routes))
		}
		if failed == nil {
			failed = r.unpinLast(n, keys)
		}
	}
	return failed
}

// deletions returns how many of the first steps delete links of namespaces in which there is
// nothing else to do.
func deletions(ops []plan.Op) (n int) {
	for i, op := range ops {
		if _, is := op.Do.(plan.DelLink); !is {
			break
		}
		if i+1 == len(ops) || ops[i+1].NS != op.NS {
			n = i + 1
		}
	}
	return n
}

// end ends sandboxes that are not wanted any more.
func (r *run) end(ops []plan.Op) error {
	r.gone = true
	failed := make([]error, len(ops))
	_ = inParallel(len(ops), func(i int) error {
		n, err := r.space(ops[i].NS)
		for try := 0; err == nil && try < 2; try++ {
			if failed[i] = n.destroyLocked(context.WithoutCancel(r.ctx)); failed[i] == nil {
				return nil
			}
		}
		failed[i] = errors.Join(failed[i], err)
		return nil
	})
	for i, err := range failed {
		if err != nil {
			failed[i] = fail("", ops[i].NS, "", err)
			r.left = append(r.left, fmt.Sprintf("the sandbox %s, remove it with: osl rm %s", base.NameOf(ops[i].NS), base.NameOf(ops[i].NS)))
		}
	}
	return errors.Join(failed...)
}

// remove deletes links that nothing takes back.
func (r *run) remove(ops []plan.Op) (failed error) {
	for i, err := range r.deleteAll(ops) {
		if err != nil && !plan.Absent(err) {
			failed = errors.Join(failed, ofAction(ops[i], err))
			r.left = append(r.left, r.leftover(ops[i], err))
			continue
		}
		r.gone = true
	}
	return failed
}

// lastRoutes makes routes again that the kernel changed as links went.
func (r *run) lastRoutes(n *Namespace, ops []plan.Op) (failed error) {
	for _, op := range ops {
		if _, err := n.conn.Surely(r.ctx, op.Do.(plan.Message).Request(r.fd)); err != nil {
			failed = errors.Join(failed, ofAction(op, err))
			r.left = append(r.left, r.leftover(op, err))
		}
	}
	return failed
}

// manyWaits is how many deletions wait at a time, each for a grace period of the kernel:
// for that they need no processor.
const manyWaits = 64

// deleteAll deletes links, those of a namespace together, and returns what became of each.
func (r *run) deleteAll(ops []plan.Op) []error {
	failed := make([]error, len(ops))
	var order []string
	of := map[string][]int{}
	for i, op := range ops {
		if of[op.NS] == nil {
			order = append(order, op.NS)
		}
		of[op.NS] = append(of[op.NS], i)
	}
	spaces := make([]*Namespace, len(order))
	for at, key := range order {
		n, err := r.space(key)
		for _, i := range of[key] {
			failed[i] = err
		}
		spaces[at] = n
	}
	_ = atOnce(manyWaits, len(order), func(at int) error {
		those := of[order[at]]
		part := make([]plan.Op, len(those))
		for j, i := range those {
			part[j] = ops[i]
		}
		if spaces[at] != nil {
			for j, err := range r.deleteLinks(spaces[at], part) {
				failed[those[j]] = err
			}
		}
		return nil
	})
	return failed
}

// deleteLinks deletes links, together, and again one by one what that did not. It
// returns what became of each.
func (r *run) deleteLinks(n *Namespace, ops []plan.Op) []error {
	failed := make([]error, len(ops))
	if len(ops) == 1 && n.conn.Beside(r.ctx, ops[0].Dev, ops[0].Do.(plan.DelLink).Index) {
		return failed
	}
	reqs := make([]rtnl.Request, len(ops))
	for i, op := range ops {
		reqs[i] = op.Do.(plan.Message).Request(r.fd)
	}
	errs, unknown := n.conn.Do(r.ctx, together(ops, reqs)...)
	for i := range ops {
		err := errs[i]
		if len(ops) > 1 && err == nil {
			err = errs[len(ops)]
		}
		if unknown != nil || err != nil && !plan.Absent(err) {
			_, err = n.conn.Surely(r.ctx, reqs[i])
		}
		failed[i] = err
	}
	return failed
}

// together returns the requests that delete links in one go: each deletion
// waits for a grace period of the kernel, that of a group for one in all. They
// are put into a group of their own for it.
func together(ops []plan.Op, reqs []rtnl.Request) []rtnl.Request {
	if len(ops) == 1 {
		return reqs
	}
	group := rand.Uint32() | 1<<31
	var list []rtnl.Request
	for _, op := range ops {
		list = append(list, rtnl.SetLink(rtnl.LinkSet{Index: op.Do.(plan.DelLink).Index, Group: group}))
	}
	return append(list, rtnl.DelGroup(group))
}

// takenAtHome reports, for each link that goes home, whether another link of
// the host has its name. A name that is taken must be known before the move:
// the kernel would move the link under its old name and then fail.
func (r *run) takenAtHome(ops []plan.Op) ([]bool, error) {
	host, err := r.space(plan.HostNS)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(ops))
	for i, op := range ops {
		names[i] = op.Do.(plan.SetLink).Link.Name
	}
	found, errs, err := linksNamed(r.ctx, host.conn, names)
	if err != nil {
		return nil, err
	}
	taken := make([]bool, len(ops))
	for i := range found {
		if errs[i] != nil && !errors.Is(errs[i], unix.ENODEV) {
			return nil, ofAction(ops[i], errs[i])
		}
		taken[i] = found[i].Index != 0
	}
	return taken, nil
}
