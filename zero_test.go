package osl

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/seed59451c2b/osl/types"
)

// A handle that nobody opened is a closed one: no call on it panics, and each that
// can fail says so.
func TestZeroNamespaceIsClosed(t *testing.T) {
	var n Namespace
	ctx := t.Context()
	ip, mac := net.IPv4(192, 0, 2, 1), net.HardwareAddr{2, 0, 0, 0, 0, 1}
	prefix := &net.IPNet{IP: ip, Mask: net.CIDRMask(24, 32)}
	route := &types.StaticRoute{Destination: prefix, RouteType: types.CONNECTED}
	iface := InterfaceSpec{Name: "a", Type: "dummy"}
	plan := func(_ Changes, err error) error { return err }
	calls := map[string]error{
		"InvokeFunc":       n.InvokeFunc(func() { t.Error("the function was run") }),
		"AddInterface":     n.AddInterface("a", "b"),
		"AddLink":          n.AddLink(ctx, iface),
		"Spec":             func() error { _, err := n.Spec(ctx); return err }(),
		"PlanLink":         plan(n.PlanLink(ctx, iface)),
		"AddLinks":         n.AddLinks(ctx, slices.Values([]InterfaceSpec{iface})),
		"RemoveLink":       n.RemoveLink(ctx, "a"),
		"RemoveLinks":      n.RemoveLinks(ctx, slices.Values([]string{"a"})),
		"SetGateway":       n.SetGateway(ip),
		"SetGatewayIPv6":   n.SetGatewayIPv6(net.ParseIP("2001:db8::1")),
		"AddStaticRoute":   n.AddStaticRoute(route),
		"AddNeighbor":      n.AddNeighbor(ip, mac, false),
		"AddAliasIP":       n.AddAliasIP("a", prefix),
		"DisableARPForVIP": n.DisableARPForVIP("a"),
		"AddNeighbors":     n.AddNeighbors(ctx, slices.Values([]NeighborSpec{{IP: netip.MustParseAddr("192.0.2.1"), MAC: MAC(mac)}})),
		"AddRoutes":        n.AddRoutes(ctx, slices.Values([]RouteSpec{{To: netip.MustParsePrefix("192.0.2.0/24")}})),
		"AddAddresses":     n.AddAddresses(ctx, "a", slices.Values([]netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")})),
		"RemoveRules":      n.RemoveRules(ctx, slices.Values([]RuleSpec{{Priority: 7}})),
		"RemoveAddresses":  n.RemoveAddresses(ctx, "a", slices.Values([]netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")})),
		"Apply":            plan(n.Apply(ctx, Spec{})),
		"Diff":             plan(n.Diff(ctx, Spec{})),
		"Restore":          n.Restore(nil, nil, nil, nil),
		"Inspect":          func() error { _, err := n.Inspect(ctx); return err }(),
		"Watch":            watched(ctx, &n),
		"Do":               n.Do(ctx, func(context.Context) error { t.Error("the function was run"); return nil }),
		"File":             func() error { _, err := n.File(); return err }(),
		"Statistics":       func() error { _, err := n.Statistics(ctx); return err }(),
		"WaitFor":          n.WaitFor(ctx, func(*Status) bool { return true }),
		"SetLink":          n.SetLink(ctx, "a", LinkChange{MTU: 1400}),
		"Advertise":        n.Advertise(ctx, "a"),
		"OpenTun":          func() error { _, err := n.OpenTun("a"); return err }(),
		"AddRoute":         n.AddRoute(ctx, RouteSpec{To: netip.MustParsePrefix("192.0.2.0/24")}),
		"AddAddress":       n.AddAddress(ctx, "a", netip.MustParsePrefix("192.0.2.1/24")),
		"Socket":           func() error { _, err := n.Socket(1, 1, 0); return err }(),
		"DialContext":      func() error { _, err := n.DialContext(ctx, "tcp", "192.0.2.1:1"); return err }(),
		"Listen":           func() error { _, err := n.Listen(ctx, "tcp", "192.0.2.1:1"); return err }(),
		"ListenPacket":     func() error { _, err := n.ListenPacket(ctx, "udp", "192.0.2.1:1"); return err }(),
		"Command":          n.Command(ctx, "true").Run(),
	}
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		err := calls[name]
		if e := (*Error)(nil); !errors.As(err, &e) || e.Op == "" || !errors.Is(err, ErrClosed) && !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s of the zero Namespace: %v", name, err)
		}
	}
	// What a call was to take away is gone, so that it has nothing to say.
	for name, err := range map[string]error{
		"DeleteNeighbor":    n.DeleteNeighbor(ip, mac, true),
		"RemoveAliasIP":     n.RemoveAliasIP("a", prefix),
		"RemoveStaticRoute": n.RemoveStaticRoute(route),
		"UnsetGateway":      n.UnsetGateway(),
		"UnsetGatewayIPv6":  n.UnsetGatewayIPv6(),
	} {
		if err != nil && !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s of the zero Namespace: %v", name, err)
		}
	}
	n.ApplyOSTweaks([]SandboxType{SandboxTypeIngress})
	if n.Key() != "" || len(n.Info().Interfaces()) > 0 || n.Info().Gateway() != nil {
		t.Errorf("the zero Namespace has a key or something in it")
	}
	if err := n.Close(); err != nil && !errors.Is(err, ErrUnsupported) {
		t.Errorf("Close: %v", err)
	}
	if err := n.Destroy(); err != nil && !errors.Is(err, ErrUnsupported) {
		t.Errorf("Destroy: %v", err)
	}
}

func watched(ctx context.Context, n *Namespace) (err error) {
	for _, err = range n.Watch(ctx) {
	}
	return err
}

func TestZeroPool(t *testing.T) {
	var p Pool
	p.Wait()
	if _, err := p.Create(t.Context(), ""); !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrUnsupported) {
		t.Errorf("no name: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := p.Create(t.Context(), "a"); !errors.Is(err, ErrClosed) && !errors.Is(err, ErrUnsupported) {
		t.Errorf("after Close: %v", err)
	}
}
