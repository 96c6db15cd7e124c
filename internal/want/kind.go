package want

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/where"
)

// data is what an interface says of what makes it, as the kernel has it.
func (s *Kind) data() (d rtnl.LinkData, field string, err error) {
	d = rtnl.LinkData{VNI: s.VNI, Local: s.Local, Remote: s.Remote, Port: s.Port, VLAN: s.VLAN, Mode: s.Mode, Flags: s.Flags,
		Protocol: s.Protocol, Table: s.Table, MIIMon: s.MIIMon, Key: s.Key, TTL: s.TTL, TOS: s.TOS, Policy: s.Policy, PeerPolicy: s.PeerPolicy,
		Owner: number(s.Owner), OwnerGroup: number(s.OwnerGroup), MultiQueue: s.MultiQueue, VNetHdr: s.VNetHdr,
		TxQueues: s.NumTxQueues, RxQueues: s.NumRxQueues}
	if s.Learning != nil {
		d.Learning = map[bool]string{true: "on", false: "off"}[*s.Learning]
	}
	if d.IngressQoS, err = qos(s.IngressQoSMap); err != nil {
		return d, "ingress_qos_map", err
	}
	if d.EgressQoS, err = qos(s.EgressQoSMap); err != nil {
		return d, "egress_qos_map", err
	}
	for _, x := range []struct {
		field string
		n     int
	}{{"numtxqueues", s.NumTxQueues}, {"numrxqueues", s.NumRxQueues}} {
		if x.n < 0 || x.n > maxQueues {
			return d, x.field, fault.Invalidf("%d is no number of queues: it is from 1 to %d", x.n, maxQueues)
		}
	}
	for _, x := range []struct {
		field string
		id    *int
	}{{"owner", s.Owner}, {"owner_group", s.OwnerGroup}} {
		if x.id != nil && (*x.id < 0 || int64(*x.id) >= 1<<32-1) {
			return d, x.field, fault.Invalidf("%d is the number of nobody", *x.id)
		}
	}
	return d, "", nil
}

// KindOf says what makes a link of its type: of what nobody asked for, what the kernel
// made it.
func KindOf(l *rtnl.Link) Kind {
	d := plan.Own(l)
	k := Kind{VNI: d.VNI, Local: d.Local, Remote: d.Remote, Port: d.Port, VLAN: d.VLAN, Mode: d.Mode, Flags: d.Flags,
		Protocol: d.Protocol, Table: d.Table, MIIMon: d.MIIMon, Key: d.Key, TTL: d.TTL, TOS: d.TOS, Policy: d.Policy, PeerPolicy: d.PeerPolicy,
		Owner: numberOf(d.Owner), OwnerGroup: numberOf(d.OwnerGroup), MultiQueue: d.MultiQueue, VNetHdr: d.VNetHdr,
		NumTxQueues: d.TxQueues, NumRxQueues: d.RxQueues,
		IngressQoSMap: qosOf(d.IngressQoS), EgressQoSMap: qosOf(d.EgressQoS)}
	if d.Learning != "" {
		on := d.Learning == "on"
		k.Learning = &on
	}
	return k
}

// maxQueues is what the kernel takes, in rtnl_create_link.
const maxQueues = 4096

func number(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

func numberOf(text string) *int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return nil
	}
	return &n
}

// qos turns a mapping of priorities into text. To map one to 0 says nothing.
func qos(m map[string]string) (string, error) {
	var list [][2]uint32
	for from, to := range m {
		f, err := strconv.ParseUint(from, 10, 32)
		if err != nil {
			return "", fault.Invalidf("%q is no priority: it is a number", from)
		}
		t, err := strconv.ParseUint(to, 10, 32)
		if err != nil {
			return "", fault.Invalidf("%q is no priority: it is a number", to)
		}
		if t != 0 {
			list = append(list, [2]uint32{uint32(f), uint32(t)})
		}
	}
	return rtnl.QoSText(list), nil
}

func qosOf(text string) (m map[string]string) {
	for _, pair := range rtnl.QoS(text) {
		if m == nil {
			m = map[string]string{}
		}
		m[strconv.FormatUint(uint64(pair[0]), 10)] = strconv.FormatUint(uint64(pair[1]), 10)
	}
	return m
}

