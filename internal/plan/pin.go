package plan

import (
	"hash/fnv"
	"strconv"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// Pin makes a namespace that another made reachable at the key of Op.NS, and
// Unpin takes that away again, with what osl noted of it on lo.
type (
	Pin   struct{}
	Unpin struct{ Key string }
)

// Command returns what does the same, without the word ip.
func (Pin) Command(string) string   { return "" }
func (Unpin) Command(string) string { return "" }

// Again is a message as a record has it.
type Again struct{ Step }

func (a Again) Request(FDs) rtnl.Request { return a.Step.Request() }

// Command returns nothing: nobody is shown it.
func (Again) Command(string) string { return "" }

// Pinned is the record of a key at which osl pinned a namespace that was there:
// by it another process knows that to destroy that sandbox is to unpin it. From
// is the path by which it was found, owner what its program calls it.
func Pinned(key, from, owner string) Record {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key)) // never fails
	rec := Record{Role: AtKey, ID: strconv.FormatUint(h.Sum64(), 36), Parts: []string{key, from}}
	if owner != "" {
		rec.Parts = append(rec.Parts, owner)
	}
	return rec
}

// noteOf is the record of the network that a namespace of another program's is of.
func noteOf(network string) Record { return Record{Role: Of, ID: "n", Parts: []string{network}} }

// NetworkOf returns the name of the network that a sandbox is of, by its lo; empty
// for none.
func NetworkOf(lo *rtnl.Link) string {
	if t, made := ParseSandboxTag(lo.Alias); made {
		return t.Network
	}
	for _, r := range ParseRecords(lo.AltName) {
		if r.Whole && r.Role == Of && len(r.Parts) == 1 {
			return r.Parts[0]
		}
	}
	return ""
}

// Unnote plans to take away the note of the network.
func Unnote(key string, lo *rtnl.Link) (ops []Op) {
	for _, r := range ParseRecords(lo.AltName) {
		if r.Role == Of {
			ops = append(ops, Op{NS: key, Dev: "lo", Do: DelAltName{loopback, r.Names}, Quiet: true,
				Undo: []Op{{NS: key, Dev: "lo", Do: NewAltName{loopback, r.Names}}}})
		}
	}
	return ops
}

// Ahead returns the steps of a plan that takes things out of a sandbox as a record
// has them: whoever finds that they are not all done does them.
func Ahead(ops []Op) (steps []Step) {
	for _, op := range ops {
		switch a := op.Do.(type) {
		case Unpin:
			steps = append(steps, Step{Unpin: a.Key})
		case Masquerade:
			steps = append(steps, Step{Table: a.Table, Masq: a.Set})
		case Again:
			steps = append(steps, a.Step)
		case Sysctl:
			steps = append(steps, Step{Path: a.Path, Value: a.Value, Index: a.Index})
		case IPv6:
			steps = append(steps, Step{Path: disableIPv6("%s"), Value: strconv.Itoa(b2i(!a.On)), Index: a.Index})
		case SetLink:
			if a.To != nil {
				steps = append(steps, Step{Home: a.Link.Index})
			} else {
				steps = append(steps, stepOf(a))
			}
		case Message:
			steps = append(steps, stepOf(a))
		}
	}
	return steps
}

// Fit returns the names that hold a record, of all of its steps, or where these
// are too many, of the links and keys; none where those are too many as well.
func (r Record) Fit() []string {
	all := r.Steps
	for _, kind := range []func(Step) bool{
		func(Step) bool { return true },
		Step.moves,
	} {
		r.Steps = nil
		for _, s := range all {
			if kind(s) {
				r.Steps = append(r.Steps, s)
			}
		}
		if names, ok := r.Names(); ok {
			return names
		}
	}
	return nil
}

// UnpinKeys returns the keys that the steps of a record take away.
func (r Record) UnpinKeys() (keys []string) {
	for _, s := range r.Steps {
		if s.Unpin != "" {
			keys = append(keys, s.Unpin)
		}
	}
	return keys
}
