package plan

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
)

func commands(ops []Op) (list []string) {
	for _, op := range ops {
		list = append(list, Commands(op, shell.For("/run"))...)
	}
	return list
}

// lab is a sandbox with a bridge and a port of it, which is one end of a veth
// to another sandbox.
func lab() []Sandbox {
	p := netip.MustParsePrefix
	return []Sandbox{
		{Key: "/run/netns/sw", Prune: true, Ifaces: []Iface{
			{Name: "p1", Kind: "veth", Master: "br0", MadeBy: &End{Key: "/run/netns/web", Name: "eth0", Claimed: true}},
			{Name: "br0", Kind: "bridge", Addrs: []Addr{{Prefix: p("10.0.0.1/24")}}},
		}},
		{Key: "/run/netns/web", Prune: true,
			Ifaces: []Iface{{Name: "eth0", Kind: "veth", Addrs: []Addr{{Prefix: p("10.0.0.2/24")}},
				Peer: &End{Key: "/run/netns/sw", Name: "p1", Claimed: true}}},
			Gateways: []rtnl.Route{{Dst: p("0.0.0.0/0"), Via: netip.MustParseAddr("10.0.0.1")}}},
	}
}

// state is what the kernel holds once the lab is built.
func state() map[string]*State {
	p := netip.MustParsePrefix
	lo := rtnl.Link{Index: 1, Name: "lo", Flags: linux.IFF_UP, Alias: SandboxTag{}.String(), Inet: rtnl.Inet{DisableIPv6: true}}
	link := func(index int, name, kind string, master int) rtnl.Link {
		return rtnl.Link{Index: index, Name: name, Kind: kind, Master: master, Flags: linux.IFF_UP,
			Alias: Tag{Origin: Made, Source: name}.String(), Inet: rtnl.Inet{DisableIPv6: true, HasIPv6State: true}}
	}
	plugged := func(l rtnl.Link, other int) rtnl.Link {
		l.Parent, l.ParentNS = other, true
		return l
	}
	return map[string]*State{
		"/run/netns/sw": {Links: []rtnl.Link{lo, link(firstIndex, "br0", "bridge", 0), plugged(link(firstIndex+1, "p1", "veth", firstIndex), firstIndex)},
			Addrs: []rtnl.Addr{{Index: firstIndex, Prefix: p("10.0.0.1/24"), Proto: rtnl.Protocol}}},
		"/run/netns/web": {Links: []rtnl.Link{lo, plugged(link(firstIndex, "eth0", "veth", 0), firstIndex+1)},
			Addrs:  []rtnl.Addr{{Index: firstIndex, Prefix: p("10.0.0.2/24"), Proto: rtnl.Protocol}},
			Routes: []rtnl.Route{{Dst: p("0.0.0.0/0"), Via: netip.MustParseAddr("10.0.0.1"), Index: firstIndex, Proto: rtnl.Protocol}}},
	}
}

func build(t *testing.T, want []Sandbox, have map[string]*State) []Op {
	t.Helper()
	ops, _, err := Build(want, have)
	if err != nil {
		t.Fatal(err)
	}
	return ops
}

func TestBuildFromNothing(t *testing.T) {
	ops := build(t, lab(), nil)
	want := []string{
		"ip netns add sw",
		"ip -n sw link set dev lo up alias 'osl1;o=s'",
		"ip netns exec sw sysctl -w net.ipv6.conf.default.disable_ipv6=1 net.ipv6.conf.lo.disable_ipv6=1",
		"ip netns add web",
		"ip -n web link set dev lo up alias 'osl1;o=s'",
		"ip netns exec web sysctl -w net.ipv6.conf.default.disable_ipv6=1 net.ipv6.conf.lo.disable_ipv6=1",
		"ip -n sw link add name br0 type bridge",
		"ip -n web link add name eth0 type veth peer name p1 netns sw",
		"ip -n sw link set dev p1 master br0",
		"ip -n sw addr add 10.0.0.1/24 dev br0",
		"ip -n sw link set dev br0 up",
		"ip -n sw link set dev p1 up",
		"ip -n web addr add 10.0.0.2/24 dev eth0",
		"ip -n web link set dev eth0 up",
		"ip -n web route add 0.0.0.0/0 via 10.0.0.1 proto 111",
	}
	if got := commands(ops); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// The marks of new sandboxes go last, that of the leader first and by itself.
	for i, key := range []string{"/run/netns/sw", "/run/netns/web"} {
		op := ops[len(ops)-2+i]
		set, ok := op.Do.(SetLink)
		if !ok || op.NS != key || !op.Final || op.Commit != (i == 0) || op.Alone != op.Commit || *set.Link.Alias != (SandboxTag{}).String() {
			t.Errorf("the mark of %s is cleared by %+v", key, op)
		}
	}
}

