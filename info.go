package osl

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/engine"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/types"
)

// info is what the sandbox held when Info was called. Nobody changes it: what is
// handed out is a copy.
type info struct {
	of     *engine.Held
	ifaces []Interface
	gw     [2]net.IP
	routes []*types.StaticRoute
}

// Info returns what the sandbox holds at this moment, and of a sandbox that is gone
// nothing. From the second call on the handle listens to what the kernel tells of
// changes, for which it takes a descriptor more, and reads only what may be otherwise.
func (n *Namespace) Info() Info {
	s := n.opened().Held()
	if last := n.info.Load(); last != nil && last.of == s {
		return last
	}
	i := &info{of: s}
	defer n.info.Store(i)
	parts, sources := s.Parts(), map[int]string{}
	for j := range s.Links {
		t, _ := plan.ParseTag(s.Links[j].Alias)
		sources[s.Links[j].Index] = t.Source
	}
	for j := range s.Links {
		l := &s.Links[j]
		t, ok := plan.ParseTag(l.Alias)
		if a, is := s.Sources[l.Index]; is && !ok {
			t, ok = plan.Tag{Origin: plan.Kept, Source: a}, true
		}
		if ok && t.Origin != plan.Far {
			i.ifaces = append(i.ifaces, n.iface(parts[l.Index], l, t, sources[l.Master]))
		}
	}
	slices.SortStableFunc(i.ifaces, func(a, b Interface) int { return cmp.Compare(a.(*iface).born, b.(*iface).born) })
	for j, v4 := range []bool{true, false} {
		if g := s.Gateway(v4); g.IsValid() {
			i.gw[j] = g.AsSlice()
		} else {
			i.gw[j] = s.Adopted.Gateways[j]
		}
	}
	for _, r := range s.Routes {
		if plan.IsSeedStatic(r) {
			i.routes = append(i.routes, toStatic(r))
		}
	}
	for _, r := range s.Statics {
		i.routes = append(i.routes, r.GetCopy())
	}
	return i
}

func toStatic(r rtnl.Route) *types.StaticRoute {
	out := &types.StaticRoute{Destination: toIPNet(r.Dst), RouteType: types.CONNECTED}
	if r.Via.IsValid() {
		out.RouteType, out.NextHop = types.NEXTHOP, r.Via.AsSlice()
	}
	return out
}

func (i *info) Interfaces() []Interface { return slices.Clone(i.ifaces) }
func (i *info) Gateway() net.IP         { return slices.Clone(i.gw[0]) }
func (i *info) GatewayIPv6() net.IP     { return slices.Clone(i.gw[1]) }
func (i *info) StaticRoutes() (list []*types.StaticRoute) {
	for _, r := range i.routes {
		list = append(list, r.GetCopy())
	}
	return list
}

// iface is one interface as Info read it.
type iface struct {
	n         *Namespace
	index     int
	born      int64
	alias     string
	src, dst  string
	master    string
	bridge    bool
	addr      [2]*net.IPNet
	linkLocal []*net.IPNet
	routes    []*net.IPNet
}

// iface reads an interface. s is what is on it.
func (n *Namespace) iface(s *plan.State, l *rtnl.Link, t plan.Tag, master string) *iface {
	i := &iface{n: n, index: l.Index, born: t.Born, alias: l.Alias, src: t.Source, dst: l.Name, bridge: l.Kind == "bridge", master: master}
	tagged := i.alias != "" && t.Origin != plan.None
	for _, a := range s.Addrs {
		if tagged && !isAddress(a) {
			continue
		}
		family := 0
		if a.Prefix.Addr().Is6() {
			family = 1
		}
		switch {
		case a.Prefix.Addr().IsLinkLocalUnicast():
			if a.Proto == rtnl.Protocol {
				i.linkLocal = append(i.linkLocal, toIPNet(a.Prefix))
			}
		case i.addr[family] == nil || family == 1: // the kernel lists the newest IPv6 address first
			i.addr[family] = toIPNet(a.Prefix)
		}
	}
	for _, r := range s.Routes {
		if !r.Via.IsValid() && !plan.IsStatic(r) {
			i.routes = append(i.routes, toIPNet(r.Dst))
		}
	}
	return i
}

// isAddress reports whether an address is one that an interface of osl was
// given, and no alias.
func isAddress(a rtnl.Addr) bool { return a.Proto == rtnl.Protocol }

func (i *iface) SrcName() string                  { return i.src }
func (i *iface) DstName() string                  { return i.dst }
func (i *iface) Address() *net.IPNet              { return copyOf(i.addr[0]) }
func (i *iface) AddressIPv6() *net.IPNet          { return copyOf(i.addr[1]) }
func (i *iface) LinkLocalAddresses() []*net.IPNet { return copies(i.linkLocal) }
func (i *iface) Routes() []*net.IPNet             { return copies(i.routes) }
func (i *iface) Bridge() bool                     { return i.bridge }
func (i *iface) Master() string                   { return i.master }

func copyOf(n *net.IPNet) *net.IPNet {
	if n == nil {
		return nil
	}
	return &net.IPNet{IP: slices.Clone(n.IP), Mask: slices.Clone(n.Mask)}
}

func copies(nets []*net.IPNet) (list []*net.IPNet) {
	for _, n := range nets {
		list = append(list, copyOf(n))
	}
	return list
}

// Remove takes the interface out of the sandbox; see [Interface].
func (i *iface) Remove() error {
	return public(i.n.opened().RemoveFound(context.Background(), i.dst, i.index, i.alias))
}

// Statistics reads the counters of the interface.
func (i *iface) Statistics() (*types.InterfaceStatistics, error) {
	s, err := i.n.opened().Statistics(context.Background(), i.dst, i.index)
	if err != nil {
		return nil, public(err)
	}
	x := statistics(s)
	return &x, nil
}

func statistics(s rtnl.Stats) types.InterfaceStatistics {
	return types.InterfaceStatistics{RxBytes: s.RxBytes, RxPackets: s.RxPackets, RxErrors: s.RxErrors, RxDropped: s.RxDropped,
		TxBytes: s.TxBytes, TxPackets: s.TxPackets, TxErrors: s.TxErrors, TxDropped: s.TxDropped}
}

func toIPNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
