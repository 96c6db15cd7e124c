//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/want"
)

// Namespace is an open sandbox: its netlink socket, and what only this handle knows.
type Namespace struct {
	key  string
	host bool   // the host's own namespace: links keep their names and stay
	lent bool   // the socket is of hostConns
	base string // that names of other sandboxes are of, empty for the process's
	id   netns.ID
	lock lockID
	look netns.Look
	made bool   // by the call that opened it
	dir  func() // takes away the directory that was made for its key, nil for none

	mu     sync.Mutex // guards what follows
	closed bool
	conn   *netlink.Conn
	ns     *netns.File // nil until something enters the namespace
	mnt    *netns.File // of the mount namespace of commands; nil before the first
	lookup lookup
	memo   *memo // nil before the first Info

	watches []*netlink.Events // to be woken by Close

	// Of who destroys it, with the lock held.
	force bool     // the key goes, whoever made the namespace
	out   []string // the record of what is taken out
}

// Create makes a sandbox at the key of a name.
func Create(ctx context.Context, name string, labels map[string]string) (*Namespace, error) {
	if err := want.RoomForLabels(&plan.Sandbox{Labels: labels}, ""); err != nil {
		return nil, fail("create the sandbox", name, "", err)
	}
	return createWith(ctx, name, func(ctx context.Context) (unpinned, error) {
		return newNamespace(ctx, plan.SandboxTag{Labels: labels})
	})
}

func createWith(ctx context.Context, name string, get func(context.Context) (unpinned, error)) (*Namespace, error) {
	const op = "create the sandbox"
	key, err := base.KeyIn(ctx, name)
	if err != nil {
		return nil, fail(op, name, "", err)
	}
	l := lockOf(key)
	h, err := l.take(ctx)
	if err != nil {
		return nil, fail(op, key, "", err)
	}
	n, err := pinNamespace(ctx, key, l, get)
	if err != nil {
		l.letGo(h)
		return nil, fail(op, key, "", err)
	}
	h.Unlock()
	n.base = base.Given(ctx)
	return n, nil
}

// in returns a context in which names are of the base path that the handle is of.
func (n *Namespace) in(ctx context.Context) context.Context {
	if n.base == "" {
		return ctx
	}
	return base.In(ctx, n.base)
}

// Open opens the sandbox at the key of a name, and puts right what a dead process
// left there.
func Open(ctx context.Context, name string) (*Namespace, error) {
	key, err := base.KeyIn(ctx, name)
	if err != nil {
		return nil, fail("open the sandbox", name, "", err)
	}
	n, err := openSettled(ctx, key)
	if err != nil {
		return nil, fail("open the sandbox", key, "", err)
	}
	if err := n.heal(ctx); err != nil {
		n.Close()
		return nil, fail("open the sandbox", key, "", err)
	}
	n.base = base.Given(ctx)
	return n, nil
}

// Name returns the key's name in the base path, or the key.
func (n *Namespace) Name() string { return base.NameIn(n.in(context.Background()), n.key) }

// Key returns the path where the network namespace is mounted.
func (n *Namespace) Key() string { return n.key }

