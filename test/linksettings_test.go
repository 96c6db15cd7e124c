//go:build linux

package osltest

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// settingsSaid is what ip says of the settings of a link.
func settingsSaid(t *testing.T, key, dev string) map[string]any {
	t.Helper()
	args := []string{"ip", "-details", "-json", "link", "show", "dev", dev}
	var said map[string]any
	if key == "" {
		key = "/proc/thread-self/ns/net"
	}
	said = asked[[]map[string]any](t, key, args...)[0]
	flags := said["flags"].([]any)
	for _, f := range []string{"PROMISC", "ALLMULTI", "NOARP"} {
		said[f] = slices.Contains(flags, any(f))
	}
	return said
}

// withSettings gives an interface settings other than the kernel's choice, or with odd
// false that.
func withSettings(i osl.InterfaceSpec, odd bool) osl.InterfaceSpec {
	i.Promisc, i.AllMulticast, i.ARP, i.Group, i.AddrGenMode = &odd, &odd, ptr(!odd), ptr(0), "eui64"
	i.GSOMaxSize, i.GSOMaxSegs, i.GROMaxSize = 65536, 65535, 65536
	if odd {
		i.GSOMaxSize, i.GSOMaxSegs, i.GROMaxSize, i.Group, i.AddrGenMode = 16384, 16, 32768, ptr(77), "none"
	}
	return i
}

func saysSettings(t *testing.T, said map[string]any, odd bool) {
	t.Helper()
	saysAll(t, "settings", said, "PROMISC", odd, "ALLMULTI", odd, "NOARP", odd)
	if odd {
		saysAll(t, "settings", said, "group", "77", "inet6_addr_gen_mode", "none", "gso_max_size", 16384, "gso_max_segs", 16, "gro_max_size", 32768)
	} else {
		saysAll(t, "settings", said, "group", "default", "inet6_addr_gen_mode", "eui64", "gso_max_size", 65536, "gso_max_segs", 65535, "gro_max_size", 65536)
	}
}

// The settings of a link are made with it, changed in place, read back, and shown.
func TestLinkSettings(t *testing.T) {
	begin(t)
	key := newKey()
	lab := func(odd bool) osl.Network {
		return osl.Network{Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{
			withSettings(osl.InterfaceSpec{Name: "e0", Peer: osl.Endpoint{Sandbox: key, Interface: "e1"}}, odd),
			withSettings(osl.InterfaceSpec{Name: "e1"}, odd),
		}}}}
	}
	defer func() { _, err := osl.Down(t.Context(), lab(false)); must(t, err) }()
	for _, odd := range []bool{true, false, true} {
		settled(t, lab(odd))
		saysSettings(t, settingsSaid(t, key, "e0"), odd)
		saysSettings(t, settingsSaid(t, key, "e1"), odd)
	}
	n, err := osl.Open(t.Context(), key)
	must(t, err)
	defer n.Close()
	st, err := n.Inspect(t.Context())
	must(t, err)
	x := st.Interfaces[0]
	sameJSON(t, "Inspect", []any{x.Group, x.Promisc, x.AllMulticast, x.ARP, x.AddrGenMode, x.GSOMaxSize, x.GSOMaxSegs, x.GROMaxSize},
		[]any{77, true, true, false, "none", 16384, 16, 32768})
	for words, change := range map[string]func(i *osl.InterfaceSpec){
		"group is 0":             func(i *osl.InterfaceSpec) { i.Group = ptr(-1) },
		"none of eui64":          func(i *osl.InterfaceSpec) { i.AddrGenMode = "odd" },
		"ipv6.stable_secret":     func(i *osl.InterfaceSpec) { i.AddrGenMode = "stable_secret" },
		"gso_max_segs is 1":      func(i *osl.InterfaceSpec) { i.GSOMaxSegs = 70000 },
		"that its ports allow":   func(i *osl.InterfaceSpec) { *i = osl.InterfaceSpec{Name: "b", Type: "bridge", GSOMaxSize: 5000} },
		"gro_max_size is 1 to 5": func(i *osl.InterfaceSpec) { i.GROMaxSize = -1 },
	} {
		net := lab(true)
		change(&net.Sandboxes[0].Interfaces[0])
		_, err := osl.Apply(t.Context(), net)
		refused(t, words, err, osl.ErrInvalid, words)
	}
}

