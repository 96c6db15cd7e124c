package osl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/sysctl"
	"golang.org/x/sys/unix"
)

// Apply brings the sandboxes of net, and the links between them, to what net
// says: all of it, or nothing. What is there already is left alone, so that a
// second Apply changes nothing; what osl made in these sandboxes and net does
// not mention any more is taken away; what others made there stays. It returns
// what it did.
func Apply(ctx context.Context, net Network) (Changes, error) {
	c, err := apply(ctx, net, true)
	return c, fail("apply the network", "", "", err)
}

// Diff returns what Apply would do, and does nothing.
func Diff(ctx context.Context, net Network) (Changes, error) {
	c, err := apply(ctx, net, false)
	return c, fail("compare the network", "", "", err)
}

// Apply brings the sandbox to what s says, as the function [Apply] does. The
// name in s is not used.
func (n *Namespace) Apply(ctx context.Context, s Spec) (Changes, error) {
	c, err := n.apply(ctx, s, true)
	return c, fail("apply to the sandbox", n.key, "", err)
}

// Diff returns what Apply would do, and does nothing.
func (n *Namespace) Diff(ctx context.Context, s Spec) (Changes, error) {
	c, err := n.apply(ctx, s, false)
	return c, fail("compare the sandbox", n.key, "", err)
}

func (n *Namespace) apply(ctx context.Context, s Spec, really bool) (Changes, error) {
	if _, err := n.live(); err != nil {
		return nil, err
	}
	s.Name = n.key
	return apply(ctx, Network{Sandboxes: []Spec{s}}, really)
}

// halfPairWait is how long a link of which only one end is left may take to
// vanish: the kernel deletes the links of a dead namespace a little later.
const halfPairWait = 2 * time.Second

