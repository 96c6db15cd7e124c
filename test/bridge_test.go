//go:build linux

package osltest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
)

// asked runs ip or bridge in the namespace of a key, and returns what it says.
func asked[T any](t *testing.T, key string, args ...string) (out T) {
	t.Helper()
	cmd := exec.Command("nsenter", append([]string{"--net=" + key, "--"}, args...)...)
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, text)
	}
	return out
}

// linkSays is what ip says of a link's settings: of itself, and as a port.
func linkSays(t *testing.T, key, dev string) (own, port map[string]any) {
	t.Helper()
	type link struct {
		Info struct {
			Data  map[string]any `json:"info_data"`
			Slave map[string]any `json:"info_slave_data"`
		} `json:"linkinfo"`
	}
	list := asked[[]link](t, key, "ip", "-details", "-json", "link", "show", "dev", dev)
	return list[0].Info.Data, list[0].Info.Slave
}

// saysAll compares some of what was said with what is wanted.
func saysAll(t *testing.T, what string, said map[string]any, want ...any) {
	t.Helper()
	for i := 0; i < len(want); i += 2 {
		if got := fmt.Sprint(said[want[i].(string)]); got != fmt.Sprint(want[i+1]) {
			t.Errorf("%s: %v is %s, want %v", what, want[i], got, want[i+1])
		}
	}
}

// settled applies a network, and checks that nothing is left to do then: for this
// process, and for another.
func settled(t *testing.T, net osl.Network) osl.Changes {
	t.Helper()
	did, err := osl.Apply(t.Context(), net)
	must(t, err)
	nothingLeft(t, net)
	return did
}

func nothingLeft(t *testing.T, net osl.Network) {
	t.Helper()
	if left, err := osl.Diff(t.Context(), net); err != nil || len(left) > 0 {
		t.Errorf("Diff after Apply: %v\n%v", err, left)
	}
	asRead(t, net)
	if again, err := osl.Apply(t.Context(), net); err != nil || len(again) > 0 {
		t.Errorf("a second Apply: %v\n%v", err, again)
	}
}

func ptr[T any](v T) *T { return &v }

// noRoute is a route that the kernel alone refuses, when all before it is done.
func noRoute() []osl.RouteSpec {
	return []osl.RouteSpec{{To: netip.MustParsePrefix("10.99.0.0/16"), Via: netip.MustParseAddr("192.0.2.1"), Dev: "q0", Scope: "nowhere"}}
}

// portLab is a sandbox with a bridge br0, a second one br1, and a port p0 of br0 whose
// other end is q0 there.
func portLab(key string, bridge *osl.BridgeSpec, port *osl.BridgePortSpec) osl.Network {
	return osl.Network{Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{
		{Name: "br0", Type: "bridge", Bridge: bridge}, {Name: "br1", Type: "bridge"},
		{Name: "p0", Master: "br0", BridgePort: port, Peer: osl.Endpoint{Sandbox: key, Interface: "q0"}},
		{Name: "q0"},
	}}}}
}

// every is a bridge, and a port, of which all is set that needs no VLANs; with odd it is
// other than the kernel's choice.
func every(odd bool) (*osl.BridgeSpec, *osl.BridgePortSpec) {
	b := &osl.BridgeSpec{STP: &odd, MulticastSnooping: ptr(!odd), MulticastQuerier: &odd, Priority: ptr(32768),
		AgeingTime: dur("300s"), ForwardDelay: dur("15s"), HelloTime: dur("2s"), MaxAge: dur("20s")}
	p := &osl.BridgePortSpec{Learning: ptr(!odd), Flood: ptr(!odd), MulticastFlood: ptr(!odd), BroadcastFlood: ptr(!odd),
		Isolated: &odd, Hairpin: &odd, NeighSuppress: &odd, Guard: &odd, RootBlock: &odd, FastLeave: &odd,
		Cost: ptr(2), Priority: ptr(32), MulticastRouter: ptr(1)}
	if odd {
		b.AgeingTime, b.ForwardDelay, b.HelloTime, b.MaxAge, b.Priority = dur("1m0.5s"), dur("4s"), dur("1s"), dur("10s"), ptr(4096)
		p.Cost, p.Priority, p.MulticastRouter = ptr(77), ptr(5), ptr(2)
	}
	return b, p
}

