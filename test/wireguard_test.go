//go:build linux

package osltest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// wgSecrets are those of a test, and what of them must be nowhere.
type wgSecrets struct{ raw []wgtypes.Key }

// make returns a secret of the test, as wgctrl and as osl has it.
func (s *wgSecrets) make(t *testing.T) (wgtypes.Key, osl.SecretKey) {
	t.Helper()
	k, err := wgtypes.GeneratePrivateKey()
	must(t, err)
	s.raw = append(s.raw, k)
	if own := osl.NewSecretKey(k).Public(); own != osl.PublicKey(k.PublicKey()) {
		t.Errorf("the public key is %v, wgctrl computes %v", own, k.PublicKey())
	}
	return k, osl.NewSecretKey(k)
}

func (s *wgSecrets) absent(t *testing.T, what, text string) {
	t.Helper()
	for _, k := range s.raw {
		for _, form := range []string{k.String(), strings.TrimRight(k.String(), "="), hex.EncodeToString(k[:]), base64.RawURLEncoding.EncodeToString(k[:]),
			strings.Trim(fmt.Sprint([]byte(k[:])), "[]"), string(k[:])} {
			if strings.Contains(text, form) {
				t.Errorf("%s has a secret in it: %s", what, text)
				return
			}
		}
	}
}

// wgDevice is what wgctrl says of a wireguard link at a key, but for what came of it.
func wgDevice(t *testing.T, key, name string) (d *wgtypes.Device) {
	t.Helper()
	inside(t, key, func() error {
		c, err := wgctrl.New()
		if err != nil {
			return err
		}
		defer c.Close()
		d, err = c.Device(name)
		return err
	})
	for i := range d.Peers {
		d.Peers[i].LastHandshakeTime, d.Peers[i].ReceiveBytes, d.Peers[i].TransmitBytes = time.Time{}, 0, 0
		slices.SortFunc(d.Peers[i].AllowedIPs, func(a, b net.IPNet) int { return strings.Compare(a.String(), b.String()) })
	}
	return d
}

// wgSites are two sites with a wire and WireGuard between them.
func wgSites(east, west, psk osl.SecretKey) osl.Network {
	a, p := netip.MustParseAddrPort, netip.MustParsePrefix
	site := func(name string, key, other osl.SecretKey, host, far string, addr, peer string) osl.Spec {
		return osl.Spec{Name: name, Interfaces: []osl.InterfaceSpec{
			{Name: "u", Addresses: []netip.Prefix{p(host + "/24")}},
			{Name: "wg0", Type: "wireguard", Addresses: []netip.Prefix{p(addr + "/24")}, WireGuard: &osl.WireGuardSpec{
				PrivateKey: key, ListenPort: 51820, FwMark: 7, Peers: []osl.WireGuardPeerSpec{
					{PublicKey: other.Public(), PresharedKey: psk, Endpoint: a(far + ":51820"), PersistentKeepalive: 25,
						AllowedIPs: []netip.Prefix{p(peer + "/32"), p("fd00::/64")}}}}}}}
	}
	return osl.Network{Name: "sites", Links: []osl.Link{{{Sandbox: "east", Interface: "u"}, {Sandbox: "west", Interface: "u"}}},
		Sandboxes: []osl.Spec{site("east", east, west, "192.0.2.1", "192.0.2.2", "10.30.0.1", "10.30.0.2"),
			site("west", west, east, "192.0.2.2", "192.0.2.1", "10.30.0.2", "10.30.0.1")}}
}

// up applies a network and demands that a second look finds nothing to do.
func wgUp(t *testing.T, net osl.Network) osl.Changes {
	t.Helper()
	done, err := osl.Apply(t.Context(), net)
	must(t, err)
	if again, err := osl.Diff(t.Context(), net); err != nil || len(again) > 0 {
		t.Errorf("a second look: %v\n%v", err, again)
	}
	return done
}

