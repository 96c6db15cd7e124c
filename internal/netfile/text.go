package netfile

import (
	"bytes"
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/shell"
)

// width is where a line of a written file is broken.
const width = 120

// String says what is passed over, where it stands first, how often, and why.
func (n Note) String() string {
	more := ""
	if n.Count > 1 {
		more = fmt.Sprintf(" (%d times)", n.Count)
	}
	return fmt.Sprintf("%s: passed over: %s%s: %s", n.Place, strings.Join(n.What, ", "), more, n.Why)
}

// Text writes a network as a network file, with what is no part of it as comments.
func Text(f *File) []byte {
	b := bytes.NewBuffer(Comments(f))
	block(b, reflect.ValueOf(f.Network), 0)
	return b.Bytes()
}

// Comments are what Text says before the network: what is passed over, and the commands.
func Comments(f *File) []byte {
	var b bytes.Buffer
	for _, n := range f.Notes {
		fmt.Fprintf(&b, "# %s\n", strings.ReplaceAll(n.String(), "\n", " "))
	}
	for i, c := range f.Commands {
		if i == 0 {
			fmt.Fprintln(&b, "#\n# Commands that are no part of the network:")
		}
		var words []string
		for _, a := range c.Args {
			words = append(words, shell.Quote(a))
		}
		fmt.Fprintf(&b, "#   osl exec %s -- %s\n", shell.Quote(c.Sandbox), strings.ReplaceAll(strings.Join(words, " "), "\n", "\n#   "))
	}
	return b.Bytes()
}

// block writes a structure, a field to a line; lists of structures, and what would be
// too long, a part to a line.
func block(b *bytes.Buffer, v reflect.Value, indent int) {
	first := true
	for i := range v.NumField() {
		name, opts, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		x := v.Field(i)
		if opts != "" && isEmpty(x) {
			continue
		}
		pad := strings.Repeat(" ", indent)
		if first && indent > 0 {
			pad = strings.Repeat(" ", indent-2) + "- "
		}
		first = false
		one := flow(x)
		_, isText := x.Interface().(encoding.TextMarshaler)
		if x.Kind() != reflect.Slice || isText || x.Len() == 0 || x.Type().Elem() != reflect.TypeFor[osl.Spec]() && x.Type().Elem() != reflect.TypeFor[osl.Link]() && indent+len(name)+2+len(one) <= width {
			fmt.Fprintf(b, "%s%s: %s\n", pad, name, one)
			continue
		}
		fmt.Fprintf(b, "%s%s:\n", pad, name)
		for j := range x.Len() {
			if x.Type().Elem() == reflect.TypeFor[osl.Spec]() {
				block(b, x.Index(j), indent+4)
			} else {
				fmt.Fprintf(b, "%s  - %s\n", strings.Repeat(" ", indent), flow(x.Index(j)))
			}
		}
	}
}

// isEmpty reports whether a value says nothing.
func isEmpty(v reflect.Value) bool {
	return v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0 || v.Kind() == reflect.Map && v.Len() == 0
}

// flow writes a value in one line.
func flow(v reflect.Value) string {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok && (v.Kind() != reflect.Pointer || !v.IsNil()) {
		text, err := m.MarshalText()
		if err == nil {
			return scalarText(string(text))
		}
	}
	var parts []string
	switch v.Kind() {
	case reflect.Pointer:
		return flow(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			name, opts, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if name != "-" && (opts == "" || !isEmpty(v.Field(i))) {
				parts = append(parts, name+": "+flow(v.Field(i)))
			}
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case reflect.Map:
		for _, k := range v.MapKeys() {
			name := scalarText(fmt.Sprint(k))
			if name[0] != '"' && strings.Contains(name, ":") { // which ends a name within {}
				name = `"` + name + `"`
			}
			parts = append(parts, name+": "+flow(v.MapIndex(k)))
		}
		slices.Sort(parts)
		return "{" + strings.Join(parts, ", ") + "}"
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			parts = append(parts, flow(v.Index(i)))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case reflect.String:
		return scalarText(v.String())
	}
	return fmt.Sprint(v)
}

// plainText is what needs no quotes in YAML, wherever it stands.
var plainText = pattern(`^(?:[A-Za-z0-9/_.][A-Za-z0-9/_.+-]*|[0-9a-fA-F:.]+/[0-9]+)$`)

// notText are words that YAML takes for something else than text.
var notText = pattern(`^(?i:true|false|null|yes|no|on|off|y|n|~|\.inf|\.nan)$`)

func scalarText(s string) string {
	if plainText().MatchString(s) && !notText().MatchString(s) {
		return s
	}
	if strings.ContainsAny(s, "\n\t\r\\\"") || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Sprintf("%q", strings.ReplaceAll(s, "${", "$${"))
	}
	return `"` + strings.ReplaceAll(s, "${", "$${") + `"`
}
