package netfile

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/seed59451c2b/osl"
)

// bridgeOptions reads the options of a bridge.
func bridgeOptions(f *osl.InterfaceSpec, w []string) bool {
	s := osl.BridgeSpec{}
	if f.Bridge != nil {
		s = *f.Bridge
	}
	if len(w) == 0 {
		return true
	}
	f.Bridge = &s
	return options(w, func(name string, next func() string) bool {
		on := map[string]**bool{"vlan_filtering": &s.VLANFiltering, "stp_state": &s.STP, "mcast_snooping": &s.MulticastSnooping, "mcast_querier": &s.MulticastQuerier}[name]
		hundredths := map[string]**osl.Duration{"forward_delay": &s.ForwardDelay, "hello_time": &s.HelloTime, "max_age": &s.MaxAge, "ageing_time": &s.AgeingTime}[name]
		n, err := strconv.Atoi(next())
		switch {
		case err != nil:
			return false
		case on != nil:
			is := n != 0
			*on = &is
		case hundredths != nil:
			d := osl.Duration(time.Duration(n) * 10 * time.Millisecond)
			*hundredths = &d
		case name == "vlan_default_pvid":
			s.VLANDefaultPVID = &n
		case name == "priority":
			s.Priority = &n
		default:
			return false
		}
		return true
	})
}

// bridge takes a command of bridge in.
func (b *clabBox) bridge(w []string) bool {
	if len(w) < 2 {
		return false
	}
	switch object, verb, rest := wordOf(w[0], "link", "fdb", "vlan"), w[1], w[2:]; object {
	case "link":
		return verb == "set" && b.bridgePort(rest)
	case "fdb":
		return (verb == "add" || verb == "append" || verb == "replace") && b.forward(rest)
	case "vlan":
		return b.vlan(wordOf(verb, "add", "delete"), rest)
	}
	return false
}

// bridgePort reads what stands behind "bridge link set".
func (b *clabBox) bridgePort(w []string) bool {
	if len(w) < 2 || w[0] != "dev" || b.has(w[1]) == nil {
		return false
	}
	f, p := b.has(w[1]), osl.BridgePortSpec{}
	if f.BridgePort != nil {
		p = *f.BridgePort
	}
	if f.Master == "" || !options(w[2:], func(name string, next func() string) bool {
		on := map[string]**bool{"learning": &p.Learning, "flood": &p.Flood, "mcast_flood": &p.MulticastFlood, "bcast_flood": &p.BroadcastFlood,
			"isolated": &p.Isolated, "hairpin": &p.Hairpin, "neigh_suppress": &p.NeighSuppress, "guard": &p.Guard, "root_block": &p.RootBlock, "fastleave": &p.FastLeave}[name]
		number := map[string]**int{"cost": &p.Cost, "priority": &p.Priority, "mcast_router": &p.MulticastRouter}[name]
		switch text := next(); {
		case on != nil && (text == "on" || text == "off"):
			is := text == "on"
			*on = &is
		case number != nil:
			n, err := strconv.Atoi(text)
			*number = &n
			return err == nil
		default:
			return false
		}
		return true
	}) {
		return false
	}
	f.BridgePort = &p
	return true
}

// forward reads what stands behind "bridge fdb add": where a vxlan sends frames, all
// of them if the hardware address is zero, or behind which port of a bridge one is.
func (b *clabBox) forward(w []string) bool {
	n, master := osl.NeighborSpec{FDB: true}, false
	if !options(w, func(name string, next func() string) bool {
		var err error
		switch name {
		case "dst":
			n.IP, err = netip.ParseAddr(next())
		case "dev":
			n.Dev = next()
		case "vlan":
			return number(&n.VLAN, next())
		case "master":
			master = true
		case "self", "permanent", "static":
		case "to":
			name = next()
			fallthrough
		default:
			err = n.MAC.UnmarshalText([]byte(name))
		}
		return err == nil
	}) || n.MAC == nil || b.has(n.Dev) == nil {
		return false
	}
	f := b.has(n.Dev)
	switch {
	case f.Type == "vxlan" && n.IP.IsValid() && !slices.ContainsFunc(n.MAC, func(b byte) bool { return b != 0 }):
		f.Remotes = append(f.Remotes, n.IP)
	case f.Type == "vxlan" && n.IP.IsValid(), master && f.Master != "":
		b.spec.Neighbors = append(b.spec.Neighbors, n)
	default:
		return false
	}
	return true
}

// vlan reads what stands behind "bridge vlan add" and "bridge vlan del".
func (b *clabBox) vlan(verb string, w []string) bool {
	v, dev, pvid, self := osl.VLANRange{}, "", false, false
	if !options(w, func(name string, next func() string) bool {
		switch name {
		case "dev":
			dev = next()
		case "vid":
			return v.UnmarshalText([]byte(next())) == nil
		case "pvid":
			pvid = true
		case "untagged":
			v.Untagged = true
		case "self":
			self = true
		case "master", "tagged":
		default:
			return false
		}
		return true
	}) {
		return false
	}
	f := b.has(dev)
	if f == nil || self != (f.Type == "bridge") || !self && f.Master == "" || v.First == 0 || pvid && v.First != v.Last {
		return false
	}
	var at **int
	var list *[]osl.VLANRange
	if self {
		if f.Bridge == nil {
			f.Bridge = &osl.BridgeSpec{}
		}
		at, list = &f.Bridge.PVID, &f.Bridge.VLANs
	} else {
		if f.BridgePort == nil {
			f.BridgePort = &osl.BridgePortSpec{}
		}
		at, list = &f.BridgePort.PVID, &f.BridgePort.VLANs
	}
	if *at == nil {
		*at, *list = b.firstVLAN(f, self)
	}
	if verb == "delete" {
		if id := **at; v.First <= id && id <= v.Last {
			none := 0
			*at = &none
		}
		*list = slices.DeleteFunc(*list, func(o osl.VLANRange) bool { return v.First <= o.First && o.Last <= v.Last })
		return true
	}
	if pvid {
		id := v.First
		*at = &id
	}
	*list = append(slices.DeleteFunc(*list, func(o osl.VLANRange) bool { return o.First == v.First && o.Last == v.Last }), v)
	return verb == "add"
}

// firstVLAN returns the VLANs in which the kernel puts a port, or a bridge itself.
func (b *clabBox) firstVLAN(f *osl.InterfaceSpec, self bool) (*int, []osl.VLANRange) {
	id := 1
	if !self {
		f = b.has(f.Master)
	}
	if f != nil && f.Bridge != nil && f.Bridge.VLANDefaultPVID != nil {
		id = *f.Bridge.VLANDefaultPVID
	}
	if id == 0 {
		return &id, nil
	}
	return &id, []osl.VLANRange{{First: id, Last: id, Untagged: true}}
}
