//go:build linux

package osltest

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/types"
)

// What the calls of the model choose from. The pools are small, so that calls
// meet what others did.
var (
	subnets    = prefixList("10.1.0.2/24", "10.2.0.2/24", "10.3.0.2/24", "fd01::2/64", "fd02::2/64", "fd03::2/64")
	aliasPool  = prefixList("10.1.0.7/32", "10.9.9.9/32", "fd09::9/128", "fd01::7/128", "10.1.0.3/24", "10.1.0.4/24", "10.2.0.3/24", "10.2.0.2/24", "fd02::2/64", "10.3.0.2/24")
	hops       = addrList("10.1.0.1", "10.2.0.1", "10.50.0.1", "fd01::1", "fd02::1", "fd50::1", "10.77.0.1", "fd77::1", "10.1.0.2", "fd01::2")
	far        = prefixList("10.50.0.0/16", "10.51.0.0/16", "fd50::/48", "fd51::/48")
	neighbors  = addrList("10.1.0.9", "10.2.0.9", "fd01::9", "fd02::9")
	endpoints  = addrList("192.0.2.1", "192.0.2.2")
	hardware   = []string{"02:00:00:00:02:01", "02:00:00:00:02:02"}
	linkLocal  = "fe80::61/64"
	notThere   = "nosuch"
	familyless = netip.Addr{}
)

