//go:build linux

package netns

import (
	"bytes"
	"iter"
	"log/slog"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// end leaves a thread that can not come home, which ends.
func end() bool {
	return leave(func(lost int) {
		if lost != 0 {
			slog.Error("osl: a thread that can not come home was lost", "thread", lost)
		}
	})
}

// leaveFirst leaves the first thread. That is kept busy for a while, so that the
// caller is not run there again the next moment; if it is lost, that may happen.
func leaveFirst() bool {
	return leave(func(lost int) {
		if lost == 0 {
			time.Sleep(heldFor)
			runtime.UnlockOSThread()
		}
	})
}

// heldFor is short enough for a test that looks for forgotten goroutines.
const heldFor = 100 * time.Millisecond

// leave takes the calling goroutine, which is locked once to its thread, to another
// thread, and unlocks it. heir is called on the one that it leaves, locked to that; or
// with that thread, if it was lost: the scheduler took it away in the moment before it
// was locked. leave reports whether it left: a goroutine that its caller had locked
// besides stays, locked once more than the caller knows.
//
// A goroutine that lets go of its thread and waits would leave it to whichever comes
// next. So it changes places with one that waits for just that: iter.Pull passes a
// thread from one goroutine to another and asks no scheduler. Three take part: the
// heir; another, whose place on a thread the caller gets; and the body of the
// iterator, which only keeps it from ending.
func leave(heir func(lost int)) bool {
	thread := unix.Gettid()
	offer, done := make(chan func(struct{}) bool), make(chan struct{})
	defer close(done)
	go func() {
		next, _ := iter.Pull(func(yield func(struct{}) bool) {
			offer <- yield
			<-done
		})
		if _, given := next(); !given { // waits, until the caller gives its thread away
			return
		}
		runtime.LockOSThread()
		go next() // the caller goes on in the place of this one, which waits for done
		if unix.Gettid() != thread {
			runtime.UnlockOSThread()
			heir(thread)
			return
		}
		heir(0)
	}()
	give, trace := <-offer, make([]byte, 128)
	runtime.UnlockOSThread() // from here on nothing may begin a collection, and as little as can be is done
	if locked(trace) {
		runtime.LockOSThread()
		return false
	}
	give(struct{}{})
	return true
}

// locked reports whether the calling goroutine is locked to its thread. Only its stack
// trace says so, of which the first line fits into b.
func locked(b []byte) bool {
	head, _, _ := bytes.Cut(b[:runtime.Stack(b, false)], newline)
	return bytes.Contains(head, lockedWords)
}

var newline, lockedWords = []byte("\n"), []byte("locked to thread")
