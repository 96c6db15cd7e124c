//go:build linux

package osltest

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"pgregory.net/rapid"

	"github.com/seed59451c2b/osl"
)

// drawnKey is the secret of a number, which the kernel keeps as it is; 0 for none.
func drawnKey(n int) (k wgtypes.Key) {
	if n != 0 {
		k[0], k[1], k[31] = byte(8*n), 1, 64
	}
	return k
}

// wireguard draws one, with a port that no other of its sandbox has. Each address is of
// one peer, which may be another one the next time; each peer has an endpoint, since the
// kernel takes none away.
func (r *drawer) wireguard(port int) *osl.WireGuardSpec {
	key := func(what string, list ...int) osl.SecretKey {
		return osl.NewSecretKey(drawnKey(draw(r, what, list...)))
	}
	w := &osl.WireGuardSpec{PrivateKey: key("private key", 1, 1, 2), ListenPort: port, FwMark: draw[uint32](r, "mark", 0, 7)}
	for n := 3; n <= 5; n++ {
		if r.sometimes("peer", 3) {
			continue
		}
		w.Peers = append(w.Peers, osl.WireGuardPeerSpec{PublicKey: osl.NewSecretKey(drawnKey(n)).Public(), PresharedKey: key("preshared key", 0, 0, 6),
			Endpoint:            netip.MustParseAddrPort(draw(r, "endpoint", "192.0.2.7:7", "[2001:db8::7]:7")),
			PersistentKeepalive: draw(r, "keepalive", 0, 25), AllowedIPs: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.200.%d.0/24", n))}})
	}
	for _, ip := range []string{"10.201.0.0/16", "fd20::/64"} {
		if len(w.Peers) > 0 {
			p := &w.Peers[rapid.IntRange(0, len(w.Peers)-1).Draw(r.T, "whose")]
			p.AllowedIPs = append(p.AllowedIPs, netip.MustParsePrefix(ip))
		}
	}
	return w
}

// wgLines says what a wireguard is, its secrets by a hash.
func wgLines(d *wgtypes.Device) (list []string) {
	hash := func(k wgtypes.Key) string { return fmt.Sprintf("%x", sha256.Sum256(k[:]))[:8] }
	list = append(list, fmt.Sprintf("wireguard %s port %d mark %d", hash(d.PrivateKey), d.ListenPort, d.FirewallMark))
	for _, p := range d.Peers {
		var ips []string
		for _, ip := range p.AllowedIPs {
			ips = append(ips, ip.String())
		}
		slices.Sort(ips)
		list = append(list, fmt.Sprintf("wireguard peer %s %s at %v every %v for %s", hash(p.PublicKey), hash(p.PresharedKey), p.Endpoint, p.PersistentKeepaliveInterval, strings.Join(ips, ",")))
	}
	return list
}

// wgDescribed is the wireguard that one is to be.
func wgDescribed(w *osl.WireGuardSpec) *wgtypes.Device {
	raw := func(k osl.SecretKey) (raw wgtypes.Key) {
		for n := range 7 {
			if osl.NewSecretKey(drawnKey(n)).Public() == k.Public() {
				raw = drawnKey(n)
			}
		}
		return raw
	}
	d := &wgtypes.Device{PrivateKey: raw(w.PrivateKey), ListenPort: w.ListenPort, FirewallMark: int(w.FwMark)}
	for _, p := range w.Peers {
		x := wgtypes.Peer{PublicKey: wgtypes.Key(p.PublicKey), PresharedKey: raw(p.PresharedKey), Endpoint: net.UDPAddrFromAddrPort(p.Endpoint),
			PersistentKeepaliveInterval: time.Duration(p.PersistentKeepalive) * time.Second}
		for _, ip := range p.AllowedIPs {
			x.AllowedIPs = append(x.AllowedIPs, net.IPNet{IP: ip.Addr().AsSlice(), Mask: net.CIDRMask(ip.Bits(), ip.Addr().BitLen())})
		}
		d.Peers = append(d.Peers, x)
	}
	return d
}

// rekey gives the wireguards of a network that was read the secrets of the one that it was
// read of: what is read says files.
func rekey(read, of osl.Network) {
	secrets := map[string]*osl.WireGuardSpec{}
	each := func(n osl.Network, do func(name string, w *osl.WireGuardSpec)) {
		for _, s := range n.Sandboxes {
			for _, f := range s.Interfaces {
				if f.WireGuard != nil {
					do(s.Name+"/"+f.Name, f.WireGuard)
				}
			}
		}
	}
	each(of, func(name string, w *osl.WireGuardSpec) { secrets[name] = w })
	each(read, func(name string, w *osl.WireGuardSpec) {
		from := secrets[name]
		if from == nil {
			return
		}
		w.PrivateKey, w.PrivateKeyFile = from.PrivateKey, ""
		for i := range w.Peers {
			for _, p := range from.Peers {
				if p.PublicKey == w.Peers[i].PublicKey {
					w.Peers[i].PresharedKey, w.Peers[i].PresharedKeyFile = p.PresharedKey, ""
				}
			}
		}
	})
}
