package engine_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/engine"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// When a sandbox is gone, what its links held outside is too, though another
// handle, or a process, keeps the namespace.
func TestEndsOfLinks(t *testing.T) {
	ctx := t.Context()
	w := world(t, plainVeth)
	b, err := osl.Create(ctx, "b")
	w.must(err)
	defer b.Close()
	for name, end := range map[string]func(n *osl.Namespace) error{
		"Destroy": func(n *osl.Namespace) error { return n.Destroy() },
		"Remove":  func(n *osl.Namespace) error { return osl.Remove(ctx, n.Key()) },
		"Down": func(n *osl.Namespace) error {
			_, err := osl.Down(ctx, osl.Network{Sandboxes: []osl.Spec{{Name: n.Key()}}})
			return err
		},
	} {
		for range 3 {
			n, err := osl.Create(ctx, "a")
			w.must(err)
			conns := []*netlink.Conn{connOf(t, n), connOf(t, b)} // the first keeps it
			w.must(n.AddLinks(ctx, slices.Values([]osl.InterfaceSpec{
				{Name: "eth0", Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "a-host"}},
				{Name: "eth1", Type: "veth", Peer: osl.Endpoint{Sandbox: "b", Interface: "a-b"}},
				{Name: "vx0", Type: "vxlan", VNI: 77, Port: 7777, Parent: "host/vb"},
				{Name: "mv0", Type: "macvlan", Mode: "passthru", Parent: "host/vb"},
			})))
			if err := end(n); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			n.Close()
			for _, conn := range conns {
				links, err := conn.Links(ctx)
				w.must(err)
				for _, l := range links {
					if l.Name != "lo" {
						t.Errorf("%s: %s is there still", name, l.Name)
					}
				}
			}
			if left := onHostNow(t, "a-host"); len(left) > 0 {
				t.Errorf("%s: %q", name, left)
			}
		}
	}
}

// So it is with links that were made by hand: those that osl took over, whose indexes are
// the kernel's and the same in each namespace, and those that are none of its.
func TestEndsOfLinksByHand(t *testing.T) {
	ctx := t.Context()
	w := world(t, "")
	lab := osl.Network{Name: "lab", Sandboxes: []osl.Spec{
		{Name: "a", Interfaces: []osl.InterfaceSpec{
			{Name: "eth0", Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "a-host"}},
			{Name: "eth1", Type: "veth", Peer: osl.Endpoint{Sandbox: "c", Interface: "eth1"}},
		}}, {Name: "c"}}}
	for name, end := range map[string]func() error{
		"Down":   func() error { _, err := osl.Down(ctx, lab); return err },
		"Remove": func() error { return errors.Join(osl.Remove(ctx, "a"), osl.Remove(ctx, "c")) },
	} {
		_, err := osl.Apply(ctx, lab)
		w.must(err)
		w.batch("netns exec a ip link del eth0\nnetns exec a ip link del eth1\n" +
			"link add a-host index 61 type veth peer name eth0 index 61 netns a\n" +
			"netns exec a ip link add eth1 index 62 type veth peer name eth1 index 62 netns c\n" +
			"link add other index 63 type veth peer name mine index 63 netns a\n")
		_, err = osl.Apply(ctx, lab)
		w.must(err)
		a, err := osl.Open(ctx, "a")
		w.must(err)
		conn := connOf(t, a) // which keeps it
		w.must(end())
		for _, link := range []string{"a-host", "other"} {
			if _, err := onTheHost(link); err == nil {
				t.Errorf("%s: %s is there still", name, link)
			}
		}
		links, err := conn.Links(ctx)
		if err != nil || len(links) != 1 {
			t.Errorf("%s: in the sandbox there are %d links, %v", name, len(links), err)
		}
		a.Close()
	}
}

