package osltest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/loopback"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/rootless"
)

// The environment variables: inside marks the process that runs in the namespaces, by
// the number of the one that started it there, and what that one starts; refused says why there are none. With OSLTEST_REQUIRE=1 a machine that forbids them
// fails the tests; else those that need a network are skipped there.
const (
	inside  = "OSLTEST_INSIDE"
	refused = "OSLTEST_REFUSED"
	require = "OSLTEST_REQUIRE"
)

// ending are the networks of tests that are over, of which something is still closed.
var ending sync.WaitGroup

// Main runs the tests of a package in namespaces of their own, and exits: a network and
// a mount namespace with an empty /run, and, where the user is not root, a user
// namespace in which it is. Whatever they do to a network, they touch neither the
// machine's nor each other's. It is called from TestMain. Where a test starts the binary
// once more, in a sandbox perhaps, that runs where it is started.
//
// Where the machine forbids such namespaces, the tests run without: [Up] skips its test
// and says why, or with OSLTEST_REQUIRE=1 in the environment all fail.
func Main(m *testing.M) {
	switch {
	case os.Getenv(inside) == "" && os.Getenv(refused) == "":
		os.Exit(again())
	case os.Getenv(refused) != "":
		os.Exit(m.Run())
	}
	// What a test starts, a worker of a fuzz test or the binary once more, perhaps within
	// a sandbox, is there already.
	if os.Getenv(inside) == strconv.Itoa(os.Getppid()) {
		getReady()
	}
	code := m.Run()
	ending.Wait()
	os.Exit(code)
}

// again runs the test binary in new namespaces, and returns its exit code.
func again() int {
	// The parent's death signal follows the thread that started the child.
	runtime.LockOSThread()
	root := os.Geteuid() == 0
	cmd, err := start(!root)
	asRoot := err
	if err != nil && root { // of a container, perhaps
		cmd, err = start(true)
	}
	if err != nil {
		why := rootless.Refusal(err).Error()
		if root {
			why = fmt.Sprintf("root can not have namespaces of its own here (%v), nor with a user namespace (%v): the kernel or a security policy forbids it", asRoot, err)
		}
		fmt.Fprintln(os.Stderr, "osltest: no network for tests:", why)
		if os.Getenv(require) == "1" {
			return 1
		}
		cmd = command(false)
		cmd.SysProcAttr.Cloneflags = 0
		cmd.Env = append(os.Environ(), refused+"="+why)
		err = cmd.Start()
	}
	if err == nil {
		err = cmd.Wait()
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, "osltest: running the tests:", err)
		return 1
	}
	return 0
}

// readyFD is where the process in the namespaces says what is wrong with them, or closes
// it.
const readyFD = 3

// start runs the test binary in new namespaces, and returns when they are good for tests.
// A security policy may allow them and then refuse all that is done there.
func start(user bool) (*exec.Cmd, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := command(user)
	cmd.Env, cmd.ExtraFiles = append(os.Environ(), inside+"="+strconv.Itoa(os.Getpid())), []*os.File{w}
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		return nil, err
	}
	wrong, err := io.ReadAll(r)
	if err == nil && len(wrong) > 0 {
		err = errors.New(string(wrong))
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	return cmd, err
}

func command(user bool) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if user {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	return cmd
}

// getReady prepares the namespaces, and says so.
func getReady() {
	ready := os.NewFile(readyFD, "ready")
	if err := prepare(); err != nil {
		fmt.Fprint(ready, err)
		os.Exit(1)
	}
	_ = ready.Close()
}

// prepare gives the new mount namespace an empty /run, sets lo up, has packets keep their
// time, and tries what each network of a test needs. What a command leaves behind becomes a child of this process, which looks
// for it there.
func prepare() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make / private: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	keepTime()
	if err := loopback.Up(); err != nil {
		return err
	}
	return netns.Make(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open a packet socket: %w", err)
		}
		return unix.Close(fd)
	})
}
