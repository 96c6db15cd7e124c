// Package testmachine gives tests of what runs containers a machine: a process that holds
// namespaces of its own, in which a script has set up what they need. It uses the
// standard library alone, so that the modules of such tests need no other.
package testmachine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Nobody is the number of the user that does without root.
const Nobody = 65534

// AsNobody is a command line that runs what follows without any right.
func AsNobody() []string {
	return []string{"setpriv", fmt.Sprintf("--reuid=%d", Nobody), fmt.Sprintf("--regid=%d", Nobody), "--clear-groups"}
}

// Build builds a command of the repository at root, such as cmd/osl, into a new
// directory in which others may read. It is for TestMain, which calls remove at the end.
func Build(root, command string) (path string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "osl-machine")
	if err != nil {
		return "", nil, err
	}
	remove = func() { os.RemoveAll(dir) }
	path = filepath.Join(dir, filepath.Base(command))
	build := exec.Command("go", "build", "-o", path, "./"+command)
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	out, err := build.CombinedOutput()
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		remove()
		return "", nil, fmt.Errorf("go build %s: %w: %s", command, err, out)
	}
	return path, remove, nil
}

// Installed returns the paths of a program that the install script of the tests built,
// one for each version.
func Installed(name string) []string { return InstalledOf(name, name) }

// InstalledOf is Installed of one of several programs that are built together.
func InstalledOf(set, name string) []string {
	cache := os.Getenv("OSL_CLIENTS")
	if dir, err := os.UserCacheDir(); err == nil && cache == "" {
		cache = filepath.Join(dir, "osl-clients")
	}
	list, _ := filepath.Glob(filepath.Join(cache, set+"-*", name))
	return list
}

// Machine is such a process. It ends with the test.
type Machine struct {
	T   *testing.T
	PID int
}

// Start starts a machine: cmd sets it up, says so with a file /run/ready, and stays.
func Start(t *testing.T, cmd *exec.Cmd) *Machine {
	t.Helper()
	cmd.Stderr = os.Stderr
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	m := &Machine{T: t, PID: cmd.Process.Pid}
	m.Eventually("the machine stands", func() bool {
		_, err := os.Stat(m.File("/run/ready"))
		return err == nil
	})
	return m
}

// File returns the path of one of its files, from without.
func (m *Machine) File(path string) string { return fmt.Sprintf("/proc/%d/root%s", m.PID, path) }

// Enter is a command line that runs what follows in namespaces of the machine.
func (m *Machine) Enter(options ...string) []string {
	return append([]string{"nsenter", "--target", strconv.Itoa(m.PID)}, options...)
}

// Command makes a command of a command line, with nothing of the test's environment.
func Command(ctx context.Context, env []string, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, env...)
	return cmd
}

// Try runs a command that make makes, for two minutes at most, and returns what it says.
func (m *Machine) Try(command func(ctx context.Context, argv ...string) *exec.Cmd, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(m.T.Context(), 2*time.Minute)
	defer cancel()
	out, err := command(ctx, argv...).CombinedOutput()
	return string(out), err
}

// Do is Try of a command that must succeed.
func (m *Machine) Do(command func(ctx context.Context, argv ...string) *exec.Cmd, argv ...string) string {
	m.T.Helper()
	out, err := m.Try(command, argv...)
	if err != nil {
		m.T.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return out
}

// Eventually waits until f holds, a minute at most.
func (m *Machine) Eventually(what string, f func() bool) {
	m.T.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			m.T.Fatalf("never: %s", what)
		}
	}
}
