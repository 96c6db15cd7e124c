//go:build linux

// Package netns makes, pins and enters network namespaces. It is the only
// code of osl that moves a thread.
package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// setns is a variable so that a test can make the way home fail.
var setns = unix.Setns

// firstThread is the thread that the process began with.
var firstThread = unix.Getpid()

// home is a descriptor of the namespace that the calling thread was in when osl
// was first used, and one more, 0 before that.
var home atomic.Int64

// Home returns a descriptor of the namespace that the calling thread was in when
// osl was first used. It stays open; the caller does not close it.
func Home() (int, error) {
	if fd := home.Load(); fd != 0 {
		return int(fd - 1), nil
	}
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open the thread's own network namespace: %w", err)
	}
	var of, process unix.Stat_t
	err = unix.Fstat(fd, &of)
	if err == nil {
		err = unix.Stat("/proc/self/ns/net", &process)
	}
	if err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("stat", err)
	}
	if !home.CompareAndSwap(0, int64(fd)+1) {
		unix.Close(fd) // another was first
	} else {
		apart.Store(of.Ino != process.Ino)
	}
	return int(home.Load() - 1), nil
}

// apart says that home is another namespace than that of the first thread, and so
// of the others: each goes back to where it was then.
var apart atomic.Bool

// HomeID returns the identity of the namespace of Home.
func HomeID() ID {
	if id := homeID.Load(); id != nil {
		return *id
	}
	fd, err := Home()
	if err != nil {
		return ID{}
	}
	id, err := IdentityOf(fd)
	if err == nil {
		homeID.Store(&id)
	}
	return id
}

var homeID atomic.Pointer[ID]

// Do runs f on a thread that is in the namespace fd, and returns f's error. A
// panic or runtime.Goexit of f is continued in the caller.
func Do(fd int, f func() error) error {
	return onThread(func() error { return os.NewSyscallError("setns", setns(fd, unix.CLONE_NEWNET)) }, f)
}

// outcome is how a function that ran on a moved thread ended.
type outcome struct {
	err      error
	panicked any
	goexit   bool
}

// onThread calls move, which takes the thread to another namespace or fails,
// and then f, and brings the thread home.
//
// Both run in a goroutine of their own. It runs at once on the thread that the
// caller lends by waiting, and it is unlocked from it only when the thread is
// home for certain. Otherwise it ends locked, and the runtime ends the thread
// with it: no goroutine is ever run in a namespace that it did not ask for.
func onThread(move, f func() error) error {
	back, err := Home()
	if err != nil {
		return err
	}
	done := make(chan outcome, 1)
	go visit(back, move, f, done)
	o := <-done
	if o.panicked != nil {
		panic(o.panicked)
	}
	if o.goexit {
		runtime.Goexit()
	}
	return o.err
}

func visit(back int, move, f func() error, done chan<- outcome) {
	runtime.LockOSThread()
	if unix.Gettid() == firstThread {
		// The first thread never moves: others see its namespace as the
		// process's, and the runtime could not end it. While this goroutine
		// holds it, the next one is on another thread.
		other := make(chan outcome, 1)
		go visit(back, move, f, other)
		o := <-other
		runtime.UnlockOSThread()
		done <- o
		return
	}
	if apart.Load() {
		here, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			runtime.UnlockOSThread()
			done <- outcome{err: os.NewSyscallError("open", err)}
			return
		}
		defer unix.Close(here)
		back = here
	}
	if err := move(); err != nil {
		runtime.UnlockOSThread() // it never left
		done <- outcome{err: err}
		return
	}
	o := outcome{goexit: true} // until f has returned or panicked
	defer func() {
		if o.goexit {
			if p := recover(); p != nil {
				o.panicked, o.goexit = p, false
			}
		}
		if err := setns(back, unix.CLONE_NEWNET); err != nil {
			o.err = errors.Join(o.err, &NotHomeError{err})
		} else {
			runtime.UnlockOSThread()
		}
		done <- o
	}()
	o = outcome{err: f()}
}

// NotHomeError says that f was done, and that its thread could not be brought
// home. That has ended, so that it is in nobody's way.
type NotHomeError struct{ Err error }

func (e *NotHomeError) Error() string { return "bring the thread home: " + e.Err.Error() }
func (e *NotHomeError) Unwrap() error { return e.Err }

// Make runs f on a thread in a new namespace, which is gone again unless f
// keeps hold of it.
func Make(f func() error) error {
	return onThread(func() error { return os.NewSyscallError("unshare", unix.Unshare(unix.CLONE_NEWNET)) }, f)
}

// Return brings the calling thread home. The caller has locked it.
func Return() error {
	back, err := Home()
	if err != nil {
		return err
	}
	var here, there unix.Stat_t
	if unix.Stat("/proc/thread-self/ns/net", &here) == nil && unix.Fstat(back, &there) == nil && here.Ino == there.Ino {
		return nil
	}
	return os.NewSyscallError("setns", setns(back, unix.CLONE_NEWNET))
}

// Stay takes the calling thread, which its caller has locked, into the namespace fd.
// Where it can not, or f returns an error there, the thread is where it was.
func Stay(fd int, f func() error) error {
	was, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the thread's own network namespace: %w", err)
	}
	defer unix.Close(was)
	if err := setns(fd, unix.CLONE_NEWNET); err != nil {
		return os.NewSyscallError("setns", err)
	}
	if err := f(); err != nil {
		if back := setns(was, unix.CLONE_NEWNET); back != nil {
			return &NotHomeError{Err: errors.Join(err, back)}
		}
		return err
	}
	return nil
}
