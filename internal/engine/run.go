//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

func init() { plan.RenamesUp = kernelIs(6, 2) }

// kernelIs reports whether the kernel has at least this version.
func kernelIs(major, minor int) bool {
	var u unix.Utsname
	var have [2]int
	if unix.Uname(&u) != nil {
		return true
	}
	_, _ = fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &have[0], &have[1])
	return have[0] > major || have[0] == major && have[1] >= minor
}

// undoTimeout bounds the way back after a failure. It is a time of its own:
// the operation's may be what ran out.
const undoTimeout = 30 * time.Second

// run carries out one plan. It keeps the inverse of each step that was done,
// and of each that may have been.
type run struct {
	ctx    context.Context
	spaces map[string]*Namespace // open namespaces by key; the host's is plan.HostNS
	own    []*Namespace          // those that the run opened for itself
	files  map[string]*netns.File
	adds   bool                 // what is wanted is new
	links  map[linkID]rtnl.Link // as ReadLink found them
	ipv6s  map[linkID][]setting // what a link's IPv6 was before it was turned on or off
	undo   [][]plan.Op
	ops    []plan.Op    // what is carried out, with its records
	bare   bare         // namespaces for sandboxes that are to be made
	made   []*Namespace // sandboxes that the run made; a MakeNS in undo destroys one
	gone   bool         // a step was done that nothing takes back
	forced bool         // links go home under another name where theirs is taken
	left   []string     // what such steps left, where not all could be done
	waited map[string]bool
	tools  map[string]*generic // by key, of those that were asked
}

type linkID struct {
	key   string
	index int
}

type setting struct{ path, value string }

func newRun(ctx context.Context, spaces ...*Namespace) *run {
	r := &run{ctx: ctx, spaces: map[string]*Namespace{}, files: map[string]*netns.File{}, links: map[linkID]rtnl.Link{},
		ipv6s: map[linkID][]setting{}}
	for _, n := range spaces {
		r.spaces[n.space()] = n
	}
	return r
}

// reset forgets a plan that was undone, so that another can be carried out.
func (r *run) reset() {
	for _, n := range r.made {
		delete(r.spaces, n.key)
		if e := r.tools[n.key]; e != nil {
			_ = e.conn.Close()
			delete(r.tools, n.key)
		}
		if f := r.files[n.key]; f != nil {
			f.Release()
			delete(r.files, n.key)
		}
	}
	r.undo, r.ops, r.made, r.left = nil, nil, nil, nil
	clear(r.links)
	clear(r.ipv6s)
}

// close lets go of what the run opened for itself.
func (r *run) close() {
	r.bare.close()
	for _, f := range r.files {
		f.Release()
	}
	for _, e := range r.tools {
		_ = e.conn.Close()
	}
	for _, n := range r.own {
		n.Close()
	}
}

// space returns the open namespace of a key.
func (r *run) space(key string) (*Namespace, error) {
	if n := r.spaces[key]; n != nil {
		return n, nil
	}
	if key != plan.HostNS {
		return nil, fmt.Errorf("%w: the sandbox %s is not open", fault.ErrClosed, key)
	}
	n, err := openHost()
	if err != nil {
		return nil, err
	}
	r.spaces[key] = n
	r.own = append(r.own, n)
	return n, nil
}

// fd returns a descriptor of a key's namespace, -1 if there is none: the
// kernel refuses that one by itself.
func (r *run) fd(key string) int {
	if key == plan.HostNS {
		if fd, err := netns.Home(); err == nil {
			return fd
		}
		return -1
	}
	if f := r.files[key]; f != nil {
		return f.FD()
	}
	n := r.spaces[key]
	if n == nil {
		return -1
	}
	f, err := n.file()
	if err != nil {
		return -1
	}
	r.files[key] = f
	return f.FD()
}

// do carries out a plan, or nothing of it: after a failure the steps that were
// done are undone, the last one first. What can not be undone is in the error,
// and so is what is still to do where a step was done that nothing undoes. Where
// this process may die in between, the kernel has a record of what to undo. c
// ties the parts of a change of several sandboxes together.
func (r *run) do(ops []plan.Op, c plan.Commit) error {
	return r.through(plan.Journal(ops, c, r.setting))
}

// through is do for a plan that has its records.
func (r *run) through(ops []plan.Op) error {
	r.ops = ops
	err := r.forward(ops)
	if err == nil {
		return nil
	}
	left := r.left
	if !r.gone {
		left = r.back()
	}
	for _, n := range r.spaces {
		if !n.host {
			locks.Forget(n.lock.key) // a record may have stayed
		}
	}
	if len(left) > 0 {
		var e *fault.Error
		if !errors.As(err, &e) {
			e = &fault.Error{Err: err}
		}
		e.Left = append(e.Left, left...)
		return e
	}
	return err
}

