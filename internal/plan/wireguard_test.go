package plan

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/wgkey"
)

const wgKey = "/run/netns/a"

// wgSecret is a key that is the same each time.
func wgSecret(n byte) wgkey.Secret {
	return wgkey.NewSecret([wgkey.Size]byte{8 * n, 0xde, 0xad, 0xbe, 0xef, 31: 64})
}

func wgPrefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// wgWant is a sandbox with a wireguard link that has two peers, one with a preshared key.
func wgWant() []Sandbox {
	return []Sandbox{{Key: wgKey, Prune: true, Ifaces: []Iface{{Name: "wg0", Kind: "wireguard", Addrs: []Addr{{Prefix: netip.MustParsePrefix("10.9.0.1/24")}},
		WireGuard: &WireGuard{Private: wgSecret(1), ListenPort: 51820, FwMark: 5, Peers: []WGPeer{
			{Public: wgSecret(2).Public(), Preshared: wgSecret(20), File: "/etc/a b.psk", Endpoint: netip.MustParseAddrPort("192.0.2.2:51820"), AllowedIPs: wgPrefixes("10.9.0.2/32")},
			{Public: wgSecret(3).Public(), Keepalive: 25, AllowedIPs: wgPrefixes("10.9.0.3/32", "fd00::/64")},
		}}}}}}
}

// wgHave is what the kernel says when that is there.
func wgHave() map[string]*State {
	w := wgWant()[0].Ifaces[0].WireGuard
	have := &rtnl.WireGuard{Index: firstIndex, Public: w.Private.Public(), ListenPort: w.ListenPort, FwMark: w.FwMark}
	for _, p := range w.Peers {
		have.Peers = append(have.Peers, rtnl.WGPeer{Public: p.Public, Preshared: p.Preshared, Endpoint: p.Endpoint, Keepalive: p.Keepalive, AllowedIPs: p.AllowedIPs})
	}
	return map[string]*State{wgKey: {
		Links: []rtnl.Link{{Index: 1, Name: "lo", Flags: linux.IFF_UP, Alias: SandboxTag{}.String(), Inet: rtnl.Inet{DisableIPv6: true}},
			{Index: firstIndex, Name: "wg0", Kind: "wireguard", Flags: linux.IFF_UP, Alias: Tag{Origin: Made, Source: "wg0"}.String(),
				Inet: rtnl.Inet{DisableIPv6: true, HasIPv6State: true}}},
		Addrs:      []rtnl.Addr{{Index: firstIndex, Prefix: netip.MustParsePrefix("10.9.0.1/24"), Proto: rtnl.Protocol}},
		WireGuards: map[int]*rtnl.WireGuard{firstIndex: have}}}
}

