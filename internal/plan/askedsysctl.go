package plan

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// ofType are settings of a link that the kernel chooses by its type, and not by the default.
var ofType = []string{"ipv6/conf/%s/use_tempaddr", "ipv6/conf/%s/rtr_solicits", "ipv6/conf/%s/accept_dad"}

// settingMarks are those of the settings that are asked for, by their paths, with %s for a
// link; but for what osl itself says of all links of a sandbox, and what a new link has by
// its type.
func settingMarks(list []Setting) (marks []string) {
	for _, x := range list {
		_, name, setting, ofLink := confOf(x.Path)
		if ofLink && (name == "all" || name == "default") && slices.Contains(impliedOfAll, setting) || slices.Contains(ofType, x.Path) {
			continue
		}
		if m := nameMark(x.Path); !x.Dropped && !slices.Contains(marks, m) {
			marks = append(marks, m)
		}
	}
	slices.Sort(marks)
	return marks
}

// Drop adds to settings those that were asked for and are not any more, with what they are
// where nobody asks: usual tells all that may be meant, by their paths.
func Drop(list []Setting, marks []string, usual map[string]string) []Setting {
	gone := slices.DeleteFunc(slices.Clone(marks), func(m string) bool {
		return slices.ContainsFunc(list, func(x Setting) bool { return nameMark(x.Path) == m })
	})
	if len(gone) == 0 {
		return list
	}
	list = slices.Clone(list)
	for _, path := range slices.Sorted(maps.Keys(usual)) {
		if slices.Contains(gone, nameMark(path)) {
			list = append(list, Setting{Path: path, Value: usual[path], Name: strings.ReplaceAll(path, "/", "."), Dropped: true})
		}
	}
	return list
}

// Drops reports whether one of a sandbox that stands may have to be dropped.
func (s *State) Drops(w *Sandbox) bool {
	if t, made := ParseSandboxTag(s.lo()); w.Prune && made && len(t.Sysctls) > 0 && !slices.Equal(t.Sysctls, settingMarks(w.Sysctls)) {
		return true
	}
	for i := range w.Ifaces {
		if marks := s.askedOf(w, &w.Ifaces[i]); len(marks) > 0 && !slices.Equal(marks, settingMarks(w.Ifaces[i].Sysctls)) {
			return true
		}
	}
	return false
}

// DropSettings adds to what is wanted of a sandbox the settings that were and are not any
// more: those of the sandbox as a new one has them, fresh, those of a link as its defaults
// are, which read tells.
func (s *State) DropSettings(w *Sandbox, fresh map[string]string, read func(path string) (string, error)) error {
	if t, made := ParseSandboxTag(s.lo()); w.Prune && made {
		w.Sysctls = Drop(w.Sysctls, t.Sysctls, fresh)
	}
	ofLinks, cloned := map[string]string{}, false
	for path, value := range fresh {
		if family, name, setting, ok := confOf(path); ok && name == "default" {
			ofLinks[family+"/conf/%s/"+setting] = value
		}
	}
	for i := range w.Ifaces {
		marks := s.askedOf(w, &w.Ifaces[i])
		if len(marks) == 0 {
			continue
		}
		if !cloned {
			w.Ifaces, cloned = slices.Clone(w.Ifaces), true
		}
		f, l := &w.Ifaces[i], s.Link(w.Ifaces[i].Name)
		without6 := !l.Inet.HasIPv6State || cmp.Or(f.MTU, l.MTU) < MinIPv6 // what goes with its IPv6
		f.Sysctls = slices.DeleteFunc(Drop(f.Sysctls, marks, ofLinks), func(x Setting) bool {
			return x.Dropped && without6 && strings.HasPrefix(x.Path, "ipv6/")
		})
		for j := range f.Sysctls {
			x := &f.Sysctls[j]
			if !x.Dropped {
				continue
			}
			path := x.At("default")
			at := slices.IndexFunc(w.Sysctls, func(o Setting) bool { return o.Path == path })
			if at >= 0 {
				x.Value = w.Sysctls[at].Value
			} else if value, err := read(path); err != nil {
				return err
			} else {
				x.Value = value
			}
		}
	}
	return nil
}

// askedOf are the marks of a link that stands.
func (s *State) askedOf(w *Sandbox, f *Iface) []string {
	if l := s.Link(f.Name); w.Prune && l != nil {
		t, _ := ParseTag(l.Alias)
		return t.Sysctls
	}
	return nil
}

// lo is the alias of the sandbox's loopback interface.
func (s *State) lo() string {
	if l := s.ByIndex(loopback); l != nil {
		return l.Alias
	}
	return ""
}
