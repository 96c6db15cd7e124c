package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

func TestMain(m *testing.M) { testnet.Main(m) }

// lab returns ways into new namespaces "a" and "b" with the two ends of a
// link: 10.9.9.1 and 10.9.9.2, fe80::1 and fe80::2.
func lab(t *testing.T) func(string) (Enter, error) {
	t.Helper()
	ns := map[string]int{"a": namespace(t), "b": namespace(t)}
	within(t, ns["a"], "link add e0 type veth peer name e0 netns "+fdPath(ns["b"]))
	for name, n := range map[string]int{"a": 1, "b": 2} {
		within(t, ns[name], "link set lo up", "link set e0 addrgenmode none", "link set e0 up",
			fmt.Sprintf("address add 10.9.9.%d/24 dev e0", n),
			fmt.Sprintf("address add fe80::%d/64 dev e0 nodad", n))
	}
	return func(name string) (Enter, error) {
		fd, ok := ns[name]
		if !ok {
			return nil, errors.New("no sandbox " + name)
		}
		return func(f func()) error { return visit(fd, f) }, nil
	}
}

// namespace returns the descriptor of a new network namespace.
func namespace(t *testing.T) int {
	t.Helper()
	fd := -1
	home := ownNS(t)
	err := visit(home, func() {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		fd = ownNS(t)
	})
	if err != nil || fd < 0 {
		t.Fatalf("no namespace: %v", err)
	}
	return fd
}

func ownNS(t *testing.T) int {
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return -1
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// visit runs f in the namespace fd, on this thread, and comes home.
func visit(fd int, f func()) error {
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(home)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return err
	}
	f()
	if err := unix.Setns(home, unix.CLONE_NEWNET); err != nil {
		return err // stays locked: the thread is thrown away
	}
	runtime.UnlockOSThread()
	return nil
}

func fdPath(fd int) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd) }

