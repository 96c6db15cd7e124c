//go:build linux

package osltest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"pgregory.net/rapid"

	"github.com/seed59451c2b/osl"
)

// TestHostEdits is TestEdits for what a network makes on the host: bridges, and its ends of
// links with what their entries say, under names that go from the one to the other; and
// forwarding and masquerading. What fails leaves the host as it was, and so does Down.
func TestHostEdits(t *testing.T) {
	begin(t)
	uplink := name("up")
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs(uplink), PeerName: uplink + "p"}))
	defer func() { must(t, netlink.LinkDel(needLink(t, "", uplink))) }()
	kinds := probe(t).kinds
	masq := osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "sa"}, {Name: osl.HostName, Masquerade: []osl.MasqueradeSpec{{Subnet: nets("10.30.0.0/24")[0], Uplink: uplink}}}}}
	if _, err := osl.Apply(t.Context(), masq); err == nil {
		kinds = append(kinds, "masquerade")
	} else if !errors.Is(err, osl.ErrUnsupported) {
		t.Fatal(err)
	}
	_, err := osl.Down(t.Context(), masq)
	must(t, err)
	anyInput(t, 12, func(r *rapid.T) {
		d := drawer{T: r, kinds: kinds}
		first := everywhere(t)
		defer d.takesBack(t, first, everywhere)
		for range 5 {
			d.edit(t, edits{look: everywhere, draw: func() osl.Network { return d.onHost(uplink) }, holds: func(n osl.Network) { d.hasOnHost(t, n) }})
		}
	})
}

// onHost draws a network with ends on the host, and mostly entries of it.
func (r *drawer) onHost(uplink string) osl.Network {
	n := osl.Network{Name: "lab"}
	names := rapid.Permutation([]string{"h0", "h1", "h2", "h3", "h4", "h5"}).Draw(r.T, "names")
	next := func() string { defer func() { names = names[1:] }(); return names[0] }
	host, entries := osl.Spec{Name: osl.HostName}, !r.sometimes("no host", 4)
	var bridges []string
	for i := range rapid.IntRange(0, 2).Draw(r.T, "bridges") {
		if !entries {
			break
		}
		f := osl.InterfaceSpec{Name: next(), Type: "bridge"}
		bridges = append(bridges, f.Name)
		r.addressed(&f, 30+i)
		r.settings(&f)
		host.Interfaces = append(host.Interfaces, f)
	}
	for i, name := range []string{"sa", "sb"} {
		if i > 0 && r.sometimes(name, 3) {
			continue
		}
		s := osl.Spec{Name: name}
		for j, dev := range []string{"e0", "e1"} {
			f := osl.InterfaceSpec{Name: dev, Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: next()}}
			r.addressed(&f, 10*i+j)
			switch how := draw(r, "end", "plain", "port", "entry", "entry"); {
			case how == "port" && len(bridges) > 0:
				f.PeerMaster = draw(r, "peer_master", bridges...)
			case how == "entry" && entries:
				e := osl.InterfaceSpec{Name: f.Peer.Interface}
				r.addressed(&e, 50+10*i+j)
				if len(bridges) > 0 && r.sometimes("master", 2) {
					e.Master = draw(r, "master", bridges...)
				}
				r.settings(&e)
				r.offloads(&e)
				e.Down = r.sometimes("down", 5)
				if !e.Down && r.sometimes("route", 2) {
					e.Routes = append(e.Routes, netip.MustParsePrefix(fmt.Sprintf("172.21.%d.0/24", 10*i+j)))
				}
				host.Interfaces = append(host.Interfaces, e)
			}
			s.Interfaces = append(s.Interfaces, f)
			if r.sometimes("one interface", 3) {
				break
			}
		}
		n.Sandboxes = append(n.Sandboxes, s)
	}
	r.macs(host.Interfaces, host.Name)
	if entries {
		host.Sysctls = draw(r, "forwarding", nil, map[string]string{"ipv4.ip_forward": "1"}, map[string]string{"ipv4.ip_forward": "1", "ipv6.conf.all.forwarding": "1"})
		if slices.Contains(r.kinds, "masquerade") && r.sometimes("masquerade", 2) {
			host.Masquerade = append(host.Masquerade, osl.MasqueradeSpec{Subnet: netip.MustParsePrefix(draw(r, "subnet", "10.30.0.0/24", "10.31.0.0/24")), Uplink: uplink})
		}
		n.Sandboxes = append(n.Sandboxes, host)
	}
	return n
}

