package rtnl

import (
	"encoding/binary"

	"github.com/seed59451c2b/osl/internal/linux"
)

// Option is a setting of a bridge, or of a port of one.
type Option struct {
	Name string // as the ip command calls it
	attr uint16
	size int // in bytes; of two with the other order where bigEndian
	// bigEndian: IFLA_BR_VLAN_PROTOCOL is one of the network's.
	bigEndian bool
	// Switch is on or off.
	Switch bool
	// flag is that of the link, which has it where the setting is off if inverse.
	flag    uint32
	inverse bool
}

// The settings of a bridge that osl knows, as places in BridgeOptions.
const (
	BridgeForwardDelay = iota // in hundredths of a second, as those after it
	BridgeHelloTime
	BridgeMaxAge
	BridgeAgeingTime
	BridgeSTP
	BridgePriority
	BridgeVLANFiltering
	BridgeVLANProtocol // an ethertype
	BridgeVLANDefaultPVID
	BridgeMulticastSnooping
	BridgeMulticastQuerier
	BridgeRootPort       // can be read only, as the one after it
	BridgeTopologyChange // one is under way
)

// BridgeOptions are what is known of these: IFLA_BR_* of linux/if_link.h.
var BridgeOptions = []Option{
	BridgeForwardDelay:      {Name: "forward_delay", attr: 1, size: 4},
	BridgeHelloTime:         {Name: "hello_time", attr: 2, size: 4},
	BridgeMaxAge:            {Name: "max_age", attr: 3, size: 4},
	BridgeAgeingTime:        {Name: "ageing_time", attr: 4, size: 4},
	BridgeSTP:               {Name: "stp_state", attr: 5, size: 4},
	BridgePriority:          {Name: "priority", attr: 6, size: 2},
	BridgeVLANFiltering:     {Name: "vlan_filtering", attr: 7, size: 1},
	BridgeVLANProtocol:      {Name: "vlan_protocol", attr: 8, size: 2, bigEndian: true},
	BridgeVLANDefaultPVID:   {Name: "vlan_default_pvid", attr: 39, size: 2},
	BridgeMulticastSnooping: {Name: "mcast_snooping", attr: 23, size: 1},
	BridgeMulticastQuerier:  {Name: "mcast_querier", attr: 25, size: 1},
	BridgeRootPort:          {Name: "root_port", attr: 12, size: 2},
	BridgeTopologyChange:    {Name: "topology_change", attr: 14, size: 1},
}

// The settings of a port of a bridge, as places in PortOptions.
const (
	PortPriority = iota
	PortCost
	PortHairpin
	PortGuard
	PortRootBlock
	PortFastLeave
	PortLearning
	PortFlood
	PortMulticastRouter
	PortMulticastFlood
	PortBroadcastFlood
	PortNeighSuppress
	PortIsolated
)

// PortOptions are what is known of these: IFLA_BRPORT_* of linux/if_link.h.
var PortOptions = []Option{
	PortPriority:        {Name: "priority", attr: 2, size: 2},
	PortCost:            {Name: "cost", attr: 3, size: 4},
	PortHairpin:         {Name: "hairpin", attr: 4, size: 1, Switch: true},
	PortGuard:           {Name: "guard", attr: 5, size: 1, Switch: true},
	PortRootBlock:       {Name: "root_block", attr: 6, size: 1, Switch: true},
	PortFastLeave:       {Name: "fastleave", attr: 7, size: 1, Switch: true},
	PortLearning:        {Name: "learning", attr: 8, size: 1, Switch: true},
	PortFlood:           {Name: "flood", attr: 9, size: 1, Switch: true},
	PortMulticastRouter: {Name: "mcast_router", attr: 25, size: 1},
	PortMulticastFlood:  {Name: "mcast_flood", attr: 27, size: 1, Switch: true},
	PortBroadcastFlood:  {Name: "bcast_flood", attr: 30, size: 1, Switch: true},
	PortNeighSuppress:   {Name: "neigh_suppress", attr: 32, size: 1, Switch: true},
	PortIsolated:        {Name: "isolated", attr: 33, size: 1, Switch: true},
}