// within runs ip commands in the namespace fd.
func within(t *testing.T, fd int, commands ...string) {
	t.Helper()
	for _, c := range commands {
		var out []byte
		var failed error
		err := visit(fd, func() { out, failed = exec.Command("ip", strings.Fields(c)...).CombinedOutput() })
		if err := errors.Join(err, failed); err != nil {
			t.Fatalf("ip %s: %v: %s", c, err, out)
		}
	}
}

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func port(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func TestOutcomes(t *testing.T) {
	enter := lab(t)
	for _, c := range []struct {
		check  osl.Check
		result string
		passed bool
	}{
		{osl.Check{From: "a", Ping: addr("10.9.9.2")}, OK, true},
		{osl.Check{From: "a", Ping: addr("fe80::2%e0")}, OK, true},
		{osl.Check{From: "a", Ping: addr("::1")}, OK, true},
		{osl.Check{From: "host", Ping: addr("127.0.0.1")}, OK, true},
		{osl.Check{From: "a", TCP: port("10.9.9.2:80"), To: "b"}, OK, true},
		{osl.Check{From: "a", TCP: port("[fe80::2%e0]:80"), To: "b"}, OK, true},
		{osl.Check{From: "a", UDP: port("10.9.9.2:53"), To: "b"}, OK, true},
		{osl.Check{From: "a", UDP: port("[fe80::2%e0]:53"), To: "b"}, OK, true},
		{osl.Check{From: "a", TCP: port("10.9.9.2:81"), Expect: Refused}, Refused, true},
		{osl.Check{From: "a", UDP: port("10.9.9.2:81"), Expect: Refused}, Refused, true},
		{osl.Check{From: "a", Ping: addr("192.0.2.1"), Expect: Unreachable}, Unreachable, true},
		{osl.Check{From: "a", Ping: addr("2001:db8::1"), Expect: Unreachable}, Unreachable, true},
		{osl.Check{From: "a", TCP: port("192.0.2.1:80"), Expect: Unreachable}, Unreachable, true},
		{osl.Check{From: "a", UDP: port("192.0.2.1:80"), Expect: Unreachable}, Unreachable, true},
		{osl.Check{From: "a", TCP: port("10.9.9.9:80"), Expect: Timeout, Timeout: "300ms"}, Timeout, true},
		{osl.Check{From: "a", Ping: addr("10.9.9.9"), Expect: Timeout, Timeout: "300ms"}, Timeout, true},
		// What fails, fails.
		{osl.Check{From: "a", TCP: port("10.9.9.2:81"), Timeout: "200ms"}, Refused, false},
		{osl.Check{From: "a", Ping: addr("10.9.9.9"), Timeout: "200ms"}, Timeout, false},
		{osl.Check{From: "a", Ping: addr("10.9.9.2"), Expect: Unreachable, Timeout: "200ms"}, OK, false},
		{osl.Check{From: "a", TCP: port("10.9.9.2:80"), To: "b", Expect: Refused, Timeout: "200ms"}, OK, false},
		{osl.Check{From: "a", Ping: addr("fe80::2%nolink")}, failed, false},
		{osl.Check{From: "nowhere", Ping: addr("10.9.9.2")}, failed, false},
		{osl.Check{From: "a", TCP: port("10.9.9.2:80"), To: "nowhere"}, failed, false},
		{osl.Check{From: "a", TCP: port("10.9.9.8:80"), To: "b"}, failed, false}, // not an address of b
	} {
		t.Run(fmt.Sprintf("%s %s expect %s", c.check.From, describe(c.check), expected(c.check)), func(t *testing.T) {
			r := Run(t.Context(), []osl.Check{c.check}, enter)[0]
			if r.Result != c.result || r.Passed != c.passed {
				t.Errorf("got %+v", r)
			}
			if !r.Passed && r.Result != OK && r.Detail == "" {
				t.Error("a failure without a detail")
			}
		})
	}
}

// A neighbor that does not answer is reported by the kernel in an ICMP message
// to the sender.
func TestUnreachableNeighbor(t *testing.T) {
	enter := lab(t)
	in, err := enter("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := in(func() {
		for _, family := range []string{"ipv4", "ipv6"} {
			if err := os.WriteFile("/proc/sys/net/"+family+"/neigh/e0/retrans_time_ms", []byte("100"), 0); err != nil {
				t.Error(err)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	results := Run(t.Context(), []osl.Check{
		{From: "a", Ping: addr("10.9.9.9"), Expect: Unreachable},
		{From: "a", Ping: addr("fe80::9%e0"), Expect: Unreachable},
		{From: "a", TCP: port("10.9.9.9:80"), Expect: Unreachable},
		{From: "a", UDP: port("10.9.9.9:80"), Expect: Unreachable},
		{From: "a", UDP: port("[fe80::9%e0]:80"), Expect: Unreachable},
	}, enter)
	for _, r := range results {
		if !r.Passed {
			t.Errorf("got %+v", r)
		}
	}
}

// Who expects no answer gets none also where the kernel gives up asking for the
// neighbour just before the time is over.
func TestSilentNeighbor(t *testing.T) {
	enter := lab(t)
	in, err := enter("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := in(func() {
		if err := os.WriteFile("/proc/sys/net/ipv4/neigh/e0/retrans_time_ms", []byte("100"), 0); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []osl.Check{{Ping: addr("10.9.9.8")}, {TCP: port("10.9.9.8:80")}} {
		c.From, c.Expect, c.Timeout = "a", Timeout, "330ms" // it asks three times
		if r := Run(t.Context(), []osl.Check{c}, enter)[0]; !r.Passed {
			t.Errorf("%+v", r)
		}
	}
}

func TestRetriesUntilItWorks(t *testing.T) {
	enter := lab(t)
	in, err := enter("b")
	if err != nil {
		t.Fatal(err)
	}
	listening := make(chan net.Listener, 1)
	go func() {
		time.Sleep(400 * time.Millisecond)
		var l net.Listener
		var failed error
		err := in(func() { l, failed = net.Listen("tcp", "10.9.9.2:7") })
		if err := errors.Join(err, failed); err != nil {
			t.Error(err)
		}
		listening <- l // nil, if that failed
	}()
	r := Run(t.Context(), []osl.Check{{From: "a", TCP: port("10.9.9.2:7")}}, enter)[0]
	if l := <-listening; l != nil {
		l.Close()
	}
	if !r.Passed {
		t.Errorf("got %+v", r)
	}
}

// What is sent is lost at first, as before a tunnel's handshake: a check goes on for as long
// as it may take.
func TestRetriesWhatIsLost(t *testing.T) {
	enter := lab(t)
	in, err := enter("a")
	if err != nil {
		t.Fatal(err)
	}
	way := func(mac string) {
		if err := in(func() {
			if out, err := exec.Command("ip", "neigh", "replace", "10.9.9.2", "lladdr", mac, "dev", "e0").CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		}); err != nil {
			t.Error(err)
		}
	}
	b, err := enter("b")
	if err != nil {
		t.Fatal(err)
	}
	var mac string
	if err := b(func() {
		link, err := net.InterfaceByName("e0")
		if err != nil {
			t.Error(err)
			return
		}
		mac = link.HardwareAddr.String()
	}); err != nil {
		t.Fatal(err)
	}
	way("02:00:00:00:00:99")
	if r := Run(t.Context(), []osl.Check{{From: "a", Ping: addr("10.9.9.2"), Timeout: "2100ms"}}, enter)[0]; r.Passed {
		t.Errorf("%+v", r)
	}
	found := make(chan struct{})
	go func() {
		defer close(found)
		time.Sleep(2500 * time.Millisecond) // more than two tries
		way(mac)
	}()
	if r := Run(t.Context(), []osl.Check{{From: "a", Ping: addr("10.9.9.2"), Timeout: "30s"}}, enter)[0]; !r.Passed {
		t.Errorf("%+v", r)
	}
	<-found
}

func TestAllAtOnceAndInOrder(t *testing.T) {
	enter := lab(t)
	var checks []osl.Check
	for i := range 20 {
		to := fmt.Sprintf("10.9.9.%d", 100+i)
		checks = append(checks, osl.Check{From: "a", Ping: addr(to), Expect: Timeout, Timeout: "1500ms"})
	}
	begin := time.Now()
	results := Run(t.Context(), checks, enter)
	if d := time.Since(begin); d > 20*time.Second {
		t.Errorf("20 checks of 1.5s took %v", d)
	}
	for i, r := range results {
		if r.Check != describe(checks[i]) || !r.Passed {
			t.Errorf("%d: %+v", i, r)
		}
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	begin := time.Now()
	for _, r := range Run(ctx, []osl.Check{
		{From: "a", Ping: addr("10.9.9.9"), Timeout: "1m"},
		{From: "a", TCP: port("10.9.9.9:80"), Timeout: "1m"},
	}, lab(t)) {
		if r.Passed || r.Detail != "interrupted" {
			t.Errorf("got %+v", r)
		}
	}
	if d := time.Since(begin); d > 30*time.Second {
		t.Errorf("it took %v to stop", d)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		check osl.Check
		field string
	}{
		{osl.Check{From: "a"}, ""},
		{osl.Check{From: "a", Ping: addr("::1"), TCP: port("[::1]:1")}, ""},
		{osl.Check{From: "a", Ping: addr("::1"), To: "b"}, "to"},
		{osl.Check{From: "a", Ping: addr("::1"), Expect: "luck"}, "expect"},
		{osl.Check{From: "a", Ping: addr("::1"), Expect: Refused}, "expect"},
		{osl.Check{From: "a", Ping: addr("::1"), Timeout: "soon"}, "timeout"},
		{osl.Check{From: "a", Ping: addr("::1"), Timeout: "-1s"}, "timeout"},
	} {
		good := osl.Check{From: "a", Ping: addr("::1")}
		var bad *Invalid
		if err := Validate([]osl.Check{good, c.check}); !errors.As(err, &bad) || bad.Index != 1 || bad.Field != c.field {
			t.Errorf("%+v: %v", c.check, err)
		}
	}
}
