package osl

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/shell"
)

// keysDir is the directory of the keys below the base path, as ip netns has it.
const keysDir = "netns"

// basePath is the base path that SetBasePath set, nil for the default.
var basePath atomic.Pointer[string]

// SetBasePath sets the base url prefix for the ns path: the keys of names and
// ids are path/netns/NAME from now on. An empty path is the default again, see
// [BasePath]. Sandboxes that are open keep their keys.
func SetBasePath(path string) {
	if path == "" {
		basePath.Store(nil)
		return
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	basePath.Store(&path)
}

// BasePath returns the base path: what SetBasePath set, else /run where the
// process may write there, so that ip netns sees every sandbox, else a directory
// of the user's: osl in $XDG_RUNTIME_DIR or /run/user/UID, or /tmp/osl-UID. In a
// user namespace other than the machine's first it is one of this user namespace
// only, user-INODE in that.
func BasePath() string {
	if p := basePath.Load(); p != nil {
		return *p
	}
	return base.Default()
}

// KeyPath returns the key of a sandbox: that of a name in the base path, or
// the path itself if name has a slash. It returns ErrInvalid for what can be
// neither.
func KeyPath(name string) (string, error) {
	switch {
	case name == "" || name == "." || name == "..":
		return "", invalidf("%q is no name of a sandbox", name)
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", invalidf("the name %q has a control character", name)
	case strings.Contains(name, "/"):
		path, err := filepath.Abs(name)
		if err != nil {
			return "", invalidf("the path %q: %v", name, err)
		}
		if len(filepath.Base(path)) > 255 {
			return "", invalidf("the last part of the path %.20q… is longer than 255 bytes", name)
		}
		if path == hostKey() {
			return "", invalidf("%q stands for the host and is no name of a sandbox", name)
		}
		return path, nil
	case len(name) > 255:
		return "", invalidf("the name %.20q… is longer than 255 bytes", name)
	case name == HostName:
		return "", invalidf("%q stands for the host and is no name of a sandbox", name)
	}
	return filepath.Join(BasePath(), keysDir, name), nil
}

// hostKey stands for the host's namespace where a key is locked; no sandbox can
// have it.
func hostKey() string { return filepath.Join(BasePath(), keysDir, HostName) }

// nameOf returns the name that KeyPath turns into key, or key itself.
func nameOf(key string) string { return shell.Short(BasePath(), key) }

// GenerateKey generates a sandbox key based on the passed container id: the
// path of its first 12 characters in the base path. An id that begins with "-"
// names a key that exists: of the files that are a number and then the id, cut
// to 11 characters, the one with the highest number; the result is empty if
// there is none, or if the id can be no file name.
func GenerateKey(containerID string) string {
	dir := filepath.Join(BasePath(), keysDir)
	if strings.ContainsAny(containerID, "/\x00") {
		return ""
	}
	if !strings.HasPrefix(containerID, "-") {
		id := containerID[:min(len(containerID), 12)]
		if id == "" || id == "." || id == ".." {
			return ""
		}
		return filepath.Join(dir, id)
	}
	suffix := containerID[:min(len(containerID), 11)]
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	best, highest := "", -1
	for _, e := range entries {
		if number, ok := strings.CutSuffix(e.Name(), suffix); ok {
			if n, err := strconv.Atoi(number); err == nil && n > highest {
				best, highest = e.Name(), n
			}
		}
	}
	if best == "" {
		return ""
	}
	return filepath.Join(dir, best)
}
