package peer

import (
	"context"
	"net"

	"github.com/moby/moby/v2/daemon/libnetwork/osl"
	"github.com/moby/moby/v2/daemon/libnetwork/types"
)

type mobyDriver struct{}

func (mobyDriver) key(id string) string { return osl.GenerateKey(id) }

func (mobyDriver) create(key string) (sandbox, error) {
	return asMoby(osl.NewSandbox(key, true, false))
}

func (mobyDriver) adopt(path, key string) (sandbox, error) {
	return asMoby(osl.GetSandboxForExternalKey(path, key))
}

func (mobyDriver) gc() bool { return false }

// reopen does what moby's engine does when it starts again and finds a
// container running.
func (mobyDriver) reopen(key string, asked *memory) (sandbox, error) {
	n, err := osl.NewSandbox(key, true, true)
	if err != nil || asked == nil {
		return asMoby(n, err)
	}
	links := map[osl.Iface][]osl.IfaceOption{}
	for _, w := range asked.links {
		prefix, name := w.names()
		links[osl.Iface{SrcName: w.src, DstPrefix: prefix, DstName: name}] = mobyOptions(w.conf)
	}
	if err := n.RestoreInterfaces(context.Background(), links); err != nil {
		return nil, err
	}
	if asked.gw != nil {
		n.RestoreGateway(true, asked.gw, "")
	}
	var routes []*types.StaticRoute
	for _, r := range asked.routes {
		routes = append(routes, mobyRoute(r))
	}
	n.RestoreRoutes(routes)
	return &mobySandbox{n, nil}, nil
}

func asMoby(n *osl.Namespace, err error) (sandbox, error) {
	if err != nil {
		return nil, err
	}
	return &mobySandbox{n, nil}, nil
}

type mobySandbox struct {
	*osl.Namespace
	same map[*route]*types.StaticRoute
}

func (w wanted) names() (prefix, name string) {
	if w.exact {
		return "", w.prefix
	}
	return w.prefix, ""
}

func mobyOptions(c conf) []osl.IfaceOption {
	list := []osl.IfaceOption{osl.WithIsBridge(c.bridge), osl.WithMaster(c.master), osl.WithIPv4Address(c.v4), osl.WithIPv6Address(c.v6),
		osl.WithLinkLocalAddresses(c.local), osl.WithRoutes(c.routes)}
	if c.mac != nil {
		list = append(list, osl.WithMACAddress(c.mac))
	}
	if c.arp {
		list = append(list, osl.WithSysctls([]string{"net.ipv4.conf.IFNAME.arp_notify=1"}))
	}
	if c.device {
		list = append(list, osl.WithRoutes(append(c.routes, &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)})))
	}
	return append(list, osl.WithCreatedInContainer(c.inside))
}

func (s *mobySandbox) add(src, prefix string, c conf) error {
	prefix, name := wanted{src, prefix, c}.names()
	err := s.AddInterface(context.Background(), src, prefix, name, mobyOptions(c)...)
	if err == nil && c.device {
		err = s.SetDefaultRouteIPv4(src)
	}
	return err
}

func (s *mobySandbox) ifaces() (list []iface) {
	for _, i := range s.Interfaces() {
		list = append(list, mobyIface{i})
	}
	return list
}

type mobyIface struct{ *osl.Interface }

func (i mobyIface) counters() error { _, err := i.Statistics(); return err }

func (s *mobySandbox) setGateway(ip net.IP) error {
	if ip.To4() != nil {
		return s.SetGateway(ip)
	}
	return s.SetGatewayIPv6(ip)
}

func (s *mobySandbox) unsetGateway(v6 bool) error {
	if v6 {
		return s.UnsetGatewayIPv6()
	}
	return s.UnsetGateway()
}

func (s *mobySandbox) gateway(v6 bool) net.IP {
	if v6 {
		return s.GatewayIPv6()
	}
	return s.Gateway()
}

func mobyRoute(r *route) *types.StaticRoute {
	if r == nil {
		return nil
	}
	return &types.StaticRoute{Destination: r.dst, RouteType: types.NEXTHOP, NextHop: r.via}
}

// static is the same pointer for the same route: moby compares pointers.
func (s *mobySandbox) static(r *route) *types.StaticRoute {
	if s.same == nil {
		s.same = map[*route]*types.StaticRoute{}
	}
	if s.same[r] == nil {
		s.same[r] = mobyRoute(r)
	}
	return s.same[r]
}

func (s *mobySandbox) addRoute(r *route) error    { return s.AddStaticRoute(s.static(r)) }
func (s *mobySandbox) removeRoute(r *route) error { return s.RemoveStaticRoute(s.static(r)) }

func (s *mobySandbox) routes() (list []string) {
	for _, r := range s.StaticRoutes() {
		list = append(list, r.Destination.String()+" via "+r.NextHop.String())
	}
	return list
}

func (s *mobySandbox) addAlias(name string, a *net.IPNet) error    { return s.AddAliasIP(name, a) }
func (s *mobySandbox) removeAlias(name string, a *net.IPNet) error { return s.RemoveAliasIP(name, a) }

func (s *mobySandbox) addNeighbor(ip net.IP, mac net.HardwareAddr, link string, family int) error {
	return s.AddNeighbor(ip, mac, osl.WithLinkName(link), osl.WithFamily(family))
}

func (s *mobySandbox) deleteNeighbor(ip net.IP, mac net.HardwareAddr, link string, family int) error {
	return s.DeleteNeighbor(ip, mac, osl.WithLinkName(link), osl.WithFamily(family))
}

func (s *mobySandbox) invoke(f func()) error { return s.InvokeFunc(f) }
func (s *mobySandbox) destroy() error        { return s.Destroy() }
