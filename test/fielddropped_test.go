//go:build linux

package osltest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// fieldOf is a field that makes a link of its type, and what a file says of it.
type fieldOf struct {
	name string
	set  func(f *osl.InterfaceSpec, odd bool)
}

// fieldsOf are those of which a file may say nothing.
func fieldsOf(kind string) []fieldOf {
	ip := func(four, six string) netip.Addr {
		if kind == "vxlan6" || kind == "ip6gre" || kind == "ip6gretap" {
			return netip.MustParseAddr(six)
		}
		return netip.MustParseAddr(four)
	}
	one := func(odd bool, a, b int) int { return map[bool]int{true: b, false: a}[odd] }
	owner := fieldOf{"owner", func(f *osl.InterfaceSpec, odd bool) { f.Owner = ptr(one(odd, 1000, 1001)) }}
	group := fieldOf{"owner_group", func(f *osl.InterfaceSpec, odd bool) { f.OwnerGroup = ptr(one(odd, 100, 0)) }}
	queues := fieldOf{"multi_queue", func(f *osl.InterfaceSpec, _ bool) { f.MultiQueue = true }}
	header := fieldOf{"vnet_hdr", func(f *osl.InterfaceSpec, _ bool) { f.VNetHdr = true }}
	tx := fieldOf{"numtxqueues", func(f *osl.InterfaceSpec, odd bool) { f.NumTxQueues = one(odd, 2, 3) }}
	rx := fieldOf{"numrxqueues", func(f *osl.InterfaceSpec, odd bool) { f.NumRxQueues = one(odd, 2, 3) }}
	local := fieldOf{"local", func(f *osl.InterfaceSpec, odd bool) {
		f.Local = ip(map[bool]string{true: "192.0.2.1", false: "192.0.2.2"}[odd], map[bool]string{true: "fd00::1", false: "fd00::2"}[odd])
	}}
	remote := fieldOf{"remote", func(f *osl.InterfaceSpec, odd bool) {
		f.Remote = ip(map[bool]string{true: "192.0.2.3", false: "192.0.2.4"}[odd], map[bool]string{true: "fd00::3", false: "fd00::4"}[odd])
	}}
	parent := fieldOf{"parent", func(f *osl.InterfaceSpec, odd bool) { f.Parent = map[bool]string{true: "end", false: "port"}[odd] }}
	key := fieldOf{"key", func(f *osl.InterfaceSpec, odd bool) { f.Key = one(odd, 7, 8) }}
	ttl := fieldOf{"ttl", func(f *osl.InterfaceSpec, odd bool) { f.TTL, f.TOS = one(odd, 7, 64), one(odd, 8, 16) }}
	switch kind {
	case "tun", "tap":
		return []fieldOf{owner, group, queues, header}
	case "veth", "ifb":
		return []fieldOf{tx, rx}
	case "vxlan", "vxlan6":
		return []fieldOf{local, remote, parent, ttl, {"learning", func(f *osl.InterfaceSpec, _ bool) { f.Learning = ptr(false) }}}
	case "gretap", "ip6gretap": // which need a remote
		return []fieldOf{local, parent, key, ttl}
	case "gre", "ip6gre":
		return []fieldOf{local, remote, parent, key, ttl}
	case "ipip", "sit":
		return []fieldOf{local, remote, parent, ttl}
	case "bond", "bond 802.3ad":
		return []fieldOf{{"miimon", func(f *osl.InterfaceSpec, odd bool) { f.MIIMon = one(odd, 250, 500) }}}
	case "ipvlan", "ipvtap":
		return []fieldOf{{"flags", func(f *osl.InterfaceSpec, odd bool) { f.Flags = map[bool]string{true: "private", false: "vepa"}[odd] }}}
	case "netkit":
		return []fieldOf{{"policy", func(f *osl.InterfaceSpec, _ bool) { f.Policy = "blackhole" }},
			{"peer_policy", func(f *osl.InterfaceSpec, _ bool) { f.PeerPolicy = "blackhole" }}}
	case "vlan":
		return []fieldOf{{"qos", func(f *osl.InterfaceSpec, odd bool) {
			f.IngressQoSMap, f.EgressQoSMap = map[string]string{"3": fmt.Sprint(one(odd, 4, 5))}, map[string]string{"3": fmt.Sprint(one(odd, 4, 5))}
		}}}
	}
	return nil
}

