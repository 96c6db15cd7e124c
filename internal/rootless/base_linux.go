package rootless

import (
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/netns"
)

// Base returns the base path that the command will use in the user's own
// namespaces, or "" where it does without them.
func Base() string {
	if !Needed() {
		return ""
	}
	dir := base.User()
	f, err := os.Open(filepath.Join(dir, "holder"))
	if err != nil {
		return base.Of(dir, 0) // there is none yet
	}
	defer f.Close()
	h, err := read(f)
	if err != nil || !h.alive() {
		return base.Of(dir, 0)
	}
	return base.Of(dir, h.UserNS)
}

// sweep removes the base path of a holder that was killed, once nobody is left in
// its user namespace, and what is left there of sandboxes that ended with it.
func sweep(dir string, h holder) {
	if h.UserNS == 0 || populated(h.UserNS) {
		return
	}
	b := base.Of(dir, h.UserNS)
	keys, _ := filepath.Glob(filepath.Join(b, "netns", "*"))
	for _, key := range keys {
		if dead, err := netns.Dead(key, false); err == nil && dead {
			_ = os.Remove(key)
		}
	}
	removeBase(b)
}

// populated reports whether a process can be seen in a user namespace. One that
// has ended keeps it until its parent looks.
func populated(ino uint64) bool {
	list, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range list {
		var st unix.Stat_t
		if unix.Stat(dir+"/ns/user", &st) != nil || st.Ino != ino {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if _, err := startTime(pid); err == nil {
			return true
		}
	}
	return false
}

// removeBase removes a base path in which no key is left. It is in nobody's way
// where that fails.
func removeBase(b string) {
	if err := os.Remove(filepath.Join(b, "netns")); err == nil || os.IsNotExist(err) {
		_ = os.Remove(filepath.Join(b, "osl.lock"))
		_ = os.Remove(b)
	}
}