// Close closes the handle and leaves the sandbox as it is. A second Close does
// nothing.
func (n *Namespace) Close() error {
	n.mu.Lock()
	if n.closed || n.conn == nil {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	for _, e := range n.watches {
		e.Wake()
	}
	for _, f := range []*netns.File{n.ns, n.mnt} {
		if f != nil {
			f.Release()
		}
	}
	memo := n.memo
	n.mu.Unlock()
	memo.close()
	if n.lent {
		hostConns.giveBack(n.conn)
		return nil
	}
	return n.conn.Close() // a call that is under way finds it closed
}

// InvokeFunc runs f on a thread that is in the sandbox.
func (n *Namespace) InvokeFunc(f func()) error {
	const op = "run a function in the sandbox"
	if _, err := n.live(); err != nil {
		return fail(op, n.key, "", err)
	}
	if f == nil {
		return fail(op, n.key, "", fault.Invalidf("the function is nil"))
	}
	ns, err := n.file()
	if err != nil {
		return fail(op, n.key, "", err)
	}
	defer ns.Release()
	return fail(op, n.key, "", netns.Do(ns.FD(), func() error { f(); return nil }))
}

// Enter takes the calling goroutine into the namespace until it calls leave.
func (n *Namespace) Enter() (leave func() error, err error) {
	const op = "enter the sandbox"
	ns, err := n.file()
	if err != nil {
		return nil, fail(op, n.key, "", err)
	}
	defer ns.Release()
	out, err := netns.Enter(ns.FD())
	if errors.Is(err, netns.ErrFirstThread) {
		err = fmt.Errorf("%w: %w", fault.ErrInvalid, err)
	}
	if err != nil {
		return nil, fail(op, n.key, "", err)
	}
	return func() error {
		err := out()
		if errors.Is(err, netns.ErrAstray) {
			err = fmt.Errorf("%w: %w", fault.ErrInvalid, err)
		}
		return fail("leave the sandbox", n.key, "", err)
	}, nil
}

// file returns a descriptor of the namespace, which the handle keeps from then on. The
// caller lets go of it.
func (n *Namespace) file() (*netns.File, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.conn == nil {
		return nil, fault.ErrClosed
	}
	if n.ns == nil {
		fd, err := n.conn.NSFD()
		if err != nil {
			return nil, err
		}
		n.ns = netns.NewFile(fd)
	}
	n.ns.Hold()
	return n.ns, nil
}

// ofThisBase refuses a key in a directory that is a link: it would lead to the keys
// of another base path.
func ofThisBase(key string) error {
	dir := filepath.Dir(key)
	if base.Holding(dir) == "" {
		return nil
	}
	if st, err := os.Lstat(dir); err == nil && !st.IsDir() {
		return &fs.PathError{Op: "use as the directory of keys", Path: dir, Err: unix.ENOTDIR}
	}
	return nil
}

// open opens the namespace at key and looks no further.
func open(key string) (*Namespace, error) {
	n, err := openAs(key, lockID{})
	if err == nil && !n.host {
		n.lock = lockOf(key)
	}
	return n, err
}

// openAs is open for who knows the lock of the key; that of the host's is its own.
func openAs(key string, lock lockID) (*Namespace, error) {
	if err := ofThisBase(key); err != nil {
		return nil, err
	}
	fd, id, err := netns.Open(key)
	if err != nil {
		return nil, whatIsThere(key, err)
	}
	defer unix.Close(fd)
	conn, err := dial(fd)
	if err != nil {
		return nil, err
	}
	if id == netns.HomeID() {
		return hostAt(key, conn), nil
	}
	return &Namespace{key: key, id: id, conn: conn, lock: lock}, nil
}

// openSettled is open, but looks again at a key that is something else when
// nobody is just making a sandbox of it, or removing one: for a moment it is an
// empty file then.
func openSettled(ctx context.Context, key string) (*Namespace, error) {
	n, err := open(key)
	if !errors.Is(err, netns.ErrNotNamespace) {
		return n, err
	}
	unlock, lerr := lock(ctx, key)
	if lerr != nil {
		return nil, err
	}
	defer unlock()
	return open(key)
}

// dial opens a netlink socket in the namespace fd.
func dial(fd int) (conn *netlink.Conn, err error) { return dialWith(fd, netlink.Dial) }

func dialWith(fd int, dial func() (*netlink.Conn, error)) (conn *netlink.Conn, err error) {
	err = netns.Do(fd, func() (err error) {
		conn, err = dial()
		return err
	})
	if err != nil && conn != nil { // the thread is lost
		_ = conn.Close()
	}
	return conn, err
}

// live returns the handle's socket, or fault.ErrClosed if the key no longer is what
// was opened.
func (n *Namespace) live() (*netlink.Conn, error) {
	conn, err := n.handle()
	if err == nil && !n.host && !n.look.Still(n.key, n.id) {
		err = fault.ErrClosed
	}
	return conn, err
}

// handle returns the handle's socket, or fault.ErrClosed.
func (n *Namespace) handle() (*netlink.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.conn == nil {
		return nil, fault.ErrClosed
	}
	return n.conn, nil
}

// begin locks the sandbox for a change and returns its socket. Once for changes
// that follow each other under one lock of the kernel's it looks whether the key
// is this sandbox's still, and puts back what a dead process left: who else would
// change either needs that lock.
func (n *Namespace) begin(ctx context.Context) (conn *netlink.Conn, unlock func(), err error) {
	if _, err := n.handle(); err != nil {
		return nil, nil, err
	}
	h, err := n.lock.share(ctx)
	if err != nil {
		return nil, nil, err
	}
	if h.Seen() == n.id && !n.host {
		conn, err = n.handle()
	} else if conn, err = n.live(); err == nil {
		err = n.healLocked(ctx)
	}
	if errors.Is(err, errInterrupted) {
		n.lock.letGo(h)
		return nil, nil, fault.ErrClosed
	}
	if err != nil {
		h.Unlock()
		return nil, nil, err
	}
	h.See(n.id)
	return conn, h.Unlock, nil
}

// makeNamespace makes a namespace, sets it up and pins it at key. The caller
// holds the lock. On an error nothing is left.
func makeNamespace(ctx context.Context, key string, tag plan.SandboxTag) (*Namespace, error) {
	return pinNamespace(ctx, key, lockOf(key), func(ctx context.Context) (unpinned, error) { return newNamespace(ctx, tag) })
}

// pinNamespace pins the namespace that get returns at key, last, when it is
// complete.
func pinNamespace(ctx context.Context, key string, l lockID, get func(context.Context) (unpinned, error)) (*Namespace, error) {
	if err := vacant(key); err != nil {
		return nil, err
	}
	undoDir, err := keyDir(ctx, key)
	if err != nil {
		return nil, err
	}
	if undoDir != nil {
		l = lockOf(key)
	}
	u, err := get(ctx)
	if err == nil {
		defer unix.Close(u.fd)
		if err = netns.Pin(u.fd, key); err == nil {
			return &Namespace{key: key, id: u.id, conn: u.conn, lock: l, made: true, dir: undoDir}, nil
		}
		_ = u.conn.Close()
	}
	if undoDir != nil {
		undoDir()
	}
	return nil, err
}

// unpinned is a namespace that has no key. Its socket and its descriptor are all
// that holds it.
type unpinned struct {
	conn *netlink.Conn
	fd   int
	id   netns.ID
}

func (u unpinned) Close() {
	unix.Close(u.fd)
	_ = u.conn.Close()
}

// newNamespace makes a namespace and sets it up.
func newNamespace(ctx context.Context, tag plan.SandboxTag) (unpinned, error) {
	u, err := bareNamespace()
	if err != nil {
		return u, err
	}
	return u, u.setUp(ctx, tag)
}

// bareNamespace makes a namespace with the settings of a sandbox.
func bareNamespace() (u unpinned, err error) {
	err = netns.Make(func() (err error) {
		if err := ipv6Off(); err != nil {
			return err
		}
		u.conn, err = netlink.Dial()
		return err
	})
	if u.conn == nil {
		return u, err
	}
	if err == nil {
		u.fd, err = u.conn.NSFD()
	}
	if err == nil {
		if u.id, err = netns.IdentityOf(u.fd); err != nil {
			unix.Close(u.fd)
		}
	}
	if err != nil {
		_ = u.conn.Close()
	}
	return u, err
}

// setUp makes a sandbox of a bare namespace, with this tag, or ends it.
func (u unpinned) setUp(ctx context.Context, tag plan.SandboxTag) error {
	up, alias := true, tag.String()
	err := u.conn.One(ctx, rtnl.SetLink(rtnl.LinkSet{Index: 1, Up: &up, Alias: &alias}))
	if err != nil {
		u.Close()
	}
	return err
}

// noIPv6 reports whether the kernel has no IPv6.
func noIPv6() bool {
	_, err := os.Stat("/proc/net/if_inet6")
	return errors.Is(err, fs.ErrNotExist)
}

// space is the key of the sandbox in a plan.
func (n *Namespace) space() string {
	if n.host {
		return plan.HostNS
	}
	return n.key
}