func prefixList(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func addrList(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// pick draws one of a list.
func pick[T any](m *model, what string, list ...T) T {
	return rapid.SampledFrom(list).Draw(m.t, what)
}

// sometimes is true one time in n.
func (m *model) sometimes(what string, n int) bool { return rapid.IntRange(1, n).Draw(m.t, what) == n }

// some draws a few different ones of a list.
func some[T comparable](m *model, what string, max int, list []T) []T {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(list), 0, max, rapid.ID).Draw(m.t, what)
}

// box draws a sandbox that stands, and a handle of it; nil where none does.
func (m *model) box() (*mbox, *osl.Namespace) {
	all := m.sorted()
	if len(all) == 0 {
		return nil, nil
	}
	b := pick(m, "sandbox", all...)
	return b, b.handles[rapid.IntRange(0, len(b.handles)-1).Draw(m.t, "handle")]
}

// inBox makes an action of one that needs a sandbox.
func (m *model) inBox(f func(b *mbox, n *osl.Namespace)) func() {
	return func() {
		if b, n := m.box(); b != nil {
			f(b, n)
		}
	}
}

// someLink draws the name of a link of a sandbox, or of none.
func (m *model) someLink(b *mbox) string {
	names := []string{"lo", notThere}
	for _, l := range b.links {
		names = append(names, l.name, l.name)
	}
	return pick(m, "link", names...)
}

func (m *model) actions() map[string]func() {
	return map[string]func(){
		"create": m.create, "open": m.open, "destroy": m.inBox(m.destroyCall), "stale": m.staleCall,
		"add": m.inBox(m.addInterface), "add again": m.inBox(m.addInterface), "add bridge": m.inBox(m.addBridge),
		"remove": m.inBox(m.removeInterface), "set gateway": m.inBox(m.setGateway), "unset gateway": m.inBox(m.unsetGateway),
		"add route": m.inBox(m.addRoute), "remove route": m.inBox(m.removeRoute), "add alias": m.inBox(m.addAlias),
		"remove alias": m.inBox(m.removeAlias), "add neighbor": m.inBox(m.addNeighbor), "delete neighbor": m.inBox(m.deleteNeighbor),
		"hide": m.inBox(m.hide), "invoke": m.inBox(m.invoke), "statistics": m.inBox(m.statistics), "invalid": m.inBox(m.invalid),
		"add link": m.inBox(m.addLink), "remove link": m.inBox(m.removeLink), "squat": m.squat,
		"apply": m.apply, "apply again": m.apply, "second process": m.secondProcess, "promote": m.inBox(m.promote),
	}
}

func (m *model) create() { m.createAt(pick(m, "key", boxNames...)) }

func (m *model) createAt(name string) {
	m.call("NewSandbox "+name, nil, func() error {
		sb, err := osl.NewSandbox(name, true, false)
		if err == nil {
			if old := m.boxes[name]; old != nil {
				m.destroy(old)
			}
			m.newBox(name).handles = []*osl.Namespace{sb.(*osl.Namespace)}
		}
		return err
	})
}

func (m *model) newBox(name string) *mbox {
	b := &mbox{name: name}
	b.lo = &mlink{name: "lo", kind: "device", up: true, box: b}
	m.boxes[name] = b
	return b
}

func (m *model) open() {
	name := pick(m, "key", boxNames...)
	b, want := m.boxes[name], []error(nil)
	if b == nil {
		want = []error{osl.ErrNotFound}
	}
	m.call("open "+name, want, func() error {
		sb, err := osl.NewSandbox(name, false, true)
		if err == nil {
			b.handles = append(b.handles, sb.(*osl.Namespace))
		}
		return err
	})
	if b != nil && len(b.handles) > 3 {
		m.must(b.handles[0].Close())
		b.handles = b.handles[1:]
	}
}

func (m *model) destroyCall(b *mbox, n *osl.Namespace) {
	m.call("Destroy "+b.name, nil, n.Destroy)
	m.destroy(b)
}

// staleCall uses a handle whose sandbox is gone; its key may hold another one.
func (m *model) staleCall() {
	if len(m.stale) == 0 {
		return
	}
	n := pick(m, "stale handle", m.stale...)
	closed := []error{osl.ErrClosed}
	switch pick(m, "stale call", "alias", "add", "link", "gateway", "invoke", "unset", "unalias", "destroy") {
	case "alias":
		m.call("stale AddAliasIP", closed, func() error { return n.AddAliasIP("lo", toNet(aliasPool[0])) })
	case "add":
		m.call("stale AddInterface", closed, func() error { return n.AddInterface("h0", "eth") })
	case "link":
		m.call("stale RemoveLink", closed, func() error { return n.RemoveLink(m.t.Context(), "eth0") })
	case "gateway":
		m.call("stale SetGateway", closed, func() error { return n.SetGateway(ip("10.1.0.1")) })
	case "invoke":
		m.call("stale InvokeFunc", closed, func() error { return n.InvokeFunc(func() { m.t.Error("it ran") }) })
	case "unset":
		m.call("stale UnsetGateway", nil, n.UnsetGateway)
	case "unalias":
		m.call("stale RemoveAliasIP", nil, func() error { return n.RemoveAliasIP("lo", toNet(aliasPool[0])) })
	case "destroy":
		m.call("stale Destroy", nil, n.Destroy)
	}
}

func toNet(p netip.Prefix) *net.IPNet { return ipnet(p.String()) }

// conflict reports whether the subnet of an address is on another link.
func (b *mbox) conflict(p netip.Prefix, l *mlink) bool {
	return !p.IsSingleIP() && !p.Addr().IsLinkLocalUnicast() && slices.ContainsFunc(b.all(), func(o *mlink) bool {
		return o != l && slices.ContainsFunc(o.addrs, func(a maddr) bool { return a.Masked() == p.Masked() })
	})
}

// promote sets whether the kernel keeps the other addresses of a subnet when the
// first goes. For osl that must make no difference.
func (m *model) promote(b *mbox, n *osl.Namespace) {
	which, value := pick(m, "of", "all", "default"), pick(m, "promote_secondaries", "0", "1")
	var err error
	m.must(n.InvokeFunc(func() {
		err = os.WriteFile("/proc/sys/net/ipv4/conf/"+which+"/promote_secondaries", []byte(value), 0)
	}))
	m.must(err)
	m.calls++
}

// addresses draws one of each family, or none.
func (m *model) addresses() (list []netip.Prefix) {
	if i := rapid.IntRange(-1, 2).Draw(m.t, "IPv4"); i >= 0 {
		list = append(list, subnets[i])
	}
	if i := rapid.IntRange(-2, 2).Draw(m.t, "IPv6"); i >= 0 {
		list = append(list, subnets[3+i])
	}
	return list
}

// configure draws options for a new link l of b, and says which errors they
// are to give.
func (m *model) configure(b *mbox, l *mlink) (opts []osl.IfaceOption, text string, want []error) {
	o := (*osl.Namespace)(nil).InterfaceOptions()
	for _, p := range m.addresses() {
		l.addrs = append(l.addrs, maddr{Prefix: p})
		if p.Addr().Is4() {
			opts = append(opts, o.Address(toNet(p)))
		} else {
			opts = append(opts, o.AddressIPv6(toNet(p)))
		}
		if b.conflict(p, l) {
			want = append(want, osl.ErrAddressConflict)
		}
	}
	if m.sometimes("link-local", 6) {
		p := netip.MustParsePrefix(linkLocal)
		l.addrs = append(l.addrs, maddr{Prefix: p})
		opts = append(opts, o.LinkLocalAddresses([]*net.IPNet{toNet(p)}))
	}
	if m.sometimes("MAC", 4) {
		l.mac = pick(m, "MAC", hardware...)
		opts = append(opts, o.MacAddress(mac(l.mac)))
	}
	if m.sometimes("MTU", 4) {
		l.mtu = pick(m, "MTU", 1300, 1400, 1000, 40)
		opts = append(opts, osl.WithMTU(l.mtu))
		l.mtuSet = true
		if l.mtu < 68 || l.mtu < 1280 && l.ipv6() {
			want = append(want, osl.ErrInvalid)
		}
	}
	if m.sometimes("queue", 6) {
		l.txq = pick(m, "queue", 0, 77)
		opts = append(opts, osl.WithTxQueueLen(l.txq))
	}
	for _, p := range some(m, "routes", 1, far) {
		l.box.routes = append(l.box.routes, mroute{dst: p, dev: l})
		opts = append(opts, o.Routes([]*net.IPNet{toNet(p)}))
		if b.route(p) != nil {
			want = append(want, osl.ErrExists)
		}
		if p.Addr().Is6() && !l.ipv6() {
			want = append(want, nil) // the kernel has no IPv6 there
		}
	}
	return opts, words("addresses", l.addrs, "mac", l.mac, "mtu", l.mtu, "txq", l.txq, "routes", l.box.routes), want
}

// trial is a link that is not in the sandbox yet.
func trial(kind, src string, home *mlink) *mlink {
	l := &mlink{kind: kind, src: src, home: home, up: true, txq: 1000, box: &mbox{}}
	if home != nil {
		l.kind, l.mac, l.mtu, l.txq = home.kind, home.mac, home.mtu, home.txq
	}
	return l
}

// settle puts a link that was tried into the sandbox.
func (b *mbox) settle(l *mlink) {
	if l.box != b {
		b.routes = append(b.routes, l.box.routes...)
		l.box = b
	}
	b.links = append(b.links, l)
	b.follow(l.master)
}

func (m *model) addInterface(b *mbox, n *osl.Namespace) {
	src, prefix := pick(m, "source", "h0", "h1", "d0", "x0", "h0.0", notThere), pick(m, "prefix", "eth", "eth", "net", "h")
	home := m.onHost(src)
	l := trial("", src, home)
	opts, text, want := m.configure(b, l)
	switch {
	case home == nil:
		want = append(want, osl.ErrNotFound)
	case home.kind == "bridge":
		want = append(want, osl.ErrInvalid)
	}
	l.name = lowest(b.all(), prefix)
	if m.sometimes("exact name", 5) {
		prefix += "0"
		l.name = prefix
		opts = append(opts, osl.WithName())
		if b.link(prefix) != nil {
			want = append(want, osl.ErrNameInUse)
		}
	}
	if m.sometimes("master", 3) {
		src := pick(m, "master", "b0", "b1")
		l.master = b.source(src)
		opts = append(opts, n.InterfaceOptions().Master(src))
		if l.master == nil {
			want = append(want, osl.ErrNotFound)
		} else if l.master.kind != "bridge" {
			want = append(want, osl.ErrInvalid)
		}
	}
	if l.master != nil && l.master.ipv6() && !l.master.mtuSet && home != nil && l.mtu < 1280 {
		want = append(want, osl.ErrInvalid) // the bridge follows, and would lose them
	}
	what := words("AddInterface", b.name, src, prefix, text)
	if l.master != nil {
		what += " master " + l.master.src
	}
	if m.call(what, want, func() error { return n.AddInterface(src, prefix, opts...) }) {
		m.drop(home)
		b.settle(l)
	}
}

func (m *model) addBridge(b *mbox, n *osl.Namespace) {
	src := pick(m, "source", "b0", "b1")
	if b.source(src) != nil {
		return // two of one source name can not be told apart
	}
	l := trial("bridge", src, nil)
	opts, text, want := m.configure(b, l)
	l.name = lowest(b.all(), "br")
	opts = append(opts, n.InterfaceOptions().Bridge(true))
	if m.call(words("AddInterface", b.name, src, "br, a bridge", text), want, func() error { return n.AddInterface(src, "br", opts...) }) {
		b.settle(l)
	}
}

func (m *model) removeInterface(b *mbox, n *osl.Namespace) {
	list := n.Info().Interfaces()
	if len(list) == 0 {
		return
	}
	i := pick(m, "interface", list...)
	l := b.link(i.DstName())
	var want []error
	if l.home != nil && m.onHost(l.home.name) != nil {
		want = []error{osl.ErrNameInUse}
	}
	if m.call(words("Remove", b.name, l.name), want, i.Remove) {
		m.remove(l)
		if m.sometimes("twice", 3) {
			m.call(words("Remove again", b.name, l.name), nil, i.Remove)
		}
	}
}

// squat gives another link of the host the name of one that is away, or takes
// that link away.
func (m *model) squat() {
	if l := find(m.host, func(l *mlink) bool { return l.alias == "squatter" }); l != nil {
		m.call("the squatter goes", nil, func() error { return netlink.LinkDel(&netlink.Bridge{LinkAttrs: attrs(l.name)}) })
		m.drop(l)
		return
	}
	name := pick(m, "name", "h0", "h1", "d0", "x0")
	if m.onHost(name) != nil {
		return
	}
	l := &mlink{name: name, kind: "bridge", txq: 1000, alias: "squatter"}
	m.call("a squatter "+name, nil, func() error {
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs(name)}); err != nil {
			return err
		}
		return netlink.LinkSetAlias(&netlink.Bridge{LinkAttrs: attrs(name)}, l.alias)
	})
	m.host = append(m.host, l)
}

