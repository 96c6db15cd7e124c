// Package schema makes the JSON Schema of network files from the types that
// they are read into and the comments on them.
package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"math"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/check"
	"github.com/seed59451c2b/osl/internal/netfile"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/want"
)

type object = map[string]any

// scalars are the types that are text in a file.
var scalars = map[reflect.Type]object{
	reflect.TypeFor[netip.Addr]():     {"type": "string", "examples": []string{"10.10.0.1", "fd10::1"}},
	reflect.TypeFor[netip.Prefix]():   {"type": "string", "pattern": "^[^/]+/[0-9]+$", "examples": []string{"10.10.0.2/24", "fd10::2/64"}},
	reflect.TypeFor[netip.AddrPort](): {"type": "string", "pattern": "^.+:[0-9]+$", "examples": []string{"10.10.0.2:80", "[fd10::2]:80"}},
	reflect.TypeFor[osl.Duration]():   {"type": "string", "examples": []string{"10ms"}},
	reflect.TypeFor[osl.Percent]():    {"type": "string", "pattern": "^[0-9.]+%$", "examples": []string{"1%"}},
	reflect.TypeFor[osl.Rate]():       {"type": "string", "pattern": "^[0-9.]+[kmgtKMGT]?[bB][iI][tT]$", "examples": []string{"10mbit"}},
	reflect.TypeFor[osl.MAC]():        {"type": "string", "examples": []string{"02:00:00:00:00:01"}},
	reflect.TypeFor[osl.VLANRange]():  {"type": []string{"integer", "string"}, "pattern": "^[0-9]+(-[0-9]+)?( untagged)?$", "examples": []any{20, "30-39", "40 untagged"}},
	reflect.TypeFor[osl.SecretKey]():  {"type": "string"}, // without an example, which somebody might use
	reflect.TypeFor[osl.PublicKey]():  {"type": "string", "examples": []string{examplePublic}},
	reflect.TypeFor[osl.Endpoint]():   {"type": "string", "pattern": "^.+/[^/]+$", "examples": []string{"web/eth0", "host/veth1"}},
}

// examplePublic is a public key of which nobody has the private one.
const examplePublic = "b3NsIGV4YW1wbGUgb2YgYSBwdWJsaWMga2V5IDEyMzQ="

// limits are what the types leave open.
var limits = map[string]object{
	"Check.expect":             {"enum": check.Outcomes},
	"InterfaceSpec.type":       {"enum": plan.KindNames()},
	"InterfaceSpec.mode":       {"enum": plan.WordsOf("mode")},
	"InterfaceSpec.name":       {"minLength": 1, "maxLength": 15},
	"InterfaceSpec.vlan":       {"minimum": 1, "maximum": 4094},
	"InterfaceSpec.vni":        {"minimum": 1, "maximum": 1<<24 - 1},
	"InterfaceSpec.port":       {"minimum": 0, "maximum": 1<<16 - 1},
	"InterfaceSpec.mtu":        {"minimum": 0},
	"InterfaceSpec.subnet":     oneOrMore,
	"SegmentSpec.subnet":       oneOrMore,
	"RouteSpec.to":             destination,
	"RouteSpec.type":           {"enum": plan.RouteTypes()},
	"InterfaceSpec.ipv6":       {"enum": want.IPv6Modes},
	"InterfaceSpec.mac_policy": {"enum": want.MACPolicies},
	"RuleSpec.priority":        {"minimum": 1},
	"RuleSpec.from":            network,
	"RuleSpec.to":              network,
	"RuleSpec.family":          {"enum": []string{"ipv4", "ipv6"}},
	"RuleSpec.action":          {"enum": plan.RuleActions()},
	"RuleSpec.sport":           {"type": []string{"string", "integer"}},
	"RuleSpec.dport":           {"type": []string{"string", "integer"}},
	"RuleSpec.ipproto":         {"type": []string{"string", "integer"}},
	"NextHop.weight":           {"minimum": 0, "maximum": 256},
	"NexthopSpec.type":         {"enum": want.GroupTypes},
	"NexthopSpec.buckets":      {"minimum": 0, "maximum": 1<<16 - 1},
	"InterfaceSpec.routes":     {"items": destination},

	"WireGuardPeerSpec.allowed_ips":          {"items": network},
	"WireGuardSpec.listen_port":              {"minimum": 0, "maximum": 1<<16 - 1},
	"WireGuardPeerSpec.persistent_keepalive": {"minimum": 0, "maximum": 1<<16 - 1},

	"BridgeSpec.vlan_protocol":     {"enum": slices.Sorted(maps.Keys(plan.VLANProtocols))},
	"BridgeSpec.vlan_default_pvid": {"minimum": 0, "maximum": rtnl.MaxVLAN},
	"BridgeSpec.pvid":              {"minimum": 0, "maximum": rtnl.MaxVLAN},
	"BridgeSpec.priority":          {"minimum": 0, "maximum": 1<<16 - 1},
	"BridgePortSpec.pvid":          {"minimum": 0, "maximum": rtnl.MaxVLAN},
	"BridgePortSpec.cost":          {"minimum": 1, "maximum": 1<<16 - 1},
	"BridgePortSpec.priority":      {"minimum": 0, "maximum": 63},
	"BridgePortSpec.mcast_router":  {"minimum": 0, "maximum": 3},
}

