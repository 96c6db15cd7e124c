//go:build linux

package engine

import (
	"context"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
	"github.com/seed59451c2b/osl/internal/want"
)

// changes returns a plan as commands; ends are those of the sandboxes that end.
func changes(ops []plan.Op, ends map[string][]Change) (c []Change) {
	sh := shell.For(base.Path())
	for _, op := range ops {
		if _, is := op.Do.(plan.EndNS); is {
			c = append(c, ends[op.NS]...)
		}
		c = append(c, commands(op, sh)...)
	}
	return c
}

// commands returns one step as commands.
func commands(op plan.Op, sh shell.Shell) (c []Change) {
	sandbox := want.HostName
	if op.NS != plan.HostNS {
		sandbox = base.NameOf(op.NS)
	}
	kind := Edit
	if _, ok := op.Do.(plan.MakeNS); ok {
		kind = Make
	}
	lines := plan.Commands(op, sh)
	if len(lines) == 0 {
		return nil
	}
	said := plan.Describe(op)
	for _, line := range lines {
		c = append(c, Change{Sandbox: sandbox, Kind: kind, Interface: op.Dev, Command: line, Said: said})
		kind = Edit // what a new sandbox takes beside
	}
	return c
}

// endChanges returns what destroying the sandbox does, but for the links that have left it
// before. lo is its loopback.
func (n *Namespace) endChanges(ctx context.Context, lo *rtnl.Link, left map[int]bool) (c []Change, err error) {
	s := n.stays(lo)
	if s == nil {
		return []Change{removeChange(n.key)}, nil
	}
	ops, err := s.plan(ctx, n)
	if err != nil {
		return nil, err
	}
	sh := shell.For(base.Path())
	for _, op := range ops {
		if home, is := op.Do.(plan.SetLink); is && home.To != nil && left[home.Link.Index] {
			continue
		}
		for _, x := range commands(op, sh) {
			x.Sandbox, x.Kind = base.NameOf(n.key), Leave
			c = append(c, x)
		}
	}
	if s.unpin {
		return append(c, removeChange(n.key)), nil
	}
	return append(c, Change{Sandbox: base.NameOf(n.key), Kind: Leave, Command: "# the namespace is not osl's and stays: " + base.NameOf(n.key)}), nil
}

func removeChange(key string) Change {
	return Change{Sandbox: base.NameOf(key), Kind: End, Command: shell.For(base.Path()).Removal(key), Said: plan.Said{Object: "sandbox"}}
}