func (m *model) hide(b *mbox, n *osl.Namespace) {
	name := m.someLink(b)
	l, want := b.link(name), []error(nil)
	if l == nil {
		want = []error{osl.ErrNotFound}
	}
	if m.call(words("DisableARPForVIP", b.name, name), want, func() error { return n.DisableARPForVIP(name) }) {
		l.quiet = true
	}
}

func (m *model) invoke(b *mbox, n *osl.Namespace) {
	var have, want unix.Stat_t
	bad := m.sometimes("panic", 3)
	m.call("InvokeFunc "+b.name, nil, func() (err error) {
		defer func() {
			if r := recover(); (r != nil) != bad {
				err = fmt.Errorf("panic: %v, expected: %v", r, bad)
			}
		}()
		return n.InvokeFunc(func() {
			_ = unix.Stat("/proc/thread-self/ns/net", &have)
			if bad {
				panic("for the caller")
			}
		})
	})
	m.must(unix.Stat(n.Key(), &want))
	if have.Ino != want.Ino {
		m.t.Fatalf("InvokeFunc ran in another namespace")
	}
}

func (m *model) statistics(b *mbox, n *osl.Namespace) {
	for _, i := range n.Info().Interfaces() {
		m.call(words("Statistics", b.name, i.DstName()), nil, func() error { _, err := i.Statistics(); return err })
	}
}