// Options are values of settings, by their places. The zero value has none.
type Options struct {
	has   uint32
	value [13]uint32
}

// Set sets one.
func (o *Options) Set(at int, value uint32) {
	o.has |= 1 << at
	o.value[at] = value
}

// Get returns one; ok is false where there is none.
func (o *Options) Get(at int) (value uint32, ok bool) {
	if o == nil {
		return 0, false
	}
	return o.value[at], o.has&(1<<at) != 0
}

// Is reports whether one is there and has a value.
func (o *Options) Is(at int, value uint32) bool {
	v, ok := o.Get(at)
	return ok && v == value
}

// Drop forgets one.
func (o *Options) Drop(at int) {
	o.has &^= 1 << at
	o.value[at] = 0
}

// Borrowed reports whether what the kernel tells of a time of a bridge is not its own:
// that of the spanning tree's root, which is another bridge, or for an ageing time that
// of a change of the topology.
func (o *Options) Borrowed(at int) bool {
	switch at {
	case BridgeForwardDelay, BridgeHelloTime, BridgeMaxAge:
		port, _ := o.Get(BridgeRootPort)
		return port != 0
	case BridgeAgeingTime:
		return o.Is(BridgeTopologyChange, 1)
	}
	return false
}

// Empty reports whether there are none.
func (o *Options) Empty() bool { return o == nil || o.has == 0 }

// parse sets those of a table that an attribute is.
func (o *Options) parse(table []Option, t uint16, v []byte) {
	for at := range table {
		x := &table[at]
		if x.size == 0 || x.attr != t || len(v) < x.size {
			continue
		}
		switch {
		case x.bigEndian:
			o.Set(at, uint32(binary.BigEndian.Uint16(v)))
		case x.size == 1:
			o.Set(at, uint32(getU8(v)))
		case x.size == 2:
			o.Set(at, uint32(getU16(v)))
		default:
			o.Set(at, getU32(v))
		}
	}
}

func (b *buffer) options(table []Option, o *Options) {
	for at, x := range table {
		v, ok := o.Get(at)
		switch {
		case !ok, x.size == 0:
		case x.bigEndian:
			b.be16(x.attr, uint16(v))
		case x.size == 1:
			b.u8(x.attr, uint8(v))
		case x.size == 2:
			b.u16(x.attr, uint16(v))
		default:
			b.u32(x.attr, v)
		}
	}
}

const (
	iflaInfoSlaveKind = 4
	iflaInfoSlaveData = 5
)

// SetBridge returns the request that changes settings of a bridge.
func SetBridge(index int, o Options) Request {
	b := ifinfo(linux.AF_UNSPEC, index, 0, 0)
	b.nest(linux.IFLA_LINKINFO, func() {
		b.str(iflaInfoKind, "bridge")
		b.nest(iflaInfoData, func() { b.options(BridgeOptions, &o) })
	})
	return Request{Type: linux.RTM_NEWLINK, Data: b}
}

// SetPort returns the request that changes settings of a port of a bridge.
func SetPort(index int, o Options) Request {
	b := ifinfo(linux.AF_UNSPEC, index, 0, 0)
	b.nest(linux.IFLA_LINKINFO, func() {
		b.str(iflaInfoSlaveKind, "bridge")
		b.nest(iflaInfoSlaveData, func() { b.options(PortOptions, &o) })
	})
	return Request{Type: linux.RTM_NEWLINK, Data: b}
}

// ofPort reports whether what a message says of the kind of a link is about the
// port that it is, and so acts where it is.
func ofPort(info []byte) bool {
	for t := range attrs(info) {
		if t != iflaInfoSlaveKind && t != iflaInfoSlaveData {
			return false
		}
	}
	return true
}

