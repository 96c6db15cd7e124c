package schema

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"strings"

	"github.com/seed59451c2b/osl"
)

// What stands between these two lines of the page is generated.
const (
	pageBegin = "<!-- begin of what go generate writes from the types: do not edit -->\n"
	pageEnd   = "<!-- end of what go generate writes -->\n"
)

// forms call a type as the page does.
var forms = map[reflect.Type]string{
	reflect.TypeFor[netip.Addr]():     "address",
	reflect.TypeFor[netip.Prefix]():   "address/length",
	reflect.TypeFor[netip.AddrPort](): "address:port",
	reflect.TypeFor[osl.Duration]():   "duration",
	reflect.TypeFor[osl.Percent]():    "percent",
	reflect.TypeFor[osl.Rate]():       "rate",
	reflect.TypeFor[osl.MAC]():        "hardware address",
	reflect.TypeFor[osl.SecretKey]():  "key",
	reflect.TypeFor[osl.PublicKey]():  "key",
	reflect.TypeFor[osl.Endpoint]():   "SANDBOX/INTERFACE",
	reflect.TypeFor[osl.VLANRange]():  "VLANs",
}

// titles are the headings of the types.
var titles = map[string]string{
	"Network": "The file", "Spec": "A sandbox", "InterfaceSpec": "An interface", "RouteSpec": "A route",
	"NextHop": "A next hop", "NexthopSpec": "A nexthop", "NexthopMember": "A next hop of a group", "RuleSpec": "A rule", "AddressOptions": "Options of an address", "NeighborSpec": "A neighbour", "Check": "A check", "ImpairSpec": "What happens to packets", "MasqueradeSpec": "A masquerade",
	"BridgeSpec": "A bridge", "BridgePortSpec": "A port of a bridge",
	"SegmentSpec": "A segment", "WireGuardSpec": "A wireguard", "WireGuardPeerSpec": "A peer of a wireguard",
}

// Page returns the page old with its generated part made anew: a table of the fields
// of each type that a network file has.
func Page(dir string, old []byte) ([]byte, error) {
	comments, err := readComments(dir)
	if err != nil {
		return nil, err
	}
	before, rest, ok := bytes.Cut(old, []byte(pageBegin))
	_, after, ok2 := bytes.Cut(rest, []byte(pageEnd))
	if !ok || !ok2 {
		return nil, fmt.Errorf("the page lacks the line %q or %q", strings.TrimSpace(pageBegin), strings.TrimSpace(pageEnd))
	}
	p := page{comments: comments}
	p.table(reflect.TypeFor[osl.Network]())
	return bytes.Join([][]byte{before, []byte(pageBegin), p.text.Bytes(), []byte(pageEnd), after}, nil), nil
}

// page collects the tables, each type's once.
type page struct {
	comments map[string]string
	done     []reflect.Type
	text     bytes.Buffer
}

func (p *page) table(t reflect.Type) {
	for _, d := range p.done {
		if d == t {
			return
		}
	}
	p.done = append(p.done, t)
	fmt.Fprintf(&p.text, "\n### %s\n\n%s\n\n", title(t), p.comment(t, t.Name()))
	fmt.Fprintln(&p.text, "| field | value | what it says | example | `ip` |\n|---|---|---|---|---|")
	var more []reflect.Type
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		w := words[t.Name()+"."+name]
		must := ""
		if opts == "" {
			must = " Needed."
		}
		form, structs := formOf(f.Type)
		fmt.Fprintf(&p.text, "| `%s` | %s | %s%s | %s | %s |\n", name, form, cell(p.comment(t, t.Name()+"."+f.Name)), must, code(w.example), code(w.ip))
		more = append(more, structs...)
	}
	for _, m := range more {
		p.table(m)
	}
}

func title(t reflect.Type) string {
	if s, ok := titles[t.Name()]; ok {
		return s
	}
	return strings.TrimSuffix(t.Name(), "Spec")
}

var anchorless = regexp.MustCompile(`[^a-z0-9 -]`)

// formOf says what is written for a value of a type, and which structures it has.
func formOf(t reflect.Type) (string, []reflect.Type) {
	if s, ok := forms[t]; ok {
		return s, nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return formOf(t.Elem())
	case reflect.Slice:
		s, structs := formOf(t.Elem())
		return "list: " + s, structs
	case reflect.Array:
		s, structs := formOf(t.Elem())
		return fmt.Sprintf("[%s]", strings.Join([]string{s, s}, ", ")), structs
	case reflect.Map:
		s, structs := formOf(t.Elem())
		return "names with " + s, structs
	case reflect.Struct:
		link := strings.ReplaceAll(anchorless.ReplaceAllString(strings.ToLower(title(t)), ""), " ", "-")
		return fmt.Sprintf("[%s](#%s)", strings.ToLower(title(t)), link), []reflect.Type{t}
	case reflect.Bool:
		return "true, false", nil
	case reflect.String:
		return "text", nil
	}
	return "number", nil
}

// word is a word of a comment, perhaps the name of a field.
var word = regexp.MustCompile(`\b[A-Z]\w*\b`)

// comment returns a comment in which fields have the names that they have in a file.
func (p *page) comment(t reflect.Type, name string) string {
	return word.ReplaceAllStringFunc(p.comments[name], func(w string) string {
		if f, ok := t.FieldByName(w); ok {
			file, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			return "`" + file + "`"
		}
		return w
	})
}

func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + cell(s) + "`"
}
