package netfile

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
)

// The name of another program for a field is answered with ours, wherever it stands.
func TestSynonyms(t *testing.T) {
	iface := func(says string) string {
		return "sandboxes: [{name: a, interfaces: [{name: e, " + says + "}]}]"
	}
	in := func(list, says string) string { return "sandboxes: [{name: a, " + list + ": [{" + says + "}]}]" }
	for text, wants := range map[string]string{
		// ip, bridge, tc, wg
		iface("type: vxlan, id: 5"):                                    "a vxlan or geneve has vni, a vlan has vlan",
		iface("type: vxlan, dstport: 4789"):                            `here it is called "port"`,
		iface("type: vxlan, dev: eth0"):                                "parent",
		iface("type: macvlan, link: eth0"):                             `here it is called "parent"`,
		iface("type: bridge, stp_state: 1"):                            "write bridge: {stp: …}",
		iface("type: bridge, ageing_time: 1"):                          "write bridge: {ageing_time: …}",
		iface("type: bridge, bridge: {stp_state: true}"):               `here it is called "stp"`,
		iface("bridge_port: {bpdu_guard: true}"):                       `here it is called "guard"`,
		iface("type: dummy, up: true"):                                 "unless it says down: true",
		iface("lladdr: 02:00:00:00:00:01"):                             `here it is called "mac"`,
		iface("delay: 10ms"):                                           "write impair: {delay: …}",
		iface("impair: {latency: 10ms}"):                               `here it is called "delay"`,
		iface("wireguard: {ListenPort: 51820}"):                        `did you mean "listen_port"?`,
		iface("wireguard: {peers: [{AllowedIPs: []}]}"):                `did you mean "allowed_ips"?`,
		iface("wireguard: {peers: [{PersistentKeepalive: 1}]}"):        `did you mean "persistent_keepalive"?`,
		iface("addresses: [{local: 10.0.0.1/24}]"):                     `here it is called "address"`,
		in("routes", "dst: 10.0.0.0/8"):                                `here it is called "to"`,
		in("routes", "to: 10.0.0.0/8, gw: 10.1.1.1"):                   `here it is called "via"`,
		in("routes", "to: 10.0.0.0/8, nhid: 7"):                        `here it is called "nexthop"`,
		in("routes", "to: 10.0.0.0/8, onlink: true"):                   "leave it out: with dev",
		in("routes", "to: 10.0.0.0/8, next_hops: [{gateway: 10.1.1}]"): `here it is called "via"`,
		in("routes", "to: fd00::/64, via: fd01::1, pref: high"):        "router preference medium",
		in("routes", "to: 10.0.0.0/8, preference: 5"):                  `here it is called "metric"`,
		iface("type: vxlan, dscp: 4"):                                  "tos has it four times as large",
		in("rules", "pref: 5"):                                         `here it is called "priority"`,
		in("rules", "priority: 5, lookup: 100"):                        `here it is called "table"`,
		in("neighbors", "dev: e, lladdr: x"):                           `here it is called "mac"`,
		in("nexthops", "id: 1, gateway: 10.1.1.1"):                     `here it is called "via"`,
		// netplan, nmstate
		iface("macaddress: x"):                              `here it is called "mac"`,
		iface("mac-address: x"):                             `here it is called "mac"`,
		iface("dhcp4: true"):                                "osl asks no DHCP server",
		iface("gateway4: 10.0.0.1"):                         "a sandbox has gateway",
		iface("controller: br0"):                            `here it is called "master"`,
		iface("ipv4: {address: []}"):                        `here it is called "addresses"`,
		iface("base-iface: eth0"):                           `here it is called "parent"`,
		in("routes", "next-hop-address: 10.1.1.1"):          `here it is called "via"`,
		in("routes", "to: 10.0.0.0/8, on-link: true"):       "leave it out: with dev",
		in("rules", "ip-from: 10.0.0.0/8"):                  `here it is called "from"`,
		"sandboxes: [{name: a, routing-policy: []}]":        `here it is called "rules"`,
		"network: {version: 2}":                             "it is netplan's",
		"interfaces: []":                                    "a sandbox has it",
		"sandboxes: [{name: a}]\nchecks: [{source: a}]":     `here it is called "from"`,
		"sandboxes: [{name: a}]\nsegments: [{prefix: a}]":   `here it is called "subnet"`,
		"sandboxes: [{name: host, masquerade: [{oif: e}]}]": `here it is called "uplink"`,
		// containerlab, docker-compose, typing
		"nodes: {a: {}}":                             `here it is called "sandboxes"`,
		"services: {a: {}}":                          `here it is called "sandboxes"`,
		"networks: {a: {}}":                          `here it is called "segments"`,
		"sandboxes: [{name: a, image: alpine}]":      "no container",
		"sandboxes: [{hostname: a}]":                 `here it is called "name"`,
		iface("ipv4_address: 10.0.0.1"):              `here it is called "addresses"`,
		iface("networks: [a]"):                       `here it is called "segment"`,
		iface("adress: 10.0.0.1/24"):                 `here it is called "addresses"`,
		iface("TXQueueLen: 1"):                       `did you mean "txqueuelen"?`,
		iface("forward_dealy: 1s"):                   "there are: name",
		"sandboxes: [{name: a, neighbours: []}]":     `did you mean "neighbors"?`,
		"sandboxes: [{name: a, default-gateway: 1}]": `here it is called "gateway"`,
	} {
		_, err := Parse("n.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), wants) {
			t.Errorf("%s:\nno %q in %v", text, wants, err)
		}
	}
}

// A synonym leads to a field that there is, and is none itself.
func TestSynonymsLeadSomewhere(t *testing.T) {
	for of, list := range synonyms() {
		if what(of) == "" {
			t.Errorf("%v is no type of a file", of)
		}
		names := map[string]bool{}
		for _, f := range fields(of) {
			names[bare(f.name)] = true
		}
		for word, is := range list {
			if names[word] {
				t.Errorf("%v has a field %q itself", of, word)
			}
			if word != bare(word) {
				t.Errorf("%v: %q is found by no name", of, word)
			}
			if strings.Contains(is, " ") {
				continue
			}
			if err := leads(of, is); err != nil {
				t.Errorf("%v: %q: %v", of, word, err)
			}
		}
	}
}

func leads(t reflect.Type, path string) error {
	name, rest, deep := strings.Cut(path, ".")
	f := find(fields(t), name)
	switch {
	case f == nil && t == reflect.TypeFor[osl.Network]() && (name == includeField || name == defaultsField):
		return nil
	case f == nil:
		return fmt.Errorf("there is no field %q", name)
	case deep:
		return leads(t.Field(f.index).Type.Elem(), rest)
	}
	return nil
}
