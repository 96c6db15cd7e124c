//go:build linux

package osltest

import (
	"errors"
	"net"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/types"
)

func TestDestroyBringsEverythingHome(t *testing.T) {
	w := begin(t)
	up, down, vx := w.dressed(true), w.dressed(false), w.vxlan(4301)
	parent, _ := w.vethUp()
	w.up(parent)
	mv := name("mv")
	a := attrs(mv)
	a.ParentIndex = needLink(t, "", parent).Attrs().Index
	w.link(&netlink.Macvlan{LinkAttrs: a, Mode: netlink.MACVLAN_MODE_BRIDGE})
	renamed, _ := w.veth()
	before := snapshot(t, "")

	sb, err := osl.NewSandbox(newKey(), true, false)
	must(t, err)
	defer sb.Destroy()
	o := sb.InterfaceOptions()
	w.add(sb, "br-src", "br", o.Bridge(true))
	w.add(sb, up, "eth", o.MacAddress(mac("02:00:00:00:43:01")), osl.WithMTU(1290), o.Address(ipnet("10.71.0.2/24")), o.AddressIPv6(ipnet("fd71::2/64")))
	w.add(sb, down, "eth", o.Master("br-src"))
	w.add(sb, vx, "vxlan", o.Master("br-src"))
	w.add(sb, mv, "eth", o.Address(ipnet("10.72.0.2/24")))
	inside := w.add(sb, renamed, "eth")
	witness(t, sb.Key(), func(h *netlink.Handle) {
		l := needLink(t, sb.Key(), inside)
		must(t, h.LinkSetDown(l))
		must(t, h.LinkSetName(l, "somethingelse"))
	})
	must(t, sb.Destroy())
	same(t, "the host after Destroy", before, func() []string { return snapshot(t, "") })
	if _, err := os.Lstat(sb.Key()); !os.IsNotExist(err) {
		t.Errorf("the key is there still: %v", err)
	}
	if err := sb.Destroy(); err != nil {
		t.Errorf("a second Destroy: %v", err)
	}
}

// TestAfterDestroy holds every call to the contract: one that asks for a
// change gives ErrClosed, one that takes something away succeeds, none acts.
func TestAfterDestroy(t *testing.T) {
	w := begin(t)
	src, _ := w.veth()
	stay, _ := w.vethUp()
	sb := w.sandbox()
	was := iface(t, sb, func() string { w.add(sb, stay, "eth", addresses("10.73.0.2/24")); return stay }())
	must(t, sb.Destroy())
	afterDestroy(t, sb, src)
	if err := was.Remove(); err != nil {
		t.Errorf("Remove of an interface that went home: %v", err)
	}
	if _, err := was.Statistics(); !errors.Is(err, osl.ErrClosed) && !errors.Is(err, osl.ErrNotFound) {
		t.Errorf("Statistics of an interface that went home: %v", err)
	}
}

