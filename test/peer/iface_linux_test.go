package peer

import (
	"net"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// failed tries an add that must fail, and demands that the link is on the host
// as it was and that nothing is left in the sandbox.
func failed(sb sandbox, r *run, key, src, prefix string, c conf) {
	want, within := r.link(src), r.linksIn(key)
	r.fails("add", sb.add(src, prefix, c))
	r.same("the link after the failed add", r.link(src), want)
	r.same("links in the sandbox", r.linksIn(key), within)
	for _, i := range sb.ifaces() {
		if i.SrcName() == src {
			r.not("the package still lists %s, as %s", src, i.DstName())
		}
	}
}

// conflicting returns a sandbox whose interface from va has 10.0.0.2/24.
func (r *run) conflicting() (sandbox, string) {
	sb, key := r.sandbox("conflict")
	r.host("va")
	r.added(sb, "va", "eth", conf{v4: cidr("10.0.0.2/24")})
	return sb, key
}

// additions are the behaviours of AddInterface, first of all when it fails.
var additions = []behaviour{
	{"15", "add fails, the name is taken inside: the link is on the host as it was", func(r *run) {
		sb, key := r.sandbox("taken")
		setup(r.within(key).LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "wan"}}))
		r.host("va")
		failed(sb, r, key, "va", "wan", conf{exact: true})
	}},
	{"14", "add fails, there is no such master: the link is on the host as it was", func(r *run) {
		sb, key := r.sandbox("master")
		r.host("va")
		failed(sb, r, key, "va", "eth", conf{master: "none"})
	}},
	{"14", "add fails, the address is in conflict: name, MAC, MTU, alias and up-state are as before", func(r *run) {
		sb, key := r.conflicting()
		r.host("vb")
		failed(sb, r, key, "vb", "eth", conf{mac: mac("02:00:00:00:00:bb"), v4: cidr("10.0.0.3/24")})
	}},
	{"14", "add fails, a route of the interface is refused: the link is on the host as it was", func(r *run) {
		sb, key := r.sandbox("route")
		r.host("va")
		failed(sb, r, key, "va", "eth", conf{v4: cidr("10.0.0.2/24"), routes: []*net.IPNet{cidr("fd99::/64")}})
	}},
	{"14", "add fails, the MAC is refused: the link is on the host as it was", func(r *run) {
		sb, key := r.sandbox("mac")
		r.host("va")
		failed(sb, r, key, "va", "eth", conf{mac: mac("01:00:00:00:00:01"), v4: cidr("10.0.0.2/24")})
	}},
	{"14", "add of a bridge fails, the address is in conflict: there is no bridge", func(r *run) {
		sb, key := r.conflicting()
		within := r.linksIn(key)
		r.fails("add", sb.add("br", "br", conf{bridge: true, v4: cidr("10.0.0.9/24")}))
		r.same("links in the sandbox", r.linksIn(key), within)
		r.ok("the next add of it", sb.add("br", "br", conf{bridge: true}))
	}},
	{"33", "add of a vxlan fails, the address is in conflict: the VNI is free again", func(r *run) {
		sb, key := r.conflicting()
		a := netlink.NewLinkAttrs()
		a.Name = "vx"
		vx := &netlink.Vxlan{LinkAttrs: a, VxlanId: 42, Port: 4789}
		setup(netlink.LinkAdd(vx))
		r.fails("add", sb.add("vx", "vxlan", conf{v4: cidr("10.0.0.9/24")}))
		r.nameIsHome("vx")
		setup(netlink.LinkDel(vx))
		setup(netlink.LinkAdd(vx))
		_ = key
	}},
	{"10b", "a prefix that can be no name: an error, and the link is on the host as it was", func(r *run) {
		sb, key := r.sandbox("names")
		r.host("va")
		for _, prefix := range []string{"a/b", "longer-than-the-kernel-has"} {
			failed(sb, r, key, "va", prefix, conf{})
		}
	}},
	{"10b", "an address without a mask: an error, and the link is on the host as it was", func(r *run) {
		sb, key := r.sandbox("maskless")
		r.host("va")
		failed(sb, r, key, "va", "eth", conf{v4: &net.IPNet{IP: net.IPv4(10, 0, 0, 2)}})
	}},
	{"21", "a number that another program's link has is passed over", func(r *run) {
		sb, key := r.sandbox("numbers")
		setup(r.within(key).LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}}))
		r.host("va")
		r.same("the name", r.added(sb, "va", "eth", conf{}).DstName(), "eth1")
	}},
	{"21", "a number that is free again is the next one given", func(r *run) {
		sb, _ := r.sandbox("reuse")
		for _, n := range []string{"va", "vb", "vc"} {
			r.host(n)
		}
		r.added(sb, "va", "eth", conf{})
		r.added(sb, "vb", "eth", conf{})
		r.ok("remove", r.iface(sb, "va").Remove())
		r.same("the name", r.added(sb, "vc", "eth", conf{}).DstName(), "eth0")
	}},
	{"20", "what was not asked for is kept: MAC, MTU, queue length", func(r *run) {
		sb, key := r.sandbox("unset")
		r.host("va")
		l, err := netlink.LinkByName("va")
		setup(err)
		setup(netlink.LinkSetTxQLen(l, 777))
		i := r.added(sb, "va", "eth", conf{v4: cidr("10.0.0.2/24")})
		a := r.inside(key, i.DstName()).Attrs()
		if a.MTU != 1400 || a.TxQLen != 777 || a.HardwareAddr.String() != "02:00:00:00:00:aa" {
			r.not("MTU %d, queue length %d, MAC %v", a.MTU, a.TxQLen, a.HardwareAddr)
		}
	}},
	{"29", "names with dots: the settings of the interface are set", func(r *run) {
		sb, _ := r.sandbox("dots")
		r.host("va.7")
		i := r.added(sb, "va.7", "eth0.", conf{v4: cidr("10.0.0.2/24"), arp: true})
		b, v6 := []byte(nil), []byte(nil)
		r.ok("invoke", sb.invoke(func() {
			b, _ = os.ReadFile("/proc/sys/net/ipv4/conf/" + i.DstName() + "/arp_notify")
			v6, _ = os.ReadFile("/proc/sys/net/ipv6/conf/" + i.DstName() + "/disable_ipv6")
		}))
		r.same("arp_notify", strings.TrimSpace(string(b)), "1")
		r.same("disable_ipv6", strings.TrimSpace(string(v6)), "1")
	}},
	{"14", "a link becomes a port of the bridge that was added before", func(r *run) {
		sb, key := r.sandbox("port")
		br := r.added(sb, "br", "br", conf{bridge: true, v4: cidr("10.0.0.1/24")})
		r.host("va")
		i := r.added(sb, "va", "veth", conf{master: "br"})
		if r.inside(key, i.DstName()).Attrs().MasterIndex != r.inside(key, br.DstName()).Attrs().Index {
			r.not("it is no port of the bridge")
		}
	}},
	{"30", "who listens on the link learns the address from an ARP at once", func(r *run) {
		r.announced(conf{v4: cidr("10.0.0.2/24")}, unix.ETH_P_ARP, func(b []byte) bool {
			return len(b) >= 42 && net.IP(b[28:32]).String() == "10.0.0.2"
		})
	}},
	{"30", "who listens on the link learns the IPv6 address from a neighbour advertisement at once", func(r *run) {
		r.announced(conf{v6: cidr("fd00::2/64")}, unix.ETH_P_IPV6, func(b []byte) bool {
			// Ethernet, IPv6 and ICMPv6 of type 136 with the target address.
			return len(b) >= 78 && b[20] == unix.IPPROTO_ICMPV6 && b[54] == 136 && net.IP(b[62:78]).String() == "fd00::2"
		})
	}},
	{"", "a link that was made in the sandbox is configured and named", func(r *run) {
		sb, key := r.sandbox("inside")
		a := netlink.NewLinkAttrs()
		a.Name = "made"
		setup(r.within(key).LinkAdd(&netlink.Veth{LinkAttrs: a, PeerName: "end"}))
		i := r.added(sb, "made", "eth", conf{v4: cidr("10.0.0.2/24"), inside: true})
		r.same("addresses", r.addrsIn(key, i.DstName()), "10.0.0.2/24")
		r.same("links in the sandbox", r.linksIn(key), "end eth0")
	}},
}

