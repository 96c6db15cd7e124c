package stand

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/want"
	"github.com/seed59451c2b/osl/internal/wgkey"
)

// Sandbox is what a sandbox holds. The fields are those of osl.Status, which says what
// they mean.
type Sandbox struct {
	Name, Key            string
	Made                 bool
	From, Owner, Network string
	Labels               map[string]string
	Interfaces           []Iface
	Gateway, Gateway6    netip.Addr
	Routes               []want.Route
	Neighbors            []want.Neigh
	OtherRoutes          []OtherRoute
	Nexthops             []want.Nexthop
	OtherNexthops        []want.Nexthop
	Rules                []want.Rule
	OtherRules           []OtherRule
	Sysctls              map[string]string
	Masquerade           []Masquerade
}

// OtherRoute is a route that osl does not hold: osl.OtherRoute.
type OtherRoute struct {
	want.Route
	Metric uint32
	Proto  string
}

// OtherRule is a rule that osl did not make: osl.OtherRule.
type OtherRule struct {
	Priority int
	From, To netip.Prefix
	In, Out  string
	Mark     uint32
	Table    int
	Action   string
	Rule     want.Rule
}

// Iface is a link of a sandbox: osl.InterfaceStatus.
type Iface struct {
	Name                               string
	Index                              int
	Type                               string
	Details                            map[string]string
	Source, Origin, Note               string
	UnderWay                           bool
	MAC                                net.HardwareAddr
	MTU, TxQueueLen                    int
	Up, Carrier                        bool
	Master                             string
	IPv6                               string
	Addresses, Aliases, Others         []netip.Prefix
	AddressOptions                     map[netip.Prefix]want.AddressOptions
	Routes                             []netip.Prefix
	Impair                             *want.Impair
	WireGuard                          *WireGuard
	Offloads, AskedOffloads            map[string]bool
	AltNames                           []string
	Group                              int
	Promisc, AllMulticast, ARP         bool
	AddrGenMode                        string
	GSOMaxSize, GSOMaxSegs, GROMaxSize int
	GSOIPv4MaxSize, GROIPv4MaxSize     int
	Bridge                             *want.Bridge
	BridgePort                         *want.BridgePort
	Sysctls                            map[string]string
	DisableARPForVIP                   bool
}

// WireGuard is what the kernel says of a wireguard, without its secrets:
// osl.WireGuardStatus.
type WireGuard struct {
	PublicKey  wgkey.Public
	ListenPort int
	FwMark     uint32
	Peers      []WireGuardPeer
}

// WireGuardPeer is a peer of one: osl.WireGuardPeerStatus.
type WireGuardPeer struct {
	PublicKey           wgkey.Public
	Preshared           bool
	Endpoint            netip.AddrPort
	AllowedIPs          []netip.Prefix
	PersistentKeepalive int
	LatestHandshake     time.Time
	RxBytes, TxBytes    uint64
}

// Sandbox tells what a reading found.
func (r *Reading) Sandbox() *Sandbox {
	s := r.State
	x := &Sandbox{Name: r.Name, Key: r.Key, From: r.From, Owner: r.Owner, Gateway: r.gateway(true), Gateway6: r.gateway(false),
		Sysctls: byName(r.Asked.Sandbox), Masquerade: r.Masquerades,
		Interfaces: make([]Iface, 0, len(s.Links))}
	if lo := s.ByIndex(1); lo != nil {
		var t plan.SandboxTag
		t, x.Made = plan.ParseSandboxTag(lo.Alias)
		x.Network, x.Labels = plan.NetworkOf(lo), t.Labels
	}
	names := map[int]string{}
	for i := range s.Links {
		names[s.Links[i].Index] = s.Links[i].Name
	}
	parts := s.Parts()
	for i := range s.Links {
		l := &s.Links[i]
		f := r.iface(parts[l.Index], l)
		f.Master = names[l.Master]
		if plan.IsOnParent(l) && names[l.Parent] != "" {
			f.Details["parent"] = names[l.Parent]
		}
		if l.Bridge != nil {
			f.Bridge = want.BridgeOf(l.Bridge, s.VLANs[l.Index])
		}
		if l.Port != nil {
			f.BridgePort = want.BridgePortOf(l.Port, s.VLANs[l.Index])
		}
		if q, own := s.QdiscOf(l); own {
			f.Impair = want.ImpairOf(q.Impair)
		}
		if on := s.Features[l.Index]; on != nil {
			f.Offloads = plan.Changeable(on)
			if t, osls := plan.ParseTag(l.Alias); osls {
				f.AskedOffloads = t.AskedOffloads(on)
			}
		}
		if f.Name != "lo" || len(f.Aliases) > 0 || slices.ContainsFunc(f.Addresses, func(p netip.Prefix) bool { return !p.Addr().IsLoopback() }) {
			x.Interfaces = append(x.Interfaces, f)
		}
	}
	for _, route := range s.Routes {
		if plan.IsStatic(route) {
			x.Routes = append(x.Routes, want.RouteOf(route, names, linux.RT_SCOPE_SITE))
		}
	}
	for _, route := range s.Others {
		x.OtherRoutes = append(x.OtherRoutes, OtherRoute{want.RouteOf(route, names, linux.RT_SCOPE_LINK), route.Metric, plan.ProtocolName(route.Proto)})
	}
	for _, n := range s.Nexthops {
		x.Nexthops = append(x.Nexthops, want.NexthopOf(n, names))
	}
	for _, n := range s.OtherNexthops {
		x.OtherNexthops = append(x.OtherNexthops, want.NexthopOf(n, names))
	}
	for _, rule := range s.Rules {
		x.Rules = append(x.Rules, want.RuleOf(rule))
	}
	for _, rule := range s.OtherRules {
		x.OtherRules = append(x.OtherRules, otherRule(rule))
	}
	for _, n := range s.Neighs {
		if n.Proto == rtnl.Protocol && !plan.Implied(s.Neighs, n) {
			x.Neighbors = append(x.Neighbors, want.NeighOf(n, names[n.Index]))
		}
	}
	return x
}

