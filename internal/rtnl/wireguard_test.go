package rtnl

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/wgkey"
)

// What is told the kernel of peers has the form in which it answers: what was sent is
// read, over as many messages as it takes.
func TestWireGuardMessages(t *testing.T) {
	private, preshared := wgkey.Generate(), wgkey.Generate()
	many, few := wgkey.Public{1}, wgkey.Public{2}
	var ips []netip.Prefix
	for i := range 2*wgMaxIPs + 1 {
		ips = append(ips, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24))
	}
	port, mark, alive := uint16(51820), uint32(7), uint16(25)
	set := WGSet{Index: 9, ListenPort: &port, FwMark: &mark, Peers: []WGPeerSet{
		{Public: many, Endpoint: netip.MustParseAddrPort("192.0.2.1:9"), Keepalive: &alive, Allow: true, AllowedIPs: ips},
		{Public: few, Endpoint: netip.MustParseAddrPort("[fd00::1]:10"), AllowedIPs: []netip.Prefix{netip.MustParsePrefix("fd00::/64"), netip.MustParsePrefix("10.0.0.0/8")}},
		{Public: wgkey.Public{3}, Remove: true, Keepalive: &alive}}}
	reqs := set.Requests(77, &WGSecrets{private, map[wgkey.Public]wgkey.Secret{few: preshared}})
	if len(reqs) != 1+3+1+1 || set.Messages() != len(reqs) {
		t.Fatalf("%d messages, %d are told", len(reqs), set.Messages())
	}
	var parts []WireGuard
	for _, r := range reqs {
		if r.Type != 77 || r.Flags != 0 || len(r.Data) > 60<<10 || r.Data[0] != wgCmdSet {
			t.Errorf("a message of %d bytes, type %d, flags %x", len(r.Data), r.Type, r.Flags)
		}
		parts = append(parts, ParseWireGuard(r.Data))
	}
	if got := JoinWireGuard(parts[:1]); got.Index != 9 || got.ListenPort != port || got.FwMark != mark || len(got.Peers) != 0 {
		t.Errorf("the link is %+v", got)
	}
	got := JoinWireGuard(parts)
	if len(got.Peers) != 3 || got.Peer(few) == nil || got.Peer(wgkey.Public{9}) != nil {
		t.Fatalf("%d peers", len(got.Peers))
	}
	if p := got.Peers[0]; p.Public != many || p.Endpoint != set.Peers[0].Endpoint || p.Keepalive != alive || !slices.Equal(p.AllowedIPs, ips) || !p.Preshared.IsZero() {
		t.Errorf("the first peer has %v and %d addresses", p.Endpoint, len(p.AllowedIPs))
	}
	if p := got.Peers[1]; p.Public != few || p.Endpoint != set.Peers[1].Endpoint || !p.Preshared.Equal(preshared) || fmt.Sprint(p.AllowedIPs) != "[10.0.0.0/8 fd00::/64]" {
		t.Errorf("the second peer is %+v", p)
	}
	// A private key is in the first message, and without secrets in none.
	key := private.Reveal()
	if !contains(reqs[0].Data, key[:]) || contains(set.Requests(77, nil)[0].Data, key[:]) {
		t.Error("the private key is not where it belongs")
	}
	// What flags say: the first takes the place of the addresses, others are for a peer
	// that is there.
	for i, want := range []uint32{wgPeerReplace, wgPeerThere, wgPeerThere, 0, wgPeerRemove} {
		for typ, v := range genlAttrs(reqs[1+i].Data) {
			if typ != wgPeers {
				continue
			}
			for _, peer := range attrs(v) {
				for typ, v := range attrs(peer) {
					if typ == wgPeerFlags && getU32(v) != want {
						t.Errorf("message %d: flags %x, want %x", 1+i, getU32(v), want)
					}
				}
			}
		}
	}
}

func contains(b, part []byte) bool {
	for i := 0; i+len(part) <= len(b); i++ {
		if slices.Equal(b[i:i+len(part)], part) {
			return true
		}
	}
	return false
}

// What the kernel says of a peer beside what it was told, and what is cut short.
func TestParseWireGuard(t *testing.T) {
	b := genl(wgCmdGet)
	b.nest(wgPeers, func() {
		b.nest(0, func() {
			b.bytes(wgPeerPreshared, make([]byte, wgkey.Size))
			b.bytes(wgPeerHandshake, []byte{1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0})
			b.bytes(wgPeerRx, []byte{3, 0, 0, 0, 0, 0, 0, 0})
			b.bytes(wgPeerTx, []byte{4, 0, 0, 0, 0, 0, 0, 0})
			b.bytes(wgPeerEndpoint, []byte{linux.AF_INET6, 0, 1})
		})
		b.nest(0, func() { b.bytes(wgPeerHandshake, make([]byte, 16)) })
	})
	w := ParseWireGuard(b)
	if len(w.Peers) != 2 || !w.Peers[1].LastHandshake.IsZero() {
		t.Fatalf("%+v", w)
	}
	if p := w.Peers[0]; !p.LastHandshake.Equal(time.Unix(1, 2)) || p.Rx != 3 || p.Tx != 4 || p.Endpoint.IsValid() || !p.Preshared.IsZero() {
		t.Errorf("%+v", p)
	}
	for n := range b {
		JoinWireGuard([]WireGuard{ParseWireGuard(b[:n]), ParseWireGuard(b)})
	}
	if JoinWireGuard(nil).Index != 0 {
		t.Error("nothing is something")
	}
}
