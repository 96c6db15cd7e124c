//go:build linux

package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNotNamespace is what errors.Is finds for a path that is no network
// namespace.
var ErrNotNamespace = errors.New("not a network namespace")

// notNamespace says what a path is instead.
type notNamespace string

func (e notNamespace) Error() string        { return "it is " + string(e) }
func (e notNamespace) Is(target error) bool { return target == ErrNotNamespace }

// ID tells network namespaces apart. It is never used again while any
// descriptor, socket or mount of the namespace is there.
type ID struct{ Dev, Ino uint64 }

// Open opens the namespace that is pinned at path. The file is looked at
// before it is opened, so that neither a pipe nor a device can block, and a
// symbolic link is refused unless it is the kernel's own in /proc.
func Open(path string) (fd int, id ID, err error) {
	p, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, id, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(p)
	var sfs unix.Statfs_t
	if err := unix.Fstatfs(p, &sfs); err != nil {
		return -1, id, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	if sfs.Type != unix.NSFS_MAGIC && sfs.Type != unix.PROC_SUPER_MAGIC {
		return -1, id, notNamespace(describe(p))
	}
	again := path // a link of /proc, which nobody can replace
	if sfs.Type == unix.NSFS_MAGIC {
		again = ofFD(p) // what was looked at, whatever the path is by now
	}
	if fd, err = unix.Open(again, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
		return -1, id, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	if id, err = Identify(fd); err != nil {
		unix.Close(fd)
		return -1, id, err
	}
	return fd, id, nil
}

// Identify returns the identity of the network namespace fd, or
// ErrNotNamespace.
func Identify(fd int) (id ID, err error) {
	var sfs unix.Statfs_t
	if err := unix.Fstatfs(fd, &sfs); err != nil {
		return id, os.NewSyscallError("fstatfs", err)
	}
	if sfs.Type != unix.NSFS_MAGIC {
		return id, notNamespace(describe(fd))
	}
	kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
	if err != nil {
		return id, os.NewSyscallError("ioctl NS_GET_NSTYPE", err)
	}
	if kind != unix.CLONE_NEWNET {
		return id, notNamespace("a namespace of another kind")
	}
	return IdentityOf(fd)
}

// IdentityOf is Identify for what is known to be a network namespace.
func IdentityOf(fd int) (ID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return ID{}, os.NewSyscallError("fstat", err)
	}
	return ID{uint64(st.Dev), st.Ino}, nil
}

// At reports whether the namespace id is what is pinned at path now.
func At(path string, id ID) bool {
	there, _ := at(path, id)
	return there
}

// at also reports whether it is mounted there, and not what a link of /proc leads to.
func at(path string, id ID) (there, mounted bool) {
	var st unix.Stat_t
	err := unix.Fstatat(unix.AT_FDCWD, path, &st, unix.AT_SYMLINK_NOFOLLOW)
	mounted = st.Mode&unix.S_IFMT != unix.S_IFLNK
	if err == nil && !mounted {
		err = unix.Stat(path, &st)
	}
	return err == nil && id == ID{uint64(st.Dev), st.Ino}, mounted
}

func describe(fd int) string {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return "something else"
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "a plain file"
	case unix.S_IFDIR:
		return "a directory"
	case unix.S_IFLNK:
		return "a symbolic link"
	case unix.S_IFIFO:
		return "a named pipe"
	case unix.S_IFSOCK:
		return "a socket"
	}
	return "a device"
}

// Pin makes the namespace fd reachable at path, which must not exist. On an
// error nothing is left there.
func Pin(fd int, path string) error {
	f, err := unix.Open(path, unix.O_RDONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		if err != unix.EEXIST { // what failed may have happened all the same
			_ = unix.Unlink(path)
		}
		if err == unix.ENOENT {
			return &fs.PathError{Op: "open", Path: filepath.Dir(path), Err: err} // that is what is missing
		}
		return &fs.PathError{Op: "create", Path: path, Err: err}
	}
	defer unix.Close(f)
	// Through the descriptors' links in /proc: the mount is of the namespace
	// itself, whatever thread this is, and on the file that was just made, even
	// if who may write to the directory put something else in its place.
	if err := unix.Mount(ofFD(fd), ofFD(f), "", unix.MS_BIND, ""); err != nil {
		_ = unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		_ = unix.Unlink(path)
		return &fs.PathError{Op: "bind-mount", Path: path, Err: err}
	}
	return nil
}

// MakeDir makes the directory of the keys, and its parents, with the mode 0755
// whatever the umask. It returns the outermost one that it made, empty if all
// were there, so that a failure can take it back.
func MakeDir(dir string) (made string, err error) {
	dir = filepath.Clean(dir)
	if st, err := os.Lstat(dir); err == nil {
		if !st.IsDir() {
			return "", &fs.PathError{Op: "use as a directory", Path: dir, Err: unix.ENOTDIR}
		}
		return "", nil
	}
	if parent := filepath.Dir(dir); parent != dir {
		if made, err = MakeDir(parent); err != nil {
			return made, err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return made, nil
		}
		return made, err
	}
	if made == "" {
		made = dir
	}
	return made, chmodDir(dir)
}

// chmodDir sets the mode of a directory, and never of what a symbolic link
// leads to that someone put in its place.
func chmodDir(dir string) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	return os.Chmod(ofFD(fd), 0o755)
}

// Share makes a directory of keys a mount of its own, which shows in mount namespaces that
// are made later, as ip netns does at its first use; not where it is one, or has a key. Else
// ip netns would mount each key that is there a second time with it, and delete none.
func Share(dir string) error {
	if IsMount(dir) {
		return nil
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	// As ip netns does. Who has it is done within milliseconds, or does something else.
	for end := time.Now().Add(time.Second); ; time.Sleep(time.Millisecond) {
		if err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err == nil {
			break
		} else if err != unix.EWOULDBLOCK && err != unix.EINTR || time.Now().After(end) {
			return &fs.PathError{Op: "lock", Path: dir, Err: err}
		}
	}
	if IsMount(dir) || !Empty(dir) {
		return nil
	}
	if err = unix.Mount(dir, dir, "", unix.MS_BIND|unix.MS_REC, ""); err == nil {
		err = unix.Mount("", dir, "", unix.MS_SHARED|unix.MS_REC, "")
	}
	if err != nil {
		return &fs.PathError{Op: "mount", Path: dir, Err: err}
	}
	return nil
}

// IsMount reports whether a directory is a mount, or the kernel does not tell: before
// Linux 5.8.
func IsMount(dir string) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW, 0, &st)
	return err == nil && (st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT == 0 || st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0)
}

// RemoveDir removes a directory of keys, and what Share made of it, unless a key is in it.
func RemoveDir(dir string) {
	if Empty(dir) {
		_ = unix.Unmount(dir, unix.UMOUNT_NOFOLLOW) // most are none
		_ = unix.Rmdir(dir)
	}
}

// Empty reports whether nothing is in a directory, or there is none.
func Empty(dir string) bool {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err == unix.ENOENT
	}
	defer unix.Close(fd)
	var entries [512]byte // "." and "..", and one more
	n, err := unix.Getdents(fd, entries[:])
	if err != nil {
		return false
	}
	_, _, names := unix.ParseDirent(entries[:n], 1, nil)
	return len(names) == 0
}

// ofFD is a path that leads to the file of a descriptor.
func ofFD(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }
