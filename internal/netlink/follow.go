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
	f := &Follower{fd}
	runtime.SetFinalizer(f, (*Follower).Close) // see dialSocket
	return f, nil
}

// Changed reports whether anything may have changed since it was called last. The
// kernel tells of a change before whoever makes it gets an answer, so what is read
// after a call that returned false is what is there, and what is read after one that
// returned true is of no earlier than that call.
func (f *Follower) Changed() bool {
	defer runtime.KeepAlive(f)
	return drain(f.fd)
}

// Close ends it. It must not be called while Changed is under way.
func (f *Follower) Close() {
	runtime.SetFinalizer(f, nil)
	unix.Close(f.fd)
}
