//go:build linux

package osltest

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"

	"github.com/seed59451c2b/osl"
)

// What TestEdits draws of links that have ports, of netkit pairs and of the VLANs of bridges.

// probeKinds finds those that not every kernel has.
func probeKinds(t *testing.T) (kinds []string) {
	t.Helper()
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fd00::1")
	for kind, f := range map[string]osl.InterfaceSpec{"vrf": {Type: "vrf", Table: 77}, "bond": {Type: "bond"}, "dummy": {Type: "dummy"}, "vcan": {Type: "vcan"},
		"ipvlan": {Type: "ipvlan", Parent: "probe1"}, "ipvtap": {Type: "ipvtap", Parent: "probe1"}, "geneve": {Type: "geneve", VNI: 7, Remote: four},
		"gre": {Type: "gre", Remote: four}, "gretap": {Type: "gretap", Remote: four}, "ip6gre": {Type: "ip6gre", Remote: six}, "ip6gretap": {Type: "ip6gretap", Remote: six},
		"ipip": {Type: "ipip", Remote: four}, "sit": {Type: "sit", Remote: four}, "IPv4 sizes": {Type: "bridge", GROIPv4MaxSize: 20000},
		"mdb":    {Type: "vxlan", VNI: 7, Master: "probe1"},
		"netem":  {Type: "bridge", Impair: &osl.ImpairSpec{Delay: 1e6}},
		"netkit": {Type: "netkit", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "probe3"}},
		"vlans":  {Type: "bridge", Bridge: &osl.BridgeSpec{VLANFiltering: ptr(true)}}} {
		f.Name = "probe0"
		n := osl.Network{Name: "probe", Sandboxes: []osl.Spec{{Name: "probe", Interfaces: []osl.InterfaceSpec{{Name: "probe1", Type: "bridge"}, f}}}}
		if kind == "mdb" {
			n.Sandboxes[0].Neighbors = []osl.NeighborSpec{{Dev: "probe0", IP: netip.MustParseAddr("239.1.1.1"), MDB: true}}
		}
		if _, err := osl.Apply(t.Context(), n); err == nil {
			kinds = append(kinds, kind)
		} else if !errors.Is(err, osl.ErrUnsupported) {
			t.Fatalf("%s: %v", kind, err)
		}
		_, err := osl.Down(t.Context(), n)
		must(t, err)
	}
	return kinds
}

// kind draws what one of these is, the i-th of its sandbox.
func (r *drawer) kind(f *osl.InterfaceSpec, kind string, i int) {
	switch f.Type = kind; kind {
	case "vrf": // of a table of its own; some have routes of the sandbox too
		f.Table = draw(r, "table", [][]int{{100, 201}, {70000, 202}, {203, 204}, {205, 206}}[i]...)
	case "bond":
		f.Mode, f.MIIMon = draw(r, "mode", "", "active-backup", "balance-xor", "802.3ad"), draw(r, "miimon", 0, 100, 250)
	case "netkit":
		f.Mode, f.Policy, f.PeerPolicy = draw(r, "mode", "", "l2", "l3"), draw(r, "policy", "", "forward", "blackhole"), draw(r, "peer policy", "", "forward", "blackhole")
	}
}

// netkits makes some links between sandboxes such pairs.
func (r *drawer) netkits(n *osl.Network) {
	if !slices.Contains(r.kinds, "netkit") {
		return
	}
	for _, link := range n.Links {
		if !r.sometimes("netkit", 3) {
			continue
		}
		var says osl.InterfaceSpec
		r.kind(&says, "netkit", 0)
		for end, at := range link {
			f := interfaceOf(n, at)
			if f.Type, f.Mode = "netkit", says.Mode; end == 0 {
				f.Policy, f.PeerPolicy = says.Policy, says.PeerPolicy
			}
		}
	}
}

func interfaceOf(n *osl.Network, at osl.Endpoint) *osl.InterfaceSpec {
	for i := range n.Sandboxes {
		for j := range n.Sandboxes[i].Interfaces {
			if f := &n.Sandboxes[i].Interfaces[j]; n.Sandboxes[i].Name == at.Sandbox && f.Name == at.Interface {
				return f
			}
		}
	}
	return nil
}

