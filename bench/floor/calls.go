//go:build linux

package floor

import (
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Calls makes the system calls that osl makes, in osl's order, with nothing
// between them: what its guarantees cost the kernel. What is more than that is
// osl's own code.
type Calls struct {
	dir  string
	lock int
}

// mounts returns a descriptor of the table of mounts.
var mounts = sync.OnceValues(func() (int, error) {
	return unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
})

// NewCalls returns what makes osl's calls for sandboxes in a directory.
func NewCalls(dir string) *Calls { return &Calls{dir: dir} }

// Called is a sandbox that was made with osl's calls.
type Called struct {
	*Sandbox
	by *Calls
}

// take takes the lock of a key, whose file went with the last sandbox, and
// looks whether the key is free.
func (c *Calls) take(path string) error {
	var st unix.Stat_t
	for _, dir := range []string{filepath.Dir(filepath.Dir(c.dir)), filepath.Dir(c.dir), c.dir} {
		if err := unix.Lstat(dir, &st); err != nil {
			return err
		}
	}
	var err error
	if c.lock, err = unix.Open(c.lockFile(), unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600); err != nil {
		return err
	}
	if err := unix.Fstat(c.lock, &st); err != nil {
		return err
	}
	unix.Geteuid()
	if err := c.again(); err != nil {
		return err
	}
	if _, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_PATH, 0); err != unix.ENOENT {
		return fmt.Errorf("open %s, which is not to be there: %w", path, err)
	}
	return unix.Lstat(c.dir, &st)
}

func (c *Calls) lockFile() string { return filepath.Join(filepath.Dir(c.dir), "osl.lock") }

// again takes the lock where the file is open.
func (c *Calls) again() error {
	if err := c.set(unix.F_OFD_SETLK, unix.F_WRLCK, 7, 1); err != nil {
		return err
	}
	var st unix.Stat_t
	return unix.Fstat(c.lock, &st)
}

// leave lets go of the lock, and looks whether somebody waits for it.
func (c *Calls) leave() error {
	if err := c.set(unix.F_OFD_SETLK, unix.F_UNLCK, 7, 1); err != nil {
		return err
	}
	return c.set(unix.F_OFD_GETLK, unix.F_WRLCK, 8, 1)
}

func (c *Calls) set(cmd int, typ int16, from, n int64) error {
	return unix.FcntlFlock(uintptr(c.lock), cmd, &unix.Flock_t{Type: typ, Start: from, Len: n})
}

// poll asks whether the mounts changed.
func poll() error {
	fd, err := mounts()
	if err != nil {
		return err
	}
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}
	_, err = unix.Ppoll(fds[:], &unix.Timespec{}, nil)
	return err
}

