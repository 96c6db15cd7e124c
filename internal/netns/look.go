//go:build linux

package netns

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// LookAgain is how long a key counts as seen while nothing is mounted or unmounted.
// What moves a directory of its path, or a link there, is no mount. Only a test that
// is slower than others sets it.
var LookAgain = 100 * time.Millisecond

// Look is when a namespace was last seen at its key, for who asks often whether it is
// there still.
type Look struct {
	mounts atomic.Uint64 // what mounts there were
	until  atomic.Int64  // when that is too long ago
}

// Still reports whether the namespace id is at path, the same ones each time. Another
// namespace gets there by a mount, and this one away: while the process's mounts have
// not changed, and it was seen a moment ago, the path need not be looked at.
func (l *Look) Still(path string, id ID) bool {
	mounts, now := table.generation(), time.Since(began)
	if mounts != 0 && l.mounts.Load() == mounts && int64(now) < l.until.Load() {
		return true
	}
	there, mounted := at(path, id)
	if there && mounted {
		l.until.Store(int64(now + LookAgain))
		l.mounts.Store(mounts) // from before the look
	} else {
		l.mounts.Store(0)
	}
	return there
}

var began = time.Now()

// table is the process's table of mounts.
var table mountTable

type mountTable struct {
	mu sync.Mutex
	fd int
	n  uint64 // 0 before the first look
}

// generation returns a number that is another one after each change of the mounts, 0
// where they can not be watched.
func (t *mountTable) generation() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == 0 {
		fd, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return 0
		}
		t.fd, t.n = fd, 1
	}
	// A change is told once: whoever is told counts it, before another asks.
	for {
		p := [1]unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLPRI}}
		n, err := unix.Poll(p[:], 0)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0
		case n > 0:
			t.n++
		}
		return t.n
	}
}
