//go:build linux

package netns

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is a line of a mountinfo.
type mount struct {
	id, parent string
	dev        string // major:minor
	root       string // of the mount, in its file system
	at         string
}

// Unescape undoes what the kernel does to blanks in mountinfo.
var Unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace

func parseMounts(info []byte) (list []mount) {
	for line := range strings.Lines(string(info)) {
		if f := strings.Fields(line); len(f) > 4 {
			list = append(list, mount{id: f[0], parent: f[1], dev: f[2], root: Unescape(f[3]), at: Unescape(f[4])})
		}
	}
	return list
}

// Pinned returns the paths of this mount namespace where network namespaces are
// mounted.
func Pinned() (paths []string, err error) {
	info, err := os.ReadFile("/proc/thread-self/mountinfo")
	for _, m := range parseMounts(info) {
		if strings.HasPrefix(m.root, "net:[") {
			paths = append(paths, m.at)
		}
	}
	return paths, err
}

// place is a file by its file system, which all mount namespaces have in common.
type place struct{ dev, path string }

// within returns the place of a path below a mount.
func (m mount) within(path string) (place, bool) {
	rest, ok := strings.CutPrefix(path, strings.TrimSuffix(m.at, "/"))
	return place{m.dev, filepath.Join(m.root, rest)}, ok && (rest == "" || rest[0] == '/')
}

// placeOf returns the place of the file path, whatever is mounted on it, and the path as
// the table of mounts says it.
func placeOf(path string) (p place, at string, err error) {
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return p, "", &fs.PathError{Op: "open", Path: filepath.Dir(path), Err: err}
	}
	defer unix.Close(dir)
	var st unix.Statx_t
	if err := unix.Statx(dir, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil {
		return p, "", os.NewSyscallError("statx", err)
	}
	at, err = os.Readlink(ofFD(dir))
	if err != nil {
		return p, "", err
	}
	info, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return p, "", err
	}
	at = filepath.Join(at, filepath.Base(path))
	for _, m := range parseMounts(info) {
		if st.Mask&unix.STATX_MNT_ID != 0 && m.id == strconv.FormatUint(st.Mnt_id, 10) {
			if p, ok := m.within(at); ok {
				return p, at, nil
			}
		}
	}
	return p, "", errors.New("the mount of its directory is not known")
}

// has reports whether a network namespace is mounted on the file at p.
func (p place) has(mounts []mount) bool { return len(p.on(mounts)) > 0 }

// on returns the mounts of network namespaces on the file at p.
func (p place) on(mounts []mount) (list []mount) {
	byID := map[string]mount{}
	for _, m := range mounts {
		byID[m.id] = m
	}
	for _, m := range mounts {
		if !strings.HasPrefix(m.root, "net:[") {
			continue
		}
		if at, ok := byID[m.parent].within(m.at); ok && at == p {
			list = append(list, m)
		}
	}
	return list
}

// shows reports whether a mount of a network namespace of this mount namespace can be
// seen where it is: another one may hide it.
func (m mount) shows() bool {
	var st unix.Stat_t
	return unix.Stat(m.at, &st) == nil && m.root == fmt.Sprintf("net:[%d]", st.Ino)
}

// mountsOf reads what is mounted in the mount namespace at path, in which no
// process need be, on a thread that ends afterwards.
func mountsOf(path string) (list []mount, err error) {
	done := make(chan error, 1)
	go onLostThread(func() error {
		ns, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return &fs.PathError{Op: "open", Path: path, Err: err}
		}
		defer unix.Close(ns)
		// There /proc may be another, or none.
		self, err := unix.Open(fmt.Sprintf("/proc/self/task/%d", unix.Gettid()), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("open", err)
		}
		defer unix.Close(self)
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		if err := unix.Setns(ns, unix.CLONE_NEWNS); err != nil {
			return os.NewSyscallError("setns", err)
		}
		fd, err := unix.Openat(self, "mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("openat", err)
		}
		f := os.NewFile(uintptr(fd), "mountinfo")
		defer f.Close()
		info, err := io.ReadAll(f)
		list = parseMounts(info)
		return err
	}, done)
	err = <-done
	return list, err
}
