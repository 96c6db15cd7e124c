package osl_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

const firstUseEnv = "OSL_TEST_FIRST_USE"

// firstUses are calls that run some of their work on other threads than the caller's.
var firstUses = map[string]func(dir string) error{
	"List": func(string) error { _, err := osl.List(context.Background()); return err },
	"Create": func(dir string) error {
		n, err := osl.Create(context.Background(), filepath.Join(dir, "first"))
		if err == nil {
			err = n.Close()
		}
		return err
	},
	"NewSandbox": func(dir string) error { _, err := osl.NewSandbox(filepath.Join(dir, "first"), true, false); return err },
	"Diff": func(dir string) error {
		_, err := osl.Diff(context.Background(), osl.Network{Sandboxes: []osl.Spec{{Name: filepath.Join(dir, "a")}, {Name: filepath.Join(dir, "b")}}})
		return err
	},
}

// A process whose first thread is locked and in a namespace of its own, as a test's may
// be, means that one by the host's, whatever it calls first.
func TestFirstUseOnTheFirstThread(t *testing.T) {
	for first := range firstUses {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), firstUseEnv+"="+first)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("first %s: %v\n%s", first, err, out)
		}
	}
}

// The first thread is main's own only for what was locked before it.
func init() {
	if os.Getenv(firstUseEnv) != "" {
		runtime.LockOSThread()
	}
}

func useFirst(first string) {
	if err := useOsl(firstUses[first]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// useOsl is run on the first thread.
func useOsl(first func(dir string) error) error {
	if unix.Gettid() != unix.Getpid() {
		return fmt.Errorf("this is not the first thread")
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "osl-first")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	osl.SetBasePath(dir)
	if err := os.Mkdir(filepath.Join(dir, "netns"), 0o700); err != nil {
		return err
	}
	if err := first(filepath.Join(dir, "netns")); err != nil {
		return err
	}
	key := filepath.Join(dir, "netns", "hosts")
	host, err := osl.NewSandbox(key, false, false)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Stat(key, &st); err != nil {
		return err
	}
	if here, _ := os.Readlink("/proc/thread-self/ns/net"); !strings.Contains(here, fmt.Sprintf("[%d]", st.Ino)) {
		return fmt.Errorf("the host's is net:[%d], the thread is in %s", st.Ino, here)
	}
	if err := host.Destroy(); err != nil {
		return err
	}
	if err := osl.Remove(context.Background(), "first"); err != nil && !errors.Is(err, osl.ErrNotFound) {
		return err
	}
	return nil
}
