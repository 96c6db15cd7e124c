//go:build linux

package engine

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/stand"
)

// memo is what Held read last, and what tells whether the sandbox is still so. Who
// asks once needs neither.
type memo struct {
	mu     sync.Mutex // guards what follows
	asked  bool
	follow *netlink.Follower
	held   *stand.Held // nil where nothing is known
}

// Held reads the sandbox for a call that can return no error, with what this handle
// was told to adopt. It returns the same again for as long as nothing changed; nobody
// writes to it.
func (n *Namespace) Held() *stand.Held {
	n.mu.Lock()
	if n.memo == nil {
		n.memo = &memo{}
	}
	m := n.memo
	n.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	held, err := n.held(m)
	if err != nil {
		if !errors.Is(err, fault.ErrClosed) {
			slog.Error("osl: the sandbox can not be read", "key", n.key, "error", err)
		}
		return &stand.Held{}
	}
	return held
}

func (n *Namespace) held(m *memo) (*stand.Held, error) {
	ctx := context.Background()
	conn, err := n.live()
	if err != nil {
		return nil, err
	}
	if m.asked && m.follow == nil && !n.host { // on the host much happens that is no concern of osl's
		m.follow, m.held = n.follow(), nil // what was before it began, it does not tell
	}
	m.asked = true
	if m.follow != nil && !m.follow.Changed() && m.held != nil {
		if !slices.ContainsFunc(m.held.Links, hasIPv6) {
			return m.held, nil
		}
		now, err := conn.IPv6Addrs(ctx)
		if err == nil && slices.EqualFunc(now, ofIPv6(m.held.Addrs), sameAddr) {
			return m.held, nil
		}
	}
	n.mu.Lock()
	held := &stand.Held{Adopted: n.lookup.adopted}
	n.mu.Unlock()
	s, err := readState(ctx, conn, false)
	if err != nil {
		m.held = nil
		return nil, err
	}
	held.State, m.held = *s, held
	if slices.ContainsFunc(s.Links, isDown) {
		m.held = nil
	}
	return held, nil
}

// isDown reports whether a link is down: of that the kernel does not tell when its
// alias is changed.
func isDown(l rtnl.Link) bool { return l.Flags&unix.IFF_UP == 0 }

// hasIPv6 reports whether a link may have IPv6 addresses. Of one that is added without
// a look for duplicates the kernel tells a moment later only: these are read each time.
func hasIPv6(l rtnl.Link) bool { return l.Inet.HasIPv6State && !l.Inet.DisableIPv6 }

func ofIPv6(all []rtnl.Addr) (list []rtnl.Addr) {
	for _, a := range all {
		if isIPv6(a.Prefix) {
			list = append(list, a)
		}
	}
	return list
}

// sameAddr reports whether an address is as it was, as far as Info tells.
func sameAddr(a, b rtnl.Addr) bool {
	return a.Index == b.Index && a.Prefix == b.Prefix && a.Proto == b.Proto
}

// follow returns nil where there is no descriptor for it, say: then all is read each
// time.
func (n *Namespace) follow() *netlink.Follower {
	ns, err := n.file()
	if err != nil {
		return nil
	}
	defer ns.Release()
	var f *netlink.Follower
	err = netns.Do(ns.FD(), func() (err error) { f, err = netlink.Follow(); return err })
	if stray := (*netns.NotHomeError)(nil); errors.As(err, &stray) {
		slog.Error("osl: a thread could not be brought home", "key", n.key, "error", err)
	}
	return f
}

// forget makes the next Held read.
func (m *memo) forget() {
	if m != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.held = nil
	}
}

func (m *memo) close() {
	if m != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.follow != nil {
			m.follow.Close()
		}
		m.follow, m.held, m.asked = nil, nil, false
	}
}
