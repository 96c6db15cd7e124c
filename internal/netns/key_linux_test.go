package netns

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOpenOfSomethingElse(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(unix.Mkfifo(at("fifo"), 0o600))
	must(os.Mkdir(at("dir"), 0o700))
	must(os.WriteFile(at("file"), nil, 0o600))
	must(os.WriteFile(at("full"), []byte("x"), 0o600))
	must(os.Symlink("/proc/self/ns/net", at("link")))
	must(os.Symlink("nowhere", at("dangling")))
	for _, path := range []string{at("fifo"), at("dir"), at("file"), at("full"), at("link"), at("dangling"),
		"/dev/null", "/proc/self/ns/uts", "/proc/self/status", "/proc"} {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			fd, _, err := Open(path)
			if !errors.Is(err, ErrNotNamespace) {
				t.Errorf("%s: %v", path, err)
			}
			if err == nil {
				unix.Close(fd)
			}
		}()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: Open does not end", path)
		}
	}
	if _, _, err := Open(at("none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
	fd, id, err := Open("/proc/self/ns/net")
	must(err)
	defer unix.Close(fd)
	if !At("/proc/self/ns/net", id) || At(at("file"), id) || At(at("none"), id) {
		t.Error("At does not tell a namespace from something else")
	}
}

func TestPinAndUnpin(t *testing.T) {
	fd := space(t)
	key := filepath.Join(t.TempDir(), "key")
	if err := Pin(fd, key); err != nil {
		t.Fatal(err)
	}
	again, id, err := Open(key)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(again)
	if want, err := Identify(fd); err != nil || id != want || !At(key, id) {
		t.Errorf("%v is pinned, want %v, %v", id, want, err)
	}
	if err := Pin(fd, key); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second Pin: %v", err)
	}
	for range 2 { // the second time there is nothing
		if err := Unpin(key); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after Unpin: %v", err)
		}
	}
	// A mount that fails leaves no file.
	if err := Pin(-1, key); err == nil {
		t.Error("what is no descriptor was pinned")
	}
	if _, err := os.Lstat(key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after a Pin that failed: %v", err)
	}
}

// Row 8: modes do not depend on the umask.
func TestMakeDirModes(t *testing.T) {
	for _, mask := range []int{0, 0o077, 0o777} {
		func() {
			top := t.TempDir()
			old := unix.Umask(mask)
			defer unix.Umask(old)
			made, err := MakeDir(filepath.Join(top, "a", "b"))
			if err != nil || made != filepath.Join(top, "a") {
				t.Errorf("umask %o: made %q, %v", mask, made, err)
			}
			for _, d := range []string{"a", "a/b"} {
				if st, err := os.Stat(filepath.Join(top, d)); err != nil || st.Mode().Perm() != 0o755 {
					t.Errorf("umask %o: %s: %v, %v", mask, d, st, err)
				}
			}
			if made, err := MakeDir(filepath.Join(top, "a", "b")); made != "" || err != nil {
				t.Errorf("of what is there: %q, %v", made, err)
			}
		}()
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := MakeDir(filepath.Join(file, "a")); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("below a file: %v", err)
	}
}

// Share makes a mount of an empty directory, once however many do so together, and of none in
// which a key is; RemoveDir takes both away, and neither where a key is.
func TestShare(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "netns")
	mounts := func() (n int) {
		t.Helper()
		b, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(b), " "+dir+" ")
	}
	is := func(what string, want int) {
		t.Helper()
		if n := mounts(); n != want {
			t.Errorf("%s: %d mounts, want %d", what, n, want)
		}
	}
	made := func() {
		t.Helper()
		if _, err := MakeDir(dir); err != nil {
			t.Fatal(err)
		}
	}
	made()
	errs := make(chan error)
	for range 8 {
		go func() { errs <- Share(dir) }()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	is("shared", 1)
	fd := space(t)
	key := filepath.Join(dir, "key")
	if err := Pin(fd, key); err != nil {
		t.Fatal(err)
	}
	RemoveDir(dir)
	is("with a key", 1)
	if err := Unpin(key); err != nil {
		t.Error(err)
	}
	RemoveDir(dir)
	is("removed", 0)
	if _, err := os.Lstat(dir); err == nil {
		t.Error("the directory is there")
	}
	made()
	if err := Pin(fd, key); err != nil {
		t.Fatal(err)
	}
	if err := Share(dir); err != nil {
		t.Error(err)
	}
	is("with a key before", 0)
	if err := Unpin(key); err != nil {
		t.Error(err)
	}
}
