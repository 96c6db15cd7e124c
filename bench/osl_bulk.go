//go:build linux

package main

import (
	"iter"

	"github.com/seed59451c2b/osl"
)

// specs are neighbors as osl takes many of them. To convert them is a part of
// what is timed.
func specs(list []*neighbor) iter.Seq[osl.NeighborSpec] {
	return func(yield func(osl.NeighborSpec) bool) {
		for _, n := range list {
			if !yield(osl.NeighborSpec{Dev: "eth0", IP: n.IP, MAC: osl.MAC(n.MAC)}) {
				return
			}
		}
	}
}

func (s *oslSandbox) AddNeighbors(list []*neighbor) error {
	return s.n.AddNeighbors(ctx, specs(list))
}

func (s *oslSandbox) DeleteNeighbors(list []*neighbor) error {
	return s.n.DeleteNeighbors(ctx, specs(list))
}

// Fill makes twice as many as are handed out: a pool is filled again when half
// of it is gone, which is not what is timed.
func (c *oslContender) Fill(n int) error {
	c.Drain()
	c.pool = osl.NewPool(2 * n)
	c.pool.Wait()
	return nil
}

func (c *oslContender) HandOut(name string) (sandbox, error) {
	n, err := c.pool.Create(ctx, name)
	if err != nil {
		return nil, err
	}
	return &oslSandbox{n: n}, nil
}

func (c *oslContender) Drain() {
	if c.pool != nil {
		_ = c.pool.Close()
	}
	c.pool = nil
}
