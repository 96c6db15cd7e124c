package inside

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// replace puts a new socket of the calling thread's namespace at fd, where an unused
// one of another is: of the same kind, and with what package net has set.
func replace(fd int) error {
	var kind [3]int // domain, type, protocol
	for i, option := range [...]int{unix.SO_DOMAIN, unix.SO_TYPE, unix.SO_PROTOCOL} {
		var err error
		if kind[i], err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, option); err != nil {
			return os.NewSyscallError("getsockopt", err)
		}
	}
	s, err := socket(kind[0], kind[1], kind[2])
	if err != nil && kind[2] == unix.IPPROTO_MPTCP { // as package net does where there is none
		s, err = socket(kind[0], kind[1], 0)
	}
	if err != nil {
		return err
	}
	defer unix.Close(s)
	for _, o := range [...][2]int{{unix.SOL_SOCKET, unix.SO_REUSEADDR}, {unix.SOL_SOCKET, unix.SO_REUSEPORT},
		{unix.SOL_SOCKET, unix.SO_BROADCAST}, {unix.IPPROTO_IPV6, unix.IPV6_V6ONLY}} {
		if o[0] == unix.IPPROTO_IPV6 && kind[0] != unix.AF_INET6 {
			continue
		}
		want, err := unix.GetsockoptInt(fd, o[0], o[1])
		if err != nil {
			continue // a kind of socket that has no such option
		}
		if have, err := unix.GetsockoptInt(s, o[0], o[1]); err == nil && have == want {
			continue
		}
		if err := unix.SetsockoptInt(s, o[0], o[1], want); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return os.NewSyscallError("dup3", unix.Dup3(s, fd, unix.O_CLOEXEC))
}

func socket(domain, typ, proto int) (int, error) {
	fd, err := unix.Socket(domain, typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	return fd, os.NewSyscallError("socket", err)
}

// haveIPv6 returns an error where the kernel has no IPv6.
func haveIPv6() error {
	fd, err := socket(unix.AF_INET6, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// linkIndex returns the index of a link in the calling thread's namespace.
func linkIndex(name string) (int, error) {
	fd, err := socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, r)
	}
	if err != nil {
		return 0, &os.PathError{Op: "find the link", Path: name, Err: err}
	}
	return int(r.Uint32()), nil
}

// routed reports whether the calling thread's namespace has a way to an address.
func routed(a netip.Addr) bool {
	domain := unix.AF_INET6
	var to unix.Sockaddr = &unix.SockaddrInet6{Port: 9, Addr: a.As16()}
	if a.Is4() {
		domain, to = unix.AF_INET, &unix.SockaddrInet4{Port: 9, Addr: a.As4()}
	}
	fd, err := socket(domain, unix.SOCK_DGRAM, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.Connect(fd, to) == nil
}
