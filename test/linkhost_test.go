//go:build linux

package osltest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/netfile"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// linkFile is a network whose link with the host says something, and does not list its end there.
func linkFile(t *testing.T, says, host string) osl.Network {
	t.Helper()
	f, err := netfile.Parse("lh.yaml", []byte(fmt.Sprintf("name: lh\nsandboxes:\n  - {name: lha}\n%slinks:\n  - {ends: [lha/e0, host/lhh]%s}\n  - [lha/e1, host/lhi]\n", host, says)))
	must(t, err)
	return f.Network
}

// What a link says of both ends its end on the host has too, as if it were listed; what the
// file drops goes, and the end that the link says nothing of is as it was.
func TestLinkWithHostSaysBothEnds(t *testing.T) {
	begin(t)
	before := snapshot(t, "")
	down := func() { _, err := osl.Down(t.Context(), osl.Network{Name: "lh"}); must(t, err) }
	defer down()
	settles(t, linkFile(t, "", ""))
	plain := onlyOf(snapshot(t, ""), "lhh", "lhi")
	says := ", txqueuelen: 77, subnet: 10.96.0.0/30, offloads: {tx: off}"
	for _, listed := range []string{"", "  - {name: host}\n", "  - {name: host, interfaces: [{name: lhh}]}\n"} {
		said := says
		if strings.Contains(listed, "lhh") { // else refused
			said += ", sysctls: {ipv4.rp_filter: 2}"
		}
		settles(t, linkFile(t, said, listed))
		for _, key := range []string{"", osl.GenerateKey("lha")} {
			dev, of, addr := "lhh", "/proc/thread-self/ns/net", "10.96.0.2/30"
			if key != "" {
				dev, of, addr = "e0", key, "10.96.0.1/30"
			}
			l := needLink(t, key, dev)
			if got := l.Attrs().TxQLen; got != 77 || !slices.Contains(addrsOf(t, key, dev), addr) || strings.Contains(listed, "lhh") && sysctl(t, of, "ipv4/conf/"+dev+"/rp_filter") != "2" ||
				offload(t, of, dev, ethtoolGTXCSUM) {
				t.Errorf("with %q, %s: a queue of %d, the addresses %v, rp_filter %s", listed, dev, got, addrsOf(t, key, dev), sysctl(t, of, "ipv4/conf/"+dev+"/rp_filter"))
			}
		}
		settles(t, linkFile(t, "", ""))
		if now := onlyOf(snapshot(t, ""), "lhh", "lhi"); !slices.Equal(now, plain) {
			t.Errorf("with %q: what the file dropped is there:\n%s\nit was\n%s", listed, strings.Join(now, "\n"), strings.Join(plain, "\n"))
		}
	}
	down()
	settles(t, linkFile(t, says, ""))
	down()
	same(t, "the host after all", before, func() []string { return snapshot(t, "") })
}

// onlyOf are the lines about links, without what they may get at their time.
func onlyOf(lines []string, devs ...string) (list []string) {
	for _, line := range lines {
		if slices.ContainsFunc(devs, func(dev string) bool { return strings.Contains(line, dev) }) && !strings.Contains(line, "fe80:") {
			list = append(list, line)
		}
	}
	return list
}

// Of the end on the host a link says an impairment too: each direction has it.
func TestFeatureLinkWithHostIsImpaired(t *testing.T) {
	begin(t)
	down := func() { _, err := osl.Down(t.Context(), osl.Network{Name: "lh"}); must(t, err) }
	defer down()
	settles(t, linkFile(t, "", ""))
	n := linkFile(t, ", impair: {rate: 8mbit}", "")
	_, err := osl.Apply(t.Context(), n)
	testnet.Feature(t, "impair by a rate (tbf)", err)
	settles(t, n)
	has := func() string { return qdiscsAt(t, "", "lhh") + "\n" + qdiscs(t, "lha", "e0") }
	if got := has(); strings.Count(got, "tbf") != 2 {
		t.Errorf("the ends have %v", got)
	}
	settles(t, linkFile(t, "", ""))
	if got := has(); strings.Contains(got, "tbf") {
		t.Errorf("after it was dropped the ends have %v", got)
	}
}
