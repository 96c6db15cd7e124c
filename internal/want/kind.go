package want

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/where"
)

// given are the fields of an interface that mean something for some types only, and
// whether they say anything.
func given(s *Iface) []struct {
	field string
	is    bool
} {
	return []struct {
		field string
		is    bool
	}{
		{"vni", s.VNI != 0}, {"local", s.Local.IsValid()}, {"remote", s.Remote.IsValid()}, {"port", s.Port != 0}, {"vlan", s.VLAN != 0},
		{"mode", s.Mode != ""}, {"parent", s.Parent != ""}, {"peer", s.Peer != (Endpoint{})},
	}
}

// having lists the types for which a field means something.
func having(field string) (list []string) {
	for _, k := range plan.Kinds {
		if slices.Contains(k.Fields, field) {
			list = append(list, k.Name)
		}
	}
	return list
}

// checkKind refuses what does not fit the type of an interface: nothing that is
// asked for is passed over.
func checkKind(s *Iface, f *plan.Iface) error {
	kinds, kind := plan.KindNames(), plan.KindOf(f.Kind)
	if s.Type != "" && kind.Name == "" {
		return where.In("type", "", fault.Invalidf("the type %q is none of %s%s", s.Type, strings.Join(kinds, ", "), near.Hint(s.Type, kinds)))
	}
	if s.Type != "" && s.Source != "" {
		return where.In("source", "", fault.Invalidf("it has a type and a source: osl either makes it or moves it in"))
	}
	for _, m := range given(s) {
		if m.is && !slices.Contains(kind.Fields, m.field) {
			return where.In(m.field, "", fault.Invalidf("%s means nothing for %s: only a %s has it", m.field, calledKind(s, f), strings.Join(having(m.field), " or a ")))
		}
	}
	if kind.Check != nil {
		if field, text := kind.Check(&f.Data); text != "" {
			return where.In(field, "", fault.Invalidf("%s", text))
		}
	}
	if field, text := badValue(s, f, kind); text != "" {
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

func badValue(s *Iface, f *plan.Iface, kind *plan.Kind) (field, text string) {
	switch {
	case s.PeerMaster != "" && s.Peer.Sandbox != HostName:
		return "peer_master", "only a peer on the host has a peer_master: an interface of a sandbox has its own master"
	case kind.NeedsParent() && s.Parent == "":
		return "parent", fmt.Sprintf("a %s needs a parent", f.Kind)
	case s.Master == s.Name && s.Master != "":
		return "master", "it is its own master"
	case s.Parent == s.Name && s.Parent != "":
		return "parent", "it is its own parent"
	case f.Kind == "tun" && s.MAC != nil:
		return "mac", "a tun has no hardware address; a tap has"
	case f.Kind != "" && s.MTU != 0 && s.MTU < plan.MinMTU:
		return "mtu", fmt.Sprintf("the MTU %d is below %d, the lowest of a %s", s.MTU, plan.MinMTU, f.Kind)
	case kind.MaxMTU != 0 && s.MTU > kind.MaxMTU:
		return "mtu", fmt.Sprintf("the MTU %d is over the limit of a %s, %d", s.MTU, f.Kind, kind.MaxMTU)
	case s.Name == "lo" && (s.Type != "" || s.Source != "" || s.Master != "" || s.Peer != (Endpoint{})):
		return "name", "lo is there already: it has no type, source, peer or master"
	case s.Name == "lo" && s.MAC != nil:
		return "mac", "lo has no hardware address of its own"
	}
	return "", ""
}
