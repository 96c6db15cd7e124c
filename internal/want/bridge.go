package want

import (
	"fmt"
	"time"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/where"
)

// Bridge is what a bridge should be: osl.BridgeSpec.
type Bridge struct {
	VLANFiltering                               *bool
	VLANProtocol                                string
	VLANDefaultPVID, PVID                       *int
	VLANs                                       []VLANRange
	STP                                         *bool
	Priority                                    *int
	AgeingTime, ForwardDelay, HelloTime, MaxAge *time.Duration
	MulticastSnooping, MulticastQuerier         *bool
}

// BridgePort is what a port of a bridge should be: osl.BridgePortSpec.
type BridgePort struct {
	PVID                                    *int
	VLANs                                   []VLANRange
	Learning, Flood                         *bool
	MulticastFlood, BroadcastFlood          *bool
	Isolated, Hairpin, NeighSuppress, Guard *bool
	RootBlock, FastLeave                    *bool
	Cost, Priority, MulticastRouter         *int
}

// VLANRange is a VLAN, or several in a row: osl.VLANRange.
type VLANRange struct {
	First, Last int
	Untagged    bool
}

// settings collects what is set of a bridge, or of a port, and keeps the first error.
type settings struct {
	rtnl.Options
	err error
}

func (s *settings) bad(field, format string, args ...any) {
	if s.err == nil {
		s.err = where.In(field, "", fault.Invalidf(format, args...))
	}
}

func (s *settings) flag(at int, on *bool) {
	if on != nil {
		s.Set(at, map[bool]uint32{true: 1}[*on])
	}
}

func (s *settings) number(at int, field string, n *int, lowest, highest int) {
	switch {
	case n == nil:
	case *n < lowest || *n > highest:
		s.bad(field, "%s is %d to %d, not %d", field, lowest, highest, *n)
	default:
		s.Set(at, uint32(*n))
	}
}

// tick is the unit of the times of a bridge, and step what each kernel keeps exactly.
const (
	tick = 10 * time.Millisecond
	step = 100 * time.Millisecond
)

func (s *settings) duration(at int, field string, d *time.Duration, lowest, highest time.Duration) {
	switch {
	case d == nil:
	case *d < lowest || *d > highest:
		s.bad(field, "%s is %v to %v, not %v", field, lowest, highest, *d)
	case *d%step != 0:
		s.bad(field, "%s is in steps of %v, not %v", field, step, *d)
	default:
		s.Set(at, uint32(*d/tick))
	}
}

// maxAgeing is what the kernel's timers can hold.
const maxAgeing = 1_000_000 * time.Second

// bridging takes over what an interface is to be as a bridge, and as a port of one.
func (s *Iface) bridging(f *plan.Iface) (err error) {
	if s.Bridge != nil {
		if s.Type != "bridge" {
			return where.In("bridge", "", fault.Invalidf("bridge means nothing for %s: only one of the type bridge has it", calledKind(s, f)))
		}
		if f.Bridge, err = s.Bridge.options(); err != nil {
			return err
		}
		if f.VLANs, err = vlanSet("bridge", s.Bridge.PVID, s.Bridge.VLANs); err != nil {
			return err
		}
		if off := s.Bridge.VLANFiltering; f.VLANs != nil && off != nil && !*off {
			return where.In("bridge.vlan_filtering", "", fault.Invalidf("a bridge that does not filter VLANs is in none"))
		}
	}
	if s.BridgePort != nil {
		if s.Master == "" {
			return where.In("bridge_port", "", fault.Invalidf("bridge_port means nothing without a master: the bridge that it is a port of"))
		}
		if f.Port, err = s.BridgePort.options(); err != nil {
			return err
		}
		f.VLANs, err = vlanSet("bridge_port", s.BridgePort.PVID, s.BridgePort.VLANs)
	}
	return err
}

func (b *Bridge) options() (rtnl.Options, error) {
	var s settings
	s.flag(rtnl.BridgeVLANFiltering, b.VLANFiltering)
	if b.VLANProtocol != "" {
		if p, ok := plan.VLANProtocols[b.VLANProtocol]; ok {
			s.Set(rtnl.BridgeVLANProtocol, p)
		} else {
			s.bad("bridge.vlan_protocol", "the protocol of VLANs is 802.1Q or 802.1ad, not %q", b.VLANProtocol)
		}
	}
	s.number(rtnl.BridgeVLANDefaultPVID, "bridge.vlan_default_pvid", b.VLANDefaultPVID, 0, rtnl.MaxVLAN)
	s.flag(rtnl.BridgeSTP, b.STP)
	s.number(rtnl.BridgePriority, "bridge.priority", b.Priority, 0, 1<<16-1)
	s.duration(rtnl.BridgeAgeingTime, "bridge.ageing_time", b.AgeingTime, 0, maxAgeing)
	lowest, highest := time.Duration(0), maxAgeing
	if b.STP != nil && *b.STP {
		lowest, highest = 2*time.Second, 30*time.Second
	}
	s.duration(rtnl.BridgeForwardDelay, "bridge.forward_delay", b.ForwardDelay, lowest, highest)
	s.duration(rtnl.BridgeHelloTime, "bridge.hello_time", b.HelloTime, time.Second, 10*time.Second)
	s.duration(rtnl.BridgeMaxAge, "bridge.max_age", b.MaxAge, 6*time.Second, 40*time.Second)
	s.flag(rtnl.BridgeMulticastSnooping, b.MulticastSnooping)
	s.flag(rtnl.BridgeMulticastQuerier, b.MulticastQuerier)
	return s.Options, s.err
}

