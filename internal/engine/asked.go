//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/stand"
	"github.com/seed59451c2b/osl/internal/sysctl"
)

// readAsked reads the settings that were asked for, as they are, and of the host what it
// masquerades. Where nothing was, which the tags say, it enters no namespace.
func (n *Namespace) readAsked(ctx context.Context, r *stand.Reading) (err error) {
	lo := r.State.ByIndex(1)
	if lo == nil {
		return nil
	}
	t, _ := plan.ParseSandboxTag(lo.Alias)
	var notes []plan.HostNote
	if n.host {
		notes = plan.HostNotes(lo)
	}
	asked := len(t.Sysctls)+len(notes) > 0 || r.State.AskedOfLinks()
	if !asked && !n.host {
		return nil
	}
	ns, err := n.file()
	if err != nil {
		return err
	}
	defer ns.Release()
	if n.host {
		if r.Masquerades, err = masqueradesOf(ctx, ns.FD()); err != nil || !asked {
			return err
		}
	}
	return netns.Do(ns.FD(), func() error {
		paths, err := sysctl.Names()
		if err != nil {
			return err
		}
		if r.Asked.Links, err = askedOfLinks(r.State.Links, paths); err != nil {
			return err
		}
		r.Asked.Sandbox = map[string]string{}
		for _, path := range paths {
			if plan.IsSecret(path) || !plan.WasAsked(t.Sysctls, path) && !plan.Forwarded(notes, path) {
				continue
			}
			if err := readInto(r.Asked.Sandbox, path, path); err != nil {
				return err
			}
		}
		return nil
	})
}

// askedOfLinks reads the settings that were asked for of links of the thread's namespace, by
// their names and the rest of the path, out of those that there are.
func askedOfLinks(links []rtnl.Link, paths []string) (map[string]map[string]string, error) {
	var all []string
	for _, path := range paths {
		if family, setting, ok := strings.Cut(path, "/conf/default/"); ok {
			all = append(all, family+"/conf/%s/"+setting)
		}
	}
	asked := map[string]map[string]string{}
	for i := range links {
		l := &links[i]
		for _, path := range plan.AskedSettings(l, all) {
			if asked[l.Name] == nil {
				asked[l.Name] = map[string]string{}
			}
			if err := readInto(asked[l.Name], strings.Replace(path, "/conf/%s", "", 1), fmt.Sprintf(path, l.Name)); err != nil {
				return nil, err
			}
		}
	}
	return asked, nil
}

// readInto reads a setting, unless it has gone, or has no value.
func readInto(values map[string]string, name, path string) error {
	value, err := sysctl.Read(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EIO) {
		return nil
	}
	values[name] = value
	return err
}
