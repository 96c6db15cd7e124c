// Package inside makes the sockets and processes of a program inside a sandbox. A
// socket belongs for good to the namespace in which it was made, whichever thread
// uses it: so only the making is done there, and all else is package net's.
package inside

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Space is a network namespace, as who makes sockets there knows it.
type Space struct {
	// Run runs f on a thread in the namespace, and nothing else of the program. Its
	// errors are those that the caller is to see.
	Run func(f func() error) error
	// RunFrom is Run for who has a socket that the calling goroutine made just now.
	RunFrom func(socket int, f func() error) error
	// Visit takes the calling goroutine into the namespace, locked to its thread, until it
	// calls leave, which does nothing for another goroutine and says so.
	Visit func() (leave func() (astray bool, err error), err error)
	// Etc is the directory with the files that are there instead of those of /etc, as
	// ip netns has it: /etc/netns/NAME.
	Etc string
}

// Dialer returns a dialer of package net that makes its sockets in the sandbox.
func (s *Space) Dialer() *net.Dialer {
	return &net.Dialer{ControlContext: s.dialing, Resolver: s.Resolver()}
}

// ListenConfig returns one of package net that makes its sockets in the sandbox.
func (s *Space) ListenConfig() *net.ListenConfig {
	c := &net.ListenConfig{Control: func(network, _ string, r syscall.RawConn) error { return s.control(network, true, r) }}
	c.SetMultipathTCP(false) // as Dialer does it; and an MPTCP socket can not be ended from outside
	return c
}

// control puts a socket of the sandbox in the place of the one that package net has
// just made: nothing was done with that yet, and it has not met the poller.
func (s *Space) control(network string, listens bool, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = s.RunFrom(int(fd), func() error { return replace(int(fd), network, listens) })
	}); e != nil {
		return e
	}
	return err
}

func (s *Space) dialing(_ context.Context, network, _ string, c syscall.RawConn) error {
	return s.control(network, false, c)
}

// Dial connects as net.Dialer does, with names looked up as the sandbox has them.
func (s *Space) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, ok := split(network, address)
	if !ok {
		return s.Dialer().DialContext(ctx, network, address)
	}
	ip, literal, err := s.literal(host)
	if err == nil && literal {
		return s.connect(ctx, network, join(ip, port))
	}
	var list []netip.Addr
	if err == nil {
		list, err = s.Lookup(ctx, family(network), host)
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	list = s.order(list)
	one := func(ctx context.Context, a netip.Addr) (net.Conn, error) {
		return s.connect(ctx, network, join(a.String(), port))
	}
	if !strings.HasPrefix(network, "tcp") {
		return inTurn(ctx, list, one)
	}
	return race(ctx, list, one)
}

// connect dials one address in numbers. Package net makes that one's socket before it
// does anything else, and on the goroutine that calls it: so that is in the sandbox until
// the socket is there, which takes half of the time of putting another in its place.
func (s *Space) connect(ctx context.Context, network, address string) (c net.Conn, err error) {
	d := s.Dialer()
	leave, err := s.Visit()
	if err != nil { // package net says it, as what else it is refused
		return d.DialContext(ctx, network, address)
	}
	away := true
	d.ControlContext = func(ctx context.Context, network, address string, c syscall.RawConn) error {
		if away {
			away = false
			if astray, err := leave(); !astray {
				return err
			}
		}
		return s.dialing(ctx, network, address, c) // a further attempt
	}
	defer func() {
		if _, stuck := leave(); stuck != nil { // nothing where a socket was made
			err = errors.Join(err, stuck)
		}
	}()
	return d.DialContext(ctx, network, address)
}

// Listen listens as net.Listen does.
func (s *Space) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	address, err := s.local(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	return s.ListenConfig().Listen(ctx, network, address)
}

// ListenPacket listens as net.ListenPacket does.
func (s *Space) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	address, err := s.local(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	return s.ListenConfig().ListenPacket(ctx, network, address)
}

// local returns an address to listen on in numbers. Where all addresses are meant,
// package net asks for both families only if the host had IPv6 when it looked, once:
// the sandbox is asked here.
func (s *Space) local(ctx context.Context, network, address string) (string, error) {
	host, port, ok := split(network, address)
	if !ok {
		return address, nil
	}
	if host == "" {
		if family(network) == "ip" && port != "" && s.Run(haveIPv6) == nil {
			return net.JoinHostPort("::", port), nil
		}
		return address, nil
	}
	ip, literal, err := s.literal(host)
	if err != nil {
		return "", err
	}
	if literal {
		return join(ip, port), nil
	}
	list, err := s.Lookup(ctx, family(network), host)
	if err != nil {
		return "", err
	}
	for _, a := range list { // package net prefers it here too
		if a.Is4() {
			return join(a.String(), port), nil
		}
	}
	return join(list[0].String(), port), nil
}

// split takes an address of tcp, udp or ip apart. The others, and those that package
// net has an error for, are not for this package: ok is false.
func split(network, address string) (host, port string, ok bool) {
	if name, _, _ := strings.Cut(network, ":"); name == "ip" || name == "ip4" || name == "ip6" {
		return address, "", true
	}
	if !strings.HasPrefix(network, "tcp") && !strings.HasPrefix(network, "udp") {
		return "", "", false
	}
	host, port, err := net.SplitHostPort(address)
	return host, port, err == nil && port != ""
}

func join(host, port string) string {
	if port == "" {
		return host
	}
	return net.JoinHostPort(host, port)
}

// family is what a network is called where names are looked up.
func family(network string) string {
	name, _, _ := strings.Cut(network, ":")
	switch name[len(name)-1] {
	case '4':
		return "ip4"
	case '6':
		return "ip6"
	}
	return "ip"
}

// literal reports whether host is an address, or none. The zone of one becomes a
// number: package net knows the names of the host's links, and keeps them for a minute.
func (s *Space) literal(host string) (string, bool, error) {
	if host == "" {
		return "", true, nil
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return "", false, nil
	}
	if a.Zone() == "" {
		return host, true, nil
	}
	if _, err := strconv.Atoi(a.Zone()); err == nil {
		return host, true, nil
	}
	index := 0
	err = s.Run(func() (err error) {
		index, err = linkIndex(a.Zone())
		return err
	})
	return a.WithZone(strconv.Itoa(index)).String(), true, err
}

// order puts those first that the sandbox has a route to, and of these IPv6, as
// RFC 8305 wants it. To connect a datagram's socket sends nothing.
func (s *Space) order(list []netip.Addr) []netip.Addr {
	if len(list) < 2 {
		return list
	}
	var groups [4][]netip.Addr
	_ = s.Run(func() error {
		for _, a := range list {
			g := 0
			if !routed(a) {
				g = 2
			}
			if a.Is4() {
				g++
			}
			groups[g] = append(groups[g], a)
		}
		return nil
	})
	sorted := append(append(append(groups[0], groups[1]...), groups[2]...), groups[3]...)
	if len(sorted) != len(list) { // the sandbox is gone, which the first attempt will say
		return list
	}
	return sorted
}

// Socket makes a socket in the sandbox.
func (s *Space) Socket(domain, typ, proto int) (f *os.File, err error) {
	fd := -1
	err = s.Run(func() (err error) {
		fd, err = socket(domain, typ, proto)
		return err
	})
	if fd < 0 {
		return nil, err
	}
	f = os.NewFile(uintptr(fd), "socket")
	if err != nil { // the thread is lost
		f.Close()
		return nil, err
	}
	return f, nil
}
