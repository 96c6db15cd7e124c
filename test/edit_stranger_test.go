//go:build linux

package osltest

import (
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

// strangers puts routes, and next hops that are objects, into the sandboxes of a network, as somebody does by hand. It
// returns what takes them out again: all of them have to be there.
func (r *drawer) strangers(t *testing.T, n osl.Network) (leave func()) {
	type made struct {
		key   string
		route netlink.Route
	}
	var all []made
	var leaves []func()
	for _, s := range n.Sandboxes {
		key := osl.GenerateKey(s.Name)
		up := slices.DeleteFunc(links(t, key), func(l netlink.Link) bool { return l.Attrs().Flags&net.FlagUp == 0 })
		var devs []string
		for _, l := range up {
			// A bridge with the spanning tree that loses its carrier has it again much later.
			slow := slices.ContainsFunc(s.Interfaces, func(f osl.InterfaceSpec) bool {
				return f.Name == l.Attrs().Name && f.Bridge != nil && f.Bridge.STP != nil && *f.Bridge.STP
			})
			if a := l.Attrs(); a.Name != "lo" && a.RawFlags&unix.IFF_LOWER_UP != 0 && !slow {
				devs = append(devs, a.Name)
			}
		}
		leaves = append(leaves, r.strangeNexthops(s, devs))
		var sources []net.IP
		for _, f := range s.Interfaces {
			for _, p := range f.Addresses {
				if !f.Down {
					sources = append(sources, net.IP(p.Addr().AsSlice()))
				}
			}
		}
		for i, dst := range []string{"198.51.100.0/24", "203.0.113.0/24", "fd98::/64", "fd99::/64"} {
			if len(up) == 0 || !r.sometimes("a stranger's route", 2) {
				continue
			}
			l := draw(r, "its device", up...)
			x := netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipnet(dst), Scope: unix.RT_SCOPE_LINK, Protocol: unix.RTPROT_STATIC, Priority: 50}
			of := slices.DeleteFunc(slices.Clone(sources), func(ip net.IP) bool { return len(ip) != len(x.Dst.IP) })
			if len(of) > 0 && r.sometimes("its source", 2) {
				x.Src = draw(r, "source", of...)
			}
			if i%2 == 1 { // by way of the one before
				via := ip(map[bool]string{true: "198.51.100.7", false: "fd98::7"}[i == 1])
				if !slices.ContainsFunc(all, func(m made) bool {
					return m.key == key && m.route.LinkIndex == x.LinkIndex && m.route.Dst.Contains(via)
				}) {
					continue
				}
				x.Gw, x.Scope = via, unix.RT_SCOPE_UNIVERSE
			}
			witness(t, key, func(h *netlink.Handle) {
				if err := h.RouteAdd(&x); err == nil { // some devices have no IPv6
					r.Logf("a stranger adds to %s: %v", s.Name, x)
					all = append(all, made{key, x})
				}
			})
		}
	}
	return func() {
		for _, leave := range leaves {
			leave()
		}
		for _, m := range slices.Backward(all) {
			witness(t, m.key, func(h *netlink.Handle) {
				if err := h.RouteDel(&m.route); err != nil {
					r.Fatalf("a stranger's route in %s is lost: %v: %v", m.key, m.route, err)
				}
			})
		}
	}
}

// everyRoute returns the routes of all tables but local as text, with all that somebody
// can ask for.
func everyRoute(t *testing.T, key string, names map[int]string) (out []string) {
	t.Helper()
	witness(t, key, func(h *netlink.Handle) {
		for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
			for _, r := range dump(t, func() ([]netlink.Route, error) {
				return h.RouteListFiltered(family, &netlink.Route{}, netlink.RT_FILTER_TABLE)
			}) {
				if r.Table == unix.RT_TABLE_LOCAL || r.Protocol == unix.RTPROT_KERNEL && r.Type >= unix.RTN_LOCAL && r.Type <= unix.RTN_MULTICAST {
					continue // the ports of a vrf have theirs in its table
				}
				text := fmt.Sprintf("%v dev %s via %v src %v proto %v metric %d table %d type %d mtu %d advmss %d", r.Dst, names[r.LinkIndex], r.Gw, r.Src,
					r.Protocol, r.Priority, r.Table, r.Type, r.MTU, r.AdvMSS)
				for _, hop := range r.MultiPath {
					text += fmt.Sprintf(" nexthop dev %s via %v weight %d", names[hop.LinkIndex], hop.Gw, hop.Hops+1)
				}
				out = append(out, text)
			}
		}
	})
	return out
}
