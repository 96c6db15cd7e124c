//go:build linux

package main

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/seed59451c2b/osl"
)

// tuneConf are the keys of the tuning plugin, beside mtu and mac.
type tuneConf struct {
	SysCtl   map[string]string `json:"sysctl"`
	Promisc  *bool             `json:"promisc"`
	AllMulti *bool             `json:"allmulti"`
	TxQLen   *int              `json:"txQLen"`
}

// allowlist are the settings that the administrator lets configurations change, as
// regular expressions; all, without the file. It is the tuning plugin's.
const allowlist = "/etc/cni/tuning/allowlist.conf"

// loadTuning completes the keys of the tuning plugin with those of args.cni, and
// checks them. Only types of osl's own have them.
func (c *conf) loadTuning(ifName string) error {
	t, over := &c.tuneConf, c.Args.CNI.tuneConf
	for key, value := range over.SysCtl {
		if t.SysCtl == nil {
			t.SysCtl = map[string]string{}
		}
		t.SysCtl[key] = value
	}
	if over.Promisc != nil {
		t.Promisc = over.Promisc
	}
	if over.AllMulti != nil {
		t.AllMulti = over.AllMulti
	}
	if over.TxQLen != nil {
		t.TxQLen = over.TxQLen
	}
	if c.Args.CNI.MTU != 0 {
		c.MTU = c.Args.CNI.MTU
	}
	b, err := os.ReadFile(allowlist)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return invalid("sysctl: the list of what is allowed can not be read: %v", err)
	}
	for key := range t.SysCtl {
		if _, _, err := settingOf(key, ifName); err != nil {
			return err
		}
		if b != nil && !allowed(string(b), key) {
			return invalid("sysctl %q is not allowed by %s", key, allowlist)
		}
	}
	return nil
}

// allowed reports whether a line of a list matches a setting.
func allowed(list, key string) bool {
	for _, line := range strings.Split(list, "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if ok, err := regexp.MatchString(line, key); err == nil && ok {
			return true
		}
	}
	return false
}

// settingOf returns a setting by its path below /proc/sys/net, with the name of the
// interface for IFNAME, and by its name among the interface's own, if it is one of those.
func settingOf(key, ifName string) (path, own string, err error) {
	path, ok := strings.CutPrefix(strings.ReplaceAll(key, ".", "/"), "net/")
	if !ok || !fs.ValidPath(path) {
		return "", "", invalid("sysctl %q is no setting of the network: they begin with net.", key)
	}
	part := strings.Split(path, "/")
	for i := range part {
		if part[i] == "IFNAME" {
			part[i] = ifName
		}
	}
	// One with a dot, such as eth0.7, is given as IFNAME.
	if len(part) == 4 && part[1] == "conf" && part[2] == ifName {
		own = part[0] + "." + part[3]
	}
	return strings.Join(part, "/"), own, nil
}

// tune adds what the keys of the tuning plugin say to what is wanted of the container.
func (a *attachment) tune(s *osl.Spec, f *osl.InterfaceSpec) {
	f.Promisc, f.AllMulticast, f.TxQueueLen = a.c.Promisc, a.c.AllMulti, a.c.TxQLen
	for key, value := range a.c.SysCtl {
		path, own, err := settingOf(key, a.args.IfName)
		switch {
		case err != nil: // loadTuning refused it
		case own != "":
			f.Sysctls[own] = value
		default:
			if s.Sysctls == nil {
				s.Sysctls = map[string]string{}
			}
			s.Sysctls[path] = value
		}
	}
}

// checkTuning compares the interface with the keys of the tuning plugin.
func (a *attachment) checkTuning(x *osl.InterfaceStatus) (err error) {
	t := &a.c.tuneConf
	switch {
	case t.Promisc != nil && *t.Promisc != x.Promisc:
		return differs("the interface %s has promisc %v", x.Name, x.Promisc)
	case t.AllMulti != nil && *t.AllMulti != x.AllMulticast:
		return differs("the interface %s has allmulti %v", x.Name, x.AllMulticast)
	}
	ierr := a.ns.InvokeFunc(func() {
		for key, value := range t.SysCtl {
			path, _, _ := settingOf(key, a.args.IfName)
			if now := setting(path); now != strings.TrimSpace(value) {
				err = differs("the setting %s is %q", key, now)
			}
		}
	})
	return errors.Join(ierr, err)
}
