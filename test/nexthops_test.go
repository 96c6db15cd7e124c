//go:build linux

package osltest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// nexthopsIn are the next hops of a sandbox that are objects, as ip tells them.
func nexthopsIn(t *testing.T, box string) (list []string) {
	t.Helper()
	type member struct{ ID, Weight int }
	for _, n := range asked[[]struct {
		ID           int
		Gateway, Dev string
		Protocol     any
		Blackhole    json.RawMessage
		Group        []member
		Type         string
		Args         struct {
			Buckets    int
			Idle       float64 `json:"idle_timer"`
			Unbalanced float64 `json:"unbalanced_timer"`
		} `json:"resilient_args"`
		Flags []string
	}](t, "/run/netns/"+box, "ip", "-json", "-N", "nexthop") {
		line := fmt.Sprint(n.ID)
		if n.Blackhole != nil {
			line += " blackhole"
		}
		for _, m := range n.Group {
			line += fmt.Sprintf(" %d,%d", m.ID, max(m.Weight, 1))
		}
		if n.Type == "resilient" {
			line += fmt.Sprint(" resilient ", n.Args.Buckets, " ", n.Args.Idle, " ", n.Args.Unbalanced)
		}
		list = append(list, strings.Join(strings.Fields(fmt.Sprint(line, " ", n.Gateway, " ", n.Dev, " ", strings.Join(n.Flags, " "), " by ", n.Protocol)), " "))
	}
	return list
}

// routesByNexthop are the routes of a sandbox that lead by such, as ip tells them.
func routesByNexthop(t *testing.T, box string) (list []string) {
	t.Helper()
	for _, family := range []string{"-4", "-6"} {
		for _, r := range asked[[]struct {
			Dst, Table, PrefSrc string
			NHID, Metric        int
		}](t, "/run/netns/"+box, "ip", family, "-json", "route", "show", "table", "all") {
			if r.NHID != 0 {
				list = append(list, strings.Join(strings.Fields(fmt.Sprint(r.Dst, " by ", r.NHID, " metric ", r.Metric, " ", r.Table, " ", r.PrefSrc)), " "))
			}
		}
	}
	slices.Sort(list)
	return list
}

// nexthopsNet are two sandboxes with two links, and next hops in the first.
func nexthopsNet(hops []osl.NexthopSpec, routes ...osl.RouteSpec) osl.Network {
	p := netip.MustParsePrefix
	peer := func(name string) osl.Endpoint { return osl.Endpoint{Sandbox: "hb", Interface: name} }
	return osl.Network{Name: "hops", Sandboxes: []osl.Spec{
		{Name: "ha", Nexthops: hops, Routes: routes, Interfaces: []osl.InterfaceSpec{
			{Name: "e0", Peer: peer("e0"), Addresses: []netip.Prefix{p("10.80.0.1/24"), p("fd80::1/64")}},
			{Name: "e1", Peer: peer("e1"), Addresses: []netip.Prefix{p("10.81.0.1/24")}},
		}},
		{Name: "hb", Interfaces: []osl.InterfaceSpec{{Name: "e0"}, {Name: "e1"}}},
	}}
}

