package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
	"github.com/seed59451c2b/osl/internal/wgkey"
)

// WireGuard is what a wireguard link is to be.
type WireGuard struct {
	Private    wgkey.Secret
	File       string // that Private is from, empty for none
	ListenPort uint16 // 0 for whatever it has
	FwMark     uint32
	Peers      []WGPeer
}

// WGPeer is a peer of one: Endpoint not valid is whatever it has.
type WGPeer struct {
	Public     wgkey.Public
	Preshared  wgkey.Secret
	File       string // that Preshared is from
	Endpoint   netip.AddrPort
	Keepalive  uint16
	AllowedIPs []netip.Prefix // masked, in their order
}

// peer returns the wanted peer with a key, nil for none.
func (w *WireGuard) peer(key wgkey.Public) *WGPeer {
	for i := range w.Peers {
		if w.Peers[i].Public == key {
			return &w.Peers[i]
		}
	}
	return nil
}

// SetWireGuard changes a wireguard link. Its inverses have no secrets: where one would
// be needed the link is replaced.
type SetWireGuard struct {
	Set     rtnl.WGSet
	Secrets *rtnl.WGSecrets // nil for none
	Wanted  *WireGuard      // whose files the command names, nil for none
}

// Command returns the command that does the same, which names the files of secrets. Of
// one that is from no file it says so where the file would be.
func (a SetWireGuard) Command(dev string) string {
	var b strings.Builder
	b.WriteString("wg set " + shell.Quote(dev))
	if a.Set.ListenPort != nil {
		fmt.Fprintf(&b, " listen-port %d", *a.Set.ListenPort)
	}
	if a.Set.FwMark != nil {
		fmt.Fprintf(&b, " fwmark %#x", *a.Set.FwMark)
	}
	if a.Secrets != nil && !a.Secrets.Private.IsZero() {
		b.WriteString(" private-key " + keyFile(a.Wanted.File, "private key of "+dev))
	}
	for _, p := range a.Set.Peers {
		fmt.Fprintf(&b, " peer %s", p.Public)
		if p.Remove {
			b.WriteString(" remove")
			continue
		}
		if a.Secrets != nil && !a.Secrets.Preshared[p.Public].IsZero() {
			b.WriteString(" preshared-key " + keyFile(a.Wanted.peer(p.Public).File, "preshared key of "+p.Public.String()))
		}
		if p.Endpoint.IsValid() {
			fmt.Fprintf(&b, " endpoint %s", shell.Quote(p.Endpoint.String()))
		}
		if p.Keepalive != nil {
			b.WriteString(" persistent-keepalive " + strconv.Itoa(int(*p.Keepalive)))
		}
		if p.Allow {
			var list []string
			for _, ip := range p.AllowedIPs {
				list = append(list, ip.String())
			}
			b.WriteString(" allowed-ips " + shell.Quote(strings.Join(list, ",")))
		}
	}
	return b.String()
}

// removes reports whether it takes peers away and does nothing else.
func (a SetWireGuard) removes() bool {
	return a.Set.ListenPort == nil && a.Set.FwMark == nil && !slices.ContainsFunc(a.Set.Peers, func(p rtnl.WGPeerSet) bool { return !p.Remove })
}

func keyFile(path, what string) string {
	if path == "" {
		path = "<a file with the " + what + ", which osl has from no file>"
	}
	return shell.Quote(path)
}

// secrets are those of a link that is made, or of peers that come.
func (w *WireGuard) secrets(private wgkey.Secret, peers []rtnl.WGPeerSet) *rtnl.WGSecrets {
	s := &rtnl.WGSecrets{Private: private, Preshared: map[wgkey.Public]wgkey.Secret{}}
	for _, p := range peers {
		if psk := w.peer(p.Public).Preshared; !psk.IsZero() {
			s.Preshared[p.Public] = psk
		}
	}
	return s
}

