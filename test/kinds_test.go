//go:build linux

package osltest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// lacks skips a test for which the kernel lacks a kind of link. The machine of
// test/kernel lacks none.
func lacks(t *testing.T, kind string, err error) {
	t.Helper()
	if !errors.Is(err, osl.ErrUnsupported) && !errors.Is(err, unix.EOPNOTSUPP) {
		return
	}
	if testnet.Machine() {
		t.Fatalf("%s: %v", kind, err)
	}
	t.Skipf("this kernel has no %s: %v", kind, err)
}

// parent is a link of the host for others to be made on: a network card where
// there is one for the tests.
func (w *world) parent() string {
	w.t.Helper()
	if testnet.Physical() {
		return "eth0" // as cards dresses it
	}
	p, _ := w.vethUp()
	w.up(p)
	return p
}

// TestFeatureKindsMadeInPlace makes a link of each kind in a sandbox; those that need
// a parent have it on the host.
func TestFeatureKindsMadeInPlace(t *testing.T) { kindsMadeInPlace(t) }

func TestPhysicalParentOfKindsMadeInPlace(t *testing.T) {
	cards(t)
	kindsMadeInPlace(t)
}

func kindsMadeInPlace(t *testing.T) {
	for kind, spec := range map[string]osl.InterfaceSpec{
		"bridge": {}, "dummy": {}, "macvlan": {}, "vlan": {VLAN: 7}, "tuntap tun": {Type: "tun"}, "tuntap tap": {Type: "tap"},
		"vxlan": {VNI: 4711, Local: netip.MustParseAddr("192.0.2.1")}, "veth": {Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "far0"}},
	} {
		t.Run(kind, func(t *testing.T) {
			if spec.Type == "tun" || spec.Type == "tap" {
				testnet.NeedTun(t)
			}
			w := begin(t)
			sb := w.sandbox().(*osl.Namespace)
			spec.Name = "k0"
			spec.Addresses = []netip.Prefix{netip.MustParsePrefix("10.220.0.2/24"), netip.MustParsePrefix("fd20::2/64")}
			if spec.Type == "" {
				spec.Type = kind
			}
			if kind == "macvlan" || kind == "vlan" || kind == "vxlan" {
				spec.Parent = osl.HostName + "/" + w.parent()
			}
			before := snapshot(t, "")
			testnet.Feature(t, "link "+spec.Type, sb.AddLink(t.Context(), spec))
			kind, _, _ := strings.Cut(kind, " ")
			l := needLink(t, sb.Key(), "k0")
			if l.Type() != kind || l.Attrs().Flags&net.FlagUp == 0 {
				t.Errorf("it is a %s with flags %v", l.Type(), l.Attrs().Flags)
			}
			if v, ok := l.(*netlink.Vlan); ok && v.VlanId != 7 {
				t.Errorf("its tag is %d", v.VlanId)
			}
			if v, ok := l.(*netlink.Vxlan); ok && v.VxlanId != 4711 {
				t.Errorf("its VNI is %d", v.VxlanId)
			}
			if got := fmt.Sprint(addrsOf(t, sb.Key(), "k0")); !strings.Contains(got, "10.220.0.2/24") || !strings.Contains(got, "fd20::2/64") {
				t.Errorf("addresses: %v", got)
			}
			must(t, sb.RemoveLink(t.Context(), "k0"))
			if linkOf(t, sb.Key(), "k0") != nil {
				t.Error("it is there still")
			}
			same(t, "the host", before, func() []string { return snapshot(t, "") })
		})
	}
}

// TestKindsMovedIn moves a link of each kind in and out, that another program
// made on the host.
func TestKindsMovedIn(t *testing.T) { kindsMovedIn(t) }

func TestPhysicalParentOfKindsMovedIn(t *testing.T) {
	cards(t)
	kindsMovedIn(t)
}

