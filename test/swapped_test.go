//go:build linux

package osltest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

func init() {
	// Makes a sandbox by its name in the base path args[0].
	children["make-in"] = func(args []string) int {
		osl.SetBasePath(args[0])
		sb, err := osl.NewSandbox(osl.GenerateKey("key"), true, false)
		fmt.Println(err)
		if err == nil {
			_ = sb.Destroy()
		}
		return 0
	}
	// Opens the sandbox at args[0] and prints which namespace that is.
	children["which"] = func(args []string) int {
		osl.SetBasePath(filepath.Dir(args[0])) // to look for one would be the first fstatfs
		n, err := osl.Open(context.Background(), args[0])
		if err != nil {
			fmt.Println(err)
			return 0
		}
		defer n.Close()
		_ = n.InvokeFunc(func() {
			ns, _ := os.Readlink("/proc/thread-self/ns/net")
			fmt.Println(ns)
		})
		return 0
	}
}

// swapped runs a child whose first system call of that name is held up until
// there says that the moment has come and swap was called. It returns what the
// child printed.
func swapped(t *testing.T, call, name, arg string, there func() bool, swap func()) string {
	t.Helper()
	strace := testnet.NeedProgram(t, "strace", "strace")
	self, err := os.Executable()
	must(t, err)
	c := child(name)
	c.Path = strace
	// The delay ends with the tracer: killed, it leaves its child to go on.
	c.Args = []string{"strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace=" + call,
		"-e", "inject=" + call + ":delay_enter=60000000:when=1", self, arg}
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	must(t, c.Start())
	ended := make(chan struct{})
	go func() { _ = c.Wait(); close(ended) }()
	for end := time.Now().Add(50 * time.Second); !there(); time.Sleep(20 * time.Millisecond) {
		select {
		case <-ended:
			t.Fatalf("the child ended and was not seen at its %s: %s", call, out.String())
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("the child does not come to its %s", call)
		}
	}
	swap()
	must(t, c.Process.Kill())
	<-ended
	return out.String()
}

// Who may write to the directory of the key swaps its new file for a symbolic
// link in the moment before the namespace is mounted on it.
func TestKeySwappedBeforeTheMount(t *testing.T) {
	begin(t)
	dir := keyDir(t)
	must(t, os.Chmod(dir, 0o777))
	key, victim := filepath.Join(dir, "key"), filepath.Join(dir, "victim")
	must(t, os.WriteFile(victim, []byte("mine"), 0o644))
	defer func() {
		_ = unix.Unmount(victim, unix.MNT_DETACH)
		_ = unix.Unmount(key+".moved", unix.MNT_DETACH) // on its own file it may be
	}()
	out := swapped(t, "mount", "make", key, func() bool { _, err := os.Lstat(key); return err == nil }, func() {
		must(t, os.Rename(key, key+".moved"))
		must(t, os.Symlink(victim, key))
	})
	if b, err := os.ReadFile(victim); err != nil || string(b) != "mine" {
		t.Errorf("the namespace is mounted on the file behind the link: %q, %v\n%s", b, err, out)
	}
}

// The same with the directory of the keys, before its mode is set.
func TestDirectorySwappedBeforeTheMode(t *testing.T) {
	begin(t)
	base := keyDir(t)
	must(t, os.Chmod(base, 0o777))
	dir, victim := filepath.Join(base, "netns"), filepath.Join(base, "victim")
	must(t, os.Mkdir(victim, 0o700))
	out := swapped(t, "fchmodat", "make-in", base, func() bool { _, err := os.Lstat(dir); return err == nil }, func() {
		must(t, os.Rename(dir, dir+".moved"))
		must(t, os.Symlink(victim, dir))
	})
	i, err := os.Lstat(victim)
	must(t, err)
	if i.Mode().Perm() != 0o700 {
		t.Errorf("the mode of the directory behind the link is %v\n%s", i.Mode(), out)
	}
}

// Who may write to the directory of a key replaces it by a link to another
// namespace, between the look at it and its opening. (From a mount namespace of
// their own they can: the kernel then takes the mount away.)
func TestKeySwappedBeforeTheOpen(t *testing.T) {
	w := begin(t)
	dir := keyDir(t)
	must(t, os.Chmod(dir, 0o777))
	sb, other := w.sandboxAt(filepath.Join(dir, "key")), w.sandbox()
	ns := ""
	must(t, other.InvokeFunc(func() { ns, _ = os.Readlink("/proc/thread-self/ns/net") }))
	out := swapped(t, "fstatfs", "which", sb.Key(), func() bool {
		fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
		return slices.ContainsFunc(fds, func(fd string) bool { to, _ := os.Readlink(fd); return to == sb.Key() })
	}, func() {
		must(t, unix.Unmount(sb.Key(), unix.MNT_DETACH))
		must(t, os.Remove(sb.Key()))
		must(t, os.Symlink(other.Key(), sb.Key()))
	})
	if strings.Contains(out, ns) {
		t.Errorf("the namespace behind the link was opened: %s", out)
	}
	must(t, os.Remove(sb.Key()))
}
