package check

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// allErrors makes a UDP socket report a host that can't be reached. Without
// it, only a refusal gets through.
func allErrors(_, _ string, c syscall.RawConn) error {
	var set error
	err := c.Control(func(fd uintptr) {
		// On an IPv6 socket both apply; on an IPv4 one, the first only.
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		if domain, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN); err == nil && domain == unix.AF_INET6 {
			set = errors.Join(set, unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1))
		}
	})
	return errors.Join(err, set)
}
