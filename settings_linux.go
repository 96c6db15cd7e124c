package osl

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/sysctl"
	"github.com/seed59451c2b/osl/internal/where"
)

const ifaceDisableIPv6 = "ipv6/conf/%s/disable_ipv6"

// wantSettings turns names of sysctls into paths. For an interface they are
// below conf, with %s for its name.
func wantSettings(m map[string]string, link string) (list []plan.Setting, err error) {
	for _, name := range sorted(m) {
		path := strings.TrimPrefix(strings.TrimPrefix(name, "net."), "net/")
		if !strings.Contains(path, "/") {
			path = strings.ReplaceAll(path, ".", "/")
		}
		family, rest, _ := strings.Cut(path, "/")
		if sysctl.Path(path) != nil || strings.Contains(path, "%") || rest == "" ||
			link != "" && family != "ipv4" && family != "ipv6" && family != "mpls" {
			return nil, where.In("sysctls", name,
				invalidf("%q is no sysctl of a sandbox: write ipv4.ip_forward, or for an interface ipv4.rp_filter", name))
		}
		if link != "" {
			path = family + "/conf/%s/" + rest
		}
		if path == "ipv4/conf/all/forwarding" {
			path = "ipv4/ip_forward" // another name of it
		}
		if list, err = addSetting(list, plan.Setting{Path: path, Value: sysctl.Clean(m[name]), Name: name}); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// addSetting refuses a setting that is there with another value, under whichever
// name.
func addSetting(list []plan.Setting, x plan.Setting) ([]plan.Setting, error) {
	i := slices.IndexFunc(list, func(o plan.Setting) bool { return o.Path == x.Path })
	switch {
	case i < 0:
		return append(list, x), nil
	case sysctl.Same(x.Value, list[i].Value):
		return list, nil
	}
	return nil, where.In("sysctls", x.Name, invalidf("%q is to be %s, and as %q %s: they are the same setting", x.Name, x.Value, list[i].Name, list[i].Value))
}

// settleSettings gives each interface the settings that name it, and makes of
// those which turn IPv6 on or off what the interfaces are to be: of its own, that
// of all new ones, or that of all.
func settleSettings(w *plan.Sandbox) (err error) {
	all := setTo(w.Sysctls, "ipv6/conf/all/disable_ipv6")
	fallback := setTo(w.Sysctls, "ipv6/conf/default/disable_ipv6")
	if all != nil && fallback == nil { // the kernel does so
		fallback = all
		w.Sysctls = append(w.Sysctls, plan.Setting{Path: "ipv6/conf/default/disable_ipv6", Value: all.Value, Name: all.Name})
	}
	var rest []plan.Setting
	for _, x := range w.Sysctls {
		parts := strings.SplitN(x.Path, "/", 4)
		var f *plan.Iface
		if len(parts) == 4 && parts[1] == "conf" {
			f = find(w, parts[2])
		}
		if f == nil {
			rest = append(rest, x)
			continue
		}
		parts[2] = "%s"
		x.Path = strings.Join(parts, "/")
		if f.Sysctls, err = addSetting(f.Sysctls, x); err != nil {
			return err
		}
	}
	w.Sysctls = rest
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		x := setTo(f.Sysctls, ifaceDisableIPv6)
		if x == nil && f.Name != "lo" {
			x = fallback
		}
		if x == nil {
			x = all
		}
		if f.IPv6, err = ipv6Wish(f, x, all); err != nil {
			return fail("", "", f.Name, err)
		}
		f.Sysctls = slices.DeleteFunc(f.Sysctls, func(x plan.Setting) bool { return x.Path == ifaceDisableIPv6 })
	}
	lo := setTo(w.Sysctls, "ipv6/conf/lo/disable_ipv6")
	w.Sysctls = slices.DeleteFunc(w.Sysctls, func(x plan.Setting) bool { return x.Path == "ipv6/conf/lo/disable_ipv6" })
	if lo == nil {
		lo = all
	}
	w.LoIPv6, err = ipv6Wish(&plan.Iface{Name: "lo"}, lo, all)
	return err
}

func setTo(list []plan.Setting, path string) *plan.Setting {
	if i := slices.IndexFunc(list, func(x plan.Setting) bool { return x.Path == path }); i >= 0 {
		x := list[i]
		return &x
	}
	return nil
}

// ipv6Wish returns whether a setting asks for an interface's IPv6, nil where
// there is none.
func ipv6Wish(f *plan.Iface, x, all *plan.Setting) (*bool, error) {
	if x == nil {
		return nil, nil
	}
	on := sysctl.Same("0", x.Value)
	if !on && !sysctl.Same("1", x.Value) {
		return nil, where.In("sysctls", x.Name, invalidf("%s is 0 or 1, not %q", x.Name, x.Value))
	}
	if !on && slices.ContainsFunc(f.Addrs, func(a plan.Addr) bool { return a.Prefix.Addr().Is6() }) {
		return nil, where.In("sysctls", x.Name, invalidf("%s turns off the IPv6 of %q, which is to have an IPv6 address", x.Name, f.Name))
	}
	if on && all != nil && !sysctl.Same("0", all.Value) {
		return nil, where.In("sysctls", x.Name, invalidf("%s asks for the IPv6 of %q, and %s turns off all", x.Name, f.Name, all.Name))
	}
	return &on, nil
}

// readSettings reads the sysctls that are asked for, and those that change with
// them, so that the plan leaves those alone that are right and can put the others
// back. A setting that a sandbox does not have is refused, also for one that is
// to be made: a namespace made for the question has what that will have.
func (p *prepared) readSettings() error {
	var fresh []*plan.Sandbox
	for i := range p.want {
		w := &p.want[i]
		s := p.have[w.Key]
		switch {
		case len(settingsOf(w)) == 0:
		case s == nil:
			fresh = append(fresh, w)
		default:
			s.Settings = map[string]string{}
			if err := p.run.inside(w.Key, func() error { return readSettings(w, s) }); err != nil {
				return fail("read the settings", w.Key, "", err)
			}
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	made := false
	err := netns.Make(func() error {
		made = true
		for _, w := range fresh {
			if err := readSettings(w, &plan.State{Settings: map[string]string{}}); err != nil {
				return fail("read the settings", w.Key, "", err)
			}
		}
		return nil
	})
	if !made && errors.Is(err, fs.ErrPermission) {
		return nil // who can make no namespace can compare all the same
	}
	return err
}

// settingsOf returns all settings that a sandbox asks for, with the link that
// each is about.
func settingsOf(w *plan.Sandbox) (list []plan.Held) {
	for _, x := range w.Sysctls {
		list = append(list, plan.Held{Sysctl: plan.Sysctl{Setting: x}})
	}
	for i := range w.Ifaces {
		for _, x := range w.Ifaces[i].Sysctls {
			list = append(list, plan.Held{Dev: w.Ifaces[i].Name, Sysctl: plan.Sysctl{Setting: x}})
		}
	}
	return list
}

// readSettings reads settings of the thread's namespace. Those of a link that is
// not there are looked for at lo, which has the same.
func readSettings(w *plan.Sandbox, s *plan.State) error {
	names := s.Names()
	for _, x := range settingsOf(w) {
		path, there := x.Path, true
		switch parts := strings.SplitN(path, "/", 4); {
		case x.Dev != "":
			there = slices.Contains(names, x.Dev)
			path = fmt.Sprintf(path, map[bool]string{true: x.Dev, false: "lo"}[there])
		case !plan.IsAll(path) && !slices.Contains(names, parts[2]) && find(w, parts[2]) != nil:
			there, parts[2] = false, "lo"
			path = strings.Join(parts, "/")
		}
		if err := askable(path); err != nil {
			return fail("", "", x.Dev, where.In("sysctls", x.Name, refusedSetting(x, path, err)))
		}
		if !there {
			continue
		}
		paths := []string{path}
		if v, err := sysctl.Read(path); err == nil && !sysctl.Same(x.Value, v) {
			paths = append(paths, plan.Disturbed(path, names)...)
		}
		for _, path := range paths {
			v, err := sysctl.Read(path)
			switch {
			case err == nil:
				s.Settings[path] = v
			case errors.Is(err, fs.ErrNotExist) && path != paths[0], errors.Is(err, unix.EIO): // it has none yet
			default:
				return fail("", "", x.Dev, where.In("sysctls", x.Name, err))
			}
		}
	}
	return nil
}

// What keeps a setting from being asked for.
var (
	errWriteOnly = errors.New("it can be written only, which does something and leaves nothing to compare with; do it by hand")
	errReadOnly  = errors.New("it can only be read in a sandbox: it is a setting of the whole machine, or one that the kernel keeps itself; set it on the machine")
	errDirectory = errors.New("it is a group of settings; write one of them")
	errMachine   = errors.New("it is a setting of the whole machine, not of a sandbox; set it on the machine")
)

// askable reports whether the thread's namespace has a setting that can be read
// and written.
func askable(path string) error {
	mode, err := sysctl.Mode(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if onHost(path) {
			return errMachine
		}
		return err
	case err != nil:
		return err
	case mode&unix.S_IFMT == unix.S_IFDIR:
		return errDirectory
	case mode&0o444 == 0:
		return errWriteOnly
	case mode&0o222 == 0:
		return errReadOnly
	}
	return nil
}

// onHost reports whether the host has a setting.
func onHost(path string) (found bool) {
	home, err := netns.Home()
	if err != nil {
		return false
	}
	_ = netns.Do(home, func() error { // a thread of its own
		_, err := sysctl.Mode(path)
		found = err == nil
		return nil
	})
	return found
}

func refusedSetting(x plan.Held, path string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return invalidf("%s: %v", x.Name, err)
	}
	hint := "; a setting of a kernel module is there when that is loaded, and one of the machine is not in a sandbox"
	family, rest, _ := strings.Cut(path, "/")
	plain, ofLink := family+"/"+rest[strings.LastIndex(rest, "/")+1:], family+"/conf/lo/"+rest
	switch {
	case x.Dev != "" && hasSetting(plain):
		hint = fmt.Sprintf("; %s is one of the sandbox", sysctl.Name(plain))
	case x.Dev == "" && hasSetting(ofLink):
		hint = fmt.Sprintf("; it is one of an interface, or write %[1]s.conf.all.%[2]s or %[1]s.conf.default.%[2]s", family, rest)
	default:
		if s := sysctl.Nearest(path); s != "" {
			if x.Dev != "" {
				s = strings.Replace(s, "/conf/lo/", "/", 1)
			} else if parts := strings.Split(x.Path, "/"); len(parts) > 2 {
				s = strings.Replace(s, "/conf/lo/", "/conf/"+parts[2]+"/", 1)
			}
			hint = fmt.Sprintf("; did you mean %q?", sysctl.Name(s))
		}
	}
	what := "a sandbox"
	if x.Dev != "" {
		what = "an interface"
	}
	return invalidf("the kernel has no setting %q of %s%s", x.Name, what, hint)
}

func hasSetting(path string) bool {
	mode, err := sysctl.Mode(path)
	return err == nil && mode&unix.S_IFMT == unix.S_IFREG
}

func find(w *plan.Sandbox, name string) *plan.Iface {
	i := slices.IndexFunc(w.Ifaces, func(f plan.Iface) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return &w.Ifaces[i]
}
