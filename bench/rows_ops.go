//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
)

// us is a time in the unit of the rows, from microseconds.
func us(n float64) float64 { return n * 1000 }

// upTo is a target that is a multiple of the floor.
func upTo(ratio float64) target {
	return target{Text: fmt.Sprintf("≤ %g floor", ratio), Ratio: ratio}
}

// timed is a row of a time.
func timed(name string, t target) row { return row{Name: name, Unit: "ns", Target: t} }

// fixture is a sandbox of a contender with the link eth0, for rows that change
// one thing in it.
func fixture(b *bench, c contender) (s sandbox, path string, end func() error, err error) {
	name := b.name()
	if s, err = c.Create(name); err != nil {
		return nil, "", nil, err
	}
	l := newLink(0, "h"+name, []string{"10.1.0.2/16", "fd00::2/64"}, nil)
	end = s.Destroy
	if err := s.AddLink(l); err != nil {
		return nil, "", nil, errors.Join(err, end())
	}
	return s, c.Path(name), end, hasLink(c.Path(name), l)
}

// pair makes a group of two rows, of which the second undoes the first.
func pair(first, second row, burst int, steps func(s sandbox, path string) *trial) group {
	return group{rows: []row{first, second}, burst: burst, start: func(b *bench, c contender) (*trial, error) {
		s, path, end, err := fixture(b, c)
		if err != nil {
			return nil, err
		}
		t := steps(s, path)
		t.end = end
		return t, nil
	}}
}

// single makes a group of one row.
func single(r row, burst int, steps func(s sandbox, path string) *trial) group {
	g := pair(r, row{}, burst, steps)
	g.rows = g.rows[:1]
	return g
}

// andCalls lets osl's system calls alone take part in a group.
func andCalls(g group) group {
	g.calls = true
	return g
}

// operations are the rows that change or read one thing of a sandbox.
func operations(quick bool) []group {
	neighborCount := 10000
	if quick {
		neighborCount = 200
	}
	gw, static := newRoute("0.0.0.0/0", "10.1.0.1"), newRoute("10.64.0.0/16", "10.1.0.1")
	n := newNeighbors(1)[0]
	vip := &alias{Prefix: netip.MustParsePrefix("10.99.0.1/32")}
	vip.Net = ipNet(vip.Prefix)
	return []group{
		inPlaceGroup("interface made in place (veth, v4, v6, routes)", 0),
		inPlaceGroup("the same with 500 routes in the sandbox", 500),
		inPlaceGroup("the same with 5,000 routes in the sandbox", 5000),
		moves(),
		pair(timed("gateway set", upTo(1.5)), timed("gateway unset", upTo(1.5)), 50, func(s sandbox, path string) *trial {
			return &trial{
				steps:  []func() error{func() error { return s.SetGateway(gw) }, func() error { return s.UnsetGateway(gw) }},
				checks: []func() error{func() error { return hasRoute(path, gw) }, func() error { return noRoute(path, gw) }},
			}
		}),
		pair(timed("static route add", upTo(1.5)), timed("static route remove", upTo(1.5)), 50, func(s sandbox, path string) *trial {
			return &trial{
				steps:  []func() error{func() error { return s.AddRoute(static) }, func() error { return s.RemoveRoute(static) }},
				checks: []func() error{func() error { return hasRoute(path, static) }, func() error { return noRoute(path, static) }},
			}
		}),
		pair(timed("neighbour add", upTo(1.5)), timed("neighbour delete", upTo(1.5)), 50, func(s sandbox, path string) *trial {
			return &trial{
				steps: []func() error{func() error { return s.AddNeighbor(n) }, func() error { return s.DeleteNeighbor(n) }},
				checks: []func() error{
					func() error { return neighbors(path, []*neighbor{n}, true) },
					func() error { return neighbors(path, []*neighbor{n}, false) }},
			}
		}),
		manyNeighbors(neighborCount),
		andCalls(single(timed("statistics of one interface", upTo(1.3)), 50, statistics)),
		pair(timed("alias IP add", upTo(1.3)), timed("alias IP remove", upTo(1.3)), 50, func(s sandbox, path string) *trial {
			return &trial{
				steps:  []func() error{func() error { return s.AddAlias("eth0", vip) }, func() error { return s.RemoveAlias("eth0", vip) }},
				checks: []func() error{func() error { return hasAddr(path, "eth0", vip, true) }, func() error { return hasAddr(path, "eth0", vip, false) }},
			}
		}),
	}
}