// own reads which namespace the thread is in.
func own() error {
	var b [32]byte
	path := [...]byte{'/', 'p', 'r', 'o', 'c', '/', 't', 'h', 'r', 'e', 'a', 'd', '-', 's', 'e', 'l', 'f', '/', 'n', 's', '/', 'n', 'e', 't', 0}
	at := unix.AT_FDCWD
	_, _, errno := unix.Syscall6(unix.SYS_READLINKAT, uintptr(at), uintptr(unsafe.Pointer(&path[0])), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// pin makes the key and the mount at it.
func pin(ns int, path string) error {
	f, err := unix.Open(path, unix.O_RDONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", ns), fmt.Sprintf("/proc/self/fd/%d", f), "", unix.MS_BIND, ""); err != nil {
		return err
	}
	unix.Close(f)
	return unix.Close(ns)
}

// Create is osl's Create.
func (c *Calls) Create(path string) (*Called, error) {
	if err := c.take(path); err != nil {
		return nil, err
	}
	s, err := c.make()
	if err != nil {
		return nil, err
	}
	s.path = path
	ns, err := s.namespace()
	if err != nil {
		return nil, err
	}
	if err := pin(ns, path); err != nil {
		return nil, err
	}
	return &Called{Sandbox: s, by: c}, c.leave()
}

// make makes a namespace with osl's settings and mark.
func (c *Calls) make() (*Sandbox, error) {
	home, err := Home()
	if err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	unix.Gettid()
	if err := own(); err != nil {
		return nil, err
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	s := &Sandbox{ns: -1, ipv6: -1}
	err = settings()
	if err == nil {
		if s.Conn, err = Dial(); err == nil {
			err = s.options()
		}
	}
	if herr := unix.Setns(home, unix.CLONE_NEWNET); herr != nil {
		panic(fmt.Sprintf("floor: the thread can not go home: %v", herr))
	}
	if err != nil {
		return nil, err
	}
	s.tag(1, "osl1;o=s")
	return s, s.Flush()
}

func settings() error {
	for _, x := range [...][2]string{{"default/disable_ipv6", "1"}, {"lo/disable_ipv6", "1"}, {"default/accept_dad", "0"}, {"default/ndisc_notify", "1"}} {
		f, err := unix.Open("/proc/sys/net/ipv6/conf/"+x[0], unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if _, err := unix.Pwrite(f, []byte(x[1]), 0); err != nil {
			return err
		}
		unix.Close(f)
	}
	return nil
}

// Destroy is osl's Destroy, of the last sandbox.
func (s *Called) Destroy() error {
	c := s.by
	if err := c.again(); err != nil {
		return err
	}
	if err := s.list(); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(s.path, &st); err != nil {
		return err
	}
	if err := unix.Unmount(s.path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		return err
	}
	if err := unix.Unlink(s.path); err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	dir, err := unix.Open(c.dir, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	var names [511]byte
	if _, err := unix.Getdents(dir, names[:]); err != nil {
		return err
	}
	unix.Close(dir)
	if err := c.set(unix.F_OFD_SETLK, unix.F_WRLCK, 0, 0); err != nil {
		return err
	}
	if err := unix.Unlink(c.lockFile()); err != nil {
		return err
	}
	return unix.Close(c.lock)
}

// KeepIPv6 opens what AddLinks writes to, which osl opens each time.
func (s *Called) KeepIPv6() error {
	ns, err := s.NS()
	if err != nil {
		return err
	}
	return inside(func() error { return unix.Setns(ns, unix.CLONE_NEWNET) }, func() (err error) {
		s.ipv6, err = unix.Open("/proc/sys/net/ipv6/conf/default/disable_ipv6", unix.O_WRONLY|unix.O_CLOEXEC, 0)
		return err
	})
}

// Invoke is osl's InvokeFunc.
func (s *Called) Invoke(f func()) error {
	if err := poll(); err != nil {
		return err
	}
	ns, err := s.NS()
	if err != nil {
		return err
	}
	return inside(func() error {
		if err := own(); err != nil {
			return err
		}
		return unix.Setns(ns, unix.CLONE_NEWNET)
	}, func() error { f(); return nil })
}

// Stats is osl's Statistics of an Interface.
func (s *Called) Stats(index int) (Stats, error) {
	if err := poll(); err != nil {
		return Stats{}, err
	}
	return s.Sandbox.Stats(index)
}

// CalledSpare is a spare as osl's pool keeps it.
type CalledSpare struct {
	s  *Sandbox
	ns int
	by *Calls
}

// Prepare makes a spare.
func (c *Calls) Prepare() (*CalledSpare, error) {
	s, err := c.make()
	if err != nil {
		return nil, err
	}
	ns, err := s.namespace()
	return &CalledSpare{s: s, ns: ns, by: c}, err
}

// HandOut is the Create of osl's Pool.
func (p *CalledSpare) HandOut(path string) (*Called, error) {
	if err := p.by.take(path); err != nil {
		return nil, err
	}
	if err := pin(p.ns, path); err != nil {
		return nil, err
	}
	p.s.path = path
	return &Called{Sandbox: p.s, by: p.by}, nil
}

// Drop gives a spare up.
func (p *CalledSpare) Drop() {
	unix.Close(p.ns)
	_ = p.s.Conn.Close()
}

// tag queues a message that sets a link up and gives it an alias.
func (c *Conn) tag(index int, alias string) {
	c.message(unix.RTM_NEWLINK, 0)
	c.ifinfo(index, unix.IFF_UP, unix.IFF_UP)
	c.str(unix.IFLA_IFALIAS, alias)
}

// list dumps the links.
func (c *Conn) list() error {
	c.message(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	c.ifinfo(0, 0, 0)
	c.u32(unix.IFLA_EXT_MASK, skipStats)
	return c.dump(func([]byte) {})
}

// options sets what osl's sockets have.
func (c *Conn) options() error {
	for _, o := range [...]int{unix.NETLINK_EXT_ACK, unix.NETLINK_GET_STRICT_CHK, unix.NETLINK_CAP_ACK} {
		if err := unix.SetsockoptInt(c.fd, unix.SOL_NETLINK, o, 1); err != nil {
			return err
		}
	}
	return nil
}

// namespace returns a descriptor of the socket's namespace.
func (c *Conn) namespace() (int, error) {
	ns, err := unix.IoctlRetInt(c.fd, unix.SIOCGSKNS)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	return ns, unix.Fstat(ns, &st)
}
