package plan

import (
	"errors"
	"fmt"
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
			case f.HW[m] && !f.Fixed[m]:
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
			if _, own := a.Set[m]; (!own || !isGroup) && f.Active[m] != on && f.HW[m] && !f.Fixed[m] {
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
		if !f.Fixed[name] {
			m[name] = f.Active[name]
		}
	}
	return m
}

// offloads plans what an existing link lacks of its offloads.
func (b *builder) offloads(w *Sandbox, f *Iface, k *known, l *rtnl.Link) error {
	have := k.Features[l.Index]
	if len(f.Offloads) == 0 || have == nil {
		return nil
	}
	a := Offloads{Index: l.Index, Set: f.Offloads}
	lacking, err := a.Lacking(have)
	var bad *BadOffload
	if errors.As(err, &bad) {
		return &Problem{Key: w.Key, Dev: f.device(), Kind: Invalid, Text: bad.Text, Field: "offloads", Entry: bad.Name}
	}
	if len(lacking) == 0 {
		return nil
	}
	before := map[string]bool{}
	for name := range lacking {
		before[name] = have.Wanted[name]
	}
	b.decide = append(b.decide, Op{NS: w.Key, Dev: f.Name, Do: a, Undo: []Op{{NS: w.Key, Dev: f.Name, Do: Offloads{l.Index, before, true}}}})
	return nil
}
