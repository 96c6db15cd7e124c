package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
)

type (
	// SetBridge changes settings of a bridge, SetPort those of a port of one.
	SetBridge struct {
		Index   int
		Options rtnl.Options
	}
	SetPort struct {
		Index   int
		Options rtnl.Options
	}
)

func (a SetBridge) Request(FDs) rtnl.Request { return rtnl.SetBridge(a.Index, a.Options) }
func (a SetPort) Request(FDs) rtnl.Request   { return rtnl.SetPort(a.Index, a.Options) }

// Command returns the command that does the same.
func (a SetBridge) Command(dev string) string {
	return "link set dev " + shell.Quote(dev) + " type bridge" + optionsText(rtnl.BridgeOptions, &a.Options)
}

// Command returns the command that does the same.
func (a SetPort) Command(dev string) string {
	return "link set dev " + shell.Quote(dev) + " type bridge_slave" + optionsText(rtnl.PortOptions, &a.Options)
}

func optionsText(table []rtnl.Option, o *rtnl.Options) string {
	var b strings.Builder
	for at, x := range table {
		v, ok := o.Get(at)
		switch {
		case !ok:
		case x.Switch:
			fmt.Fprintf(&b, " %s %s", x.Name, map[bool]string{true: "on", false: "off"}[v != 0])
		case x.Name == "vlan_protocol":
			fmt.Fprintf(&b, " %s %s", x.Name, VLANProtocol(v))
		case x.Name == "addrgenmode" && v < uint32(len(AddrGenModes)):
			fmt.Fprintf(&b, " %s %s", x.Name, AddrGenModes[v])
		default:
			fmt.Fprintf(&b, " %s %d", x.Name, v)
		}
	}
	return b.String()
}

// VLANProtocols are the protocols of VLANs, as the ip command calls them: ETH_P_8021Q
// and ETH_P_8021AD of linux/if_ether.h.
var VLANProtocols = map[string]uint32{"802.1Q": 0x8100, "802.1ad": 0x88a8}

// VLANProtocol names one of them.
func VLANProtocol(v uint32) string {
	for name, p := range VLANProtocols {
		if p == v {
			return name
		}
	}
	return fmt.Sprintf("0x%04x", v)
}

// bridging plans what an interface is to be as a bridge, and as a port of one. l is
// the link that it is already, nil for a new one; joins says that it becomes a port of
// master in this change.
func (b *builder) bridging(w *Sandbox, f *Iface, l *rtnl.Link, master int, joins bool) error {
	index := b.index[end{w.Key, f.Name}]
	if !f.Bridge.Empty() {
		if err := b.bridge(w, f, l, index); err != nil {
			return err
		}
	}
	if !f.Port.Empty() {
		to, from := f.Port, rtnl.Options{}
		op := Op{NS: w.Key, Dev: f.Name}
		if l != nil && !joins {
			if to, from = lacking(rtnl.PortOptions, f.Port, l.Port); !to.Empty() && from.Empty() {
				return b.unknown(w, f, "bridge_port", rtnl.PortOptions, &to)
			}
			op.Undo = []Op{{NS: w.Key, Dev: f.Name, Do: SetPort{index, from}}}
		}
		if op.Do, op.Half = (SetPort{index, to}), true; !to.Empty() {
			b.wire = append(b.wire, op)
		}
	}
	return b.vlans(w, f, l, master, joins)
}

// lacking returns those of the wanted settings that a link has not got, and what it has
// instead.
func lacking(table []rtnl.Option, want rtnl.Options, have *rtnl.Options) (to, from rtnl.Options) {
	for at := range table {
		v, ok := want.Get(at)
		was, known := have.Get(at)
		if ok && !(known && v == was) {
			to.Set(at, v)
			if known {
				from.Set(at, was)
			}
		}
	}
	return to, from
}

// unknown is the problem that the kernel does not know a setting.
func (b *builder) unknown(w *Sandbox, f *Iface, field string, table []rtnl.Option, o *rtnl.Options) error {
	for at, x := range table {
		if _, ok := o.Get(at); ok {
			return &Problem{Key: w.Key, Dev: f.device(), Kind: Unsupported, Field: field,
				Text: fmt.Sprintf("the kernel has no setting %q of a bridge or its port", x.Name)}
		}
	}
	return nil
}

// The shortest and the longest forward delay that the kernel lets a bridge with the
// spanning tree have, in hundredths of a second.
const fastest, slowest = 200, 3000

