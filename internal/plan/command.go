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
