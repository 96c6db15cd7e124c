//go:build linux

// Package sysctl reads and writes network settings of the calling thread's
// network namespace. /proc/sys/net follows the thread, so its callers run it
// inside netns.Do.
package sysctl

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// root is where every path of this package begins.
const root = "/proc/sys/net/"

// Path checks a setting's path below /proc/sys/net, such as
// "ipv4/conf/eth0.100/rp_filter".
func Path(p string) error {
	if !fs.ValidPath(p) || p == "." || strings.ContainsRune(p, 0) {
		return fmt.Errorf("%q is no name of a setting", p)
	}
	return nil
}

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
	f, werr := open(path, unix.O_RDWR)
	if werr != nil {
		if f, err = open(path, unix.O_RDONLY); err != nil {
			return "", err
		}
	}
	defer f.close()
	if old, err = f.read(); err != nil || same(old, value) {
		return old, err
	}
	if werr != nil {
		return old, werr
	}
	if err = f.write(value); err != nil {
		// What failed may have happened all the same.
		if now, rerr := f.read(); rerr == nil && now != old {
			err = errors.Join(err, f.write(old))
		}
	}
	return old, err
}

func same(a, b string) bool {
	return a == b || strings.Join(strings.Fields(a), " ") == strings.Join(strings.Fields(b), " ")
}

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
