package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/netfile"
)

// wanted is the network that a container is to have, and the file that says so.
type wanted struct {
	file *netfile.File
	net  osl.Network
	// Ends of links whose other sandbox is not there yet.
	without []osl.Endpoint
}

// The variables that a network file has of a container.
const (
	varID    = "CONTAINER_ID"
	varShort = "CONTAINER_SHORT" // the first 12 characters, for the name of a link
)

// network reads what the annotation says. The container's sandbox is the one of its
// name, or the only one there is.
func (s *State) network(alone bool) (*wanted, error) {
	name := s.name()
	if strings.Contains(name, "/") {
		return nil, fmt.Errorf("%w: the sandbox %q is no name: write one without a slash in the annotation %s", osl.ErrInvalid, name, Sandbox)
	}
	f, err := s.file(name)
	if err != nil {
		return nil, err
	}
	only := 0
	i := slices.IndexFunc(f.Sandboxes, func(x osl.Spec) bool { return x.Name == name })
	var names []string
	for j, x := range f.Sandboxes {
		if x.Name != osl.HostName {
			names = append(names, x.Name)
		}
		if i < 0 && len(names) == 1 && x.Name == names[0] {
			only = j
		}
	}
	if i < 0 && len(names) != 1 {
		return nil, f.Problem("", "the file has no sandbox %q%s; name the one that the container is by its id, or in the annotation %s: %s",
			name, near.Hint(name, names), Sandbox, strings.Join(names, ", "))
	}
	if i < 0 {
		i = only
	}
	as := name
	if alone {
		as = s.NetNS()
	}
	rename(&f.Network, i, as)
	w := &wanted{file: f, net: f.Network}
	// Without its name: others that have it are not to end.
	w.net.Name, w.net.Sandboxes, w.net.Links, w.net.Segments = "", []osl.Spec{f.Sandboxes[i]}, nil, nil
	if alone {
		err = w.within(i)
	} else {
		err = w.gather(i)
	}
	if err == nil {
		err = w.partial()
	}
	return w, err
}

// file reads the network file, or the Spec, of the annotation.
func (s *State) file(name string) (*netfile.File, error) {
	for v, text := range map[string]string{varID: s.ID, varShort: s.ID[:min(len(s.ID), 12)]} {
		before, was := os.LookupEnv(v)
		if err := os.Setenv(v, text); err != nil {
			return nil, fmt.Errorf("the container's id: %w", err)
		}
		defer func() {
			if was {
				_ = os.Setenv(v, before) // it was set before
			} else {
				_ = os.Unsetenv(v)
			}
		}()
	}
	text := strings.TrimSpace(s.Annotations[Network])
	if !strings.HasPrefix(text, "{") {
		if !filepath.IsAbs(text) {
			text = filepath.Join(s.Bundle, text)
		}
		return netfile.Read(text, nil)
	}
	var spec map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return nil, fmt.Errorf("%w: the annotation %s is neither the path of a file nor a Spec as JSON: %v", osl.ErrInvalid, Network, err)
	}
	var err error
	if spec["name"], err = json.Marshal(name); err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]any{"sandboxes": []any{spec}})
	if err != nil {
		return nil, err
	}
	return netfile.Parse("the annotation "+Network, body)
}

// rename gives a sandbox another name.
func rename(n *osl.Network, i int, name string) {
	was := n.Sandboxes[i].Name
	n.Sandboxes[i].Name = name
	at := func(e *osl.Endpoint) {
		if e.Sandbox == was {
			e.Sandbox = name
		}
	}
	for j := range n.Links {
		at(&n.Links[j][0])
		at(&n.Links[j][1])
	}
	for j := range n.Sandboxes {
		for k := range n.Sandboxes[j].Interfaces {
			at(&n.Sandboxes[j].Interfaces[k].Peer)
		}
	}
}

// pairs are the links of a network, however they are written.
func pairs(n *osl.Network) (list []osl.Link) {
	list = slices.Clone(n.Links)
	for _, s := range n.Sandboxes {
		for _, x := range s.Interfaces {
			if x.Peer != (osl.Endpoint{}) {
				list = append(list, osl.Link{{Sandbox: s.Name, Interface: x.Name}, x.Peer})
			}
		}
	}
	return list
}

