package netfile

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/near"
)

// synonyms are what ip, bridge, tc, wg, netplan, nmstate, containerlab and docker-compose call
// what a type has under another name, as bare writes them. What has no blank is the field, or
// MAPPING.FIELD; the rest is a hint as it stands.
var synonyms = sync.OnceValue(func() map[reflect.Type]map[string]string {
	return map[reflect.Type]map[string]string{
		reflect.TypeFor[osl.Network](): called(`
		sandboxes: nodes hosts namespaces netns services containers machines routers
		segments: networks lans
		links: wires cables connections
		checks: tests
		include: imports includes`, map[string]string{
			"network": "it is netplan's: a network file has sandboxes, and these have interfaces",
			"version": "a network file has no version",
			"host":    "the host is a sandbox of that name",
		}),
		reflect.TypeFor[osl.Spec](): called(`
		name: hostname containername node namespace netns container
		interfaces: ifaces nics devices ethernets networks
		gateway: gateway4 defaultgateway gatewayipv4 gw
		gateway6: defaultgateway6 gatewayipv6 ipv6gateway gw6
		routes: staticroutes
		rules: routingpolicy routerules iprules
		neighbors: neigh arp fdb mdb
		labels: tags annotations`, map[string]string{
			"masquerading": nat, "nat": nat, "snat": nat,
			"forwarding": forwards, "ipforward": forwards, "ipforwarding": forwards,
			"dns": resolves, "nameservers": resolves, "resolver": resolves, "extrahosts": resolves,
			"exec": runs, "command": runs, "run": runs, "postup": runs, "entrypoint": runs,
			"image": notOne, "kind": notOne, "binds": notOne, "volumes": notOne, "env": notOne,
			"environment": notOne, "ports": notOne, "capadd": notOne, "privileged": notOne,
			"links":    "links are of the network, beside sandboxes",
			"segments": "segments are of the network, beside sandboxes",
		}),
		reflect.TypeFor[osl.InterfaceSpec](): called(`
		name: ifname iface interface interfacename setname
		type: kind linktype driver
		source: physical hostdevice hostdev nic
		mac: macaddress hwaddr hwaddress lladdr ether hardwareaddress
		mac_policy: macaddresspolicy clonedmacaddress
		txqueuelen: txqlen qlen txqueuelength
		altnames: altname alternativenames
		promisc: promiscuous promiscuousmode acceptallmacaddresses
		allmulticast: allmulti
		addresses: address addr addrs ip ips ipv4 ipv4address ipv6address ipaddress ipaddresses ipv4addresses ipv6addresses inet inet6 cidr
		ipv6: enableipv6 linklocal acceptra
		master: controller vrf bond slaveof
		bridge_port: bridgeslave brport
		routes: defaultroute
		impair: netem impairment impairments tc qdisc
		impair.delay: latency
		impair.loss: packetloss
		impair.rate: bandwidth speed
		offloads: features ethtool
		note: description comment label
		bridge.stp: stpstate
		bridge.ageing_time: agingtime ageing aging
		bridge.mcast_snooping: multicastsnooping igmpsnooping
		bridge.vlan_filtering: vlanaware
		bridge_port.cost: pathcost
		wireguard: wg
		peer: peername other otherend pair veth connectto linkto
		segment: network lan switch
		subnet: ipam prefix net
		parent: link lower lowerdev lowerdevice baseiface base physdev underlay
		mode: bondmode bondingmode macvlanmode
		vlan: vlanid vid tag vlantag
		protocol: proto vlanprotocol
		table: routetableid tableid vrftable
		miimon: miimonitorinterval monitorinterval
		vni: vnid vxlanid
		local: localip localaddress src saddr
		remote: remoteip remoteaddress dst daddr
		remotes: vteps remotevteps
		port: dstport destinationport udpport
		key: ikey okey
		ttl: hoplimit
		tos: tclass trafficclass dsfield
		owner: user uid
		owner_group: gid
		numtxqueues: txqueues queues
		numrxqueues: rxqueues`, map[string]string{
			"dscp": "tos has it four times as large: the lowest two bits are those of ECN",
			"id":   "a vxlan or geneve has vni, a vlan has vlan",
			"dev":  below, "device": below,
			"alias": "a text is its note, further addresses are aliases, further names altnames",
			"ports": ports, "slaves": ports, "members": ports, "interfaces": ports,
			"state": isUp, "up": isUp, "enabled": isUp, "shutdown": isUp, "adminstate": isUp, "activationmode": isUp,
			"noarp": "write arp: false", "nolearning": "write learning: false",
			"gateway4": aGateway, "gw": aGateway, "defaultgateway": aGateway, "via": aGateway,
			"dhcp": noDHCP, "dhcp4": noDHCP, "dhcp6": noDHCP,
			"nameservers": resolves, "dns": resolves,
			"parameters":      "those of a bridge are in bridge, those of a bond are fields of the interface",
			"linkaggregation": "those of a bond are fields of the interface: mode, miimon",
			"routingpolicy":   "a sandbox has rules",
			"peers":           "it is one of wireguard: write wireguard: {peers: …}",
		}),
		reflect.TypeFor[osl.BridgeSpec](): called(`
		stp: stpstate spanningtree
		ageing_time: agingtime ageing aging
		hello_time: hello
		max_age: maxmessageage
		priority: bridgepriority prio
		vlan_filtering: vlanaware
		vlan_default_pvid: defaultpvid
		vlans: vids vid
		mcast_snooping: multicastsnooping igmpsnooping
		mcast_querier: multicastquerier`, map[string]string{"ports": ports, "interfaces": ports, "members": ports}),
		reflect.TypeFor[osl.BridgePortSpec](): called(`
		pvid: nativevlan untagged access
		vlans: vid vids vlan tagged trunk
		cost: pathcost stppathcost
		priority: prio stppriority
		guard: bpduguard
		root_block: rootguard
		fastleave: mcastfastleave
		flood: unicastflood
		hairpin: hairpinmode stphairpinmode
		isolated: protected isolation
		mcast_flood: multicastflood
		bcast_flood: broadcastflood
		mcast_router: multicastrouter`, nil),
		reflect.TypeFor[osl.RouteSpec](): called(`
		to: dst destination dest prefix network net target subnet
		via: gw gateway nexthopaddress nexthopip
		dev: interface iface device oif nexthopinterface nexthopiface
		next_hops: multipath paths
		nexthop: nhid nexthopid
		type: routetype kind
		table: tableid routetable routetableid
		metric: priority preference distance prio
		src: source prefsrc preferredsource from saddr
		advmss: mss`, map[string]string{
			"onlink": onLink, "weight": "a next hop of next_hops has it",
			"blackhole": "write type: blackhole", "unreachable": "write type: unreachable", "prohibit": "write type: prohibit",
			"proto": proto, "protocol": proto,
			"pref": "osl's routes have the router preference medium; of several to one destination the lower metric comes first",
		}),
		reflect.TypeFor[osl.NextHop](): called(`
		via: gw gateway address ip nexthop nexthopaddress
		dev: interface iface device nexthopinterface`, map[string]string{"onlink": onLink}),
		reflect.TypeFor[osl.NexthopSpec](): called(`
		id: nhid index
		via: gw gateway address ip
		dev: interface iface device
		group: members nexthops`, map[string]string{"onlink": onLink}),
		reflect.TypeFor[osl.NexthopMember](): called(`id: nhid nexthop`, nil),
		reflect.TypeFor[osl.RuleSpec](): called(`
		priority: pref preference prio order
		from: src source ipfrom
		to: dst destination ipto
		iif: in interface iface dev
		oif: out
		fwmark: mark
		fwmask: mask
		ipproto: proto protocol
		sport: sourceport srcport
		dport: destinationport dstport
		table: lookup tableid routetable
		suppress_prefixlength: suppressprefix suppressdefault
		action: type
		l3mdev: vrf
		not: invert`, nil),
		reflect.TypeFor[osl.NeighborSpec](): called(`
		dev: interface iface device port
		ip: address addr dst group grp remote
		mac: lladdr macaddress hwaddr
		vlan: vid`, map[string]string{"state": "each is permanent: leave it out", "nud": "each is permanent: leave it out"}),
		reflect.TypeFor[addressItem](): called(`
		address: ip addr prefix cidr local
		peer: remote ptp pointopoint`, addressWords),
		reflect.TypeFor[osl.AddressOptions](): called(`peer: remote ptp pointopoint`, addressWords),
		reflect.TypeFor[osl.MasqueradeSpec](): called(`
		subnet: source src from network saddr
		uplink: interface iface dev oif out outinterface oifname`, nil),
		reflect.TypeFor[osl.SegmentSpec](): called(`
		name: bridge
		subnet: ipam prefix cidr network address addresses`, nil),
		reflect.TypeFor[osl.Check](): called(`
		from: source src sandbox in
		ping: icmp
		tcp: connect
		to: server
		expect: result want status
		timeout: wait deadline`, nil),
		reflect.TypeFor[osl.ImpairSpec](): called(`
		delay: latency
		loss: packetloss drop
		duplicate: dup duplication
		reorder: reordering
		corrupt: corruption
		rate: bandwidth speed`, nil),
		reflect.TypeFor[osl.WireGuardSpec](): called(`
		listen_port: port
		fwmark: mark firewallmark
		private_key: key
		peers: peer`, map[string]string{"address": "the interface has addresses", "addresses": "the interface has it"}),
		reflect.TypeFor[osl.WireGuardPeerSpec](): called(`
		public_key: key
		preshared_key: psk sharedkey
		endpoint: host address
		persistent_keepalive: keepalive
		allowed_ips: allowed addresses routes`, map[string]string{"port": "it is part of endpoint: ADDRESS:PORT"}),
	}
})

