package netfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"
)

// shownProblems is how many problems of a file are shown: enough to mend a
// file in one go, and no flood from one that is something else.
const shownProblems = 10

// shownWidth bounds the part of a source line that is shown.
const shownWidth = 100

// A problem is one thing that is wrong in a file, with its place.
type problem struct {
	name string
	line int
	col  int
	src  string
	text string
	bare bool // without the line, which has a secret
}

// Error returns "FILE:LINE: what", the source line, and a mark below it.
func (p *problem) Error() string {
	if p.bare {
		return fmt.Sprintf("%s:%d: %s", p.name, p.line, p.text)
	}
	src, col := excerpt(hideSecrets(p.src), p.col)
	return fmt.Sprintf("%s:%d: %s\n%5d | %s\n      | %s^",
		p.name, p.line, p.text, p.line, src, strings.Repeat(" ", col-1))
}

// excerpt cuts a long line down to what stands around the column, and makes it
// safe to print: a tab becomes a blank, so that the mark stands right.
func excerpt(src string, col int) (string, int) {
	runes := []rune(strings.Map(printable, src))
	col = max(1, min(col, len(runes)+1))
	if from := col - 1 - shownWidth/2; from > 0 && len(runes) > shownWidth {
		runes, col = runes[from:], col-from
	}
	if len(runes) > shownWidth {
		runes = runes[:shownWidth]
	}
	return strings.TrimRight(string(runes), " "), col
}

func printable(r rune) rune {
	switch {
	case r == '\t':
		return ' '
	case r < ' ' || r == 0x7f || r == utf8.RuneError:
		return '?'
	}
	return r
}

func (p *page) problem(pos token.Position, format string, args ...any) error {
	bad := &problem{name: p.name, line: pos.Line, col: pos.Column, text: fmt.Sprintf(format, args...)}
	if pos.Line >= 1 && pos.Line <= len(p.lines) {
		bad.src = p.lines[pos.Line-1]
	}
	return bad
}

// Problem returns an error about the part of the file at path, such as
// "checks[2].expect", or about the nearest part around it that is in the file.
func (f *File) Problem(path, format string, args ...any) error {
	if p, ok := f.at[f.inFile(path)]; ok {
		return p.page.problem(p.pos, format, args...)
	}
	return fmt.Errorf("%s: %s", f.name, fmt.Sprintf(format, args...))
}

// inFile returns the nearest part around a path that is in the file.
func (f *File) inFile(path string) string {
	for ; path != ""; path = path[:max(0, strings.LastIndexAny(path, ".["))] {
		if _, ok := f.at[path]; ok {
			break
		}
	}
	return path
}

// problems joins what was found; nil if that is nothing.
func problems(list []error) error {
	if len(list) == 0 {
		return nil
	}
	// What is wrong behind an anchor is found again at each of its aliases.
	var texts []string
	for _, p := range list {
		if t := p.Error(); !slices.Contains(texts, t) {
			texts = append(texts, t)
		}
		if len(texts) == shownProblems {
			texts = append(texts, "… and perhaps more")
			break
		}
	}
	return errors.New(strings.Join(texts, "\n"))
}

func splitLines(text []byte) []string {
	lines := strings.Split(string(text), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimSuffix(l, "\r")
	}
	return lines
}
