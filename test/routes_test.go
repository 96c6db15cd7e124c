//go:build linux

package osltest

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
)

// oslRoutes are the routes of osl in a sandbox, as the ip command shows them.
func oslRoutes(t *testing.T, box string) (list []string) {
	t.Helper()
	for _, family := range []string{"-4", "-6"} {
		for _, r := range ipJSON(t, "-n", box, "-d", family, "route", "show", "table", "all", "proto", "111") {
			s := []string{}
			if typ, _ := r["type"].(string); typ != "unicast" {
				s = append(s, typ)
			}
			add := func(of map[string]any, names ...string) {
				for _, name := range names {
					if v, ok := of[name]; ok {
						s = append(s, name, strings.Trim(toText(v), `"`))
					}
				}
			}
			s = append(s, r["dst"].(string))
			add(r, "gateway", "via", "dev", "table", "metric", "prefsrc", "scope")
			if m, ok := r["metrics"].([]any); ok {
				s = append(s, toText(m))
			}
			if hops, ok := r["nexthops"].([]any); ok {
				for _, h := range hops {
					s = append(s, "nexthop")
					add(h.(map[string]any), "gateway", "via", "dev", "weight")
				}
			}
			list = append(list, strings.Join(s, " "))
		}
	}
	slices.Sort(list)
	return list
}

func toText(v any) string { b, _ := json.Marshal(v); return string(b) }

func twoUplinks(routes ...osl.RouteSpec) osl.Network {
	p := netip.MustParsePrefix
	peer := func(name string) osl.Endpoint { return osl.Endpoint{Sandbox: "far", Interface: name} }
	return osl.Network{Name: "lab", Sandboxes: []osl.Spec{
		{Name: "edge", Gateway: netip.MustParseAddr("10.0.0.2"), Routes: routes, Interfaces: []osl.InterfaceSpec{
			{Name: "e0", Peer: peer("e0"), Addresses: []netip.Prefix{p("10.0.0.1/24"), p("fd00::1/64")}},
			{Name: "e1", Peer: peer("e1"), Addresses: []netip.Prefix{p("10.0.1.1/24"), p("fd01::1/64")}},
			{Name: "e2", Peer: peer("e2")},
		}},
		{Name: "far"},
	}}
}