func kindsMovedIn(t *testing.T) {
	for kind, make := range map[string]func(a netlink.LinkAttrs) netlink.Link{
		"dummy": func(a netlink.LinkAttrs) netlink.Link { a.ParentIndex = 0; return &netlink.Dummy{LinkAttrs: a} },
		"macvlan": func(a netlink.LinkAttrs) netlink.Link {
			return &netlink.Macvlan{LinkAttrs: a, Mode: netlink.MACVLAN_MODE_BRIDGE}
		},
		"ipvlan": func(a netlink.LinkAttrs) netlink.Link {
			return &netlink.IPVlan{LinkAttrs: a, Mode: netlink.IPVLAN_MODE_L2}
		},
		"vlan": func(a netlink.LinkAttrs) netlink.Link { return &netlink.Vlan{LinkAttrs: a, VlanId: 9} },
		"vxlan": func(a netlink.LinkAttrs) netlink.Link {
			return &netlink.Vxlan{LinkAttrs: a, VxlanId: 4712, VtepDevIndex: a.ParentIndex, Port: 4789}
		},
		"tuntap": func(a netlink.LinkAttrs) netlink.Link {
			a.ParentIndex = 0
			return &netlink.Tuntap{LinkAttrs: a, Mode: netlink.TUNTAP_MODE_TAP}
		},
	} {
		t.Run(kind, func(t *testing.T) {
			if kind == "tuntap" {
				testnet.NeedTun(t)
			}
			w := begin(t)
			sb := w.sandbox()
			a := attrs(name("kd"))
			a.ParentIndex = needLink(t, "", w.parent()).Attrs().Index
			err := netlink.LinkAdd(make(a))
			lacks(t, kind, err)
			must(t, err)
			w.made = append(w.made, a.Name, "kind0") // the second one if it did not come home wholly
			must(t, netlink.LinkSetAlias(needLink(t, "", a.Name), "a "+kind))
			before := snapshot(t, "")
			for _, up := range []bool{false, true} {
				if up {
					w.up(a.Name)
					before = snapshot(t, "")
				}
				// Under a name that the host has too, the kernel leaves a link of
				// sysfs behind at the parent.
				dst := w.add(sb, a.Name, "kind", osl.WithMTU(1300), addresses("10.221.0.2/24", "fd21::2/64"))
				l := needLink(t, sb.Key(), dst)
				if l.Type() != kind || l.Attrs().MTU != 1300 {
					t.Errorf("inside it is a %s, MTU %d", l.Type(), l.Attrs().MTU)
				}
				if got := fmt.Sprint(addrsOf(t, sb.Key(), dst)); !strings.Contains(got, "10.221.0.2/24") || !strings.Contains(got, "fd21::2/64") {
					t.Errorf("addresses: %v", got)
				}
				must(t, iface(t, sb, a.Name).Remove())
				same(t, "the host", before, func() []string { return snapshot(t, "") })
			}
		})
	}
}

// TestApplyOSTweaksBeforeIPVSIsLoaded holds that settings that are not there
// yet are told, and can be made later.
func TestApplyOSTweaksBeforeIPVSIsLoaded(t *testing.T) {
	if !testnet.Machine() {
		t.Skip("no kernel module may be unloaded here: run make kernel-test")
	}
	w := begin(t)
	modprobe := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("modprobe", args...).CombinedOutput(); err != nil {
			t.Fatalf("modprobe %v: %v\n%s", args, err, bytes.TrimSpace(out))
		}
	}
	modprobe("-r", "ip_vs_rr", "ip_vs")
	sb := w.sandbox()
	kinds := []osl.SandboxType{osl.SandboxTypeIngress}
	log := logged(func() { sb.ApplyOSTweaks(kinds) })
	want := map[string]string{"conn_reuse_mode": "0", "expire_nodest_conn": "1", "expire_quiescent_template": "1"}
	for knob := range want {
		if got := sysctl(t, sb.Key(), "ipv4/vs/"+knob); got != "-" || !strings.Contains(log, knob) {
			t.Errorf("without IPVS %s is %s, and the log says %q", knob, got, log)
		}
	}
	modprobe("ip_vs")
	host := hostSettings(t)
	if log := logged(func() { sb.ApplyOSTweaks(kinds) }); strings.Contains(log, "vs") {
		t.Errorf("the log says %q", log)
	}
	for knob, value := range want {
		if got := sysctl(t, sb.Key(), "ipv4/vs/"+knob); got != value {
			t.Errorf("%s is %s, want %s", knob, got, value)
		}
	}
	if got := sysctl(t, "", "ipv4/vs/conn_reuse_mode"); got != "1" {
		t.Errorf("the host's conn_reuse_mode is %s", got)
	}
	same(t, "the host's sysctls", host, func() []string { return hostSettings(t) })
}

