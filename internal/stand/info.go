package stand

import (
	"cmp"
	"net"
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/types"
)

// Info is what Info tells of a sandbox. Nobody changes it: what is handed out is a copy.
type Info struct {
	interfaces []Interface
	gateways   [2]net.IP
	statics    []*types.StaticRoute
}

// Info tells what a sandbox holds.
func (h *Held) Info() *Info {
	i := &Info{}
	parts, sources, born := h.Parts(), map[int]string{}, map[int]int64{}
	for j := range h.Links {
		t, _ := plan.ParseTag(h.Links[j].Alias)
		sources[h.Links[j].Index], born[h.Links[j].Index] = t.Source, t.Born
	}
	for j := range h.Links {
		l := &h.Links[j]
		t, ok := plan.ParseTag(l.Alias)
		if source, is := h.Sources[l.Index]; is && !ok {
			t, ok = plan.Tag{Origin: plan.Kept, Source: source}, true
		}
		if ok && t.Origin != plan.Far {
			i.interfaces = append(i.interfaces, infoOf(parts[l.Index], l, t, sources[l.Master]))
		}
	}
	slices.SortStableFunc(i.interfaces, func(a, b Interface) int { return cmp.Compare(born[a.index], born[b.index]) })
	for j, v4 := range []bool{true, false} {
		if g := h.Gateway(v4); g.IsValid() {
			i.gateways[j] = g.AsSlice()
		} else {
			i.gateways[j] = h.Gateways[j]
		}
	}
	for _, r := range h.Routes {
		if plan.IsSeedStatic(r) {
			i.statics = append(i.statics, staticOf(r))
		}
	}
	for _, r := range h.Statics {
		i.statics = append(i.statics, r.GetCopy())
	}
	return i
}

func staticOf(r rtnl.Route) *types.StaticRoute {
	s := &types.StaticRoute{Destination: ipNetOf(r.Dst), RouteType: types.CONNECTED}
	if r.Via.IsValid() {
		s.RouteType, s.NextHop = types.NEXTHOP, r.Via.AsSlice()
	}
	return s
}

func ipNetOf(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// All returns the interfaces, in the order in which they came.
func (i *Info) All() []Interface { return i.interfaces }

// Gateway is that of osl.Info, as the two after it.
func (i *Info) Gateway() net.IP { return slices.Clone(i.gateways[0]) }

// GatewayIPv6 returns that of IPv6.
func (i *Info) GatewayIPv6() net.IP { return slices.Clone(i.gateways[1]) }

// StaticRoutes returns the routes.
func (i *Info) StaticRoutes() (list []*types.StaticRoute) {
	for _, r := range i.statics {
		list = append(list, r.GetCopy())
	}
	return list
}

// Interface is what Info tells of an interface. Its methods are those of osl.Interface
// that ask nobody.
type Interface struct {
	index     int
	alias     string
	src, dst  string
	master    string
	bridge    bool
	addr      [2]*net.IPNet
	linkLocal []*net.IPNet
	routes    []*net.IPNet
}

// infoOf tells what a link is. s is what is on it.
func infoOf(s *plan.State, l *rtnl.Link, t plan.Tag, master string) Interface {
	i := Interface{index: l.Index, alias: l.Alias, src: t.Source, dst: l.Name, bridge: l.Kind == "bridge", master: master}
	tagged := l.Alias != "" && t.Origin != plan.None
	for _, a := range s.Addrs {
		if tagged && a.Proto != rtnl.Protocol { // an alias, or of others
			continue
		}
		family := 0
		if a.Prefix.Addr().Is6() {
			family = 1
		}
		switch {
		case a.Prefix.Addr().IsLinkLocalUnicast():
			if a.Proto == rtnl.Protocol {
				i.linkLocal = append(i.linkLocal, ipNetOf(a.Prefix))
			}
		case i.addr[family] == nil || family == 1: // the kernel lists the newest IPv6 address first
			i.addr[family] = ipNetOf(a.Prefix)
		}
	}
	for _, r := range s.Routes {
		if isDirect(r) {
			i.routes = append(i.routes, ipNetOf(r.Dst))
		}
	}
	return i
}

// Found is by what the link is known again: the index and the alias that it had.
func (i *Interface) Found() (index int, alias string) { return i.index, i.alias }

func (i *Interface) SrcName() string                  { return i.src }
func (i *Interface) DstName() string                  { return i.dst }
func (i *Interface) Address() *net.IPNet              { return copyOf(i.addr[0]) }
func (i *Interface) AddressIPv6() *net.IPNet          { return copyOf(i.addr[1]) }
func (i *Interface) LinkLocalAddresses() []*net.IPNet { return copies(i.linkLocal) }
func (i *Interface) Routes() []*net.IPNet             { return copies(i.routes) }
func (i *Interface) Bridge() bool                     { return i.bridge }
func (i *Interface) Master() string                   { return i.master }

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
