//go:build linux

package osltest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/types"
)

// spec draws what a sandbox is to be, with what the model makes of it. Each
// route leads somewhere by what the spec itself says, or fails.
func (m *model) spec(name string) (s osl.Spec, b *mbox, want []error) {
	s.Name = name
	b = &mbox{name: name}
	b.lo = &mlink{name: "lo", kind: "device", up: true, box: b}
	old := m.boxes[name]
	if old == nil {
		old = &mbox{name: name, lo: b.lo}
	}
	bridges := []string{}
	for _, kind := range []string{"bridge b0", "host d0 ext0", "host h0 ext1", "veth l0", "vxlan l1"} {
		if !m.sometimes(kind, 2) {
			continue
		}
		f := strings.Fields(kind)
		i := osl.InterfaceSpec{Name: f[1], Type: f[0], Addresses: m.addresses()}
		l := trial(f[0], f[1], nil)
		match := old.source(l.src)
		if match == nil {
			match = old.link(f[len(f)-1])
		}
		switch f[0] {
		case "host":
			i.Type, i.Source, i.Name = "", f[1], f[2]
			home := m.onHost(i.Source)
			if match != nil && match.home != nil {
				home = match.home
			}
			if home == nil {
				want = append(want, osl.ErrNotFound)
				home = &mlink{}
			}
			if home.kind == "bridge" {
				want = append(want, osl.ErrInvalid)
			}
			l = trial("", i.Source, home)
			if match != nil && (match.home == nil || match.src != i.Source) {
				match = nil // replaced
			}
		case "bridge":
			bridges = append(bridges, i.Name)
		case "vxlan":
			i.VNI = 9
			l.vni = 9
			if m.sometimes("ttl", 2) {
				i.TTL, i.Learning = pick(m, "TTL", 5, 9), pick(m, "learning", yes(), no())
			}
		case "veth":
			i.Peer = osl.Endpoint{Sandbox: osl.HostName, Interface: "q9"}
			l.peer = &mlink{name: "q9", src: "q9", kind: "veth", txq: 1000, up: true, peer: l}
		}
		l.name = i.Name
		if match != nil && l.home == nil && (match.home != nil || match.kind != l.kind || match.vni != l.vni ||
			match.kind == "veth" && (match.peer == nil || match.peer.box != nil || match.peer.name != "q9")) {
			match = nil // replaced
		}
		if q := m.onHost("q9"); match == nil && l.peer != nil && q != nil && (q.peer == nil || q.peer.box != m.boxes[name] || m.boxes[name] == nil) {
			want = append(want, osl.ErrNameInUse) // by what does not go
		}
		if l.was = match; match != nil {
			l.mac, l.mtu, l.txq, l.quiet, l.mtuSet = match.mac, match.mtu, match.txq, match.quiet, match.mtuSet
		}
		if m.sometimes("MTU", 4) {
			i.MTU = pick(m, "MTU", 1300, 1400)
			l.mtu, l.mtuSet = i.MTU, true
			if l.pair = i.MTU; l.peer != nil {
				l.peer.mtu = i.MTU
			}
		}
		if m.sometimes("MAC", 4) {
			l.mac = pick(m, "MAC", hardware...)
			i.MAC = osl.MAC(mac(l.mac))
		}
		if f[0] != "bridge" && len(bridges) > 0 && m.sometimes("master", 2) {
			i.Master = bridges[0]
			l.master = b.link(bridges[0])
		}
		l.box = b
		b.links = append(b.links, l)
		addrs := slices.Clone(i.Addresses)
		for _, p := range i.Addresses {
			if !b.conflict(p, l) {
				continue
			}
			beside := func(o *mlink) bool {
				return slices.ContainsFunc(o.addrs, func(a maddr) bool { return a.alias && a.Masked() == p.Masked() })
			}
			if slices.ContainsFunc(b.links, beside) {
				return s, nil, nil // by which of the two the kernel goes is its own affair
			}
			want = append(want, osl.ErrAddressConflict)
		}
		for _, p := range some(m, "aliases", 3, aliasPool[:7]) {
			if b.conflict(p, l) {
				continue // by which of the two the kernel goes is its own affair
			}
			i.Aliases = append(i.Aliases, p)
			addrs = append(addrs, p)
		}
		// Those that are there already come first.
		for _, p := range addrs {
			l.addrs = append(l.addrs, maddr{p, !slices.Contains(i.Addresses, p)})
		}
		if match != nil {
			slices.SortStableFunc(l.addrs, func(x, y maddr) int {
				at := func(a maddr) int {
					if n := slices.IndexFunc(match.addrs, func(o maddr) bool { return o.Prefix == a.Prefix }); n >= 0 {
						return n
					}
					return 99
				}
				return at(x) - at(y)
			})
		}
		for _, p := range some(m, "routes", 1, far) {
			if b.route(p) != nil || p.Addr().Is6() && !l.ipv6() {
				continue
			}
			i.Routes = append(i.Routes, p)
			b.routes = append(b.routes, mroute{dst: p, dev: l})
		}
		for _, x := range some(m, "neighbors", 1, neighbors) {
			if x.Is6() && !l.ipv6() || slices.ContainsFunc(b.neighs, func(n mneigh) bool { return n.ip == x }) {
				continue
			}
			s.Neighbors = append(s.Neighbors, osl.NeighborSpec{Dev: i.Name, IP: x, MAC: osl.MAC(mac(hardware[0]))})
			b.neighs = append(b.neighs, mneigh{dev: l, ip: x, mac: hardware[0], osl: true})
		}
		s.Interfaces = append(s.Interfaces, i)
	}
	m.specRoutes(&s, b, old, &want)
	return s, b, want
}

