//go:build linux

package osltest

import (
	"context"
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/netfile"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// tester is of package testing, or of rapid.
type tester interface {
	Helper()
	Context() context.Context
	Errorf(format string, args ...any)
	Fatal(args ...any)
}

// asRead demands that what stands of a network, read as one, changes nothing when it is
// applied, and returns it. So do tests of what a Spec can say, each for its own part.
func asRead(t tester, net osl.Network) osl.Network {
	t.Helper()
	var names []string
	for i := range net.Sandboxes {
		if net.Sandboxes[i].Name != osl.HostName {
			names = append(names, net.Sandboxes[i].Name)
		}
	}
	read, err := osl.Export(t.Context(), names...)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(read)
	if err != nil {
		t.Fatal(err)
	}
	written := netfile.Text(&netfile.File{Network: read})
	file, err := netfile.Parse("lab.yaml", written)
	if err != nil {
		t.Fatal("what export writes: ", err)
	}
	if again := netfile.Text(file); string(again) != string(written) {
		t.Errorf("what export writes is read as\n%s\nand was\n%s", again, written)
	}
	rekey(read, net)
	if c, err := osl.Diff(t.Context(), read); err != nil || len(c) > 0 {
		t.Errorf("to apply what was read: %v\n%vof %s", err, c, text)
	}
	return read
}

// What is read of a network is that network: taken down and made of it, it is read as
// the same.
func TestStandsAgain(t *testing.T) {
	begin(t)
	two, off := 2, false
	net := osl.Network{Name: "stands", Sandboxes: []osl.Spec{
		{Name: osl.HostName, Interfaces: []osl.InterfaceSpec{{Name: "st-br", Type: "bridge", Addresses: nets("10.99.0.1/24")}, {Name: "st-a", Master: "st-br"}},
			Masquerade: []osl.MasqueradeSpec{{Subnet: netip.MustParsePrefix("10.99.0.0/24"), Uplink: "st-br"}}},
		{Name: "sta", Labels: map[string]string{"a": "b"}, Gateway: netip.MustParseAddr("10.99.0.1"),
			Sysctls: map[string]string{"ipv4.ip_forward": "1", "ipv4.tcp_syn_retries": "3", "ipv6.conf.all.forwarding": "1"},
			Interfaces: []osl.InterfaceSpec{
				{Name: "eth0", Addresses: nets("10.99.0.2/24", "fd99::2/64"), MTU: 1400, Note: "of a test",
					Sysctls: map[string]string{"ipv4.rp_filter": "2", "ipv6.hop_limit": "9"}, DisableARPForVIP: true},
				{Name: "eth1", Addresses: nets("10.98.0.1/24"), Aliases: nets("10.98.0.100/32"), TxQueueLen: &two},
				{Name: "six", Type: "veth", Peer: osl.Endpoint{Sandbox: "sta", Interface: "seven"}, IPv6: "link-local"},
				{Name: "seven", IPv6: "auto", Down: true},
				{Name: "lo", Addresses: nets("192.0.2.7/32")},
			},
			Neighbors: []osl.NeighborSpec{{Dev: "eth1", IP: netip.MustParseAddr("10.98.0.7"), MAC: osl.MAC{2, 0, 0, 0, 0, 7}}},
			Rules:     []osl.RuleSpec{{Priority: 77, Table: 88}},
			Routes:    []osl.RouteSpec{{To: netip.MustParsePrefix("203.0.113.0/24"), Via: netip.MustParseAddr("10.98.0.2"), Table: 88, MTU: 1300}}},
		{Name: "stb", Interfaces: []osl.InterfaceSpec{{Name: "br0", Type: "bridge", Bridge: &osl.BridgeSpec{STP: &off}},
			{Name: "p1", Master: "br0", BridgePort: &osl.BridgePortSpec{Priority: &two}}}},
	}, Links: []osl.Link{
		{{Sandbox: "sta", Interface: "eth0"}, {Sandbox: osl.HostName, Interface: "st-a"}},
		{{Sandbox: "sta", Interface: "eth1"}, {Sandbox: "stb", Interface: "p1"}},
	}}
	down := func() {
		if _, err := osl.Down(t.Context(), net); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := osl.Apply(t.Context(), net); err != nil {
		testnet.Feature(t, "masquerade", err)
		t.Fatal(err)
	}
	read := asRead(t, net)
	if read.Name != "stands" || len(read.Sandboxes) != 3 || len(read.Links) != 3 {
		t.Errorf("%+v", read)
	}
	for _, name := range []string{"sta", "stb"} {
		n, err := osl.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		spec, err := n.Spec(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if c, err := n.Diff(t.Context(), spec); err != nil || len(c) > 0 {
			t.Errorf("to apply what was read of %s: %v\n%vof %+v", name, err, c, spec)
		}
		n.Close()
	}
	down()
	if _, err := osl.Apply(t.Context(), read); err != nil {
		t.Fatal(err)
	}
	if c, err := osl.Diff(t.Context(), net); err != nil || len(c) > 0 {
		t.Errorf("what was made of it lacks: %v\n%v", err, c)
	}
	if again := asRead(t, net); !reflect.DeepEqual(again, read) {
		t.Errorf("made of\n%+v\nit is read as\n%+v", read, again)
	}
	if twice, err := osl.Export(t.Context(), "sta", "stb", "sta", osl.GenerateKey("stb")); err != nil || !reflect.DeepEqual(twice, read) {
		t.Errorf("named twice: %+v, %v", twice, err)
	}
	// Not all of a network: it is not that network.
	if part, err := osl.Export(t.Context(), "sta"); err != nil || part.Name != "" || len(part.Links) != 1 {
		t.Errorf("%+v, %v", part, err)
	}
	down()
	if _, err := osl.Export(t.Context(), "sta"); err == nil {
		t.Error("what is gone was read")
	}
}

// A secret by which the kernel makes link-local addresses is not read, nor that there is
// one: what says nothing of it leaves it.
func TestStandsWithSecret(t *testing.T) {
	begin(t)
	net := osl.Network{Sandboxes: []osl.Spec{{Name: "sts", Interfaces: []osl.InterfaceSpec{{Name: "a", Type: "veth", Peer: osl.Endpoint{Sandbox: "sts", Interface: "b"},
		IPv6: "link-local", Sysctls: map[string]string{"ipv6.stable_secret": "2001:db8::7"}}, {Name: "b"}}}}}
	if _, err := osl.Apply(t.Context(), net); err != nil {
		t.Fatal(err)
	}
	asRead(t, net)
	if _, err := osl.Down(t.Context(), net); err != nil {
		t.Fatal(err)
	}
}

// A link-local gateway is read with its interface.
func TestStandsLinkLocalGateway(t *testing.T) {
	begin(t)
	edge, core := newKey(), newKey()
	net := osl.Network{Sandboxes: []osl.Spec{
		{Name: edge, Gateway6: netip.MustParseAddr("fe80::1%a"), Interfaces: []osl.InterfaceSpec{{Name: "a", IPv6: "link-local", Peer: osl.Endpoint{Sandbox: core, Interface: "a"}}}},
		{Name: core, Interfaces: []osl.InterfaceSpec{{Name: "a", Addresses: []netip.Prefix{netip.MustParsePrefix("fe80::1/64")}}}}}}
	defer func() { _, err := osl.Down(t.Context(), net); must(t, err) }()
	settled(t, net)
	asRead(t, net)
}

// Of the sizes of a bridge those of GSO are what its ports allow, and that of GRO its own.
func TestStandsBridgeSizes(t *testing.T) {
	begin(t)
	net := osl.Network{Sandboxes: []osl.Spec{{Name: "stg", Interfaces: []osl.InterfaceSpec{{Name: "br", Type: "bridge", GROMaxSize: 30000},
		{Name: "a", Type: "veth", Peer: osl.Endpoint{Sandbox: "stg", Interface: "b"}, Master: "br", GSOMaxSize: 20000}, {Name: "b"}}}}}
	if _, err := osl.Apply(t.Context(), net); err != nil {
		t.Fatal(err)
	}
	read := asRead(t, net)
	for _, x := range read.Sandboxes[0].Interfaces {
		if want := map[string][2]int{"br": {0, 30000}, "a": {20000, 0}}[x.Name]; x.GSOMaxSize != want[0] || x.GROMaxSize != want[1] {
			t.Errorf("%s: %d of GSO, %d of GRO", x.Name, x.GSOMaxSize, x.GROMaxSize)
		}
	}
	if _, err := osl.Down(t.Context(), net); err != nil {
		t.Fatal(err)
	}
}
