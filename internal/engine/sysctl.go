//go:build linux

package engine

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/sysctl"
)

// set carries out a setting.
func (r *run) set(op plan.Op, a plan.Sysctl) error {
	path := r.pathOf(op.NS, op.Dev, a)
	var old string
	var known bool
	err := r.inside(op.NS, func() (err error) {
		old, known, err = sysctl.Put(path, a.Value)
		return err
	})
	switch {
	case err != nil:
		r.undo = append(r.undo, op.Undo) // what it changed of others, if it happened
	case known && len(op.Undo) == 0: // else the plan knows what was before all
		r.undo = append(r.undo, []plan.Op{{NS: op.NS, Dev: op.Dev, Do: plan.Sysctl{Setting: plan.Setting{Path: path, Value: old}}}})
	}
	return err
}

// later puts a setting that the kernel refuses after those that follow it, once:
// one may bound the other.
func (r *run) later(ops []plan.Op, err error) bool {
	isSetting := func(op plan.Op) (a plan.Sysctl, ok bool) {
		a, ok = op.Do.(plan.Sysctl)
		return a, ok && op.NS == ops[0].NS
	}
	a, ok := isSetting(ops[0])
	id := ops[0].NS + "\x00" + ops[0].Dev + "\x00" + a.Path
	if !ok || !errors.Is(err, unix.EINVAL) || r.waited[id] {
		return false
	}
	n := 1
	for ; n < len(ops); n++ {
		if _, ok := isSetting(ops[n]); !ok {
			break
		}
	}
	if n == 1 {
		return false
	}
	if r.waited == nil {
		r.waited = map[string]bool{}
	}
	r.waited[id] = true
	first := ops[0]
	copy(ops, ops[1:n])
	ops[n-1] = first
	return true
}

// holds makes sure that settings hold: one that something changed is written
// again, twice at most.
func (r *run) holds(op plan.Op, a plan.Holds) error {
	if err := r.settleLinks(op.NS, a); err != nil {
		return err
	}
	wrote := false
	err := r.inside(op.NS, func() error {
		for round := 0; ; round++ {
			again := false
			for _, x := range a.Settings {
				path := r.pathOf(op.NS, x.Dev, x.Sysctl)
				v, err := sysctl.Read(path)
				switch {
				case err == nil && sysctl.Same(x.Value, v):
					continue
				case err == nil && round == 2:
					err = fmt.Errorf("%w: it is %q again; another setting of the sandbox changes it", sysctl.ErrChanged, v)
				case err == nil || errors.Is(err, unix.EIO):
					_, _, err = sysctl.Put(path, x.Value)
				}
				if err != nil {
					return ofAction(plan.Op{NS: op.NS, Dev: x.Dev, Do: x.Sysctl}, err)
				}
				wrote, again = true, true
			}
			if !again {
				return nil
			}
		}
	})
	if err != nil && wrote {
		r.undo = append(r.undo, op.Undo)
	}
	return err
}

// settleLinks reads the links that have settings: being asked for a link, the
// kernel first does what it has put off about its carrier, which sets the MTU of
// its IPv6 anew.
func (r *run) settleLinks(key string, a plan.Holds) error {
	n, err := r.space(key)
	if err != nil {
		return err
	}
	read := map[int]*rtnl.Link{}
	var reqs []rtnl.Request
	for _, x := range a.Settings {
		if x.Index != 0 && read[x.Index] == nil {
			read[x.Index] = &rtnl.Link{}
			reqs = append(reqs, rtnl.GetLink(x.Index, "", read[x.Index]))
		}
	}
	if len(reqs) == 0 {
		return nil
	}
	errs, err := n.conn.Do(r.ctx, reqs...)
	return errors.Join(append(errs, err)...)
}

// pathOf returns the path of a setting, by the name that its link has.
func (r *run) pathOf(key, dev string, a plan.Sysctl) string {
	return a.At(r.linkName(key, a.Index, dev))
}
