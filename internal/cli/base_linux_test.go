package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a failed call made to have a place for its keys and its lock goes with it, and
// nothing that was there before.
func TestFailureLeavesNoBase(t *testing.T) {
	refused := fileOf(t, "refused", "sandboxes: [{name: a}, {name: b, interfaces: [{name: m, type: macvlan, parent: host/lo}]}]")
	taken := fileOf(t, "taken", "sandboxes: [{name: a, interfaces: [{name: e, peer: host/lo}]}]")
	for _, there := range []string{"", "base", "base/netns"} {
		for _, args := range [][]string{{"up", refused}, {"up", taken}, {"create", "missing/b"}, {"rm", "a"}, {"down", taken}, {"down", "nothing"}} {
			dir := t.TempDir()
			if err := os.MkdirAll(filepath.Join(dir, there), 0o755); err != nil {
				t.Fatal(err)
			}
			before := below(t, dir)
			t.Setenv("OSL_BASE", filepath.Join(dir, "base"))
			code, out, errs := runOSL(t, args...)
			if after := below(t, dir); after != before || code == exitDone && args[1] != taken {
				t.Errorf("with %q there, osl %s: exit code %d, and before\n%s\nafter\n%s\n%s%s", there, strings.Join(args, " "), code, before, after, out, errs)
			}
		}
	}
}

// The file of the locks goes with the last sandbox, whoever ended that.
func TestDownLeavesNoLock(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("OSL_BASE", dir)
	for _, host := range []string{"", ", {name: host, interfaces: [{name: br0, type: bridge}]}"} {
		want(t, exitDone, nil, "up", fileOf(t, "lab", "sandboxes: [{name: a}, {name: b}"+host+"]"))
		before := below(t, dir)
		for _, key := range []string{"a", "b"} {
			sh(t, "umount "+filepath.Join(dir, "netns", key)+" && rm "+filepath.Join(dir, "netns", key))
		}
		code := exitFailed
		if host != "" {
			code = exitDone
		}
		want(t, code, nil, "down", "lab")
		if after := below(t, dir); !strings.Contains(before, "osl.lock") || after != dir+" "+filepath.Join(dir, "netns") {
			t.Errorf("before\n%s\nafter\n%s", before, after)
		}
	}
}

// What a create that fails made for the base path goes with what it made there.
func TestCreateThatFailsLeavesNoBase(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("OSL_BASE", filepath.Join(dir, "one", "two"))
	want(t, exitFailed, []string{"no such file or directory"}, "create", "a", "b", "no-such-directory/c")
	if after := below(t, dir); after != dir {
		t.Errorf("there is\n%s", after)
	}
	want(t, exitDone, nil, "create", "a", "b")
	want(t, exitDone, nil, "rm", "a", "b")
}

// below lists a directory and all that is in it.
func below(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		all = append(all, path)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}
