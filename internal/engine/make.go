//go:build linux

package engine

import "github.com/seed59451c2b/osl/internal/plan"

// spacesFirst returns how many of the steps, from the first on, make sandboxes.
func spacesFirst(ops []plan.Op) (n int) {
	for n < len(ops) {
		if _, is := ops[n].Do.(plan.MakeNS); !is {
			break
		}
		n++
	}
	return n
}

// makeSpaces makes sandboxes, as many at a time as there are processors. The first
// of a change may lead it, and is there before another names it.
func (r *run) makeSpaces(ops []plan.Op) error {
	first := 0
	if len(r.made) == 0 {
		first = 1
	}
	made := make([]*Namespace, len(ops))
	one := func(i int) (err error) {
		made[i], err = makeNamespace(r.ctx, ops[i].NS, ops[i].Do.(plan.MakeNS).Tag)
		if err != nil {
			err = ofAction(ops[i], err)
		}
		return err
	}
	var err error
	if first > 0 {
		err = one(0)
	}
	if err == nil {
		err = inParallel(len(ops)-first, func(i int) error { return one(first + i) })
	}
	for i, n := range made {
		if n == nil {
			continue
		}
		r.spaces[ops[i].NS] = n
		r.own = append(r.own, n)
		r.made = append(r.made, n)
		r.undo = append(r.undo, []plan.Op{{NS: ops[i].NS, Do: ops[i].Do}})
	}
	return err
}
