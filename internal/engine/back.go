//go:build linux

package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
)

// back undoes everything that was done and returns what could not be.
func (r *run) back() (left []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), undoTimeout)
	defer cancel()
	defer func(before context.Context) { r.ctx = before }(r.ctx)
	r.ctx = ctx
	ops, guests := r.inverses()
	for len(ops) > 0 {
		n := 1
		switch kind := inverseOf(ops[0]); kind {
		case ending, deletion:
			for n < len(ops) && inverseOf(ops[n]) == kind {
				n++
			}
			if kind == ending {
				left = append(left, r.endSpaces(ops[:n], guests)...)
			} else {
				left = append(left, r.unmake(ops[:n])...)
			}
		case message:
			for n < len(ops) && inverseOf(ops[n]) == kind && ops[n].NS == ops[0].NS {
				n++
			}
			left = append(left, r.revertAll(ops[:n])...)
		default:
			left = append(left, r.leftovers(ops[0], r.revert(ops[0]))...)
		}
		ops = ops[n:]
	}
	return left
}

// inverseKind tells which inverses can be carried out together.
type inverseKind int

const (
	other    inverseKind = iota
	ending               // of a sandbox that the run made
	deletion             // of a link
	message              // any other than a link's way home
)

func inverseOf(op plan.Op) inverseKind {
	switch a := op.Do.(type) {
	case plan.MakeNS:
		return ending
	case plan.DelLink:
		return deletion
	case plan.SetLink:
		if a.To != nil {
			return other
		}
		return message
	case plan.Message:
		return message
	}
	return other
}

// inverses returns what undoes the steps that were done, the last one first. What
// is in a sandbox that ends goes with it, but for what came from the host. guests
// are the sandboxes that such links were to move into.
//
// A link of two namespaces is deleted where it outlives a sandbox that ends, and
// else on the side where more of them are.
func (r *run) inverses() (ops []plan.Op, guests map[string]bool) {
	made, guests := map[string]bool{}, map[string]bool{}
	for _, n := range r.made {
		made[n.key] = true
	}
	twins, ends, excludes := map[linkID]plan.Op{}, map[string]int{}, map[linkID]bool{}
	for _, op := range r.ops {
		switch a := op.Do.(type) {
		case plan.SetLink:
			if a.To != nil {
				guests[*a.To] = true
			}
		case plan.NewLink:
			if a.In != nil {
				excludes[linkID{*a.In, a.Link.Index}] = a.Excludes()
			}
			if a.PeerNS != nil {
				twins[linkID{op.NS, a.Link.Index}] = plan.Op{NS: *a.PeerNS, Dev: a.Link.Peer.Name, Do: plan.DelLink{Index: a.Link.Peer.Index}}
				ends[op.NS]++
				ends[*a.PeerNS]++
			}
		}
	}
	for i := len(r.undo) - 1; i >= 0; i-- {
		for _, op := range r.undo[i] {
			if del, is := op.Do.(plan.DelLink); is {
				id := linkID{op.NS, del.Index}
				twin, two := twins[id]
				switch {
				case made[op.NS] && two && !made[twin.NS], two && !made[op.NS] && !made[twin.NS] && ends[twin.NS] > ends[op.NS]:
					op = twin
				case made[op.NS] && excludes[id]:
					// What it has on the host is taken until it is gone.
					ops = append(ops, op)
					continue
				}
			}
			if kind := inverseOf(op); made[op.NS] && kind != ending && !moves(op) {
				continue
			}
			ops = append(ops, op)
		}
	}
	plan.InTurn(ops)
	return ops, guests
}

// isHome reports whether an inverse brings a link of the host home.
func isHome(op plan.Op) bool {
	set, ok := op.Do.(plan.SetLink)
	return ok && set.To != nil && *set.To == plan.HostNS
}

// moves reports whether an inverse brings a link into another namespace.
func moves(op plan.Op) bool {
	set, ok := op.Do.(plan.SetLink)
	return ok && set.To != nil
}

