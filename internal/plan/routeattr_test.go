package plan

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// Each field of a route is written and read as it is written; a route that differs in it
// is another one, one of the sandbox where it is none of an interface, and of others'
// routes the same as what is wanted only where that is said here.
func TestEachFieldOfARouteCounts(t *testing.T) {
	a := netip.MustParseAddr
	type sample struct {
		v4, v6 any  // nil where the family has none
		found  bool // a route of others may have it where it is not asked for
	}
	hops := func(h ...rtnl.Hop) []rtnl.Hop { return h }
	samples := map[string]sample{
		"Via":     {v4: a("10.0.0.9"), v6: a("fd00::9")},
		"Type":    {v4: uint8(linux.RTN_BLACKHOLE), v6: uint8(linux.RTN_BLACKHOLE)},
		"Scope":   {v4: uint8(linux.RT_SCOPE_SITE), found: true},
		"OnLink":  {v6: true, found: true}, // without a next hop, which tells whose a route is
		"Table":   {v4: uint32(1000), v6: uint32(7)},
		"Metric":  {v4: uint32(7), v6: uint32(7)},
		"Src":     {v4: a("10.0.0.1"), v6: a("fd00::1"), found: true},
		"MTU":     {v4: uint32(1300), v6: uint32(1300), found: true},
		"AdvMSS":  {v4: uint32(1200), v6: uint32(1200), found: true},
		"Nexthop": {v4: uint32(9), v6: uint32(9)},
		"Hops": {v4: hops(rtnl.Hop{Via: a("fd00::9"), Index: 5, Weight: 3, OnLink: true}, rtnl.Hop{Index: 6, Weight: 1}),
			v6: hops(rtnl.Hop{Via: a("fd00::9"), Index: 5, Weight: 3}, rtnl.Hop{Via: a("fe80::9"), Index: 6, Weight: 256, OnLink: true})},
	}
	v4 := ifaceRoute(netip.MustParsePrefix("10.1.0.0/16"), 5)
	v6 := ifaceRoute(netip.MustParsePrefix("fd01::/64"), 5)
	v6.Metric = rtnl.DefaultMetric6 // as the kernel says
	if IsStatic(v4) || IsStatic(v6) {
		t.Fatal("a route of an interface is one of the sandbox")
	}
	for f := range reflect.TypeFor[rtnl.Route]().Fields() {
		if slices.Contains([]string{"Dst", "Index", "Proto", "Whole"}, f.Name) { // each route has these; the last is no attribute
			continue
		}
		x, ok := samples[f.Name]
		if !ok {
			t.Errorf("the test has no sample of Route.%s", f.Name)
		}
		for base, v := range map[*rtnl.Route]any{&v4: x.v4, &v6: x.v6} {
			if v == nil {
				continue
			}
			r := *base
			if f.Name == "Type" || f.Name == "Hops" || f.Name == "Nexthop" {
				r.Index = 0
			}
			reflect.ValueOf(&r).Elem().FieldByIndex(f.Index).Set(reflect.ValueOf(v))
			read, ok := rtnl.ParseRoute(rtnl.NewRoute(r, nil).Data)
			if !ok || !reflect.DeepEqual(read, r) {
				t.Errorf("%s: of\n%+v\ncame back\n%+v", f.Name, r, read)
			}
			if SameRoute(*base, r) || !SameRoute(r, r) {
				t.Errorf("%s: %+v is the same as one without", f.Name, r)
			}
			if !IsStatic(r) {
				t.Errorf("%s: %+v is taken for one of an interface", f.Name, r)
			}
			if sameAsMade(r, *base) != x.found {
				t.Errorf("%s: one of others, %+v, does what is wanted without: %v", f.Name, r, !x.found)
			}
		}
	}
	// A next hop of the other family goes by another attribute.
	over := v4
	over.Via = a("fd00::9")
	if read, _ := rtnl.ParseRoute(rtnl.NewRoute(over, nil).Data); !reflect.DeepEqual(read, over) {
		t.Errorf("of\n%+v\ncame back\n%+v", over, read)
	}
	for f := range reflect.TypeFor[rtnl.Hop]().Fields() {
		if f.Name != "Dev" && !slices.ContainsFunc(slices.Concat(samples["Hops"].v4.([]rtnl.Hop), samples["Hops"].v6.([]rtnl.Hop)), func(h rtnl.Hop) bool {
			return !reflect.ValueOf(h).FieldByIndex(f.Index).IsZero()
		}) {
			t.Errorf("no next hop of the test has %s", f.Name)
		}
	}
}
