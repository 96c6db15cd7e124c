//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/seed59451c2b/osl/bench/tracer"
)

// createRows are the rows about empty sandboxes.
func createRows() []group { return []group{createDestroy(), handOut()} }

// lives are the rows about whole lives of sandboxes.
func lives() []group { return []group{lifeCycle(), perSecond(8, 500)} }

// createDestroy makes an empty sandbox and removes it.
func createDestroy() group {
	create := timed("create a sandbox (IPv6 off by default included)", upTo(1.1))
	create.Note = "moby and ip leave IPv6 on"
	return group{
		rows:  []row{create, timed("destroy, as the caller sees it", target{Text: "≤ 25 µs", Abs: us(25), Ratio: 1.8})},
		burst: 10,
		calls: true,
		start: func(b *bench, c contender) (*trial, error) {
			var name string
			var s sandbox
			return &trial{
				before: func() error { name = b.name(); return nil },
				steps: []func() error{
					func() (err error) { s, err = c.Create(name); return err },
					func() error { return s.Destroy() },
				},
				checks: []func() error{
					func() error { return isSandbox(c.Path(name), turnsIPv6Off(c)) },
					func() error { return isGone(c.Path(name)) },
				},
				after: settle,
			}, nil
		},
	}
}

// turnsIPv6Off reports whether a contender makes sandboxes with IPv6 off.
func turnsIPv6Off(c contender) bool {
	return c.Name() == "osl" || c.Name() == "calls" || c.Name() == "floor"
}

// settle gives the kernel a moment to free a namespace. Under a tracer that
// counts, nothing is measured, and the runtime's own calls for a timer are in
// the way.
func settle() error {
	if os.Getenv(tracer.LoopEnv) != "" {
		return nil
	}
	time.Sleep(2 * time.Millisecond)
	return nil
}

// handOut pins a namespace that was made before.
func handOut() group {
	return group{
		rows: []row{timed("create from a warm pool", target{Text: "≤ 15 µs", Abs: us(15), Ratio: 1.7})},
		start: func(b *bench, c contender) (*trial, error) {
			p, is := c.(pooler)
			if !is {
				return nil, errNotOffered
			}
			var s sandbox
			var name string
			left := 0
			t := &trial{
				before: func() error {
					name = b.name()
					if left--; left >= 0 {
						return nil
					}
					left = 9
					return p.Fill(10)
				},
				steps:  []func() error{func() (err error) { s, err = p.HandOut(name); return err }},
				checks: []func() error{func() error { return isSandbox(c.Path(name), turnsIPv6Off(c)) }},
				after:  func() error { return errors.Join(s.Destroy(), settle()) },
				end:    func() error { p.Drain(); return nil },
			}
			if err := p.Fill(0); err != nil {
				return nil, err
			}
			return t, nil
		},
		burst: 20,
		calls: true,
	}
}

// newLife is what a sandbox of a life cycle holds: a veth with an address, one
// that is a port of the bridge if there is one, a gateway and two routes.
func newLife(name string, bridge bool) *life {
	l := &life{bridge: bridge, gateway: newRoute("0.0.0.0/0", "10.1.0.1"),
		routes: []*route{newRoute("10.64.0.0/16", "10.1.0.1"), newRoute("10.65.0.0/16", "10.1.0.1")}}
	second := []string{"10.2.0.2/16"}
	if bridge {
		second = nil
	}
	l.links = []*link{newLink(0, name+"x", []string{"10.1.0.2/16"}, nil), newLink(1, name+"y", second, nil)}
	l.links[1].Bridge = bridge
	return l
}

// live is one life: made, configured, read, destroyed. look is called before
// the end.
func live(c contender, name string, l *life, look func() error) error {
	s, err := c.Create(name)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	if err := l.configure(s); err != nil {
		return errors.Join(err, s.Destroy())
	}
	for _, x := range l.links {
		if _, err := s.Received(x.Name); err != nil {
			return errors.Join(fmt.Errorf("statistics: %w", err), s.Destroy())
		}
	}
	if err := call(look); err != nil {
		return errors.Join(err, s.Destroy())
	}
	return s.Destroy()
}

