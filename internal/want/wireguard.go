package want

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
	"github.com/seed59451c2b/osl/internal/wgkey"
	"github.com/seed59451c2b/osl/internal/where"
)

// WireGuard is what a wireguard link should be: osl.WireGuardSpec.
type WireGuard struct {
	PrivateKey     wgkey.Secret
	PrivateKeyFile string
	ListenPort     int
	FwMark         uint32
	Peers          []WireGuardPeer
}

// WireGuardPeer is a peer of one: osl.WireGuardPeerSpec.
type WireGuardPeer struct {
	PublicKey           wgkey.Public
	Interface           Endpoint
	PresharedKey        wgkey.Secret
	PresharedKeyFile    string
	Endpoint            netip.AddrPort
	AllowedIPs          []netip.Prefix
	PersistentKeepalive int
}

// wireguard checks what can be known of one without its keys.
func (s *Iface) wireguard() (*plan.WireGuard, error) {
	switch {
	case s.WireGuard == nil && s.Type == "wireguard":
		return nil, where.In("type", "", fault.Invalidf("a wireguard needs a private key: say it in the field wireguard"))
	case s.WireGuard == nil:
		return nil, nil
	case s.Type != "wireguard":
		return nil, where.In("wireguard", "", fault.Invalidf("wireguard means nothing for %s: only one of the type wireguard has it", calledKind(s, &plan.Iface{Kind: s.Type})))
	}
	g := s.WireGuard
	if g.ListenPort < 0 || g.ListenPort > math.MaxUint16 {
		return nil, where.In("wireguard.listen_port", "", fault.Invalidf("the port %d is none: it is from 1 to 65535, or 0 for any", g.ListenPort))
	}
	w := &plan.WireGuard{File: g.PrivateKeyFile, ListenPort: uint16(g.ListenPort), FwMark: g.FwMark}
	owner := map[netip.Prefix]int{}
	for i := range g.Peers {
		p, field, err := g.Peers[i].plan()
		for _, ip := range p.AllowedIPs {
			if first, taken := owner[ip]; taken && err == nil {
				field, err = "allowed_ips", fault.Invalidf("%v is of the peer %d already: what is sent there goes to one", ip, first+1)
			}
			owner[ip] = i
		}
		if err != nil {
			return nil, where.In(fmt.Sprintf("wireguard.peers[%d].%s", i, field), "", err)
		}
		w.Peers = append(w.Peers, p)
	}
	return w, nil
}

func (g *WireGuardPeer) plan() (p plan.WGPeer, field string, err error) {
	p = plan.WGPeer{Public: g.PublicKey, File: g.PresharedKeyFile, Endpoint: g.Endpoint}
	switch ip := g.Endpoint.Addr(); {
	case g.PublicKey == (wgkey.Public{}) && g.Interface == (Endpoint{}):
		return p, "public_key", fault.Invalidf("a peer needs a public_key, or the interface of this network that it is")
	case g.PublicKey != (wgkey.Public{}) && g.Interface != (Endpoint{}):
		return p, "interface", fault.Invalidf("it has a public_key and an interface: one of them says who it is")
	case g.PersistentKeepalive < 0 || g.PersistentKeepalive > math.MaxUint16:
		return p, "persistent_keepalive", fault.Invalidf("%d is no number of seconds between two packets: it is from 1 to 65535, or 0 for none", g.PersistentKeepalive)
	case g.Endpoint != (netip.AddrPort{}) && (!ip.IsValid() || ip.Is4In6() || ip.IsUnspecified() || ip.IsMulticast() || ip.Zone() != "" || g.Endpoint.Port() == 0):
		return p, "endpoint", fault.Invalidf("%v is no address and port of another end", g.Endpoint)
	}
	p.Keepalive = uint16(g.PersistentKeepalive)
	for _, ip := range g.AllowedIPs {
		if !ip.IsValid() || ip.Addr().Is4In6() {
			return p, "allowed_ips", fault.Invalidf("%v is no address with a length", ip)
		}
		p.AllowedIPs = append(p.AllowedIPs, ip.Masked())
	}
	slices.SortFunc(p.AllowedIPs, netip.Prefix.Compare)
	p.AllowedIPs = slices.Compact(p.AllowedIPs)
	return p, "", nil
}