// A setting that the file drops is as on a link of which it was never asked; one that
// somebody else made is left alone.
func TestFeatureSettingsDropped(t *testing.T) {
	begin(t)
	for _, kind := range []string{"bridge", "macvlan", "macvtap", "tap", "tun", "dummy", "ifb", "vlan", "ipvlan", "vrf", "bond", "vxlan", "gre", "netkit"} {
		t.Run(kind, func(t *testing.T) {
			if kind == "tap" || kind == "tun" {
				testnet.NeedTun(t)
			}
			settingsDropped(t, kind)
		})
	}
}

// oneOf is a link x of a type, with what one needs: end is the link below, y the other end.
func oneOf(kind, key string) osl.InterfaceSpec {
	x := osl.InterfaceSpec{Name: "x", Type: kind}
	switch kind {
	case "macvlan", "macvtap", "ipvlan":
		x.Parent = "end"
	case "vlan":
		x.Parent, x.VLAN = "end", 7
	case "vrf":
		x.Table = 7
	case "gre", "gretap":
		x.Remote = netip.MustParseAddr("192.0.2.1")
	case "vxlan":
		x.VNI, x.Remote = 7, netip.MustParseAddr("192.0.2.1")
	case "veth", "netkit":
		x.Peer = osl.Endpoint{Sandbox: key, Interface: "y"}
	}
	return x
}

func settingsDropped(t *testing.T, kind string) {
	key, fresh := newKey(), newKey()
	lab := func(key string, odd bool) osl.Network {
		end, port, br := osl.InterfaceSpec{Name: "end"}, osl.InterfaceSpec{Name: "port", Master: "br"}, osl.InterfaceSpec{Name: "br", Type: "bridge"}
		port.Peer = osl.Endpoint{Sandbox: key, Interface: "end"}
		x := oneOf(kind, key)
		if odd {
			end.MTU, port.TxQueueLen, x.TxQueueLen = 1400, ptr(77), ptr(77)
			port.BridgePort = &osl.BridgePortSpec{Learning: ptr(false), Flood: ptr(false), Isolated: ptr(true), Hairpin: ptr(true), Guard: ptr(true), RootBlock: ptr(true),
				FastLeave: ptr(true), NeighSuppress: ptr(true), MulticastFlood: ptr(false), BroadcastFlood: ptr(false), Cost: ptr(77), Priority: ptr(7), MulticastRouter: ptr(2)}
			br.Bridge = &osl.BridgeSpec{Priority: ptr(7), AgeingTime: ptr(osl.Duration(7e9)), HelloTime: ptr(osl.Duration(1e9)), MaxAge: ptr(osl.Duration(7e9)),
				ForwardDelay: ptr(osl.Duration(4e9)), MulticastSnooping: ptr(false)}
			port, x = withSettings(port, true), withSettings(x, true)
			if kind == "bridge" { // which has what its ports allow
				x.GSOMaxSize, x.GSOMaxSegs = 0, 0
			}
			switch kind {
			case "vxlan":
				x.TTL, x.TOS, x.Learning = 7, 7, ptr(false)
			case "gre":
				x.TTL, x.TOS, x.Key = 7, 7, 7
			case "vlan":
				x.IngressQoSMap, x.EgressQoSMap = map[string]string{"3": "5"}, map[string]string{"3": "5"}
			}
			if kind != "vxlan" && kind != "gre" { // whose own MTU is by the way
				x.MTU = 1300
			}
		}
		n := osl.Network{Name: filepath.Base(key), Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{end, port, br, x}}}}
		if kind == "netkit" {
			n.Sandboxes[0].Interfaces = append(n.Sandboxes[0].Interfaces, osl.InterfaceSpec{Name: "y", Type: kind})
		}
		return n
	}
	if _, err := osl.Apply(t.Context(), lab(key, true)); errors.Is(err, osl.ErrUnsupported) {
		t.Skip(err)
	}
	for _, n := range []osl.Network{lab(key, true), lab(key, false), lab(fresh, false)} {
		settled(t, n)
		defer func() { _, err := osl.Down(t.Context(), n); must(t, err) }()
	}
	for _, f := range lab(key, false).Sandboxes[0].Interfaces {
		sameJSON(t, f.Name, unowned(settingsSaid(t, key, f.Name)), unowned(settingsSaid(t, fresh, f.Name)))
	}
	nsenter(t, key, "ip", "link", "set", "dev", "port", "txqueuelen", "1234", "promisc", "on")
	if did := settled(t, lab(key, false)); len(did) > 0 {
		t.Errorf("what somebody else set is changed:\n%v", did)
	}
	saysAll(t, "by hand", settingsSaid(t, key, "port"), "txqlen", 1234, "PROMISC", true)
}

