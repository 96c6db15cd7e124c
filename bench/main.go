//go:build linux

// The benchmark of osl: each row of its performance goals, with osl, moby's
// package of the same purpose, the ip command and a floor of raw netlink
// messages in turns, in namespaces of its own. The end state that each of them
// leaves is looked at with another library in every row; where it is not what
// it should be, the run fails.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/containerd/log"

	"github.com/seed59451c2b/osl/bench/busy"
	"github.com/seed59451c2b/osl/bench/tracer"
)

// settings are the flags.
type settings struct {
	rows, with, out         string
	n, loops                int
	time                    time.Duration
	quick, growth, sysCalls bool
	cpuProfile              string
}

func main() {
	var s settings
	flag.StringVar(&s.rows, "rows", "", "only rows whose name matches this regular `expression`")
	flag.StringVar(&s.with, "with", "floor,calls,osl,moby,ip", "the contenders, in the order of their first turns")
	flag.StringVar(&s.out, "out", "", "write results.json, table.md and plots to this `directory`")
	flag.IntVar(&s.n, "n", 0, "at most this many samples of each contender in a row; 0 for no bound")
	flag.IntVar(&s.loops, "loops", 0, "measure beside this `number` of busy loops")
	flag.DurationVar(&s.time, "time", 15*time.Second, "how long a row is measured")
	flag.BoolVar(&s.quick, "quick", false, "each row once, with small numbers: whether all still work, not how fast")
	flag.BoolVar(&s.growth, "growth", false, "measure how cost grows as well")
	flag.BoolVar(&s.sysCalls, "calls", false, "count the system calls of each operation as well, with strace")
	flag.StringVar(&s.cpuProfile, "cpuprofile", "", "write a CPU profile to this `file`")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "bench: it takes flags only")
		os.Exit(2)
	}
	if os.Getenv(inside) == "" {
		// What needs the machine as it is, is found out before.
		os.Exit(reexec(commitEnv + "=" + commit()))
	}
	// Moby locks the main goroutine to the first thread, which can not be lent
	// to others.
	code := make(chan int)
	go func() { code <- run(&s) }()
	os.Exit(<-code)
}

// commitEnv carries the commit to the process in the namespaces.
const commitEnv = "OSL_BENCH_COMMIT"

func run(s *settings) int {
	if err := s.measure(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func (s *settings) measure() error {
	if err := prepare(); err != nil {
		return err
	}
	// Moby warns of a kernel without modules for what it is not asked here.
	log.L.Logger.SetOutput(io.Discard)
	b := &bench{time: s.time, n: s.n, quick: s.quick}
	var err error
	if s.rows != "" {
		if b.only, err = regexp.Compile(s.rows); err != nil {
			return err
		}
	}
	if b.contenders, err = contenders(s.with); err != nil {
		return err
	}
	if only := os.Getenv(tracer.LoopEnv); only != "" {
		return b.loop(only)
	}
	stop, err := profile(s.cpuProfile)
	if err != nil {
		return err
	}
	defer stop()
	quiet, err := busy.Loops(s.loops)
	if err != nil {
		return err
	}
	defer quiet()
	r := &report{Commit: os.Getenv(commitEnv), Machine: thisMachine(), Time: s.time.String(), Loops: s.loops, Quick: s.quick}
	for _, g := range allGroups(s.quick) {
		if b.selected(&g) {
			r.Rows = append(r.Rows, b.run(&g)...)
		}
	}
	if s.sysCalls {
		if err := b.countCalls(r); err != nil {
			return err
		}
	}
	if s.growth {
		r.Growth = b.growth()
	}
	fmt.Print(r.table(false))
	if s.out != "" {
		if err := r.write(s.out); err != nil {
			return err
		}
	}
	if b.failed > 0 {
		return fmt.Errorf("%d failures, see above", b.failed)
	}
	return nil
}

// allGroups are all rows, in the order of the table.
func allGroups(quick bool) []group {
	all := append(createRows(), operations(quick)...)
	all = append(all, calls()...)
	all = append(all, lives()...)
	return append(all, many(quick)...)
}

// makers make the contenders.
var makers = map[string]func() contender{
	"floor": func() contender { return &floorContender{} },
	"calls": func() contender { return newCalls() },
	"osl":   func() contender { return newOSL() },
	"moby":  func() contender { return &mobyContender{} },
	"ip":    func() contender { return ipContender{} },
}

// contenders returns those that are named.
func contenders(names string) ([]contender, error) {
	var list []contender
	for _, name := range strings.Split(names, ",") {
		if name == "ip" {
			if _, err := exec.LookPath("ip"); err != nil {
				return nil, fmt.Errorf("%w; leave it out with -with floor,osl,moby", err)
			}
		}
		newOne := makers[name]
		if newOne == nil {
			return nil, fmt.Errorf("there is no contender %q: write floor, calls, osl, moby or ip", name)
		}
		list = append(list, newOne())
	}
	return list, nil
}

// write writes what the documentation shows.
func (r *report) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b, err := r.json()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "results.json"), b, 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "table.md"), []byte(r.markdown()), 0o644); err != nil {
		return err
	}
	return r.plots(dir)
}
