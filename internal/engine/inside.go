//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/inside"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/types"
)

// Inside returns the sandbox as who makes sockets there knows it. Errors about the
// sandbox go through public.
func (n *Namespace) Inside(public func(error) error) *inside.Space {
	told := func(err error) error {
		if errors.Is(err, fault.ErrClosed) || errors.As(err, new(*netns.NotHomeError)) {
			return public(fail("make a socket in the sandbox", n.key, "", err))
		}
		return err // f's own, as package net has it
	}
	return &inside.Space{Etc: etcOf(n.key),
		Run: func(f func() error) error { return told(n.within(netns.Do, f)) },
		RunFrom: func(socket int, f func() error) error {
			return told(n.within(func(fd int, f func() error) error { return netns.DoFrom(socket, fd, f) }, f))
		},
		Visit: func() (func() (bool, error), error) {
			var out func() error
			err := n.within(func(fd int, _ func() error) (err error) { out, err = netns.Visit(fd); return err }, nil)
			if err != nil {
				return nil, told(err)
			}
			return func() (astray bool, err error) {
				err = out()
				return errors.Is(err, netns.ErrAstray), told(err)
			}, nil
		}}
}

// within runs f, which makes a socket, on a thread in the sandbox, by do.
func (n *Namespace) within(do func(fd int, f func() error) error, f func() error) error {
	if _, err := n.live(); err != nil {
		return err
	}
	ns, err := n.file()
	if err != nil {
		return err
	}
	defer ns.Release()
	if !n.host {
		used.Store(n.id, true)
	}
	return do(ns.FD(), f)
}

// used are the namespaces in which this process made sockets for a caller.
var used sync.Map

// endSockets ends the connections of a sandbox that is gone, whoever made them: they
// hold its namespace, in which no packet will come any more. The kernel counts them, which
// is asked first, since to list them it goes through those of the whole machine. Where the
// sandbox had lo alone, only what was within it is connected, and stays so, but for what
// this process made there.
func (n *Namespace) endSockets(reached bool) {
	_, own := used.LoadAndDelete(n.id)
	if !own && !reached && n.made {
		return
	}
	ns, err := n.file()
	if err != nil {
		return
	}
	defer ns.Release()
	// A kernel that can not do it leaves them to their deadlines.
	_ = netns.Do(ns.FD(), func() error {
		for _, s := range netns.SocketsHere() {
			_ = netlink.EndSockets(s.Family, s.Protocol)
		}
		return nil
	})
}

// etcOf is the directory with a sandbox's own files of /etc, as ip netns has it.
func etcOf(key string) string {
	if base.Holding(filepath.Dir(key)) == "" {
		return ""
	}
	return filepath.Join("/etc/netns", filepath.Base(key))
}

// Do runs f on a thread in the sandbox and returns f's error.
func (n *Namespace) Do(ctx context.Context, f func(context.Context) error) error {
	const op = "run a function in the sandbox"
	if _, err := n.live(); err != nil {
		return fail(op, n.key, "", err)
	}
	if f == nil {
		return fail(op, n.key, "", fault.Invalidf("the function is nil"))
	}
	if err := ctx.Err(); err != nil {
		return fail(op, n.key, "", err)
	}
	ns, err := n.file()
	if err != nil {
		return fail(op, n.key, "", err)
	}
	defer ns.Release()
	var own error
	err = netns.Do(ns.FD(), func() error { own = f(ctx); return nil })
	if err != nil {
		return errors.Join(own, fail(op, n.key, "", err))
	}
	return own
}

