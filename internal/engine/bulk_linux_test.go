package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
)

// neighbours returns n entries for eth0, from 10.2.k.0 on.
func neighbours(n int) []osl.NeighborSpec {
	list := make([]osl.NeighborSpec, n)
	for i := range list {
		list[i] = osl.NeighborSpec{Dev: "eth0", IP: netip.AddrFrom4([4]byte{10, 2 + byte(i>>16), byte(i >> 8), byte(i)}), MAC: osl.MAC{2, 0x5a, 1, byte(i >> 16), byte(i >> 8), byte(i)}}
	}
	return list
}

func staticRoutes(n int) []osl.RouteSpec {
	list := make([]osl.RouteSpec, n)
	for i := range list {
		list[i] = osl.RouteSpec{To: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)}), 32), Via: netip.MustParseAddr("10.2.0.9")}
	}
	return list
}

// sourceRules returns n rules for what comes from an address.
func sourceRules(n int) []osl.RuleSpec {
	list := make([]osl.RuleSpec, n)
	for i := range list {
		list[i] = osl.RuleSpec{Priority: uint32(1000 + i), From: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 7, 0, byte(i)}), 32), Table: 100}
	}
	return list
}

// tunnels returns n forwarding entries of the vxlan vx0.
func tunnels(n int) []osl.NeighborSpec {
	list := neighbours(n)
	for i := range list {
		list[i].Dev, list[i].FDB = "vx0", true
	}
	return list
}

// fullRoutes are staticRoutes with what a caller need not say who takes them away.
func fullRoutes(n int) []osl.RouteSpec {
	list := staticRoutes(n)
	for i := range list {
		list[i].MTU, list[i].AdvMSS, list[i].Metric, list[i].Src = 1300, 1200, uint32(i+1), netip.MustParseAddr("10.2.0.1")
	}
	return list
}

func prefixes(n int) []netip.Prefix {
	list := make([]netip.Prefix, n)
	for i := range list {
		list[i] = netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 9: 1, 14: byte(i >> 8), 15: byte(i)}), 128)
	}
	return list
}

