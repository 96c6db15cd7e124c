//go:build linux

// Package netns makes, pins and enters network namespaces. It is the only
// code of osl that moves a thread.
package netns

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"sync"
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
	fd, err := unix.Open(ownNet, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open the thread's own network namespace: %w", err)
	}
	if !home.CompareAndSwap(0, int64(fd)+1) {
		unix.Close(fd) // another was first
	}
	return int(home.Load() - 1), nil
}

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

// Do runs f on a thread that is in the namespace fd, the caller's own unless that is
// the first, and returns f's error. Afterwards the caller's thread is where it was.
func Do(fd int, f func() error) error {
	return onThread(atHome, into(fd), f)
}

// DoFrom is Do for who has a socket that the calling goroutine made just now: where that
// is tells where the thread is, in less than half of the time that /proc takes.
func DoFrom(socket, fd int, f func() error) error {
	return onThread(func(thread int) (bool, error) {
		if ofHome(socket) {
			return true, nil
		}
		return atHome(thread)
	}, into(fd), f)
}

func into(fd int) (move func() error) {
	return func() error { return os.NewSyscallError("setns", setns(fd, unix.CLONE_NEWNET)) }
}

// Make runs f on a thread in a new namespace, which is gone again unless f
// keeps hold of it.
func Make(f func() error) error {
	return onThread(atHome, func() error { return os.NewSyscallError("unshare", unix.Unshare(unix.CLONE_NEWNET)) }, f)
}

// onThread calls move, which takes the thread to another namespace or fails,
// and then f, and brings the thread back to where it was: home, if atHome says so.
//
// That is the caller's thread: to hand f to another and to wait takes ten times as
// long as to go there, and on a busy machine until that has its turn. The goroutine is
// unlocked from it only when it is back for certain, so that no goroutine is ever run
// in a namespace that it did not ask for. If it can not come back, the caller leaves
// it, and it ends.
//
// The first thread never moves: others see its namespace as the process's, and the
// runtime could not end it.
func onThread(atHome func(thread int) (bool, error), move, f func() error) (err error) {
	thread := lockToThread()
	if thread == firstThread {
		defer runtime.UnlockOSThread()
		return elsewhere(func() error { return onThread(atHome, move, f) })
	}
	back, done, err := wayBack(thread, atHome)
	if err == nil {
		defer done()
		err = move()
	}
	if err != nil {
		runtime.UnlockOSThread() // it never left
		return err
	}
	defer func() {
		if stuck := comeBack(back); stuck != nil {
			err = errors.Join(err, stuck)
		}
	}()
	return f()
}

// ErrFirstThread is the refusal to move the first thread, to which the caller is locked.
var ErrFirstThread = errors.New("the caller is locked to the process's main thread, which never moves")

// ErrAstray is returned to who leaves from another thread than it entered on.
var ErrAstray = errors.New("it was called on another thread than the one that entered")

// Enter takes the calling goroutine into the namespace fd, locked to its thread, until
// it calls leave. Then the thread goes home, wherever it was before.
func Enter(fd int) (leave func() error, err error) {
	return enter(fd, func(thread int) (back int, done func(), err error) {
		if apart() {
			return wayBack(thread, atHome)
		}
		back, err = Home()
		return back, func() {}, err
	})
}

// Visit is Enter, but the thread goes back to where it was.
func Visit(fd int) (leave func() error, err error) {
	return enter(fd, func(thread int) (int, func(), error) { return wayBack(thread, atHome) })
}

func enter(fd int, way func(thread int) (back int, done func(), err error)) (leave func() error, err error) {
	thread := lockToThread()
	if thread == firstThread {
		runtime.UnlockOSThread()
		return nil, ErrFirstThread
	}
	back, done, err := way(thread)
	if err == nil {
		if err = os.NewSyscallError("setns", setns(fd, unix.CLONE_NEWNET)); err != nil {
			done()
		}
	}
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	left := false
	return func() error {
		switch {
		case left:
			return nil
		case unix.Gettid() != thread:
			return ErrAstray
		}
		left = true
		defer done()
		return comeBack(back)
	}, nil
}

// apart reports whether home is another namespace than the process's: then other
// threads are not at home.
var apart = sync.OnceValue(func() bool {
	var st unix.Stat_t
	return unix.Stat("/proc/self/ns/net", &st) == nil && st.Ino != HomeID().Ino
})

// lockToThread locks the caller to its thread, or where that is the first to another,
// and returns it. It is the first if the caller had locked itself to that.
//
// Home is asked for first, since it is that of the thread on which the caller came;
// who needs it is told where it can not be had.
func lockToThread() (thread int) {
	_, _ = Home()
	for {
		runtime.LockOSThread()
		if thread = unix.Gettid(); thread != firstThread || !leaveFirst() {
			return thread
		}
	}
}

// comeBack brings the thread to the namespace back, and unlocks the caller from it.
func comeBack(back int) error {
	if stuck := setns(back, unix.CLONE_NEWNET); stuck != nil {
		return &NotHomeError{Err: stuck, Stays: !end()}
	}
	runtime.UnlockOSThread()
	return nil
}

