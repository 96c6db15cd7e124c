package cli

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

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

// What an interface has that no other table tells is to be seen.
func TestInspectShowsWhatAnInterfaceHas(t *testing.T) {
	p := netip.MustParsePrefix("10.0.0.1/32")
	preferred := uint32(0)
	st := &osl.Status{Interfaces: []osl.InterfaceStatus{{Name: "e0", AltNames: []string{"up0", "up1"}, Group: 5, Promisc: true, AllMulticast: true, ARP: true, TxQueueLen: 1000, MTU: 1500,
		Impair: &osl.ImpairSpec{Delay: osl.Duration(10 * time.Millisecond), Loss: 1}, Addresses: []netip.Prefix{p},
		AddressOptions: map[netip.Prefix]osl.AddressOptions{p: {Peer: netip.MustParseAddr("10.0.0.2"), ValidLft: 4000000000, PreferredLft: &preferred, Home: true}}}, {Name: "e1", ARP: true, TxQueueLen: 1000}}}
	want := [][]string{{"e0", "allmulticast, altnames=up0,up1, group=5, promisc, impair: delay=10ms loss=1%, 10.0.0.1/32: home peer=10.0.0.2 preferred_lft=0 valid_lft=4000000000"}}
	if got := withRows(st); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
