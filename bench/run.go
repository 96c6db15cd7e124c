//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"time"

	"github.com/seed59451c2b/osl/bench/tracer"
)

// row is one line of the table.
type row struct {
	Name   string `json:"name"`
	Unit   string `json:"unit"` // "ns", or what is counted
	Rate   bool   `json:"rate,omitempty"`
	Target target `json:"target"`
	Note   string `json:"note,omitempty"`
	// By are the contenders' figures.
	By map[string]stat `json:"by"`
}

// group is one or more rows that are measured together, since the one undoes
// the other: its trials have a step for each row.
type group struct {
	rows []row
	// start prepares a contender. It returns errNotOffered for one that has no
	// means of doing it.
	start func(b *bench, c contender) (*trial, error)
	// burst is how often a contender does it in its turn; what comes first in
	// a long burst is thrown away as warm-up. A burst of 1 is checked in place,
	// of a longer one a further round is that is not measured.
	burst int
	// rounds bounds the number of turns; 0 leaves it to the time.
	rounds int
	// measure is for what is not timed step by step: it returns a value for
	// each row.
	measure func(b *bench, c contender) ([]float64, error)
	// calls lets the contender that makes osl's system calls alone take part.
	calls bool
}

// has reports whether a contender takes part.
func (g *group) has(c contender) bool {
	_, is := c.(*callsContender)
	return g.calls || !is
}

// trial is a contender that is ready to do the steps of a group, again and
// again. Only steps are timed.
type trial struct {
	before func() error
	steps  []func() error
	checks []func() error // of the state after each step
	after  func() error
	end    func() error
	per    int // how often a step does it; 0 is once
}

// bench is one run of the benchmark.
type bench struct {
	contenders []contender
	time       time.Duration // for each group
	n          int           // samples of each, at most; 0 for no bound
	quick      bool
	only       *regexp.Regexp
	failed     int
	names      int
}

// name returns a name for a sandbox that was not used before.
func (b *bench) name() string {
	b.names++
	return fmt.Sprint("b", b.names)
}

func call(f func() error) error {
	if f == nil {
		return nil
	}
	return f()
}

// fail records that something went wrong, so that the run fails in the end.
func (b *bench) fail(what string, c contender, err error) {
	b.failed++
	fmt.Fprintf(os.Stderr, "bench: FAILED: %s, %s: %v\n", what, c.Name(), err)
}

// selected returns the rows that were asked for; a group runs if one is.
func (b *bench) selected(g *group) bool {
	for i := range g.rows {
		if b.only == nil || b.only.MatchString(g.rows[i].Name) {
			return true
		}
	}
	return false
}

// entrant is a contender in one group.
type entrant struct {
	c       contender
	t       *trial
	samples [][]float64
	spent   time.Duration
}

// run measures a group: the contenders in turns, each turn beginning with
// another one, until the time is over.
func (b *bench) run(g *group) []row {
	fmt.Fprintf(os.Stderr, "%-60s", g.rows[0].Name)
	began := time.Now()
	var in []*entrant
	for _, c := range b.contenders {
		if !g.has(c) {
			continue
		}
		e := &entrant{c: c, samples: make([][]float64, len(g.rows))}
		if g.start != nil {
			t, err := g.start(b, c)
			if errors.Is(err, errNotOffered) {
				continue
			}
			if err != nil {
				b.fail(g.rows[0].Name+": prepare", c, err)
				continue
			}
			e.t = t
		}
		in = append(in, e)
	}
	// Once without measuring: caches, and the check of the end state.
	for i := 0; i < len(in); {
		if err := b.once(g, in[i], true); err != nil {
			if !errors.Is(err, errNotOffered) {
				b.fail(g.rows[0].Name, in[i].c, err)
			}
			if in[i].t != nil {
				_ = call(in[i].t.end)
			}
			in = append(in[:i], in[i+1:]...)
			continue
		}
		if g.measure == nil {
			in[i].samples = make([][]float64, len(g.rows))
		}
		i++
	}
	b.rounds(g, in)
	out := make([]row, len(g.rows))
	copy(out, g.rows)
	for i := range out {
		out[i].By = map[string]stat{}
		for _, e := range in {
			out[i].By[e.c.Name()] = sum(e.samples[i])
		}
	}
	for _, e := range in {
		if e.t != nil {
			if err := call(e.t.end); err != nil {
				b.fail(g.rows[0].Name+": clean up", e.c, err)
			}
		}
	}
	if err := hostQuiet(); err != nil {
		b.failed++
		fmt.Fprintf(os.Stderr, "bench: FAILED: %s: %v\n", g.rows[0].Name, err)
	}
	fmt.Fprintf(os.Stderr, " %6.1fs\n", time.Since(began).Seconds())
	return out
}

// minRounds is how many turns each contender has at least.
const minRounds = 3

func (b *bench) rounds(g *group, in []*entrant) {
	least, most := minRounds, g.rounds
	if b.quick {
		if g.measure != nil {
			return // once was enough
		}
		least, most = 1, 1
	}
	end := time.Now().Add(b.time)
	for round := 0; len(in) > 0; round++ {
		if most > 0 && round >= most || round >= least && time.Now().After(end) || b.n > 0 && len(in[0].samples[0]) >= b.n {
			return
		}
		idle := true
		for i := range in {
			e := in[(i+round)%len(in)]
			// One that takes very long does not have all the time.
			if e.spent > b.time/2 && round >= 2 {
				continue
			}
			idle = false
			began := time.Now()
			if err := b.turn(g, e); err != nil {
				b.fail(g.rows[0].Name, e.c, err)
				e.samples = make([][]float64, len(g.rows))
				return
			}
			e.spent += time.Since(began)
		}
		if idle {
			return
		}
	}
}

// turn is one burst of a contender. The garbage of the one before is collected
// first; its own is its own affair.
func (b *bench) turn(g *group, e *entrant) error {
	runtime.GC()
	burst := max(1, g.burst)
	if _, slow := e.c.(ipContender); slow {
		burst = min(burst, 2)
	}
	if b.quick {
		burst = 1
	}
	if burst == 1 {
		return b.once(g, e, true)
	}
	for i := range burst {
		if err := b.once(g, e, false); err != nil {
			return err
		}
		if i < burst/10 {
			for j := range e.samples { // warm-up
				e.samples[j] = e.samples[j][:len(e.samples[j])-1]
			}
		}
	}
	kept := len(e.samples[0])
	err := b.once(g, e, true)
	for j := range e.samples {
		e.samples[j] = e.samples[j][:min(kept, len(e.samples[j]))]
	}
	return err
}

// once does each step once. With check the state after each is verified.
func (b *bench) once(g *group, e *entrant, check bool) error {
	if g.measure != nil {
		values, err := g.measure(b, e.c)
		for i, v := range values {
			e.samples[i] = append(e.samples[i], v)
		}
		return err
	}
	if err := call(e.t.before); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	for i, step := range e.t.steps {
		began := time.Now()
		if marked {
			tracer.Mark(tracer.Begin(i))
		}
		err := step()
		if marked {
			tracer.Mark(tracer.End(i))
		}
		took := time.Since(began)
		if err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
		e.samples[i] = append(e.samples[i], float64(took.Nanoseconds())/float64(max(1, e.t.per)))
		if check {
			if err := call(e.t.checks[i]); err != nil {
				return fmt.Errorf("the end state of step %d: %w", i+1, err)
			}
		}
	}
	if err := call(e.t.after); err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	return nil
}
