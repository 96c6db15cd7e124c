//go:build linux

package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// errHeld says that another process has the lock, or is to have it first.
var errHeld = errors.New("the lock is held")

// errRemoved says that the lock was had in a file that is gone, where it keeps
// nobody out; the next try is in its successor.
var errRemoved = errors.New("the lock file was removed")

// try takes the kernel's lock of a key, without waiting. It holds mu all the
// while, so that no descriptor is closed that another goroutine is just using.
func (l *Locks) try(key string, g *gate) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if g.held { // and its file is there: only who has all locks removes it
		return nil
	}
	if g.yield {
		return errHeld
	}
	fd, err := l.open(g.path)
	if err != nil {
		return err
	}
	switch err := setLock(fd, unix.F_WRLCK, offset(key)); err {
	case nil:
	case unix.EAGAIN, unix.EACCES, unix.EINTR:
		return errHeld
	default:
		return &fs.PathError{Op: "lock", Path: g.path, Err: err}
	}
	// Who removed the file had all of its locks, so no lock of this process is
	// lost when the descriptor is closed.
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Nlink == 0 {
		delete(l.fd, g.path)
		unix.Close(fd)
		return errRemoved
	}
	g.held, g.since, g.seen = true, time.Now(), ID{}
	return nil
}

// open returns the descriptor of a lock file.
func (l *Locks) open(path string) (int, error) {
	if fd, ok := l.fd[path]; ok {
		return fd, nil
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return -1, &fs.PathError{Op: "open the lock", Path: path, Err: err}
	}
	if err := mayUse(fd, path); err != nil {
		unix.Close(fd)
		return -1, &fs.PathError{Op: "use the lock", Path: path, Err: err}
	}
	if l.fd == nil {
		l.fd = map[string]int{}
	}
	l.fd[path] = fd
	return fd, nil
}

// mayUse refuses another user's file, who could keep everyone waiting by it. Whose
// directory it is can do worse.
func mayUse(fd int, path string) error {
	var file, dir unix.Stat_t
	if err := unix.Fstat(fd, &file); err != nil || file.Uid == uint32(os.Geteuid()) {
		return err
	}
	if err := unix.Stat(filepath.Dir(path), &dir); err != nil || file.Uid == dir.Uid {
		return err
	}
	return fmt.Errorf("%w: it belongs to the user %d; remove it", fs.ErrPermission, file.Uid)
}

// release gives the kernel's lock back, and notes whether another process waits
// for it. The caller holds mu.
func (l *Locks) release(key string, g *gate) {
	if fd, ok := l.fd[g.path]; ok && g.held {
		_ = setLock(fd, unix.F_UNLCK, offset(key))
		r := unix.Flock_t{Type: unix.F_WRLCK, Start: offset(key) + 1, Len: 1}
		g.yield = unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &r) == nil && r.Type != unix.F_UNLCK
	}
	g.held = false
}

// want shows the process that has a lock that it is waited for, by a lock on the
// byte that follows, or no longer shows it. It reports whether that was done.
func (l *Locks) want(key string, g *gate, on bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	typ := int16(unix.F_UNLCK)
	if on {
		typ = unix.F_WRLCK
	}
	fd, ok := l.fd[g.path]
	return ok && setLock(fd, typ, offset(key)+1) == nil
}

// remove removes a lock file, unless another process holds a lock in it. The
// caller holds mu.
func (l *Locks) remove(path string) bool {
	fd, ok := l.fd[path]
	whole := unix.Flock_t{Type: unix.F_WRLCK}
	if !ok || unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &whole) != nil {
		return false
	}
	_ = unix.Unlink(path)
	unix.Close(fd) // and with it the locks
	delete(l.fd, path)
	return true
}

func setLock(fd int, typ int16, at int64) error {
	r := unix.Flock_t{Type: typ, Start: at, Len: 1}
	return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &r)
}

// offset is where the byte of a key lies in the lock file: an even one, clear of
// the largest.
func offset(key string) int64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	return int64(h >> 3 << 1)
}
