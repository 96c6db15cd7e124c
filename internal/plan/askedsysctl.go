package plan

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// ofType are settings of a link that the kernel chooses by its type, and not by the default.
var ofType = []string{"ipv6/conf/%s/use_tempaddr", "ipv6/conf/%s/rtr_solicits", "ipv6/conf/%s/accept_dad"}

// addrGenMode is the setting of which addrgenmode is another name.
const addrGenMode = "ipv6/conf/%s/addr_gen_mode"

// settingMarks are those of the settings that are asked for, by their paths, with %s for a
// link.
func settingMarks(list []Setting) (marks []string) {
	for _, x := range list {
		if m := settingMark(x.Path); !x.Dropped && !slices.Contains(marks, m) {
			marks = append(marks, m)
		}
	}
	slices.Sort(marks)
	return marks
}

// markStays begins the marks of settings that stay where they are asked for no more, and are
// told only.
const markStays = "="

// settingMark stands in a tag for a setting: one that stays is what osl itself says of all links
// of a sandbox, and what a new link has by its type.
func settingMark(path string) string {
	_, name, setting, ofLink := confOf(path)
	if ofLink && (name == "all" || name == "default") && slices.Contains(impliedOfAll, setting) || slices.Contains(ofType, path) {
		return markStays + nameMark(path)
	}
	return nameMark(path)
}

// fewer returns the marks that are left where there is no room for all: those by which
// settings are put back, or none.
func fewer(marks []string) []string {
	left := slices.DeleteFunc(slices.Clone(marks), func(m string) bool { return strings.HasPrefix(m, markStays) })
	if len(left) == len(marks) {
		return nil
	}
	return left
}

// WasAsked reports whether a setting is among those that marks are of.
func WasAsked(marks []string, path string) bool { return slices.Contains(marks, settingMark(path)) }

// VIPSettings are what keeps an interface quiet about addresses of others.
var VIPSettings = []Setting{{Path: "ipv4/conf/%s/arp_ignore", Value: "1"}, {Path: "ipv4/conf/%s/arp_announce", Value: "2"}}

// settings are those of the kernel that an interface asks for, by whatever field.
func (f *Iface) settings() []Setting {
	if f.HideVIPs {
		return slices.Concat(f.Sysctls, VIPSettings)
	}
	return f.Sysctls
}

// marks are those of an interface's settings of the kernel, and of its offloads.
func (f *Iface) marks() []string {
	marks := settingMarks(f.settings())
	for name := range f.Offloads {
		marks = append(marks, offloadMark(name))
	}
	slices.Sort(marks)
	return slices.Compact(marks)
}

// withDropped adds to settings those that were asked for and are not any more, of all that
// asked are, with what they are where nobody asks: usual tells all that may be meant, by their paths.
func withDropped(list, asked []Setting, marks []string, usual map[string]string) []Setting {
	gone := slices.DeleteFunc(slices.Clone(marks), func(m string) bool {
		return strings.HasPrefix(m, markStays) || slices.ContainsFunc(asked, func(x Setting) bool { return nameMark(x.Path) == m })
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

// Drops reports whether one of a sandbox that stands may have to be dropped, with the links
// that its wanted interfaces are.
func (s *State) Drops(w *Sandbox, are map[string]*rtnl.Link) bool {
	if t, made := ParseSandboxTag(s.lo()); w.Prune && made && len(t.Sysctls) > 0 && !slices.Equal(t.Sysctls, settingMarks(w.Sysctls)) {
		return true
	}
	return slices.ContainsFunc(w.Ifaces, func(f Iface) bool {
		marks := askedOf(w, are[f.Name])
		return len(marks) > 0 && !slices.Equal(marks, settingMarks(f.settings()))
	})
}

// DropSettings adds to what is wanted of a sandbox the settings that were and are not any
// more: those of the sandbox as a new one has them, fresh, those of a link as its defaults
// are, which read tells. are tells which links the wanted interfaces are.
func (s *State) DropSettings(w *Sandbox, are map[string]*rtnl.Link, fresh map[string]string, read func(path string) (string, error)) error {
	if t, made := ParseSandboxTag(s.lo()); w.Prune && made {
		w.Sysctls = withDropped(w.Sysctls, w.Sysctls, t.Sysctls, fresh)
	}
	ofLinks, cloned := map[string]string{}, false
	for path, value := range fresh {
		if family, name, setting, ok := confOf(path); ok && name == "default" {
			ofLinks[family+"/conf/%s/"+setting] = value
		}
	}
	for i := range w.Ifaces {
		l := are[w.Ifaces[i].Name]
		marks := askedOf(w, l)
		if len(marks) == 0 {
			continue
		}
		if !cloned {
			w.Ifaces, cloned = slices.Clone(w.Ifaces), true
		}
		f := &w.Ifaces[i]
		without6 := !l.Inet.HasIPv6State || cmp.Or(f.MTU, l.MTU) < MinIPv6 // what goes with its IPv6
		said := f.settings()
		if _, is := f.Options.Get(rtnl.LinkAddrGenMode); is { // another name of a setting
			said = append(slices.Clip(said), Setting{Path: addrGenMode})
		}
		f.Sysctls = slices.DeleteFunc(withDropped(f.Sysctls, said, marks, ofLinks), func(x Setting) bool {
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

// AskedOfLinks reports whether settings of links were asked for.
func (s *State) AskedOfLinks() bool {
	return slices.ContainsFunc(s.Links, func(l rtnl.Link) bool { return strings.Contains(l.Alias, marksField) })
}

// askedOf are the marks of the settings that were asked for of a link, nil for none.
func askedOf(w *Sandbox, l *rtnl.Link) []string {
	if !w.Prune || l == nil || !strings.Contains(l.Alias, marksField) {
		return nil
	}
	t, _ := ParseTag(l.Alias)
	return slices.DeleteFunc(t.Marks, ofOffload)
}

// lo is the alias of the sandbox's loopback interface.
func (s *State) lo() string {
	if l := s.ByIndex(loopback); l != nil {
		return l.Alias
	}
	return ""
}
