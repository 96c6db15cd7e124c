//go:build linux

// Package sysctl reads and writes network settings of the calling thread's
// network namespace. /proc/sys/net follows the thread, so its callers run it
// inside netns.Do.
package sysctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/near"
)

// root is where every path of this package begins.
const root = "/proc/sys/net/"

// file is an open setting. os.File would hand it to the runtime's poller, at twice
// the number of system calls.
type file struct {
	fd   int
	path string
}

func open(path string, flags int) (file, error) {
	if err := Path(path); err != nil {
		return file{}, err
	}
	fd, err := unix.Open(root+path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return file{}, &fs.PathError{Op: "open", Path: root + path, Err: err}
	}
	return file{fd, path}, nil
}

func (f file) close() { unix.Close(f.fd) } // nothing is held back that it could report

func (f file) read() (string, error) {
	var b [4096]byte // more than any of them
	n, err := unix.Pread(f.fd, b[:], 0)
	if err != nil {
		return "", &fs.PathError{Op: "read", Path: root + f.path, Err: err}
	}
	return strings.TrimSpace(string(b[:n])), nil
}

func (f file) write(value string) error {
	if _, err := unix.Pwrite(f.fd, []byte(value), 0); err != nil {
		return &fs.PathError{Op: "write", Path: root + f.path, Err: err}
	}
	return nil
}

// Read returns the value of a setting.
func Read(path string) (string, error) {
	f, err := open(path, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.close()
	return f.read()
}

// Set writes a setting unless it has the value already, so that a read-only
// /proc/sys is no obstacle where there is nothing to do. It returns the value
// before.
func Set(path, value string) (old string, err error) {
	f, werr, err := openToSet(path)
	if err != nil {
		return "", err
	}
	defer f.close()
	if old, err = f.read(); err != nil || Same(value, old) {
		return old, err
	}
	if werr != nil {
		return old, werr
	}
	return old, f.replace(old, value)
}

// openToSet opens a setting to read and write it, and where it can only be read,
// to read it: denied is why then.
func openToSet(path string) (f file, denied, err error) {
	if f, denied = open(path, unix.O_RDWR); denied != nil {
		f, err = open(path, unix.O_RDONLY)
	}
	return f, denied, err
}

// replace writes a setting, or leaves it as it was.
func (f file) replace(old, value string) error {
	err := f.write(value)
	if err != nil {
		// What failed may have happened all the same.
		if now, rerr := f.read(); rerr == nil && now != old {
			err = errors.Join(err, f.write(old))
		}
	}
	return err
}

// Put sets a setting as Set does, reads it back, and fails where the kernel holds
// something else than what was asked for: a bound of it, or fewer numbers. A
// setting that has no value yet can not be read; known is false then.
func Put(path, value string) (old string, known bool, err error) {
	f, werr, err := openToSet(path)
	if err != nil {
		return "", false, err
	}
	defer f.close()
	old, err = f.read()
	known = err == nil
	switch {
	case err != nil && !errors.Is(err, unix.EIO):
		return "", false, err
	case known && Same(value, old):
		return old, known, nil
	case werr != nil:
		return old, known, werr
	}
	if err = f.replace(old, value+"\n"); err != nil {
		return old, known, err
	}
	now, err := f.read()
	if err == nil && !Same(value, now) {
		err = fmt.Errorf("%w: the kernel made %q of %q", ErrChanged, strings.Join(strings.Fields(now), " "), value)
	}
	if err != nil && known {
		err = errors.Join(err, f.write(old))
	}
	return old, known, err
}

// ErrChanged says that the kernel does not hold what was written.
var ErrChanged = errors.New("the setting does not take this value")

// Ensure writes a setting; where that is refused, it is enough that the
// setting has the value already.
func Ensure(path, value string) error {
	f, err := open(path, unix.O_WRONLY)
	if err == nil {
		err = f.write(value)
		f.close()
	}
	if err != nil {
		if have, rerr := Read(path); rerr == nil && have == value {
			return nil
		}
	}
	return err
}

// Mode returns the type and the permissions of a setting. They are those of its
// kind, whoever asks.
func Mode(path string) (uint32, error) {
	if err := Path(path); err != nil {
		return 0, err
	}
	var st unix.Stat_t
	if err := unix.Stat(root+path, &st); err != nil {
		return 0, &fs.PathError{Op: "stat", Path: root + path, Err: err}
	}
	return st.Mode, nil
}

// Nearest returns the setting that may have been meant by a path that is none,
// empty if there is none like it: the first part that is wrong is replaced.
func Nearest(path string) string {
	parts := strings.Split(path, "/")
	dir := ""
	for i, p := range parts {
		entries, err := os.ReadDir(root + dir)
		if err != nil {
			return ""
		}
		if slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == p }) {
			dir += p + "/"
			continue
		}
		var names []string
		for _, e := range entries {
			if e.IsDir() == (i < len(parts)-1) {
				names = append(names, e.Name())
			}
		}
		parts[i] = near.Name(p, names)
		if parts[i] == "" {
			return ""
		}
		dir += parts[i] + "/"
	}
	return strings.TrimSuffix(dir, "/")
}