// Each change of a wireguard link is a command without a secret, and so is its way back;
// where a secret would be needed for that, the link is set aside. Nothing secret is in the
// tags or in the records of the change.
func TestWireGuard(t *testing.T) {
	peers := [2]string{wgSecret(2).Public().String(), wgSecret(3).Public().String()}
	const private, psk = `private-key '<a file with the private key of wg0, which osl has from no file>'`, `preshared-key '/etc/a b.psk'`
	first := "peer " + peers[0] + " " + psk + " endpoint 192.0.2.2:51820 persistent-keepalive 0 allowed-ips 10.9.0.2/32"
	second := "peer " + peers[1] + " persistent-keepalive 25 allowed-ips 10.9.0.3/32,fd00::/64"
	anew := func(aside string, all string) []string {
		return []string{"ip -n a link set dev wg0 name 'osl~100000'", aside, "ip -n a link add name wg0 type wireguard", all,
			"ip -n a addr add 10.9.0.1/24 dev wg0", "ip -n a link set dev wg0 up", "ip -n a link del dev 'osl~100000'"}
	}
	const wg = "ip netns exec a wg set "
	const unbound = wg + "'osl~100000' listen-port 0"
	for _, x := range []struct {
		what   string
		change func(w *WireGuard, have *rtnl.WireGuard)
		want   []string
		back   string // what takes the last of want back, empty for nothing
	}{
		{"nothing", func(*WireGuard, *rtnl.WireGuard) {}, nil, ""},
		{"a port", func(w *WireGuard, _ *rtnl.WireGuard) { w.ListenPort = 7 }, []string{wg + "wg0 listen-port 7"}, wg + "wg0 listen-port 51820"},
		{"any port", func(w *WireGuard, _ *rtnl.WireGuard) { w.ListenPort = 0 }, nil, ""},
		{"a mark", func(w *WireGuard, _ *rtnl.WireGuard) { w.FwMark = 0 }, []string{wg + "wg0 fwmark 0x0"}, wg + "wg0 fwmark 0x5"},
		{"any endpoint", func(w *WireGuard, _ *rtnl.WireGuard) { w.Peers[0].Endpoint = netip.AddrPort{} }, nil, ""},
		{"an endpoint", func(w *WireGuard, _ *rtnl.WireGuard) { w.Peers[0].Endpoint = netip.MustParseAddrPort("[fd00::1]:9") },
			[]string{wg + "wg0 peer " + peers[0] + " endpoint '[fd00::1]:9'"}, wg + "wg0 peer " + peers[0] + " endpoint 192.0.2.2:51820"},
		{"a first endpoint", func(w *WireGuard, _ *rtnl.WireGuard) { w.Peers[1].Endpoint = netip.MustParseAddrPort("192.0.2.9:9") },
			[]string{wg + "wg0 peer " + peers[1] + " endpoint 192.0.2.9:9"}, wg + "wg0 peer " + peers[1] + " remove " + second},
		{"a keepalive", func(w *WireGuard, _ *rtnl.WireGuard) { w.Peers[0].Keepalive = 9 },
			[]string{wg + "wg0 peer " + peers[0] + " persistent-keepalive 9"}, wg + "wg0 peer " + peers[0] + " persistent-keepalive 0"},
		{"addresses", func(w *WireGuard, _ *rtnl.WireGuard) { w.Peers[1].AllowedIPs = nil },
			[]string{wg + "wg0 peer " + peers[1] + " allowed-ips ''"}, wg + "wg0 peer " + peers[1] + " allowed-ips 10.9.0.3/32,fd00::/64"},
		{"a new peer", func(_ *WireGuard, have *rtnl.WireGuard) { have.Peers = have.Peers[1:] },
			[]string{wg + "wg0 " + first}, wg + "wg0 peer " + peers[0] + " remove"},
		{"a peer that goes", func(w *WireGuard, _ *rtnl.WireGuard) { w.Peers = w.Peers[:1] }, []string{wg + "wg0 peer " + peers[1] + " remove"}, ""},
		{"a peer in the place of another", func(w *WireGuard, have *rtnl.WireGuard) {
			have.Peers = have.Peers[1:]
			w.Peers[0].AllowedIPs = wgPrefixes("fd00::/64")
			w.Peers = w.Peers[:1]
		}, []string{wg + "wg0 peer " + peers[0] + " " + psk + " endpoint 192.0.2.2:51820 persistent-keepalive 0 allowed-ips fd00::/64", wg + "wg0 peer " + peers[1] + " remove"}, ""},
		{"another private key", func(_ *WireGuard, have *rtnl.WireGuard) { have.Public = wgSecret(9).Public() },
			anew(unbound, wg+"wg0 listen-port 51820 fwmark 0x5 "+private+" "+first+" "+second), ""},
		{"another preshared key", func(_ *WireGuard, have *rtnl.WireGuard) { have.Peers[0].Preshared = wgSecret(21) },
			anew(unbound, wg+"wg0 listen-port 51820 fwmark 0x5 "+private+" "+first+" "+second), ""},
		{"a preshared key more", func(_ *WireGuard, have *rtnl.WireGuard) { have.Peers[0].Preshared = wgkey.Secret{} },
			anew(unbound, wg+"wg0 listen-port 51820 fwmark 0x5 "+private+" "+first+" "+second), ""},
		{"a first endpoint of one with a preshared key", func(_ *WireGuard, have *rtnl.WireGuard) { have.Peers[0].Endpoint = netip.AddrPort{} },
			anew(unbound, wg+"wg0 listen-port 51820 fwmark 0x5 "+private+" "+first+" "+second), ""},
	} {
		t.Run(x.what, func(t *testing.T) {
			want, have := wgWant(), wgHave()
			// What is in memory only for as long as it takes: nobody else has the old ones.
			x.change(want[0].Ifaces[0].WireGuard, have[wgKey].WireGuards[firstIndex])
			ops, commit, err := Build(want, have)
			if err != nil {
				t.Fatal(err)
			}
			if got := commands(ops); !slices.Equal(got, x.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(x.want, "\n"))
			}
			if x.back != "" {
				if got := commands(ops[len(ops)-1].Undo); !slices.Equal(got, []string{x.back}) {
					t.Errorf("the way back is\n%s\nwant\n%s", strings.Join(got, "\n"), x.back)
				}
			}
			ops = Journal(ops, commit, func(string, string, int) (string, bool) { return "", false })
			noSecrets(t, ops)
			for _, op := range ops {
				if len(op.Undo) > 0 && op.Last {
					t.Errorf("%+v is last and has a way back", op)
				}
			}
		})
	}
	noSecrets(t, build(t, wgWant(), nil)) // all of it new
}