// master draws of which others an interface is a port. Those of bridges are links that lead
// nowhere, so that no loop comes of it, and neither they nor those of bonds are the parents of
// macvlans in the same network.
func (r *drawer) master(f *osl.InterfaceSpec, all []osl.InterfaceSpec) {
	nowhere := f.Type == "vxlan" || f.Type == "geneve" || f.Type == "gretap" || f.Type == "tap" || f.Peer.Sandbox == osl.HostName && (f.Type != "netkit" || f.Mode == "l2")
	if slices.ContainsFunc(all, func(o osl.InterfaceSpec) bool {
		return o.Parent == f.Name && (strings.HasPrefix(o.Type, "macv") || strings.HasPrefix(o.Type, "ipv"))
	}) {
		nowhere = false
	}
	var of []string
	for _, m := range all {
		switch {
		case m.Type == "bridge" && (nowhere || f.Type == "bond" && f.Name == "e3"),
			m.Type == "bond" && (nowhere || f.Type == "" && f.Segment == "" && m.Name != "e3"),
			m.Type == "vrf" && f.Type != "vrf" && f.Type != "vcan" && f.Segment == "":
			of = append(of, m.Name)
		}
	}
	if len(of) == 0 || !r.sometimes("port", 2) {
		return
	}
	f.Master = draw(r, "master", of...)
	switch m := interfaceIn(all, f.Master); m.Type {
	case "bond": // which has the MTU and the IPv6 of all of them
		f.MTU, f.IPv6, f.AddrGenMode, f.Down = 0, "", "", false
		f.Addresses = slices.DeleteFunc(f.Addresses, is6)
		f.Aliases = slices.DeleteFunc(f.Aliases, is6)
		maps.DeleteFunc(f.AddressOptions, func(p netip.Prefix, _ osl.AddressOptions) bool { return is6(p) })
	case "bridge":
		if r.sometimes("port options", 2) {
			f.BridgePort = &osl.BridgePortSpec{Learning: maybe(r, "learning", true, false), Flood: maybe(r, "flood", true, false), Isolated: maybe(r, "isolated", true, false),
				Hairpin: maybe(r, "hairpin", true, false), Guard: maybe(r, "guard", true, false), RootBlock: maybe(r, "root_block", true, false),
				FastLeave: maybe(r, "fastleave", true, false), NeighSuppress: maybe(r, "neigh_suppress", true, false),
				MulticastFlood: maybe(r, "mcast_flood", true, false), BroadcastFlood: maybe(r, "bcast_flood", true, false),
				Cost: maybe(r, "cost", 2, 77), Priority: maybe(r, "port priority", 5, 32), MulticastRouter: maybe(r, "mcast_router", 0, 2)}
		}
		if filters(m) {
			if f.BridgePort == nil {
				f.BridgePort = &osl.BridgePortSpec{}
			}
			f.BridgePort.PVID, f.BridgePort.VLANs = r.vlans()
		}
	}
}

func is6(p netip.Prefix) bool { return p.Addr().Is6() }

func interfaceIn(all []osl.InterfaceSpec, name string) osl.InterfaceSpec {
	for _, f := range all {
		if f.Name == name {
			return f
		}
	}
	return osl.InterfaceSpec{}
}

// filters reports whether a bridge is to filter VLANs.
func filters(f osl.InterfaceSpec) bool {
	return f.Bridge != nil && f.Bridge.VLANFiltering != nil && *f.Bridge.VLANFiltering
}

// filtering draws what a bridge is to do about VLANs: in some networks nothing is said.
func (r *drawer) filtering(f *osl.InterfaceSpec) {
	if !slices.Contains(r.kinds, "vlans") || r.sometimes("nothing of VLANs", 4) {
		return
	}
	if f.Bridge == nil {
		f.Bridge = &osl.BridgeSpec{}
	}
	f.Bridge.VLANFiltering, f.Bridge.VLANProtocol = ptr(r.sometimes("vlan_filtering", 2)), draw(r, "vlan_protocol", "", "", "802.1Q", "802.1ad")
	f.Bridge.VLANDefaultPVID = draw(r, "vlan_default_pvid", nil, nil, ptr(0), ptr(1), ptr(25))
	if filters(*f) {
		f.Bridge.PVID, f.Bridge.VLANs = r.vlans()
	}
}

