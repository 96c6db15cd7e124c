//go:build linux

package osltest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/seed59451c2b/osl"
)

// A network that is edited at random, again and again: each time it goes up,
// and then there is nothing to change, and the kernel has what it says.
func TestEdits(t *testing.T) {
	begin(t)
	draws(t, "12", "4")
	rapid.Check(t, func(r *rapid.T) {
		defer func() {
			if _, err := osl.Down(t.Context(), osl.Network{Name: "lab"}); err != nil {
				r.Fatalf("down: %v", err)
			}
			left, _ := os.ReadDir("/run/netns")
			links, err := netlink.LinkList()
			if err != nil || len(left) > 0 || len(links) > 1 {
				r.Fatalf("left: %v and %d links %v", left, len(links), err)
			}
		}()
		for range 4 {
			n := drawNetwork(r)
			text, _ := json.Marshal(n)
			r.Logf("apply %s", text)
			would, err := osl.Diff(t.Context(), n)
			if err != nil {
				r.Fatalf("diff: %v", err)
			}
			did, err := osl.Apply(t.Context(), n)
			if err != nil {
				r.Fatalf("apply: %v\n%s", err, would)
			}
			if len(would) != len(did) {
				r.Fatalf("diff said\n%sand apply did\n%s", would, did)
			}
			if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
				r.Fatalf("diff after that: %v\n%s", err, c)
			}
			asRead(r, n)
			if got, want := standing(r, n), described(n); got != want {
				r.Fatalf("the kernel has\n%sand the network says\n%s", got, want)
			}
		}
	})
}

// drawNetwork draws a network that can be built.
func drawNetwork(r *rapid.T) osl.Network {
	n := osl.Network{Name: "lab", Segments: []osl.SegmentSpec{{Name: "blue", Subnet: []netip.Prefix{netip.MustParsePrefix("10.77.0.0/24")}}, {Name: "green"}}}
	draw := func(what string, list ...string) string { return rapid.SampledFrom(list).Draw(r, what) }
	far := []string{"f0", "f1", "f2"}
	var open []osl.Endpoint // ends of links that wait for another
	for _, name := range []string{"sa", "sb", "sc"} {
		if !rapid.Bool().Draw(r, name) {
			continue
		}
		s := osl.Spec{Name: name}
		subnets := rapid.Permutation([]int{1, 2, 3, 4, 5}).Draw(r, "subnets")
		parents := []string{}
		for i, dev := range []string{"e0", "e1", "e2", "e3"} {
			f := osl.InterfaceSpec{Name: dev}
			kind := draw("kind of "+dev, "none", "bridge", "vxlan", "host", "link", "macvlan", "segment", "segment")
			switch {
			case kind == "none":
				continue
			case kind == "host" && len(far) > 0:
				f.Type, f.Peer = "veth", osl.Endpoint{Sandbox: osl.HostName, Interface: far[0]}
				far = far[1:]
			case kind == "link":
				open = append(open, osl.Endpoint{Sandbox: name, Interface: dev})
			case kind == "segment":
				f.Segment = draw("segment", "blue", "green")
				if slices.ContainsFunc(s.Interfaces, func(o osl.InterfaceSpec) bool { return o.Segment == "blue" }) {
					f.Segment = "green" // one sandbox has one address of a subnet
				}
			case kind == "vxlan":
				f.Type, f.VNI = "vxlan", 10*i+rapid.IntRange(1, 2).Draw(r, "VNI")
				f.Remote = netip.MustParseAddr(draw("remote", "192.0.2.1", "192.0.2.2"))
			case kind == "macvlan" && len(parents) > 0:
				f.Type, f.Parent, f.Mode = "macvlan", draw("parent", parents...), draw("mode", "bridge", "private", "vepa")
			default:
				f.Type = "bridge"
			}
			if f.Type == "bridge" || f.Peer.Sandbox != "" {
				parents = append(parents, dev)
			}
			for _, host := range rapid.SliceOfNDistinct(rapid.IntRange(1, 4), 0, 3, rapid.ID).Draw(r, "addresses") {
				p := netip.MustParsePrefix(fmt.Sprintf("10.%d.0.%d/24", subnets[i], host))
				if rapid.Bool().Draw(r, "alias") {
					f.Aliases = append(f.Aliases, p)
				} else {
					f.Addresses = append(f.Addresses, p)
				}
			}
			if rapid.Bool().Draw(r, "IPv6") {
				f.Addresses = append(f.Addresses, netip.MustParsePrefix(fmt.Sprintf("fd0%d::1/64", subnets[i])))
			}
			if rapid.Bool().Draw(r, "route") {
				f.Routes = append(f.Routes, netip.MustParsePrefix(fmt.Sprintf("172.20.%d.0/24", i)))
			}
			if rapid.Bool().Draw(r, "rate of "+dev) {
				f.Impair = &osl.ImpairSpec{Rate: osl.Rate(8000 * rapid.IntRange(1, 3).Draw(r, "rate"))}
			}
			s.Interfaces = append(s.Interfaces, f)
		}
		s.Sysctls = map[string]string{"ipv4.conf.all.promote_secondaries": draw("promote", "0", "1")}
		n.Sandboxes = append(n.Sandboxes, s)
	}
	open = rapid.Permutation(open).Draw(r, "order of links")
	for len(open) > 1 {
		n.Links = append(n.Links, osl.Link{open[0], open[1]})
		open = open[2:]
	}
	for i := range n.Sandboxes {
		s := &n.Sandboxes[i]
		s.Interfaces = slices.DeleteFunc(s.Interfaces, func(f osl.InterfaceSpec) bool {
			return len(open) > 0 && open[0] == osl.Endpoint{Sandbox: s.Name, Interface: f.Name} // without another end
		})
		s.Routes = drawRoutes(r, s.Interfaces)
	}
	return n
}

