package netfile

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/want"
)

// What a file has at its top beside the fields of a network.
const (
	includeField  = "include"
	defaultsField = "defaults"
	linksField    = "links"
)

// NotOfAll and NotOfALink are the fields of an interface that what holds for many can
// not say, and what a link says of both its ends.
var (
	NotOfAll   = []string{"name", "source", "mac", "addresses", "aliases", "peer", "peer_master"}
	NotOfALink = append([]string{"type", "parent"}, NotOfAll...)
)

// top returns the pairs at the top of the file, whose names are fields. What has none is
// no network, and that is said.
func (d *decoder) top() (list []*ast.MappingValueNode, ok bool) {
	body := d.resolve(d.src.body)
	entries, ok := d.entries(body)
	if !ok && body != nil {
		d.fail(body, "expected a network with fields such as \"sandboxes\", found %s", describe(body))
	}
	return slices.DeleteFunc(entries, func(e *ast.MappingValueNode) bool { return isOwn(keyText(e.Key)) }), ok
}

// head decodes what the file says of itself, and returns the values that name files
// to include.
func (d *decoder) head() (includes []ast.Node) {
	entries, _ := d.top()
	for _, e := range entries {
		n := d.resolve(e.Value)
		if n == nil || n.Type() == ast.NullType {
			continue
		}
		switch keyText(e.Key) {
		case includeField:
			if seq, ok := n.(*ast.SequenceNode); ok {
				includes = append(includes, seq.Values...)
			} else {
				includes = append(includes, n)
			}
		case defaultsField:
			d.defaultsOfFile(n)
		}
	}
	return includes
}

// defaultsOfFile takes the defaults of a file in: they hold for what stands in it.
func (d *decoder) defaultsOfFile(n ast.Node) {
	entries, ok := d.entries(n)
	if !ok {
		d.fail(n, "expected defaults with \"sandbox\" and \"interface\", found %s", describe(n))
	}
	var sandbox, iface []layer
	for _, e := range entries {
		at := join(defaultsField, keyText(e.Key))
		switch name := keyText(e.Key); {
		case isOwn(name):
		case name == "sandbox":
			sandbox = d.shared(e.Value, "", reflect.TypeFor[osl.Spec](), at, []string{"name"})
		case name == "interface":
			iface = d.shared(e.Value, "", reflect.TypeFor[osl.InterfaceSpec](), at, NotOfAll)
		default:
			hint := "; there are: sandbox, interface"
			switch {
			case slices.Contains(NotOfAll, name):
			case find(fields(reflect.TypeFor[osl.InterfaceSpec]()), name) != nil:
				hint = fmt.Sprintf("; write interface: {%s: …}", name)
			case find(fields(reflect.TypeFor[osl.Spec]()), name) != nil:
				hint = fmt.Sprintf("; write sandbox: {%s: …}", name)
			}
			d.fail(e.Key, "defaults has no field %q%s", name, hint)
		}
	}
	d.src.sandbox, d.src.iface = sandbox, iface
}

// shared checks a mapping that holds for several things of type t, and returns it as
// what lies under them. The names not are of one thing alone.
func (d *decoder) shared(n ast.Node, skip string, t reflect.Type, path string, not []string) []layer {
	if n = d.resolve(n); n == nil || n.Type() == ast.NullType {
		return nil
	}
	l := layer{n: n, src: d.src, skip: skip}
	d.partial = true
	defer func() { d.partial = false }()
	entries, ok := d.entries(n)
	for _, e := range entries {
		if name := keyText(e.Key); slices.Contains(not, name) {
			d.fail(e.Key, "%s is what each has of its own", name)
			ok = false
		}
	}
	if skip == "" {
		d.value(n, nil, reflect.New(t).Elem(), path)
	} else {
		d.structure(&ast.MappingNode{BaseNode: &ast.BaseNode{}, Start: n.GetToken()}, []layer{l}, reflect.New(t).Elem(), path)
	}
	if !ok {
		return nil
	}
	return []layer{l}
}

