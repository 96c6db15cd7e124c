package netfile

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/near"
)

// Command is a line of a containerlab topology that is no part of the network: it is
// run in the sandbox when that has been made.
type Command struct {
	Sandbox string
	Args    []string
	// Files says that it may do more than change the sandbox's network: in a
	// container that would be the container's own.
	Files bool
	// MayFail is one that ends in "|| true".
	MayFail bool
	// Place is FILE:LINE.
	Place string
}

// Note is something in another program's file that osl passes over.
type Note struct {
	What []string // what it is called there
	Why  string
	// Place is FILE:LINE of the first, Count how many there are.
	Place string
	Count int
}

// What is passed over, and why.
const (
	noContainer  = "osl runs no containers: sandboxes have the machine's files and programs"
	noManagement = "osl makes no management network, and no interface to it"
	notKnown     = "osl has nothing of that"
	managed      = "mgmt" // all that is about it
)

// The properties of a node that mean something here, and those of the management
// network; all others are the container's.
var (
	clabMeant      = []string{"kind", "group", "exec", "sysctls", "network-mode", "labels"}
	clabManagement = []string{"mgmt-ipv4", "mgmt-ipv6", "mgmt_ipv4", "mgmt_ipv6", "mgmt"}
)

// clab reads a containerlab topology.
type clab struct {
	d       *decoder
	levels  map[string]map[string]mapping // "kinds" and "groups", by name
	general mapping                       // "defaults"
	boxes   []*clabBox
	bridges map[string]bool // nodes that are bridges; true where one is a segment
}

// mapping has the pairs of a mapping by their names.
type mapping map[string]*ast.MappingValueNode

// clabBox is a node that becomes a sandbox.
type clabBox struct {
	d    *decoder
	spec osl.Spec
	path string // in the network
	line ast.Node
	at   string // FILE:LINE of it
	// wait are routes whose next hops are looked at when all addresses are known.
	wait []clabRoute
	// lacks are the ends here of links that are passed over.
	lacks []string
	each  bool // check each part of a command
}

func isContainerlab(d *decoder, body ast.Node) bool {
	entries, _ := d.entries(body)
	return slices.ContainsFunc(entries, func(e *ast.MappingValueNode) bool { return keyText(e.Key) == "topology" })
}

// pairs returns the pairs of a mapping, in their order and by name.
func (c *clab) pairs(n ast.Node, what string) (list []*ast.MappingValueNode, m mapping) {
	m = mapping{}
	if n = c.d.resolve(n); n == nil || n.Type() == ast.NullType {
		return nil, m
	}
	list, ok := c.d.entries(n)
	if !ok {
		c.d.fail(n, "expected %s, found %s", what, describe(n))
	}
	for _, e := range list {
		m[keyText(e.Key)] = e
	}
	return list, m
}

// text returns what a scalar says, empty if it is none.
func (c *clab) text(n ast.Node) string {
	if n = c.d.resolve(n); n == nil || n.Type() == ast.NullType {
		return ""
	}
	n, ok := c.d.expanded(n, false)
	if !ok || n == nil {
		return ""
	}
	s, _ := c.d.scalar(n, "text")
	return strings.TrimSpace(s)
}

func (c *clab) items(n ast.Node) []ast.Node {
	if n = c.d.resolve(n); n == nil || n.Type() == ast.NullType {
		return nil
	}
	if seq, ok := n.(*ast.SequenceNode); ok {
		return seq.Values
	}
	c.d.fail(n, "expected a list, found %s", describe(n))
	return nil
}

// note says, once for all of its kind, that something is passed over.
func (d *decoder) note(n ast.Node, what, why string) {
	for i := range d.file.Notes {
		x := &d.file.Notes[i]
		if x.Why != why || why != noContainer && !slices.Contains(x.What, what) {
			continue
		}
		x.Count++
		if !slices.Contains(x.What, what) {
			x.What = append(x.What, what)
		}
		return
	}
	d.file.Notes = append(d.file.Notes, Note{What: []string{what}, Why: why, Place: d.place(n), Count: 1})
}

func (d *decoder) place(n ast.Node) string {
	return fmt.Sprintf("%s:%d", d.src.name, position(n).Line)
}

// containerlab takes the topology of the source in.
func (d *decoder) containerlab() {
	c := &clab{d: d, levels: map[string]map[string]mapping{}, bridges: map[string]bool{}}
	d.orElse = []string{":="}
	defer func() { d.orElse = nil }()
	var nodes, links ast.Node
	entries, _ := d.top()
	for _, e := range entries {
		switch name := keyText(e.Key); name {
		case "name":
			d.networkName(e)
		case "topology":
			list, m := c.pairs(e.Value, "a topology")
			for _, e := range list {
				switch name := keyText(e.Key); name {
				case "nodes":
					nodes = e.Value
				case "links":
					links = e.Value
				case "defaults":
					_, c.general = c.pairs(e.Value, "what holds for all nodes")
					c.passOver(c.general)
				case "kinds", "groups":
					c.levels[name] = map[string]mapping{}
					list, _ := c.pairs(e.Value, name)
					for _, k := range list {
						_, props := c.pairs(k.Value, "what holds for nodes")
						c.levels[name][keyText(k.Key)] = props
					}
				default:
					d.note(e.Key, name, notKnown)
				}
			}
			if m["nodes"] == nil {
				d.fail(e.Key, "the topology has no nodes")
			}
		case "prefix", "settings":
		case "mgmt":
			d.note(e.Key, managed, noManagement)
		default:
			d.note(e.Key, name, notKnown)
		}
	}
	list, _ := c.pairs(nodes, "nodes by their names")
	for _, e := range list {
		c.node(e)
	}
	for _, n := range c.items(links) {
		c.segment(n)
	}
	c.switches()
	for _, n := range c.items(links) {
		c.link(n)
	}
	for _, e := range list {
		c.exec(e)
	}
	c.mtus()
	for _, b := range c.boxes {
		b.finish()
		d.file.Sandboxes = append(d.file.Sandboxes, b.spec)
	}
}

