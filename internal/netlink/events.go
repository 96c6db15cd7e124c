//go:build linux

package netlink

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// eventGroups are what changes of links, addresses and routes are told to. With a next
// hop that is an object go routes that are not told.
var eventGroups = [...]int{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
	unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_NEXTHOP}

const (
	// settle is how long after one event others are taken to belong to it.
	settle = 10 * time.Millisecond
	// maxDrain bounds one reading, so that a flood of events ends it too.
	maxDrain = 10000
)

// Events hears that something in a namespace may have changed, or the mounts of
// the process. It does not say what: whoever waits reads everything anew, so
// that nothing depends on an event for which the kernel had no room.
type Events struct {
	socket, mounts int
	poll           *os.File // of an epoll instance for both: the runtime's poller waits for it
}

// Listen opens Events in the calling thread's network namespace.
func Listen() (*Events, error) {
	e := &Events{socket: -1, mounts: -1}
	if err := e.open(); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

func (e *Events) open() (err error) {
	if e.socket, err = listen(append(eventGroups[:], unix.RTNLGRP_NEIGH)...); err != nil {
		return err
	}
	const mounts = "/proc/self/mountinfo"
	if e.mounts, err = unix.Open(mounts, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return &os.PathError{Op: "open", Path: mounts, Err: err}
	}
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(ep, true); err != nil {
		unix.Close(ep)
		return os.NewSyscallError("fcntl", err)
	}
	e.poll = os.NewFile(uintptr(ep), "epoll")
	for fd, events := range map[int]uint32{e.socket: unix.EPOLLIN, e.mounts: unix.EPOLLPRI} {
		if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
			return os.NewSyscallError("epoll_ctl", err)
		}
	}
	return nil
}

// Wait returns nil when something may have changed since it last returned, or
// since Listen. gone is asked before it waits whether what the mounts can tell
// is so already: who else waits for an epoll instance takes their event away.
func (e *Events) Wait(gone func() bool) error {
	raw, err := e.poll.SyscallConn()
	if err != nil {
		return err
	}
	heard := false
	err = raw.Read(func(uintptr) bool {
		before := heard
		heard = true
		return drain(e.socket) || before || gone()
	})
	if err == nil {
		time.Sleep(settle)
		drain(e.socket)
	}
	return err
}

// Wake ends a Wait, now and later, with os.ErrDeadlineExceeded.
func (e *Events) Wake() { _ = e.poll.SetReadDeadline(time.Unix(0, 1)) }

// Close must not be called while Wait is under way.
func (e *Events) Close() {
	if e.poll != nil {
		e.poll.Close()
	}
	for _, fd := range [...]int{e.socket, e.mounts} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// listen opens a socket to which the kernel tells what happens to these groups, in the
// calling thread's network namespace.
func listen(groups ...int) (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	// Without a port of its own it would count as the sender, the kernel, which
	// events are not sent to.
	err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	for _, g := range groups {
		if err == nil {
			err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g))
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// drain takes all events that have come and reports whether there was one. That
// some were lost, ENOBUFS, is an event too.
func drain(fd int) (any bool) {
	var b [1]byte
	for range maxDrain {
		_, errno := recv(fd, b[:], unix.MSG_DONTWAIT)
		switch errno {
		case 0, unix.ENOBUFS:
			any = true
		case unix.EINTR:
		case unix.EAGAIN:
			return any
		default:
			return true
		}
	}
	return true
}
