//go:build linux

package netns

import (
	"io/fs"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Unpin takes everything away that is mounted at path, and the file. It
// succeeds where there is neither. A file in use is tried for two seconds.
func Unpin(path string) error {
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		// Most often one mount is there; the kernel refuses to remove the file
		// where there are more.
		if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && err != unix.EINVAL && err != unix.ENOENT {
			return &fs.PathError{Op: "unmount", Path: path, Err: err}
		}
		err := unix.Unlink(path)
		if err == unix.EBUSY {
			if err := unmount(path); err != nil {
				return &fs.PathError{Op: "unmount", Path: path, Err: err}
			}
			err = unix.Unlink(path)
		}
		if err == unix.EBUSY {
			err = unlinkElsewhere(path)
		}
		if err == nil || err == unix.ENOENT {
			return nil
		}
		if err != unix.EBUSY || time.Now().After(end) {
			return &fs.PathError{Op: "remove", Path: path, Err: err}
		}
	}
}

// Repin mounts the namespace fd again where its file is left without it.
func Repin(fd int, path string) {
	f, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return // gone, or another's
	}
	defer unix.Close(f)
	var st unix.Statfs_t
	if unix.Fstatfs(f, &st) == nil && st.Type != unix.NSFS_MAGIC {
		_ = unix.Mount(ofFD(fd), ofFD(f), "", unix.MS_BIND, "") // the caller reports what came before
	}
}

// unmount takes away all that is mounted at path, as far as it can be seen.
func unmount(path string) error {
	for {
		switch err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err {
		case nil:
		case unix.EINVAL, unix.ENOENT:
			return nil // nothing is mounted there (any more)
		default:
			return err
		}
	}
}

// unlinkElsewhere removes a file on which something is mounted that can not be
// seen: ip netns, at its first use, mounts the directory of the keys on itself,
// with a copy of each key's mount, and hides the first ones. The kernel refuses
// to remove such a file where it is mounted, but not from another mount
// namespace: then it takes the mounts away everywhere. So that is made, on a
// thread that ends afterwards.
func unlinkElsewhere(path string) error {
	done := make(chan error, 1)
	go onLostThread(func() error { return unlinkHidden(path) }, done)
	return <-done
}

// onLostThread runs f on a thread that ends with it, whatever it has become.
func onLostThread(f func() error, done chan<- error) {
	runtime.LockOSThread() // and never unlocked
	if unix.Gettid() == firstThread {
		inner := make(chan error, 1)
		go onLostThread(f, inner)
		done <- <-inner
		runtime.UnlockOSThread()
		return
	}
	done <- f()
}

func unlinkHidden(path string) error {
	var file, now unix.Stat_t
	if err := unix.Lstat(path, &file); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return unix.EBUSY // as it was
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return unix.EBUSY
	}
	// Only while it is the same file that shows below.
	for unix.Unmount(filepath.Dir(path), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) == nil {
		if err := unmount(path); err != nil {
			return err
		}
		if unix.Lstat(path, &now) != nil || now.Dev != file.Dev || now.Ino != file.Ino {
			return unix.EBUSY
		}
		if err := unix.Unlink(path); err != unix.EBUSY {
			return err
		}
	}
	return unix.EBUSY
}
