package netfile

import (
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"
)

// mend puts IPv6 addresses together again. Between brackets inside braces, as
// in {addresses: [fd10::1/64]}, the lexer takes the first colon for that of a
// mapping. In YAML it is one only before a blank or a bracket.
func mend(tokens token.Tokens) token.Tokens {
	var out token.Tokens
	var open []token.Type
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			open = append(open, t.Type)
		case token.SequenceEndType, token.MappingEndType:
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
		case token.MappingValueType:
			inList := len(open) > 0 && open[len(open)-1] == token.SequenceStartType
			if !inList || i+1 == len(tokens) || !plain(tokens[i+1]) || !adjacent(t, tokens[i+1]) {
				break
			}
			text, begin := t.Value+tokens[i+1].Value, t
			if last := len(out) - 1; last >= 0 && plain(out[last]) && adjacent(out[last], t) {
				text, begin = out[last].Value+text, out[last]
				out = out[:last]
			}
			t = token.String(text, text, begin.Position)
			i++
		}
		out.Add(t)
	}
	return out
}

// plain reports whether a token is a scalar without quotes.
func plain(t *token.Token) bool {
	switch t.Type {
	case token.StringType, token.IntegerType, token.FloatType, token.BoolType, token.NullType,
		token.BinaryIntegerType, token.OctetIntegerType, token.HexIntegerType:
		return true
	}
	return false
}

// adjacent reports whether b begins right behind a.
func adjacent(a, b *token.Token) bool {
	return a.Position.Line == b.Position.Line &&
		a.Position.Column+utf8.RuneCountInString(a.Value) == b.Position.Column
}
