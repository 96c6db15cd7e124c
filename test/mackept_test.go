//go:build linux

package osltest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
)

// A link that is made anew in the place of another has its hardware address, where the file
// says none: its neighbors know it as before. One that is new has another.
func TestMACOfALinkMadeAnew(t *testing.T) {
	begin(t)
	lab(t, nil)
	at := func(box, dev string) osl.Endpoint { return osl.Endpoint{Sandbox: box, Interface: dev} }
	n := func(e osl.InterfaceSpec, links ...osl.Link) osl.Network {
		e.Name, e.Addresses = "e", prefixes("10.1.0.1/24", "fd01::1/64")
		return osl.Network{Name: "lab", Links: links, Sandboxes: []osl.Spec{{Name: osl.HostName, Interfaces: []osl.InterfaceSpec{{Name: "h"}}},
			{Name: "sa", Interfaces: []osl.InterfaceSpec{e, {Name: "o", Type: "bridge"}}},
			{Name: "sb", Interfaces: []osl.InterfaceSpec{{Name: "br", Type: "bridge"}}}, {Name: "sc"}}}
	}
	mac := func(box, dev string) string {
		key := ""
		if box != osl.HostName {
			key = osl.GenerateKey(box)
		}
		return needLink(t, key, dev).Attrs().HardwareAddr.String()
	}
	var has string
	for i, x := range []struct {
		what string
		n    osl.Network
		far  osl.Endpoint // which keeps its own too
	}{
		{"a link", n(osl.InterfaceSpec{}, osl.Link{at("sa", "e"), at("sb", "p")}), at("sb", "p")},
		{"with more queues", n(osl.InterfaceSpec{NumTxQueues: 3}, osl.Link{at("sa", "e"), at("sb", "p")}), at("sb", "p")},
		{"plugged elsewhere", n(osl.InterfaceSpec{}, osl.Link{at("sa", "e"), at("sc", "p")}), at("sc", "p")},
		{"said from the other end", n(osl.InterfaceSpec{NumRxQueues: 2}, osl.Link{at("sc", "p"), at("sa", "e")}), at("sc", "p")},
		{"plugged into the host", n(osl.InterfaceSpec{}, osl.Link{at("sa", "e"), at(osl.HostName, "h")}), at(osl.HostName, "h")},
		{"with more queues there", n(osl.InterfaceSpec{NumTxQueues: 2}, osl.Link{at("sa", "e"), at(osl.HostName, "h")}), at(osl.HostName, "h")},
		{"of another type", n(osl.InterfaceSpec{Type: "bridge"}), osl.Endpoint{}},
		{"of a third", n(osl.InterfaceSpec{Type: "vxlan", VNI: 7}), osl.Endpoint{}},
		{"with another VNI", n(osl.InterfaceSpec{Type: "vxlan", VNI: 8}), osl.Endpoint{}},
		{"with a parent", n(osl.InterfaceSpec{Type: "vxlan", VNI: 8, Parent: "o"}), osl.Endpoint{}},
		{"without it", n(osl.InterfaceSpec{Type: "vxlan", VNI: 8}), osl.Endpoint{}},
	} {
		if x.far.Sandbox != osl.HostName { // the host lists an end that no link makes
			x.n.Sandboxes = x.n.Sandboxes[1:]
		}
		other, there := "", linkOr(t, x.far)
		if there {
			other = mac(x.far.Sandbox, x.far.Interface)
		}
		if i > 0 {
			before := flat(t)
			if _, err := osl.Apply(t.Context(), failing(x.n)); err == nil || strings.Contains(err.Error(), "left behind") {
				t.Errorf("%s, which fails: %v", x.what, err)
			}
			same(t, x.what+", which fails: all", before, func() []string { return flat(t) })
		}
		settled(t, x.n)
		now := mac("sa", "e")
		if has == "" {
			has = now
		}
		if now != has {
			t.Errorf("%s: the hardware address is %s, and was %s", x.what, now, has)
		}
		if there && mac(x.far.Sandbox, x.far.Interface) != other {
			t.Errorf("%s: that of its other end is %s, and was %s", x.what, mac(x.far.Sandbox, x.far.Interface), other)
		}
	}
	said := n(osl.InterfaceSpec{Type: "bridge", MAC: osl.MAC{2, 0, 0, 0, 0, 7}})
	said.Sandboxes = said.Sandboxes[1:]
	settled(t, said)
	if now := mac("sa", "e"); now != "02:00:00:00:00:07" {
		t.Errorf("said: the hardware address is %s", now)
	}
	_, err := osl.Down(t.Context(), osl.Network{Name: "lab"})
	must(t, err)
	anew := n(osl.InterfaceSpec{Type: "bridge"})
	anew.Sandboxes = anew.Sandboxes[1:]
	settled(t, anew)
	if now := mac("sa", "e"); now == has {
		t.Errorf("new: the hardware address is that of before, %s", now)
	}
}

// flat is what another program sees of the host and each sandbox.
func flat(t *testing.T) (all []string) {
	for box, lines := range everywhere(t) {
		for _, line := range lines {
			all = append(all, box+": "+line)
		}
	}
	slices.Sort(all)
	return all
}

