//go:build linux

package rtnl

import (
	"os"
	"syscall"
	"time"
	"unsafe"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// socket is the Transport of the real kernel. mdlayher/netlink opens it, sets
// its options and ties it to the runtime's poller. Reading goes past its
// Receive, which drops the flags of a dump's closing message: a dump can be
// marked as interrupted there alone.
type socket struct {
	conn *netlink.Conn
	raw  syscall.RawConn

	// What one Send or Recv hands to the function that the runtime calls when
	// the socket is ready, kept here so that no exchange allocates. A Conn does
	// one exchange at a time.
	buf        []byte
	n          int
	err        error
	send, recv func(fd uintptr) bool
}

func dialSocket() (*socket, error) {
	// Strict makes the kernel check dump requests and honour their filters,
	// and explain its refusals.
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{Strict: true})
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	s := &socket{conn: conn, raw: raw}
	s.send, s.recv = s.trySend, s.tryRecv
	// Refusals come back without a copy of the request: they take less of the
	// receive buffer.
	if err := conn.SetOption(netlink.CapAcknowledge, true); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *socket) Send(b []byte) error {
	s.buf = b
	err := s.raw.Write(s.send)
	s.buf = nil
	switch {
	case err != nil:
		return err
	case s.err != nil:
		return os.NewSyscallError("sendmsg", s.err)
	case s.n != len(b):
		return os.NewSyscallError("sendmsg", unix.EMSGSIZE)
	}
	return nil
}

func (s *socket) trySend(fd uintptr) bool {
	s.n, s.err = unix.SendmsgN(int(fd), s.buf, nil, nil, 0)
	return s.err != unix.EAGAIN
}

func (s *socket) Recv(b []byte) (int, error) {
	s.buf = b
	err := s.raw.Read(s.recv)
	s.buf = nil
	if err != nil {
		return 0, err
	}
	return s.n, os.NewSyscallError("recvfrom", s.err)
}

// tryRecv does what unix.Recvfrom does, without an allocation for the address
// of the sender.
func (s *socket) tryRecv(fd uintptr) bool {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&s.buf[0])), uintptr(len(s.buf)), unix.MSG_TRUNC, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		s.n, s.err = int(n), nil
		if errno != 0 {
			s.n, s.err = 0, errno
		}
		return errno != unix.EAGAIN
	}
}

// Grow needs CAP_NET_ADMIN in the first user namespace to go beyond the limit
// that the machine has set.
func (s *socket) Grow(n int) bool {
	const overhead = 4096 // of the kernel's own
	var have int
	var err error
	if cerr := s.raw.Control(func(fd uintptr) {
		if err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, n+overhead); err != nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, n+overhead)
		}
		if err == nil {
			have, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
		}
	}); cerr != nil || err != nil {
		return false
	}
	return have >= n+overhead
}

func (s *socket) SetDeadline(t time.Time) error { return s.conn.SetDeadline(t) }

func (s *socket) NSFD() (int, error) {
	var fd uintptr
	var errno syscall.Errno
	err := s.raw.Control(func(sock uintptr) {
		fd, _, errno = unix.Syscall(unix.SYS_IOCTL, sock, unix.SIOCGSKNS, 0)
	})
	if err != nil {
		return -1, err
	}
	if errno != 0 {
		return -1, os.NewSyscallError("ioctl SIOCGSKNS", errno)
	}
	return int(fd), nil
}

func (s *socket) Index(name string) (index int, err error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if cerr := s.raw.Control(func(fd uintptr) {
		if err = unix.IoctlIfreq(int(fd), unix.SIOCGIFINDEX, ifr); err == nil {
			index = int(ifr.Uint32())
		}
	}); cerr != nil {
		return 0, cerr
	}
	return index, err
}

func (s *socket) Close() error { return s.conn.Close() }