// oneOrMore is a list of which one entry may stand for itself.
var oneOrMore = object{"type": []string{"string", "array", "null"}}

// destination is a prefix, or the word for that of all.
var destination = object{"type": "string", "pattern": "^(default|[0-9a-fA-F:.]+(/[0-9]+)?)$", "examples": []string{"10.10.0.0/16", "fd10::/64", "default"}}

// network is a prefix, or an address that is one by itself.
var network = object{"type": "string", "pattern": "^[0-9a-fA-F:.]+(/[0-9]+)?$", "examples": []string{"10.10.0.0/16", "fd10::/64", "10.10.0.9"}}

// generator collects definitions; comments are those of the package's types.
type generator struct {
	comments map[string]string
	defs     object
}

// Generate returns the schema of osl.Network. dir is the directory of package
// osl's source, for the comments.
func Generate(dir string) ([]byte, error) {
	comments, err := readComments(dir)
	if err != nil {
		return nil, err
	}
	g := &generator{comments, object{}}
	g.typ(reflect.TypeFor[osl.Network]())
	g.ofFile()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err = enc.Encode(object{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   "osl network file",
		"$ref":    "#/$defs/Network",
		"$defs":   g.defs,
	})
	return b.Bytes(), err
}

// typ returns the schema of a type; structs become definitions.
func (g *generator) typ(t reflect.Type) object {
	if s, ok := scalars[t]; ok {
		return s
	}
	switch t.Kind() {
	case reflect.Pointer:
		return g.typ(t.Elem())
	case reflect.Struct:
		if _, ok := g.defs[t.Name()]; !ok {
			g.defs[t.Name()] = g.structure(t)
		}
		return object{"$ref": "#/$defs/" + t.Name()}
	case reflect.Slice:
		return object{"type": []string{"array", "null"}, "items": g.typ(t.Elem())}
	case reflect.Array:
		ends := object{"type": "array", "items": g.typ(t.Elem()), "minItems": t.Len(), "maxItems": t.Len()}
		both := g.shared(reflect.TypeFor[osl.InterfaceSpec](), netfile.NotOfALink, "A link with what holds for both of its ends.")
		both["properties"].(object)["ends"] = described(ends, "The two ends.")
		both["required"] = []string{"ends"}
		return object{"oneOf": []object{ends, both}}
	case reflect.Map:
		if t.Elem().Kind() == reflect.Bool {
			return object{"type": "object", "additionalProperties": object{"enum": []any{"on", "off", true, false}}}
		}
		if t.Elem().Kind() == reflect.Struct {
			return object{"type": "object", "additionalProperties": g.typ(t.Elem())}
		}
		// A value may stand without quotes: 1 is "1".
		return object{"type": "object", "additionalProperties": object{"type": []string{"string", "number", "boolean"}}}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int:
		return object{"type": "integer"}
	case reflect.Uint32:
		return object{"type": "integer", "minimum": 0, "maximum": uint32(math.MaxUint32)}
	}
	panic("no rule for " + t.String())
}

// shared returns the schema of what holds for several of a structure, but for the
// fields that each has of its own.
func (g *generator) shared(t reflect.Type, not []string, says string) object {
	g.typ(t)
	props := object{}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if !slices.Contains(not, name) {
			props[name] = object{"$ref": "#/$defs/" + t.Name() + "/properties/" + name}
		}
	}
	return object{"description": says, "type": "object", "additionalProperties": false, "patternProperties": object{"^x-": object{}}, "properties": props}
}

