//go:build linux

package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/seed59451c2b/osl/internal/rtnl"
	"golang.org/x/sys/unix"
)

// Problem is a wish that can not be fulfilled, found before anything was done.
type Problem struct {
	Key, Dev string
	Kind     ProblemKind
	Text     string
}

// ProblemKind tells the caller which sentinel a Problem is.
type ProblemKind int

// The kinds of a Problem.
const (
	Invalid ProblemKind = iota
	NotFound
	Exists
	NameInUse
	Conflict
	Unreachable
	// HalfPair may pass: the kernel deletes the links of a namespace that is
	// gone a little later.
	HalfPair
)

func (p *Problem) Error() string { return p.Text }

// Build plans all that brings sandboxes from the states in have to what is
// wanted. A sandbox without a state is made.
// The commit is what ties its parts together.
func Build(want []Sandbox, have map[string]*State) ([]Op, Commit, error) {
	b := builder{have: have, index: map[end]int{}, forgot: map[end]bool{}, dark: map[end]bool{}, phases: phases{born: time.Now().UnixMicro()}}
	for i := range want {
		b.number(&want[i])
	}
	b.lead(want)
	for i := range want {
		if err := b.sandbox(&want[i]); err != nil {
			return nil, Commit{}, err
		}
	}
	for i := range b.final {
		b.final[i].Final = true
		b.final[i].Commit = b.final[i].NS == b.commit.Leader
		b.final[i].Alone = b.final[i].Commit
	}
	// The leader's mark is cleared first: that is the moment at which the change
	// has happened.
	leading := func(x, y Op) int { return b2i(y.NS == b.commit.Leader) - b2i(x.NS == b.commit.Leader) }
	slices.SortStableFunc(b.spaces, leading) // nobody names a leader that is not there
	slices.SortStableFunc(b.final, leading)
	return b.all(), b.commit, nil
}

// lead chooses the sandbox that leads a change of several: the one with the
// lowest key. Locks are taken in the order of keys, and who puts a leader back
// takes those of the others after its own.
func (b *builder) lead(want []Sandbox) {
	if len(want) == 0 || len(want) == 1 && b.have[want[0].Key] != nil {
		return
	}
	leader := want[0].Key
	for i := range want {
		leader = min(leader, want[i].Key)
	}
	b.commit = NewCommit(leader)
}

// end names an interface of a sandbox.
type end struct{ key, name string }

type builder struct {
	phases
	have   map[string]*State
	index  map[end]int
	forgot map[end]bool // links whose neighbours the kernel drops on the way
	dark   map[end]bool // links whose IPv6 goes off: to undo that puts back what they had
	leaving
	commit Commit // empty where one sandbox changes that is there
}

// number gives every wanted interface its index, an existing one's own, before
// anything refers to it.
func (b *builder) number(w *Sandbox) {
	s := b.have[w.Key]
	if s == nil {
		s = &State{}
	}
	b.index[end{w.Key, "lo"}] = 1
	for i := range s.Links {
		b.index[end{w.Key, s.Links[i].Name}] = s.Links[i].Index
	}
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		if l, _ := match(s, f); l != nil {
			b.index[end{w.Key, f.Name}] = l.Index
		} else if f.Name != "lo" {
			b.index[end{w.Key, f.Name}] = newIndex()
		}
	}
}

// match finds the link that a wanted interface is: by the name that osl knows
// it by, since someone may have renamed it, else by its name.
func match(s *State, f *Iface) (*rtnl.Link, Tag) {
	if f.Fresh {
		return nil, Tag{}
	}
	source := orElse(f.Source, f.Name)
	if f.From != nil {
		source = f.From.Link.Name
	}
	for i := range s.Links {
		if t, ok := ParseTag(s.Links[i].Alias); ok && t.Source == source && t.Origin != Kept {
			return &s.Links[i], t
		}
	}
	name := f.Name
	if f.Keep {
		name = source
	}
	if l := s.Link(name); l != nil {
		t, _ := ParseTag(l.Alias)
		return l, t
	}
	return nil, Tag{}
}

