package osl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"golang.org/x/sys/unix"
)

// maxNetworkName keeps the name of a network from filling the alias that it is
// kept in.
const maxNetworkName = 64

// validNetwork refuses what can not be the name of a network.
func validNetwork(name string) error {
	switch {
	case len(name) > maxNetworkName:
		return invalidf("the network name %.20q… has %d bytes; %d are possible", name, len(name), maxNetworkName)
	case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' || r == 0x7f }):
		return invalidf("the network name %q has a slash, a space or a control character", name)
	}
	return nil
}

// ofNetwork returns the keys in the base path whose sandboxes carry the name of a
// network.
func ofNetwork(ctx context.Context, name string, except map[string]bool) (keys []string, err error) {
	if name == "" {
		return nil, nil
	}
	dir := filepath.Join(BasePath(), keysDir)
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fail("list the sandboxes", dir, "", err)
	}
	is := make([]bool, len(files))
	if err := inParallel(len(files), func(i int) error {
		key := filepath.Join(dir, files[i].Name())
		if except[canonical(key)] {
			return nil
		}
		n, err := open(key)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, netns.ErrNotNamespace) || errors.Is(err, fs.ErrPermission) {
			return nil // it is none that this process has made
		}
		if err == nil {
			defer n.Close()
			var lo rtnl.Link
			lo, err = n.loopback(ctx)
			is[i] = plan.NetworkOf(&lo) == name
		}
		return fail("look for the network's sandboxes", key, "", err)
	}); err != nil {
		return nil, err
	}
	for i, f := range files {
		if is[i] {
			keys = append(keys, filepath.Join(dir, f.Name()))
		}
	}
	return keys, nil
}

// dropped returns the sandboxes that the network made and does not list any
// more.
func (p *prepared) dropped(ctx context.Context) (list []plan.Sandbox, err error) {
	if err := validNetwork(p.name); err != nil {
		return nil, err
	}
	listed := map[string]bool{}
	for i := range p.want {
		listed[canonical(p.want[i].Key)] = true
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
	return &Error{Key: key, Err: fmt.Errorf("%w: the sandbox is one of the network %q", ErrExists, network),
		Hint: fmt.Sprintf("take that down with: osl down %s, or give this one another name", network)}
}

// readHost reads the links of the host whose names the ends of links are to
// have there, so that the plan knows what is in the way.
func (p *prepared) readHost() error {
	var names []string
	for i := range p.want {
		for j := range p.want[i].Ifaces {
			if e := p.want[i].Ifaces[j].Peer; e != nil && e.Key == plan.HostNS {
				names = append(names, e.Name)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	host, err := p.run.space(plan.HostNS)
	if err != nil {
		return err
	}
	found := make([]rtnl.Link, len(names))
	reqs := make([]rtnl.Request, len(names))
	for i, name := range names {
		reqs[i] = rtnl.GetLink(0, name, &found[i])
	}
	errs, err := host.conn.Do(p.run.ctx, reqs...)
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
	for _, e := range p.holders(l) {
		text += fmt.Sprintf(", of the sandbox %s", nameOf(e.key))
		if e.network != "" {
			text += fmt.Sprintf(" of the network %q", e.network)
		}
	}
	return &plan.Problem{Key: taken.Key, Dev: taken.Dev, Kind: taken.Kind, Text: text,
		Away: &plan.Op{NS: plan.HostNS, Dev: l.Name, Do: plan.DelLink{Index: l.Index}}}
}

type holder struct{ key, network string }

// holders finds the sandbox that has the other end of a link of the host.
func (p *prepared) holders(l *rtnl.Link) (list []holder) {
	dir := filepath.Join(BasePath(), keysDir)
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		n, err := open(filepath.Join(dir, f.Name()))
		if err != nil {
			continue
		}
		var other, lo rtnl.Link
		errs, err := n.conn.Do(p.run.ctx, rtnl.GetLink(l.Parent, "", &other), rtnl.GetLink(1, "", &lo))
		n.Close()
		if err == nil && errs[0] == nil && errs[1] == nil && other.ParentNS && other.Parent == l.Index {
			return []holder{{n.key, plan.NetworkOf(&lo)}}
		}
	}
	return nil
}
