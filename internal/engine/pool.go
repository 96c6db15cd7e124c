//go:build linux

package engine

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/plan"
)

// Pool makes network namespaces beforehand. The zero Pool keeps none ready.
type Pool struct {
	mu     sync.Mutex // guards what follows
	ready  []unpinned
	size   int
	filled *sync.Cond // a namespace was made, or could not be
	busy   bool       // the filler runs
	closed bool
}

// Start begins to keep up to size namespaces ready, once.
func (p *Pool) Start(size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.size, p.filled = size, sync.NewCond(&p.mu)
	p.refill()
}

// Create is as the function Create, with a namespace of the pool.
func (p *Pool) Create(ctx context.Context, name string) (*Namespace, error) {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return nil, &fault.Error{Op: "create the sandbox", Key: name, Err: fault.ErrClosed, Hint: "it is the pool that is closed"}
	}
	return createWith(ctx, name, func(ctx context.Context) (unpinned, error) {
		if u, ok := p.take(); ok {
			return u, nil
		}
		return newNamespace(ctx, plan.SandboxTag{})
	})
}

// Wait returns when the pool is full, or can not be filled at the moment.
func (p *Pool) Wait() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.busy {
		p.filled.Wait()
	}
}

// Close ends the pool and the namespaces in it, and waits for that.
func (p *Pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for p.busy {
		p.filled.Wait()
	}
	for _, u := range p.ready {
		u.Close()
	}
	p.ready = nil
	return nil
}

func (p *Pool) take() (u unpinned, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.ready) - 1; last >= 0 {
		u, ok = p.ready[last], true
		p.ready = slices.Delete(p.ready, last, last+1)
	}
	p.refill()
	return u, ok
}

// refill starts the filler where there is something to do. It waits until half
// of the pool is gone: what is taken in a rush is not slowed down by it. The
// caller holds the lock.
func (p *Pool) refill() {
	if p.busy || p.closed || len(p.ready) > p.size/2 || p.size <= 0 {
		return
	}
	p.busy = true
	go p.fill()
}

func (p *Pool) fill() {
	for {
		u, err := newNamespace(context.Background(), plan.SandboxTag{})
		p.mu.Lock()
		if err == nil {
			p.ready = append(p.ready, u)
		} else {
			slog.Warn("osl: a namespace could not be made beforehand", "error", err)
		}
		if err != nil || p.closed || len(p.ready) >= p.size {
			p.busy = false
			p.filled.Broadcast()
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
	}
}