func (b *builder) bridge(w *Sandbox, f *Iface, l *rtnl.Link, index int) error {
	op := func(o rtnl.Options, undo ...rtnl.Options) {
		x := Op{NS: w.Key, Dev: f.Name, Do: SetBridge{index, o}, Half: true}
		for _, u := range undo {
			if !u.Empty() {
				x.Undo = append(x.Undo, Op{NS: w.Key, Dev: f.Name, Do: SetBridge{index, u}})
			}
		}
		if _, moves := o.Get(rtnl.BridgeVLANDefaultPVID); moves && l != nil {
			b.repvid[index] = true
			x.Undo = append(x.Undo, b.vlansBack(w.Key, index)...)
		}
		if !o.Empty() {
			b.wire = append(b.wire, x)
		}
	}
	if l == nil {
		op(f.Bridge)
		return nil
	}
	delay, said := f.Bridge.Get(rtnl.BridgeForwardDelay)
	if said && (delay < fastest || delay > slowest) && b.bridgeOption(w, index, rtnl.BridgeSTP, 0) != 0 {
		return &Problem{Key: w.Key, Dev: f.device(), Kind: Invalid, Field: "bridge.forward_delay",
			Text: fmt.Sprintf("the bridge has the spanning tree on, and with that its forward_delay is %v to %v, not %v: write stp: false, or another delay",
				ticks(fastest), ticks(slowest), ticks(delay))}
	}
	to, from := lacking(rtnl.BridgeOptions, f.Bridge, l.Bridge)
	for at := range rtnl.BridgeOptions {
		if l.Bridge.Borrowed(at) { // what it has itself is not to be known
			to.Drop(at)
			from.Drop(at)
		}
		if _, wanted := to.Get(at); wanted {
			if _, known := from.Get(at); !known {
				return b.unknown(w, f, "bridge", rtnl.BridgeOptions, &to)
			}
		}
	}
	// With the spanning tree on, the kernel refuses some delays, and makes one that is
	// too short longer: so a delay is set while it is off.
	on, switched := to.Get(rtnl.BridgeSTP)
	if !switched {
		op(to, from)
		return nil
	}
	stp, before, short := rtnl.Options{}, rtnl.Options{}, rtnl.Options{}
	was, _ := from.Get(rtnl.BridgeSTP)
	stp.Set(rtnl.BridgeSTP, on)
	before.Set(rtnl.BridgeSTP, was)
	if old, ok := l.Bridge.Get(rtnl.BridgeForwardDelay); ok && old < fastest {
		short.Set(rtnl.BridgeForwardDelay, old)
	}
	to.Drop(rtnl.BridgeSTP)
	from.Drop(rtnl.BridgeSTP)
	if on == 0 {
		op(stp, before)
		op(to, from)
		return nil
	}
	op(to, from)
	op(stp, before, short)
	return nil
}

func ticks(n uint32) time.Duration { return time.Duration(n) * 10 * time.Millisecond }

// vlansBack returns what puts the VLANs back of a bridge and of its ports: a change of
// the default PVID moves them.
func (b *builder) vlansBack(key string, bridge int) (ops []Op) {
	k := b.known[key]
	for i := range k.Links {
		if l := &k.Links[i]; l.Index == bridge || l.Master == bridge {
			ops = append(ops, ofVLANs(key, l, k.VLANs)...)
		}
	}
	return ops
}

func ofVLANs(key string, l *rtnl.Link, all map[int][]rtnl.VLAN) []Op {
	if list, read := all[l.Index]; read {
		return exactlyVLANs(key, l.Name, Member{l.Index, l.Bridge != nil}, vlansOf(list))
	}
	return nil
}

// vlans plans the VLANs of a port, or of a bridge itself.
func (b *builder) vlans(w *Sandbox, f *Iface, l *rtnl.Link, master int, joins bool) error {
	if f.VLANs == nil {
		return nil
	}
	k, index := b.known[w.Key], b.index[end{w.Key, f.Name}]
	of, bridge, field := Member{Index: index}, master, "bridge_port"
	if f.Kind == "bridge" {
		of.Self, bridge, field = true, index, "bridge"
	}
	if !b.bridgeIs(w, bridge, rtnl.BridgeVLANFiltering, 1) {
		name := k.nameOf(bridge)
		for i := range w.Ifaces {
			if b.index[end{w.Key, w.Ifaces[i].Name}] == bridge {
				name = w.Ifaces[i].Name
			}
		}
		return &Problem{Key: w.Key, Dev: f.device(), Kind: Invalid, Field: field,
			Text: fmt.Sprintf("the bridge %q does not filter VLANs: write bridge: {vlan_filtering: true} there", name)}
	}
	if l != nil && !joins && !b.repvid[bridge] {
		have := vlansOf(k.VLANs[index])
		ops := toVLANs(w.Key, f.Name, of, have, f.VLANs)
		if len(ops) > 0 {
			ops[0].Half, ops[0].Undo = true, toVLANs(w.Key, f.Name, of, f.VLANs, have)
		}
		b.wire = append(b.wire, ops...)
		return nil
	}
	if l != nil && !joins { // it was moved, and comes back with what moved it
		b.wire = append(b.wire, exactlyVLANs(w.Key, f.Name, of, f.VLANs)...)
		return nil
	}
	b.wire = append(b.wire, toVLANs(w.Key, f.Name, of, b.firstVLANs(w, bridge), f.VLANs)...)
	return nil
}