// ofFile adds what a file has beside the network, of which each may have its part of
// the sandboxes.
func (g *generator) ofFile() {
	file := g.defs["Network"].(object)
	file["required"] = []string{}
	props := file["properties"].(object)
	props["include"] = object{
		"description": "Files that are part of the network, relative to this one.",
		"type":        []string{"string", "array"}, "items": object{"type": "string"},
	}
	props["defaults"] = object{
		"description": "What holds for each sandbox and interface of this file that does not say its own.",
		"type":        "object", "additionalProperties": false, "patternProperties": object{"^x-": object{}},
		"properties": object{
			"sandbox":   g.shared(reflect.TypeFor[osl.Spec](), []string{"name"}, "What holds for each sandbox."),
			"interface": g.shared(reflect.TypeFor[osl.InterfaceSpec](), netfile.NotOfAll, "What holds for each interface but lo."),
		},
	}
}

// described is a type with a sentence.
func described(typ object, says string) object {
	typ = maps.Clone(typ)
	typ["description"] = says
	return typ
}

// withOptions is an address that stands with its options.
func (g *generator) withOptions() object {
	s := g.structure(reflect.TypeFor[osl.AddressOptions]())
	s["properties"].(object)["address"] = described(g.typ(reflect.TypeFor[netip.Prefix]()), "The address, with the length of its subnet.")
	s["required"] = []string{"address"}
	return s
}

func (g *generator) structure(t reflect.Type) object {
	props := object{}
	required := []string{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		p := object{}
		for k, v := range g.typ(f.Type) {
			p[k] = v
		}
		for k, v := range limits[t.Name()+"."+name] {
			p[k] = v
		}
		if t == reflect.TypeFor[osl.InterfaceSpec]() && (name == "addresses" || name == "aliases") {
			p["items"] = object{"oneOf": []object{p["items"].(object), g.withOptions()}}
		}
		orVariable(p)
		if c := g.comments[t.Name()+"."+f.Name]; c != "" {
			p["description"] = c
		}
		props[name] = p
		if opts == "" {
			required = append(required, name)
		}
	}
	s := object{"type": "object", "properties": props, "patternProperties": object{"^x-": object{}}, "additionalProperties": false, "required": required}
	if c := g.comments[t.Name()]; c != "" {
		s["description"] = c
	}
	return s
}

// orVariable lets a value be one with a variable in it: "${NAME}".
func orVariable(p object) {
	const variable = `\$\{`
	switch enum, pattern := p["enum"], p["pattern"]; {
	case p["type"] == "integer" || p["type"] == "boolean":
		p["type"], p["pattern"] = []any{p["type"], "string"}, variable
	case enum != nil:
		delete(p, "enum")
		p["anyOf"] = []object{{"enum": enum}, {"pattern": variable}}
	case pattern != nil:
		p["pattern"] = variable + "|" + pattern.(string)
	}
	if items, ok := p["items"].(object); ok {
		items = maps.Clone(items)
		orVariable(items)
		p["items"] = items
	}
}

// readComments returns the comments of the types in the files of a directory and of
// their fields, each as one paragraph.
func readComments(dir string) (map[string]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "spec*.go"))
	if err != nil {
		return nil, err
	}
	comments := map[string]string{}
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("the comments for the schema: %w", err)
		}
		for _, d := range file.Decls {
			if decl, ok := d.(*ast.GenDecl); ok && decl.Tok == token.TYPE {
				ofTypes(comments, decl)
			}
		}
	}
	return comments, nil
}

func ofTypes(comments map[string]string, decl *ast.GenDecl) {
	for _, spec := range decl.Specs {
		ts := spec.(*ast.TypeSpec)
		doc := ts.Doc
		if doc == nil {
			doc = decl.Doc
		}
		comments[ts.Name.Name] = paragraph(doc)
		st, ok := ts.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, f := range st.Fields.List {
			for _, name := range f.Names {
				comments[ts.Name.Name+"."+name.Name] = paragraph(f.Doc)
			}
		}
	}
}

// paragraph returns a comment without its line breaks and the brackets of doc
// links.
func paragraph(c *ast.CommentGroup) string {
	if c == nil {
		return ""
	}
	return strings.NewReplacer("[", "", "]", "").Replace(strings.Join(strings.Fields(c.Text()), " "))
}
