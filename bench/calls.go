//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl/bench/tracer"
)

// marked says that a tracer is to be told where each step begins and ends.
var marked = os.Getenv(tracer.MarksEnv) != ""

// loop does each step n times.
func (b *bench) loop(n string) error {
	times, err := strconv.Atoi(n)
	if err != nil {
		return err
	}
	for _, g := range allGroups(true) {
		if !b.selected(&g) || g.start == nil {
			continue
		}
		for _, c := range b.contenders {
			if !g.has(c) {
				continue
			}
			t, err := g.start(b, c)
			if err != nil {
				return err
			}
			e := &entrant{c: c, t: t, samples: make([][]float64, len(g.rows))}
			for range times {
				if err := b.once(&g, e, false); err != nil {
					return err
				}
			}
			if err := call(t.end); err != nil {
				return err
			}
		}
	}
	return nil
}

// noise are the system calls that are not counted, and the line of the sum.
func noise(name string) bool {
	return tracer.Runtime[name] || name == "gettid" || name == "exit" || name == "total"
}

// counted is how often the steps are done more in the second run.
const counted = 500

// countCalls counts the system calls of all steps of a group together: those of
// many runs less those of fewer, so that what is done once falls out. It does
// so for the groups where nothing but the steps makes any, and notes the sum at
// the first row.
func (b *bench) countCalls(r *report) error {
	if _, err := exec.LookPath("strace"); err != nil {
		return fmt.Errorf("counting system calls: %w", err)
	}
	for _, g := range allGroups(b.quick) {
		if !b.selected(&g) || !countable(&g) {
			continue
		}
		for _, c := range b.contenders {
			if _, is := c.(ipContender); is || !g.has(c) {
				continue
			}
			few, err := traced(g.rows[0].Name, c.Name(), 20)
			if err != nil {
				return err
			}
			more, err := traced(g.rows[0].Name, c.Name(), 20+counted)
			if err != nil {
				return err
			}
			for i := range r.Rows {
				if r.Rows[i].Name == g.rows[0].Name {
					s := r.Rows[i].By[c.Name()]
					s.Calls = (more - few) / counted
					r.Rows[i].By[c.Name()] = s
				}
			}
		}
	}
	return nil
}

// countable reports whether nothing but the steps makes system calls.
func countable(g *group) bool {
	switch g.rows[0].Name {
	case "gateway set", "static route add", "neighbour add", "alias IP add", "InvokeFunc, empty", "statistics of one interface",
		"create a sandbox (IPv6 off by default included)":
		return true
	}
	return false
}

// traced returns how many system calls a process makes that does the steps of
// a row a number of times.
func traced(name, contender string, times int) (float64, error) {
	dir, err := os.MkdirTemp("", "osl-bench")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "calls")
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command("strace", "-f", "-qq", "-c", "-U", "calls,errors,name", "-o", file,
		self, "-with", contender, "-rows", "^"+regexp.QuoteMeta(name)+"$")
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, inside+"=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, tracer.LoopEnv+"="+strconv.Itoa(times))
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("count the system calls of %s, %s: %w: %s", contender, name, err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	total := 0.0
	for line := range strings.Lines(string(b)) {
		total += float64(countedIn(strings.Fields(line)))
	}
	if total == 0 {
		return 0, fmt.Errorf("strace counted nothing: %s", b)
	}
	return total, nil
}

// countedIn returns what a line of strace's summary counts: calls, errors if
// there are any, name. A write that failed is one of a setting of IPv6, which
// the kernel begins again as long as anyone on the machine holds RTNL.
func countedIn(f []string) int {
	if len(f) < 2 || len(f) > 3 || noise(f[len(f)-1]) {
		return 0
	}
	calls, err := strconv.Atoi(f[0])
	if err != nil {
		return 0 // the head
	}
	if len(f) == 3 && f[2] == "write" {
		failed, err := strconv.Atoi(f[1])
		if err == nil {
			calls -= failed
		}
	}
	return calls
}

// profile begins a CPU profile where a file is named.
func profile(file string) (stop func(), err error) {
	if file == "" {
		return func() {}, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}, nil
}
