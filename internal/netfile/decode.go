package netfile

import (
	"cmp"
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/seed59451c2b/osl"
)

// An alias is decoded again wherever it stands, so a small file can mean a
// huge one. This bounds what is decoded, however it came about.
const (
	maxNodes = 500_000
	maxDepth = 32
)

// decoder fills Go values from YAML nodes. It goes on after a problem, so that
// one run shows all of them.
type decoder struct {
	file     *File
	src      *source // that is being decoded
	problems []error
	byFamily map[string]bool               // destinations that are "default"
	options  map[string]osl.AddressOptions // of addresses, by the paths of these
	links    map[osl.Endpoint][]layer      // what links say of their ends
	sandbox  string                        // whose interfaces are being decoded
	orElse   []string                      // what is ":-" in the file that is being decoded
	partial  bool                          // a value that lacks what it needs is none yet
	nodes    int
	depth    int
}

func (d *decoder) fail(n ast.Node, format string, args ...any) {
	d.problems = append(d.problems, d.src.problem(position(n), format, args...))
}

// at notes where a part of the network stands.
func (d *decoder) at(path string, n ast.Node) { d.file.at[path] = place{d.src.page, position(n)} }

func position(n ast.Node) token.Position {
	// The token of a mapping is a colon or a brace; people look for its key.
	switch m := n.(type) {
	case *ast.MappingNode:
		if len(m.Values) > 0 {
			n = m.Values[0].Key
		}
	case *ast.MappingValueNode:
		n = m.Key
	}
	return *n.GetToken().Position
}

// value decodes n into v; path is what v is called in the file. Where n is a mapping,
// those under it say what it does not.
func (d *decoder) value(n ast.Node, under []layer, v reflect.Value, path string) {
	d.nodes++
	d.depth++
	defer func() { d.depth-- }()
	if d.depth > maxDepth || d.nodes > maxNodes {
		if d.nodes <= maxNodes || d.nodes == maxNodes+1 {
			d.fail(n, "the aliases in this file stand for too much")
		}
		return
	}
	if _, ok := d.file.at[path]; !ok {
		d.at(path, n)
	}
	n = d.resolve(n)
	if n == nil || n.Type() == ast.NullType {
		return
	}
	u, isText := v.Addr().Interface().(encoding.TextUnmarshaler)
	if v.Kind() == reflect.Pointer && !isText {
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, under, v.Elem(), path)
		return
	}
	if key, is := u.(*osl.SecretKey); is {
		d.secret(n, key, path)
		return
	}
	n, ok := d.expanded(n, !isText && v.Kind() != reflect.String)
	if !ok || n == nil {
		return
	}
	if isText {
		if p, is := u.(*netip.Prefix); is && hasOptions().MatchString(path) && isMapping(n) {
			d.address(n, p, path)
			return
		}
		if isDestination(path) && d.isDefault(n) {
			d.byFamily[path] = true
			return
		}
		d.text(n, u, v.Type(), path)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, under, v, path)
	case reflect.Map:
		d.stringMap(n, under, v, path)
	case reflect.Slice, reflect.Array:
		if _, ok := v.Addr().Interface().(*osl.Link); ok {
			n = d.link(n, path)
		}
		if n != nil {
			d.list(n, v, path)
		}
	case reflect.String:
		if s, ok := d.scalar(n, "text"); ok {
			v.SetString(d.located(n, s, path))
		}
	case reflect.Int:
		d.integer(n, v)
	case reflect.Uint32:
		d.unsigned(n, v)
	case reflect.Bool:
		if b, ok := n.(*ast.BoolNode); ok {
			v.SetBool(b.Value)
		} else if on, ok := onOff(n); ok && switches().MatchString(path) {
			v.SetBool(on)
		} else if switches().MatchString(path) {
			d.fail(n, "expected on or off, found %s", describe(n))
		} else if text := n.GetToken().Value; text == "true" || text == "false" {
			d.fail(n, "expected true or false, found text: write %s, without quotes", text)
		} else {
			hint := ""
			if is, meant := map[string]bool{"on": true, "yes": true, "off": false, "no": false}[text]; meant {
				hint = fmt.Sprintf("; write %v", is)
			}
			d.fail(n, "expected true or false, found %s%s", describe(n), hint)
		}
	default:
		panic("no rule for " + v.Type().String())
	}
}

