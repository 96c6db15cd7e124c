//go:build linux

package main

import (
	"errors"
	"fmt"
	"path/filepath"

	mobyns "github.com/moby/moby/v2/daemon/libnetwork/ns"
	moby "github.com/moby/moby/v2/daemon/libnetwork/osl"
	mobytypes "github.com/moby/moby/v2/daemon/libnetwork/types"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// mobyContender is moby's package osl, as its bridge driver uses it: a veth is
// made with its end in the sandbox in place, where moby then names and
// configures it. The announcement of addresses, which it may repeat for
// seconds, is off.
type mobyContender struct{ mesh []sandbox }

func (*mobyContender) Name() string            { return "moby" }
func (*mobyContender) Path(name string) string { return filepath.Join(dirs["moby"], name) }

func (c *mobyContender) Create(name string) (sandbox, error) { return c.create(name) }

func (c *mobyContender) create(name string) (*mobySandbox, error) {
	n, err := moby.NewSandbox(c.Path(name), true, false)
	if err != nil {
		return nil, err
	}
	return &mobySandbox{n: n}, nil
}

func (c *mobyContender) Open(path string, links []*link) (sandbox, error) {
	n, err := moby.NewSandbox(path, true, true)
	if err != nil || len(links) == 0 {
		return &mobySandbox{n: n}, err
	}
	all := map[moby.Iface][]moby.IfaceOption{}
	for _, l := range links {
		all[moby.Iface{SrcName: source(l), DstPrefix: "eth"}] = mobyOptions(l)
	}
	if err := n.RestoreInterfaces(ctx, all); err != nil {
		return nil, err
	}
	if have := len(n.Interfaces()); have != len(links) {
		return nil, fmt.Errorf("moby restored %d interfaces, not %d", have, len(links))
	}
	return &mobySandbox{n: n}, nil
}

// Up makes each link in the sandbox of its first end, with the second in its
// place, and then gives moby both.
func (c *mobyContender) Up(m *mesh) error {
	boxes := make([]*mobySandbox, len(m.names))
	c.mesh = nil
	for i, name := range m.names {
		var err error
		if boxes[i], err = c.create(name); err != nil {
			return err
		}
		c.mesh = append(c.mesh, boxes[i])
	}
	for _, l := range m.links {
		ends := [2]*link{}
		for e := range ends {
			ends[e] = newLink(l.index[e]-10, "", []string{l.addr[e].String()}, nil)
		}
		if err := inPlace(boxes[l.ends[0]].n.Key(), source(ends[0]), boxes[l.ends[1]].n.Key(), source(ends[1])); err != nil {
			return err
		}
		for e, at := range l.ends {
			if err := boxes[at].adopt(ends[e]); err != nil {
				return err
			}
		}
	}
	return nil
}

// inPlace makes a veth with its ends in two namespaces.
func inPlace(path, name, peerPath, peer string) error {
	here, err := netns.GetFromPath(path)
	if err != nil {
		return err
	}
	defer here.Close()
	there, err := netns.GetFromPath(peerPath)
	if err != nil {
		return err
	}
	defer there.Close()
	return mobyns.NlHandle().LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, Namespace: netlink.NsFd(here)},
		PeerName: peer, PeerNamespace: netlink.NsFd(there)})
}

func (c *mobyContender) Down(*mesh) error {
	for _, s := range c.mesh {
		if err := s.Destroy(); err != nil {
			return err
		}
	}
	return nil
}

type mobySandbox struct {
	n      *moby.Namespace
	routes map[*route]*mobytypes.StaticRoute
}

func (s *mobySandbox) Destroy() error { return s.n.Destroy() }

// Close does nothing: moby has no way of closing a sandbox without destroying
// it.
func (s *mobySandbox) Close() error { return nil }

// source is the name under which moby finds a link before it names it.
func source(l *link) string { return "src-" + l.Name }

func mobyOptions(l *link) []moby.IfaceOption {
	options := []moby.IfaceOption{moby.WithAdvertiseAddrNMsgs(0)}
	for i, a := range l.Addrs {
		if a.Addr().Is4() {
			options = append(options, moby.WithIPv4Address(l.Nets[i]))
		} else {
			options = append(options, moby.WithIPv6Address(l.Nets[i]))
		}
	}
	if len(l.To) > 0 {
		options = append(options, moby.WithRoutes(l.To))
	}
	if l.Bridge {
		options = append(options, moby.WithMaster("br0"))
	}
	return options
}

