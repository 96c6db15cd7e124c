//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// ofNetwork returns the keys in the base path whose sandboxes carry the name of a
// network, but for those that it lists.
func ofNetwork(ctx context.Context, name string, listed []string) (keys []string, err error) {
	if name == "" {
		return nil, nil
	}
	all, err := baseKeys(ctx)
	if err != nil {
		return nil, err
	}
	at, except := places{}, map[string]bool{}
	for _, key := range listed {
		except[at.canonical(key)] = true
	}
	return keysWhose(ctx, slices.DeleteFunc(all, func(key string) bool { return except[at.canonical(key)] }),
		func(_ string, lo *rtnl.Link) bool { return plan.NetworkOf(lo) == name })
}

// keysWhose returns those of some keys whose sandboxes have such a lo.
func keysWhose(ctx context.Context, all []string, such func(key string, lo *rtnl.Link) bool) (keys []string, err error) {
	is := make([]bool, len(all))
	err = inParallel(len(all), func(i int) error {
		n, err := open(all[i])
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, netns.ErrNotNamespace) || errors.Is(err, fs.ErrPermission) {
			return nil // it is none that this process has made
		}
		if err == nil {
			defer n.Close()
			var lo rtnl.Link
			lo, err = n.loopback(ctx)
			is[i] = such(all[i], &lo)
		}
		return fail("look for the network's sandboxes", all[i], "", err)
	})
	for i, key := range all {
		if is[i] {
			keys = append(keys, key)
		}
	}
	return keys, err
}

// dropped returns the sandboxes that the network made and does not list any
// more.
func (p *prepared) dropped(ctx context.Context) (list []plan.Sandbox, err error) {
	var listed []string
	for i := range p.want {
		listed = append(listed, p.want[i].Key)
	}
	keys, err := ofNetwork(ctx, p.name, listed)
	for _, key := range keys {
		list = append(list, plan.Sandbox{Key: key, Ends: true})
	}
	return list, err
}

// owned refuses a sandbox that another network made.
func (p *prepared) owned(w *plan.Sandbox, s *plan.State) error {
	lo := s.ByIndex(1)
	if lo == nil {
		return nil
	}
	network := plan.NetworkOf(lo)
	if p.name == "" || network == "" || network == p.name {
		return nil
	}
	return anotherNetworks(w.Key, network)
}

func anotherNetworks(key, network string) error {
	return &fault.Error{Key: key, Err: fmt.Errorf("%w: the sandbox is one of the network %q", fault.ErrExists, network),
		Hint: fmt.Sprintf("take that down with: osl down %s, or give this one another name", network)}
}

// readHost reads the links of the host whose names the ends of links are to
// have there, so that the plan knows what is in the way.
func (p *prepared) readHost() error {
	var names []string
	var onHost *plan.Sandbox
	for i := range p.want {
		if p.want[i].Key == plan.HostNS {
			onHost = &p.want[i]
		}
		for j := range p.want[i].Ifaces {
			if p.want[i].Key == plan.HostNS {
				names = append(names, p.want[i].Ifaces[j].Name)
			}
		}
		for j := range p.want[i].Ifaces {
			if e := p.want[i].Ifaces[j].Peer; e != nil && e.Key == plan.HostNS {
				names = append(names, e.Name)
			}
		}
	}
	if len(names) == 0 && onHost == nil {
		return nil
	}
	host, err := p.run.space(plan.HostNS)
	if err != nil {
		return err
	}
	if onHost != nil {
		wanted := map[string]bool{}
		for _, name := range names {
			wanted[name] = true
		}
		s, err := readOnHost(p.run.ctx, host.conn, p.hostName, wanted)
		if err != nil {
			return err
		}
		p.have[plan.HostNS] = s
		return readVLANs(p.run.ctx, host.conn, onHost, s)
	}
	found, errs, err := linksNamed(p.run.ctx, host.conn, names)
	if err != nil {
		return err
	}
	s := &plan.State{}
	for i, err := range errs {
		switch {
		case err == nil && found[i].Name == names[i]:
			s.Links = append(s.Links, found[i])
		case err != nil && !errors.Is(err, unix.ENODEV):
			return err
		}
	}
	p.have[plan.HostNS] = s
	return nil
}

