package engine_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/netns"
)

// look returns what the host and the sandboxes in /run/netns hold, a line for
// each object, in an order of its own. It reads the kernel's tables itself: of
// osl it takes nothing but the way into a namespace.
func look(t testing.TB) []string {
	t.Helper()
	home, err := netns.Home()
	if err != nil {
		t.Fatal(err)
	}
	list := lookIn(t, "host", home)
	keys, _ := filepath.Glob("/run/netns/*")
	for _, key := range keys {
		name := filepath.Base(key)
		fd, id, err := netns.Open(key)
		if err != nil {
			list = append(list, fmt.Sprintf("%s: file: %v", name, err))
			continue
		}
		list = append(list, fmt.Sprintf("%s: namespace %d", name, id.Ino))
		list = append(list, lookIn(t, name, fd)...)
		unix.Close(fd)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range strings.Split(string(mounts), "\n") {
		if f := strings.Fields(m); len(f) > 4 && strings.HasPrefix(f[4], "/run/") {
			list = append(list, fmt.Sprintf("%s: mount at %s", filepath.Base(f[4]), f[4]))
		}
	}
	slices.Sort(list)
	return list
}

// anew takes out of a picture what differs between two sandboxes that were
// made alike: indexes and what the kernel chose at random.
func anew(list []string) []string {
	out := anewInOrder(list)
	slices.Sort(out)
	return out
}

func anewInOrder(list []string) (out []string) {
	for _, l := range list {
		if strings.Contains(l, " has the name osl1h.") {
			continue // what the record of a link says shows when that is home
		}
		for _, c := range chosen {
			l = c.pattern.ReplaceAllString(l, c.with)
		}
		out = append(out, l)
	}
	return out
}

// chosen is what the kernel or osl chooses anew for each sandbox.
var chosen = [...]struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`: namespace \d+`), ": namespace"},
	{regexp.MustCompile(`;i=\d+`), ";i="},
	{regexp.MustCompile(`;b=[0-9a-z]+`), ""},
	{regexp.MustCompile(`osl1\.o\.[0-9a-z]+`), "osl1.o"},
	{regexp.MustCompile(` index \d+`), ""},
	{regexp.MustCompile(`(02:5a:00:00:00:\d\d)`), "<$1>"},
	{regexp.MustCompile(`([^<])([0-9a-f]{2}:){5}[0-9a-f]{2}`), "${1}MAC"},
	{regexp.MustCompile(`fe80::[0-9a-f:]*ff:fe[0-9a-f:]*`), "fe80::EUI"},
}

// settings are those of a whole namespace that a change of osl could touch.
var settings = []string{"ipv4/ip_forward", "ipv4/conf/all/arp_ignore", "ipv4/conf/default/arp_ignore", "ipv4/conf/all/arp_notify",
	"ipv6/conf/all/disable_ipv6", "ipv6/conf/default/disable_ipv6", "ipv6/conf/default/accept_dad", "ipv6/conf/all/forwarding",
	"ipv6/conf/default/forwarding", "ipv4/conf/all/accept_redirects", "ipv4/conf/default/forwarding", "ipv4/conf/default/rp_filter",
	"ipv4/conf/all/send_redirects", "ipv4/ip_local_port_range", "ipv4/ip_unprivileged_port_start"}

