package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// Problem is a wish that can not be fulfilled, found before anything was done.
type Problem struct {
	Key, Dev string
	Kind     ProblemKind
	Text     string
	Far      string // the link of the host that is in the way
	Away     *Op    // what takes away what is in the way, nil where that is not known
	// Field is what it is about, as files call it, Entry which one of a list, and Within the field
	// of that.
	Field, Entry, Within string
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
	Unsupported
)

func (p *Problem) Error() string { return p.Text }

// Build plans all that brings sandboxes from the states in have to what is
// wanted. A sandbox without a state is made.
// The commit is what ties its parts together.
func Build(want []Sandbox, have map[string]*State) ([]Op, Commit, error) {
	b := builder{have: have, known: map[string]*known{}, is: map[end]found{}, called: map[place]string{}, farEnds: map[pair]bool{},
		index: map[end]int{}, forgot: map[end]bool{}, dark: map[end]bool{}, reset: map[end]bool{}, set: map[end]bool{}, resized: map[place]int{}, sizing: map[end]bool{}, repvid: map[int]bool{}, entries: map[end]bool{}, unbound: map[place]bool{}, onMachine: map[string]*Iface{}, waits: map[end]bool{}, full: map[string]*known{}, tunnels: map[end][]rtnl.Neigh{}, cut: map[pair]bool{}, leavings: map[string]leaving{},
		phases: phases{born: time.Now().UnixMicro()}}
	b.know(want)
	if err := b.resolve(want); err != nil {
		return nil, Commit{}, err
	}
	if err := b.carried(want); err != nil {
		return nil, Commit{}, err
	}
	if err := b.alone(want); err != nil {
		return nil, Commit{}, err
	}
	for i := range want {
		b.number(&want[i])
	}
	want = b.unsaid(want)
	if err := b.asides(want); err != nil {
		return nil, Commit{}, err
	}
	for i := range want {
		if full := b.full[want[i].Key]; full != nil {
			b.vacate(want[i].Key, full)
			b.yield(&want[i], full)
		}
	}
	b.lead(want)
	for _, w := range b.onHost(want) {
		if w.Ends {
			b.ends = append(b.ends, Op{NS: w.Key, Do: EndNS{}, Last: true})
			continue
		}
		if err := b.sandbox(w); err != nil {
			return nil, Commit{}, err
		}
		if err := b.masquerade(w, b.known[w.Key], want); err != nil {
			return nil, Commit{}, err
		}
	}
	if err := b.allNexthops(want); err != nil {
		return nil, Commit{}, err
	}
	for i := range want {
		b.openWays(&want[i])
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
	b.make = stack(b.make)
	b.newNames()
	return asNamed(b.all()), b.commit, nil
}

// lead chooses the sandbox that leads a change of several: the one whose lock is taken
// first. Locks are taken in the order of keys, and who puts a leader back
// takes those of the others after its own.
func (b *builder) lead(want []Sandbox) {
	var boxes []*Sandbox
	for i := range want {
		if want[i].Key != HostNS {
			boxes = append(boxes, &want[i])
		}
	}
	if len(boxes) == 0 || len(boxes) == 1 && b.have[boxes[0].Key] != nil {
		return
	}
	first := slices.MinFunc(boxes, func(x, y *Sandbox) int { return cmp.Compare(orElse(x.Lock, x.Key), orElse(y.Lock, y.Key)) })
	b.commit = NewCommit(first.Key)
}

// end names an interface of a sandbox.
type end struct{ key, name string }

type builder struct {
	phases
	have    map[string]*State
	known   map[string]*known
	full    map[string]*known       // of sandboxes that links leave, with these
	away    map[string]map[int]bool // those links
	tunnels map[end][]rtnl.Neigh    // wanted forwarding entries of vxlans, where links move
	is      map[end]found
	// onMachine are the wanted interfaces of the host, by their names.
	onMachine map[string]*Iface
	called    map[place]string // what links that stay are to be called
	farEnds   map[pair]bool    // whose one end goes, and the other with it
	index     map[end]int
	forgot    map[end]bool     // links whose neighbours the kernel drops on the way
	dark      map[end]bool     // links whose IPv6 goes off: to undo that puts back what they had
	reset     map[end]bool     // settings, by their paths, that another setting changes
	set       map[end]bool     // settings that are planned, by their paths
	entries   map[end]bool     // links that are to have forwarding entries of their bridge
	resized   map[place]int    // links whose MTU changes: IPv6 routes that had the same follow it
	cut       map[pair]bool    // that are deleted, by an end that was seen before
	waits     map[end]bool     // links that are made when the IPv6 of others is on, or their parent is no port any more
	unbound   map[place]bool   // wireguard links that leave their port to another one
	machine   *Sandbox         // the host as it is wanted, one without a key where nothing is
	claims    map[string][]end // hardware addresses, and which interfaces get them that do not have them
	joined    joined
	sizing    map[end]bool // those whose MTU is being looked for
	repvid    map[int]bool // bridges whose default PVID changes, and with it the VLANs of ports
	leaving
	leavings map[string]leaving // of each sandbox
	shakes   bool               // a step may take the carrier of a link
	commit   Commit             // empty where one sandbox changes that is there
}

// know looks at the states once. A sandbox that is to be made has its lo.
func (b *builder) know(want []Sandbox) {
	b.away = Leavers(want)
	for key, s := range b.have {
		b.known[key] = know(s)
		if away := b.away[key]; away != nil {
			b.full[key], b.known[key] = b.known[key], know(b.known[key].without(away))
		}
	}
	for i := range want {
		for j := range want[i].Neighs {
			n := &want[i].Neighs[j]
			if at := (end{want[i].Key, n.Dev}); n.OfBridge {
				b.entries[at] = true
			} else if n.FDB && len(b.away) > 0 {
				b.tunnels[at] = append(b.tunnels[at], n.Neigh)
			}
		}
		if b.known[want[i].Key] == nil {
			b.known[want[i].Key] = know(&State{
				Links: []rtnl.Link{{Index: loopback, Name: "lo", Flags: linux.IFF_UP | linux.IFF_LOOPBACK, Inet: rtnl.Inet{DisableIPv6: true}}},
				Addrs: []rtnl.Addr{{Index: loopback, Prefix: LoopbackIPv4}}})
		}
	}
}

// number gives every wanted interface its index, an existing one's own, before
// anything refers to it, and notes what goes.
func (b *builder) number(w *Sandbox) {
	k := b.known[w.Key]
	b.index[end{w.Key, "lo"}] = loopback
	for i := range k.Links {
		b.index[end{w.Key, k.Links[i].Name}] = k.Links[i].Index
	}
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		at := end{w.Key, f.Name}
		if l := b.is[at].link; l != nil {
			b.index[at] = l.Index
			b.called[place{w.Key, l.Index}] = f.Name
		} else if f.Name != "lo" {
			b.index[at] = newIndex()
		}
	}
	for i := range k.Links {
		l := &k.Links[i]
		_, stays := b.called[place{w.Key, l.Index}]
		if !stays && l.ParentNS && KindOf(l.Kind).Pair && (w.Ends || w.Prune && k.tags[l.Index].Origin == Made) {
			b.farEnds[b.pairOf(w.Key, l)] = true
		}
	}
}

