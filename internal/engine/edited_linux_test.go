package engine_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/seed59451c2b/osl"
)

// A name that another link of osl's has is not taken from it where that stays.
func TestNameOfALinkThatStays(t *testing.T) {
	w, n := undoWorld(t)
	ctx := context.Background()
	w.must(n.AddLink(ctx, osl.InterfaceSpec{Name: "eth7", Type: "bridge"}))
	w.ip("-n", "a", "link", "add", "in0", "type", "bridge")
	before := look(t)
	if err := n.AddInterface("in0", "eth7", osl.WithLinkInside(), osl.WithName()); !errors.Is(err, osl.ErrNameInUse) {
		t.Errorf("a link inside, under a name that is taken: %v", err)
	}
	if after := look(t); diff(before, after) != "" {
		t.Errorf("it changed this:\n%s", diff(before, after))
	}
}

// Whatever of a subnet goes, what stays has its order: the first chooses the
// source of what is sent.
func TestOrderOfAddressesAfterAFailure(t *testing.T) {
	w := world(t, "")
	w.a = w.make("a")
	n, ctx := w.ns("a"), context.Background()
	from := subnet("10.9.0.1/24", "10.9.0.2/24", "10.9.0.3/24", "10.9.0.4/24")
	_, err := osl.Apply(ctx, from)
	w.must(err)
	first := func() (list []string) {
		addrs, err := connOf(t, n).Addrs(ctx, 0)
		w.must(err)
		for _, a := range addrs {
			if a.Prefix.Addr().Is4() {
				list = append(list, a.Prefix.String())
			}
		}
		return list
	}
	before := first()
	for _, to := range []osl.Network{
		subnet("10.9.0.2/24", "10.9.0.4/24"), subnet("10.9.0.9/24", "10.9.0.3/24"), subnet("10.9.0.4/24", "10.9.0.1/24"),
		subnet("10.9.0.1/24", "10.9.0.3/24", "10.9.0.8/24"), subnet("10.9.0.7/24"),
	} {
		to.Sandboxes[0].Routes = []osl.RouteSpec{{To: v4("172.16.0.0/12")[0], Via: to.Sandboxes[0].Interfaces[0].Addresses[0].Addr()}, {To: v4("172.30.0.0/16")[0], Via: hopOutside}}
		if _, err := osl.Apply(ctx, to); err == nil {
			t.Fatal("a route through an address that nothing reaches was made")
		}
		if after := first(); !slices.Equal(before, after) {
			t.Errorf("the addresses were %v and are %v", before, after)
		}
	}
}

var hopOutside = netip.MustParseAddr("10.200.0.1")
