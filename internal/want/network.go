package want

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/where"
)

// Names is what a network is about.
type Names struct {
	Keys     []string
	HostEnds []HostEnd
	// OnHost says that the network has a sandbox that is the host.
	OnHost bool
}

// HostEnd is the end of a link on the host, and the sandbox of the other one.
type HostEnd struct{ Name, Key string }

// Names checks the names of a network, and no more: a network whose
// host lacks something can still be taken down.
func (net *Network) Names(k Keys) (names Names, err error) {
	if err := ValidNetwork(net.Name); err != nil {
		return names, where.In("name", "", err)
	}
	seen := map[string]bool{}
	for i := range net.Sandboxes {
		s := &net.Sandboxes[i]
		if s.Name == HostName {
			if seen[plan.HostNS] {
				return names, fault.Invalidf("the host is there twice")
			}
			seen[plan.HostNS] = true
			if names.OnHost = !net.Host; net.Host {
				names.Keys = append(names.Keys, plan.HostNS)
			}
			continue
		}
		key, err := k.Path(s.Name)
		if err != nil {
			return names, fault.At(s.Name, "", where.In("name", "", err))
		}
		if seen[k.Same(key)] {
			return names, fault.At(s.Name, "", where.In("name", "", fault.Invalidf("the sandbox %q is there twice", s.Name)))
		}
		seen[k.Same(key)] = true
		names.Keys = append(names.Keys, key)
		for j := range s.Interfaces {
			if p := s.Interfaces[j].Peer; p.Sandbox == HostName {
				names.HostEnds = append(names.HostEnds, HostEnd{p.Interface, key})
			}
		}
	}
	for _, l := range net.Links {
		for i, e := range l {
			if key, err := k.Path(l[1-i].Sandbox); err == nil && e.Sandbox == HostName {
				names.HostEnds = append(names.HostEnds, HostEnd{e.Interface, key})
			}
		}
	}
	return names, nil
}

// Plan checks the network and turns it into what plans are made of. The links of the
// host that are to move in, lie below another or have a port are named only.
func (net *Network) Plan(k Keys) ([]plan.Sandbox, error) {
	net, err := net.written(k)
	if err != nil {
		return nil, err
	}
	net = net.endsOnHost().veths()
	names, err := net.Names(k)
	if err != nil {
		return nil, err
	}
	want := make([]plan.Sandbox, len(net.Sandboxes))
	byKey := map[string]*plan.Sandbox{}
	byName := map[string]string{HostName: plan.HostNS}
	keys := names.Keys
	for i := range net.Sandboxes {
		want[i].Prune, want[i].Network, want[i].OnHost = true, net.Name, names.OnHost
		if net.Host || net.Sandboxes[i].Name != HostName {
			want[i].Key, keys = keys[0], keys[1:]
		} else if err := net.checkHost(&net.Sandboxes[i]); err != nil {
			return nil, fault.At(HostName, "", err)
		}
		byKey[want[i].Key] = &want[i]
		byName[net.Sandboxes[i].Name] = want[i].Key
	}
	for i := range net.Sandboxes {
		if err := net.Sandboxes[i].plan(&want[i]); err != nil {
			return nil, fault.At(k.at(want[i].Key), "", err)
		}
		if net.Host && len(net.Sandboxes[i].Masquerade) > 0 {
			return nil, fault.At(k.at(want[i].Key), "", where.In("masquerade", "", fault.Invalidf("it is of a whole network, which Apply makes")))
		}
		for _, f := range want[i].Ifaces {
			if f.Name == "lo" && f.Down && !net.Host {
				return nil, fault.At(want[i].Key, f.Name, where.In("down", "", fault.Invalidf("lo stays up")))
			}
			if want[i].Key == plan.HostNS && f.From != nil {
				return nil, fault.At(want[i].Key, f.Name, where.In("source", "", fault.Invalidf("the link is the host's, and stays there: leave its source out")))
			}
		}
	}
	if err := net.unlock(k, want, byName); err != nil {
		return nil, err
	}
	links := slices.Clone(net.Links)
	for i := range net.Sandboxes {
		for _, f := range net.Sandboxes[i].Interfaces {
			if f.Peer != (Endpoint{}) {
				links = append(links, Link{{net.Sandboxes[i].Name, f.Name}, f.Peer})
			}
		}
	}
	places := placesOf(want)
	for i, l := range links {
		err := net.known(l, byName)
		if err == nil {
			err = wantLink(k, byKey, byName, places, net.Host, l)
		}
		if err != nil {
			err = fmt.Errorf("link %v - %v: %w", l[0], l[1], err)
			if i < len(net.Links) {
				return nil, where.In("links", strconv.Itoa(i), err)
			}
			return nil, fault.At(byName[l[0].Sandbox], l[0].Interface, where.In("peer", "", err))
		}
	}
	if err := net.giveMACs(k, want); err != nil {
		return nil, err
	}
	if err := once(k, want, byKey, places); err != nil {
		return nil, err
	}
	var ends []string // on the host, that have no entry
	for _, e := range names.HostEnds {
		if _, listed := places[ifaceName{plan.HostNS, e.Name}]; !listed {
			ends = append(ends, e.Name)
		}
	}
	for i := range want {
		if err := settleSettings(&want[i]); err != nil {
			return nil, fault.At(k.at(want[i].Key), "", err)
		}
		for j := range want[i].Ifaces {
			f := &want[i].Ifaces[j]
			if want[i].Key == plan.HostNS && !net.Host {
				f.Owner = net.Name
				if f.Keep {
					return nil, fault.At(HostName, f.Name, fault.Invalidf("it is no link that osl makes on the host: a bridge, or the end of a link to a sandbox%s", near.Hint(f.Name, ends)))
				}
			}
			if plan.KindOf(f.Kind).Pair && f.Peer == nil && f.MadeBy == nil {
				return nil, fault.At(k.at(want[i].Key), f.Name, fault.Invalidf("a %s needs its other end: a peer, or a link", f.Kind))
			}
			if err := fits(f); f.OtherEnd() != nil && err != nil {
				return nil, fault.At(k.at(want[i].Key), f.Name, err)
			}
		}
	}
	return want, nil
}