func (b *builder) sandbox(w *Sandbox) error {
	s := b.have[w.Key]
	fresh := s == nil
	if fresh {
		s = &State{Links: []rtnl.Link{{Index: 1, Name: "lo", Flags: unix.IFF_UP, Inet: rtnl.Inet{DisableIPv6: true}}}}
		marked := SandboxTag{UnderWay: true, Commit: b.commit.For(w.Key), Labels: w.Labels}.Fitting()
		b.spaces = append(b.spaces, Op{NS: w.Key, Do: MakeNS{marked}})
		unmark := retag(w.Key, "lo", 1, SandboxTag{Labels: w.Labels}.String())
		unmark.Undo = []Op{retag(w.Key, "lo", 1, marked.String())}
		b.final = append(b.final, unmark)
	}
	b.leaving = leave(w, s, b.index)
	b.labels(w, s)
	if err := b.conflicts(w, s); err != nil {
		return err
	}
	if err := b.ownGateway(w, s); err != nil {
		return err
	}
	for i := range w.Sysctls {
		b.setting(w.Key, "", 0, w.Sysctls[i], s)
	}
	ipv6 := false
	for _, f := range inOrder(w.Ifaces) {
		ipv6 = ipv6 || f.HasIPv6()
		l, tag := match(s, f)
		if err := b.iface(w, f, s, l, tag); err != nil {
			return err
		}
	}
	b.loopback(w, s, ipv6)
	if err := b.routes(w, s); err != nil {
		return err
	}
	if err := b.neighbours(w, s); err != nil {
		return err
	}
	if w.Prune {
		b.prune(w, s)
	}
	b.config = append(b.config, b.late...)
	return nil
}

// labels plans the labels of a sandbox of osl's that stands, and lo's being up.
func (b *builder) labels(w *Sandbox, s *State) {
	lo := s.ByIndex(1)
	if lo == nil || !w.Prune {
		return
	}
	t, made := ParseSandboxTag(lo.Alias)
	if made && !maps.Equal(t.Labels, w.Labels) {
		op := retag(w.Key, "lo", 1, SandboxTag{Labels: w.Labels}.String())
		op.Quiet, op.Half = false, true
		op.Undo = []Op{retag(w.Key, "lo", 1, lo.Alias)}
		b.config = append(b.config, op)
	}
	if made && !lo.Up() && !slices.ContainsFunc(w.Ifaces, func(f Iface) bool { return f.Name == "lo" }) {
		up, down := true, false
		b.config = append(b.config, Op{NS: w.Key, Dev: "lo", Half: true, Do: SetLink{Link: rtnl.LinkSet{Index: 1, Up: &up}},
			Undo: []Op{{NS: w.Key, Dev: "lo", Do: SetLink{Link: rtnl.LinkSet{Index: 1, Up: &down}}}}})
	}
}

// inOrder puts links that others refer to first: bridges, then those without a
// parent inside, then the rest.
func inOrder(list []Iface) []*Iface {
	rank := func(f *Iface) int {
		switch {
		case f.Kind == "bridge":
			return 0
		case f.Parent == "":
			return 1
		}
		return 2
	}
	sorted := make([]*Iface, len(list))
	for i := range list {
		sorted[i] = &list[i]
	}
	slices.SortStableFunc(sorted, func(a, b *Iface) int { return rank(a) - rank(b) })
	return sorted
}

func (b *builder) iface(w *Sandbox, f *Iface, s *State, l *rtnl.Link, tag Tag) error {
	problem := func(kind ProblemKind, format string, args ...any) error {
		return &Problem{Key: w.Key, Dev: f.device(), Kind: kind, Text: fmt.Sprintf(format, args...)}
	}
	master, parent := f.MasterIndex, 0
	if f.Master != "" {
		m := s.Link(f.Master)
		i := slices.IndexFunc(w.Ifaces, func(o Iface) bool { return o.Name == f.Master })
		switch {
		case m == nil && i < 0:
			return problem(NotFound, "its master %q is not in the sandbox", f.Master)
		case m != nil && m.Kind != "bridge" || m == nil && w.Ifaces[i].Kind != "bridge" && w.Ifaces[i].From == nil:
			return problem(Invalid, "its master %q is no bridge", f.Master)
		}
		master = b.index[end{w.Key, f.Master}]
	}
	if b.starves(w, f, s, l, master) {
		return problem(Invalid, "a port with an MTU below %d would take the IPv6 of its bridge", minIPv6)
	}
	if f.Parent != "" {
		if parent = b.index[end{w.Key, f.Parent}]; parent == 0 {
			return problem(NotFound, "its parent %q is not in the sandbox", f.Parent)
		}
	}
	if l != nil && f.Name != l.Name && s.Link(f.Name) != nil && s.Link(f.Name) != l {
		return problem(NameInUse, "another link has this name")
	}
	if half, other := b.halfPair(f, l != nil); half {
		return problem(HalfPair, "one end of the link to %s/%s is there without the other; remove what is left: osl link rm", other.Key, other.Name)
	}
	switch {
	case l == nil && f.Kind == "" && f.From == nil:
		return problem(NotFound, "there is no such link, and neither type, source nor a link says where it comes from")
	case l == nil && f.From != nil && f.From.Link.Index == 0:
		return problem(NotFound, "its source %q is in the middle of another change; osl recover puts that right", f.From.Link.Name)
	case l == nil:
		b.newLink(w.Key, f, b.index[end{w.Key, f.Name}], parent, master)
		b.otherEnd(f)
		return nil
	case f.From != nil && tag.Origin != Host, f.Kind != "" && tag.Origin != Made:
		return problem(NameInUse, "a link that osl did not make has this name")
	case f.Kind != "" && l.Kind != f.Kind && !(l.Kind == "tun" && f.Kind == "tap"):
		return problem(Exists, "it is there, of the type %s; remove it first: osl link rm", orElse(l.Kind, "physical"))
	case f.Kind == "vxlan" && f.Data.VNI != l.Data.VNI:
		return problem(Exists, "it is there with the VNI %d; remove it first: osl link rm", l.Data.VNI)
	case f.Kind == "vxlan" && (f.Data.Remote.IsValid() && f.Data.Remote != l.Data.Remote ||
		f.Data.Local.IsValid() && f.Data.Local != l.Data.Local || f.Data.Port != 0 && f.Data.Port != l.Data.Port):
		return problem(Exists, "it is there with another local address, remote or port; remove it first: osl link rm")
	case f.Kind == "macvlan" && orElse(f.Data.Mode, "bridge") != orElse(l.Data.Mode, "bridge"):
		return problem(Exists, "it is there in the mode %s; remove it first: osl link rm", l.Data.Mode)
	case f.Kind == "vlan" && f.Data.VLAN != l.Data.VLAN:
		return problem(Exists, "it is there with the tag %d; remove it first: osl link rm", l.Data.VLAN)
	}
	b.change(w, f, s, l, tag, master)
	return nil
}