func sayEvery(t *testing.T, key string, odd bool) {
	t.Helper()
	own, _ := linkSays(t, key, "br0")
	_, port := linkSays(t, key, "p0")
	n := map[bool]int{true: 1}
	if odd {
		saysAll(t, "br0", own, "ageing_time", 6050, "forward_delay", 400, "hello_time", 100, "max_age", 1000, "priority", 4096)
		saysAll(t, "p0", port, "cost", 77, "priority", 5, "multicast_router", 2)
	} else {
		saysAll(t, "br0", own, "ageing_time", 30000, "forward_delay", 1500, "hello_time", 200, "max_age", 2000, "priority", 32768)
		saysAll(t, "p0", port, "cost", 2, "priority", 32, "multicast_router", 1)
	}
	saysAll(t, "br0", own, "stp_state", n[odd], "mcast_snooping", n[!odd], "mcast_querier", n[odd])
	saysAll(t, "p0", port, "learning", !odd, "flood", !odd, "mcast_flood", !odd, "bcast_flood", !odd, "isolated", odd,
		"hairpin", odd, "neigh_suppress", odd, "guard", odd, "root_block", odd, "fastleave", odd)
}

// The settings of a bridge and of its port are made with them, changed in place, read
// back, and shown.
func TestBridgeAndPortSettings(t *testing.T) {
	begin(t)
	key := newKey()
	odd, oddPort := every(true)
	usual, usualPort := every(false)
	defer func() { _, err := osl.Down(t.Context(), portLab(key, nil, nil)); must(t, err) }()
	settled(t, portLab(key, odd, oddPort))
	sayEvery(t, key, true)
	settled(t, portLab(key, usual, usualPort))
	sayEvery(t, key, false)
	settled(t, portLab(key, odd, oddPort))
	sayEvery(t, key, true)
	n, err := osl.Open(t.Context(), key)
	must(t, err)
	defer n.Close()
	st, err := n.Inspect(t.Context())
	must(t, err)
	for _, i := range st.Interfaces {
		switch i.Name {
		case "br0":
			want := *odd
			want.VLANFiltering, want.VLANDefaultPVID, want.VLANProtocol = i.Bridge.VLANFiltering, i.Bridge.VLANDefaultPVID, i.Bridge.VLANProtocol
			sameJSON(t, "Inspect of br0", i.Bridge, want)
		case "p0":
			sameJSON(t, "Inspect of p0", i.BridgePort, oddPort)
		}
	}
}

func sameJSON(t *testing.T, what string, got, want any) {
	t.Helper()
	g, err := json.Marshal(got)
	must(t, err)
	w, err := json.Marshal(want)
	must(t, err)
	if string(g) != string(w) {
		t.Errorf("%s: %s, want %s", what, g, w)
	}
}