// onTheirWay notes which links of the host are the other ends of those of a sandbox that a
// change has brought which has not happened: all of them, or some.
func (p *prepared) onTheirWay(s *plan.State, all bool, some map[int]bool) {
	p.halves = p.halves || all || len(some) > 0
	for _, l := range s.Links {
		if l.ParentNS && (all || some[l.Index]) {
			if p.onWay == nil {
				p.onWay = map[int]bool{}
			}
			p.onWay[l.Parent] = true
		}
	}
}

// leaveOut takes out of what was read of the host, for who may not heal it, what is of a
// change that has not happened: as Apply begins by taking it away.
func (p *prepared) leaveOut(write bool) error {
	s := p.have[plan.HostNS]
	if write || s == nil {
		return nil
	}
	host, err := p.run.space(plan.HostNS)
	if err != nil {
		return err
	}
	lo, err := host.loopback(p.run.ctx)
	if err != nil {
		return err
	}
	_, links, err := unfinished(p.run.ctx, &lo)
	if err != nil {
		return err
	}
	half := func(index int) bool { return links[index] || p.onWay[index] }
	s.Links = slices.DeleteFunc(s.Links, func(l rtnl.Link) bool { return half(l.Index) })
	s.Addrs = slices.DeleteFunc(s.Addrs, func(a rtnl.Addr) bool { return half(a.Index) })
	s.Routes = slices.DeleteFunc(s.Routes, func(r rtnl.Route) bool { return half(r.Index) })
	s.Neighs = slices.DeleteFunc(s.Neighs, func(n rtnl.Neigh) bool { return half(n.Index) })
	return nil
}

// explain says, of a link of the host that is in the way, whose it is.
func (p *prepared) explain(err error) error {
	var taken *plan.Problem
	if !errors.As(err, &taken) || taken.Far == "" {
		return err
	}
	l := p.have[plan.HostNS].Link(taken.Far)
	t, _ := plan.ParseTag(l.Alias)
	if t.Origin != plan.Far {
		return err
	}
	text := taken.Text + ": the end of a link that osl made"
	if key, network := p.holder(l); key != "" {
		text += fmt.Sprintf(", of the sandbox %s", base.NameOf(key))
		if network != "" {
			text += fmt.Sprintf(" of the network %q", network)
		}
	}
	return &plan.Problem{Key: taken.Key, Dev: taken.Dev, Kind: taken.Kind, Text: text,
		Away: &plan.Op{NS: plan.HostNS, Dev: l.Name, Do: plan.DelLink{Index: l.Index}}}
}

// holder finds the sandbox that has the other end of a link of the host, and its
// network; empty if it is none of the base path.
func (p *prepared) holder(l *rtnl.Link) (key, network string) {
	keys, _ := baseKeys(p.run.ctx)
	for _, key := range keys {
		n, err := open(key)
		if err != nil {
			continue
		}
		var other, lo rtnl.Link
		errs, err := n.conn.Do(p.run.ctx, rtnl.GetLink(l.Parent, "", &other), rtnl.GetLink(1, "", &lo))
		is := err == nil && errs[0] == nil && errs[1] == nil && isAcross(&other, l)
		if host, err := p.run.space(plan.HostNS); is && err == nil {
			is, err = n.isIn(p.run.ctx, &other, host)
			is = is && err == nil
		}
		n.Close()
		if is {
			return key, plan.NetworkOf(&lo)
		}
	}
	return "", ""
}

// tellOvertaken logs what others have that comes before what the network asks for. What was
// read may have gone with the change, be it with an address that it took away.
func (p *prepared) tellOvertaken(ctx context.Context, ops []plan.Op, really bool) {
	for i := range p.want {
		w := &p.want[i]
		s := p.have[w.Key]
		if s == nil {
			continue
		}
		list := plan.Overtaken(w, s, ops)
		if n, err := p.run.space(w.Key); really && len(list) > 0 && err == nil {
			if _, others, err := readRoutes(ctx, n.conn); err == nil {
				stand := plan.Overtaken(w, &plan.State{Links: s.Links, Others: others}, ops)
				list = slices.DeleteFunc(list, func(route string) bool { return !slices.Contains(stand, route) })
			}
		}
		for _, route := range list {
			slog.Warn("osl: a route of others is taken before the one that is asked for", "sandbox", base.NameIn(ctx, w.Key), "route", route)
		}
	}
}
