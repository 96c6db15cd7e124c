//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/stand"
	"github.com/seed59451c2b/osl/internal/want"
	"github.com/seed59451c2b/osl/types"
)

// NewSandbox makes the sandbox at key, opens it, or pins the host's namespace there;
// osl.NewSandbox says which.
func NewSandbox(key string, osCreate, isRestore bool) (*Namespace, error) {
	const op = "create the sandbox"
	ctx := context.Background()
	if key == want.HostName && (isRestore || !osCreate) {
		conn, err := dialHost()
		if err != nil {
			return nil, fail("open the host's namespace", key, "", err)
		}
		return hostAt(key, conn), nil
	}
	if isRestore {
		return Open(ctx, key)
	}
	path, err := base.Key(key)
	if err != nil {
		return nil, fail(op, key, "", err)
	}
	if !osCreate {
		n, err := hostSandbox(ctx, path)
		return n, fail("open the host's namespace", path, "", err)
	}
	unlock, err := lock(ctx, path)
	if err != nil {
		return nil, fail(op, path, "", err)
	}
	defer unlock()
	switch old, err := open(path); {
	case err == nil:
		err := old.replaceable(ctx)
		if err == nil {
			err = old.destroyLocked(ctx)
		}
		if err != nil {
			old.Close()
			return nil, fail("destroy the sandbox before", path, "", err)
		}
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, netns.ErrNotNamespace):
		return nil, fail("open the sandbox before", path, "", err)
	}
	n, err := makeNamespace(ctx, path, plan.SandboxTag{})
	return n, fail(op, path, "", err)
}

// InitOSContext locks the calling goroutine to its thread, and brings that to the
// host's namespace. The returned function unlocks it.
func InitOSContext() func() {
	runtime.LockOSThread()
	if err := netns.Return(); err != nil {
		slog.Error("osl: the thread could not be brought to the host's namespace", "error", err)
	}
	return runtime.UnlockOSThread
}

// GC removes the stale key files of the base path.
func GC() {
	keys, _ := baseKeys(context.Background()) // those that can not be listed can not be removed
	for _, key := range keys {
		if isDead(standing(key)) {
			collect(key)
		}
	}
}

// collect removes a dead key, unless someone is just making a sandbox there.
func collect(key string) {
	unlock, err := lock(context.Background(), key)
	if err == nil {
		defer unlock()
		if !isDead(standing(key)) {
			return
		}
		err = netns.Unpin(key)
	}
	if err != nil {
		slog.Warn("osl: a stale key was not removed", "key", key, "error", err)
	}
}

// Restore adopts what is in the sandbox. For a link without a tag the source name and
// the prefix of its name are the key in ifaces, and its addresses must be those of
// the options.
func (n *Namespace) Restore(ifaces map[string]*want.Options, routes []*types.StaticRoute, gw net.IP, gw6 net.IP) error {
	const op = "restore the sandbox"
	conn, err := n.live()
	if err != nil {
		return fail(op, n.key, "", err)
	}
	ctx := context.Background()
	s, err := readState(ctx, conn, false)
	if err != nil {
		return fail(op, n.key, "", err)
	}
	all, err := conn.Routes(ctx, 0, 0)
	if err != nil {
		return fail(op, n.key, "", err)
	}
	a := adoption{stand.Adopted{Sources: map[int]string{}}}
	for name, options := range ifaces {
		if err := a.link(s, name, options); err != nil {
			return fail(op, n.key, name, err)
		}
	}
	for i, g := range []net.IP{gw, gw6} {
		if err := a.gateway(i, g, all); err != nil {
			return fail(op, n.key, "", err)
		}
	}
	for _, r := range routes {
		if err := a.route(r, all); err != nil {
			return fail(op, n.key, "", err)
		}
	}
	n.mu.Lock()
	n.lookup.adopted = a.Adopted
	memo := n.memo
	n.mu.Unlock()
	memo.forget()
	return nil
}

// adoption takes over what it is told of, where it is there.
type adoption struct{ stand.Adopted }

func (a *adoption) link(s *plan.State, name string, i *want.Options) error {
	at := strings.LastIndexByte(name, '+')
	if at < 0 {
		return fault.Invalidf("%q is not <source name>+<prefix>", name)
	}
	src, prefix := name[:at], name[at+1:]
	if err := i.Done(); err != nil {
		return err
	}
	if l, _ := s.BySource(src); l != nil {
		return nil
	}
	for j := range s.Links {
		l := &s.Links[j]
		_, tagged := plan.ParseTag(l.Alias)
		if tagged || a.Sources[l.Index] != "" || !want.IsNumbered(l.Name, prefix) && l.Name != src {
			continue
		}
		if hasAll(s, l.Index, i.Spec.Addresses) {
			a.Sources[l.Index] = src
			return nil
		}
	}
	return fmt.Errorf("%w: no interface of the sandbox has this name and these addresses", fault.ErrNotFound)
}

func (a *adoption) gateway(family int, gw net.IP, all []rtnl.Route) error {
	if len(gw) == 0 || gw.IsUnspecified() {
		return nil
	}
	ip, err := want.ToAddr(gw)
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Dst.Bits() == 0 && r.Via == ip {
			if r.Proto != rtnl.Protocol {
				a.Gateways[family] = slices.Clone(gw)
			}
			return nil
		}
	}
	return fmt.Errorf("%w: the sandbox has no gateway %v", fault.ErrNotFound, ip)
}

func (a *adoption) route(w *types.StaticRoute, all []rtnl.Route) error {
	dst, via, err := want.FromStatic(w)
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Dst == dst && r.Via == via {
			if r.Proto != rtnl.Protocol {
				a.Statics = append(a.Statics, w.GetCopy())
			}
			return nil
		}
	}
	return fmt.Errorf("%w: the sandbox has no route to %v", fault.ErrNotFound, dst)
}
