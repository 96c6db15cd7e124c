//go:build linux

package osltest

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/seed59451c2b/osl"
)

// Add makes interfaces in several sandboxes beside what is there, and on the host:
// what each says of its end holds, and nothing else is touched.
func TestAddBesideWhatIsThere(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	host, err := osl.NewSandbox(osl.HostName, false, false)
	must(t, err)
	h := host.(*osl.Namespace)
	defer h.Close()
	br, end := name("br"), name("ve")
	must(t, h.AddLink(t.Context(), osl.InterfaceSpec{Name: br, Type: "bridge", Aliases: []netip.Prefix{netip.MustParsePrefix("10.91.0.1/24")}, Note: "net"}))
	defer func() { must(t, h.RemoveLink(t.Context(), br)) }()
	if err := h.AddLink(t.Context(), osl.InterfaceSpec{Name: br, Type: "bridge"}); !errors.Is(err, osl.ErrNameInUse) {
		t.Errorf("a second one: %v", err)
	}
	net := osl.Network{
		Sandboxes: []osl.Spec{
			{Name: osl.HostName, Interfaces: []osl.InterfaceSpec{{Name: end, Type: "veth", Master: br, Note: "c1 eth0"}}},
			{Name: sb.Key(), Interfaces: []osl.InterfaceSpec{{Name: "eth0", Type: "veth", Aliases: []netip.Prefix{netip.MustParsePrefix("10.91.0.2/24")}, Note: "c1 eth0"}},
				Routes: []osl.RouteSpec{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.91.0.1")}}},
		},
		Links: []osl.Link{{{Sandbox: sb.Key(), Interface: "eth0"}, {Sandbox: osl.HostName, Interface: end}}},
	}
	before := snapshot(t, "")
	bad := net
	bad.Sandboxes = slices.Clone(net.Sandboxes)
	bad.Sandboxes[1].Routes = []osl.RouteSpec{{To: netip.MustParsePrefix("10.1.0.0/16"), Via: netip.MustParseAddr("10.77.0.1")}}
	if err := osl.Add(t.Context(), bad); !errors.Is(err, osl.ErrUnreachable) {
		t.Errorf("a next hop that nothing reaches: %v", err)
	}
	same(t, "the host after a failure", before, func() []string { return snapshot(t, "") })
	if names := linkNames(t, sb.Key()); len(names) != 1 {
		t.Errorf("after a failure there is %v", names)
	}
	must(t, osl.Add(t.Context(), net))
	l := needLink(t, "", end)
	if m := needLink(t, "", br); l.Attrs().MasterIndex != m.Attrs().Index || l.Attrs().Flags&1 == 0 {
		t.Errorf("the host's end: %+v", l.Attrs())
	}
	if !hasRoute(t, sb.Key(), "default via 10.91.0.1 dev eth0") {
		t.Logf("routes: %v", routesOf(t, sb.Key()))
	}
	n, err := osl.Open(t.Context(), sb.Key())
	must(t, err)
	defer n.Close()
	x, err := n.Interface(t.Context(), "eth0")
	must(t, err)
	if x.Note != "c1 eth0" || !x.Up || !x.ARP || len(x.Aliases) != 1 || x.UnderWay {
		t.Errorf("Interface: %+v", x)
	}
	if x, err := h.Interface(t.Context(), end); err != nil || x.Note != "c1 eth0" || x.Master != br {
		t.Errorf("Interface of the host: %+v, %v", x, err)
	}
	if _, err := n.Interface(t.Context(), "eth1"); !errors.Is(err, osl.ErrNotFound) {
		t.Errorf("Interface of nothing: %v", err)
	}
	if err := osl.Add(t.Context(), net); !errors.Is(err, osl.ErrNameInUse) {
		t.Errorf("twice: %v", err)
	}
	must(t, n.RemoveLink(t.Context(), "eth0"))
	if linkOf(t, "", end) != nil {
		t.Error("the host's end is still there")
	}
	if _, ok := needLink(t, "", br).(*netlink.Bridge); !ok {
		t.Error("the bridge is gone")
	}
	for _, bad := range []osl.Network{
		{Sandboxes: []osl.Spec{{Name: "host", Interfaces: []osl.InterfaceSpec{{Name: "x", Source: br}}}}},
		{Sandboxes: []osl.Spec{{Name: "host"}, {Name: "host"}}},
		{Sandboxes: []osl.Spec{{Name: "host", Masquerade: []osl.MasqueradeSpec{{Subnet: netip.MustParsePrefix("10.91.0.0/24"), Uplink: br}}}}},
		{Sandboxes: []osl.Spec{{Name: sb.Key(), Interfaces: []osl.InterfaceSpec{{Name: "x", Type: "bridge", Note: "a;b"}}}}},
	} {
		if err := osl.Add(t.Context(), bad); !errors.Is(err, osl.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if err := osl.Add(t.Context(), osl.Network{Sandboxes: []osl.Spec{{Name: name("no")}}}); !errors.Is(err, osl.ErrNotFound) {
		t.Errorf("a sandbox that is not there: %v", err)
	}
}

// Add makes a pair of which both ends are on the host, the one a port of a bridge there.
func TestAddOnTheHost(t *testing.T) {
	begin(t)
	host, err := osl.NewSandbox(osl.HostName, false, false)
	must(t, err)
	h := host.(*osl.Namespace)
	defer h.Close()
	br, end, port := name("br"), name("gw"), name("po")
	must(t, h.AddLink(t.Context(), osl.InterfaceSpec{Name: br, Type: "bridge"}))
	defer func() { must(t, h.RemoveLink(t.Context(), br)) }()
	before := snapshot(t, "")
	net := osl.Network{
		Sandboxes: []osl.Spec{{Name: osl.HostName, Interfaces: []osl.InterfaceSpec{
			{Name: end, Aliases: []netip.Prefix{netip.MustParsePrefix("10.92.0.1/24"), netip.MustParsePrefix("2001:db8:92::1/64")}, Note: "gate"}, {Name: port, Master: br}}}},
		Links: []osl.Link{{{Sandbox: osl.HostName, Interface: end}, {Sandbox: osl.HostName, Interface: port}}},
	}
	must(t, osl.Add(t.Context(), net))
	e, p, b := needLink(t, "", end), needLink(t, "", port), needLink(t, "", br)
	if e.Attrs().ParentIndex != p.Attrs().Index || p.Attrs().MasterIndex != b.Attrs().Index || e.Type() != "veth" {
		t.Errorf("made were %+v and %+v", e.Attrs(), p.Attrs())
	}
	x, err := h.Interface(t.Context(), end)
	must(t, err)
	if x.Note != "gate" || len(x.Aliases) != 2 {
		t.Errorf("it is %+v", x)
	}
	if err := osl.Add(t.Context(), net); !errors.Is(err, osl.ErrNameInUse) {
		t.Errorf("a second one: %v", err)
	}
	must(t, h.RemoveLink(t.Context(), end))
	must(t, osl.Add(t.Context(), osl.Network{Links: net.Links}))
	must(t, h.RemoveLink(t.Context(), port))
	same(t, "the host", before, func() []string { return snapshot(t, "") })
}