// unowned takes out of what ip says of a link what is one link's alone.
func unowned(said map[string]any) map[string]any {
	for what, v := range said {
		if x, ok := v.(map[string]any); ok {
			unowned(x)
		}
		own := []string{"ifindex", "address", "ifalias", "operstate", "flags", "link_index", "permaddr", "state", "topology_change_detected", "port"}
		if slices.Contains(own, what) || strings.HasSuffix(what, "timer") || strings.HasSuffix(what, "_id") || strings.Contains(what, "root") || strings.Contains(what, "designated") {
			delete(said, what)
		}
	}
	return said
}

// A bridge whose MTU the file drops has that of its ports, also when these change later, as
// one that never had another; the kernel alone would leave it. What somebody sets then stays.
func TestBridgeFollowsItsPortsAgain(t *testing.T) {
	begin(t)
	key := newKey()
	lab := func(bridge, port int) osl.Network {
		return osl.Network{Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{{Name: "br", Type: "bridge", MTU: bridge},
			{Name: "p", Master: "br", MTU: port, Peer: osl.Endpoint{Sandbox: key, Interface: "q"}}, {Name: "q"}}}}}
	}
	defer func() { _, err := osl.Down(t.Context(), lab(0, 0)); must(t, err) }()
	for _, x := range [][3]int{{1300, 1300, 1300}, {0, 1300, 1300}, {0, 0, 1500}, {0, 1400, 1400}, {1450, 1400, 1450}, {0, 1400, 1400}} {
		settled(t, lab(x[0], x[1]))
		saysAll(t, fmt.Sprint(x), settingsSaid(t, key, "br"), "mtu", x[2])
	}
	nsenter(t, key, "ip", "link", "set", "dev", "br", "mtu", "1350")
	_, err := osl.Apply(t.Context(), lab(0, 1300))
	must(t, err)
	saysAll(t, "by hand", settingsSaid(t, key, "br"), "mtu", 1350)
}

// What a part of a network does not say it does not drop, and what was asked for by hand
// and then by the file goes with the file's asking.
func TestSettingsAskedForLater(t *testing.T) {
	begin(t)
	key := newKey()
	lab := func(promisc *bool) osl.Network {
		return osl.Network{Name: filepath.Base(key), Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{{Name: "br", Type: "bridge", Promisc: promisc}}}}}
	}
	settled(t, lab(nil))
	defer func() { _, err := osl.Down(t.Context(), lab(nil)); must(t, err) }()
	nsenter(t, key, "ip", "link", "set", "dev", "br", "promisc", "on")
	if did := settled(t, lab(ptr(true))); len(did) > 0 {
		t.Errorf("what somebody set by hand is set again:\n%v", did)
	}
	must(t, osl.Add(t.Context(), osl.Network{Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{{Name: "br", Group: ptr(5)}}}}}))
	saysAll(t, "a part", settingsSaid(t, key, "br"), "PROMISC", true, "group", "5")
	settled(t, lab(nil))
	saysAll(t, "dropped", settingsSaid(t, key, "br"), "PROMISC", false, "group", "default")
}

// A link of the host has its settings again when it goes home: those that were set when it
// came, and those that were set later.
func TestLinkSettingsGoHome(t *testing.T) {
	w := begin(t)
	key := newKey()
	a, _ := w.veth()
	before := settingsSaid(t, "", a)
	settings := []string{"PROMISC", "ALLMULTI", "NOARP", "group", "inet6_addr_gen_mode", "gso_max_size", "gso_max_segs", "gro_max_size"}
	lab := func(i osl.InterfaceSpec) osl.Network {
		i.Name, i.Source = "wan", a
		return osl.Network{Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{i}}}}
	}
	settled(t, lab(osl.InterfaceSpec{Promisc: ptr(true)}))
	settled(t, lab(withSettings(osl.InterfaceSpec{}, true)))
	saysSettings(t, settingsSaid(t, key, "wan"), true)
	settled(t, lab(osl.InterfaceSpec{}))
	dropped := settingsSaid(t, key, "wan")
	for _, what := range settings {
		saysAll(t, "dropped", dropped, what, before[what])
	}
	_, err := osl.Down(t.Context(), lab(osl.InterfaceSpec{}))
	must(t, err)
	after := settingsSaid(t, "", a)
	for _, what := range settings {
		saysAll(t, "at home", after, what, before[what])
	}
}

// namesSaid are the alternative names of a link, without those in which osl notes
// something.
func namesSaid(t *testing.T, key, dev string) (list []string) {
	t.Helper()
	said, _ := settingsSaid(t, key, dev)["altnames"].([]any)
	for _, name := range said {
		if !strings.HasPrefix(name.(string), "osl1") {
			list = append(list, name.(string))
		}
	}
	slices.Sort(list)
	return list
}

