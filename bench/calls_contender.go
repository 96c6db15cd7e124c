//go:build linux

package main

import (
	"path/filepath"

	"github.com/seed59451c2b/osl/bench/floor"
)

// callsContender makes osl's own system calls and does nothing else: between the
// floor and it is what osl's guarantees cost the kernel, between it and osl is
// osl's code. It is in the groups that ask for it.
type callsContender struct {
	floorContender
	calls  *floor.Calls
	spares []*floor.CalledSpare
}

func newCalls() *callsContender {
	return &callsContender{calls: floor.NewCalls(dirs["calls"])}
}

func (*callsContender) Name() string            { return "calls" }
func (*callsContender) Path(name string) string { return filepath.Join(dirs["calls"], name) }

func (c *callsContender) sandbox(s *floor.Called, err error) (sandbox, error) {
	if err != nil {
		return nil, err
	}
	return &callsSandbox{sandbox: &floorSandbox{s: s.Sandbox, hosts: &c.hosts}, s: s}, nil
}

func (c *callsContender) Create(name string) (sandbox, error) {
	return c.sandbox(c.calls.Create(c.Path(name)))
}

func (c *callsContender) Fill(n int) error {
	for range n {
		p, err := c.calls.Prepare()
		if err != nil {
			return err
		}
		c.spares = append(c.spares, p)
	}
	return nil
}

func (c *callsContender) HandOut(name string) (sandbox, error) {
	p := c.spares[len(c.spares)-1]
	c.spares = c.spares[:len(c.spares)-1]
	return c.sandbox(p.HandOut(c.Path(name)))
}

func (c *callsContender) Drain() {
	for _, p := range c.spares {
		p.Drop()
	}
	c.spares = nil
}

// callsSandbox is the floor's where osl's calls are the floor's.
type callsSandbox struct {
	sandbox
	s *floor.Called
}

// AddLink needs the setting of IPv6, which the floor keeps open from the first.
func (s *callsSandbox) AddLink(l *link) error {
	if err := s.s.KeepIPv6(); err != nil {
		return err
	}
	return s.sandbox.AddLink(l)
}

func (s *callsSandbox) Destroy() error        { return s.s.Destroy() }
func (s *callsSandbox) Invoke(f func()) error { return s.s.Invoke(f) }

func (s *callsSandbox) Received(string) (uint64, error) {
	st, err := s.s.Stats(eth0)
	return st.RxPackets, err
}