// The remote of a vxlan stays beside forwarding entries for everybody, which stay when it
// changes.
func TestVXLANRemoteBesideEntries(t *testing.T) {
	begin(t)
	key := newKey()
	a := netip.MustParseAddr
	lab := func(remote string, others ...string) osl.Network {
		s := osl.Spec{Name: key, Interfaces: []osl.InterfaceSpec{{Name: "k0", Type: "vxlan", VNI: 5, Remote: a(remote)}}}
		for _, ip := range others {
			s.Neighbors = append(s.Neighbors, osl.NeighborSpec{Dev: "k0", IP: a(ip), MAC: make(osl.MAC, 6), FDB: true})
		}
		return osl.Network{Sandboxes: []osl.Spec{s}}
	}
	defer func() { _, err := osl.Down(t.Context(), lab("192.0.2.1")); must(t, err) }()
	settled(t, lab("192.0.2.1", "192.0.2.2", "192.0.2.3"))
	forAll(t, key, []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"})
	settled(t, lab("192.0.2.2", "192.0.2.2", "192.0.2.4"))
	forAll(t, key, []string{"192.0.2.2", "192.0.2.4"})
	settled(t, lab("192.0.2.5"))
	forAll(t, key, []string{"192.0.2.5"})
}

// A neighbor that the kernel would take, and not keep as it is, is refused before anything
// is made.
func TestNeighborsRefused(t *testing.T) {
	begin(t)
	key := newKey()
	a, mac := netip.MustParseAddr, osl.MAC{2, 0, 0, 0, 0, 7}
	for says, x := range map[string]osl.NeighborSpec{
		"without %e0":    {Dev: "e0", IP: a("fe80::7%e0"), MAC: mac},
		"one only":       {Dev: "lo", IP: a("192.0.2.7"), MAC: mac},
		`"e0" is none`:   {Dev: "e0", IP: a("192.0.2.7"), MAC: mac, FDB: true},
		`"x6" does not`:  {Dev: "x6", IP: a("192.0.2.7"), MAC: mac, FDB: true},
		`"x4" does not`:  {Dev: "x4", IP: a("2001:db8::7"), MAC: make(osl.MAC, 6), FDB: true},
		"another family": {Dev: "x4", IP: a("2001:db8::7"), MAC: mac, FDB: true},
	} {
		lab := osl.Network{Sandboxes: []osl.Spec{{Name: key, Neighbors: []osl.NeighborSpec{x}, Interfaces: []osl.InterfaceSpec{
			{Name: "e0", Peer: osl.Endpoint{Sandbox: key, Interface: "e1"}}, {Name: "e1"},
			{Name: "x4", Type: "vxlan", VNI: 4}, {Name: "x6", Type: "vxlan", VNI: 6, Remote: a("2001:db8::2")}}}}}
		if _, err := osl.Apply(t.Context(), lab); !errors.Is(err, osl.ErrInvalid) || !strings.Contains(fmt.Sprint(err), says) {
			t.Errorf("%+v: %v", x, err)
		}
		if _, err := osl.Open(t.Context(), key); !errors.Is(err, osl.ErrNotFound) {
			t.Errorf("%+v: the sandbox: %v", x, err)
		}
	}
}

// A macvlan that its parent does not take is told why, and all is as before.
func TestMacvlanBesidePassthru(t *testing.T) {
	begin(t)
	key := newKey()
	lab := func(mode, parent string) osl.Network {
		return osl.Network{Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{
			{Name: "e0", Peer: osl.Endpoint{Sandbox: key, Interface: "e1"}}, {Name: "e1"}, {Name: "m0", Type: "macvlan", Parent: "e0"},
			{Name: "m1", Type: "macvlan", Mode: mode, Parent: parent}}}}}
	}
	defer func() { _, err := osl.Down(t.Context(), lab("", "e0")); must(t, err) }()
	settled(t, lab("", "e0"))
	for _, bad := range []osl.Network{lab("passthru", "e0"), lab("", "lo")} {
		if _, err := osl.Apply(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "passthru has it for itself") {
			t.Errorf("%+v: %v", bad.Sandboxes[0].Interfaces[3], err)
		}
		nothingLeft(t, lab("", "e0"))
	}
	settled(t, lab("passthru", "e1"))
}

