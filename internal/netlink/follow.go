//go:build linux

package netlink

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Follower tells whether the links, addresses and routes of a namespace are still as
// they were when they were read.
type Follower struct{ fd int }

// Follow opens a Follower in the calling thread's network namespace.
func Follow() (*Follower, error) {
	fd, err := listen(eventGroups[:]...)
	if err != nil {
		return nil, err
	}
	// One event says as much as many: what comes after it need not be kept.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1) // or there is room for more
	f := &Follower{fd}
	runtime.SetFinalizer(f, (*Follower).Close) // see dialSocket
	return f, nil
}

// Changed reports whether anything may have changed since it was called last, and was
// told. The kernel tells of most changes before whoever makes them gets an answer; not
// of the alias of a link that is down, and only a moment later of an IPv6 address that
// is added with IFA_F_NODAD.
func (f *Follower) Changed() bool {
	defer runtime.KeepAlive(f)
	return drain(f.fd)
}

// Close ends it. It must not be called while Changed is under way.
func (f *Follower) Close() {
	runtime.SetFinalizer(f, nil)
	unix.Close(f.fd)
}