// drawn are the destinations of the routes that are drawn.
var drawn = netip.MustParsePrefix("172.24.0.0/13")

// drawRoutes draws routes that need no address.
func drawRoutes(r *rapid.T, on []osl.InterfaceSpec) (list []osl.RouteSpec) {
	for i := range 3 {
		for _, metric := range rapid.SliceOfNDistinct(rapid.SampledFrom([]uint32{0, 7, 4278198272}), 0, 2, rapid.ID).Draw(r, "metrics") {
			x := osl.RouteSpec{To: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(24 + i), 0, 0}), 16), Metric: metric,
				Table: rapid.SampledFrom([]uint32{0, 100, 70000}).Draw(r, "table"), MTU: rapid.SampledFrom([]uint32{0, 1300}).Draw(r, "MTU")}
			hops := rapid.IntRange(0, 3).Draw(r, "hops")
			if len(on) == 0 || hops == 0 {
				x.Type = rapid.SampledFrom([]string{"blackhole", "unreachable", "prohibit", "throw"}).Draw(r, "type")
			} else {
				for j := range hops {
					x.NextHops = append(x.NextHops, osl.NextHop{Via: netip.AddrFrom4([4]byte{192, 0, 2, byte(j + 1)}),
						Dev: rapid.SampledFrom(on).Draw(r, "dev").Name, Weight: rapid.IntRange(0, 3).Draw(r, "weight")})
				}
			}
			if !slices.ContainsFunc(list, func(o osl.RouteSpec) bool { return o.To == x.To && o.Metric == x.Metric && o.Table == x.Table }) {
				list = append(list, x)
			}
		}
	}
	return list
}

func typeOf(typ int) string {
	return map[int]string{unix.RTN_BLACKHOLE: "blackhole", unix.RTN_UNREACHABLE: "unreachable", unix.RTN_PROHIBIT: "prohibit", unix.RTN_THROW: "throw", unix.RTN_UNICAST: "unicast"}[typ]
}

