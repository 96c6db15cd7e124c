package engine_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/seed59451c2b/osl"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// The kernel refuses more of one send than a socket's buffer holds answers for.
func TestManyRefusals(t *testing.T) {
	_, n := bulkWorld(t)
	ctx, conn := t.Context(), connOf(t, n)
	entries := func() (list []rtnl.Neigh) {
		all, err := conn.Neighs(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(all, func(x rtnl.Neigh) bool { return x.Proto != rtnl.Protocol })
	}
	had := len(entries())
	mine := neighbours(1000)
	if err := n.DeleteNeighbors(ctx, slices.Values(mine)); err != nil || len(entries()) != had {
		t.Errorf("deleting what is not there: %v; entries %d, were %d", err, len(entries()), had)
	}
	if err := n.AddNeighbors(ctx, slices.Values(mine)); err != nil {
		t.Fatal(err)
	}
	before := entries()
	other := slices.Clone(mine)
	for i := range other {
		other[i].MAC = osl.MAC{2, 0, 0, 0, 0, 1}
	}
	var held osl.NeighborSearchError
	if err := n.AddNeighbors(ctx, slices.Values(other)); !errors.As(err, &held) {
		t.Errorf("adding what osl holds: %v", err)
	}
	same := func(a, b rtnl.Neigh) bool { return a.IP == b.IP && slices.Equal(a.MAC, b.MAC) }
	if now := entries(); !slices.EqualFunc(sortNeighs(before), sortNeighs(now), same) {
		t.Errorf("a refused call changed entries: %d, were %d", len(now), len(before))
	}
}

func sortNeighs(list []rtnl.Neigh) []rtnl.Neigh {
	slices.SortFunc(list, func(a, b rtnl.Neigh) int { return a.IP.Compare(b.IP) })
	return list
}

// A default route that osl has is no error in bulk either.
func TestBulkDefaultRouteTwice(t *testing.T) {
	_, n := bulkWorld(t)
	r := []osl.RouteSpec{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.2.0.9")}}
	for range 2 {
		if err := n.AddRoutes(t.Context(), slices.Values(r)); err != nil {
			t.Error(err)
		}
	}
}

// A handle that is closed while calls of it are under way makes them fail, and
// nothing else.
func TestCloseInUse(t *testing.T) {
	_, n := bulkWorld(t)
	for range 30 {
		again, err := osl.Open(t.Context(), n.Key())
		if err != nil {
			t.Fatal(err)
		}
		var calls sync.WaitGroup
		for i := range 4 {
			calls.Go(func() {
				_ = again.AddLink(t.Context(), osl.InterfaceSpec{Name: string(rune('p' + i)), Type: "bridge"})
				_ = again.RemoveLink(t.Context(), string(rune('p'+i)))
			})
		}
		again.Close()
		calls.Wait()
	}
}

// A handle whose key was looked at a moment ago, so that it does not look again,
// finds out at once when the sandbox ends by another handle, or is made anew.
func TestKeyAfterItWasSeen(t *testing.T) {
	ctx := context.Background()
	for range 50 {
		a, err := osl.Create(ctx, "seen")
		if err != nil {
			t.Fatal(err)
		}
		b, err := osl.Open(ctx, "seen")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := errors.Join(a.DisableARPForVIP("lo"), b.DisableARPForVIP("lo")); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Destroy(); err != nil {
			t.Fatal(err)
		}
		if err := a.DisableARPForVIP("lo"); !errors.Is(err, osl.ErrClosed) {
			t.Errorf("when it is destroyed: %v", err)
		}
		next, err := osl.NewSandbox("seen", true, false)
		if err != nil {
			t.Fatal(err)
		}
		again := next.(*osl.Namespace)
		if err := again.DisableARPForVIP("lo"); err != nil {
			t.Error(err)
		}
		if err := a.DisableARPForVIP("lo"); !errors.Is(err, osl.ErrClosed) {
			t.Errorf("when another has its key: %v", err)
		}
		third, err := osl.NewSandbox("seen", true, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := again.DisableARPForVIP("lo"); !errors.Is(err, osl.ErrClosed) {
			t.Errorf("when it is made anew: %v", err)
		}
		if err := errors.Join(third.Destroy(), a.Close(), again.Close()); err != nil {
			t.Error(err)
		}
	}
}
