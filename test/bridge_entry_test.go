//go:build linux

package osltest

import (
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// TestFeatureBridgeVLANs makes a bridge that filters VLANs, with a port and itself in
// some, and changes them in place.
func TestFeatureBridgeVLANs(t *testing.T) {
	begin(t)
	key := newKey()
	filters := &osl.BridgeSpec{VLANFiltering: ptr(true), PVID: ptr(10), VLANs: ranges(t, "20")}
	access := portLab(key, filters, &osl.BridgePortSpec{PVID: ptr(10)})
	_, err := osl.Apply(t.Context(), access)
	testnet.Feature(t, "VLANs of a bridge", err)
	defer func() { _, err := osl.Down(t.Context(), access); must(t, err) }()
	nothingLeft(t, access)
	saysVLANs(t, key, "p0", "10 untagged pvid")
	saysVLANs(t, key, "br0", "10 untagged pvid", "20")
	own, _ := linkSays(t, key, "br0")
	saysAll(t, "br0", own, "vlan_filtering", 1, "vlan_default_pvid", 1)

	trunk := portLab(key, filters, &osl.BridgePortSpec{VLANs: ranges(t, "20", "30-39", "40 untagged", "4000-4094")})
	settled(t, trunk)
	saysVLANs(t, key, "p0", "20", "30-39", "40 untagged", "4000-4094")
	native := portLab(key, &osl.BridgeSpec{VLANFiltering: ptr(true)}, &osl.BridgePortSpec{PVID: ptr(35), VLANs: ranges(t, "30-39")})
	settled(t, native)
	saysVLANs(t, key, "p0", "30-34", "35 pvid", "36-39")
	saysVLANs(t, key, "br0", "1 untagged pvid") // as a new one has it
	settled(t, portLab(key, nil, nil))
	own, _ = linkSays(t, key, "br0")
	saysAll(t, "br0", own, "vlan_filtering", 0)
	settled(t, portLab(key, &osl.BridgeSpec{VLANFiltering: ptr(true)}, nil))
	saysVLANs(t, key, "p0", "1 untagged pvid")
	none := portLab(key, &osl.BridgeSpec{VLANFiltering: ptr(true), PVID: ptr(0)}, &osl.BridgePortSpec{PVID: ptr(0)})
	settled(t, none)
	saysVLANs(t, key, "p0")
	saysVLANs(t, key, "br0")

	// Another default PVID moves who has the first one, and nobody who says what it
	// is in; a change that fails brings all of it back.
	settled(t, native)
	net := portLab(key, &osl.BridgeSpec{VLANFiltering: ptr(true), VLANDefaultPVID: ptr(7), PVID: ptr(7)}, &osl.BridgePortSpec{PVID: ptr(1), VLANs: ranges(t, "9")})
	net.Sandboxes[0].Interfaces = append(net.Sandboxes[0].Interfaces, osl.InterfaceSpec{Name: "p1", Master: "br0",
		Peer: osl.Endpoint{Sandbox: key, Interface: "q1"}}, osl.InterfaceSpec{Name: "q1"})
	bad := net
	bad.Sandboxes = slices.Clone(net.Sandboxes)
	bad.Sandboxes[0].Routes = noRoute()
	bad.Sandboxes[0].Interfaces = slices.Clone(net.Sandboxes[0].Interfaces)
	if _, err := osl.Apply(t.Context(), bad); err == nil {
		t.Fatal("the route was taken")
	}
	saysVLANs(t, key, "p0", "30-34", "35 pvid", "36-39")
	saysVLANs(t, key, "br0", "1 untagged pvid")
	settled(t, net)
	saysVLANs(t, key, "p0", "1 untagged pvid", "9")
	saysVLANs(t, key, "p1", "7 untagged pvid")
	saysVLANs(t, key, "br0", "7 untagged pvid")

	// A port that leaves and does not is back with its VLANs.
	bad.Sandboxes[0].Interfaces[2].Master, bad.Sandboxes[0].Interfaces[2].BridgePort = "br1", nil
	if _, err := osl.Apply(t.Context(), bad); err == nil {
		t.Fatal("the route was taken")
	}
	saysVLANs(t, key, "p0", "1 untagged pvid", "9")

	ad := portLab(key, &osl.BridgeSpec{VLANFiltering: ptr(true), VLANProtocol: "802.1ad"}, &osl.BridgePortSpec{PVID: ptr(1), VLANs: ranges(t, "9")})
	settled(t, ad)
	own, _ = linkSays(t, key, "br0")
	saysAll(t, "br0", own, "vlan_protocol", "802.1ad")

	// Entries are of a VLAN here.
	ad.Sandboxes[0].Neighbors = []osl.NeighborSpec{entryAt("p0", "02:00:00:00:00:01", 9), entryAt("p0", "02:00:00:00:00:01", 1)}
	settled(t, ad)
	saysList(t, "p0", entriesSaid(t, key, "p0"), "02:00:00:00:00:01 1 static", "02:00:00:00:00:01 9 static")
	ad.Sandboxes[0].Neighbors = ad.Sandboxes[0].Neighbors[:1]
	settled(t, ad)
	saysList(t, "p0", entriesSaid(t, key, "p0"), "02:00:00:00:00:01 9 static")
	for words, vlan := range map[string]int{"filters VLANs": 0, "is not in the VLAN 77": 77} {
		net := ad
		net.Sandboxes = slices.Clone(ad.Sandboxes)
		net.Sandboxes[0].Neighbors = []osl.NeighborSpec{entryAt("p0", "02:00:00:00:00:01", vlan)}
		_, err := osl.Apply(t.Context(), net)
		refused(t, words, err, osl.ErrInvalid, words)
	}

	n, err := osl.Open(t.Context(), key)
	must(t, err)
	defer n.Close()
	st, err := n.Inspect(t.Context())
	must(t, err)
	for _, i := range st.Interfaces {
		if i.Name == "p0" {
			sameJSON(t, "Inspect of p0", []any{i.BridgePort.PVID, i.BridgePort.VLANs}, []any{1, []string{"1 untagged", "9"}})
		}
	}
}

func dur(text string) *osl.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		panic(err)
	}
	return (*osl.Duration)(&d)
}