// announced adds va and waits for a frame at the link's other end.
func (r *run) announced(c conf, protocol int, is func(frame []byte) bool) {
	sb, _ := r.sandbox("announced")
	r.host("va")
	s, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	setup(err)
	l, err := netlink.LinkByName("vap")
	setup(err)
	setup(unix.Bind(s, &unix.SockaddrLinklayer{Protocol: uint16(protocol<<8 | protocol>>8&0xff), Ifindex: l.Attrs().Index}))
	setup(unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 3}))
	r.added(sb, "va", "eth", c)
	for b := make([]byte, 256); ; {
		n, _, err := unix.Recvfrom(s, b, 0)
		if err != nil {
			r.not("it was not announced: %v", err)
		}
		if is(b[:n]) {
			return
		}
	}
}

// removals are the behaviours of Remove and of what it needs.
var removals = []behaviour{
	{"18", "Remove brings the link home under its first name", func(r *run) {
		sb, _ := r.sandbox("remove")
		r.host("va")
		r.ok("remove", r.added(sb, "va", "eth", conf{v4: cidr("10.0.0.2/24")}).Remove())
		r.nameIsHome("va")
		r.ok("destroy", sb.destroy())
	}},
	{"18a", "Remove gives the link its first MAC, MTU, alias and up-state back", func(r *run) {
		sb, _ := r.sandbox("settings")
		want := r.host("va")
		r.ok("remove", r.added(sb, "va", "eth", conf{mac: mac("02:00:00:00:00:bb"), v4: cidr("10.0.0.2/24")}).Remove())
		r.same("the link", r.link("va"), want)
	}},
	{"19", "a second Remove succeeds", func(r *run) {
		sb, _ := r.sandbox("again")
		r.host("va")
		i := r.added(sb, "va", "eth", conf{})
		r.ok("remove", i.Remove())
		r.ok("the second", i.Remove())
		r.nameIsHome("va")
	}},
	{"19", "a Remove that fails, the name is taken at home, succeeds when it is free again", func(r *run) {
		sb, _ := r.sandbox("retry")
		r.host("va")
		i := r.added(sb, "va", "eth", conf{v4: cidr("10.0.0.2/24")})
		other := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "va"}}
		setup(netlink.LinkAdd(other))
		r.fails("remove", i.Remove())
		r.ok("read the counters", r.iface(sb, "va").counters())
		setup(netlink.LinkDel(other))
		r.ok("the second", i.Remove())
		r.nameIsHome("va")
	}},
	{"16", "an interface that was renamed inside has statistics and can be removed", func(r *run) {
		sb, key := r.sandbox("renamed")
		r.host("va")
		i := r.added(sb, "va", "eth", conf{})
		h, l := r.within(key), r.inside(key, i.DstName())
		setup(h.LinkSetDown(l))
		setup(h.LinkSetName(l, "other"))
		r.ok("read the counters", i.counters())
		r.ok("remove", i.Remove())
		r.nameIsHome("va")
	}},
	{"17", "an alternative name that is taken at home does not block the way home", func(r *run) {
		sb, key := r.sandbox("altname")
		r.host("va")
		r.host("vb")
		i := r.added(sb, "va", "eth", conf{})
		setup(r.within(key).LinkAddAltName(r.inside(key, i.DstName()), "vb"))
		r.ok("remove", i.Remove())
		r.nameIsHome("va")
	}},
	{"18", "Remove deletes a bridge that was made in the sandbox", func(r *run) {
		sb, key := r.sandbox("bridge")
		r.ok("remove", r.added(sb, "br", "br", conf{bridge: true}).Remove())
		r.same("links in the sandbox", r.linksIn(key), "")
	}},
}
