//go:build linux

package osltest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

// seenLink is a link as the witness sees it.
type seenLink struct {
	mac string
	mtu int
	six string
}

// compare demands that the kernel and Info hold what the model says. The links
// of a namespace that is gone are deleted a little later.
func (m *model) compare() {
	m.t.Helper()
	wait := 100 * time.Millisecond
	if len(m.stale) > 0 {
		wait = 3 * time.Second
	}
	for end := time.Now().Add(wait); ; time.Sleep(2 * time.Millisecond) {
		want, have := m.texts()
		if slices.Equal(want, have) {
			break
		}
		if time.Now().After(end) {
			m.t.Fatalf("the model (-) and the kernel (+) differ:\n%s", diff(want, have))
		}
	}
	for _, b := range m.sorted() {
		for i, n := range b.handles {
			if want, have := b.info(), infoText(n.Info()); want != have {
				m.t.Fatalf("Info of handle %d of %s is\n%s\nand should be\n%s", i, b.name, have, want)
			}
		}
	}
	for _, n := range m.stale {
		if got := infoText(n.Info()); got != "gateway <nil>, <nil>" {
			m.t.Fatalf("Info of a sandbox that is gone is\n%s", got)
		}
	}
}

func (m *model) sorted() (list []*mbox) {
	for _, name := range boxNames {
		if b := m.boxes[name]; b != nil {
			list = append(list, b)
		}
	}
	return list
}

// texts is the model's word and the witness's, in the same form.
func (m *model) texts() (want, have []string) {
	keys, _ := os.ReadDir("/run/netns")
	for _, k := range keys {
		have = append(have, "key "+k.Name())
	}
	seen := m.read("", &have)
	want = append(want, m.linkLine("", &mlink{name: "lo", kind: "device", up: true}, seen))
	for _, l := range m.host {
		want = append(want, m.linkLine("", l, seen))
		for _, a := range l.addrs {
			want = append(want, fmt.Sprintf(": address %v dev %s", a.Prefix, l.name))
		}
	}
	for _, b := range m.sorted() {
		if _, err := os.Stat(osl.GenerateKey(b.name)); err != nil {
			want = append(want, "key "+b.name)
			continue
		}
		seen := m.read(b.name, &have)
		want = append(want, "key "+b.name)
		for _, l := range b.all() {
			want = append(want, m.linkLine(b.name, l, seen))
			for _, a := range l.addrs {
				want = append(want, fmt.Sprintf("%s: address %v dev %s", b.name, a.Prefix, l.name))
			}
		}
		for _, r := range b.routes {
			want = append(want, fmt.Sprintf("%s: route %v via %v dev %s", b.name, r.dst, r.via, r.dev.name))
		}
		for _, n := range b.neighs {
			want = append(want, fmt.Sprintf("%s: neighbor %v %s dev %s fdb %v", b.name, n.ip, n.mac, n.dev.name, n.fdb))
		}
	}
	slices.Sort(want)
	slices.Sort(have)
	return want, have
}

// linkLine is the model's line of a link. What the kernel chose, a hardware
// address or MTU that nobody set, is learned where it is first seen.
func (m *model) linkLine(ns string, l *mlink, seen map[string]seenLink) string {
	s := seen[l.name]
	if l.mac == "" && l.name != "lo" {
		l.mac = s.mac
	}
	if l.mtu == 0 {
		l.mtu = s.mtu
	}
	hw, master, alias := l.mac, "", l.alias
	if l.master != nil {
		master = l.master.name
	}
	six, arp := "", ""
	if ns != "" || l.src != "" {
		alias = "osl's"
	}
	if ns != "" {
		six, arp = "off", "0/0"
		if l.ipv6() || l.name == "lo" && slices.ContainsFunc(l.box.all(), (*mlink).ipv6) {
			six = "on"
		}
		if l.mtu < 1280 {
			six = "none"
		}
		if l.name == "lo" && l.box.lingers {
			if l.box.lingers = six == "off" && s.six == "on"; l.box.lingers {
				six = "on"
			}
		}
		if l.quiet {
			arp = "1/2"
		}
	}
	return linkText(ns, l.name, l.kind, hw, l.mtu, l.txq, l.up, master, alias, six, arp, nil)
}

func linkText(ns, name, kind, hw string, mtu, txq int, up bool, master, alias, six, arp string, alt []string) string {
	if name == "lo" {
		kind, hw, txq = "", "", 0
	}
	return fmt.Sprintf("%s: link %s %s mac=%s mtu=%d txq=%d up=%v master=%q alias=%q ipv6=%s arp=%s %v", ns, name, kind, hw, mtu, txq, up, master, alias, six, arp, alt)
}

// again repeats a listing that was interrupted.
func again[T any](m *model, list func() ([]T, error)) []T {
	for try := 0; ; try++ {
		out, err := list()
		if errors.Is(err, netlink.ErrDumpInterrupted) && try < 20 {
			continue
		}
		m.must(err)
		return out
	}
}

