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
	"strings"
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

// Read returns the value of a setting.
func Read(path string) (string, error) {
	if err := Path(path); err != nil {
		return "", err
	}
	b, err := os.ReadFile(root + path)
	return strings.TrimSpace(string(b)), err
}

// Set writes a setting unless it has the value already, so that a read-only
// /proc/sys is no obstacle where there is nothing to do. It returns the value
// before.
func Set(path, value string) (old string, err error) {
	if old, err = Read(path); err != nil {
		return "", err
	}
	if strings.Join(strings.Fields(old), " ") == strings.Join(strings.Fields(value), " ") {
		return old, nil
	}
	f, err := os.OpenFile(root+path, os.O_WRONLY, 0)
	if err != nil {
		return old, err
	}
	_, err = f.WriteString(value)
	if err = errors.Join(err, f.Close()); err != nil {
		// What failed may have happened all the same.
		if now, rerr := Read(path); rerr == nil && now != old {
			err = errors.Join(err, os.WriteFile(root+path, []byte(old), 0))
		}
	}
	return old, err
}

// Ensure writes a setting; where that is refused, it is enough that the
// setting has the value already.
func Ensure(path, value string) error {
	f, err := os.OpenFile(root+path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(value)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		if have, rerr := Read(path); rerr == nil && have == value {
			return nil
		}
	}
	return err
}
