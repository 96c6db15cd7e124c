//go:build unix

package netfile

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
