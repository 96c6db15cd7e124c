package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/shell"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// awkward is a network whose names and values a shell would take apart.
const awkward = `
sandboxes:
  - name: it's-a$b
    sysctls: {ipv4.ip_local_port_range: "2000 60000"}
    interfaces:
      - {name: "e$0;x", addresses: [10.4.0.1/24], peer: "host/h&0", disable_arp_for_vip: true}
      - {name: "v.10", addresses: ["fd04::1/64"], sysctls: {ipv4.rp_filter: 2}}
  - name: other
links: [["it's-a$b/v.10", "other/p'1"]]
`

// What a dry run prints builds the same, where it is pasted: as root, and without.
func TestPaste(t *testing.T) {
	file := netFile(t, awkward)
	defer runOSL(t, "rm", "--force", "it's-a$b", "other")
	sh(t, want(t, exitDone, []string{"netns /proc/$$/ns/net"}, "up", "--dry-run", file))
	out := sh(t, `ip -n "it's-a\$b" -o addr; ip netns exec "it's-a\$b" sysctl -n net.ipv4.ip_local_port_range; ip -o link show 'h&0'`)
	for _, piece := range []string{"10.4.0.1/24", "fd04::1/64", "2000\t60000", "h&0"} {
		if !strings.Contains(out, piece) {
			t.Errorf("no %q in\n%s", piece, out)
		}
	}
}

// So it is in a namespace of another program, where a link is osl's by its tag alone and
// has IPv6 unless somebody turns that off.
func TestPasteIntoANamespaceOfOthers(t *testing.T) {
	sh(t, "ip netns add others")
	defer runOSL(t, "rm", "--force", "others") // which takes the file of the locks along
	file := netFile(t, `sandboxes:
  - {name: others, interfaces: [{name: eth0, addresses: [10.4.0.1/24], peer: ours/eth0}, {name: br, type: bridge, addresses: ["fd04::1/64"]}, {name: v, peer: host/vh}]}
  - {name: ours}`)
	want(t, exitDone, []string{"created 1 sandbox (ours)"}, "up", file)
	defer runOSL(t, "down", file)
	sh(t, "for l in eth0 br v; do ip -n others link del dev $l; done")
	sh(t, "set -e\n"+want(t, exitDiffer, nil, "diff", file))
	want(t, exitDone, []string{"nothing to change"}, "up", file)
	want(t, exitDone, []string{"took out", "eth0", "br", "v"}, "down", file)
	if out := sh(t, "ip -n others -o link; ip -o link"); strings.Contains(out, "eth0") || strings.Contains(out, "vh") {
		t.Errorf("left:\n%s", out)
	}
}

// A note is in the tag of its link, so the commands write that, also of one that is new.
func TestPasteOfANote(t *testing.T) {
	file := fileOf(t, "pn", `sandboxes:
  - {name: pn-a, interfaces: [{name: e0, note: "to b"}, {name: br, type: bridge, note: x}, {name: e1, peer: host/pn-h, note: y}]}
  - {name: pn-b, interfaces: [{name: e0, note: "to a"}]}
links: [[pn-a/e0, pn-b/e0]]`)
	defer want(t, exitDone, nil, "down", file)
	sh(t, "set -e\n"+want(t, exitDiffer, nil, "diff", file))
	want(t, exitDone, []string{"nothing to change"}, "diff", file)
	want(t, exitDone, []string{"nothing to change"}, "up", file)
	want(t, exitDone, []string{"to b", "note: x"}, "export", "pn")
}

