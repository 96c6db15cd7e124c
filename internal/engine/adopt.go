//go:build linux

package engine

import (
	"context"
	"net/netip"
	"path/filepath"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/sysctl"
)

// Adopt pins a network namespace that is there at key as well, and returns it as a
// sandbox. at leads to it; owner is noted with it. asItIs leaves its settings alone.
func Adopt(ctx context.Context, at, key, owner string, asItIs bool) (*Namespace, error) {
	const op = "adopt the namespace " // and its path
	path, err := base.Key(key)
	if err != nil {
		return nil, fail(op+at, key, "", err)
	}
	from, err := base.Key(at)
	if err != nil {
		return nil, fail(op+at, path, "", err)
	}
	unlock, err := lock(ctx, path)
	if err != nil {
		return nil, fail(op+at, path, "", err)
	}
	defer unlock()
	n, err := adopt(ctx, from, path, owner, asItIs)
	return n, fail(op+at, path, "", err)
}

// adopt pins the namespace at from at key, too. The caller holds key's lock.
func adopt(ctx context.Context, from, key, owner string, asItIs bool) (*Namespace, error) {
	old, err := open(from)
	if err != nil {
		return nil, err
	}
	defer old.Close()
	if err := old.heal(ctx); err != nil { // by its own key
		return nil, err
	}
	return old.pinAlso(ctx, from, key, owner, asItIs)
}

// pinAlso pins the namespace at another key. from is where it was found.
func (n *Namespace) pinAlso(ctx context.Context, from, key, owner string, asItIs bool) (*Namespace, error) {
	if err := vacant(key); err != nil {
		return nil, err
	}
	undoDir, err := keyDir(ctx, key)
	if err != nil {
		return nil, err
	}
	ns, err := n.file()
	if err != nil {
		return nil, err
	}
	defer ns.Release()
	conn, err := dial(ns.FD())
	if err != nil {
		return nil, err
	}
	at := &Namespace{key: key, id: n.id, conn: conn, lock: lockOf(key)}
	if n.host {
		at = hostAt(key, conn)
	}
	unlock, err := at.lockPins(ctx)
	if err == nil {
		err = at.pinTo(ctx, from, owner, asItIs)
		unlock()
	}
	if err != nil {
		at.Close()
		if undoDir != nil {
			undoDir()
		}
		return nil, err
	}
	return at, nil
}

// keyDir makes the directory of a key, if it is that of the base path and was not
// there; then undo takes it away again where nothing came into it.
func keyDir(ctx context.Context, key string) (undo func(), err error) {
	dir := filepath.Dir(key)
	if dir != base.KeysIn(base.PathIn(ctx)) {
		return nil, nil
	}
	if base.OfIP(dir) && netns.IsMount(dir) {
		return nil, nil
	}
	made, err := netns.MakeDir(dir)
	if err != nil {
		return nil, err
	}
	if base.OfIP(dir) {
		_ = netns.Share(dir) // in a container it may be refused: a key is good all the same
	}
	if made == "" {
		return nil, nil
	}
	return func() { netns.RemoveDir(dir) }, nil
}

// pinTo pins the namespace at its key and notes that on its lo, so that another
// process knows what to do with the key; from is where it was found. Until all is
// done lo also has what takes it back.
func (n *Namespace) pinTo(ctx context.Context, from, owner string, asItIs bool) error {
	ops, back, err := n.settings(ctx, asItIs)
	if err != nil {
		return err
	}
	id := plan.NewCommit("").ID
	var names []string
	for _, rec := range []plan.Record{
		{Role: plan.Undo, ID: id, Steps: append(back[:len(back):len(back)], plan.Step{Unpin: n.key})},
		plan.Pinned(n.key, from, owner),
		{Role: plan.Found, ID: "0", Steps: back},
	} {
		if rec.Role == plan.Found && len(back) == 0 {
			continue
		}
		fits, ok := rec.Names()
		if !ok {
			return fault.Invalidf("the key, or what its owner is called, is too long to be noted")
		}
		names = append(names, fits...)
	}
	undo := plan.ParseRecords(names)[0].Names
	lo := func(do plan.Action) plan.Op { return plan.Op{NS: n.space(), Dev: "lo", Do: do} }
	note := lo(plan.NewAltName{Index: 1, Names: names})
	note.Half, note.Alone, note.Undo = true, true, []plan.Op{}
	for _, name := range names {
		note.Undo = append(note.Undo, lo(plan.DelAltName{Index: 1, Names: []string{name}}))
	}
	pin := plan.Op{NS: n.space(), Do: plan.Pin{}, Undo: []plan.Op{{NS: n.space(), Do: plan.Unpin{Key: n.key}}}}
	done := lo(plan.DelAltName{Index: 1, Names: undo})
	done.Alone, done.Commit, done.Undo = true, true, []plan.Op{lo(plan.NewAltName{Index: 1, Names: undo})}
	ops = append(append([]plan.Op{note, pin}, ops...), done)
	r := newRun(ctx, n)
	defer r.close()
	return r.through(ops)
}

