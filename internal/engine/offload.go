//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/where"
)

// features reads those of a link.
func (g *generic) features(ctx context.Context, index int) (*rtnl.Features, error) {
	var f rtnl.Features
	family, err := g.family(ctx, rtnl.EthtoolFamily)
	if err != nil {
		return nil, err
	}
	err = g.conn.One(ctx, rtnl.GetFeatures(family, index, &f))
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = fmt.Errorf("%w: the device has no offloads", fault.ErrUnsupported)
	}
	return &f, err
}

// speed reads that of a link, 0 for one that has none.
func (g *generic) speed(ctx context.Context, index int) (speed uint32, err error) {
	family, err := g.family(ctx, rtnl.EthtoolFamily)
	if err != nil {
		return 0, err
	}
	err = g.conn.One(ctx, rtnl.GetSpeed(family, index, &speed))
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = nil
	}
	return speed, err
}

// offloads turns offloads on or off, and makes sure that they are.
func (r *run) offloads(op plan.Op, a plan.Offloads) error {
	g, err := r.generic(op.NS)
	if err != nil {
		return err
	}
	set := a.Set
	if !a.Back {
		f, err := g.features(r.ctx, a.Index)
		if err != nil {
			return err
		}
		if set, err = a.Lacking(f); err != nil {
			return badOffload(err)
		}
	}
	if len(set) == 0 {
		return nil
	}
	family, err := g.family(r.ctx, rtnl.EthtoolFamily)
	if err != nil {
		return err
	}
	if _, err := g.conn.Surely(r.ctx, rtnl.SetFeatures(family, a.Index, set)); err != nil || a.Back {
		return err
	}
	f, err := g.features(r.ctx, a.Index)
	if err == nil {
		err = badOffload(a.Holds(f))
	}
	if err != nil {
		r.undo = append(r.undo, op.Undo)
	}
	return err
}

func badOffload(err error) error {
	var bad *plan.BadOffload
	if errors.As(err, &bad) {
		return where.In("offloads", bad.Name, fault.Invalidf("%s", bad.Text))
	}
	return err
}

// features reads those of all links; none where the kernel does not tell.
func (n *Namespace) features(ctx context.Context) (map[int]*rtnl.Features, error) {
	f, err := n.file()
	if err != nil {
		return nil, err
	}
	defer f.Release()
	g, err := dialGeneric(f.FD())
	if err != nil {
		return nil, err
	}
	defer g.conn.Close()
	family, err := g.family(ctx, rtnl.EthtoolFamily)
	if errors.Is(err, fault.ErrUnsupported) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list, err := g.conn.Features(ctx, family)
	all := make(map[int]*rtnl.Features, len(list))
	for i := range list {
		all[list[i].Index] = &list[i]
	}
	return all, err
}

// readTraffic reads the features of the links that are to have offloads, or had, the speed of
// the ports that may lose their cost, and the disciplines of all where one is wanted.
func (p *prepared) readTraffic() (err error) {
	for i := range p.want {
		w := &p.want[i]
		s := p.have[w.Key]
		if s != nil && s.Qdiscs == nil && slices.ContainsFunc(w.Ifaces, func(f plan.Iface) bool { return f.Impair != nil }) {
			if s.Qdiscs, err = p.run.spaces[w.Key].conn.Qdiscs(p.run.ctx); err != nil {
				return fail("read the queueing disciplines", w.Key, "", err)
			}
		}
		if s == nil {
			continue
		}
		for index, f := range s.WithOffloads(w) {
			g, err := p.run.generic(w.Key)
			if err != nil {
				return fail("read the offloads", w.Key, f.Name, where.In("offloads", "", err))
			}
			have, err := g.features(p.run.ctx, index)
			if err != nil {
				return fail("read the offloads", w.Key, f.Name, where.In("offloads", "", err))
			}
			if s.Features == nil {
				s.Features = map[int]*rtnl.Features{}
			}
			s.Features[index] = have
		}
		for _, l := range s.LoseCost(w) {
			g, err := p.run.generic(w.Key)
			if err != nil {
				return fail("read the speed", w.Key, l.Name, err)
			}
			speed, err := g.speed(p.run.ctx, l.Index)
			if errors.Is(err, fault.ErrUnsupported) {
				err = fmt.Errorf("%w, which tells the speed by which a port has its cost: write the cost of this one", err)
			}
			if err != nil {
				return fail("read the speed", w.Key, l.Name, err)
			}
			if s.Speeds == nil {
				s.Speeds = map[int]uint32{}
			}
			s.Speeds[l.Index] = speed
		}
	}
	return nil
}