func (b *builder) sandbox(w *Sandbox) error {
	k := b.known[w.Key]
	if b.have[w.Key] == nil {
		tag := SandboxTag{Network: w.Network, OnHost: w.OnHost, Labels: w.Labels, Sysctls: settingMarks(w.Sysctls)}
		marked := tag
		marked.UnderWay, marked.Commit = true, b.commit.For(w.Key)
		marked = marked.Fitting()
		b.spaces = append(b.spaces, Op{NS: w.Key, Do: MakeNS{marked}})
		unmark := retag(w.Key, "lo", loopback, tag.String())
		unmark.Undo = []Op{retag(w.Key, "lo", loopback, marked.String())}
		b.final = append(b.final, unmark)
	}
	b.leaving = b.leave(w, k)
	b.labels(w, k)
	if err := b.conflicts(w, k); err != nil {
		return err
	}
	if err := b.ownGateway(w, k.State); err != nil {
		return err
	}
	b.shedding(w, k)
	before := b.count()
	b.settings(w, k.State)
	ipv6 := false
	ifaces, err := inOrder(w.Key, w.Ifaces)
	if err != nil {
		return err
	}
	for _, f := range ifaces {
		ipv6 = ipv6 || f.HasIPv6()
		if err := b.iface(w, f, k); err != nil {
			return err
		}
	}
	b.loopback(w, k, ipv6)
	b.reports(w, k)
	b.keepSizes(w, k)
	if err := b.routes(w, k); err != nil {
		return err
	}
	b.rules(w, k)
	if err := b.neighbours(w, k); err != nil {
		return err
	}
	if w.Prune {
		b.prune(w, k)
	}
	b.config = append(b.config, b.late...)
	b.leavings[w.Key] = b.leaving
	b.holdSizes(w, k, b.count() > before)
	if b.count() > before {
		b.holds(w, k.State)
	}
	return nil
}

