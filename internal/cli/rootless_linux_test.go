package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// user is somebody without root: the tests' own user, as user 1000 of a user
// namespace without any capability.
type user struct {
	t   *testing.T
	dir string // XDG_RUNTIME_DIR
	ns  string // the user namespace
}

func newUser(t *testing.T) user {
	t.Helper()
	// A process keeps the user namespace until its standard input ends.
	keeper := exec.Command("cat")
	keeper.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getgid(), Size: 1}},
	}
	stdin, err := keeper.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := keeper.Start(); err != nil {
		t.Fatal(err)
	}
	u := user{t, t.TempDir(), fmt.Sprintf("/proc/%d/ns/user", keeper.Process.Pid)}
	t.Cleanup(func() {
		if pid := u.holder(); pid != 0 {
			t.Errorf("the holder, process %d, is still there", pid)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		stdin.Close()
		if err := keeper.Wait(); err != nil {
			t.Error(err)
		}
	})
	return u
}

// self is the test binary.
func self(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

func (u user) command(name string, args ...string) *exec.Cmd {
	c := exec.Command("nsenter", append([]string{"--preserve-credentials", "--user=" + u.ns, "--", name}, args...)...)
	c.Env = append(os.Environ(), asCommand+"=1", "XDG_RUNTIME_DIR="+u.dir)
	return c
}

// osl runs the command and returns its exit code and both outputs together.
func (u user) osl(args ...string) (int, string) {
	u.t.Helper()
	var out bytes.Buffer
	c := u.command(self(u.t), args...)
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		u.t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), out.String()
}

func (u user) want(code int, piece string, args ...string) string {
	u.t.Helper()
	got, out := u.osl(args...)
	if got != code || !strings.Contains(out, piece) {
		u.t.Errorf("osl %s: exit code %d, want %d and %q in\n%s", strings.Join(args, " "), got, code, piece, out)
	}
	return out
}

// holder returns the recorded holder's process id, 0 if there is none alive.
func (u user) holder() int {
	b, err := os.ReadFile(filepath.Join(u.dir, "osl", "holder"))
	if err != nil || len(b) == 0 {
		return 0
	}
	var h struct{ PID int }
	if err := json.Unmarshal(b, &h); err != nil {
		u.t.Fatalf("record: %v in %q", err, b)
	}
	if !alive(h.PID) {
		return 0
	}
	return h.PID
}

// base returns the base path in the holder's user namespace.
func (u user) base() string {
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/ns/user", u.holder()), &st); err != nil {
		u.t.Fatal(err)
	}
	return filepath.Join(u.dir, "osl", fmt.Sprintf("user-%d", st.Ino))
}

// alive reports whether the process exists and is no zombie.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

func TestRootless(t *testing.T) {
	u := newUser(t)
	u.want(exitDone, "created 3 sandboxes", "up", "../../examples/quickstart.yaml")
	first := u.holder()
	if first == 0 {
		t.Fatal("there is no holder")
	}
	u.want(exitDone, "nothing to change", "up", "../../examples/quickstart.yaml")
	u.want(exitDone, "web", "ls")
	u.want(exitDone, filepath.Join(u.base(), "netns/web"), "inspect", "web")
	used := u.base()
	u.want(5, "", "exec", "web", "--", "sh", "-c", "exit 5")
	u.want(exitDone, "web\n", "__complete", "inspect", "we")
	// The working directory is kept, and a command in the sandbox finds the
	// same sandboxes.
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	u.want(exitDone, cwd+"\n", "exec", "web", "pwd")
	u.want(exitDone, "switch", "exec", "web", self(t), "ls")
	u.want(exitDone, "10.10.0.2/24", "exec", "web", "--", "ip", "-brief", "address")
	// The machine's own things stay out of reach, and the reason is told.
	u.want(exitFailed, "run osl as root for this", "link", "add", "web", "e9", "--source", "nolink0")
	if u.holder() != first {
		t.Error("another holder was made")
	}
	u.want(exitDone, "removed 3 sandboxes", "down", "../../examples/quickstart.yaml")
	if alive(first) {
		t.Error("the holder outlives the last sandbox")
	}
	if _, err := os.Stat(used); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", used, err)
	}
}

// A holder keeps nothing of the command that started it: neither its terminal
// and descriptors, nor its directory.
func TestHolderIsAlone(t *testing.T) {
	u := newUser(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := u.command(self(t), "create", "a")
	c.Stdout, c.Stderr, c.ExtraFiles = w, w, []*os.File{w, w, w}
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	// Reads to the end only if nobody holds the other end any more.
	if err := r.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := out.ReadFrom(r); err != nil {
		t.Errorf("the holder kept a descriptor: %v", err)
	}
	pid := u.holder()
	if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err != nil || cwd != "/" {
		t.Errorf("working directory %q: %v", cwd, err)
	}
	if sid, err := unix.Getsid(pid); err != nil || sid != pid {
		t.Errorf("session %d of process %d: %v", sid, pid, err)
	}
	u.want(exitDone, "removed", "rm", "a")
}

func TestFirstCommandsAtOnce(t *testing.T) {
	u := newUser(t)
	all := func(verb string) {
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() { u.want(exitDone, "", verb, "s"+strconv.Itoa(i)) })
		}
		wg.Wait()
	}
	all("create")
	out := u.want(exitDone, "", "ls")
	for i := range 4 {
		if !strings.Contains(out, "s"+strconv.Itoa(i)+" ") {
			t.Errorf("s%d is not in the one network that all should share:\n%s", i, out)
		}
	}
	pid := u.holder()
	all("rm")
	if alive(pid) {
		t.Error("the holder outlives the last sandbox")
	}
}

