package engine_test

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/types"
)

// A setter that is given twice counts as given last.
func TestSetterTwice(t *testing.T) {
	w := world(t, plainVeth)
	a := w.make("a")
	o := a.InterfaceOptions()
	w.must(a.AddInterface("va", "eth", o.Address(cidr("10.1.0.1/24")), o.AddressIPv6(cidr("2001:db8::1/64")),
		o.Address(cidr("10.2.0.1/24")), o.AddressIPv6(nil)))
	w.a = a
	w.find("va")
	if w.found.Address().String() != "10.2.0.1/24" || w.found.AddressIPv6() != nil {
		t.Errorf("%v and %v", w.found.Address(), w.found.AddressIPv6())
	}
	if s := (&types.InterfaceStatistics{RxBytes: 7, TxDropped: 9}).String(); !strings.Contains(s, "RxBytes: 7") || !strings.Contains(s, "TxDropped: 9") {
		t.Errorf("statistics: %q", s)
	}
}

// Nothing is reached through an address of the sandbox itself.
func TestGatewayThatIsItsOwn(t *testing.T) {
	w := world(t, plainVeth)
	a := w.make("a")
	o := a.InterfaceOptions()
	w.must(a.AddInterface("va", "eth", o.Address(cidr("10.1.0.1/24")), o.AddressIPv6(cidr("2001:db8::1/64"))))
	spec := func(gw, gw6 string) error {
		s := osl.Spec{Name: "b", Interfaces: []osl.InterfaceSpec{{Name: "br0", Type: "bridge", Addresses: append(v4("10.3.0.1/24"), prefixes(1)...)}}}
		s.Gateway, _ = netip.ParseAddr(gw)
		s.Gateway6, _ = netip.ParseAddr(gw6)
		_, err := osl.Apply(t.Context(), osl.Network{Sandboxes: []osl.Spec{s}})
		return err
	}
	for what, err := range map[string]error{
		"SetGatewayIPv6": a.SetGatewayIPv6(net.ParseIP("2001:db8::1")),
		"gateway":        spec("10.3.0.1", ""),
		"gateway6":       spec("", prefixes(1)[0].Addr().String()),
	} {
		if !errors.Is(err, osl.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A route of another is in the way of osl's, on the host too.
func TestRouteThatTheHostHas(t *testing.T) {
	w := world(t, richVeth)
	sb, err := w.keep(osl.NewSandbox(osl.HostName, false, false))
	w.must(err)
	r := &types.StaticRoute{Destination: destination("203.0.113.0/24"), NextHop: net.ParseIP("192.0.2.9")}
	if err := sb.AddStaticRoute(r); !errors.Is(err, osl.ErrExists) {
		t.Errorf("%v", err)
	}
}
