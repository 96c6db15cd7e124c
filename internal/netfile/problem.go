package netfile

import (
	"errors"
	"fmt"
	"slices"
	"sort"
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
}

// Error returns "FILE:LINE: what", the source line, and a mark below it.
func (p *problem) Error() string {
	src, col := excerpt(p.src, p.col)
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

func (f *File) problem(pos token.Position, format string, args ...any) error {
	p := &problem{name: f.name, line: pos.Line, col: pos.Column, text: fmt.Sprintf(format, args...)}
	if pos.Line >= 1 && pos.Line <= len(f.lines) {
		p.src = f.lines[pos.Line-1]
	}
	return p
}

// Problem returns an error about the part of the file at path, such as
// "checks[2].expect", or about the nearest part around it that is in the file.
func (f *File) Problem(path, format string, args ...any) error {
	for ; path != ""; path = path[:max(0, strings.LastIndexAny(path, ".["))] {
		if pos, ok := f.at[path]; ok {
			return f.problem(pos, format, args...)
		}
	}
	return fmt.Errorf("%s: %s", f.name, fmt.Sprintf(format, args...))
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

// suggest returns the name nearest to word, if any is near enough to be meant.
func suggest(word string, names []string) string {
	best, bestDist := "", 1+max(1, len(word)/3)
	sort.Strings(names)
	for _, n := range names {
		if d := distance(strings.ToLower(word), n); d < bestDist {
			best, bestDist = n, d
		}
	}
	return best
}

// distance is the number of characters to insert, delete, replace, or swap
// with the next, that make a into b.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}
