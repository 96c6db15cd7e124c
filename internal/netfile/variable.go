package netfile

import (
	"fmt"
	"os"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// varName is what a variable of the environment can be called here.
var varName = pattern(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expanded returns a scalar with what its variables stand for. That becomes a value
// and nothing else, whatever is in it: the structure of the file is known by then. One
// that is empty then is nil, as if it was not written. typed is for a value that is no
// text: 1400 is a number then.
func (d *decoder) expanded(n ast.Node, typed bool) (ast.Node, bool) {
	var text string
	switch x := n.(type) {
	case *ast.StringNode:
		text = x.Value
	case *ast.LiteralNode:
		text = x.Value.Value
	default:
		return n, true
	}
	if !strings.Contains(text, "${") {
		return n, true
	}
	text, err := expand(text, os.LookupEnv, d.orElse...)
	if err != nil {
		d.fail(n, "%v", err)
		return nil, false
	}
	if text == "" {
		return nil, true
	}
	pos := *n.GetToken().Position
	if typed {
		tree, err := parser.Parse(token.Tokens{token.New(text, text, &pos)}, 0)
		if err == nil && len(tree.Docs) == 1 && tree.Docs[0].Body != nil {
			return tree.Docs[0].Body, true
		}
	}
	return ast.String(token.String(text, text, &pos)), true
}

// expand puts in what ${NAME} and ${NAME:-default} stand for, the default also where
// the variable is empty. $${ is ${. others are what may stand in place of ":-".
func expand(text string, lookup func(string) (string, bool), others ...string) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		if !found {
			b.WriteString(text)
			return b.String(), nil
		}
		if strings.HasSuffix(before, "$") {
			b.WriteString(before[:len(before)-1] + "${")
			text = rest
			continue
		}
		b.WriteString(before)
		inside, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", fmt.Errorf("${%.20s has no closing brace; a ${ that is none of a variable is written $${", rest)
		}
		name, or, hasDefault := strings.Cut(inside, ":-")
		for _, o := range others {
			if !hasDefault {
				name, or, hasDefault = strings.Cut(inside, o)
			}
		}
		if !varName().MatchString(name) || strings.Contains(or, "${") {
			return "", fmt.Errorf("${%s} is no variable: write ${NAME} or ${NAME:-default}, and $${ for a ${", inside)
		}
		value, set := lookup(name)
		switch {
		case hasDefault && value == "":
			value = or
		case !set:
			return "", fmt.Errorf("the environment has no variable %s: set it, or write ${%s:-default}", name, name)
		}
		b.WriteString(value)
		text = after
	}
}