func lookIn(t testing.TB, where string, fd int) (list []string) {
	t.Helper()
	say := func(format string, args ...any) { list = append(list, where+": "+fmt.Sprintf(format, args...)) }
	var conn *netlink.Conn
	if err := netns.Do(fd, func() (err error) {
		for _, s := range settings {
			b, _ := os.ReadFile("/proc/sys/net/" + s)
			say("setting %s=%s", s, bytes.TrimSpace(b))
		}
		conn, err = netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{Strict: true})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	features, done := offloadsIn(t, fd)
	defer done()
	dump := func(typ uint16, head ...byte) [][]byte {
		answers, err := conn.Execute(netlink.Message{Data: head,
			Header: netlink.Header{Type: netlink.HeaderType(typ), Flags: netlink.Request | netlink.Dump}})
		if err != nil {
			return nil // no such table
		}
		var out [][]byte
		for _, a := range answers {
			out = append(out, a.Data)
		}
		return out
	}
	for _, rule := range nftIn(t, fd) {
		say("%s", rule)
	}
	links := dump(unix.RTM_GETLINK, make([]byte, unix.SizeofIfInfomsg)...)
	names, wireguards := map[uint32]string{}, map[uint32]string{}
	for _, p := range links {
		a := attributes(t, p[unix.SizeofIfInfomsg:])
		names[u32(p[4:])] = text(a[unix.IFLA_IFNAME])
		if text(attributes(t, a[unix.IFLA_LINKINFO])[1]) == "wireguard" {
			wireguards[u32(p[4:])] = names[u32(p[4:])]
		}
	}
	if len(wireguards) > 0 {
		for _, line := range wireguardIn(t, fd, wireguards) {
			say("%s", line)
		}
	}
	for _, p := range links {
		a := attributes(t, p[unix.SizeofIfInfomsg:])
		say("link %s index %d mac %v mtu %d qlen %d up %v alias %q master %s flags %x group %x sizes %x conf %s kind %x", text(a[unix.IFLA_IFNAME]), u32(p[4:]),
			net.HardwareAddr(a[unix.IFLA_ADDRESS]), u32(a[unix.IFLA_MTU]), u32(a[unix.IFLA_TXQLEN]), u32(p[8:])&unix.IFF_UP != 0,
			text(a[unix.IFLA_IFALIAS]), names[u32(a[unix.IFLA_MASTER])], u32(p[8:])&(unix.IFF_PROMISC|unix.IFF_ALLMULTI|unix.IFF_NOARP), a[unix.IFLA_GROUP],
			[][]byte{a[unix.IFLA_GSO_MAX_SIZE], a[unix.IFLA_GSO_MAX_SEGS], a[unix.IFLA_GRO_MAX_SIZE], attributes(t, attributes(t, a[unix.IFLA_AF_SPEC])[unix.AF_INET6])[8]}, devconf(t, a[unix.IFLA_AF_SPEC]), kindOf(t, a[unix.IFLA_LINKINFO]))
		say("link %s offloads %s", text(a[unix.IFLA_IFNAME]), features(text(a[unix.IFLA_IFNAME])))
		for _, n := range attributesIn(t, a[52]) { // IFLA_PROP_LIST
			say("link %s has the name %s too", text(a[unix.IFLA_IFNAME]), text(n))
		}
	}
	vlans := make([]byte, unix.SizeofIfInfomsg)
	vlans[0] = unix.AF_BRIDGE
	vlans = append(vlans, 8, 0, unix.IFLA_EXT_MASK, 0, 4, 0, 0, 0) // RTEXT_FILTER_BRVLAN_COMPRESSED
	for _, p := range dump(unix.RTM_GETLINK, vlans...) {
		a := attributes(t, p[unix.SizeofIfInfomsg:])
		say("VLANs of %s %x", names[u32(p[4:])], attributesIn(t, a[unix.IFLA_AF_SPEC]))
	}
	for _, p := range dump(unix.RTM_GETMDB, unix.AF_BRIDGE, 0, 0, 0, 0, 0, 0, 0) {
		for _, entry := range attributesIn(t, attributes(t, p[8:])[1]) { // MDBA_MDB
			for _, e := range attributesIn(t, entry) {
				if len(e) >= 28 && e[4] == 1 { // struct br_mdb_entry, MDB_PERMANENT
					say("multicast entry of a bridge at %s VLAN %x group %x", names[u32(e)], e[6:8], e[8:26])
				}
			}
		}
	}
	for _, p := range dump(unix.RTM_GETADDR, make([]byte, unix.SizeofIfAddrmsg)...) {
		a := attributes(t, p[unix.SizeofIfAddrmsg:])
		flags := u32(a[unix.IFA_FLAGS]) &^ (unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED | unix.IFA_F_NODAD)
		say("address %v/%d peer %v broadcast %v label %s on %s scope %d flags %x proto %x", ip(a[unix.IFA_LOCAL]), p[1], ip(a[unix.IFA_ADDRESS]),
			ip(a[unix.IFA_BROADCAST]), text(a[unix.IFA_LABEL]), names[u32(p[4:])], p[3], flags, a[11])
	}
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		head := make([]byte, unix.SizeofRtMsg)
		head[0] = family
		for _, p := range dump(unix.RTM_GETROUTE, head...) {
			a := attributes(t, p[unix.SizeofRtMsg:])
			// What the kernel has by itself for addresses is in the table local, or in a vrf's: there
			// the anycast address of a router's subnet, too, which hangs on whether the address or
			// the forwarding was first.
			own := p[5] == unix.RTPROT_KERNEL && (p[7] == unix.RTN_LOCAL || p[7] == unix.RTN_ANYCAST || p[7] == unix.RTN_BROADCAST)
			if own || p[4] == unix.RT_TABLE_LOCAL || p[7] == unix.RTN_MULTICAST || u32(p[8:])&unix.RTM_F_CLONED != 0 {
				continue
			}
			say("route %v/%d nhid %x via %v%x dev %s source %v metric %d table %d proto %d scope %d type %d onlink %v metrics %x hops %s",
				ip(a[unix.RTA_DST]), p[1], a[30], ip(a[unix.RTA_GATEWAY]), a[unix.RTA_VIA], names[u32(a[unix.RTA_OIF])], ip(a[unix.RTA_PREFSRC]), u32(a[unix.RTA_PRIORITY]),
				u32(a[unix.RTA_TABLE]), p[5], p[6], p[7], u32(p[8:])&unix.RTNH_F_ONLINK != 0, a[unix.RTA_METRICS], hops(names, a[unix.RTA_MULTIPATH]))
		}
		for _, p := range dump(unix.RTM_GETRULE, head...) {
			say("rule family %d %x", family, p)
		}
	}
	for _, p := range dump(unix.RTM_GETNEXTHOP, make([]byte, 8)...) {
		a := attributes(t, p[8:])
		resilient := attributes(t, a[12])
		delete(resilient, 4) // for how long it is unbalanced
		say("nexthop %x family %d scope %d proto %d onlink %v via %v dev %s blackhole %v group %x type %x resilient %v", a[unix.NHA_ID], p[0], p[1], p[2], u32(p[4:])&unix.RTNH_F_ONLINK != 0,
			ip(a[unix.NHA_GATEWAY]), names[u32(a[unix.NHA_OIF])], a[unix.NHA_BLACKHOLE] != nil, a[unix.NHA_GROUP], a[unix.NHA_GROUP_TYPE], resilient)
	}
	for _, p := range dump(unix.RTM_GETQDISC, make([]byte, 20)...) {
		if a := attributes(t, p[20:]); u32(p[8:]) != 0 { // others are the kernel's own
			say("qdisc %s %x of %x on %s %x", text(a[1]), u32(p[8:]), u32(p[12:]), names[u32(p[4:])], unseeded(a[2]))
		}
	}
	for _, family := range []byte{unix.AF_UNSPEC, unix.AF_BRIDGE} {
		head := make([]byte, 12)
		head[0] = family
		for _, p := range dump(unix.RTM_GETNEIGH, head...) {
			a := attributes(t, p[12:])
			if family == unix.AF_BRIDGE && uint16(p[8])&unix.NUD_NOARP != 0 && len(a[unix.NDA_MASTER]) > 0 {
				say("entry of a bridge %v on %s flags %x VLAN %x", net.HardwareAddr(a[unix.NDA_LLADDR]), names[u32(p[4:])], p[10], a[unix.NDA_VLAN])
			}
			// The multicast addresses that a device listens to are the kernel's.
			if mac := a[unix.NDA_LLADDR]; uint16(p[8])&unix.NUD_PERMANENT != 0 && !(family == unix.AF_BRIDGE && len(mac) > 0 && mac[0]&1 != 0) {
				say("neighbor %v is at %v on %s family %d flags %x proto %x", ip(a[unix.NDA_DST]), net.HardwareAddr(a[unix.NDA_LLADDR]),
					names[u32(p[4:])], p[0], p[10], a[12])
			}
		}
	}
	return list
}

