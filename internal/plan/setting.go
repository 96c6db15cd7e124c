package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/sysctl"
)

// IsAll reports whether a setting is one of the whole sandbox, and none of a link
// that has to be there first.
func IsAll(path string) bool {
	_, kind, name := link(path)
	return kind == "" || name == "all" || name == "default"
}

// link returns the parts of a setting of a link, or of all of them:
// "ipv4/conf/eth0/rp_filter".
func link(path string) (family, kind, name string) {
	p := strings.SplitN(path, "/", 4)
	if len(p) < 4 || p[1] != "conf" && p[1] != "neigh" {
		return "", "", ""
	}
	return p[0], p[1], p[2]
}

func disableIPv6(name string) string { return "ipv6/conf/" + name + "/disable_ipv6" }

// Disturbed returns the settings that the kernel may change too when it is told
// to change one, in the order in which they are put back. names are the links of
// the sandbox.
func Disturbed(path string, names []string) (list []string) {
	if path == "ipv4/ip_forward" {
		path = "ipv4/conf/all/forwarding"
	}
	family, kind, name := link(path)
	if kind != "conf" {
		return nil
	}
	leaf := path[strings.LastIndex(path, "/")+1:]
	add := func(name, leaf string) { list = append(list, family+"/conf/"+name+"/"+leaf) }
	links := func(leaf string) {
		for _, n := range names {
			add(n, leaf)
		}
	}
	switch {
	case name == "all" && (family == "ipv6" || leaf == "forwarding"):
		add("default", leaf)
		links(leaf)
		if family == "ipv4" {
			add("all", "accept_redirects")
		}
	case name == "default":
		links(leaf)
	}
	if leaf == "stable_secret" {
		add(name, "addr_gen_mode")
		if name == "default" {
			links("addr_gen_mode")
		}
	}
	return list
}

// rank puts settings that change others before these.
func rank(path string) int {
	_, _, name := link(path)
	switch {
	case path == "ipv4/ip_forward":
		return 0
	case name == "all":
		return 1
	case strings.HasSuffix(path, "/stable_secret"):
		return 2
	case name == "default":
		return 3
	}
	return 4
}

// Ranked returns settings in the order in which all of them hold.
func Ranked(list []Setting) []Setting {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Setting) int { return rank(a.Path) - rank(b.Path) })
	return list
}

// settings plans those of the sandbox itself.
func (b *builder) settings(w *Sandbox, s *State) {
	if w.Key == HostNS && w.Prune && w.Network != "" {
		b.forwarding(w, s)
		return
	}
	for _, x := range Ranked(w.Sysctls) {
		b.setting(w.Key, "", 0, x, s)
	}
}

// firstName is what a link is called before the change, also when that has planned another
// name for it: by it its settings were read.
func (k *known) firstName(l *rtnl.Link) string { return orElse(k.first[l.Index], l.Name) }

// firstNameAt is that of a link that is there, else dev.
func (k *known) firstNameAt(index int, dev string) string {
	if l := k.ByIndex(index); l != nil {
		return k.firstName(l)
	}
	return dev
}

// At returns the path of a setting of a link that has this name.
func (x *Setting) At(dev string) string {
	if strings.Contains(x.Path, "%s") {
		return fmt.Sprintf(x.Path, dev)
	}
	return x.Path
}

// setting plans a setting, unless it holds and nothing that is planned changes it.
func (b *builder) setting(key, dev string, index int, w Setting, s *State) {
	path := w.At(b.known[key].firstNameAt(index, dev))
	old, known := s.Settings[path]
	if known && sysctl.Same(w.Value, old) && !b.reset[end{key, path}] {
		return
	}
	b.set[end{key, path}] = true
	op := Op{NS: key, Dev: dev, Do: Sysctl{w, index}}
	back := func(path, value string, index int) {
		op.Undo = append(op.Undo, Op{NS: key, Dev: dev, Do: Sysctl{Setting{Path: path, Value: value}, index}})
	}
	if known {
		back(w.Path, old, index)
	}
	for _, other := range Disturbed(path, s.Names()) {
		b.reset[end{key, other}] = true
		if was, ok := s.Settings[other]; ok && known && was != old {
			back(other, was, 0)
		}
	}
	for i := range s.Links { // what goes with their IPv6 comes back when that is on
		l := &s.Links[i]
		if known && !l.Inet.DisableIPv6 && (path == disableIPv6("all") || path == disableIPv6(b.known[key].firstName(l))) {
			op.Undo = append(op.Undo, addrsOf(key, l, s)...)
		}
	}
	if IsAll(w.Path) {
		b.preset = append(b.preset, op)
	} else {
		b.decide = append(b.decide, op)
	}
}

// Names returns the names of the links.
func (s *State) Names() (list []string) {
	for i := range s.Links {
		list = append(list, s.Links[i].Name)
	}
	return append(list, s.Hidden...)
}

// Holds makes sure of settings when all else is done: what came between may have
// changed one. It fails where they can not all be.
type Holds struct{ Settings []Held }

// Held is a setting, and the link that it is about.
type Held struct {
	Dev string
	Sysctl
}

func (a Holds) Command(string) string { return "" }

// holds plans to read back what was asked for.
func (b *builder) holds(w *Sandbox, s *State) {
	k := b.known[w.Key]
	var a Holds
	op := Op{NS: w.Key, Quiet: true}
	add := func(dev string, index int, list []Setting) {
		for _, x := range list {
			a.Settings = append(a.Settings, Held{dev, Sysctl{x, index}})
			path := x.At(k.firstNameAt(index, dev))
			if old, ok := s.Settings[path]; ok && !b.set[end{w.Key, path}] {
				op.Undo = append(op.Undo, Op{NS: w.Key, Dev: dev, Do: Sysctl{Setting{Path: x.Path, Value: old}, index}})
			}
		}
	}
	add("", 0, Ranked(w.Sysctls))
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		add(f.device(), b.index[end{w.Key, f.Name}], Ranked(f.Sysctls))
	}
	if len(a.Settings) > 0 {
		op.Do = a
		b.check = append(b.check, op)
	}
}

// count returns how many operations are planned.
func (b *builder) count() (n int) {
	for _, list := range append(b.lists(), b.final, b.remove) {
		n += len(list)
	}
	return n
}
