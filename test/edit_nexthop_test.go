//go:build linux

package osltest

import (
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed59451c2b/osl"
)

// What TestEdits draws of next hops that are objects, and of those of others.

// nexthops draws some, on links that have a carrier by themselves, or by an end that is
// up: without one the kernel has none.
func (r *drawer) nexthops(on []osl.InterfaceSpec) (list []osl.NexthopSpec) {
	var four, six []string
	for _, f := range on {
		if f.Segment == "" && f.Peer.Sandbox != osl.HostName && f.Type != "ifb" && f.Type != "vxlan" && f.Type != "wireguard" {
			continue
		}
		if four = append(four, f.Name); has6(f) && f.ARP == nil {
			six = append(six, f.Name)
		}
	}
	ids := rapid.SliceOfNDistinct(rapid.SampledFrom([]uint32{1, 2, 3, 4, 5, 4294967295}), 0, 5, rapid.ID).Draw(r.T, "nexthops")
	for _, id := range ids {
		x := osl.NexthopSpec{ID: id}
		var members []osl.NexthopMember
		for _, o := range list {
			if len(o.Group) == 0 && (!o.Blackhole || len(members) == 0) && (len(members) == 0 || !r.blackhole(list, members[0].ID)) && r.sometimes("member", 2) {
				members = append(members, osl.NexthopMember{ID: o.ID, Weight: draw(r, "share", 0, 1, 7, 256)})
			}
		}
		switch kind := draw(r, "nexthop kind", "via", "via", "dev", "group", "blackhole"); {
		case kind == "group" && len(members) > 0:
			if x.Group = members; r.sometimes("resilient", 2) {
				x.Type, x.Buckets = "resilient", draw(r, "buckets", 4, 32)
				x.IdleTimer, x.UnbalancedTimer = maybe[osl.Duration](r, "idle_timer", 0, 60e9), maybe[osl.Duration](r, "unbalanced_timer", 7e9, 300e9)
			}
		case kind == "blackhole" || len(four) == 0:
			x.Blackhole, x.Family = true, draw(r, "family", "", "ipv4")
			if slices.ContainsFunc(on, has6) && r.sometimes("of IPv6", 2) { // which is on lo
				x.Family = "ipv6"
			}
		case len(six) > 0 && r.sometimes("of IPv6", 2):
			x.Dev, x.Family = draw(r, "dev", six...), "ipv6"
			if kind == "via" {
				x.Via, x.Family = netip.MustParseAddr("fe80::"+draw(r, "host", "1", "2")), draw(r, "family", "", "ipv6")
			}
		default:
			x.Dev = draw(r, "dev", four...)
			if kind == "via" {
				x.Via = netip.MustParseAddr("192.0.2." + draw(r, "host", "1", "2"))
			}
		}
		list = append(list, x)
	}
	return list
}

// blackhole reports whether the one with an ID is one: with others no group has it.
func (r *drawer) blackhole(list []osl.NexthopSpec, id uint32) bool {
	return slices.ContainsFunc(list, func(x osl.NexthopSpec) bool { return x.ID == id && x.Blackhole })
}

// byNexthop returns the ids of those by which routes of a family can lead.
func byNexthop(six bool, list []osl.NexthopSpec) (ids []uint32) {
	of6 := map[uint32]bool{}
	for _, x := range list {
		of6[x.ID] = x.Via.Is6() || x.Family == "ipv6"
		if len(x.Group) > 0 {
			of6[x.ID] = !slices.ContainsFunc(x.Group, func(m osl.NexthopMember) bool { return !of6[m.ID] })
		}
		if !six || of6[x.ID] {
			ids = append(ids, x.ID)
		}
	}
	return ids
}

// nexthopLine says what one is, as nexthopsIn does.
func nexthopLine(x osl.NexthopSpec) string {
	line := fmt.Sprint(x.ID)
	if x.Blackhole {
		line += " blackhole"
	}
	for _, m := range x.Group {
		line += fmt.Sprintf(" %d,%d", m.ID, max(m.Weight, 1))
	}
	if x.Type == "resilient" {
		seconds := func(d *osl.Duration, usual osl.Duration) osl.Duration {
			if d == nil {
				d = &usual
			}
			return *d / 1e9
		}
		line += fmt.Sprint(" resilient ", x.Buckets, " ", int(seconds(x.IdleTimer, 120e9)), " ", int(seconds(x.UnbalancedTimer, 0)))
	}
	if x.Via.IsValid() {
		line += " " + x.Via.String()
	}
	if x.Dev != "" {
		line += " " + x.Dev
	}
	if x.Via.IsValid() {
		line += " onlink"
	}
	return line + " by 111"
}

// routePlace is what the kernel has one route of osl for.
type routePlace struct {
	to            string
	table, metric int
}

// routesByID are the ids of the next hops of routes, as ip tells them.
func routesByID(t *testing.T, box string) map[routePlace]int {
	t.Helper()
	ids := map[routePlace]int{}
	for _, family := range []string{"-4", "-6"} {
		for _, x := range asked[[]struct {
			Dst, Table   string
			NHID, Metric int
		}](t, "/run/netns/"+box, "ip", family, "-json", "-N", "route", "show", "table", "all", "proto", "111") {
			table, _ := strconv.Atoi(x.Table)
			if table == 0 {
				table = 254
			}
			ids[routePlace{x.Dst, table, x.Metric}] = x.NHID
		}
	}
	return ids
}

// strangeNexthops adds next hops of others to a sandbox, and routes by them and by one of
// osl's, and returns what takes them out again.
func (r *drawer) strangeNexthops(s osl.Spec, devs []string) (leave func()) {
	ip := func(line string) error {
		out, err := exec.Command("ip", append([]string{"-n", s.Name}, strings.Fields(line)...)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	var lines []string
	if len(devs) > 0 && r.sometimes("strange nexthops", 2) {
		lines = []string{"nexthop add id 901 via 198.51.100.7 onlink proto static dev " + draw(r, "dev", devs...), "nexthop add id 902 group 901 proto static",
			"route add 192.88.99.0/24 nhid 902 proto static"}
	}
	for _, x := range s.Nexthops {
		if r.sometimes("a strange route by a nexthop", 2) {
			lines = append(lines, fmt.Sprintf("route add 192.88.98.0/24 metric %d nhid %d proto static", x.ID, x.ID))
		}
	}
	for _, line := range lines {
		r.Logf("a stranger does in %s: %s", s.Name, line)
		if err := ip(line); err != nil {
			r.Fatalf("%s: %v", line, err)
		}
	}
	return func() {
		for _, line := range slices.Backward(lines) {
			verb := strings.Replace(line, " add ", " del ", 1)
			if f := strings.Fields(verb); f[0] == "nexthop" {
				verb = strings.Join(f[:4], " ")
			}
			if err := ip(verb); err != nil {
				r.Fatalf("what a stranger did in %s is lost: %s: %v", s.Name, line, err)
			}
		}
	}
}
