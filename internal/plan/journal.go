package plan

import (
	"maps"
	"slices"
	"strconv"
)

// ReadSetting reads what a setting is now: its path, with %s for the name of the
// link index of a namespace; ok is false where there is no such setting.
type ReadSetting func(ns, path string, index int) (value string, ok bool)

// journal collects what a change has to note before it begins.
type journal struct {
	made   map[string]bool // namespaces that the change makes: they end with it
	links  map[place]bool  // links that it makes: what is on them ends with them
	ends   map[string]bool // namespaces that end with it
	steps  map[Role]map[string][]Step
	read   ReadSetting
	onHost bool // it makes links there
}

// place is a link of a namespace.
type place struct {
	ns    string
	index int
}

// Journal returns ops with the steps around them that let the change be taken
// back, or finished, by whoever finds it interrupted: records before the first
// step, the leader's undo record taken away in the moment when all is done that
// can be taken back, the others after it. A change that is one step, or that
// makes one sandbox and nothing else, needs none and is returned as it is. One of
// several steps in a single send does: the kernel may refuse a part of it and do
// the others.
//
// c is the commit of a change that makes sandboxes, or is of several; that of one
// sandbox that is there has none.
func Journal(ops []Op, c Commit, read ReadSetting) []Op {
	j := journal{made: map[string]bool{}, links: map[place]bool{}, ends: map[string]bool{}, read: read,
		steps: map[Role]map[string][]Step{Undo: {}, Redo: {}}}
	if j.survey(ops) <= 1 {
		return ops
	}
	for _, op := range slices.Backward(ops) {
		j.note(op)
	}
	for _, steps := range j.steps[Undo] {
		inTurn(steps)
	}
	leader := c.Leader
	if c.ID == "" {
		leader = lowest(ops)
		c = NewCommit(leader)
	}
	// What is too much for a record: docs/reliability.md says what then.
	everything := func(Step) bool { return true }
	nothing := func(Step) bool { return false }
	for _, part := range []func(Step) bool{everything, Step.moves, nothing} {
		j.keep(part)
		if len(j.parts(leader)) == 0 && len(j.steps[Undo]) == 0 && len(j.steps[Redo]) == 0 {
			return ops
		}
		if records, ok := j.records(c.ID, leader); ok {
			return j.weave(ops, leader, records)
		}
	}
	return ops
}

// keep forgets the steps that are not of a kind.
func (j *journal) keep(kind func(Step) bool) {
	for _, of := range j.steps {
		for ns, steps := range of {
			steps = slices.DeleteFunc(steps, func(s Step) bool { return !kind(s) })
			if of[ns] = steps; len(steps) == 0 {
				delete(of, ns)
			}
		}
	}
}

// survey finds what the change makes, and how many of its steps change anything.
func (j *journal) survey(ops []Op) (changing int) {
	for _, op := range ops {
		switch a := op.Do.(type) {
		case ReadLink, Verify, Announce:
			continue
		case MakeNS:
			j.made[op.NS] = true
		case NewLink:
			ns := op.NS
			if a.In != nil {
				ns = *a.In
			}
			j.onHost = j.onHost || ns == HostNS
			j.links[place{ns, a.Link.Index}] = true
			if p := a.Link.Peer; p != nil {
				if a.PeerNS != nil {
					ns = *a.PeerNS
				}
				j.links[place{ns, p.Index}] = true
			}
		case NewTun:
			j.links[place{op.NS, a.Index}] = true
		case SetLink:
			if a.To != nil && *a.To != HostNS {
				j.links[place{*a.To, a.Link.NewIndex}] = true
			}
		}
		changing++
		if a, is := op.Do.(SetWireGuard); is && a.Set.Messages() > 1 {
			changing++ // the kernel may do a part of them
		}
	}
	return changing
}

