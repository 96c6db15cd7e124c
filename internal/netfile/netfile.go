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
	"reflect"
	"runtime/debug"
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

// File is a network and where in the file each part of it stands.
type File struct {
	osl.Network
	name  string
	lines []string
	at    map[string]token.Position
}

// Read reads the file at path; "-" is stdin.
func Read(path string, stdin io.Reader) (*File, error) {
	if path == "-" {
		b, err := readAll("standard input", stdin)
		if err != nil {
			return nil, err
		}
		return Parse("<stdin>", b)
	}
	// Opening a FIFO waits for its other end, perhaps forever.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file; to read from a pipe, give - as the file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := readAll(path, f)
	if err != nil {
		return nil, err
	}
	file, err := Parse(path, b)
	if err == nil && file.Name == "" {
		file.Name = nameOf(path)
	}
	return file, err
}

// nameOf is what a network is called whose file says nothing: the file's name,
// as far as it can be one.
func nameOf(path string) string {
	name := filepath.Base(path)
	name = strings.TrimSuffix(name, filepath.Ext(name))
	name = strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f {
			return '-'
		}
		return r
	}, name)
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

// Parse decodes the text of a network file; name is how errors call it.
func Parse(name string, text []byte) (file *File, err error) {
	// The parser is not ours and the text is anybody's: a panic in it is one
	// more way for a file to be bad.
	defer func() {
		if p := recover(); p != nil {
			file, err = nil, fmt.Errorf("%s: the YAML parser gave up (%v)\n%s", name, p, debug.Stack())
		}
	}()
	if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
		return nil, fmt.Errorf("%s is no text in UTF-8", name)
	}
	f := &File{name: name, lines: splitLines(text), at: map[string]token.Position{}}
	body, err := f.parse(text)
	if err != nil {
		return nil, err
	}
	d := decoder{file: f, anchors: map[string]ast.Node{}, byFamily: map[string]bool{}}
	d.value(body, reflect.ValueOf(&f.Network).Elem(), "")
	return f, problems(d.problems)
}

// parse returns the body of the file's only document.
func (f *File) parse(text []byte) (ast.Node, error) {
	tokens := mend(lexer.Tokenize(string(text)))
	if p := f.checkShape(tokens); p != nil {
		return nil, p
	}
	tree, err := parser.Parse(tokens, 0)
	var bad yaml.Error
	if errors.As(err, &bad) {
		pos := bad.GetToken().Position
		return nil, f.problem(*pos, "%s", bad.GetMessage())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.name, err)
	}
	for _, doc := range tree.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.CommentType {
			return doc.Body, nil
		}
	}
	return nil, fmt.Errorf("%s is empty: a network file has at least a list \"sandboxes\"", f.name)
}

// checkShape refuses more than one document and absurd depth.
func (f *File) checkShape(tokens token.Tokens) error {
	depth, content := 0, false
	for _, t := range tokens {
		switch t.Type {
		case token.DocumentHeaderType:
			if content {
				return f.problem(*t.Position, "a second document begins here: a network file is one YAML document")
			}
			continue
		case token.CommentType, token.DirectiveType, token.DocumentEndType:
			continue
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType:
			if depth <= 0 && t.Position.Column > maxBlockColumn {
				return f.problem(*t.Position, "nested too deeply")
			}
		}
		if depth > maxFlowDepth {
			return f.problem(*t.Position, "nested too deeply")
		}
		content = true
	}
	return nil
}
