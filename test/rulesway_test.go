//go:build linux

package osltest

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/seed59451c2b/osl"
)

// A rule that denies the way to a next hop hinders no change of the routes: the kernel
// looks next hops up by the rules.
func TestRoutesBehindRulesThatDeny(t *testing.T) {
	begin(t)
	lab := func(action, via string, routes ...string) osl.Network {
		s := osl.Spec{Name: "edge", Interfaces: []osl.InterfaceSpec{{Name: "e", Type: "bridge", Addresses: nets("10.5.0.1/24")}}}
		if action != "" {
			s.Rules = []osl.RuleSpec{{Priority: 5, Action: action, To: netip.MustParsePrefix("10.0.0.0/8")}}
		}
		if via != "" {
			s.Gateway = netip.MustParseAddr(via)
		}
		for _, to := range routes {
			s.Routes = append(s.Routes, osl.RouteSpec{To: netip.MustParsePrefix(to), Via: netip.MustParseAddr("10.5.0.9")})
		}
		return osl.Network{Name: "lab", Sandboxes: []osl.Spec{s}}
	}
	for _, action := range []string{"prohibit", "unreachable", "blackhole"} {
		t.Run(action, func(t *testing.T) {
			steps := []osl.Network{
				lab(action, "10.5.0.7"),
				lab(action, "10.5.0.8"),
				lab(action, "10.5.0.8", "172.16.0.0/16"),
				lab("", "10.5.0.8", "172.16.0.0/16", "172.17.0.0/16"),
				lab(action, "", "172.16.0.0/16"),
				lab("", "10.5.0.9"),
			}
			for i, n := range steps {
				if did, err := osl.Apply(t.Context(), n); err != nil {
					t.Fatalf("step %d: %v\n%s", i, err, did)
				}
				if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
					t.Fatalf("step %d, diff: %v\n%s", i, err, c)
				}
				rules := 0
				if len(n.Sandboxes[0].Rules) > 0 {
					rules = 1
				}
				if list := rulesIn(t, "edge"); len(list) != rules {
					t.Errorf("step %d: the rules are %q", i, list)
				}
				// What fails puts back the route that it took away, and that of the interface.
				before := everySnapshot(t)
				bad := lab("", "", "172.19.0.0/16")
				bad.Sandboxes[0].Interfaces[0].Addresses = nets("10.5.0.2/24")
				bad.Sandboxes = append(bad.Sandboxes, osl.Spec{Name: "sz"})
				refusedRoute(&bad.Sandboxes[1])
				if _, err := osl.Apply(t.Context(), bad); err == nil {
					t.Fatalf("step %d: what can not be is", i)
				}
				if changed := differs(t, before, everySnapshot); changed != "" {
					t.Fatalf("step %d: a change that failed has changed %s", i, changed)
				}
			}
			// Somebody took the route away.
			n := steps[2]
			_, err := osl.Apply(t.Context(), n)
			must(t, err)
			witness(t, "/run/netns/edge", func(h *netlink.Handle) {
				must(t, h.RouteDel(&netlink.Route{Dst: ipnet("172.16.0.0/16")}))
			})
			_, err = osl.Apply(t.Context(), n)
			must(t, err)
			_, err = osl.Down(t.Context(), n)
			must(t, err)
		})
	}
}