// bulkWorld is a sandbox with a link eth0 of osl's own.
func bulkWorld(t *testing.T) (*faultWorld, *osl.Namespace) {
	w := &faultWorld{t: t}
	w.clear()
	t.Cleanup(w.clear)
	sandboxA(w)
	w.make("b")
	n := w.ns("a")
	w.must(n.AddLink(context.Background(), osl.InterfaceSpec{Name: "eth0", Type: "veth", MAC: osl.MAC(hw(1)), Peer: osl.Endpoint{Sandbox: "b", Interface: "eth0"},
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.2.0.1/15")}}))
	return w, n
}

// Many are added and taken away in one send each, all of them or none.
func TestBulk(t *testing.T) {
	w, n := bulkWorld(t)
	ctx := context.Background()
	begin := w.still()
	has := func(what string, want int, count func(s *osl.Status) int) {
		t.Helper()
		s, err := n.Inspect(ctx)
		w.must(err)
		if got := count(s); got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	neighs := func(s *osl.Status) int { return len(s.Neighbors) }
	routes := func(s *osl.Status) int { return len(s.Routes) }

	const many = 10000
	list := neighbours(many)
	w.must(n.AddNeighbors(ctx, slices.Values(list)))
	has("neighbors", many, neighs)
	// One that osl holds is an error, and those before it are taken back.
	more := append(neighbours(many + 50)[many:], list[7])
	var found osl.NeighborSearchError
	if err := n.AddNeighbors(ctx, slices.Values(more)); !errors.As(err, &found) {
		t.Errorf("an entry that is there: %v", err)
	}
	has("neighbors after a failure", many, neighs)
	// What the kernel learned is replaced.
	w.ip("-n", "a", "neigh", "add", "10.3.9.9", "lladdr", "02:5a:00:00:00:99", "dev", "eth0", "nud", "stale")
	w.must(n.AddNeighbors(ctx, slices.Values([]osl.NeighborSpec{{Dev: "eth0", IP: netip.MustParseAddr("10.3.9.9"), MAC: osl.MAC(hw(9))}})))
	has("neighbors with one that was learned", many+1, neighs)
	w.must(n.DeleteNeighbors(ctx, slices.Values([]osl.NeighborSpec{{Dev: "eth0", IP: netip.MustParseAddr("10.3.9.9"), MAC: osl.MAC(hw(9))}})))
	w.must(n.DeleteNeighbors(ctx, slices.Values(append(list, list[0])))) // one of them twice
	has("neighbors after they were deleted", 0, neighs)

	to := staticRoutes(5000)
	w.must(n.AddRoutes(ctx, slices.Values(to)))
	w.must(n.AddRoutes(ctx, slices.Values(to[4000:]))) // that are there
	has("routes", 5000, routes)
	bad := append(staticRoutes(5100)[5000:], osl.RouteSpec{To: netip.MustParsePrefix("172.31.0.0/16"), Via: netip.MustParseAddr("192.0.2.1")})
	if err := n.AddRoutes(ctx, slices.Values(bad)); !errors.Is(err, osl.ErrUnreachable) {
		t.Errorf("a next hop that is not there: %v", err)
	}
	has("routes after a failure", 5000, routes)
	w.must(n.RemoveRoutes(ctx, slices.Values(to)))
	w.must(n.RemoveRoutes(ctx, slices.Values(to[:1])))
	has("routes after they were removed", 0, routes)

	addrs := prefixes(500)
	w.must(n.AddAddresses(ctx, "eth0", slices.Values(addrs)))
	w.must(n.AddAddresses(ctx, "eth0", slices.Values(addrs)))
	has("addresses", 500, func(s *osl.Status) int { return len(s.Interfaces[slices.IndexFunc(s.Interfaces, eth0)].Aliases) })
	w.must(n.RemoveAddresses(ctx, "eth0", slices.Values(append(addrs, addrs[0]))))

	var links []osl.InterfaceSpec
	var names []string
	for i, p := range prefixes(40) {
		name := fmt.Sprintf("l%d", i)
		names = append(names, name)
		links = append(links, osl.InterfaceSpec{Name: name, Type: "veth", Peer: osl.Endpoint{Sandbox: "b", Interface: name}, Addresses: []netip.Prefix{p}})
	}
	w.must(n.AddLinks(ctx, slices.Values(links)))
	has("links", 42, func(s *osl.Status) int { return len(s.Interfaces) })
	taken := append(slices.Clone(links[:0]), osl.InterfaceSpec{Name: "new0", Type: "bridge"}, links[3])
	if err := n.AddLinks(ctx, slices.Values(taken)); !errors.Is(err, osl.ErrNameInUse) {
		t.Errorf("a name that is taken: %v", err)
	}
	w.must(n.RemoveLinks(ctx, slices.Values(names)))
	// lo keeps what osl sets before it turns its IPv6 on.
	same := func(p picture) bool { return slices.Equal(withoutLo(p.kernel), withoutLo(begin.kernel)) }
	if p := w.settled(same); !same(p) {
		t.Errorf("it is not as before:\n%s", diff(begin.kernel, p.kernel))
	}
}

func withoutLo(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.Contains(l, ": link lo ") })
}

func eth0(i osl.InterfaceStatus) bool { return i.Name == "eth0" }

// A route of which a caller says less than it has is taken away, of several with the metric
// that it says, and one that is another is left.
func TestBulkRemovesRoutesByWhatIsSaid(t *testing.T) {
	w, n := bulkWorld(t)
	ctx, p, via := t.Context(), netip.MustParsePrefix, netip.MustParseAddr("10.2.0.9")
	w.must(n.AddAddresses(ctx, "eth0", slices.Values([]netip.Prefix{p("2001:db8:2::1/64")})))
	six := netip.MustParseAddr("2001:db8:2::9")
	begin := w.still()
	stays := []osl.RouteSpec{{To: p("172.30.0.0/16"), Via: via, Metric: 20}, {To: p("172.30.0.0/16"), Via: via, Table: 100},
		{To: p("172.29.0.0/16"), Via: netip.MustParseAddr("10.2.0.8")}, {To: p("2001:db8:30::/48"), Via: six, Metric: 7}}
	w.must(n.AddRoutes(ctx, slices.Values(stays)))
	before := w.still()
	w.must(n.AddRoutes(ctx, slices.Values([]osl.RouteSpec{{To: p("172.30.0.0/16"), Via: via, Metric: 10, MTU: 1300}, {To: p("172.30.0.0/16"), Via: via, Metric: 30, AdvMSS: 1200},
		{To: p("2001:db8:30::/48"), Via: six, MTU: 1300}})))
	w.must(n.RemoveRoutes(ctx, slices.Values([]osl.RouteSpec{{To: p("172.30.0.0/16"), Via: via, Metric: 30}, {To: p("172.30.0.0/16"), Via: via},
		{To: p("2001:db8:30::/48"), Via: six}, {To: p("172.29.0.0/16"), Via: via}})))
	if p := w.still(); !slices.Equal(p.kernel, before.kernel) {
		t.Errorf("it is not as before:\n%s", diff(before.kernel, p.kernel))
	}
	w.must(n.RemoveRoutes(ctx, slices.Values(stays)))
	if p := w.still(); !slices.Equal(p.kernel, begin.kernel) {
		t.Errorf("it is not as at first:\n%s", diff(begin.kernel, p.kernel))
	}
}
