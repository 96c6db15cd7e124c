//go:build linux

package osltest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// hostNet is a network with a bridge on the host, whose names and subnets begin alike.
func hostNet(name string, subnet string, change func(host *osl.Spec)) osl.Network {
	p := netip.MustParsePrefix
	host := osl.Spec{Name: osl.HostName, Interfaces: []osl.InterfaceSpec{
		{Name: name + "-br", Type: "bridge", Addresses: []netip.Prefix{p(subnet + ".0.1/24")}},
		{Name: name + "-p0", Master: name + "-br", MTU: 1400},
		{Name: name + "-p1", Addresses: []netip.Prefix{p(subnet + ".1.1/24")}},
	}, Routes: []osl.RouteSpec{{To: p(subnet + ".2.0/24"), Via: netip.MustParseAddr(subnet + ".1.2"), Dev: name + "-p1"}}}
	if change != nil {
		change(&host)
	}
	return osl.Network{Name: name, Sandboxes: []osl.Spec{host,
		{Name: name, Interfaces: []osl.InterfaceSpec{{Name: "eth0", Addresses: []netip.Prefix{p(subnet + ".0.2/24")}}, {Name: "eth1", Addresses: []netip.Prefix{p(subnet + ".1.2/24")}}}}},
		Links: []osl.Link{{{Sandbox: name, Interface: "eth0"}, {Sandbox: osl.HostName, Interface: name + "-p0"}},
			{{Sandbox: osl.HostName, Interface: name + "-p1"}, {Sandbox: name, Interface: "eth1"}}}}
}

// Two networks on one host: each makes, changes and takes away its own, and nothing of
// the other's or of the host's.
func TestHostOfTwoNetworks(t *testing.T) {
	w := begin(t)
	own, _ := w.vethUp()
	w.up(own)
	before := snapshot(t, "")
	downAfter(t, "ha")
	downAfter(t, "hb")
	settles(t, hostNet("ha", "10.130", nil))
	onlyA := snapshot(t, "")
	if br, p0, p1 := needLink(t, "", "ha-br"), needLink(t, "", "ha-p0"), needLink(t, "", "ha-p1"); p0.Attrs().MasterIndex != br.Attrs().Index ||
		p0.Attrs().MTU != 1400 || p1.Attrs().MasterIndex != 0 || needLink(t, osl.GenerateKey("ha"), "eth0").Attrs().MTU != 1400 {
		t.Error("the master, or the MTU, of an end on the host is another")
	}
	if got := hostRouteTo(t, "10.130.2.0/24"); got != "via 10.130.1.2 proto 111" {
		t.Errorf("the route is %s", got)
	}
	settles(t, hostNet("hb", "10.131", nil))
	settles(t, hostNet("ha", "10.130", nil))
	_, err := osl.Down(t.Context(), osl.Network{Name: "hb"})
	must(t, err)
	same(t, "the host after the other network", onlyA, func() []string { return snapshot(t, "") })
	// What is dropped goes: an address and a route; a bridge; all of the host.
	settles(t, hostNet("ha", "10.130", func(h *osl.Spec) { h.Routes = nil; h.Interfaces = h.Interfaces[:2] }))
	if got := addrsOf(t, "", "ha-p1"); len(got) > 0 || hostRouteTo(t, "10.130.2.0/24") != "" {
		t.Errorf("the end that is not listed any more has %v, and there is the route %s", got, hostRouteTo(t, "10.130.2.0/24"))
	}
	settles(t, hostNet("ha", "10.130", func(h *osl.Spec) { h.Routes = nil; h.Interfaces = h.Interfaces[2:] }))
	if linkOf(t, "", "ha-br") != nil {
		t.Error("the bridge that the file dropped is there")
	}
	settles(t, hostNet("ha", "10.130", nil))
	n := hostNet("ha", "10.130", nil)
	n.Sandboxes = n.Sandboxes[1:]
	settles(t, n)
	if linkOf(t, "", "ha-br") != nil || len(addrsOf(t, "", "ha-p1")) > 0 {
		t.Error("something of the host that the file dropped is there")
	}
	settles(t, hostNet("ha", "10.130", nil))
	_, err = osl.Down(t.Context(), osl.Network{Name: "ha"})
	must(t, err)
	same(t, "the host after both", before, func() []string { return snapshot(t, "") })
}

