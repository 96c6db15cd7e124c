//go:build linux

package main

import (
	"errors"
	"fmt"
	"time"
)

// grower makes the group of one size of something.
type grower struct {
	growth
	sizes []int
	of    func(n int) group
	// apart says that the contenders are measured one after the other: at this
	// size they would be in each other's way.
	apart bool
	scale float64 // of the figures, to the unit of Y
}

func growers() []grower {
	return []grower{
		{growth: growth{Name: "neighbours", Title: "Adding neighbours in one call", X: "neighbours", Y: "ms"},
			sizes: []int{1, 10, 100, 1000, 10000, 100000}, of: manyNeighbors, scale: 1e-6},
		{growth: growth{Name: "routes", Title: "Making an interface where routes are present", X: "routes present", Y: "µs"},
			sizes: []int{0, 10, 100, 1000, 5000}, scale: 1e-3,
			of: func(n int) group { return inPlaceGroup(fmt.Sprintf("interface with %d routes present", n), n) }},
		{growth: growth{Name: "interfaces", Title: "Opening a sandbox again that has interfaces", X: "interfaces", Y: "ms"},
			sizes: []int{1, 10, 50, 100, 200}, of: reopen, scale: 1e-6},
		{growth: growth{Name: "sandboxes", Title: "Making one more sandbox", X: "sandboxes present", Y: "µs"},
			sizes: []int{1, 10, 100, 1000, 5000}, of: oneMore, apart: true, scale: 1e-3},
		{growth: growth{Name: "concurrency", Title: "Life cycles, several at once", X: "at once", Y: "per second"},
			sizes: []int{1, 2, 4, 8, 16, 32}, of: func(n int) group { return perSecond(n, 0) }, scale: 1},
	}
}

// growthTime is how long a size is measured.
const growthTime = 3 * time.Second

// growth measures all of them, without the ip command, and without the calls alone,
// which are of one sandbox at a time.
func (b *bench) growth() []growth {
	var in []contender
	for _, c := range b.contenders {
		switch c.(type) {
		case ipContender, *callsContender:
		default:
			in = append(in, c)
		}
	}
	var out []growth
	for _, g := range growers() {
		if b.only != nil && !b.only.MatchString("growth: "+g.Name) {
			continue
		}
		sizes := g.sizes
		if b.quick {
			sizes = sizes[:2]
		}
		g.By = map[string][]point{}
		for _, n := range sizes {
			sets := [][]contender{in}
			if g.apart {
				sets = nil
				for _, c := range in {
					sets = append(sets, []contender{c})
				}
			}
			for _, set := range sets {
				b2 := &bench{contenders: set, time: min(b.time, growthTime), quick: b.quick, names: b.names}
				of := g.of(n)
				if n == sizes[0] {
					of.rows[0].Name = "growth: " + g.Name
				} else {
					of.rows[0].Name = fmt.Sprintf("growth: %s, %d", g.Name, n)
				}
				for name, s := range b2.run(&of)[0].By {
					if s.N > 0 {
						g.By[name] = append(g.By[name], point{n, s.Median * g.scale})
					}
				}
				b.names, b.failed = b2.names, b.failed+b2.failed
			}
		}
		out = append(out, g.growth)
	}
	return out
}

// oneMore makes an empty sandbox while a number of others are there, open.
func oneMore(n int) group {
	g := createDestroy()
	g.rows[0].Note = ""
	g.burst = 5
	start := g.start
	g.start = func(b *bench, c contender) (*trial, error) {
		t, err := start(b, c)
		if err != nil {
			return nil, err
		}
		var others []sandbox
		t.end = func() error {
			var failed error
			for _, s := range others {
				failed = errors.Join(failed, s.Destroy())
			}
			return errors.Join(failed, behind(b))
		}
		for range n {
			s, err := c.Create(b.name())
			if err != nil {
				return nil, errors.Join(err, t.end())
			}
			others = append(others, s)
		}
		return t, nil
	}
	return g
}
