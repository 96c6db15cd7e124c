//go:build linux

package osltest

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// TestFeatureMTUDropped gives each link of linkValues an MTU, and drops it: it has the one of
// a new link then.
func TestFeatureMTUDropped(t *testing.T) {
	links := linkValues()
	var s wgSecrets
	_, key := s.make(t)
	links["wireguard"] = []osl.InterfaceSpec{{Name: "k0", Type: "wireguard", WireGuard: &osl.WireGuardSpec{PrivateKey: key}}}
	for kind, specs := range links {
		t.Run(kind, func(t *testing.T) {
			if kind == "tun" || kind == "tap" {
				testnet.NeedTun(t)
			}
			begin(t)
			if testing.Short() {
				specs = specs[:min(len(specs), 3)]
			}
			for _, s := range specs {
				if s.MTU == 0 {
					mtuDropped(t, s)
				}
			}
		})
	}
}

func mtuDropped(t *testing.T, s osl.InterfaceSpec) {
	t.Helper()
	key := newKey()
	with := func(mtu int) osl.Network {
		s.MTU = mtu
		return labOf(key, linkCase{spec: s, noIP: s.Type == "vcan"})
	}
	_, err := osl.Apply(t.Context(), with(0))
	testnet.Feature(t, "link "+s.Type, err)
	defer func() { _, err := osl.Down(t.Context(), with(0)); must(t, err) }()
	has := func(mtu int) any {
		wgUp(t, with(mtu)) // a key is not read back
		return settingsSaid(t, key, "k0")["mtu"]
	}
	const odd = 1300 // a vcan may have it, with the longest frames
	usual, is := has(0), has(odd)
	if fmt.Sprint(is) != fmt.Sprint(odd) || fmt.Sprint(usual) == fmt.Sprint(odd) {
		t.Fatalf("%+v: the MTU is %v, then %v", s, usual, is)
	}
	if now := has(0); now != usual {
		t.Errorf("%+v: the MTU that was dropped is %v, and %v of a new one", s, now, usual)
	}
}

// A port of a bond that loses its MTU has that of the bond, as a new one.
func TestFeatureMTUOfBondPort(t *testing.T) {
	begin(t)
	key := newKey()
	lab := func(bond, port int) osl.Network {
		return osl.Network{Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{{Name: "bond0", Type: "bond", MTU: bond},
			{Name: "p", Master: "bond0", MTU: port, Peer: osl.Endpoint{Sandbox: key, Interface: "q"}}, {Name: "q"}}}}}
	}
	_, err := osl.Apply(t.Context(), lab(0, 0))
	testnet.Feature(t, "link bond", err)
	defer func() { _, err := osl.Down(t.Context(), lab(0, 0)); must(t, err) }()
	for _, x := range [][3]int{{1400, 1400, 1400}, {1400, 0, 1400}, {0, 0, 1500}, {1400, 1400, 1400}, {0, 0, 1500}} {
		settled(t, lab(x[0], x[1]))
		saysAll(t, fmt.Sprint(x), settingsSaid(t, key, "p"), "mtu", x[2])
	}
}

// A link that is made on one which gets another MTU in the same change has that, as a new one
// has: also one that is on it, and one on a link of the host.
func TestMTUOfMadeOnResized(t *testing.T) {
	begin(t)
	key := newKey()
	lab := func(mtu int, kind string) osl.Network {
		n := osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: osl.HostName, Interfaces: []osl.InterfaceSpec{{Name: "h", MTU: mtu}}},
			{Name: key, Interfaces: []osl.InterfaceSpec{{Name: "e", MTU: mtu, Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "h"}}}}}}
		if kind != "" {
			s := &n.Sandboxes[1]
			s.Interfaces = append(s.Interfaces, osl.InterfaceSpec{Name: "m", Type: kind, Parent: "e"}, osl.InterfaceSpec{Name: "mm", Type: kind, Parent: "m"}, osl.InterfaceSpec{Name: "mh", Type: kind, Parent: "host/h"},
				osl.InterfaceSpec{Name: "v", Type: "vxlan", VNI: mtu, Parent: "m"})
		}
		return n
	}
	for _, x := range []struct {
		from, to int
		was      string
	}{{1400, 9000, ""}, {9000, 1400, ""}, {1400, 9000, "macvtap"}, {9000, 1400, "macvtap"}} {
		settled(t, lab(x.from, x.was))
		settled(t, lab(x.to, "macvlan"))
		for dev, less := range map[string]int{"m": 0, "mm": 0, "mh": 0, "v": 50} {
			saysAll(t, fmt.Sprint(x, " ", dev), settingsSaid(t, key, dev), "mtu", x.to-less)
		}
		_, err := osl.Down(t.Context(), osl.Network{Name: "lab"})
		must(t, err)
	}
}

// What a vxlan without an MTU has is by its parent, in any order, and by its remote; two
// that are each other's parent are refused.
func TestFeatureMTUByParent(t *testing.T) {
	begin(t)
	key := newKey()
	lab := func(list ...osl.InterfaceSpec) osl.Network {
		if list[0].Name == "e" || list[len(list)-1].Name == "e" {
			list = append(list, osl.InterfaceSpec{Name: "f"})
		}
		return osl.Network{Name: filepath.Base(key), Sandboxes: []osl.Spec{{Name: key, Interfaces: list}}}
	}
	e := func(mtu int) osl.InterfaceSpec {
		return osl.InterfaceSpec{Name: "e", MTU: mtu, Addresses: nets("fd00::1/64"), Peer: osl.Endpoint{Sandbox: key, Interface: "f"}}
	}
	vxlan := func(name string, vni int, parent string, mtu int) osl.InterfaceSpec {
		return osl.InterfaceSpec{Name: name, Type: "vxlan", VNI: vni, Parent: parent, MTU: mtu}
	}
	far := vxlan("v", 5, "e", 1300)
	far.Remote = netip.MustParseAddr("fd00::2")
	has := func(mtu int, list ...osl.InterfaceSpec) {
		t.Helper()
		settled(t, lab(list...))
		saysAll(t, fmt.Sprint(mtu), settingsSaid(t, key, "v"), "mtu", mtu)
	}
	_, err := osl.Apply(t.Context(), lab(e(0), far))
	testnet.Feature(t, "link vxlan", err)
	defer func() { _, err := osl.Down(t.Context(), lab(e(0))); must(t, err) }()
	over := far
	over.MTU = 0
	has(1430, e(0), over)
	has(1300, far, e(1400))
	has(1430, over, e(0))
	has(1450, vxlan("v", 5, "e", 0), e(0)) // of IPv4, without its remote
	has(1300, vxlan("v", 5, "e", 1300), e(1400))
	low := e(100)
	low.Addresses = nil
	settled(t, lab(vxlan("v", 5, "e", 0), low)) // with no MTU that can be set
	_, err = osl.Down(t.Context(), lab(e(0)))
	must(t, err)
	has(1300, vxlan("v", 5, "", 1300), vxlan("u", 6, "", 1300))
	_, err = osl.Apply(t.Context(), lab(vxlan("v", 5, "u", 0), vxlan("u", 6, "v", 0)))
	refused(t, "parents of each other", err, osl.ErrInvalid, "lead back")
}