func linkOr(t *testing.T, e osl.Endpoint) bool {
	switch e.Sandbox {
	case "":
		return false
	case osl.HostName:
		return linkOf(t, "", e.Interface) != nil
	}
	sb, err := osl.Open(t.Context(), e.Sandbox)
	if errors.Is(err, osl.ErrNotFound) {
		return false
	}
	must(t, err)
	defer sb.Close()
	return linkOf(t, sb.Key(), e.Interface) != nil
}

// A hardware address that the file gives to another interface leaves the one that it was said
// of: two in one network do not have the same. What Diff says of that is what happens.
func TestMACThatMoves(t *testing.T) {
	begin(t)
	lab(t, nil)
	x, y := osl.MAC{2, 0, 0, 0, 0, 7}, osl.MAC{2, 0, 0, 0, 0, 8}
	n := func(a, b, c osl.MAC, queues int) osl.Network {
		return osl.Network{Name: "lab", Links: []osl.Link{{{Sandbox: "sa", Interface: "a"}, {Sandbox: "sb", Interface: "b"}}},
			Sandboxes: []osl.Spec{{Name: "sa", Interfaces: []osl.InterfaceSpec{{Name: "a", MAC: a, Type: "veth", NumTxQueues: queues}, {Name: "c", Type: "bridge", MAC: c}}},
				{Name: "sb", Interfaces: []osl.InterfaceSpec{{Name: "b", MAC: b}}}}}
	}
	settled(t, n(x, nil, nil, 1))
	for i, want := range []osl.Network{n(nil, x, nil, 1), n(x, y, nil, 1), n(y, x, nil, 1), n(nil, nil, y, 1), n(y, nil, nil, 2), n(nil, nil, y, 3), n(nil, nil, nil, 3)} {
		before := flat(t)
		if _, err := osl.Apply(t.Context(), failing(want)); err == nil || strings.Contains(err.Error(), "left behind") {
			t.Errorf("%d, which fails: %v", i, err)
		}
		same(t, fmt.Sprint(i, ", which fails: all"), before, func() []string { return flat(t) })
		would, err := osl.Diff(t.Context(), want)
		must(t, err)
		if did := settled(t, want); did.String() != would.String() {
			t.Errorf("%d: it did\n%s\nand diff had said\n%s", i, did, would)
		}
		has := map[string]string{}
		for _, s := range want.Sandboxes {
			for _, f := range s.Interfaces {
				mac := needLink(t, osl.GenerateKey(s.Name), f.Name).Attrs().HardwareAddr.String()
				if has[mac] != "" {
					t.Errorf("%d: %s has the hardware address %s, as %s has", i, f.Name, mac, has[mac])
				}
				if has[mac] = f.Name; f.MAC != nil && mac != f.MAC.String() {
					t.Errorf("%d: %s has the hardware address %s, not %s", i, f.Name, mac, f.MAC)
				}
			}
		}
	}
}

// A link of another sandbox on another segment keeps the hardware address that the file gives to
// an interface, also one that can not have another.
func TestMACOfAnotherSegmentStays(t *testing.T) {
	begin(t)
	lab(t, nil)
	at := func(box, dev string) osl.Endpoint { return osl.Endpoint{Sandbox: box, Interface: dev} }
	n := func(e, same osl.MAC, kind string) osl.Network {
		return osl.Network{Name: "lab", Links: []osl.Link{{at("sa", "v"), at("sc", "w")}, {at("sb", "e"), at("sw", "p1")}, {at("sd", "f"), at("sw", "p2")}}, Sandboxes: []osl.Spec{
			{Name: "sa", Interfaces: []osl.InterfaceSpec{{Name: "p", Type: kind}, {Name: "v"}}}, {Name: "sc", Interfaces: []osl.InterfaceSpec{{Name: "w"}}},
			{Name: "sb", Interfaces: []osl.InterfaceSpec{{Name: "e", MAC: e}}}, {Name: "sd", Interfaces: []osl.InterfaceSpec{{Name: "f", MAC: same}}},
			{Name: "sw", Interfaces: []osl.InterfaceSpec{{Name: "br", Type: "bridge"}, {Name: "p1", Master: "br"}, {Name: "p2", Master: "br"}}}}}
	}
	mac := func(box, dev string) osl.MAC {
		return osl.MAC(needLink(t, osl.GenerateKey(box), dev).Attrs().HardwareAddr)
	}
	settled(t, n(nil, nil, "ifb"))
	for _, from := range []osl.Endpoint{at("sa", "p"), at("sa", "v"), at("sc", "w")} {
		has := mac(from.Sandbox, from.Interface)
		settled(t, n(has, nil, "ifb"))
		if now := mac(from.Sandbox, from.Interface); now.String() != has.String() {
			t.Errorf("%v has %v, and had %v", from, now, has)
		}
		settled(t, n(nil, nil, "ifb")) // which leaves it at e
	}
	has := mac("sd", "f")
	settled(t, n(has, nil, "ifb")) // on one bridge
	if now := mac("sd", "f"); now.String() == has.String() || mac("sb", "e").String() != has.String() {
		t.Errorf("f has %v, as e on its bridge", now)
	}
	// In one sandbox, but for one that can not have another.
	same := func(v osl.MAC) osl.Network {
		n := n(has, nil, "ifb")
		n.Sandboxes[0].Interfaces[1].MAC = v
		return n
	}
	settled(t, same(mac("sa", "p")))
	_, err := osl.Down(t.Context(), osl.Network{Name: "lab"})
	must(t, err)
}
