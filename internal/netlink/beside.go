//go:build linux

package netlink

import (
	"context"
	"errors"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// Brief is set by a program that ends with its one operation. The kernel takes a link
// that is deleted off its lists at once, with the other end, and answers when it is done
// with it, some 20 ms later: a process can not end before that, but another can wait.
var Brief bool

// Beside deletes a link in a process of its own, where the program is Brief, and
// returns when it is off the kernel's lists. It reports whether it is; where it is not,
// or that is not known, nothing is lost by deleting it again.
func (c *Conn) Beside(ctx context.Context, name string, index int) bool {
	if !Brief {
		return false
	}
	if now, err := c.Index(name); err != nil || now != index {
		return false // its end could not be told
	}
	pid, sends := c.sendBeside(rtnl.DelLink(index))
	if !sends {
		return false
	}
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		ended, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
		if now, err := c.Index(name); errors.Is(err, unix.ENODEV) || err == nil && now != index {
			// Who has the lock of all links after the deletion finds it done.
			var lo rtnl.Link
			return c.One(ctx, rtnl.GetLink(1, "", &lo)) == nil
		}
		if ended == pid || err != nil && err != unix.EINTR {
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
	}
}

// sendBeside sends a request in a process of its own, and holds the lock until that has the
// socket: who closes it gives its number to another.
func (c *Conn) sendBeside(r rtnl.Request) (pid int, sends bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.t.(*socket)
	if !ok || s.fd < 0 {
		return 0, false
	}
	b := rtnl.AppendMessage(nil, r, r.Flags|unix.NLM_F_REQUEST, c.seq)
	c.seq++ // the answer comes when nobody reads any more, or is passed over
	pid, errno := sendBeside(s.fd, b)
	return pid, errno == 0
}

// sendBeside sends b by the socket fd in a process that has nothing else open: neither
// the caller's locks nor the pipe whose end its parent waits for.
func sendBeside(fd int, b []byte) (pid int, errno unix.Errno) {
	// A signal must not find the runtime in the new process, which is not there.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	all, before := ^uint64(0), uint64(0)
	if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&before)), unsafe.Sizeof(all), 0, 0); errno != 0 {
		return 0, errno
	}
	child, errno := forkToSend(uintptr(fd), unsafe.Pointer(&b[0]), uintptr(len(b)))
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&before)), 0, unsafe.Sizeof(all), 0, 0)
	return int(child), errno
}

// forkToSend does in the new process nothing that needs Go's runtime: no other thread
// of it is there.
//
//go:norace
//go:nosplit
func forkToSend(fd uintptr, b unsafe.Pointer, n uintptr) (child uintptr, errno unix.Errno) {
	child, _, errno = unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || child != 0 {
		return child, errno
	}
	if fd > 0 {
		_, _, errno = unix.RawSyscall(unix.SYS_CLOSE_RANGE, 0, fd-1, 0)
	}
	if errno == 0 {
		_, _, errno = unix.RawSyscall(unix.SYS_CLOSE_RANGE, fd+1, uintptr(^uint32(0)), 0)
	}
	if errno == 0 { // else its parent does it
		_, _, _ = unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(b), n, 0, 0, 0)
	}
	for {
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
}
