package rtnl

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/wgkey"
)

// WireGuardFamily is the generic netlink family of wireguard.
const WireGuardFamily = "wireguard"

// WireGuard is what a wireguard link is, but for its private key.
type WireGuard struct {
	Index      int
	Public     wgkey.Public // none where it has no private key
	ListenPort uint16
	FwMark     uint32
	Peers      []WGPeer
}

// WGPeer is a peer of one.
type WGPeer struct {
	Public     wgkey.Public
	Preshared  wgkey.Secret
	Endpoint   netip.AddrPort
	Keepalive  uint16 // in seconds, 0 for never
	AllowedIPs []netip.Prefix
	// What came of it.
	LastHandshake time.Time
	Rx, Tx        uint64 // bytes
}

// Peer returns the peer with a key, nil where there is none.
func (w *WireGuard) Peer(key wgkey.Public) *WGPeer {
	for i := range w.Peers {
		if w.Peers[i].Public == key {
			return &w.Peers[i]
		}
	}
	return nil
}

// WGSet is what is changed of a wireguard link: all that is no secret, so that it can be
// written down. nil and not valid leave what there is.
type WGSet struct {
	Index      int
	ListenPort *uint16     `json:",omitempty"`
	FwMark     *uint32     `json:",omitempty"`
	Peers      []WGPeerSet `json:",omitempty"`
}

// WGPeerSet is what is changed of a peer.
type WGPeerSet struct {
	Public wgkey.Public
	Remove bool `json:",omitempty"`
	// There leaves it alone where it is not there, instead of making it.
	There     bool           `json:",omitempty"`
	Endpoint  netip.AddrPort `json:",omitzero"`
	Keepalive *uint16        `json:",omitempty"`
	// Allow is that AllowedIPs are what it is to have, and no others.
	Allow      bool           `json:",omitempty"`
	AllowedIPs []netip.Prefix `json:",omitempty"`
}

// WGSecrets are what is told the kernel and nobody else.
type WGSecrets struct {
	Private   wgkey.Secret
	Preshared map[wgkey.Public]wgkey.Secret
}

// Numbers of linux/wireguard.h.
const (
	wgCmdGet = 0
	wgCmdSet = 1

	wgIfindex    = 1
	wgPrivateKey = 3
	wgPublicKey  = 4
	wgListenPort = 6
	wgFwMark     = 7
	wgPeers      = 8

	wgPeerPublicKey  = 1
	wgPeerPreshared  = 2
	wgPeerFlags      = 3
	wgPeerEndpoint   = 4
	wgPeerKeepalive  = 5
	wgPeerHandshake  = 6
	wgPeerRx         = 7
	wgPeerTx         = 8
	wgPeerAllowedIPs = 9

	wgPeerRemove  = 1 // WGPEER_F_REMOVE_ME
	wgPeerReplace = 2 // WGPEER_F_REPLACE_ALLOWEDIPS
	wgPeerThere   = 4 // WGPEER_F_UPDATE_ONLY

	wgAllowedFamily = 1
	wgAllowedAddr   = 2
	wgAllowedMask   = 3
)

// wgMaxIPs is how many allowed addresses go into one message: each takes up to 44 bytes,
// and all of them go into an attribute of 64 KiB.
const wgMaxIPs = 1000

// Messages is how many messages it takes.
func (s *WGSet) Messages() int { return len(s.Requests(0, nil)) }

// Requests returns the messages that make the change: one for the link, and one or more
// for each peer. Each can be sent twice.
func (s *WGSet) Requests(family uint16, secrets *WGSecrets) (list []Request) {
	message := func(f func(b *buffer)) {
		b := genl(wgCmdSet)
		b.u32(wgIfindex, uint32(s.Index))
		f(&b)
		list = append(list, Request{Type: family, Data: b})
	}
	if s.ListenPort != nil || s.FwMark != nil || secrets != nil && !secrets.Private.IsZero() {
		message(func(b *buffer) {
			if secrets != nil && !secrets.Private.IsZero() {
				b.secret(wgPrivateKey, secrets.Private)
			}
			if s.ListenPort != nil {
				b.u16(wgListenPort, *s.ListenPort)
			}
			if s.FwMark != nil {
				b.u32(wgFwMark, *s.FwMark)
			}
		})
	}
	for i := range s.Peers {
		p := &s.Peers[i]
		var preshared wgkey.Secret
		if secrets != nil {
			preshared = secrets.Preshared[p.Public]
		}
		first := true
		for rest := p.AllowedIPs; first || len(rest) > 0; first = false {
			n := min(len(rest), wgMaxIPs)
			message(func(b *buffer) {
				b.nest(wgPeers, func() { b.nest(0, func() { b.wgPeer(p, preshared, first, rest[:n]) }) })
			})
			rest = rest[n:]
		}
	}
	return list
}

func (b *buffer) secret(t uint16, s wgkey.Secret) {
	key := s.Reveal()
	b.bytes(t, key[:])
}

