package osl

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/types"
)

// info is what the sandbox held when Info was called.
type info struct {
	ifaces []Interface
	gw     [2]net.IP
	routes []*types.StaticRoute
}

// Info reads the sandbox and returns what it holds. After Destroy it is empty.
func (n *Namespace) Info() Info {
	s := n.state()
	n.mu.Lock()
	adopted := n.lookup.adopted
	n.mu.Unlock()
	i := &info{}
	parts, sources := s.Parts(), map[int]string{}
	for j := range s.Links {
		t, _ := plan.ParseTag(s.Links[j].Alias)
		sources[s.Links[j].Index] = t.Source
	}
	for j := range s.Links {
		l := &s.Links[j]
		t, ok := plan.ParseTag(l.Alias)
		if a, is := adopted.links[l.Index]; is && !ok {
			t, ok = plan.Tag{Origin: plan.Kept, Source: a}, true
		}
		if ok && t.Origin != plan.Far {
			i.ifaces = append(i.ifaces, n.iface(parts[l.Index], l, t, sources[l.Master]))
		}
	}
	slices.SortStableFunc(i.ifaces, func(a, b Interface) int { return cmp.Compare(a.(*iface).born, b.(*iface).born) })
	for j, v4 := range []bool{true, false} {
		if g := defaultRoute(s, v4); g.IsValid() {
			i.gw[j] = g.AsSlice()
		} else {
			i.gw[j] = adopted.gateways[j]
		}
	}
	for _, r := range s.Routes {
		if isStatic(r) {
			i.routes = append(i.routes, toStatic(r))
		}
	}
	for _, r := range adopted.routes {
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

func (i *info) Interfaces() []Interface            { return slices.Clone(i.ifaces) }
func (i *info) Gateway() net.IP                    { return i.gw[0] }
func (i *info) GatewayIPv6() net.IP                { return i.gw[1] }
func (i *info) StaticRoutes() []*types.StaticRoute { return slices.Clone(i.routes) }

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
		if !r.Via.IsValid() && !isStatic(r) {
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
func (i *iface) Address() *net.IPNet              { return i.addr[0] }
func (i *iface) AddressIPv6() *net.IPNet          { return i.addr[1] }
func (i *iface) LinkLocalAddresses() []*net.IPNet { return i.linkLocal }
func (i *iface) Routes() []*net.IPNet             { return i.routes }
func (i *iface) Bridge() bool                     { return i.bridge }
func (i *iface) Master() string                   { return i.master }

// Remove takes the interface out of the sandbox; see [Interface].
func (i *iface) Remove() error {
	err := i.n.removeIndex(context.Background(), i.index, i.alias)
	if isClosed(err) {
		return nil
	}
	return fail("remove interface", i.n.key, i.dst, err)
}

// Statistics reads the counters of the interface.
func (i *iface) Statistics() (*types.InterfaceStatistics, error) {
	const op = "read the statistics of interface"
	conn, err := i.n.live()
	if err != nil {
		return nil, fail(op, i.n.key, i.dst, err)
	}
	var s rtnl.Stats
	if err := conn.One(context.Background(), rtnl.GetStats(i.index, &s)); err != nil {
		return nil, fail(op, i.n.key, i.dst, err)
	}
	return &types.InterfaceStatistics{RxBytes: s.RxBytes, RxPackets: s.RxPackets, RxErrors: s.RxErrors, RxDropped: s.RxDropped,
		TxBytes: s.TxBytes, TxPackets: s.TxPackets, TxErrors: s.TxErrors, TxDropped: s.TxDropped}, nil
}

// lookup is what a handle remembers beside its socket: only what the kernel
// can not say.
type lookup struct {
	adopted adopted
	links   map[string]linkRef      // index by source name
	neighs  map[neighKey]rtnl.Neigh // entries that this handle added
}

// adopted is what Restore took over from a sandbox whose objects have no tags.
type adopted struct {
	links    map[int]string // source names by index
	gateways [2]net.IP
	routes   []*types.StaticRoute
}

type linkRef struct {
	index int
	vxlan bool
}

// neighKey is what there is one entry for: an address, or of a forwarding
// entry the hardware address behind it.
type neighKey struct {
	ip  netip.Addr
	mac string // of forwarding entries only
}
