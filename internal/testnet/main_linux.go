// Package testnet gives osl's tests a machine of their own: the test binary
// runs itself again in new user (where it is not root), network and mount
// namespaces, with an empty /run, so that no test can touch the machine's
// network or its sandboxes. It also looks for what the tests leave behind.
package testnet

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/loopback"
)

// inside marks the process that runs in the namespaces.
const inside = "OSL_TESTNET"

// Machine reports whether the tests run in the virtual machine of test/kernel,
// which is theirs as a whole: they may load and unload kernel modules.
func Machine() bool {
	b, err := os.ReadFile("/proc/cmdline")
	return err == nil && slices.Contains(strings.Fields(string(b)), "osl.testmachine")
}

// Physical reports whether this is the run in that machine which moves its
// network cards. The host is then the machine's first network namespace, where
// the kernel brings cards home to.
func Physical() bool { return os.Getenv("OSL_PHYSICAL") != "" && Machine() }

// Main runs the tests of a package in namespaces of their own and exits. A
// test that leaves descriptors, goroutines, threads in foreign namespaces,
// mounts, links or key files behind makes the whole run fail.
//
//	func TestMain(m *testing.M) { testnet.Main(m) }
func Main(m *testing.M) {
	if os.Getenv(inside) == "" {
		os.Exit(reexec())
	}
	if slices.Contains(os.Args, "-test.fuzzworker") {
		os.Exit(m.Run()) // what fuzzes has prepared them, and looks afterwards
	}
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "testnet: preparing the namespaces:", err)
		os.Exit(1)
	}
	before := look()
	code := m.Run()
	if code == 0 {
		if left := settle(before); len(left) > 0 {
			fmt.Fprintln(os.Stderr, "testnet: the tests left behind:")
			for _, l := range left {
				fmt.Fprintln(os.Stderr, "  "+l)
			}
			code = 1
		}
	}
	os.Exit(code)
}

// IsRoot reports whether the tests run as the machine's root, and not as root
// of a user namespace only.
func IsRoot() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && os.Geteuid() == 0 && strings.Join(strings.Fields(string(b)), " ") == "0 0 4294967295"
}

// NeedTun skips a test of tuns and taps where this user may not open their
// device: its mode is the machine's affair. Root may.
func NeedTun(t testing.TB) {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
		unix.Close(fd)
	case IsRoot():
		t.Fatalf("open /dev/net/tun: %v", err)
	default:
		t.Skipf("without root, /dev/net/tun can not be opened here: %v", err)
	}
}

// reexec runs the test binary in new namespaces and returns its exit code.
func reexec() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if Physical() {
		cmd.SysProcAttr.Cloneflags &^= unix.CLONE_NEWNET
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	// The parent's death signal follows the thread that started the child.
	runtime.LockOSThread()
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, "testnet: running the tests in namespaces of their own:", err)
		return 1
	}
	return 0
}

// prepare gives the new mount namespace an empty /run, with the directory of ip netns as that
// and osl make it at their first use, and sets lo up.
func prepare() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make / private: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	const keys = "/run/netns"
	if err := errors.Join(os.Mkdir(keys, 0o755), unix.Mount(keys, keys, "", unix.MS_BIND, ""), unix.Mount("", keys, "", unix.MS_SHARED, "")); err != nil {
		return err
	}
	if err := os.Setenv("XDG_RUNTIME_DIR", "/run"); err != nil {
		return err
	}
	return loopback.Up()
}

// settle compares with before until nothing is left or twenty seconds are over:
// the runtime closes threads, and the kernel namespaces, a little later.
func settle(before map[string]string) []string {
	var left []string
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		runtime.GC()
		left = left[:0]
		for k, v := range look() {
			if _, ok := before[k]; !ok {
				left = append(left, strings.TrimSpace(k+" "+v))
			}
		}
		if len(left) == 0 || time.Now().After(end) {
			sort.Strings(left)
			return left
		}
	}
}

// look returns everything that a test could leave behind, by a name of its
// own.
func look() map[string]string {
	seen := map[string]string{}
	home, _ := os.Readlink("/proc/self/ns/net")
	fds, _ := filepath.Glob("/proc/self/fd/*")
	table, proc := false, false
	for _, fd := range fds {
		to, err := os.Readlink(fd)
		// What osl keeps open for good: its lock file, the home namespace.
		if err != nil || to == home || strings.Contains(to, "/osl.lock") {
			continue
		}
		// The program with which a command enters a sandbox, also kept for good.
		if strings.HasPrefix(to, "/memfd:osl-enter") || strings.HasPrefix(to, "anon_inode:") || strings.HasPrefix(to, "/proc/") && strings.HasSuffix(to, "/fd") {
			continue
		}
		if strings.HasSuffix(to, "/mountinfo") && !table {
			table = true // one, by which it sees whether the mounts changed
			continue
		}
		if to == "/proc" && !proc {
			proc = true // one, by which it asks where a thread is
			continue
		}
		seen["descriptor "+filepath.Base(fd)] = to
	}
	tasks, _ := filepath.Glob("/proc/self/task/*/ns/net")
	for _, t := range tasks {
		if ns, err := os.Readlink(t); err == nil && ns != home {
			seen["thread "+t+" in "+ns] = ""
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for _, m := range strings.Split(string(mounts), "\n") {
		if f := strings.Fields(m); len(f) > 4 {
			seen["mount "+f[0]+" "+f[4]] = ""
		}
	}
	_ = filepath.WalkDir("/run", func(p string, d os.DirEntry, err error) error {
		// The directory of the keys and the lock stay, as with ip netns.
		if err == nil && !d.IsDir() && filepath.Base(p) != "osl.lock" {
			seen["file "+p] = ""
		}
		return nil
	})
	links, _ := net.Interfaces()
	for _, l := range links {
		seen["link "+l.Name] = ""
	}
	var stacks strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
	for _, g := range strings.Split(stacks.String(), "\n\n") {
		lines := strings.Split(g, "\n")
		for _, l := range lines {
			if strings.Contains(l, "seed59451c2b/osl") && !strings.Contains(l, "testnet") && !strings.Contains(l, ".TestMain") {
				seen["goroutine "+strings.TrimSpace(l)] = ""
			}
		}
	}
	return seen
}
