package peer

import (
	"net"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/types"
)

type oslDriver struct{}

func (oslDriver) key(id string) string { return osl.GenerateKey(id) }

func (oslDriver) create(key string) (sandbox, error) { return asOSL(osl.NewSandbox(key, true, false)) }

func (oslDriver) adopt(path, key string) (sandbox, error) {
	return asOSL(osl.GetSandboxForExternalKey(path, key))
}

func (oslDriver) gc() bool { osl.GC(); return true }

func (oslDriver) reopen(key string, asked *memory) (sandbox, error) {
	sb, err := osl.NewSandbox(key, false, true)
	if err != nil || asked == nil {
		return asOSL(sb, err)
	}
	links := map[string][]osl.IfaceOption{}
	for _, w := range asked.links {
		links[w.src+"+"+w.prefix] = oslOptions(sb, w.conf)
	}
	var routes []*types.StaticRoute
	for _, r := range asked.routes {
		routes = append(routes, oslRoute(r))
	}
	if err := sb.Restore(links, routes, asked.gw, nil); err != nil {
		return nil, err
	}
	return oslSandbox{sb}, nil
}

// asOSL keeps a nil sandbox from becoming one that is not nil.
func asOSL(sb osl.Sandbox, err error) (sandbox, error) {
	if err != nil {
		return nil, err
	}
	return oslSandbox{sb}, nil
}

type oslSandbox struct{ osl.Sandbox }

func oslOptions(sb osl.Sandbox, c conf) []osl.IfaceOption {
	o := sb.InterfaceOptions()
	list := []osl.IfaceOption{o.Bridge(c.bridge), o.Master(c.master), o.MacAddress(c.mac), o.Address(c.v4), o.AddressIPv6(c.v6),
		o.LinkLocalAddresses(c.local), o.Routes(c.routes)}
	if c.exact {
		list = append(list, osl.WithName())
	}
	if c.arp {
		list = append(list, osl.WithSysctls(map[string]string{"ipv4.arp_notify": "1"}))
	}
	if c.inside {
		list = append(list, osl.WithLinkInside())
	}
	if c.device {
		list = append(list, osl.WithDefaultRoute())
	}
	return list
}

func (s oslSandbox) add(src, prefix string, c conf) error {
	return s.AddInterface(src, prefix, oslOptions(s.Sandbox, c)...)
}

func (s oslSandbox) ifaces() (list []iface) {
	for _, i := range s.Info().Interfaces() {
		list = append(list, oslIface{i})
	}
	return list
}

type oslIface struct{ osl.Interface }

func (i oslIface) counters() error { _, err := i.Statistics(); return err }

func (s oslSandbox) setGateway(ip net.IP) error {
	if ip.To4() != nil {
		return s.SetGateway(ip)
	}
	return s.SetGatewayIPv6(ip)
}

func (s oslSandbox) unsetGateway(v6 bool) error {
	if v6 {
		return s.UnsetGatewayIPv6()
	}
	return s.UnsetGateway()
}

func (s oslSandbox) gateway(v6 bool) net.IP {
	if v6 {
		return s.Info().GatewayIPv6()
	}
	return s.Info().Gateway()
}

func oslRoute(r *route) *types.StaticRoute {
	if r == nil {
		return nil
	}
	return &types.StaticRoute{Destination: r.dst, RouteType: types.NEXTHOP, NextHop: r.via}
}

func (s oslSandbox) addRoute(r *route) error    { return s.AddStaticRoute(oslRoute(r)) }
func (s oslSandbox) removeRoute(r *route) error { return s.RemoveStaticRoute(oslRoute(r)) }

func (s oslSandbox) routes() (list []string) {
	for _, r := range s.Info().StaticRoutes() {
		list = append(list, r.Destination.String()+" via "+r.NextHop.String())
	}
	return list
}

func (s oslSandbox) addAlias(name string, a *net.IPNet) error    { return s.AddAliasIP(name, a) }
func (s oslSandbox) removeAlias(name string, a *net.IPNet) error { return s.RemoveAliasIP(name, a) }

func (s oslSandbox) addNeighbor(ip net.IP, mac net.HardwareAddr, link string, family int) error {
	o := s.NeighborOptions()
	return s.AddNeighbor(ip, mac, false, o.LinkName(link), o.Family(family))
}

func (s oslSandbox) deleteNeighbor(ip net.IP, mac net.HardwareAddr, _ string, _ int) error {
	return s.DeleteNeighbor(ip, mac, true)
}

func (s oslSandbox) invoke(f func()) error { return s.InvokeFunc(f) }
func (s oslSandbox) destroy() error        { return s.Destroy() }