// link returns the ends of a link. One that is a mapping has them in "ends", and says
// with the other fields what holds for both.
func (d *decoder) link(n ast.Node, path string) (ends ast.Node) {
	entries, ok := d.entries(n)
	if !ok {
		return n
	}
	for _, e := range entries {
		if keyText(e.Key) == "ends" {
			ends = d.resolve(e.Value)
		}
	}
	if ends == nil {
		d.fail(n, "a link needs a field \"ends\": write {ends: [web/eth0, switch/p1], mtu: 1400}, or [web/eth0, switch/p1]")
		return nil
	}
	var of osl.Link
	before := len(d.problems)
	d.list(ends, reflect.ValueOf(&of).Elem(), path)
	if layers := d.shared(n, "ends", reflect.TypeFor[osl.InterfaceSpec](), path, NotOfALink); len(d.problems) == before {
		for _, e := range of {
			d.links[e] = layers
		}
	}
	return ends
}

// network decodes the files into one network. Links come first: they say something of
// the interfaces that are their ends.
func (d *decoder) network(sources []*source) {
	v := reflect.ValueOf(&d.file.Network).Elem()
	known := fields(v.Type())
	sandboxes := false
	for _, links := range []bool{true, false} {
		for _, d.src = range sources {
			if isContainerlab(d, d.src.body) {
				if !links {
					d.containerlab()
					sandboxes = true
				}
				continue
			}
			entries, ok := d.top()
			sandboxes = sandboxes || !ok
			for _, e := range entries {
				name := keyText(e.Key)
				f := find(known, name)
				switch {
				case links != (name == linksField) || name == includeField || name == defaultsField:
				case f == nil:
					d.unknownField(e.Key, name, v.Type(), includeField, defaultsField)
				case name == "name":
					d.networkName(e)
				default:
					sandboxes = sandboxes || name == "sandboxes" && e.Value.Type() != ast.NullType
					if _, ok := d.file.at[name]; !ok {
						d.at(name, e.Key)
					}
					d.value(e.Value, nil, v.Field(f.index), name)
				}
			}
		}
	}
	d.src = sources[len(sources)-1]
	if !sandboxes {
		d.fail(d.src.body, "a network needs a field \"sandboxes\"")
	}
	d.twice()
	if len(d.problems) == 0 {
		d.unlisted(sources)
	}
}

// networkName takes in what a file says about the network's name. That of one that is
// only included counts for nothing: it may be a network by itself.
func (d *decoder) networkName(e *ast.MappingValueNode) {
	var name string
	d.value(e.Value, nil, reflect.ValueOf(&name).Elem(), "name")
	if !d.src.given || name == "" {
		return
	}
	if err := want.ValidNetwork(name); err != nil {
		d.fail(e.Key, "%s", reason(err))
	}
	if other := d.file.Name; other != "" && other != name {
		d.fail(e.Key, "the network is called %q in %s", other, d.file.placeOf("name"))
	}
	d.file.Name = name
	d.at("name", e.Key)
}

// twice refuses a sandbox that is there again, in this file or another.
func (d *decoder) twice() {
	first := map[string]int{}
	for i, s := range d.file.Sandboxes {
		if s.Name == "" {
			continue
		}
		if j, ok := first[s.Name]; ok {
			d.problems = append(d.problems, d.file.Problem(fmt.Sprintf("sandboxes[%d]", i), "the sandbox %q is there twice; first in %s", s.Name, d.file.placeOf(fmt.Sprintf("sandboxes[%d]", j))))
			continue
		}
		first[s.Name] = i
	}
}

