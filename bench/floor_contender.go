//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"

	"github.com/seed59451c2b/osl/bench/floor"
)

// floorContender is the package floor behind the same interface.
type floorContender struct {
	hosts  sync.Pool // of sockets on the host, for a goroutine each
	spares []*floor.Spare
	mesh   map[string]*floor.Sandbox
}

func (*floorContender) Name() string            { return "floor" }
func (*floorContender) Path(name string) string { return filepath.Join(dirs["floor"], name) }

func (c *floorContender) Create(name string) (sandbox, error) {
	s, err := floor.Create(c.Path(name))
	if err != nil {
		return nil, err
	}
	return &floorSandbox{s: s, hosts: &c.hosts}, nil
}

// Open reads what there is: nothing less tells what a sandbox holds.
func (c *floorContender) Open(path string, links []*link) (sandbox, error) {
	s, err := floor.Open(path)
	if err != nil {
		return nil, err
	}
	if len(links) > 0 {
		have, addrs, err := s.Count()
		if err == nil && (have != len(links)+1 || addrs < len(links)) {
			err = fmt.Errorf("the floor finds %d links and %d addresses, not %d", have, addrs, len(links))
		}
		if err != nil {
			return nil, err
		}
	}
	return &floorSandbox{s: s, hosts: &c.hosts}, nil
}