func TestPasteWithoutRoot(t *testing.T) {
	u := newUser(t)
	file := netFile(t, awkward)
	if err := os.Chmod(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	code, plan := u.osl("up", "--dry-run", file)
	if code != exitDone || !strings.Contains(plan, "osl exec 'it'\\''s-a$b' -- ip addr add 10.4.0.1/24") {
		t.Fatalf("exit code %d:\n%s", code, plan)
	}
	script := "osl() { " + shell.Quote(self(t)) + " \"$@\"; }\nset -e\nosl create keep\n" + plan +
		"osl exec \"it's-a\\$b\" -- ip -o addr; osl exec host -- ip -o link show 'h&0'; osl exec other -- ip -o link show \"p'1\"\n"
	b, err := u.command("sh", "-c", script).CombinedOutput()
	for _, piece := range []string{"10.4.0.1/24", "fd04::1/64", "h&0", "p'1"} {
		if err != nil || !strings.Contains(string(b), piece) {
			t.Fatalf("%v: no %q in\n%s\n%s", err, piece, b, script)
		}
	}
	u.want(exitDone, "", "rm", "--force", "it's-a$b", "other", "keep")
}

// What diff prints of an edit makes it where it is run, and leaves nothing to up: no
// line of it fails since one before did its work, and what it makes is osl's.
func TestPasteOfAnEdit(t *testing.T) {
	a := func(sandbox, iface string) string {
		return "sandboxes: [{name: a, " + sandbox + " interfaces: [{name: e, " + iface + "}]}, {name: b, interfaces: [{name: e, addresses: [10.9.0.2/24, fd09::2/64]}]}]\nlinks: [[a/e, b/e]]"
	}
	host := func(sandbox, end string) string {
		return "sandboxes: [{name: host, " + sandbox + " interfaces: [{name: br-p, type: bridge, " + end + "}, {name: va, master: br-p}]}, {name: a, interfaces: [{name: e, peer: host/va}]}]"
	}
	both := "addresses: [10.9.0.1/24, fd09::1/64]"
	all := a(`routes: [{to: 10.8.0.0/16, via: 10.9.0.2}, {to: "fd08::/64", via: "fd09::2"}], neighbors: [{dev: e, ip: 10.9.0.9, mac: "02:00:00:00:00:09"}, {dev: e, ip: "fd09::9", mac: "02:00:00:00:00:09"}],`,
		both+`, routes: [10.7.0.0/16, "fd07::/64"]`)
	vxlan := func(sandbox, iface string) string {
		return "sandboxes: [{name: a, " + sandbox + " interfaces: [{name: vx, type: vxlan, vni: 9, " + iface + "}]}, {name: b}]"
	}
	macvlans := func(m, n string) string {
		return "sandboxes: [{name: a, routes: [{to: 10.6.0.0/16, via: 10.5.0.9, metric: 5}], interfaces: [{name: e}, {name: m, type: macvlan, parent: e, addresses: [10.5.0.1/24], " + m + "}, {name: n, type: macvlan, parent: e, " + n + "}]}, {name: b, interfaces: [{name: e}]}]\nlinks: [[a/e, b/e]]"
	}
	masq := func(subnet string) string { return host(`masquerade: [{subnet: "`+subnet+`", uplink: lo}],`, "") }
	for i, x := range []struct{ what, before, after string }{
		{"down, without any address", all, a("", "down: true")},
		{"down, with its addresses", all, a("", "down: true, "+both)},
		{"down, with another address and its neighbours", all,
			a(`neighbors: [{dev: e, ip: "fd09::9", mac: "02:00:00:00:00:09"}],`, "down: true, addresses: [10.9.0.1/24, fd09::3/64]")},
		{"IPv4 only", all, a("", "addresses: [10.9.0.1/24]")},
		{"IPv4 only, and nothing is refused of IPv6", a(`routes: [{to: "fd08::/64", type: blackhole}, {to: 10.8.0.0/16, type: throw}],`, both), a("", "addresses: [10.9.0.1/24]")},
		{"IPv6 only", all, a("", "addresses: [fd09::1/64]")},
		{"another hardware address", all, a("", `mac: "02:00:00:00:00:77", `+both)},
		{"an MTU that IPv6 can not have", "sandboxes: [{name: a, interfaces: [{name: e, peer: host/va, addresses: [10.9.0.1/24, fd09::1/64]}]}]",
			"sandboxes: [{name: a, interfaces: [{name: e, peer: host/va, mtu: 68, addresses: [10.9.0.1/24]}]}]"},
		{"a transmit queue", "sandboxes: [{name: a}, {name: b}]", a("", "txqueuelen: 0")},
		{"a local route of the main table", all, a("routes: [{to: 10.8.0.5/32, type: local, dev: lo}],", both)},
		{"a gateway by a link in the place of another", all, "sandboxes: [{name: a, gateway: 10.9.0.2, interfaces: [{name: e, addresses: [10.9.0.1/24]}]}, {name: b, interfaces: [{name: f}]}]\nlinks: [[a/e, b/f]]"},
		{"a route of IPv6 with another metric", a(`gateway6: "fd09::2",`, both), a(`routes: [{to: "::/0", via: "fd09::3", metric: 5}],`, both)},
		{"a route of IPv6 by several next hops that goes", a(`routes: [{to: "fd08::/64", next_hops: [{via: "fd09::2"}, {via: "fd09::3", weight: 3}]}],`, both), a("", both)},
		{"the last address that makes the route to a subnet of IPv6", a("", `addresses: [{address: "fd09::1/64", noprefixroute: true}, "fd09::3/64"]`),
			a("", `addresses: [{address: "fd09::1/64", noprefixroute: true}, {address: "fd09::3/64", noprefixroute: true}]`)},
		{"a link that is quiet about addresses of others no more", a("", "disable_arp_for_vip: true, "+both), a("", both)},
		{"a link that goes", all, "sandboxes: [{name: a}, {name: b}]"},
		{"a link within a sandbox that goes", "sandboxes: [{name: a, interfaces: [{name: e, peer: a/f}, {name: f}]}, {name: b}]", "sandboxes: [{name: a, interfaces: [{name: e, type: bridge}]}, {name: b}]"},
		{"an MTU of a bridge", "sandboxes: [{name: a, interfaces: [{name: e, type: bridge}]}, {name: b}]", "sandboxes: [{name: a, interfaces: [{name: e, type: bridge, mtu: 1400}]}, {name: b}]"},
		{"further names and a note", all, a("", "altnames: [one, two], note: mine, mtu: 1400, "+both)},
		{"other further names", a("", "altnames: [one, two], "+both), a("", "altnames: [two, three], promisc: true, "+both)},
		{"a vxlan", "sandboxes: [{name: a}, {name: b}]", vxlan("", "remotes: [192.0.2.2, 192.0.2.3]")},
		{"other remotes of a vxlan", vxlan("", "remotes: [192.0.2.2, 192.0.2.3]"), vxlan("", "remotes: [192.0.2.3, 192.0.2.4]")},
		{"remotes of a vxlan that had one", vxlan("", "remote: 192.0.2.2"), vxlan("", "remotes: [192.0.2.2, 192.0.2.3]")},
		{"one remote of a vxlan that had several", vxlan("", "remotes: [192.0.2.2, 192.0.2.3]"), vxlan("", "remote: 192.0.2.2")},
		{"a forwarding entry of a vxlan", vxlan("", "learning: false"), vxlan(`neighbors: [{dev: vx, ip: 192.0.2.2, mac: "02:00:00:00:00:09", fdb: true}],`, "learning: false")},
		{"macvlans that exchange their hardware addresses",
			macvlans(`mac: "02:00:00:00:00:01", routes: [10.4.0.0/16], altnames: [x, y], disable_arp_for_vip: true, sysctls: {ipv4.log_martians: 1}`, `mac: "02:00:00:00:00:02", addresses: ["fd05::1/64"], mtu: 1400`),
			macvlans(`mac: "02:00:00:00:00:02", altnames: [x, z], mtu: 1300, disable_arp_for_vip: true, sysctls: {ipv4.log_martians: 1}`, `mac: "02:00:00:00:00:01", addresses: ["fd05::1/64", 10.3.0.1/24], routes: [10.2.0.0/16]`)},
		{"an address that becomes an alias, and the other way round", a("", "addresses: [10.9.0.1/24, fd09::1/64], aliases: [10.9.0.3/24]"), a("", "addresses: [10.9.0.3/24], aliases: [10.9.0.1/24, fd09::1/64]")},
		{"conf.all, and a link without IPv6", "sandboxes: [{name: a, interfaces: [{name: e, peer: host/va, mtu: 1000}]}]",
			"sandboxes: [{name: a, sysctls: {ipv6.conf.all.disable_ipv6: 1}, interfaces: [{name: e, peer: host/va}]}]"},
		{"a vxlan and what it is on", "sandboxes: [{name: a, interfaces: [{name: e, addresses: [10.9.0.1/24]}, {name: vx, type: vxlan, vni: 9, parent: e}]}, {name: b}]\nlinks: [[a/e, b/e]]",
			"sandboxes: [{name: a}, {name: b}]"},
		{"addresses with another peer, scope and flag",
			a(`routes: [{to: 10.8.0.0/16, via: 10.9.0.2, src: 10.7.0.1}, {to: "fd08::/64", via: "fd09::2", src: "fd07::1"}],`, `addresses: [10.9.0.1/24, 10.7.0.1/24, 10.7.0.2/24, 10.6.0.1/24, "fd07::1/64", "fd09::1/64"]`),
			a(`routes: [{to: 10.8.0.0/16, via: 10.9.0.2, src: 10.7.0.1}, {to: "fd08::/64", via: "fd09::2", src: "fd07::1"}],`,
				`addresses: [10.9.0.1/24, {address: 10.7.0.1/24, peer: 10.7.0.9}, {address: 10.7.0.2/24, noprefixroute: true}, {address: 10.6.0.1/24, scope: link}, {address: "fd07::1/64", peer: "fd06::1"}, "fd09::1/64"]`)},
		{"another peer of the only address, and a route by it goes",
			a(`routes: [{to: 10.8.0.0/16, dev: e, src: 10.9.0.1}, {to: 10.7.0.0/16, dev: e, src: 10.9.0.1}], neighbors: [{dev: e, ip: 10.9.0.9, mac: "02:00:00:00:00:09"}],`, "addresses: [{address: 10.9.0.1/32, peer: 10.9.0.2}]"),
			a(`routes: [{to: 10.7.0.0/16, dev: e, src: 10.9.0.1}], neighbors: [{dev: e, ip: 10.9.0.9, mac: "02:00:00:00:00:09"}],`, "addresses: [{address: 10.9.0.1/32, peer: 10.9.0.3}]")},
		{"next hops whose link loses its carrier", a("nexthops: [{id: 1, via: 10.9.0.2, dev: e}, {id: 5, group: [{id: 1}]}], routes: [{to: 10.8.0.0/16, nexthop: 5}],", both),
			"sandboxes: [{name: a, interfaces: [{name: e, " + both + "}]}, {name: b, interfaces: [{name: e, down: true}]}]\nlinks: [[a/e, b/e]]"},
		{"a bridge of the host", "sandboxes: [{name: a}]", host("", "addresses: [10.9.0.1/24]")},
		{"a subnet of whole bytes", host("", ""), masq("10.9.0.0/24")},
		{"another that is not", masq("10.9.0.0/24"), masq("10.9.0.0/20")},
		{"one of IPv6", masq("10.9.0.0/24"), masq("fd09::/64")},
	} {
		if testing.Short() && i%3 > 0 {
			continue
		}
		t.Run(x.what, func(t *testing.T) {
			if strings.Contains(x.after, "masquerade") {
				testnet.NeedProgram(t, "nft", "nftables")
			}
			before := traces(t)
			want(t, exitDone, nil, "up", fileOf(t, "lab", x.before))
			defer func() {
				runOSL(t, "down", "--force", "lab")
				runOSL(t, "rm", "--force", "a", "b") // what ip netns pinned once more
				eventually(t, func() []string { return difference(before, traces(t)) })
			}()
			file := fileOf(t, "lab", x.after)
			code, script, _ := runOSL(t, "diff", file)
			if code != exitDiffer {
				t.Fatalf("diff: exit code %d\n%s", code, script)
			}
			sh(t, "set -e\n"+script)
			want(t, exitDone, []string{"nothing to change"}, "up", file)
			want(t, exitDone, nil, "down", "lab")
			want(t, exitDone, nil, "up", fileOf(t, "lab", x.before))
			want(t, exitDone, nil, "up", file)
			want(t, exitDone, nil, "diff", file)
		})
	}
}

// So it does where routes of others have an address as their source that goes and comes
// again, on its own link and on another.
func TestPasteOfAnEditBesideRoutesOfOthers(t *testing.T) {
	lab := func(address string) string {
		return fileOf(t, "lab", "sandboxes: [{name: a, interfaces: [{name: e, addresses: ["+address+"]}, {name: f, addresses: [10.8.0.1/24]}]}, {name: b}]\nlinks: [[a/e, b/e], [a/f, b/f]]")
	}
	defer func() {
		runOSL(t, "down", "--force", "lab")
		runOSL(t, "rm", "--force", "a", "b")
	}()
	want(t, exitDone, nil, "up", lab("10.9.0.1/24"))
	sh(t, "set -e; ip -n a route add 10.6.0.0/24 dev e src 10.9.0.1; ip -n a route add 10.5.0.0/24 dev f src 10.9.0.1")
	had := sh(t, "ip -n a route show table all | sort")
	file := lab("{address: 10.9.0.1/24, noprefixroute: true}")
	_, script, _ := runOSL(t, "diff", file)
	sh(t, "set -e\n"+script)
	want(t, exitDone, []string{"nothing to change"}, "up", file)
	want(t, exitDone, nil, "up", lab("10.9.0.1/24"))
	if has := sh(t, "ip -n a route show table all | sort"); has != had {
		t.Errorf("routes:\n%s\nafter:\n%s", had, has)
	}
}

// Links that commands made have the kernel's indexes, which in two pairs may be the same: which
// end is whose is known all the same.
func TestPairsByHand(t *testing.T) {
	text := func(links string) string {
		return fileOf(t, "lab", "sandboxes: [{name: a, interfaces: [{name: e}]}, {name: b, interfaces: [{name: e}]}, {name: c, interfaces: [{name: e}]}, {name: d, interfaces: [{name: e}]}]\nlinks: "+links)
	}
	before := traces(t)
	defer func() {
		runOSL(t, "down", "--force", "lab")
		runOSL(t, "rm", "--force", "a", "b", "c", "d")
		eventually(t, func() []string { return difference(before, traces(t)) })
	}()
	file := text("[[a/e, b/e], [c/e, d/e]]")
	_, script, _ := runOSL(t, "diff", file)
	sh(t, "set -e\n"+script)
	want(t, exitDone, []string{"nothing to change"}, "up", file)
	for _, links := range []string{"[[a/e, d/e], [b/e, c/e]]", "[[a/e, c/e], [b/e, d/e]]", "[[a/e, b/e], [c/e, d/e]]"} {
		file := text(links)
		code, script, _ := runOSL(t, "diff", file)
		if code != exitDiffer {
			t.Fatalf("to %s: exit code %d\n%s", links, code, script)
		}
		sh(t, "set -e\n"+script)
		want(t, exitDone, []string{"nothing to change"}, "up", file)
		want(t, exitDone, strings.Split(links[1:len(links)-1], ", [")[:1], "export", "a", "b", "c", "d")
	}
}

// Addresses that commands put on the links of the host that are the network's are osl's with
// the next up, and go with the entry that asked for them; the IPv6 of an end that has none any
// more is as it was.
func TestPasteOnTheHost(t *testing.T) {
	text := func(bridge, end string) string {
		return fileOf(t, "lab", "sandboxes: [{name: host, interfaces: [{name: br-p, type: bridge, addresses: ["+bridge+"]}"+end+"]}, {name: w, interfaces: [{name: e, peer: host/hx}]}]")
	}
	before := traces(t)
	want(t, exitDone, nil, "up", text("10.7.0.1/24", ""))
	file := text("10.7.0.1/24, 10.8.0.1/24", `, {name: hx, addresses: [10.3.0.1/24, "fd03::1/64"]}`)
	_, script, _ := runOSL(t, "diff", file)
	sh(t, "set -e\n"+script)
	want(t, exitDone, []string{"nothing to change"}, "up", file)
	want(t, exitDone, nil, "up", text("10.7.0.1/24", ""))
	if out := sh(t, "ip -o addr show dev br-p; ip -o addr show dev hx; cat /proc/sys/net/ipv6/conf/hx/disable_ipv6"); !strings.Contains(out, "10.7.0.1") || !strings.HasSuffix(out, "\n0\n") ||
		strings.Contains(out, "10.8.0.1") || strings.Contains(out, "10.3.0.1") || strings.Contains(out, "fd03") {
		t.Errorf("the host has\n%s", out)
	}
	want(t, exitDone, nil, "down", "lab")
	eventually(t, func() []string { return difference(before, traces(t)) })
}

// An address that a program gave a time is taken over where the file says it, which is no
// secret where the file says no time.
func TestAddressWithATimeOfOthers(t *testing.T) {
	text := func(address string) string {
		return fileOf(t, "lab", "sandboxes: [{name: a, interfaces: [{name: e, type: bridge, addresses: ["+address+"]}]}]")
	}
	defer runOSL(t, "down", "--force", "lab")
	want(t, exitDone, nil, "up", text(""))
	sh(t, "ip -n a addr add 10.9.0.1/24 dev e valid_lft 1000 preferred_lft 900")
	want(t, exitDiffer, []string{"addr replace 10.9.0.1/24 dev e"}, "diff", text("10.9.0.1/24"))
	want(t, exitDone, []string{"nothing to change"}, "up", text("{address: 10.9.0.1/24, valid_lft: 2000, preferred_lft: 2000}"))
	want(t, exitDone, nil, "up", text("10.9.0.1/24"))
	want(t, exitDone, []string{"nothing to change"}, "diff", text("10.9.0.1/24"))
	if out := sh(t, "ip -n a addr show dev e"); !strings.Contains(out, "valid_lft forever") {
		t.Errorf("it ends:\n%s", out)
	}
}

// Machines read the kind of each change.
func TestKindOfChange(t *testing.T) {
	testnet.NeedTun(t)
	want(t, exitDone, nil, "create", "k")
	defer runOSL(t, "rm", "k")
	for _, args := range [][]string{{"link", "add", "-o", "json", "k", "br0", "--type", "bridge"}, {"link", "add", "k", "tap0", "--type", "tap", "-o", "json"}, {"link", "rm", "-o", "json", "k", "br0"}} {
		var changes osl.Changes
		if err := json.Unmarshal([]byte(want(t, exitDone, nil, args...)), &changes); err != nil || len(changes) == 0 {
			t.Fatalf("%v: %v", changes, err)
		}
		for _, c := range changes {
			if c.Kind != osl.ChangeEdit {
				t.Errorf("%v: the kind of %+v", args, c)
			}
		}
	}
	want(t, exitDone, []string{"tap0       tap"}, "inspect", "k")
}

// What is misspelt is offered as it is meant, and errors name the file's line.
func TestWhatIsMeant(t *testing.T) {
	want(t, exitDone, nil, "create", "web")
	defer runOSL(t, "rm", "web")
	for _, x := range []struct{ args, says string }{
		{"exec wbe -- true", `exec wbe (/run/netns/wbe): not found`}, {"exec wbe -- true", `did you mean "web"?`},
		{"inspect wbe", `did you mean "web"?`}, {"rm wbe", `did you mean "web"?`},
	} {
		want(t, exitFailed, []string{x.says}, strings.Split(x.args, " ")...)
	}
	want(t, exitUsage, []string{`did you mean "add"?`}, "link", "ad", "web", "x")
	file := netFile(t, "sandboxes:\n  - name: web\n    interfaces:\n      - {name: br0, type: bridge}\n      - name: e\n        master: br1\n        peer: host/e9\n")
	want(t, exitFailed, []string{"up " + file + ":6: ", `did you mean "br0"?`, "|         master: br1"}, "up", file)
	want(t, exitFailed, []string{"diff " + file + ":6: "}, "diff", file)
	// A link is not on itself.
	file = netFile(t, "sandboxes: [{name: web, interfaces: [{name: e1, type: macvlan, parent: e}, {name: ee, peer: host/e9}]}]\n")
	want(t, exitFailed, []string{`did you mean "ee"?`}, "up", file)
}