// Next hops that are objects, and routes by them, are in the kernel as the network says,
// Inspect says the same, they change in their place where the kernel can, go when the
// network drops them, and those of others stay.
func TestFeatureNexthops(t *testing.T) {
	begin(t)
	downAfter(t, "hops")
	a, p := netip.MustParseAddr, netip.MustParsePrefix
	hops := []osl.NexthopSpec{
		{ID: 9, Group: []osl.NexthopMember{{ID: 10, Weight: 1}, {ID: 11, Weight: 256}}}, // before those that it has
		{ID: 10, Via: a("10.80.0.9"), Dev: "e0"},
		{ID: 11, Via: a("10.81.0.9"), Dev: "e1"},
		{ID: 12, Dev: "e1"},
		{ID: 13, Blackhole: true},
		{ID: 14, Blackhole: true, Family: "ipv6"},
		{ID: 15, Via: a("fe80::9"), Dev: "e0"},
		{ID: 4294967295, Dev: "e0", Family: "ipv6"},
	}
	routes := []osl.RouteSpec{{To: p("10.90.0.0/24"), Nexthop: 9}, {To: p("10.91.0.0/24"), Nexthop: 12, Metric: 7, Table: 100}, {To: p("10.92.0.0/24"), Nexthop: 13},
		{To: p("10.93.0.0/24"), Nexthop: 15, Src: a("10.81.0.1")}, {To: p("fd90::/64"), Nexthop: 14}, {To: p("fd91::/64"), Nexthop: 15, MTU: 1400}, {To: p("fd92::/64"), Nexthop: 4294967295}}
	_, err := osl.Apply(t.Context(), nexthopsNet(hops, routes...))
	testnet.Feature(t, "nexthop objects", err)
	settles(t, nexthopsNet(hops, routes...))
	has := func(want ...string) {
		t.Helper()
		if got := nexthopsIn(t, "ha"); !slices.Equal(got, want) {
			t.Errorf("the kernel has the next hops\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	leads := func(want ...string) {
		t.Helper()
		if got := routesByNexthop(t, "ha"); !slices.Equal(got, want) {
			t.Errorf("the kernel has the routes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	has("9 10,1 11,256 by 111", "10 10.80.0.9 e0 onlink by 111", "11 10.81.0.9 e1 onlink by 111", "12 e1 by 111", "13 blackhole by 111",
		"14 blackhole by 111", "15 fe80::9 e0 onlink by 111", "4294967295 e0 by 111")
	leads("10.90.0.0/24 by 9 metric 0", "10.91.0.0/24 by 12 metric 7 100", "10.92.0.0/24 by 13 metric 0", "10.93.0.0/24 by 15 metric 0 10.81.0.1",
		"fd90::/64 by 14 metric 1024", "fd91::/64 by 15 metric 1024", "fd92::/64 by 4294967295 metric 1024")
	n, err := osl.Open(t.Context(), "ha")
	must(t, err)
	defer n.Close()
	st, err := n.Inspect(t.Context())
	must(t, err)
	if got, want := toText(st.Nexthops), toText(hops); got != want || len(st.OtherNexthops) > 0 {
		t.Errorf("Inspect says\n%s\nand the network\n%s; of others %v", got, want, st.OtherNexthops)
	}

	// In its place: the routes by it stay, and so do those of others.
	for _, args := range []string{"nexthop add id 77 via 10.81.0.7 dev e1 proto static", "route add 10.99.0.0/24 nhid 10", "route add 10.98.0.0/24 nhid 77"} {
		if out, err := exec.Command("ip", append([]string{"-n", "ha"}, strings.Fields(args)...)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %s", args, out)
		}
	}
	hops[1].Via = a("10.80.0.8")
	did := settles(t, nexthopsNet(hops, routes...))
	if len(did) != 1 || did[0].Command != "ip -n ha nexthop replace id 10 via 10.80.0.8 dev e0 onlink proto 111" {
		t.Errorf("a change does %v", did)
	}
	leads("10.90.0.0/24 by 9 metric 0", "10.91.0.0/24 by 12 metric 7 100", "10.92.0.0/24 by 13 metric 0", "10.93.0.0/24 by 15 metric 0 10.81.0.1", "10.98.0.0/24 by 77 metric 0",
		"10.99.0.0/24 by 10 metric 0", "fd90::/64 by 14 metric 1024", "fd91::/64 by 15 metric 1024", "fd92::/64 by 4294967295 metric 1024")
	if st, err = n.Inspect(t.Context()); err != nil || toText(st.OtherNexthops) != toText([]osl.NexthopSpec{{ID: 77, Via: a("10.81.0.7"), Dev: "e1"}}) {
		t.Errorf("Inspect has of others %s (%v)", toText(st.OtherNexthops), err)
	}
	// What the kernel makes of no next hop that is there: a group of one, and so on.
	hops = []osl.NexthopSpec{{ID: 9, Via: a("10.80.0.7"), Dev: "e0"}, {ID: 13, Group: []osl.NexthopMember{{ID: 9, Weight: 1}, {ID: 77, Weight: 2}}}, {ID: 15, Via: a("10.80.0.9"), Dev: "e0"}}
	routes = []osl.RouteSpec{routes[0], routes[2], routes[3]}
	settles(t, nexthopsNet(hops, routes...))
	has("9 10.80.0.7 e0 onlink by 111", "13 9,1 77,2 by 111", "15 10.80.0.9 e0 onlink by 111", "77 10.81.0.7 e1 by 4")
	leads("10.90.0.0/24 by 9 metric 0", "10.92.0.0/24 by 13 metric 0", "10.93.0.0/24 by 15 metric 0 10.81.0.1", "10.98.0.0/24 by 77 metric 0")

	// The other end goes down, and takes all of them; they come again.
	hb, err := osl.Open(t.Context(), "hb")
	must(t, err)
	defer hb.Close()
	for _, up := range []bool{false, true} {
		must(t, hb.SetLink(t.Context(), "e0", osl.LinkChange{Up: &up}))
		eventually(t, "the next hops go with the carrier", func() bool {
			return slices.Equal(nexthopsIn(t, "ha"), []string{"13 77,2 by 111", "77 10.81.0.7 e1 by 4"})
		})
	}
	settles(t, nexthopsNet(hops, routes...))
	has("9 10.80.0.7 e0 onlink by 111", "13 9,1 77,2 by 111", "15 10.80.0.9 e0 onlink by 111", "77 10.81.0.7 e1 by 4")

	// By hand as the network wants it, it is left as it is; another one is in the way.
	settles(t, nexthopsNet([]osl.NexthopSpec{{ID: 77, Via: a("10.81.0.7"), Dev: "e1"}}, osl.RouteSpec{To: p("10.90.0.0/24"), Nexthop: 77}))
	has("77 10.81.0.7 e1 by 4")
	_, err = osl.Apply(t.Context(), nexthopsNet([]osl.NexthopSpec{{ID: 77, Via: a("10.81.0.8"), Dev: "e1"}}))
	if !errors.Is(err, osl.ErrExists) || !strings.Contains(err.Error(), "there is another nexthop 77, of others: via 10.81.0.7 dev e1") || !strings.Contains(err.Error(), "ip -n ha nexthop del id 77") {
		t.Errorf("beside one of others: %v", err)
	}
	settles(t, nexthopsNet(nil))
	has("77 10.81.0.7 e1 by 4")
}

// A resilient group is in the kernel as the network says, Inspect says the same, its timers
// change in place, and with another number of buckets, or another type, it is made anew with
// the routes by it; a change that fails gives all of it back.
func TestFeatureNexthopsResilient(t *testing.T) {
	begin(t)
	downAfter(t, "hops")
	a, p := netip.MustParseAddr, netip.MustParsePrefix
	seconds := func(n int) *osl.Duration { d := osl.Duration(n) * 1e9; return &d }
	hops := []osl.NexthopSpec{
		{ID: 1, Via: a("10.80.0.9"), Dev: "e0"}, {ID: 2, Via: a("10.81.0.9"), Dev: "e1"},
		{ID: 3, Group: []osl.NexthopMember{{ID: 1, Weight: 1}, {ID: 2, Weight: 3}}, Type: "resilient", Buckets: 8, IdleTimer: seconds(60), UnbalancedTimer: seconds(300)},
		{ID: 4, Group: []osl.NexthopMember{{ID: 1, Weight: 1}}, Type: "resilient", Buckets: 65535},
		{ID: 5, Group: []osl.NexthopMember{{ID: 2, Weight: 1}}},
	}
	routes := []osl.RouteSpec{{To: p("10.90.0.0/24"), Nexthop: 3}, {To: p("10.91.0.0/24"), Nexthop: 4}, {To: p("10.92.0.0/24"), Nexthop: 5}}
	did, err := osl.Apply(t.Context(), nexthopsNet(hops, routes...))
	testnet.Feature(t, "nexthop objects, resilient groups", err)
	if want := "ip -n ha nexthop add id 3 group 1/2,3 type resilient buckets 8 idle_timer 60 unbalanced_timer 300 proto 111"; !slices.ContainsFunc(did, func(c osl.Change) bool { return c.Command == want }) {
		t.Errorf("no command is %q in\n%s", want, osl.Changes(did))
	}
	settles(t, nexthopsNet(hops, routes...))
	has := func(three, four, five string) {
		t.Helper()
		want := []string{"1 10.80.0.9 e0 onlink by 111", "2 10.81.0.9 e1 onlink by 111", "3 1,1 2,3 " + three + "by 111", "4 1,1 " + four + "by 111", "5 2,1 " + five + "by 111"}
		if got := nexthopsIn(t, "ha"); !slices.Equal(got, want) {
			t.Errorf("the kernel has the next hops\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if got, want := routesByNexthop(t, "ha"), []string{"10.90.0.0/24 by 3 metric 0", "10.91.0.0/24 by 4 metric 0", "10.92.0.0/24 by 5 metric 0"}; !slices.Equal(got, want) {
			t.Errorf("the kernel has the routes %q", got)
		}
	}
	has("resilient 8 60 300 ", "resilient 65535 120 0 ", "")
	n, err := osl.Open(t.Context(), "ha")
	must(t, err)
	defer n.Close()
	st, err := n.Inspect(t.Context())
	must(t, err)
	if got, want := toText(st.Nexthops), toText(hops); got != want {
		t.Errorf("Inspect says\n%s\nand the network\n%s", got, want)
	}
	hops[2].IdleTimer, hops[2].UnbalancedTimer, hops[3].IdleTimer = nil, seconds(7), seconds(0)
	if did := settles(t, nexthopsNet(hops, routes...)); len(did) != 2 || did[0].Command != "ip -n ha nexthop replace id 3 group 1/2,3 type resilient buckets 8 idle_timer 120 unbalanced_timer 7 proto 111" {
		t.Errorf("other timers do %v", did)
	}
	has("resilient 8 120 7 ", "resilient 65535 0 0 ", "")
	before := everySnapshot(t)
	hops[2].Buckets = 16
	hops[3].Type, hops[3].Buckets, hops[3].IdleTimer = "", 0, nil
	hops[4].Type, hops[4].Buckets = "resilient", 1
	if _, err := osl.Apply(t.Context(), failing(nexthopsNet(hops, routes...))); err == nil || strings.Contains(err.Error(), "left behind") {
		t.Errorf("a change that fails: %v", err)
	}
	if changed := differs(t, before, everySnapshot); changed != "" {
		t.Errorf("a change that failed has changed %s", changed)
	}
	settles(t, nexthopsNet(hops, routes...))
	has("resilient 16 120 7 ", "", "resilient 1 120 0 ")
}

// What can not be is refused with the reason, before anything is done or by the kernel,
// and nothing is done.
func TestNexthopsThatAreRefused(t *testing.T) {
	begin(t)
	downAfter(t, "hops")
	a, p := netip.MustParseAddr, netip.MustParsePrefix
	one := osl.NexthopSpec{ID: 1, Via: a("10.80.0.9"), Dev: "e0"}
	half := osl.Duration(5e8)
	group := func(id uint32, of ...osl.NexthopMember) osl.NexthopSpec { return osl.NexthopSpec{ID: id, Group: of} }
	for _, x := range []struct {
		hops  []osl.NexthopSpec
		route osl.RouteSpec
		no6   bool // no interface has IPv6
		is    error
		says  string
	}{
		{hops: []osl.NexthopSpec{{Via: a("10.80.0.9"), Dev: "e0"}}, is: osl.ErrInvalid, says: "a nexthop needs an id"},
		{hops: []osl.NexthopSpec{{ID: 1, Via: a("10.80.0.9")}}, is: osl.ErrInvalid, says: "needs dev"},
		{hops: []osl.NexthopSpec{{ID: 1, Via: a("10.80.0.9"), Dev: "e0", Blackhole: true}}, is: osl.ErrInvalid, says: "is a blackhole, and has something else"},
		{hops: []osl.NexthopSpec{{ID: 1, Via: a("10.80.0.9"), Dev: "e0", Family: "ipv6"}}, is: osl.ErrInvalid, says: "is not of the family ipv6"},
		{hops: []osl.NexthopSpec{{ID: 1, Dev: "e0", Family: "ip"}}, is: osl.ErrInvalid, says: `has no family "ip"`},
		{hops: []osl.NexthopSpec{{ID: 1, Via: a("224.0.0.1"), Dev: "e0"}}, is: osl.ErrInvalid, says: "no address of one host"},
		{hops: []osl.NexthopSpec{one, one}, is: osl.ErrInvalid, says: "another nexthop has the id 1 too"},
		{hops: []osl.NexthopSpec{one, group(2, osl.NexthopMember{ID: 1}, osl.NexthopMember{ID: 1})}, is: osl.ErrInvalid, says: "has the nexthop 1 twice"},
		{hops: []osl.NexthopSpec{one, group(2, osl.NexthopMember{ID: 1}), group(3, osl.NexthopMember{ID: 2})}, is: osl.ErrInvalid, says: "has the group 2 in it"},
		{hops: []osl.NexthopSpec{one, group(2, osl.NexthopMember{ID: 1, Weight: 257})}, is: osl.ErrInvalid, says: "of the weight 257"},
		{hops: []osl.NexthopSpec{group(2, osl.NexthopMember{ID: 1})}, is: osl.ErrNotFound, says: "the nexthop 1, of the group 2, is not in the sandbox"},
		{hops: []osl.NexthopSpec{{ID: 1, Dev: "e7"}}, is: osl.ErrNotFound, says: "the device of the nexthop 1 is not in the sandbox"},
		{hops: []osl.NexthopSpec{one}, route: osl.RouteSpec{To: p("10.90.0.0/24"), Nexthop: 2}, is: osl.ErrNotFound, says: "the nexthop 2 of the route to 10.90.0.0/24 is not in the sandbox"},
		{hops: []osl.NexthopSpec{one}, route: osl.RouteSpec{To: p("10.90.0.0/24"), Nexthop: 1, Dev: "e0"}, is: osl.ErrInvalid, says: "has nexthop, and beside it"},
		{hops: []osl.NexthopSpec{one, {ID: 2, Group: []osl.NexthopMember{{ID: 1}}, Type: "resilient"}}, is: osl.ErrInvalid, says: "needs buckets, 1 to 65535"},
		{hops: []osl.NexthopSpec{one, {ID: 2, Group: []osl.NexthopMember{{ID: 1}}, Type: "hash"}}, is: osl.ErrInvalid, says: `has no type "hash": a group is mpath or resilient`},
		{hops: []osl.NexthopSpec{one, {ID: 2, Group: []osl.NexthopMember{{ID: 1}}, Buckets: 8}}, is: osl.ErrInvalid, says: "only a group of the type resilient has"},
		{hops: []osl.NexthopSpec{{ID: 1, Via: a("10.80.0.9"), Dev: "e0", Type: "mpath"}}, is: osl.ErrInvalid, says: "is no group, and has a type"},
		{hops: []osl.NexthopSpec{one, {ID: 2, Group: []osl.NexthopMember{{ID: 1}}, Type: "resilient", Buckets: 8, IdleTimer: &half}}, is: osl.ErrInvalid, says: "has the idle_timer 500ms: it is in whole seconds"},
		// By the kernel.
		{hops: []osl.NexthopSpec{one}, route: osl.RouteSpec{To: p("fd90::/64"), Nexthop: 1}, is: osl.ErrInvalid, says: "IPv6 routes can not use an IPv4 nexthop"},
		{hops: []osl.NexthopSpec{one, {ID: 2, Blackhole: true}, group(3, osl.NexthopMember{ID: 1}, osl.NexthopMember{ID: 2})}, is: osl.ErrInvalid, says: "lackhole"},
		{hops: []osl.NexthopSpec{{ID: 1, Via: a("fe80::9"), Dev: "e1"}}, is: osl.ErrInvalid, says: "turn its IPv6 on"},
		{hops: []osl.NexthopSpec{{ID: 1, Blackhole: true, Family: "ipv6"}}, no6: true, is: osl.ErrInvalid, says: "a blackhole of IPv6 is on lo"},
	} {
		n := nexthopsNet(x.hops)
		if x.no6 {
			n.Sandboxes[0].Interfaces[0].Addresses = n.Sandboxes[0].Interfaces[0].Addresses[:1]
		}
		if x.route.To.IsValid() {
			n.Sandboxes[0].Routes = []osl.RouteSpec{x.route}
		}
		_, err := osl.Apply(t.Context(), n)
		if !errors.Is(err, x.is) || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: %v, want %q", toText(x.hops), err, x.says)
		}
		if list, err := osl.List(t.Context()); err != nil || len(list) > 0 {
			t.Errorf("%s: left is %v (%v)", toText(x.hops), list, err)
		}
	}
	// A link that is to be down, here or at its other end, has none.
	n := nexthopsNet([]osl.NexthopSpec{one})
	n.Sandboxes[0].Interfaces[0].Down = true
	if _, err := osl.Apply(t.Context(), n); !errors.Is(err, osl.ErrInvalid) || !strings.Contains(err.Error(), `the nexthop 1 is on "e0", which is to be down`) {
		t.Errorf("on a link that is to be down: %v", err)
	}
	n = nexthopsNet([]osl.NexthopSpec{one})
	n.Sandboxes[1].Interfaces[0].Down = true
	if _, err := osl.Apply(t.Context(), n); !errors.Is(err, osl.ErrUnreachable) || !strings.Contains(err.Error(), "must be up and have a carrier") {
		t.Errorf("on a link whose other end is down: %v", err)
	}
}

// A next hop on a link that has its carrier a while later, as a bridge by its port, or a
// macvlan by its parent, is made when it has.
func TestNexthopsOnLinksWithALateCarrier(t *testing.T) {
	begin(t)
	downAfter(t, "late")
	p := netip.MustParsePrefix
	n := osl.Network{Name: "late", Sandboxes: []osl.Spec{
		{Name: "la", Interfaces: []osl.InterfaceSpec{{Name: "br0", Type: "bridge", Addresses: []netip.Prefix{p("10.80.0.1/24")}}, {Name: "p0", Master: "br0", Peer: osl.Endpoint{Sandbox: "lb", Interface: "e0"}},
			{Name: "e1", Peer: osl.Endpoint{Sandbox: "lb", Interface: "e1"}}, {Name: "mv0", Type: "macvlan", Parent: "e1", Addresses: []netip.Prefix{p("10.81.0.1/24")}}},
			Nexthops: []osl.NexthopSpec{{ID: 1, Via: netip.MustParseAddr("10.80.0.9"), Dev: "br0"}, {ID: 2, Dev: "mv0"}},
			Routes:   []osl.RouteSpec{{To: p("10.90.0.0/24"), Nexthop: 1}, {To: p("10.91.0.0/24"), Nexthop: 2}}},
		{Name: "lb", Interfaces: []osl.InterfaceSpec{{Name: "e0"}, {Name: "e1"}}},
	}}
	settles(t, n)
	if got, want := routesByNexthop(t, "la"), []string{"10.90.0.0/24 by 1 metric 0", "10.91.0.0/24 by 2 metric 0"}; !slices.Equal(got, want) {
		t.Errorf("the kernel has the routes %q", got)
	}
	// The port leaves for another bridge, and the next hop for the other link.
	n.Sandboxes[0].Interfaces = append(n.Sandboxes[0].Interfaces, osl.InterfaceSpec{Name: "br1", Type: "bridge"})
	n.Sandboxes[0].Interfaces[1].Master = "br1"
	n.Sandboxes[0].Nexthops[0].Dev = "br1"
	settles(t, n)
	if got := nexthopsIn(t, "la"); !slices.Equal(got, []string{"1 10.80.0.9 br1 onlink by 111", "2 mv0 by 111"}) {
		t.Errorf("the kernel has %q", got)
	}
}

// With its last port a bridge loses its carrier, and the kernel takes next hops on it
// away, and on what is on it, a while later: such a change is refused before it begins.
func TestNexthopOnABridgeWhoseLastPortGoes(t *testing.T) {
	begin(t)
	downAfter(t, "lonely")
	p := netip.MustParsePrefix
	with := func(dev string, ports ...string) osl.Network {
		s := osl.Spec{Name: "la", Interfaces: []osl.InterfaceSpec{{Name: "br0", Type: "bridge", Addresses: []netip.Prefix{p("10.80.0.1/24")}},
			{Name: "br1", Type: "bridge"}, {Name: "v0", Type: "macvlan", Parent: "br0", Addresses: []netip.Prefix{p("10.81.0.1/24")}}},
			Nexthops: []osl.NexthopSpec{{ID: 1, Via: netip.MustParseAddr("10.80.0.9"), Dev: dev}}}
		for i, master := range ports {
			s.Interfaces = append(s.Interfaces, osl.InterfaceSpec{Name: fmt.Sprint("p", i), Master: master, Peer: osl.Endpoint{Sandbox: "lb", Interface: fmt.Sprint("e", i)}})
		}
		return osl.Network{Name: "lonely", Sandboxes: []osl.Spec{s, {Name: "lb"}}}
	}
	settles(t, with("br0", "br0", "br0"))
	settles(t, with("br0", "", "br0"))
	settles(t, with("v0", "br0", "")) // one leaves as another comes
	before := snapshot(t, osl.GenerateKey("la"))
	for what, n := range map[string]osl.Network{
		"goes": with("br0"), "leaves": with("br0", ""), "goes to another": with("br0", "br1"), "goes from below": with("v0"),
	} {
		if _, err := osl.Apply(t.Context(), n); !errors.Is(err, osl.ErrInvalid) || !strings.Contains(err.Error(), `the last port of "br0" goes`) {
			t.Errorf("the port %s: %v", what, err)
		}
		same(t, what, before, func() []string { return snapshot(t, osl.GenerateKey("la")) })
	}
	n := with("br0")
	n.Sandboxes[0].Nexthops = nil
	settles(t, n)
	if _, err := osl.Apply(t.Context(), with("br1")); !errors.Is(err, osl.ErrUnreachable) { // it never had a port
		t.Errorf("on a bridge without ports: %v", err)
	}
}