// The IPv6 addresses of a link that goes up are said once more, before what needs them.
func TestIPv6AddressesAreSaidAgain(t *testing.T) {
	p := netip.MustParsePrefix
	box := Sandbox{Key: "/run/netns/web", Prune: true, Ifaces: []Iface{{Name: "br0", Kind: "bridge", Addrs: []Addr{{Prefix: p("10.0.0.1/24")}, {Prefix: p("fd00::1/64")}, {Prefix: p("fd01::1/64")}}}},
		Routes: []Route{{Route: rtnl.Route{Dst: p("fd02::/64"), Via: netip.MustParseAddr("fd00::2")}}}}
	var order []string
	for _, op := range build(t, []Sandbox{box}, nil) {
		switch a := op.Do.(type) {
		case SetLink:
			if a.Link.Up != nil && op.Dev == "br0" {
				order = append(order, "up")
			}
		case NewAddr:
			order = append(order, a.Addr.Prefix.String())
		case ReplaceAddr:
			order = append(order, "again "+a.Addr.Prefix.String())
			if !op.Quiet {
				t.Errorf("%v is told twice", a.Addr.Prefix)
			}
		case NewRoute:
			order = append(order, "route")
		}
	}
	want := []string{"10.0.0.1/24", "fd00::1/64", "fd01::1/64", "up", "again fd00::1/64", "again fd01::1/64", "route"}
	if !slices.Equal(order, want) {
		t.Errorf("the order is %v, and not %v", order, want)
	}
}

func TestBuildOfWhatIsThere(t *testing.T) {
	if ops := build(t, lab(), state()); len(ops) != 0 {
		t.Errorf("something to do: %v", commands(ops))
	}
}

// Each thing that is taken away by hand is all that is mended, and its inverse
// takes it away again.
func TestBuildMends(t *testing.T) {
	for _, x := range []struct {
		what string
		harm func(map[string]*State)
		want string
	}{
		{"address", func(s map[string]*State) { s["/run/netns/web"].Addrs = nil }, "ip -n web addr add 10.0.0.2/24 dev eth0"},
		{"gateway", func(s map[string]*State) { s["/run/netns/web"].Routes = nil }, "ip -n web route add 0.0.0.0/0 via 10.0.0.1 proto 111"},
		{"another gateway", func(s map[string]*State) { s["/run/netns/web"].Routes[0].Via = netip.MustParseAddr("10.0.0.9") },
			"ip -n web route replace 0.0.0.0/0 via 10.0.0.1 proto 111"},
		{"state", func(s map[string]*State) { s["/run/netns/sw"].Links[1].Flags = 0 }, "ip -n sw link set dev br0 up"},
		{"master", func(s map[string]*State) { s["/run/netns/sw"].Links[2].Master = 0 }, "ip -n sw link set dev p1 master br0"},
		{"name", func(s map[string]*State) { s["/run/netns/web"].Links[1].Name = "other" }, "ip -n web link set dev other name eth0"},
		{"IPv6", func(s map[string]*State) { s["/run/netns/web"].Links[1].Inet.DisableIPv6 = false },
			"ip netns exec web sysctl -w net.ipv6.conf.eth0.disable_ipv6=1"},
		{"a route of osl that nobody wants", func(s map[string]*State) {
			s["/run/netns/web"].Routes = append(s["/run/netns/web"].Routes, rtnl.Route{Dst: netip.MustParsePrefix("10.9.0.0/16"),
				Via: netip.MustParseAddr("10.0.0.1"), Proto: rtnl.Protocol, Index: firstIndex})
		}, "ip -n web route del 10.9.0.0/16 via 10.0.0.1 dev eth0 proto 111"},
		{"an address of osl that nobody wants", func(s map[string]*State) {
			s["/run/netns/web"].Addrs = append(s["/run/netns/web"].Addrs, rtnl.Addr{Index: firstIndex, Prefix: netip.MustParsePrefix("10.9.0.1/16"), Proto: rtnl.AliasProtocol})
		}, "ip -n web addr del 10.9.0.1/16 dev eth0"},
		{"a link of osl that nobody wants", func(s map[string]*State) {
			s["/run/netns/web"].Links = append(s["/run/netns/web"].Links, rtnl.Link{Index: 9, Name: "vx0", Alias: Tag{Origin: Made, Source: "vx0"}.String()})
		}, "ip -n web link del dev vx0"},
		{"a link of the host that nobody wants", func(s map[string]*State) {
			s["/run/netns/web"].Links = append(s["/run/netns/web"].Links, rtnl.Link{Index: 9, Name: "eth7",
				Alias: Tag{Origin: Host, Source: "wan", MTU: 1500, TxQLen: 1000, Up: true}.String()})
		}, "ip -n web link set dev eth7 netns /proc/$$/ns/net name wan mtu 1500 txqueuelen 1000 up"},
	} {
		s := state()
		x.harm(s)
		ops := build(t, lab(), s)
		if got := commands(ops); !slices.Equal(got, []string{x.want}) {
			t.Errorf("%s: %v, want %s", x.what, got, x.want)
			continue
		}
		last := ops[len(ops)-1]
		if _, gone := last.Do.(DelLink); !gone && !strings.Contains(x.want, "netns /proc/$$") && len(last.Undo) == 0 {
			t.Errorf("%s: nothing undoes %s", x.what, x.want)
		}
	}
}

