//go:build linux

package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
)

// moveOut moves a link from the namespace of conn to the host, where its name
// is known to be free. The index it had is given back where that is free too.
// Alternative names that the host has taken meanwhile are left behind.
func (r *run) moveOut(conn *netlink.Conn, home *plan.SetLink) error {
	req := func() rtnl.Request { return home.Arrival().Request(r.fd) }
	err := conn.One(r.ctx, req())
	if errors.Is(err, unix.EBUSY) {
		home.Link.NewIndex = 0
		err = conn.One(r.ctx, req())
	}
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	var l rtnl.Link
	if gerr := conn.One(r.ctx, rtnl.GetLink(home.Link.Index, "", &l)); gerr != nil {
		return err
	}
	own := slices.DeleteFunc(l.AltName, plan.IsHomeRecord)
	if len(own) == 0 {
		return err
	}
	for _, name := range own {
		if err := conn.One(r.ctx, rtnl.DelAltName(l.Index, name)); err != nil {
			return err
		}
	}
	if err := conn.One(r.ctx, req()); err != nil {
		for _, name := range own {
			_ = conn.One(r.ctx, rtnl.NewAltName(l.Index, name))
		}
		return err
	}
	host, err := r.space(plan.HostNS)
	if err != nil {
		return err
	}
	var back rtnl.Link
	if err := host.conn.One(r.ctx, rtnl.GetLink(0, home.Link.Name, &back)); err != nil {
		return err
	}
	for _, name := range own {
		if err := host.conn.One(r.ctx, rtnl.NewAltName(back.Index, name)); err != nil {
			slog.Warn("osl: an alternative name is taken on the host and was dropped",
				"interface", home.Link.Name, "name", name, "error", err)
		}
	}
	return nil
}

// arrive brings one link home, as far as that is not done, and returns what is
// left to do there. moved says that it is known to have moved.
func (r *run) arrive(conn *netlink.Conn, home plan.SetLink, moved bool) ([]plan.Op, error) {
	if !moved {
		switch err := r.moveOut(conn, &home); {
		case errors.Is(err, unix.ENODEV):
			// It is out of the sandbox already: by the first message, though
			// that failed or its answer was lost, or by someone else's hand.
		case err != nil:
			return nil, err
		default:
			moved = true
		}
	}
	if moved && home.AtOnce() {
		return nil, nil
	}
	if moved && home.Link.NewIndex != 0 && !strings.Contains(home.Link.Name, "%") {
		warnLost(home.Link.Name, home)
		return home.AtHome(home.Link.NewIndex, home.Link.Name), nil
	}
	l, err := r.findAtHome(home)
	if err != nil || l == nil {
		return nil, err
	}
	return r.settleAtHome(l, home)
}

// settleAtHome returns what is left to do for a link that is on the host, perhaps
// under another name.
func (r *run) settleAtHome(l *rtnl.Link, home plan.SetLink) ([]plan.Op, error) {
	if name := home.Link.Name; name != l.Name && !strings.Contains(name, "%") {
		host, err := r.space(plan.HostNS)
		if err != nil {
			return nil, err
		}
		if _, err := host.conn.Surely(r.ctx, rtnl.SetLink(rtnl.LinkSet{Index: l.Index, Name: name})); err != nil {
			return nil, err
		}
		l.Name = name
	}
	warnLost(l.Name, home)
	return home.AtHome(l.Index, l.Name), nil
}

func warnLost(dev string, home plan.SetLink) {
	if home.Home.Lost > 0 {
		slog.Warn("osl: a link is home, without some of its addresses, routes and neighbors: there was no room to note them when it left",
			"interface", dev, "missing", home.Home.Lost)
	}
}

// linksOnHost reads all links of the host.
func (r *run) linksOnHost() ([]rtnl.Link, error) {
	host, err := r.space(plan.HostNS)
	if err != nil {
		return nil, err
	}
	return host.conn.Links(r.ctx)
}

// findAtHome finds a link that has left the sandbox on the host, nil where it is
// not there either. Its tag, or its index and name there, tell it from others.
func (r *run) findAtHome(home plan.SetLink) (*rtnl.Link, error) {
	links, err := r.linksOnHost()
	if err != nil {
		return nil, err
	}
	want, _ := plan.ParseTag(home.Home.Tag)
	i := slices.IndexFunc(links, func(l rtnl.Link) bool {
		t, ok := plan.ParseTag(l.Alias)
		return ok && t.Origin == plan.Host && t.Index == want.Index && t.Source == want.Source
	})
	if i < 0 {
		i = slices.IndexFunc(links, func(l rtnl.Link) bool {
			return l.Name == home.Link.Name && (l.Index == home.Link.NewIndex || home.Link.NewIndex == 0)
		})
	}
	if i < 0 {
		return nil, nil
	}
	return &links[i], nil
}

