package plan

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
)

// group is a name by which ethtool -K calls several features, or one by another
// name than the kernel.
type group struct{ name, short, pattern string }

// groups are those of ethtool, with the pattern of the kernel's names.
var groups = []group{
	{"rx-checksumming", "rx", "rx-checksum"},
	{"tx-checksumming", "tx", "tx-checksum-*"},
	{"scatter-gather", "sg", "tx-scatter-gather*"},
	{"tcp-segmentation-offload", "tso", "tx-tcp*-segmentation"},
	{"generic-segmentation-offload", "gso", "tx-generic-segmentation"},
	{"generic-receive-offload", "gro", "rx-gro"},
	{"large-receive-offload", "lro", "rx-lro"},
	{"rx-vlan-offload", "rxvlan", "rx-vlan-hw-parse"},
	{"tx-vlan-offload", "txvlan", "tx-vlan-hw-insert"},
	{"ntuple-filters", "ntuple", "rx-ntuple-filter"},
	{"receive-hashing", "rxhash", "rx-hashing"},
}

// Offload returns the one name of an offload: ethtool has a short and a long one
// for some.
func Offload(name string) string {
	for _, g := range groups {
		if name == g.short {
			return g.name
		}
	}
	return name
}

// Offloads turns offloads of a link on or off: features by the kernel's names, or
// by those that ethtool -K has for several.
type Offloads struct {
	Index int
	Set   map[string]bool
	// Back says that it takes such a step back: Set is what was asked for before,
	// by the kernel's names, which may not be what was on.
	Back bool
}

// Command returns the command that does the same.
func (a Offloads) Command(dev string) string {
	var b strings.Builder
	b.WriteString("ethtool -K " + shell.Quote(dev))
	for _, name := range slices.Sorted(maps.Keys(a.Set)) {
		b.WriteString(" " + shell.Quote(name) + " " + onOff(a.Set[name]))
	}
	return b.String()
}

// BadOffload is an offload that can not be had.
type BadOffload struct{ Name, Text string }

func (e *BadOffload) Error() string { return e.Text }

// Lacking returns what is to be asked for, by the kernel's names, so that a link
// with these features has its offloads as they are wanted. A group that is to be on
// is on with any of its features; a feature's own name counts more than its group's.
func (a Offloads) Lacking(f *rtnl.Features) (map[string]bool, error) {
	if a.Back {
		return a.Set, nil
	}
	set := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(a.Set)) {
		on := a.Set[name]
		of, isGroup := members(f, name)
		var fixed string
		some, changes := false, 0
		for _, m := range of {
			if own, ok := a.Set[m]; ok && isGroup && own != on {
				some = some || own
				continue
			}
			switch {
			case f.Active[m] == on:
				some = some || on
			case f.CanChange(m):
				changes++
			case isGroup && on: // as far as the device can
			default:
				fixed = m
			}
		}
		switch {
		case len(of) == 0:
			return nil, &BadOffload{name, fmt.Sprintf("the kernel has no offload %q%s", name, near.Hint(name, OffloadNames(f)))}
		case on && some && isGroup:
			continue
		case fixed != "" || on && !some && changes == 0:
			return nil, &BadOffload{name, fmt.Sprintf("%s is fixed %s: the driver of this interface does not let it be changed", name, onOff(!on))}
		}
		for _, m := range of {
			if _, own := a.Set[m]; (!own || !isGroup) && f.Active[m] != on && f.CanChange(m) {
				set[m] = on
			}
		}
	}
	return set, nil
}

// Holds returns a BadOffload where one is not as it is wanted.
func (a Offloads) Holds(f *rtnl.Features) error {
	lacking, err := a.Lacking(f)
	if a.Back || err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(a.Set)) {
		of, _ := members(f, name)
		if slices.ContainsFunc(of, func(m string) bool { _, is := lacking[m]; return is }) {
			return &BadOffload{name, fmt.Sprintf("the kernel did not turn %s %s: it depends on another offload", name, onOff(a.Set[name]))}
		}
	}
	return nil
}

func onOff(on bool) string { return map[bool]string{true: "on", false: "off"}[on] }

// members returns the features of a name, and whether it is one of a group.
func members(f *rtnl.Features, name string) (list []string, isGroup bool) {
	for _, g := range groups {
		if g.name != name {
			continue
		}
		for _, m := range f.All {
			if ok, _ := path.Match(g.pattern, m); ok { // the patterns are well formed
				list = append(list, m)
			}
		}
		return list, true
	}
	if slices.Contains(f.All, name) {
		list = []string{name}
	}
	return list, false
}

// OffloadNames are the names that an offload of a link can have.
func OffloadNames(f *rtnl.Features) (list []string) {
	for _, g := range groups {
		list = append(list, g.name)
	}
	return append(list, f.All...)
}

// Changeable returns the features of a link that can be changed, and whether each is
// on.
func Changeable(f *rtnl.Features) map[string]bool {
	m := map[string]bool{}
	for name := range f.HW {
		if f.CanChange(name) {
			m[name] = f.Active[name]
		}
	}
	return m
}

// offloadMark stands in a tag for an offload that was asked for.
func offloadMark(name string) string { return markOffload + nameMark(name) }

// markOffload begins the mark of an offload: those of settings are without.
const markOffload = "+"

func ofOffload(mark string) bool { return strings.HasPrefix(mark, markOffload) }