// veths returns the network with the type of those ends of links that say what of the
// types with two ends a veth alone has, its queues, and no type: a link is a veth where
// neither end says otherwise.
func (net *Network) veths() *Network {
	types, others := map[Endpoint]string{}, map[Endpoint]Endpoint{}
	for _, l := range net.Links {
		others[l[0]], others[l[1]] = l[1], l[0]
	}
	for i := range net.Sandboxes {
		for _, f := range net.Sandboxes[i].Interfaces {
			e := Endpoint{net.Sandboxes[i].Name, f.Name}
			if types[e] = f.Type; f.Peer != (Endpoint{}) {
				others[f.Peer] = e
			}
		}
	}
	w := *net
	w.Sandboxes = slices.Clone(net.Sandboxes)
	for i := range w.Sandboxes {
		s := &w.Sandboxes[i]
		bare := func(f Iface) bool {
			other, is := others[Endpoint{s.Name, f.Name}]
			return is && f.Type+f.Source == "" && (f.Kind.NumTxQueues != 0 || f.Kind.NumRxQueues != 0) && (types[other] == "" || types[other] == "veth")
		}
		if !slices.ContainsFunc(s.Interfaces, bare) {
			continue
		}
		s.Interfaces = slices.Clone(s.Interfaces)
		for j, f := range s.Interfaces {
			if bare(f) {
				s.Interfaces[j].Type = "veth"
			}
		}
	}
	return &w
}

// RoomForLabels returns an error where there is no room for labels beside what the
// sandbox says while it is made.
func RoomForLabels(w *plan.Sandbox, leader string) error {
	tag := plan.SandboxTag{UnderWay: true, Commit: plan.Commit{ID: "ffffffff", Leader: leader}.For(w.Key), Network: w.Network, OnHost: w.OnHost, Labels: w.Labels}
	if over := len(tag.String()) - plan.MaxAlias; over > 0 {
		return where.In("labels", "", fault.Invalidf("the labels, the name of the network, and the path of the sandbox that leads the change, take %d bytes too many", over))
	}
	return nil
}

// RoomForNewLabels is RoomForLabels of a sandbox that stands.
func RoomForNewLabels(w *plan.Sandbox) error {
	tag := plan.SandboxTag{Network: w.Network, OnHost: w.OnHost, Labels: w.Labels}
	if over := len(tag.String()) - plan.MaxAlias; over > 0 {
		return where.In("labels", "", fault.Invalidf("the labels, and the name of the network, take %d bytes too many", over))
	}
	return nil
}

// ifaceName names a wanted interface.
type ifaceName struct{ key, name string }

// placesOf returns where each wanted interface is in the list of its sandbox.
func placesOf(want []plan.Sandbox) map[ifaceName]int {
	places := map[ifaceName]int{}
	for i := range want {
		for j := range want[i].Ifaces {
			places[ifaceName{want[i].Key, want[i].Ifaces[j].Name}] = j
		}
	}
	return places
}

// known refuses a link to a sandbox that is not among those of the network.
func (net *Network) known(l Link, byName map[string]string) error {
	for i, e := range l {
		if _, ok := byName[e.Sandbox]; ok {
			continue
		}
		var names []string
		for name := range byName {
			if name != SegmentsOf(net.Name) { // which is osl's
				names = append(names, name)
			}
		}
		return where.In(fmt.Sprintf("[%d]", i), "", fmt.Errorf("%w: there is no sandbox %q in the network%s", fault.ErrNotFound, e.Sandbox, near.Hint(e.Sandbox, names)))
	}
	return nil
}