// gather adds the other sandboxes of the file that stand, where a link leads from the
// container's to another: so the links come with the second of their two. Those of
// sandboxes that are not there are left out.
func (w *wanted) gather(i int) error {
	all, own := &w.file.Network, w.file.Sandboxes[i].Name
	there := map[string]bool{own: true, osl.HostName: true}
	linked := slices.ContainsFunc(pairs(all), func(l osl.Link) bool {
		other := l[0].Sandbox
		if other == own {
			other = l[1].Sandbox
		}
		return other != osl.HostName && (l[0].Sandbox == own || l[1].Sandbox == own)
	})
	absent := map[string]bool{}
	for j, s := range all.Sandboxes {
		if j == i || s.Name == osl.HostName {
			continue // what is on the host stands, or is made by osl up
		}
		key, err := osl.KeyPath(s.Name)
		if err != nil {
			return w.file.About(err)
		}
		if _, err := os.Stat(key); err != nil || !linked {
			absent[s.Name] = true
			continue
		}
		there[s.Name] = true
		w.net.Sandboxes = append(w.net.Sandboxes, s)
	}
	for _, l := range all.Links {
		if !absent[l[0].Sandbox] && !absent[l[1].Sandbox] {
			w.net.Links = append(w.net.Links, l)
		}
	}
	for _, l := range pairs(all) {
		for e := range l {
			if there[l[e].Sandbox] && absent[l[1-e].Sandbox] {
				w.without = append(w.without, l[e])
			}
		}
	}
	for j := range w.net.Sandboxes {
		w.net.Sandboxes[j] = w.less(w.net.Sandboxes[j])
	}
	return nil
}

// less returns a sandbox without the ends that have no other one, and what is on them.
func (w *wanted) less(s osl.Spec) osl.Spec {
	out := func(dev string) bool {
		return slices.Contains(w.without, osl.Endpoint{Sandbox: s.Name, Interface: dev})
	}
	s.Interfaces = slices.DeleteFunc(slices.Clone(s.Interfaces), func(x osl.InterfaceSpec) bool { return out(x.Name) })
	s.Routes = slices.DeleteFunc(slices.Clone(s.Routes), func(x osl.RouteSpec) bool { return out(x.Dev) })
	s.Neighbors = slices.DeleteFunc(slices.Clone(s.Neighbors), func(x osl.NeighborSpec) bool { return out(x.Dev) })
	return s
}

// partial refuses what follows from a network as a whole, of which the container is a
// part.
func (w *wanted) partial() error {
	for _, s := range w.net.Sandboxes {
		i := slices.IndexFunc(w.file.Sandboxes, func(x osl.Spec) bool { return x.Name == s.Name })
		for j, x := range w.file.Sandboxes[i].Interfaces {
			at := fmt.Sprintf("sandboxes[%d].interfaces[%d]", i, j)
			if x.Segment != "" {
				return w.file.Problem(at+".segment", "a segment is of a whole network, which osl up makes: give the container a veth whose peer is a port of a bridge of the host (peer: host/NAME, peer_master: BRIDGE)")
			}
			if len(x.Subnet) > 0 {
				return w.file.Problem(at+".subnet", "addresses of a subnet are given within a whole network, which osl up makes: write them as addresses")
			}
		}
	}
	return nil
}

// within refuses what is outside of the container: without rights there, nothing can
// be made of it.
func (w *wanted) within(i int) error {
	own := w.file.Sandboxes[i].Name
	const why = "without root the hook has no rights over the host's network: run the runtime as root, or in a user and network namespace of its own"
	for j, l := range w.file.Links {
		if l[0].Sandbox == own || l[1].Sandbox == own {
			return w.file.Problem(fmt.Sprintf("links[%d]", j), "the link leaves the container: %s", why)
		}
	}
	for j, x := range w.net.Sandboxes[0].Interfaces {
		at := fmt.Sprintf("sandboxes[%d].interfaces[%d]", i, j)
		switch {
		case x.Peer != (osl.Endpoint{}) && x.Peer.Sandbox != own:
			at += ".peer"
		case x.Source != "":
			at += ".source"
		case strings.HasPrefix(x.Parent, osl.HostName+"/"):
			at += ".parent"
		case x.Type == "vxlan":
			at += ".type"
		default:
			continue
		}
		return w.file.Problem(at, "the interface %q is, or begins, outside of the container: %s", x.Name, why)
	}
	return nil
}

// apply makes the network.
func (w *wanted) apply(ctx context.Context) error {
	_, err := osl.Apply(ctx, w.net)
	if err == nil {
		return nil
	}
	err = w.file.About(err)
	if len(w.without) > 0 {
		var ends []string
		for _, e := range w.without {
			ends = append(ends, e.String())
		}
		err = fmt.Errorf("%w; left out, since the sandbox at the other end is not there yet: %s", err, strings.Join(ends, ", "))
	}
	return err
}