func TestFeatureWireGuard(t *testing.T) {
	begin(t)
	var s wgSecrets
	eastKey, east := s.make(t)
	_, west := s.make(t)
	pskKey, psk := s.make(t)
	net := wgSites(east, west, psk)
	done, err := osl.Apply(t.Context(), net)
	defer osl.Down(t.Context(), net)
	testnet.Feature(t, "link wireguard", err)
	s.absent(t, "what Apply says", done.String())
	if !strings.Contains(done.String(), "ip netns exec east wg set wg0 listen-port 51820 fwmark 0x7 private-key '<a file with the private key of wg0") {
		t.Errorf("Apply says\n%v", done)
	}
	wgUp(t, net)

	d := wgDevice(t, "/run/netns/east", "wg0")
	peer := d.Peers[0]
	if d.PrivateKey != eastKey || d.ListenPort != 51820 || d.FirewallMark != 7 || len(d.Peers) != 1 || peer.PublicKey != wgtypes.Key(west.Public()) ||
		peer.PresharedKey != pskKey || peer.Endpoint.String() != "192.0.2.2:51820" || peer.PersistentKeepaliveInterval != 25*time.Second ||
		fmt.Sprint(peer.AllowedIPs) != "[{10.30.0.2 ffffffff} {fd00:: ffffffffffffffff0000000000000000}]" {
		t.Errorf("wgctrl says %+v", d)
	}

	// It carries packets; what the kernel says of that is shown, and no secret.
	ns, err := osl.Open(t.Context(), "east")
	must(t, err)
	defer ns.Close()
	far, err := osl.Open(t.Context(), "west")
	must(t, err)
	defer far.Close()
	l, err := far.ListenPacket(t.Context(), "udp", "10.30.0.2:7")
	must(t, err)
	defer l.Close()
	c, err := ns.DialContext(t.Context(), "udp", "10.30.0.2:7")
	must(t, err)
	defer c.Close()
	_, err = c.Write([]byte("through"))
	must(t, err)
	got := make([]byte, 64)
	must(t, l.SetReadDeadline(time.Now().Add(30*time.Second)))
	if n, from, err := l.ReadFrom(got); err != nil || string(got[:n]) != "through" || !strings.HasPrefix(from.String(), "10.30.0.1:") {
		t.Fatalf("%q from %v: %v", got[:n], from, err)
	}
	st, err := ns.Inspect(t.Context())
	must(t, err)
	i := slices.IndexFunc(st.Interfaces, func(i osl.InterfaceStatus) bool { return i.Name == "wg0" })
	wg := st.Interfaces[i].WireGuard
	if wg == nil || wg.PublicKey != east.Public() || wg.ListenPort != 51820 || wg.FwMark != 7 || len(wg.Peers) != 1 {
		t.Fatalf("Inspect says %+v", wg)
	}
	if p := wg.Peers[0]; !p.Preshared || p.PublicKey != west.Public() || p.RxBytes == 0 || p.TxBytes == 0 || time.Since(p.LatestHandshake) > time.Minute ||
		p.Endpoint.String() != "192.0.2.2:51820" || p.PersistentKeepalive != 25 || len(p.AllowedIPs) != 2 {
		t.Errorf("Inspect says of the peer %+v", p)
	}
	one, err := ns.Interface(t.Context(), "wg0")
	if must(t, err); one.WireGuard == nil || len(one.WireGuard.Peers) != 1 {
		t.Errorf("Interface says %+v", one)
	}
	text, err := json.Marshal(st)
	must(t, err)
	s.absent(t, "Inspect", string(text)+fmt.Sprintf("%+v %#v", st, st))
	s.absent(t, "Info", infoText(ns.Info()))
	out, err := child("osl", "inspect", "east").CombinedOutput()
	if must(t, err); !strings.Contains(string(out), west.Public().String()) || !strings.Contains(string(out), "192.0.2.2:51820") {
		t.Errorf("osl inspect says\n%s", out)
	}
	s.absent(t, "osl inspect", string(out))

	// The network itself, printed.
	text, err = json.Marshal(net)
	must(t, err)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("network", "net", net, "key", east)
	s.absent(t, "the network", string(text)+fmt.Sprintf("%v %+v %#v", net, net, net)+log.String())
}

