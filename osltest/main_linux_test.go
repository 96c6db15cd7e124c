package osltest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A machine that lets namespaces be made, and forbids what is to be done in them, skips
// the tests and says why, as AppArmor has it on some; or they fail where that is asked for.
func TestForbidden(t *testing.T) {
	env := slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "OSLTEST_") })
	for what, number := range map[string]uint32{"make / private": unix.SYS_MOUNT, "unshare": unix.SYS_UNSHARE} {
		for _, demand := range []string{"", "1"} {
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestCutAndHeal$", "-test.v")
			cmd.Env = append(env, require+"="+demand)
			out, err := without(number, cmd)
			says := []string{"no network for tests: ", what + ": operation not permitted"}
			if demand == "" {
				says = append(says, "--- SKIP")
			}
			for _, s := range says {
				if !strings.Contains(out, s) {
					t.Errorf("nothing says %q", s)
				}
			}
			if (err != nil) != (demand == "1") {
				t.Errorf("%v", err)
			}
			if t.Failed() {
				t.Fatalf("without %s, %s=%q:\n%s", what, require, demand, out)
			}
		}
	}
}

// A test may start its own binary once more, in a sandbox too: that is where it was
// started, and does nothing to the networks that stand.
func TestBinaryOnceMore(t *testing.T) {
	if os.Getenv("OSLTEST_ONCE_MORE") != "" {
		if _, err := net.InterfaceByName("eth0"); err != nil {
			t.Error(err)
		}
		if s := Up(t, lan(1)).Sandbox("h1"); s.Do(t.Context(), func(context.Context) error { return nil }) != nil {
			t.Error("a network of its own is not there")
		}
		return
	}
	s := Up(t, lan(1)).Sandbox("h1")
	cmd := s.Command(t.Context(), "/proc/self/exe", "-test.run=^TestBinaryOnceMore$", "-test.v")
	cmd.Env = append(os.Environ(), "OSLTEST_ONCE_MORE=1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := s.Inspect(t.Context()); err != nil {
		t.Error(err)
	}
}

// without runs a command to which the kernel refuses a system call.
func without(number uint32, cmd *exec.Cmd) (out string, err error) {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: number, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and the thread ends with the goroutine
		if err = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return
		}
		if err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err == nil {
			var b []byte
			b, err = cmd.CombinedOutput()
			out = string(b)
		}
	}()
	<-done
	return out, err
}
