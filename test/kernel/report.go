package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// trouble is what the kernel says when something is wrong with it.
var trouble = regexp.MustCompile(`Kernel panic|BUG:|WARNING: |Oops|general protection fault|Call Trace|unregister_netdevice: waiting|rcu.*stall`)

// kernelLine is one of the kernel's own.
var kernelLine = regexp.MustCompile(`^\[ *[0-9]+\.[0-9]+\] `)

// report reads the machine's console and keeps account of the runs.
type report struct {
	verbose bool
	command bool // what runs is no test binary
	log     bytes.Buffer
	line    []byte
	expect  []string // names of runs
	now     string   // the run that is under way
	text    bytes.Buffer
	done    bool
	failed  []string
	said    map[string][]byte // what each run printed
}

func newReport(runs []run, verbose bool) *report {
	r := &report{verbose: verbose, said: map[string][]byte{}}
	for _, x := range runs {
		r.expect = append(r.expect, x.name)
	}
	return r
}

// Write takes what the console prints.
func (r *report) Write(b []byte) (int, error) {
	r.log.Write(b)
	r.line = append(r.line, b...)
	for {
		line, rest, ok := bytes.Cut(r.line, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		r.read(strings.TrimRight(string(line), "\r"))
		r.line = rest
	}
}

func (r *report) read(line string) {
	if r.verbose {
		fmt.Println(line)
	}
	if trouble.MatchString(line) {
		r.fail("the kernel says: " + line)
	}
	words := strings.Fields(line)
	if len(words) < 2 || words[0] != "@@" {
		if r.now != "" && !kernelLine.MatchString(line) {
			fmt.Fprintln(&r.text, line)
		}
		return
	}
	switch words[1] {
	case "kernel":
		fmt.Println("the machine runs Linux", words[2])
	case "missing":
		r.fail("the machine could not load the module " + words[2])
	case "begin":
		r.now = words[2]
		r.text.Reset()
	case "end":
		r.end(words[2], words[3], words[4])
	case "done":
		r.done = true
	}
}

// end takes the end of a run: what failed and what was skipped is printed.
func (r *report) end(name, status, seconds string) {
	r.now = ""
	r.said[name] = bytes.Clone(r.text.Bytes())
	r.expect = slices.DeleteFunc(r.expect, func(s string) bool { return s == name })
	if r.command {
		fmt.Print(r.text.String())
		if status != "0" {
			r.fail("exit code " + status)
		}
		return
	}
	passed, skipped, failed, err := results(r.text.Bytes())
	if err != nil {
		r.fail(fmt.Sprintf("%s: its output can not be read: %v", name, err))
	}
	verdict := "ok  "
	if status != "0" {
		verdict = "FAIL"
		r.fail(fmt.Sprintf("%s: exit code %s", name, status))
	} else if passed == 0 && len(skipped) == 0 {
		r.fail(name + ": no test ran")
	}
	fmt.Printf("%s  %-20s %4ss  %d passed, %d skipped, %d failed\n", verdict, name, seconds, passed, len(skipped), len(failed))
	for _, s := range skipped {
		fmt.Println("      skipped", s)
	}
	for _, f := range failed {
		fmt.Println("      FAILED", f)
	}
	text := r.text.String()
	if at := strings.Index(text, "\npanic: "); at >= 0 {
		fmt.Println(text[at+1:])
	} else if status != "0" && len(failed) == 0 {
		fmt.Println(text)
	}
}

// results reads what a test binary printed. Tests with subtests that have the
// same result are told once, with what they printed.
func results(text []byte) (passed int, skipped, failed []string, err error) {
	cmd := exec.Command("go", "tool", "test2json")
	cmd.Stdin = bytes.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		return 0, nil, nil, err
	}
	said := map[string]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var e struct{ Action, Test, Output string }
		if err := dec.Decode(&e); err != nil {
			return 0, nil, nil, err
		}
		if e.Test == "" {
			continue
		}
		switch e.Action {
		case "output":
			if !strings.HasPrefix(e.Output, "=== ") && !strings.Contains(e.Output, "--- ") {
				said[e.Test] += "        " + strings.TrimLeft(e.Output, " ")
			}
		case "pass":
			passed++
		case "skip":
			skipped = append(skipped, e.Test+": "+strings.TrimSpace(said[e.Test]))
		case "fail":
			failed = append(failed, e.Test+":\n"+strings.TrimRight(said[e.Test], "\n"))
		}
	}
	return passed, skipped, failed, nil
}

// stillborn reports whether the kernel stopped before any test had begun.
func (r *report) stillborn() bool { return len(r.failed) > 0 && r.now == "" && len(r.said) == 0 }

// reset forgets what a machine has said.
func (r *report) reset() {
	r.log.Reset()
	r.line, r.failed, r.done = nil, nil, false
}

func (r *report) fail(what string) { r.failed = append(r.failed, what) }

// verdict is an error unless all ran and nothing failed.
func (r *report) verdict() error {
	for _, name := range r.expect {
		r.fail(name + ": did not end")
	}
	if !r.done {
		r.fail("the machine did not reach its end")
	}
	if len(r.failed) == 0 {
		return nil
	}
	return errors.New("failed:\n  " + strings.Join(r.failed, "\n  "))
}
