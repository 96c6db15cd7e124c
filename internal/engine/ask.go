//go:build linux

package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/sysctl"
	"github.com/seed59451c2b/osl/internal/where"
)

// readSettings reads the sysctls that are asked for, and those that change with
// them, so that the plan leaves those alone that are right and can put the others
// back. A setting that a sandbox does not have is refused, also for one that is
// to be made: a namespace made for the question has what that will have.
func (p *prepared) readSettings(write bool) error {
	var fresh []*plan.Sandbox
	usual := sync.OnceValues(freshSettings)
	all := sync.OnceValue(func() map[string]map[string]*rtnl.Link { return plan.Are(p.want, p.have) })
	for i := range p.want {
		w := &p.want[i]
		s := p.have[w.Key]
		var are map[string]*rtnl.Link
		if s != nil && ofLinks(w, s) {
			are = all()[w.Key]
		}
		if s != nil && s.Drops(w, are) {
			if err := p.dropSettings(w, s, are, usual); err != nil {
				return fail("read the settings", w.Key, "", err)
			}
		}
		switch {
		case len(settingsOf(w)) == 0 && (s == nil || len(s.Notes) == 0):
		case s == nil:
			fresh = append(fresh, w)
		default:
			s.Settings = map[string]string{}
			if err := p.run.inside(w.Key, func() error { return readSettings(w, s, are) }); err != nil {
				return fail("read the settings", w.Key, "", err)
			}
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	made := false
	ask := func() error {
		made = true
		for _, w := range fresh {
			if err := readSettings(w, &plan.State{Settings: map[string]string{}}, nil); err != nil {
				return fail("read the settings", w.Key, "", err)
			}
		}
		return nil
	}
	if write { // then it becomes one of them
		p.run.bare.make(len(p.want) - len(p.have))
	}
	var err error
	if list := p.run.bare.list; len(list) > 0 {
		err = netns.Do(list[0].fd, ask)
	} else {
		err = netns.Make(ask)
	}
	if !made && errors.Is(err, fs.ErrPermission) {
		return nil // who can make no namespace can compare all the same
	}
	return err
}

// dropSettings adds the settings that were asked for and are not any more.
func (p *prepared) dropSettings(w *plan.Sandbox, s *plan.State, are map[string]*rtnl.Link, fresh settings) error {
	usual, err := fresh()
	if errors.Is(err, fs.ErrPermission) {
		return nil // who can make no namespace can change no setting either
	}
	if err != nil {
		return err
	}
	return p.run.inside(w.Key, func() error { return s.DropSettings(w, are, usual, sysctl.Read) })
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
// not there are looked for at lo, which has the same; are tells which links the wanted
// interfaces are, maybe by other names.
func readSettings(w *plan.Sandbox, s *plan.State, are map[string]*rtnl.Link) error {
	names := s.Names()
	links := map[string]*rtnl.Link{} // nil for those of which there is the name alone
	for _, name := range s.Hidden {
		links[name] = nil
	}
	for i := range s.Links {
		links[s.Links[i].Name] = &s.Links[i]
	}
	for _, x := range settingsOf(w) {
		path, there := x.Path, true
		switch parts := strings.SplitN(path, "/", 4); {
		case x.Dev != "":
			var l *rtnl.Link
			if l, there = links[x.Dev]; l != nil && !l.Inet.HasIPv6State && l.MTU < plan.MinIPv6 {
				there = !strings.HasPrefix(path, "ipv6/conf/") // it has none until its MTU is larger
			}
			path = fmt.Sprintf(path, map[bool]string{true: x.Dev, false: "lo"}[there])
		case !plan.IsAll(path) && !slices.Contains(names, parts[2]) && w.Iface(parts[2]) != nil:
			there, parts[2] = false, "lo"
			path = strings.Join(parts, "/")
		}
		if err := askable(path); err != nil {
			return fail("", "", x.Dev, where.In("sysctls", x.Name, refusedSetting(x, path, err)))
		}
		if l := are[x.Dev]; x.Dev != "" && l != nil && l.Name != x.Dev {
			path := fmt.Sprintf(x.Path, l.Name)
			if v, err := sysctl.Read(path); err == nil {
				s.Settings[path] = v
			}
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
	for _, n := range s.Notes { // of the host: what may be put back, and changes with it
		for _, x := range n.Steps {
			for _, path := range append(plan.Disturbed(x.Path, names), x.Path) {
				switch v, err := sysctl.Read(path); {
				case err == nil:
					s.Settings[path] = v
				case !errors.Is(err, fs.ErrNotExist): // one of a link that is gone
					return err
				}
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
		return fault.Invalidf("%s: %v", x.Name, err)
	}
	hint := "; a setting of a kernel module is there when that is loaded, and one of the machine is not in a sandbox"
	family, rest, _ := strings.Cut(path, "/")
	plain, ofLink := family+"/"+rest[strings.LastIndex(rest, "/")+1:], family+"/conf/lo/"+rest
	switch {
	case x.Dev == "" && slices.Contains([]string{"kernel", "vm", "fs", "dev", "user", "debug"}, family):
		hint = "; a sandbox is a network, and has those below net alone"
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
	return fault.Invalidf("the kernel has no setting %q of %s%s", x.Name, what, hint)
}

func hasSetting(path string) bool {
	mode, err := sysctl.Mode(path)
	return err == nil && mode&unix.S_IFMT == unix.S_IFREG
}

// ofLinks reports whether settings of a sandbox's links are asked for, or were.
func ofLinks(w *plan.Sandbox, s *plan.State) bool {
	return slices.ContainsFunc(w.Ifaces, func(f plan.Iface) bool { return len(f.Sysctls) > 0 }) || s.AskedOfLinks()
}
