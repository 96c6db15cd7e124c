package osltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

// lan is hosts h1, h2 … 10.0.0.1, 10.0.0.2 … on a switch.
func lan(hosts int) (net osl.Network) {
	sw := osl.Spec{Name: "switch", Interfaces: []osl.InterfaceSpec{{Name: "br0", Type: "bridge"}}}
	for i := 1; i <= hosts; i++ {
		name, port := fmt.Sprint("h", i), fmt.Sprint("p", i)
		sw.Interfaces = append(sw.Interfaces, osl.InterfaceSpec{Name: port, Master: "br0"})
		net.Sandboxes = append(net.Sandboxes, osl.Spec{Name: name, Interfaces: []osl.InterfaceSpec{
			{Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.0.0.%d/24", i)), netip.MustParsePrefix(fmt.Sprintf("fd00::%d/64", i))}}}})
		net.Links = append(net.Links, osl.Link{{Sandbox: name, Interface: "eth0"}, {Sandbox: "switch", Interface: port}})
	}
	net.Sandboxes = append(net.Sandboxes, sw)
	return net
}

// echo answers datagrams on port 7 of a sandbox.
func echo(t *testing.T, n *Network, name string) {
	t.Helper()
	p, err := n.Sandbox(name).ListenPacket(t.Context(), "udp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			k, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = p.WriteTo(buf[:k], from)
		}
	}()
}

// slow is how long what must come may take: on a machine that is busy, long.
const slow = 30 * time.Second

// asks sends datagrams until one is answered, or patience is over, and returns how
// long the answer took.
func asks(t *testing.T, n *Network, from, to string, patience time.Duration) (time.Duration, bool) {
	t.Helper()
	c, err := n.Sandbox(from).DialContext(t.Context(), "udp", net.JoinHostPort(to, "7"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buf, end := make([]byte, 100), time.Now().Add(patience)
	for try := byte(0); time.Now().Before(end); try++ {
		begin := time.Now()
		_, _ = c.Write([]byte{try, 'h', 'e', 'l', 'l', 'o'})
		_ = c.SetReadDeadline(begin.Add(min(time.Until(end), 500*time.Millisecond<<min(try, 6))))
		for err = nil; err == nil; {
			var k int
			if k, err = c.Read(buf); err == nil && k == 6 && buf[0] == try { // and not an answer that is late
				return time.Since(begin), true
			}
		}
	}
	return 0, false
}

func TestCutAndHeal(t *testing.T) {
	t.Parallel()
	n := Up(t, lan(3))
	for _, h := range []string{"h1", "h2", "h3"} {
		echo(t, n, h)
	}
	reach := func(from, to string, want bool) {
		t.Helper()
		patience := slow
		if !want {
			patience = 150 * time.Millisecond
		}
		if _, ok := asks(t, n, from, to, patience); ok != want {
			t.Errorf("%s reaches %s: %v", from, to, ok)
		}
	}
	// A connection from before is the same after it.
	l, err := n.Sandbox("h1").Listen(t.Context(), "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := n.Sandbox("h2").DialContext(t.Context(), "tcp", "10.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	reach("h2", "10.0.0.1", true)
	n.Cut("h1", "switch")
	reach("h2", "10.0.0.1", false)
	reach("h1", "fd00::2", false)
	reach("h2", "10.0.0.3", true)
	n.Heal("h1", "switch")
	reach("h2", "10.0.0.1", true)
	reach("h1", "fd00::2", true)
	large := strings.Repeat("x", 1<<20) // in packets larger than a link takes, as the kernel has them
	go func() { _, _ = io.WriteString(s, large); _ = s.Close() }()
	_ = c.SetReadDeadline(time.Now().Add(slow))
	if got, err := io.ReadAll(c); err != nil || string(got) != large {
		t.Errorf("%d bytes over the healed link, %v", len(got), err)
	}
}

func TestPartition(t *testing.T) {
	t.Parallel()
	n := Up(t, lan(4))
	all := []string{"h1", "h2", "h3", "h4"}
	for _, h := range all {
		echo(t, n, h)
	}
	reaches := func(same func(i, j int) bool) {
		t.Helper()
		for i, from := range all {
			for j := range all {
				if i == j {
					continue
				}
				want, patience := same(i, j), slow
				if !want {
					patience = 60 * time.Millisecond
				}
				if _, ok := asks(t, n, from, fmt.Sprint("10.0.0.", j+1), patience); ok != want {
					t.Errorf("%s reaches h%d: %v", from, j+1, ok)
				}
			}
		}
	}
	n.Partition([]string{"h1", "h2"}, []string{"h3"})
	reaches(func(i, j int) bool { return i == 3 || j == 3 || (i < 2) == (j < 2) })
	n.Partition([]string{"h1", "h3"}, []string{"h2", "h4"})
	reaches(func(i, j int) bool { return i%2 == j%2 })
	n.Partition()
	reaches(func(i, j int) bool { return true })
}

func TestCapture(t *testing.T) {
	t.Parallel()
	n := Up(t, lan(2))
	echo(t, n, "h2")
	c := n.Capture("h2/eth0")
	if _, ok := asks(t, n, "h1", "10.0.0.2", slow); !ok {
		t.Fatal("no answer")
	}
	p := c.Expect("the answer", func(p Packet) bool { return p.Out && strings.HasSuffix(string(p.Data), "hello") })
	if got := p.String(); !strings.Contains(got, "eth0 out UDP 10.0.0.2:7 > 10.0.0.1:") || !strings.Contains(got, "6 bytes") {
		t.Error(got)
	}
	// What nobody waits for is read later, or when it is asked for, and has the time when
	// it passed.
	r := n.recorders[slices.IndexFunc(n.recorders, func(r *recorder) bool { return r.name == "h2" })]
	for _, later := range []time.Duration{0, 50 * time.Millisecond} {
		time.Sleep(later)
		all, _ := r.packets()
		i := slices.IndexFunc(all, func(x Packet) bool { return x.Out && x.Interface == "eth0" && bytes.Equal(x.Data, p.Data) })
		if i < 0 || all[i].Time.Sub(p.Time).Abs() > time.Millisecond {
			t.Errorf("the answer passed at %v, and of %d packets of the sandbox it is the %dth", p.Time, len(all), i)
		}
	}
	c.ExpectNone("a packet of TCP", func(p Packet) bool { return strings.Contains(p.String(), "TCP") })
}

// Who asks for packets while more and more come gets those until then, and nobody reads from
// a recorder that has stopped.
func TestCaptureUnderFlood(t *testing.T) {
	t.Parallel()
	n := Up(t, lan(2))
	c := n.Capture("h1/eth0")
	over, sending := make(chan struct{}), sync.WaitGroup{}
	for range 4 {
		to, err := n.Sandbox("h1").DialContext(t.Context(), "udp", "10.0.0.2:9")
		if err != nil {
			t.Fatal(err)
		}
		defer to.Close()
		sending.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					_, _ = to.Write([]byte("more"))
				}
			}
		})
	}
	stop := sync.OnceFunc(func() { close(over) })
	defer time.AfterFunc(10*time.Second, stop).Stop() // who waits for the end of it waits so long
	defer sending.Wait()
	defer stop()
	time.Sleep(300 * time.Millisecond) // more come than can be read
	asked := time.Now()
	c.Expect("a packet", func(Packet) bool { return true })
	c.Packets()
	if took := time.Since(asked); took > 9*time.Second {
		t.Errorf("to ask for packets took %v", took)
	}
	c.once.Do(c.r.stop)
	for range 20 { // the number of its socket is another's by and by
		s, err := packetSocket(n.Sandbox("h1"), "", false)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(s)
		if s == c.r.fd {
			time.Sleep(10 * time.Millisecond)
			break
		}
	}
	if count := c.r.read(); count > 0 {
		t.Errorf("%d packets were read of a socket that is another's", count)
	}
}

// Tests at the same time have sandboxes of the same names.
func TestUpFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lab.yaml")
	text := `
sandboxes:
  - name: web
    interfaces: [{name: eth0, type: veth, peer: client/eth0, addresses: [10.0.0.1/24]}]
  - name: client
    interfaces: [{name: eth0, addresses: [10.0.0.2/24]}]
checks:
  - {from: client, tcp: "10.0.0.1:80", to: web}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			n := UpFile(t, path)
			l, err := n.Sandbox("web").Listen(t.Context(), "tcp", ":80")
			if err != nil {
				t.Fatal(err)
			}
			server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, i) })}
			defer server.Close()
			go func() { _ = server.Serve(l) }()
			transport := &http.Transport{DialContext: n.Sandbox("client").DialContext}
			defer transport.CloseIdleConnections()
			resp, err := (&http.Client{Transport: transport}).Get("http://10.0.0.1/")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if b, err := io.ReadAll(resp.Body); err != nil || string(b) != fmt.Sprint(i) {
				t.Errorf("%q, %v", b, err)
			}
			n.Cut("web", "client") // a link that a Peer makes
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if c, err := n.Sandbox("client").DialContext(ctx, "tcp", "10.0.0.1:80"); err == nil {
				c.Close()
				t.Error("connected over a link that is cut")
			}
			n.Heal("web", "client")
		})
	}
}

// recordingT is a test whose failures are looked at and not the test's.
type recordingT struct {
	testing.TB
	failed   bool
	text     strings.Builder
	cleanups []func()
	dir      string
}

func (r *recordingT) Error(a ...any)            { r.failed = true; fmt.Fprintln(&r.text, a...) }
func (r *recordingT) Errorf(f string, a ...any) { r.failed = true; fmt.Fprintf(&r.text, f+"\n", a...) }
func (r *recordingT) Fatalf(f string, a ...any) { r.Errorf(f, a...); panic("the test ends") }
func (r *recordingT) Log(a ...any)              { fmt.Fprintln(&r.text, a...) }
func (r *recordingT) Logf(f string, a ...any)   { fmt.Fprintf(&r.text, f+"\n", a...) }
func (r *recordingT) Failed() bool              { return r.failed }
func (r *recordingT) Cleanup(f func())          { r.cleanups = append(r.cleanups, f) }
func (r *recordingT) ArtifactDir() string       { return r.dir }
func (r *recordingT) finish() {
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		r.cleanups[i]()
	}
}

// A test that leaves a socket or a process fails, and tells which; the log of one that
// fails has what there was, and its packets are in a file.
func TestLeaksAndReport(t *testing.T) {
	r := &recordingT{TB: t, dir: t.TempDir()}
	n := Up(r, lan(2))
	l, err := n.Sandbox("h1").Listen(t.Context(), "tcp", ":8080")
	if err != nil {
		t.Fatal(err)
	}
	cmd := n.Sandbox("h2").Command(t.Context(), "sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// One that nobody waits for any more.
	if out, err := n.Sandbox("h2").Command(t.Context(), "sh", "-c", "setsid tail -f /dev/null >/dev/null 2>&1 & echo $!").Output(); err != nil {
		t.Fatal(err)
	} else if orphan, err := strconv.Atoi(strings.TrimSpace(string(out))); err != nil {
		t.Fatal(err)
	} else {
		defer func() {
			_ = unix.Kill(orphan, unix.SIGKILL)
			_, _ = unix.Wait4(orphan, nil, 0, nil)
		}()
	}
	c, err := n.Sandbox("h2").DialContext(t.Context(), "tcp", "10.0.0.1:81")
	if !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("%v, %v", c, err)
	}
	r.finish()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	_ = l.Close()
	text := r.text.String()
	for _, want := range []string{"the test left a tcp listener socket of port 8080 open in h1", "(sleep) in h2", "(tail) in h2", "sandbox switch",
		"eth0: up, mtu 1500", "10.0.0.2/24", "tcp6 [::]:8080 -> [::]:0 LISTEN", "TCP 10.0.0.1:81 > 10.0.0.2:", "RST+ACK"} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing says %q", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
	files, err := filepath.Glob(filepath.Join(r.dir, "*.pcapng"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil || !strings.Contains(string(b), "h1/eth0") || len(b) < 1000 {
		t.Errorf("a file of %d bytes, %v", len(b), err)
	}
	if entries, err := os.ReadDir("/run/osltest"); err == nil && len(entries) > 0 {
		t.Errorf("left in /run/osltest: %v", entries)
	}
}

// Three hosts and a router: built, asked, taken down.
func BenchmarkUp(b *testing.B) {
	net := lan(3)
	net.Sandboxes[3].Interfaces[0].Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.254/24")}
	for b.Loop() {
		r := &recordingT{TB: b}
		n := Up(r, net)
		l, err := n.Sandbox("h1").Listen(b.Context(), "tcp", "10.0.0.1:80")
		if err != nil {
			b.Fatal(err)
		}
		c, err := n.Sandbox("h2").DialContext(b.Context(), "tcp", "10.0.0.1:80")
		if err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
		_ = l.Close()
		r.finish()
		if r.failed {
			b.Fatal(r.text.String())
		}
	}
}