// entriesSaid are the forwarding entries at a link of a bridge that somebody put there, as
// bridge tells them.
func entriesSaid(t *testing.T, key, dev string) (list []string) {
	t.Helper()
	type entry struct {
		MAC   string   `json:"mac"`
		Dev   string   `json:"ifname"`
		VLAN  int      `json:"vlan"`
		Flags []string `json:"flags"`
		State string   `json:"state"`
	}
	for _, e := range asked[[]entry](t, key, "bridge", "-json", "fdb", "show") {
		if e.Dev == dev && (slices.Contains(e.Flags, "sticky") || slices.Contains(e.Flags, "extern_learn")) {
			list = append(list, strings.TrimSpace(fmt.Sprint(e.MAC, " ", e.VLAN, " ", e.State)))
		}
	}
	slices.Sort(list)
	return list
}

func groupsSaid(t *testing.T, key string) (list []string) {
	t.Helper()
	type answer struct {
		MDB []struct {
			Port  string `json:"port"`
			Group string `json:"grp"`
			State string `json:"state"`
			VLAN  int    `json:"vid"`
		} `json:"mdb"`
	}
	for _, a := range asked[[]answer](t, key, "bridge", "-json", "mdb", "show") {
		for _, e := range a.MDB {
			if e.State == "permanent" {
				list = append(list, fmt.Sprint(e.Port, " ", e.Group, " ", e.VLAN))
			}
		}
	}
	slices.Sort(list)
	return list
}