// labels plans the labels and the network of a sandbox of osl's that stands, and
// lo's being up.
func (b *builder) labels(w *Sandbox, k *known) {
	lo := k.ByIndex(loopback)
	if lo == nil || !w.Prune || b.have[w.Key] == nil {
		return
	}
	t, made := ParseSandboxTag(lo.Alias)
	network, onHost := orElse(w.Network, t.Network), w.OnHost
	if w.Network == "" { // a part alone says nothing of the rest of its network
		onHost = t.OnHost
	}
	next, was := SandboxTag{Network: network, OnHost: onHost, Labels: w.Labels, Sysctls: settingMarks(w.Sysctls)}, t
	was.UnderWay, was.Commit = false, Commit{}
	if made && next.String() != was.String() {
		op := retag(w.Key, "lo", loopback, next.String())
		op.Quiet, op.Half = maps.Equal(t.Labels, w.Labels), true
		op.Undo = []Op{retag(w.Key, "lo", loopback, lo.Alias)}
		b.config = append(b.config, op)
	}
	if !made && w.Network != "" && NetworkOf(lo) == "" {
		if names, ok := noteOf(w.Network).Names(); ok {
			b.config = append(b.config, Op{NS: w.Key, Dev: "lo", Do: NewAltName{loopback, names}, Quiet: true, Half: true,
				Undo: []Op{{NS: w.Key, Dev: "lo", Do: DelAltName{loopback, names}}}})
		}
	}
	if made && !lo.Up() {
		up, down := true, false
		b.config = append(b.config, Op{NS: w.Key, Dev: "lo", Half: true, Do: SetLink{Link: rtnl.LinkSet{Index: loopback, Up: &up}},
			Undo: []Op{{NS: w.Key, Dev: "lo", Do: SetLink{Link: rtnl.LinkSet{Index: loopback, Up: &down}}}}})
	}
}

// meant is the hint that an interface which no link makes may be the end of one whose name was
// written otherwise.
func (w *Sandbox) meant(f *Iface) string {
	for i := range w.Ifaces {
		o := &w.Ifaces[i]
		if o.OtherEnd() != nil && len(o.Addrs) == 0 && o.Master == "" && near.Name(f.Name, []string{o.Name}) != "" {
			return fmt.Sprintf("; a link has the end %q here: did you mean that?", o.Name)
		}
	}
	return ""
}

