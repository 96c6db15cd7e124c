//go:build linux

package osltest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/seed59451c2b/osl"
)

// oslExec runs "osl exec" in a process of its own.
func oslExec(args ...string) (out string, code int) {
	cmd := child("osl", append([]string{"exec"}, args...)...)
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.Exited():
		code = exit.ExitCode()
	case err != nil:
		code = -1
	}
	return b.String(), code
}

// The command runs inside the sandbox, is osl's own process there, and its exit code
// is osl's; what can not be run is told as a shell tells it.
func TestExecBecomesTheCommand(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	name, want := filepath.Base(sb.Key()), ""
	must(t, sb.InvokeFunc(func() { want, _ = os.Readlink("/proc/thread-self/ns/net") }))
	const where = "readlink /proc/self/ns/net; exit 7"
	for _, args := range [][]string{{name, "--", "sh", "-c", where}, {name, "sh", "-c", where}, {sb.Key(), "--", "sh", "-c", where}} {
		if out, code := oslExec(args...); strings.TrimSpace(out) != want || code != 7 {
			t.Errorf("%v: %q, exit code %d, not in %s", args, out, code, want)
		}
	}
	// The kernel refuses these when osl is in the sandbox already.
	dir := t.TempDir()
	for file, x := range map[string]struct {
		text string
		code int
	}{"lost": {"#!/no/such/interpreter\n", 127}, "neither": {"no program", 126}} {
		path := filepath.Join(dir, file)
		must(t, os.WriteFile(path, []byte(x.text), 0o755))
		if out, code := oslExec(name, "--", path); code != x.code || !strings.Contains(out, path) || strings.Count(out, "\n") != 1 {
			t.Errorf("%s: exit code %d, %q", file, code, out)
		}
	}
	cmd := child("osl", "exec", name, "--", "sh", "-c", "echo $$")
	out, err := cmd.Output()
	if err != nil || strings.TrimSpace(string(out)) != itoa(cmd.Process.Pid) {
		t.Errorf("the command is process %s, osl was %d: %v", out, cmd.Process.Pid, err)
	}
	for _, x := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{name, "--", "nosuch"}, 127, "nosuch"},
		{[]string{name, "--", "/etc/passwd"}, 126, "/etc/passwd"},
		{[]string{"none", "--", "true"}, 1, "no such sandbox"},
		{[]string{name, "--"}, 2, "needs a command"},
		{[]string{osl.HostName, "--", "sh", "-c", "exit 3"}, 3, ""},
	} {
		if out, code := oslExec(x.args...); code != x.code || !strings.Contains(out, x.says) {
			t.Errorf("%v: exit code %d, %q", x.args, code, out)
		}
	}
}

// Where a change of the sandbox was interrupted, that is put right before.
func TestExecPutsRightFirst(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	name := filepath.Base(sb.Key())
	must(t, sb.InvokeFunc(func() {
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetAlias(lo, "osl1;o=s;w=1") // its maker died
		}
		must(t, err)
	}))
	if out, code := oslExec(name, "--", "true"); code != 1 || !strings.Contains(out, "interrupted") {
		t.Errorf("exit code %d, %q", code, out)
	}
	if _, err := osl.Open(context.Background(), sb.Key()); !errors.Is(err, osl.ErrNotFound) {
		t.Errorf("the sandbox that was half made is there: %v", err)
	}
}

// A directory of keys that is a link leads nowhere, for exec as for the others.
func TestExecThroughALinkedDirectory(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	dir := t.TempDir()
	must(t, os.Symlink(filepath.Dir(sb.Key()), filepath.Join(dir, "netns")))
	if out, code := oslExec(filepath.Join(dir, "netns", filepath.Base(sb.Key())), "--", "echo", "inside"); code != 1 || !strings.Contains(out, "directory of keys") {
		t.Errorf("exit code %d, %q", code, out)
	}
}

// A name that is too long for a link of the host may be an alternative one, and is
// looked for.
func TestParentThatIsNotThere(t *testing.T) {
	begin(t)
	_, err := osl.Diff(context.Background(), osl.Network{Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{
		{Name: "e", Type: "vlan", VLAN: 5, Parent: "host/averyveryverylongname"}}}}})
	if !errors.Is(err, osl.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// The mounts of ip netns exec: /sys is the sandbox's, and files of /etc/netns/NAME are
// over those of /etc.
func TestExecHasTheMountsOfIPNetns(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	name := filepath.Base(sb.Key())
	if out, code := oslExec(name, "--", "ls", "/sys/class/net"); code != 0 || strings.TrimSpace(out) != "lo" {
		t.Errorf("%q, exit code %d", out, code)
	}
	// Without root /etc is not the test's to write; a copy of it in a tmpfs is.
	script := `set -e; mkdir -p "$T" && cp -r /etc/passwd "$T"/ && mkdir -p "$T/netns/$N" && echo own >"$T/netns/$N/hosts" && echo all >"$T/hosts" &&
		mount --bind "$T" /etc && "$OSL" exec "$N" cat /etc/hosts && cat /etc/hosts`
	cmd := exec.Command("unshare", "-m", "sh", "-c", script)
	cmd.Env = append(os.Environ(), "T="+filepath.Join(t.TempDir(), "etc"), "N="+name, "OSL=/proc/"+itoa(os.Getpid())+"/exe", childVar+"=osl")
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "own\nall\n" {
		t.Errorf("%q, %v", out, err)
	}
}
