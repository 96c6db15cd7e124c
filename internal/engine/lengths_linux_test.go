package engine_test

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/engine"

	"github.com/seed59451c2b/osl/internal/plan"
)

// An IPv6 address gets another prefix length: the kernel takes it once, so the
// one before goes first, and is back where a later step fails.
func TestPrefixLengthOfIPv6(t *testing.T) {
	w := world(t, "")
	wanted := func(fails bool, addrs ...string) osl.Network {
		f := osl.InterfaceSpec{Name: "eth0", Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "va"}}
		for _, a := range addrs {
			f.Addresses = append(f.Addresses, netip.MustParsePrefix(a))
		}
		spec := osl.Spec{Name: "a", Interfaces: []osl.InterfaceSpec{f}, Gateway6: netip.MustParseAddr("2001:db8::9")}
		if fails {
			spec.Routes = []osl.RouteSpec{{To: netip.MustParsePrefix("10.66.0.0/16"), Via: netip.MustParseAddr("192.0.2.1")}}
		}
		return osl.Network{Sandboxes: []osl.Spec{spec}}
	}
	apply := func(n osl.Network) error { _, err := osl.Apply(t.Context(), n); return err }
	w.must(apply(wanted(false, "2001:db8::1/64", "2001:db8::2/64")))
	before := w.still()
	if err := apply(wanted(true, "2001:db8::1/48", "2001:db8::2/64")); err == nil {
		t.Fatal("a route without a way went up")
	}
	if p := w.settled(func(p picture) bool { return diff(bare(before), bare(p)) == "" }); diff(bare(before), bare(p)) != "" {
		t.Errorf("it is not as before:\n%s", diff(bare(before), bare(p)))
	}
	for _, addrs := range [][]string{{"2001:db8::1/48", "2001:db8::2/64"}, {"2001:db8::1/64"}, {"2001:db8::1/128", "2001:db8::3/64"}, {"2001:db8::3/48"}} {
		n := wanted(false, addrs...)
		w.must(apply(n))
		out, err := exec.Command("ip", "-n", "a", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "global").Output()
		w.must(err)
		if strings.Count(string(out), "\n") != len(addrs) {
			t.Errorf("%v are to be there:\n%s", addrs, out)
		}
		for _, a := range addrs {
			if !strings.Contains(string(out), " "+a+" ") {
				t.Errorf("%s is not there:\n%s", a, out)
			}
		}
		if c, err := osl.Diff(t.Context(), n); err != nil || len(c) != 0 {
			t.Errorf("left to do: %v %v", c, err)
		}
	}
}

// A route on a device and lo's being up are mended by the commands that are
// printed.
func TestMendedRouteAndLoopback(t *testing.T) {
	w := world(t, "")
	n := osl.Network{Sandboxes: []osl.Spec{{Name: "a", Routes: []osl.RouteSpec{{To: netip.MustParsePrefix("10.66.0.0/16"), Dev: "eth0"}}, Interfaces: []osl.InterfaceSpec{
		{Name: "eth0", Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "va"}, Addresses: []netip.Prefix{netip.MustParsePrefix("10.2.0.1/24")}},
		{Name: "lo", Aliases: []netip.Prefix{netip.MustParsePrefix("10.9.9.9/32")}}}}}}
	_, err := osl.Apply(t.Context(), n)
	w.must(err)
	for _, damage := range []string{"route del 10.66.0.0/16", "link set lo down"} {
		w.ip(append([]string{"-n", "a"}, strings.Fields(damage)...)...)
		c, err := osl.Diff(t.Context(), n)
		w.must(err)
		if len(c) == 0 {
			t.Fatalf("after %s there is nothing to do", damage)
		}
		for _, x := range c {
			w.ip(strings.Fields(x.Command)[1:]...)
		}
		if c, err = osl.Diff(t.Context(), n); err != nil || len(c) != 0 {
			t.Errorf("after %s was mended, left to do: %v %v", damage, c, err)
		}
	}
}

// What osl knows of a link's neighbours goes when the link is let go of.
func TestNeighboursOfAnothersLink(t *testing.T) {
	for name, remove := range map[string]func(n *osl.Namespace) error{
		"Remove": func(n *osl.Namespace) error { return osl.Remove(t.Context(), "a") },
		"Down": func(n *osl.Namespace) error {
			_, err := osl.Down(t.Context(), osl.Network{Sandboxes: []osl.Spec{{Name: "a"}}})
			return err
		},
		"RemoveLink": func(n *osl.Namespace) error { return n.RemoveLink(t.Context(), "mine") },
	} {
		t.Run(name, func(t *testing.T) {
			w := world(t, "")
			w.foreign("a")
			w.ip("-n", "a", "link", "set", "mine", "up")
			_, err := osl.Apply(t.Context(), osl.Network{Sandboxes: []osl.Spec{{Name: "a",
				Interfaces: []osl.InterfaceSpec{{Name: "mine", Addresses: []netip.Prefix{netip.MustParsePrefix("10.5.0.1/24")}}},
				Neighbors:  []osl.NeighborSpec{{Dev: "mine", IP: netip.MustParseAddr("10.5.0.6"), MAC: osl.MAC{2, 0, 0, 0, 0, 6}}}}}})
			w.must(err)
			n, err := osl.Open(t.Context(), "a")
			w.must(err)
			w.open = append(w.open, n)
			w.must(remove(n))
			s, err := engine.ReadState(t.Context(), connOf(t, n), true)
			w.must(err)
			if len(s.Neighs) != 0 {
				t.Errorf("left: %v", s.Neighs)
			}
			if tag, ok := plan.ParseTag(s.Link("mine").Alias); ok {
				t.Errorf("a tag is left: %v", tag)
			}
		})
	}
}

// lengthOf is a network with an IPv6 address beside another, and a gateway.
func lengthOf(addr string) osl.Network {
	f := osl.InterfaceSpec{Name: "eth0", Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "va"},
		Addresses: []netip.Prefix{netip.MustParsePrefix(addr), netip.MustParsePrefix("2001:db8::2/64")}}
	return osl.Network{Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{f}, Gateway6: netip.MustParseAddr("2001:db8::9")}}}
}