// flags are those of its settings that are on or off.
func (p *BridgePort) flags() map[int]**bool {
	return map[int]**bool{
		rtnl.PortLearning: &p.Learning, rtnl.PortFlood: &p.Flood, rtnl.PortMulticastFlood: &p.MulticastFlood,
		rtnl.PortBroadcastFlood: &p.BroadcastFlood, rtnl.PortIsolated: &p.Isolated, rtnl.PortHairpin: &p.Hairpin,
		rtnl.PortNeighSuppress: &p.NeighSuppress, rtnl.PortGuard: &p.Guard, rtnl.PortRootBlock: &p.RootBlock, rtnl.PortFastLeave: &p.FastLeave,
	}
}

func (p *BridgePort) options() (rtnl.Options, error) {
	var s settings
	for at, on := range p.flags() {
		s.flag(at, *on)
	}
	s.number(rtnl.PortCost, "bridge_port.cost", p.Cost, 1, 1<<16-1)
	s.number(rtnl.PortPriority, "bridge_port.priority", p.Priority, 0, 63)
	s.number(rtnl.PortMulticastRouter, "bridge_port.mcast_router", p.MulticastRouter, 0, 3)
	return s.Options, s.err
}

// vlanSet returns the VLANs that a port, or a bridge, is to be in, nil where nothing is
// said of them.
func vlanSet(of string, pvid *int, list []VLANRange) (*plan.VLANs, error) {
	if pvid == nil && len(list) == 0 {
		return nil, nil
	}
	set := &plan.VLANs{}
	for _, v := range list {
		if v.First < 1 || v.Last > rtnl.MaxVLAN || v.First > v.Last {
			text := fmt.Sprint(v.First)
			if v.First != v.Last {
				text += fmt.Sprint("-", v.Last)
			}
			return nil, where.In(of+".vlans", "", fault.Invalidf("VLANs are 1 to %d, the lower first, not %s", rtnl.MaxVLAN, text))
		}
		if twice := set.Add(v.First, v.Last, v.Untagged); twice != 0 {
			return nil, where.In(of+".vlans", "", fault.Invalidf("the VLAN %d is there twice", twice))
		}
	}
	switch {
	case pvid == nil || *pvid == 0:
	case *pvid < 0 || *pvid > rtnl.MaxVLAN:
		return nil, where.In(of+".pvid", "", fault.Invalidf("the PVID is 1 to %d, or 0 for none, not %d", rtnl.MaxVLAN, *pvid))
	default:
		set.SetPVID(*pvid)
	}
	return set, nil
}

// BridgeOf says what a bridge with these settings is, and which VLANs it is in itself.
func BridgeOf(o *rtnl.Options, vlans []rtnl.VLAN) *Bridge {
	is := told{o}
	b := &Bridge{VLANFiltering: is.flag(rtnl.BridgeVLANFiltering), VLANDefaultPVID: is.number(rtnl.BridgeVLANDefaultPVID),
		STP: is.flag(rtnl.BridgeSTP), Priority: is.number(rtnl.BridgePriority),
		AgeingTime: is.duration(rtnl.BridgeAgeingTime), ForwardDelay: is.duration(rtnl.BridgeForwardDelay),
		HelloTime: is.duration(rtnl.BridgeHelloTime), MaxAge: is.duration(rtnl.BridgeMaxAge),
		MulticastSnooping: is.flag(rtnl.BridgeMulticastSnooping), MulticastQuerier: is.flag(rtnl.BridgeMulticastQuerier)}
	if v, ok := o.Get(rtnl.BridgeVLANProtocol); ok {
		b.VLANProtocol = plan.VLANProtocol(v)
	}
	b.PVID, b.VLANs = vlansOf(vlans)
	return b
}

// BridgePortOf says what a port of a bridge with these settings is, and its VLANs.
func BridgePortOf(o *rtnl.Options, vlans []rtnl.VLAN) *BridgePort {
	is := told{o}
	p := &BridgePort{Cost: is.number(rtnl.PortCost), Priority: is.number(rtnl.PortPriority), MulticastRouter: is.number(rtnl.PortMulticastRouter)}
	for at, to := range p.flags() {
		*to = is.flag(at)
	}
	p.PVID, p.VLANs = vlansOf(vlans)
	return p
}

func vlansOf(all []rtnl.VLAN) (pvid *int, list []VLANRange) {
	for _, v := range all {
		list = append(list, VLANRange{int(v.First), int(v.Last), v.Untagged})
		if v.PVID {
			id := int(v.First)
			pvid = &id
		}
	}
	return pvid, list
}

// told are settings, of which each is in the words of a caller; nil where it is none of
// them.
type told struct{ *rtnl.Options }

func (o told) flag(at int) *bool {
	v, ok := o.Get(at)
	if !ok {
		return nil
	}
	on := v != 0
	return &on
}

func (o told) number(at int) *int {
	v, ok := o.Get(at)
	if !ok {
		return nil
	}
	n := int(v)
	return &n
}

// size is a number that is never 0.
func (o told) size(at int) int {
	v, ok := o.Get(at)
	if !ok {
		return 0
	}
	return int(v)
}

func (o told) duration(at int) *time.Duration {
	v, ok := o.Get(at)
	if !ok {
		return nil
	}
	d := time.Duration(v) * tick
	return &d
}
