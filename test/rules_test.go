//go:build linux

package osltest

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/seed59451c2b/osl"
)

// rulesIn are the rules of a sandbox beside the kernel's first ones, as another
// library reads them.
func rulesIn(t *testing.T, box string) (list []string) {
	t.Helper()
	witness(t, "/run/netns/"+box, func(h *netlink.Handle) {
		for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
			rules, err := h.RuleList(family)
			must(t, err)
			for _, r := range rules {
				if r.Protocol == 2 || family == netlink.FAMILY_V6 && r.Priority == 32766 { // the kernel's
					continue
				}
				ports := func(p *netlink.RulePortRange) string {
					if p == nil {
						return ""
					}
					return fmt.Sprint(p.Start, "-", p.End)
				}
				net := func(p fmt.Stringer, is bool) string {
					if !is {
						return ""
					}
					return p.String()
				}
				mask := uint32(0)
				if r.Mask != nil {
					mask = *r.Mask
				}
				list = append(list, fmt.Sprintf("%d family %d not %v from %s to %s mark %#x/%#x iif %s oif %s proto %d sport %s dport %s table %d goto %d suppress %d/%d by %d",
					r.Priority, family, r.Invert, net(r.Src, r.Src != nil), net(r.Dst, r.Dst != nil), r.Mark, mask, r.IifName, r.OifName, r.IPProto,
					ports(r.Sport), ports(r.Dport), r.Table, r.Goto, r.SuppressPrefixlen, r.SuppressIfgroup, r.Protocol))
			}
		}
	})
	slices.Sort(list)
	return list
}

func ruled(rules ...osl.RuleSpec) osl.Network {
	return osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "edge", Rules: rules}}}
}

