package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed59451c2b/osl/internal/testnet"
)

// run builds the program and runs it, without root where that can be.
func run(t *testing.T, root bool, args ...string) (string, error) {
	t.Helper()
	dir, err := os.MkdirTemp("", "runtime")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	exe := filepath.Join(dir, "runtime")
	if out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(exe, args...)
	cmd.Dir = "/"
	if os.Geteuid() == 0 && !root {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestPair(t *testing.T) {
	out, err := run(t, false, "sh", "-c", "echo I am $$; cat /proc/net/route /proc/net/fib_trie")
	if err != nil || !strings.Contains(out, "I am 1\n") || !strings.Contains(out, "eth0\t00000000\t0100000A") || !strings.Contains(out, "10.0.0.2") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := run(t, false, "sh", "-c", "exit 7"); err == nil || err.(*exec.ExitError).ExitCode() != 7 { //nolint:errorlint // it is one
		t.Errorf("the exit code: %v, %s", err, out)
	}
	if out, err := run(t, false); err == nil || !strings.Contains(out, "PROGRAM") {
		t.Errorf("without a program: %v, %s", err, out)
	}
}

// The program gets the frames that the kernel sends: the first are of IPv6, as the tap
// gets its carrier.
func TestTap(t *testing.T) {
	testnet.NeedTun(t)
	st, err := os.Stat("/dev/net/tun")
	if err != nil {
		t.Fatal(err)
	}
	out, err := run(t, st.Mode().Perm()&0o006 != 0o006, "-tap", "sh", "-c", "grep flags /proc/self/fdinfo/3; dd bs=2048 count=1 <&3 2>/dev/null | od -An -tx1")
	if err != nil || !strings.Contains(out, " 02 00 00 00 00 01 86 dd") {
		t.Errorf("%v: %s", err, out)
	}
	var flags int
	if _, err := fmt.Sscanf(out, "flags: %o", &flags); err != nil || flags&syscall.O_NONBLOCK != 0 {
		t.Errorf("%v: the program's descriptor does not wait in read: %s", err, out)
	}
}