func saysList(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// withEntries is portLab with forwarding entries, and what another one put there stays.
func withEntries(key string, b *osl.BridgeSpec, p *osl.BridgePortSpec, list ...osl.NeighborSpec) osl.Network {
	net := portLab(key, b, p)
	net.Sandboxes[0].Neighbors = list
	return net
}

func entryAt(dev, hw string, vlan int) osl.NeighborSpec {
	return osl.NeighborSpec{Dev: dev, MAC: osl.MAC(mac(hw)), FDB: true, VLAN: vlan}
}

// Static entries of a bridge come, move from one port to another, go, and are back where a
// change fails; those of others stay.
func TestBridgeForwardingEntries(t *testing.T) {
	begin(t)
	key := newKey()
	one, two, three := entryAt("p0", "02:00:00:00:00:01", 0), entryAt("p0", "02:00:00:00:00:02", 0), entryAt("br0", "02:00:00:00:00:03", 0)
	defer func() { _, err := osl.Down(t.Context(), portLab(key, nil, nil)); must(t, err) }()
	untagged := func(list []string) []string { // a kernel with VLANs puts them into that of the port too
		return slices.DeleteFunc(list, func(s string) bool { return !strings.Contains(s, " 0 ") })
	}
	settled(t, portLab(key, nil, nil))
	settled(t, withEntries(key, nil, nil, one, two, three))
	saysList(t, "p0", untagged(entriesSaid(t, key, "p0")), "02:00:00:00:00:01 0 static", "02:00:00:00:00:02 0 static")
	saysList(t, "br0", untagged(entriesSaid(t, key, "br0")), "02:00:00:00:00:03 0 permanent")
	nsenter(t, key, "bridge", "fdb", "add", "02:00:00:00:00:99", "dev", "p0", "master", "static")
	settled(t, withEntries(key, nil, nil, two))
	saysList(t, "p0", untagged(entriesSaid(t, key, "p0")), "02:00:00:00:00:02 0 static")
	saysList(t, "br0", untagged(entriesSaid(t, key, "br0")))
	if !strings.Contains(nsenter(t, key, "bridge", "fdb", "show", "dev", "p0"), "02:00:00:00:00:99") {
		t.Error("the entry of another is gone")
	}
	bad := withEntries(key, nil, nil)
	bad.Sandboxes[0].Interfaces[2].Master = "br1"
	bad.Sandboxes[0].Routes = noRoute()
	if _, err := osl.Apply(t.Context(), bad); err == nil {
		t.Fatal("the route was taken")
	}
	saysList(t, "p0 after a failure", untagged(entriesSaid(t, key, "p0")), "02:00:00:00:00:02 0 static")
	nothingLeft(t, withEntries(key, nil, nil, two))
	moved := withEntries(key, nil, nil, two)
	moved.Sandboxes[0].Interfaces[2].Master = "br1"
	settled(t, moved)
	saysList(t, "p0 at its new bridge", untagged(entriesSaid(t, key, "p0")), "02:00:00:00:00:02 0 static")

	n, err := osl.Open(t.Context(), key)
	must(t, err)
	defer n.Close()
	st, err := n.Inspect(t.Context())
	must(t, err)
	sameJSON(t, "Inspect", st.Neighbors, []osl.NeighborSpec{two})

	settled(t, portLab(key, nil, nil))
	saysList(t, "p0", entriesSaid(t, key, "p0"))
	own := entryAt("br0", "02:00:00:00:00:01", 0)
	settled(t, withEntries(key, nil, nil, one))
	settled(t, withEntries(key, nil, nil, own)) // from the port to the bridge, and back
	saysList(t, "br0", untagged(entriesSaid(t, key, "br0")), "02:00:00:00:00:01 0 permanent")
	failing := withEntries(key, nil, nil, one)
	failing.Sandboxes[0].Routes = noRoute()
	if _, err := osl.Apply(t.Context(), failing); err == nil {
		t.Fatal("the route was taken")
	}
	nothingLeft(t, withEntries(key, nil, nil, own))
	settled(t, withEntries(key, nil, nil, one))
	saysList(t, "p0", untagged(entriesSaid(t, key, "p0")), "02:00:00:00:00:01 0 static")
	settled(t, portLab(key, nil, nil))
	for words, list := range map[string][]osl.NeighborSpec{
		"one place":         {one, {Dev: "p0", MAC: one.MAC, FDB: true}, entryAt("br0", "02:00:00:00:00:01", 0)},
		"multicast":         {entryAt("p0", "01:00:00:00:00:01", 0)},
		"neither a bridge":  {entryAt("q0", "02:00:00:00:00:01", 0)},
		"no interface":      {entryAt("lo", "02:00:00:00:00:01", 0)},
		"does not filter":   {entryAt("p0", "02:00:00:00:00:01", 7)},
		"only an entry":     {{Dev: "p0", IP: netip.MustParseAddr("10.0.0.1"), MAC: one.MAC, VLAN: 7}},
		"not both":          {{Dev: "p0", MAC: one.MAC, FDB: true, MDB: true}},
		"of a group":        {{Dev: "p0", MAC: one.MAC, MDB: true}},
		"is a bridge":       {{Dev: "br0", IP: netip.MustParseAddr("239.1.1.1"), MDB: true}},
		"needs ip and mac":  {{Dev: "p0", FDB: true}},
		"VLAN 4095 is none": {entryAt("p0", "02:00:00:00:00:01", 4095)},
	} {
		_, err := osl.Apply(t.Context(), withEntries(key, nil, nil, list...))
		refused(t, words, err, osl.ErrInvalid, words)
	}
}

// TestFeatureBridgeMulticastEntries puts groups of IPv4, IPv6 and none of both at a port.
func TestFeatureBridgeMulticastEntries(t *testing.T) {
	begin(t)
	key := newKey()
	four := osl.NeighborSpec{Dev: "p0", IP: netip.MustParseAddr("239.1.1.1"), MDB: true}
	six := osl.NeighborSpec{Dev: "p0", IP: netip.MustParseAddr("ff05::77"), MDB: true}
	none := osl.NeighborSpec{Dev: "p0", MAC: osl.MAC(mac("01:00:00:00:00:07")), MDB: true}
	_, err := osl.Apply(t.Context(), withEntries(key, nil, nil, four, six, none))
	testnet.Feature(t, "multicast entries of a bridge", err)
	defer func() { _, err := osl.Down(t.Context(), portLab(key, nil, nil)); must(t, err) }()
	nothingLeft(t, withEntries(key, nil, nil, four, six, none))
	saysList(t, "br0", groupsSaid(t, key), "p0 01:00:00:00:00:07 0", "p0 239.1.1.1 0", "p0 ff05::77 0")
	nsenter(t, key, "bridge", "mdb", "add", "dev", "br0", "port", "p0", "grp", "239.9.9.9", "permanent")
	settled(t, withEntries(key, nil, nil, six))
	saysList(t, "br0", groupsSaid(t, key), "p0 239.9.9.9 0", "p0 ff05::77 0")
	bad := withEntries(key, nil, nil)
	bad.Sandboxes[0].Interfaces[2].Master = "br1"
	bad.Sandboxes[0].Routes = noRoute()
	if _, err := osl.Apply(t.Context(), bad); err == nil {
		t.Fatal("the route was taken")
	}
	saysList(t, "br0 after a failure", groupsSaid(t, key), "p0 239.9.9.9 0", "p0 ff05::77 0")
	nothingLeft(t, withEntries(key, nil, nil, six))
	settled(t, portLab(key, nil, nil))
	saysList(t, "br0", groupsSaid(t, key), "p0 239.9.9.9 0")
	nsenter(t, key, "bridge", "mdb", "del", "dev", "br0", "port", "p0", "grp", "239.9.9.9", "permanent")
	// Where the commands are run, up takes over what they make.
	for _, list := range [][]osl.NeighborSpec{{four, none}, {four, six}} {
		n := withEntries(key, nil, nil, list...)
		script, err := osl.Diff(t.Context(), n)
		must(t, err)
		must(t, paste(script))
		if did := settled(t, n); len(did) > 0 {
			t.Errorf("after\n%s\nthere was to do\n%s", script, did)
		}
	}
	settled(t, portLab(key, nil, nil))
	saysList(t, "br0", groupsSaid(t, key))
	_, err = osl.Apply(t.Context(), withEntries(key, &osl.BridgeSpec{MulticastSnooping: ptr(false)}, nil, six))
	refused(t, "without snooping", err, osl.ErrInvalid, "mcast_snooping")
}

// nsenter runs a command in the namespace of a key.
func nsenter(t *testing.T, key string, args ...string) string {
	t.Helper()
	out, err := exec.Command("nsenter", append([]string{"--net=" + key, "--"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}
