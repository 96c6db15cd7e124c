//go:build linux

package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/seed59451c2b/osl"
)

// oslContender is osl as it is, with its guarantees: locks, tags, undo,
// verification. It sets nothing that a program would not.
type oslContender struct {
	pool *osl.Pool
}

func newOSL() *oslContender {
	osl.SetBasePath(filepath.Dir(dirs["osl"]))
	return &oslContender{}
}

func (*oslContender) Name() string            { return "osl" }
func (*oslContender) Path(name string) string { return filepath.Join(dirs["osl"], name) }

func (*oslContender) Create(name string) (sandbox, error) {
	n, err := osl.Create(ctx, name)
	if err != nil {
		return nil, err
	}
	return &oslSandbox{n: n}, nil
}

func (*oslContender) Open(path string, links []*link) (sandbox, error) {
	n, err := osl.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	if len(links) > 0 {
		if have := len(n.Info().Interfaces()); have != len(links) {
			return nil, fmt.Errorf("osl finds %d interfaces, not %d", have, len(links))
		}
	}
	return &oslSandbox{n: n}, nil
}

func (*oslContender) Up(m *mesh) error {
	_, err := osl.Apply(ctx, m.net)
	return err
}

func (*oslContender) Down(m *mesh) error {
	_, err := osl.Down(ctx, m.net)
	return err
}

type oslSandbox struct {
	n      *osl.Namespace
	ifaces map[string]osl.Interface
}

func (s *oslSandbox) Destroy() error { return s.n.Destroy() }
func (s *oslSandbox) Close() error   { return s.n.Close() }

func oslSpec(l *link) osl.InterfaceSpec {
	x := osl.InterfaceSpec{Name: l.Name, Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: l.Peer},
		Addresses: l.Addrs, Routes: l.Routes}
	if l.Bridge {
		x.Master = "br0"
	}
	return x
}

func (s *oslSandbox) AddLink(l *link) error { return s.n.AddLink(ctx, oslSpec(l)) }

func (s *oslSandbox) AddBridge() error {
	return s.n.AddLink(ctx, osl.InterfaceSpec{Name: "br0", Type: "bridge"})
}

// Configure says the whole sandbox at once.
func (s *oslSandbox) Configure(l *life) error {
	spec := osl.Spec{Gateway: l.gateway.Via}
	if l.bridge {
		spec.Interfaces = append(spec.Interfaces, osl.InterfaceSpec{Name: "br0", Type: "bridge"})
	}
	for _, x := range l.links {
		spec.Interfaces = append(spec.Interfaces, oslSpec(x))
	}
	for _, r := range l.routes {
		spec.Routes = append(spec.Routes, osl.RouteSpec{To: r.Dst, Via: r.Via})
	}
	_, err := s.n.Apply(ctx, spec)
	return err
}

func (s *oslSandbox) iface(src string) (osl.Interface, error) {
	if i := s.ifaces[src]; i != nil {
		return i, nil
	}
	s.ifaces = map[string]osl.Interface{}
	for _, i := range s.n.Info().Interfaces() {
		s.ifaces[i.SrcName()] = i
	}
	if i := s.ifaces[src]; i != nil {
		return i, nil
	}
	return nil, errors.New("osl does not list " + src)
}

func (s *oslSandbox) MoveIn(l *link) error {
	return s.n.AddInterface(l.Source, "eth", s.n.InterfaceOptions().Address(l.Nets[0]))
}

func (s *oslSandbox) MoveBack(l *link) error { return s.n.RemoveLink(ctx, l.Name) }

func (s *oslSandbox) SetGateway(r *route) error  { return s.n.SetGateway(r.IP) }
func (s *oslSandbox) UnsetGateway(*route) error  { return s.n.UnsetGateway() }
func (s *oslSandbox) AddRoute(r *route) error    { return s.n.AddStaticRoute(r.Static) }
func (s *oslSandbox) RemoveRoute(r *route) error { return s.n.RemoveStaticRoute(r.Static) }
func (s *oslSandbox) Invoke(f func()) error      { return s.n.InvokeFunc(f) }

func (s *oslSandbox) Known() int { return len(s.n.Info().Interfaces()) }

func (s *oslSandbox) Enter() error {
	leave, err := s.n.Enter()
	if err != nil {
		return err
	}
	return leave()
}

// onEth0 is the option of all neighbours; a program would keep it too.
var onEth0 = (*osl.Namespace)(nil).NeighborOptions().LinkName("eth0")

func (s *oslSandbox) AddNeighbor(n *neighbor) error {
	return s.n.AddNeighbor(n.Net, n.MAC, false, onEth0)
}

func (s *oslSandbox) DeleteNeighbor(n *neighbor) error {
	return s.n.DeleteNeighbor(n.Net, n.MAC, true)
}

func (s *oslSandbox) Received(name string) (uint64, error) {
	i, err := s.iface(name)
	if err != nil {
		return 0, err
	}
	st, err := i.Statistics()
	if err != nil {
		return 0, err
	}
	return st.RxPackets, nil
}

func (s *oslSandbox) AddAlias(dev string, a *alias) error    { return s.n.AddAliasIP(dev, a.Net) }
func (s *oslSandbox) RemoveAlias(dev string, a *alias) error { return s.n.RemoveAliasIP(dev, a.Net) }