// unlisted adds the ends of links that no sandbox lists, where something holds for
// them by a link or by default.
func (d *decoder) unlisted(sources []*source) {
	at := map[string]int{}
	for i, s := range d.file.Sandboxes {
		at[s.Name] = i
	}
	if _, listed := at[osl.HostName]; !listed {
		if i := slices.IndexFunc(d.file.Links, d.makesHost); i >= 0 {
			at[osl.HostName] = len(d.file.Sandboxes)
			d.file.at[fmt.Sprintf("sandboxes[%d]", len(d.file.Sandboxes))] = d.file.at[fmt.Sprintf("links[%d]", i)]
			d.file.Sandboxes = append(d.file.Sandboxes, osl.Spec{Name: osl.HostName})
		}
	}
	add := func(e osl.Endpoint, path string) {
		i, ok := at[e.Sandbox]
		if !ok || slices.ContainsFunc(d.file.Sandboxes[i].Interfaces, func(x osl.InterfaceSpec) bool { return x.Name == e.Interface }) {
			return
		}
		from := d.file.at[path]
		in := sources[slices.IndexFunc(sources, func(s *source) bool { return s.page == from.page })]
		if e.Sandbox == osl.HostName {
			d.byEntry(e, d.links[e], "of an end on the host no link says %s: say it at the other end, and list %s below the sandbox host if it is to have that too")
			d.byEntry(e, in.iface, "an end on the host that is not listed has no %s by defaults: list %s below the sandbox host if it is to have that, or say it without defaults")
		}
		layers := slices.Concat(d.links[e], in.iface)
		if len(layers) == 0 {
			return
		}
		s := &d.file.Sandboxes[i]
		x := osl.InterfaceSpec{}
		at := fmt.Sprintf("sandboxes[%d].interfaces[%d]", i, len(s.Interfaces))
		d.file.at[at] = from
		d.partial = true
		d.from(layers[0].src, func() {
			n := &ast.MappingNode{BaseNode: &ast.BaseNode{}, Start: layers[0].n.GetToken()}
			d.structure(n, layers, reflect.ValueOf(&x).Elem(), at)
		})
		d.partial = false
		x.Name = e.Interface
		s.Interfaces = append(s.Interfaces, x)
	}
	for i, l := range d.file.Links {
		for _, e := range l {
			add(e, fmt.Sprintf("links[%d]", i))
		}
	}
	for i := range d.file.Sandboxes {
		for j := 0; j < len(d.file.Sandboxes[i].Interfaces); j++ {
			if e := d.file.Sandboxes[i].Interfaces[j].Peer; e != (osl.Endpoint{}) {
				add(e, fmt.Sprintf("sandboxes[%d].interfaces[%d]", i, j))
			}
		}
	}
}

// withLink are the fields that a link has in the kernel, or one end says for both: an end on the
// host has them without an entry. byEntry are those by which the host would send its packets
// elsewhere, or let the sandbox say where: there an entry of the end has to say them.
var (
	withLink = []string{"mtu", "mode", "policy", "peer_policy"}
	byEntry  = []string{"routes", "master", "bridge_port", "segment", "ipv6", "sysctls"}
)

// byEntry refuses what an end on the host has by an entry of its own alone.
func (d *decoder) byEntry(e osl.Endpoint, layers []layer, text string) {
	for _, p := range d.ofLayers(layers) {
		if name := keyText(p.Key); slices.Contains(byEntry, name) {
			d.from(layers[0].src, func() { d.fail(p.Key, text, name, e.Interface) })
		}
	}
}

// makesHost reports whether a link says something of its end on the host: the file then lists
// that by the link.
func (d *decoder) makesHost(l osl.Link) bool {
	return slices.ContainsFunc(l[:], func(e osl.Endpoint) bool {
		return e.Sandbox == osl.HostName && slices.ContainsFunc(d.ofLayers(d.links[e]), func(p *ast.MappingValueNode) bool { return !slices.Contains(withLink, keyText(p.Key)) })
	})
}

// ofLayers are the fields that a link, or defaults, say of an interface.
func (d *decoder) ofLayers(layers []layer) (fields []*ast.MappingValueNode) {
	for _, of := range layers {
		d.from(of.src, func() {
			pairs, _ := d.entries(d.resolve(of.n))
			fields = append(fields, pairs...)
		})
	}
	return slices.DeleteFunc(fields, func(p *ast.MappingValueNode) bool { return keyText(p.Key) == "ends" })
}

// placeOf says where a part of the network stands.
func (f *File) placeOf(path string) string {
	p, ok := f.at[path]
	if !ok {
		return strings.TrimSpace(path)
	}
	return fmt.Sprintf("%s:%d", p.page.name, p.pos.Line)
}