// What others made is left alone.
func TestBuildLeavesWhatOthersMade(t *testing.T) {
	s := state()
	web := s["/run/netns/web"]
	web.Links = append(web.Links, rtnl.Link{Index: 9, Name: "mine", Kind: "bridge"})
	web.Addrs = append(web.Addrs, rtnl.Addr{Index: firstIndex, Prefix: netip.MustParsePrefix("10.9.0.1/16")})
	if got := commands(build(t, lab(), s)); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func TestBuildRefuses(t *testing.T) {
	for _, x := range []struct {
		what string
		harm func([]Sandbox, map[string]*State)
		kind ProblemKind
	}{
		{"no such master", func(w []Sandbox, _ map[string]*State) { w[0].Ifaces[0].Master = "br9" }, NotFound},
		{"a master that is no bridge", func(w []Sandbox, s map[string]*State) { w[0].Ifaces[1].Kind = "dummy"; clear(s) }, Invalid},
		{"a port without a hardware address", func(w []Sandbox, s map[string]*State) {
			w[0].Ifaces = append(w[0].Ifaces, Iface{Name: "t0", Kind: "tun", Master: "br0"})
			clear(s)
		}, Invalid},
		{"a subnet twice", func(w []Sandbox, _ map[string]*State) { w[0].Ifaces[0].Addrs = w[0].Ifaces[1].Addrs }, Conflict},
		{"a link of another type", func(w []Sandbox, s map[string]*State) {
			w[0].Prune = false
			s["/run/netns/sw"].Links[1].Kind = "dummy"
		}, NameInUse},
		{"a link of others", func(_ []Sandbox, s map[string]*State) {
			s["/run/netns/sw"].Links[1].Alias, s["/run/netns/sw"].Links[1].Kind = "", "dummy"
		}, NameInUse},
		{"a link of others in a sandbox of others", func(_ []Sandbox, s map[string]*State) {
			s["/run/netns/sw"].Links[0].Alias, s["/run/netns/sw"].Links[1].Alias = "", ""
		}, NameInUse},
	} {
		w, s := lab(), state()
		x.harm(w, s)
		_, _, err := Build(w, s)
		var p *Problem
		if !errors.As(err, &p) || p.Kind != x.kind || p.Key == "" || p.Dev == "" {
			t.Errorf("%s: %+v, want kind %d", x.what, err, x.kind)
		}
	}
}

func TestTag(t *testing.T) {
	for _, tag := range []Tag{
		{Origin: Made, Source: "br0"},
		{Origin: Far, Source: "veth-web"},
		{Origin: Host, Source: "a;b=c%d", Index: 7, MAC: []byte{2, 0, 0, 0, 0, 1}, MTU: 1400, TxQLen: 10, Up: true, Alias: "o=x;a=y;w=1"},
		{Origin: Kept, Source: "eth0.100", MTU: 1500},
	} {
		got, ok := ParseTag(tag.String())
		if !ok || got.String() != tag.String() || got.Alias != tag.Alias || got.Source != tag.Source {
			t.Errorf("%q was read as %+v", tag.String(), got)
		}
	}
	for _, s := range []string{"", "eth0", "osl1;", "osl1;o=s", "osl1;o=x;s=a", "osl1;o=h;i=x", "osl2;o=h"} {
		if tag, ok := ParseTag(s); ok {
			t.Errorf("%q was read as %+v", s, tag)
		}
	}
}

func FuzzParseTag(f *testing.F) {
	f.Add(Tag{Origin: Host, Source: "eth0", Index: 3, MAC: []byte{2, 0, 0, 0, 0, 1}, MTU: 1500, Up: true, Alias: "x;y"}.String())
	f.Add("osl1;o=m;s=%41;w=1")
	f.Fuzz(func(t *testing.T, s string) {
		tag, ok := ParseTag(s)
		if !ok {
			return
		}
		again, ok := ParseTag(tag.String())
		if !ok || again.String() != tag.String() {
			t.Errorf("%q was read as %q and then as %q", s, tag, again)
		}
	})
}

func FuzzParseSandboxTag(f *testing.F) {
	f.Add(SandboxTag{UnderWay: true, Labels: map[string]string{"a;b": "c:d", "": "="}}.String())
	f.Fuzz(func(t *testing.T, s string) {
		tag, ok := ParseSandboxTag(s)
		if !ok {
			return
		}
		again, ok := ParseSandboxTag(tag.String())
		if !ok || again.String() != tag.String() {
			t.Errorf("%q was read as %q and then as %q", s, tag, again)
		}
	})
}