func hostRouteTo(t *testing.T, dst string) (text string) {
	t.Helper()
	witness(t, "", func(h *netlink.Handle) {
		list, err := h.RouteList(nil, netlink.FAMILY_V4)
		must(t, err)
		for _, r := range list {
			if r.Dst != nil && r.Dst.String() == dst {
				text = "via " + r.Gw.String() + " proto " + r.Protocol.String()
			}
		}
	})
	return text
}

// What osl does not do on the host is refused before anything is done.
func TestHostRefused(t *testing.T) {
	w := begin(t)
	theirs, _ := w.veth()
	downAfter(t, "ha")
	downAfter(t, "hb")
	settles(t, hostNet("ha", "10.130", nil))
	before := snapshot(t, "")
	for text, change := range map[string]func(n *osl.Network, h *osl.Spec){
		"give it one":                     func(n *osl.Network, h *osl.Spec) { n.Name = "" },
		"it needs a sandbox":              func(n *osl.Network, h *osl.Spec) { n.Sandboxes, n.Links = n.Sandboxes[:1], nil },
		"the host's gateway":              func(n *osl.Network, h *osl.Spec) { h.Gateway = netip.MustParseAddr("10.131.1.2") },
		"the host's rules are not osl's":  func(n *osl.Network, h *osl.Spec) { h.Rules = []osl.RuleSpec{{Table: 7}} },
		"the host has no labels":          func(n *osl.Network, h *osl.Spec) { h.Labels = map[string]string{"a": "b"} },
		"needs a dev that osl makes":      func(n *osl.Network, h *osl.Spec) { h.Routes[0].Dev = theirs },
		"no vxlan":                        func(n *osl.Network, h *osl.Spec) { h.Interfaces[0].Type = "vxlan" },
		"a link of the host is not moved": func(n *osl.Network, h *osl.Spec) { h.Interfaces[0].Type, h.Interfaces[0].Source = "", theirs },
		"the host's lo is not osl's":      func(n *osl.Network, h *osl.Spec) { h.Interfaces[0] = osl.InterfaceSpec{Name: "lo"} },
		"it is no link that osl makes": func(n *osl.Network, h *osl.Spec) {
			h.Interfaces = append(h.Interfaces, osl.InterfaceSpec{Name: theirs})
		},
		"the host has another link": func(n *osl.Network, h *osl.Spec) {
			h.Interfaces = append(h.Interfaces, osl.InterfaceSpec{Name: "ha-p0", Type: "bridge"})
		},
		"is of the network \"ha\"": func(n *osl.Network, h *osl.Spec) {
			h.Interfaces = append(h.Interfaces, osl.InterfaceSpec{Name: "ha-br", Type: "bridge"})
		},
		"a link that osl did not make": func(n *osl.Network, h *osl.Spec) {
			h.Interfaces = append(h.Interfaces, osl.InterfaceSpec{Name: theirs, Type: "bridge"})
		},
		"its master \"" + theirs + "\" is no": func(n *osl.Network, h *osl.Spec) { h.Interfaces[1].Master = theirs },
	} {
		n := hostNet("hb", "10.131", nil)
		change(&n, &n.Sandboxes[0])
		_, err := osl.Apply(t.Context(), n)
		if err == nil || !strings.Contains(err.Error(), text) || !errors.Is(err, osl.ErrInvalid) && !errors.Is(err, osl.ErrNameInUse) && !errors.Is(err, osl.ErrNotFound) {
			t.Errorf("%s: %v", text, err)
		}
	}
	same(t, "the host after refusals", before, func() []string { return snapshot(t, "") })
}

