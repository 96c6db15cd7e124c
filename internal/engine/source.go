//go:build linux

package engine

import (
	"errors"
	"slices"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/where"
)

// sources finds the links that are to move in: on the host, or in the sandbox
// already.
func (p *prepared) sources(w *plan.Sandbox, write bool) error {
	var here map[string]bool
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		if f.From == nil {
			continue
		}
		if here == nil {
			here = sourcesIn(p.have[w.Key])
		}
		err := error(nil)
		f.From.Link.Name = sourceCalled(p.have[w.Key], f.From.Link.Name)
		if name := f.From.Link.Name; p.run.adds || !here[name] {
			f.From, err = p.run.hostLink(name, write)
			if errors.Is(err, fault.ErrNotFound) && !p.run.adds {
				f.From, err = p.elsewhere(w, f.Name, name, err)
			}
			if errors.Is(err, fault.ErrNotFound) {
				f.From, err = p.run.cameHome(name, write, err)
			}
		}
		if err != nil {
			return fail("", w.Key, f.Name, where.In("source", "", err))
		}
	}
	return nil
}

// sourcesIn returns the names on the host of those links of a sandbox that came
// from there.
func sourcesIn(s *plan.State) map[string]bool {
	names := map[string]bool{}
	for i := 0; s != nil && i < len(s.Links); i++ {
		if t, _ := plan.ParseTag(s.Links[i].Alias); t.Origin == plan.Host {
			names[t.Source] = true
		}
	}
	return names
}

// sourceCalled returns the name on the host of a link of a sandbox that came from there,
// by that or another name of its.
func sourceCalled(s *plan.State, name string) string {
	for i := 0; s != nil && i < len(s.Links); i++ {
		if l := &s.Links[i]; slices.Contains(l.AltName, name) {
			if t, _ := plan.ParseTag(l.Alias); t.Origin == plan.Host {
				return t.Source
			}
		}
	}
	return name
}

// elsewhere looks for a link that the host has not got: somebody may have moved it
// in by hand, under the name that it is to have; or it is in another sandbox, which it
// leaves.
func (p *prepared) elsewhere(w *plan.Sandbox, as, name string, missing error) (*plan.HostLink, error) {
	if s := p.have[w.Key]; s != nil {
		lo, l := s.ByIndex(1), s.Link(as)
		if lo != nil && l != nil && l.Alias == "" {
			if _, made := plan.ParseSandboxTag(lo.Alias); made {
				return &plan.HostLink{Link: rtnl.Link{Name: name}}, nil
			}
		}
	}
	if l, err := p.between(w, name); l != nil || err != nil {
		return l, err
	}
	if p.halves { // it may be there
		return &plan.HostLink{Link: rtnl.Link{Name: name}}, nil
	}
	return nil, missing
}

// makesOnHost reports whether a link of the host is of this change.
func (p *prepared) makesOnHost(name string) bool {
	for i := range p.want {
		if p.want[i].Key == plan.HostNS {
			return slices.ContainsFunc(p.want[i].Ifaces, func(f plan.Iface) bool { return f.Name == name })
		}
	}
	return false
}

// linksOfHost reads the links of the host that lie below others, or have a port. Of
// those that are of this change the plan knows.
func (p *prepared) linksOfHost() (err error) {
	for i := range p.want {
		for j := range p.want[i].Ifaces {
			f := &p.want[i].Ifaces[j]
			if f.HostParent != nil && !p.makesOnHost(f.HostParent.Name) {
				if f.HostParent, err = p.run.onHost(f.HostParent.Name); err != nil {
					return fail("", p.want[i].Key, f.Name, where.In("parent", "", err))
				}
			}
			if f.PeerMaster == nil {
				continue
			}
			name := f.PeerMaster.Name
			if f.PeerMaster, err = p.run.onHost(name); err == nil && f.PeerMaster.Kind != "bridge" {
				err = fault.Invalidf("the master of its peer, %q, is no bridge of the host", name)
			}
			if err != nil {
				return fail("", p.want[i].Key, f.Name, where.In("peer_master", "", err))
			}
		}
	}
	return nil
}
