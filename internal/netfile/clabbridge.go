package netfile

import (
	"slices"
	"strconv"

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
		n, err := strconv.Atoi(next())
		switch {
		case err != nil:
			return false
		case on != nil:
			is := n != 0
			*on = &is
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

// bridge takes a command of bridge in: VLANs of ports.
func (b *clabBox) bridge(w []string) bool {
	if len(w) < 2 || wordOf(w[0], "vlan") == "" || wordOf(w[1], "add") == "" {
		return false
	}
	v, dev, pvid, self := osl.VLANRange{}, "", false, false
	if !options(w[2:], func(name string, next func() string) bool {
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
		case "master":
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
	// Whoever adds a VLAN leaves the first one as it is.
	one := osl.VLANRange{First: 1, Last: 1, Untagged: true}
	first := 1
	if self {
		if f.Bridge == nil {
			f.Bridge = &osl.BridgeSpec{}
		}
		addVLAN(&f.Bridge.PVID, &f.Bridge.VLANs, v, pvid, first, one)
		return true
	}
	if f.BridgePort == nil {
		f.BridgePort = &osl.BridgePortSpec{}
	}
	addVLAN(&f.BridgePort.PVID, &f.BridgePort.VLANs, v, pvid, first, one)
	return true
}

func addVLAN(at **int, list *[]osl.VLANRange, v osl.VLANRange, pvid bool, first int, one osl.VLANRange) {
	if *at == nil {
		*at, *list = &first, []osl.VLANRange{one}
	}
	if pvid {
		id := v.First
		*at = &id
	}
	*list = append(slices.DeleteFunc(*list, func(o osl.VLANRange) bool { return o.First == v.First && o.Last == v.Last }), v)
}
