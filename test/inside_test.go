//go:build linux

package osltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
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

// opened makes a sandbox that is destroyed at the end of the test.
func opened(t *testing.T) *osl.Namespace {
	t.Helper()
	n, err := osl.Create(t.Context(), name("in"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Destroy(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func nets(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// pair makes two sandboxes with a link, 10.0.0.1 and 10.0.0.2, fd00::1 and fd00::2.
func pair(t *testing.T) (a, b *osl.Namespace) {
	t.Helper()
	a, b = opened(t), opened(t)
	err := a.AddLink(t.Context(), osl.InterfaceSpec{Name: "eth0", Type: "veth", Addresses: nets("10.0.0.1/24", "fd00::1/64"),
		Peer: osl.Endpoint{Sandbox: b.Name(), Interface: "eth0"}})
	if err == nil {
		_, err = b.Apply(t.Context(), osl.Spec{Interfaces: []osl.InterfaceSpec{{Name: "eth0", Addresses: nets("10.0.0.2/24", "fd00::2/64")}}})
	}
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// says answers each connection with a word until the listener is closed.
func says(l net.Listener, word string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, word) // who asked sees it
		_ = c.Close()
	}
}

// heard connects and returns what the other says.
func heard(ctx context.Context, n *osl.Namespace, to string) (string, error) {
	c, err := n.DialContext(ctx, "tcp", to)
	if err != nil {
		return "", err
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	return string(b), err
}

// A thousand dials at once over fifty sandboxes: each is answered by its own
// sandbox's server, and no thread stays in one.
func TestInsideManyDials(t *testing.T) {
	const sandboxes, dials = 50, 1000
	ctx := t.Context()
	var all []*osl.Namespace
	for range sandboxes {
		n := opened(t)
		l, err := n.Listen(ctx, "tcp", "127.0.0.1:7000")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go says(l, n.Name())
		all = append(all, n)
	}
	var wg sync.WaitGroup
	for i := range dials {
		wg.Go(func() {
			n := all[i%sandboxes]
			if word, err := heard(ctx, n, "127.0.0.1:7000"); err != nil || word != n.Name() {
				t.Errorf("in %s: %q, %v", n.Name(), word, err)
			}
		})
	}
	wg.Wait()
	home, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	tasks, _ := filepath.Glob("/proc/self/task/*/ns/net")
	for _, task := range tasks {
		if at, err := os.Readlink(task); err == nil && at != home {
			t.Errorf("the thread %s is in %s", task, at)
		}
	}
}

func TestInsideDials(t *testing.T) {
	ctx := t.Context()
	a, b := pair(t)
	l, err := b.Listen(ctx, "tcp", ":80") // both families
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go says(l, "b")
	for _, to := range []string{"10.0.0.2:80", "[fd00::2]:80", "10.0.0.2:http"} {
		if word, err := heard(ctx, a, to); err != nil || word != "b" {
			t.Errorf("%s: %q, %v", to, word, err)
		}
	}
	// A link-local address: the zone is a name of the sandbox, which the host has not.
	st, err := b.Inspect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range st.Interfaces[0].Addresses {
		if p.Addr().IsLinkLocalUnicast() {
			if word, err := heard(ctx, a, net.JoinHostPort(p.Addr().String()+"%eth0", "80")); err != nil || word != "b" {
				t.Errorf("%s: %q, %v", p, word, err)
			}
		}
	}
	for _, c := range []struct {
		network, address string
		want             error
	}{
		{"tcp", "10.0.0.2:81", syscall.ECONNREFUSED},
		{"tcp", "192.0.2.1:81", syscall.ENETUNREACH},
		{"tcp", "[fe80::1%none]:80", syscall.ENODEV},
		{"nothing", "10.0.0.2:80", net.UnknownNetworkError("nothing")},
	} {
		_, err := a.DialContext(ctx, c.network, c.address)
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "dial" || !errors.Is(err, c.want) {
			t.Errorf("dial %s %s: %v (%T)", c.network, c.address, err, err)
		}
	}
	if _, err := a.Listen(ctx, "tcp", "10.0.0.2:80"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("listen on another's address: %v", err)
	}
}

// A black hole ends with its context, and with the dialer's own timeout.
func TestInsideBlackHole(t *testing.T) {
	a, _ := pair(t)
	for _, by := range []string{"deadline", "cancel", "timeout"} {
		ctx, cancel := context.WithCancel(t.Context())
		d := a.Dialer()
		switch by {
		case "deadline":
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		case "cancel":
			time.AfterFunc(50*time.Millisecond, cancel)
		case "timeout":
			d.Timeout = 50 * time.Millisecond
		}
		dial := a.DialContext
		if by == "timeout" {
			dial = d.DialContext
		}
		begin := time.Now()
		_, err := dial(ctx, "tcp", "10.0.0.77:1")
		cancel()
		var op *net.OpError
		if !errors.As(err, &op) || op.Timeout() != (by != "cancel") || time.Since(begin) > 2*time.Second {
			t.Errorf("%s: %v after %v", by, err, time.Since(begin))
		}
	}
}

// A socket of the sandbox has what package net, and a caller's own control, set.
func TestInsideSocketIsAsNetMakesIt(t *testing.T) {
	ctx := t.Context()
	a, b := pair(t)
	lc := b.ListenConfig()
	first := lc.Control
	lc.Control = func(network, address string, c syscall.RawConn) error {
		if err := first(network, address, c); err != nil {
			return err
		}
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	}
	for range 2 { // which SO_REUSEPORT allows
		l, err := lc.Listen(ctx, "tcp6", "[fd00::2]:90")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		raw, err := l.(*net.TCPListener).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var only, reuse int
		_ = raw.Control(func(fd uintptr) {
			only, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
			reuse, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR)
		})
		if only != 1 || reuse != 1 {
			t.Errorf("IPV6_V6ONLY %d, SO_REUSEADDR %d", only, reuse)
		}
		go says(l, "six")
	}
	d := a.Dialer()
	d.LocalAddr = &net.TCPAddr{IP: net.ParseIP("fd00::1"), Port: 9999}
	c, err := d.DialContext(ctx, "tcp", "[fd00::2]:90")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.LocalAddr().String() != "[fd00::1]:9999" {
		t.Errorf("from %v", c.LocalAddr())
	}
	if alive, err := sockopt(c.(*net.TCPConn), unix.SOL_SOCKET, unix.SO_KEEPALIVE); err != nil || alive != 1 {
		t.Errorf("SO_KEEPALIVE %d, %v", alive, err)
	}
}

func sockopt(c syscall.Conn, level, option int) (value int, err error) {
	raw, err := c.SyscallConn()
	if err == nil {
		if e := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, option) }); e != nil {
			return 0, e
		}
	}
	return value, err
}

func TestInsideDatagramsAndUnix(t *testing.T) {
	ctx := t.Context()
	a, b := pair(t)
	p, err := b.ListenPacket(ctx, "udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c, err := a.DialContext(ctx, "udp", "10.0.0.2:53")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	k, from, err := p.ReadFrom(buf)
	if err != nil || string(buf[:k]) != "question" || !strings.HasPrefix(from.String(), "10.0.0.1:") && !strings.HasPrefix(from.String(), "[::ffff:10.0.0.1]:") {
		t.Errorf("%q from %v, %v", buf[:k], from, err)
	}
	// Abstract unix sockets are the namespace's own: each has one of this name.
	for _, n := range []*osl.Namespace{a, b} {
		l, err := n.Listen(ctx, "unix", "@osl-test")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go says(l, n.Name())
		u, err := n.DialContext(ctx, "unix", "@osl-test")
		if err != nil {
			t.Fatal(err)
		}
		word, _ := io.ReadAll(u)
		_ = u.Close()
		if string(word) != n.Name() {
			t.Errorf("in %s: %q", n.Name(), word)
		}
	}
	// Raw IP, and a packet socket.
	r, err := a.DialContext(ctx, "ip4:253", "10.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	f, err := a.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Error(err)
	}
	if _, err := f.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a read of a packet socket without packets: %v", err)
	}
	f.Close()
}

// Who waits on a connection of a sandbox that is destroyed gets an error, whichever
// handle, of this process, destroys it.
func TestInsideDestroyedUnderConnections(t *testing.T) {
	for _, how := range []string{"Destroy", "Remove", "Down"} {
		ctx := t.Context()
		a, b := pair(t)
		l, err := b.Listen(ctx, "tcp", "10.0.0.2:80")
		if err != nil {
			t.Fatal(err)
		}
		p, err := b.ListenPacket(ctx, "udp", ":53")
		if err != nil {
			t.Fatal(err)
		}
		c, err := a.DialContext(ctx, "tcp", "10.0.0.2:80")
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan string, 4)
		buf := make([]byte, 10)
		wait := func(what string, f func() error) {
			go func() {
				if err := f(); err == nil {
					what += " without an error"
				}
				ended <- what
			}()
		}
		wait("accept", func() error { _, err := l.Accept(); return err })
		wait("server's read", func() error { _, err := s.Read(make([]byte, 1)); return err })
		wait("datagram's read", func() error { _, _, err := p.ReadFrom(buf); return err })
		time.Sleep(20 * time.Millisecond) // so that they wait
		switch how {
		case "Destroy":
			err = b.Destroy()
		case "Remove":
			err = osl.Remove(ctx, b.Name())
		case "Down":
			_, err = osl.Down(ctx, osl.Network{Sandboxes: []osl.Spec{{Name: b.Name()}}})
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			select {
			case what := <-ended:
				if strings.Contains(what, "without") {
					t.Errorf("%s: %s", how, what)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("%s: somebody still waits", how)
			}
		}
		for _, x := range []io.Closer{l, p, c, s} {
			_ = x.Close()
		}
		_, err = b.DialContext(ctx, "tcp", "10.0.0.1:80")
		var op *net.OpError
		if !errors.As(err, &op) || !errors.Is(err, osl.ErrClosed) {
			t.Errorf("%s: a dial after it: %v", how, err)
		}
		if _, err = b.Listen(ctx, "tcp", ":80"); !errors.As(err, &op) || !errors.Is(err, osl.ErrClosed) {
			t.Errorf("%s: a listen after it: %v", how, err)
		}
		if err := b.Command(ctx, "true").Run(); !errors.Is(err, osl.ErrClosed) {
			t.Errorf("%s: a command after it: %v", how, err)
		}
	}
}

// net/http gets a function and nothing else, and its server a listener; the file goes
// by sendfile.
func TestInsideHTTP(t *testing.T) {
	ctx := t.Context()
	a, b := pair(t)
	l, err := b.Listen(ctx, "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "large")
	large := strings.Repeat("0123456789abcdef", 1<<16)
	if err := os.WriteFile(file, []byte(large), 0o600); err != nil {
		t.Fatal(err)
	}
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	transport := &http.Transport{DialContext: a.DialContext}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport}
	for _, url := range []string{"http://10.0.0.2/", "http://[fd00::2]/"} {
		resp, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) != large {
			t.Errorf("%s: %d bytes, %v", url, len(body), err)
		}
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
	if err := a.Command(ctx, "no-such-command").Run(); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("a command that there is not: %v", err)
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
	gone := opened(t)
	late := gone.Command(ctx, "true")
	if err := gone.Destroy(); err != nil {
		t.Fatal(err)
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
	must(a.AddRoute(ctx, route))
	must(a.AddRoute(ctx, route))
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
