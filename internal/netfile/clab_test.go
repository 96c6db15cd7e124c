//go:build unix

package netfile

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
)

// labs are topologies of the shapes that people publish, with the network file that
// says the same, and what is left over.
var labs = []struct {
	name, clab, native string
	commands           []string // of each sandbox, what may change files in brackets
	notes              []string
}{{
	name: "a switch made by exec",
	clab: `
name: lab
mgmt: {network: m, ipv4-subnet: 172.30.30.0/24}
topology:
  nodes:
    sw:
      kind: linux
      image: some/image
      exec:
        - ip link add br0 type bridge
        - ip l s br0 up
        - ip link set dev eth1 master br0
        - brctl addif br0 eth2
    h1:
      kind: linux
      image: some/image
      exec: [ip link set eth1 up, ip a a 10.0.0.1/24 dev eth1, ip r d default via 172.30.30.1 dev eth0, ip route del default]
    h2:
      kind: linux
      image: some/image
      mgmt-ipv4: 172.30.30.3
      exec: ["sh -c 'ip addr add 10.0.0.2/24 brd 10.0.0.255 dev eth1 && ip link set eth1 up mtu 1400 address 02:00:00:00:00:02'"]
  links:
    - endpoints: ["sw:eth1", "h1:eth1"]
    - endpoints: ["sw:eth2", "h2:eth1"]
`,
	native: `
name: lab
sandboxes:
  - name: sw
    sysctls: {ipv4.ip_forward: 1}
    interfaces: [{name: eth1, master: br0}, {name: eth2, master: br0, mtu: 9500}, {name: br0, type: bridge}]
  - name: h1
    interfaces: [{name: eth1, addresses: [10.0.0.1/24]}]
  - name: h2
    interfaces: [{name: eth1, addresses: [10.0.0.2/24], mtu: 1400, mac: "02:00:00:00:00:02"}]
links: [[sw/eth1, h1/eth1], [sw/eth2, h2/eth1]]
`,
	notes: []string{"n.clab.yml:3: passed over: mgmt (4 times): osl makes no management", "n.clab.yml:8: passed over: image (3 times): osl runs no containers"},
}, {
	name: "kinds, groups, defaults, and bridges",
	clab: `
name: lab
topology:
  defaults: {kind: linux, exec: [sysctl -w net.ipv4.tcp_mtu_probing=1]}
  kinds: {linux: {image: i, sysctls: {net.ipv4.ip_default_ttl: 33}}}
  groups: {routers: {exec: ["sysctl -q -w net.ipv4.ip_forward=0"], binds: [a:b]}}
  nodes:
    lan: {kind: bridge}
    core: {kind: bridge}
    r1: {group: routers, exec: [ip addr add 10.0.0.1/24 dev eth1, "ip addr add fd00::1/64 dev eth2"], sysctls: {net.ipv4.ip_default_ttl: 44}}
    r2: {group: routers}
  links:
    - endpoints: ["r1:eth1", "lan:p1"]
    - endpoints: ["lan:p2", "r2:eth1"]
    - {type: veth, mtu: 1400, endpoints: [{node: r1, interface: eth2, mac: "02:00:00:00:00:12", ipv4: 10.2.0.1/24}, {node: core, interface: p1}]}
    - endpoints: ["core:up", "host:core-up"]
    - endpoints: ["r2:eth2", "macvlan:enp3s0"]
    - {type: host, endpoint: {node: r2, interface: eth3}, host-interface: r2-eth3}
    - {type: dummy, endpoint: {node: r2, interface: d0}}
    - endpoints: ["r2:m0", "mgmt-net:r2-m0"]
`,
	native: `
name: lab
sandboxes:
  - name: r1
    sysctls: {ipv4.ip_default_ttl: 44, ipv4.tcp_mtu_probing: 1, ipv4.ip_forward: 0}
    interfaces:
      - {name: eth1, segment: lan, addresses: [10.0.0.1/24]}
      - {name: eth2, mtu: 1400, mac: "02:00:00:00:00:12", addresses: [10.2.0.1/24, "fd00::1/64"]}
  - name: r2
    sysctls: {ipv4.ip_default_ttl: 33, ipv4.tcp_mtu_probing: 1, ipv4.ip_forward: 0}
    interfaces:
      - {name: eth1, segment: lan}
      - {name: eth2, type: macvlan, parent: host/enp3s0}
      - {name: eth3}
      - {name: d0, type: dummy}
  - name: core
    interfaces: [{name: core, type: bridge}, {name: p1, master: core, mtu: 1400}, {name: up, master: core}]
links: [[r1/eth2, core/p1], [core/up, host/core-up], [r2/eth3, host/r2-eth3]]
`,
	notes: []string{"n.clab.yml:6: passed over: binds, image (4 times)", "n.clab.yml:20: passed over: mgmt"},
}, {
	name: "links, routes and neighbours",
	clab: `
name: lab
topology:
  nodes:
    a:
      kind: linux
      exec:
        - ip link add link eth1 name eth1.5 type vlan id 5
        - ip link add vx type vxlan id 42 dev eth1 local 10.0.0.1 remote 10.0.0.2
        - ip link add d0 type dummy
        - ip link add v0 type veth peer name v1
        - ip address add 10.0.0.1/24 dev eth1
        - ip addr add 10.5.0.1 dev lo
        - ip route add default via 10.0.0.9
        - ip route replace default via 10.0.0.2
        - ip route add 10.9.0.0/16 via 10.0.0.2 dev eth1 metric 20
        - ip route add 10.8.0.0/16 dev d0
        - ip -6 route add default via fe80::1 dev eth1
        - ip route add blackhole 10.7.0.0/16
        - ip route add 10.6.0.0/16 via 172.20.20.1
        - ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:01 dev eth1 nud permanent
        - echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
        - ip rule add from 10.5.0.0/24 table 5
        - ip addr add 10.5.1.1/24 dev notmine
        - ip link set eth1 vf 0
        - ip route show
        - |
          bash -c '
          ip link set d0 up &&
          iptables -A FORWARD ! -s 10.0.0.0/8 -j DROP || true
          iperf3 -s -D; for i in 1 2; do echo $i; done'
        - sh -c "ip addr show | grep eth1 > /root/x"
        - sh -c "iperf3 -s -D && ip link set d0 mtu 1300"
        - sysctl -w net.ipv4.conf.eth7.rp_filter=0
        - sysctl -w kernel.panic=1
    b: {kind: linux}
  links: [{endpoints: ["a:eth1", "b:eth1"]}]
`,
	native: `
name: lab
sandboxes:
  - name: a
    gateway: 10.0.0.2
    sysctls: {ipv6.conf.all.forwarding: 1}
    interfaces:
      - {name: eth1, addresses: [10.0.0.1/24]}
      - {name: eth1.5, type: vlan, vlan: 5, parent: eth1}
      - {name: vx, type: vxlan, vni: 42, parent: eth1, local: 10.0.0.1, remote: 10.0.0.2, port: 8472}
      - {name: d0, type: dummy, mtu: 1300}
      - {name: v0, type: veth, peer: a/v1}
      - {name: v1}
      - {name: lo, addresses: [10.5.0.1/32]}
    routes:
      - {to: 10.9.0.0/16, via: 10.0.0.2, dev: eth1, metric: 20}
      - {to: 10.8.0.0/16, dev: d0}
      - {to: default, via: "fe80::1", dev: eth1}
      - {to: 10.7.0.0/16, type: blackhole}
    rules: [{from: 10.5.0.0/24, table: 5, priority: 32765}]
    neighbors: [{ip: 10.0.0.2, mac: "02:00:00:00:00:01", dev: eth1}]
  - name: b
    interfaces: [{name: eth1}]
links: [[a/eth1, b/eth1]]
`,
	commands: []string{"ip addr add 10.5.1.1/24 dev notmine", "ip link set eth1 vf 0", "ip route show",
		"[sh -c ip link set d0 up &&\niptables -A FORWARD ! -s 10.0.0.0/8 -j DROP || true\niperf3 -s -D; for i in 1 2; do echo $i; done]",
		"[sh -c ip addr show | grep eth1 > /root/x]", "[iperf3 -s -D]", "sysctl -w net.ipv4.conf.eth7.rp_filter=0", "[sysctl -w kernel.panic=1]"},
	notes: []string{"n.clab.yml:20: passed over: ip route … 10.6.0.0/16 via 172.20.20.1: no address of the node reaches"},
}, {
	name: "other types, and rules",
	clab: `
name: lab
topology:
  nodes:
    a:
      kind: linux
      exec:
        - ip link add red type vrf table 10
        - ip link set eth1 vrf red
        - ip link add eth1.5 link eth1 type vlan id 5 protocol 802.1ad
        - ip link add g type gre local 10.0.0.1 remote 10.0.0.2 ttl 64 key 7
        - ip link add v type vxlan id 7 dstport 4789 local 10.0.0.1 nolearning
        - ip link add link eth1 m type macvlan
        - ip link add link eth1.5 i type ipvlan mode l3
        - ip link add b type bond mode active-backup lacp_rate fast
        - ip link set b type bond miimon 100
        - ip link set m down
        - ip link set m master b
        - ip rule add fwmark 0x10/0xff lookup 100
        - ip -6 rule add iif eth1 table main prio 7
        - ip rule add from all to 10.0.0.0/8 table 5
        - ip rule add from 10.0.0.0/8 suppress_prefixlength 0
    b: {kind: linux}
  links: [{endpoints: ["a:eth1", "b:eth1"]}]
`,
	native: `
name: lab
sandboxes:
  - name: a
    sysctls: {}
    interfaces:
      - {name: eth1, master: red}
      - {name: red, type: vrf, table: 10}
      - {name: eth1.5, type: vlan, parent: eth1, vlan: 5, protocol: 802.1ad}
      - {name: g, type: gre, local: 10.0.0.1, remote: 10.0.0.2, ttl: 64, key: 7}
      - {name: v, type: vxlan, vni: 7, port: 4789, local: 10.0.0.1, learning: false}
      - {name: m, type: macvlan, parent: eth1, mode: vepa, master: b}
      - {name: i, type: ipvlan, parent: eth1.5, mode: l3}
      - {name: b, type: bond, mode: active-backup, miimon: 100}
    rules:
      - {fwmark: 16, fwmask: 255, table: 100, priority: 32765, family: ipv4}
      - {iif: eth1, priority: 7, family: ipv6}
      - {to: 10.0.0.0/8, table: 5, priority: 6}
      - {from: 10.0.0.0/8, suppress_prefixlength: 0, priority: 5}
  - {name: b, interfaces: [{name: eth1}]}
links: [[a/eth1, b/eth1]]
`,
	notes: []string{"n.clab.yml:15: passed over: bond lacp_rate fast: osl has nothing of that"},
}, {
	name: "in short, and settings",
	clab: `
name: lab
topology:
  nodes:
    a:
      kind: linux
      exec:
        - >
          bash -c '
          ip l s eth1 promisc on &&
          ip l a l eth1 name mv type macvlan mode bridge &&
          ip l s mv up &&
          ip a a 10.1.5.10/24 dev mv &&
          ip route add 0.0.0.0/0 via 10.1.5.1 table 5 &&
          ip rule add from 10.1.5.0/24 table 5'
        - vconfig add eth1 7
        - ip l a li eth1 na iv ty ipvlan mo l2 private
        - ip link add link eth1.7 name iv type ipvlan mode l2 private
        - ip link add mt link eth1 type macvtap mode private
        - ip link add gn type geneve id 5 remote 10.0.0.2 dstport 6082 tos 0x10 ttl 9
        - ip link add g6 type ip6gre local fd00::1 remote fd00::2 hoplimit 64
        - ip link add i0 numtxqueues 4 type ifb
        - ip link add c0 type vcan
        - ip link set eth1 arp off allmulticast on group 7 gso_max_size 16384 addrg none txq 50 alias "to b"
        - ip link set eth1 arp maybe
        - ip addr add 10.0.0.1 peer 10.0.0.2/24 dev eth1 scope link
        - ip addr add fd00::1/64 dev eth1 noprefixroute valid_lft 3600 preferred_lft 0sec scope global
        - ip addr add 10.2.0.1/24 dev eth1 valid_lft forever preferred_lft forever
        - ip addr add 10.3.0.1/24 metric 5 dev eth1
        - ip route add 10.7.0.0/16 dev eth1 scope link met 5
        - ip route add local 10.8.0.0/16 dev lo table 9
        - ip rule add not from 10.0.0.0/8 ipproto tcp dport 80-90 prohibit pref 10
        - ip rule add goto 9000 pref 11
        - ip rule add l3mdev pref 12
    b: {kind: linux}
  links: [{endpoints: ["a:eth1", "b:eth1"]}]
`,
	native: `
name: lab
sandboxes:
  - name: a
    interfaces:
      - name: eth1
        promisc: true
        arp: false
        allmulticast: true
        group: 7
        gso_max_size: 16384
        addrgenmode: none
        txqueuelen: 50
        note: to b
        addresses:
          - {address: 10.0.0.1/24, peer: 10.0.0.2, scope: link}
          - {address: "fd00::1/64", noprefixroute: true, valid_lft: 3600, preferred_lft: 0}
          - 10.2.0.1/24
      - {name: mv, type: macvlan, parent: eth1, mode: bridge, addresses: [10.1.5.10/24]}
      - {name: eth1.7, type: vlan, parent: eth1, vlan: 7}
      - {name: iv, type: ipvlan, parent: eth1.7, mode: l2, flags: private}
      - {name: mt, type: macvtap, parent: eth1, mode: private}
      - {name: gn, type: geneve, vni: 5, remote: 10.0.0.2, port: 6082, tos: 16, ttl: 9}
      - {name: g6, type: ip6gre, local: "fd00::1", remote: "fd00::2", ttl: 64}
      - {name: i0, type: ifb, numtxqueues: 4}
      - {name: c0, type: vcan}
      - {name: lo}
    routes:
      - {to: 0.0.0.0/0, via: 10.1.5.1, table: 5}
      - {to: 10.7.0.0/16, dev: eth1, scope: link, metric: 5}
      - {to: 10.8.0.0/16, type: local, dev: lo, table: 9}
    rules:
      - {from: 10.1.5.0/24, table: 5, priority: 32765}
      - {not: true, from: 10.0.0.0/8, ipproto: tcp, dport: 80-90, action: prohibit, priority: 10}
      - {goto: 9000, priority: 11, family: ipv4}
      - {l3mdev: true, priority: 12, family: ipv4}
  - {name: b, interfaces: [{name: eth1}]}
links: [[a/eth1, b/eth1]]
`,
	commands: []string{"ip l a li eth1 na iv ty ipvlan mo l2 private", "ip link set eth1 arp maybe", "ip addr add 10.3.0.1/24 metric 5 dev eth1"},
}, {
	name: "VLANs of a bridge",
	clab: `
name: lab
topology:
  nodes:
    sw:
      kind: linux
      exec:
        - ip link add name br0 type bridge vlan_filtering 1
        - ip link set br0 type bridge stp_state 1
        - ip link set eth1 master br0
        - bridge vlan add dev eth1 vid 5
        - bridge vlan add dev eth1 vid 8 pvid untagged
        - bridge vlan add dev br0 vid 5 self
        - bridge vlan del dev eth1 vid 1
        - ip link set eth2 master br0
        - bridge vlan del vid 1 dev eth2
        - bridge vlan add vid 20 dev eth2 tagged
        - bridge vlan add vid 30-39 dev eth2 master
        - bridge vlan del vid 20-29 dev eth2
        - bridge link set dev eth2 isolated on cost 7
        - bridge fdb add 02:00:00:00:00:07 dev eth2 master static vlan 30
        - bridge link set dev eth2 state 3
        - ip link set br0 type bridge forward_delay 400 hello_time 100 max_age 600 ageing_time 6000
    h: {kind: linux}
  links: [{endpoints: ["sw:eth1", "h:eth1"]}, {endpoints: ["sw:eth2", "h:eth2"]}]
`,
	native: `
name: lab
sandboxes:
  - name: sw
    sysctls: {ipv4.ip_forward: 1}
    interfaces:
      - {name: eth1, master: br0, bridge_port: {pvid: 8, vlans: [5, 8 untagged]}}
      - {name: eth2, master: br0, bridge_port: {pvid: 0, vlans: [30-39], isolated: true, cost: 7}}
      - name: br0
        type: bridge
        bridge: {vlan_filtering: true, stp: true, pvid: 1, vlans: [1 untagged, 5], forward_delay: 4s, hello_time: 1s, max_age: 6s, ageing_time: 60s}
    neighbors: [{dev: eth2, mac: "02:00:00:00:00:07", fdb: true, vlan: 30}]
  - {name: h, interfaces: [{name: eth1}, {name: eth2}], sysctls: {ipv4.ip_forward: 1}}
links: [[sw/eth1, h/eth1], [sw/eth2, h/eth2]]
`,
	commands: []string{"bridge link set dev eth2 state 3"},
}, {
	name: "tunnels, several next hops, disciplines",
	clab: `
name: lab
topology:
  nodes:
    a:
      kind: linux
      exec:
        - ip addr add 10.0.0.1/24 dev eth1
        - ip tunnel add g mode gre remote 10.0.0.2 local 10.0.0.1 ttl 255
        - ip tunnel add s mode sit remote any local 10.0.0.1
        - ip tunnel add nothing
        - ip link add v type vxlan id 1 dev eth1 local 10.0.0.1 dstport 4789
        - bridge fdb append to 00:00:00:00:00:00 dst 10.0.0.2 dev v
        - bridge fdb append 00:00:00:00:00:00 dev v dst 10.0.0.3 self permanent
        - bridge fdb append 02:00:00:00:00:03 dev v dst 10.0.0.3
        - ip link add red type vrf table 7
        - ip route add 10.6/16 vrf red via 10.0.0.2
        - ip route replace 0/0 via 10.0.0.2
        - ip route add 10.8.0.0/16 nexthop via 10.0.0.2 weight 3 nexthop via 10.0.0.3 dev eth1
        - ip route add 10.9.0.0/16 nexthop via 10.0.0.2 nexthop via 10.1.0.3
        - tc qdisc del dev eth1 root || true
        - "tc qdisc add dev eth1 root handle 1: netem delay 30ms 3ms loss random 1% rate 50mbit limit 2000"
        - tc qdisc add dev eth2 root netem delay 10ms 1ms 25%
        - tc qdisc add dev eth2 root tbf rate 1mbit burst 32kbit latency 400ms
        - sh -c "sleep 9 > /tmp/log 2>&1 &"
        - ip addr add 10.3.0.1/24 dev eth3
        - ip addr add 10.4.0.1/24 dev eth4
    b: {kind: linux}
  links:
    - endpoints: ["a:eth1", "b:eth1"]
    - endpoints: ["a:eth2", "b:${NOT_SET:=eth2}"]
    - {type: vxlan-stitch, endpoint: {node: a, interface: eth3}, remote: 10.0.0.2, vni: 7}
    - endpoints: ["a:eth4", "mgmt-net:a4"]
`,
	native: `
name: lab
sandboxes:
  - name: a
    gateway: 10.0.0.2
    sysctls: {ipv4.ip_forward: 1}
    interfaces:
      - {name: eth1, addresses: [10.0.0.1/24], impair: {delay: 30ms, jitter: 3ms, loss: 1%, rate: 50mbit, limit: 2000}}
      - {name: eth2}
      - {name: g, type: gre, local: 10.0.0.1, remote: 10.0.0.2, ttl: 255}
      - {name: s, type: sit, local: 10.0.0.1}
      - {name: v, type: vxlan, vni: 1, parent: eth1, local: 10.0.0.1, port: 4789, remotes: [10.0.0.2, 10.0.0.3]}
      - {name: red, type: vrf, table: 7}
    routes:
      - {to: 10.6.0.0/16, via: 10.0.0.2, table: 7}
      - {to: 10.8.0.0/16, next_hops: [{via: 10.0.0.2, weight: 3}, {via: 10.0.0.3, dev: eth1}]}
    neighbors: [{dev: v, mac: "02:00:00:00:00:03", ip: 10.0.0.3, fdb: true}]
  - {name: b, sysctls: {ipv4.ip_forward: 1}, interfaces: [{name: eth1}, {name: eth2}]}
links: [[a/eth1, b/eth1], [a/eth2, b/eth2]]
`,
	commands: []string{"ip tunnel add nothing", "tc qdisc add dev eth2 root netem delay 10ms 1ms 25%", "tc qdisc add dev eth2 root tbf rate 1mbit burst 32kbit latency 400ms", "[sh -c sleep 9 > /tmp/log 2>&1 &]"},
	notes: []string{"n.clab.yml:32: passed over: a link of the type vxlan-stitch: osl has", "n.clab.yml:33: passed over: mgmt: osl makes", "n.clab.yml:26: passed over: what is about eth3: its link", "n.clab.yml:27: passed over: what is about eth4: its link",
		"n.clab.yml:20: passed over: ip route … 10.9.0.0/16"},
}}