// Alternative names come and go; those of others stay, also with a link of the host, which
// is known by one that is longer than a name can be, and goes home with its own.
func TestLinkAltNames(t *testing.T) {
	w := begin(t)
	key := newKey()
	a, _ := w.veth()
	const long = "the-uplink-of-the-first-rack-on-the-left"
	nsenter(t, "/proc/thread-self/ns/net", "ip", "link", "property", "add", "dev", a, "altname", long, "altname", "short-one")
	lab := func(source string, names ...string) osl.Network {
		return osl.Network{Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{
			{Name: "wan", Source: source, AltNames: names}, {Name: "br0", Type: "bridge", AltNames: names},
		}}}}
	}
	one := lab(long, "first")
	one.Sandboxes[0].Interfaces[1].AltNames = []string{"a-bridge-with-a-very-long-name-indeed"}
	settled(t, one)
	saysList(t, "wan", namesSaid(t, key, "wan"), "first", "short-one", long)
	saysList(t, "br0", namesSaid(t, key, "br0"), "a-bridge-with-a-very-long-name-indeed")
	nsenter(t, key, "ip", "link", "property", "add", "dev", "br0", "altname", "of-another")
	two := lab("short-one", "second")
	two.Sandboxes[0].Interfaces[1].AltNames = []string{"of-another", "third"}
	settled(t, two)
	saysList(t, "wan", namesSaid(t, key, "wan"), "second", "short-one", long)
	saysList(t, "br0", namesSaid(t, key, "br0"), "of-another", "third")
	bad := lab(a)
	bad.Sandboxes[0].Interfaces = append(bad.Sandboxes[0].Interfaces, osl.InterfaceSpec{Name: "b", Type: "bridge", AltNames: []string{"of-another"}})
	if _, err := osl.Apply(t.Context(), bad); err == nil {
		t.Fatal("a name is there twice")
	} else {
		refused(t, "a name of another", err, osl.ErrExists, "the name of-another")
	}
	saysList(t, "wan after a failure", namesSaid(t, key, "wan"), "second", "short-one", long)
	nothingLeft(t, two)
	settled(t, lab(a))
	saysList(t, "br0", namesSaid(t, key, "br0"), "of-another")
	again := lab(a, "again")
	again.Sandboxes[0].Interfaces[1].AltNames = nil
	settled(t, again)
	_, err := osl.Down(t.Context(), lab(a))
	must(t, err)
	saysList(t, "at home", namesSaid(t, "", a), "short-one", long)
	for words, names := range map[string][]string{"notes what it does": {"osl1.u.1"}, "is there twice": {"x", "x"}, "has a slash": {"a/b"},
		"128 bytes": {strings.Repeat("x", 128)}} {
		_, err := osl.Apply(t.Context(), lab(a, names...))
		refused(t, words, err, osl.ErrInvalid, words)
	}
}

// The note that a file drops goes, from a link, and from an end on the host. A part of a network that says none leaves it,
// and so does a change that fails.
func TestNoteDropped(t *testing.T) {
	begin(t)
	key, far := newKey(), name("ve")
	lab := func(note string) osl.Network {
		return osl.Network{Name: filepath.Base(key), Sandboxes: []osl.Spec{
			{Name: key, Interfaces: []osl.InterfaceSpec{{Name: "br", Type: "bridge", Note: note}, {Name: "x", Note: note, Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: far}}}},
			{Name: osl.HostName, Interfaces: []osl.InterfaceSpec{{Name: far, Note: note}}}}}
	}
	defer func() { _, err := osl.Down(t.Context(), lab("")); must(t, err) }()
	has := func(want string) {
		t.Helper()
		for _, at := range [][2]string{{key, "br"}, {key, "x"}, {"", far}} {
			alias := fmt.Sprint(settingsSaid(t, at[0], at[1])["ifalias"])
			_, note, _ := strings.Cut(alias, ";c=")
			if note, _, _ = strings.Cut(note, ";"); !strings.HasPrefix(alias, "osl1;") || note != want {
				t.Errorf("the alias of %s is %q, and its note is to be %q", at[1], alias, want)
			}
		}
	}
	settled(t, lab("one"))
	has("one")
	must(t, osl.Add(t.Context(), osl.Network{Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{{Name: "br", Group: ptr(0)}}}}}))
	failsAtTheEnd(t, lab(""), "x")
	has("one")
	if would, err := osl.Diff(t.Context(), lab("")); err != nil || len(would) != 3 {
		t.Errorf("to drop it: %v\n%v", err, would)
	}
	settled(t, lab(""))
	has("")
}