// Iface tells what a reading of one link found: that is the first of those that were
// read, and its master the second, where it has one.
func (r *Reading) Iface() *Iface {
	l := &r.State.Links[0]
	x := r.iface(r.State, l)
	x.UnderWay = x.UnderWay || l.Name == "lo" && len(r.Some) > 0
	if len(r.State.Links) > 1 {
		x.Master = r.State.Links[1].Name
	}
	return &x
}

// iface tells what a link is. s is what is on it.
func (r *Reading) iface(s *plan.State, l *rtnl.Link) Iface {
	o := want.LinkOptionsOf(&l.Options)
	x := Iface{Name: l.Name, Index: l.Index, Type: l.Kind, MTU: l.MTU, TxQueueLen: l.TxQLen, Up: l.Up(), Carrier: l.Flags&linux.IFF_LOWER_UP != 0, MAC: l.MAC,
		Details: plan.Details(l), UnderWay: r.All || r.Some[l.Index], WireGuard: wireGuard(r.State.WireGuards[l.Index]),
		Group: valueOf(o.Group), Promisc: valueOf(o.Promisc), AllMulticast: valueOf(o.AllMulticast), ARP: valueOf(o.ARP),
		AddrGenMode: o.AddrGenMode, GSOMaxSize: o.GSOMaxSize, GSOMaxSegs: o.GSOMaxSegs, GROMaxSize: o.GROMaxSize,
		GSOIPv4MaxSize: o.GSOIPv4MaxSize, GROIPv4MaxSize: o.GROIPv4MaxSize}
	if t, ok := plan.ParseTag(l.Alias); ok {
		x.Source, x.Note = t.Source, t.Note
		x.Origin = map[plan.Origin]string{plan.Host: "host", plan.Made: "made", plan.Kept: "kept", plan.Far: "made"}[t.Origin]
	}
	for _, name := range l.AltName {
		if !plan.IsOwnName(name) {
			x.AltNames = append(x.AltNames, name)
		}
	}
	switch {
	case l.Inet.DisableIPv6:
		x.IPv6 = "off"
	case l.Inet.HearsRouters:
		x.IPv6 = "auto"
	default:
		x.IPv6 = "link-local"
	}
	x.DisableARPForVIP = hidesVIPs(l)
	x.Sysctls = otherwise(byName(r.Asked.Links[l.Name]), &x)
	for _, a := range s.Addrs {
		if o, any := want.AddressOptionsOf(a); any {
			if x.AddressOptions == nil {
				x.AddressOptions = map[netip.Prefix]want.AddressOptions{}
			}
			x.AddressOptions[a.Prefix] = o
		}
		if a.Proto == rtnl.AliasProtocol {
			x.Aliases = append(x.Aliases, a.Prefix)
			continue
		}
		x.Addresses = append(x.Addresses, a.Prefix)
		if a.Proto != rtnl.Protocol {
			x.Others = append(x.Others, a.Prefix)
		}
	}
	for _, route := range s.Routes {
		if isDirect(route) {
			x.Routes = append(x.Routes, route.Dst)
		}
	}
	return x
}

// hidesVIPs reports whether a link is as disable_arp_for_vip makes it.
func hidesVIPs(l *rtnl.Link) bool { return l.Inet.ARPIgnore == 1 && l.Inet.ARPAnnounce == 2 }

// acceptRA is the setting by which IPv6 hears routers, and heard are its values by what IPv6
// is called.
const acceptRA = "ipv6.accept_ra"

var heard = map[string]string{"auto": "2", "link-local": "0"}

// otherwise leaves out of the settings of a link those that IPv6 and DisableARPForVIP say.
func otherwise(settings map[string]string, x *Iface) map[string]string {
	if x.DisableARPForVIP {
		delete(settings, "ipv4.arp_ignore")
		delete(settings, "ipv4.arp_announce")
	}
	if settings[acceptRA] == heard[x.IPv6] {
		delete(settings, acceptRA)
	}
	if len(settings) == 0 {
		return nil
	}
	return settings
}

// isDirect reports whether a route of osl's is one of an interface: to a network that
// is reached through it directly.
func isDirect(r rtnl.Route) bool { return !r.Via.IsValid() && !plan.IsStatic(r) }

// valueOf is what a pointer leads to, zero for nil.
func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func otherRule(r rtnl.Rule) OtherRule {
	o := OtherRule{Priority: int(r.Priority), From: r.From, To: r.To, In: r.In, Out: r.Out, Mark: r.Mark, Rule: want.RuleOf(r)}
	if o.Action = plan.RuleActionName(r.Action); o.Action == "" {
		o.Table = int(r.Table)
	}
	return o
}

func wireGuard(w *rtnl.WireGuard) *WireGuard {
	if w == nil {
		return nil
	}
	x := &WireGuard{PublicKey: w.Public, ListenPort: int(w.ListenPort), FwMark: w.FwMark}
	for _, p := range w.Peers {
		x.Peers = append(x.Peers, WireGuardPeer{PublicKey: p.Public, Preshared: !p.Preshared.IsZero(), Endpoint: p.Endpoint,
			AllowedIPs: p.AllowedIPs, PersistentKeepalive: int(p.Keepalive), LatestHandshake: p.LastHandshake, RxBytes: p.Rx, TxBytes: p.Tx})
	}
	return x
}
