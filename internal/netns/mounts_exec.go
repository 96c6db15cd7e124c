//go:build linux

package netns

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Mounts returns a descriptor of a new mount namespace as ip netns exec makes one:
// with the /sys of the network namespace fd, which name is shown for, and with the
// files of the directory etc, if there is one, over those of /etc. Mounts that are
// made elsewhere later are seen there, and none from there elsewhere.
func Mounts(fd int, name, etc string) (mnt int, err error) {
	done := make(chan error, 1)
	go onLostThread(func() error { // none that has mounts of its own can come back
		if err := setns(fd, unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("setns", err)
		}
		if err := MountHere(name, etc); err != nil {
			return err
		}
		mnt, err = unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return os.NewSyscallError("open", err)
	}, done)
	if err := <-done; err != nil {
		return -1, err
	}
	return mnt, nil
}

// MountHere gives the calling thread, which its caller has locked and which is in a
// network namespace, the mounts of ip netns exec. It must not go back. Where it may not
// mount, the error is fs.ErrPermission.
func MountHere(name, etc string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return &fs.PathError{Op: "make a slave mount of", Path: "/", Err: err}
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	var st unix.Statfs_t
	if unix.Statfs("/sys", &st) == nil && st.Flags&unix.ST_RDONLY != 0 {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount(name, "/sys", "sysfs", flags, ""); err != nil {
		return &fs.PathError{Op: "mount a sysfs at", Path: "/sys", Err: err}
	}
	if etc == "" {
		return nil
	}
	entries, err := os.ReadDir(etc)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		from, to := filepath.Join(etc, e.Name()), filepath.Join("/etc", e.Name())
		if _, err := os.Stat(to); err != nil {
			return &fs.PathError{Op: "mount " + from + " at", Path: to, Err: errors.Unwrap(err)}
		}
		if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
			return &fs.PathError{Op: "mount " + from + " at", Path: to, Err: err}
		}
	}
	return err
}
