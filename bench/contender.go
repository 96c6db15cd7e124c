//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/types"
)

// ctx is the context of every call that takes one.
var ctx = context.Background()

// errNotOffered is returned for what a contender has no means of doing. Its
// cell of the table is empty.
var errNotOffered = errors.New("not offered")

// contender is one way of having sandboxes. What a method does beyond its
// name is what the row that times it is about; everything that a caller could
// prepare is in its arguments, in the forms that the contenders take.
type contender interface {
	Name() string
	// Path returns where the sandbox of a name is pinned.
	Path(name string) string
	Create(name string) (sandbox, error)
	// Open opens a sandbox at a path, and knows its links then, which are as
	// given: eth0, eth1 and so on.
	Open(path string, links []*link) (sandbox, error)
	// Up makes many sandboxes and the links between them, Down removes them.
	Up(n *mesh) error
	Down(n *mesh) error
}

// sandbox is what contenders do with one.
type sandbox interface {
	Destroy() error
	// Close lets go of the handle and leaves the sandbox.
	Close() error
	// AddLink makes a veth in its place, up at both ends, with addresses and
	// routes.
	AddLink(l *link) error
	// AddBridge makes the bridge br0.
	AddBridge() error
	// MoveIn moves a link of the host in and gives it its address; MoveBack
	// moves it back as it was.
	MoveIn(l *link) error
	MoveBack(l *link) error
	SetGateway(r *route) error
	UnsetGateway(r *route) error
	AddRoute(r *route) error
	RemoveRoute(r *route) error
	AddNeighbor(n *neighbor) error
	DeleteNeighbor(n *neighbor) error
	// AddNeighbors and DeleteNeighbors do many, in one call where there is one.
	AddNeighbors(list []*neighbor) error
	DeleteNeighbors(list []*neighbor) error
	Invoke(f func()) error
	// Received returns the packets that a link has received.
	Received(name string) (uint64, error)
	AddAlias(dev string, a *alias) error
	RemoveAlias(dev string, a *alias) error
}

// What a contender, or its sandbox, may be able to do as well.
type (
	pooler interface {
		// Fill prepares spare sandboxes; HandOut pins one at a name.
		Fill(n int) error
		HandOut(name string) (sandbox, error)
		Drain()
	}
	// atOnce makes a whole life in fewer calls than one for each thing.
	atOnce interface {
		Configure(l *life) error
	}
)

// link is a veth of a sandbox, or a link of the host that is to move.
type link struct {
	Name   string // in the sandbox
	Peer   string // the other end, on the host
	Index  int    // in the sandbox
	Home   int    // index on the host, of a link that moves
	Source string // name on the host, of a link that moves
	Bridge bool   // is a port of br0
	Addrs  []netip.Prefix
	Nets   []*net.IPNet // the same as Addrs
	Routes []netip.Prefix
	To     []*net.IPNet // the same as Routes
}

func newLink(i int, peer string, addrs, routes []string) *link {
	l := &link{Name: fmt.Sprint("eth", i), Peer: peer, Index: 10 + i}
	for _, s := range addrs {
		p := netip.MustParsePrefix(s)
		l.Addrs, l.Nets = append(l.Addrs, p), append(l.Nets, ipNet(p))
	}
	for _, s := range routes {
		p := netip.MustParsePrefix(s)
		l.Routes, l.To = append(l.Routes, p), append(l.To, ipNet(p))
	}
	return l
}

// route is a route through a next hop, or with the destination 0.0.0.0/0 a
// gateway.
type route struct {
	Dst    netip.Prefix
	Via    netip.Addr
	IP     net.IP // the same as Via
	Net    *net.IPNet
	Static *types.StaticRoute
}

func newRoute(dst, via string) *route {
	r := &route{Dst: netip.MustParsePrefix(dst), Via: netip.MustParseAddr(via)}
	r.IP, r.Net = r.Via.AsSlice(), ipNet(r.Dst)
	r.Static = &types.StaticRoute{Destination: r.Net, RouteType: types.NEXTHOP, NextHop: r.IP}
	return r
}

// neighbor is a permanent neighbour on eth0.
type neighbor struct {
	IP  netip.Addr
	Net net.IP // the same as IP
	MAC net.HardwareAddr
}

// newNeighbors returns neighbours in 10.128.0.0/9.
func newNeighbors(n int) []*neighbor {
	list := make([]*neighbor, n)
	for i := range list {
		a := [4]byte{10, 128 + byte(i>>16), byte(i >> 8), byte(i)}
		list[i] = &neighbor{IP: netip.AddrFrom4(a), Net: net.IP(a[:]),
			MAC: net.HardwareAddr{2, 0, a[0], a[1], a[2], a[3]}}
	}
	return list
}

type alias struct {
	Prefix netip.Prefix
	Net    *net.IPNet
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// life is what a sandbox of the row "life cycle" holds.
type life struct {
	links   []*link
	bridge  bool
	gateway *route
	routes  []*route
}

// configure does it with a call for each thing, or as the contender can.
func (l *life) configure(s sandbox) error {
	if a, ok := s.(atOnce); ok {
		return a.Configure(l)
	}
	if l.bridge {
		if err := s.AddBridge(); err != nil {
			return fmt.Errorf("bridge: %w", err)
		}
	}
	for _, x := range l.links {
		if err := s.AddLink(x); err != nil {
			return fmt.Errorf("link %s: %w", x.Name, err)
		}
	}
	if err := s.SetGateway(l.gateway); err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	for _, r := range l.routes {
		if err := s.AddRoute(r); err != nil {
			return fmt.Errorf("route: %w", err)
		}
	}
	return nil
}

// mesh is a network of sandboxes, each linked to the next and to the one after
// that, with an address at each end.
type mesh struct {
	net   osl.Network
	names []string
	links []meshLink
}

type meshLink struct {
	ends  [2]int // of names
	dev   [2]string
	index [2]int
	addr  [2]netip.Prefix
}

func newMesh(sandboxes int) *mesh {
	m := &mesh{}
	devs := make([]int, sandboxes)
	for i := range sandboxes {
		m.names = append(m.names, fmt.Sprintf("mesh%d", i))
		m.net.Sandboxes = append(m.net.Sandboxes, osl.Spec{Name: m.names[i]})
	}
	for i := range 2 * sandboxes {
		l := meshLink{ends: [2]int{i / 2, (i/2 + 1 + i%2) % sandboxes}}
		var ends osl.Link
		for e, at := range l.ends {
			l.dev[e], l.index[e] = fmt.Sprint("eth", devs[at]), 10+devs[at]
			devs[at]++
			l.addr[e] = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 6), byte(i << 2), byte(e + 1)}), 30)
			ends[e] = osl.Endpoint{Sandbox: m.names[at], Interface: l.dev[e]}
			m.net.Sandboxes[at].Interfaces = append(m.net.Sandboxes[at].Interfaces,
				osl.InterfaceSpec{Name: l.dev[e], Addresses: []netip.Prefix{l.addr[e]}})
		}
		m.links = append(m.links, l)
		m.net.Links = append(m.net.Links, ends)
	}
	return m
}