// File returns a descriptor of the namespace, which the caller closes.
func (n *Namespace) File() (*os.File, error) {
	const op = "open the namespace of the sandbox"
	if _, err := n.live(); err != nil {
		return nil, fail(op, n.key, "", err)
	}
	ns, err := n.file()
	if err != nil {
		return nil, fail(op, n.key, "", err)
	}
	defer ns.Release()
	fd, err := unix.FcntlInt(uintptr(ns.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fail(op, n.key, "", os.NewSyscallError("fcntl", err))
	}
	return os.NewFile(uintptr(fd), n.key), nil
}

// Command returns a command that starts in the sandbox; with mounts, where the file
// systems of ip netns exec are as well.
func (n *Namespace) Command(ctx context.Context, public func(error) error, mounts bool, name string, args []string) *exec.Cmd {
	const op = "start a command in the sandbox"
	refused := func(err error) *exec.Cmd {
		c := exec.CommandContext(ctx, name, args...)
		c.Err = public(fail(op, n.key, "", err))
		return c
	}
	if _, err := n.live(); err != nil {
		return refused(err)
	}
	path, mounted := n.key, ""
	if n.host {
		path = ""
	}
	if mounts && !n.host {
		var err error
		if mounted, err = n.mounts(); err != nil {
			return refused(err)
		}
	}
	c := inside.Command(ctx, path, mounted, name, args...)
	if errors.Is(c.Err, fault.ErrUnsupported) {
		c.Err = public(fail(op, n.key, "", c.Err))
	}
	return c
}

// mounts returns the path of a mount namespace with the sandbox's /sys and its files
// over those of /etc. The handle keeps it.
func (n *Namespace) mounts() (string, error) {
	ns, err := n.file()
	if err != nil {
		return "", err
	}
	defer ns.Release()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return "", fault.ErrClosed
	}
	if n.mnt == nil {
		fd, err := netns.Mounts(ns.FD(), filepath.Base(n.key), etcOf(n.key))
		if err != nil {
			return "", err
		}
		n.mnt = netns.NewFile(fd)
	}
	return inside.OfProcess(n.mnt.FD())
}

// AllStatistics reads the counters of all links of the sandbox, by their names.
func (n *Namespace) AllStatistics(ctx context.Context) (map[string]types.InterfaceStatistics, error) {
	const op = "read the statistics of the sandbox"
	conn, err := n.live()
	if err != nil {
		return nil, fail(op, n.key, "", err)
	}
	links, err := conn.Links(ctx)
	if err != nil {
		return nil, fail(op, n.key, "", err)
	}
	all := make([]rtnl.Stats, len(links))
	there := map[string]types.InterfaceStatistics{}
	for i := range links {
		switch err := conn.One(ctx, rtnl.GetStats(links[i].Index, &all[i])); {
		case errors.Is(err, unix.ENODEV): // it went meanwhile
		case err != nil:
			return nil, fail(op, n.key, links[i].Name, err)
		default:
			there[links[i].Name] = statistics(all[i])
		}
	}
	return there, nil
}

// OpenTun returns a queue of the tun or tap with a name.
func (n *Namespace) OpenTun(name string) (*os.File, error) {
	const op = "open the device of"
	conn, err := n.live()
	if err != nil {
		return nil, fail(op, n.key, name, err)
	}
	var l rtnl.Link
	if err := conn.One(context.Background(), rtnl.GetLink(0, name, &l)); err != nil {
		return nil, fail(op, n.key, name, err)
	}
	if l.Kind != "tun" && l.Kind != "tap" {
		return nil, fail(op, n.key, name, fault.Invalidf("it is no tun or tap"))
	}
	fd := -1
	err = n.within(netns.Do, func() (err error) {
		fd, err = attachTun(name, l.Kind == "tap")
		return err
	})
	if err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		return nil, fail(op, n.key, name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// attachTun opens a tun or tap that is there, in the calling thread's namespace. One
// with several queues wants the flag that says so.
func attachTun(name string, tap bool) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if tap {
		flags = unix.IFF_TAP | unix.IFF_NO_PI
	}
	for _, f := range [...]uint16{flags, flags | unix.IFF_MULTI_QUEUE} {
		var ifr *unix.Ifreq
		if ifr, err = unix.NewIfreq(name); err != nil {
			break
		}
		ifr.SetUint16(f)
		if err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != unix.EINVAL {
			break
		}
	}
	if err != nil {
		unix.Close(fd)
		if err == unix.EBUSY {
			return -1, fmt.Errorf("another has it open: %w", err)
		}
		return -1, os.NewSyscallError("ioctl TUNSETIFF", err)
	}
	return fd, nil
}