// hops gives the next hops of a route, each with the name of its device.
func hops(names map[uint32]string, b []byte) string {
	var list []string
	for len(b) >= unix.SizeofRtNexthop {
		n := int(binary.NativeEndian.Uint16(b))
		list = append(list, fmt.Sprintf("%x on %s flags %x weight %d", b[unix.SizeofRtNexthop:n], names[u32(b[4:])], b[2]&unix.RTNH_F_ONLINK, b[3]))
		b = b[min((n+3)&^3, len(b)):]
	}
	return strings.Join(list, ", ")
}

// devconf returns all settings of a link's IPv4 and IPv6.
func devconf(t testing.TB, spec []byte) string {
	families := attributes(t, spec)
	v4, v6 := attributes(t, families[unix.AF_INET])[1], attributes(t, families[unix.AF_INET6])[2]
	return "ipv4 " + short(v4) + " ipv6 " + short(v6)
}

// short gives an array of numbers as those of its places that are not zero.
func short(b []byte) string {
	var s []string
	for i := 0; i+4 <= len(b); i += 4 {
		if v := u32(b[i:]); v != 0 {
			s = append(s, fmt.Sprintf("%d=%d", i/4, int32(v)))
		}
	}
	return strings.Join(s, ",")
}

func kindOf(t testing.TB, info []byte) string {
	a := attributes(t, info)
	kind, port := text(a[1]), ""
	if text(a[4]) == "bridge" { // what kind of a port it is
		port = someOf(t, a[5], 2, 3, 4, 5, 6, 7, 8, 9, 25, 27, 30, 32, 33)
	}
	switch kind {
	case "bridge":
		if u32(attributes(t, a[2])[5]) == 0 { // with the spanning tree it is another while the topology changes
			kind += someOf(t, a[2], 4)
		}
		return kind + someOf(t, a[2], 1, 2, 3, 5, 6, 7, 8, 23, 25, 39)
	case "bond":
		return kind + someOf(t, a[2], 1, 3) + port
	case "vrf", "macvlan", "macvtap", "ipvlan", "vlan", "geneve", "gre", "ip6gre", "ipip", "sit", "netkit":
		return kind + hex.EncodeToString(a[2]) + port
	case "vxlan":
		return kind + hex.EncodeToString(attributes(t, a[2])[unix.IFLA_VXLAN_ID]) + port
	}
	return kind + port
}

