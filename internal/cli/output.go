package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/goccy/go-yaml"

	"github.com/seed59451c2b/osl"
)

var formats = []string{"table", "json", "yaml"}

// print writes v to standard output, or for people what table writes.
func (a *app) print(v any, table func(w io.Writer)) error {
	var b bytes.Buffer
	switch a.output {
	case "table":
		table(&b)
	default:
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(v); err != nil {
			return err
		}
	}
	out := b.Bytes()
	if a.output == "yaml" {
		// By way of JSON, so that both have the same fields.
		var err error
		if out, err = yaml.JSONToYAML(out); err != nil {
			return err
		}
	}
	_, err := a.stdout.Write(out)
	return err
}

// note tells a person something that is no result.
func (a *app) note(format string, args ...any) {
	if a.output == "table" {
		fmt.Fprintf(a.stderr, format+"\n", args...)
	}
}

// columns writes rows in columns. Empty cells become "-", so that each line
// has the same number of words.
func columns(w io.Writer, head string, rows [][]string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, strings.ReplaceAll(head, " ", "\t"))
	for _, r := range rows {
		for i, cell := range r {
			if cell == "" {
				r[i] = "-"
			}
		}
		fmt.Fprintln(tw, strings.Join(r, "\t"))
	}
	// The writer below is a buffer.
	_ = tw.Flush()
}

// plan prints changes that were not made, as the commands that would make them.
func (a *app) plan(changes osl.Changes) error {
	if len(changes) == 0 {
		a.note("nothing to change")
	}
	return a.print(list(changes), func(w io.Writer) { fmt.Fprint(w, changes) })
}

// list makes an empty slice of a nil one: in JSON, no entries are [], not null.
func list[S ~[]E, E any](s S) S {
	if s == nil {
		return S{}
	}
	return s
}

func labels(m map[string]string) string {
	var pairs []string
	for k, v := range m {
		pairs = append(pairs, k+"="+v)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

// count returns "1 sandbox", "2 sandboxes".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