// denied is what the kernel refuses to give a link back.
type denied struct {
	plan.Op
	err error
}

func (x denied) command() string {
	return strings.Join(plan.Commands(x.Op, shell.For(base.Path())), " && ")
}

func warnRefused(list []denied) {
	for _, x := range list {
		slog.Warn("osl: a link is home, but the kernel refuses to give it back what it had there", "interface", x.Dev, "error", x.err, "command", x.command())
	}
}

// unpack gives links that have arrived on the host back what they had there. It
// returns what the kernel refuses, each thing in its own right: the links are home
// all the same. An error is one of the exchange.
//
// What says that something is left to do goes when nothing is: the record that tells what
// a link had in a send of its own, and in the last one the tag by which it is found.
func (r *run) unpack(ops []plan.Op) (refused []denied, err error) {
	var parts [3][]plan.Op
	for _, op := range ops {
		at := op.Homecoming()
		parts[at] = append(parts[at], op)
	}
	// A route may have an address of another link as its source.
	slices.SortStableFunc(parts[0], func(x, y plan.Op) int { return plan.AfterAddrs(x) - plan.AfterAddrs(y) })
	for _, part := range parts {
		more, err := r.give(part)
		if refused = append(refused, more...); err != nil {
			return refused, err
		}
	}
	return refused, nil
}

// give sends such steps, and again what did not succeed.
func (r *run) give(ops []plan.Op) (refused []denied, err error) {
	if len(ops) == 0 {
		return nil, nil
	}
	host, err := r.space(plan.HostNS)
	if err != nil {
		return nil, err
	}
	reqs := make([]rtnl.Request, len(ops))
	for i, op := range ops {
		reqs[i] = op.Do.(plan.Message).Request(r.fd)
	}
	errs, unknown := host.conn.Do(r.ctx, reqs...)
	first := slices.IndexFunc(errs, func(err error) bool { return err != nil && !plan.Absent(err) })
	if unknown != nil {
		first = 0
	}
	if first < 0 {
		return nil, nil
	}
	// Once more, from the first that was refused on, so that all is done in the
	// same order: which address is first matters, and a hardware address that is
	// set takes the neighbors away.
	again := takeBack(ops[first:])
	skip := len(again)
	errs, unknown = host.conn.Do(r.ctx, append(again, reqs[first:]...)...)
	if unknown != nil {
		return nil, ofAction(ops[first], unknown)
	}
	for i, err := range errs[skip:] {
		var no *rtnl.Error
		switch op := ops[first+i]; {
		case err == nil, plan.Absent(err): // it has it, or is gone itself
		case errors.As(err, &no):
			refused = append(refused, denied{op, err})
		default:
			return refused, ofAction(op, err)
		}
	}
	return refused, nil
}

// takeBack returns what takes the addresses away that such steps give.
func takeBack(ops []plan.Op) (reqs []rtnl.Request) {
	for _, op := range slices.Backward(ops) {
		if k, ok := op.Do.(plan.PutBack); ok && k.Kept.IsAddr() {
			reqs = append(reqs, k.Kept.Delete())
		}
	}
	return reqs
}

// notWhole says that a link is home without something that it had there.
type notWhole struct{ refused []denied }

func (e *notWhole) Error() string {
	var list []string
	for _, x := range e.refused {
		list = append(list, fmt.Sprintf("the link %s is home, but the kernel refused this (%v), try: %s", x.Dev, x.err, x.command()))
	}
	return strings.Join(list, "; ")
}

// bringBack undoes a move: whatever of it was done, the link is as it was.
func (r *run) bringBack(op plan.Op) error {
	n, err := r.space(op.NS)
	if err != nil {
		return err
	}
	var l rtnl.Link
	if err := n.conn.One(r.ctx, rtnl.GetLink(op.Do.(plan.SetLink).Link.Index, "", &l)); err != nil {
		return err
	}
	rest, err := r.arrive(n.conn, op.Do.(plan.SetLink).Since(&l), false)
	if err != nil {
		return err
	}
	refused, err := r.unpack(rest)
	if err == nil && len(refused) > 0 {
		err = &notWhole{refused}
	}
	return err
}