// What makes a link what it is, and the file says no more, is as on a link of which it was
// never said: whatever else is said, changed or dropped in the same edit.
func TestFeatureFieldsDropped(t *testing.T) {
	begin(t)
	for _, kind := range []string{"tun", "tap", "veth", "ifb", "vxlan", "vxlan6", "gre", "gretap", "ip6gre", "ip6gretap", "ipip", "sit",
		"bond", "bond 802.3ad", "ipvlan", "ipvtap", "netkit", "vlan"} {
		t.Run(kind, func(t *testing.T) { fieldsDropped(t, kind) })
	}
}

func fieldsDropped(t *testing.T, kind string) {
	if kind == "tap" || kind == "tun" {
		testnet.NeedTun(t)
	}
	fields := fieldsOf(kind)
	lab := func(key string, said map[string]int) osl.Network {
		end, port := osl.InterfaceSpec{Name: "end", Addresses: prefixes("192.0.2.1/24", "fd00::1/64")}, osl.InterfaceSpec{Name: "port", IPv6: "link-local", Peer: osl.Endpoint{Sandbox: key, Interface: "end"}}
		x, y := osl.InterfaceSpec{Name: "x", Type: kind}, osl.InterfaceSpec{Name: "y", Type: kind}
		switch kind {
		case "vxlan6":
			x = oneOf("vxlan", key)
		case "bond 802.3ad":
			x.Type, x.Mode = "bond", "802.3ad"
		case "ip6gretap":
			x.Remote = netip.MustParseAddr("fd00::9")
		case "ipvtap":
			x.Parent = "end"
		default:
			x = oneOf(kind, key)
		}
		if kind != "gretap" && kind != "ip6gretap" {
			x.Remote = netip.Addr{}
		}
		for _, f := range fields {
			if how := said[f.name]; how != 0 {
				f.set(&x, how == 2)
			}
		}
		list := []osl.InterfaceSpec{end, port, x}
		if x.Peer != (osl.Endpoint{}) {
			list = append(list, y)
		}
		return osl.Network{Name: filepath.Base(key), Sandboxes: []osl.Spec{{Name: key, Interfaces: list}}}
	}
	probe := lab(newKey(), nil)
	_, err := osl.Apply(t.Context(), probe)
	defer func() { _, err := osl.Down(t.Context(), probe); must(t, err) }()
	if errors.Is(err, osl.ErrUnsupported) {
		t.Skip(err)
	}
	must(t, err)
	anyInput(t, 5, func(r *rapid.T) {
		key := newKey()
		defer func() { _, err := osl.Down(t.Context(), lab(key, nil)); must(t, err) }()
		edits := [][2]map[string]int{}
		said := map[string]int{}
		for range 4 {
			was := said
			said = map[string]int{}
			for _, f := range fields {
				said[f.name] = rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(r, f.name)
			}
			edits = append(edits, [2]map[string]int{was, said})
		}
		all := map[string]int{}
		for _, f := range fields { // at the least all of them once
			all[f.name] = 2
		}
		for _, e := range append(edits, [2]map[string]int{said, all}, [2]map[string]int{all, nil}) {
			if _, err := osl.Apply(t.Context(), lab(key, e[1])); err != nil {
				r.Fatalf("from %v to %v: %v", e[0], e[1], err)
			}
			if left, err := osl.Diff(t.Context(), lab(key, e[1])); err != nil || len(left) > 0 {
				r.Fatalf("from %v to %v: diff after it: %v\n%v", e[0], e[1], err, left)
			}
			fresh := newKey()
			_, err := osl.Apply(t.Context(), lab(fresh, e[1]))
			must(t, err)
			got, want := unowned(settingsSaid(t, key, "x")), unowned(settingsSaid(t, fresh, "x"))
			if _, err := osl.Down(t.Context(), lab(fresh, nil)); err != nil {
				r.Fatal(err)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				r.Fatalf("from %v to %v there is\n%v\nand a new one is\n%v", e[0], e[1], got, want)
			}
		}
	})
}

