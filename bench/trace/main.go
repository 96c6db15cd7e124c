//go:build linux

// The traces of the rows of docs/performance.md in which osl takes more than the floor: each
// system call of both, what it is for, and how long it takes. It needs root, strace and perf.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/bench/tracer"
)

// step is one row of the benchmark, as it names it, and which of the steps it is; alone
// leaves out what other threads do meanwhile.
type step struct {
	title, row string
	number     int
	alone      bool
}

var steps = []step{
	{"Creating a sandbox", "create a sandbox (IPv6 off by default included)", 0, false},
	{"Ending a sandbox", "create a sandbox (IPv6 off by default included)", 1, false},
	{"From a warm pool", "create from a warm pool", 0, true},
	{"An interface in place", "interface made in place (veth, v4, v6, routes)", 0, false},
	{"InvokeFunc", "InvokeFunc, empty", 0, false},
	{"Enter and leave", "Enter and leave", 0, false},
	{"Reopening a sandbox of eight interfaces", "reopen with 8 interfaces", 0, false},
	{"Taking down eight sandboxes with sixteen links", "up of 8 sandboxes and 16 links", 1, false},
}

func main() {
	out := flag.String("out", "", "write traces.md to this `directory`, and not to the standard output")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "trace:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	dir, err := os.MkdirTemp("", "osl-trace")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "bench")
	if text, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		return fmt.Errorf("build the benchmark: %w: %s", err, text)
	}
	var b strings.Builder
	commit, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return fmt.Errorf("ask git for the commit: %w", err)
	}
	fmt.Fprintf(&b, head, strings.TrimSpace(string(commit)))
	for _, s := range steps {
		fmt.Fprintln(os.Stderr, s.title)
		sides := map[string][]call{}
		for _, with := range []string{"floor", "osl"} {
			if sides[with], err = traced(dir, program, with, s); err != nil {
				return fmt.Errorf("%s, %s: %w", s.title, with, err)
			}
		}
		section(&b, s, sides["floor"], sides["osl"])
	}
	if out == "" {
		_, err = os.Stdout.WriteString(b.String())
		return err
	}
	return os.WriteFile(filepath.Join(out, "traces.md"), []byte(b.String()), 0o644)
}

const head = `# What osl's system calls are for

` + "`go run -C bench ./trace -out ../docs/performance`" + ` writes this page: the system calls of the floor and of osl, what each is for, and its time in the kernel in µs. The calls are those that strace shows of one time; the times are medians of many by perf, less what perf makes of a call that does nothing but fail; where threads work side by side, so that the order is another each time, means of the calls of one name. What the Go runtime calls for itself is left out. The processor's caches are as warm as many times in a row make them; [the table](../performance.md) has what a caller waits for. perf tells microseconds, and no parts of them. Commit ` + "`%s`" + `.
`

// traced returns the calls of a step, each with its time.
func traced(dir, program, with string, s step) ([]call, error) {
	listed := filepath.Join(dir, "strace")
	if err := under(program, with, s, 10, "strace", "-f", "-qq", "-y", "-xx", "-s", "65536", "-o", listed); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(listed)
	if err != nil {
		return nil, err
	}
	all := fromStrace(string(text), s)
	if len(all) == 0 {
		return nil, errors.New("strace shows no such step")
	}
	timed := filepath.Join(dir, "perf")
	if err := under(program, with, s, 100, "perf", "trace", "-o", timed); err != nil {
		return nil, err
	}
	if text, err = os.ReadFile(timed); err != nil {
		return nil, err
	}
	return withTimes(all, fromPerf(string(text), s)), nil
}

// under runs the steps of a row a number of times under a tracer.
func under(program, with string, s step, times int, by ...string) error {
	cmd := exec.Command(by[0], append(by[1:], program, "-with", with, "-rows", "^"+regexp.QuoteMeta(s.row)+"$")...)
	cmd.Env = append(os.Environ(), fmt.Sprint(tracer.LoopEnv, "=", times), tracer.MarksEnv+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", by[0], err, out)
	}
	return nil
}

// section writes what a step takes, by what it is for, and all of its calls.
func section(b *strings.Builder, s step, floor, osl []call) {
	fmt.Fprintf(b, "\n## %s\n\n| what for | floor | µs | osl | µs |\n| --- | --- | ---: | --- | ---: |\n", s.title)
	var order []string
	for _, c := range slices.Concat(osl, floor) {
		if !slices.Contains(order, c.purpose()) {
			order = append(order, c.purpose())
		}
	}
	for _, p := range order {
		fmt.Fprintf(b, "| %s | %s | %s |\n", p, sumOf(floor, p), sumOf(osl, p))
	}
	fmt.Fprintf(b, "| **all** | %d calls | %.1f | %d calls | %.1f |\n", len(floor), total(floor), len(osl), total(osl))
	for _, side := range []struct {
		name  string
		calls []call
	}{{"floor", floor}, {"osl", osl}} {
		if len(side.calls) > 80 {
			continue
		}
		fmt.Fprintf(b, "\n<details><summary>%s: all calls</summary>\n\n```\n", side.name)
		for _, c := range side.calls {
			fmt.Fprintf(b, "%7.1f  %s\n", c.µs, c.text)
		}
		b.WriteString("```\n\n</details>\n")
	}
}

func total(calls []call) (sum float64) {
	for _, c := range calls {
		sum += c.µs
	}
	return sum
}

// sumOf says which calls are for something, and how long they take.
func sumOf(calls []call, purpose string) string {
	var names []string
	count := map[string]int{}
	sum := 0.0
	for _, c := range calls {
		if c.purpose() != purpose {
			continue
		}
		if count[c.name]++; count[c.name] == 1 {
			names = append(names, c.name)
		}
		sum += c.µs
	}
	if len(names) == 0 {
		return "– | –"
	}
	for i, n := range names {
		if count[n] > 1 {
			names[i] = fmt.Sprintf("%s ×%d", n, count[n])
		}
	}
	return fmt.Sprintf("%s | %.1f", strings.Join(names, ", "), sum)
}