func TestContainerlab(t *testing.T) {
	for _, lab := range labs {
		t.Run(lab.name, func(t *testing.T) {
			f, err := Parse("n.clab.yml", []byte(lab.clab))
			if err != nil {
				t.Fatal(err)
			}
			want, err := Parse("n.yaml", []byte(lab.native))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := string(Text(&File{Network: f.Network})), string(Text(&File{Network: want.Network})); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			var commands []string
			for _, c := range f.Commands {
				text := strings.Join(c.Args, " ")
				if c.Files {
					text = "[" + text + "]"
				}
				commands = append(commands, text)
			}
			if !reflect.DeepEqual(commands, lab.commands) {
				t.Errorf("commands: %q\nwant %q", commands, lab.commands)
			}
			ok := len(f.Notes) == len(lab.notes)
			for i := range min(len(f.Notes), len(lab.notes)) {
				ok = ok && strings.HasPrefix(f.Notes[i].String(), lab.notes[i])
			}
			if !ok {
				t.Errorf("notes: %q\nwant %q", f.Notes, lab.notes)
			}
			// What is written is read as the same.
			again, err := Parse("again.yaml", Text(f))
			if err != nil {
				t.Fatalf("%v\n%s", err, Text(f))
			}
			if !reflect.DeepEqual(again.Network, f.Network) && fmt.Sprintf("%+v", again.Network) != fmt.Sprintf("%+v", f.Network) {
				t.Errorf("got  %+v\nwant %+v", again.Network, f.Network)
			}
		})
	}
}