// A record whose process is another one by now is not believed.
func TestForeignProcessIsNotJoined(t *testing.T) {
	u := newUser(t)
	u.want(exitDone, "created", "create", "a")
	path := filepath.Join(u.dir, "osl", "holder")
	record, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	old := u.holder()
	forged := strings.Replace(string(record), `"start":"`, `"start":"1`, 1)
	if err := os.WriteFile(path, []byte(forged), 0o600); err != nil {
		t.Fatal(err)
	}
	u.want(exitDone, "created", "create", "b")
	if now := u.holder(); now == old {
		t.Error("a process with another start time was joined")
	}
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	u.want(exitDone, "removed", "rm", "b")
}

func TestHolderKilled(t *testing.T) {
	u := newUser(t)
	u.want(exitDone, "created", "create", "a", "b")
	was, holder := u.base(), u.holder()
	if err := syscall.Kill(holder, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// It dies, and is reaped, in its own time; until then it has its user namespace.
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", holder)); err != nil {
			break
		}
	}
	u.want(exitDone, "created", "create", "a")
	if _, err := os.Stat(was); was != u.base() && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what the killed holder left is there still: %s: %v", was, err)
	}
	if out := u.want(exitDone, "a ", "ls"); strings.Contains(out, "b ") {
		t.Errorf("a sandbox of the killed holder is listed:\n%s", out)
	}
	u.want(exitDone, "1 sandbox in order", "recover")
	u.want(exitDone, "removed", "rm", "a")
}

// Each user namespace has a base path of its own, whoever made it: what stands in
// one is in no other's way.
func TestUserNamespacesDoNotMeet(t *testing.T) {
	u := newUser(t)
	u.want(exitDone, "created", "create", "web")
	first := u.base()
	for range 2 {
		script := `"$0" create web && "$0" recover >&2 && "$0" rm web >&2`
		out, err := u.command("unshare", "-rnm", "sh", "-c", script, self(t)).Output()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		_, base, _ := strings.Cut(strings.TrimSpace(string(out)), "(")
		base = strings.TrimSuffix(base, "/netns/web)")
		if !strings.HasPrefix(base, filepath.Join(u.dir, "osl", "user-")) || base == first {
			t.Errorf("the base path is %s, that of the first %s", base, first)
		}
	}
	u.want(exitDone, "web ", "ls")
	// Told to use the same base path, the other leaves the key alone.
	c := u.command("unshare", "-rnm", self(t), "rm", "--force", "web")
	c.Env = append(c.Env, "OSL_BASE="+first)
	if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "has it in its mount namespace; use it there: nsenter -t") {
		t.Errorf("rm in another user namespace: %v: %s", err, out)
	}
	u.want(exitDone, "lo", "exec", "web", "--", "ip", "-brief", "link")
	u.want(exitDone, "removed", "rm", "web")
}

// So it is for who is root in a user namespace that root made, and may write to /run, on
// whatever file system of the machine's that is.
func TestRunOfAnotherUserNamespace(t *testing.T) {
	run, own := t.TempDir(), t.TempDir()
	c := exec.Command("unshare", "-m", "sh", "-c", `mount --bind "$1" /run && exec unshare -rnm sh -c '"$0" create web && "$0" rm web >&2' "$0"`, self(t), run)
	c.Env = append(os.Environ(), asCommand+"=1", "XDG_RUNTIME_DIR="+own)
	if out, err := c.Output(); err != nil || !strings.Contains(string(out), "("+filepath.Join(own, "osl", "user-")) {
		t.Errorf("%v: %s", err, out)
	}
	if list, err := os.ReadDir(run); err != nil || len(list) > 0 {
		t.Errorf("in the machine's /run there is %v, %v", list, err)
	}
	// A file system that was mounted in the user namespace itself is its own.
	c = exec.Command("unshare", "-rnm", "sh", "-c", `mount -t tmpfs new /run && "$0" create web`, self(t))
	c.Env = append(os.Environ(), asCommand+"=1", "XDG_RUNTIME_DIR="+own)
	if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "(/run/netns/web)") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestRootlessRefusals(t *testing.T) {
	u := newUser(t)
	t.Run("no nsenter", func(t *testing.T) {
		c := u.command(self(t), "ls")
		c.Env = append(c.Env, "PATH=/nowhere")
		if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "nsenter") {
			t.Errorf("got %v: %s", err, out)
		}
	})
	t.Run("directory is a link", func(t *testing.T) {
		v := newUser(t)
		if err := os.Symlink(t.TempDir(), filepath.Join(v.dir, "osl")); err != nil {
			t.Fatal(err)
		}
		v.want(exitFailed, "is not a directory", "ls")
	})
	for _, kind := range []string{"user", "net", "mnt"} {
		t.Run(kind+" namespaces are switched off", func(t *testing.T) {
			// As root of a user namespace one can switch them off for it.
			v := newUser(t)
			script := "echo 0 > /proc/sys/user/max_" + kind + "_namespaces && exec setpriv --ambient-caps=-all --inh-caps=-all " + self(t) + " ls"
			c := v.command("unshare", "--user", "--map-user=1000", "--keep-caps", "sh", "-c", script)
			out, err := c.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "user.max_"+kind+"_namespaces is 0") {
				t.Errorf("got %v: %s", err, out)
			}
		})
	}
}