// noSecrets demands that a secret is nowhere but in what changes a wireguard link, and
// not in what takes that back.
func noSecrets(t *testing.T, ops []Op) {
	t.Helper()
	var said bytes.Buffer
	for _, op := range ops {
		fmt.Fprintf(&said, "%v %+v %#v %s\n", op, op, op, op.Do.Command(op.Dev))
		for _, u := range op.Undo {
			if a, is := u.Do.(SetWireGuard); is && a.Secrets != nil {
				t.Errorf("what takes %s back has secrets", op.Do.Command(op.Dev))
			}
		}
		for _, x := range append([]Op{op}, op.Undo...) {
			if m, is := x.Do.(Message); is {
				said.Write(m.Request(func(string) int { return 3 }).Data)
			}
			if n, is := x.Do.(NewAltName); is {
				for _, r := range ParseRecords(n.Names) {
					if !r.Whole {
						t.Errorf("no record: %v", n.Names)
					}
					said.Write(r.marshal())
				}
			}
		}
	}
	for _, n := range []byte{1, 9, 20, 21} {
		raw := wgSecret(n).Reveal()
		for _, form := range []string{string(raw[:8]), base64.StdEncoding.EncodeToString(raw[:])[:8], fmt.Sprintf("%x", raw[:8]), strings.Trim(fmt.Sprint(raw[:8]), "[]")} {
			if strings.Contains(said.String(), form) {
				t.Errorf("the secret %d is in what is written or printed", n)
			}
		}
	}
}

// Links that take each other's port leave theirs first, and get it back after the other.
func TestWireGuardPorts(t *testing.T) {
	want, have := wgWant(), wgHave()
	two := want[0].Ifaces[0]
	two.Name, two.Addrs = "wg1", nil
	two.WireGuard = &WireGuard{Private: wgSecret(7), ListenPort: 51820}
	want[0].Ifaces[0].WireGuard.ListenPort = 51821
	want[0].Ifaces = append(want[0].Ifaces, two)
	s := have[wgKey]
	l := s.Links[1]
	l.Index, l.Name, l.Alias = firstIndex+1, "wg1", Tag{Origin: Made, Source: "wg1"}.String()
	s.Links = append(s.Links, l)
	s.WireGuards[l.Index] = &rtnl.WireGuard{Index: l.Index, Public: wgSecret(7).Public(), ListenPort: 51821}
	ops := build(t, want, have)
	const wg = "ip netns exec a wg set "
	if got := commands(ops); !slices.Equal(got, []string{wg + "wg0 listen-port 0", wg + "wg1 listen-port 0", wg + "wg0 listen-port 51821", wg + "wg1 listen-port 51820"}) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	var back []Op
	for _, op := range slices.Backward(ops) {
		back = append(back, op.Undo...)
	}
	if got := commands(back); !slices.Equal(got, []string{wg + "wg1 listen-port 0", wg + "wg0 listen-port 0", wg + "wg1 listen-port 51821", wg + "wg0 listen-port 51820"}) {
		t.Errorf("back\n%s", strings.Join(got, "\n"))
	}
}

// A step is told as what it changes, from what to what.
func TestWireGuardSaid(t *testing.T) {
	want, have := wgWant(), wgHave()
	peers := [2]string{wgSecret(2).Public().String(), wgSecret(3).Public().String()}
	w := want[0].Ifaces[0].WireGuard
	w.ListenPort, w.Peers = 7, w.Peers[1:]
	w.Peers[0].Keepalive = 9
	var said []Said
	for _, op := range build(t, want, have) {
		said = append(said, Describe(op))
	}
	p := "peer " + peers[1] + " persistent-keepalive "
	if !slices.Equal(said, []Said{{"wireguard", "listen-port 51820 " + p + "25", "listen-port 7 " + p + "9"}, {"wireguard", "peer " + peers[0], ""}}) {
		t.Errorf("%q", said)
	}
}