// A vxlan over IPv6 is made in the change that gives its parent that, and one whose parent
// has none is told so.
func TestVXLANOverIPv6(t *testing.T) {
	begin(t)
	key := newKey()
	lab := func(address, remote string) osl.Network {
		return osl.Network{Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{
			{Name: "k0", Type: "vxlan", VNI: 5, Parent: "e0", Remote: netip.MustParseAddr(remote)},
			{Name: "e0", Peer: osl.Endpoint{Sandbox: key, Interface: "e1"}, Addresses: []netip.Prefix{netip.MustParsePrefix(address)}}, {Name: "e1"},
			{Name: "m0", Type: "macvlan", Parent: "k0", Addresses: []netip.Prefix{netip.MustParsePrefix("fd09::1/64")}}}}}}
	}
	defer func() { _, err := osl.Down(t.Context(), lab("192.0.2.1/24", "192.0.2.2")); must(t, err) }()
	settled(t, lab("2001:db8::1/64", "ff05::5"))
	forAll(t, key, []string{"ff05::5"})
	settled(t, lab("192.0.2.1/24", "192.0.2.2"))
	if _, err := osl.Apply(t.Context(), lab("192.0.2.1/24", "2001:db8::2")); !errors.Is(err, osl.ErrInvalid) || !strings.Contains(err.Error(), "give its parent an IPv6 address") {
		t.Errorf("without IPv6: %v", err)
	}
	nothingLeft(t, lab("192.0.2.1/24", "192.0.2.2"))
	settled(t, lab("2001:db8::1/64", "2001:db8::2"))
}

// A vxlan of which the file does not say what it is on is not lost with that.
func TestVXLANOnWhatGoes(t *testing.T) {
	begin(t)
	key := newKey()
	lab := func(parent, name string) osl.Network {
		return osl.Network{Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{
			{Name: "k0", Type: "vxlan", VNI: 5, Parent: parent, Remote: netip.MustParseAddr("192.0.2.2")},
			{Name: name, Type: "bridge", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}}}}}}
	}
	defer func() { _, err := osl.Down(t.Context(), lab("", "e0")); must(t, err) }()
	settled(t, lab("", "e0"))
	nsenter(t, key, "ip", "link", "set", "dev", "k0", "type", "vxlan", "id", "5", "dev", "e0")
	nothingLeft(t, lab("", "e0"))
	before := snapshot(t, osl.GenerateKey(key))
	if _, err := osl.Apply(t.Context(), lab("", "e1")); !errors.Is(err, osl.ErrInvalid) || !strings.Contains(err.Error(), `it is on "e0", which goes`) {
		t.Errorf("its parent goes: %v", err)
	}
	same(t, "its parent was to go", before, func() []string { return snapshot(t, osl.GenerateKey(key)) })
	settled(t, lab("e1", "e1"))
}

// A driver that takes no other hardware address leaves nothing behind: an ifb of the host
// keeps all that it had.
func TestMACThatADriverRefuses(t *testing.T) {
	begin(t)
	key := newKey()
	lab := func(mac osl.MAC, mtu int) osl.Network {
		return osl.Network{Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{{Name: "k0", Source: "ifbh", MAC: mac, MTU: mtu}}}}}
	}
	h := &netlink.Ifb{LinkAttrs: netlink.LinkAttrs{Name: "ifbh"}}
	testnet.Feature(t, "link ifb", netlink.LinkAdd(h))
	defer func() { must(t, netlink.LinkDel(h)) }()
	settled(t, lab(nil, 1400))
	var e *osl.Error
	if _, err := osl.Apply(t.Context(), lab(osl.MAC{2, 0, 0, 0, 0, 1}, 1300)); !errors.As(err, &e) || !errors.Is(err, osl.ErrUnsupported) || len(e.Left) > 0 {
		t.Errorf("the refusal: %v", err)
	}
	nothingLeft(t, lab(nil, 1400))
	_, err := osl.Down(t.Context(), lab(nil, 1400))
	must(t, err)
}