func (b *builder) iface(w *Sandbox, f *Iface, k *known) error {
	x := b.is[end{w.Key, f.Name}]
	master, err := b.masterOf(w, f, k)
	if err != nil {
		return err
	}
	field, parent := "master", 0
	problem := func(kind ProblemKind, format string, args ...any) error {
		return &Problem{Key: w.Key, Dev: f.device(), Kind: kind, Text: fmt.Sprintf(format, args...), Field: field}
	}
	if b.starves(w, f, k, x.link, master) {
		return problem(Invalid, "a port with an MTU below %d would take the IPv6 of its bridge", MinIPv6)
	}
	if f.Parent != "" {
		field = "parent"
		if parent = b.index[end{w.Key, f.Parent}]; parent == 0 {
			others := slices.DeleteFunc(k.named(w), func(name string) bool { return name == f.Name })
			hint := near.Hint(f.Parent, others)
			if hint == "" && !KindOf(f.Kind).Here {
				hint = fmt.Sprintf("; one of the host is written host/%s", f.Parent)
			}
			return problem(NotFound, "its parent %q is not in the sandbox%s", f.Parent, hint)
		}
	}
	if l := x.link; l != nil && KindOf(f.Kind).ends && f.Parent == "" && f.HostParent == nil && !l.ParentNS && b.gone[l.Parent] {
		field = "parent"
		return problem(Invalid, "it is on %q, which goes and takes it along: say which parent it is to have, or take it away before", k.nameOf(l.Parent))
	}
	field = "name"
	switch {
	case x.link == nil && f.Kind == "" && f.From == nil:
		return problem(NotFound, "there is no such link, and neither type, source nor a link says where it comes from%s", w.meant(f))
	case x.link == nil && f.From != nil && f.From.Link.Index == 0:
		return problem(NotFound, "its source %q is in the middle of another change; osl recover puts that right", f.From.Link.Name)
	}
	field = "mtu"
	l := x.link
	if l == nil && f.From != nil {
		l = &f.From.Link
	}
	switch {
	case l == nil || f.MTU == 0:
	case l.MaxMTU != 0 && f.MTU > l.MaxMTU:
		return problem(Invalid, "the MTU %d is over the limit of %q, %d", f.MTU, l.Name, l.MaxMTU)
	case f.MTU < l.MinMTU:
		return problem(Invalid, "the MTU %d is below %d, the lowest of %q", f.MTU, l.MinMTU, l.Name)
	}
	if text := f.tooSmall(x.link); text != "" {
		return problem(Invalid, "%s", text)
	}
	if text := b.overParent(w, f, k); text != "" {
		return problem(Invalid, "%s", text)
	}
	if below := b.wanted[parent]; below != nil && below.Down && !f.Down && KindOf(f.Kind).follows {
		field = "down"
		return problem(Invalid, "its parent %q is to be down, and %s is up only where that is", f.Parent, A(f.Kind))
	}
	if x.link == nil {
		at := end{w.Key, f.Name}
		made := func() error {
			b.newLink(w.Key, b.withMAC(w, b.arpAsNew(w, b.sizedAsNew(w, f))), b.index[at], parent, master)
			b.otherEnd(f)
			return b.bridging(w, f, nil, master, true)
		}
		if b.waits[at] = b.needsIPv6(w, f) || b.leavesPort(w, f); b.waits[at] {
			return b.afterIPv6(made)
		}
		return made()
	}
	if err := b.optionsKnown(w, f, x.link); err != nil {
		return err
	}
	if x.taken {
		x.tag = b.takeOver(w, f, x.link)
	}
	b.change(w, f, k, x.link, x.tag, master)
	if err := b.offloads(w, f, k, x.link, &x.tag); err != nil {
		return err
	}
	b.wireguard(w, f, k, x.link)
	if err := b.impair(w, f, k, x.link); err != nil {
		return err
	}
	b.changeHostEnd(w, f)
	return b.bridging(w, f, x.link, master, x.link.Master != master)
}

// named returns the names of the links that are there or wanted.
func (s *State) named(w *Sandbox) (list []string) {
	for i := range s.Links {
		list = append(list, s.Links[i].Name)
	}
	for i := range w.Ifaces {
		list = append(list, w.Ifaces[i].Name)
	}
	return list
}

// masters returns the names of those that can have ports.
func (s *State) masters(w *Sandbox) (list []string) {
	for i := range s.Links {
		if l := &s.Links[i]; KindOf(l.Kind).Ports {
			list = append(list, l.Name)
		}
	}
	for i := range w.Ifaces {
		if f := &w.Ifaces[i]; KindOf(f.Kind).Ports {
			list = append(list, f.Name)
		}
	}
	return list
}
