//go:build linux

package osltest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
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
// sandbox's server, no thread stays in one, and goroutines and descriptors are what they
// were.
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
		// The first of each: what a handle holds from then on is not of the dials.
		if word, err := heard(ctx, n, "127.0.0.1:7000"); err != nil || word != n.Name() {
			t.Errorf("in %s: %q, %v", n.Name(), word, err)
		}
		all = append(all, n)
	}
	goroutines, descriptors := runtime.NumGoroutine(), numDescriptors(t)
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
	// The servers close their ends a moment later.
	for end := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > goroutines || numDescriptors(t) > descriptors; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines and %d descriptors; before the dials %d and %d", runtime.NumGoroutine(), numDescriptors(t), goroutines, descriptors)
		}
	}
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

func numDescriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
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

// A thread that its caller has moved is where it was after each dial, and the connection
// is the sandbox's.
func TestInsideDialsFromElsewhere(t *testing.T) {
	a, b := pair(t)
	l, err := b.Listen(t.Context(), "tcp", "10.0.0.2:80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go says(l, "b")
	err = b.Do(t.Context(), func(ctx context.Context) error {
		was, err := os.Readlink("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		gone, cancel := context.WithCancel(ctx)
		cancel()
		for _, c := range []struct {
			ctx  context.Context
			to   string
			want error
		}{{ctx, "10.0.0.2:80", nil}, {ctx, "10.0.0.2:81", syscall.ECONNREFUSED}, {gone, "10.0.0.2:80", context.Canceled}} {
			c2, err := a.DialContext(c.ctx, "tcp", c.to)
			if !errors.Is(err, c.want) {
				t.Errorf("%s: %v", c.to, err)
			}
			if err == nil {
				if from := c2.LocalAddr().String(); !strings.HasPrefix(from, "10.0.0.1:") {
					t.Errorf("from %s", from)
				}
				c2.Close()
			}
			if at, err := os.Readlink("/proc/thread-self/ns/net"); err != nil || at != was {
				t.Errorf("after %s the thread is in %s, %v; it was in %s", c.to, at, err, was)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
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
	for network, address := range map[string]string{"ip4:253": "10.0.0.2", "ip6:253": "fd00::2"} {
		r, err := a.DialContext(ctx, network, address)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		p, err := b.ListenPacket(ctx, network, address)
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
	}
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
