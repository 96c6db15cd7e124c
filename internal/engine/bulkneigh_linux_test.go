package engine_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
)

// What a bulk call can not do it refuses with the reason: no entry becomes another kind of
// entry, and none of those beside it is made.
func TestBulkRefusesEntries(t *testing.T) {
	w, n := bulkWorld(t)
	ctx, ip, mac := t.Context(), netip.MustParseAddr, osl.MAC(hw(7))
	w.must(n.AddLink(ctx, osl.InterfaceSpec{Name: "vx0", Type: "vxlan", VNI: 7, Local: ip("10.2.0.1")}))
	good := osl.NeighborSpec{Dev: "eth0", IP: ip("10.2.0.7"), MAC: mac}
	w.must(n.AddNeighbors(ctx, slices.Values([]osl.NeighborSpec{good})))
	before := w.still()
	for _, x := range []struct {
		entry osl.NeighborSpec
		why   string
	}{
		{osl.NeighborSpec{Dev: "eth0", MDB: true, VLAN: 20, IP: ip("10.0.0.77"), MAC: mac}, "multicast entry"},
		{osl.NeighborSpec{Dev: "eth0", MDB: true, IP: ip("239.1.1.1")}, "of a bridge"},
		{osl.NeighborSpec{Dev: "eth0", FDB: true, MAC: mac}, "of a bridge"},
		{osl.NeighborSpec{Dev: "eth0", VLAN: 20, IP: ip("10.2.0.8"), MAC: mac}, "vlan means nothing"},
		{osl.NeighborSpec{Dev: "eth0", FDB: true, IP: ip("10.2.0.8"), MAC: mac}, "one of a vxlan"},
		{osl.NeighborSpec{Dev: "vx0", FDB: true, IP: ip("2001:db8::8"), MAC: mac}, "another family"},
		{osl.NeighborSpec{Dev: "vx0", FDB: true, MDB: true, IP: ip("10.2.0.8"), MAC: mac}, "not both"},
		{osl.NeighborSpec{Dev: "eth0", IP: ip("fe80::1%eth0"), MAC: mac}, "without %eth0"},
		{osl.NeighborSpec{Dev: "eth0", IP: ip("10.2.0.8")}, "ip and mac"},
	} {
		other := good
		other.IP = ip("10.2.0.9")
		for name, err := range map[string]error{"AddNeighbors": n.AddNeighbors(ctx, slices.Values([]osl.NeighborSpec{other, x.entry})),
			"DeleteNeighbors": n.DeleteNeighbors(ctx, slices.Values([]osl.NeighborSpec{good, x.entry}))} {
			if !errors.Is(err, osl.ErrInvalid) || !strings.Contains(err.Error(), x.why) {
				t.Errorf("%s of %+v: %v, want %q", name, x.entry, err, x.why)
			}
		}
	}
	if p := w.still(); !slices.Equal(p.kernel, before.kernel) {
		t.Errorf("it is not as before:\n%s", diff(before.kernel, p.kernel))
	}
	w.must(n.AddNeighbors(ctx, slices.Values(tunnels(3))))
	if s, err := n.Inspect(ctx); err != nil || len(s.Neighbors) != 4 {
		t.Errorf("%+v, %v", s.Neighbors, err)
	}
	w.must(n.DeleteNeighbors(ctx, slices.Values(append(tunnels(3), good))))
	if s, err := n.Inspect(ctx); err != nil || len(s.Neighbors) != 0 {
		t.Errorf("%+v, %v", s.Neighbors, err)
	}
}