// What can be changed in place is, and the rest is not: the link is another one then.
func TestFeatureWireGuardChanges(t *testing.T) {
	begin(t)
	var s wgSecrets
	_, east := s.make(t)
	_, west := s.make(t)
	_, psk := s.make(t)
	newKey, other := s.make(t)
	net := func(change func(w *osl.WireGuardSpec)) osl.Network {
		n := wgSites(east, west, psk)
		n.Sandboxes[0].Interfaces[1].Routes = []netip.Prefix{netip.MustParsePrefix("10.31.0.0/16")}
		change(n.Sandboxes[0].Interfaces[1].WireGuard)
		return n
	}
	key, err := osl.KeyPath("east")
	must(t, err)
	index := func() int { return needLink(t, key, "wg0").Attrs().Index }
	nothing := func(*osl.WireGuardSpec) {}
	_, err = osl.Apply(t.Context(), net(nothing))
	defer osl.Down(t.Context(), net(nothing))
	testnet.Feature(t, "wireguard changes", err)
	third := osl.GenerateSecretKey().Public()
	for _, x := range []struct {
		what    string
		change  func(w *osl.WireGuardSpec)
		inPlace bool
		command string
	}{
		{"another port", func(w *osl.WireGuardSpec) { w.ListenPort = 51821 }, true, "wg set wg0 listen-port 51821"},
		{"no mark", func(w *osl.WireGuardSpec) { w.FwMark = 0 }, true, "wg set wg0 fwmark 0"},
		{"another endpoint", func(w *osl.WireGuardSpec) { w.Peers[0].Endpoint = netip.MustParseAddrPort("[2001:db8::9]:99") }, true, " endpoint '[2001:db8::9]:99'"},
		{"other addresses", func(w *osl.WireGuardSpec) {
			w.Peers[0].AllowedIPs = []netip.Prefix{netip.MustParsePrefix("10.30.0.7/24")}
		}, true, " allowed-ips 10.30.0.0/24"},
		{"no addresses", func(w *osl.WireGuardSpec) { w.Peers[0].AllowedIPs = nil }, true, " allowed-ips ''"},
		{"no keepalive", func(w *osl.WireGuardSpec) { w.Peers[0].PersistentKeepalive = 0 }, true, " persistent-keepalive 0"},
		{"another peer, which takes an address over", func(w *osl.WireGuardSpec) {
			w.Peers[0].AllowedIPs = w.Peers[0].AllowedIPs[:1]
			w.Peers = append(w.Peers, osl.WireGuardPeerSpec{PublicKey: third, PresharedKey: psk, AllowedIPs: []netip.Prefix{netip.MustParsePrefix("fd00::/64")}})
		}, true, "peer " + third.String() + " preshared-key '<a file with the preshared key of "},
		{"no peer", func(w *osl.WireGuardSpec) { w.Peers = nil }, true, "peer " + west.Public().String() + " remove"},
		{"another private key", func(w *osl.WireGuardSpec) { w.PrivateKey = other }, false, "private-key"},
		{"another preshared key", func(w *osl.WireGuardSpec) { w.Peers[0].PresharedKey = other }, false, "preshared-key"},
		{"no preshared key", func(w *osl.WireGuardSpec) { w.Peers[0].PresharedKey = osl.SecretKey{} }, false, "private-key"},
	} {
		t.Run(x.what, func(t *testing.T) {
			before, was := wgDevice(t, "/run/netns/east", "wg0"), index()
			done := wgUp(t, net(x.change))
			if (index() == was) != x.inPlace {
				t.Errorf("in place: %v\n%v", index() == was, done)
			}
			if !strings.Contains(done.String(), x.command) {
				t.Errorf("no %q in\n%v", x.command, done)
			}
			s.absent(t, "what Apply says", done.String())
			if d := wgDevice(t, "/run/netns/east", "wg0"); x.what == "another private key" && d.PrivateKey != newKey || fmt.Sprint(d) == fmt.Sprint(before) {
				t.Errorf("wgctrl says %+v", d)
			}
			wgUp(t, net(nothing)) // and back
			if d := wgDevice(t, "/run/netns/east", "wg0"); fmt.Sprint(*d) != fmt.Sprint(*before) {
				t.Errorf("it was\n%+v\nand is\n%+v", before, d)
			}
		})
	}
}