// What synonyms say more than once.
const (
	nat      = "the sandbox host has masquerade: subnets behind an uplink"
	forwards = "write sysctls: {ipv4.ip_forward: 1, ipv6.conf.all.forwarding: 1}"
	resolves = "names are looked up by programs: osl exec gives them the files of /etc/netns/NAME"
	runs     = "a network file runs nothing: osl exec NAME -- COMMAND does"
	notOne   = "a sandbox is the network of programs, and no container"
	below    = "its own name is name, the link below it parent"
	ports    = "each port says it: master: NAME"
	isUp     = "it is up, unless it says down: true"
	aGateway = "a sandbox has gateway and gateway6"
	noDHCP   = "osl asks no DHCP server: write addresses, or run a client with osl exec"
	onLink   = "leave it out: with dev, via is taken to be on its link"
	proto    = "osl knows its routes by 111: leave it out"
)

var addressWords = map[string]string{
	"lifetime":  "there are valid_lft and preferred_lft",
	"prefixlen": "it is part of the address: 10.10.0.2/24", "prefixlength": "it is part of the address: 10.10.0.2/24", "netmask": "it is part of the address: 10.10.0.2/24",
}

// called adds the words of lines, after the field that they mean, to a map.
func called(lines string, hints map[string]string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, hints)
	for line := range strings.Lines(lines) {
		field, list, _ := strings.Cut(strings.TrimSpace(line), ":")
		for _, word := range strings.Fields(list) {
			all[word] = field
		}
	}
	return all
}

// bare is a name without what programs write differently: MacAddress, mac-address, mac_address.
func bare(name string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(name))
}

// meant says which field of a type was meant by a name that is none, empty where nobody knows.
func meant(t reflect.Type, name string, names []string) string {
	if i := slices.IndexFunc(names, func(n string) bool { return bare(n) == bare(name) }); i >= 0 {
		return fmt.Sprintf("; did you mean %q?", names[i])
	}
	also := synonyms()[t]
	is := cmp.Or(also[bare(name)], within(t, name))
	if is == "" {
		if of := beside(t, name); of != "" {
			return fmt.Sprintf("; %s has it", of)
		}
		if h := near.Hint(name, names); h != "" {
			return h
		}
		if len(name) > 4 { // a shorter one is near to too many
			is = also[near.Name(bare(name), slices.Collect(maps.Keys(also)))]
		}
	}
	in, field, deep := strings.Cut(is, ".")
	switch {
	case is == "":
		return ""
	case strings.Contains(is, " "):
		return "; " + is
	case deep:
		return fmt.Sprintf("; it is one of %s: write %s: {%s: …}", in, in, field)
	}
	return fmt.Sprintf("; here it is called %q", is)
}