// Forwarding of the host is put back when no network asks for it any more, with what
// each link had.
func TestHostForwarding(t *testing.T) {
	w := begin(t)
	own, other := w.veth()
	downAfter(t, "ha")
	downAfter(t, "hb")
	paths := []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv4/conf/all/accept_redirects", "ipv4/conf/default/forwarding"}
	for _, dev := range []string{own, other} {
		paths = append(paths, "ipv4/conf/"+dev+"/forwarding", "ipv6/conf/"+dev+"/forwarding")
	}
	set := func(path, value string) { must(t, os.WriteFile("/proc/sys/net/"+path, []byte(value), 0o600)) }
	look := func() (list []string) {
		for _, p := range paths {
			list = append(list, p+"="+sysctl(t, "", p))
		}
		return list
	}
	was := look()
	t.Cleanup(func() {
		for _, x := range was {
			path, value, _ := strings.Cut(x, "=")
			set(path, value)
		}
	})
	set("ipv4/ip_forward", "0")
	set("ipv6/conf/all/forwarding", "0")
	set("ipv4/conf/"+own+"/forwarding", "1")
	set("ipv6/conf/"+other+"/forwarding", "1")
	before := look()
	want := func(s ...string) func(h *osl.Spec) {
		return func(h *osl.Spec) {
			h.Sysctls = map[string]string{}
			for _, name := range s {
				h.Sysctls[name] = "1"
			}
		}
	}
	both := []string{"ipv4.ip_forward", "ipv6.conf.all.forwarding"}
	on := func(path string) bool { return sysctl(t, "", path) == "1" }
	settles(t, hostNet("ha", "10.130", want(both...)))
	if !on(paths[0]) || !on(paths[1]) || !on("ipv4/conf/"+other+"/forwarding") {
		t.Error("the host does not forward")
	}
	settles(t, hostNet("hb", "10.131", want(both[0])))
	settles(t, hostNet("ha", "10.130", want(both[1]))) // the other network asks for IPv4 still
	if !on(paths[0]) || !on(paths[1]) {
		t.Error("what a network asks for was put back")
	}
	settles(t, hostNet("ha", "10.130", nil))
	if !on(paths[0]) || on(paths[1]) || !on("ipv6/conf/"+other+"/forwarding") {
		t.Error("IPv6 is not as it was, or IPv4 is")
	}
	settles(t, hostNet("ha", "10.130", want(both...)))
	_, err := osl.Down(t.Context(), osl.Network{Name: "hb"})
	must(t, err)
	if !on(paths[0]) {
		t.Error("what a network asks for was put back with another one")
	}
	_, err = osl.Down(t.Context(), osl.Network{Name: "ha"})
	must(t, err)
	same(t, "the host's settings", before, look)
	// Of a host that forwards already it is known as well who asks for it.
	set("ipv4/ip_forward", "1")
	settles(t, hostNet("ha", "10.130", want(both[0])))
	if net, err := osl.Export(t.Context(), "ha"); err != nil || net.Sandboxes[0].Sysctls[both[0]] != "1" {
		t.Errorf("the network as it stands: %v, %v", net, err)
	}
	_, err = osl.Down(t.Context(), osl.Network{Name: "ha"})
	must(t, err)
	if !on(paths[0]) {
		t.Error("a host that forwarded does not any more")
	}
	// Whoever turns it off there has it off: osl did not turn it on.
	end := []func() error{
		func() error { _, err := osl.Apply(t.Context(), hostNet("ha", "10.130", nil)); return err },
		func() error { _, err := osl.Down(t.Context(), osl.Network{Name: "ha"}); return err },
	}
	for _, end := range end {
		set("ipv4/ip_forward", "1")
		settles(t, hostNet("ha", "10.130", want(both[0])))
		set("ipv4/ip_forward", "0")
		must(t, end())
		if on(paths[0]) {
			t.Error("osl turned forwarding on that was on before, and was turned off")
		}
		// What it turns on later it turns off.
		set("ipv4/ip_forward", "1")
		settles(t, hostNet("ha", "10.130", want(both[0])))
		set("ipv4/ip_forward", "0")
		settles(t, hostNet("ha", "10.130", want(both[0])))
		must(t, end())
		if on(paths[0]) {
			t.Error("forwarding that was turned off, and that osl turned on then, is left on")
		}
	}
	for name, value := range map[string]string{"ipv4.ip_forward": "0", "ipv4.conf.all.rp_filter": "1"} {
		if _, err := osl.Apply(t.Context(), hostNet("ha", "10.130", func(h *osl.Spec) { h.Sysctls = map[string]string{name: value} })); !errors.Is(err, osl.ErrInvalid) {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
}

// A subnet behind an uplink gets out with the uplink's address, as long as the file
// says so. The provider knows nothing of the subnet, so that its answers show it.
func TestFeatureMasquerade(t *testing.T) {
	begin(t)
	downAfter(t, "ha")
	downAfter(t, "hb")
	p := netip.MustParsePrefix
	lab := func(name, subnet string, masquerade ...osl.MasqueradeSpec) osl.Network {
		n := hostNet(name, subnet, func(h *osl.Spec) {
			h.Masquerade, h.Sysctls = masquerade, map[string]string{"ipv4.ip_forward": "1"}
			h.Interfaces[2].Addresses = append(h.Interfaces[2].Addresses, p("2001:db8:1::1/64"))
		})
		n.Sandboxes[1].Gateway = netip.MustParseAddr(subnet + ".0.1")
		n.Sandboxes[1].Interfaces = n.Sandboxes[1].Interfaces[:1]
		n.Links[1][1].Sandbox = name + "isp"
		n.Sandboxes = append(n.Sandboxes, osl.Spec{Name: name + "isp", Interfaces: []osl.InterfaceSpec{{Name: "eth1", Addresses: []netip.Prefix{p(subnet + ".1.2/24")}}}})
		return n
	}
	out := osl.MasqueradeSpec{Subnet: p("10.130.0.0/24"), Uplink: "ha-p1"}
	_, err := osl.Apply(t.Context(), lab("ha", "10.130", out))
	testnet.Feature(t, "masquerade (nftables)", err)
	settles(t, lab("ha", "10.130", out))
	if got := strings.Join(nftRules(t), "\n"); got != "osl_ha postrouting nat: 10.130.0.0/24 by ha-p1" {
		t.Errorf("nftables has\n%s", got)
	}
	if roundTrip(t, "ha", "haisp", "10.130.1.2:7") <= 0 {
		t.Error("no answer comes")
	}
	six := osl.MasqueradeSpec{Subnet: p("fd00::/8"), Uplink: "ha-p1"}
	if did := settles(t, lab("ha", "10.130", out, six)); len(did) == 0 {
		t.Error("another subnet changes nothing")
	}
	settles(t, lab("hb", "10.131", osl.MasqueradeSpec{Subnet: p("10.131.0.0/24"), Uplink: "hb-p1"}))
	// Somebody changes the table.
	c, err := nftables.New()
	must(t, err)
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyINet)
	must(t, err)
	for _, ch := range chains {
		if ch.Table.Name == "osl_ha" {
			c.FlushChain(ch)
		}
	}
	c.AddTable(&nftables.Table{Name: "theirs", Family: nftables.TableFamilyIPv4})
	must(t, c.Flush())
	defer func() {
		c.DelTable(&nftables.Table{Name: "theirs", Family: nftables.TableFamilyIPv4})
		must(t, c.Flush())
	}()
	settles(t, lab("ha", "10.130", out, six))
	if got := strings.Join(nftRules(t), "\n"); got != "osl_ha postrouting nat: 10.130.0.0/24 by ha-p1\nosl_ha postrouting nat: fd00::/8 by ha-p1\nosl_hb postrouting nat: 10.131.0.0/24 by hb-p1" {
		t.Errorf("nftables has\n%s", got)
	}
	// A chain more, and another policy of osl's own.
	drop := nftables.ChainPolicyDrop
	for _, ch := range chains {
		if ch.Table.Name != "osl_ha" {
			continue
		}
		for _, change := range []nftables.Chain{
			{Name: "theirs", Table: ch.Table},
			{Name: ch.Name, Table: ch.Table, Type: ch.Type, Hooknum: ch.Hooknum, Priority: ch.Priority, Policy: &drop},
		} {
			c.AddChain(&change)
			must(t, c.Flush())
			if did := settles(t, lab("ha", "10.130", out, six)); len(did) == 0 {
				t.Errorf("%+v is no difference", change)
			}
		}
	}
	settles(t, lab("ha", "10.130"))
	if got := strings.Join(nftRules(t), "\n"); got != "osl_hb postrouting nat: 10.131.0.0/24 by hb-p1" {
		t.Errorf("nftables has\n%s", got)
	}
	_, err = osl.Down(t.Context(), osl.Network{Name: "hb"})
	must(t, err)
	tables, err := c.ListTables()
	must(t, err)
	if len(tables) != 1 || tables[0].Name != "theirs" {
		t.Errorf("there are the tables %v", tables)
	}
	for text, m := range map[string]osl.MasqueradeSpec{
		"; did you mean \"ha-p": {Subnet: p("10.130.0.0/24"), Uplink: "ha-pl"},
		"write 10.130.0.0/24":   {Subnet: p("10.130.0.1/24"), Uplink: "ha-p1"},
		"the uplink: ":          {Subnet: p("10.130.0.0/24"), Uplink: "a/b"},
	} {
		if _, err := osl.Apply(t.Context(), lab("ha", "10.130", m)); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v: %v", m, err)
		}
	}
}