// resolve follows anchors, aliases and tags; nil after a problem.
func (d *decoder) resolve(n ast.Node) ast.Node {
	for range maxDepth {
		switch x := n.(type) {
		case *ast.AnchorNode:
			n = x.Value
		case *ast.AliasNode:
			if n = d.src.aliases[x]; n == nil {
				d.fail(x, "no anchor &%s stands before this alias", x.Value.GetToken().Value)
				return nil
			}
		case *ast.TagNode:
			n = x.Value
		default:
			return n
		}
	}
	d.fail(n, "this alias refers to itself")
	return nil
}

// entries returns the key/value pairs of a mapping: its own, and of those that it
// merges (<<: *alias) the ones that it does not have itself. Of several the
// earlier one counts.
func (d *decoder) entries(n ast.Node) ([]*ast.MappingValueNode, bool) {
	var own []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		own = m.Values
	case *ast.MappingValueNode:
		own = []*ast.MappingValueNode{m}
	default:
		return nil, false
	}
	var merged, list []*ast.MappingValueNode
	have := map[string]bool{}
	for _, e := range own {
		if e.Key.IsMergeKey() {
			merged = append(merged, d.merged(e)...)
			continue
		}
		have[keyText(e.Key)] = true
		list = append(list, e)
	}
	for _, e := range merged {
		if name := keyText(e.Key); !have[name] {
			have[name] = true
			list = append(list, e)
		}
	}
	return list, true
}

// merged returns what a merge key stands for: the pairs of a mapping, or of a
// list of them.
func (d *decoder) merged(e *ast.MappingValueNode) (list []*ast.MappingValueNode) {
	to := d.resolve(e.Value)
	if to == nil {
		return nil
	}
	d.depth++
	defer func() { d.depth-- }()
	parts := []ast.Node{to}
	if seq, ok := to.(*ast.SequenceNode); ok {
		parts = seq.Values
	}
	for _, part := range parts {
		if d.nodes++; d.nodes > maxNodes {
			return list
		}
		if part = d.resolve(part); part == nil {
			continue
		}
		more, ok := []*ast.MappingValueNode(nil), false
		if d.depth <= maxDepth {
			more, ok = d.entries(part)
		}
		if !ok {
			d.fail(e.Key, "<< merges the mapping of an alias, and this is none")
		}
		list = append(list, more...)
	}
	return list
}

// isOwn reports whether a key is for the author of a file alone: for what anchors
// name, or another program reads.
func isOwn(name string) bool { return strings.HasPrefix(name, "x-") }

func (d *decoder) structure(n ast.Node, under []layer, v reflect.Value, path string) {
	known := fields(v.Type())
	entries, ok := d.layered(n, under)
	if !ok {
		d.fail(n, "expected %s with fields such as %q, found %s%s", what(v.Type()), telling(known), describe(n), noMapping(n, known))
		return
	}
	if more := d.beneath(v.Type(), entries); len(more) > 0 {
		entries, _ = d.layered(n, slices.Concat(under, more))
	}
	given := map[string]bool{}
	for _, e := range entries {
		if isOwn(e.name) {
			continue
		}
		d.from(e.src, func() {
			f := find(known, e.name)
			if f == nil {
				d.unknownField(e.key, e.name, v.Type())
				return
			}
			given[e.name] = e.value.Type() != ast.NullType
			at := join(path, e.name)
			d.at(at, e.key)
			d.value(e.value, e.under, v.Field(f.index), at)
		})
	}
	d.defaults(v, path)
	for _, f := range known {
		if f.required && !given[f.name] && !d.partial {
			d.fail(n, "%s needs a field %q", what(v.Type()), f.name)
		}
	}
}