// A bridge without the spanning tree may forward at once, one with it may not: off and
// on again, whichever comes first in the kernel's eyes, and back where it fails.
func TestBridgeSpanningTreeAndShortDelay(t *testing.T) {
	begin(t)
	key := newKey()
	defer func() { _, err := osl.Down(t.Context(), portLab(key, nil, nil)); must(t, err) }()
	off := &osl.BridgeSpec{STP: ptr(false), ForwardDelay: dur("0s")}
	on := &osl.BridgeSpec{STP: ptr(true), ForwardDelay: dur("4s")}
	for _, b := range []*osl.BridgeSpec{off, on, off, {STP: ptr(true)}, off} {
		settled(t, portLab(key, b, nil))
	}
	own, _ := linkSays(t, key, "br0")
	saysAll(t, "br0", own, "stp_state", 0, "forward_delay", 0)
	bad := portLab(key, &osl.BridgeSpec{STP: ptr(true)}, nil)
	bad.Sandboxes[0].Routes = noRoute()
	if _, err := osl.Apply(t.Context(), bad); err == nil {
		t.Fatal("the route was taken")
	}
	own, _ = linkSays(t, key, "br0")
	saysAll(t, "br0 after a failure", own, "stp_state", 0, "forward_delay", 0)
	settled(t, portLab(key, &osl.BridgeSpec{STP: ptr(true)}, nil))
	settled(t, portLab(key, nil, nil))
	nsenter(t, key, "ip", "link", "set", "dev", "br0", "type", "bridge", "stp_state", "1")
	for _, delay := range []string{"0s", "1.9s", "30.1s"} { // the spanning tree stands
		too := portLab(key, &osl.BridgeSpec{ForwardDelay: dur(delay), HelloTime: dur("1s")}, nil)
		if _, err := osl.Apply(t.Context(), too); !errors.Is(err, osl.ErrInvalid) || !strings.Contains(fmt.Sprint(err), "spanning tree on") {
			t.Errorf("a delay of %s: %v", delay, err)
		}
		if _, err := osl.Diff(t.Context(), too); !errors.Is(err, osl.ErrInvalid) {
			t.Errorf("diff of a delay of %s: %v", delay, err)
		}
	}
	own, _ = linkSays(t, key, "br0")
	saysAll(t, "br0 after what is refused", own, "stp_state", 1, "forward_delay", 1500, "hello_time", 200)
	settled(t, portLab(key, &osl.BridgeSpec{ForwardDelay: dur("30s")}, nil))
	settled(t, portLab(key, &osl.BridgeSpec{STP: ptr(false), ForwardDelay: dur("30.1s")}, nil))
}

// portElsewhere is portLab with its port at the other bridge.
func portElsewhere(key string) osl.Network {
	lab := portLab(key, nil, nil)
	lab.Sandboxes[0].Interfaces[2].Master = "br1"
	return lab
}

// A port that goes to another bridge loses its settings; where the change fails, it is
// back with all of them.
func TestBridgePortThatLeavesIsBackWithItsSettings(t *testing.T) {
	begin(t)
	key := newKey()
	_, port := every(true)
	lab := portLab(key, nil, port)
	defer func() { _, err := osl.Down(t.Context(), lab); must(t, err) }()
	settled(t, lab)
	_, before := linkSays(t, key, "p0")
	elsewhere := portElsewhere(key)
	failsAtTheEnd(t, elsewhere, "q0")
	_, after := linkSays(t, key, "p0")
	for _, volatile := range []string{"state", "hold_timer", "message_age_timer", "forward_delay_timer", "port_id", "no", "id"} {
		delete(before, volatile)
		delete(after, volatile)
	}
	sameJSON(t, "p0 after a failure", after, before)
	nothingLeft(t, lab)
	elsewhere.Sandboxes[0].Interfaces[3].Down = false
	settled(t, elsewhere)
	_, there := linkSays(t, key, "p0")
	saysAll(t, "p0 at its new bridge", there, "cost", 2, "isolated", false, "learning", true)
}

// So it is with its cost alone, also one that another speed would give it.
func TestBridgePortThatLeavesIsBackWithItsCost(t *testing.T) {
	begin(t)
	key := newKey()
	lab := portLab(key, nil, &osl.BridgePortSpec{Cost: ptr(19)})
	defer func() { _, err := osl.Down(t.Context(), lab); must(t, err) }()
	settled(t, lab)
	failsAtTheEnd(t, portElsewhere(key), "q0")
	_, port := linkSays(t, key, "p0")
	saysAll(t, "p0 after a failure", port, "cost", 19)
	nothingLeft(t, lab)
}

