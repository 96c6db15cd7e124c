package osltest

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/seed59451c2b/osl"
)

// A neighbor that knows another hardware address for an address that has come here knows
// this one at once, and what is known here of neighbors stays.
func TestAdvertise(t *testing.T) {
	ctx := t.Context()
	a, b := pair(t)
	handle := func(n *osl.Namespace) (*netlink.Handle, netlink.Link) {
		t.Helper()
		f, err := n.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		h, err := netlink.NewHandleAt(netns.NsHandle(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Close)
		l, err := h.LinkByName("eth0")
		if err != nil {
			t.Fatal(err)
		}
		return h, l
	}
	_, here := handle(a)
	h, there := handle(b)
	moved := nets("10.0.0.9/24", "fd00::9/64")
	if err := a.AddAddresses(ctx, "eth0", slices.Values(moved)); err != nil {
		t.Fatal(err)
	}
	mac := osl.MAC{2, 0, 0, 0, 0, 0x99}
	if err := a.AddNeighbors(ctx, slices.Values([]osl.NeighborSpec{{IP: netip.MustParseAddr("10.0.0.77"), MAC: mac, Dev: "eth0"}})); err != nil {
		t.Fatal(err)
	}
	known := func(ip netip.Addr) string {
		t.Helper()
		list, err := h.NeighList(there.Attrs().Index, netlink.FAMILY_ALL)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(list, func(n netlink.Neigh) bool { return n.IP.Equal(net.IP(ip.AsSlice())) })
		if i < 0 {
			return ""
		}
		return list[i].HardwareAddr.String()
	}
	for _, p := range moved {
		stale := &netlink.Neigh{LinkIndex: there.Attrs().Index, IP: p.Addr().AsSlice(), HardwareAddr: net.HardwareAddr(mac), State: netlink.NUD_STALE}
		if err := h.NeighSet(stale); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Advertise(ctx, "eth0"); err != nil {
		t.Fatal(err)
	}
	for _, p := range moved {
		for end := time.Now().Add(5 * time.Second); known(p.Addr()) != here.Attrs().HardwareAddr.String(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("of %s the neighbor knows %q, not %s", p.Addr(), known(p.Addr()), here.Attrs().HardwareAddr)
			}
		}
	}
	if st, err := a.Inspect(ctx); err != nil || len(st.Neighbors) != 1 {
		t.Errorf("%v, the neighbors known here: %+v", err, st.Neighbors)
	}
	if err := a.Advertise(ctx, "lo"); err != nil {
		t.Errorf("of lo, which has no neighbors: %v", err)
	}
	if err := a.Advertise(ctx, "none"); !errors.Is(err, osl.ErrNotFound) {
		t.Errorf("of an interface that is not there: %v", err)
	}
	down := false
	if err := a.SetLink(ctx, "eth0", osl.LinkChange{Up: &down}); err != nil {
		t.Fatal(err)
	}
	if err := a.Advertise(ctx, "eth0"); err == nil || !strings.Contains(err.Error(), "eth0") || !strings.Contains(err.Error(), "network is down") {
		t.Errorf("of an interface that is down: %v", err)
	}
}
