package want

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/wgkey"
	"github.com/seed59451c2b/osl/internal/where"
)

// wgText is a secret as a file has it.
func wgText(s wgkey.Secret) string {
	raw := s.Reveal()
	return wgkey.Public(raw).String() // the same form
}

func TestWireGuard(t *testing.T) {
	east, west, psk := wgkey.Generate(), wgkey.Generate(), wgkey.Generate()
	files := map[string]string{"east.key": wgText(east), "psk": wgText(psk), "bad": "nonsense", "half": wgText(psk)[:30]}
	keys := keys
	keys.File = func(path string) (string, error) {
		if text, ok := files[path]; ok {
			return text, nil
		}
		return "", &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
	}
	end := netip.MustParseAddrPort("192.0.2.2:51820")
	network := func(change func(g *WireGuard, f *Iface)) Network {
		net := Network{Sandboxes: []Sandbox{
			{Name: "east", Interfaces: []Iface{{Name: "wg0", Type: "wireguard", WireGuard: &WireGuard{PrivateKeyFile: "east.key", ListenPort: 51820, Peers: []WireGuardPeer{
				{Interface: Endpoint{"west", "wg0"}, PresharedKeyFile: "psk", Endpoint: end, AllowedIPs: prefixes("fd00::1/64", "10.0.0.1/8", "10.0.0.2/8")},
				{PublicKey: psk.Public(), PersistentKeepalive: 25},
			}}}}},
			{Name: "west", Interfaces: []Iface{{Name: "wg0", Type: "wireguard", WireGuard: &WireGuard{PrivateKey: west}}}},
		}}
		f := &net.Sandboxes[0].Interfaces[0]
		change(f.WireGuard, f)
		return net
	}
	good := network(func(*WireGuard, *Iface) {})
	w, err := good.Plan(keys)
	if err != nil {
		t.Fatal(err)
	}
	g := w[0].Ifaces[0].WireGuard
	if !g.Private.Equal(east) || g.File != "east.key" || g.ListenPort != 51820 || len(g.Peers) != 2 {
		t.Errorf("%+v", g)
	}
	if p := g.Peers[0]; p.Public != west.Public() || !p.Preshared.Equal(psk) || p.File != "psk" || p.Endpoint != end || fmt.Sprint(p.AllowedIPs) != "[10.0.0.0/8 fd00::/64]" {
		t.Errorf("%+v", p)
	}
	for _, x := range []struct {
		what   string
		change func(g *WireGuard, f *Iface)
		field  string
		says   string
	}{
		{"no keys", func(_ *WireGuard, f *Iface) { f.WireGuard = nil }, "type", "needs a private key"},
		{"no key", func(g *WireGuard, _ *Iface) { g.PrivateKeyFile = "" }, "wireguard", "needs a private key"},
		{"another type", func(_ *WireGuard, f *Iface) { f.Type = "dummy" }, "wireguard", "means nothing for a dummy"},
		{"a hardware address", func(_ *WireGuard, f *Iface) { f.MAC = []byte{2, 0, 0, 0, 0, 1} }, "mac", "no hardware address"},
		{"an address by the kernel", func(_ *WireGuard, f *Iface) { f.AddrGenMode = "random" }, "addrgenmode", "a wireguard has none"},
		{"a port", func(g *WireGuard, _ *Iface) { g.ListenPort = 70000 }, "wireguard.listen_port", "70000"},
		{"two keys", func(g *WireGuard, _ *Iface) { g.PrivateKey = psk }, "wireguard.private_key", "there twice"},
		{"no file", func(g *WireGuard, _ *Iface) { g.PrivateKeyFile = "none" }, "wireguard.private_key_file", "open none"},
		{"no key in the file", func(g *WireGuard, _ *Iface) { g.PrivateKeyFile = "bad" }, "wireguard.private_key_file", "the file bad: it is no key"},
		{"half a key in the file", func(g *WireGuard, _ *Iface) { g.Peers[0].PresharedKeyFile = "half" }, "wireguard.peers[0].preshared_key_file", "the file half: it is no key"},
		{"a key for a file", func(g *WireGuard, _ *Iface) { g.PrivateKeyFile = wgText(psk) }, "wireguard.private_key_file", "it is a key"},
		{"nobody", func(g *WireGuard, _ *Iface) { g.Peers[1].PublicKey = wgkey.Public{} }, "wireguard.peers[1].public_key", "needs a public_key"},
		{"two names of one", func(g *WireGuard, _ *Iface) { g.Peers[0].PublicKey = psk.Public() }, "wireguard.peers[0].interface", "one of them"},
		{"another network's", func(g *WireGuard, _ *Iface) { g.Peers[0].Interface.Interface = "wg1" }, "wireguard.peers[0].interface", `did you mean "west/wg0"`},
		{"no sandbox", func(g *WireGuard, _ *Iface) { g.Peers[0].Interface.Sandbox = "north" }, "wireguard.peers[0].interface", "no wireguard north/wg0"},
		{"itself", func(g *WireGuard, _ *Iface) { g.Peers[1].PublicKey = east.Public() }, "wireguard.peers[1].public_key", "of this interface itself"},
		{"twice", func(g *WireGuard, _ *Iface) { g.Peers[1].PublicKey = west.Public() }, "wireguard.peers[1].public_key", "there twice"},
		{"a keepalive", func(g *WireGuard, _ *Iface) { g.Peers[1].PersistentKeepalive = -1 }, "wireguard.peers[1].persistent_keepalive", "-1"},
		{"an endpoint", func(g *WireGuard, _ *Iface) { g.Peers[1].Endpoint = netip.MustParseAddrPort("0.0.0.0:1") }, "wireguard.peers[1].endpoint", "0.0.0.0:1"},
		{"no port", func(g *WireGuard, _ *Iface) { g.Peers[1].Endpoint = netip.MustParseAddrPort("192.0.2.1:0") }, "wireguard.peers[1].endpoint", "192.0.2.1:0"},
		{"an address", func(g *WireGuard, _ *Iface) { g.Peers[1].AllowedIPs = []netip.Prefix{{}} }, "wireguard.peers[1].allowed_ips", "no address"},
		{"an address of another", func(g *WireGuard, _ *Iface) { g.Peers[1].AllowedIPs = prefixes("10.9.9.9/8") }, "wireguard.peers[1].allowed_ips", "of the peer 1 already"},
	} {
		net := network(x.change)
		_, err := net.Plan(keys)
		field, _ := where.Of(err)
		if err == nil || field != x.field || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: field %q, %v", x.what, field, err)
		}
		if err != nil && !errors.Is(err, fault.ErrInvalid) && !errors.Is(err, fault.ErrNotFound) && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", x.what, err)
		}
		for _, secret := range []wgkey.Secret{east, west, psk} {
			if err != nil && strings.Contains(err.Error(), wgText(secret)[:20]) {
				t.Errorf("%s: the error says a key: %v", x.what, err)
			}
		}
	}
	two := network(func(*WireGuard, *Iface) {})
	two.Sandboxes[0].Interfaces = append(two.Sandboxes[0].Interfaces, Iface{Name: "wg1", Type: "wireguard", WireGuard: &WireGuard{PrivateKey: psk, ListenPort: 51820}})
	if _, err := two.Plan(keys); err == nil || !strings.Contains(err.Error(), "that of wg0 already") {
		t.Errorf("one port of two: %v", err)
	}
}