// AskedOffloads are the offloads of a link that somebody asked for, as they are.
func (t *Tag) AskedOffloads(f *rtnl.Features) map[string]bool {
	if f == nil || !t.HadOffloads() {
		return nil
	}
	set := map[string]bool{}
	asked := func(name string) bool { return slices.Contains(t.Marks, offloadMark(name)) }
	for _, name := range OffloadNames(f) {
		if asked(name) {
			of, isGroup := members(f, name)
			set[name] = slices.ContainsFunc(of, func(m string) bool { return f.Active[m] && !(isGroup && asked(m)) })
		}
	}
	return set
}

// WithOffloads returns the links, by their indexes, of which it takes the features to say what
// they lack of the interfaces that they may be: of those that are to have offloads, or had.
func (s *State) WithOffloads(w *Sandbox) map[int]*Iface {
	list := map[int]*Iface{}
	any := slices.ContainsFunc(w.Ifaces, func(f Iface) bool { return len(f.Offloads) > 0 })
	named, ofKind := map[string]*Iface{}, map[string][]*Iface{}
	for i := range s.Links {
		l := &s.Links[i]
		if !any && !(w.Prune && strings.Contains(l.Alias, marksField)) {
			continue
		}
		if len(named) == 0 {
			for j := range w.Ifaces {
				f := &w.Ifaces[j]
				named[f.Name] = f
				ofKind[f.Kind] = append(ofKind[f.Kind], f)
			}
		}
		t, _ := ParseTag(l.Alias)
		may := []*Iface{named[l.Name], named[t.Source]}
		if KindOf(l.Kind).Once != nil { // known by what there is once
			may = append(may, ofKind[l.Kind]...)
		}
		for _, f := range may {
			if f != nil && (len(f.Offloads) > 0 || w.Prune && t.osls() && f.dropsOffloads(&t)) {
				list[l.Index] = f
				break
			}
		}
	}
	return list
}

// osls reports whether osl made the link, or its other end.
func (t *Tag) osls() bool { return t.Origin == Made || t.Origin == Far }

// HadOffloads reports whether offloads of a link were asked for.
func (t *Tag) HadOffloads() bool { return slices.ContainsFunc(t.Marks, ofOffload) }

// dropsOffloads reports whether one of them is asked for no more.
func (f *Iface) dropsOffloads(t *Tag) bool {
	marks := f.marks()
	return slices.ContainsFunc(t.Marks, func(m string) bool { return ofOffload(m) && !slices.Contains(marks, m) })
}

// droppedOffloads are the features that were asked for and are not any more, and are not as
// they are of a new link.
func (f *Iface) droppedOffloads(t *Tag, have *rtnl.Features, kind string) map[string]bool {
	marks, asked, set := f.marks(), map[string]bool{}, map[string]bool{}
	for name := range f.Offloads {
		of, _ := members(have, name)
		for _, m := range of {
			asked[m] = true
		}
	}
	for _, name := range OffloadNames(have) {
		if m := offloadMark(name); !slices.Contains(t.Marks, m) || slices.Contains(marks, m) {
			continue
		}
		of, _ := members(have, name)
		for _, m := range of {
			if on := KindOf(kind).usualOffload(m); have.CanChange(m) && !asked[m] && have.Wanted[m] != on {
				set[m] = on
			}
		}
	}
	return set
}

// unusual are the features of a link that are not as a new one has them, and those of some
// offloads.
func unusual(have *rtnl.Features, kind string, offloads map[string]bool) map[string]bool {
	set := map[string]bool{}
	for name := range Changeable(have) {
		if on := have.Wanted[name]; on != KindOf(kind).usualOffload(name) {
			set[name] = on
		}
	}
	for name := range offloads {
		of, _ := members(have, name)
		for _, m := range of {
			if have.CanChange(m) {
				set[m] = have.Wanted[m]
			}
		}
	}
	return set
}

// offloads plans what an existing link lacks of its offloads.
func (b *builder) offloads(w *Sandbox, f *Iface, k *known, l *rtnl.Link, t *Tag) error {
	have := k.Features[l.Index]
	if have == nil {
		return nil
	}
	var dropped map[string]bool
	if w.Prune && t.osls() {
		dropped = f.droppedOffloads(t, have, l.Kind)
	}
	var bad *BadOffload
	if _, err := (Offloads{Set: f.Offloads}).Lacking(have); len(dropped) == 0 && errors.As(err, &bad) {
		return &Problem{Key: w.Key, Dev: f.device(), Kind: Invalid, Text: bad.Text, Field: "offloads", Entry: bad.Name}
	}
	b.setOffloads(w.Key, f, l.Index, have, dropped, true)
	return nil
}

// setOffloads plans features that are dropped, and offloads, which may depend on these. Those
// of a link that came from another sandbox are put back there.
func (b *builder) setOffloads(key string, f *Iface, index int, have *rtnl.Features, dropped map[string]bool, back bool) {
	put := func(a Offloads, quiet bool, names iter.Seq[string]) {
		op := Op{NS: key, Dev: f.Name, Do: a, Quiet: quiet}
		if back {
			before := map[string]bool{}
			for name := range names {
				before[name] = have.Wanted[name]
			}
			op.Undo = []Op{{NS: key, Dev: f.Name, Do: Offloads{index, before, true}}}
		}
		b.decide = append(b.decide, op)
	}
	if len(dropped) > 0 {
		put(Offloads{index, dropped, true}, false, maps.Keys(dropped))
	}
	a := Offloads{Index: index, Set: f.Offloads}
	lacking, err := a.Lacking(have)
	switch {
	case len(f.Offloads) == 0:
	case err != nil || len(dropped) > 0:
		put(a, err == nil && len(lacking) == 0, maps.Keys(Changeable(have)))
	case len(lacking) > 0:
		put(a, false, maps.Keys(lacking))
	}
}
