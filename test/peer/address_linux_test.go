package peer

import (
	"fmt"
	"net"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// addressing are the behaviours of addresses, routes and neighbours.
var addressing = []behaviour{
	{"24", "an interface without an IPv6 address has no IPv6, not even a link-local address", func(r *run) {
		sb, key := r.sandbox("nov6")
		r.host("va")
		i := r.added(sb, "va", "eth", conf{v4: cidr("10.0.0.2/24")})
		r.same("addresses", r.addrsIn(key, i.DstName()), "10.0.0.2/24")
	}},
	{"23", "an IPv6 address is usable at once", func(r *run) {
		sb, key := r.sandbox("v6")
		r.host("va")
		i := r.added(sb, "va", "eth", conf{v6: cidr("fd00::2/64")})
		if a := r.addrsIn(key, i.DstName()); !strings.Contains(a, "fd00::2/64") || strings.Contains(a, "fd00::2/64 tentative") {
			r.not("addresses: %s", a)
		}
	}},
	{"23", "an IPv6 alias and an additional link-local address are usable at once", func(r *run) {
		sb, key := r.sandbox("alias6")
		r.host("va")
		i := r.added(sb, "va", "eth", conf{v6: cidr("fd00::2/64"), local: []*net.IPNet{cidr("fe80::77/64")}})
		r.ok("add the alias", sb.addAlias(i.DstName(), cidr("fd00::9/128")))
		a := r.addrsIn(key, i.DstName())
		for _, want := range []string{"fd00::9/128", "fe80::77/64"} {
			if !strings.Contains(a, want) || strings.Contains(a, want+" tentative") {
				r.not("addresses: %s", a)
			}
		}
	}},
	{"32", "adding an alias address twice succeeds", func(r *run) {
		sb, _ := r.sandbox("alias")
		r.ok("add", sb.addAlias("lo", cidr("10.1.1.1/32")))
		r.ok("add again", sb.addAlias("lo", cidr("10.1.1.1/32")))
	}},
	{"32", "removing an alias address twice succeeds", func(r *run) {
		sb, _ := r.sandbox("alias")
		r.ok("add", sb.addAlias("lo", cidr("10.1.1.1/32")))
		r.ok("remove", sb.removeAlias("lo", cidr("10.1.1.1/32")))
		r.ok("remove again", sb.removeAlias("lo", cidr("10.1.1.1/32")))
	}},
	{"28", "an IPv4 address means the same in its 16-byte form with a mask of either length", func(r *run) {
		sb, key := r.sandbox("mapped")
		before := r.addrsIn(key, "lo")
		for _, mask := range []net.IPMask{net.CIDRMask(24, 32), net.CIDRMask(120, 128)} {
			a := &net.IPNet{IP: net.ParseIP("10.1.1.1"), Mask: mask}
			r.ok(fmt.Sprintf("add %v with the mask %v", a.IP, a.Mask), sb.addAlias("lo", a))
			if got := r.addrsIn(key, "lo"); !strings.Contains(got, "10.1.1.1/24") {
				r.not("addresses: %s", got)
			}
			r.ok("remove the short form", sb.removeAlias("lo", cidr("10.1.1.1/24")))
			r.same("addresses", r.addrsIn(key, "lo"), before)
		}
	}},
	{"25", "a static route that covers an address is no conflict", func(r *run) {
		sb, _ := r.sandbox("overlap")
		r.host("va")
		r.host("vb")
		r.added(sb, "va", "eth", conf{v4: cidr("192.168.1.2/24")})
		r.ok("add the route", sb.addRoute(&route{cidr("10.0.0.0/8"), net.IPv4(192, 168, 1, 1)}))
		r.added(sb, "vb", "eth", conf{v4: cidr("10.1.2.3/24")})
	}},
	{"26", "a gateway outside of the subnet works with a route of the interface to it", func(r *run) {
		sb, _ := r.sandbox("onlink")
		r.host("va")
		r.added(sb, "va", "eth", conf{v4: cidr("10.0.0.2/32"), routes: []*net.IPNet{cidr("10.9.9.1/32")}})
		r.ok("set the gateway", sb.setGateway(net.IPv4(10, 9, 9, 1)))
		r.same("the gateway", sb.gateway(false).String(), "10.9.9.1")
	}},
	{"26", "an interface can be the default route without a gateway", func(r *run) {
		sb, key := r.sandbox("device")
		r.host("va")
		i := r.added(sb, "va", "eth", conf{v4: cidr("10.0.0.2/24"), device: true})
		list, err := r.within(key).RouteGet(net.IPv4(192, 0, 2, 1))
		if err != nil || len(list) != 1 || list[0].Gw != nil || list[0].LinkIndex != r.inside(key, i.DstName()).Attrs().Index {
			r.not("the way out is %v, %v", list, err)
		}
	}},
	{"26", "a gateway that nothing reaches is an error, and there is none afterwards", func(r *run) {
		sb, key := r.sandbox("nogw")
		r.host("va")
		r.added(sb, "va", "eth", conf{v4: cidr("10.0.0.2/24")})
		r.fails("set the gateway", sb.setGateway(net.IPv4(10, 77, 0, 1)))
		r.same("gateways", r.defaults(key), "")
	}},
	{"27", "the gateways of both families can be set, unset and set again", func(r *run) {
		sb, key := r.sandbox("gw")
		r.host("va")
		r.added(sb, "va", "eth", conf{v4: cidr("10.0.0.2/24"), v6: cidr("fd00::2/64")})
		for _, last := range []byte{1, 3} {
			r.ok("set", sb.setGateway(net.IPv4(10, 0, 0, last)))
			r.ok("set", sb.setGateway(net.ParseIP(fmt.Sprintf("fd00::%d", last))))
			r.same("gateways", r.defaults(key), fmt.Sprintf("10.0.0.%d fd00::%d", last, last))
			r.ok("unset", sb.unsetGateway(false))
			r.ok("unset", sb.unsetGateway(true))
			r.same("gateways", r.defaults(key), "")
		}
	}},
	{"27", "UnsetGateway succeeds when the interface to it is down", func(r *run) {
		sb, key := r.sandbox("gwdown")
		r.host("va")
		i := r.added(sb, "va", "eth", conf{v4: cidr("10.0.0.2/24")})
		r.ok("set", sb.setGateway(net.IPv4(10, 0, 0, 1)))
		setup(r.within(key).LinkSetDown(r.inside(key, i.DstName())))
		r.ok("unset", sb.unsetGateway(false))
		if gw := sb.gateway(false); len(gw) != 0 {
			r.not("the gateway is %v", gw)
		}
	}},
	{"27", "a static route can be taken away when the interface to its next hop is gone", func(r *run) {
		sb, _ := r.sandbox("routegone")
		r.host("va")
		i := r.added(sb, "va", "eth", conf{v4: cidr("10.0.0.2/24")})
		to := &route{cidr("10.5.0.0/16"), net.IPv4(10, 0, 0, 1)}
		r.ok("add", sb.addRoute(to))
		r.ok("remove the interface", i.Remove())
		r.ok("remove the route", sb.removeRoute(to))
		r.same("routes", fmt.Sprint(sb.routes()), "[]")
	}},
	{"27", "a static route is taken away, and from Info, by one that is equal in value", func(r *run) {
		sb, _ := r.sandbox("value")
		r.host("va")
		r.added(sb, "va", "eth", conf{v4: cidr("10.0.0.2/24")})
		r.ok("add", sb.addRoute(&route{cidr("10.5.0.0/16"), net.IPv4(10, 0, 0, 1)}))
		r.ok("remove", sb.removeRoute(&route{cidr("10.5.0.0/16"), net.IPv4(10, 0, 0, 1)}))
		r.same("routes", fmt.Sprint(sb.routes()), "[]")
	}},
	{"31", "a neighbour that the kernel learned is replaced", func(r *run) {
		sb, key := r.sandbox("learned")
		r.host("va")
		i := r.added(sb, "va", "eth", conf{v4: cidr("10.0.0.2/24")})
		setup(r.within(key).NeighSet(&netlink.Neigh{LinkIndex: r.inside(key, i.DstName()).Attrs().Index,
			IP: net.IPv4(10, 0, 0, 9), HardwareAddr: mac("02:00:00:00:00:01"), State: netlink.NUD_STALE}))
		r.ok("add", sb.addNeighbor(net.IPv4(10, 0, 0, 9), mac("02:00:00:00:00:02"), "va", 0))
		r.same("the neighbour", r.neighborIn(key, i.DstName(), "10.0.0.9"), "02:00:00:00:00:02 0x80")
	}},
	{"31", "a neighbour is added once and deleted once: more of either is an error", func(r *run) {
		sb, key := r.sandbox("neigh")
		r.host("va")
		i := r.added(sb, "va", "eth", conf{v4: cidr("10.0.0.2/24")})
		ip, m := net.IPv4(10, 0, 0, 9), mac("02:00:00:00:00:02")
		r.ok("add", sb.addNeighbor(ip, m, "va", 0))
		r.fails("add again", sb.addNeighbor(ip, m, "va", 0))
		r.ok("delete", sb.deleteNeighbor(ip, m, "va", 0))
		r.same("the neighbour", r.neighborIn(key, i.DstName(), "10.0.0.9"), "none")
		r.fails("delete again", sb.deleteNeighbor(ip, m, "va", 0))
	}},
	{"31", "a forwarding entry of a vxlan is deleted from the table that it was put in", func(r *run) {
		sb, key := r.sandbox("fdb")
		r.added(sb, "br", "br", conf{bridge: true})
		a := netlink.NewLinkAttrs()
		a.Name = "vx"
		setup(netlink.LinkAdd(&netlink.Vxlan{LinkAttrs: a, VxlanId: 42, Port: 4789, Learning: true}))
		i := r.added(sb, "vx", "vxlan", conf{master: "br"})
		ip, m := net.IPv4(10, 0, 0, 9), mac("02:00:00:00:00:02")
		fdb := func() (n int) {
			list, err := r.within(key).NeighList(r.inside(key, i.DstName()).Attrs().Index, unix.AF_BRIDGE)
			setup(err)
			for _, e := range list {
				if e.HardwareAddr.String() == m.String() {
					n++
				}
			}
			return n
		}
		r.ok("add", sb.addNeighbor(ip, m, "vx", unix.AF_BRIDGE))
		if fdb() == 0 {
			r.not("there is no entry")
		}
		r.ok("delete", sb.deleteNeighbor(ip, m, "vx", unix.AF_BRIDGE))
		if n := fdb(); n != 0 {
			r.not("%d entries are left", n)
		}
	}},
}

// defaults are the next hops of the default routes, IPv4 first.
func (r *run) defaults(key string) string {
	var out []string
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		list, err := r.within(key).RouteList(nil, family)
		setup(err)
		for _, x := range list {
			if x.Gw != nil && (x.Dst == nil || x.Dst.IP.IsUnspecified()) {
				out = append(out, x.Gw.String())
			}
		}
	}
	return strings.Join(out, " ")
}