func (s *mobySandbox) adopt(l *link) error {
	return s.n.AddInterface(ctx, source(l), "eth", "", append(mobyOptions(l), moby.WithCreatedInContainer(true))...)
}

func (s *mobySandbox) AddLink(l *link) error {
	ns, err := netns.GetFromPath(s.n.Key())
	if err != nil {
		return err
	}
	defer ns.Close()
	h := mobyns.NlHandle()
	host := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: l.Peer}, PeerName: source(l), PeerNamespace: netlink.NsFd(ns)}
	if err := h.LinkAdd(host); err != nil {
		return err
	}
	if err := h.LinkSetUp(host); err != nil {
		return err
	}
	return s.adopt(l)
}

// remove makes moby forget a link; it moves it to the host.
func (s *mobySandbox) remove(l *link) error {
	i := s.n.InterfaceBySrcName(source(l))
	if i == nil {
		return errors.New("moby does not know " + source(l))
	}
	return i.Remove()
}

func (s *mobySandbox) AddBridge() error {
	return s.n.AddInterface(ctx, "br0", "br", "", moby.WithIsBridge(true), moby.WithAdvertiseAddrNMsgs(0))
}

func (s *mobySandbox) MoveIn(l *link) error {
	return s.n.AddInterface(ctx, l.Source, "eth", "", moby.WithIPv4Address(l.Nets[0]), moby.WithAdvertiseAddrNMsgs(0))
}

// MoveBack sets the link up on the host as well: moby leaves it down.
func (s *mobySandbox) MoveBack(l *link) error {
	i := s.n.InterfaceBySrcName(l.Source)
	if i == nil {
		return errors.New("moby does not know " + l.Source)
	}
	if err := i.Remove(); err != nil {
		return err
	}
	return mobyns.NlHandle().LinkSetUp(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Name: l.Source}})
}

func (s *mobySandbox) SetGateway(r *route) error { return s.n.SetGateway(r.IP) }
func (s *mobySandbox) UnsetGateway(*route) error { return s.n.UnsetGateway() }

func (s *mobySandbox) static(r *route) *mobytypes.StaticRoute {
	x := s.routes[r]
	if x == nil {
		if s.routes == nil {
			s.routes = map[*route]*mobytypes.StaticRoute{}
		}
		x = &mobytypes.StaticRoute{Destination: r.Net, RouteType: mobytypes.NEXTHOP, NextHop: r.IP}
		s.routes[r] = x
	}
	return x
}

func (s *mobySandbox) AddRoute(r *route) error    { return s.n.AddStaticRoute(s.static(r)) }
func (s *mobySandbox) RemoveRoute(r *route) error { return s.n.RemoveStaticRoute(s.static(r)) }

// mobyEth0 is the option of all neighbours.
var mobyEth0 = moby.WithLinkName("src-eth0")

func (s *mobySandbox) AddNeighbor(n *neighbor) error {
	return s.n.AddNeighbor(n.Net, n.MAC, mobyEth0)
}

func (s *mobySandbox) DeleteNeighbor(n *neighbor) error {
	return s.n.DeleteNeighbor(n.Net, n.MAC, mobyEth0)
}

func (s *mobySandbox) AddNeighbors(list []*neighbor) error {
	for _, n := range list {
		if err := s.AddNeighbor(n); err != nil {
			return err
		}
	}
	return nil
}

func (s *mobySandbox) DeleteNeighbors(list []*neighbor) error {
	for _, n := range list {
		if err := s.DeleteNeighbor(n); err != nil {
			return err
		}
	}
	return nil
}

func (s *mobySandbox) Invoke(f func()) error { return s.n.InvokeFunc(f) }

func (s *mobySandbox) Known() int { return len(s.n.Interfaces()) } // from its own memory

func (s *mobySandbox) Received(name string) (uint64, error) {
	i := s.n.InterfaceBySrcName("src-" + name)
	if i == nil {
		return 0, errors.New("moby does not know " + name)
	}
	st, err := i.Statistics()
	if err != nil {
		return 0, err
	}
	return st.RxPackets, nil
}

func (s *mobySandbox) AddAlias(dev string, a *alias) error    { return s.n.AddAliasIP(dev, a.Net) }
func (s *mobySandbox) RemoveAlias(dev string, a *alias) error { return s.n.RemoveAliasIP(dev, a.Net) }
