package plan

import (
	"cmp"
	"slices"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// Usual are values of settings, by their places, as the kernel makes them.
type Usual map[int]uint32

// Options are these as a link has them.
func (u Usual) Options() *rtnl.Options {
	o := &rtnl.Options{}
	for at, value := range u {
		o.Set(at, value)
	}
	return o
}

// What the kernel makes of a bridge, and of a port. The cost of a port is a veth's.
var (
	UsualBridge = Usual{rtnl.BridgeVLANFiltering: 0, rtnl.BridgeVLANProtocol: VLANProtocols["802.1Q"], rtnl.BridgeVLANDefaultPVID: 1,
		rtnl.BridgeSTP: 0, rtnl.BridgePriority: 32768, rtnl.BridgeAgeingTime: 300_00, rtnl.BridgeForwardDelay: 15_00,
		rtnl.BridgeHelloTime: 2_00, rtnl.BridgeMaxAge: 20_00, rtnl.BridgeMulticastSnooping: 1, rtnl.BridgeMulticastQuerier: 0}
	UsualPort = Usual{rtnl.PortLearning: 1, rtnl.PortFlood: 1, rtnl.PortMulticastFlood: 1, rtnl.PortBroadcastFlood: 1, rtnl.PortIsolated: 0,
		rtnl.PortHairpin: 0, rtnl.PortNeighSuppress: 0, rtnl.PortGuard: 0, rtnl.PortRootBlock: 0, rtnl.PortFastLeave: 0,
		rtnl.PortCost: 2, rtnl.PortPriority: 32, rtnl.PortMulticastRouter: 1}
)

// UsualLink is what the kernel makes of a link of this kind.
func (k *Kind) UsualLink() Usual {
	arp := uint32(1)
	if k.NoARP {
		arp = 0
	}
	return Usual{rtnl.LinkGroup: 0, rtnl.LinkPromisc: 0, rtnl.LinkAllMulticast: 0, rtnl.LinkARP: arp, rtnl.LinkAddrGenMode: 0,
		rtnl.LinkGSOMaxSize: 65536, rtnl.LinkGSOMaxSegs: 65535, rtnl.LinkGROMaxSize: 65536,
		rtnl.LinkGSOIPv4MaxSize: legacySize, rtnl.LinkGROIPv4MaxSize: legacySize}
}

// IsUsualCost reports whether a port that is a link of this kind may have a cost by its speed,
// where that is not known. One of these that somebody asked for looks the same.
func IsUsualCost(kind string, cost uint32) bool {
	if kind == "veth" {
		return cost == UsualPort[rtnl.PortCost]
	}
	return slices.Contains([]uint32{1, 2, 3, 4, 5, 19, 100}, cost)
}

// usualCost is the cost of a port by the speed of its link, as ethtool tells it: port_cost of
// net/bridge/br_if.c. Of speeds that are not here versions of the kernel make different costs.
func (k *known) usualCost(l *rtnl.Link) (cost uint32, known bool) {
	if l.Kind == "veth" {
		return UsualPort.of(rtnl.PortCost)
	}
	if k.ByIndex(l.Index) != l { // one that comes from elsewhere
		return 0, false
	}
	switch speed, read := k.Speeds[l.Index]; {
	case !read:
	case speed == 10000:
		return 2, true
	case speed == 100:
		return 19, true
	case speed == 10, speed == 0:
		return 100, true
	}
	return 0, false
}

// usualData is what the kernel makes of the fields of a link of this kind of which nothing is
// said, as osl makes it: nothing of those that are not here.
func (k *Kind) usualData(d *rtnl.LinkData) (u rtnl.LinkData) {
	switch k.Name {
	case "veth", "ifb":
		u.TxQueues, u.RxQueues = 1, 1
	case "netkit":
		u.Policy, u.PeerPolicy = "forward", "forward"
	case "bond": // bond_option_mode_set of drivers/net/bonding/bond_options.c
		if slices.Contains([]string{"802.3ad", "balance-tlb", "balance-alb"}, d.Mode) {
			u.MIIMon = 100
		}
	case "ipvlan", "ipvtap":
		u.Flags = "bridge"
	case "vxlan":
		u.Learning = "on"
	}
	return u
}

// UsualMTU is the MTU that the kernel gives one of which nothing else says it, in bytes,
// and UsualQueue the length of its transmit queue, in packets.
func (k *Kind) UsualMTU() int   { return cmp.Or(k.MTU, defaultMTU) }
func (k *Kind) UsualQueue() int { return cmp.Or(k.QueueLen, 1000) }

// seldomOn are features that the kernel leaves off where a driver could have them.
var seldomOn = []string{"rx-gro-list", "rx-udp-gro-forwarding", "tx-nocache-copy"}

// usualOffload reports whether a feature that can be changed is on of a new link.
func (k *Kind) usualOffload(name string) bool {
	return !slices.Contains(seldomOn, name) && !slices.Contains(k.offloadsOff, name)
}