// whole returns what makes a peer.
func (p *WGPeer) whole() rtnl.WGPeerSet {
	return rtnl.WGPeerSet{Public: p.Public, Endpoint: p.Endpoint, Keepalive: &p.Keepalive, Allow: true, AllowedIPs: p.AllowedIPs}
}

// newWireGuard plans what a wireguard link is that is made.
func (p *phases) newWireGuard(key, dev string, index int, w *WireGuard) {
	if w == nil {
		return
	}
	set := rtnl.WGSet{Index: index}
	if w.ListenPort != 0 {
		set.ListenPort = &w.ListenPort
	}
	if w.FwMark != 0 {
		set.FwMark = &w.FwMark
	}
	for i := range w.Peers {
		set.Peers = append(set.Peers, w.Peers[i].whole())
	}
	p.decide = append(p.decide, Op{NS: key, Dev: dev, Do: SetWireGuard{set, w.secrets(w.Private, set.Peers), w}})
}

// SendRedirects is a setting that the kernel turns off when a wireguard goes up.
const SendRedirects = "ipv4/conf/all/send_redirects"

// redirects returns what else takes it back that a link goes up.
func (b *builder) redirects(key, dev, kind string) []Op {
	if s := b.have[key]; kind != "wireguard" || s == nil || !s.Redirects {
		return nil
	}
	return []Op{{NS: key, Dev: dev, Do: Sysctl{Setting: Setting{Path: SendRedirects, Value: "1"}}}}
}

// rekeyed says which secret of a link would have to change, or come to be needed to take
// the change back: empty for none. Such a link is replaced, since what changes in place
// has to be written down so that it can be put back.
func rekeyed(w *WireGuard, have *rtnl.WireGuard) string {
	if w == nil || have == nil {
		return ""
	}
	if w.Private.Public() != have.Public {
		return "with another private key"
	}
	for i := range w.Peers {
		p := &w.Peers[i]
		h := have.Peer(p.Public)
		switch {
		case h == nil:
		case !p.Preshared.Equal(h.Preshared):
			return fmt.Sprintf("with another preshared key of the peer %v", p.Public)
		case !h.Preshared.IsZero() && p.Endpoint.IsValid() && !h.Endpoint.IsValid():
			// The kernel takes no endpoint away, and without its key the peer can not be
			// made anew.
			return fmt.Sprintf("without an endpoint of the peer %v", p.Public)
		}
	}
	return ""
}

// wireguard plans what changes of a wireguard link that stays. Peers that nobody wants
// go when all else is done, since their secrets go with them.
func (b *builder) wireguard(w *Sandbox, f *Iface, k *known, l *rtnl.Link) {
	have := k.WireGuards[l.Index]
	if f.WireGuard == nil || have == nil {
		return
	}
	to, back := rtnl.WGSet{Index: l.Index}, rtnl.WGSet{Index: l.Index}
	port := have.ListenPort
	if b.unbound[place{w.Key, l.Index}] {
		port = 0
	}
	if f.WireGuard.ListenPort != 0 && f.WireGuard.ListenPort != port {
		to.ListenPort, back.ListenPort = &f.WireGuard.ListenPort, &port
	}
	if f.WireGuard.FwMark != have.FwMark {
		to.FwMark, back.FwMark = &f.WireGuard.FwMark, &have.FwMark
	}
	var fresh []rtnl.WGPeerSet
	wanted := map[netip.Prefix]bool{}
	for i := range f.WireGuard.Peers {
		p := &f.WireGuard.Peers[i]
		for _, ip := range p.AllowedIPs {
			wanted[ip] = true
		}
		h := have.Peer(p.Public)
		if h == nil {
			to.Peers, fresh = append(to.Peers, p.whole()), append(fresh, p.whole())
			back.Peers = append(back.Peers, rtnl.WGPeerSet{Public: p.Public, Remove: true})
			continue
		}
		if set, undo := p.changed(h); len(undo) > 0 {
			to.Peers, back.Peers = append(to.Peers, set), append(back.Peers, undo...)
		}
	}
	gone := rtnl.WGSet{Index: l.Index}
	for i := range have.Peers {
		h := &have.Peers[i]
		if f.WireGuard.peer(h.Public) != nil || !w.Prune {
			continue
		}
		gone.Peers = append(gone.Peers, rtnl.WGPeerSet{Public: h.Public, Remove: true})
		if slices.ContainsFunc(h.AllowedIPs, func(ip netip.Prefix) bool { return wanted[ip] }) {
			// The kernel gives an address to the peer that is told last.
			back.Peers = append(back.Peers, rtnl.WGPeerSet{Public: h.Public, There: true, Allow: true, AllowedIPs: h.AllowedIPs})
		}
	}
	if to.Messages() > 0 {
		b.decide = append(b.decide, Op{NS: w.Key, Dev: f.Name, Do: SetWireGuard{to, f.WireGuard.secrets(wgkey.Secret{}, fresh), f.WireGuard}, Half: true,
			Undo: []Op{{NS: w.Key, Dev: f.Name, Do: SetWireGuard{Set: back}}}})
	}
	if len(gone.Peers) > 0 {
		b.remove = append(b.remove, Op{NS: w.Key, Dev: f.Name, Do: SetWireGuard{Set: gone}, Last: true})
	}
}