// An error about what a topology says has the line that says it.
func TestContainerlabProblems(t *testing.T) {
	const head = "name: n\ntopology:\n  nodes:\n    a: {kind: linux}\n    b: {kind: linux}\n"
	for text, want := range map[string]string{
		"name: n\ntopology:\n  nodes:\n    r: {kind: srl}\n":                                          `n.clab.yml:4: the node "r" is of kind "srl", which is more than a network`,
		"name: n\ntopology:\n  nodes:\n    r: {image: x}\n":                                           `n.clab.yml:4: the node "r" has no kind`,
		"name: n\ntopology:\n  nodes:\n    r: {kind: linux, network-mode: container:x}\n":             "n.clab.yml:4: the node \"r\" has the network of another",
		"name: n\ntopology: {links: []}\n":                                                            "n.clab.yml:2: the topology has no nodes",
		"name: n\ntopology: 7\n":                                                                      "n.clab.yml:2: expected a topology",
		head + "  links:\n    - endpoints: [\"a:e1\", \"c:e1\"]\n":                                    `n.clab.yml:7: the topology has no node "c"`,
		head + "  links:\n    - endpoints: [\"a:e1\", \"b\"]\n":                                       "n.clab.yml:7: the value \"b\" is no end of a link",
		head + "  links:\n    - endpoints: [\"a:e1\"]\n":                                              "n.clab.yml:7: a link has two endpoints",
		head + "  links:\n    - {}\n":                                                                 "n.clab.yml:7: a link needs endpoints",
		head + "  links:\n    - endpoints: [\"host:x\", \"host:y\"]\n":                                "n.clab.yml:7: both ends are on the host",
		head + "  links:\n    - endpoints: [\"a:e\", \"b:e\"]\n    - endpoints: [\"a:e\", \"b:f\"]\n": "n.clab.yml:8: a:e is an end of another link already",
		head + "  links:\n    - {endpoints: [\"a:e\", \"b:e\"], mtu: big}\n":                          "n.clab.yml:7: expected a whole number",
	} {
		if _, err := Parse("n.clab.yml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n%v\nwant %s", text, err, want)
		}
	}
	f, err := Parse("n.clab.yml", []byte("name: n\ntopology:\n  nodes:\n    a:\n      kind: linux\n  links:\n    - {type: dummy, endpoint: {node: a, interface: d0, ipv4: 10.0.0.1/24}}\n    - {type: dummy, endpoint: {node: a, interface: d1, ipv4: 224.0.0.1/24}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := osl.Diff(t.Context(), f.Network); err == nil || !strings.HasPrefix(f.About(err).Error(), "n.clab.yml:8: ") {
		t.Errorf("got %v", f.About(err))
	}
}