// settings plans to bring lo up, and to give the namespace the defaults of a new
// sandbox where nothing in it uses IPv6, unless they are to stay as they are, and
// returns the steps that take that back. What osl made has them, and the host's namespace is left alone.
func (n *Namespace) settings(ctx context.Context, asItIs bool) (ops []plan.Op, back []plan.Step, err error) {
	if n.host {
		return nil, nil, nil
	}
	s, err := readLinks(ctx, n.conn)
	if err != nil {
		return nil, nil, err
	}
	lo := s.ByIndex(1)
	for _, r := range notes(lo) {
		if r.Role == plan.Found {
			return nil, nil, nil // it has another key of osl's
		}
	}
	if _, made := plan.ParseSandboxTag(lo.Alias); made {
		return nil, nil, nil
	}
	r := newRun(ctx, n)
	defer r.close()
	wanted := ipv6Defaults[:]
	if asItIs || usesIPv6(s) || noIPv6() {
		wanted = nil
	}
	for _, x := range wanted {
		was, err := r.read(n.space(), x[0])
		if err != nil {
			return nil, nil, err
		}
		if was != x[1] {
			ops = append(ops, plan.Op{NS: n.space(), Do: plan.Sysctl{Setting: plan.Setting{Path: x[0], Value: x[1]}}})
			back = append([]plan.Step{{Path: x[0], Value: was}}, back...)
		}
	}
	if len(wanted) > 0 { // what lo gets with the first IPv6 address
		for _, path := range []string{plan.LoopbackDAD, "ipv6/conf/lo/ndisc_notify"} {
			was, err := r.read(n.space(), path)
			if err != nil {
				return nil, nil, err
			}
			back = append(back, plan.Step{Path: path, Value: was})
		}
	}
	if !lo.Up() {
		set := func(up bool) plan.SetLink { return plan.SetLink{Link: rtnl.LinkSet{Index: 1, Up: &up}} }
		undo := []plan.Op{{NS: n.space(), Dev: "lo", Do: set(false)}}
		// The kernel gives lo its address when it goes up for the first time.
		if !hasAll(s, 1, []netip.Prefix{plan.LoopbackIPv4}) {
			undo = append(undo, plan.Op{NS: n.space(), Dev: "lo", Do: plan.DelAddr{Addr: rtnl.Addr{Index: 1, Prefix: plan.LoopbackIPv4}}})
		}
		ops = append(ops, plan.Op{NS: n.space(), Dev: "lo", Do: set(true), Half: true, Undo: undo})
		back = append(back, plan.Ahead(undo)...)
	}
	return ops, back, nil
}

// read reads a setting.
func (r *run) read(ns, path string) (value string, err error) {
	err = r.inside(ns, func() (err error) {
		value, err = sysctl.Read(path)
		return err
	})
	return value, err
}

// usesIPv6 reports whether a namespace of another has an IPv6 address that is of
// use: not lo's, nor the link-local one of a link that is down.
func usesIPv6(s *plan.State) bool {
	for _, a := range s.Addrs {
		ip := a.Prefix.Addr()
		l := s.ByIndex(a.Index)
		if ip.Is6() && !ip.IsLoopback() && (!ip.IsLinkLocalUnicast() || l != nil && l.Up()) {
			return true
		}
	}
	return false
}

// ipv6Defaults are those of a new namespace, see ipv6Off.
var ipv6Defaults = [...][2]string{
	{"ipv6/conf/default/disable_ipv6", "1"},
	{"ipv6/conf/lo/disable_ipv6", "1"},
	{"ipv6/conf/default/accept_dad", "0"},
	{"ipv6/conf/default/ndisc_notify", "1"},
}

// ipv6Off gives a new namespace osl's defaults: no IPv6 until an interface is
// given an IPv6 address; then its addresses are usable at once, and announced.
// It fails if IPv6 can not be turned off.
func ipv6Off() error {
	for _, s := range ipv6Defaults {
		if err := sysctl.Ensure(s[0], s[1]); err != nil {
			if noIPv6() {
				return nil
			}
			return err
		}
	}
	return nil
}
