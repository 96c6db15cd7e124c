package cli

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A value that is wrong is told with its own line, wherever it stands: each file here has a part
// to a line, and the wrong one is marked.
func TestErrorAtTheLineOfTheValue(t *testing.T) {
	iface := func(lines ...string) string {
		return "sandboxes:\n  - name: a\n    interfaces:\n      - name: e\n        " + strings.Join(lines, "\n        ") + "\n"
	}
	in := func(list string, lines ...string) string {
		return "sandboxes:\n  - name: a\n    interfaces:\n      - {name: e, type: bridge, addresses: [10.0.0.1/24]}\n    " + list + ":\n      - " + strings.Join(lines, "\n        ") + "\n  - name: b\n"
	}
	for _, text := range []string{
		iface("type: bridge", "mtu: 60 # !"),
		iface("type: veth", "peer: host/h", "mtu: 70000 # !"),
		iface("type: bridge", "addresses: [fd00::1/64]", "mtu: 1000 # !"),
		iface("type: bridge", "txqueuelen: -1 # !"),
		iface("type: bridge", "mac: 01:00:00:00:00:01 # !"),
		iface("type: bridge", "group: -1 # !"),
		iface("type: bridge", "addrgenmode: eui # !"),
		iface("type: tap", "gso_max_size: 1 # !"),
		iface("type: bridge", "altnames:", "  - one", "  - a/b # !"),
		iface("type: bridge", "altnames:", "  - 7", "  - 7/7 # !"),
		iface("type: bridge", "ipv6: on # !"),
		iface("type: bridge", "addresses:", "  - 10.0.0.1/24", "  - 224.0.0.1/4 # !"),
		iface("type: bridge", "addresses:", "  - address: 10.0.0.1/24", "    scope: lnk # !"),
		iface("type: bridge", "addresses: [10.0.0.1/24]", "address_options:", "  10.0.0.1/24: {scope: link}", "  10.0.0.9/24: {scope: link} # !"),
		iface("type: bridge", "sysctls:", "  ipv4.rp_filter: 1", "  kernel.x: 1 # !"),
		iface("type: bridge", "master: e # !"),
		iface("type: bridge", "note: é # !"),
		iface("type: vxlan", "vni: 99999999 # !"),
		iface("type: vxlan", "vni: 5", "port: 70000 # !"),
		iface("type: vlan", "parent: e2", "vlan: 4095 # !"),
		iface("type: macvlan", "mode: vepaa # !", "parent: e2"),
		iface("type: macvlan", "parent: e # !"),
		iface("mtu: 1400", "type: brigde # !"),
		iface("type: gre", "ttl: 256 # !", "remote: 10.0.0.1"),
		iface("type: ifb", "numtxqueues: 5000 # !"),
		iface("type: tap", "owner: -1 # !"),
		iface("type: bridge", "impair:", "  loss: 1%", "  delay: 2h # !"),
		iface("type: bridge", "impair:", "  delay: 1ms", "  jitter: 3s # !"),
		iface("type: bridge", "impair:", "  limit: 5", "  reorder: 3% # !"),
		iface("type: bridge", "bridge:", "  stp: true", "  forward_delay: 1s # !"),
		iface("type: bridge", "bridge:", "  priority: 70000 # !"),
		iface("type: bridge", "bridge:", "  vlan_filtering: true", "  vlans: [5000] # !"),
		iface("type: veth", "peer: host/h", "master: br0", "bridge_port:", "  hairpin: true", "  priority: 64 # !"),
		iface("type: wireguard", "wireguard:", "  private_key_file: x", "  listen_port: 70000 # !"),
		iface("type: veth", "peer: c/e # !"),
		iface("type: veth", "peer: a/x/y # !"),
		iface("type: bridge", "peer_master: br # !"),
		iface("subnet:", "  - 10.0.0.1/24 # !", "type: bridge"),
		"sandboxes:\n  - name: a\n    interfaces:\n      - type: bridge\n        name: a/b # !\n",
		"sandboxes:\n  - gateway: 10.0.0.1\n    name: .. # !\n",
		"sandboxes:\n  - name: a\n    gateway: fd00::1 # !\n",
		"sandboxes:\n  - name: a\n    gateway6: fe80::1 # !\n",
		"sandboxes:\n  - name: a\n    sysctls:\n      ipv4.ip_forward: 1\n      ipv4.no_such: 1 # !\n",
		in("routes", "to: 10.1.0.0/16", "via: 10.0.0.9", "type: blackhol # !"),
		in("routes", "to: 10.1.0.0/16", "via: fe80::1 # !"),
		in("routes", "to: 10.1.0.0/16", "via: 10.0.0.9", "dev: f # !"),
		in("routes", "to: 10.1.0.0/16", "via: 10.0.0.9", "mtu: 65530 # !"),
		in("routes", "to: 10.1.0.0/16", "via: 10.0.0.9", "advmss: 65530 # !"),
		in("routes", "to: 10.1.0.0/16", "via: 10.0.0.9", "src: fd00::1 # !"),
		in("routes", "to: 10.1.0.0/16", "via: 10.0.0.9", "src: 10.0.0.8 # !"),
		in("routes", "to: 10.1.0.0/16", "via: 10.0.0.9", "scope: lin # !"),
		in("routes", "to: 10.1.0.0/16", "nexthop: 7 # !"),
		in("routes", "to: 10.1.0.0/16", "next_hops:", "  - via: 10.0.0.9", "  - via: 10.0.0.8", "    weight: 300 # !"),
		in("routes", "to: 10.1.0.0/16", "next_hops:", "  - via: 10.0.0.9", "  - weight: 3", "    via: fe80::1 # !"),
		in("rules", "priority: 5", "family: ipv5 # !"),
		in("rules", "priority: 5", "ipproto: tcpp # !"),
		in("rules", "priority: 5", "sport: 80-70 # !"),
		in("rules", "priority: 5", "dport: x # !"),
		in("rules", "priority: 5", "iif: a/b # !"),
		in("rules", "priority: 5", "action: drop # !"),
		in("rules", "priority: 5", "goto: 4 # !"),
		in("rules", "priority: 5", "suppress_prefixlength: 129 # !"),
		in("rules", "priority: 5", "from: 10.0.0.0/8", "to: fd00::/64 # !"),
		in("rules", "priority: 5", "table: 7", "action: prohibit # !"),
		in("nexthops", "id: 5", "dev: e", "via: 0.0.0.0 # !"),
		in("nexthops", "id: 5", "via: 10.0.0.9", "dev: f # !"),
		in("nexthops", "id: 5", "dev: e", "family: ipv5 # !"),
		in("nexthops", "id: 5", "group:", "  - id: 6", "    weight: 1", "  - id: 7", "    weight: 257 # !"),
		in("nexthops", "id: 5", "group: [{id: 6}, {id: 7}]", "type: mpat # !"),
		in("nexthops", "id: 5", "group: [{id: 6}, {id: 7}] # !"),
		in("neighbors", "ip: 10.0.0.9", "mac: 02:00:00:00:00:01", "dev: f # !"),
		in("neighbors", "dev: e", "mac: 02:00:00:00:00:01", "ip: fe80::1%e # !"),
		in("neighbors", "dev: e", "ip: 10.0.0.9", "mac: 02:00:00:00:00:01", "vlan: 7 # !"),
		in("masquerade", "subnet: 10.0.0.0/8 # !", "uplink: e"),
		"sandboxes:\n  - name: host\n    masquerade:\n      - subnet: 10.0.0.0/8\n        uplink: a b # !\n  - name: b\n",
		"sandboxes:\n  - name: host\n    masquerade:\n      - uplink: lo\n        subnet: 10.0.0.1/8 # !\n  - name: b\n",
		"sandboxes:\n  - name: host\n    masquerade:\n      - subnet: 10.0.0.0/8\n        uplink: no-such # !\n  - name: b\n",
		"sandboxes:\n  - name: host\n    masquerade:\n      - {subnet: 10.0.0.0/8, uplink: lo}\n      - subnet: 10.0.0.0/8\n        uplink: no-such # !\n  - name: b\n",
		"sandboxes:\n  - name: host\n    routes:\n      - {to: 10.0.0.0/8, via: 10.0.0.1} # !\n  - name: b\n",
		"sandboxes:\n  - name: host\n    labels: {a: b} # !\n  - name: b\n",
		"sandboxes:\n  - name: host\n    gateway6: fd00::1 # !\n  - name: b\n",
		"sandboxes:\n  - name: a\n    masquerade:\n      - {subnet: 10.0.0.0/8, uplink: e} # !\n",
		"name: lab\nsandboxes: [{name: a, interfaces: [{name: e, segment: x}]}]\nsegments:\n  - subnet: 10.0.0.0/8\n    name: a/b # !\n",
		"name: lab\nsandboxes: [{name: a, interfaces: [{name: e, segment: x}]}]\nsegments:\n  - name: x\n    subnet:\n      - fd00::/64\n      - 10.0.0.1/8 # !\n",
		"sandboxes: [{name: a}, {name: b}]\nlinks:\n  - ends: [a/e, b/e]\n    mtu: 70000 # !\n",
		"sandboxes: [{name: a}, {name: b}]\ndefaults:\n  interface:\n    mtu: 70000 # !\nlinks: [[a/e, b/e]]\n",
		"sandboxes:\n  - name: a\n    interfaces:\n      - name: e\n        mtu: 70000 # !\n  - name: b\nlinks: [[a/e, b/e]]\n",
		"sandboxes: [{name: a}, {name: b}]\nlinks:\n  - ends:\n      - a/e\n      - c/e # !\n",
		"sandboxes: [{name: a}, {name: b}]\nlinks:\n  - ends:\n      - host/h\n      - c/e # !\n",
		"sandboxes: [{name: a}, {name: b}]\nlinks:\n  - [a/e, b/e]\n  - ends:\n      - a/f\n      - b/e # !\n",
	} {
		lines := strings.Split(text, "\n")
		line := slices.IndexFunc(lines, func(l string) bool { return strings.HasSuffix(l, "# !") }) + 1
		file := netFile(t, "name: lab\n"+strings.TrimPrefix(text, "name: lab\n"))
		if !strings.HasPrefix(text, "name: lab\n") {
			line++
		}
		_, _, errs := runOSL(t, "diff", file)
		if !strings.Contains(errs, fmt.Sprintf("%s:%d: ", file, line)) {
			t.Errorf("line %d of\n%s\nis told as %s", line, text, errs)
		}
	}
}

// So are labels for which there is no room, of a sandbox that is new and of one that stands.
func TestErrorAtTheLineOfLabels(t *testing.T) {
	defer runOSL(t, "rm", "--force", "a")
	for range 2 {
		want(t, exitUsage, []string{"net.yaml:3: ", "bytes too many"}, "up", netFile(t, "sandboxes:\n- name: a\n  labels: {"+strings.Repeat("k", 300)+": v}\n"))
		want(t, exitDone, nil, "up", netFile(t, "sandboxes:\n- name: a\n  labels: {k: v}\n"))
	}
}

// A type that the kernel lacks is told with the line of the type: of each of these that it does.
func TestErrorAtTheLineOfATypeThatTheKernelLacks(t *testing.T) {
	for _, typ := range []string{"dummy", "vcan", "vrf\n        table: 7", "bond", "ifb"} {
		file := netFile(t, "sandboxes:\n  - name: a\n    interfaces:\n      - name: e\n        type: "+typ+"\n")
		_, _, errs := runOSL(t, "up", file)
		if strings.Contains(errs, "the kernel lacks this type") && !strings.Contains(errs, file+":5: ") {
			t.Error(errs)
		}
		runOSL(t, "down", file)
	}
}
