//go:build linux

package osltest

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// TestFeaturePortCostDropped gives a port of a bridge of each type a cost, and drops it: it
// has the kernel's choice then, as a new one.
func TestFeaturePortCostDropped(t *testing.T) {
	for _, kind := range []string{"veth", "tap", "ifb", "dummy", "macvlan", "vlan", "vxlan", "geneve", "gretap", "ip6gretap", "bond", "netkit"} {
		t.Run(kind, func(t *testing.T) {
			if kind == "tap" {
				testnet.NeedTun(t)
			}
			begin(t)
			spec := oneOf(kind, "")
			switch kind {
			case "geneve":
				spec.VNI, spec.Remote = 7, netip.MustParseAddr("192.0.2.1")
			case "ip6gretap":
				spec.Remote = netip.MustParseAddr("2001:db8::1")
			case "netkit":
				spec.Mode = "l2"
			}
			portCostDropped(t, spec)
			if kind == "vxlan" { // whose speed is that of the link below it
				spec.Parent = "end"
				portCostDropped(t, spec)
			}
		})
	}
}

// costLab is a sandbox with a bridge and one link that may be a port of it.
func costLab(key string, x osl.InterfaceSpec, port bool, cost int) osl.Network {
	if port {
		x.Master = "br"
	}
	if cost != 0 {
		x.BridgePort = &osl.BridgePortSpec{Cost: &cost}
	}
	list := []osl.InterfaceSpec{{Name: "br", Type: "bridge"}, {Name: "end", Peer: osl.Endpoint{Sandbox: key, Interface: "far"}}, {Name: "far"}, x}
	if x.Peer.Interface != "" {
		list[3].Peer.Sandbox = key
		list = append(list, osl.InterfaceSpec{Name: x.Peer.Interface, Type: x.Type, Mode: x.Mode})
	}
	return osl.Network{Name: filepath.Base(key), Sandboxes: []osl.Spec{{Name: key, Interfaces: list}}}
}

// costOf is what ip says of the cost of the port x.
func costOf(t *testing.T, key string) string {
	t.Helper()
	_, port := linkSays(t, key, "x")
	return fmt.Sprint(port["cost"])
}

func portCostDropped(t *testing.T, spec osl.InterfaceSpec) {
	t.Helper()
	key := newKey()
	lab := func(cost int) osl.Network { return costLab(key, spec, true, cost) }
	_, err := osl.Apply(t.Context(), lab(0))
	testnet.Feature(t, "link "+spec.Type, err)
	defer func() { _, err := osl.Down(t.Context(), lab(0)); must(t, err) }()
	has := func(cost int) string {
		t.Helper()
		settled(t, lab(cost))
		return costOf(t, key)
	}
	usual := has(0)
	has(2) // a veth's, which is said of others
	if is := has(77); is != "77" {
		t.Fatalf("%s: the cost is %s", spec.Type, is)
	}
	failsAtTheEnd(t, lab(0), "end")
	if is := costOf(t, key); is != "77" {
		t.Errorf("%s: the cost is %s after a failure", spec.Type, is)
	}
	if now := has(0); now != usual {
		t.Errorf("%s: the cost that was dropped is %s, and %s of a new one", spec.Type, now, usual)
	}
}

// The kernel's choice is by the speed of the link, and of that of a tap anybody may tell. Of
// the speeds of which kernels make different costs, the cost stays.
func TestPortCostBySpeed(t *testing.T) {
	testnet.NeedTun(t)
	begin(t)
	key := newKey()
	up := func(port bool, cost int) {
		t.Helper()
		settled(t, costLab(key, osl.InterfaceSpec{Name: "x", Type: "tap"}, port, cost))
	}
	defer func() {
		_, err := osl.Down(t.Context(), costLab(key, osl.InterfaceSpec{Name: "x", Type: "tap"}, false, 0))
		must(t, err)
	}()
	for speed, known := range map[uint32]bool{10: true, 11: false, 100: true, 1000: false, 10000: true, 25000: false, 1<<32 - 1: true} {
		up(false, 0)
		value := struct { // ethtool_cmd of linux/ethtool.h
			cmd, supported, advertising uint32
			speed                       uint16
			_                           [14]byte
			speedHigh                   uint16
			_                           [14]byte
		}{cmd: ethtoolSSET, speed: uint16(speed), speedHigh: uint16(speed >> 16)}
		ethtool(t, key, "x", unsafe.Pointer(&value))
		up(true, 0)
		want := costOf(t, key)
		up(true, 77)
		up(true, 0)
		if !known {
			want = "77"
		}
		if is := costOf(t, key); is != want {
			t.Errorf("at %d Mbit/s the cost that was dropped is %s, want %s", speed, is, want)
		}
	}
}
