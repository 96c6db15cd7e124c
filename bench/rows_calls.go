//go:build linux

package main

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// What a sandbox of some contenders offers as well.
type (
	// enterer goes in and comes back, by its own rules.
	enterer interface{ Enter() error }
	// informer tells what it knows of its links, and returns how many there are.
	informer interface{ Known() int }
)

// calls are the rows about calls as a program makes them: from any thread, many at
// once, after a pause.
func calls() []group {
	limit := upTo(1.7)
	gw := newRoute("0.0.0.0/0", "10.1.0.1")
	return []group{
		andCalls(single(timed("InvokeFunc, empty", limit), 50, invoke)),
		andCalls(single(timed("InvokeFunc, from a locked thread", limit), 50, func(s sandbox, path string) *trial {
			t := invoke(s, path)
			t.before = func() error { runtime.LockOSThread(); return nil }
			t.after = func() error { runtime.UnlockOSThread(); return nil }
			return t
		})),
		invokeMany(limit, 16, 100),
		andCalls(single(timed("InvokeFunc, after a pause of 2 ms", limit), 20, func(s sandbox, path string) *trial {
			t := invoke(s, path)
			t.before = func() error { time.Sleep(2 * time.Millisecond); return nil }
			return t
		})),
		entering(),
		afterPause(gw),
		known("Info of an unchanged sandbox", target{Text: "≤ 2 µs", Abs: us(2)}, "10.1.0.2/16"),
		known("the same with IPv6 addresses", target{}, "10.1.0.2/16", "fd00::2/64"),
	}
}

// invokeMany is the time of one call where many goroutines make them.
func invokeMany(limit target, goroutines, each int) group {
	r := timed(fmt.Sprintf("InvokeFunc, %d goroutines at once", goroutines), limit)
	return group{rows: []row{r}, burst: 1, calls: true, start: func(b *bench, c contender) (*trial, error) {
		if _, is := c.(ipContender); is {
			return nil, errNotOffered
		}
		s, path, end, err := fixture(b, c)
		if err != nil {
			return nil, err
		}
		if err := s.Invoke(func() {}); err != nil { // the floor opens what it needs at the first, and looks at no other goroutine
			return nil, err
		}
		return &trial{
			per: goroutines * each,
			steps: []func() error{func() error {
				errs := make([]error, goroutines)
				var wg sync.WaitGroup
				for g := range errs {
					wg.Go(func() {
						for range each {
							if errs[g] == nil {
								errs[g] = s.Invoke(func() {})
							}
						}
					})
				}
				wg.Wait()
				for _, err := range errs {
					if err != nil {
						return err
					}
				}
				return nil
			}},
			checks: []func() error{func() error { return runsInside(s, path) }},
			end:    end,
		}, nil
	}}
}

// entering goes in and comes back without a function.
func entering() group {
	return group{rows: []row{timed("Enter and leave", upTo(1.2))}, burst: 50, start: func(b *bench, c contender) (*trial, error) {
		s, path, end, err := fixture(b, c)
		if err != nil {
			return nil, err
		}
		e, is := s.(enterer)
		if !is {
			return nil, errNotOfferedAfter(end)
		}
		return &trial{steps: []func() error{e.Enter}, checks: []func() error{func() error { return runsInside(s, path) }}, end: end}, nil
	}}
}

// afterPause changes one thing when nothing was done for a while.
func afterPause(gw *route) group {
	return single(timed("gateway set, the first change after 20 ms", upTo(3)), 10, func(s sandbox, path string) *trial {
		return &trial{
			before: func() error { time.Sleep(20 * time.Millisecond); return nil },
			steps:  []func() error{func() error { return s.SetGateway(gw) }},
			checks: []func() error{func() error { return hasRoute(path, gw) }},
			after:  func() error { return s.UnsetGateway(gw) },
		}
	})
}

// known asks what is in a sandbox in which nothing changed.
func known(name string, t target, addrs ...string) group {
	return group{rows: []row{timed(name, t)}, burst: 50, start: func(b *bench, c contender) (*trial, error) {
		name := b.name()
		s, err := c.Create(name)
		if err != nil {
			return nil, err
		}
		end := s.Destroy
		if err := s.AddLink(newLink(0, "h"+name, addrs, nil)); err != nil {
			return nil, errors.Join(err, end())
		}
		i, is := s.(informer)
		if !is {
			return nil, errNotOfferedAfter(end)
		}
		n := 0
		return &trial{
			steps: []func() error{func() error { n = i.Known(); return nil }},
			checks: []func() error{func() error {
				if n != 1 {
					return fmt.Errorf("it knows %d interfaces, not 1", n)
				}
				return nil
			}},
			end: end,
		}, nil
	}}
}

// errNotOfferedAfter ends a fixture that is of no use.
func errNotOfferedAfter(end func() error) error {
	if err := end(); err != nil {
		return err
	}
	return errNotOffered
}
