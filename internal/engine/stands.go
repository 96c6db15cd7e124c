//go:build linux

package engine

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/stand"
	"github.com/seed59451c2b/osl/internal/sysctl"
	"github.com/seed59451c2b/osl/internal/want"
)

// Spec reads what the sandbox is, as what it is to be.
func (n *Namespace) Spec(ctx context.Context) (want.Sandbox, error) {
	s, err := n.stands(n.in(ctx), freshSettings)
	if err != nil {
		return want.Sandbox{}, fail("read the sandbox", n.key, "", err)
	}
	return stand.Alone(s.Spec()), nil
}

// Export reads what the sandboxes with these names are, as a network.
func Export(ctx context.Context, names ...string) (net want.Network, err error) {
	all, err := List(ctx)
	if err != nil {
		return net, err
	}
	onHost, fresh := false, sync.OnceValues(freshSettings)
	for i, name := range names {
		s, tag, err := export(ctx, name, fresh)
		if err != nil {
			return net, err
		}
		if stand.Named(&net, s.Name) == nil { // it may be named twice
			net.Sandboxes = append(net.Sandboxes, s)
		}
		if onHost = onHost || tag.OnHost; i == 0 {
			net.Name = tag.Network
		} else if tag.Network != net.Name {
			net.Name = ""
		}
	}
	if slices.ContainsFunc(all, func(e Entry) bool { return e.Network == net.Name && stand.Named(&net, e.Name) == nil }) {
		net.Name = "" // to Apply, the others would be those that it does not list any more
	}
	if onHost && net.Name != "" {
		s, err := standsOnHost(ctx, net.Name)
		if err != nil {
			return net, fail("read what the network has on the host", "", "", err)
		}
		net.Sandboxes = slices.Insert(net.Sandboxes, 0, s.Spec())
	}
	stand.Connect(&net)
	return net, nil
}

func export(ctx context.Context, name string, fresh settings) (spec want.Sandbox, tag plan.SandboxTag, err error) {
	n, err := Open(ctx, name)
	if err != nil {
		return spec, tag, err
	}
	s, err := n.stands(n.in(ctx), fresh)
	if err != nil {
		_ = n.Close() // it was only read
		return spec, tag, fail("read the sandbox", n.key, "", err)
	}
	tag, _ = plan.ParseSandboxTag(s.State.ByIndex(1).Alias)
	tag.Network = plan.NetworkOf(s.State.ByIndex(1))
	return s.Spec(), tag, n.Close()
}

// settings are read when they are asked for first.
type settings func() (map[string]string, error)

// freshSettings reads the settings that a new namespace has.
func freshSettings() (all map[string]string, err error) {
	err = netns.Make(func() (err error) { all, err = sysctl.All(); return err })
	return all, err
}

// stands reads what the sandbox holds, with what Inspect does not tell: all that it takes
// to make another one like it.
func (n *Namespace) stands(ctx context.Context, fresh settings) (*stand.Standing, error) {
	r, err := n.reading(ctx)
	if err != nil {
		return nil, err
	}
	s := &stand.Standing{Reading: r, Far: map[int]stand.Far{}}
	if err := n.farEnds(ctx, s); err != nil {
		return nil, err
	}
	ns, err := n.file()
	if err != nil {
		return nil, err
	}
	defer ns.Release()
	var own map[string]string
	if err := netns.Do(ns.FD(), func() (err error) { own, err = sysctl.All(); return err }); err != nil {
		return nil, err
	}
	usual, err := fresh()
	if err != nil {
		return nil, err
	}
	s.Settings = plan.Settings(own, usual, r.State.Links)
	return s, nil
}