func (d *decoder) unknownField(key ast.Node, name string, t reflect.Type, more ...string) {
	var names []string
	for _, f := range fields(t) {
		names = append(names, f.name)
	}
	names = append(names, more...)
	hint := cmp.Or(unparted(name, fields(t)), meant(t, name, names), "; there are: "+strings.Join(names, ", "))
	d.fail(key, "%s has no field %q%s", what(t), name, hint)
}

func (d *decoder) stringMap(n ast.Node, under []layer, v reflect.Value, path string) {
	entries, ok := d.layered(n, under)
	if !ok {
		hint := ""
		if n.Type() == ast.SequenceType {
			hint = "; write one to a line without a dash, or {NAME: VALUE, …}"
		}
		d.fail(n, "expected names with values, found %s%s", describe(n), hint)
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, e := range entries {
		d.from(e.src, func() {
			if strings.Contains(e.name, "${") {
				d.fail(e.key, "a variable stands for a value, never for a name")
				return
			}
			if !strings.HasSuffix(path, ".labels") && !d.says(e.value, v.Type().Elem()) {
				return // false or "" would be a value of its own
			}
			if value := d.resolve(e.value); value != nil && isMapping(value) && strings.HasSuffix(path, ".sysctls") {
				d.fail(e.key, "expected text, found a mapping: a setting has its whole name: %s.NAME: …", e.name)
				return
			}
			to := reflect.New(v.Type().Elem()).Elem()
			d.value(e.value, nil, to, join(path, e.name))
			key := reflect.New(v.Type().Key())
			if u, ok := key.Interface().(encoding.TextUnmarshaler); ok {
				if err := u.UnmarshalText([]byte(e.name)); err != nil {
					d.fail(e.key, "%s", noText(e.name, v.Type().Key(), err))
					return
				}
			} else {
				key.Elem().SetString(e.name)
			}
			v.SetMapIndex(key.Elem(), to)
		})
	}
}

// says reports whether a value is there, when its variables are known, that becomes one of
// type t. What is wrong with it is found when it is decoded.
func (d *decoder) says(n ast.Node, t reflect.Type) bool {
	before := len(d.problems)
	defer func() { d.problems = d.problems[:before] }()
	if n = d.resolve(n); n == nil {
		return true
	}
	n, ok := d.expanded(n, t.Kind() != reflect.String)
	return !ok || n != nil && n.Type() != ast.NullType
}

// switches are what is on or off, as other tools write it.
var switches = pattern(`\.offloads\.[^.]*$`)

func onOff(n ast.Node) (on, ok bool) {
	s, is := n.(*ast.StringNode)
	return is && s.Value == "on", is && (s.Value == "on" || s.Value == "off")
}

func (d *decoder) list(n ast.Node, v reflect.Value, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok && strings.HasSuffix(path, ".subnet") {
		seq, ok = &ast.SequenceNode{Values: []ast.Node{n}}, true
	}
	if !ok {
		d.fail(n, "expected a list, found %s%s", describe(n), d.asList(n, v.Type()))
		return
	}
	if v.Kind() == reflect.Array && len(seq.Values) != v.Len() {
		d.fail(n, "%s is a list of %d, found %d: write %s", what(v.Type()), v.Len(), len(seq.Values), aLink)
		return
	}
	for i, e := range seq.Values {
		if d.nodes > maxNodes {
			return
		}
		switch says := d.says(e, v.Type().Elem()); {
		case !says && v.Kind() == reflect.Slice && d.resolve(e) != nil && d.resolve(e).Type() != ast.NullType:
			continue // a variable that is empty
		case !says:
			d.fail(e, "there is nothing in this place of the list")
			continue
		}
		if v.Kind() == reflect.Slice {
			i = v.Len() // behind what other files have
			v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
		}
		d.value(e, nil, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
}
