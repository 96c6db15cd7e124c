//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// report is what a run found.
type report struct {
	Commit  string   `json:"commit"`
	Machine machine  `json:"machine"`
	Time    string   `json:"time_per_row"`
	Loops   int      `json:"busy_loops,omitempty"`
	Quick   bool     `json:"quick,omitempty"`
	Rows    []row    `json:"rows"`
	Growth  []growth `json:"growth,omitempty"`
}

func (r *report) json() ([]byte, error) {
	b, err := json.MarshalIndent(r, "", "  ")
	return append(b, '\n'), err
}

// value shows a figure in the unit of a row: times in µs, from 10 ms in ms and
// from 10 s in s.
func value(v float64, unit string) string {
	switch {
	case unit != "ns":
		return strings.TrimSpace(figures(v) + " " + unit)
	case v >= 10e9:
		return figures(v/1e9) + " s"
	case v >= 10e6:
		return figures(v/1e6) + " ms"
	}
	return figures(v / 1e3)
}

// figures shows three significant digits, and all of the integral ones.
func figures(v float64) string {
	switch {
	case v == 0:
		return "0"
	case math.Abs(v) >= 100:
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func (s stat) show(unit string) string {
	if s.N == 0 {
		return "–"
	}
	if s.N == 1 {
		return value(s.Median, unit)
	}
	return value(s.Median, unit) + " (" + value(s.P95, unit) + ")"
}

func (r *row) ratio(a, b string) string {
	x, y := r.By[a], r.By[b]
	if x.N == 0 || y.N == 0 || y.Median == 0 || x.Median == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", ratio(x.Median, y.Median, r.Rate))
}

// verdict says whether osl is where it should be.
func (r *row) verdict() string {
	met, known := r.Target.met(r.By["osl"], r.By["floor"], r.Rate)
	switch {
	case !known:
		return ""
	case met:
		return "met"
	}
	return "missed"
}

// cells are the table, with the notes that it refers to.
func (r *report) cells() (table [][]string, notes []string) {
	head := []string{"operation", "floor", "osl", "moby", "ip", "osl / floor", "osl / moby", "target", ""}
	calls, alone := false, false
	for _, x := range r.Rows {
		for _, s := range x.By {
			calls = calls || s.Calls > 0
		}
		alone = alone || x.By["calls"].N > 0
	}
	if alone {
		notes = append(notes, "osl's system calls, in osl's order, by a program that does nothing else: from the floor to it is what osl's guarantees cost the kernel, from it to osl is osl's code")
		head = append(head, fmt.Sprintf("osl's calls alone [%d]", len(notes)), "osl / its calls")
	}
	if calls {
		notes = append(notes, "system calls: of this row and the next together where that undoes it; those of the Go runtime for itself left out")
		head = append(head, fmt.Sprintf("system calls [%d]: floor", len(notes)), "osl", "moby")
	}
	table = append(table, head)
	for i := range r.Rows {
		x := &r.Rows[i]
		name := x.Name
		if x.Note != "" {
			at := -1
			for j, n := range notes {
				if n == x.Note {
					at = j
				}
			}
			if at < 0 {
				at = len(notes)
				notes = append(notes, x.Note)
			}
			name += fmt.Sprintf(" [%d]", at+1)
		}
		line := []string{name}
		for _, c := range []string{"floor", "osl", "moby", "ip"} {
			line = append(line, x.By[c].show(x.Unit))
		}
		line = append(line, x.ratio("osl", "floor"), x.ratio("osl", "moby"), x.Target.text(), x.verdict())
		if alone {
			line = append(line, x.By["calls"].show(x.Unit), x.ratio("osl", "calls"))
		}
		if calls {
			for _, c := range []string{"floor", "osl", "moby"} {
				n := "–"
				if v := x.By[c].Calls; v > 0 {
					n = fmt.Sprintf("%.1f", v)
				}
				line = append(line, n)
			}
		}
		table = append(table, line)
	}
	return table, notes
}

// table lays the table out, in Markdown or for a terminal, which differ only
// in the line below the head.
func (r *report) table(markdown bool) string {
	cells, notes := r.cells()
	width := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, c := range line {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	for n, line := range cells {
		for i, c := range line {
			fill := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			b.WriteString("| " + c + fill + " ")
		}
		b.WriteString("|\n")
		if n == 0 {
			for i, w := range width {
				dashes := strings.Repeat("-", w)
				if markdown && i > 0 && i < 7 && w > 0 {
					dashes = dashes[:w-1] + ":"
				}
				b.WriteString("| " + dashes + " ")
			}
			b.WriteString("|\n")
		}
	}
	b.WriteString("\nMedian (95th percentile), in µs where no unit stands.\n")
	for i, n := range notes {
		fmt.Fprintf(&b, "[%d] %s.\n", i+1, n)
	}
	return b.String()
}

// markdown is the table with where it is from.
func (r *report) markdown() string {
	m := r.Machine
	var b strings.Builder
	fmt.Fprintf(&b, "Commit `%s`; %s, HZ=%s, %d × %s, %s; load before %s; %s for each row.\n\n", r.Commit, m.Kernel, orDash(m.HZ), m.CPUs,
		orDash(m.CPU), m.Go, m.Load, r.Time)
	if r.Loops > 0 {
		fmt.Fprintf(&b, "Beside %d busy loops.\n\n", r.Loops)
	}
	if r.Quick {
		b.WriteString("**A quick run: these figures say nothing.**\n\n")
	}
	b.WriteString(r.table(true))
	for _, g := range r.Growth {
		fmt.Fprintf(&b, "\n![%s](%s)\n", g.Title, g.file())
	}
	return b.String()
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
