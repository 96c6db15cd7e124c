package plan

import (
	"strings"

	"github.com/seed59451c2b/osl/internal/shell"
)

// Commands returns what a person would type to do the same as op.
func Commands(op Op, sh shell.Shell) (lines []string) {
	if op.Quiet {
		return nil
	}
	text := op.Do.Command(op.Dev)
	if text == "" {
		return nil
	}
	for _, line := range strings.Split(text, "\n") {
		lines = append(lines, sh.Command(op.NS, line))
	}
	return lines
}

// asNamed gives steps that name another link, as what they make lies on or as a master, the
// name that it has when their turn comes: one that somebody renamed gets its own again later.
func asNamed(ops []Op) []Op {
	later := map[place][]int{} // the steps that rename a link
	for i, op := range ops {
		if set, is := op.Do.(SetLink); is && set.To == nil && set.Link.Name != "" {
			at := place{op.NS, set.Link.Index}
			later[at] = append(later[at], i)
		}
	}
	now := func(i, index int, name string) string {
		for _, at := range later[place{ops[i].NS, index}] {
			if at > i {
				return ops[at].Dev
			}
		}
		return name
	}
	for i := range ops {
		switch do := ops[i].Do.(type) {
		case NewLink:
			do.Parent = now(i, do.Link.Parent, do.Parent)
			ops[i].Do = do
		case SetLink:
			if do.Link.Master != nil {
				do.Master = now(i, *do.Link.Master, do.Master)
				ops[i].Do = do
			}
		}
	}
	return ops
}
