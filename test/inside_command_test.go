//go:build linux

package osltest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

func init() {
	children["say"] = func(args []string) int {
		fmt.Println(strings.Join(args, " "), os.Args[0])
		return 0
	}
}

func TestInsideCommand(t *testing.T) {
	ctx := t.Context()
	a, _ := pair(t)
	out, err := a.Command(ctx, "ip", "-brief", "address", "show", "dev", "eth0").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "10.0.0.1/24") {
		t.Errorf("%s, %v", out, err)
	}
	c := a.Command(ctx, "sh", "-c", `readlink /proc/self/ns/net; echo "$0 $1 $X"; pwd; cat; exit 3`, "zero")
	c.Args = append(c.Args, "one")
	c.Env, c.Dir, c.Stdin = append(os.Environ(), "X=x"), "/usr", strings.NewReader("in")
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err = c.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("exit 3: %v", err)
	}
	f, err := a.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("net:[%d]\nzero one x\n/usr\nin", st.Ino); string(out) != want {
		t.Errorf("%q, not %q", out, want)
	}
	for _, name := range []string{"no-such-command", ""} {
		if err := a.Command(ctx, name).Run(); !errors.Is(err, exec.ErrNotFound) {
			t.Errorf("the command %q, which there is not: %v", name, err)
		}
	}
	if err := a.Command(ctx, "/etc/passwd").Run(); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a file that is no program: %v", err)
	}
	script := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(script, []byte("\x7fELF, it says"), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := a.Command(ctx, script).CombinedOutput(); !errors.As(err, &exit) || exit.ExitCode() != 126 || !strings.Contains(string(out), script) {
		t.Errorf("what the kernel does not run: %q, %v", out, err)
	}
	self := a.Command(ctx, "/proc/self/exe", "one more")
	self.Env = append(os.Environ(), childVar+"=say")
	if out, err := self.CombinedOutput(); err != nil || string(out) != "one more /proc/self/exe\n" {
		t.Errorf("this program: %q, %v", out, err)
	}
	gone := opened(t)
	late := gone.Command(ctx, "true")
	held, err := gone.File()
	if err != nil {
		t.Fatal(err)
	}
	held.Close()
	if err := osl.Remove(ctx, gone.Name()); err != nil {
		t.Fatal(err)
	}
	if _, err := gone.File(); !errors.Is(err, osl.ErrClosed) {
		t.Errorf("the namespace of a sandbox that is gone: %v", err)
	}
	if out, err := late.CombinedOutput(); !errors.As(err, &exit) || exit.ExitCode() != 125 || !strings.Contains(string(out), gone.Key()) {
		t.Errorf("a sandbox that is gone: %q, %v", out, err)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := a.Command(short, "sleep", "60").Run(); !errors.As(err, &exit) || !strings.Contains(err.Error(), "killed") {
		t.Errorf("a command whose context is done: %v", err)
	}
}

// Pdeathsig takes the command along when its parent's thread ends.
func TestInsideCommandDiesWithItsParent(t *testing.T) {
	a := opened(t)
	pid := make(chan int, 1)
	err := ownThread(func() error {
		c := a.Command(t.Context(), "sleep", "60")
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		err := c.Start()
		if err == nil {
			pid <- c.Process.Pid
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(<-pid, &ws, 0, nil); err != nil || ws.Signal() != syscall.SIGKILL {
		t.Errorf("%v, %v", ws, err)
	}
}

func TestInsideThousandCommands(t *testing.T) {
	n := 1000
	if testing.Short() {
		n = 200
	}
	a := opened(t)
	var wg sync.WaitGroup
	room := make(chan struct{}, 200) // processes at once, for what a small machine has
	for range n {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			if err := a.Command(t.Context(), "true").Run(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// The mounts of ip netns exec: /sys shows the sandbox's links, and nothing of it is
// seen outside.
func TestInsideCommandWithMounts(t *testing.T) {
	ctx := t.Context()
	a, _ := pair(t)
	before, err := filepath.Glob("/sys/class/net/*")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			c := a.CommandWithMounts(ctx, "sh", "-c", "pwd; ls /sys/class/net")
			c.Dir = "/usr"
			if out, err := c.CombinedOutput(); err != nil || string(out) != "/usr\neth0\nlo\n" {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
	wg.Wait()
	if after, err := filepath.Glob("/sys/class/net/*"); err != nil || !slices.Equal(before, after) {
		t.Errorf("/sys of the host had %v and has %v, %v", before, after, err)
	}
}

func TestInsideDo(t *testing.T) {
	a := opened(t)
	own := errors.New("own")
	if err := a.Do(t.Context(), func(context.Context) error { return own }); err != own {
		t.Errorf("%v", err)
	}
	f, err := a.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	err = a.Do(t.Context(), func(context.Context) error {
		h, err := netns.Get()
		if err != nil {
			return err
		}
		defer h.Close()
		if !h.Equal(netns.NsHandle(f.Fd())) {
			return errors.New("it is another namespace")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Do(done, func(context.Context) error { t.Error("it was run"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is done: %v", err)
	}
	runtime.KeepAlive(f)
}

// One address, route and setting, with another library as witness.
func TestInsideSingles(t *testing.T) {
	ctx := t.Context()
	a, _ := pair(t)
	f, err := a.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := netlink.NewHandleAt(netns.NsHandle(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	link := func(name string) netlink.Link {
		t.Helper()
		l, err := h.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(a.AddAddress(ctx, "eth0", netip.MustParsePrefix("10.0.0.9/24")))
	has := func() bool {
		list, err := h.AddrList(link("eth0"), netlink.FAMILY_V4)
		must(err)
		return slices.ContainsFunc(list, func(x netlink.Addr) bool { return x.IP.String() == "10.0.0.9" })
	}
	if !has() {
		t.Error("AddAddress added none")
	}
	must(a.RemoveAddress(ctx, "eth0", netip.MustParsePrefix("10.0.0.9/24")))
	if has() {
		t.Error("RemoveAddress removed none")
	}
	route := osl.RouteSpec{To: netip.MustParsePrefix("192.0.2.0/24"), Via: netip.MustParseAddr("10.0.0.2")}
	for _, c := range []struct {
		route osl.RouteSpec
		want  error
		text  string
	}{
		{osl.RouteSpec{}, osl.ErrInvalid, "a route needs a destination"},
		{osl.RouteSpec{To: route.To, Via: netip.MustParseAddr("198.51.100.1")}, osl.ErrUnreachable, "the route to 192.0.2.0/24"},
		{osl.RouteSpec{To: route.To, Dev: "none"}, osl.ErrNotFound, "none"},
	} {
		if err := a.AddRoute(ctx, c.route); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("AddRoute %+v: %v", c.route, err)
		}
	}
	must(a.AddRoute(ctx, route))
	must(a.AddRoute(ctx, route))
	if err := a.AddRoute(ctx, osl.RouteSpec{To: route.To, Via: netip.MustParseAddr("10.0.0.3")}); !errors.Is(err, osl.ErrExists) {
		t.Errorf("another route to the same destination: %v", err)
	}
	routes := func() int {
		list, err := h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: &net.IPNet{IP: net.IPv4(192, 0, 2, 0).To4(), Mask: net.CIDRMask(24, 32)}}, netlink.RT_FILTER_DST)
		must(err)
		return len(list)
	}
	if routes() != 1 {
		t.Errorf("%d routes", routes())
	}
	must(a.RemoveRoute(ctx, route))
	if routes() != 0 {
		t.Error("RemoveRoute removed none")
	}
	up, down, queue := true, false, 77
	must(a.SetLink(ctx, "eth0", osl.LinkChange{MTU: 1400, TxQueueLen: &queue, Up: &down}))
	must(a.SetLink(ctx, "eth0", osl.LinkChange{Name: "wan0"}))
	l := link("wan0").Attrs()
	if l.MTU != 1400 || l.TxQLen != 77 || l.Flags&net.FlagUp != 0 {
		t.Errorf("%+v", l)
	}
	must(a.SetLink(ctx, "wan0", osl.LinkChange{Up: &up, MAC: osl.MAC{2, 0, 0, 0, 0, 9}}))
	must(a.SetLink(ctx, "wan0", osl.LinkChange{Name: "eth0"}))
	if l := link("eth0").Attrs(); l.Flags&net.FlagUp == 0 || l.HardwareAddr.String() != "02:00:00:00:00:09" || l.MTU != 1400 {
		t.Errorf("%+v", l)
	}
	must(a.SetLink(ctx, "eth0", osl.LinkChange{}))
	must(a.AddLink(ctx, osl.InterfaceSpec{Name: "br0", Type: "bridge"}))
	for _, c := range []struct {
		name string
		set  osl.LinkChange
		want error
	}{
		{"none", osl.LinkChange{MTU: 1400}, osl.ErrNotFound},
		{"eth0", osl.LinkChange{MTU: 17}, osl.ErrInvalid},
		{"eth0", osl.LinkChange{Name: "br0"}, osl.ErrNameInUse},
		{"eth0", osl.LinkChange{MTU: 1300, Name: "wan0"}, osl.ErrInvalid},
		{"eth0", osl.LinkChange{Name: "a/b"}, osl.ErrInvalid},
		{"lo", osl.LinkChange{Name: "lo2"}, osl.ErrInvalid},
	} {
		if err := a.SetLink(ctx, c.name, c.set); !errors.Is(err, c.want) {
			t.Errorf("SetLink %s %+v: %v", c.name, c.set, err)
		}
		if got := link("eth0").Attrs().MTU; got != 1400 {
			t.Errorf("SetLink %s %+v: the MTU is %d", c.name, c.set, got)
		}
	}
	all, err := a.Statistics(ctx)
	must(err)
	if s, ok := all["eth0"]; !ok || s.TxPackets == 0 || len(all) != 3 {
		t.Errorf("%v", all)
	}
}

func TestInsideWaitFor(t *testing.T) {
	a := opened(t)
	if err := a.WaitFor(t.Context(), nil); !errors.Is(err, osl.ErrInvalid) {
		t.Errorf("without a function: %v", err)
	}
	go func() {
		time.Sleep(20 * time.Millisecond)
		if err := a.AddLink(t.Context(), osl.InterfaceSpec{Name: "br0", Type: "bridge"}); err != nil {
			t.Error(err)
		}
	}()
	there := func(st *osl.Status) bool {
		return slices.ContainsFunc(st.Interfaces, func(x osl.InterfaceStatus) bool { return x.Name == "br0" && x.Up })
	}
	if err := a.WaitFor(t.Context(), there); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := a.WaitFor(ctx, func(*osl.Status) bool { return false }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// What is written to a tap is received in the sandbox, and the other way round.
func TestInsideOpenTun(t *testing.T) {
	testnet.NeedTun(t)
	ctx := t.Context()
	a := opened(t)
	if err := a.AddLink(ctx, osl.InterfaceSpec{Name: "tun0", Type: "tun", Addresses: nets("10.9.0.1/24")}); err != nil {
		t.Fatal(err)
	}
	f, err := a.OpenTun("tun0")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := a.OpenTun("tun0"); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("a second time: %v", err)
	}
	for name, want := range map[string]error{"lo": osl.ErrInvalid, "none": osl.ErrNotFound} {
		if _, err := a.OpenTun(name); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err := a.DialContext(ctx, "udp", "10.9.0.2:9")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("through the tun")); err != nil {
		t.Fatal(err)
	}
	if err := f.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2000)
	for {
		n, err := f.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(string(buf[:n]), "through the tun") {
			break
		}
	}
}

func TestSentinelsAreThoseOfFS(t *testing.T) {
	a := opened(t)
	if _, err := osl.Create(t.Context(), a.Name()); !errors.Is(err, osl.ErrExists) || !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v", err)
	}
	if err := a.RemoveLink(t.Context(), "none"); !errors.Is(err, osl.ErrNotFound) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
