//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/sysctl"
)

// wireguard changes a wireguard link. What is not known to be done is done again.
func (r *run) wireguard(op plan.Op, a plan.SetWireGuard) error {
	conn, reqs, err := r.wireguardRequests(op.NS, a)
	if err != nil {
		return err
	}
	errs, err := conn.Do(r.ctx, reqs...)
	if err != nil {
		errs, err = conn.Do(r.ctx, reqs...)
	}
	return errors.Join(append(errs, err)...)
}

// wireguardRequests returns what makes a change, and the socket for it.
func (r *run) wireguardRequests(key string, a plan.SetWireGuard) (*netlink.Conn, []rtnl.Request, error) {
	g, err := r.generic(key)
	if err != nil {
		return nil, nil, err
	}
	family, err := g.family(r.ctx, rtnl.WireGuardFamily)
	if err != nil {
		return nil, nil, err
	}
	return g.conn, a.Set.Requests(family, a.Secrets), nil
}

// wireguardSurely changes a wireguard link, and does once more, one by one, what that did
// not. done reports whether anything was done, or may have been. A link that is gone is no
// error.
func (r *run) wireguardSurely(key string, set rtnl.WGSet) (done bool, err error) {
	conn, reqs, err := r.wireguardRequests(key, plan.SetWireGuard{Set: set})
	if err != nil {
		return false, err
	}
	errs, unknown := conn.Do(r.ctx, reqs...)
	done = unknown != nil
	for i, req := range reqs {
		this, again := errs[i], false
		if unknown != nil || this != nil {
			again, this = conn.Surely(r.ctx, req)
		}
		done = done || again || this == nil
		if this != nil && !errors.Is(this, unix.ENODEV) {
			err = errors.Join(err, this)
		}
	}
	return done, err
}

// lastWireGuard takes peers away that nobody wants any more.
func (r *run) lastWireGuard(ops []plan.Op) (failed error) {
	for _, op := range ops {
		done, err := r.wireguardSurely(op.NS, op.Do.(plan.SetWireGuard).Set)
		r.gone = r.gone || done
		if err != nil {
			failed = errors.Join(failed, ofAction(op, err))
			r.left = append(r.left, r.leftover(op, err))
		}
	}
	return failed
}

// replayWireGuard carries out the step of a record. The kernel lets only who has rights where
// a link was made change its port and its mark, and does not say where that was. So who may
// have fewer rights than this process does not decide on these by a record.
func (n *Namespace) replayWireGuard(r *run, set rtnl.WGSet) error {
	var l rtnl.Link
	err := n.conn.One(r.ctx, rtnl.GetLink(set.Index, "", &l))
	if plan.Absent(err) || err == nil && l.Kind != "wireguard" {
		return nil
	}
	if n.belowUs() {
		set.ListenPort, set.FwMark = nil, nil
	}
	if err == nil {
		_, err = r.wireguardSurely(n.space(), set)
	}
	return n.unlessRefused(err)
}

// belowUs reports whether the namespace is of a user namespace below this process's, so
// that who has all rights in it may have none here.
func (n *Namespace) belowUs() bool {
	f, err := n.file()
	if err != nil {
		return true
	}
	defer f.Release()
	fd, err := unix.IoctlRetInt(f.FD(), unix.NS_GET_USERNS)
	if err != nil {
		return !errors.Is(err, unix.EPERM) // of one above
	}
	defer unix.Close(fd)
	var its, ours unix.Stat_t
	if unix.Fstat(fd, &its) != nil || unix.Stat("/proc/thread-self/ns/user", &ours) != nil {
		return true
	}
	return its.Dev != ours.Dev || its.Ino != ours.Ino
}

// wireguards reads what the wireguard links among some are, of a namespace; without any it
// asks nothing.
func wireguards(ctx context.Context, links []rtnl.Link, open func() (*generic, error)) (all map[int]*rtnl.WireGuard, err error) {
	for i := range links {
		if links[i].Kind != "wireguard" {
			continue
		}
		g, err := open()
		if err != nil {
			return nil, err
		}
		family, err := g.family(ctx, rtnl.WireGuardFamily)
		if err != nil {
			return nil, err
		}
		parts, err := g.conn.WireGuard(ctx, family, links[i].Index)
		if errors.Is(err, unix.ENODEV) {
			continue // it went in between
		}
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = map[int]*rtnl.WireGuard{}
		}
		all[links[i].Index] = rtnl.JoinWireGuard(parts)
	}
	return all, nil
}

// wireguards reads those of the namespace.
func (n *Namespace) wireguards(ctx context.Context, links []rtnl.Link) (map[int]*rtnl.WireGuard, error) {
	var g *generic
	defer func() {
		if g != nil {
			_ = g.conn.Close()
		}
	}()
	return wireguards(ctx, links, func() (_ *generic, err error) {
		if g != nil {
			return g, nil
		}
		f, err := n.file()
		if err != nil {
			return nil, err
		}
		defer f.Release()
		g, err = dialGeneric(f.FD())
		return g, err
	})
}

// readWireGuards reads what the wireguard links are that are there, and what the kernel
// changes with one.
func (p *prepared) readWireGuards() (err error) {
	for i := range p.want {
		w := &p.want[i]
		s := p.have[w.Key]
		if s == nil || w.Ends {
			continue
		}
		if slices.ContainsFunc(w.Ifaces, func(f plan.Iface) bool { return f.WireGuard != nil }) {
			err = p.run.inside(w.Key, func() error {
				v, err := sysctl.Read(plan.SendRedirects)
				s.Redirects = v == "1"
				return err
			})
			if err != nil {
				return fail("read the settings", w.Key, "", err)
			}
		}
		if p.part {
			continue
		}
		s.WireGuards, err = wireguards(p.run.ctx, s.Links, func() (*generic, error) { return p.run.generic(w.Key) })
		if err != nil {
			return fail("read the wireguard links", w.Key, "", err)
		}
		for j := range s.Links { // of one that is not known nothing can be compared
			if l := &s.Links[j]; l.Kind == "wireguard" && s.WireGuards[l.Index] == nil {
				return fail("read the wireguard links", w.Key, l.Name, fmt.Errorf("%w: it went while it was read", fault.ErrNotFound))
			}
		}
	}
	return nil
}

// keyFlags open a file with a key, which may be a pipe that nobody writes to.
const keyFlags = os.O_RDONLY | unix.O_NONBLOCK