// A line that osl reads, and has no sandbox for, is run; those beside it mean what they mean.
func TestContainerlabBeyond(t *testing.T) {
	const head = "name: n\ntopology:\n  links:\n    - endpoints: [\"a:eth1\", \"b:eth1\"]\n  nodes:\n    b: {kind: linux}\n    a:\n      kind: linux\n      exec:\n"
	for line, want := range map[string]struct{ runs, file, note string }{
		"ip -6 route add fd02::/64 dev eth1 scope link":                        {file: `routes: [{to: "fd02::/64", dev: eth1}]`},
		"ip -6 route add fd02::/64 dev eth1 scope global":                      {file: `routes: [{to: "fd02::/64", dev: eth1}]`},
		"ip route add 10.9.0.0/16 dev eth1 advmss 70000":                       {runs: "all"},
		"ip addr add 10.0.0.2/24 dev eth1 scope link":                          {runs: "all"},
		"ip addr add 10.4.0.1/24 dev eth1 label eth1:4":                        {file: "10.4.0.1/24", note: "the label eth1:4 of an address"},
		"ip addr add 224.0.0.1/24 dev eth1":                                    {runs: "all"},
		"ip link set eth1 group 4294967295":                                    {runs: "all"},
		"ip link set eth1 gso_max_size 999999":                                 {runs: "all"},
		"ip link set eth1 alias Zürich promisc on":                             {file: "promisc: true", note: "the alias"},
		"ip link set eth1 alias 'a;b'":                                         {note: "the alias"},
		"ip link set eth1 alias " + strings.Repeat("a", 161):                   {note: "the alias"},
		"ip link add link eth1 name m type macvlan mode other":                 {runs: "all"},
		"ip rule add ipproto hopopt table 5":                                   {runs: "all"},
		"ip rule add prohibit table 5":                                         {runs: "all"},
		"ip route add local 10.8.0.0/16 dev lo":                                {file: "routes: [{to: 10.8.0.0/16, dev: lo, type: local, table: 255}]"},
		"ip route add local 10.8.0.0/16 dev lo table main":                     {file: "routes: [{to: 10.8.0.0/16, dev: lo, type: local}]"},
		"ip link add v type vxlan id 1 ttl inherit":                            {runs: "all"},
		"ip link add v type geneve id 1 remote 10.0.0.2 ttl inherit":           {runs: "all"},
		"ip link add g type gretap remote 10.0.0.2 local 10.0.0.1 ttl inherit": {file: "type: gretap"},
		"echo 1 > /proc/sys/net/ipv4/conf/all/..":                              {runs: "all"},
	} {
		f, err := Parse("n.clab.yml", []byte(head+"        - ip addr add 10.0.0.1/24 dev eth1\n        - "+strconv.Quote(line)+"\n        - ip addr add 10.5.0.1/24 dev eth1\n"))
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		for i := range f.Sandboxes {
			if err := (osl.Network{Sandboxes: f.Sandboxes[i : i+1]}).Validate(); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
		text := string(Text(&File{Network: f.Network}))
		if (len(f.Commands) > 0) != (want.runs != "") || !strings.Contains(text, "10.0.0.1/24") || !strings.Contains(text, "10.5.0.1/24") {
			t.Errorf("%s: runs %v\n%s", line, f.Commands, text)
		}
		if !strings.Contains(strings.NewReplacer("\"", "", " ", "").Replace(text), strings.NewReplacer("routes: [", "", "\"", "", " ", "", "]", "").Replace(want.file)) {
			t.Errorf("%s: got\n%s\nwithout %s", line, text, want.file)
		}
		if notes := fmt.Sprint(f.Notes); want.note != "" && !strings.Contains(notes, want.note) || want.note == "" && len(f.Notes) > 0 {
			t.Errorf("%s: notes %s", line, notes)
		}
	}
}

// What several lines say together is looked at when all are read: addresses of one subnet on two
// interfaces are possible where one of them is put in a VRF later.
func TestContainerlabTogether(t *testing.T) {
	f, err := Parse("n.clab.yml", []byte(`
name: n
topology:
  links: [{endpoints: ["a:eth1", "b:eth1"]}, {endpoints: ["a:eth2", "b:eth2"]}]
  nodes:
    b: {kind: linux}
    a:
      kind: linux
      exec:
        - ip addr add 10.0.0.1/24 dev eth1
        - ip addr add 10.0.0.2/24 dev eth2
        - ip link add red type vrf table 7
        - ip link set eth2 master red
`))
	if err != nil || len(f.Commands) > 0 {
		t.Errorf("%v, runs %v", err, f.Commands)
	}
}

// Nothing that a line can be makes osl lose a part of it.
func FuzzPieces(f *testing.F) {
	for _, s := range []string{"ip a a 10.0.0.1/24 dev e && true", "a || true; b", `sh -c "x 'y' $z"`, "a 2>/dev/null", `\`, "'", "a # b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parts, ok := pieces(text)
		if !ok {
			return
		}
		for _, p := range parts {
			if p.text == "" {
				t.Errorf("%q has an empty command", text)
			}
			words(p.text)
		}
		b := &clabBox{d: &decoder{file: &File{at: map[string]place{}}, src: &source{page: &page{}}}}
		if list, ok := words(text); ok && len(list) > 0 {
			b.line = nil
			_ = b.sysctls(list)
			_, _ = b.readRoute(list, 0)
			_ = onlyNetwork(list)
		}
	})
}