// wgPeer appends what is changed of a peer, or only more of its allowed addresses.
func (b *buffer) wgPeer(p *WGPeerSet, preshared wgkey.Secret, first bool, ips []netip.Prefix) {
	b.bytes(wgPeerPublicKey, p.Public[:])
	flags := uint32(0)
	if p.Remove {
		b.u32(wgPeerFlags, wgPeerRemove)
		return
	}
	if p.There || !first {
		flags |= wgPeerThere
	}
	if p.Allow && first {
		flags |= wgPeerReplace
	}
	b.u32(wgPeerFlags, flags)
	if first {
		if !preshared.IsZero() {
			b.secret(wgPeerPreshared, preshared)
		}
		if p.Endpoint.IsValid() {
			b.bytes(wgPeerEndpoint, sockaddr(p.Endpoint))
		}
		if p.Keepalive != nil {
			b.u16(wgPeerKeepalive, *p.Keepalive)
		}
	}
	if len(ips) == 0 {
		return
	}
	b.nest(wgPeerAllowedIPs, func() {
		for _, ip := range ips {
			b.nest(0, func() {
				family := uint16(linux.AF_INET)
				if ip.Addr().Is6() {
					family = linux.AF_INET6
				}
				b.u16(wgAllowedFamily, family)
				b.ip(wgAllowedAddr, ip.Addr())
				b.u8(wgAllowedMask, uint8(ip.Bits()))
			})
		}
	})
}

// Sizes of struct sockaddr_in and sockaddr_in6.
const (
	sizeofSockaddr4 = 16
	sizeofSockaddr6 = 28
)

func sockaddr(a netip.AddrPort) []byte {
	if a.Addr().Is4() {
		b := make([]byte, sizeofSockaddr4)
		binary.NativeEndian.PutUint16(b, linux.AF_INET)
		binary.BigEndian.PutUint16(b[2:], a.Port())
		copy(b[4:], a.Addr().AsSlice())
		return b
	}
	b := make([]byte, sizeofSockaddr6)
	binary.NativeEndian.PutUint16(b, linux.AF_INET6)
	binary.BigEndian.PutUint16(b[2:], a.Port())
	copy(b[8:], a.Addr().AsSlice())
	return b
}

func parseSockaddr(b []byte) netip.AddrPort {
	switch {
	case len(b) >= sizeofSockaddr6 && getU16(b) == linux.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])), binary.BigEndian.Uint16(b[2:]))
	case len(b) >= sizeofSockaddr4 && getU16(b) == linux.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:]))
	}
	return netip.AddrPort{}
}

// GetWireGuard returns the request that lists what a wireguard link is, in one part or
// several.
func GetWireGuard(family uint16, index int) Request {
	b := genl(wgCmdGet)
	b.u32(wgIfindex, uint32(index))
	return Request{Type: family, Data: b}
}

// ParseWireGuard decodes a part of the answer to GetWireGuard.
func ParseWireGuard(p []byte) (w WireGuard) {
	for t, v := range genlAttrs(p) {
		switch t {
		case wgIfindex:
			w.Index = int(getU32(v))
		case wgPublicKey:
			copy(w.Public[:], v)
		case wgListenPort:
			w.ListenPort = getU16(v)
		case wgFwMark:
			w.FwMark = getU32(v)
		case wgPeers:
			for _, v := range attrs(v) {
				w.Peers = append(w.Peers, parseWGPeer(v))
			}
		}
	}
	return w
}

func parseWGPeer(b []byte) (p WGPeer) {
	for t, v := range attrs(b) {
		switch t {
		case wgPeerPublicKey:
			copy(p.Public[:], v)
		case wgPeerPreshared:
			var key [wgkey.Size]byte
			copy(key[:], v)
			p.Preshared = wgkey.NewSecret(key)
		case wgPeerEndpoint:
			p.Endpoint = parseSockaddr(v)
		case wgPeerKeepalive:
			p.Keepalive = getU16(v)
		case wgPeerHandshake: // two numbers of 64 bits
			if len(v) >= 16 && getU64(v) != 0 {
				p.LastHandshake = time.Unix(int64(getU64(v)), int64(getU64(v[8:])))
			}
		case wgPeerRx:
			p.Rx = getU64(v)
		case wgPeerTx:
			p.Tx = getU64(v)
		case wgPeerAllowedIPs:
			for _, v := range attrs(v) {
				if ip := parseAllowed(v); ip.IsValid() {
					p.AllowedIPs = append(p.AllowedIPs, ip)
				}
			}
		}
	}
	return p
}

func parseAllowed(b []byte) netip.Prefix {
	var ip netip.Addr
	bits := 0
	for t, v := range attrs(b) {
		switch t {
		case wgAllowedAddr:
			ip, _ = netip.AddrFromSlice(v)
		case wgAllowedMask:
			bits = int(getU8(v))
		}
	}
	return netip.PrefixFrom(ip, bits)
}

// JoinWireGuard puts the parts of an answer together: a peer with many addresses goes on
// in the next one. Its addresses are in their order.
func JoinWireGuard(parts []WireGuard) *WireGuard {
	var w WireGuard
	for i := range parts {
		peers := parts[i].Peers
		if i == 0 {
			w = parts[0]
			w.Peers = nil
		}
		for _, p := range peers {
			if last := len(w.Peers) - 1; last >= 0 && w.Peers[last].Public == p.Public {
				w.Peers[last].AllowedIPs = append(w.Peers[last].AllowedIPs, p.AllowedIPs...)
				continue
			}
			w.Peers = append(w.Peers, p)
		}
	}
	for i := range w.Peers {
		slices.SortFunc(w.Peers[i].AllowedIPs, netip.Prefix.Compare)
	}
	return &w
}