// Up makes the sandboxes, then the links in a batch for each sandbox that has
// the first ends, then the rest in a batch for each sandbox.
func (c *floorContender) Up(m *mesh) error {
	boxes := make([]*floor.Sandbox, len(m.names))
	c.mesh = map[string]*floor.Sandbox{}
	for i, name := range m.names {
		var err error
		if boxes[i], err = floor.Create(c.Path(name)); err != nil {
			return err
		}
		c.mesh[name] = boxes[i]
	}
	for _, l := range m.links {
		far, err := boxes[l.ends[1]].NS()
		if err != nil {
			return err
		}
		boxes[l.ends[0]].Veth(l.index[0], l.dev[0], far, l.index[1], l.dev[1], 0)
	}
	for _, b := range boxes {
		if err := b.Flush(); err != nil {
			return err
		}
	}
	for _, l := range m.links {
		for e, at := range l.ends {
			boxes[at].Addr(l.index[e], l.addr[e])
			boxes[at].Up(l.index[e], "")
		}
	}
	for _, b := range boxes {
		if err := b.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (c *floorContender) Down(m *mesh) error {
	for _, name := range m.names {
		if err := c.mesh[name].Destroy(); err != nil {
			return err
		}
	}
	return nil
}

func (c *floorContender) Fill(n int) error {
	for range n {
		p, err := floor.Prepare()
		if err != nil {
			return err
		}
		c.spares = append(c.spares, p)
	}
	return nil
}

func (c *floorContender) HandOut(name string) (sandbox, error) {
	p := c.spares[len(c.spares)-1]
	c.spares = c.spares[:len(c.spares)-1]
	s, err := p.HandOut(c.Path(name))
	if err != nil {
		return nil, err
	}
	return &floorSandbox{s: s, hosts: &c.hosts}, nil
}

func (c *floorContender) Drain() {
	for _, p := range c.spares {
		p.Drop()
	}
	c.spares = nil
}

type floorSandbox struct {
	s     *floor.Sandbox
	hosts *sync.Pool
	last  string // the peer on the host of the last link
}

// onHost lends f a socket of the host.
func (s *floorSandbox) onHost(f func(host *floor.Conn) error) error {
	host, ok := s.hosts.Get().(*floor.Conn)
	if !ok {
		var err error
		if host, err = floor.Dial(); err != nil {
			return err
		}
	}
	defer s.hosts.Put(host)
	return f(host)
}

// eth0 is the index of the link eth0, and bridgeIndex of br0; the floor gives
// them.
const (
	eth0        = 10
	bridgeIndex = 5
)

// Destroy leaves no peer of a link on the host, as osl does.
func (s *floorSandbox) Destroy() error {
	if s.last == "" {
		return s.s.Destroy()
	}
	return s.onHost(func(host *floor.Conn) error { return s.s.DestroyWithEnds(host, s.last) })
}

func (s *floorSandbox) Close() error { return s.s.Close() }

func floorLink(l *link) floor.Link {
	x := floor.Link{Index: l.Index, Name: l.Name, Peer: l.Peer, Addrs: l.Addrs, Routes: l.Routes}
	if l.Bridge {
		x.Master = bridgeIndex
	}
	return x
}

func (s *floorSandbox) AddLink(l *link) error {
	s.last = l.Peer
	return s.onHost(func(host *floor.Conn) error { return s.s.AddLinks(host, floorLink(l)) })
}

func (s *floorSandbox) AddBridge() error {
	s.s.Bridge(bridgeIndex, "br0")
	return s.s.Flush()
}

// Configure does all in one batch, and sets the other ends up in another.
func (s *floorSandbox) Configure(l *life) error {
	if l.bridge {
		s.s.Bridge(bridgeIndex, "br0")
	}
	home, err := floor.Home()
	if err != nil {
		return err
	}
	send := s.s.Flush
	for _, x := range l.links {
		if s.s.Queue(home, floorLink(x)) {
			send = s.s.WithIPv6
		}
	}
	s.s.Route(0, l.gateway.Dst, l.gateway.Via)
	for _, r := range l.routes {
		s.s.Route(0, r.Dst, r.Via)
	}
	if err := send(); err != nil {
		return err
	}
	return s.onHost(func(host *floor.Conn) error {
		for _, x := range l.links {
			s.last = x.Peer
			host.Up(0, x.Peer)
		}
		return host.Flush()
	})
}

func (s *floorSandbox) MoveIn(l *link) error {
	ns, err := s.s.NS()
	if err != nil {
		return err
	}
	err = s.onHost(func(host *floor.Conn) error {
		host.Move(l.Home, ns, l.Index, l.Name)
		return host.Flush()
	})
	if err != nil {
		return err
	}
	s.s.Addr(l.Index, l.Addrs[0])
	return s.s.Flush()
}

func (s *floorSandbox) MoveBack(l *link) error {
	home, err := floor.Home()
	if err != nil {
		return err
	}
	s.s.Move(l.Index, home, l.Home, l.Source)
	return s.s.Flush()
}

func (s *floorSandbox) SetGateway(r *route) error   { return s.AddRoute(r) }
func (s *floorSandbox) UnsetGateway(r *route) error { return s.RemoveRoute(r) }
func (s *floorSandbox) Invoke(f func()) error       { return s.s.Invoke(f) }

func (s *floorSandbox) Enter() error { return s.s.Invoke(func() {}) }

func (s *floorSandbox) AddRoute(r *route) error {
	s.s.Route(0, r.Dst, r.Via)
	return s.s.Flush()
}

func (s *floorSandbox) RemoveRoute(r *route) error {
	s.s.DelRoute(r.Dst, netip.Addr{})
	return s.s.Flush()
}

func (s *floorSandbox) AddNeighbor(n *neighbor) error {
	s.s.Neigh(eth0, n.IP, n.MAC)
	return s.s.Flush()
}

func (s *floorSandbox) DeleteNeighbor(n *neighbor) error {
	s.s.DelNeigh(eth0, n.IP)
	return s.s.Flush()
}

// batch is how many bytes go into one send.
const batch = 128 << 10

func (s *floorSandbox) AddNeighbors(list []*neighbor) error {
	for _, n := range list {
		s.s.Neigh(eth0, n.IP, n.MAC)
		if s.s.Size() > batch {
			if err := s.s.Flush(); err != nil {
				return err
			}
		}
	}
	return s.s.Flush()
}

func (s *floorSandbox) DeleteNeighbors(list []*neighbor) error {
	for _, n := range list {
		s.s.DelNeigh(eth0, n.IP)
		if s.s.Size() > batch {
			if err := s.s.Flush(); err != nil {
				return err
			}
		}
	}
	return s.s.Flush()
}

func (s *floorSandbox) Received(string) (uint64, error) {
	st, err := s.s.Stats(eth0)
	return st.RxPackets, err
}

func (s *floorSandbox) AddAlias(_ string, a *alias) error {
	s.s.Addr(eth0, a.Prefix)
	return s.s.Flush()
}

func (s *floorSandbox) RemoveAlias(_ string, a *alias) error {
	s.s.DelAddr(eth0, a.Prefix)
	return s.s.Flush()
}
