//go:build linux

package osltest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
)

// addressed is an interface with addresses as they are written for the ip command.
func addressed(name string, list ...string) osl.InterfaceSpec {
	f := osl.InterfaceSpec{Name: name, AddressOptions: map[netip.Prefix]osl.AddressOptions{}}
	if name != "lo" {
		f.Type, f.Peer = "veth", osl.Endpoint{Sandbox: "sa", Interface: "e1"}
	}
	for _, text := range list {
		words := strings.Fields(text)
		p, o, alias := netip.MustParsePrefix(words[0]), osl.AddressOptions{}, false
		for i, word := range words {
			switch word {
			case "peer":
				o.Peer = netip.MustParseAddr(words[i+1])
			case "scope":
				o.Scope = words[i+1]
			case "noprefixroute":
				o.NoPrefixRoute = true
			case "alias":
				alias = true
			}
		}
		if f.AddressOptions[p] = o; alias {
			f.Aliases = append(f.Aliases, p)
		} else {
			f.Addresses = append(f.Addresses, p)
		}
	}
	return f
}

// renewals are edits of what the kernel does not change of an address that is there, by the
// addresses before and after; each also goes back.
var renewals = map[string][2][]string{
	"another peer of the only one":    {{"10.0.0.1/32 peer 10.0.0.2"}, {"10.0.0.1/32 peer 10.0.0.3"}},
	"a peer in the subnet":            {{"10.0.0.1/24", "10.0.0.2/24"}, {"10.0.0.1/24 peer 10.0.0.9", "10.0.0.2/24"}},
	"a peer in another subnet":        {{"10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24"}, {"10.0.0.1/24 peer 10.9.0.1", "10.0.0.2/24", "10.0.0.3/24"}},
	"a peer in the subnet of another": {{"10.0.0.1/24", "10.0.0.2/24", "10.1.0.1/24"}, {"10.0.0.1/24 peer 10.1.0.9", "10.0.0.2/24", "10.1.0.1/24"}},
	"a scope of all":                  {{"10.0.0.1/24", "10.0.0.2/24 alias"}, {"10.0.0.1/24 scope link", "10.0.0.2/24 alias scope link"}},
	"a flag of one of several":        {{"10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24"}, {"10.0.0.1/24", "10.0.0.2/24 noprefixroute", "10.0.0.3/24"}},
	"a flag of the first":             {{"10.3.0.1/24", "10.0.0.1/24", "10.1.0.1/24", "10.0.0.2/24"}, {"10.3.0.1/24", "10.0.0.1/24 noprefixroute", "10.1.0.1/24", "10.0.0.2/24"}},
	"a flag of an alias IP":           {{"10.0.0.1/24", "10.0.0.2/32 alias"}, {"10.0.0.1/24", "10.0.0.2/32 alias noprefixroute"}},
	"all at once":                     {{"10.0.0.1/24 peer 10.0.0.9", "10.1.0.1/24", "10.2.0.1/32"}, {"10.0.0.1/24", "10.1.0.1/24 noprefixroute", "10.2.0.1/32 peer 10.2.0.2"}},
	"one beside those that go":        {{"10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24", "10.0.0.4/24"}, {"10.0.0.2/24 noprefixroute", "10.0.0.4/24"}},
	"one that gets the place of one":  {{"10.0.0.1/24", "10.1.0.1/24"}, {"10.1.0.1/24 peer 10.0.0.9"}},
	"another scope of another":        {{"10.1.0.1/24", "10.0.0.1/24"}, {"10.1.0.1/24", "10.0.0.2/24 scope link"}},
	"an IPv6 peer":                    {{"fd00::1/64", "fd01::1/64", "fd02::1/64"}, {"fd00::1/64", "fd01::1/64 peer fd01::2", "fd02::1/64"}},
	"another IPv6 peer":               {{"fd00::1/64 peer fd00::2", "fd01::1/64", "10.0.0.1/24"}, {"fd00::1/64 peer fd03::2", "fd01::1/64", "10.0.0.1/24 peer 10.0.0.2"}},
	"an IPv6 peer of one address":     {{"fd00::1/128 peer fd00::2", "fd01::1/64"}, {"fd00::1/128", "fd01::1/64"}},
}

// What the kernel does not change of an address that is there takes it away, and makes it again
// in its place. All else stays: addresses, also those of others, routes by it, neighbors.
func TestAddressesComeAgain(t *testing.T) {
	for what, x := range renewals {
		for i, promote := range []string{"0", "1"} {
			for turn := range 2 {
				foreign := i != turn // each at least once with each
				t.Run(fmt.Sprintf("%s/promote %s, %v", what, promote, x[turn]), func(t *testing.T) { comesAgain(t, x[turn], x[1-turn], promote, foreign) })
			}
		}
	}
}