// A change that fails later puts all back, and says no secret.
func TestFeatureWireGuardPutBack(t *testing.T) {
	begin(t)
	var s wgSecrets
	_, east := s.make(t)
	_, west := s.make(t)
	_, psk := s.make(t)
	_, other := s.make(t)
	net := wgSites(east, west, psk)
	_, err := osl.Apply(t.Context(), net)
	defer osl.Down(t.Context(), net)
	testnet.Feature(t, "wireguard put back", err)
	for what, change := range map[string]func(w *osl.WireGuardSpec){
		"in place": func(w *osl.WireGuardSpec) {
			w.FwMark, w.ListenPort, w.Peers = 9, 51999, []osl.WireGuardPeerSpec{{PublicKey: other.Public(), AllowedIPs: w.Peers[0].AllowedIPs}}
		},
		"a key": func(w *osl.WireGuardSpec) { w.PrivateKey = other },
	} {
		t.Run(what, func(t *testing.T) {
			before := wgDevice(t, "/run/netns/east", "wg0")
			bad := wgSites(east, west, psk)
			change(bad.Sandboxes[0].Interfaces[1].WireGuard)
			// The kernel refuses it when all else is done.
			bad.Sandboxes[1].Routes = []osl.RouteSpec{{To: netip.MustParsePrefix("10.77.0.0/16"), Via: netip.MustParseAddr("192.0.2.7"), Src: netip.MustParseAddr("10.99.0.1")}}
			_, err := osl.Apply(t.Context(), bad)
			if err == nil {
				t.Fatal("the route was made")
			}
			s.absent(t, "the error", fmt.Sprintf("%v %+v %#v", err, err, err))
			if d := wgDevice(t, "/run/netns/east", "wg0"); fmt.Sprint(*d) != fmt.Sprint(*before) {
				t.Errorf("it was\n%+v\nand is\n%+v", before, d)
			}
			wgUp(t, net)
		})
	}
}

// The command says no secret, whatever it is asked, and leaves none in the kernel's names.
func TestFeatureWireGuardFile(t *testing.T) {
	begin(t)
	var s wgSecrets
	dir := t.TempDir()
	key := func(file string) string {
		k, _ := s.make(t)
		must(t, os.WriteFile(filepath.Join(dir, file), []byte(k.String()+"\n"), 0o600))
		return k.String()
	}
	eastKey := key("east.key")
	key("west.key")
	pskKey := key("both.psk")
	t.Setenv("OSL_TEST_PSK", pskKey)
	text, err := os.ReadFile("../examples/wireguard.yaml")
	must(t, err)
	file := filepath.Join(dir, "wireguard.yaml")
	must(t, os.WriteFile(file, []byte(strings.Replace(string(text), "preshared_key_file: both.psk", "preshared_key: ${OSL_TEST_PSK}", 1)), 0o600))
	osl1 := func(args ...string) (string, error) {
		out, err := child("osl", args...).CombinedOutput()
		s.absent(t, "osl "+strings.Join(args, " "), string(out))
		return string(out), err
	}
	dry, err := osl1("up", "--dry-run", file)
	if must(t, err); !strings.Contains(dry, "private-key "+filepath.Join(dir, "east.key")) || !strings.Contains(dry, "preshared-key "+filepath.Join(dir, "both.psk")) {
		t.Errorf("the dry run says\n%s", dry)
	}
	out, err := osl1("up", "-o", "json", file)
	defer child("osl", "down", file).Run()
	if err != nil && strings.Contains(out, osl.ErrUnsupported.Error()) {
		err = osl.ErrUnsupported
	} else if err != nil {
		err = errors.New(out)
	}
	testnet.Feature(t, "wireguard of a file", err)
	if out, err := osl1("diff", file); err != nil {
		t.Errorf("another process finds something to do: %v\n%s", err, out)
	}
	for _, args := range [][]string{{"inspect", "east"}, {"inspect", "-o", "json", "east"}, {"inspect", "-o", "yaml", "east"}, {"ls", "-o", "json"}} {
		if out, err := osl1(args...); err != nil {
			t.Errorf("osl %v: %v\n%s", args, err, out)
		}
	}
	// What is exported names files for the keys, which it says how to write.
	out, err = osl1("export", "wireguard")
	must(t, err)
	for _, name := range []string{"osl exec east -- wg show wg0 private-key >east.wg0.key\n", "private_key_file: east.wg0.key", "preshared_key_file: west.wg0.1.psk"} {
		if !strings.Contains(out, name) {
			t.Errorf("osl export has no %q:\n%s", name, out)
		}
	}
	exported := filepath.Join(dir, "exported.yaml")
	must(t, os.WriteFile(exported, []byte(out), 0o600))
	if out, err := osl1("diff", exported); err == nil || !strings.Contains(out, "open "+filepath.Join(dir, "east.wg0.key")) {
		t.Errorf("diff of what was exported, without keys: %v\n%s", err, out)
	}
	for to, from := range map[string]string{"east.wg0.key": "east.key", "west.wg0.key": "west.key", "east.wg0.1.psk": "both.psk", "west.wg0.1.psk": "both.psk"} {
		must(t, os.Link(filepath.Join(dir, from), filepath.Join(dir, to)))
	}
	if out, err := osl1("diff", exported); err != nil || out != "nothing to change\n" {
		t.Errorf("diff of what was exported: %v\n%s", err, out)
	}
	links, err := child("osl", "exec", "east", "--", "ip", "-d", "link").CombinedOutput()
	must(t, err)
	s.absent(t, "what the kernel says of links", string(links))
	// Bad keys, with the file and the line, and without the key.
	for what, x := range map[string]struct{ from, to, says string }{
		"no such file":      {"private_key_file: east.key", "private_key_file: none.key", "wireguard.yaml:19: "},
		"a key for a file":  {"private_key_file: east.key", "private_key_file: " + eastKey, "wireguard.yaml:19: "},
		"half of a key":     {"private_key_file: east.key", "private_key: " + eastKey[:30], "wireguard.yaml:19: "},
		"a misspelt field":  {"private_key_file: east.key", "{private_kye: " + eastKey + "}", "wireguard.yaml:"},
		"a key in a line":   {"private_key_file: east.key", "private_key: " + eastKey + " #\n          listen_prt: 1", "wireguard.yaml:20: "},
		"both":              {"private_key_file: east.key", "private_key_file: east.key\n          private_key: " + eastKey, "wireguard.yaml:"},
		"its own peer":      {"interface: west/wg0", "interface: east/wg0", "wireguard.yaml:22: "},
		"nobody":            {"interface: west/wg0", "interface: west/wg1", `did you mean "west/wg0"`},
		"not the whole net": {"listen_port: 51820", "listen_port: 70000", "wireguard.yaml:20: "},
	} {
		bad := strings.Replace(string(text), x.from, x.to, 1)
		must(t, os.WriteFile(file, []byte(bad), 0o600))
		if out, err := osl1("diff", file); err == nil || !strings.Contains(out, x.says) {
			t.Errorf("%s: %v, no %q in\n%s", what, err, x.says, out)
		}
	}
	must(t, os.WriteFile(file, text, 0o600))
}