// Links are made in the order in which they stand on each other, however they are
// listed.
func TestOrderOfLinks(t *testing.T) {
	ctx := t.Context()
	w := world(t, "")
	net := osl.Network{Sandboxes: []osl.Spec{
		{Name: "sw", Interfaces: []osl.InterfaceSpec{
			{Name: "v2", Type: "macvlan", Parent: "mv1", Master: "br0"},
			{Name: "mv1", Type: "macvlan", Parent: "mv0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.1.0.1/24")}},
			{Name: "mv0", Type: "macvlan", Parent: "lan"},
			{Name: "br0", Type: "bridge"},
		}},
		{Name: "h", Interfaces: []osl.InterfaceSpec{{Name: "v3", Type: "macvlan", Parent: "eth0", MTU: 2000}, {Name: "eth0", MTU: 2000}}},
	}, Links: []osl.Link{{{Sandbox: "h", Interface: "eth0"}, {Sandbox: "sw", Interface: "lan"}}}}
	if _, err := osl.Apply(ctx, net); err != nil {
		t.Fatal(err)
	}
	if c, err := osl.Diff(ctx, net); err != nil || len(c) > 0 {
		t.Errorf("after it: %v, %v", c, err)
	}
	_, err := osl.Down(ctx, net)
	w.must(err)
	loop := osl.Network{Sandboxes: []osl.Spec{{Name: "l", Interfaces: []osl.InterfaceSpec{
		{Name: "a", Type: "macvlan", Parent: "b"}, {Name: "b", Type: "vlan", VLAN: 2, Parent: "c"}, {Name: "c", Type: "macvlan", Parent: "a"}}}}}
	if _, err := osl.Apply(ctx, loop); !errors.Is(err, osl.ErrInvalid) || !strings.Contains(err.Error(), "a on b on c on a") {
		t.Errorf("a loop: %v", err)
	}
}

// An MTU that one end of a veth is given holds for both, unless the other has one.
func TestMTUOfAPair(t *testing.T) {
	ctx := t.Context()
	w := world(t, "")
	mtu := func(key, name string) int {
		t.Helper()
		conn, err := engine.DialHost()
		w.must(err)
		defer conn.Close()
		if key != "" {
			n, err := osl.Open(ctx, key)
			w.must(err)
			defer n.Close()
			conn = connOf(t, n)
		}
		var l rtnl.Link
		w.must(conn.One(ctx, rtnl.GetLink(0, name, &l)))
		return l.MTU
	}
	for _, want := range []int{3000, 4000} {
		net := osl.Network{Sandboxes: []osl.Spec{
			{Name: "a", Interfaces: []osl.InterfaceSpec{{Name: "eth0", MTU: want, Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "a-host"}}, {Name: "eth1", MTU: want}}},
			{Name: "b", Interfaces: []osl.InterfaceSpec{{Name: "eth2", MTU: 2000}}},
		}, Links: []osl.Link{{{Sandbox: "b", Interface: "eth1"}, {Sandbox: "a", Interface: "eth1"}}, {{Sandbox: "a", Interface: "eth2"}, {Sandbox: "b", Interface: "eth2"}}}}
		net.Sandboxes[0].Interfaces = append(net.Sandboxes[0].Interfaces, osl.InterfaceSpec{Name: "eth2", MTU: want})
		if _, err := osl.Apply(ctx, net); err != nil {
			t.Fatal(err)
		}
		if c, err := osl.Diff(ctx, net); err != nil || len(c) > 0 {
			t.Errorf("after it: %v, %v", c, err)
		}
		if a, b, c, d := mtu("", "a-host"), mtu("b", "eth1"), mtu("a", "eth2"), mtu("b", "eth2"); a != want || b != want || c != want || d != 2000 {
			t.Errorf("%d, %d, %d and %d, want %d three times and 2000", a, b, c, d, want)
		}
	}
	_, err := osl.Down(ctx, osl.Network{Sandboxes: []osl.Spec{{Name: "a"}, {Name: "b"}}})
	w.must(err)
}

// Two sandboxes with links between them, removed at once: neither is in the other's
// way, and a third that has links to both can be used meanwhile.
func TestRemoveAtOnce(t *testing.T) {
	ctx := t.Context()
	w := world(t, "")
	c, err := osl.Create(ctx, "c")
	w.must(err)
	defer c.Close()
	for range 5 {
		a, err := osl.Create(ctx, "a")
		w.must(err)
		b, err := osl.Create(ctx, "b")
		w.must(err)
		var links []osl.InterfaceSpec
		for i := range 10 {
			links = append(links, osl.InterfaceSpec{Name: fmt.Sprint("b", i), Type: "veth", Peer: osl.Endpoint{Sandbox: "b", Interface: fmt.Sprint("a", i)}},
				osl.InterfaceSpec{Name: fmt.Sprint("c", i), Type: "veth", Peer: osl.Endpoint{Sandbox: "c", Interface: fmt.Sprint("a", i)}})
		}
		w.must(a.AddLinks(ctx, slices.Values(links)))
		errs := make(chan error, 3)
		go func() { errs <- a.Destroy() }()
		go func() { errs <- b.Destroy() }()
		go func() { errs <- c.AddLink(ctx, osl.InterfaceSpec{Name: "br", Type: "bridge"}) }()
		w.must(errors.Join(<-errs, <-errs, <-errs))
		w.must(c.RemoveLink(ctx, "br"))
		left, err := connOf(t, c).Links(ctx)
		w.must(err)
		if len(left) != 1 {
			t.Errorf("%d links are left", len(left))
		}
	}
}