func comesAgain(t *testing.T, before, after []string, promote string, foreign bool) {
	begin(t)
	via, first := "192.0.2.9", netip.Prefix{}
	for _, text := range before { // the first that stays, with the families that there are
		if p := netip.MustParsePrefix(strings.Fields(text)[0]); !first.IsValid() && strings.Contains(strings.Join(after, " "), p.String()) {
			first = p
		}
	}
	to := []string{"172.24.0.0/16", "172.25.0.0/16", "172.26.0.0/16"}
	if first.Addr().Is6() {
		via, to = "fe80::9", []string{"fd88::/48", "fd89::/48", "fd90::/48"}
	}
	network := func(list []string) osl.Network {
		s := osl.Spec{Name: "sa", Interfaces: []osl.InterfaceSpec{addressed("e0", list...), {Name: "e1"}}, Sysctls: map[string]string{"ipv4.conf.all.promote_secondaries": promote},
			Nexthops:  []osl.NexthopSpec{{ID: 5, Via: netip.MustParseAddr(via), Dev: "e0"}},
			Neighbors: []osl.NeighborSpec{{Dev: "e0", IP: first.Addr().Prev(), MAC: osl.MAC(mac("02:00:00:00:00:09"))}}}
		src := first.Addr()
		s.Routes = []osl.RouteSpec{{To: netip.MustParsePrefix(to[0]), Dev: "e0", Src: src},
			{To: netip.MustParsePrefix(to[1]), NextHops: []osl.NextHop{{Via: netip.MustParseAddr(via), Dev: "e0"}}, Src: src, Table: 77},
			{To: netip.MustParsePrefix(to[2]), Nexthop: 5, Src: src}}
		return osl.Network{Name: "lab", Sandboxes: []osl.Spec{s}}
	}
	down := func() {
		_, err := osl.Down(t.Context(), osl.Network{Name: "lab"})
		must(t, err)
	}
	settled(t, network(after))
	fresh := addrsInOrder(t, "sa", "e0")
	down()
	defer down()
	settled(t, network(before))
	key := osl.GenerateKey("sa")
	six := map[bool]string{true: "-6", false: "-4"}[first.Addr().Is6()]
	for _, line := range []string{ // what others have put there
		"route add 198.18.0.0/15 dev e0 mtu 1300",
		"neigh add 198.18.0.9 lladdr 02:00:00:00:00:08 dev e0 nud permanent",
		six + " route add " + map[string]string{"-6": "fd98::/48", "-4": "203.0.113.0/24"}[six] + " dev e0 src " + first.Addr().String(),
		six + " route add " + map[string]string{"-6": "fd99::/48 via fe80::7", "-4": "198.51.100.0/24 via 192.0.2.7 onlink"}[six] + " dev e0 metric 7 table 99 src " + first.Addr().String(),
	} {
		if slices.ContainsFunc(before, func(s string) bool { return strings.Contains(s, ".") }) || !strings.Contains(line, "198.18.") {
			nsenter(t, key, append([]string{"ip"}, strings.Fields(line)...)...)
		}
	}
	stranger := func(s string) bool { return strings.HasPrefix(s, "10.99.0.") || strings.HasPrefix(s, "fd9f::") }
	strange := 0
	if foreign {
		for _, a := range []string{"10.99.0.1/24", "10.99.0.2/24", "fd9f::1/64"} {
			if strings.HasPrefix(a, "10.") || first.Addr().Is6() {
				nsenter(t, key, "ip", "addr", "add", a, "dev", "e0", "nodad")
				strange++
			}
		}
	}
	was, order := snapshot(t, key), addrsInOrder(t, "sa", "e0")
	if _, err := osl.Apply(t.Context(), failing(network(after))); err == nil || strings.Contains(err.Error(), "left behind") {
		t.Fatal(err)
	}
	same(t, "the sandbox after a change that failed", was, func() []string { return snapshot(t, key) })
	if got := addrsInOrder(t, "sa", "e0"); !slices.Equal(got, order) {
		t.Errorf("after a change that failed the addresses are\n%s\nthey were\n%s", strings.Join(got, "\n"), strings.Join(order, "\n"))
	}
	settled(t, network(after))
	asRead(t, network(after))
	stays := func(list []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(s string) bool {
			return strings.HasPrefix(s, "address e0") && !stranger(strings.TrimPrefix(s, "address e0 ")) || strings.Contains(s, " proto kernel ")
		})
	}
	same(t, "what is no address", stays(was), func() []string { return stays(snapshot(t, key)) })
	got := slices.DeleteFunc(addrsInOrder(t, "sa", "e0"), stranger)
	if len(after) > len(before) { // those that come are the last
		slices.Sort(got)
		slices.Sort(fresh)
	}
	if !slices.Equal(got, fresh) {
		t.Errorf("the addresses are\n%s\nand when the network is made\n%s", strings.Join(got, "\n"), strings.Join(fresh, "\n"))
	}
	if got := slices.DeleteFunc(addrsInOrder(t, "sa", "e0"), func(s string) bool { return !stranger(s) }); len(got) != strange {
		t.Errorf("of others there is %v", got)
	}
}

