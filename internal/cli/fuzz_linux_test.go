package cli

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed59451c2b/osl"
)

// harmless are the verbs that change nothing, whatever follows them: what asks
// for a change is taken out of the arguments of up and down.
var harmless = [][]string{
	{"version"}, {"schema"}, {"diff", "-"}, {"ls"}, {"inspect"}, {"help"},
	{"up", "--dry-run", "--no-check"}, {"up", "--dry-run", "--no-check", "-"}, {"down", "--dry-run", "-"},
}

// Any command line ends in time with one of the documented exit codes, says why
// it failed, and a dry run leaves nothing behind.
func FuzzCommandLine(f *testing.F) {
	f.Add(uint8(0), "-o\njson", "")
	f.Add(uint8(1), "x\n-o\nyaml", "")
	f.Add(uint8(2), "-o=json", "sandboxes: [{name: a, interfaces: [{name: eth0, type: dummy}]}]")
	f.Add(uint8(3), "--output\ntable\n--timeout=1s", "")
	f.Add(uint8(4), "a\nb\n--base=x", "")
	f.Add(uint8(5), "up", "")
	f.Add(uint8(6), "-", "sandboxes: [{name: a}, {name: b}]\nlinks: [[a/x, b/y]]")
	f.Add(uint8(7), "-v\n--timeout=-1s", "sandboxes: [{name: ../a}]")
	f.Add(uint8(8), "--bad\n-\xff", "{")
	f.Fuzz(func(t *testing.T, verb uint8, line, stdin string) {
		args := slices.Clone(harmless[int(verb)%len(harmless)])
		for arg := range strings.SplitSeq(line, "\n") {
			// A path could be anything of the machine: a pipe never ends.
			if arg == "--" || strings.Contains(arg, "dry-run") || strings.Contains(arg, "/") {
				continue
			}
			args = append(args, arg)
		}
		defer osl.SetBasePath("")
		_, before := os.Lstat("/run/netns") // another test may have made it
		var out, errs bytes.Buffer
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		code := Run(ctx, args, strings.NewReader(stdin), &out, &errs)
		if ctx.Err() != nil {
			t.Errorf("%q does not end", args)
		}
		if code < exitDone || code > exitDiffer || code == exitDiffer && args[0] != "diff" {
			t.Errorf("%q: exit code %d", args, code)
		}
		if code == exitFailed || code == exitUsage {
			if text := errs.String(); strings.TrimSpace(text) == "" || !strings.HasSuffix(text, "\n") {
				t.Errorf("%q: exit code %d, and standard error is %q", args, code, text)
			}
		}
		if _, err := os.Lstat("/run/netns"); err == nil && before != nil {
			t.Errorf("%q made the directory of the keys", args)
		}
	})
}
