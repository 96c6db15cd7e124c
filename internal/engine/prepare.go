//go:build linux

package engine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/want"
)

// prepared is a network that is checked, with its sandboxes open, locked where
// they are to change, and read.
type prepared struct {
	run   *run
	want  []plan.Sandbox
	have  map[string]*plan.State
	locks lockSet
	part  bool // only new interfaces: what else there is matters little
	// settled says that what was killed has been put right before.
	settled bool
	// halves are sandboxes in the middle of a change, for who may not heal them, and
	// onWay the links of the host that are of such a change.
	halves bool
	onWay  map[int]bool
	name   string // of the network, empty for none
	// hostName is what the network is called on the host.
	hostName string
}

func (p *prepared) close() {
	p.run.close()
	p.locks.letGo()
}

// prepare checks a network and reads the sandboxes that exist. With write they
// are locked, in the order of their keys so that two networks never wait for
// each other, and healed.
func prepare(ctx context.Context, net want.Network, write bool) (*prepared, error) {
	keys := keysOf(ctx)
	p := &prepared{run: newRun(ctx), have: map[string]*plan.State{}}
	err := p.open(ctx, net, keys, write)
	if errors.Is(err, errUnsettled) {
		p.close() // who ends what was killed takes the locks of its parts
		for i := range p.want {
			if _, err := endKilledWith(ctx, p.want[i].Key); err != nil {
				return nil, fail("open the sandbox", p.want[i].Key, "", err)
			}
		}
		p = &prepared{run: newRun(ctx), have: map[string]*plan.State{}, settled: true}
		err = p.open(ctx, net, keys, write)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *prepared) open(ctx context.Context, net want.Network, k want.Keys, write bool) (err error) {
	if p.want, err = net.Plan(k); err != nil {
		return err
	}
	for i := range p.want {
		p.want[i].Prune = p.want[i].Prune && !p.part // what else is there stays
	}
	p.name = net.Name
	if err := p.named(nameOnHost(ctx, p.name)); err != nil {
		return err
	}
	if write && !p.part {
		if err := p.locks.network(ctx, p.name); err != nil {
			return err
		}
	}
	if err := p.linksOfHost(); err != nil {
		return err
	}
	if !p.part {
		dropped, err := p.dropped(ctx)
		if err != nil {
			return err
		}
		p.want = append(p.want, dropped...)
	}
	var keys []string
	for i := range p.want {
		keys = append(keys, p.want[i].Key)
	}
	order, ids := inLockOrder(keys)
	for i := range p.want {
		p.want[i].Lock = ids[p.want[i].Key].key
	}
	// What a dead process left is put back before anything is looked for.
	for i, key := range order {
		write := write && !p.onlyEnds(key)
		if write {
			if err := p.locks.add(ctx, ids[key]); err != nil {
				return fail("lock the sandbox", key, "", err)
			}
			p.locks.stays = p.locks.stays || p.run.spaces[key] != nil
		}
		if err := p.openSandbox(ctx, key, ids[key], write, i == len(order)-1); err != nil {
			return fail("open the sandbox", key, "", err)
		}
	}
	p.want = slices.DeleteFunc(p.want, func(w plan.Sandbox) bool { return w.Ends && p.run.spaces[w.Key] == nil })
	for i := range p.want {
		if p.want[i].Key == plan.HostNS && !p.part {
			continue // below
		}
		var err error
		if p.run.spaces[p.want[i].Key] == nil {
			err = want.RoomForLabels(&p.want[i], order[0])
		} else {
			err = want.RoomForNewLabels(&p.want[i])
		}
		if err != nil {
			return fail("", p.want[i].Key, "", err)
		}
		if err := p.read(ctx, &p.want[i], write); err != nil {
			return fail("read the sandbox", p.want[i].Key, "", err)
		}
	}
	for i := range p.want {
		if err := p.sources(&p.want[i], write); err != nil {
			return err
		}
	}
	if !p.part {
		if err := p.openOnHost(ctx, write); err != nil {
			return fail("open the host", "", "", err)
		}
		if err := p.readHost(); err != nil {
			return fail("read the host", "", "", err)
		}
		if err := p.leaveOut(write); err != nil {
			return fail("read the host", "", "", err)
		}
		plan.Unlisted(p.want, p.have)
		if err := p.outlive(ctx, write); err != nil {
			return err
		}
	}
	if err := p.pairs(ctx); err != nil {
		return err
	}
	if err := p.carries(); err != nil {
		return err
	}
	if err := p.readTraffic(); err != nil {
		return err
	}
	if err := p.readWireGuards(); err != nil {
		return err
	}
	return p.readSettings(write)
}

// openSandbox opens a sandbox, where there is one, and heals it. The caller's own is
// open, and so is the host, which have their locks. With last all are locked that will be.
func (p *prepared) openSandbox(ctx context.Context, key string, lock lockID, write, last bool) error {
	n := p.run.spaces[key]
	if key == plan.HostNS {
		var err error
		if n, err = p.run.space(key); err != nil {
			return err
		}
	} else if n != nil {
		if _, err := n.live(); err != nil {
			return err
		}
		if n.host {
			return errHostSpec
		}
	} else {
		var err error
		n, err = openAs(key, lock)
		if err == nil && n.host {
			n.Close()
			return errHostSpec
		}
		if errors.Is(err, fs.ErrNotExist) || isDead(err) {
			if dir := filepath.Dir(key); dir != base.KeysIn(base.PathIn(ctx)) {
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
		err := p.heal(ctx, n, last)
		if errors.Is(err, errInterrupted) {
			if p.run.spaces[key] == nil {
				return nil
			}
			err = fault.ErrClosed
		}
		if err != nil {
			return err
		}
	}
	p.run.spaces[key] = n
	return nil
}

// heal puts right what a dead process left of a sandbox. Where nobody can change it
// any more, with last, what is to be read anyway tells whether there is something.
func (p *prepared) heal(ctx context.Context, n *Namespace, last bool) error {
	if i := slices.IndexFunc(p.want, func(w plan.Sandbox) bool { return w.Key == n.key }); p.part && last && i >= 0 {
		s, err := readPart(ctx, n.conn, &p.want[i])
		if err != nil {
			return err
		}
		if !underWay(s.ByIndex(1)) {
			p.have[n.key] = s
			return nil
		}
	}
	lo, err := n.loopback(ctx)
	if err != nil || !underWay(&lo) {
		return err
	}
	if !p.part && !p.settled && !last && killedOf(n.key, &lo).ID != "" {
		return errUnsettled // there may be many like it
	}
	return n.healFrom(ctx, lo)
}

// read reads as much of a sandbox as is called for. For who may not heal it, what
// a change that has not happened brought is not there: Apply would begin by
// taking it away.
func (p *prepared) read(ctx context.Context, w *plan.Sandbox, write bool) error {
	n := p.run.spaces[w.Key]
	if n == nil || w.Key == plan.HostNS && !p.part {
		return nil // of the host only what is the network's is read
	}
	if p.part {
		if p.have[w.Key] != nil {
			return nil // by heal
		}
		s, err := readPart(ctx, n.conn, w)
		p.have[w.Key] = s
		return err
	}
	s, err := readState(ctx, n.conn, true)
	if err != nil {
		return err
	}
	if err := readVLANs(ctx, n.conn, w, s); err != nil {
		return err
	}
	if err := p.owned(w, s); err != nil {
		return err
	}
	if !write {
		all, links, err := unfinished(ctx, s.ByIndex(1))
		if err != nil {
			return err
		}
		p.onTheirWay(s, all, links)
		if all {
			return nil
		}
		s.Links = slices.DeleteFunc(s.Links, func(l rtnl.Link) bool { return links[l.Index] })
		s.Addrs = slices.DeleteFunc(s.Addrs, func(a rtnl.Addr) bool { return links[a.Index] })
		s.Routes = slices.DeleteFunc(s.Routes, func(r rtnl.Route) bool { return r.Touches(links) })
		s.Neighs = slices.DeleteFunc(s.Neighs, func(n rtnl.Neigh) bool { return links[n.Index] })
	}
	p.have[w.Key] = s
	return nil
}

// readVLANs reads the VLANs of bridges and ports, where the plan for a sandbox needs to know them.
func readVLANs(ctx context.Context, conn *netlink.Conn, w *plan.Sandbox, s *plan.State) error {
	if !plan.ReadsVLANs(w, s) {
		return nil
	}
	vlans, err := conn.VLANs(ctx)
	if err == nil {
		s.SetVLANs(vlans)
	}
	return err
}
