//go:build linux

package rtnl

import (
	"os"
	"syscall"
	"time"

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
	// Refusals come back without a copy of the request: they take less of the
	// receive buffer.
	if err := conn.SetOption(netlink.CapAcknowledge, true); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *socket) Send(b []byte) error {
	var n int
	var err error
	werr := s.raw.Write(func(fd uintptr) bool {
		n, err = unix.SendmsgN(int(fd), b, nil, nil, 0)
		return err != unix.EAGAIN
	})
	if werr != nil {
		return werr
	}
	if err != nil {
		return os.NewSyscallError("sendmsg", err)
	}
	if n != len(b) {
		return os.NewSyscallError("sendmsg", unix.EMSGSIZE)
	}
	return nil
}

func (s *socket) Recv(b []byte) (int, error) {
	var n int
	var err error
	rerr := s.raw.Read(func(fd uintptr) bool {
		for {
			n, _, err = unix.Recvfrom(int(fd), b, unix.MSG_TRUNC)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if rerr != nil {
		return 0, rerr
	}
	return n, os.NewSyscallError("recvfrom", err)
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

func (s *socket) Close() error { return s.conn.Close() }