// invalid makes a call that can never work.
func (m *model) invalid(b *mbox, n *osl.Namespace) {
	o, bad := n.InterfaceOptions(), []error{osl.ErrInvalid}
	calls := []func() error{
		func() error { return n.AddInterface("", "eth") },
		func() error { return n.AddInterface("h0", "e/th") },
		func() error { return n.AddInterface("h0", "a-very-long-name") },
		func() error { return n.AddInterface("h0", "eth", o.MacAddress(net.HardwareAddr{1})) },
		func() error { return n.AddInterface("h0", "eth", o.Address(&net.IPNet{IP: net.IP{1}})) },
		func() error { return n.AddInterface("h0", "eth", osl.WithMTU(-1)) },
		func() error { return n.AddInterface("lo", "eth") },
		func() error { return n.SetGateway(ip("fd01::1")) },
		func() error { return n.SetGatewayIPv6(ip("10.1.0.1")) },
		func() error { return n.AddStaticRoute(&types.StaticRoute{}) },
		func() error { return n.AddAliasIP("lo", nil) },
		func() error { return n.AddNeighbor(ip("10.1.0.9"), net.HardwareAddr{1}, true) },
		func() error { return n.InvokeFunc(nil) },
		func() error { return n.AddLink(m.t.Context(), osl.InterfaceSpec{Name: "l0", Type: "teapot"}) },
		func() error { return n.AddLink(m.t.Context(), osl.InterfaceSpec{Name: "l0", Type: "veth"}) },
		func() error { return n.AddLink(m.t.Context(), osl.InterfaceSpec{Name: "l0", Type: "vxlan"}) },
	}
	i := rapid.IntRange(0, len(calls)-1).Draw(m.t, "invalid call")
	m.call(fmt.Sprintf("invalid call %d", i), bad, calls[i])
}