// firstVLANs are those that a bridge puts a new port into, and itself.
func (b *builder) firstVLANs(w *Sandbox, bridge int) *VLANs {
	first := &VLANs{}
	if pvid := b.bridgeOption(w, bridge, rtnl.BridgeVLANDefaultPVID, 1); pvid > 0 && pvid <= rtnl.MaxVLAN {
		first.SetPVID(int(pvid))
	}
	return first
}

// bridgeOption returns what a setting of a bridge is to be: as is wanted, else as it is.
func (b *builder) bridgeOption(w *Sandbox, bridge, at int, otherwise uint32) uint32 {
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		if v, ok := f.Bridge.Get(at); ok && b.index[end{w.Key, f.Name}] == bridge {
			return v
		}
	}
	if l := b.known[w.Key].ByIndex(bridge); l != nil {
		if v, ok := l.Bridge.Get(at); ok {
			return v
		}
	}
	return otherwise
}

func (b *builder) bridgeIs(w *Sandbox, bridge, at int, value uint32) bool {
	return b.bridgeOption(w, bridge, at, value^1) == value
}

// portBack returns what puts back what a port loses that leaves its bridge, after it
// has come back: its settings, where it has any that a new one has not, its VLANs, and
// osl's entries at it.
func portBack(key string, l *rtnl.Link, s *State) (ops []Op) {
	t, _ := ParseTag(l.Alias)
	special := t.Asked.Cost()
	for at := range rtnl.PortOptions {
		v, ok := l.Port.Get(at)
		switch {
		case !ok:
		case at == rtnl.PortCost:
			special = special || !IsUsualCost(l.Kind, v)
		default:
			special = special || v != UsualPort[at]
		}
	}
	if special {
		ops = append(ops, Op{NS: key, Dev: l.Name, Do: SetPort{l.Index, *l.Port}})
	}
	if s == nil {
		return ops
	}
	ops = append(ops, ofVLANs(key, l, s.VLANs)...)
	for _, n := range s.Neighs {
		if n.Index == l.Index && n.Bridge != 0 {
			ops = append(ops, Op{NS: key, Dev: l.Name, Do: NewNeigh{n}})
		}
	}
	return ops
}

// ReadsVLANs reports whether a plan for a sandbox needs to know the VLANs of its bridges
// and their ports: where one filters, or is to.
func ReadsVLANs(w *Sandbox, s *State) bool {
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		_, filters := f.Bridge.Get(rtnl.BridgeVLANFiltering)
		_, moves := f.Bridge.Get(rtnl.BridgeVLANDefaultPVID)
		if f.VLANs != nil || filters || moves {
			return true
		}
	}
	return s.FiltersVLANs()
}

// FiltersVLANs reports whether a bridge does.
func (s *State) FiltersVLANs() bool {
	return slices.ContainsFunc(s.Links, func(l rtnl.Link) bool { return l.Bridge.Is(rtnl.BridgeVLANFiltering, 1) })
}

// SetVLANs takes what was read of them into the state.
func (s *State) SetVLANs(list []rtnl.VLANsOf) {
	s.VLANs = map[int][]rtnl.VLAN{}
	for _, v := range list {
		s.VLANs[v.Index] = append(s.VLANs[v.Index], v.VLANs...)
	}
}

// masterOf returns the index of the link that a wanted interface is to be a port of.
func (b *builder) masterOf(w *Sandbox, f *Iface, k *known) (int, error) {
	if f.Master == "" {
		return f.MasterIndex, nil
	}
	problem := func(kind ProblemKind, format string, args ...any) (int, error) {
		return 0, &Problem{Key: w.Key, Dev: f.device(), Kind: kind, Text: fmt.Sprintf(format, args...), Field: "master"}
	}
	m, wanted := b.is[end{w.Key, f.Master}]
	if !wanted {
		m.link = k.Link(f.Master)
	}
	i := slices.IndexFunc(w.Ifaces, func(o Iface) bool { return o.Name == f.Master })
	switch {
	case m.link == nil && i < 0:
		return problem(NotFound, "its master %q is not in the sandbox%s", f.Master, near.Hint(f.Master, k.masters(w)))
	case m.link != nil && !KindOf(m.link.Kind).Ports || m.link == nil && !KindOf(w.Ifaces[i].Kind).Ports && w.Ifaces[i].From == nil:
		return problem(Invalid, "its master %q is neither a bridge nor a bond nor a vrf", f.Master)
	}
	if kind := KindOf(f.Kind); kind.NoMAC != nil && !kind.ownParent && (m.link != nil && m.link.Kind == "bridge" || m.link == nil && w.Ifaces[i].Kind == "bridge") {
		if why := kind.NoMAC(&f.Data); why != "" {
			return problem(Invalid, "its master %q is a bridge, of which a port has a hardware address: %s", f.Master, why)
		}
	}
	return b.index[end{w.Key, f.Master}], nil
}
