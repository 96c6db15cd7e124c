//go:build linux

package netlink

import (
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is the Transport of the real kernel. It is not one of the runtime's
// poller: the kernel does a request within the send, so its answer is there
// when it is asked for, and each answer would wake the poller's thread for
// nothing.
type socket struct {
	fd       int // -1 when closed
	deadline time.Time
}

func dialSocket(protocol int) (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	// The kernel explains its refusals, checks dump requests and honours their
	// filters. Refusals come back without a copy of the request: they take less
	// of the receive buffer. It binds the socket with the first send.
	for _, option := range [...]int{unix.NETLINK_EXT_ACK, unix.NETLINK_GET_STRICT_CHK, unix.NETLINK_CAP_ACK} {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, option, 1); err != nil {
			unix.Close(fd)
			return nil, os.NewSyscallError("setsockopt", err)
		}
	}
	s := &socket{fd: fd}
	// The seed's Sandbox has no Close: who drops one must not keep its
	// namespace alive. Each call that uses the descriptor keeps s alive.
	runtime.SetFinalizer(s, (*socket).Close)
	return s, nil
}

func (s *socket) Send(b []byte) error {
	defer runtime.KeepAlive(s)
	for {
		n, err := unix.SendmsgN(s.fd, b, nil, nil, 0)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			if err := s.wait(unix.POLLOUT); err != nil {
				return err
			}
		case err == nil && n != len(b):
			return os.NewSyscallError("sendmsg", unix.EMSGSIZE)
		default:
			return os.NewSyscallError("sendmsg", err)
		}
	}
}

// recv does what unix.Recvfrom does, without an allocation for the address of the
// sender.
func recv(fd int, b []byte, flags int) (int, unix.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(flags), 0, 0)
	return int(n), errno
}

func (s *socket) Recv(b []byte) (int, error) {
	defer runtime.KeepAlive(s)
	for {
		n, errno := recv(s.fd, b, unix.MSG_TRUNC)
		switch errno {
		case 0:
			return n, nil
		case unix.EINTR:
		case unix.EAGAIN:
			if err := s.wait(unix.POLLIN); err != nil {
				return 0, err
			}
		default:
			return 0, os.NewSyscallError("recvfrom", errno)
		}
	}
}

// wait returns when the socket is ready, or its deadline is over.
func (s *socket) wait(events int16) error {
	for {
		left := time.Until(s.deadline)
		if left <= 0 {
			return os.ErrDeadlineExceeded
		}
		timeout := unix.NsecToTimespec(int64(left))
		n, err := unix.Ppoll([]unix.PollFd{{Fd: int32(s.fd), Events: events}}, &timeout, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return os.NewSyscallError("ppoll", err)
		case n > 0:
			return nil
		}
	}
}

// Grow needs CAP_NET_ADMIN in the first user namespace to go beyond the limit
// that the machine has set.
func (s *socket) Grow(n int) bool {
	defer runtime.KeepAlive(s)
	const overhead = 4096 // of the kernel's own
	err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, n+overhead)
	if err != nil {
		err = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, n+overhead)
	}
	if err != nil {
		return false
	}
	have, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	return err == nil && have >= n+overhead
}

// GrowAnswers needs the same. A refusal takes less than 1.5 KiB with what the
// kernel counts for it.
func (s *socket) GrowAnswers(n int) bool {
	defer runtime.KeepAlive(s)
	const each = 1536
	n = min(n, 1<<20)
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, n*each) != nil {
		return false
	}
	have, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	return err == nil && have >= n*each
}

func (s *socket) SetDeadline(t time.Time) error {
	s.deadline = t
	return nil
}

func (s *socket) NSFD() (int, error) {
	defer runtime.KeepAlive(s)
	fd, err := unix.IoctlRetInt(s.fd, unix.SIOCGSKNS)
	if err != nil {
		return -1, os.NewSyscallError("ioctl SIOCGSKNS", err)
	}
	return fd, nil
}

func (s *socket) Index(name string) (index int, err error) {
	defer runtime.KeepAlive(s)
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(s.fd, unix.SIOCGIFINDEX, ifr); err != nil {
		return 0, err
	}
	return int(ifr.Uint32()), nil
}

// Close leaves a number that is no descriptor, so that what comes later finds
// EBADF and never the socket of another.
func (s *socket) Close() error {
	if s.fd < 0 {
		return os.ErrClosed
	}
	runtime.SetFinalizer(s, nil)
	err := unix.Close(s.fd)
	s.fd = -1
	return os.NewSyscallError("close", err)
}
