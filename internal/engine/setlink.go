//go:build linux

package engine

import (
	"context"
	"fmt"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/want"
)

// SetLink changes what c says of the link that is named name inside the sandbox, all
// of it or nothing. To set it down comes last, since routes and addresses go with that.
func (n *Namespace) SetLink(ctx context.Context, name string, c want.LinkChange) error {
	set := rtnl.LinkSet{Name: c.Name, MTU: c.MTU, MAC: c.MAC, TxQLen: c.TxQueueLen, Up: c.Up}
	return fail("set link", n.key, name, n.setLink(ctx, name, set))
}

func (n *Namespace) setLink(ctx context.Context, name string, set rtnl.LinkSet) error {
	if err := want.ValidName(name); err != nil {
		return err
	}
	if set.Name != "" {
		if err := want.ValidName(set.Name); err != nil {
			return err
		}
		if set.MTU != 0 || set.TxQLen != nil || set.MAC != nil || set.Up != nil {
			return fault.Invalidf("a new name takes a call of its own: with it the kernel changes the labels of the link's addresses, and nothing takes that back")
		}
	}
	conn, unlock, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	var l rtnl.Link
	if err := conn.One(ctx, rtnl.GetLink(0, name, &l)); err != nil {
		return err
	}
	up := set.Up
	set.Index, set.Up = l.Index, nil
	old := rtnl.LinkSet{Index: l.Index}
	switch {
	case set.MTU == 0 || set.MTU == l.MTU:
		set.MTU = 0
	case set.MTU < l.MinMTU || l.MaxMTU > 0 && set.MTU > l.MaxMTU:
		return fault.Invalidf("an MTU of %d is not between %d and %d", set.MTU, l.MinMTU, max(l.MaxMTU, l.MinMTU))
	default:
		old.MTU = l.MTU
	}
	if set.TxQLen != nil {
		old.TxQLen = &l.TxQLen
	}
	if set.MAC != nil {
		old.MAC = l.MAC
	}
	switch {
	case set.Name == l.Name:
		set.Name = ""
	case set.Name != "" && l.Index == 1:
		return fault.Invalidf("lo keeps its name")
	case set.Name != "" && l.Up() && !plan.RenamesUp:
		return fmt.Errorf("%w: this kernel renames a link only while it is down", fault.ErrUnsupported)
	case set.Name != "":
		old.Name = l.Name
	}
	starves := set.MTU != 0 && set.MTU < plan.MinIPv6 && l.MTU >= plan.MinIPv6 && l.Inet.HasIPv6State
	s := &plan.State{}
	if starves || set.MAC != nil || up != nil && !*up {
		if s, err = readState(ctx, conn, true); err != nil {
			return err
		}
	}
	var ops []plan.Op
	step := func(dev string, set, old rtnl.LinkSet) {
		ops = append(ops, plan.Op{NS: n.space(), Dev: dev, Do: plan.SetLink{Link: set}, Half: true,
			Undo: []plan.Op{{NS: n.space(), Dev: dev, Do: plan.SetLink{Link: old}}}})
	}
	if starves {
		for _, a := range s.Addrs {
			if a.Index == l.Index && a.Prefix.Addr().Is6() && !a.Prefix.Addr().IsLinkLocalUnicast() {
				return fault.Invalidf("an MTU below %d would take its IPv6 address %v: take that away first", plan.MinIPv6, a.Prefix)
			}
		}
	}
	if set.MTU != 0 || set.TxQLen != nil || set.MAC != nil || set.Name != "" {
		step(name, set, old)
		self := &ops[0]
		if starves {
			self.Undo = append(self.Undo, plan.IPv6Back(n.space(), &l, s)...)
		}
		if set.MAC != nil { // with which the kernel forgets its neighbours
			again := plan.NeighsOf(n.space(), &l, s)
			self.Undo = append(self.Undo, again...)
			ops = append(ops, again...)
		}
	}
	if up != nil && *up != l.Up() {
		was := l.Up()
		if *up {
			step(name, rtnl.LinkSet{Index: l.Index, Up: up}, rtnl.LinkSet{Index: l.Index, Up: &was})
		} else {
			ops = append(ops, plan.SetDown(n.space(), &l, s))
		}
	}
	if len(ops) == 0 {
		return nil
	}
	r := newRun(ctx, n)
	defer r.close()
	return r.do(ops, plan.Commit{})
}