// Of the IPv4 neighbors of a wireguard, as of a tun, the kernel keeps no addresses.
func TestWireGuardNeighbor(t *testing.T) {
	want := wgWant()
	want[0].Neighs = []Neigh{{Dev: "wg0", Neigh: rtnl.Neigh{IP: netip.MustParseAddr("10.9.0.9")}}}
	var refused *Problem
	if _, _, err := Build(want, wgHave()); !errors.As(err, &refused) || refused.Kind != Invalid || refused.Field != "neighbors" {
		t.Errorf("%v", err)
	}
}

// The kernel turns the redirects of the namespace off when a wireguard goes up: what takes
// that back turns them on again, where they were, and the record of it says so.
func TestWireGuardRedirects(t *testing.T) {
	for _, on := range []bool{true, false} {
		have := wgHave()
		s := have[wgKey]
		s.Links, s.WireGuards, s.Addrs, s.Redirects = s.Links[:1], nil, nil, on
		ops := build(t, wgWant(), have)
		var back []string
		for _, op := range slices.Backward(ops) {
			back = append(back, commands(op.Undo)...)
		}
		const command = "ip netns exec a sysctl -w net.ipv4.conf.all.send_redirects=1"
		if slices.Contains(back, command) != on {
			t.Errorf("on before: %v; back\n%s", on, strings.Join(back, "\n"))
		}
		ops = Journal(ops, Commit{}, func(string, string, int) (string, bool) { return "", false })
		noted := false
		for _, op := range ops {
			if n, is := op.Do.(NewAltName); is {
				for _, r := range ParseRecords(n.Names) {
					noted = noted || slices.ContainsFunc(r.Steps, func(s Step) bool { return s.Path == SendRedirects && s.Value == "1" })
				}
			}
		}
		if noted != on {
			t.Errorf("on before: %v; noted: %v", on, noted)
		}
	}
	links := []rtnl.Link{{Index: 1, Name: "lo"}, {Index: 2, Name: "wg0", Kind: "wireguard"}}
	own := map[string]string{SendRedirects: "0", "ipv4/conf/default/send_redirects": "1", "ipv4/conf/wg0/send_redirects": "0"}
	if got := Settings(own, map[string]string{SendRedirects: "1"}, links); len(got.Sandbox)+len(got.Links) > 0 {
		t.Errorf("what the kernel does counts as asked for: %v", got)
	}
	if got := Settings(own, map[string]string{SendRedirects: "1"}, links[:1]); got.Sandbox[SendRedirects] != "0" {
		t.Errorf("without a wireguard it is not: %v", got)
	}
}

// A record has what a step changes of a wireguard link, and is refused where it is
// another's or none.
func TestWireGuardRecord(t *testing.T) {
	port, mark, alive := uint16(7), uint32(8), uint16(9)
	set := &rtnl.WGSet{Index: 70, ListenPort: &port, FwMark: &mark, Peers: []rtnl.WGPeerSet{
		{Public: wgSecret(2).Public(), There: true, Endpoint: netip.MustParseAddrPort("[fd00::1]:9"), Keepalive: &alive, Allow: true, AllowedIPs: wgPrefixes("10.0.0.0/8")},
		{Public: wgSecret(3).Public(), Remove: true}}}
	names, ok := Record{Role: Undo, ID: "x", Steps: []Step{{WireGuard: set}}}.Names()
	list := ParseRecords(names)
	if !ok || len(list) != 1 || !list[0].Whole || len(list[0].Steps) != 1 {
		t.Fatalf("%v: %+v", names, list)
	}
	if got, want := list[0].Steps[0].WireGuard.Requests(1, nil), set.Requests(1, nil); fmt.Sprint(got) != fmt.Sprint(want) || len(got) != 3 {
		t.Errorf("read back as\n%v\nwant\n%v", got, want)
	}
	names, _ = Record{Role: Undo, ID: "x", Steps: []Step{{WireGuard: &rtnl.WGSet{Index: loopback}}}}.Names()
	if list := ParseRecords(names); list[0].Whole {
		t.Errorf("a step about lo is read: %+v", list[0])
	}
}
