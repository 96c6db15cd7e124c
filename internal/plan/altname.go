package plan

import (
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
)

// IsOwnName reports whether an alternative name is one in which osl notes something.
func IsOwnName(name string) bool {
	return strings.HasPrefix(name, recordPrefix) || IsHomeRecord(name)
}

// nameMark stands for an alternative name that osl gave a link, or a setting that was asked
// for, in a tag: there is no room for the name.
func nameMark(name string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // it never fails
	return strconv.FormatUint(uint64(h.Sum32()), 36)
}

// gave reports whether osl gave the link an alternative name.
func (t *Tag) gave(name string) bool { return slices.Contains(t.Names, nameMark(name)) }

// Gave returns those of a link's alternative names that osl gave it.
func (t *Tag) Gave(l *rtnl.Link) (names []string) {
	for _, name := range l.AltName {
		if t.gave(name) && !IsOwnName(name) {
			names = append(names, name)
		}
	}
	return names
}

// freeNames plans to take the alternative names that osl gave from the links that another
// interface is to have them of, before anything gets a name.
func (b *builder) freeNames(w *Sandbox, k *known) {
	var gets map[string]*rtnl.Link // nil for a new link
	for i := range k.Links {
		l, tag := &k.Links[i], k.tags[k.Links[i].Index]
		names := tag.Gave(l)
		if len(names) > 0 && gets == nil {
			gets = map[string]*rtnl.Link{}
			for j := range w.Ifaces {
				f := &w.Ifaces[j]
				for _, name := range append([]string{f.Name}, f.AltNames...) {
					gets[name] = b.is[end{w.Key, f.Name}].link
				}
			}
		}
		for _, name := range names {
			if to, wanted := gets[name]; wanted && to != l && w.Prune {
				b.aside = append(b.aside, Op{NS: w.Key, Dev: l.Name, Do: DelAltName{l.Index, []string{name}},
					Undo: []Op{{NS: w.Key, Dev: l.Name, Do: NewAltName{l.Index, []string{name}}}}})
				l.AltName = slices.DeleteFunc(slices.Clone(l.AltName), func(n string) bool { return n == name })
			}
		}
	}
}

// altNames plans the alternative names of a link, which has some already, and notes in the
// tag which are osl's. Those that osl gave it and nobody wants any more go.
func (b *builder) altNames(w *Sandbox, f *Iface, index int, l *rtnl.Link, tag *Tag) (ops []Op) {
	op := func(do, undo Action) {
		ops = append(ops, Op{NS: w.Key, Dev: f.device(), Do: do, Undo: []Op{{NS: w.Key, Dev: f.device(), Do: undo}}})
	}
	var marks []string
	for _, name := range f.AltNames {
		has := slices.Contains(l.AltName, name)
		if !has {
			op(NewAltName{index, []string{name}}, DelAltName{index, []string{name}})
		}
		if !has || tag.gave(name) {
			marks = append(marks, nameMark(name))
		}
	}
	for _, name := range tag.Gave(l) {
		if slices.Contains(f.AltNames, name) {
			continue
		}
		if !w.Prune {
			marks = append(marks, nameMark(name))
			continue
		}
		op(DelAltName{index, []string{name}}, NewAltName{index, []string{name}})
	}
	tag.Names = marks
	return ops
}

// NewAltName and DelAltName give a link other names beside its own, and take
// them away.
type (
	NewAltName struct {
		Index int
		Names []string
	}
	DelAltName struct {
		Index int
		Names []string
	}
)

func (a NewAltName) Request(FDs) rtnl.Request { return rtnl.NewAltName(a.Index, a.Names...) }
func (a DelAltName) Request(FDs) rtnl.Request { return rtnl.DelAltName(a.Index, a.Names...) }

func (a NewAltName) Command(dev string) string {
	return "link property add dev " + shell.Quote(dev) + names(a.Names)
}

func (a DelAltName) Command(dev string) string {
	return "link property del dev " + shell.Quote(dev) + names(a.Names)
}

func names(list []string) (s string) {
	for _, name := range list {
		s += " altname " + name
	}
	return s
}
