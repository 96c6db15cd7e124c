//go:build linux

package osltest

import (
	"errors"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/types"
)

func zero(v4 bool) netip.Prefix {
	if v4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// own reports whether an address is one of the sandbox itself.
func (b *mbox) own(ip netip.Addr) bool {
	return slices.ContainsFunc(b.all(), func(l *mlink) bool {
		return slices.ContainsFunc(l.addrs, func(a maddr) bool { return a.Addr() == ip })
	})
}

func (m *model) setGateway(b *mbox, n *osl.Namespace) {
	gw := pick(m, "gateway", append(hops, netip.MustParseAddr("fe80::1"))...)
	dev, want := b.reach(gw, true), []error(nil)
	if gw.IsLinkLocalUnicast() {
		var six []*mlink
		for _, l := range b.links {
			if l.ipv6() && l.up && l.master == nil {
				six = append(six, l)
			}
		}
		switch len(six) {
		case 0:
			want = append(want, osl.ErrUnreachable)
		case 1:
			dev = six[0]
		default:
			want = append(want, osl.ErrInvalid)
		}
	} else if b.own(gw) {
		want = append(want, osl.ErrInvalid)
	} else if dev == nil {
		want = append(want, osl.ErrUnreachable)
	}
	set := n.SetGateway
	if gw.Is6() {
		set = n.SetGatewayIPv6
	}
	if m.call(words("SetGateway", b.name, gw), want, func() error { return set(gw.AsSlice()) }) {
		b.dropRoutes(func(r mroute) bool { return r.dst == zero(gw.Is4()) })
		b.routes = append(b.routes, mroute{dst: zero(gw.Is4()), via: gw, dev: dev})
	}
}

func (m *model) unsetGateway(b *mbox, n *osl.Namespace) {
	v4 := pick(m, "IPv4", true, false)
	unset := n.UnsetGatewayIPv6
	if v4 {
		unset = n.UnsetGateway
	}
	m.call(words("UnsetGateway", b.name, "IPv4", v4), nil, unset)
	b.dropRoutes(func(r mroute) bool { return r.dst == zero(v4) && r.via.IsValid() })
}

// static draws a static route: through a next hop, or connected, with an
// address that stands for the destination or without.
func (m *model) static(b *mbox) (dst netip.Prefix, via, near netip.Addr, r *types.StaticRoute) {
	dst = pick(m, "destination", far...)
	hop := familyless
	for _, h := range some(m, "next hop", 1, hops) {
		if h.Is4() == dst.Addr().Is4() {
			hop = h
		}
	}
	r = &types.StaticRoute{Destination: toNet(dst), RouteType: types.CONNECTED}
	if hop.IsValid() {
		r.NextHop = hop.AsSlice()
		if near = hop; m.sometimes("through it", 2) {
			r.RouteType, via = types.NEXTHOP, hop
		}
	}
	return dst, via, near, r
}

func (m *model) addRoute(b *mbox, n *osl.Namespace) {
	dst, via, near, r := m.static(b)
	var dev *mlink
	switch {
	case via.IsValid():
		dev = b.reach(via, true)
	case near.IsValid():
		dev = b.reach(near, false)
	default:
		dev = b.reach(dst.Addr(), false)
	}
	if dev == b.lo {
		return // a route to the sandbox itself
	}
	have, want := b.route(dst), []error(nil)
	equal := have != nil && have.via == via && (have.static || via.IsValid())
	switch {
	case equal:
	case dev == nil:
		if b.own(via) {
			want = append(want, osl.ErrInvalid)
		} else {
			want = append(want, osl.ErrUnreachable)
		}
		fallthrough
	case have != nil:
		if have != nil {
			want = append(want, osl.ErrExists)
		}
	}
	if m.call(words("AddStaticRoute", b.name, *r), want, func() error { return n.AddStaticRoute(r) }) && !equal {
		b.routes = append(b.routes, mroute{dst: dst, via: via, dev: dev, static: true})
	}
}

func (m *model) removeRoute(b *mbox, n *osl.Namespace) {
	dst, via, _, r := m.static(b)
	m.call(words("RemoveStaticRoute", b.name, *r), nil, func() error { return n.RemoveStaticRoute(r) })
	b.dropRoutes(func(o mroute) bool { return o.static && o.dst == dst && o.via == via })
}

func (m *model) addAlias(b *mbox, n *osl.Namespace) {
	name, p := m.someLink(b), pick(m, "alias", aliasPool...)
	l, want := b.link(name), []error(nil)
	switch {
	case l == nil:
		want = []error{osl.ErrNotFound}
	case p.Addr().Is6() && l.mtu < 1280:
		want = []error{nil}
	case l == b.lo && !p.IsSingleIP():
		return // a whole subnet of this host's own
	case b.conflict(p, l):
		return // by which of the two the kernel goes is its own affair
	}
	if m.call(words("AddAliasIP", b.name, name, p), want, func() error { return n.AddAliasIP(name, toNet(p)) }) && !l.has(p) {
		l.addrs = append(l.addrs, maddr{p, true})
	}
}

func (m *model) removeAlias(b *mbox, n *osl.Namespace) {
	name, p := m.someLink(b), pick(m, "alias", slices.Concat(aliasPool, subnets)...)
	l, want := b.link(name), []error(nil)
	if l == nil {
		want = []error{osl.ErrNotFound}
	}
	if m.call(words("RemoveAliasIP", b.name, name, p), want, func() error { return n.RemoveAliasIP(name, toNet(p)) }) {
		b.dropAddr(l, p)
	}
}

func (m *model) addNeighbor(b *mbox, n *osl.Namespace) {
	no, force := n.NeighborOptions(), pick(m, "force", true, false)
	srcs := []string{notThere, ""}
	for _, l := range b.links {
		srcs = append(srcs, l.src, l.src)
	}
	src := pick(m, "source", srcs...)
	w := mneigh{dev: b.source(src), mac: pick(m, "MAC", hardware...), osl: true, fdb: m.sometimes("FDB", 3)}
	opts := []osl.NeighOption{no.LinkName(src)}
	var want []error
	if w.fdb {
		w.ip = pick(m, "endpoint", endpoints...)
		opts = append(opts, no.Family(unix.AF_BRIDGE))
		if src == "" || w.dev != nil && w.dev.kind != "vxlan" {
			want = append(want, osl.ErrInvalid)
		}
	} else {
		w.ip = pick(m, "address", neighbors...)
		if src == "" {
			if w.dev = b.reach(w.ip, false); w.dev == nil {
				want = append(want, osl.ErrUnreachable)
			}
		}
	}
	if src != "" && w.dev == nil {
		want = append(want, osl.ErrNotFound)
	}
	if w.dev != nil && !w.fdb && w.ip.Is6() && !w.dev.ipv6() {
		want = append(want, nil) // IPv6 is off there
	}
	same := func(h mneigh) bool {
		return h.dev == w.dev && h.fdb == w.fdb && (w.fdb && h.mac == w.mac || !w.fdb && h.ip == w.ip)
	}
	// An address that is on two links could not be deleted by its address.
	if slices.ContainsFunc(b.neighs, func(h mneigh) bool { return h.ip == w.ip && !same(h) }) {
		return
	}
	held := slices.ContainsFunc(b.neighs, func(h mneigh) bool { return h.osl && same(h) })
	m.searched(words("AddNeighbor", b.name, src, w.ip, w.mac, "force", force), want, held && !force, func() error {
		return n.AddNeighbor(w.ip.AsSlice(), mac(w.mac), force, opts...)
	}, func() {
		b.dropNeighs(same)
		b.neighs = append(b.neighs, w)
	})
}

// searched is a call that may return a NeighborSearchError.
func (m *model) searched(what string, want []error, search bool, f func() error, then func()) {
	if len(want) == 0 && search {
		m.call(what, nil, func() error {
			var found osl.NeighborSearchError
			if err := f(); !errors.As(err, &found) {
				return errors.Join(errors.New("no NeighborSearchError"), err)
			}
			return nil
		})
		return
	}
	if m.call(what, want, f) {
		then()
	}
}

func (m *model) deleteNeighbor(b *mbox, n *osl.Namespace) {
	addr, hw := pick(m, "address", slices.Concat(neighbors, endpoints)...), net.HardwareAddr(nil)
	if m.sometimes("MAC", 2) {
		hw = mac(pick(m, "MAC", hardware...))
	}
	i := slices.IndexFunc(b.neighs, func(h mneigh) bool {
		return h.ip == addr && h.osl && (hw == nil || h.mac == hw.String())
	})
	// What osl forgets of a vxlan of the host goes home with it.
	away := i < 0 || b.neighs[i].fdb && b.neighs[i].dev.home != nil || !m.sometimes("forget only", 4)
	m.searched(words("DeleteNeighbor", b.name, addr, hw, "from the kernel", away), nil, i < 0, func() error {
		return n.DeleteNeighbor(addr.AsSlice(), hw, away)
	}, func() {
		if b.neighs[i].osl = false; away {
			b.neighs = slices.Delete(b.neighs, i, i+1)
		}
	})
}

func (m *model) addLink(b *mbox, n *osl.Namespace) {
	s := osl.InterfaceSpec{Name: pick(m, "name", "l0", "l1", "eth0", "b0"), Type: pick(m, "type", "bridge", "veth", "vxlan"), Addresses: m.addresses()}
	l := trial(s.Type, s.Name, nil)
	l.name = s.Name
	var want []error
	if b.link(s.Name) != nil {
		want = append(want, osl.ErrNameInUse)
	} else if b.source(s.Name) != nil {
		return // two of one source name can not be told apart
	}
	for _, p := range s.Addresses {
		l.addrs = append(l.addrs, maddr{Prefix: p})
		if b.conflict(p, l) {
			want = append(want, osl.ErrAddressConflict)
		}
	}
	for _, p := range some(m, "aliases", 1, aliasPool[:4]) {
		s.Aliases = append(s.Aliases, p)
		l.addrs = append(l.addrs, maddr{p, true})
	}
	if s.Type != "bridge" && m.sometimes("master", 3) {
		s.Master = pick(m, "master", "br0", "b0", "eth0")
		switch l.master = b.link(s.Master); {
		case s.Master == s.Name:
			want = append(want, osl.ErrInvalid)
		case l.master == nil:
			want = append(want, osl.ErrNotFound)
			if s.Type == "veth" {
				want = append(want, osl.ErrInvalid) // it may be the other end's name
			}
		case l.master.kind != "bridge":
			want = append(want, osl.ErrInvalid)
		}
	}
	if s.Type == "vxlan" && m.sometimes("down", 4) {
		s.Down, l.up = true, false
	}
	if s.DisableARPForVIP = m.sometimes("quiet", 4); s.DisableARPForVIP {
		l.quiet = true
	}
	if s.Type == "vxlan" {
		s.VNI = pick(m, "VNI", 7, 8)
		if l.vni = s.VNI; find(b.links, func(o *mlink) bool { return o.vni == l.vni }) != nil {
			want = append(want, osl.ErrExists)
		}
	}
	if s.Type == "veth" {
		s.Peer, l.peer = m.otherEnd(b, l, &want)
		if p := l.peer; p.box != nil && p.box.link(p.name) == nil && p.box.source(p.src) != nil {
			return
		}
	}
	what := words("AddLink", b.name, s.Type, s.Name, s.Addresses, s.Aliases, "down", s.Down, "vni", s.VNI, "master", s.Master, "peer", s.Peer)
	if !m.call(what, want, func() error { return n.AddLink(m.t.Context(), s) }) {
		return
	}
	b.settle(l)
	if p := l.peer; p != nil && p.box != nil {
		p.box.settle(p)
	} else if p != nil {
		m.host = append(m.host, p)
	}
}

// otherEnd draws where the other end of a veth is to be.
func (m *model) otherEnd(b *mbox, l *mlink, want *[]error) (osl.Endpoint, *mlink) {
	e := osl.Endpoint{Sandbox: pick(m, "peer in", append(boxNames, osl.HostName)...), Interface: pick(m, "peer", "q0", "q1", "eth0")}
	p := &mlink{name: e.Interface, src: e.Interface, kind: "veth", txq: 1000, up: true, peer: l}
	if e.Sandbox == osl.HostName {
		if m.onHost(p.name) != nil {
			*want = append(*want, osl.ErrNameInUse)
		}
		return e, p
	}
	switch p.box = m.boxes[e.Sandbox]; {
	case p.box == nil:
		*want = append(*want, osl.ErrNotFound)
	case p.box == b && p.name == l.name:
		*want = append(*want, osl.ErrInvalid)
	case p.box.link(p.name) != nil:
		*want = append(*want, osl.ErrNameInUse)
	}
	return e, p
}

func (m *model) removeLink(b *mbox, n *osl.Namespace) {
	name := m.someLink(b)
	l, want := b.link(name), []error(nil)
	switch {
	case l == nil || l == b.lo:
		want = append(want, osl.ErrNotFound)
	case l.home != nil && m.onHost(l.home.name) != nil:
		want = append(want, osl.ErrNameInUse)
	}
	if m.call(words("RemoveLink", b.name, name), want, func() error { return n.RemoveLink(m.t.Context(), name) }) {
		m.remove(l)
	}
}