// VLAN is a range of VLANs that a port of a bridge, or a bridge itself, is in.
type VLAN struct {
	First, Last uint16
	// Untagged: frames leave without a tag.
	Untagged bool
	// PVID: frames that come without a tag are of this VLAN; of one only.
	PVID bool
}

// MaxVLAN is the highest number of a VLAN.
const MaxVLAN = 4094

// BRIDGE_FLAGS_* and BRIDGE_VLAN_INFO_* of linux/if_bridge.h.
const (
	iflaBridgeFlags    = 0
	iflaBridgeVLANInfo = 2
	bridgeFlagsSelf    = 2
	vlanPVID           = 1 << 1
	vlanUntagged       = 1 << 2
	vlanRangeBegin     = 1 << 3
	vlanRangeEnd       = 1 << 4
	extBridgeVLANs     = 4 // RTEXT_FILTER_BRVLAN_COMPRESSED
)

// SetVLANs returns the request that puts a port of a bridge into VLANs, or with self
// the bridge itself.
func SetVLANs(index int, self bool, list []VLAN) Request {
	return vlans(linux.RTM_SETLINK, index, self, list)
}

// DelVLANs returns the request that takes a port, or the bridge, out of VLANs; of
// those that it is not in nothing happens.
func DelVLANs(index int, self bool, list []VLAN) Request {
	return vlans(linux.RTM_DELLINK, index, self, list)
}

func vlans(typ uint16, index int, self bool, list []VLAN) Request {
	b := ifinfo(linux.AF_BRIDGE, index, 0, 0)
	b.nest(linux.IFLA_AF_SPEC, func() {
		if self {
			b.u16(iflaBridgeFlags, bridgeFlagsSelf)
		}
		for _, v := range list {
			var flags uint16
			if v.Untagged {
				flags |= vlanUntagged
			}
			if v.PVID {
				flags |= vlanPVID
			}
			if v.First == v.Last {
				b.vlan(flags, v.First)
				continue
			}
			b.vlan(flags|vlanRangeBegin, v.First)
			b.vlan(flags|vlanRangeEnd, v.Last)
		}
	})
	return Request{Type: typ, Data: b}
}

func (b *buffer) vlan(flags, id uint16) {
	b.bytes(iflaBridgeVLANInfo, binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, flags), id))
}

// AllVLANs returns the request that lists the VLANs of all bridges and their ports.
func AllVLANs() Request {
	b := ifinfo(linux.AF_BRIDGE, 0, 0, 0)
	b.u32(linux.IFLA_EXT_MASK, extBridgeVLANs)
	return Request{Type: linux.RTM_GETLINK, Data: b}
}

// VLANsOf are the VLANs of one port, or of a bridge itself.
type VLANsOf struct {
	Index int
	VLANs []VLAN
}

// ParseVLANs decodes the payload of an answer to AllVLANs.
func ParseVLANs(p []byte) (o VLANsOf, ok bool) {
	if len(p) < linux.SizeofIfInfomsg {
		return o, false
	}
	o.Index = int(int32(getU32(p[4:])))
	var first uint16
	for t, v := range attrs(p[linux.SizeofIfInfomsg:]) {
		if t != linux.IFLA_AF_SPEC {
			continue
		}
		for t, v := range attrs(v) {
			if t != iflaBridgeVLANInfo || len(v) < 4 {
				continue
			}
			flags, id := getU16(v), getU16(v[2:])
			if flags&vlanRangeBegin != 0 {
				first = id
				continue
			}
			x := VLAN{First: id, Last: id, Untagged: flags&vlanUntagged != 0, PVID: flags&vlanPVID != 0}
			if flags&vlanRangeEnd != 0 && first > 0 && first <= id {
				x.First = first
			}
			first = 0
			if x.First > 0 && x.Last <= MaxVLAN {
				o.VLANs = append(o.VLANs, x)
			}
		}
	}
	return o, true
}
