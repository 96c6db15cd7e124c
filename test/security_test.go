//go:build linux

package osltest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

// An id or a name never leads out of the directory of the keys; only what has a
// slash and is given as a path is one.
func TestKeysDoNotTraverse(t *testing.T) {
	begin(t)
	base := withBase(t)
	dir := filepath.Join(base, "netns")
	for _, id := range []string{"..", ".", "../x", "../../etc/x", "a/../../x", "/etc/x", "a/b", "-/../x", "-..", "x\x00/../y", "..............", ".. "} {
		if key := osl.GenerateKey(id); key != "" && (filepath.Dir(key) != dir || filepath.Clean(key) != key) {
			t.Errorf("the id %q has the key %q", id, key)
		}
		if key, err := osl.KeyPath(id); err == nil && !strings.Contains(id, "/") && (filepath.Dir(key) != dir || filepath.Clean(key) != key) {
			t.Errorf("the name %q has the key %q", id, key)
		}
	}
	// What GenerateKey finds is in the directory too.
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(base, "9-x"), nil, 0o600))
	if key := osl.GenerateKey("-x"); key != "" {
		t.Errorf("an id found %q", key)
	}
	left, err := os.ReadDir(base)
	must(t, err)
	if len(left) != 2 {
		t.Errorf("files were made: %v", left)
	}
}

// openToAll is a base path that everybody may write to.
func openToAll(t *testing.T) string {
	t.Helper()
	base := keyDir(t)
	must(t, os.Chmod(base, 0o777))
	was := osl.BasePath()
	osl.SetBasePath(base)
	t.Cleanup(func() { osl.SetBasePath(was) })
	return base
}

// Links that were planted in a directory which others can write: nothing
// behind them is made, changed, opened or locked.
func TestPlantedLinks(t *testing.T) {
	for what, plant := range map[string]func(base, victim string) error{
		"as the directory of the keys": func(base, victim string) error { return os.Symlink(victim, filepath.Join(base, "netns")) },
		"as the lock file": func(base, victim string) error {
			return os.Symlink(filepath.Join(victim, "file"), filepath.Join(base, "osl.lock"))
		},
		"as a lock file that is not there yet": func(base, victim string) error {
			return os.Symlink(filepath.Join(victim, "new"), filepath.Join(base, "osl.lock"))
		},
		"as the key": func(base, victim string) error {
			return errors.Join(os.Mkdir(filepath.Join(base, "netns"), 0o777), os.Symlink(filepath.Join(victim, "file"), filepath.Join(base, "netns/key")))
		},
		"as a key that is not there yet": func(base, victim string) error {
			return errors.Join(os.Mkdir(filepath.Join(base, "netns"), 0o777), os.Symlink(filepath.Join(victim, "new"), filepath.Join(base, "netns/key")))
		},
	} {
		t.Run(what, func(t *testing.T) {
			begin(t)
			base, victim := openToAll(t), keyDir(t)
			must(t, os.WriteFile(filepath.Join(victim, "file"), []byte("mine"), 0o600))
			must(t, plant(base, victim))
			tree := func() string { return treeOf(t, base) + treeOf(t, victim) }
			before := tree()
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			ends(t, what, func() {
				key := osl.GenerateKey("key")
				for how, call := range map[string]func() error{
					"Create":                     func() error { _, err := osl.Create(ctx, "key"); return err },
					"Open":                       func() error { _, err := osl.Open(ctx, "key"); return err },
					"NewSandbox":                 func() error { _, err := osl.NewSandbox(key, true, false); return err },
					"GetSandboxForExternalKey":   func() error { _, err := osl.GetSandboxForExternalKey("/proc/self/ns/net", key); return err },
					"Apply":                      func() error { _, err := osl.Apply(ctx, osl.Network{Sandboxes: []osl.Spec{{Name: "key"}}}); return err },
					"NewSandbox, to be restored": func() error { _, err := osl.NewSandbox(key, false, true); return err },
				} {
					if err := call(); err == nil {
						t.Errorf("%s: no error", how)
					} else if errors.Is(err, osl.ErrTimeout) {
						t.Errorf("%s: %v", how, err)
					}
				}
				osl.GC()
			})
			if after := tree(); after != before {
				t.Errorf("there was\n%s\nand there is\n%s", before, after)
			}
		})
	}
}

// treeOf describes every file below a directory.
func treeOf(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		i, err := d.Info()
		if err != nil {
			return err
		}
		// A file of osl's own may stay: it holds nothing.
		if d.Name() == "osl.lock" && i.Mode() == 0o600 && i.Size() == 0 {
			return nil
		}
		text, _ := os.ReadFile(p)
		to, _ := os.Readlink(p)
		fmt.Fprintf(&b, "%s %v %q %s\n", p, i.Mode(), text, to)
		return nil
	}))
	return b.String()
}

// The lock file is its owner's alone, whatever the umask: who can open it could
// hold every lock.
func TestLockFileIsPrivate(t *testing.T) {
	w := begin(t)
	for _, mask := range []int{0, 0o077} {
		func() {
			was := unix.Umask(mask)
			defer unix.Umask(was)
			base := withBase(t)
			sb := w.sandboxAt(osl.GenerateKey("private"))
			i, err := os.Lstat(filepath.Join(base, "osl.lock"))
			must(t, err)
			if i.Mode() != 0o600 || int(i.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
				t.Errorf("umask %o: the lock file is %v, of user %d", mask, i.Mode(), i.Sys().(*syscall.Stat_t).Uid)
			}
			must(t, sb.Destroy())
		}()
	}
}

func init() {
	// Prints what its descriptors are.
	children["descriptors"] = func([]string) int {
		list, _ := os.ReadDir("/proc/self/fd")
		for _, fd := range list {
			if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil {
				fmt.Println(to)
			}
		}
		return 0
	}
}

// A child that is started at any moment, or by a function in the sandbox, has no
// descriptor of a namespace, of a socket or of the lock.
func TestNoDescriptorIsInherited(t *testing.T) {
	w := begin(t)
	look := func(where string) {
		out, err := child("descriptors").Output()
		if err != nil {
			t.Errorf("%s: %v", where, err)
		}
		for _, word := range []string{"net:[", "mnt:[", "user:[", "socket:", "osl.lock", "netns"} {
			if strings.Contains(string(out), word) {
				t.Errorf("%s: a child has a descriptor of %q:\n%s", where, word, out)
			}
		}
	}
	look("before")
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				if n < 3 {
					t.Errorf("only %d children were started meanwhile", n)
				}
				return
			default:
				look("meanwhile")
			}
		}
	})
	src, _ := w.vethUp()
	for range 6 {
		sb := w.sandboxAt(newKey())
		w.add(sb, src, "eth", addresses("10.91.0.2/24", "fd91::2/64"), osl.WithSysctls(map[string]string{"ipv4.arp_notify": "1"}))
		again, err := osl.Open(context.Background(), sb.Key())
		must(t, err)
		must(t, again.InvokeFunc(func() { look("in the sandbox") }))
		must(t, again.Close())
		must(t, sb.Destroy())
	}
	close(done)
	wg.Wait()
}
