package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/netfile"
)

// fileOf writes a file whose network has the file's name.
func fileOf(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Sysctls that are secrets are in what osl diff prints, which is to do the same, and in nothing
// that tells what stands.
func TestSecretSysctls(t *testing.T) {
	const key, all, one = "00000001-00000002-00000003-00000004", "fd00::5ec:1", "fd00::5ec:2"
	file := fileOf(t, "ss", "sandboxes: [{name: a, sysctls: {ipv4.tcp_fastopen_key: "+key+", \"ipv6.conf.default.stable_secret\": \""+all+"\"}, interfaces: [{name: e, type: bridge, sysctls: {ipv6.stable_secret: \""+one+"\"}}]}]")
	want(t, 3, []string{key, "5ec:1", "5ec:2"}, "diff", file)
	want(t, 0, nil, "up", file)
	defer want(t, 0, nil, "down", file)
	for _, args := range [][]string{{"inspect", "a"}, {"inspect", "a", "-o", "json"}, {"export", "a"}} {
		text := want(t, 0, nil, args...)
		for _, secret := range []string{key, "5ec:1", "5ec:2", "05ec:0001", "05ec:0002"} {
			if strings.Contains(text, secret) {
				t.Errorf("osl %s tells %s:\n%s", args, secret, text)
			}
		}
	}
}

// wrong is a sandbox that the kernel refuses when most is done.
const wrong = "sandboxes: [{name: zz, routes: [{to: 172.16.0.0/12, via: 10.200.0.1}]}, "

// Each pair is a file before and after an edit. The edit goes up as it is, and
// back; one with a mistake at its end leaves everything as before.
func TestEditsOfAFile(t *testing.T) {
	for _, x := range []struct{ what, before, after string }{
		{"a link is plugged elsewhere",
			`sandboxes: [{name: a, interfaces: [{name: e, addresses: [10.9.0.1/24]}]}, {name: b, interfaces: [{name: e, addresses: [10.9.0.2/24]}]}]
links: [[a/e, b/e]]`,
			`sandboxes: [{name: a, interfaces: [{name: e, addresses: [10.9.0.1/24]}]}, {name: c, interfaces: [{name: e, addresses: [10.9.0.2/24]}]}]
links: [[a/e, c/e]]`},
		{"a sandbox has another name",
			`sandboxes: [{name: a, interfaces: [{name: e, addresses: [10.9.0.1/24], peer: host/va}]}]`,
			`sandboxes: [{name: b, interfaces: [{name: e, addresses: [10.9.0.1/24], peer: host/va}]}]`},
		{"the host's end has another name",
			`sandboxes: [{name: a, interfaces: [{name: e, peer: host/va}]}]`,
			`sandboxes: [{name: a, interfaces: [{name: e, peer: host/vb}]}]`},
		{"two interfaces change names",
			`sandboxes: [{name: a, interfaces: [{name: e, peer: host/va, addresses: [10.9.0.1/24]}, {name: f, peer: host/vb}]}]`,
			`sandboxes: [{name: a, interfaces: [{name: f, peer: host/va, addresses: [10.9.0.1/24]}, {name: e, peer: host/vb}]}]`},
		{"a bridge becomes a veth",
			`sandboxes: [{name: a, interfaces: [{name: e, type: bridge, addresses: [10.9.0.1/24]}, {name: p, master: e, peer: host/va}]}]`,
			`sandboxes: [{name: a, interfaces: [{name: e, peer: host/vb, addresses: [10.9.0.1/24]}, {name: p, peer: host/va}]}]`},
		{"a vxlan has another VNI, and another name",
			`sandboxes: [{name: a, interfaces: [{name: x, type: vxlan, vni: 5, remote: 192.0.2.1}, {name: y, type: vxlan, vni: 6}]}]`,
			`sandboxes: [{name: a, interfaces: [{name: x, type: vxlan, vni: 7, remote: 192.0.2.2}, {name: z, type: vxlan, vni: 6}]}]`},
		{"a vxlan gets the name of a bridge, which gets that of the vxlan",
			`sandboxes: [{name: a, interfaces: [{name: x, type: bridge}, {name: y, type: vxlan, vni: 5}]}]`,
			`sandboxes: [{name: a, interfaces: [{name: y, type: bridge}, {name: x, type: vxlan, vni: 5}]}]`},
		{"a vxlan gets another name, and its own gets another link",
			`sandboxes: [{name: a, interfaces: [{name: x, type: vxlan, vni: 5}, {name: z, type: bridge}]}]`,
			`sandboxes: [{name: a, interfaces: [{name: w, type: vxlan, vni: 5}, {name: x, peer: a/z}]}]`},
		{"a rule that denies the way to a next hop comes, and the next hop changes",
			`sandboxes: [{name: a, gateway: 10.9.0.8, interfaces: [{name: e, type: bridge, addresses: [10.9.0.1/24]}]}]`,
			`sandboxes: [{name: a, gateway: 10.9.0.9, rules: [{priority: 5, action: prohibit}], interfaces: [{name: e, type: bridge, addresses: [10.9.0.1/24]}]}]`},
		{"a route comes by which another's next hop is reached",
			`sandboxes: [{name: a, interfaces: [{name: e, type: bridge, addresses: ["fd09::1/64"]}]}]`,
			`sandboxes: [{name: a, routes: [{to: "2001:db8::/32", via: "2001:db9::1"}, {to: "2001:db9::/32", dev: e}], interfaces: [{name: e, type: bridge, addresses: ["fd09::1/64"]}]}]`},
		{"a link with a setting gets the name of another, which has another value of it, and goes",
			`sandboxes: [{name: a, interfaces: [{name: x, type: vxlan, vni: 5, ipv6: link-local}, {name: y, type: bridge, ipv6: auto}]}]`,
			`sandboxes: [{name: a, interfaces: [{name: y, type: vxlan, vni: 5, ipv6: link-local}, {name: x, type: bridge}]}]`},
		{"a macvlan has another parent and mode",
			`sandboxes: [{name: a, interfaces: [{name: b, type: bridge}, {name: c, type: bridge}, {name: m, type: macvlan, parent: b}]}]`,
			`sandboxes: [{name: a, interfaces: [{name: b, type: bridge}, {name: c, type: bridge}, {name: m, type: macvlan, parent: c, mode: private}]}]`},
		{"an address moves to another interface",
			`sandboxes: [{name: a, gateway: 10.9.0.9, interfaces: [{name: e, peer: host/va, addresses: [10.9.0.1/24]}, {name: f, peer: host/vb}]}]`,
			`sandboxes: [{name: a, gateway: 10.9.0.9, interfaces: [{name: e, peer: host/va}, {name: f, peer: host/vb, addresses: [10.9.0.1/24]}]}]`},
	} {
		t.Run(x.what, func(t *testing.T) {
			before := traces(t)
			for _, text := range []string{x.before, x.after, x.before} {
				file := fileOf(t, "lab", text)
				want(t, exitDone, nil, "up", file)
				want(t, exitDone, nil, "diff", file)
				want(t, exitDone, []string{"nothing to change"}, "up", file)
				other := x.after
				if text == x.after {
					other = x.before
				}
				bad := fileOf(t, "lab", strings.Replace(other, "sandboxes: [", wrong, 1))
				if code, _, _ := runOSL(t, "up", bad); code != exitFailed {
					t.Errorf("an edit that can not be: exit code %d", code)
				}
				want(t, exitDone, nil, "diff", file)
			}
			want(t, exitDone, nil, "down", "lab")
			eventually(t, func() []string { return difference(before, traces(t)) })
		})
	}
}

// What is exported goes up again, a default route that says more than a gateway does, too.
func TestExportOfADefaultRoute(t *testing.T) {
	before := traces(t)
	for _, route := range []string{"{to: default, via: 10.9.0.9, src: 10.9.0.1}", "{to: default, via: 10.9.0.9, mtu: 1400}", "{to: '::/0', via: 'fd09::9', advmss: 1200}"} {
		want(t, exitDone, nil, "up", fileOf(t, "lab", "sandboxes: [{name: a, routes: ["+route+"], interfaces: [{name: e, type: bridge, addresses: [10.9.0.1/24, 'fd09::1/64']}]}]"))
		text := want(t, exitDone, nil, "export", "a")
		if strings.Contains(text, "gateway") {
			t.Errorf("%s is a gateway too:\n%s", route, text)
		}
		want(t, exitDone, []string{"nothing to change"}, "up", fileOf(t, "lab", text))
	}
	want(t, exitDone, nil, "down", "lab")
	eventually(t, func() []string { return difference(before, traces(t)) })
}

// What is exported, and what a file is as one of its own, is a network file as JSON too.
func TestExportAsJSON(t *testing.T) {
	const text = `
sandboxes:
  - {name: "1e3", interfaces: [{name: e, addresses: [{address: 10.9.0.1/24, scope: link}], impair: {rate: 2mbit}, offloads: {tso: off}}], labels: {a: "1"}}
  - {name: b, interfaces: [{name: e}], rules: [{priority: 7, from: 10.9.0.1}]}
links: [[1e3/e, b/e]]
`
	for _, from := range []string{"", "import"} {
		file := fileOf(t, "lab", text)
		if from != "" {
			file = fileOf(t, "lab", want(t, exitDone, nil, from, file, "-o", "json"))
		}
		want(t, exitDone, nil, "up", file)
		out := want(t, exitDone, nil, "export", "lab", "-o", "json")
		if !json.Valid([]byte(out)) {
			t.Errorf("it is no JSON: %s", out)
		}
		want(t, exitDone, []string{"nothing to change"}, "up", fileOf(t, "lab", out))
		want(t, exitDone, nil, "down", "lab")
	}
}

// What a file said of a link of the host and says no more is the link's own again, and not told.
func TestExportOfALinkThatIsAsOnTheHost(t *testing.T) {
	sh(t, "ip link add s0 type veth peer name s1")
	defer sh(t, "ip link del s0")
	for _, says := range []string{", group: 7, promisc: true, gso_max_size: 30000", ""} {
		want(t, exitDone, nil, "up", fileOf(t, "lab", "sandboxes: [{name: a, interfaces: [{name: e, source: s0"+says+"}]}]"))
		if text := want(t, exitDone, nil, "export", "a"); !strings.Contains(text, "{name: e, source: s0"+says+"}") {
			t.Errorf("with %q it is %s", says, text)
		}
	}
	want(t, exitDone, nil, "down", "lab")
}

// An error has the file and the line of what it is about, and a reason, before the kernel
// has been asked.
func TestRefusedFiles(t *testing.T) {
	sh(t, "ip link add s0 type veth peer name s1")
	defer sh(t, "ip link del s0")
	before := traces(t)
	for text, says := range map[string]string{
		`sandboxes: [{name: ".."}]`: `lab.yaml:1: sandbox "..": ".." is no name of a sandbox`,
		`sandboxes: [{name: a, interfaces: [{name: e, type: bridge, mac: "00:00:00:00:00:00"}]}]`:                                                               `lab.yaml:1: sandbox "a", interface "e": 00:00:00:00:00:00 is no hardware address`,
		`sandboxes: [{name: a, interfaces: [{name: e, type: bridge, addresses: ["fd09::1/64"]}], gateway6: "fe80::9"}]`:                                         "needs its interface: fe80::9%eth0",
		`sandboxes: [{name: a, interfaces: [{name: e, type: bridge}], routes: [{to: "fd00::/16", via: "fe80::9"}]}]`:                                            "needs its interface: fe80::9%eth0",
		`sandboxes: [{name: a, interfaces: [{name: e, source: s0}]}, {name: host, masquerade: [{subnet: 10.9.0.0/24, uplink: s0}]}]`:                            `the uplink "s0" of 10.9.0.0/24 is taken into`,
		`sandboxes: [{name: a, interfaces: [{name: e, type: bridge, mtu: 01500}]}]`:                                                                             "lab.yaml:1: 01500 begins with a zero, by which YAML takes it for 832: write 1500",
		"sandboxes:\n- {name: a, interfaces: [{name: e, type: bridge, addresses: [10.9.0.1/24, {address: 10.9.0.2/24, scope: link}]}]}":                         `lab.yaml:2: sandbox "a", interface "e": the address 10.9.0.2/24 is to have the scope link, and 10.9.0.1/24, of the same subnet 10.9.0.0/24, global`,
		"sandboxes:\n- name: a\n  interfaces:\n  - {name: b, type: bridge}\n  - {name: e, peer: host/pe}\n  - {name: t, type: macvtap, parent: e, master: b}\n": `lab.yaml:6: sandbox "a", interface "t": a macvtap hands what it gets to the program that has it open, and can not be a port of a bridge`,
		`sandboxes: [{name: a, sysctls: {kernel.hostname: x}}]`:                                                                                                 `the kernel has no setting "kernel.hostname" of a sandbox; a sandbox is a network`,
		`sandboxes: [{name: a, sysctls: {ipv4.tcp_congestion_control: no-such}}]`:                                                                               `the kernel does not take "no-such"`,
	} {
		code, out, errs := runOSL(t, "up", fileOf(t, "lab", text))
		if code != exitUsage || !strings.Contains(errs, says) {
			t.Errorf("%s: exit code %d, no %q in\n%s%s", text, code, says, out, errs)
		}
	}
	eventually(t, func() []string { return difference(before, traces(t)) })
}

// Of several entries that look alike the line is that of the one that is meant.
func TestLineOfAMistake(t *testing.T) {
	for text, says := range map[string]string{
		"sandboxes:\n- name: a\n  interfaces: [{name: e, type: bridge, addresses: [10.9.0.1/24]}]\n  neighbors:\n  - {dev: e, ip: 10.9.0.2, mac: \"02:00:00:00:00:09\"}\n  - {dev: f, ip: 10.9.0.2, mac: \"02:00:00:00:00:09\"}\n": `lab.yaml:6: sandbox "a", interface "f": not found: the device of the neighbor 10.9.0.2`,
		"sandboxes:\n- name: host\n  interfaces: [{name: br-lm, type: bridge}]\n  masquerade:\n  - {subnet: 10.8.0.0/24, uplink: br-lm}\n  - {subnet: 10.9.0.0/24, uplink: br-ln}\n- name: a\n":                                    `lab.yaml:6: sandbox "host": not found: the host has no link "br-ln"`,
		"sandboxes:\n- name: host\n  interfaces: [{name: br-lm, type: bridge}]\n  masquerade:\n  - {subnet: 10.8.0.0/24, uplink: br-lm}\n  - {subnet: 10.9.0.1/24, uplink: br-lm}\n- name: a\n":                                    `lab.yaml:6: sandbox "host": 10.9.0.1/24 is no subnet`,
		"sandboxes:\n- name: a\n  rules:\n  - {priority: 7, action: drop}\n":      `lab.yaml:4: sandbox "a": the rule of the priority 7 has no action "drop": there are blackhole, nop, prohibit, unreachable`,
		"sandboxes:\n- name: a\n  routes:\n  - {to: 10.0.0.0/8, type: nothing}\n": `lab.yaml:4: sandbox "a": the route to 10.0.0.0/8 has no type "nothing": there are blackhole, `,
	} {
		if code, out, errs := runOSL(t, "up", fileOf(t, "lab", text)); code == 0 || !strings.Contains(errs, says) {
			t.Errorf("%s: exit code %d, no %q in\n%s%s", text, code, says, out, errs)
		}
	}
}

// What others made and is in the way is told with the line of what it keeps out, and with what
// takes it away.
func TestInTheWay(t *testing.T) {
	file := fileOf(t, "lab", "sandboxes:\n- name: a\n  interfaces: [{name: e, peer: b/e, addresses: [10.9.0.1/24]}]\n  gateway: 10.9.0.9\n- name: b\n")
	want(t, exitDone, nil, "up", file)
	defer runOSL(t, "down", "lab")
	for does, says := range map[string]string{
		"route del default && ip -n a route add default via 10.9.0.8":                                                 "lab.yaml:4: |take that away with: ip -n a route del 0.0.0.0/0 via 10.9.0.8 dev e",
		"addr del 10.9.0.1/24 dev e && ip -n a link add name br1 type bridge && ip -n a addr add 10.9.0.7/24 dev br1": `lab.yaml:3: |is on "br1" by the address 10.9.0.7/24 of others|take that away with: ip -n a addr del 10.9.0.7/24 dev br1`,
		"addr add 10.9.0.9/24 dev e": "lab.yaml:4: |the gateway 10.9.0.9 is an address of the sandbox itself",
	} {
		sh(t, "ip -n a "+does)
		code, _, errs := runOSL(t, "up", file)
		for _, says := range strings.Split(says, "|") {
			if code == exitDone || !strings.Contains(errs, says) {
				t.Errorf("%s: exit code %d, no %q in %s", does, code, says, errs)
			}
		}
		sh(t, "for x in 'route del default via 10.9.0.8' 'link del br1' 'addr del 10.9.0.9/24 dev e'; do ip -n a $x 2>/dev/null; done; true")
		want(t, exitDone, nil, "up", file)
	}
}

// What a network lacks is told with what was meant, if anything was.
func TestMeantInAFile(t *testing.T) {
	for text, says := range map[string]string{
		"sandboxes:\n- {name: a, interfaces: [{name: e, peer: b/eht0}]}\n- {name: b, interfaces: [{name: eth0}]}":           `lab.yaml:3: sandbox "b", interface "eth0": not found: there is no such link, and neither type, source nor a link says where it comes from; a link has the end "eht0" here`,
		"sandboxes:\n- {name: a, interfaces: [{name: e, segment: x}]}\nlinks: [[a/f, lab.segment/e]]":                       "there is no sandbox \"lab.segment\" in the network\n",
		"sandboxes: [{name: a}]\nlinks: [[a/f, c/e]]":                                                                       "there is no sandbox \"c\" in the network\n",
		"sandboxes: [{name: web}]\nlinks: [[web/f, wbe/e]]":                                                                 `did you mean "web"?`,
		"sandboxes:\n- name: web\n  interfaces:\n  - {name: e, type: macvlan, parent: enp3s0}":                              `its parent "enp3s0" is not in the sandbox; one of the host is written host/enp3s0`,
		"sandboxes:\n- name: web\n  interfaces:\n  - {name: e, type: macvlan, parent: et0}\n  - {name: eth0, peer: host/h}": `its parent "et0" is not in the sandbox; did you mean "eth0"?`,
	} {
		want(t, exitFailed, []string{says}, "diff", fileOf(t, "lab", text))
	}
}

// What the kernel refuses of a link on one of the host is told of the sandbox that it is for.
func TestRefusedOnTheHost(t *testing.T) {
	// Without IPv6 they have no address that comes in the kernel's own time.
	sh(t, `ip link add s0 type veth peer name s1; for l in s0 s1; do echo 1 > /proc/sys/net/ipv6/conf/$l/disable_ipv6; ip link set $l up; done
		for l in s0 s1; do until ip link show dev $l | grep -q 'state UP'; do sleep 0.02; done; done`)
	defer sh(t, "ip link del s0")
	before := traces(t)
	for link, says := range map[string]string{
		`type: vxlan, vni: 7`:                     `the VNI 7: exists already`,
		`type: macvlan, mac: "02:00:00:00:00:07"`: `or of a macvlan the hardware address`,
	} {
		text := "sandboxes:\n- {name: a, interfaces: [{name: e, parent: host/s0, " + link + "}]}\n- {name: b, interfaces: [{name: e, parent: host/s0, " + link + "}]}\n"
		want(t, exitFailed, []string{`lab.yaml:3: sandbox "b", interface "e"`, says}, "up", fileOf(t, "lab", text))
	}
	eventually(t, func() []string { return difference(before, traces(t)) })
}

// A network of which nothing stands but what it made on the host is taken down by its name.
func TestDownOfWhatIsLeftOnTheHost(t *testing.T) {
	before := traces(t)
	file := fileOf(t, "lab", "sandboxes: [{name: a, interfaces: [{name: e, peer: host/h0}]}, {name: host, interfaces: [{name: br0, type: bridge}]}]")
	want(t, exitDone, nil, "up", file)
	sh(t, "ip netns del a")
	want(t, exitDone, []string{"br0"}, "down", "lab")
	want(t, exitDone, nil, "up", file)
	want(t, exitDone, nil, "down", "lab")
	want(t, exitFailed, []string{"neither a file nor a network"}, "down", "lab")
	eventually(t, func() []string { return difference(before, traces(t)) })
}

// What one network made is no other's, and its name is enough to take it down.
func TestNamesOfNetworks(t *testing.T) {
	before := traces(t)
	one := fileOf(t, "one", `sandboxes: [{name: a}, {name: b, interfaces: [{name: e, peer: host/va}]}]`)
	want(t, exitDone, []string{"created 2 sandboxes (a, b)"}, "up", one)
	two := fileOf(t, "other", `{name: two, sandboxes: [{name: c}, {name: b}]}`)
	if code, _, errs := runOSL(t, "up", two); code != exitFailed || !strings.Contains(errs, `"one"`) {
		t.Errorf("a sandbox of another network: %d %s", code, errs)
	}
	for _, verb := range []string{"inspect one", "exec one true", "rm one", "link rm one e"} { // which want a sandbox
		want(t, exitFailed, []string{`"one" is a network, of a, b`}, strings.Fields(verb)...)
	}
	three := fileOf(t, "three", `sandboxes: [{name: c, interfaces: [{name: e, peer: host/va}]}]`)
	if code, _, errs := runOSL(t, "up", three); code != exitFailed || !strings.Contains(errs, `"one"`) || !strings.Contains(errs, "va") {
		t.Errorf("a link of another network: %d %s", code, errs)
	}
	want(t, exitDone, []string{"one", "a", "b"}, "ls")
	one = fileOf(t, "one", `sandboxes: [{name: a}]`)
	want(t, exitDone, []string{"removed 1 sandbox (b)"}, "up", one)
	want(t, exitDone, []string{"created 1 sandbox (c)"}, "up", three)
	t.Chdir(t.TempDir())
	if err := os.Mkdir("one", 0o755); err != nil { // a directory is no file
		t.Fatal(err)
	}
	want(t, exitDone, []string{"removed 1 sandbox (a)"}, "down", "one")
	if code, _, errs := runOSL(t, "down", "one"); code == exitDone || !strings.Contains(errs, "neither a file nor a network") {
		t.Errorf("a network that is not there: %d %s", code, errs)
	}
	want(t, exitDone, []string{"removed 1 sandbox (c)"}, "down", "three")
	eventually(t, func() []string { return difference(before, traces(t)) })
}

// What diff prints mends what it says, and up then has nothing to do.
func TestMendedByHand(t *testing.T) {
	before := traces(t)
	file := fileOf(t, "lab", `
sandboxes:
  - {name: a, interfaces: [{name: e, addresses: [10.9.0.1/24], aliases: [10.9.0.5/24]}], gateway: 10.9.0.2}
  - {name: b, interfaces: [{name: e, addresses: [10.9.0.2/24], master: br0}, {name: br0, type: bridge}, {name: u0, peer: host/va}]}
links: [[a/e, b/e]]`)
	want(t, exitDone, nil, "up", file)
	for _, harm := range []string{
		"ip -n a link del e",
		"ip -n b link del u0",
		"ip -n a addr flush dev e",
		"ip -n a link set e down",
		"ip -n b link set e nomaster",
		"ip -n b link del br0",
		"ip -n a route del default",
		"ip -n a link set e name f",
		"ip link set va down",
		"ip netns del a",
	} {
		sh(t, harm)
		code, out, errs := runOSL(t, "diff", file)
		if code != exitDiffer {
			t.Errorf("after %q: diff says %d %s%s", harm, code, out, errs)
		}
		sh(t, "set -e\n"+out)
		want(t, exitDone, []string{"nothing to change"}, "up", file)
		want(t, exitDone, nil, "diff", file)
	}
	// Also an alternative name is taken over, so that the next edit takes it away.
	named := func(a, b string) string {
		return fileOf(t, "lab", "sandboxes: [{name: a, interfaces: [{name: e, altnames: ["+a+"]}, {name: f, type: bridge, altnames: ["+b+"]}]}, {name: b, interfaces: [{name: e}]}]\nlinks: [[a/e, b/e]]")
	}
	want(t, exitDone, nil, "up", named("", "x"))
	sh(t, "ip -n a link del e")
	file = named("y, z", "x")
	_, out, _ := runOSL(t, "diff", file)
	sh(t, "set -e\n"+out)
	want(t, exitDone, []string{"nothing to change"}, "up", file)
	want(t, exitDone, nil, "up", named("", "z"))
	if out := sh(t, "ip -n a link show e"); strings.Contains(out, "altname") {
		t.Errorf("an alternative name has stayed:\n%s", out)
	}
	want(t, exitDone, nil, "down", "lab")
	eventually(t, func() []string { return difference(before, traces(t)) })
}

// A card of the host that somebody moved by hand keeps the alternative name that it had there.
func TestMovedByHand(t *testing.T) {
	sh(t, "ip link add h0 type veth peer name h1 && ip link property add dev h0 altname udev0")
	defer sh(t, "ip link del h1")
	file := fileOf(t, "lab", "sandboxes: [{name: a, interfaces: [{name: e, source: h0, altnames: [udev0, y]}]}]")
	_, out, _ := runOSL(t, "diff", file)
	sh(t, "set -e\n"+out)
	want(t, exitDone, nil, "up", file)
	want(t, exitDone, nil, "diff", file)
	want(t, exitDone, nil, "down", "lab")
	if out := sh(t, "ip link show h0"); !strings.Contains(out, "altname udev0") {
		t.Errorf("it came home without its name:\n%s", out)
	}
}

// As JSON a network file has no comments: what they say goes to standard error.
func TestCommentsBesideJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n.clab.yml")
	text := "name: n\ntopology:\n  nodes:\n    a: {kind: linux, image: i, exec: [iptables -L, apk add x]}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := runOSL(t, "import", path, "-o", "json")
	var net osl.Network
	if err := json.Unmarshal([]byte(out), &net); err != nil || code != exitDone {
		t.Errorf("exit code %d, %v", code, err)
	}
	for _, says := range []string{"passed over: image", "osl exec a -- iptables -L", "osl exec a -- apk add x"} {
		if !strings.Contains(errs, says) {
			t.Errorf("no %q in:\n%s", says, errs)
		}
	}
	net = osl.Network{Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{{Name: "wg", Type: "wireguard", WireGuard: &osl.WireGuardSpec{PrivateKeyFile: "a.wg.key"}}}}}}
	var stdout, stderr bytes.Buffer
	a := &app{stdout: &stdout, stderr: &stderr, output: "json"}
	if err := a.printFile(&netfile.File{Network: net}, keyNotes(&net)); err != nil || !json.Valid(stdout.Bytes()) || !strings.Contains(stderr.String(), "wg show wg private-key >a.wg.key") {
		t.Errorf("%v\n%s\n%s", err, &stdout, &stderr)
	}
}
