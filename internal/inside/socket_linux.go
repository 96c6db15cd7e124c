package inside

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// replace puts a new socket of the calling thread's namespace at fd, where package net
// has an unused one of another for this network, to listen or to dial: of the same kind,
// and with what it set.
func replace(fd int, network string, listens bool) error {
	kind, err := kindOf(fd, network)
	if err != nil {
		return err
	}
	s, err := socket(kind[0], kind[1], kind[2])
	if err != nil && kind[2] == unix.IPPROTO_MPTCP { // as package net does where there is none
		s, err = socket(kind[0], kind[1], 0)
	}
	if err != nil {
		return err
	}
	defer unix.Close(s)
	for _, o := range options {
		if o.listens && !listens || o.domain != 0 && o.domain != kind[0] || o.packets && kind[1] == unix.SOCK_STREAM || o.ports && kind[1] == unix.SOCK_RAW {
			continue
		}
		want, err := unix.GetsockoptInt(fd, o.level, o.name)
		if err != nil {
			continue // a kind of socket that has no such option
		}
		if o.level == unix.SOL_SOCKET && want == 0 { // as it is on a new one
			continue
		}
		if err := unix.SetsockoptInt(s, o.level, o.name, want); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return os.NewSyscallError("dup3", unix.Dup3(s, fd, unix.O_CLOEXEC))
}

// options are what package net sets before it calls Control.
var options = [...]struct {
	level, name int
	domain      int  // only of this, 0 for all
	listens     bool // only of one that listens
	packets     bool // not of a stream
	ports       bool // not of a raw one, which refuses it
}{
	{level: unix.IPPROTO_IPV6, name: unix.IPV6_V6ONLY, domain: unix.AF_INET6, ports: true},
	{level: unix.SOL_SOCKET, name: unix.SO_BROADCAST, packets: true},
	{level: unix.SOL_SOCKET, name: unix.SO_REUSEADDR, listens: true},
	{level: unix.SOL_SOCKET, name: unix.SO_REUSEPORT, listens: true},
}

// kindOf returns domain, type and protocol of a socket, of which the network's name says
// what it can: each question is a system call.
func kindOf(fd int, network string) (kind [3]int, err error) {
	ask := []int{unix.SO_DOMAIN, unix.SO_TYPE, unix.SO_PROTOCOL}
	from := 0
	switch network {
	case "tcp4":
		kind, from = [3]int{unix.AF_INET, unix.SOCK_STREAM}, 2 // it may be MPTCP
	case "tcp6":
		kind, from = [3]int{unix.AF_INET6, unix.SOCK_STREAM}, 2
	case "udp4":
		return [3]int{unix.AF_INET, unix.SOCK_DGRAM}, nil
	case "udp6":
		return [3]int{unix.AF_INET6, unix.SOCK_DGRAM}, nil
	}
	for i := from; i < len(ask); i++ {
		if kind[i], err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, ask[i]); err != nil {
			return kind, os.NewSyscallError("getsockopt", err)
		}
	}
	return kind, nil
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