// What a route can have is in the kernel as the network says, Diff is empty then, and
// Inspect says the routes of which the network is made.
func TestRoutes(t *testing.T) {
	begin(t)
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	n := twoUplinks(
		osl.RouteSpec{To: p("0.0.0.0/0"), Via: a("10.0.1.2"), Dev: "e1", Metric: 100},
		osl.RouteSpec{To: p("0.0.0.0/0"), Via: a("10.0.1.2"), Dev: "e1", Table: 70000},
		osl.RouteSpec{To: p("10.1.0.0/16"), Type: "blackhole"},
		osl.RouteSpec{To: p("10.2.0.0/16"), Type: "prohibit", Table: 200, Metric: 4278198272},
		osl.RouteSpec{To: p("10.5.0.0/16"), Dev: "lo", Type: "local"},
		osl.RouteSpec{To: p("10.6.0.0/16"), Via: a("10.0.0.3"), Dev: "e0", Src: a("10.0.1.1"), MTU: 1300, AdvMSS: 1200},
		osl.RouteSpec{To: p("10.7.0.0/16"), Dev: "e1", Scope: "global"},
		osl.RouteSpec{To: p("10.8.0.0/16"), NextHops: []osl.NextHop{{Via: a("10.0.0.2"), Dev: "e0", Weight: 1}, {Via: a("fe80::2"), Dev: "e1", Weight: 3}}},
		osl.RouteSpec{To: p("10.9.0.0/16"), Via: a("fd00::2"), Dev: "e0"},
		osl.RouteSpec{To: p("fd08::/32"), NextHops: []osl.NextHop{{Via: a("fd00::2"), Dev: "e0", Weight: 1}, {Via: a("fd01::2"), Dev: "e1", Weight: 256}}},
		osl.RouteSpec{To: p("fd09::/32"), Type: "throw", Table: 200},
		osl.RouteSpec{To: p("fd0a::/32"), Via: a("fd00::2"), Dev: "e0", Metric: 50, Src: a("fd01::1")},
	)
	defer func() { _, err := osl.Down(t.Context(), n); must(t, err) }()
	up := func() {
		t.Helper()
		for i := range 2 {
			c, err := osl.Apply(t.Context(), n)
			must(t, err)
			if i > 0 && len(c) > 0 {
				t.Fatalf("the second Apply did\n%s", c)
			}
			if c, err = osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
				t.Fatalf("diff: %v\n%s", err, c)
			}
			asRead(t, n)
		}
	}
	up()
	want := []string{
		`10.6.0.0/16 gateway 10.0.0.3 dev e0 table main prefsrc 10.0.1.1 scope global [{"advmss":1200,"mtu":1300}]`,
		`10.7.0.0/16 dev e1 table main scope global`,
		`10.8.0.0/16 table main scope global nexthop gateway 10.0.0.2 dev e0 weight 1 nexthop via {"family":"inet6","host":"fe80::2"} dev e1 weight 3`,
		`10.9.0.0/16 via {"family":"inet6","host":"fd00::2"} dev e0 table main scope global`,
		`blackhole 10.1.0.0/16 table main scope global`,
		`default gateway 10.0.0.2 dev e0 table main scope global`,
		`default gateway 10.0.1.2 dev e1 table 70000 scope global`,
		`default gateway 10.0.1.2 dev e1 table main metric 100 scope global`,
		`fd08::/32 table main metric 1024 scope global nexthop gateway fd00::2 dev e0 weight 1 nexthop gateway fd01::2 dev e1 weight 256`,
		`fd0a::/32 gateway fd00::2 dev e0 table main metric 50 prefsrc fd01::1 scope global`,
		`local 10.5.0.0/16 dev lo table main scope host`,
		`prohibit 10.2.0.0/16 table 200 metric 4278198272 scope global`,
		`throw fd09::/32 dev lo table 200 metric 1024 scope global`,
	}
	if got := oslRoutes(t, "edge"); !slices.Equal(got, want) {
		t.Errorf("the kernel has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	edge, err := osl.Open(t.Context(), "edge")
	must(t, err)
	defer edge.Close()
	st, err := edge.Inspect(t.Context())
	must(t, err)
	texts := func(list []osl.RouteSpec) (texts []string) {
		for _, r := range list {
			texts = append(texts, toText(r))
		}
		slices.Sort(texts)
		return texts
	}
	if got, want := texts(st.Routes), texts(n.Sandboxes[0].Routes); !slices.Equal(got, want) {
		t.Errorf("Inspect says\n%s\nand the network\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// The seed's calls say only what they can.
	var static []string
	for _, r := range edge.Info().StaticRoutes() {
		static = append(static, r.Destination.String())
	}
	if slices.Sort(static); !slices.Equal(static, []string{"10.6.0.0/16", "10.7.0.0/16"}) {
		t.Errorf("Info has the static routes %v", static)
	}
	if gw := edge.Info().Gateway(); gw.String() != "10.0.0.2" {
		t.Errorf("Info has the gateway %v", gw)
	}
	// An edit changes what it names, and takes away what it drops.
	n.Sandboxes[0].Routes = []osl.RouteSpec{
		{To: p("10.1.0.0/16"), Type: "unreachable"},
		{To: p("10.8.0.0/16"), NextHops: []osl.NextHop{{Via: a("10.0.0.2"), Weight: 5}, {Via: a("10.0.1.2")}}},
		{To: p("fd08::/32"), Via: a("fd01::2")},
	}
	up()
	want = []string{
		`10.8.0.0/16 table main scope global nexthop gateway 10.0.0.2 dev e0 weight 5 nexthop gateway 10.0.1.2 dev e1 weight 1`,
		`default gateway 10.0.0.2 dev e0 table main scope global`,
		`fd08::/32 gateway fd01::2 dev e1 table main metric 1024 scope global`,
		`unreachable 10.1.0.0/16 table main scope global`,
	}
	if got := oslRoutes(t, "edge"); !slices.Equal(got, want) {
		t.Errorf("after the edit the kernel has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Routes of others are shown whole, left alone, taken over where they are the same,
// and named where they are in the way.
func TestRoutesOfOthers(t *testing.T) {
	begin(t)
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	n := twoUplinks()
	_, err := osl.Apply(t.Context(), n)
	must(t, err)
	defer func() { _, err := osl.Down(t.Context(), n); must(t, err) }()
	for _, r := range []string{"blackhole 10.1.0.0/16", "10.8.0.0/16 nexthop via 10.0.0.2 weight 2 nexthop via 10.0.1.2", "default via 10.0.1.2 table 300"} {
		out, err := exec.Command("ip", append([]string{"-n", "edge", "route", "add"}, strings.Fields(r)...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %s", r, out)
		}
	}
	edge, err := osl.Open(t.Context(), "edge")
	must(t, err)
	defer edge.Close()
	st, err := edge.Inspect(t.Context())
	must(t, err)
	others := map[string]string{}
	for _, r := range st.OtherRoutes {
		if r.Proto == "boot" {
			others[r.To.String()] = toText(r)
		}
	}
	for to, text := range map[string]string{
		"10.1.0.0/16": `{"to":"10.1.0.0/16","type":"blackhole","proto":"boot"}`,
		"10.8.0.0/16": `{"to":"10.8.0.0/16","next_hops":[{"via":"10.0.0.2","dev":"e0","weight":2},{"via":"10.0.1.2","dev":"e1","weight":1}],"proto":"boot"}`,
		"0.0.0.0/0":   `{"to":"0.0.0.0/0","via":"10.0.1.2","dev":"e1","table":300,"proto":"boot"}`,
	} {
		if others[to] != text {
			t.Errorf("Inspect says\n%s, want\n%s", others[to], text)
		}
	}
	n.Sandboxes[0].Routes = []osl.RouteSpec{
		{To: p("10.1.0.0/16"), Type: "blackhole"},
		{To: p("10.8.0.0/16"), NextHops: []osl.NextHop{{Via: a("10.0.1.2")}, {Via: a("10.0.0.2"), Weight: 2}}},
		{To: p("0.0.0.0/0"), Via: a("10.0.1.2"), Table: 300},
	}
	if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
		t.Errorf("what is there already is to be made: %v\n%s", err, c)
	}
	asRead(t, n)
	n.Sandboxes[0].Routes[1].NextHops[0].Weight = 7
	_, err = osl.Apply(t.Context(), n)
	refused(t, "another weight than the others' route", err, osl.ErrExists, "10.8.0.0/16", "nexthop via 10.0.0.2 dev e0 weight 2")
	n.Sandboxes[0].Routes = nil
}

// What can not be is refused before anything is done, and says why.
func TestRoutesRefused(t *testing.T) {
	begin(t)
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	for _, x := range []struct {
		route osl.RouteSpec
		is    error
		words string
	}{
		{osl.RouteSpec{To: p("10.1.0.0/16")}, osl.ErrInvalid, "needs via, dev or both"},
		{osl.RouteSpec{To: p("10.1.0.0/16"), Type: "blackhol"}, osl.ErrInvalid, `did you mean "blackhole"`},
		{osl.RouteSpec{To: p("10.1.0.0/16"), Type: "blackhole", Via: a("10.0.0.2")}, osl.ErrInvalid, "no next hop and no device"},
		{osl.RouteSpec{To: p("10.1.0.0/16"), Type: "local"}, osl.ErrInvalid, "needs dev"},
		{osl.RouteSpec{To: p("fd01::/16"), Via: a("10.0.0.2")}, osl.ErrInvalid, "different families"},
		{osl.RouteSpec{To: p("10.1.0.0/16"), Via: a("10.0.0.2"), Src: a("fd00::1")}, osl.ErrInvalid, "another family"},
		{osl.RouteSpec{To: p("10.1.0.0/16"), Via: a("10.0.0.2"), Src: a("10.0.0.99")}, osl.ErrInvalid, "no address of the sandbox"},
		{osl.RouteSpec{To: p("10.1.0.0/16"), Via: a("10.0.0.2"), NextHops: []osl.NextHop{{Via: a("10.0.0.3")}}}, osl.ErrInvalid, "next_hops"},
		{osl.RouteSpec{To: p("10.1.0.0/16"), NextHops: []osl.NextHop{{Via: a("10.0.0.2")}, {}}}, osl.ErrInvalid, "next hop without via"},
		{osl.RouteSpec{To: p("10.1.0.0/16"), NextHops: []osl.NextHop{{Via: a("10.0.0.2")}, {Via: a("10.0.0.3"), Weight: 257}}}, osl.ErrInvalid, "from 1 to 256"},
		{osl.RouteSpec{To: p("10.1.0.0/16"), NextHops: []osl.NextHop{{Via: a("10.0.0.2")}, {Via: a("10.0.0.3"), Dev: "e7"}}}, osl.ErrNotFound, "not in the sandbox"},
		{osl.RouteSpec{To: p("10.1.0.0/16"), Via: a("10.0.0.2"), Scope: "planet"}, osl.ErrInvalid, "scope"},
		{osl.RouteSpec{To: p("fd01::/16"), Via: a("fd00::2"), Scope: "link"}, osl.ErrInvalid, "IPv6 does not know"},
		{osl.RouteSpec{To: p("0.0.0.0/0"), Via: a("10.0.0.3")}, osl.ErrExists, "same table and metric"},
		{osl.RouteSpec{To: p("10.1.0.0/16"), Via: a("10.0.0.2"), Scope: "host"}, osl.ErrInvalid, "cope"},
		{osl.RouteSpec{To: p("10.1.0.0/16"), Via: a("fe80::1"), Dev: "e2"}, osl.ErrInvalid, "IPv6"},
		{osl.RouteSpec{To: p("10.1.0.0/16"), Via: a("fe80::1%e7"), Dev: "e0"}, osl.ErrInvalid, "e7"},
	} {
		_, err := osl.Apply(t.Context(), twoUplinks(x.route))
		refused(t, toText(x.route), err, x.is, x.words)
		if _, err := osl.Open(t.Context(), "edge"); !errors.Is(err, osl.ErrNotFound) {
			t.Fatalf("%s: a sandbox is left: %v", toText(x.route), err)
		}
	}
}
