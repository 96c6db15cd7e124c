//go:build linux

package osltest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

// tryKey opens what stands at a key in every way that does not make one, and
// demands the same sentinel of each.
func tryKey(t *testing.T, what, key string, want error) {
	t.Helper()
	ctx := context.Background()
	for how, open := range map[string]func() error{
		"NewSandbox(restore)":         func() error { _, err := osl.NewSandbox(key, false, true); return err },
		"NewSandbox(create, restore)": func() error { _, err := osl.NewSandbox(key, true, true); return err },
		"Open":                        func() error { _, err := osl.Open(ctx, key); return err },
	} {
		before := mountsAndKeys(t)
		ends(t, what, func() { refused(t, what+": "+how, open(), want, key) })
		same(t, what+": "+how+": mounts and files", before, func() []string { return mountsAndKeys(t) })
	}
}

// keyDir is a directory for keys that is gone at the end.
func keyDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "keys")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

func TestKeyIsAPlainFile(t *testing.T) {
	w := begin(t)
	key := filepath.Join(keyDir(t), "plain")
	must(t, os.WriteFile(key, nil, 0o600))
	tryKey(t, "an empty file", key, osl.ErrNotNamespace)
	// Making one heals what a killed process left behind.
	sb := w.sandboxAt(key)
	must(t, sb.InvokeFunc(func() {}))
	must(t, sb.Destroy())
}

func TestKeyIsSomethingElse(t *testing.T) {
	w := begin(t)
	dir := keyDir(t)
	sb := w.sandbox()
	at := func(n string) string { return filepath.Join(dir, n) }
	must(t, os.WriteFile(at("text"), []byte("a letter"), 0o600))
	must(t, os.Mkdir(at("directory"), 0o755))
	must(t, os.WriteFile(at("directory/file"), nil, 0o600))
	must(t, os.Symlink(sb.Key(), at("symlink")))
	must(t, os.Symlink("/run/nothing", at("dangling")))
	must(t, unix.Mkfifo(at("fifo"), 0o600))
	must(t, unix.Mknod(at("socket"), unix.S_IFSOCK|0o600, 0))
	must(t, os.WriteFile(at("uts"), nil, 0o600))
	must(t, unix.Mount("/proc/self/ns/uts", at("uts"), "", unix.MS_BIND, ""))
	defer func() { _ = unix.Unmount(at("uts"), unix.MNT_DETACH) }()
	list := func() (out []string) {
		_ = filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
			must(t, err)
			i, err := d.Info()
			must(t, err)
			out = append(out, fmt.Sprint(p, " ", i.Mode()))
			return nil
		})
		return out
	}
	before := list()
	for _, n := range []string{"text", "directory", "symlink", "dangling", "fifo", "socket", "uts"} {
		tryKey(t, n, at(n), osl.ErrNotNamespace)
		if n == "text" {
			continue // a plain file is healed: another test
		}
		ends(t, "create over "+n, func() {
			_, err := osl.NewSandbox(at(n), true, false)
			refused(t, "create over "+n, err, osl.ErrNotNamespace, at(n))
			_, err = osl.Create(context.Background(), at(n))
			refused(t, "Create over "+n, err, nil, at(n))
			_, err = osl.GetSandboxForExternalKey("/proc/self/ns/net", at(n))
			refused(t, "an external key over "+n, err, osl.ErrNotNamespace, at(n))
		})
	}
	same(t, "the files", before, list)
	if b, err := os.ReadFile(at("text")); err != nil || string(b) != "a letter" {
		t.Errorf("opening changed the file: %q, %v", b, err)
	}
	must(t, sb.InvokeFunc(func() {}))
}

func TestKeyInAMissingDirectory(t *testing.T) {
	begin(t)
	key := "/run/no/such/directory/key"
	tryKey(t, "a missing directory", key, osl.ErrNotFound)
	_, err := osl.NewSandbox(key, true, false)
	refused(t, "create in a missing directory", err, osl.ErrNotFound, key)
	if _, err := os.Lstat("/run/no"); !os.IsNotExist(err) {
		t.Errorf("a directory was made: %v", err)
		must(t, os.RemoveAll("/run/no"))
	}
	_, err = osl.NewSandbox("/proc/self/status/key", true, false)
	refused(t, "create below a file", err, nil, "/proc/self/status/key")
}

func TestNoKey(t *testing.T) {
	begin(t)
	tryKey(t, "nothing there", newKey(), osl.ErrNotFound)
	for what, key := range map[string]string{
		"empty": "", "a NUL": osl.BasePath() + "/netns/a\x00b", "too long": "/run/" + strings.Repeat("k", 300), "the root": "/",
	} {
		ends(t, what, func() {
			for _, x := range [][2]bool{{true, false}, {false, true}, {true, true}} {
				sb, err := osl.NewSandbox(key, x[0], x[1])
				if err == nil {
					t.Errorf("NewSandbox(%q, %v, %v): no error", key, x[0], x[1])
					_ = sb.Destroy()
				}
			}
			_, err := osl.NewSandbox(key, true, false)
			want := osl.ErrInvalid
			if what == "the root" || what == "too long" {
				want = nil
			}
			refused(t, "create: "+what, err, want)
			_, err = osl.GetSandboxForExternalKey("/proc/self/ns/net", key)
			refused(t, "external key: "+what, err, want)
		})
	}
	ctx := context.Background()
	for _, n := range []string{"", ".", "..", "a\x00b"} {
		ends(t, "a bad name", func() {
			_, err := osl.Create(ctx, n)
			refused(t, fmt.Sprintf("Create(%q)", n), err, osl.ErrInvalid)
			_, err = osl.Open(ctx, n)
			refused(t, fmt.Sprintf("Open(%q)", n), err, nil)
		})
	}
}

// The command of children["make"]: makes a sandbox at its argument, and says
// how that went.
func init() {
	children["make"] = func(args []string) int {
		sb, err := osl.NewSandbox(args[0], true, false)
		fmt.Println(errorsIs(err), err)
		if err == nil {
			_ = sb.Destroy()
		}
		return 0
	}
}

func TestNoPrivileges(t *testing.T) {
	for what, caps := range map[string][]uintptr{
		"no capability at all": nil, "CAP_SYS_ADMIN": {unix.CAP_SYS_ADMIN}, "CAP_NET_ADMIN": {unix.CAP_NET_ADMIN},
	} {
		t.Run(what, func(t *testing.T) {
			begin(t)
			// The directory exists, and is not what fails.
			key := newKey()
			sb, err := osl.NewSandbox(key, true, false)
			must(t, err)
			must(t, sb.Destroy())
			out := runWithout(t, child("make", key), caps...)
			for _, want := range []string{"ErrPermission", key} {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not in: %s", want, out)
				}
			}
			missing := what
			if caps == nil {
				missing = "CAP_SYS_ADMIN"
			}
			if !strings.Contains(out, missing) {
				t.Errorf("the missing capability %s is not named in: %s", missing, out)
			}
			if strings.Contains(out, "panic") {
				t.Error(out)
			}
		})
	}
}
