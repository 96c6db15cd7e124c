//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/bench/tracer"
)

// inside marks the process that runs in the namespaces.
const inside = "OSL_BENCH_INSIDE"

// reexec runs the program again in new network and mount namespaces, and
// without root in a user namespace, and returns its exit code. Nothing of the
// benchmark touches the machine's network or its sandboxes.
func reexec(env ...string) int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(append(os.Environ(), env...), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	runtime.LockOSThread() // the death signal follows the thread
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench: running in namespaces of its own:", err)
		return 1
	}
	return 0
}

// dirs are where the contenders other than ip, whose place is /run/netns, pin
// their sandboxes: each has its own, since ip netns mounts its directory on
// itself.
var dirs = map[string]string{"osl": "/run/osl/netns", "moby": "/run/docker/netns", "floor": "/run/floor",
	"calls": "/run/calls/netns"}

// prepare gives the new mount namespace an empty /run and /var/run, and sets lo
// up.
func prepare() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make / private: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	if st, err := os.Lstat("/var/run"); err == nil && st.IsDir() {
		if err := unix.Mount("/run", "/var/run", "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind /var/run: %w", err)
		}
	}
	for _, d := range dirs {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	return raiseLimit()
}

// raiseLimit allows as many descriptors as the machine does: open sandboxes
// hold some each.
func raiseLimit() error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	l.Cur = l.Max
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &l)
}

// machine describes where the figures are from.
type machine struct {
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	HZ     string `json:"hz"`
	Go     string `json:"go"`
	Load   string `json:"load_before"`
	Root   bool   `json:"root"`
}

func thisMachine() machine {
	m := machine{CPUs: runtime.NumCPU(), Go: runtime.Version(), Root: os.Geteuid() == 0}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Machine[:])
	}
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			m.CPU = strings.TrimSpace(v)
			break
		}
	}
	if out, err := exec.Command("sh", "-c", "zcat /proc/config.gz 2>/dev/null | sed -n 's/^CONFIG_HZ=//p'").Output(); err == nil {
		m.HZ = strings.TrimSpace(string(out))
	}
	b, _ = os.ReadFile("/proc/loadavg")
	m.Load = strings.TrimSpace(string(b))
	return m
}

// commit names what is measured: the commit of the working tree, marked where
// the tree differs from it. It is not for who counts system calls: git makes
// thousands, of which no two runs have the same number.
func commit() string {
	if os.Getenv(tracer.LoopEnv) != "" {
		return ""
	}
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
