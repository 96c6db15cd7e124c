//go:build linux

package osltest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// TestFeatureTraffic pings over links of each type, between two sandboxes that have a
// veth between them for it to lie on.
func TestFeatureTraffic(t *testing.T) {
	a := netip.MustParseAddr
	v4, v6 := [2]netip.Addr{a("192.0.2.1"), a("192.0.2.2")}, [2]netip.Addr{a("2001:db8::1"), a("2001:db8::2")}
	over := func(ends [2]netip.Addr, s osl.InterfaceSpec) func(i int) []osl.InterfaceSpec {
		return func(i int) []osl.InterfaceSpec {
			s := s
			if s.Type != "geneve" {
				s.Local = ends[i]
			}
			s.Remote = ends[1-i]
			return []osl.InterfaceSpec{s}
		}
	}
	on := func(s osl.InterfaceSpec) func(i int) []osl.InterfaceSpec {
		s.Parent = "u"
		return func(int) []osl.InterfaceSpec { return []osl.InterfaceSpec{s} }
	}
	for name, links := range map[string]func(i int) []osl.InterfaceSpec{
		"macvlan":      on(osl.InterfaceSpec{Type: "macvlan"}),
		"ipvlan l2":    on(osl.InterfaceSpec{Type: "ipvlan", Mode: "l2"}),
		"vlan":         on(osl.InterfaceSpec{Type: "vlan", VLAN: 7, EgressQoSMap: map[string]string{"0": "3"}}),
		"vlan 802.1ad": on(osl.InterfaceSpec{Type: "vlan", VLAN: 7, Protocol: "802.1ad"}),
		"gre":          over(v4, osl.InterfaceSpec{Type: "gre", Key: 7}), "gretap": over(v4, osl.InterfaceSpec{Type: "gretap", TTL: 9}),
		"ip6gre": over(v6, osl.InterfaceSpec{Type: "ip6gre"}), "ip6gretap": over(v6, osl.InterfaceSpec{Type: "ip6gretap", Key: 9}),
		"ipip": over(v4, osl.InterfaceSpec{Type: "ipip"}), "geneve": over(v4, osl.InterfaceSpec{Type: "geneve", VNI: 5}),
		"geneve over IPv6": over(v6, osl.InterfaceSpec{Type: "geneve", VNI: 5}),
		"vxlan remotes": func(i int) []osl.InterfaceSpec {
			return []osl.InterfaceSpec{{Type: "vxlan", VNI: 5, Local: v4[i], Learning: no(), Remotes: []netip.Addr{a("192.0.2.9"), v4[1-i]}}}
		},
		"bond": func(int) []osl.InterfaceSpec {
			return []osl.InterfaceSpec{{Type: "bond", Mode: "active-backup", MIIMon: 100}, {Name: "b1", Master: "k0"}, {Name: "b2", Master: "k0"}}
		},
		"vrf": func(i int) []osl.InterfaceSpec {
			return []osl.InterfaceSpec{{Name: "b1", Master: map[int]string{1: "red"}[i]}, {Name: "red", Type: "vrf", Table: 10}}
		},
		"netkit l2": func(int) []osl.InterfaceSpec { return []osl.InterfaceSpec{{Name: "b1", Type: "netkit", Mode: "l2"}} },
		"netkit l3": func(int) []osl.InterfaceSpec { return []osl.InterfaceSpec{{Name: "b1", Type: "netkit"}} },
	} {
		t.Run(name, func(t *testing.T) {
			begin(t)
			net := osl.Network{Name: "traffic", Links: []osl.Link{{{Sandbox: "l", Interface: "u"}, {Sandbox: "r", Interface: "u"}}},
				Checks: []osl.Check{{From: "l", Ping: a("10.222.0.2")}}}
			for i, sandbox := range []string{"l", "r"} {
				under := osl.InterfaceSpec{Name: "u", Addresses: []netip.Prefix{netip.PrefixFrom(v4[i], 24), netip.PrefixFrom(v6[i], 64)}}
				s := osl.Spec{Name: sandbox, Interfaces: append(links(i), under)}
				if s.Interfaces[0].Name == "" {
					s.Interfaces[0].Name = "k0"
				}
				s.Interfaces[0].Addresses = []netip.Prefix{netip.PrefixFrom(a("10.222.0.1"), 24)}
				if i == 1 {
					s.Interfaces[0].Addresses = []netip.Prefix{netip.PrefixFrom(a("10.222.0.2"), 24)}
				}
				net.Sandboxes = append(net.Sandboxes, s)
			}
			for _, s := range net.Sandboxes[0].Interfaces {
				if s.Name == "b1" || s.Name == "b2" {
					net.Links = append(net.Links, osl.Link{{Sandbox: "l", Interface: s.Name}, {Sandbox: "r", Interface: s.Name}})
				}
			}
			text, err := json.Marshal(net)
			must(t, err)
			cmd := child("osl", "up", "-")
			cmd.Stdin = bytes.NewReader(text)
			out, err := cmd.CombinedOutput()
			defer osl.Down(t.Context(), net)
			if err != nil && strings.Contains(string(out), osl.ErrUnsupported.Error()) {
				err = osl.ErrUnsupported
			} else if err != nil {
				err = errors.New(string(out))
			}
			testnet.Feature(t, "traffic over "+name, err)
		})
	}
}
