//go:build linux

package osltest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

func init() {
	// Does what the lines of its input say, in its own mount namespace.
	children["elsewhere"] = func([]string) int {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
			fmt.Println(err)
		}
		fmt.Println("ready")
		for s := bufio.NewScanner(os.Stdin); s.Scan(); {
			what, key, _ := strings.Cut(s.Text(), " ")
			var err error
			switch what {
			case "open":
				var n *osl.Namespace
				if n, err = osl.Open(context.Background(), key); err == nil {
					err = n.Close()
				}
			case "gc":
				osl.GC()
			case "recover":
				err = osl.Recover(context.Background(), key)
			case "list":
				_, err = osl.List(context.Background())
			}
			fmt.Println(strings.ReplaceAll(fmt.Sprint(err), "\n", " "))
		}
		return 0
	}
}

// elsewhere is a process in a mount namespace of its own.
type elsewhere struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Scanner
}

// newElsewhere starts one whose mounts follow those made here, or do not.
func newElsewhere(t *testing.T, follows bool) *elsewhere {
	t.Helper()
	must(t, unix.Mount("", "/run", "", unix.MS_SHARED, ""))
	t.Cleanup(func() { must(t, unix.Mount("", "/run", "", unix.MS_PRIVATE, "")) })
	if !follows {
		must(t, unix.Mount("", "/run", "", unix.MS_PRIVATE|unix.MS_REC, ""))
		t.Cleanup(func() { must(t, unix.Mount("", "/run/netns", "", unix.MS_SHARED, "")) })
	}
	cmd := child("elsewhere")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		must(t, cmd.Wait())
	})
	e := &elsewhere{t, in, bufio.NewScanner(out)}
	if !e.out.Scan() || e.out.Text() != "ready" {
		t.Fatalf("the process in another mount namespace said %q", e.out.Text())
	}
	return e
}

// do returns the text of the error, "<nil>" for none.
func (e *elsewhere) do(what, key string) string {
	e.t.Helper()
	if _, err := fmt.Fprintln(e.in, what, key); err != nil {
		e.t.Fatal(err)
	}
	if !e.out.Scan() {
		e.t.Fatalf("%s: the process in another mount namespace is gone", what)
	}
	return e.out.Text()
}

// A sandbox is usable from a mount namespace that was there before, where
// mounts are shared.
func TestReq6SharedMounts(t *testing.T) {
	w := begin(t)
	e := newElsewhere(t, true)
	sb := w.sandbox()
	for _, what := range []string{"open", "list", "gc", "open"} {
		if got := e.do(what, sb.Key()); got != "<nil>" {
			t.Errorf("%s: %s", what, got)
		}
	}
	must(t, sb.Destroy())
	if got := e.do("open", sb.Key()); !strings.Contains(got, "not found") {
		t.Errorf("after Destroy: %s", got)
	}
}

// Where they are not, the reason is said, and nobody there takes the sandbox
// away for being dead: the file is there, and what is mounted on it is not.
func TestReq6PrivateMounts(t *testing.T) {
	w := begin(t)
	e := newElsewhere(t, false)
	sb := w.sandbox()
	was := inode(t, sb.Key())
	got := e.do("open", sb.Key())
	t.Logf("open: %s", got)
	if !strings.Contains(got, osl.ErrNotNamespace.Error()) {
		t.Errorf("open: %s", got)
	}
	for _, what := range []string{"list", "open", "gc", "recover"} {
		t.Logf("%s: %s", what, e.do(what, sb.Key()))
		if _, err := os.Lstat(sb.Key()); err != nil {
			t.Fatalf("%s in another mount namespace took the sandbox away: %v", what, err)
		}
		if now := inode(t, sb.Key()); now != was {
			t.Fatalf("%s in another mount namespace: the key is another file", what)
		}
	}
}