// wayBack returns a descriptor of the namespace that a thread, the calling one, is in:
// home, most often. done is called when it is not needed any more.
func wayBack(thread int, atHome func(thread int) (bool, error)) (fd int, done func(), err error) {
	if fd, err = Home(); err != nil {
		return -1, nil, err
	}
	switch there, err := atHome(thread); {
	case err == unix.ENOENT && !apart(): // /proc is not here any more
		return fd, func() {}, nil
	case err != nil:
		return -1, nil, &fs.PathError{Op: "readlink", Path: ownNet, Err: err}
	case there:
		return fd, func() {}, nil
	}
	if fd, err = unix.Open(ownNet, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return -1, nil, &fs.PathError{Op: "open", Path: ownNet, Err: err}
	}
	return fd, func() { unix.Close(fd) }, nil
}

// ownNet leads to the namespace of the calling thread.
const ownNet = "/proc/thread-self/ns/net"

// atHome reports whether a thread, the calling one, is at home. The text of the link
// tells, in half of the time of a stat; and by the number of the thread /proc finds it in
// little more than half of what thread-self takes.
func atHome(thread int) (bool, error) {
	var have, home [32]byte
	n, err := unix.Readlinkat(procDir(), strconv.Itoa(thread)+"/ns/net", have[:])
	if err != nil {
		n, err = unix.Readlink(ownNet, have[:])
	}
	if err != nil {
		return false, err
	}
	text := append(strconv.AppendUint(append(home[:0], "net:["...), HomeID().Ino, 10), ']')
	return bytes.Equal(have[:n], text), nil
}

// procDir returns a descriptor of /proc, which stays open: what is mounted there later may
// be that of other processes. It is negative where it is so already, or there is none.
var procDir = sync.OnceValue(func() int {
	fd, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	if !numbersOwn(fd) {
		unix.Close(fd)
		return -1
	}
	return fd
})

// numbersOwn reports whether a /proc is of the PID namespace that the process is in: in one
// of another it has a number in each, from that to its own.
func numbersOwn(proc int) bool {
	fd, err := unix.Openat(proc, "self/status", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(fd), "status")
	defer f.Close()
	text, err := io.ReadAll(f)
	_, after, found := bytes.Cut(text, []byte("\nNSpid:"))
	numbers, _, _ := bytes.Cut(after, []byte("\n"))
	return err == nil && found && len(bytes.Fields(numbers)) == 1
}

// ofHome reports whether a socket is of home, by the number that the kernel gives each
// namespace once; not where that does not tell of the caller's thread, or is not known.
func ofHome(socket int) bool {
	if apart() {
		return false
	}
	have, err := unix.GetsockoptUint64(socket, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	return err == nil && have == homeCookie()
}

var homeCookie = sync.OnceValue(func() (cookie uint64) {
	fd, err := Home()
	if err != nil {
		return 0
	}
	_ = Do(fd, func() error {
		s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			cookie, err = unix.GetsockoptUint64(s, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
			unix.Close(s)
		}
		return err
	})
	return cookie // 0, which none is, where it can not be had
})

// elsewhere runs f on another thread than the caller's, to which that is locked. A
// panic or runtime.Goexit of f is continued in the caller.
func elsewhere(f func() error) error {
	type outcome struct {
		err      error
		panicked any
		goexit   bool
	}
	done := make(chan outcome, 1)
	go func() {
		o := outcome{goexit: true} // until f has returned or panicked
		defer func() {
			if o.goexit {
				if p := recover(); p != nil {
					o.panicked, o.goexit = p, false
				}
			}
			done <- o
		}()
		o = outcome{err: f()}
	}()
	o := <-done
	if o.panicked != nil {
		panic(o.panicked)
	}
	if o.goexit {
		runtime.Goexit()
	}
	return o.err
}

// NotHomeError says that f was done, and that its thread could not be brought back.
// That has ended, so that it is in nobody's way, and the caller is on another; or
// Stays: the caller had locked it, and keeps it for as long as its goroutine lasts. Of
// Stay it says that the caller's thread stays.
type NotHomeError struct {
	Err   error
	Stays bool
}

func (e *NotHomeError) Error() string {
	if e.Stays {
		return "bring the thread home: " + e.Err.Error() + "; the goroutine, which was locked to it, is in the sandbox still"
	}
	return "bring the thread home: " + e.Err.Error()
}

func (e *NotHomeError) Unwrap() error { return e.Err }

// Return brings the calling thread home. The caller has locked it.
func Return() error {
	back, err := Home()
	if err != nil {
		return err
	}
	if there, err := atHome(unix.Gettid()); err == nil && there {
		return nil
	}
	return os.NewSyscallError("setns", setns(back, unix.CLONE_NEWNET))
}

// Stay takes the calling thread, which its caller has locked, into the namespace fd.
// Where it can not, or f returns an error there, the thread is where it was.
func Stay(fd int, f func() error) error {
	was, err := unix.Open(ownNet, unix.O_RDONLY|unix.O_CLOEXEC, 0)
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