// Rules are in the kernel as the network says, Inspect says the same, what the
// network drops goes, and what others made stays.
func TestRules(t *testing.T) {
	begin(t)
	p := netip.MustParsePrefix
	zero, seven := 0, 7
	rules := []osl.RuleSpec{
		{Priority: 100, From: p("10.0.0.0/24"), Table: 100},
		{Priority: 101, To: p("fd00::/64"), Table: 70000},
		{Priority: 102, Family: "ipv4", FWMark: 0x10, FWMask: 0xff, Table: 100},
		{Priority: 103, Family: "ipv6", FWMark: 51820, Not: true, Table: 51820},
		{Priority: 104, Family: "ipv4", Table: 254, SuppressPrefixLength: &zero},
		{Priority: 105, Family: "ipv4", IIF: "lo", OIF: "eth9", IPProto: "tcp", SPort: "80", DPort: "8000-8080", Goto: 4294967295},
		{Priority: 106, From: p("10.9.0.0/16"), To: p("10.8.0.0/16"), Action: "prohibit"},
		{Priority: 107, Family: "ipv4", Action: "nop"},
		{Priority: 108, Family: "ipv4", Table: 254, SuppressIfGroup: &zero},
		{Priority: 108, Family: "ipv6", Table: 254, SuppressIfGroup: &zero},
		{Priority: 109, Family: "ipv6", Table: 100, SuppressPrefixLength: &zero, SuppressIfGroup: &seven},
		{Priority: 2000, Family: "ipv4", L3MDev: true},
		{Priority: 4294967295, Family: "ipv6", Table: 100},
	}
	n := ruled(rules...)
	defer func() { _, err := osl.Down(t.Context(), n); must(t, err) }()
	settled := func() {
		t.Helper()
		if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
			t.Fatalf("diff: %v\n%s", err, c)
		}
		asRead(t, n)
	}
	_, err := osl.Apply(t.Context(), n)
	must(t, err)
	settled()
	text := func(priority uint32, family int, rest string) string {
		return fmt.Sprintf("%d family %d %s by 111", priority, family, rest)
	}
	want := []string{
		text(100, 2, "not false from 10.0.0.0/24 to  mark 0x0/0x0 iif  oif  proto 0 sport  dport  table 100 goto -1 suppress -1/-1"),
		text(101, 10, "not false from  to fd00::/64 mark 0x0/0x0 iif  oif  proto 0 sport  dport  table 70000 goto -1 suppress -1/-1"),
		text(102, 2, "not false from  to  mark 0x10/0xff iif  oif  proto 0 sport  dport  table 100 goto -1 suppress -1/-1"),
		text(103, 10, "not true from  to  mark 0xca6c/0xffffffff iif  oif  proto 0 sport  dport  table 51820 goto -1 suppress -1/-1"),
		text(104, 2, "not false from  to  mark 0x0/0x0 iif  oif  proto 0 sport  dport  table 254 goto -1 suppress 0/-1"),
		text(108, 2, "not false from  to  mark 0x0/0x0 iif  oif  proto 0 sport  dport  table 254 goto -1 suppress -1/0"),
		text(108, 10, "not false from  to  mark 0x0/0x0 iif  oif  proto 0 sport  dport  table 254 goto -1 suppress -1/0"),
		text(109, 10, "not false from  to  mark 0x0/0x0 iif  oif  proto 0 sport  dport  table 100 goto -1 suppress 0/7"),
		text(105, 2, "not false from  to  mark 0x0/0x0 iif lo oif eth9 proto 6 sport 80-80 dport 8000-8080 table 0 goto 4294967295 suppress -1/-1"),
		text(106, 2, "not false from 10.9.0.0/16 to 10.8.0.0/16 mark 0x0/0x0 iif  oif  proto 0 sport  dport  table 0 goto -1 suppress -1/-1"),
		text(107, 2, "not false from  to  mark 0x0/0x0 iif  oif  proto 0 sport  dport  table 0 goto -1 suppress -1/-1"),
		text(2000, 2, "not false from  to  mark 0x0/0x0 iif  oif  proto 0 sport  dport  table 0 goto -1 suppress -1/-1"),
		text(4294967295, 10, "not false from  to  mark 0x0/0x0 iif  oif  proto 0 sport  dport  table 100 goto -1 suppress -1/-1"),
	}
	slices.Sort(want)
	if got := rulesIn(t, "edge"); !slices.Equal(got, want) {
		t.Errorf("the kernel has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, words := range []string{"106:\tfrom 10.9.0.0/16 to 10.8.0.0/16 prohibit", "107:\tfrom all nop", "2000:\tfrom all lookup [l3mdev-table]", "108:\tfrom all lookup main suppress_ifgroup default"} {
		if text := ipCommand(t, "-n", "edge", "rule"); !strings.Contains(text, words) { // that library does not tell
			t.Errorf("there is no %q in\n%s", words, text)
		}
	}
	edge, err := osl.Open(t.Context(), "edge")
	must(t, err)
	defer edge.Close()
	st, err := edge.Inspect(t.Context())
	must(t, err)
	slices.SortFunc(st.Rules, func(a, b osl.RuleSpec) int { return cmp.Compare(a.Priority, b.Priority) })
	if got, want := toText(st.Rules), toText(rules); got != want {
		t.Errorf("Inspect says\n%s\nand the network\n%s", got, want)
	}
	// A less specific rule in the place of another, one of two families, one of others
	// that is as it is wanted, and one that is theirs.
	for _, r := range []string{"priority 50 from 10.77.0.0/16 table 9", "priority 60 table 9"} {
		if out, err := exec.Command("ip", append([]string{"-n", "edge", "rule", "add"}, strings.Fields(r)...)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %s", r, out)
		}
	}
	n.Sandboxes[0].Rules = []osl.RuleSpec{{Priority: 60, Family: "ipv4", Table: 9}, {Priority: 100, Table: 100}, {Priority: 106, From: p("10.9.0.0/16"), Table: 9}}
	_, err = osl.Apply(t.Context(), n)
	must(t, err)
	settled()
	want = []string{
		"50 family 2 not false from 10.77.0.0/16 to  mark 0x0/0x0 iif  oif  proto 0 sport  dport  table 9 goto -1 suppress -1/-1 by 0",
		"60 family 2 not false from  to  mark 0x0/0x0 iif  oif  proto 0 sport  dport  table 9 goto -1 suppress -1/-1 by 0",
		text(100, 10, "not false from  to  mark 0x0/0x0 iif  oif  proto 0 sport  dport  table 100 goto -1 suppress -1/-1"),
		text(100, 2, "not false from  to  mark 0x0/0x0 iif  oif  proto 0 sport  dport  table 100 goto -1 suppress -1/-1"),
		text(106, 2, "not false from 10.9.0.0/16 to  mark 0x0/0x0 iif  oif  proto 0 sport  dport  table 9 goto -1 suppress -1/-1"),
	}
	if slices.Sort(want); !slices.Equal(rulesIn(t, "edge"), want) {
		t.Errorf("after the edit the kernel has\n%s\nwant\n%s", strings.Join(rulesIn(t, "edge"), "\n"), strings.Join(want, "\n"))
	}
	st, err = edge.Inspect(t.Context())
	must(t, err)
	if len(st.OtherRules) != 2 || st.OtherRules[0].Rule.From != p("10.77.0.0/16") {
		t.Errorf("Inspect has the rules of others %s", toText(st.OtherRules))
	}
	// What RemoveRules takes away is what osl made and what is so in all.
	must(t, edge.RemoveRules(t.Context(), slices.Values([]osl.RuleSpec{{Priority: 50, From: p("10.77.0.0/16"), Table: 9}, {Priority: 100, Table: 100},
		{Priority: 106, From: p("10.9.0.0/16"), Table: 8}, {Priority: 7, Table: 9}})))
	want = slices.DeleteFunc(want, func(s string) bool { return strings.HasPrefix(s, "100 ") })
	if got := rulesIn(t, "edge"); !slices.Equal(got, want) {
		t.Errorf("after RemoveRules the kernel has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if err := edge.RemoveRules(t.Context(), slices.Values([]osl.RuleSpec{{From: p("10.9.0.0/16")}})); !errors.Is(err, osl.ErrInvalid) {
		t.Errorf("a rule without a priority: %v", err)
	}
}

func TestRulesRefused(t *testing.T) {
	begin(t)
	p, nine, over := netip.MustParsePrefix, 9, 129
	for _, x := range []struct {
		rules []osl.RuleSpec
		words string
	}{
		{[]osl.RuleSpec{{From: p("10.0.0.0/8")}}, "needs a priority"},
		{[]osl.RuleSpec{{Priority: 9}, {Priority: 9, From: p("10.0.0.0/8")}}, "another rule has the priority 9"},
		{[]osl.RuleSpec{{Priority: 9, Family: "ip6"}}, "no family"},
		{[]osl.RuleSpec{{Priority: 9, From: p("10.0.0.0/8"), To: p("fd00::/8")}}, "two families"},
		{[]osl.RuleSpec{{Priority: 9, From: p("10.0.0.0/8"), Family: "ipv6"}}, "two families"},
		{[]osl.RuleSpec{{Priority: 9, IPProto: "tpc"}}, `did you mean "tcp"`},
		{[]osl.RuleSpec{{Priority: 9, DPort: "90-80"}}, "80"},
		{[]osl.RuleSpec{{Priority: 9, SPort: "65536"}}, "65536"},
		{[]osl.RuleSpec{{Priority: 9, Goto: 9}}, "higher priority"},
		{[]osl.RuleSpec{{Priority: 9, Action: "drop"}}, "no action"},
		{[]osl.RuleSpec{{Priority: 9, Action: "nop", Table: 7}}, "several things"},
		{[]osl.RuleSpec{{Priority: 9, L3MDev: true, Table: 7}}, "several things"},
		{[]osl.RuleSpec{{Priority: 9, Action: "nop", SuppressPrefixLength: &nine}}, "looks no table up"},
		{[]osl.RuleSpec{{Priority: 9, SuppressPrefixLength: &over}}, "129"},
		{[]osl.RuleSpec{{Priority: 9, Goto: 10, SuppressIfGroup: &nine}}, "looks no table up"},
		{[]osl.RuleSpec{{Priority: 9, SuppressIfGroup: ptr(-1)}}, "a group of interfaces"},
		{[]osl.RuleSpec{{Priority: 9, FWMark: 0x100, FWMask: 0xff}}, "mask"},
		{[]osl.RuleSpec{{Priority: 9, IIF: "a/b"}}, "a/b"},
	} {
		_, err := osl.Apply(t.Context(), ruled(x.rules...))
		refused(t, toText(x.rules), err, osl.ErrInvalid, x.words)
	}
}