// addressed draws addresses of a subnet that no other interface has.
func (r *drawer) addressed(f *osl.InterfaceSpec, subnet int) {
	for _, host := range rapid.SliceOfNDistinct(rapid.IntRange(1, 4), 0, 2, rapid.ID).Draw(r.T, "addresses") {
		f.Addresses = append(f.Addresses, netip.MustParsePrefix(fmt.Sprintf("10.%d.0.%d/24", subnet, host)))
	}
	if r.sometimes("IPv6", 3) {
		f.Addresses = append(f.Addresses, netip.MustParsePrefix(fmt.Sprintf("fd%02d::1/64", subnet)))
	}
	f.IPv6 = draw(r, "ipv6", "", "", "link-local")
}

// hasOnHost compares the entries of the host with what the kernel has there, and what is
// exported with all.
func (r *drawer) hasOnHost(t *testing.T, n osl.Network) {
	asRead(r.T, n)
	have, listed := map[string]string{}, map[string]bool{} // masters, and what has an entry
	for _, s := range n.Sandboxes {
		for _, f := range s.Interfaces {
			if f.Peer.Sandbox == osl.HostName {
				have[f.Peer.Interface] = f.PeerMaster
			}
		}
	}
	for _, s := range n.Sandboxes {
		if s.Name != osl.HostName {
			continue
		}
		for _, f := range s.Interfaces {
			have[f.Name], listed[f.Name] = f.Master, true
			l := needLink(t, "", f.Name)
			if mac := macSaid(n.Name, osl.HostName, f, s.Interfaces); mac != "" && mac != l.Attrs().HardwareAddr.String() {
				r.Errorf("the host's %s has %v, not %s", f.Name, l.Attrs().HardwareAddr, mac)
			}
			if f.MTU != 0 && l.Attrs().MTU != f.MTU || (l.Attrs().Flags&1 != 0) == f.Down || (f.Type == "bridge") != (l.Type() == "bridge") {
				r.Errorf("the host's %s: %s of MTU %d, flags %v", f.Name, l.Type(), l.Attrs().MTU, l.Attrs().Flags)
			}
			got := slices.DeleteFunc(addrsOf(t, "", f.Name), func(s string) bool { return strings.HasPrefix(s, "fe80:") })
			if len(got) != len(f.Addresses) {
				r.Errorf("the host's %s has %v, not %v", f.Name, got, f.Addresses)
			}
		}
	}
	for dev, master := range have {
		l, index := needLink(t, "", dev), 0
		if master != "" {
			index = needLink(t, "", master).Attrs().Index
		}
		if !listed[dev] && len(slices.DeleteFunc(addrsOf(t, "", dev), func(s string) bool { return strings.HasPrefix(s, "fe80:") })) > 0 {
			r.Errorf("the host's %s has addresses that nobody asked for", dev)
		}
		if a := l.Attrs(); !listed[dev] && (a.TxQLen != 1000 || a.Group != 0 || a.MTU != 1500 || a.GROMaxSize != 65536) {
			r.Errorf("the host's %s has a queue of %d, the group %d, the MTU %d, gro_max_size %d, which its entry asked for, that is gone", dev, a.TxQLen, a.Group, a.MTU, a.GROMaxSize)
		}
		if l.Attrs().MasterIndex != index {
			r.Errorf("the host's %s is no port of %q", dev, master)
		}
	}
	if all := links(t, ""); len(all) != len(have)+3 { // lo and the uplink
		r.Errorf("the host has %d links, not %d", len(all), len(have)+3)
	}
}
