//go:build linux

package osltest

import (
	"crypto/sha256"
	"net"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
)

// macOf is the hardware address of an interface by its name, as docs/file.md says it.
func macOf(network, sandbox, iface string) string {
	sum := sha256.Sum256([]byte(network + "/" + sandbox + "/" + iface))
	m := net.HardwareAddr(sum[:6])
	m[0] = m[0]&0xfe | 2
	return m.String()
}

// The addresses that the policy gives are the same after Down and up again, also of a network in
// another order; another network, and another name, have others. Those that are asked for later
// come with a change that can fail, and those that the file drops stay.
func TestMACPolicy(t *testing.T) {
	begin(t)
	lab(t, nil)
	at := func(box, dev string) osl.Endpoint { return osl.Endpoint{Sandbox: box, Interface: dev} }
	var n osl.Network
	n.Name = "lab"
	f := func(f osl.InterfaceSpec) osl.InterfaceSpec { f.MACPolicy = "persistent"; return f }
	said := osl.MAC{2, 0, 0, 0, 0, 9}
	n.Sandboxes = []osl.Spec{
		{Name: "sa", Interfaces: []osl.InterfaceSpec{f(osl.InterfaceSpec{Name: "br", Type: "bridge"}), f(osl.InterfaceSpec{Name: "p", Master: "br"}),
			f(osl.InterfaceSpec{Name: "mv", Type: "macvlan", Parent: "br"}), f(osl.InterfaceSpec{Name: "vx", Type: "vxlan", VNI: 7, Master: "br"}),
			f(osl.InterfaceSpec{Name: "ifb", Type: "ifb"}), f(osl.InterfaceSpec{Name: "said", Type: "bridge", MAC: said}), f(osl.InterfaceSpec{Name: "seg", Segment: "blue"})}},
		{Name: "sb", Interfaces: []osl.InterfaceSpec{f(osl.InterfaceSpec{Name: "p", IPv6: "link-local"}), f(osl.InterfaceSpec{Name: "up"})}},
		{Name: osl.HostName, Interfaces: []osl.InterfaceSpec{f(osl.InterfaceSpec{Name: name("h"), Addresses: prefixes("10.99.0.1/24")})}}}
	host := n.Sandboxes[2].Interfaces[0].Name
	n.Links = []osl.Link{{at("sa", "p"), at("sb", "p")}, {at("sb", "up"), at(osl.HostName, host)}}
	check := func(what string, n osl.Network) {
		t.Helper()
		settled(t, n)
		for _, s := range n.Sandboxes {
			for _, f := range s.Interfaces {
				key := map[bool]string{false: osl.GenerateKey(s.Name)}[s.Name == osl.HostName]
				want := macOf(n.Name, s.Name, f.Name)
				if f.MAC != nil {
					want = f.MAC.String()
				}
				if got := needLink(t, key, f.Name).Attrs().HardwareAddr.String(); got != want {
					t.Errorf("%s: %s/%s has %s, not %s", what, s.Name, f.Name, got, want)
				}
			}
		}
	}
	check("first", n)
	six := addrsOf(t, osl.GenerateKey("sb"), "p")
	if n := linkLocalOf(macOf("lab", "sb", "p")); !strings.Contains(strings.Join(six, " "), n) {
		t.Errorf("the IPv6 address of sb/p is %v, not %s", six, n)
	}
	_, err := osl.Down(t.Context(), n)
	must(t, err)
	n.Links[0][0], n.Links[0][1] = n.Links[0][1], n.Links[0][0]
	n.Sandboxes[0], n.Sandboxes[1] = n.Sandboxes[1], n.Sandboxes[0]
	check("after Down", n)

	bare := n
	bare.Sandboxes = nil
	for _, s := range n.Sandboxes {
		c := s
		c.Interfaces = nil
		for _, f := range s.Interfaces {
			f.MACPolicy = ""
			c.Interfaces = append(c.Interfaces, f)
		}
		bare.Sandboxes = append(bare.Sandboxes, c)
	}
	if c, err := osl.Diff(t.Context(), bare); err != nil || len(c) > 0 {
		t.Errorf("without the policy the addresses stay: %v\n%s", err, c)
	}
	_, err = osl.Down(t.Context(), n)
	must(t, err)
	settled(t, bare)
	before := flat(t)
	if _, err := osl.Apply(t.Context(), failing(n)); err == nil || strings.Contains(err.Error(), "left behind") {
		t.Errorf("a change that fails: %v", err)
	}
	same(t, "after a change that fails", before, func() []string { return flat(t) })
	check("asked for later", n)

	for i := range n.Sandboxes {
		if n.Sandboxes[i].Name == "sa" {
			n.Sandboxes[i].Name = "sc"
		}
	}
	n.Links[0][1] = at("sc", "p")
	check("with another name", n)
	_, err = osl.Down(t.Context(), n)
	must(t, err)
	n.Name = "lab2"
	check("of another network", n)
	_, err = osl.Down(t.Context(), n)
	must(t, err)
}

// macSaid is the hardware address that an interface of the model is to have, empty for any.
func macSaid(network, box string, f osl.InterfaceSpec, all []osl.InterfaceSpec) string {
	switch {
	case f.MAC != nil:
		return f.MAC.String()
	case f.MACPolicy == "persistent" && f.Source == "" && f.Type != "vlan" && hasMAC(f, all):
		return macOf(network, box, f.Name)
	}
	return ""
}

// linkLocalOf is the link-local address that the kernel makes of a hardware address.
func linkLocalOf(mac string) string {
	m, _ := net.ParseMAC(mac)
	ip := net.IP{0xfe, 0x80, 0, 0, 0, 0, 0, 0, m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]}
	return ip.String()
}
