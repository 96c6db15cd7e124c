//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/want"
)

// hostAt is the host's own namespace as a sandbox, at a key that leads to it, or
// at none. Its changes have a lock of their own, whatever key it is reached by.
func hostAt(key string, conn *netlink.Conn) *Namespace {
	return &Namespace{key: key, host: true, id: netns.HomeID(), conn: conn, lock: lockOf(base.HostKey())}
}

// openHost opens the host's own namespace, for a part of something else.
func openHost() (*Namespace, error) {
	conn, err := hostConns.take()
	if err != nil {
		return nil, err
	}
	return &Namespace{host: true, lent: true, id: netns.HomeID(), conn: conn}, nil
}

// dialHost opens a netlink socket in the host's namespace.
func dialHost() (*netlink.Conn, error) {
	fd, err := netns.Home()
	if err != nil {
		return nil, err
	}
	return dial(fd)
}

// hostConns lends a socket in the host's namespace to each operation that needs one,
// so that one that hangs is in nobody's way. One that was given back is kept for a
// moment: most changes of a sandbox need it, and to open one takes longer than what it
// is there for.
var hostConns = connKeeper{lasts: 100 * time.Millisecond}

type connKeeper struct {
	lasts time.Duration // 0 keeps none

	mu    sync.Mutex    // guards what follows
	conn  *netlink.Conn // nil if none is there
	timer *time.Timer
}

func (k *connKeeper) take() (*netlink.Conn, error) {
	k.mu.Lock()
	conn := k.conn
	k.conn = nil
	k.mu.Unlock()
	if conn != nil && netlink.Intercept == nil {
		return conn, nil
	}
	if conn != nil {
		_ = conn.Close() // the stand-in of a test is not behind it
	}
	return dialHost()
}

func (k *connKeeper) giveBack(conn *netlink.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lasts == 0 || k.conn != nil || netlink.Intercept != nil || !conn.InStep() {
		_ = conn.Close()
		return
	}
	k.conn = conn
	if k.timer == nil {
		k.timer = time.AfterFunc(k.lasts, k.drop)
	} else {
		k.timer.Reset(k.lasts)
	}
}

func (k *connKeeper) drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conn != nil {
		_ = k.conn.Close()
		k.conn = nil
	}
}

// errHostSpec refuses to bring the host's own namespace to what a Spec says: its
// links are no business of osl's but for those that it is told of one by one.
var errHostSpec error = &fault.Error{Err: fmt.Errorf("%w: the key leads to the host's own network namespace, which no file describes", fault.ErrInvalid),
	Hint: "where osl runs inside a sandbox (osl exec), leave that first; else leave this sandbox out, and configure links of the host one by one with AddInterface or AddLink"}

// lockKey returns the key whose lock changes of a namespace take.
func lockKey(key string) string {
	if key == plan.HostNS {
		return base.HostKey()
	}
	return key
}

// onlyEnds reports whether all that is wanted of the host are ends of new links of
// sandboxes, and what is on them. They come and go with the sandbox's: nobody else
// knows them, so the host need not be locked.
func (p *prepared) onlyEnds(key string) bool {
	i := slices.IndexFunc(p.want, func(w plan.Sandbox) bool { return w.Key == key })
	if key != plan.HostNS || i < 0 || !p.part {
		return false
	}
	w := &p.want[i]
	return len(w.Sysctls)+len(w.Routes)+len(w.Gateways)+len(w.Neighs) == 0 &&
		!slices.ContainsFunc(w.Ifaces, func(f plan.Iface) bool { return f.MadeBy == nil })
}

// hostSandbox pins the host's own namespace at key, or finds it there.
func hostSandbox(ctx context.Context, key string) (*Namespace, error) {
	unlock, err := lock(ctx, key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	switch n, err := open(key); {
	case err == nil && n.host:
		if err := n.healHost(ctx); err == nil {
			return n, nil
		} else if n.Close(); !errors.Is(err, errInterrupted) { // else who gave the key up died meanwhile
			return nil, err
		}
	case err == nil:
		n.Close()
		return nil, &fault.Error{Err: fmt.Errorf("%w, and it is not the host's namespace", fault.ErrExists), Hint: "remove that sandbox first, or choose another key"}
	case !errors.Is(err, fs.ErrNotExist) && !isDead(err):
		return nil, err
	}
	host, err := openHost()
	if err != nil {
		return nil, err
	}
	defer host.Close()
	if err := hostAt(key, host.conn).healHost(ctx); err != nil && !errors.Is(err, errInterrupted) {
		return nil, err
	}
	return host.pinAlso(ctx, "/proc/thread-self/ns/net", key, "", true)
}

// healHost is heal of the host's namespace, for who holds the lock of its key.
func (n *Namespace) healHost(ctx context.Context) error {
	lo, err := n.loopback(ctx)
	if err != nil || !underWay(&lo) {
		return err
	}
	h, err := n.lock.take(ctx)
	if err != nil {
		return err
	}
	defer h.Unlock()
	return n.healLocked(ctx)
}

// lockToEnd locks a sandbox that is to be destroyed. The host's own has the lock of
// its key, too.
func (n *Namespace) lockToEnd(ctx context.Context) (unlock func(), err error) {
	if !n.host {
		h, err := n.lock.take(ctx)
		return func() { n.lock.letGo(h) }, err
	}
	key := func() {}
	if n.key != want.HostName {
		if key, err = lock(ctx, n.key); err != nil {
			return nil, err
		}
	}
	h, err := n.lock.take(ctx)
	if err != nil {
		key()
		return nil, err
	}
	return func() { h.Unlock(); key() }, nil
}

// pin marks the key by which a program has the host's namespace; empty where it has none of
// its own.
func (n *Namespace) pin() string {
	if n.key == "" || n.key == want.HostName || isLink(n.key) {
		return ""
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(canonical(n.key)))
	return strconv.FormatUint(h.Sum64(), 36)
}

// pin notes of links of the host by which key they are asked for.
func (p *prepared) pin() {
	host := p.run.spaces[plan.HostNS]
	if host == nil {
		return
	}
	key := host.pin()
	for i := range p.want {
		if w := &p.want[i]; w.Key == plan.HostNS {
			for j := range w.Ifaces {
				w.Ifaces[j].Pin = key
			}
		}
	}
}

// releaseLinks plans to give the host's links that osl configured what they had before,
// and to take away those that it made: but for what is a network's, or has a note of the
// program that looks after it, or was asked for by another key.
func (n *Namespace) releaseLinks(s *plan.State) (ops []plan.Op) {
	mine := n.pin()
	for i := range s.Links {
		t, ok := plan.ParseTag(s.Links[i].Alias)
		if ok && (t.Origin == plan.Kept || t.Origin == plan.Made) && t.Network == "" && t.Note == "" && t.Pin == mine {
			ops = append(ops, plan.Remove(n.space(), &s.Links[i], t, s)...)
		}
	}
	return ops
}