func (r *run) forward(ops []plan.Op) error {
	happened, tidied := false, true
	for len(ops) > 0 {
		if ops[0].Last {
			n := slices.IndexFunc(ops, func(op plan.Op) bool { return !op.Last })
			if n < 0 {
				n = len(ops)
			}
			if err := r.pointOfNoReturn(); err != nil {
				return err
			}
			if err := r.last(ops[:n]); err != nil {
				return err
			}
			happened, ops = true, ops[n:]
			continue
		}
		n := 0
		for n < len(ops) && !ops[n].Last && ops[n].IsMessage() && ops[n].NS == ops[0].NS && (n == 0 || !ops[n].Alone && !ops[n-1].Alone && !ops[n].Apart) {
			n++
		}
		switch {
		case n > 0 && happened:
			if ops[0].Alone && !tidied {
				locks.Forget(lockOf(ops[0].NS).key) // the leader keeps the note of its parts
			} else {
				tidied = r.tidy(ops[:n]) && tidied
			}
			ops = ops[n:]
			continue
		case n > 0:
			if ops[0].Commit {
				if err := r.free(ops[n:]); err != nil {
					return err
				}
				if err := r.pointOfNoReturn(); err != nil {
					return err
				}
			}
			if err := r.send(ops[:n]); err != nil {
				return err
			}
			happened, ops = ops[0].Commit, ops[n:]
			continue
		}
		if n := spacesFirst(ops); n > 0 {
			if err := r.makeSpaces(ops[:n]); err != nil {
				return err
			}
			ops = ops[n:]
			continue
		}
		if err := r.step(ops[0]); err != nil {
			if r.later(ops, err) {
				continue
			}
			if ops[0].Half { // the addresses may have gone with a link's IPv6
				r.undo = append(r.undo, afterHalf(ops[0], err))
			}
			return ofAction(ops[0], err)
		}
		r.undo = append(r.undo, ops[0].Undo)
		ops = ops[1:]
	}
	return nil
}

// pointOfNoReturn is where a change has happened, or is about to do what nothing takes
// back. Who gave it up before is heeded; from here on it comes to its end, so that one
// that is said to be given up has changed nothing.
func (r *run) pointOfNoReturn() error {
	ctx, err := uninterrupted(r.ctx)
	r.ctx = ctx
	return err
}

// uninterrupted returns ctx without its end, or the error of one that is over.
func uninterrupted(ctx context.Context) (context.Context, error) {
	if ctx.Err() != nil {
		return ctx, context.Cause(ctx)
	}
	return context.WithoutCancel(ctx), nil
}

// send sends operations of one namespace together and remembers what undoes
// those that the kernel did. All of them ran, also those after a failed one.
func (r *run) send(ops []plan.Op) error {
	n, err := r.space(ops[0].NS)
	if err != nil {
		return ofAction(ops[0], err)
	}
	reqs := make([]rtnl.Request, len(ops))
	read := make([]rtnl.Link, len(ops))
	for i, op := range ops {
		if m, ok := op.Do.(plan.Message); ok {
			reqs[i] = m.Request(r.fd)
		} else {
			reqs[i] = rtnl.GetLink(op.Do.(plan.ReadLink).Index, "", &read[i])
		}
	}
	errs, unknown := n.conn.Do(r.ctx, reqs...)
	if unknown != nil && !slices.ContainsFunc(ops, func(op plan.Op) bool { return !plan.Repeatable(op.Do) }) {
		errs, unknown = n.conn.Do(r.ctx, reqs...)
	}
	var first error
	for i, op := range ops {
		if plan.There(op.Do, errs[i]) {
			errs[i] = nil
			continue // and nothing to undo
		}
		if read[i].Index != 0 {
			r.links[linkID{op.NS, read[i].Index}] = read[i]
		}
		if errs[i] != nil && plan.TakesAway(op.Do) && plan.Absent(errs[i]) || plan.NoEntry(op.Do, errs[i]) || op.Gone && errors.Is(errs[i], unix.ENODEV) {
			errs[i] = nil // an earlier step took it along
		}
		if errs[i] == nil || op.Half || unknown != nil {
			r.undo = append(r.undo, afterHalf(op, errs[i]))
		}
		if errs[i] != nil && first == nil {
			first = ofAction(op, errs[i])
		}
	}
	if unknown != nil {
		return ofAction(ops[0], unknown)
	}
	return first
}

// afterHalf returns what takes a step back that has happened, or of which the kernel may have
// done a part before the one that it refused.
func afterHalf(op plan.Op, refused error) []plan.Op {
	if !errors.Is(refused, unix.EOPNOTSUPP) {
		return op.Undo
	}
	undo := slices.Clone(op.Undo)
	for i := range undo {
		undo[i].Unsupported = true
	}
	return undo
}

// step carries out an operation that is no netlink message.
func (r *run) step(op plan.Op) error {
	switch a := op.Do.(type) {
	case plan.Pin:
		err := netns.Pin(r.fd(op.NS), r.spaces[op.NS].key)
		if err == nil {
			r.undo = append(r.undo, op.Undo)
		}
		return err
	case plan.Unpin:
		return r.spaces[op.NS].unpin(r.ctx, a.Key)
	case plan.NewTun:
		return r.inside(op.NS, func() error { return makeTun(a) })
	case plan.IPv6:
		return r.ipv6(op.NS, a)
	case plan.Verify:
		return r.verify(op.NS, a)
	case plan.Announce:
		return r.announce(op.NS, a)
	case plan.AwaitCarrier:
		return r.awaitCarrier(op.NS, a)
	case plan.Sysctl:
		return r.set(op, a)
	case plan.Holds:
		return r.holds(op, a)
	case plan.Offloads:
		return r.offloads(op, a)
	case plan.SetWireGuard:
		return r.wireguard(op, a)
	case plan.Masquerade:
		return r.masquerade(op, a)
	}
	return fmt.Errorf("unknown operation %T", op.Do)
}

func (r *run) linkName(key string, index int, otherwise string) string {
	if l, ok := r.links[linkID{key, index}]; ok {
		return l.Name
	}
	return otherwise
}

// inside runs f on a thread in the namespace of a key. A thread that did not come
// home afterwards has ended, and is no failure of what was done.
func (r *run) inside(key string, f func() error) error {
	var done error
	err := netns.Do(r.fd(key), func() error {
		done = f()
		return done
	})
	var stray *netns.NotHomeError
	if errors.As(err, &stray) && !stray.Stays {
		slog.Warn("osl: a thread could not be brought home and was ended", "key", key, "error", stray.Err)
		return done
	}
	return err
}
