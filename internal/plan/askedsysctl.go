package plan

import (
	"cmp"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// settingMark stands for a setting that was asked for, in a tag: there is no room for its
// path. Of a link's it is that of the path with %s.
func settingMark(path string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(path)) // it never fails
	return strconv.FormatUint(uint64(h.Sum32()%(36*36*36*36)), 36)
}

// settingMarks are those of the settings that are asked for, but for what osl itself says of
// all links of a sandbox.
func settingMarks(list []Setting) (marks []string) {
	for _, x := range list {
		_, name, setting, ofLink := confOf(x.Path)
		if ofLink && (name == "all" || name == "default") && slices.Contains(impliedOfAll, setting) {
			continue
		}
		if m := settingMark(x.Path); !x.Dropped && !slices.Contains(marks, m) {
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
		return slices.ContainsFunc(list, func(x Setting) bool { return settingMark(x.Path) == m })
	})
	if len(gone) == 0 {
		return list
	}
	list = slices.Clone(list)
	for _, path := range slices.Sorted(maps.Keys(usual)) {
		if slices.Contains(gone, settingMark(path)) {
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
// more: those of the sandbox as a new one has them, those of a link as its defaults are.
func (s *State) DropSettings(w *Sandbox, fresh, own map[string]string) {
	if t, made := ParseSandboxTag(s.lo()); w.Prune && made {
		w.Sysctls = Drop(w.Sysctls, t.Sysctls, fresh)
	}
	defaults, without6 := map[string]string{}, map[string]string{}
	for path, value := range own {
		if family, name, setting, ok := confOf(path); ok && name == "default" {
			for _, x := range w.Sysctls {
				if x.Path == path {
					value = x.Value
				}
			}
			defaults[family+"/conf/%s/"+setting] = value
			if family != "ipv6" {
				without6[family+"/conf/%s/"+setting] = value
			}
		}
	}
	cloned := false
	for i := range w.Ifaces {
		if marks := s.askedOf(w, &w.Ifaces[i]); len(marks) > 0 {
			if !cloned {
				w.Ifaces, cloned = slices.Clone(w.Ifaces), true
			}
			f, usual := &w.Ifaces[i], defaults
			if l := s.Link(f.Name); !l.Inet.HasIPv6State || cmp.Or(f.MTU, l.MTU) < MinIPv6 { // they go with its IPv6
				usual = without6
			}
			f.Sysctls = Drop(f.Sysctls, marks, usual)
		}
	}
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
