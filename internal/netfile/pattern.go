package netfile

import (
	"regexp"
	"sync"
)

// pattern returns a regular expression that is compiled when it is first asked for: a
// command that reads no file, as osl exec, would wait for all of them when it starts.
func pattern(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}
