package want

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/where"
)

// kinds are the types of links that osl makes.
var kinds = []string{"bridge", "veth", "vxlan", "macvlan", "vlan", "dummy", "tun", "tap"}

// The MTU that the kernel takes for links that it makes.
const minMTU, maxMTU = 68, 65535

// highestMTU returns the highest MTU of a type of link, 0 where there is none.
func highestMTU(kind string) int {
	switch kind {
	case "dummy", "":
		return 0
	case "tap":
		return maxMTU - 14
	}
	return maxMTU
}

// meaning lists the fields of an interface that have a meaning for some types
// only, and whether one is given.
func meaning(s *Iface) []struct {
	field string
	given bool
	types []string
} {
	return []struct {
		field string
		given bool
		types []string
	}{
		{"vni", s.VNI != 0, []string{"vxlan"}},
		{"local", s.Local.IsValid(), []string{"vxlan"}},
		{"remote", s.Remote.IsValid(), []string{"vxlan"}},
		{"port", s.Port != 0, []string{"vxlan"}},
		{"vlan", s.VLAN != 0, []string{"vlan"}},
		{"mode", s.Mode != "", []string{"macvlan"}},
		{"parent", s.Parent != "", []string{"macvlan", "vlan", "vxlan"}},
		{"peer", s.Peer != (Endpoint{}), []string{"veth"}},
	}
}

// checkKind refuses what does not fit the type of an interface: nothing that is
// asked for is passed over.
func checkKind(s *Iface, f *plan.Iface) error {
	if s.Type != "" && !slices.Contains(kinds, s.Type) {
		return where.In("type", "", fault.Invalidf("the type %q is none of %s%s", s.Type, strings.Join(kinds, ", "), near.Hint(s.Type, kinds)))
	}
	if s.Type != "" && s.Source != "" {
		return where.In("source", "", fault.Invalidf("it has a type and a source: osl either makes it or moves it in"))
	}
	for _, m := range meaning(s) {
		if m.given && !slices.Contains(m.types, f.Kind) {
			return where.In(m.field, "", fault.Invalidf("%s means nothing for %s: only a %s has it", m.field, calledKind(s, f), strings.Join(m.types, " or a ")))
		}
	}
	if field, text := badValue(s, f); text != "" {
		return where.In(field, "", fault.Invalidf("%s", text))
	}
	return nil
}

// calledKind says what an interface is.
func calledKind(s *Iface, f *plan.Iface) string {
	switch {
	case f.Kind != "":
		return "a " + f.Kind
	case s.Name == "lo":
		return "lo"
	case s.Source != "":
		return "a link of the host"
	}
	return "an interface without a type"
}

func badValue(s *Iface, f *plan.Iface) (field, text string) {
	highest := highestMTU(f.Kind)
	switch {
	case s.PeerMaster != "" && s.Peer.Sandbox != HostName:
		return "peer_master", "only a peer on the host has a peer_master: an interface of a sandbox has its own master"
	case f.Kind == "vxlan" && (s.VNI < 1 || s.VNI >= 1<<24):
		return "vni", fmt.Sprintf("a vxlan needs a vni from 1 to %d", 1<<24-1)
	case f.Kind == "vlan" && (s.VLAN < 1 || s.VLAN > 4094):
		return "vlan", "a vlan needs a tag, vlan, from 1 to 4094"
	case (f.Kind == "vlan" || f.Kind == "macvlan") && s.Parent == "":
		return "parent", fmt.Sprintf("a %s needs a parent", f.Kind)
	case !rtnl.MacvlanMode(s.Mode):
		modes := []string{"bridge", "private", "vepa", "passthru"}
		return "mode", fmt.Sprintf("the mode %q of a macvlan is none of %s%s", s.Mode, strings.Join(modes, ", "), near.Hint(s.Mode, modes))
	case s.Port < 0 || s.Port > 65535:
		return "port", fmt.Sprintf("the port %d is none: it is from 1 to 65535, or 0 for %d", s.Port, rtnl.VXLANPort)
	case s.Master == s.Name && s.Master != "":
		return "master", "it is its own master"
	case s.Parent == s.Name && s.Parent != "":
		return "parent", "it is its own parent"
	case f.Kind == "tun" && s.MAC != nil:
		return "mac", "a tun has no hardware address; a tap has"
	case f.Kind != "" && s.MTU != 0 && s.MTU < minMTU:
		return "mtu", fmt.Sprintf("the MTU %d is below %d, the lowest of a %s", s.MTU, minMTU, f.Kind)
	case highest != 0 && s.MTU > highest:
		return "mtu", fmt.Sprintf("the MTU %d is over the limit of a %s, %d", s.MTU, f.Kind, highest)
	case s.Name == "lo" && (s.Type != "" || s.Source != "" || s.Master != "" || s.Peer != (Endpoint{})):
		return "name", "lo is there already: it has no type, source, peer or master"
	case s.Name == "lo" && s.Down:
		return "down", "lo stays up"
	case s.Name == "lo" && s.MAC != nil:
		return "mac", "lo has no hardware address of its own"
	}
	return "", ""
}
