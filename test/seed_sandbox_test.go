//go:build linux

package osltest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

func TestNewSandboxCreates(t *testing.T) {
	begin(t)
	key := newKey()
	sb, err := osl.NewSandbox(key, true, false)
	must(t, err)
	defer sb.Destroy()
	if sb.Key() != key {
		t.Errorf("Key is %q, want %q", sb.Key(), key)
	}
	if inode(t, key) == inode(t, "/proc/self/ns/net") {
		t.Error("the key is the host's namespace")
	}
	if got := linkNames(t, key); !slices.Equal(got, []string{"lo"}) {
		t.Errorf("a fresh sandbox has the links %v", got)
	}
	if needLink(t, key, "lo").Attrs().Flags&net.FlagUp == 0 {
		t.Error("lo is down")
	}
	if got := addrsOf(t, key, "lo"); !slices.Equal(got, []string{"127.0.0.1/8"}) {
		t.Errorf("lo has %v, want 127.0.0.1/8 only", got)
	}
	for _, conf := range []string{"default", "lo"} {
		if got := sysctl(t, key, "ipv6/conf/"+conf+"/disable_ipv6"); got != "1" && got != "-" {
			t.Errorf("IPv6 is not off by default: conf.%s.disable_ipv6 is %s", conf, got)
		}
	}
	if text := infoText(sb.Info()); text != "gateway <nil>, <nil>" {
		t.Errorf("Info of a fresh sandbox says:\n%s", text)
	}
	if sb.GetLoopbackIfaceName() != "lo" {
		t.Errorf("GetLoopbackIfaceName is %q", sb.GetLoopbackIfaceName())
	}
}

func TestNewSandboxReplacesWhatStands(t *testing.T) {
	w := begin(t)
	src, _ := w.veth()
	key := newKey()
	first := w.sandboxAt(key)
	was := inode(t, key)
	w.add(first, src, "eth", addresses("10.1.0.2/24"))
	second := w.sandboxAt(key)
	if inode(t, key) == was {
		t.Fatal("the namespace is the first one's")
	}
	// The first was destroyed as Destroy does it: its link went home.
	if linkOf(t, "", src) == nil {
		t.Errorf("%s is not on the host again", src)
	}
	if n := len(second.Info().Interfaces()); n != 0 {
		t.Errorf("the new sandbox has %d interfaces", n)
	}
}

func TestNewSandboxHost(t *testing.T) {
	w := begin(t)
	src, _ := w.vethUp()
	key := newKey()
	sb, err := osl.NewSandbox(key, false, false)
	must(t, err)
	defer sb.Destroy()
	if sb.Key() != key {
		t.Errorf("Key is %q, want %q", sb.Key(), key)
	}
	index := needLink(t, "", src).Attrs().Index
	must(t, sb.AddInterface(src, "eth", addresses("10.2.0.2/24")))
	l := needLink(t, "", src)
	if l.Attrs().Index != index || l.Attrs().Flags&net.FlagUp == 0 {
		t.Errorf("the interface is %+v", l.Attrs())
	}
	if !slices.Contains(addrsOf(t, "", src), "10.2.0.2/24") {
		t.Errorf("addresses: %v", addrsOf(t, "", src))
	}
	i := iface(t, sb, src)
	if i.DstName() != src {
		t.Errorf("DstName is %q: an interface keeps its name in the host", i.DstName())
	}
	must(t, sb.SetGateway(ip("10.2.0.1")))
	if !hasRoute(t, "", "default via 10.2.0.1 dev "+src) {
		t.Errorf("routes: %v", routesOf(t, ""))
	}
	must(t, sb.UnsetGateway())
	var got uint64
	must(t, sb.InvokeFunc(func() { got = inode(t, "/proc/thread-self/ns/net") }))
	if got != inode(t, "/proc/self/ns/net") {
		t.Error("InvokeFunc of the host's sandbox is not in the host")
	}
	if _, err := i.Statistics(); err != nil {
		t.Error(err)
	}
	must(t, i.Remove())
	if linkOf(t, "", src) == nil {
		t.Error("Remove took the interface from the host")
	}
	must(t, sb.Destroy())
	if linkOf(t, "", "lo") == nil || linkOf(t, "", src) == nil {
		t.Error("Destroy of the host's sandbox took links from the host")
	}
}