// read adds what the witness sees in a sandbox, or on the host, to lines.
func (m *model) read(box string, lines *[]string) map[string]seenLink {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if box != "" {
		ns, nerr := netns.GetFromPath(osl.GenerateKey(box))
		m.must(nerr)
		defer ns.Close()
		h, err = netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	}
	m.must(err)
	defer h.Close()
	add := func(format string, args ...any) { *lines = append(*lines, fmt.Sprintf(format, args...)) }
	seen, names := map[string]seenLink{}, map[int]string{}
	list := again(m, h.LinkList)
	for _, l := range list {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	conf := m.settings(box, list)
	for _, l := range list {
		a := l.Attrs()
		alias := a.Alias
		if strings.HasPrefix(alias, "osl1;") {
			alias = "osl's"
			if strings.Contains(a.Alias, ";w=1") {
				alias = "osl's, under way"
			}
		}
		if box != "" { // where osl notes what the link had on the host
			a.AltNames = slices.DeleteFunc(a.AltNames, func(n string) bool { return strings.HasPrefix(n, "osl1h.") })
		}
		c := conf[a.Name]
		seen[a.Name] = seenLink{mac: a.HardwareAddr.String(), mtu: a.MTU, six: c[0]}
		add("%s", linkText(box, a.Name, l.Type(), a.HardwareAddr.String(), a.MTU, a.TxQLen, a.Flags&net.FlagUp != 0, names[a.MasterIndex], alias, c[0], c[1], a.AltNames))
	}
	families := []int{unix.AF_INET, unix.AF_INET6, unix.AF_BRIDGE}
	if box == "" {
		families = families[2:]
	}
	for _, family := range families {
		for _, n := range again(m, func() ([]netlink.Neigh, error) { return h.NeighList(0, family) }) {
			if n.State&netlink.NUD_PERMANENT != 0 && n.IP != nil {
				add("%s: neighbor %v %v dev %s fdb %v", box, n.IP, n.HardwareAddr, names[n.LinkIndex], family == unix.AF_BRIDGE)
			}
		}
	}
	for _, a := range again(m, func() ([]netlink.Addr, error) { return h.AddrList(nil, netlink.FAMILY_ALL) }) {
		if a.IP.IsLoopback() || a.IP.To4() == nil && a.IP.IsLinkLocalUnicast() && a.IPNet.String() != linkLocal {
			continue
		}
		add("%s: address %v dev %s", box, a.IPNet, names[a.LinkIndex])
	}
	if box == "" {
		return seen
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		for _, r := range again(m, func() ([]netlink.Route, error) {
			return h.RouteListFiltered(family, &netlink.Route{Protocol: 111}, netlink.RT_FILTER_PROTOCOL)
		}) {
			dst, via := "0.0.0.0/0", "invalid IP"
			if family == unix.AF_INET6 {
				dst = "::/0"
			}
			if r.Dst != nil {
				dst = r.Dst.String()
			}
			if r.Gw != nil {
				via = r.Gw.String()
			}
			add("%s: route %s via %s dev %s", box, dst, via, names[r.LinkIndex])
		}
	}
	return seen
}

// settings reads IPv6 on or off, and the ARP settings, of links in a sandbox.
func (m *model) settings(box string, list []netlink.Link) map[string][2]string {
	conf := map[string][2]string{}
	if box == "" {
		return conf
	}
	m.must(ownThread(func() error {
		fd, err := unix.Open(osl.GenerateKey(box), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return err
		}
		get := func(format, name string) string {
			b, err := os.ReadFile(fmt.Sprintf("/proc/sys/net/"+format, name))
			if err != nil {
				return "-"
			}
			return strings.TrimSpace(string(b))
		}
		for _, l := range list {
			n := l.Attrs().Name
			six := map[string]string{"0": "on", "1": "off", "-": "none"}[get("ipv6/conf/%s/disable_ipv6", n)]
			conf[n] = [2]string{six, get("ipv4/conf/%s/arp_ignore", n) + "/" + get("ipv4/conf/%s/arp_announce", n)}
		}
		return nil
	}))
	return conf
}

// info is the text of what Info should say.
func (b *mbox) info() string {
	i := &mInfo{b}
	return i.text()
}

type mInfo struct{ *mbox }

func (i *mInfo) text() string {
	var out []string
	for _, l := range i.links {
		var first [2]*net.IPNet
		ll, routes, master := []string{}, []string{}, ""
		for _, a := range l.addrs {
			f := 0
			if a.Addr().Is6() {
				f = 1
			}
			switch {
			case a.alias:
			case a.Addr().IsLinkLocalUnicast():
				ll = append(ll, a.String())
			case first[f] == nil:
				first[f] = ipnet(a.String())
			}
		}
		for _, r := range i.routes {
			if r.dev == l && !r.static && !r.via.IsValid() {
				routes = append(routes, r.dst.String())
			}
		}
		if l.master != nil {
			master = l.master.src
		}
		slices.Sort(ll)
		slices.Sort(routes)
		out = append(out, fmt.Sprintf("interface %s as %s %v %v ll=%v routes=%v bridge=%v master=%q", l.src, l.name,
			first[0], first[1], ll, routes, l.kind == "bridge", master))
	}
	var statics []string
	gw := map[bool]net.IP{}
	for _, r := range i.routes {
		switch {
		case r.gateway():
			gw[r.dst.Addr().Is4()] = r.via.AsSlice()
		case r.via.IsValid():
			statics = append(statics, fmt.Sprintf("route %v type 0 via %v", r.dst, r.via))
		case r.static:
			statics = append(statics, fmt.Sprintf("route %v type 1 via <nil>", r.dst))
		}
	}
	slices.Sort(statics)
	out = append(out, fmt.Sprintf("gateway %v, %v", gw[true], gw[false]))
	return strings.Join(append(out, statics...), "\n")
}