// farEnds finds what links of the sandbox are connected with in other namespaces: on
// the host, and in the other sandboxes of the base path.
func (n *Namespace) farEnds(ctx context.Context, s *stand.Standing) error {
	sought := map[int]*rtnl.Link{}
	for i := range s.State.Links {
		if l := &s.State.Links[i]; l.ParentNS && l.Parent != 0 {
			sought[l.Index] = l
		}
	}
	if len(sought) == 0 {
		return nil
	}
	host, err := openHost()
	if err != nil {
		return err
	}
	err = n.find(ctx, host, want.HostName, sought, s.Far)
	host.Close()
	if err != nil || len(sought) == 0 {
		return err
	}
	keys, err := baseKeys(ctx)
	if err != nil {
		return err
	}
	for _, key := range keys {
		other, err := open(key)
		if err != nil || other.id == n.id || other.host {
			continue // what can not be opened has no end that could be named
		}
		err = n.find(ctx, other, base.NameIn(ctx, key), sought, s.Far)
		other.Close()
		if err != nil || len(sought) == 0 {
			return err
		}
	}
	return nil
}

// find looks in one namespace for what links are connected with, and takes those that
// it finds out of sought.
func (n *Namespace) find(ctx context.Context, other *Namespace, name string, sought map[int]*rtnl.Link, far map[int]stand.Far) error {
	indexes := slices.Sorted(maps.Keys(sought))
	found := make([]rtnl.Link, len(indexes))
	reqs := make([]rtnl.Request, len(indexes))
	for i, index := range indexes {
		reqs[i] = rtnl.GetLink(sought[index].Parent, "", &found[i])
	}
	errs, err := other.conn.Do(ctx, reqs...)
	if err != nil {
		return err
	}
	for i, index := range indexes {
		l, o := sought[index], &found[i]
		if errs[i] != nil {
			continue
		}
		if pair := plan.KindOf(l.Kind).Pair; pair && !isAcross(l, o) || !pair && name != want.HostName {
			continue // an index is not the only one of its number
		} else if pair {
			is, err := n.isIn(ctx, l, other)
			if err != nil {
				return err
			}
			if !is {
				continue
			}
		}
		x := stand.Far{Sandbox: name, Link: *o}
		if o.Master != 0 {
			var m rtnl.Link
			if err := other.conn.One(ctx, rtnl.GetLink(o.Master, "", &m)); err != nil && !plan.Absent(err) {
				return err
			}
			x.Master = m.Name
		}
		far[index] = x
		delete(sought, index)
	}
	return nil
}

// standsOnHost reads what a network has on the host.
func standsOnHost(ctx context.Context, network string) (*stand.Standing, error) {
	host, err := openHost()
	if err != nil {
		return nil, err
	}
	defer host.Close()
	if network, err = nameThere(ctx, host.conn, network); err != nil {
		return nil, err
	}
	s := &stand.Standing{Reading: &stand.Reading{Name: want.HostName}, Settings: plan.Set{Sandbox: map[string]string{}}}
	if s.State, err = readOnHost(ctx, host.conn, network, nil); err != nil {
		return nil, err
	}
	inOrder(s.State.Links)
	if s.State.FiltersVLANs() {
		vlans, err := host.conn.VLANs(ctx)
		if err != nil {
			return nil, err
		}
		s.State.SetVLANs(vlans)
	}
	if slices.ContainsFunc(s.State.Links, func(l rtnl.Link) bool { t, _ := plan.ParseTag(l.Alias); return t.HadOffloads() }) {
		if s.State.Features, err = host.features(ctx); err != nil {
			return nil, err
		}
	}
	fd, err := netns.Home()
	if err != nil {
		return nil, err
	}
	return s, netns.Do(fd, func() error { return settingsOnHost(s, network) })
}

// settingsOnHost reads what a network asked for of the settings of the host, which is the
// thread's namespace, and of those of its links there.
func settingsOnHost(s *stand.Standing, network string) error {
	for _, path := range plan.Forwards {
		if !s.State.Asked(network, path) {
			continue
		}
		value, err := sysctl.Read(path)
		if err != nil {
			return err
		}
		s.Settings.Sandbox[path] = value
	}
	if !s.State.AskedOfLinks() {
		return nil
	}
	paths, err := sysctl.Names()
	if err != nil {
		return err
	}
	s.Settings.Links, err = askedOfLinks(s.State.Links, paths)
	return err
}