// changed returns what changes of a peer, and what takes that back, empty for nothing.
func (p *WGPeer) changed(h *rtnl.WGPeer) (set rtnl.WGPeerSet, undo []rtnl.WGPeerSet) {
	set = rtnl.WGPeerSet{Public: p.Public}
	back := rtnl.WGPeerSet{Public: p.Public, There: true}
	changes := false
	if p.Endpoint.IsValid() && p.Endpoint != h.Endpoint {
		set.Endpoint, back.Endpoint, changes = p.Endpoint, h.Endpoint, true
	}
	if p.Keepalive != h.Keepalive {
		set.Keepalive, back.Keepalive, changes = &p.Keepalive, &h.Keepalive, true
	}
	if !slices.Equal(p.AllowedIPs, h.AllowedIPs) {
		set.Allow, back.Allow, changes = true, true, true
		set.AllowedIPs, back.AllowedIPs = p.AllowedIPs, h.AllowedIPs
	}
	switch {
	case !changes:
		return set, nil
	case set.Endpoint.IsValid() && !h.Endpoint.IsValid(): // only as it was made it has none
		whole := rtnl.WGPeerSet{Public: h.Public, Keepalive: &h.Keepalive, Allow: true, AllowedIPs: h.AllowedIPs}
		return set, []rtnl.WGPeerSet{{Public: h.Public, Remove: true}, whole}
	}
	return set, []rtnl.WGPeerSet{back}
}

// unbind plans to take the UDP port from a wireguard link that leaves it to another one,
// whether it goes or stays.
func (b *builder) unbind(w *Sandbox, k *known) {
	for i := range k.Links {
		l := &k.Links[i]
		have := k.WireGuards[l.Index]
		if have == nil || have.ListenPort == 0 || !l.Up() {
			continue
		}
		for j := range w.Ifaces {
			f := &w.Ifaces[j]
			if f.WireGuard == nil || f.WireGuard.ListenPort != have.ListenPort || b.index[end{w.Key, f.Name}] == l.Index {
				continue
			}
			any, port := uint16(0), have.ListenPort
			b.unbound[place{w.Key, l.Index}] = true
			b.aside = append(b.aside, Op{NS: w.Key, Dev: l.Name, Do: SetWireGuard{Set: rtnl.WGSet{Index: l.Index, ListenPort: &any}}, Half: true,
				Undo: []Op{{NS: w.Key, Dev: l.Name, Do: SetWireGuard{Set: rtnl.WGSet{Index: l.Index, ListenPort: &port}}}}})
			break
		}
	}
}