// given are the fields of an interface that mean something for some types only, and
// of which it says something.
func given(s *Iface, d *rtnl.LinkData) []string {
	list := plan.Given(d)
	if s.Parent != "" {
		list = append(list, "parent")
	}
	if s.Peer != (Endpoint{}) {
		list = append(list, "peer")
	}
	return list
}

// having lists the types for which a field means something.
func having(field string) (list []string) {
	for _, k := range plan.Kinds {
		if slices.Contains(k.Fields, field) {
			list = append(list, plan.A(k.Name))
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
	for _, m := range given(s, &f.Data) {
		if !slices.Contains(kind.Fields, m) {
			hint := ""
			if f.Kind == "" && s.Source == "" {
				hint = "; write which type it is"
			}
			return where.In(m, "", fault.Invalidf("%s means nothing for %s: only %s has it%s", m, calledKind(s, f), strings.Join(having(m), " or "), hint))
		}
	}
	kind.Fill(&f.Data)
	if field, text := kind.Wrong(&f.Data); text != "" {
		return where.In(field, "", fault.Invalidf("%s", text))
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
		return plan.A(f.Kind)
	case s.Name == "lo":
		return "lo"
	case s.Source != "":
		return "a link of the host"
	}
	return "an interface without a type"
}

func badValue(s *Iface, f *plan.Iface, kind *plan.Kind) (field, text string) {
	if text := badMTU(f, s.MTU); text != "" {
		return "mtu", text
	}
	switch {
	case s.PeerMaster != "" && s.Peer.Sandbox != HostName:
		return "peer_master", "only a peer on the host has a peer_master: an interface of a sandbox has its own master"
	case f.Data.Remote.IsMulticast() && s.Parent == "":
		return "parent", fmt.Sprintf("%s to the group %v needs a parent: the link by which it joins that", plan.A(f.Kind), f.Data.Remote)
	case kind.NeedsParent() && s.Parent == "":
		return "parent", fmt.Sprintf("%s needs a parent", plan.A(f.Kind))
	case s.Master == s.Name && s.Master != "":
		return "master", "it is its own master"
	case s.Parent == s.Name && s.Parent != "":
		return "parent", "it is its own parent"
	case kind.Here && strings.HasPrefix(s.Parent, HostName+"/"):
		return "parent", fmt.Sprintf("%s lies in the sandbox itself, and not on a link of the host", plan.A(f.Kind))
	case kind.NoMAC != nil && s.MAC != nil && kind.NoMAC(&f.Data) != "":
		return "mac", kind.NoMAC(&f.Data)
	case plan.IsIPvlan(f.Kind) && s.ARP != nil && *s.ARP != (f.Data.Mode == "l2"):
		return "arp", fmt.Sprintf("%s is with ARP in the mode l2, and without in the others: the kernel sees to that each time it goes up", plan.A(f.Kind))
	case kind.NoIP && len(s.Addresses)+len(s.Aliases)+len(s.Routes) > 0:
		return "addresses", fmt.Sprintf("%s carries no IP", plan.A(f.Kind))
	case s.Name == "lo" && (s.Type != "" || s.Source != "" || s.Master != "" || s.Peer != (Endpoint{})):
		return "name", "lo is there already: it has no type, source, peer or master"
	case s.Name == "lo" && s.MAC != nil:
		return "mac", "lo has no hardware address of its own"
	}
	return "", ""
}

// badMTU says what is wrong with the MTU of an interface whose type is known.
func badMTU(f *plan.Iface, mtu int) string {
	kind := plan.KindOf(f.Kind)
	lowest := cmp.Or(kind.MinMTU, plan.MinMTU)
	switch {
	case f.Kind != "" && mtu != 0 && mtu < lowest:
		return fmt.Sprintf("the MTU %d is below %d, the lowest of %s", mtu, lowest, plan.A(f.Kind))
	case kind.MaxMTU != 0 && mtu > kind.MaxMTU:
		return fmt.Sprintf("the MTU %d is over the limit of %s, %d", mtu, plan.A(f.Kind), kind.MaxMTU)
	case kind.WrongMTU != nil && mtu != 0:
		return kind.WrongMTU(mtu)
	}
	return ""
}
