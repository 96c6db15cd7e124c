//go:build linux

package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Elsewhere is the error about a key that is a plain file here, but whose
// namespace is mounted in another mount namespace, or may be, or in this one at
// another path. To remove the file would take that mount away.
type Elsewhere struct {
	Here string // the path at which this mount namespace has it
	PID  int    // a process that has it
	At   string // where a mount namespace without processes is that has it
	Why  string // neither is known, and what can not be looked at
}

func (e *Elsewhere) Error() string {
	switch {
	case e.Here != "":
		return "the same file is mounted at " + e.Here
	case e.At != "":
		return "the mount namespace at " + e.At + " has it"
	case e.PID == 0:
		return "whether another mount namespace has it can not be known: " + e.Why
	}
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", e.PID))
	return fmt.Sprintf("process %d (%s) has it in its mount namespace", e.PID, strings.TrimSpace(string(name)))
}

// Dead reports whether path is what a pinned namespace leaves behind when it is
// unmounted: a plain empty file on which no mount namespace has a network
// namespace. Where one has, or may have, the error is an *Elsewhere; there is none
// where one is pinned at path itself by then. With own, what can not be looked at
// counts as having none: the directory is used by this user namespace alone.
func Dead(path string, own bool) (bool, error) {
	var sfs unix.Statfs_t
	st, err := os.Lstat(path)
	// The file of a mounted namespace of another kind looks alike, on another
	// file system.
	if err != nil || !st.Mode().IsRegular() || st.Size() != 0 ||
		unix.Statfs(path, &sfs) != nil || sfs.Type == unix.NSFS_MAGIC || sfs.Type == unix.PROC_SUPER_MAGIC {
		return false, nil
	}
	p, at, err := placeOf(path)
	if err != nil {
		return false, &Elsewhere{Why: err.Error()}
	}
	s := search{place: p, at: at, seen: map[string]bool{}, pinned: map[string]string{}}
	s.run()
	switch {
	case s.pinnedNow:
		return false, nil
	case s.found != nil:
		return false, s.found
	case s.missed == "", own, OwnTmpfs(filepath.Dir(path)) && (!initial("user", unixUserInit) || initial("pid", unixPIDInit)):
		return true, nil
	}
	return false, &Elsewhere{Why: s.missed}
}

// The inodes of the machine's first namespaces: PROC_USER_INIT_INO and
// PROC_PID_INIT_INO of linux/proc_ns.h.
const (
	unixUserInit = 0xEFFFFFFD
	unixPIDInit  = 0xEFFFFFFC
)

func initial(kind string, ino uint64) bool {
	var st unix.Stat_t
	return unix.Stat("/proc/self/ns/"+kind, &st) == nil && st.Ino == ino
}

// InitialUser reports whether the process is in the machine's first user
// namespace.
func InitialUser() bool { return initial("user", unixUserInit) }

// OwnTmpfs reports whether dir is on a tmpfs that was mounted in this user namespace.
func OwnTmpfs(dir string) bool {
	var sfs unix.Statfs_t
	return unix.Statfs(dir, &sfs) == nil && sfs.Type == unix.TMPFS_MAGIC && OwnMount(dir)
}

// OwnMount reports whether dir is on a file system that was mounted in this user
// namespace. Nothing says so but who may thaw it. It is not asked of others than a tmpfs
// in the machine's first user namespace, whose file systems may be frozen; what can be
// mounted in another one is never.
func OwnMount(dir string) bool {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	// Who has no descriptor left for a moment is not to find another base path by it.
	for wait := time.Millisecond; (err == unix.EMFILE || err == unix.ENFILE || err == unix.ENOMEM) && wait < time.Second; wait *= 2 {
		time.Sleep(wait)
		fd, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	const fithaw = 0xC0045878 // FITHAW of linux/fs.h
	return unix.IoctlSetInt(fd, fithaw, 0) == unix.EINVAL
}

// search looks through the mount namespaces that can be found.
type search struct {
	place  place
	at     string            // the path at which that is here
	seen   map[string]bool   // namespaces, with the root that they were looked at from
	pinned map[string]string // paths by namespace, of those that are mounted somewhere
	found  *Elsewhere        // who has it
	missed string            // why that may not be all

	pinnedNow bool // it is mounted at its path by now
}

func (s *search) run() {
	own, err := os.Readlink("/proc/thread-self/ns/mnt")
	if err != nil {
		s.missed = err.Error()
		return
	}
	// Hidden mounts of this one are no concern of others.
	info, err := os.ReadFile("/proc/thread-self/mountinfo")
	s.miss("/proc/thread-self/mountinfo", err)
	mounts := parseMounts(info)
	if here := slices.DeleteFunc(s.place.on(mounts), func(m mount) bool { return !m.shows() }); len(here) > 0 {
		if slices.ContainsFunc(here, func(m mount) bool { return m.at == s.at }) {
			s.pinnedNow = true
			return
		}
		s.found = &Elsewhere{Here: here[0].at}
		return
	}
	s.note("", mounts)
	s.seen[own] = true
	if _, err := os.Stat("/proc/1"); err != nil || !initial("pid", unixPIDInit) {
		s.missed = "/proc does not show all processes"
	}
	tasks, _ := filepath.Glob("/proc/[0-9]*/task/[0-9]*")
	for _, task := range tasks {
		if s.task(task, own); s.found != nil {
			return
		}
	}
	for ns, path := range s.pinned {
		if s.seen[ns] {
			continue
		}
		list, err := mountsOf(path)
		if s.miss("the mount namespace at "+path, err); s.place.has(list) {
			s.found = &Elsewhere{At: path}
			return
		}
	}
}

// task looks at the namespace of a thread.
func (s *search) task(dir, own string) {
	ns, err := os.Readlink(dir + "/ns/mnt")
	if ns == own {
		return
	}
	if err == nil {
		root, _ := os.Readlink(dir + "/root")
		var st unix.Stat_t
		_ = unix.Stat(dir+"/root", &st)
		from := fmt.Sprint(ns, " ", root, " ", st.Dev, " ", st.Ino)
		if s.seen[from] {
			return
		}
		s.seen[ns], s.seen[from] = true, true
	}
	// It can be read where the link can not.
	info, err := os.ReadFile(dir + "/mountinfo")
	if s.miss(dir+"/mountinfo", err); err != nil {
		return
	}
	list := parseMounts(info)
	if s.place.has(list) {
		pid, _ := strconv.Atoi(strings.Split(dir, "/")[2])
		s.found = &Elsewhere{PID: pid}
	}
	s.note(dir+"/root", list)
}

// note keeps the mount namespaces that are mounted somewhere.
func (s *search) note(root string, list []mount) {
	for _, m := range list {
		if strings.HasPrefix(m.root, "mnt:[") && s.pinned[m.root] == "" {
			s.pinned[m.root] = root + m.at
		}
	}
}

// miss notes what could not be read. A process that has ended has nothing.
func (s *search) miss(what string, err error) {
	if err != nil && s.missed == "" && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EINVAL) {
		s.missed = fmt.Sprintf("%s can not be read", what)
	}
}
