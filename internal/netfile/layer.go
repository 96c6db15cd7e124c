package netfile

import (
	"slices"

	"github.com/goccy/go-yaml/ast"

	"reflect"

	"github.com/seed59451c2b/osl"
)

// layer is a mapping that says what one above it does not, with the file that it is
// of, and the names in it that are not meant.
type layer struct {
	n    ast.Node
	src  *source
	skip string
}

// entry is a pair of a mapping, the file that it is of, and what lies under its value.
type entry struct {
	name       string
	key, value ast.Node
	src        *source
	under      []layer
}

// layered returns the pairs of a mapping, and of those under it the ones that the
// mappings above do not have. What several have is the uppermost's, but where all are
// mappings.
func (d *decoder) layered(n ast.Node, under []layer) ([]entry, bool) {
	if len(under) == 0 {
		pairs, ok := d.entries(d.resolve(n))
		list := make([]entry, len(pairs))
		for i, e := range pairs {
			list[i] = entry{name: keyText(e.Key), key: e.Key, value: e.Value, src: d.src}
		}
		return list, ok
	}
	var list []entry
	place := map[string]int{}
	for i, l := range slices.Concat([]layer{{n: n, src: d.src}}, under) {
		ok := true
		d.from(l.src, func() {
			var pairs []*ast.MappingValueNode
			pairs, ok = d.entries(d.resolve(l.n))
			for _, e := range pairs {
				name := keyText(e.Key)
				if name == l.skip && name != "" {
					continue
				}
				if at, have := place[name]; have {
					list[at].under = append(list[at].under, layer{n: e.Value, src: l.src})
					continue
				}
				place[name] = len(list)
				list = append(list, entry{name: name, key: e.Key, value: e.Value, src: l.src})
			}
		})
		if i == 0 && !ok {
			return nil, false
		}
	}
	return list, true
}

// from calls f with src as the file that is being decoded.
func (d *decoder) from(src *source, f func()) {
	before := d.src
	d.src = src
	f()
	d.src = before
}

// beneath returns what lies under a sandbox or an interface with these fields: for an
// interface what its link says of its ends, then the file's defaults.
func (d *decoder) beneath(t reflect.Type, entries []entry) []layer {
	switch t {
	case reflect.TypeFor[osl.Spec]():
		d.sandbox = d.name(entries)
		return d.src.sandbox
	case reflect.TypeFor[osl.InterfaceSpec]():
		name := d.name(entries)
		if d.partial || name == "lo" {
			return nil
		}
		return slices.Concat(d.links[osl.Endpoint{Sandbox: d.sandbox, Interface: name}], d.src.iface)
	}
	return nil
}

// name returns what the field "name" says. What is wrong with it is found when it is
// decoded.
func (d *decoder) name(entries []entry) (name string) {
	before := len(d.problems)
	for _, e := range entries {
		if e.name == "name" {
			d.from(e.src, func() { d.value(e.value, nil, reflect.ValueOf(&name).Elem(), "name") })
		}
	}
	d.problems = d.problems[:before]
	return name
}
