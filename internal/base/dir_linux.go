// Package base finds the base path: the directory below which the keys, and the
// file of their locks, are. The library and the command agree on it here.
package base

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/netns"
)

// machine is the base path that has the keys where ip netns has its own.
const machine = "/run"

// OfIP reports whether a directory of keys is that of ip netns, by either of its names.
func OfIP(dir string) bool {
	return dir == KeysIn(machine) || dir == KeysIn("/var/run")
}

// IsMachine reports whether a base path is the one of all who may change the host's
// network: the machine's, and in a user namespace other than the first its default. The
// path is one without symbolic links.
func IsMachine(path string) bool {
	return path == machine || path == resolved(machine) || !netns.InitialUser() && path == Default()
}

// Machine returns the base path that IsMachine knows.
func Machine() string {
	if netns.InitialUser() {
		return machine
	}
	return Default()
}

// Default returns the base path of a process that was told none: /run where it
// may write there, else a directory of the user's own, and in a user namespace
// other than the machine's first one that is of this user namespace only. There
// need be no such directory yet; see Make.
func Default() string {
	if usesMachine() {
		return machine
	}
	return own()
}

// usesMachine is found out once: it changes with the process's user alone.
var usesMachine = sync.OnceValue(func() bool {
	if unix.Access(machine, unix.W_OK) != nil {
		return false
	}
	// Who is root in a user namespace that root made may write to the machine's.
	return netns.InitialUser() || netns.OwnMount(machine)
})

// own depends on the environment, and is asked for at every turn.
func own() string {
	env := os.Getenv("XDG_RUNTIME_DIR")
	if dir, ok := known.Load(env); ok {
		return dir.(string)
	}
	dir := User()
	if !netns.InitialUser() {
		dir = Of(dir, userNamespace())
	}
	known.Store(env, dir)
	return dir
}

var known sync.Map // directories by XDG_RUNTIME_DIR

// Of returns the base path in the user's directory dir of a user namespace, by its
// inode.
func Of(dir string, userNS uint64) string { return filepath.Join(dir, fmt.Sprintf("user-%d", userNS)) }

func userNamespace() uint64 {
	var st unix.Stat_t
	_ = unix.Stat("/proc/self/ns/user", &st)
	return st.Ino
}

// IsOwn reports whether dir is the base path of this user namespace alone.
func IsOwn(dir string) bool { return !netns.InitialUser() && dir == own() && !usesMachine() }

// User returns the user's own directory: in $XDG_RUNTIME_DIR or /run/user, where
// that is the user's, else in /tmp.
func User() string {
	uid := userID()
	for _, parent := range []string{os.Getenv("XDG_RUNTIME_DIR"), fmt.Sprintf("/run/user/%d", uid)} {
		if parent != "" && filepath.IsAbs(parent) && owned(parent) == nil {
			return filepath.Join(resolved(parent), "osl")
		}
	}
	return fmt.Sprintf("%s/osl-%d", resolved("/tmp"), uid)
}

// resolved is a directory by the path that the locks know it by.
func resolved(dir string) string {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		return real
	}
	return dir
}

// userID returns the user's id outside of the user namespace, so that one in it
// and one outside find the same directory, and two users' are not the same.
func userID() int {
	uid := os.Getuid()
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return uid
	}
	for line := range strings.Lines(string(b)) {
		var inside, outside, n int
		if _, err := fmt.Sscan(line, &inside, &outside, &n); err == nil && uid >= inside && uid-inside < n {
			return outside + uid - inside
		}
	}
	return uid
}

// Make makes the directory of a base path where it is missing: those of the user
// with mode 0700, and none that somebody else made first. It returns the outermost
// directory that it made, also with an error; empty if all were there.
func Make(dir string) (made string, err error) {
	switch dir {
	case User():
		return private(dir)
	case own():
		if made, err = private(User()); err != nil {
			return made, err
		}
		inner, err := private(dir)
		return cmp.Or(made, inner), err
	}
	return netns.MakeDir(dir)
}

// Unmake takes a base path away again for which Make made a directory and its parents
// as far as made, and the directory of its keys, unless something is in it.
func Unmake(dir, made string) {
	netns.RemoveDir(KeysIn(dir))
	ready.Delete(dir)
	for err := unix.Rmdir(dir); (err == nil || err == unix.ENOENT) && dir != made; err = unix.Rmdir(dir) {
		dir = filepath.Dir(dir)
	}
}

// Ready makes a base path of the user's, once. Others are there, or are made with
// the first sandbox. It returns what Make does.
func Ready(dir string) (made string, err error) {
	if usesMachine() || dir != own() {
		return "", nil
	}
	if _, ok := ready.Load(dir); ok {
		return "", nil
	}
	if made, err = Make(dir); err == nil {
		ready.Store(dir, true)
	}
	return made, err
}

var ready sync.Map

// private makes dir with mode 0700, or makes sure that it is as if it had:
// in /tmp somebody else may have been there first. It returns dir if it made it.
func private(dir string) (made string, err error) {
	if err := os.Mkdir(dir, 0o700); err == nil {
		// Whatever the umask took away.
		return dir, os.Chmod(dir, 0o700)
	} else if !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	if err := owned(dir); err != nil {
		return "", err
	}
	return "", os.Chmod(dir, 0o700)
}

// owned returns an error unless path is a directory, no symbolic link to one,
// and belongs to the user.
func owned(path string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return fmt.Errorf("%s is not a directory", path)
	}
	if int(st.Uid) != os.Getuid() {
		return fmt.Errorf("%s belongs to user %d, not to you (%d)", path, st.Uid, os.Getuid())
	}
	return nil
}