// nftRules tells what the tables of nftables of the family inet have.
func nftRules(t *testing.T) (list []string) {
	t.Helper()
	c, err := nftables.New()
	must(t, err)
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyINet)
	must(t, err)
	for _, ch := range chains {
		rules, err := c.GetRules(ch.Table, ch)
		must(t, err)
		for _, r := range rules {
			var is [][]byte // what it compares: the family, the first bytes of an address, the device
			ones, masq := -1, false
			for _, e := range r.Exprs {
				switch e := e.(type) {
				case *expr.Bitwise:
					ones, _ = net.IPMask(e.Mask).Size()
				case *expr.Cmp:
					is = append(is, e.Data)
				case *expr.Masq:
					masq = true
				}
			}
			if masq && len(is) == 3 {
				if ones < 0 { // of whole bytes there is no mask
					ones = 8 * len(is[1])
				}
				addr := make(net.IP, map[byte]int{unix.NFPROTO_IPV4: net.IPv4len, unix.NFPROTO_IPV6: net.IPv6len}[is[0][0]])
				copy(addr, is[1])
				list = append(list, fmt.Sprintf("%s %s %s: %v/%d by %s", ch.Table.Name, ch.Name, ch.Type, addr, ones, strings.TrimRight(string(is[2]), "\x00")))
			}
		}
	}
	slices.Sort(list)
	return list
}