func TestNewSandboxRestore(t *testing.T) {
	w := begin(t)
	made := w.sandbox()
	src, _, _ := w.eth(made, "10.3.0.2/24")
	for _, create := range []bool{false, true} {
		was := inode(t, made.Key())
		sb, err := osl.NewSandbox(made.Key(), create, true)
		must(t, err)
		if sb.Key() != made.Key() || inode(t, sb.Key()) != was {
			t.Errorf("osCreate=%v: another sandbox: %s", create, sb.Key())
		}
		iface(t, sb, src)
	}
	_, err := osl.NewSandbox(newKey(), false, true)
	refused(t, "restore what is not there", err, osl.ErrNotFound)
}

// The seed's Sandbox has no Close: a handle that is dropped holds nothing, and
// does not keep the namespace of a sandbox that is gone.
func TestDroppedHandle(t *testing.T) {
	w := begin(t)
	made := w.sandbox()
	sockets := func() (n int) {
		runtime.GC()
		fds, _ := filepath.Glob("/proc/self/fd/*")
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:") {
				n++
			}
		}
		return n
	}
	before := sockets()
	for range 20 {
		_, err := osl.NewSandbox(made.Key(), false, true)
		must(t, err)
	}
	after := sockets()
	for end := time.Now().Add(5 * time.Second); after > before && time.Now().Before(end); after = sockets() {
		time.Sleep(10 * time.Millisecond)
	}
	if after > before {
		t.Errorf("%d sockets before, %d after", before, after)
	}
	made.Info()
}

func TestGenerateKey(t *testing.T) {
	begin(t)
	base := osl.BasePath() + "/netns/"
	for id, want := range map[string]string{
		"0123456789abcdef": base + "0123456789ab",
		"0123456789ab":     base + "0123456789ab",
		"short":            base + "short",
		"-nobodymade":      "",
		"-":                "",
	} {
		if got := osl.GenerateKey(id); got != want {
			t.Errorf("GenerateKey(%q) is %q, want %q", id, got, want)
		}
	}
}

func TestGenerateKeyFindsTheHighestNumber(t *testing.T) {
	begin(t)
	withBase(t)
	dir := osl.BasePath() + "/netns"
	must(t, os.MkdirAll(dir, 0o755))
	id := "-abcdefghijklmnop"
	if got := osl.GenerateKey(id); got != "" {
		t.Errorf("with no file: %q", got)
	}
	for _, f := range []string{"2-abcdefghij", "9-abcdefghij", "10-abcdefghij", "x11-abcdefghij", "99-abcdefghijk", "-abcdefghij", "98-abcdefghi"} {
		must(t, os.WriteFile(filepath.Join(dir, f), nil, 0o600))
	}
	// By number, not by text: 10 is more than 9.
	if got, want := osl.GenerateKey(id), filepath.Join(dir, "10-abcdefghij"); got != want {
		t.Errorf("GenerateKey(%q) is %q, want %q", id, got, want)
	}
	must(t, os.WriteFile(filepath.Join(dir, "7-ab"), nil, 0o600))
	if got, want := osl.GenerateKey("-ab"), filepath.Join(dir, "7-ab"); got != want {
		t.Errorf("GenerateKey of a short id is %q, want %q", got, want)
	}
}

// withBase sets a base path of the test's own until its end.
func withBase(t *testing.T) string {
	t.Helper()
	was, base := osl.BasePath(), filepath.Join(t.TempDir(), "base")
	osl.SetBasePath(base)
	t.Cleanup(func() { osl.SetBasePath(was) })
	return base
}

func TestSetBasePath(t *testing.T) {
	w := begin(t)
	base := withBase(t)
	if osl.BasePath() != base {
		t.Errorf("BasePath is %q, want %q", osl.BasePath(), base)
	}
	key := osl.GenerateKey("elsewhere")
	if key != base+"/netns/elsewhere" {
		t.Errorf("GenerateKey is %q", key)
	}
	sb := w.sandboxAt(key)
	if inode(t, key) == inode(t, "/proc/self/ns/net") {
		t.Error("no namespace below the base path")
	}
	must(t, sb.Destroy())
	if files, _ := filepath.Glob(base + "/netns/elsewhere*"); len(files) > 0 {
		t.Errorf("Destroy left %v", files)
	}
}