// note collects what one step calls for.
func (j *journal) note(op Op) {
	if op.Last {
		switch a := op.Do.(type) {
		case EndNS:
			j.ends[op.NS] = true
			j.add(Redo, op.NS, Step{End: true})
		case SetLink:
			j.add(Redo, op.NS, Step{Home: a.Link.Index})
		case SetWireGuard:
			j.add(Redo, op.NS, Step{WireGuard: &a.Set})
		case Message:
			j.add(Redo, op.NS, stepOf(a))
		}
		return
	}
	undo := op.Undo
	switch a := op.Do.(type) {
	case NewLink:
		// One end of a link in two sandboxes takes the other along, but who opens
		// the other first must know.
		if a.PeerNS != nil && *a.PeerNS != HostNS {
			j.add(Undo, *a.PeerNS, stepOf(DelLink{a.Link.Peer.Index}))
		}
	case IPv6:
		if len(undo) == 0 || j.made[op.NS] {
			return // of a new link
		}
		for _, s := range ipv6Settings(a) {
			j.add(Undo, op.NS, s)
		}
		undo = undo[1:]
	case Sysctl:
		if len(undo) == 0 && !j.links[place{op.NS, a.Index}] {
			j.setting(op.NS, a.Path, a.Index)
		}
	}
	for _, u := range undo {
		if at, ok := on(u.Do); ok && op.NS == u.NS && j.links[place{u.NS, at}] && !isNew(op.Do) {
			continue
		}
		switch a := u.Do.(type) {
		case SetLink:
			if a.To == nil {
				j.add(Undo, u.NS, stepOf(a))
			} else if *a.To != HostNS && u.NS != HostNS {
				m := Move{Key: u.NS, Here: a.Link.NewIndex, There: a.Link.Index, Back: true}
				j.add(Undo, *a.To, Step{Move: &m})
				j.add(Undo, u.NS, Step{Move: &Move{Key: *a.To, Here: m.There, There: m.Here}})
			} else if in, ok := op.Do.(SetLink); ok && in.Link.Alias != nil {
				j.add(Undo, u.NS, Step{Home: a.Link.Index, Value: *in.Link.Alias})
			}
		case ChangeLink:
			if a.Far && j.onHost && u.NS != HostNS && !j.made[u.NS] { // before what is made there goes, which takes it along
				step := stepOf(a)
				step.In = u.NS
				j.add(Undo, HostNS, step)
				j.add(Undo, u.NS, Step{Far: a.Index})
			} else {
				j.add(Undo, u.NS, stepOf(a))
			}
		case Message:
			j.add(Undo, u.NS, stepOf(a))
		case Sysctl:
			j.add(Undo, u.NS, Step{Path: a.Path, Value: a.Value, Index: a.Index})
		case Offloads:
			j.add(Undo, u.NS, Step{Offloads: a.Set, Index: a.Index})
		case SetWireGuard:
			j.add(Undo, u.NS, Step{WireGuard: &a.Set})
		case Masquerade:
			j.add(Undo, u.NS, Step{Table: a.Table, Masq: a.Set})
		}
	}
}

func isNew(a Action) bool {
	switch a.(type) {
	case NewLink, NewTun:
		return true
	}
	return false
}

// on returns the link that an action is about.
func on(a Action) (index int, ok bool) {
	switch a := a.(type) {
	case SetLink:
		return a.Link.Index, true
	case DelLink:
		return a.Index, true
	case NewAddr:
		return a.Addr.Index, true
	case DelAddr:
		return a.Addr.Index, true
	case ReplaceAddr:
		return a.Addr.Index, true
	case ChangeLink:
		return a.Index, true
	case NewRoute:
		return a.Route.Index, true
	case ReplaceRoute:
		return a.Route.Index, true
	case DelRoute:
		return a.Route.Index, true
	case NewNeigh:
		return a.Neigh.Index, true
	case DelNeigh:
		return a.Neigh.Index, true
	case Sysctl:
		return a.Index, true
	case Offloads:
		return a.Index, true
	case SetWireGuard:
		return a.Set.Index, true
	case NewQdisc:
		return a.Qdisc.Index, true
	case ChangeQdisc:
		return a.Qdisc.Index, true
	case ReplaceQdisc:
		return a.Qdisc.Index, true
	case DelQdisc:
		return a.Qdisc.Index, true
	case NewAltName:
		return a.Index, true
	case DelAltName:
		return a.Index, true
	case SetBridge:
		return a.Index, true
	case SetPort:
		return a.Index, true
	case SetVLANs:
		return a.Index, true
	case DelVLANs:
		return a.Index, true
	}
	return 0, false
}

// ipv6Settings are what turning a link's IPv6 on or off changes, as it was
// before, in the order in which it is put back.
func ipv6Settings(a IPv6) (list []Step) {
	was := a.Before
	if !was.HasIPv6State {
		return nil
	}
	add := func(name string, value int) {
		list = append(list, Step{Path: "ipv6/conf/%s/" + name, Value: strconv.Itoa(value), Index: a.Index})
	}
	add("disable_ipv6", b2i(was.DisableIPv6))
	if a.On && was.AcceptDAD != 0 {
		add("accept_dad", int(was.AcceptDAD))
	}
	if a.On && !was.NDISCNotify {
		add("ndisc_notify", 0)
	}
	return list
}

func (j *journal) setting(ns, path string, index int) {
	if v, ok := j.read(ns, path, index); ok {
		j.add(Undo, ns, Step{Path: path, Value: v, Index: index})
	}
}

// add notes a step. What is in a namespace that ends with the change ends too,
// but for what came from the host.
func (j *journal) add(role Role, ns string, s Step) {
	if !j.made[ns] || s.Home != 0 || s.Move != nil {
		j.steps[role][ns] = append(j.steps[role][ns], s)
	}
}

func stepOf(m Message) Step {
	if d, ok := m.(DelLink); ok {
		return Step{Gone: d.Index}
	}
	r := m.Request(func(string) int { return -1 })
	return Step{Type: r.Type, Flags: r.Flags, Data: r.Data}
}

