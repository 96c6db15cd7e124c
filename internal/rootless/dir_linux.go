package rootless

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// directory returns the user's own directory for keys, lock and record, and
// makes it where it is missing.
func directory() (string, error) {
	uid := os.Getuid()
	for _, parent := range []string{os.Getenv("XDG_RUNTIME_DIR"), fmt.Sprintf("/run/user/%d", uid)} {
		if parent != "" && filepath.IsAbs(parent) && owned(parent) == nil {
			dir := filepath.Join(parent, "osl")
			return dir, private(dir)
		}
	}
	dir := fmt.Sprintf("/tmp/osl-%d", uid)
	return dir, private(dir)
}

// private makes dir with mode 0700, or makes sure that it is as if it had:
// in /tmp somebody else may have been there first.
func private(dir string) error {
	if err := os.Mkdir(dir, 0o700); err == nil {
		// Whatever the umask took away.
		return os.Chmod(dir, 0o700)
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := owned(dir); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
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

// Base returns the base path that the command will use in the user's own
// namespaces, or "" where it does without them.
func Base() string {
	if !Needed() {
		return ""
	}
	dir, err := directory()
	if err != nil {
		return "" // the command itself will say why
	}
	return dir
}
