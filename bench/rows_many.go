//go:build linux

package main

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/bench/floor"
)

// many are the rows about large sandboxes and many of them.
func many(quick bool) []group {
	reopened, held, meshed := 200, 500, 200
	if quick {
		reopened, held, meshed = 8, 16, 8
	}
	return []group{reopen(reopened), upDown(meshed), perSandbox(held)}
}

// reopen opens a sandbox that has many interfaces, and finds them.
func reopen(n int) group {
	return group{
		rows: []row{timed(fmt.Sprintf("reopen with %d interfaces", n), target{Text: "≤ 1 ms", Abs: us(1000), Ratio: 1.7})},
		start: func(b *bench, c contender) (*trial, error) {
			if _, is := c.(ipContender); is {
				return nil, errNotOffered
			}
			name := b.name()
			links, err := crowd(c, name, n)
			if err != nil {
				return nil, err
			}
			path := c.Path(name)
			var s sandbox
			return &trial{
				steps: []func() error{func() (err error) { s, err = c.Open(path, links); return err }},
				checks: []func() error{func() error {
					have, err := linkCount(path)
					if err == nil && have != n+1 {
						err = fmt.Errorf("there are %d links, not %d", have, n+1)
					}
					return errors.Join(err, runsInside(s, path))
				}},
				after: func() error { return s.Close() },
				end:   func() error { return remove(path) },
			}, nil
		},
	}
}

// crowd makes a sandbox with many links and no handle on it: osl's by osl, so
// that it knows them, the others' by the floor.
func crowd(c contender, name string, n int) ([]*link, error) {
	links := make([]*link, n)
	for i := range links {
		links[i] = newLink(i, fmt.Sprintf("%s-%d", name, i), []string{fmt.Sprintf("10.%d.%d.2/24", 1+i/256, i%256)}, nil)
	}
	if c.Name() == "osl" {
		spec := osl.Spec{Name: name}
		for _, l := range links {
			spec.Interfaces = append(spec.Interfaces, oslSpec(l))
		}
		_, err := osl.Apply(ctx, osl.Network{Sandboxes: []osl.Spec{spec}})
		return links, err
	}
	s, err := floor.Create(c.Path(name))
	if err != nil {
		return nil, err
	}
	defer s.Close()
	host, err := floor.Dial()
	if err != nil {
		return nil, err
	}
	defer host.Close()
	for _, l := range links {
		if err := s.AddLinks(host, floorLink(l)); err != nil {
			return nil, err
		}
	}
	return links, nil
}

// remove unpins a sandbox that nobody has a handle on.
func remove(path string) error {
	s, err := floor.Open(path)
	if err != nil {
		return err
	}
	return s.Destroy()
}

// upDown makes a network of many sandboxes, with two links for each, and takes
// it down.
func upDown(n int) group {
	up := timed(fmt.Sprintf("up of %d sandboxes and %d links", n, 2*n), target{})
	up.Note = "osl: Apply and Down of one Network"
	return group{
		rows:   []row{up, timed("down of the same", target{})},
		rounds: 5,
		start: func(b *bench, c contender) (*trial, error) {
			if _, is := c.(ipContender); is {
				return nil, errNotOffered
			}
			m := newMesh(n)
			return &trial{
				steps: []func() error{func() error { return c.Up(m) }, func() error { return c.Down(m) }},
				checks: []func() error{
					func() error { return m.holds(c) },
					func() error {
						for _, name := range m.names {
							if err := isGone(c.Path(name)); err != nil {
								return err
							}
						}
						return nil
					}},
				// The links of dead namespaces are nowhere to be seen; making
				// and removing one more waits behind them.
				after: func() error { return behind(b) },
			}, nil
		},
	}
}

// holds checks each end of each link.
func (m *mesh) holds(c contender) error {
	for _, l := range m.links {
		for e, at := range l.ends {
			x := &link{Name: l.dev[e]}
			x.Addrs, x.Nets = append(x.Addrs, l.addr[e]), append(x.Nets, ipNet(l.addr[e]))
			if err := hasLink(c.Path(m.names[at]), x); err != nil {
				return fmt.Errorf("%s: %w", m.names[at], err)
			}
		}
	}
	return nil
}

// behind waits until the kernel has freed the namespaces that died before: it
// does so in order.
func behind(b *bench) error {
	c := &floorContender{}
	name := b.name()
	s, err := c.Create(name)
	if err != nil {
		return err
	}
	if err := s.AddLink(newLink(0, name, nil, nil)); err != nil {
		return err
	}
	// What it has on the host is left to the kernel, which comes to it last.
	if err := s.(*floorSandbox).s.Destroy(); err != nil {
		return err
	}
	return hostQuiet()
}

// perSandbox is what an open sandbox costs the process: what the Go runtime
// has allocated after a collection, and open descriptors and threads.
func perSandbox(n int) group {
	each := func(what, unit string, t target) row {
		return row{Name: "per open sandbox: " + what, Unit: unit, Target: t}
	}
	return group{
		rows: []row{each("memory", "B", target{Text: "≤ 1.5 KB", Abs: 1500}), each("descriptors", "", target{Text: "≤ 3", Abs: 3}),
			each("threads", "", target{Text: "0", Abs: 0.01})},
		rounds: 1,
		measure: func(b *bench, c contender) ([]float64, error) {
			if _, is := c.(ipContender); is {
				return nil, errNotOffered
			}
			open := make([]sandbox, 0, n)
			one, err := c.Create(b.name()) // what is opened once and for all
			if err != nil {
				return nil, err
			}
			memory, fds, threads, err := holding()
			if err != nil {
				return nil, err
			}
			for range n {
				name := b.name()
				s, err := c.Create(name)
				if err != nil {
					return nil, err
				}
				open = append(open, s)
			}
			memory2, fds2, threads2, err := holding()
			if err != nil {
				return nil, err
			}
			for _, s := range append(open, one) {
				if err := s.Destroy(); err != nil {
					return nil, err
				}
			}
			per := func(before, after int) float64 { return max(0, float64(after-before)/float64(n)) }
			return []float64{per(memory, memory2), per(fds, fds2), per(threads, threads2)}, behind(b)
		},
	}
}

// holding returns what the process has now.
func holding() (memory, descriptors, threads int, err error) {
	runtime.GC()
	runtime.GC() // what finalizers let go of in the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	descriptors, threads, err = openDescriptors()
	return int(m.HeapAlloc), descriptors, threads, err
}
