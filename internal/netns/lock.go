//go:build linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
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
func (h *Held) Unlock() {
	r := unix.Flock_t{Type: unix.F_UNLCK, Start: offset(h.key), Len: 1}
	_ = unix.FcntlFlock(uintptr(h.fd), unix.F_OFD_SETLK, &r)
	h.gate.token <- struct{}{}
	h.locks.leave(h.key, h.gate)
}

// Retire lets go of the lock and removes its file, if nobody else holds a lock
// in it. Who waits for one finds the file gone and makes it anew.
func (h *Held) Retire() {
	l := h.locks
	l.mu.Lock()
	alone := len(l.gates) == 1 && h.gate.users == 1
	whole := unix.Flock_t{Type: unix.F_WRLCK}
	if alone && unix.FcntlFlock(uintptr(h.fd), unix.F_OFD_SETLK, &whole) == nil {
		_ = unix.Unlink(h.path)
		unix.Close(h.fd) // and with it the lock
		delete(l.fd, h.path)
		delete(l.gates, h.key)
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	h.Unlock()
}

// Lock waits for the lock of key, in the lock file path, until ctx ends.
func (l *Locks) Lock(ctx context.Context, path, key string) (*Held, error) {
	g := l.enter(key)
	select {
	case <-g.token:
	case <-ctx.Done():
		l.leave(key, g)
		return nil, fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx))
	}
	release := func() {
		g.token <- struct{}{}
		l.leave(key, g)
	}
	r := unix.Flock_t{Type: unix.F_WRLCK, Start: offset(key), Len: 1}
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		fd, err := l.try(path, &r)
		if err == nil {
			return &Held{l, g, path, key, fd}, nil
		}
		if err == errRemoved {
			continue
		}
		if err != errHeld {
			release()
			return nil, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			release()
			return nil, fmt.Errorf("%w, in another process: %w", ErrBusy, context.Cause(ctx))
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
		g = &gate{token: make(chan struct{}, 1)}
		g.token <- struct{}{}
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
	}
}

// errHeld says that another process has the lock.
var errHeld = errors.New("the lock is held")

// errRemoved says that the lock was had in a file that is gone, where it keeps
// nobody out; the next try is in its successor.
var errRemoved = errors.New("the lock file was removed")

// try takes the lock r of a file, without waiting. It holds l.mu all the while,
// so that no descriptor is closed that another goroutine is just using.
func (l *Locks) try(path string, r *unix.Flock_t) (fd int, err error) {
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
	switch err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, r); err {
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
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	return int64(h.Sum64() >> 2) // clear of the largest offset
}