// lowest returns the namespace that leads a change without a commit.
func lowest(ops []Op) string {
	leader := HostNS
	for _, op := range ops {
		if op.NS != HostNS && (leader == HostNS || op.NS < leader) {
			leader = op.NS
		}
	}
	return leader
}

// written is a record with the names that hold it.
type written struct {
	ns    string
	role  Role
	names []string
}

// parts are the namespaces beside the leader that know of the change.
func (j *journal) parts(leader string) []string {
	parts := maps.Clone(j.made)
	for _, of := range j.steps {
		for ns := range of {
			parts[ns] = true
		}
	}
	delete(parts, leader)
	return slices.Sorted(maps.Keys(parts))
}

// records returns the records of the change, the leader's first. A leader that
// is there has one to take the change back, by which it leads; one that is made
// has its mark for that, and where links go back from it the record too. Where there are parts it also has one of what is left to
// do: without it a leader could end before them, and they not know any more that
// the change has happened.
func (j *journal) records(id, leader string) (list []written, ok bool) {
	parts := j.parts(leader)
	ok = true
	for _, ns := range append([]string{leader}, parts...) {
		for _, role := range []Role{Undo, Redo} {
			r := Record{Role: role, ID: id, Steps: j.steps[role][ns]}
			needed := len(r.Steps) > 0
			if ns == leader && role == Undo && j.outlasts(leader) {
				r.Steps = append(slices.Clip(r.Steps), Step{End: true})
			}
			if ns != leader {
				r.Leader = leader
			} else {
				r.Parts = parts
				needed = needed || role == Undo && !j.made[leader] || role == Redo && len(parts) > 0
			}
			if needed {
				names, fits := r.Names()
				if !fits && len(r.Parts) > 0 { // thousands
					r.Parts = nil
					names, fits = r.Names()
				}
				list, ok = append(list, written{ns, role, names}), ok && fits
			}
		}
	}
	return list, ok
}

// weave puts the records into the plan. The mark of a leader that is made by it
// goes when all is done: its undo record must be gone by then.
func (j *journal) weave(ops []Op, leader string, records []written) []Op {
	isNS := func(op Op) bool { _, is := op.Do.(MakeNS); return is }
	first := 1 + slices.IndexFunc(ops, func(op Op) bool { return isNS(op) && op.NS == leader })
	begin := len(ops) // when all namespaces are there
	for begin > first && !isNS(ops[begin-1]) {
		begin--
	}
	last := slices.IndexFunc(ops, func(op Op) bool { return op.Last })
	if last < 0 {
		last = len(ops)
	}
	commit := slices.IndexFunc(ops, func(op Op) bool { return op.Final })
	if commit < 0 {
		commit = last
	}
	var lead, write, done, over, forget, end []Op
	for _, r := range slices.Backward(records) {
		strike := Op{NS: r.ns, Dev: "lo", Do: DelAltName{1, r.names}, Quiet: true}
		note := Op{NS: r.ns, Dev: "lo", Do: NewAltName{1, r.names}, Undo: []Op{strike}, Quiet: true, Half: true, Alone: true}
		if r.ns == leader {
			lead = append([]Op{note}, lead...)
		} else {
			write = append([]Op{note}, write...)
		}
		switch {
		case j.ends[r.ns] && r.role == Redo:
			// It ends with the sandbox.
		case j.ends[r.ns] && r.ns != leader:
			over = append(over, strike)
		case r.ns == leader && r.role == Undo:
			strike.Alone, strike.Commit = true, !j.made[leader] || j.outlasts(leader)
			strike.Undo = []Op{{NS: r.ns, Dev: "lo", Do: NewAltName{1, r.names}, Quiet: true}}
			done = append(done, strike)
		case r.role == Undo:
			forget = append(forget, strike)
		default:
			strike.Alone = r.ns == leader // the last, if all else is tidied up
			end = append(end, strike)
		}
	}
	// While there are steps that may still lead back, the parts know of the change.
	final := commit
	for final < last && ops[final].Commit {
		final++
	}
	if j.outlasts(leader) { // its mark goes before it
		unmark := slices.Clone(ops[commit:final])
		for i := range unmark {
			unmark[i].Commit = false
		}
		ops = slices.Concat(ops[:commit], unmark, done, ops[final:])
		commit, final, last, done = final+len(done), final+len(done), last+len(done), nil
	}
	// A leader that ends is there until all others know that it has happened.
	lasts, ends := []Op{}, []Op{}
	for _, op := range ops[last:] {
		if _, is := op.Do.(EndNS); is && op.NS == leader {
			ends = append(ends, op)
		} else {
			lasts = append(lasts, op)
		}
	}
	return slices.Concat(ops[:first], lead, ops[first:begin], write, ops[begin:commit], done, ops[commit:final],
		over, lasts, ops[final:last], forget, end, ends)
}
