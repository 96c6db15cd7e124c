//go:build linux

package netns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Locks keeps operations on one key apart, between goroutines and between
// processes. All locks of a base path are byte ranges of one file, which only
// its owner may open: a lock on the key itself could be held by anyone who may
// read it. The kernel drops a dead process's locks.
//
// The kernel's lock stays with this process for up to a linger after its last
// use, so that calls that follow each other do not pay for it each time. After
// that it is let go of, and left to other processes where one waits.
type Locks struct {
	// Linger is how long the kernel's lock stays, a millisecond if it is 0. It is
	// set before the first use.
	Linger time.Duration

	mu    sync.Mutex
	fd    map[string]int   // by lock file; they stay open
	gates map[string]*gate // by key: those in use, lingering or yielding
	spare []*gate          // for the next key
	armed bool             // sweep is to come
	timer *time.Timer
}

const (
	linger = time.Millisecond
	// pollMost is the longest pause of who waits for another process, and
	// yieldTime how long this one keeps off a lock that another waits for.
	pollMost  = 2 * time.Millisecond
	yieldTime = 2 * pollMost
)

// gate keeps the goroutines of this process apart: the kernel's locks belong
// to the descriptor that they share.
type gate struct {
	token chan struct{}
	seen  ID // of who has the token
	// What follows is guarded by Locks.mu.
	users int       // holders and waiters
	held  bool      // the kernel's lock is this process's
	since time.Time // when that was had
	yield bool      // another process waits for it
	path  string    // of the lock file
}

// ErrBusy is the cause where a lock was not had in time.
var ErrBusy = errors.New("another operation on this sandbox is still under way")

// Held is a lock that is held.
type Held struct {
	locks *Locks
	gate  *gate
	key   string
}

// Seen returns what was last given to See, by whoever had the lock then, if
// the kernel's lock has been this process's ever since. What only changes under
// the lock is still so.
func (h Held) Seen() ID { return h.gate.seen }

// See notes which namespace is at the key.
func (h Held) See(id ID) { h.gate.seen = id }

// Forget makes Seen of a key's lock return nothing. The caller has that lock.
func (l *Locks) Forget(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if g := l.gates[key]; g != nil {
		g.seen = ID{}
	}
}

// Unlock lets go of the lock.
func (h Held) Unlock() {
	l := h.locks
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.gate.held && time.Since(h.gate.since) > l.lingers() {
		l.release(h.key, h.gate)
	}
	l.leave(h.key, h.gate)
	h.gate.token <- struct{}{}
}

// Retire lets go of the lock and removes its file, if nobody else holds a lock
// in it. Who waits for one finds the file gone and makes it anew.
func (h Held) Retire() {
	l := h.locks
	l.mu.Lock()
	alone := h.gate.users == 1
	for key, g := range l.gates {
		switch {
		case g == h.gate || g.path != h.gate.path:
		case g.users > 0:
			alone = false
		default:
			l.release(key, g)
			l.drop(key, g)
		}
	}
	if alone && l.remove(h.gate.path) {
		h.gate.held = false
	}
	l.mu.Unlock()
	h.Unlock()
}

// Lock waits for the lock of key, in the lock file path, until ctx ends or the
// time is over.
func (l *Locks) Lock(ctx context.Context, limit time.Duration, path, key string) (Held, error) {
	g := l.enter(key, path)
	select {
	case <-g.token:
	default:
		// A clock is only set where there is something to wait for.
		waiting, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		select {
		case <-g.token:
		case <-waiting.Done():
			l.mu.Lock()
			defer l.mu.Unlock()
			l.leave(key, g)
			return Held{}, fmt.Errorf("%w: %w", ErrBusy, context.Cause(waiting))
		}
	}
	err := l.try(key, g)
	if err == errHeld || err == errRemoved {
		err = l.wait(ctx, limit, key, g, err)
	}
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.leave(key, g)
		g.token <- struct{}{}
		return Held{}, err
	}
	return Held{locks: l, gate: g, key: key}, nil
}

// wait tries until another process has let go of the lock.
func (l *Locks) wait(ctx context.Context, limit time.Duration, key string, g *gate, err error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	l.mu.Lock()
	pause := 100 * time.Microsecond
	if g.yield {
		pause, g.yield = yieldTime, false
	}
	l.mu.Unlock()
	wanted := false
	defer func() {
		if wanted {
			l.want(key, g, false)
		}
	}()
	for err == errHeld || err == errRemoved {
		if err == errHeld {
			// Of many that wait, one at a time shows it.
			wanted = wanted || l.want(key, g, true)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return fmt.Errorf("%w, in another process: %w", ErrBusy, context.Cause(ctx))
			}
			pause = min(2*pause, pollMost)
		}
		err = l.try(key, g)
	}
	return err
}

func (l *Locks) enter(key, path string) *gate {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.gates[key]
	if g == nil {
		if l.gates == nil {
			l.gates = map[string]*gate{}
		}
		if n := len(l.spare); n > 0 {
			g, l.spare = l.spare[n-1], l.spare[:n-1]
		} else {
			g = &gate{token: make(chan struct{}, 1)}
			g.token <- struct{}{}
		}
		g.path = path
		l.gates[key] = g
	}
	g.users++
	return g
}

// leave forgets a gate that has no use any more. The caller holds mu.
func (l *Locks) leave(key string, g *gate) {
	if g.users--; g.users > 0 {
		return
	}
	if !g.held && !g.yield {
		l.drop(key, g)
		return
	}
	if !l.armed {
		l.armed = true
		if l.timer == nil {
			l.timer = time.AfterFunc(l.lingers(), l.sweep)
		} else {
			l.timer.Reset(l.lingers())
		}
	}
}

func (l *Locks) drop(key string, g *gate) {
	delete(l.gates, key)
	g.yield = false // it was for this key
	if len(l.spare) < 64 {
		l.spare = append(l.spare, g)
	}
}

func (l *Locks) lingers() time.Duration { return cmp.Or(l.Linger, linger) }

// sweep lets go of the locks that linger. Who uses one lets go of it himself.
func (l *Locks) sweep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = false
	for key, g := range l.gates {
		switch {
		case g.users > 0:
		case g.held:
			if l.release(key, g); !g.yield {
				l.drop(key, g)
			}
		default:
			l.drop(key, g)
		}
	}
	for _, g := range l.gates {
		if g.users == 0 && !l.armed { // one that yields
			l.armed = true
			l.timer.Reset(yieldTime)
		}
	}
}