// of returns the mappings that say something of a node: its own first.
func (c *clab) of(own mapping) []mapping {
	list := []mapping{own}
	if g := c.first(append(list, c.general), "group"); g != nil {
		list = append(list, c.levels["groups"][c.text(g.Value)])
	}
	if k := c.first(append(list, c.general), "kind"); k != nil {
		list = append(list, c.levels["kinds"][c.text(k.Value)])
	}
	return append(list, c.general)
}

func (c *clab) first(list []mapping, name string) *ast.MappingValueNode {
	for _, m := range list {
		if e := m[name]; e != nil {
			return e
		}
	}
	return nil
}

// node makes a sandbox of a node, or notes that it is a bridge.
func (c *clab) node(e *ast.MappingValueNode) {
	name := keyText(e.Key)
	_, own := c.pairs(e.Value, "a node")
	of := c.of(own)
	kind := c.first(of, "kind")
	if kind == nil {
		c.d.fail(e.Key, "the node %q has no kind: osl takes nodes of kind linux and bridge", name)
		return
	}
	for _, m := range of {
		c.passOver(m)
	}
	switch is := c.text(kind.Value); is {
	case "linux":
	case "bridge":
		c.bridges[name] = true
		return
	default:
		c.d.fail(kind.Value, "the node %q is of kind %q, which is more than a network: osl takes nodes of kind linux and bridge", name, is)
		return
	}
	if m := c.first(of, "network-mode"); m != nil {
		if mode := c.text(m.Value); mode == "host" || strings.HasPrefix(mode, "container:") {
			c.d.fail(m.Value, "the node %q has the network of another, %q, and would be no sandbox", name, mode)
		}
	}
	b := c.box(name, e.Key)
	for _, m := range slices.Backward(of) {
		if m["sysctls"] != nil {
			list, _ := c.pairs(m["sysctls"].Value, "names with values")
			for _, s := range list {
				b.sysctl(s.Key, keyText(s.Key), c.text(s.Value))
			}
		}
	}
}

// passOver notes the properties of a node that are a container's.
func (c *clab) passOver(m mapping) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		switch {
		case slices.Contains(clabMeant, name):
		case slices.Contains(clabManagement, name):
			c.d.note(m[name].Key, managed, noManagement)
		default:
			c.d.note(m[name].Key, name, noContainer)
		}
	}
}

func (c *clab) box(name string, at ast.Node) *clabBox {
	b := &clabBox{d: c.d, spec: osl.Spec{Name: name}, line: at}
	b.path = fmt.Sprintf("sandboxes[%d]", len(c.d.file.Sandboxes)+len(c.boxes))
	c.d.at(b.path, at)
	c.boxes = append(c.boxes, b)
	return b
}

func (c *clab) find(name string) *clabBox {
	i := slices.IndexFunc(c.boxes, func(b *clabBox) bool { return b.spec.Name == name })
	if i < 0 {
		return nil
	}
	return c.boxes[i]
}

// exec takes the commands of a node in.
func (c *clab) exec(e *ast.MappingValueNode) {
	b := c.find(keyText(e.Key))
	if _, isBridge := c.bridges[keyText(e.Key)]; b == nil || isBridge {
		return
	}
	if len(b.spec.Interfaces) > 1 && b.setting("ipv4.ip_forward") == "" {
		b.sysctl(e.Key, "net.ipv4.ip_forward", "1") // as Docker has it in each container
	}
	_, own := c.pairs(e.Value, "a node")
	var lines []line
	for _, m := range slices.Backward(c.of(own)) {
		if m["exec"] == nil {
			continue
		}
		for _, n := range c.items(m["exec"].Value) {
			if n = c.d.resolve(n); n == nil {
				continue
			}
			if s, ok := c.d.scalar(n, "a command"); ok {
				lines = append(lines, line{n, s})
			}
		}
	}
	b.runAll(lines)
}

// iface returns an interface of a sandbox, a new one if there is none.
func (b *clabBox) iface(at ast.Node, name string) *osl.InterfaceSpec {
	if f := b.has(name); f != nil {
		return f
	}
	b.d.at(fmt.Sprintf("%s.interfaces[%d]", b.path, len(b.spec.Interfaces)), at)
	b.spec.Interfaces = append(b.spec.Interfaces, osl.InterfaceSpec{Name: name})
	return &b.spec.Interfaces[len(b.spec.Interfaces)-1]
}

func (b *clabBox) has(name string) *osl.InterfaceSpec {
	for i := range b.spec.Interfaces {
		if b.spec.Interfaces[i].Name == name {
			return &b.spec.Interfaces[i]
		}
	}
	return nil
}

// decode decodes a value into v, as a native file's.
func (c *clab) decode(n ast.Node, v any, path string) {
	c.d.value(n, nil, reflect.ValueOf(v).Elem(), path)
}

// noNode refuses an end of a link at a node that is not there.
func (c *clab) noNode(at ast.Node, name string) {
	var names []string
	for _, b := range c.boxes {
		names = append(names, b.spec.Name)
	}
	names = append(names, slices.Collect(maps.Keys(c.bridges))...)
	c.d.fail(at, "the topology has no node %q%s", name, near.Hint(name, names))
}