// A port that another program has is an error that says so, of a link that stands as of a
// new one, and all is as before.
func TestFeatureWireGuardPortTaken(t *testing.T) {
	begin(t)
	var s wgSecrets
	_, east := s.make(t)
	_, west := s.make(t)
	_, psk := s.make(t)
	net := wgSites(east, west, psk)
	_, err := osl.Apply(t.Context(), net)
	defer osl.Down(t.Context(), net)
	testnet.Feature(t, "wireguard with a port that is taken", err)
	ns, err := osl.Open(t.Context(), "east")
	must(t, err)
	defer ns.Close()
	l, err := ns.ListenPacket(t.Context(), "udp", ":51999")
	must(t, err)
	defer l.Close()
	before := wgDevice(t, "/run/netns/east", "wg0")
	bad := wgSites(east, west, psk)
	g := bad.Sandboxes[0].Interfaces[1].WireGuard
	g.ListenPort, g.FwMark, g.Peers = 51999, 9, nil
	var refused *osl.Error
	if _, err = osl.Apply(t.Context(), bad); !errors.As(err, &refused) || len(refused.Left) > 0 || refused.Interface != "wg0" || !strings.Contains(err.Error(), "the UDP port 51999 is taken") {
		t.Errorf("in place: %v", err)
	}
	more := wgSites(east, west, psk)
	more.Sandboxes[0].Interfaces = append(more.Sandboxes[0].Interfaces, osl.InterfaceSpec{Name: "wg1", Type: "wireguard", WireGuard: &osl.WireGuardSpec{PrivateKey: psk, ListenPort: 51999}})
	if _, err = osl.Apply(t.Context(), more); !errors.As(err, &refused) || len(refused.Left) > 0 || refused.Interface != "wg1" || !strings.Contains(refused.Hint, "has the UDP port") {
		t.Errorf("a new one: %v", err)
	}
	if d := wgDevice(t, "/run/netns/east", "wg0"); fmt.Sprint(*d) != fmt.Sprint(*before) {
		t.Errorf("it was\n%+v\nand is\n%+v", before, d)
	}
	wgUp(t, net)
	must(t, l.Close())
	wgUp(t, bad)
}
