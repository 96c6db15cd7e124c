package cli

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/seed59451c2b/osl"
)

// Each field of a route is to be seen.
func TestInspectShowsEachFieldOfARoute(t *testing.T) {
	a := netip.MustParseAddr
	samples := map[string]any{"To": netip.MustParsePrefix("10.1.0.0/16"), "Via": a("10.0.0.9"), "Dev": "e9", "Type": "blackhole", "Table": uint32(9),
		"Metric": uint32(9), "Src": a("10.0.0.9"), "MTU": uint32(1300), "AdvMSS": uint32(1200), "Scope": "site", "NextHops": []osl.NextHop{{Dev: "e9"}}, "Nexthop": uint32(9)}
	base := osl.RouteSpec{To: netip.MustParsePrefix("10.0.0.0/16")}
	plain := routeRow(base, 0, "osl")
	for f := range reflect.TypeFor[osl.RouteSpec]().Fields() {
		r := base
		if v, ok := samples[f.Name]; ok {
			reflect.ValueOf(&r).Elem().FieldByIndex(f.Index).Set(reflect.ValueOf(v))
		}
		if slices.Equal(routeRow(r, r.Metric, "osl"), plain) {
			t.Errorf("RouteSpec.%s is not shown, or the test has no sample of it", f.Name)
		}
	}
}
