//go:build linux

package osltest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/cli"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// childVar names the function of children that a second process of the test
// binary runs instead of tests.
const childVar = "OSL_TEST_CHILD"

// children are what a test lets a process of its own do. Each prints what it
// has to say and returns the exit code.
var children = map[string]func(args []string) int{
	"osl": func(args []string) int { // as in cmd/osl
		cli.ExecAtOnce(args)
		return cli.Run(context.Background(), args, os.Stdin, os.Stdout, os.Stderr)
	},
	"hostLoop": hostLoop,
}

func TestMain(m *testing.M) {
	// A child is in the namespaces of the tests already: it must not get new
	// ones, or it would not meet its parent's sandboxes.
	if run := children[os.Getenv(childVar)]; run != nil {
		os.Exit(run(os.Args[1:]))
	}
	testnet.Main(m)
}

// child prepares a process that runs children[name].
func child(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), childVar+"="+name)
	return cmd
}

// runWithout runs a child that lacks capabilities and returns what it printed.
// Without any named, it has none at all.
func runWithout(t *testing.T, cmd *exec.Cmd, caps ...uintptr) string {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if len(caps) == 0 {
		for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
			caps = append(caps, c)
		}
	}
	err := ownThread(func() error {
		// Root's program file gives a process every capability of the bounding
		// set, and that belongs to the thread which forks.
		for _, c := range caps {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
				return fmt.Errorf("drop capability %d: %w", c, err)
			}
		}
		return cmd.Run()
	})
	if err != nil {
		t.Fatalf("child: %v\n%s", err, out.String())
	}
	return strings.TrimSpace(out.String())
}

// ownThread runs f on a thread that ends with it, so that f may change what
// belongs to a thread. The main thread can't end and is passed over.
func ownThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// Held until f has found another one.
			defer runtime.UnlockOSThread()
			done <- ownThread(f)
			return
		}
		done <- f()
	}()
	return <-done
}
