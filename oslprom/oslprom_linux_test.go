package oslprom

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/osltest"
)

func TestMain(m *testing.M) { osltest.Main(m) }

func TestCollector(t *testing.T) {
	ctx := t.Context()
	base := osl.At(filepath.Join(t.TempDir(), "base"))
	network := osl.Network{Name: "lab", Sandboxes: []osl.Spec{
		{Name: "a", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Type: "veth", MTU: 1400, Peer: osl.Endpoint{Sandbox: "b", Interface: "eth0"},
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}}}},
		{Name: "b", Interfaces: []osl.InterfaceSpec{{Name: "eth0", MTU: 1400, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")}}}},
	}}
	if _, err := base.Apply(ctx, network); err != nil {
		t.Fatal(err)
	}
	c := New(base, 0)
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	want := `
# HELP osl_interface_mtu_bytes The MTU.
# TYPE osl_interface_mtu_bytes gauge
osl_interface_mtu_bytes{interface="eth0",network="lab",sandbox="a"} 1400
osl_interface_mtu_bytes{interface="eth0",network="lab",sandbox="b"} 1400
# HELP osl_interface_up 1 where the interface is set up.
# TYPE osl_interface_up gauge
osl_interface_up{interface="eth0",network="lab",sandbox="a"} 1
osl_interface_up{interface="eth0",network="lab",sandbox="b"} 1
# HELP osl_problem 1 where the sandbox can not be read, or a change of it is under way.
# TYPE osl_problem gauge
osl_problem{network="lab",sandbox="a"} 0
osl_problem{network="lab",sandbox="b"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "osl_interface_mtu_bytes", "osl_interface_up", "osl_problem"); err != nil {
		t.Error(err)
	}
	// What passes is counted, and is no change; what is changed is one, of this sandbox.
	value := func(name, sandbox string) float64 {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.Metric {
				for _, l := range m.Label {
					if f.GetName() == name && l.GetName() == "sandbox" && l.GetValue() == sandbox {
						return m.GetGauge().GetValue() + m.GetCounter().GetValue()
					}
				}
			}
		}
		t.Fatalf("no %s of %s", name, sandbox)
		return 0
	}
	a, err := base.Open(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	const sent, since = "osl_transmit_bytes_total", "osl_last_change_timestamp_seconds"
	before, at, other := value(sent, "a"), value(since, "a"), value(since, "b")
	conn, err := a.DialContext(ctx, "udp", "10.0.0.2:9")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if value(since, "a") != at {
		t.Error("a packet is taken for a change")
	}
	if got := value(sent, "a"); got == before {
		t.Errorf("%v bytes sent, before and after", got)
	}
	if err := a.AddAddress(ctx, "eth0", netip.MustParsePrefix("10.0.0.9/24")); err != nil {
		t.Fatal(err)
	}
	if value(since, "a") <= at || value(since, "b") != other {
		t.Error("a change is not that of its sandbox")
	}
	if _, err := base.Down(ctx, network); err != nil {
		t.Fatal(err)
	}
	if n := testutil.CollectAndCount(c); n != 0 {
		t.Errorf("%d metrics of none", n)
	}
}