func (m *model) specRoutes(s *osl.Spec, b, old *mbox, want *[]error) {
	for _, dst := range append(some(m, "static", 1, far), zero(true), zero(false)) {
		via := pick(m, "via", hops...)
		if b.route(dst) != nil || dst.Addr().Is4() != via.Is4() || dst.Contains(via) && dst.Bits() > 0 {
			continue
		}
		dev := b.reach(via, true)
		if dst.Bits() == 0 && b.own(via) {
			*want = append(*want, osl.ErrInvalid)
		} else if dev == nil {
			*want = append(*want, osl.ErrUnreachable)
		}
		switch {
		case dst.Bits() > 0:
			s.Routes = append(s.Routes, osl.RouteSpec{To: dst, Via: via})
		case via.Is4():
			s.Gateway = via
		default:
			s.Gateway6 = via
		}
		b.routes = append(b.routes, mroute{dst: dst, via: via, dev: dev, static: dst.Bits() > 0})
	}
}

// becomes replaces a sandbox of the model by what a spec made of it.
func (m *model) becomes(b *mbox) {
	old := m.boxes[b.name]
	if old == nil {
		old = &mbox{name: b.name, lo: b.lo}
	}
	b.handles, b.lo.quiet = old.handles, old.lo.quiet
	stays := map[*mlink]*mlink{}
	var order []*mlink
	for _, l := range slices.Clone(old.links) {
		if n := find(b.links, func(n *mlink) bool { return n.was == l }); n != nil {
			stays[n] = l
			order = append(order, n)
			if l.peer != nil {
				n.peer = l.peer
				l.peer.peer = n
				if n.pair != 0 {
					n.peer.mtu = n.pair
				}
			}
			continue
		}
		m.remove(l)
	}
	for _, n := range b.links {
		if stays[n] != nil {
			continue
		}
		order = append(order, n)
		if n.home != nil {
			m.drop(n.home)
		}
		if n.peer != nil {
			m.host = append(m.host, n.peer)
		}
	}
	b.links = order
	for _, l := range b.links {
		if l.kind == "bridge" {
			b.follow(l)
		}
	}
	m.boxes[b.name] = b
}

