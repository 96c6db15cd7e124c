//go:build linux

package sysctl

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// All returns the settings of the calling thread's namespace that can be read and
// written, by their paths.
func All() (map[string]string, error) {
	all := map[string]string{}
	err := within(unix.AT_FDCWD, root, "", all)
	return all, err
}

// within puts the settings of a directory and of those in it into all. Each is opened in
// its directory: every step of a path through /proc/sys costs a search among the names
// that all namespaces of the machine have there.
func within(parent int, name, path string, all map[string]string) error {
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ignoreGone(&fs.PathError{Op: "open", Path: root + path, Err: err})
	}
	dir := os.NewFile(uintptr(fd), root+path)
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return ignoreGone(err)
	}
	for _, e := range entries {
		switch {
		case !e.IsDir():
			var value string
			var ok bool
			if value, ok, err = valueIn(fd, e.Name(), path+e.Name()); ok {
				all[path+e.Name()] = value
			}
		case e.Name() != "neigh": // of links, and nobody sets those
			err = within(fd, e.Name(), path+e.Name()+"/", all)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// valueIn reads a setting of an open directory, unless it is one that can not be read and
// written, that has no value, or that this user may not see.
func valueIn(dir int, name, path string) (value string, ok bool, err error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	f := file{fd, path}
	if err == nil {
		defer f.close()
		var st unix.Stat_t
		if err = unix.Fstat(fd, &st); err == nil && st.Mode&0o600 == 0o600 {
			value, err = f.read()
			ok = err == nil
		}
	}
	if errors.Is(err, unix.EIO) || errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return value, ok, err
}

// OfLink returns the settings of a link of the calling thread's namespace that can be read
// and written, and those that a new one has, by their paths with %s for its name.
func OfLink(name string) (own, usual map[string]string, err error) {
	own, usual = map[string]string{}, map[string]string{}
	for _, conf := range []string{"ipv4/conf/", "ipv6/conf/"} {
		for from, to := range map[string]map[string]string{name: own, "default": usual} {
			all := map[string]string{}
			if err := within(unix.AT_FDCWD, root+conf+from, "", all); err != nil {
				return nil, nil, err
			}
			for setting, value := range all {
				to[conf+"%s/"+setting] = value
			}
		}
	}
	return own, usual, nil
}

// Names returns the paths of the settings of the calling thread's namespace: those of all links,
// which have them alike, with the name default.
func Names() (paths []string, err error) {
	err = names(root, "", &paths)
	return paths, err
}

func names(dir, path string, paths *[]string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ignoreGone(err)
	}
	ofLinks := strings.HasSuffix(path, "/conf/") || strings.HasSuffix(path, "/neigh/")
	for _, e := range entries {
		switch {
		case !e.IsDir():
			*paths = append(*paths, path+e.Name())
		case !ofLinks || e.Name() == "default" || e.Name() == "all":
			if err := names(dir+"/"+e.Name(), path+e.Name()+"/", paths); err != nil {
				return err
			}
		}
	}
	return nil
}

// ignoreGone passes over what went with its link.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