// What is wrong is refused before anything is done, with its field.
func TestBridgeBadInput(t *testing.T) {
	begin(t)
	key := newKey()
	for _, c := range []struct {
		words string
		b     osl.BridgeSpec
		p     osl.BridgePortSpec
	}{
		{words: "hello_time", b: osl.BridgeSpec{HelloTime: dur("20s")}},
		{words: "steps of 100ms", b: osl.BridgeSpec{AgeingTime: dur("10.05s")}},
		{words: "2s to 30s", b: osl.BridgeSpec{STP: ptr(true), ForwardDelay: dur("1s")}},
		{words: "0 to 65535", b: osl.BridgeSpec{Priority: ptr(-1)}},
		{words: "802.1Q or 802.1ad", b: osl.BridgeSpec{VLANProtocol: "qinq"}},
		{words: "0 to 4094", b: osl.BridgeSpec{VLANDefaultPVID: ptr(4095)}},
		{words: "is in none", b: osl.BridgeSpec{VLANFiltering: ptr(false), PVID: ptr(1)}},
		{words: "1 to 65535", p: osl.BridgePortSpec{Cost: ptr(0)}},
		{words: "0 to 3", p: osl.BridgePortSpec{MulticastRouter: ptr(4)}},
		{words: "1 to 4094", p: osl.BridgePortSpec{VLANs: []osl.VLANRange{{First: 0, Last: 3}}}},
		{words: "lower first, not 9-3", p: osl.BridgePortSpec{VLANs: []osl.VLANRange{{First: 9, Last: 3}}}},
		{words: "5 is there twice", p: osl.BridgePortSpec{VLANs: []osl.VLANRange{{First: 5, Last: 5}, {First: 1, Last: 9}}}},
		{words: "does not filter VLANs", p: osl.BridgePortSpec{PVID: ptr(5)}},
	} {
		_, err := osl.Apply(t.Context(), portLab(key, &c.b, &c.p))
		refused(t, c.words, err, osl.ErrInvalid, strings.Fields(c.words)...)
	}
	net := portLab(key, nil, &osl.BridgePortSpec{})
	net.Sandboxes[0].Interfaces[2].Master = ""
	_, err := osl.Apply(t.Context(), net)
	refused(t, "a port without a master", err, osl.ErrInvalid, "without a master")
	net = portLab(key, nil, nil)
	net.Sandboxes[0].Interfaces[3].Bridge = &osl.BridgeSpec{}
	_, err = osl.Apply(t.Context(), net)
	refused(t, "no bridge", err, osl.ErrInvalid, "type bridge")
}

func vlansSaid(t *testing.T, key, dev string) (list []string) {
	t.Helper()
	type vlan struct {
		First int      `json:"vlan"`
		Last  int      `json:"vlanEnd"`
		Flags []string `json:"flags"`
	}
	type port struct {
		Name  string `json:"ifname"`
		VLANs []vlan `json:"vlans"`
	}
	for _, p := range asked[[]port](t, key, "bridge", "-compressvlans", "-json", "vlan", "show") {
		for _, v := range p.VLANs {
			if p.Name != dev {
				continue
			}
			text := fmt.Sprint(v.First)
			if v.Last != 0 {
				text += fmt.Sprint("-", v.Last)
			}
			slices.Sort(v.Flags)
			for _, f := range v.Flags {
				text += " " + strings.ToLower(strings.TrimPrefix(f, "Egress "))
			}
			list = append(list, text)
		}
	}
	return list
}

func saysVLANs(t *testing.T, key, dev string, want ...string) {
	t.Helper()
	if got := vlansSaid(t, key, dev); !slices.Equal(got, want) {
		t.Errorf("%s is in the VLANs %q, want %q", dev, got, want)
	}
}

func ranges(t *testing.T, texts ...string) (list []osl.VLANRange) {
	t.Helper()
	for _, s := range texts {
		var v osl.VLANRange
		must(t, v.UnmarshalText([]byte(s)))
		list = append(list, v)
	}
	return list
}