func (m *model) apply() {
	name := pick(m, "key", boxNames...)
	s, b, want := m.spec(name)
	if b == nil {
		return
	}
	if old := m.boxes[name]; old != nil {
		for _, l := range old.links {
			gone := find(b.links, func(n *mlink) bool { return n.was == l }) == nil
			if gone && l.home != nil && m.onHost(l.home.name) != nil {
				want = append(want, osl.ErrNameInUse)
			}
		}
	}
	net := osl.Network{Sandboxes: []osl.Spec{s}}
	var would, did osl.Changes
	text, _ := json.Marshal(s)
	m.t.Logf("Diff of %s", text)
	m.calls++
	var err error
	// Where Apply is to fail, Diff may not know it: much the kernel alone can say.
	if would, err = osl.Diff(m.t.Context(), net); err != nil && len(want) == 0 {
		m.t.Fatalf("Diff: %v", err)
	}
	m.compare()
	if !m.call("Apply "+name, want, func() (err error) { did, err = osl.Apply(m.t.Context(), net); return err }) {
		return
	}
	if would.String() != did.String() {
		m.t.Fatalf("Diff said\n%sand Apply did\n%s", would, did)
	}
	m.becomes(b)
	if len(b.handles) == 0 {
		n, err := osl.Open(m.t.Context(), name)
		if err != nil {
			m.t.Fatal(err)
		}
		b.handles = append(b.handles, n)
	}
	m.compare()
	m.tunnels(s)
	for what, f := range map[string]func(context.Context, osl.Network) (osl.Changes, error){"Diff": osl.Diff, "a second Apply": osl.Apply} {
		if c, err := f(m.t.Context(), net); err != nil || len(c) > 0 {
			m.t.Fatalf("%s after Apply: %v\n%v", what, err, c)
		}
	}
	if m.calls%8 == 0 { // all settings are read for it
		asRead(m.t, net)
	}
}

// tunnels compares what a spec says of its vxlan with what the kernel has.
func (m *model) tunnels(s osl.Spec) {
	for _, i := range s.Interfaces {
		if i.Type != "vxlan" || i.TTL == 0 {
			continue
		}
		ns, err := netns.GetFromPath(osl.GenerateKey(s.Name))
		m.must(err)
		defer ns.Close()
		h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
		m.must(err)
		defer h.Close()
		l, err := h.LinkByName(i.Name)
		m.must(err)
		if v := l.(*netlink.Vxlan); v.TTL != i.TTL || v.Learning != *i.Learning {
			m.t.Fatalf("the vxlan has the TTL %d, learning %v; want %d, %v", v.TTL, v.Learning, i.TTL, *i.Learning)
		}
	}
}

func init() {
	// Prints what a second process sees of a sandbox, opened in both ways.
	children["model"] = func(args []string) int {
		n, err := osl.Open(context.Background(), args[0])
		if err != nil {
			fmt.Println(err)
			return 1
		}
		sb, err := osl.NewSandbox(args[0], true, true)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		info := sb.Info()
		ifs := map[string][]osl.IfaceOption{}
		for _, i := range info.Interfaces() {
			ifs[i.SrcName()+"+"+strings.TrimRight(i.DstName(), "0123456789")] = nil
		}
		var routes []*types.StaticRoute
		for _, r := range info.StaticRoutes() {
			routes = append(routes, r.GetCopy())
		}
		if err := sb.Restore(ifs, routes, info.Gateway(), info.GatewayIPv6()); err != nil {
			fmt.Println(err)
			return 1
		}
		if a, b := infoText(n.Info()), infoText(sb.Info()); a != b {
			fmt.Printf("opened:\n%s\nrestored:\n%s\n", a, b)
			return 1
		}
		fmt.Print(infoText(sb.Info()))
		return 0
	}
}

// secondProcess opens a sandbox in a process of its own, which must see all of
// it and write nothing. The kernel itself may have something to report of
// calls before, so that only what is reported each time counts.
func (m *model) secondProcess() {
	b, _ := m.box()
	if b == nil {
		return
	}
	m.t.Logf("a second process opens %s", b.name)
	m.calls++
	var events []event
	for range 4 {
		in, err := subscribe(osl.GenerateKey(b.name), everything...)
		m.must(err)
		_, err = received(in, 30*time.Millisecond)
		m.must(err)
		cmd := child("model", b.name)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil {
			m.t.Fatalf("the second process: %v\n%s%s", err, out.String(), errs.String())
		}
		if got := out.String(); got != b.info() {
			m.t.Fatalf("the second process reads\n%s\nand should read\n%s", got, b.info())
		}
		events, err = received(in, 5*time.Millisecond)
		in.Close()
		m.must(err)
		if len(events) == 0 {
			return
		}
	}
	m.t.Fatalf("while a second process opened %s, the kernel reported %v", b.name, events)
}