// What somebody else gives a tap, as a program does that opens it, is none of what the file
// drops: it is not made anew for that.
func TestTapIsAsItsProgramWants(t *testing.T) {
	begin(t)
	testnet.NeedTun(t)
	key := newKey()
	lab := func(header bool, owner *int) osl.Network {
		return osl.Network{Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{{Name: "t0", Type: "tap", VNetHdr: header, Owner: owner}}}}}
	}
	settled(t, lab(false, nil))
	defer func() { _, err := osl.Down(t.Context(), lab(false, nil)); must(t, err) }()
	index := needLink(t, key, "t0").Attrs().Index
	fd := attachTap(t, key, "t0", unix.IFF_VNET_HDR)
	saysAll(t, "by the program", settingsSaid(t, key, "t0")["linkinfo"].(map[string]any)["info_data"].(map[string]any), "vnet_hdr", true)
	if did := settled(t, lab(false, nil)); len(did) > 0 {
		t.Errorf("what the program asked for is changed:\n%v", did)
	}
	if now := needLink(t, key, "t0").Attrs().Index; now != index {
		t.Error("it was made anew")
	}
	settled(t, lab(true, ptr(1000))) // it is asked for by now, and an owner is another tap
	if _, err := unix.Write(fd, make([]byte, 60)); !errors.Is(err, unix.EBADFD) {
		t.Errorf("the program writes to the tap that is gone: %v", err)
	}
	must(t, unix.Close(fd))
	settled(t, lab(false, ptr(1000)))
	if data := settingsSaid(t, key, "t0")["linkinfo"].(map[string]any)["info_data"].(map[string]any); data["vnet_hdr"] != false {
		t.Errorf("dropped: %v", data)
	}
}

// attachTap opens a tap of a sandbox, as a program does that has packets by it.
func attachTap(t *testing.T, key, dev string, flags uint16) (fd int) {
	t.Helper()
	ns, err := osl.Open(t.Context(), key)
	must(t, err)
	must(t, ns.Do(t.Context(), func(context.Context) error {
		fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		must(t, err)
		ifr, err := unix.NewIfreq(dev)
		must(t, err)
		ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | flags)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}))
	return fd
}

// A vxlan that loses its parent is another one in its place, which the kernel makes when the
// first is gone: where the change fails all is as it was.
func TestVXLANWithoutItsParent(t *testing.T) {
	begin(t)
	key := newKey()
	lab := func(name, parent string, more ...osl.RouteSpec) osl.Network {
		return osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: key, Routes: more, Interfaces: []osl.InterfaceSpec{
			{Name: "br", Type: "bridge"}, {Name: "under", Type: "bridge", Addresses: prefixes("192.0.2.1/24")},
			{Name: name, Type: "vxlan", VNI: 5, Parent: parent, Remote: netip.MustParseAddr("192.0.2.2"), Master: "br", AltNames: []string{"also"}, MTU: 1400},
		}, Neighbors: []osl.NeighborSpec{{Dev: name, FDB: true, MAC: osl.MAC(mac("02:00:00:00:00:07")), IP: netip.MustParseAddr("192.0.2.7")}}}}}
	}
	defer func() { _, err := osl.Down(t.Context(), lab("k0", "")); must(t, err) }()
	for _, name := range []string{"k0", "k1"} {
		settled(t, lab("k0", "under"))
		before := snapshot(t, key)
		if _, err := osl.Apply(t.Context(), lab(name, "", noRoute()...)); err == nil || errors.Is(err, osl.ErrIncomplete) {
			t.Errorf("it did not fail: %v", err)
		}
		same(t, "a change that failed", before, func() []string { return snapshot(t, key) })
		settled(t, lab(name, ""))
		if data := settingsSaid(t, key, name)["linkinfo"].(map[string]any)["info_data"].(map[string]any); data["link"] != nil {
			t.Errorf("it is on %v", data["link"])
		}
	}
	if slices.Contains(namesSaid(t, key, "k1"), "k0") {
		t.Error("it has the name that it had")
	}
}

// A vxlan that gets another parent, or none, is as a new one on that: in its sandbox or on the
// host, where its socket is then.
func TestVXLANFromParentToParent(t *testing.T) {
	w := begin(t)
	one, other := w.parent(), w.parent()
	lab := func(key, parent string, vni int) osl.Network {
		return osl.Network{Name: filepath.Base(key), Sandboxes: []osl.Spec{{Name: key, Interfaces: []osl.InterfaceSpec{
			{Name: "br", Type: "bridge"}, {Name: "x", Type: "vxlan", VNI: vni, Parent: parent}}}}}
	}
	key := newKey()
	defer func() { _, err := osl.Down(t.Context(), lab(key, "", 5)); must(t, err) }()
	says := func(key string) map[string]any {
		said := unowned(settingsSaid(t, key, "x"))
		delete(said["linkinfo"].(map[string]any)["info_data"].(map[string]any), "id")
		return said
	}
	parents := []string{"", "br", osl.HostName + "/" + one, osl.HostName + "/" + other}
	for _, from := range parents {
		for _, to := range parents {
			settled(t, lab(key, from, 5))
			settled(t, lab(key, to, 5))
			fresh := newKey()
			settled(t, lab(fresh, to, 6))
			sameJSON(t, fmt.Sprintf("from %q to %q", from, to), says(key), says(fresh))
			_, err := osl.Down(t.Context(), lab(fresh, "", 6))
			must(t, err)
		}
	}
}