// halfPair reports whether one end of a veth exists without the other.
func (b *builder) halfPair(f *Iface, exists bool) (bool, *End) {
	other := f.Peer
	if f.MadeBy != nil {
		other = f.MadeBy
	}
	if other == nil || other.Key == HostNS {
		return false, nil
	}
	s := b.have[other.Key]
	if s == nil {
		return exists, other
	}
	l, _ := match(s, &Iface{Name: other.Name})
	return (l != nil) != exists, other
}

// otherEnd gives the peer of a new veth its index, and its configuration where
// no sandbox does.
func (b *builder) otherEnd(f *Iface) {
	if f.Peer == nil {
		return
	}
	n := b.make[len(b.make)-1].Do.(NewLink)
	at := end{f.Peer.Key, f.Peer.Name}
	if !f.Peer.Claimed {
		b.index[at] = newIndex()
		b.hostEnd(f.Peer.Name, b.index[at], f.PeerMaster)
	}
	n.Link.Peer.Index = b.index[at]
}

// conflicts refuses an address whose subnet is on another interface already.
func (b *builder) conflicts(w *Sandbox, s *State) error {
	on := map[netip.Prefix]int{}
	for _, a := range s.Addrs {
		on[a.Prefix.Masked()] = a.Index
	}
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		index := b.index[end{w.Key, f.Name}]
		for _, a := range f.Addrs {
			if !a.MayConflict() {
				continue
			}
			net := a.Prefix.Masked()
			if other, ok := on[net]; ok && other != index {
				return &Problem{Key: w.Key, Dev: f.device(), Kind: Conflict,
					Text: fmt.Sprintf("the subnet %v of the address %v is on another interface already", net, a.Prefix)}
			}
			on[net] = index
		}
	}
	return nil
}

// loopback turns lo's IPv6 on while an interface has an IPv6 address.
func (b *builder) loopback(w *Sandbox, s *State, ipv6 bool) {
	lo := s.ByIndex(1)
	if lo == nil || slices.ContainsFunc(w.Ifaces, func(f Iface) bool { return f.Name == "lo" }) {
		return // it was planned with the others
	}
	_, made := ParseSandboxTag(lo.Alias)
	off := !ipv6 && made && w.Prune
	if ipv6 && lo.Inet.DisableIPv6 || off && !lo.Inet.DisableIPv6 {
		b.ipv6(w.Key, "lo", lo, ipv6, s)
	}
}

func (b *builder) ipv6(key, dev string, l *rtnl.Link, on bool, s *State) {
	b.read = append(b.read, Op{NS: key, Dev: dev, Do: ReadLink{l.Index}, Quiet: true})
	undo := []Op{{NS: key, Dev: dev, Do: IPv6{Index: l.Index, On: !on}}}
	if !on {
		undo = append(undo, addrsOf(key, l, s)...)
		b.dark[end{key, l.Name}] = true
	}
	b.decide = append(b.decide, Op{NS: key, Dev: dev, Do: IPv6{l.Index, on, l.Inet}, Undo: undo})
}

func (b *builder) setting(key, dev string, index int, w Setting, s *State) {
	path := w.Path
	if dev != "" {
		path = fmt.Sprintf(path, dev)
	}
	old, known := s.Settings[path]
	if known && old == w.Value {
		return
	}
	op := Op{NS: key, Dev: dev, Do: Sysctl{Path: w.Path, Value: w.Value, Index: index}}
	if known {
		op.Undo = []Op{{NS: key, Dev: dev, Do: Sysctl{Path: w.Path, Value: old, Index: index}}}
	}
	b.decide = append(b.decide, op)
}
