package netfile

import (
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"
)

// mend puts right what the lexer gets wrong: it puts IPv6 addresses together again, and
// tabs back into values. Between brackets inside braces, as in {addresses: [fd10::1/64]},
// the lexer takes the first colon for that of a mapping; in YAML it is one only before a
// blank or a bracket. Of a value without quotes it drops the tabs, and makes 12 of "1\t2".
func mend(tokens token.Tokens) token.Tokens {
	var out token.Tokens
	var open []token.Type
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		if text := strings.TrimSpace(t.Origin); plain(t) && strings.Contains(text, "\t") {
			t = token.String(folded(text), text, t.Position)
		}
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

// folded is a value of several lines as one, with a blank for each turn of a line.
func folded(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.Join(lines, " ")
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