// described says what a network is, a line for each interface.
func described(n osl.Network) string {
	var lines []string
	segments, numbered := map[string]bool{}, 0
	for _, s := range n.Sandboxes {
		lines = append(lines, s.Name)
		for _, f := range s.Interfaces {
			kind := f.Type
			if kind == "" {
				kind = "veth"
			}
			addrs := slices.Concat(f.Addresses, f.Aliases)
			if f.Segment != "" {
				segments[f.Segment] = true
				lines = append(lines, line("lab.segments", s.Name+"."+f.Name, "veth on "+f.Segment, nil, 0))
			}
			if f.Segment == "blue" && !slices.ContainsFunc(f.Addresses, func(p netip.Prefix) bool { return p.Addr().Is4() }) {
				numbered++
				addrs = append(addrs, netip.MustParsePrefix(fmt.Sprintf("10.77.0.%d/24", numbered)))
			}
			rate := 0
			if f.Impair != nil {
				rate = int(f.Impair.Rate / 8)
			}
			lines = append(lines, line(s.Name, f.Name, kind, addrs, rate))
		}
		for _, x := range s.Routes {
			hops := max(len(x.NextHops), 1)
			lines = append(lines, fmt.Sprint(s.Name, " route ", x.To, " table ", cmp.Or(x.Table, 254), " metric ", x.Metric, " ", cmp.Or(x.Type, "unicast"), " hops ", hops, " mtu ", x.MTU))
		}
	}
	for name := range segments {
		lines = append(lines, line("lab.segments", name, "bridge", nil, 0))
	}
	if len(segments) > 0 {
		lines = append(lines, "lab.segments")
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

func line(box, dev, kind string, addrs []netip.Prefix, rate int) string {
	var list []string
	for _, p := range addrs {
		list = append(list, p.String())
	}
	slices.Sort(list)
	return fmt.Sprint(box, " ", dev, " ", kind, " ", list, " rate ", rate)
}

// standing says the same of what the kernel has, read by another library.
func standing(r *rapid.T, n osl.Network) string {
	var lines []string
	files, _ := os.ReadDir("/run/netns")
	for _, file := range files {
		lines = append(lines, file.Name())
		ns, err := netns.GetFromPath("/run/netns/" + file.Name())
		if err != nil {
			r.Fatal(err)
		}
		h, err := netlink.NewHandleAt(ns)
		ns.Close()
		if err != nil {
			r.Fatal(err)
		}
		links, err := h.LinkList()
		if err != nil {
			r.Fatal(err)
		}
		for _, l := range links {
			if l.Attrs().Name == "lo" {
				continue
			}
			found, err := h.AddrList(l, netlink.FAMILY_ALL)
			if err != nil {
				r.Fatal(err)
			}
			var addrs []netip.Prefix
			for _, a := range found {
				if p := netip.MustParsePrefix(a.IPNet.String()); !p.Addr().IsLinkLocalUnicast() {
					addrs = append(addrs, p)
				}
			}
			rate := 0
			qdiscs, err := h.QdiscList(l)
			if err != nil {
				r.Fatal(err)
			}
			for _, q := range qdiscs {
				if tbf, ok := q.(*netlink.Tbf); ok {
					rate = int(tbf.Rate)
				}
			}
			kind := l.Type()
			for _, m := range links {
				if m.Attrs().Index == l.Attrs().MasterIndex {
					kind += " on " + m.Attrs().Name
				}
			}
			lines = append(lines, line(file.Name(), l.Attrs().Name, kind, addrs, rate))
		}
		routes, err := h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Protocol: 111}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
		if err != nil {
			r.Fatal(err)
		}
		for _, x := range routes {
			if to := netip.MustParsePrefix(x.Dst.String()); drawn.Contains(to.Addr()) {
				lines = append(lines, fmt.Sprint(file.Name(), " route ", to, " table ", x.Table, " metric ", x.Priority, " ", typeOf(x.Type), " hops ", max(len(x.MultiPath), 1), " mtu ", x.MTU))
			}
		}
		h.Close()
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}