// vlans draws those of a port, or of a bridge itself.
func (r *drawer) vlans() (pvid *int, list []osl.VLANRange) {
	if r.sometimes("said by none", 3) {
		return nil, nil
	}
	for _, v := range []osl.VLANRange{{First: 1, Last: 1}, {First: 10, Last: 10}, {First: 20, Last: 29}, {First: 30, Last: 39}, {First: 4093, Last: 4094}} {
		if v.Untagged = r.sometimes("untagged", 3); r.sometimes("in the VLANs", 2) {
			list = append(list, v)
		}
	}
	return draw(r, "pvid", nil, ptr(0), ptr(1), ptr(10), ptr(25)), list
}

// bridgeOf is the bridge at which one is: as a port, or itself.
func bridgeOf(f osl.InterfaceSpec, all []osl.InterfaceSpec) osl.InterfaceSpec {
	if f.Type == "bridge" {
		return f
	}
	return interfaceIn(all, f.Master)
}

// entries draws the entries of a hardware address at one: where VLANs are filtered, in those
// that it is in.
func (r *drawer) entries(f, bridge osl.InterfaceSpec, mac osl.MAC) (list []osl.NeighborSpec) {
	var in []osl.VLANRange
	switch {
	case filters(bridge) && f.BridgePort != nil:
		in = f.BridgePort.VLANs
	case filters(bridge) && f.Type == "bridge":
		in = f.Bridge.VLANs
	case slices.Contains(r.kinds, "vlans") && (bridge.Bridge == nil || bridge.Bridge.VLANFiltering == nil): // it may filter
	case !filters(bridge):
		list = append(list, osl.NeighborSpec{Dev: f.Name, FDB: true, MAC: mac})
	}
	for _, v := range in {
		list = append(list, osl.NeighborSpec{Dev: f.Name, FDB: true, MAC: mac, VLAN: v.Last})
	}
	if slices.Contains(r.kinds, "mdb") && f.Type != "bridge" && !bridge.Down && (bridge.Bridge == nil || value(bridge.Bridge.MulticastSnooping) != false) {
		for _, e := range slices.Clone(list) {
			group := osl.NeighborSpec{Dev: f.Name, MDB: true, VLAN: e.VLAN}
			switch draw(r, "group", "none", "IPv4", "IPv6", "neither") {
			case "IPv4":
				group.IP = netip.MustParseAddr("239.1.1.1")
			case "IPv6":
				group.IP = netip.MustParseAddr("ff05::77")
			case "neither":
				group.MAC = osl.MAC{1, 0, 0, 0, 0, 7}
			default:
				continue
			}
			list = append(list, group)
		}
	}
	return list
}

// inVLANs says in which VLANs one is to be, none where nothing is said of them.
func inVLANs(pvid *int, list []osl.VLANRange) string {
	if pvid == nil && len(list) == 0 {
		return ""
	}
	ids := map[int]string{}
	for _, v := range list {
		for id := v.First; id <= v.Last; id++ {
			ids[id] = map[bool]string{true: "u"}[v.Untagged]
		}
	}
	if id := value(pvid); id != nil && id != 0 {
		if _, listed := ids[*pvid]; !listed {
			ids[*pvid] = "u"
		}
		ids[*pvid] += "p"
	}
	return vlanText(ids)
}

func vlanText(ids map[int]string) string {
	text := "in"
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		text += fmt.Sprintf(" %d%s", id, ids[id])
	}
	return text
}

// vlansOf says in which VLANs a link is, and nothing of one that can be in none.
func vlansOf(all map[int32][]*nl.BridgeVlanInfo, l netlink.Link) string {
	ids := map[int]string{}
	for _, v := range all[int32(l.Attrs().Index)] {
		ids[int(v.Vid)] = map[bool]string{true: "u"}[v.Flags&nl.BRIDGE_VLAN_INFO_UNTAGGED != 0] + map[bool]string{true: "p"}[v.Flags&nl.BRIDGE_VLAN_INFO_PVID != 0]
	}
	return vlanText(ids)
}

