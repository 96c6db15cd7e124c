//go:build linux

package engine

import (
	"context"
	"runtime"
	"sync"

	"github.com/seed59451c2b/osl/internal/plan"
)

// bare are namespaces that are made before it is known what sandboxes they will be: one
// that is asked which settings it has, and several at a time where the first sandbox has
// to be there before the others.
type bare struct {
	mu   sync.Mutex
	list []unpinned
}

// make makes namespaces, no more than there are processors, where there are none yet.
// What can not be made is refused when it is needed.
func (b *bare) make(n int) {
	n = min(n, runtime.GOMAXPROCS(0))
	if len(b.list) > 0 || n <= 0 {
		return
	}
	_ = inParallel(n, func(int) error {
		u, err := bareNamespace()
		if err == nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.list = append(b.list, u)
		}
		return err
	})
}

// sandbox makes a sandbox of one of them, or of a new one.
func (b *bare) sandbox(ctx context.Context, tag plan.SandboxTag) (unpinned, error) {
	b.mu.Lock()
	last := len(b.list) - 1
	if last < 0 {
		b.mu.Unlock()
		return newNamespace(ctx, tag)
	}
	u := b.list[last]
	b.list = b.list[:last]
	b.mu.Unlock()
	return u, u.setUp(ctx, tag)
}

func (b *bare) close() {
	for _, u := range b.list {
		u.Close()
	}
}

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

// countSpaces returns how many of the steps make sandboxes.
func countSpaces(ops []plan.Op) (n int) {
	for _, op := range ops {
		if _, is := op.Do.(plan.MakeNS); is {
			n++
		}
	}
	return n
}

// makeSpaces makes sandboxes, as many at a time as there are processors. The first
// of a change may lead it, and is there before another names it.
func (r *run) makeSpaces(ops []plan.Op) error {
	first := 0
	if len(r.made) == 0 {
		first = 1
		r.bare.make(countSpaces(r.ops))
	}
	made := make([]*Namespace, len(ops))
	one := func(i int) (err error) {
		tag := ops[i].Do.(plan.MakeNS).Tag
		made[i], err = pinNamespace(r.ctx, ops[i].NS, lockOf(ops[i].NS), func(ctx context.Context) (unpinned, error) { return r.bare.sandbox(ctx, tag) })
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