func TestDefaultBasePath(t *testing.T) {
	if got := osl.BasePath(); got != "/run" && got != os.Getenv("XDG_RUNTIME_DIR")+"/osl" {
		t.Errorf("the base path is %q", got)
	}
}

func TestInitOSContext(t *testing.T) {
	begin(t)
	home := inode(t, "/proc/self/ns/net")
	done := osl.InitOSContext()
	if done == nil {
		t.Fatal("InitOSContext returned nil")
	}
	if inode(t, "/proc/thread-self/ns/net") != home {
		t.Error("not in the host between the calls")
	}
	again := osl.InitOSContext()
	again()
	done()
	if inode(t, "/proc/thread-self/ns/net") != home {
		t.Error("not in the host afterwards")
	}
}

// A program calls InitOSContext on a thread that it moved itself, and has
// the host's namespace then.
func TestInitOSContextOnAForeignThread(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	home := inode(t, "/proc/self/ns/net")
	inside(t, sb.Key(), func() error {
		done := osl.InitOSContext()
		defer done()
		if got := inode(t, "/proc/thread-self/ns/net"); got != home {
			t.Errorf("in namespace %d, want the host's %d", got, home)
		}
		return nil
	})
}

// process starts a process that has a network namespace of its own, as a container does,
// and returns the path of that.
func (w *world) process() string {
	w.t.Helper()
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	must(w.t, cmd.Start())
	w.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return "/proc/" + itoa(cmd.Process.Pid) + "/ns/net"
}

func TestGetSandboxForExternalKey(t *testing.T) {
	w := begin(t)
	path := w.process()
	key := newKey()
	sb, err := osl.GetSandboxForExternalKey(path, key)
	must(t, err)
	defer sb.Destroy()
	if sb.Key() != key {
		t.Errorf("Key is %q, want %q", sb.Key(), key)
	}
	if inode(t, key) != inode(t, path) {
		t.Fatal("the key is not the process's namespace")
	}
	src, dst, _ := w.eth(sb, "10.4.0.2/24")
	if got := addrsOf(t, path, dst); !slices.Contains(got, "10.4.0.2/24") {
		t.Errorf("the process's %s has %v", dst, got)
	}
	must(t, sb.Destroy())
	if linkOf(t, "", src) == nil {
		t.Errorf("%s is not on the host again", src)
	}
	if _, err := os.Lstat(key); !os.IsNotExist(err) {
		t.Errorf("the key is there still: %v", err)
	}
	if got := linkNames(t, path); !slices.Equal(got, []string{"lo"}) {
		t.Errorf("the process's links are %v", got)
	}
	for _, bad := range []string{"", "/run/nothing/here", "/proc/self/status", "/proc/self/ns/uts"} {
		key := newKey()
		_, err := osl.GetSandboxForExternalKey(bad, key)
		refused(t, "external key "+bad, err, nil)
		if _, err := os.Lstat(key); !os.IsNotExist(err) {
			t.Errorf("external key %q left %s", bad, key)
		}
	}
}

func TestGC(t *testing.T) {
	w := begin(t)
	live, dead := w.sandbox(), w.sandbox()
	dir := filepath.Dir(live.Key())
	// A key dies when someone unmounts it and leaves the file.
	must(t, unix.Unmount(dead.Key(), unix.MNT_DETACH))
	foreign := filepath.Join(dir, "foreign.txt")
	must(t, os.WriteFile(foreign, []byte("not osl's"), 0o600))
	defer os.Remove(foreign)
	osl.GC()
	if _, err := os.Lstat(dead.Key()); !os.IsNotExist(err) {
		t.Errorf("GC left the dead key: %v", err)
	}
	if b, err := os.ReadFile(foreign); err != nil || !strings.Contains(string(b), "not osl's") {
		t.Errorf("GC touched a file that is not osl's: %v", err)
	}
	if inode(t, live.Key()) == inode(t, "/proc/self/ns/net") {
		t.Error("GC took a living key")
	}
	must(t, live.InvokeFunc(func() {}))
	osl.GC()
}
