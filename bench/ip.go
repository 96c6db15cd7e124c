//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// ipContender is the ip command, a process for each step as people run it; only
// for many neighbours it is given a file of commands.
type ipContender struct{}

func (ipContender) Name() string            { return "ip" }
func (ipContender) Path(name string) string { return filepath.Join("/run/netns", name) }

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (ipContender) Create(name string) (sandbox, error) {
	if err := ip("netns", "add", name); err != nil {
		return nil, err
	}
	return ipSandbox(name), ip("-n", name, "link", "set", "lo", "up")
}

func (ipContender) Open(string, []*link) (sandbox, error) { return nil, errNotOffered }

func (ipContender) Up(*mesh) error   { return errNotOffered }
func (ipContender) Down(*mesh) error { return errNotOffered }

// ipSandbox is the name of one.
type ipSandbox string

func (s ipSandbox) in(args ...string) error {
	return ip(append([]string{"-n", string(s)}, args...)...)
}

func (s ipSandbox) Destroy() error { return ip("netns", "del", string(s)) }
func (s ipSandbox) Close() error   { return nil }

func (s ipSandbox) AddLink(l *link) error {
	err := errors.Join(
		ip("link", "add", "name", l.Peer, "type", "veth", "peer", "name", l.Name, "netns", string(s)),
		ip("link", "set", "dev", l.Peer, "up"))
	if l.Bridge {
		err = errors.Join(err, s.in("link", "set", "dev", l.Name, "master", "br0"))
	}
	for _, a := range l.Addrs {
		args := []string{"addr", "add", a.String(), "dev", l.Name}
		if a.Addr().Is6() {
			args = append(args, "nodad")
		}
		err = errors.Join(err, s.in(args...))
	}
	err = errors.Join(err, s.in("link", "set", "dev", l.Name, "up"))
	for _, r := range l.Routes {
		err = errors.Join(err, s.in("route", "add", r.String(), "dev", l.Name))
	}
	return err
}

func (s ipSandbox) AddBridge() error {
	return errors.Join(s.in("link", "add", "name", "br0", "type", "bridge"), s.in("link", "set", "dev", "br0", "up"))
}

func (s ipSandbox) MoveIn(l *link) error {
	return errors.Join(
		ip("link", "set", "dev", l.Source, "netns", string(s), "name", l.Name),
		s.in("addr", "add", l.Addrs[0].String(), "dev", l.Name),
		s.in("link", "set", "dev", l.Name, "up"))
}

func (s ipSandbox) MoveBack(l *link) error {
	return errors.Join(
		s.in("link", "set", "dev", l.Name, "netns", strconv.Itoa(os.Getpid()), "name", l.Source),
		ip("link", "set", "dev", l.Source, "up"))
}

func (s ipSandbox) SetGateway(r *route) error {
	return s.in("route", "add", "default", "via", r.Via.String())
}
func (s ipSandbox) UnsetGateway(r *route) error { return s.in("route", "del", "default") }

func (s ipSandbox) AddRoute(r *route) error {
	return s.in("route", "add", r.Dst.String(), "via", r.Via.String())
}

func (s ipSandbox) RemoveRoute(r *route) error {
	return s.in("route", "del", r.Dst.String(), "via", r.Via.String())
}

func (s ipSandbox) AddNeighbor(n *neighbor) error {
	return s.in("neigh", "add", n.IP.String(), "lladdr", n.MAC.String(), "dev", "eth0", "nud", "permanent")
}

func (s ipSandbox) DeleteNeighbor(n *neighbor) error {
	return s.in("neigh", "del", n.IP.String(), "dev", "eth0")
}

func (s ipSandbox) batch(list []*neighbor, line func(b *strings.Builder, n *neighbor)) error {
	var b strings.Builder
	for _, n := range list {
		line(&b, n)
	}
	cmd := exec.Command("ip", "-n", string(s), "-batch", "-")
	cmd.Stdin = strings.NewReader(b.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip -batch: %w: %s", err, out)
	}
	return nil
}

func (s ipSandbox) AddNeighbors(list []*neighbor) error {
	return s.batch(list, func(b *strings.Builder, n *neighbor) {
		fmt.Fprintf(b, "neigh add %v lladdr %v dev eth0 nud permanent\n", n.IP, n.MAC)
	})
}

func (s ipSandbox) DeleteNeighbors(list []*neighbor) error {
	return s.batch(list, func(b *strings.Builder, n *neighbor) { fmt.Fprintf(b, "neigh del %v dev eth0\n", n.IP) })
}

// Invoke can run no function; a command that does nothing stands for it.
func (s ipSandbox) Invoke(f func()) error { return ip("netns", "exec", string(s), "true") }

func (s ipSandbox) Received(name string) (uint64, error) {
	out, err := exec.Command("ip", "-n", string(s), "-stats", "-oneline", "link", "show", "dev", name).Output()
	if err != nil {
		return 0, err
	}
	// … RX: bytes packets … mcast\ 866 11 0 …
	_, rest, ok := strings.Cut(string(out), "RX:")
	_, rest, ok2 := strings.Cut(rest, "\\")
	if f := strings.Fields(rest); ok && ok2 && len(f) > 1 {
		return strconv.ParseUint(f[1], 10, 64)
	}
	return 0, fmt.Errorf("ip shows no counters: %s", out)
}

func (s ipSandbox) AddAlias(dev string, a *alias) error {
	return s.in("addr", "add", a.Prefix.String(), "dev", dev)
}

func (s ipSandbox) RemoveAlias(dev string, a *alias) error {
	return s.in("addr", "del", a.Prefix.String(), "dev", dev)
}
