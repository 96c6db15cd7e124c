//go:build linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Locks keeps operations on one key apart, between goroutines and between
// processes. All locks of a base path are byte ranges of one file, which only
// its owner may open: a lock on the key itself could be held by anyone who may
// read it. The kernel drops a dead process's locks.
type Locks struct {
	mu    sync.Mutex
	fd    map[string]int   // by lock file; they stay open
	gates map[string]*gate // by key
	spare []*gate          // for the next key
}

// gate keeps the goroutines of this process apart: the kernel's locks belong
// to the descriptor that they share.
type gate struct {
	token chan struct{}
	users int // holders and waiters, guarded by Locks.mu
}

// ErrBusy is the cause where a lock was not had in time.
var ErrBusy = errors.New("another operation on this sandbox is still under way")

// Held is a lock that is held.
type Held struct {
	locks *Locks
	gate  *gate
	path  string
	key   string
	fd    int
}

// Unlock lets go of the lock.
func (h Held) Unlock() {
	r := unix.Flock_t{Type: unix.F_UNLCK, Start: offset(h.key), Len: 1}
	_ = unix.FcntlFlock(uintptr(h.fd), unix.F_OFD_SETLK, &r)
	h.gate.token <- struct{}{}
	h.locks.leave(h.key, h.gate)
}

// Retire lets go of the lock and removes its file, if nobody else holds a lock
// in it. Who waits for one finds the file gone and makes it anew.
func (h Held) Retire() {
	l := h.locks
	l.mu.Lock()
	alone := len(l.gates) == 1 && h.gate.users == 1
	whole := unix.Flock_t{Type: unix.F_WRLCK}
	if alone && unix.FcntlFlock(uintptr(h.fd), unix.F_OFD_SETLK, &whole) == nil {
		_ = unix.Unlink(h.path)
		unix.Close(h.fd) // and with it the lock
		delete(l.fd, h.path)
		delete(l.gates, h.key) // and its gate, closed as it is
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	h.Unlock()
}

// Lock waits for the lock of key, in the lock file path, until ctx ends or the
// time is over.
func (l *Locks) Lock(ctx context.Context, limit time.Duration, path, key string) (Held, error) {
	h := Held{locks: l, gate: l.enter(key), path: path, key: key}
	select {
	case <-h.gate.token:
	default:
		// A clock is only set where there is something to wait for.
		waiting, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		select {
		case <-h.gate.token:
		case <-waiting.Done():
			l.leave(key, h.gate)
			return Held{}, fmt.Errorf("%w: %w", ErrBusy, context.Cause(waiting))
		}
	}
	var err error
	if h.fd, err = l.try(path, key); err == errHeld || err == errRemoved {
		h.fd, err = l.wait(ctx, limit, path, key)
	}
	if err != nil {
		h.gate.token <- struct{}{}
		l.leave(key, h.gate)
		return Held{}, err
	}
	return h, nil
}

// wait tries until another process has let go of the lock.
func (l *Locks) wait(ctx context.Context, limit time.Duration, path, key string) (fd int, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		fd, err := l.try(path, key)
		if err == errRemoved {
			continue
		}
		if err != errHeld {
			return fd, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return -1, fmt.Errorf("%w, in another process: %w", ErrBusy, context.Cause(ctx))
		}
	}
}

func (l *Locks) enter(key string) *gate {
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
		l.gates[key] = g
	}
	g.users++
	return g
}

func (l *Locks) leave(key string, g *gate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if g.users--; g.users == 0 {
		delete(l.gates, key)
		if len(l.spare) < 64 {
			l.spare = append(l.spare, g)
		}
	}
}

// errHeld says that another process has the lock.
var errHeld = errors.New("the lock is held")

// errRemoved says that the lock was had in a file that is gone, where it keeps
// nobody out; the next try is in its successor.
var errRemoved = errors.New("the lock file was removed")

// try takes the lock of a key in a file, without waiting. It holds l.mu all the while,
// so that no descriptor is closed that another goroutine is just using.
func (l *Locks) try(path, key string) (fd int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fd, ok := l.fd[path]
	if !ok {
		fd, err = unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return -1, &fs.PathError{Op: "open the lock", Path: path, Err: err}
		}
		if l.fd == nil {
			l.fd = map[string]int{}
		}
		l.fd[path] = fd
	}
	r := unix.Flock_t{Type: unix.F_WRLCK, Start: offset(key), Len: 1}
	switch err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &r); err {
	case nil:
	case unix.EAGAIN, unix.EACCES, unix.EINTR:
		return -1, errHeld
	default:
		return -1, &fs.PathError{Op: "lock", Path: path, Err: err}
	}
	// Who removed the file had all of its locks, so no lock of this process is
	// lost when the descriptor is closed.
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Nlink == 0 {
		delete(l.fd, path)
		unix.Close(fd)
		return -1, errRemoved
	}
	return fd, nil
}

// offset is where the byte of a key lies in the lock file.
func offset(key string) int64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	return int64(h >> 2) // clear of the largest offset
}