func apply(ctx context.Context, net Network, really bool) (Changes, error) {
	for end := time.Now().Add(halfPairWait); ; {
		c, err := applyOnce(ctx, net, really)
		var p *plan.Problem
		if !errors.As(err, &p) || p.Kind != plan.HalfPair || time.Now().After(end) {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func applyOnce(ctx context.Context, net Network, really bool) (Changes, error) {
	p, err := prepare(ctx, net, really)
	if err != nil {
		return nil, err
	}
	defer p.close()
	ops, err := p.carryOut(really)
	if err != nil {
		return nil, err
	}
	return changes(ops), nil
}

// prepared is a network that is checked, with its sandboxes open, locked where
// they are to change, and read.
type prepared struct {
	run   *run
	want  []plan.Sandbox
	have  map[string]*plan.State
	locks lockSet
	part  bool // only new interfaces: what else there is matters little
}

func (p *prepared) close() {
	p.run.close()
	p.locks.letGo()
}

// carryOut plans and, if really, does it. It returns the plan. One that found a
// name or an index taken is made again: an index is chosen anew then, and a name
// is taken still.
func (p *prepared) carryOut(really bool) ([]plan.Op, error) {
	ops, commit, err := p.build()
	if err != nil || !really {
		return ops, err
	}
	err = p.run.do(ops, commit)
	if (errors.Is(err, ErrNameInUse) || errors.Is(err, syscall.EBUSY)) && !errors.Is(err, ErrIncomplete) && !p.run.gone {
		p.run.reset()
		if ops, commit, err = p.build(); err == nil {
			err = p.run.do(ops, commit)
		}
	}
	return ops, err
}

// build plans. Routes of others are read only where a next hop depends on them.
func (p *prepared) build() ([]plan.Op, plan.Commit, error) {
	for {
		ops, commit, err := plan.Build(p.want, p.have)
		var lack *plan.Problem
		if !errors.As(err, &lack) || lack.Kind != plan.Unreachable || p.have[lack.Key].Others != nil {
			return ops, commit, err
		}
		n, serr := p.run.space(lack.Key)
		if serr != nil {
			return nil, commit, serr
		}
		all, rerr := n.conn.Routes(p.run.ctx, 0, 0)
		if rerr != nil {
			return nil, commit, rerr
		}
		others := []rtnl.Route{}
		for _, r := range all {
			if r.Proto != rtnl.Protocol && r.Proto != unix.RTPROT_KERNEL { // those go with their addresses
				others = append(others, r)
			}
		}
		p.have[lack.Key].Others = others
	}
}

// changes returns a plan as commands.
func changes(ops []plan.Op) (c Changes) {
	for _, op := range ops {
		sandbox := HostName
		if op.NS != plan.HostNS {
			sandbox = nameOf(op.NS)
		}
		kind := ChangeEdit
		if _, ok := op.Do.(plan.MakeNS); ok {
			kind = ChangeMake
		}
		for _, line := range plan.Commands(op, commandName) {
			c = append(c, Change{Sandbox: sandbox, Kind: kind, Command: line})
		}
	}
	return c
}

// prepare checks a network and reads the sandboxes that exist. With write they
// are locked, in the order of their keys so that two networks never wait for
// each other, and healed.
func prepare(ctx context.Context, net Network, write bool) (*prepared, error) {
	p := &prepared{run: newRun(ctx), have: map[string]*plan.State{}}
	if err := p.open(ctx, net, write); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *prepared) open(ctx context.Context, net Network, write bool) (err error) {
	if p.want, err = p.run.wantNetwork(net); err != nil {
		return err
	}
	keys := []string{}
	for i := range p.want {
		keys = append(keys, p.want[i].Key)
	}
	slices.Sort(keys)
	// What a dead process left is put back before anything is looked for.
	for _, key := range keys {
		if write {
			if err := p.locks.take(ctx, key); err != nil {
				return fail("lock the sandbox", key, "", err)
			}
			p.locks.stays = p.locks.stays || p.run.spaces[key] != nil
		}
		if err := p.openSandbox(ctx, key, write); err != nil {
			return fail("open the sandbox", key, "", err)
		}
	}
	for i := range p.want {
		if p.run.spaces[p.want[i].Key] == nil {
			if err := roomForLabels(&p.want[i], keys[0]); err != nil {
				return fail("", p.want[i].Key, "", err)
			}
		}
		if err := p.run.sources(&p.want[i]); err != nil {
			return err
		}
		if err := p.read(ctx, &p.want[i], write); err != nil {
			return fail("read the sandbox", p.want[i].Key, "", err)
		}
	}
	for i := range p.want {
		if err := p.readSettings(&p.want[i]); err != nil {
			return fail("read the settings", p.want[i].Key, "", err)
		}
	}
	return nil
}

// openSandbox opens a sandbox, where there is one. The caller's own is open.
func (p *prepared) openSandbox(ctx context.Context, key string, write bool) error {
	n := p.run.spaces[key]
	if n != nil {
		if _, err := n.live(); err != nil {
			return err
		}
		if n.host {
			return errHostSpec
		}
	} else {
		var err error
		n, err = open(key)
		if err == nil && n.host {
			n.Close()
			return errHostSpec
		}
		if errors.Is(err, fs.ErrNotExist) || isDead(err) {
			if dir := filepath.Dir(key); dir != filepath.Join(BasePath(), keysDir) {
				if _, err := os.Stat(dir); err != nil {
					return err
				}
			}
			return nil
		}
		if err != nil {
			return err
		}
		p.run.own = append(p.run.own, n)
	}
	if write {
		err := n.healLocked(ctx)
		if errors.Is(err, errInterrupted) {
			if p.run.spaces[key] == nil {
				return nil
			}
			err = ErrClosed
		}
		if err != nil {
			return err
		}
	}
	p.run.spaces[key] = n
	return nil
}

// read reads as much of a sandbox as is called for. For who may not heal it, what
// a change that has not happened brought is not there: Apply would begin by
// taking it away.
func (p *prepared) read(ctx context.Context, w *plan.Sandbox, write bool) error {
	n := p.run.spaces[w.Key]
	if n == nil {
		return nil
	}
	if p.part {
		s, err := readPart(ctx, n.conn, w)
		p.have[w.Key] = s
		return err
	}
	s, err := readState(ctx, n.conn, true)
	if err != nil {
		return err
	}
	if !write {
		all, links, err := unfinished(ctx, s.ByIndex(1))
		if err != nil {
			return err
		}
		if all {
			return nil
		}
		s.Links = slices.DeleteFunc(s.Links, func(l rtnl.Link) bool { return links[l.Index] })
		s.Addrs = slices.DeleteFunc(s.Addrs, func(a rtnl.Addr) bool { return links[a.Index] })
		s.Routes = slices.DeleteFunc(s.Routes, func(r rtnl.Route) bool { return links[r.Index] })
		s.Neighs = slices.DeleteFunc(s.Neighs, func(n rtnl.Neigh) bool { return links[n.Index] })
	}
	p.have[w.Key] = s
	return nil
}

// readSettings reads the sysctls that a wanted sandbox asks for, so that the
// plan leaves those alone that are right and can put the others back.
func (p *prepared) readSettings(w *plan.Sandbox) error {
	s := p.have[w.Key]
	if s == nil {
		return nil
	}
	paths := []string{}
	for _, x := range w.Sysctls {
		paths = append(paths, x.Path)
	}
	for i := range w.Ifaces {
		for _, x := range w.Ifaces[i].Sysctls {
			if s.Link(w.Ifaces[i].Name) != nil {
				paths = append(paths, fmt.Sprintf(x.Path, w.Ifaces[i].Name))
			}
		}
	}
	if len(paths) == 0 {
		return nil
	}
	s.Settings = map[string]string{}
	return p.run.inside(w.Key, func() error {
		for _, path := range paths {
			v, err := sysctl.Read(path)
			if err != nil {
				return err
			}
			s.Settings[path] = v
		}
		return nil
	})
}

func hasAll(s *plan.State, index int, addrs []netip.Prefix) bool {
	for _, p := range addrs {
		if !slices.ContainsFunc(s.Addrs, func(a rtnl.Addr) bool { return a.Index == index && a.Prefix == p }) {
			return false
		}
	}
	return true
}

// Remove destroys the sandbox at the key of name, see [KeyPath]: what came
// from the host goes home first. A key whose namespace is gone already is
// removed. It returns ErrNotFound if there is nothing.
//
// From a namespace that another program made, osl takes out what it put in, and
// leaves it at its key, unless told to end it: [WithForce]. Of the host's own
// namespace the links that osl configured get back what they had.
func Remove(ctx context.Context, name string, options ...RemoveOption) error {
	const op = "remove the sandbox"
	key, err := KeyPath(name)
	if err != nil {
		return fail(op, name, "", err)
	}
	unlock, err := lockToRemove(ctx, key)
	if err != nil {
		return fail(op, key, "", err)
	}
	defer unlock()
	n, err := open(key)
	if isDead(err) {
		return fail(op, key, "", netns.Unpin(key))
	}
	if err != nil {
		return fail(op, key, "", err)
	}
	defer n.Close()
	n.force = removalOf(options).force
	if n.host {
		h, err := n.lock.take(ctx)
		if err != nil {
			return fail(op, key, "", err)
		}
		defer h.Unlock()
	}
	return fail(op, key, "", n.destroyLocked(ctx))
}