// afterDestroy calls everything on a sandbox that is gone, and demands that
// the host is as before. src is a link of the host.
func afterDestroy(t *testing.T, sb osl.Sandbox, src string) {
	t.Helper()
	before := snapshot(t, "")
	o := sb.InterfaceOptions()
	link := sb.NeighborOptions().LinkName(src)
	m := mac("02:00:00:00:73:01")
	r := route("10.173.0.0/16", types.NEXTHOP, "10.73.0.9")
	for what, err := range map[string]error{
		"AddInterface":            sb.AddInterface(src, "eth", o.Address(ipnet("10.73.0.2/24"))),
		"AddInterface, a bridge":  sb.AddInterface("brx", "br", o.Bridge(true)),
		"AddInterface, inside":    sb.AddInterface("lo", "lo", osl.WithLinkInside(), osl.WithName()),
		"SetGateway":              sb.SetGateway(ip("10.73.0.1")),
		"SetGatewayIPv6":          sb.SetGatewayIPv6(ip("fd73::1")),
		"AddAliasIP":              sb.AddAliasIP("lo", ipnet("10.73.1.1/32")),
		"DisableARPForVIP":        sb.DisableARPForVIP("lo"),
		"AddStaticRoute":          sb.AddStaticRoute(r),
		"AddNeighbor":             sb.AddNeighbor(ip("10.73.0.9"), m, false, link),
		"AddNeighbor, forced":     sb.AddNeighbor(ip("10.73.0.9"), m, true, link),
		"InvokeFunc":              sb.InvokeFunc(func() { t.Error("InvokeFunc ran its function") }),
		"Restore of an interface": sb.Restore(map[string][]osl.IfaceOption{"lo+lo": nil}, nil, nil, nil),
	} {
		if !errors.Is(err, osl.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", what, err)
		}
	}
	for what, err := range map[string]error{
		"UnsetGateway":      sb.UnsetGateway(),
		"UnsetGatewayIPv6":  sb.UnsetGatewayIPv6(),
		"RemoveAliasIP":     sb.RemoveAliasIP("lo", ipnet("127.0.0.1/8")),
		"RemoveStaticRoute": sb.RemoveStaticRoute(r),
		"Destroy":           sb.Destroy(),
	} {
		if err != nil {
			t.Errorf("%s takes something away and must succeed: %v", what, err)
		}
	}
	if err := sb.DeleteNeighbor(ip("10.73.0.9"), m, true); err != nil && !errors.Is(err, osl.ErrClosed) && !errors.As(err, &osl.NeighborSearchError{}) {
		t.Errorf("DeleteNeighbor: %v", err)
	}
	ends(t, "what returns no error", func() {
		sb.ApplyOSTweaks([]osl.SandboxType{osl.SandboxTypeIngress})
		if sb.Key() == "" || sb.GetLoopbackIfaceName() != "lo" || sb.InterfaceOptions() == nil || sb.NeighborOptions() == nil {
			t.Error("a name or a setter is gone")
		}
		i := sb.Info()
		if len(i.Interfaces()) > 0 || len(i.StaticRoutes()) > 0 || i.Gateway() != nil || i.GatewayIPv6() != nil {
			t.Errorf("Info says:\n%s", infoText(i))
		}
	})
	same(t, "the host after calls on a sandbox that is gone", before, func() []string { return snapshot(t, "") })
}

func TestDestroyOfWhatSomeoneUnmounted(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src, _, _ := w.eth(sb, "10.74.0.2/24")
	must(t, unix.Unmount(sb.Key(), unix.MNT_DETACH))
	if err := sb.Destroy(); err != nil {
		t.Errorf("Destroy: %v", err)
	}
	if _, err := os.Lstat(sb.Key()); !os.IsNotExist(err) {
		t.Errorf("the file is there still: %v", err)
	}
	// What came from the host is never lost while the handle is open.
	eventually(t, src+" is on the host again", func() bool { return linkOf(t, "", src) != nil })
}

// Of many that destroy one sandbox at once none fails.
func TestDestroyAtOnce(t *testing.T) {
	begin(t)
	for range 5 {
		n, err := osl.Create(t.Context(), "once")
		must(t, err)
		errs := make(chan error)
		for range 20 {
			go func() { errs <- n.Destroy() }()
		}
		for range 20 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	}
}

// A nil list is an empty one.
func TestNilLists(t *testing.T) {
	begin(t)
	n, err := osl.Create(t.Context(), "lists")
	must(t, err)
	ctx := t.Context()
	for name, err := range map[string]error{
		"AddLinks": n.AddLinks(ctx, nil), "RemoveLinks": n.RemoveLinks(ctx, nil), "AddNeighbors": n.AddNeighbors(ctx, nil), "DeleteNeighbors": n.DeleteNeighbors(ctx, nil),
		"AddRoutes": n.AddRoutes(ctx, nil), "RemoveRoutes": n.RemoveRoutes(ctx, nil), "RemoveRules": n.RemoveRules(ctx, nil),
		"AddAddresses": n.AddAddresses(ctx, "lo", nil), "RemoveAddresses": n.RemoveAddresses(ctx, "lo", nil),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, n.Destroy())
}

func TestDestroyWhileInUse(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src, _, _ := w.eth(sb, "10.75.0.2/24")
	var l net.Listener
	must(t, sb.InvokeFunc(func() {
		var err error
		l, err = net.Listen("tcp", "10.75.0.2:0")
		must(t, err)
	}))
	defer l.Close()
	fd, err := unix.Open(sb.Key(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, sb.Destroy())
	if _, err := os.Lstat(sb.Key()); !os.IsNotExist(err) {
		t.Errorf("the key is there still: %v", err)
	}
	if linkOf(t, "", src) == nil {
		t.Errorf("%s is not on the host again", src)
	}
}