// A route of others that can not be again when its source has come again is in the way.
func TestAddressAndRouteOfOthers(t *testing.T) {
	begin(t)
	n := lab(t, nil, addressed("e0", "10.0.0.1/24"), osl.InterfaceSpec{Name: "e1"})
	settled(t, n)
	key := osl.GenerateKey("sa")
	nsenter(t, key, "ip", "route", "add", "198.51.100.0/24", "via", "10.0.0.9", "src", "10.0.0.1")
	before := snapshot(t, key)
	n.Sandboxes[0].Interfaces[0] = addressed("e0", "10.0.0.1/24 noprefixroute")
	_, err := osl.Apply(t.Context(), n)
	refused(t, "without its subnet", err, osl.ErrUnreachable, "route of others to 198.51.100.0/24", "10.0.0.1")
	same(t, "the sandbox", before, func() []string { return snapshot(t, key) })
	nsenter(t, key, "ip", "route", "del", "198.51.100.0/24")
	settled(t, n)
}

// So it is on lo, beside what the kernel gives it.
func TestLoopbackAddressesComeAgain(t *testing.T) {
	begin(t)
	network := func(list ...string) osl.Network { return lab(t, nil, addressed("lo", list...)) }
	one := network("10.255.0.1/32", "127.0.0.53/8", "fd00::1/128", "fd01::1/128")
	two := network("10.255.0.1/32 scope link", "127.0.0.53/8 noprefixroute", "fd00::1/128 peer fd00::2", "fd01::1/128")
	for _, n := range []osl.Network{one, two, one} {
		was, had := settled(t, n), addrsInOrder(t, "sa", "lo")
		_, err := osl.Down(t.Context(), n)
		must(t, err)
		settled(t, n)
		if fresh := addrsInOrder(t, "sa", "lo"); !slices.Equal(had, fresh) {
			t.Errorf("after\n%s\nlo has\n%s\nand when the network is made\n%s", was, strings.Join(had, "\n"), strings.Join(fresh, "\n"))
		}
	}
}

// Somebody who mends an address by hand may have made another one of it.
func TestMendedAddressComesAgain(t *testing.T) {
	begin(t)
	n := lab(t, nil, bridgeNamed("e0", "10.0.0.1/24", "10.0.0.2/24", "fd00::1/64"))
	settled(t, n)
	want := addrsInOrder(t, "sa", "e0")
	for _, line := range []string{"del 10.0.0.1/24", "add 10.0.0.1/24 noprefixroute", "del fd00::1/64", "add fd00::1/64 noprefixroute"} {
		nsenter(t, osl.GenerateKey("sa"), append([]string{"ip", "addr"}, append(strings.Fields(line), "dev", "e0")...)...)
	}
	settled(t, n)
	if got := addrsInOrder(t, "sa", "e0"); !slices.Equal(got, want) {
		t.Errorf("the addresses are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// An IPv6 address that somebody gave by hand, and that the kernel found to be another's, is no
// use to anyone: it comes again without the look for duplicates, and the diff says so.
func TestAddressThatFailedDAD(t *testing.T) {
	begin(t)
	lab := func(addrs ...string) osl.Network {
		return osl.Network{Name: "lab", Sandboxes: []osl.Spec{
			{Name: "edge", Interfaces: []osl.InterfaceSpec{{Name: "e0", Addresses: prefixes(addrs...)}}},
			{Name: "core", Interfaces: []osl.InterfaceSpec{{Name: "c0", Addresses: prefixes("fd01::2/64")}}},
		}, Links: []osl.Link{{{Sandbox: "edge", Interface: "e0"}, {Sandbox: "core", Interface: "c0"}}}}
	}
	defer func() { _, err := osl.Down(t.Context(), lab()); must(t, err) }()
	settled(t, lab("fd01::1/64"))
	for _, knob := range []string{"accept_dad", "dad_transmits"} {
		ipCommand(t, "netns", "exec", "edge", "sysctl", "-qw", "net.ipv6.conf.e0."+knob+"=1")
	}
	ipCommand(t, "-n", "edge", "addr", "add", "fd01::2/64", "dev", "e0")
	failed := func() string { return ipCommand(t, "-n", "edge", "-6", "addr", "show", "dev", "e0", "dadfailed") }
	eventually(t, "the address is found to be another's", func() bool { return strings.Contains(failed(), "fd01::2") })
	both := lab("fd01::1/64", "fd01::2/64")
	if c, err := osl.Diff(t.Context(), both); err != nil || !strings.Contains(c.String(), "addr add fd01::2/64") {
		t.Errorf("diff: %v\n%s", err, c)
	}
	settled(t, both)
	if got := failed(); strings.Contains(got, "fd01::2") {
		t.Errorf("after that there is\n%s", got)
	}
}
