//go:build linux

package engine

import (
	"context"
	"errors"
	"syscall"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/want"
)

// Apply brings the sandboxes of net, and the links between them, to what net says:
// all of it, or nothing. Without really it does nothing. It returns what there was to
// do.
func Apply(ctx context.Context, net want.Network, really bool) ([]Change, error) {
	op := "compare the network"
	if really {
		op = "apply the network"
	}
	c, err := apply(ctx, net, really)
	return c, fail(op, "", "", err)
}

// Apply does so with one sandbox. The name in s is not used.
func (n *Namespace) Apply(ctx context.Context, s want.Sandbox, really bool) ([]Change, error) {
	op := "compare the sandbox"
	if really {
		op = "apply to the sandbox"
	}
	c, err := n.apply(ctx, s, really)
	return c, fail(op, n.key, "", err)
}

func (n *Namespace) apply(ctx context.Context, s want.Sandbox, really bool) ([]Change, error) {
	if _, err := n.live(); err != nil {
		return nil, err
	}
	s.Name = n.key
	return apply(n.in(ctx), want.Network{Sandboxes: []want.Sandbox{s}}, really)
}

func apply(ctx context.Context, net want.Network, really bool) ([]Change, error) {
	p, err := prepare(ctx, net, really)
	if err != nil {
		return nil, err
	}
	defer p.close()
	ends, err := p.endings()
	if err != nil {
		return nil, err
	}
	ops, err := p.carryOut(really)
	if err != nil {
		return nil, err
	}
	p.tellOvertaken(ctx, ops, really)
	return changes(ops, ends), nil
}

// endings returns what becomes of the sandboxes that the network does not list any
// more: one of another program's stays.
func (p *prepared) endings() (map[string][]Change, error) {
	ends, left := map[string][]Change{}, plan.Leavers(p.want)
	for i := range p.want {
		n := p.run.spaces[p.want[i].Key]
		if !p.want[i].Ends || n == nil {
			continue
		}
		lo, err := n.loopback(p.run.ctx)
		if err == nil {
			ends[n.key], err = n.endChanges(p.run.ctx, &lo, left[n.key])
		}
		if err != nil {
			return nil, fail("", n.key, "", err)
		}
	}
	return ends, nil
}

// carryOut plans and, if really, does it. It returns the plan. One that found a
// name taken is made again, and is taken still; so is one that found an index taken:
// other indexes are chosen then, a few times.
func (p *prepared) carryOut(really bool) (ops []plan.Op, err error) {
	const tries = 4
	var commit plan.Commit
	for i := range tries {
		if err := p.seek(i > 0); err != nil {
			return ops, err
		}
		if ops, commit, err = p.build(); err != nil || !really {
			return ops, p.explain(err)
		}
		err = p.run.do(ops, commit)
		again := errors.Is(err, syscall.EBUSY) || i == 0 && errors.Is(err, fault.ErrNameInUse)
		if !again || i == tries-1 || errors.Is(err, fault.ErrIncomplete) || p.run.gone {
			break
		}
		p.run.reset()
	}
	return ops, err
}

// seek keeps the indexes of new links from those that are taken in the sandboxes
// read; and with host, since one of them was taken, from those of the host, whose
// links are many and mostly not of interest.
func (p *prepared) seek(host bool) error {
	var taken []int
	add := func(links []rtnl.Link) {
		for i := range links {
			taken = append(taken, links[i].Index)
		}
	}
	for _, s := range p.have {
		add(s.Links)
	}
	if host {
		n, err := p.run.space(plan.HostNS)
		if err != nil {
			return err
		}
		links, err := n.conn.Links(p.run.ctx)
		if err != nil {
			return err
		}
		add(links)
	}
	count := 0
	for i := range p.want {
		count += 2 * len(p.want[i].Ifaces) // one may have its other end on the host
	}
	plan.Seek(count, taken, host)
	return nil
}

// build plans. Routes of others are read only where a next hop depends on them.
func (p *prepared) build() ([]plan.Op, plan.Commit, error) {
	p.pin()
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
		_, others, rerr := readRoutes(p.run.ctx, n.conn)
		if rerr != nil {
			return nil, commit, rerr
		}
		p.have[lack.Key].Others = others
	}
}