// WireGuardOf says what a wireguard is, with files for its keys that begin with name.
func WireGuardOf(w *rtnl.WireGuard, name string) *WireGuard {
	x := &WireGuard{PrivateKeyFile: name + ".key", ListenPort: int(w.ListenPort), FwMark: w.FwMark}
	for i, p := range w.Peers {
		to := WireGuardPeer{PublicKey: p.Public, Endpoint: p.Endpoint, AllowedIPs: p.AllowedIPs, PersistentKeepalive: int(p.Keepalive)}
		if !p.Preshared.IsZero() {
			to.PresharedKeyFile = fmt.Sprintf("%s.%d.psk", name, i+1)
		}
		x.Peers = append(x.Peers, to)
	}
	return x
}

// unlock finds the keys of all wireguard links: first the private ones, since the public
// key of a peer may be that of another interface.
func (net *Network) unlock(k Keys, want []plan.Sandbox, byName map[string]string) error {
	each := func(f func(s *Iface, p *plan.Iface) error) error {
		for i := range net.Sandboxes {
			for j := range net.Sandboxes[i].Interfaces {
				if s := &net.Sandboxes[i].Interfaces[j]; s.WireGuard != nil {
					if err := f(s, &want[i].Ifaces[j]); err != nil {
						return fault.At(k.at(want[i].Key), s.Name, err)
					}
				}
			}
		}
		return nil
	}
	private := map[ifaceName]wgkey.Public{}
	err := each(func(s *Iface, p *plan.Iface) (err error) {
		p.WireGuard.Private, err = k.secret("wireguard.private_key", s.WireGuard.PrivateKey, s.WireGuard.PrivateKeyFile)
		if err == nil && p.WireGuard.Private.IsZero() {
			err = where.In("wireguard", "", fault.Invalidf("a wireguard needs a private key: say private_key_file, or private_key with a variable"))
		}
		return err
	})
	if err != nil {
		return err
	}
	for i := range want {
		for j := range want[i].Ifaces {
			if f := &want[i].Ifaces[j]; f.WireGuard != nil {
				private[ifaceName{want[i].Key, f.Name}] = f.WireGuard.Private.Public()
			}
		}
	}
	return each(func(s *Iface, p *plan.Iface) error {
		own, seen := p.WireGuard.Private.Public(), map[wgkey.Public]bool{}
		for i := range p.WireGuard.Peers {
			peer, at := &p.WireGuard.Peers[i], fmt.Sprintf("wireguard.peers[%d]", i)
			field := at + ".public_key"
			if e := s.WireGuard.Peers[i].Interface; e != (Endpoint{}) {
				field = at + ".interface"
				key, known := byName[e.Sandbox]
				if peer.Public = private[ifaceName{key, e.Interface}]; !known || peer.Public == (wgkey.Public{}) {
					return where.In(field, "", fmt.Errorf("%w: the network has no wireguard %v%s", fault.ErrNotFound, e, near.Hint(e.String(), wireguards(net))))
				}
			}
			switch {
			case peer.Public == own:
				return where.In(field, "", fault.Invalidf("the peer has the key of this interface itself, and the kernel would pass it over"))
			case seen[peer.Public]:
				return where.In(field, "", fault.Invalidf("a peer with this key is there twice"))
			}
			seen[peer.Public] = true
			var err error
			peer.Preshared, err = k.secret(at+".preshared_key", s.WireGuard.Peers[i].PresharedKey, peer.File)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// wireguards are the names of those of a network.
func wireguards(net *Network) (list []string) {
	for i := range net.Sandboxes {
		for j := range net.Sandboxes[i].Interfaces {
			if s := &net.Sandboxes[i].Interfaces[j]; s.WireGuard != nil {
				list = append(list, net.Sandboxes[i].Name+"/"+s.Name)
			}
		}
	}
	return list
}

// secret returns a key that is given, or in a file; none for neither.
func (k Keys) secret(field string, given wgkey.Secret, path string) (wgkey.Secret, error) {
	switch {
	case path == "":
		return given, nil
	case !given.IsZero():
		return given, where.In(field, "", fault.Invalidf("it is there twice: as a key and as the file %s", path))
	}
	if _, err := wgkey.ParseSecret(path); err == nil {
		return given, where.In(field+"_file", "", fault.Invalidf("it is a key, where the name of a file with one belongs"))
	}
	text, err := k.File(path)
	if errors.Is(err, fs.ErrNotExist) {
		with := map[string]string{"private_key": "wg genkey", "preshared_key": "wg genpsk"}[field[strings.LastIndex(field, ".")+1:]]
		err = fmt.Errorf("%w; such a file is made with: %s > %s", err, with, shell.Quote(path))
	}
	if err == nil {
		given, err = wgkey.ParseSecret(text)
		if err != nil {
			err = fault.Invalidf("the file %s: %v", path, err)
		}
	}
	return given, where.In(field+"_file", "", err)
}
