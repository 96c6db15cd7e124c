package base

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/shell"
	"github.com/seed59451c2b/osl/internal/want"
)

// keysDir is the directory of the keys below a base path, as ip netns has it.
const keysDir = "netns"

// set is the base path that Set was told, nil for the default.
var set atomic.Pointer[string]

// Set sets the base path; an empty one is the default again.
func Set(path string) {
	if path == "" {
		set.Store(nil)
		return
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	set.Store(&path)
}

// Path returns the base path.
func Path() string {
	if p := set.Load(); p != nil {
		return *p
	}
	return Default()
}

// inContext is the key of a context's value.
type inContext struct{}

// In returns a context whose base path is path, instead of the process's.
func In(ctx context.Context, path string) context.Context {
	return context.WithValue(ctx, inContext{}, path)
}

// Given returns the base path that In gave a context, empty for none.
func Given(ctx context.Context) string {
	path, _ := ctx.Value(inContext{}).(string)
	return path
}

// PathIn returns the base path of a context.
func PathIn(ctx context.Context) string { return cmp.Or(Given(ctx), Path()) }

// KeyIn is Key in the base path of a context.
func KeyIn(ctx context.Context, name string) (string, error) {
	key, err := Key(name)
	if path := Given(ctx); err == nil && path != "" && !strings.Contains(name, "/") {
		key = filepath.Join(KeysIn(path), name)
	}
	return key, err
}

// NameIn returns the name that KeyIn turns into key, or key itself.
func NameIn(ctx context.Context, key string) string {
	if path := Given(ctx); path != "" && filepath.Dir(key) == KeysIn(path) {
		return filepath.Base(key)
	}
	return NameOf(key)
}

// Keys returns the directory of the keys.
func Keys() string { return KeysIn(Path()) }

// KeysIn returns the directory of the keys of a base path.
func KeysIn(path string) string { return filepath.Join(path, keysDir) }

// Holding returns the base path whose keys are in a directory, empty if none has
// them there.
func Holding(dir string) string {
	if filepath.Base(dir) != keysDir {
		return ""
	}
	return filepath.Dir(dir)
}

// Key returns the key of a sandbox: that of a name in the base path, or the path
// itself if name has a slash.
func Key(name string) (string, error) {
	switch {
	case name == "" || name == "." || name == "..":
		return "", fault.Invalidf("%q is no name of a sandbox", name)
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", fault.Invalidf("the name %q has a control character", name)
	case strings.Contains(name, "/"):
		path, err := filepath.Abs(name)
		if err != nil {
			return "", fault.Invalidf("the path %q: %v", name, err)
		}
		if len(filepath.Base(path)) > 255 {
			return "", fault.Invalidf("the last part of the path %.20q… is longer than 255 bytes", name)
		}
		if path == HostKey() {
			return "", fault.Invalidf("%q stands for the host and is no name of a sandbox", name)
		}
		return path, nil
	case len(name) > 255:
		return "", fault.Invalidf("the name %.20q… is longer than 255 bytes", name)
	case name == want.HostName:
		return "", fault.Invalidf("%q stands for the host and is no name of a sandbox", name)
	}
	return filepath.Join(Keys(), name), nil
}

// HostKey stands for the host's namespace where a key is locked; no sandbox can
// have it.
func HostKey() string { return filepath.Join(Keys(), want.HostName) }

// NameOf returns the name that Key turns into key, or key itself.
func NameOf(key string) string { return shell.Short(Path(), key) }

// Generate returns the key of a container's id; osl.GenerateKey says how.
func Generate(containerID string) string {
	dir := Keys()
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