// someOf returns some of the settings of a bridge, or of a port of one.
func someOf(t testing.TB, data []byte, which ...uint16) (s string) {
	a := attributes(t, data)
	for _, n := range which {
		s += fmt.Sprintf(" %d=%x", n, a[n])
	}
	return s
}

func attributes(t testing.TB, b []byte) map[uint16][]byte {
	t.Helper()
	m := map[uint16][]byte{}
	d, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		t.Fatal(err)
	}
	for d.Next() {
		m[d.Type()] = d.Bytes()
	}
	return m
}

func attributesIn(t testing.TB, b []byte) (list [][]byte) {
	t.Helper()
	d, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		t.Fatal(err)
	}
	for d.Next() {
		list = append(list, d.Bytes())
	}
	return list
}

func u32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

func text(b []byte) string { return strings.TrimRight(string(b), "\x00") }

func ip(b []byte) netip.Addr { a, _ := netip.AddrFromSlice(b); return a }

// unseeded is what a qdisc has but for the start of a netem's random numbers, which is another
// for each: TCA_NETEM_PRNG_SEED, the last one, since Linux 6.7.
func unseeded(options []byte) []byte {
	if seed := len(options) - 12; seed > 0 && bytes.Equal(options[seed:seed+4], []byte{12, 0, 14, 0}) {
		return options[:seed]
	}
	return options
}