// endSpaces ends sandboxes that the run made, as many at a time as there are
// processors; the one that was made first, which may lead the change, is the last.
func (r *run) endSpaces(ops []plan.Op, guests map[string]bool) (left []string) {
	var mu sync.Mutex
	end := func(i int) error {
		n := r.spaces[ops[i].NS]
		end := func() error { return n.endKey(nil) }
		if guests[n.key] { // one may be there still
			end = func() error { return n.destroyLocked(r.ctx) }
		}
		if err := end(); err != nil {
			mu.Lock()
			defer mu.Unlock()
			left = append(left, fmt.Sprintf("the sandbox %s (%v), remove it with: osl rm %s", n.key, err, base.NameOf(n.key)))
		}
		return nil
	}
	last := len(ops) - 1
	_ = inParallel(last, end)
	_ = end(last)
	for _, op := range ops {
		if dir := r.spaces[op.NS].dir; dir != nil {
			dir()
		}
	}
	return left
}

// unmake deletes links.
func (r *run) unmake(ops []plan.Op) (left []string) {
	for i, err := range r.deleteAll(ops) {
		left = append(left, r.leftovers(ops[i], err)...)
	}
	return left
}

// revertAll carries out inverses that are messages to one namespace.
func (r *run) revertAll(ops []plan.Op) (left []string) {
	n, err := r.space(ops[0].NS)
	reqs := make([]rtnl.Request, len(ops))
	errs := make([]error, len(ops))
	var unknown error
	if err == nil {
		for i, op := range ops {
			reqs[i] = op.Do.(plan.Message).Request(r.fd)
		}
		errs, unknown = n.conn.Do(r.ctx, reqs...)
	}
	for i, op := range ops {
		failed := err
		switch {
		case failed != nil:
		case unknown != nil:
			failed = n.conn.One(r.ctx, reqs[i])
		default:
			failed = errs[i]
		}
		if errors.Is(failed, unix.EOPNOTSUPP) && changesMAC(op) {
			failed = r.butMAC(n, op.Do.(plan.SetLink), failed)
		}
		left = append(left, r.leftovers(op, failed)...)
	}
	return left
}

// butMAC puts a link back whose driver takes no hardware address, where it still has its
// own: also that one is refused.
func (r *run) butMAC(n *Namespace, set plan.SetLink, refused error) error {
	var l rtnl.Link
	if err := n.conn.One(r.ctx, rtnl.GetLink(set.Link.Index, "", &l)); err != nil || !bytes.Equal(l.MAC, set.Link.MAC) {
		return refused
	}
	set.Link.MAC = nil
	return n.conn.One(r.ctx, set.Request(r.fd))
}

// revert carries out one inverse that is for itself.
func (r *run) revert(op plan.Op) error {
	if isHome(op) {
		return r.bringBack(op)
	}
	if moves(op) {
		return r.moveBack(op)
	}
	return r.step(op)
}

// leftovers tells what an inverse that failed leaves. What is there already is as
// it was, but not a name on the host that keeps a link from coming home; so is what the
// kernel has no support for.
func (r *run) leftovers(op plan.Op, err error) []string {
	if op.Unsupported && errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	if err != nil && !plan.NoEntry(op.Do, err) && (!plan.Absent(err) || isHome(op) && errors.Is(err, unix.EEXIST)) {
		return []string{r.leftover(op, err)}
	}
	return nil
}

func (r *run) leftover(op plan.Op, err error) string {
	if d, is := op.Do.(plan.DelAltName); is && d.Index == 1 {
		return fmt.Sprintf("the note in %s of what was to be undone (%v), take it away with: osl recover", spaceName(op.NS), err)
	}
	if home := (*notWhole)(nil); errors.As(err, &home) {
		return home.Error()
	}
	commands := plan.Commands(op, shell.For(base.Path()))
	if len(commands) == 0 {
		return fmt.Sprintf("%s in %s (%v)", op.Dev, base.NameOf(op.NS), err)
	}
	return fmt.Sprintf("this could not be undone (%v), try: %s", err, strings.Join(commands, " && "))
}
