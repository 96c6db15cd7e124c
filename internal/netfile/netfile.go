// Package netfile reads a network file: YAML, decoded strictly into an
// osl.Network, with the line and a suggestion for whatever is wrong in it.
package netfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/want"
)

// MaxSize is the largest file that is read, in bytes. A network of 10,000
// sandboxes needs less than half of it.
const MaxSize = 4 << 20

// The parser recurses once per level, and Go can't recover from a stack that
// overflows; so depth is bounded before it runs. A network needs six levels.
const (
	maxFlowDepth   = 64
	maxBlockColumn = 1000
)

// File is a network and where in its files each part of it stands.
type File struct {
	osl.Network
	// Commands and Notes are of containerlab topologies.
	Commands []Command
	Notes    []Note

	at   map[string]place
	name string // how errors call it where nothing tells a line
}

// Read reads the file at path; "-" is stdin.
func Read(path string, stdin io.Reader) (*File, error) { return ReadAll(stdin, path) }

// ReadAll reads the files at paths, and those that they include, as one network.
func ReadAll(stdin io.Reader, paths ...string) (*File, error) {
	var names []string
	f, err := read(readFile, func(l *loader) error {
		for _, path := range paths {
			var b []byte
			var info os.FileInfo
			var err error
			name := path
			if path == "-" {
				name = "<stdin>"
				b, err = readAll("standard input", stdin)
			} else {
				names = append(names, nameOf(path))
				b, info, err = readFile(path)
			}
			if err == nil {
				err = l.load(name, b, info, true)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && f.Name == "" {
		f.Name = joined(names)
	}
	return f, err
}

// joined is the default name of a network of several files: in whatever order they
// are given, it is the same.
func joined(names []string) string {
	slices.Sort(names)
	return shorten(strings.Join(names, "+"))
}

// nameOf is what a network is called whose file says nothing: the file's name,
// as far as it can be one.
func nameOf(path string) string {
	name := filepath.Base(path)
	name = strings.TrimSuffix(name, filepath.Ext(name))
	name = strings.TrimSuffix(name, ".clab")
	name = strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f {
			return '-'
		}
		return r
	}, name)
	return shorten(name)
}

// shorten cuts a name to the length that a network's can have.
func shorten(name string) string {
	for len(name) > want.MaxNetworkName {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	return name
}

func readAll(name string, r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(b) > MaxSize {
		return nil, fmt.Errorf("%s is larger than %d MiB, which no network file is", name, MaxSize>>20)
	}
	return b, nil
}

// Parse decodes the text of a network file, which includes no other; name is how
// errors call it.
func Parse(name string, text []byte) (*File, error) {
	return read(nil, func(l *loader) error { return l.load(name, text, nil, true) })
}

// read decodes what load loads.
func read(open func(string) ([]byte, os.FileInfo, error), load func(*loader) error) (f *File, err error) {
	f = &File{at: map[string]place{}}
	d := &decoder{file: f, byFamily: map[string]bool{}, options: map[string]osl.AddressOptions{}, links: map[osl.Endpoint][]layer{}}
	// The parser is not ours and the text is anybody's: a panic in it is one
	// more way for a file to be bad.
	defer func() {
		if p := recover(); p != nil {
			name := ""
			if d.src != nil {
				name = d.src.name + ": "
			}
			f, err = nil, fmt.Errorf("%sthe YAML parser gave up (%v)\n%s", name, p, debug.Stack())
		}
	}()
	l := loader{d: d, open: open}
	if err := load(&l); err != nil {
		return nil, err
	}
	f.name = l.sources[len(l.sources)-1].name
	d.network(l.sources)
	return f, problems(d.problems)
}

// parse finds the body of the file's only document.
func (s *source) parse(text []byte) error {
	if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
		return fmt.Errorf("%s is no text in UTF-8", s.name)
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // a byte order mark, as Windows' editors write
	s.lines = splitLines(text)
	tokens := mend(lexer.Tokenize(string(text)))
	if p := s.checkShape(tokens); p != nil {
		return p
	}
	tree, err := parser.Parse(tokens, 0)
	var bad yaml.Error
	if errors.As(err, &bad) {
		pos := bad.GetToken().Position
		text := inWords(bad.GetMessage())
		if line := s.lines[min(pos.Line, len(s.lines))-1]; strings.HasPrefix(text, "',' or '") && strings.Contains(line, "${") {
			text += "; a variable within braces needs quotes: \"${NAME}\""
		}
		return s.problem(*pos, "%s", text)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	for _, doc := range tree.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.CommentType {
			s.body = doc.Body
			return nil
		}
	}
	return fmt.Errorf("%s is empty: a network file has at least a list \"sandboxes\"", s.name)
}

// twice is what the parser says of a name that stands twice in a mapping.
var twice = pattern(`^mapping key "(.*)" already defined at \[(\d+):\d+\]$`)

const noColon = "a name without its colon: write NAME: value, with a blank between"

// inWords says what the parser says so that a person knows what to do.
func inWords(text string) string {
	if m := twice().FindStringSubmatch(text); m != nil {
		return fmt.Sprintf("%q is there twice, first in line %s", m[1], m[2])
	}
	for _, x := range [...][2]string{
		{"found character '\t' that cannot start", "a tab, where YAML has blanks: it indents by these alone"},
		{"tab character ", "a tab, where YAML has blanks: it indents by these alone"},
		{"mapping value is not allowed", "a second colon in one line: what has one within is written in quotes"},
		{"value is not allowed in this context", "this does not belong here: what is of one mapping or list begins in the same column"},
		{"non-map value is specified", noColon}, {"unexpected key name", noColon},
		{"could not find flow map content", "something is missing between these braces: a colon, a comma or a bracket"},
	} {
		if strings.Contains(text, x[0]) {
			return x[1]
		}
	}
	return text
}

// checkShape refuses more than one document, absurd depth, and what the lexer gets wrong.
func (s *source) checkShape(tokens token.Tokens) error {
	depth, content := 0, false
	for _, t := range tokens {
		switch t.Type {
		case token.DocumentHeaderType:
			if content {
				return s.problem(*t.Position, "a second document begins here: a network file is one YAML document")
			}
			continue
		case token.CommentType, token.DirectiveType, token.DocumentEndType:
			continue
		case token.DoubleQuoteType:
			if strings.Contains(t.Origin, "\t") { // the lexer loses its place there
				return s.problem(*t.Position, "a tab between double quotes: write \\t, or single quotes")
			}
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType:
			if depth <= 0 && t.Position.Column > maxBlockColumn {
				return s.problem(*t.Position, "nested too deeply")
			}
		}
		if depth > maxFlowDepth {
			return s.problem(*t.Position, "nested too deeply")
		}
		content = true
	}
	return nil
}
