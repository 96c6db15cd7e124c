package plan

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// Forwards are the settings of the host that a network may ask for: they let it
// forward packets, and are put back when no network asks for them any more.
var Forwards = []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"}

// HostNote says what settings of the host were before a network of osl's changed them.
// Each network has its own; who comes second notes what the first one did.
type HostNote struct {
	Network string
	Names   []string
	Steps   []Step
}

// HostNotes finds the notes in the host's lo.
func HostNotes(lo *rtnl.Link) (list []HostNote) {
	for _, r := range ParseRecords(lo.AltName) {
		if r.Whole && r.Role == OnHost && len(r.Parts) == 1 {
			list = append(list, HostNote{r.Parts[0], r.Names, r.Steps})
		}
	}
	return list
}

// Forwarded reports whether the note of a network says that it asked for one of Forwards.
func Forwarded(notes []HostNote, path string) bool {
	return slices.Contains(Forwards, path) && (&State{Notes: notes}).noted("", true, path) != nil
}

// noted returns what the notes of a network, or those of all others, say of one of
// Forwards: the setting itself first.
func (s *State) noted(network string, others bool, path string) (steps []Step) {
	family, _, _ := strings.Cut(path, "/")
	for _, n := range s.Notes {
		if (n.Network == network) == others {
			continue
		}
		for _, x := range n.Steps {
			if strings.HasPrefix(x.Path, family+"/") {
				steps = append(steps, x)
			}
		}
		if len(steps) > 0 {
			break
		}
	}
	return steps
}

// Asked reports whether a network asked for one of Forwards.
func (s *State) Asked(network, path string) bool { return s.noted(network, false, path) != nil }

// forwarding plans the settings of the host that a network asks for, and puts back
// what it asks for no more.
func (b *builder) forwarding(w *Sandbox, s *State) {
	var steps []Step
	first := len(b.preset)
	for _, x := range w.Sysctls {
		was := s.noted(w.Network, false, x.Path)
		if was == nil {
			was = s.noted(w.Network, true, x.Path)
		}
		if wasOn(was) {
			was = nil // others may have turned it off since
		}
		n := len(b.preset)
		b.setting(w.Key, "", 0, x, s)
		for i := n; was == nil && i < len(b.preset); i++ {
			for _, u := range b.preset[i].Undo {
				if a, ok := u.Do.(Sysctl); ok {
					was = append(was, Step{Path: a.Path, Value: a.Value})
				}
			}
		}
		if old, known := s.Settings[x.Path]; was == nil && known { // it is so already, and was asked for
			was = []Step{{Path: x.Path, Value: old}}
		}
		steps = append(steps, was...)
	}
	for _, path := range Forwards {
		if setTo := slices.ContainsFunc(w.Sysctls, func(x Setting) bool { return x.Path == path }); !setTo {
			for _, x := range s.PutBack(w.Network, path) {
				if _, there := s.Settings[x.Path]; there {
					b.setting(w.Key, "", 0, Setting{Path: x.Path, Value: x.Value}, s)
				}
			}
		}
	}
	b.note(w, s, steps, first)
}

// PutBack returns what is to be put back of one of Forwards when a network asks for it
// no more: nothing where another one does, or where it was on before.
func (s *State) PutBack(network, path string) []Step {
	was := s.noted(network, false, path)
	if s.noted(network, true, path) != nil || wasOn(was) {
		return nil
	}
	return was
}

// wasOn reports whether a note says that a setting was already as a network asks for it,
// which says no more than that it asks.
func wasOn(was []Step) bool { return len(was) == 1 && was[0].Value == "1" }

// note plans that the network's note says these steps: before the settings, which are
// from first on.
func (b *builder) note(w *Sandbox, s *State, steps []Step, first int) {
	var have []Step
	var old []Op
	for _, n := range s.Notes {
		if n.Network == w.Network {
			have = append(have, n.Steps...)
			old = append(old, Op{NS: w.Key, Dev: "lo", Do: DelAltName{loopback, n.Names}, Undo: []Op{{NS: w.Key, Dev: "lo", Do: NewAltName{loopback, n.Names}}}, Quiet: true, Half: true})
		}
	}
	same := func(x, y Step) bool { return x.Path == y.Path && x.Value == y.Value }
	if slices.EqualFunc(have, steps, same) {
		return
	}
	if names, ok := noteOnHost(w.Network, steps); ok && len(steps) > 0 {
		b.preset = slices.Insert(b.preset, first, Op{NS: w.Key, Dev: "lo", Do: NewAltName{loopback, names},
			Undo: []Op{{NS: w.Key, Dev: "lo", Do: DelAltName{loopback, names}}}, Quiet: true, Half: true, Alone: true})
	}
	b.config = append(b.config, old...)
}

// noteOnHost returns the names of a network's note; each time others, so that two can
// be there while one takes the place of the other.
func noteOnHost(network string, steps []Step) (names []string, ok bool) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(network)) // never fails
	id := strconv.FormatUint(uint64(h.Sum32()), 36) + strconv.FormatUint(uint64(rand.Uint32()), 36)
	return Record{Role: OnHost, ID: id, Parts: []string{network}, Steps: steps}.Names()
}
