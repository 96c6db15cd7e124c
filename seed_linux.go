package osl

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

	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/types"
)

// NewSandbox returns the sandbox at key. With osCreate it is a new one; one of
// osl's that stands at key is destroyed first, and a namespace that another
// program pinned there is ErrExists. With isRestore it is the one that is there,
// and nothing is written. With neither it is the host's own namespace, pinned at
// key, where it may be already, or nowhere if key is HostName: interfaces keep
// their names and never move. Destroy gives them what they had before, and takes
// a key away that osl pinned. A key that leads to the host's namespace is the host
// sandbox for every call.
func NewSandbox(key string, osCreate, isRestore bool) (Sandbox, error) {
	const op = "create the sandbox"
	ctx := context.Background()
	if isRestore {
		return asSandbox(Open(ctx, key))
	}
	if !osCreate && key == HostName {
		conn, err := dialHost()
		if err != nil {
			return nil, fail("open the host's namespace", key, "", err)
		}
		return hostAt(key, conn), nil
	}
	path, err := KeyPath(key)
	if err != nil {
		return nil, fail(op, key, "", err)
	}
	if !osCreate {
		n, err := hostSandbox(ctx, path)
		return asSandbox(n, fail("open the host's namespace", path, "", err))
	}
	unlock, err := lockToRemove(ctx, path)
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
	return asSandbox(n, fail(op, path, "", err))
}

// asSandbox keeps a nil handle from becoming a Sandbox that is not nil.
func asSandbox(n *Namespace, err error) (Sandbox, error) {
	if err != nil {
		return nil, err
	}
	return n, nil
}

// InitOSContext initializes OS context while configuring network resources: it
// locks the calling goroutine to its thread, and brings that to the host's
// namespace if the caller had moved it. The returned function unlocks it. No
// call of this package needs it.
func InitOSContext() func() {
	runtime.LockOSThread()
	if err := netns.Return(); err != nil {
		slog.Error("osl: the thread could not be brought to the host's namespace", "error", err)
	}
	return runtime.UnlockOSThread
}

// GC removes the stale key files of the base path now, and waits for it: empty
// plain files, as they are left where a namespace was unmounted. Namespaces and
// files with something in them are not touched.
func GC() {
	keys, _ := baseKeys() // those that can not be listed can not be removed
	for _, key := range keys {
		if isDead(standing(key)) {
			collect(key)
		}
	}
}

// collect removes a dead key, unless someone is just making a sandbox there.
func collect(key string) {
	unlock, err := lockToRemove(context.Background(), key)
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

// Restore adopts what is in the sandbox; see [Sandbox]. What osl brought there
// is known by its tags. For a link without a tag, brought by another program,
// the source name and the prefix of its name are what ifsopt says, and its
// addresses must be those of the options.
func (n *Namespace) Restore(ifsopt map[string][]IfaceOption, routes []*types.StaticRoute, gw net.IP, gw6 net.IP) error {
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
	a := adopted{links: map[int]string{}}
	for name, options := range ifsopt {
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
	n.lookup.adopted = a
	n.mu.Unlock()
	return nil
}

func (a *adopted) link(s *plan.State, name string, options []IfaceOption) error {
	at := strings.LastIndexByte(name, '+')
	if at < 0 {
		return invalidf("%q is not <source name>+<prefix>", name)
	}
	src, prefix := name[:at], name[at+1:]
	var i nwIface
	if err := i.collect(options); err != nil {
		return err
	}
	if l, _ := s.BySource(src); l != nil {
		return nil
	}
	for j := range s.Links {
		l := &s.Links[j]
		_, tagged := plan.ParseTag(l.Alias)
		if tagged || a.links[l.Index] != "" || !isNumbered(l.Name, prefix) && l.Name != src {
			continue
		}
		if hasAll(s, l.Index, i.spec.Addresses) {
			a.links[l.Index] = src
			return nil
		}
	}
	return fmt.Errorf("%w: no interface of the sandbox has this name and these addresses", ErrNotFound)
}

func (a *adopted) gateway(family int, gw net.IP, all []rtnl.Route) error {
	if len(gw) == 0 || gw.IsUnspecified() {
		return nil
	}
	ip, err := toAddr(gw)
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Dst.Bits() == 0 && r.Via == ip {
			if r.Proto != rtnl.Protocol {
				a.gateways[family] = slices.Clone(gw)
			}
			return nil
		}
	}
	return fmt.Errorf("%w: the sandbox has no gateway %v", ErrNotFound, ip)
}

func (a *adopted) route(w *types.StaticRoute, all []rtnl.Route) error {
	dst, via, err := fromStatic(w)
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Dst == dst && r.Via == via {
			if r.Proto != rtnl.Protocol {
				a.routes = append(a.routes, w.GetCopy())
			}
			return nil
		}
	}
	return fmt.Errorf("%w: the sandbox has no route to %v", ErrNotFound, dst)
}
