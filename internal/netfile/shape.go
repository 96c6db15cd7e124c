package netfile

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// noMapping says why a value that begins with a field is no mapping.
func noMapping(n ast.Node, known []field) string {
	text, first := n.GetToken().Value, telling(known)
	if n.Type() != ast.StringType && n.Type() != ast.IntegerType {
		return ""
	}
	words := strings.Fields(text)
	if len(words) == 0 {
		return ""
	}
	pairs := []string{"to: " + words[0]} // of a route as ip writes it
	for i := 1; i+1 < len(words) && first == "to" && find(known, words[i]) != nil; i += 2 {
		pairs = append(pairs, words[i]+": "+words[i+1])
	}
	switch hint := unparted(text, known); {
	case hint != "":
		return hint
	case first == "name", first == "id":
		return "; write " + first + ": " + text
	case first == "to" && 2*len(pairs)-1 == len(words):
		return "; write {" + strings.Join(pairs, ", ") + "}"
	}
	return ""
}

func unparted(text string, known []field) string {
	name, rest, colon := strings.Cut(text, ":")
	if !colon {
		name, rest, _ = strings.Cut(text, " ")
	}
	if rest == "" || find(known, name) == nil {
		return ""
	}
	return fmt.Sprintf("; a field ends with a colon and a blank: %s: %s", name, strings.TrimSpace(rest))
}

// aLink is how the one list is written that has a length.
const aLink = "[web/eth0, switch/p1]"

// asList says how what is no list is written as one of type list: other formats have names
// with what they name below, or one value as it is.
func (d *decoder) asList(n ast.Node, list reflect.Type) string {
	entries, isMapping := d.layered(n, nil)
	t := list.Elem()
	isStruct := t.Kind() == reflect.Struct && textForms[t] == ""
	switch {
	case list.Kind() == reflect.Array:
		return "; each link is a list of its own: [" + aLink + "]"
	case !isMapping && !isStruct && t.Kind() != reflect.Array && n.Type() != ast.NullType:
		return "; one is written in brackets"
	case !isMapping && isStruct && n.Type() == ast.StringType && find(fields(t), "name") != nil:
		return "; write - name: " + n.GetToken().Value
	case !isMapping || !isStruct || len(entries) == 0:
		return ""
	}
	first := entries[0].name
	if find(fields(t), first) != nil {
		return "; each begins with a dash: - " + first + ": …"
	}
	if find(fields(t), "name") != nil {
		return "; each has its name as a field: - name: " + first
	}
	return ""
}