// inPlaceGroup makes an interface in a sandbox that has a number of routes
// already, on another interface.
func inPlaceGroup(name string, routes int) group {
	g := group{rows: []row{timed(name, upTo(1.2))}}
	if routes > 0 {
		g.rows[0].Target.Text = "flat, ≤ 1.2 floor"
	}
	g.start = func(b *bench, c contender) (*trial, error) {
		if _, is := c.(ipContender); is && routes > 0 {
			return nil, errNotOffered
		}
		name := b.name()
		path, peer := c.Path(name), "p"+name
		s, err := c.Create(name)
		if err != nil {
			return nil, err
		}
		if routes > 0 {
			if err := s.AddLink(newLink(0, "h"+name, []string{"10.1.0.2/16"}, nil)); err != nil {
				return nil, err
			}
			if err := fillRoutes(path, routes, c.Name()); err != nil {
				return nil, err
			}
		}
		t := &trial{end: s.Destroy}
		i := min(1, routes)
		l := newLink(i, peer, []string{"10.2.0.2/16", "fd01::2/64"}, []string{"10.3.0.0/16", "10.4.0.0/16"})
		t.steps = []func() error{func() error { return s.AddLink(l) }}
		t.checks = []func() error{func() error { return hasLink(path, l) }}
		// The link is deleted by its other end, which is the fastest way. Moby
		// keeps a list of its own, and must be told before.
		t.after = func() error {
			if m, is := s.(*mobySandbox); is {
				if err := m.remove(l); err != nil {
					return err
				}
			}
			return deleteHostLink(peer)
		}
		return t, nil
	}
	return g
}

// moves moves a link of the host in and back.
func moves() group {
	return group{
		rows: []row{timed("existing link moved in", upTo(1.05)), timed("moved back", upTo(1.05))},
		start: func(b *bench, c contender) (*trial, error) {
			name := b.name()
			path := c.Path(name)
			l := newLink(0, "", []string{"10.1.0.2/16"}, nil)
			l.Source = "m" + name
			err := witness("", func(h *netlink.Handle) error {
				v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: l.Source}, PeerName: "f" + name}
				if err := h.LinkAdd(v); err != nil {
					return err
				}
				l.Home = v.Index
				return errors.Join(h.LinkSetUp(v), h.LinkSetUp(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Name: v.PeerName}}))
			})
			if err != nil {
				return nil, err
			}
			s, err := c.Create(name)
			if err != nil {
				return nil, err
			}
			return &trial{
				steps:  []func() error{func() error { return s.MoveIn(l) }, func() error { return s.MoveBack(l) }},
				checks: []func() error{func() error { return hasLink(path, l) }, func() error { return errors.Join(hostLink(l.Source), noLink(path, l.Name)) }},
				end:    func() error { return errors.Join(s.Destroy(), deleteHostLink(l.Source)) },
			}, nil
		},
	}
}

// manyNeighbors adds and deletes many in one call.
func manyNeighbors(n int) group {
	list := newNeighbors(n)
	var limit target
	if n == 10000 {
		limit = target{Text: "≤ 12 ms", Abs: us(12000), Ratio: 1.3}
	}
	many := thousands(float64(n)) + " neighbours "
	g := pair(timed(many+"added (in one call)", limit), timed(many+"deleted", limit), 1,
		func(s sandbox, path string) *trial {
			return &trial{
				steps:  []func() error{func() error { return s.AddNeighbors(list) }, func() error { return s.DeleteNeighbors(list) }},
				checks: []func() error{func() error { return neighbors(path, list, true) }, func() error { return neighbors(path, list, false) }},
			}
		})
	return g
}

// invoke runs a function that does nothing; the check is one that looks where
// it runs.
func invoke(s sandbox, path string) *trial {
	return &trial{
		steps: []func() error{func() error { return s.Invoke(func() {}) }},
		checks: []func() error{func() error {
			if _, is := s.(ipSandbox); is {
				return nil // its command showed by succeeding that there is such a namespace
			}
			return runsInside(s, path)
		}},
	}
}

// statistics reads counters, which must be those that the witness reads.
func statistics(s sandbox, path string) *trial {
	var got uint64
	return &trial{
		// The other end says something soon by itself.
		before: func() error {
			for end := time.Now().Add(5 * time.Second); got == 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				n, err := received(path, "eth0")
				if err != nil {
					return err
				}
				got = n
			}
			return nil
		},
		steps: []func() error{func() (err error) {
			got, err = s.Received("eth0")
			return err
		}},
		checks: []func() error{func() error {
			before, err := s.Received("eth0")
			if err != nil {
				return err
			}
			want, err := received(path, "eth0")
			if err != nil {
				return err
			}
			after, err := s.Received("eth0")
			if err == nil && (want < before || want > after || got > want || want == 0) {
				err = fmt.Errorf("eth0 received %d packets, read were %d, %d and %d", want, got, before, after)
			}
			return err
		}},
	}
}