// kindSettings are what these links and ports are to be, nil where nothing is said.
func kindSettings(f osl.InterfaceSpec) map[string]any {
	set := map[string]any{}
	number := func(what string, p *int) {
		if p != nil {
			set[what] = fmt.Sprint(*p)
		}
	}
	if b := f.Bridge; b != nil {
		set["filters"], set["vlan_protocol"], set["vlans"] = value(b.VLANFiltering), b.VLANProtocol, inVLANs(b.PVID, b.VLANs)
		number("default_pvid", b.VLANDefaultPVID)
	}
	if p := f.BridgePort; p != nil {
		set["mcast_flood"], set["bcast_flood"], set["vlans"] = value(p.MulticastFlood), value(p.BroadcastFlood), inVLANs(p.PVID, p.VLANs)
		number("cost", p.Cost)
		number("priority", p.Priority)
		number("mcast_router", p.MulticastRouter)
	}
	switch f.Type {
	case "vrf":
		set["table"] = f.Table
	case "bond":
		set["mode"], set["miimon"] = f.Mode, f.MIIMon
		if f.Mode == "" {
			set["mode"] = "balance-rr"
		}
	case "netkit":
		set["mode"], set["policy"], set["peer policy"] = f.Mode, f.Policy, f.PeerPolicy
		if f.Mode == "" {
			set["mode"] = "l3"
		}
	}
	return set
}

// kindHas are the same of what is there, f by what is to be.
func kindHas(t *testing.T, h *netlink.Handle, key string, l netlink.Link, f osl.InterfaceSpec) map[string]any {
	has := map[string]any{}
	if f.Bridge != nil || f.BridgePort != nil {
		own, port := linkSays(t, key, f.Name)
		all, err := h.BridgeVlanList()
		must(t, err)
		has["vlans"], has["vlan_protocol"] = vlansOf(all, l), own["vlan_protocol"]
		has["mcast_flood"], has["bcast_flood"] = port["mcast_flood"], port["bcast_flood"]
		for what, from := range map[string]string{"cost": "cost", "priority": "priority", "mcast_router": "multicast_router"} {
			has[what] = fmt.Sprint(port[from])
		}
	}
	switch l := l.(type) {
	case *netlink.Bridge:
		has["filters"], has["default_pvid"] = value(l.VlanFiltering), fmt.Sprint(value(l.VlanDefaultPVID))
	case *netlink.Vrf:
		has["table"] = int(l.Table)
	case *netlink.Bond:
		has["mode"], has["miimon"] = l.Mode.String(), l.Miimon
	case *netlink.Netkit:
		words := map[netlink.NetkitPolicy]string{netlink.NETKIT_POLICY_FORWARD: "forward", netlink.NETKIT_POLICY_BLACKHOLE: "blackhole"}
		has["mode"] = map[netlink.NetkitMode]string{netlink.NETKIT_MODE_L2: "l2", netlink.NETKIT_MODE_L3: "l3"}[l.Mode]
		has["policy"], has["peer policy"] = words[l.Policy], words[l.PeerPolicy]
	}
	return has
}

// volatile is what bridges, bonds and their ports tell that goes on by itself.
var volatile = []string{"state", "timer", "root", "designated", "topology_change", "_id", "id", "no", "bridge_id", "cost", "mii_status", "link_failure_count",
	"perm_hwaddr", "ad_", "queue_id", "active_slave", "mcast_startup", "age"}

// kindsIn is what ip tells of the links of a sandbox as what they are and as ports, and in
// which VLANs they are.
func kindsIn(t *testing.T, box string) (list []string) {
	t.Helper()
	key := osl.GenerateKey(box)
	for _, l := range asked[[]struct {
		Name string `json:"ifname"`
		Info struct {
			Kind  string         `json:"info_kind"`
			Data  map[string]any `json:"info_data"`
			Slave map[string]any `json:"info_slave_data"`
		} `json:"linkinfo"`
	}](t, key, "ip", "-details", "-json", "link", "show") {
		for of, said := range map[string]map[string]any{"own": l.Info.Data, "port": l.Info.Slave} {
			maps.DeleteFunc(said, func(what string, _ any) bool {
				return slices.ContainsFunc(volatile, func(v string) bool { return strings.Contains(what, v) })
			})
			list = append(list, fmt.Sprint("kind ", l.Name, " ", l.Info.Kind, " ", of, " ", said))
		}
	}
	witness(t, key, func(h *netlink.Handle) {
		all, err := h.BridgeVlanList()
		must(t, err)
		for _, l := range dump(t, h.LinkList) {
			list = append(list, fmt.Sprint("vlans ", l.Attrs().Name, " ", vlansOf(all, l)))
		}
	})
	slices.Sort(list)
	return list
}