// The bridge of the host of which an end becomes a port may be of the same network.
func TestHostMasterOfTheSameNetwork(t *testing.T) {
	begin(t)
	n := lab(t, nil, osl.InterfaceSpec{Name: "e0", Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "far0"}, PeerMaster: "br-lab"})
	n.Sandboxes = append(n.Sandboxes, osl.Spec{Name: osl.HostName, Interfaces: []osl.InterfaceSpec{{Name: "br-lab", Type: "bridge"}}})
	_, err := osl.Apply(t.Context(), n)
	must(t, err)
	if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
		t.Errorf("diff after that: %v %v", c, err)
	}
	if far, br := needLink(t, "", "far0").Attrs(), needLink(t, "", "br-lab").Attrs(); far.MasterIndex != br.Index {
		t.Errorf("far0 has the master %d, and br-lab is %d", far.MasterIndex, br.Index)
	}
}

// What is made on a link of the host may be in the file that makes that, in any order, and
// goes on to another one with it.
func TestHostParentOfTheSameNetwork(t *testing.T) {
	begin(t)
	on := osl.Spec{Name: "b", Interfaces: []osl.InterfaceSpec{{Name: "m0", Type: "macvlan", Parent: "host/x0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24")}},
		{Name: "v0", Type: "vxlan", VNI: 9, Parent: "host/x0", Local: netip.MustParseAddr("fd09::1"), Remote: netip.MustParseAddr("fd09::2")}}}
	end := func(name string) osl.Spec {
		return osl.Spec{Name: "a", Interfaces: []osl.InterfaceSpec{{Name: name, MTU: 1400, Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "x0"}}}}
	}
	host := func(f osl.InterfaceSpec) osl.Spec {
		return osl.Spec{Name: osl.HostName, Interfaces: []osl.InterfaceSpec{f}}
	}
	six := osl.InterfaceSpec{Name: "x0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.8.0.1/24"), netip.MustParsePrefix("fd09::1/64")}}
	bridge := six
	bridge.Type = "bridge"
	for i, list := range [][]osl.Spec{
		{on, end("e0"), host(six)}, {on, end("f0"), host(six)}, {host(six), end("f0"), on}, {on, {Name: "a"}, host(bridge)}, {end("e0"), on, host(six)}, {on, end("e0")},
	} {
		if i == 5 { // the end is no entry of its own, and has no IPv6
			list[0].Interfaces = list[0].Interfaces[:1]
		}
		n := osl.Network{Name: "lab", Sandboxes: list}
		_, err := osl.Apply(t.Context(), n)
		must(t, err)
		if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
			t.Errorf("%d: diff after that: %v %v", i, c, err)
		}
		if m, x := needLink(t, osl.GenerateKey("b"), "m0").Attrs(), needLink(t, "", "x0").Attrs(); m.ParentIndex != x.Index || m.MTU != x.MTU || i != 3 && x.MTU != 1400 {
			t.Errorf("%d: m0 is on %d with the MTU %d, and x0 is %d with %d", i, m.ParentIndex, m.MTU, x.Index, x.MTU)
		}
	}
	down, err := osl.Down(t.Context(), osl.Network{Name: "lab"})
	must(t, err)
	if len(down) == 0 {
		t.Error("nothing went down")
	}
}
