package netfile

import (
	"encoding"
	"reflect"
	"strings"
	"sync"

	"github.com/goccy/go-yaml/ast"

	"github.com/seed59451c2b/osl"
)

// field is a field of a struct by its name in the file.
type field struct {
	name     string
	index    int
	required bool
}

// fields lists the fields of a struct. One whose tag lets it be left out when
// empty may be missing in a file; the others may not.
func fields(t reflect.Type) []field {
	if list, ok := known.Load(t); ok {
		return list.([]field)
	}
	var list []field
	for i := range t.NumField() {
		name, opts, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		list = append(list, field{name: name, index: i, required: opts == ""})
	}
	known.Store(t, list)
	return list
}

// known has the fields of the types that were met.
var known sync.Map

// within names what of a mapping in a type has the name, as MAPPING.FIELD, empty for none.
func within(t reflect.Type, name string) string {
	for _, f := range fields(t) {
		in := t.Field(f.index).Type
		if in.Kind() == reflect.Pointer {
			in = in.Elem()
		}
		if in.Kind() != reflect.Struct || reflect.PointerTo(in).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
			continue
		}
		for _, below := range fields(in) {
			if bare(below.name) == bare(name) {
				return f.name + "." + below.name
			}
		}
	}
	return ""
}

// beside names what of a sandbox and its interfaces has a field that the other lacks, empty for
// none.
func beside(t reflect.Type, name string) string {
	for _, of := range [...]reflect.Type{reflect.TypeFor[osl.Spec](), reflect.TypeFor[osl.InterfaceSpec]()} {
		if of != t && find(fields(of), name) != nil {
			return what(of)
		}
	}
	return ""
}

// telling returns the field that shows best what a type is about: one that it
// must have.
func telling(list []field) string {
	for _, f := range list {
		if f.required {
			return f.name
		}
	}
	return list[0].name
}

func find(list []field, name string) *field {
	for i := range list {
		if list[i].name == name {
			return &list[i]
		}
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func keyText(key ast.MapKeyNode) string {
	if s, ok := key.(*ast.StringNode); ok {
		return s.Value
	}
	return key.GetToken().Value
}

// what calls a type by the word of the field.
func what(t reflect.Type) string {
	return map[reflect.Type]string{
		reflect.TypeFor[osl.Network]():        "a network",
		reflect.TypeFor[osl.Spec]():           "a sandbox",
		reflect.TypeFor[osl.InterfaceSpec]():  "an interface",
		reflect.TypeFor[osl.RouteSpec]():      "a route",
		reflect.TypeFor[osl.AddressOptions](): "options of an address",
		reflect.TypeFor[addressItem]():        "an address",
		reflect.TypeFor[osl.RuleSpec]():       "a rule",
		reflect.TypeFor[osl.NextHop]():        "a next hop",
		reflect.TypeFor[osl.NexthopSpec]():    "a nexthop",
		reflect.TypeFor[osl.NexthopMember]():  "a next hop of a group",
		reflect.TypeFor[osl.NeighborSpec]():   "a neighbor",
		reflect.TypeFor[osl.ImpairSpec]():     "an impair",
		reflect.TypeFor[osl.Check]():          "a check",
		reflect.TypeFor[osl.SegmentSpec]():    "a segment",
		reflect.TypeFor[osl.Link]():           "a link",
		reflect.TypeFor[osl.MasqueradeSpec](): "a masquerade",

		reflect.TypeFor[osl.WireGuardSpec]():     "a wireguard",
		reflect.TypeFor[osl.WireGuardPeerSpec](): "a peer",

		reflect.TypeFor[osl.BridgeSpec]():     "a bridge",
		reflect.TypeFor[osl.BridgePortSpec](): "a port of a bridge",
	}[t]
}

// describe says what stands in the file.
func describe(n ast.Node) string {
	switch n.Type() {
	case ast.MappingType, ast.MappingValueType:
		return "a mapping"
	case ast.SequenceType:
		return "a list"
	}
	text := hideSecrets(n.GetToken().Value)
	if len(text) > 40 {
		text = text[:40] + "…"
	}
	return "the value \"" + strings.Map(printable, text) + "\""
}
