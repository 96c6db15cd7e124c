package engine_test

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/seed59451c2b/osl"
)

// filtersVLANs says whether the kernel's bridges can.
var filtersVLANs = sync.OnceValue(func() bool {
	symbols, _ := os.ReadFile("/proc/kallsyms")
	return bytes.Contains(symbols, []byte("nbp_vlan_add"))
})

// bridgeLab is a sandbox of two bridges, and a port of the one that is named: with
// odd, all is other than the kernel's choice.
func bridgeLab(odd bool, master string) osl.Network {
	on, off, seven, cost := odd, !odd, 7, 2
	br := &osl.BridgeSpec{STP: &on, Priority: &cost, AgeingTime: dur("10s"), ForwardDelay: dur("0s"), MulticastSnooping: &off}
	port := &osl.BridgePortSpec{Isolated: &on, Learning: &off, Hairpin: &on, Cost: &cost}
	if odd {
		cost, br.AgeingTime, br.ForwardDelay = 77, dur("20s"), dur("4s")
	}
	if filtersVLANs() {
		filters, one := true, 1
		br.VLANFiltering, br.VLANDefaultPVID = &filters, &one
		port.PVID, port.VLANs = &one, []osl.VLANRange{{First: 20, Last: 29}}
		if odd {
			br.VLANDefaultPVID = &seven
			br.PVID, br.VLANs = &seven, []osl.VLANRange{{First: 30, Last: 30}}
			port.PVID, port.VLANs = &seven, []osl.VLANRange{{First: 25, Last: 35, Untagged: true}}
		}
	}
	net := bridges(osl.InterfaceSpec{Bridge: br}, osl.InterfaceSpec{Bridge: &osl.BridgeSpec{VLANFiltering: br.VLANFiltering}}, osl.NeighborSpec{})
	s := &net.Sandboxes[0]
	vlan := 0
	if filtersVLANs() {
		vlan = *port.PVID
	}
	s.Neighbors = []osl.NeighborSpec{{Dev: "p0", MAC: osl.MAC(hw(82)), FDB: true, VLAN: vlan}}
	if odd {
		s.Neighbors = []osl.NeighborSpec{{Dev: "p0", MAC: osl.MAC(hw(83)), FDB: true, VLAN: vlan},
			{Dev: "p1", MAC: osl.MAC(hw(82)), FDB: true, VLAN: vlan}, {Dev: "br1", MAC: osl.MAC(hw(84)), FDB: true}}
		if filtersVLANs() {
			s.Neighbors[2].VLAN = 1
		}
	}
	s.Interfaces = append(s.Interfaces,
		osl.InterfaceSpec{Name: "p0", MAC: osl.MAC(hw(76)), Master: master, BridgePort: port, Peer: osl.Endpoint{Sandbox: "a", Interface: "q0"}},
		osl.InterfaceSpec{Name: "q0", MAC: osl.MAC(hw(77)), Promisc: &on, AllMulticast: &on, ARP: &off, Group: &cost, GSOMaxSize: 20000 + cost, AddrGenMode: map[bool]string{true: "none", false: "eui64"}[odd]},
		osl.InterfaceSpec{Name: "p1", MAC: osl.MAC(hw(78)), Master: "br0", Peer: osl.Endpoint{Sandbox: "a", Interface: "q1"}},
		osl.InterfaceSpec{Name: "q1", MAC: osl.MAC(hw(79))})
	return net
}

func applied(net osl.Network) func(w *faultWorld) error {
	return func(*faultWorld) error { _, err := osl.Apply(context.Background(), net); return err }
}

func bridgeOps() []faultOp {
	before := func(net osl.Network) func(w *faultWorld) {
		return func(w *faultWorld) { w.make("a"); w.must(applied(net)(w)) }
	}
	// Of the bridge the file says no MTU: a route follows that, and is made again when a port
	// is gone.
	sized := func(ports ...string) osl.Network {
		s := osl.Spec{Name: "a", Interfaces: []osl.InterfaceSpec{{Name: "br0", Type: "bridge", AddrGenMode: "none", Addresses: []netip.Prefix{netip.MustParsePrefix("fd70::1/64")}}},
			Routes: []osl.RouteSpec{{To: netip.MustParsePrefix("fd71::/64"), Dev: "br0", MTU: 1300}}}
		for _, name := range ports {
			s.Interfaces = append(s.Interfaces, osl.InterfaceSpec{Name: name, Type: "veth", MTU: 1300, Master: "br0", Peer: osl.Endpoint{Sandbox: "a", Interface: name + "f"}}, osl.InterfaceSpec{Name: name + "f"})
		}
		return osl.Network{Sandboxes: []osl.Spec{s}}
	}
	return []faultOp{
		{name: "Apply that drops a port with the MTU of a route", before: before(sized("p0", "p1")), do: applied(sized("p1"))},
		{name: "Apply that drops the last port with the MTU of a route", before: before(sized("p0")), do: applied(sized())},
		{name: "Apply of a port with the MTU of a route", before: before(sized()), do: applied(sized("p0"))},
		{name: "Apply of a bridge with settings", do: applied(bridgeLab(true, "br0"))},
		{name: "Apply that changes a bridge and its port", before: before(bridgeLab(false, "br0")), do: applied(bridgeLab(true, "br0"))},
		{name: "Apply that changes a bridge and its port back", before: before(bridgeLab(true, "br0")), do: applied(bridgeLab(false, "br0"))},
		{name: "Apply that gives a link of the host settings", host: richVeth, before: before(settingsOfVA(false)), do: applied(settingsOfVA(true))},
		{name: "Down of a link of the host with settings", host: richVeth, ends: true, before: before(settingsOfVA(true)),
			do: func(*faultWorld) error { _, err := osl.Down(context.Background(), settingsOfVA(true)); return err }},
		{name: "Apply that takes a port to another bridge", before: before(bridgeLab(true, "br0")), do: applied(bridgeLab(true, "br1"))},
	}
}

func dur(text string) *osl.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		panic(err)
	}
	return (*osl.Duration)(&d)
}

// settingsOfVA is the host's va in a sandbox, with settings or without.
func settingsOfVA(with bool) osl.Network {
	i := osl.InterfaceSpec{Name: "wan", Source: "va"}
	if with {
		group, off := 9, false
		i.Promisc, i.ARP, i.Group, i.GROMaxSize, i.AddrGenMode = &with, &off, &group, 22222, "none"
		i.AltNames = []string{"uplink-by-another-name"}
	}
	return osl.Network{Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{i}}}}
}
