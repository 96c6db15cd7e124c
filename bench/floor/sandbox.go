//go:build linux

package floor

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Home returns a descriptor of the namespace of the process.
var Home = sync.OnceValues(func() (int, error) {
	return unix.Open("/proc/self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
})

// Sandbox is a namespace that is pinned at a path.
type Sandbox struct {
	*Conn
	path string
	ns   int // -1 until it is needed
	ipv6 int // the setting disable_ipv6 of links to come, -1 if not open
}

// inside runs f on a thread that enter has taken to another namespace.
func inside(enter, f func() error) error {
	home, err := Home()
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := enter(); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	err = f()
	if herr := unix.Setns(home, unix.CLONE_NEWNET); herr != nil {
		panic(fmt.Sprintf("floor: the thread can not go home: %v", herr))
	}
	runtime.UnlockOSThread()
	return err
}

// Create makes a sandbox with its loopback up and IPv6 off.
func Create(path string) (s *Sandbox, err error) {
	s = &Sandbox{path: path, ns: -1, ipv6: -1}
	err = inside(func() error { return unix.Unshare(unix.CLONE_NEWNET) }, func() error {
		if err := s.setUp(); err != nil {
			return err
		}
		f, err := unix.Open(path, unix.O_RDONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		unix.Close(f)
		return unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
	})
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	return s, nil
}

// setUp brings a new namespace, that of the calling thread, to its state.
func (s *Sandbox) setUp() (err error) {
	if s.ipv6, err = unix.Open("/proc/sys/net/ipv6/conf/default/disable_ipv6", unix.O_WRONLY|unix.O_CLOEXEC, 0); err != nil {
		return err
	}
	if _, err := unix.Write(s.ipv6, []byte("1")); err != nil {
		return err
	}
	lo, err := unix.Open("/proc/sys/net/ipv6/conf/lo/disable_ipv6", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(lo)
	if _, err := unix.Write(lo, []byte("1")); err != nil {
		return err
	}
	if s.Conn, err = Dial(); err != nil {
		return err
	}
	s.Up(1, "")
	return s.Flush()
}

// Open opens the sandbox at a path.
func Open(path string) (*Sandbox, error) {
	s := &Sandbox{path: path, ns: -1, ipv6: -1}
	ns, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(ns)
	err = inside(func() error { return unix.Setns(ns, unix.CLONE_NEWNET) }, func() (err error) {
		s.Conn, err = Dial()
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Close closes what is open of the sandbox, and leaves it.
func (s *Sandbox) Close() error { return errors.Join(s.closeFiles(), s.Conn.Close()) }

func (s *Sandbox) closeFiles() (err error) {
	for _, fd := range []int{s.ns, s.ipv6} {
		if fd >= 0 {
			err = errors.Join(err, unix.Close(fd))
		}
	}
	return err
}

// DestroyWithEnds destroys the sandbox, and has the peers of its veths gone from the host
// when it returns, of which peer is the last. The kernel takes a veth off its lists with its
// peer long before it is done with both, so a goroutine waits for the answer.
func (s *Sandbox) DestroyWithEnds(host *Conn, peer string) error {
	s.DeleteEnds()
	conn := s.Conn
	failed := make(chan error, 1)
	go func() {
		failed <- conn.Flush()
		_ = conn.Close()
	}()
	for pause, done := 50*time.Microsecond, false; ; pause = min(2*pause, time.Millisecond) {
		gone, err := host.Gone(peer)
		if err != nil {
			return err
		}
		if gone {
			break
		}
		if done {
			return fmt.Errorf("destroy %s: %s is there still", s.path, peer)
		}
		select {
		case err := <-failed:
			if err != nil {
				return err
			}
			done = true
		case <-time.After(pause):
		}
	}
	return errors.Join(s.unpin(), s.closeFiles())
}

// Destroy unpins the sandbox and closes it.
func (s *Sandbox) Destroy() error {
	if err := s.unpin(); err != nil {
		return err
	}
	return s.Close()
}

func (s *Sandbox) unpin() error {
	if err := unix.Unmount(s.path, unix.MNT_DETACH); err != nil {
		return err
	}
	return unix.Unlink(s.path)
}

// NS returns a descriptor of the namespace, which stays open with the sandbox.
func (s *Sandbox) NS() (int, error) {
	if s.ns < 0 {
		fd, err := unix.Open(s.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, err
		}
		s.ns = fd
	}
	return s.ns, nil
}

// Invoke runs f in the sandbox.
func (s *Sandbox) Invoke(f func()) error {
	ns, err := s.NS()
	if err != nil {
		return err
	}
	return inside(func() error { return unix.Setns(ns, unix.CLONE_NEWNET) }, func() error { f(); return nil })
}

// Link is a veth of a sandbox, with its other end on the host.
type Link struct {
	Index  int
	Name   string
	Peer   string
	Master int
	Addrs  []netip.Prefix
	Routes []netip.Prefix
}

// WithIPv6 sends what waits while links that are made have IPv6 on.
func (s *Sandbox) WithIPv6() error {
	if _, err := unix.Pwrite(s.ipv6, []byte("0"), 0); err != nil {
		return err
	}
	err := s.Flush()
	if _, werr := unix.Pwrite(s.ipv6, []byte("1"), 0); err == nil {
		err = werr
	}
	return err
}

// Queue queues the messages that make links where they belong.
func (s *Sandbox) Queue(peerNS int, links ...Link) (ipv6 bool) {
	for i := range links {
		l := &links[i]
		s.Veth(l.Index, l.Name, peerNS, 0, l.Peer, l.Master)
		for _, a := range l.Addrs {
			s.Addr(l.Index, a)
			ipv6 = ipv6 || a.Addr().Is6()
		}
		s.Up(l.Index, "")
		for _, r := range l.Routes {
			s.Route(l.Index, r, netip.Addr{})
		}
	}
	return ipv6
}

// AddLinks makes links and sets both of their ends up. What waits in the
// sandbox goes first.
func (s *Sandbox) AddLinks(host *Conn, links ...Link) error {
	home, err := Home()
	if err != nil {
		return err
	}
	send := s.Flush
	if s.Queue(home, links...) {
		send = s.WithIPv6
	}
	if err := send(); err != nil {
		return err
	}
	for i := range links {
		host.Up(0, links[i].Peer)
	}
	return host.Flush()
}

// Spare is a namespace that was made beforehand, as a mount that is not
// attached anywhere yet.
type Spare struct {
	conn  *Conn
	ipv6  int
	mount int
}

// Prepare makes a namespace that is set up like a sandbox and not pinned.
func Prepare() (*Spare, error) {
	s := &Sandbox{ns: -1, ipv6: -1}
	p := &Spare{}
	err := inside(func() error { return unix.Unshare(unix.CLONE_NEWNET) }, func() (err error) {
		if err := s.setUp(); err != nil {
			return err
		}
		p.mount, err = unix.OpenTree(unix.AT_FDCWD, "/proc/thread-self/ns/net", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		return err
	})
	p.conn, p.ipv6 = s.Conn, s.ipv6
	return p, err
}

// HandOut pins a spare namespace at a path.
func (p *Spare) HandOut(path string) (*Sandbox, error) {
	f, err := unix.Open(path, unix.O_RDONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	unix.Close(f)
	if err := unix.MoveMount(p.mount, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return nil, fmt.Errorf("pin the spare %s at %s: %w", strconv.Itoa(p.mount), path, err)
	}
	unix.Close(p.mount)
	return &Sandbox{Conn: p.conn, path: path, ns: -1, ipv6: p.ipv6}, nil
}

// Drop gives a spare up.
func (p *Spare) Drop() {
	unix.Close(p.mount)
	unix.Close(p.ipv6)
	_ = p.conn.Close()
}