// wantLink makes two interfaces the ends of a veth. An end on the host is one of the
// interfaces of that where it is listed there, or with all; then both may be there.
func wantLink(k Keys, byKey map[string]*plan.Sandbox, byName map[string]string, places map[ifaceName]int, all bool, l Link) error {
	ends := [2]string{"[0]", "[1]"} // as the caller has them
	switch both := l[0].Sandbox == l[1].Sandbox; {
	case l[0].Sandbox == HostName && !both:
		l[0], l[1], ends[0], ends[1] = l[1], l[0], ends[1], ends[0]
	case l[0].Sandbox == HostName && !all:
		return fault.Invalidf("both ends are on the host")
	}
	var at [2]plan.End
	for i, e := range l {
		key := byName[e.Sandbox]
		if err := ValidName(e.Interface); err != nil {
			return where.In(ends[i], "", err)
		}
		w, name := byKey[key], ifaceName{key, e.Interface}
		j, there := places[name]
		at[i] = plan.End{Key: key, Name: e.Interface, Claimed: key != plan.HostNS || w != nil && (there || all)}
		if !at[i].Claimed {
			continue
		}
		if !there {
			j = len(w.Ifaces)
			w.Ifaces, places[name] = append(w.Ifaces, plan.Iface{Name: e.Interface}), j
		}
		f := &w.Ifaces[j]
		if f.Kind != "" && !plan.KindOf(f.Kind).Pair || f.From != nil || f.Peer != nil || f.MadeBy != nil {
			first := plan.End{Key: key, Name: e.Interface}
			if other := f.OtherEnd(); other != nil {
				first = *other
			}
			return where.In(ends[i], "", where.Beside(k.at(first.Key), first.Name, fault.Invalidf("%v is %s already", e, already(f, k))))
		}
		f.Keep, at[i].Master = false, f.Master
	}
	if l[0] == l[1] {
		return fault.Invalidf("both ends are the same")
	}
	// A pointer into Ifaces may be stale after the other end was appended.
	end := func(e plan.End) *plan.Iface { return &byKey[e.Key].Ifaces[places[ifaceName{e.Key, e.Name}]] }
	first := end(at[0])
	first.Peer = &at[1]
	var other *plan.Iface
	if at[1].Claimed {
		other = end(at[1])
		other.MadeBy = &at[0]
		if first.PeerMaster != nil {
			return fault.Invalidf("%v is among the interfaces of %s: its master is said there", l[1], l[1].Sandbox)
		}
	}
	if err := alike(first, other); err != nil {
		return err
	}
	plan.Pair(first, other)
	return nil
}

// alike gives both ends of a pair the type of the one that says it, and what of the
// other end is said where that is: the kernel takes all by the first.
func alike(first, other *plan.Iface) error {
	if other == nil {
		first.Kind = cmp.Or(first.Kind, "veth")
		return nil
	}
	a, b := &first.Data, &other.Data
	if first.Kind != "" && other.Kind != "" && first.Kind != other.Kind {
		return fault.Invalidf("one end is a %s, and the other a %s", first.Kind, other.Kind)
	}
	kind := cmp.Or(first.Kind, other.Kind, "veth")
	switch {
	case first.Kind == "" && kind == "netkit":
		*a = rtnl.LinkData{Mode: b.Mode, Policy: b.PeerPolicy, PeerPolicy: b.Policy}
	case other.Kind != "" && a.Mode != b.Mode:
		return fault.Invalidf("one end has the mode %s, and the other %s", a.Mode, b.Mode)
	case b.Policy != "" && a.PeerPolicy != "" && b.Policy != a.PeerPolicy, b.PeerPolicy != "" && a.Policy != "" && b.PeerPolicy != a.Policy:
		return fault.Invalidf("what one end says of the policies is not what the other says")
	default:
		a.Policy, a.PeerPolicy = cmp.Or(a.Policy, b.PeerPolicy), cmp.Or(a.PeerPolicy, b.Policy)
	}
	b.Mode, b.Policy, b.PeerPolicy = a.Mode, "", ""
	first.Kind, other.Kind = kind, kind
	return nil
}

// fits refuses what an end whose type comes from the link can not have.
func fits(f *plan.Iface) error {
	if text := badMTU(f, f.MTU); text != "" {
		return where.In("mtu", "", fault.Invalidf("%s", text))
	}
	if no := plan.KindOf(f.Kind).NoMAC; f.MAC != nil && no != nil && no(&f.Data) != "" {
		return where.In("mac", "", fault.Invalidf("%s", no(&f.Data)))
	}
	return nil
}

// already says what an interface is that can be no end of a link.
func already(f *plan.Iface, k Keys) string {
	switch other := f.OtherEnd(); {
	case other != nil:
		if other.Key == plan.HostNS {
			return "the end of a link to " + HostName + "/" + other.Name
		}
		return "the end of a link to " + k.Name(other.Key) + "/" + other.Name
	case f.From != nil:
		return "a link of the host, " + f.From.Link.Name
	}
	return plan.A(f.Kind)
}
