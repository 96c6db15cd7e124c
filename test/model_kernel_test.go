//go:build linux

package osltest

import (
	"cmp"
	"net/netip"
	"slices"
)

// What follows in the model when a link or an address goes, by itself or with
// another: what the kernel does, and what osl brings home.

// reach is the kernel's choice of a link for an address. As a next hop it must
// be on the link itself: then a route through another one, and on IPv4 one of
// global scope, does not count.
func (b *mbox) reach(ip netip.Addr, hop bool) *mlink {
	var dev *mlink
	best := -1
	try := func(p netip.Prefix, l *mlink) {
		if p.Contains(ip) && p.Bits() > best {
			best, dev = p.Bits(), l
		}
	}
	for _, l := range b.links {
		for _, a := range l.addrs {
			if a.Addr() == ip {
				switch {
				case !hop:
					return b.lo
				case ip.Is6():
					return nil
				}
				return l // the kernel lets IPv4 have itself as a gateway
			}
			if l.up && !a.Addr().IsLinkLocalUnicast() {
				try(a.Masked(), l)
			}
		}
	}
	for _, r := range b.routes {
		switch {
		case !hop:
			try(r.dst, r.dev)
		case r.via.IsValid() && ip.Is6():
			try(r.dst, nil)
		case r.via.IsValid() || r.static && ip.Is4():
		default:
			try(r.dst, r.dev)
		}
	}
	return dev
}

// route returns the route of osl to a destination.
func (b *mbox) route(dst netip.Prefix) *mroute {
	for i := range b.routes {
		if b.routes[i].dst == dst {
			return &b.routes[i]
		}
	}
	return nil
}

func (b *mbox) dropRoutes(gone func(mroute) bool) { b.routes = slices.DeleteFunc(b.routes, gone) }
func (b *mbox) dropNeighs(gone func(mneigh) bool) { b.neighs = slices.DeleteFunc(b.neighs, gone) }

// dropAddr takes an address away, and what the kernel takes with the last one
// of its family.
func (b *mbox) dropAddr(l *mlink, p netip.Prefix) {
	if !l.has(p) {
		return
	}
	l.addrs = slices.DeleteFunc(l.addrs, func(a maddr) bool { return a.Prefix == p })
	is4 := p.Addr().Is4()
	if slices.ContainsFunc(l.addrs, func(a maddr) bool { return a.Addr().Is4() == is4 }) {
		return
	}
	b.dropRoutes(func(r mroute) bool { return r.dev == l && r.dst.Addr().Is4() == is4 })
	b.dropNeighs(func(n mneigh) bool { return n.dev == l && !n.fdb && n.ip.Is4() == is4 })
}

// drop takes a link out of where it is, with all that hangs on it.
func (m *model) drop(l *mlink) {
	is := func(o *mlink) bool { return o == l }
	b := l.box
	if b == nil {
		m.host = slices.DeleteFunc(m.host, is)
		return
	}
	b.links = slices.DeleteFunc(b.links, is)
	b.dropRoutes(func(r mroute) bool { return r.dev == l })
	b.dropNeighs(func(n mneigh) bool { return n.dev == l })
	for _, o := range b.links {
		if o.master == l {
			o.master = nil
		}
	}
	b.follow(l.master)
}

// follow gives a bridge the lowest MTU of its ports.
func (b *mbox) follow(br *mlink) {
	if br == nil || br.mtuSet {
		return
	}
	// A link that was not seen yet has what the kernel gives it, 1500.
	lowest := 0
	for _, l := range b.links {
		if l.master == br && (lowest == 0 || cmp.Or(l.mtu, 1500) < lowest) {
			lowest = cmp.Or(l.mtu, 1500)
		}
	}
	br.mtu = cmp.Or(lowest, 1500)
}

// remove takes an interface out of a sandbox: home, or away with its peer.
func (m *model) remove(l *mlink) {
	m.drop(l)
	if l.home != nil {
		m.host = append(m.host, l.home)
	}
	if p := l.peer; p != nil {
		m.drop(p)
		if p.box != nil && p.box != l.box && p.ipv6() {
			p.box.lingers = true
		}
	}
}

// destroy is the end of a sandbox: a link whose name is taken on the host comes
// home under another one.
func (m *model) destroy(b *mbox) {
	// Its links, and with them their other ends elsewhere, last as long as a
	// handle is open.
	for _, n := range b.handles {
		_ = n.Close()
	}
	for _, l := range slices.Clone(b.links) {
		if l.home != nil && m.onHost(l.home.name) != nil {
			taken := m.host
			if m.onHost(l.name) != nil { // the kernel numbers it twice, and counts the first
				taken = append(slices.Clone(taken), &mlink{name: lowest(m.host, l.home.name+".")})
			}
			l.home.name = lowest(taken, l.home.name+".")
		}
		m.remove(l)
	}
	m.stale = append(m.stale, b.handles...)
	delete(m.boxes, b.name)
}