// holds checks what a sandbox has in the middle of its life.
func (l *life) holds(path string) error {
	for _, x := range l.links {
		if err := hasLink(path, x); err != nil {
			return err
		}
	}
	for _, r := range append(l.routes, l.gateway) {
		if err := hasRoute(path, r); err != nil {
			return err
		}
	}
	return nil
}

// leaveEnds is what the others do not do.
const leaveEnds = "moby and ip leave the other ends of links to the kernel, which ends them a moment later"

// endsAreGone checks that destroying a sandbox left no other ends of its links.
func endsAreGone(c contender) error {
	if c.Name() != "osl" && c.Name() != "floor" {
		return nil
	}
	n, err := linkCount("")
	if err == nil && n > 1 {
		err = fmt.Errorf("%d links are left on the host by %s", n-1, c.Name())
	}
	return err
}

// lifeCycle is timed one at a time, the kernel's clean-up after each left out.
func lifeCycle() group {
	whole := timed("life cycle: create, 2 veths, bridge, master, gateway, routes, statistics, destroy", upTo(1.2))
	whole.Note = leaveEnds
	return group{
		rows: []row{whole},
		start: func(b *bench, c contender) (*trial, error) {
			name, l := "", (*life)(nil)
			renew := func() error {
				name = b.name()
				l = newLife(name, true)
				return nil
			}
			return &trial{
				before: renew,
				steps:  []func() error{func() error { return live(c, name, l, nil) }},
				// The end state is no more; a second life is looked at before
				// its end.
				checks: []func() error{func() error {
					if err := errors.Join(isGone(c.Path(name)), endsAreGone(c)); err != nil {
						return err
					}
					_ = renew()
					return live(c, name, l, func() error { return l.holds(c.Path(name)) })
				}},
				after: hostQuiet,
			}, nil
		},
	}
}

// perSecond counts life cycles without a bridge, several at once, with the
// kernel's clean-up after the last included: what can be kept up.
func perSecond(atOnce int, want float64) group {
	r := row{Name: fmt.Sprintf("life cycles per second, no bridge inside, %d at once", atOnce), Unit: "1/s", Rate: true,
		Target: target{Text: "≥ 500", Abs: want, Ratio: 1.2}, Note: leaveEnds}
	return group{rows: []row{r}, rounds: 5, measure: func(b *bench, c contender) ([]float64, error) {
		span := time.Second
		if b.quick {
			span = 50 * time.Millisecond
		}
		// One that is looked at.
		name := b.name()
		l := newLife(name, false)
		if err := live(c, name, l, func() error { return l.holds(c.Path(name)) }); err != nil {
			return nil, err
		}
		if err := hostQuiet(); err != nil {
			return nil, err
		}
		rate, err := throughput(b, c, atOnce, span)
		return []float64{rate}, err
	}}
}

// throughput runs life cycles for a time and returns how many per second.
func throughput(b *bench, c contender, atOnce int, span time.Duration) (float64, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result)
	began := time.Now()
	for range atOnce {
		prefix := b.name()
		go func() {
			var r result
			for ; r.err == nil && time.Since(began) < span; r.n++ {
				name := fmt.Sprintf("%s-%d", prefix, r.n)
				r.err = live(c, name, newLife(name, false), nil)
			}
			done <- r
		}()
	}
	total := 0
	var failed error
	for range atOnce {
		r := <-done
		total += r.n
		failed = errors.Join(failed, r.err)
	}
	if failed != nil {
		return 0, failed
	}
	if err := hostQuiet(); err != nil {
		return 0, err
	}
	return float64(total) / time.Since(began).Seconds(), nil
}
