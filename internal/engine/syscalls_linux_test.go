package engine_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/engine"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/testnet"

	"golang.org/x/sys/unix"
)

// callsEnv makes the test binary make the calls of TestSystemCalls and no tests.
const callsEnv = "OSL_TEST_CALLS"

// costs are the system calls of one call. Those of the Go runtime for itself are
// left out, and so are those of the lock, fcntl and fstat: none where this process
// had it a moment ago.
type costs struct {
	name string
	do   func(n *osl.Namespace) error
	want string
}

const single = "recvfrom 1, sendmsg 1"

var systemCalls = func() []costs {
	var fresh *osl.Namespace
	var iface osl.Interface
	gw, ip := net.ParseIP("10.2.0.254"), net.ParseIP("10.3.255.7")
	ctx := context.Background()
	sysctls := map[string]string{"ipv4.ip_forward": os.Getenv(callsEnv)}
	two := osl.Network{Sandboxes: []osl.Spec{{Name: "one", Sysctls: sysctls}, {Name: "two", Sysctls: sysctls}}}
	return []costs{
		// The first under a lock looks at the key, since there were mounts, and at lo;
		// those after it need not.
		{"the first SetGateway", func(n *osl.Namespace) error { engine.ForgetLock(n.Key()); return n.SetGateway(gw) }, "newfstatat 1, ppoll 1, recvfrom 2, sendmsg 2"},
		{"SetGateway over another", func(n *osl.Namespace) error { return n.SetGateway(gw) }, "recvfrom 3, sendmsg 2"},
		{"UnsetGateway", func(n *osl.Namespace) error { return n.UnsetGateway() }, single},
		{"AddStaticRoute", func(n *osl.Namespace) error { return n.AddStaticRoute(nextHop) }, single},
		{"RemoveStaticRoute", func(n *osl.Namespace) error { return n.RemoveStaticRoute(nextHop) }, single},
		{"AddNeighbor", func(n *osl.Namespace) error { return n.AddNeighbor(ip, hw(7), false) }, "recvfrom 2, sendmsg 2"},
		{"DeleteNeighbor", func(n *osl.Namespace) error { return n.DeleteNeighbor(ip, hw(7), true) }, single},
		{"AddAliasIP", func(n *osl.Namespace) error { return n.AddAliasIP("eth0", cidr("10.9.9.9/32")) }, "ioctl 1, recvfrom 1, sendmsg 1"},
		{"RemoveAliasIP", func(n *osl.Namespace) error { return n.RemoveAliasIP("eth0", cidr("10.9.9.9/32")) }, "ioctl 1, recvfrom 1, sendmsg 1"},
		{"InvokeFunc", func(n *osl.Namespace) error { return n.InvokeFunc(func() {}) }, "ppoll 1, readlinkat 1, setns 2"},
		// What package net asks besides is left to it.
		{"ListenPacket and Close", func(n *osl.Namespace) error {
			c, err := n.ListenPacket(ctx, "udp4", "10.2.0.1:0")
			if err == nil {
				err = c.Close()
			}
			return err
		}, "bind 1, close 2, dup3 1, getsockname 1, getsockopt 4, ppoll 1, setns 2, setsockopt 2, socket 2"},
		{"Statistics", func(n *osl.Namespace) error {
			if iface == nil {
				iface = n.Info().Interfaces()[0]
			}
			_, err := iface.Statistics()
			return err
		}, "ppoll 1, recvfrom 1, sendmsg 1"},
		{"Info after changes", func(n *osl.Namespace) error { n.Info(); return nil }, "ppoll 1, recvfrom 6, sendmsg 3"},
		{"Info", func(n *osl.Namespace) error { n.Info(); return nil }, "ppoll 1, recvfrom 1"},
		{"Open and Close", func(n *osl.Namespace) error {
			again, err := osl.Open(ctx, n.Key())
			if err == nil {
				err = again.Close()
			}
			return err
		}, "close 3, fstatfs 2, ioctl 1, newfstatat 3, openat 2, readlinkat 1, recvfrom 1, sendmsg 1, setns 2, setsockopt 3, socket 1"},
		{"Create", func(*osl.Namespace) (err error) { fresh, err = osl.Create(ctx, "fresh"); return err }, "close 6, ioctl 1, mount 1, newfstatat 2, openat 6, pwrite64 4, readlinkat 1, recvfrom 1, sendmsg 1, setns 1, setsockopt 3, socket 1, statx 1, unshare 1"},
		// The namespace that is asked whether it has the setting becomes one of them.
		{"Apply of two sandboxes", func(*osl.Namespace) error { _, err := osl.Apply(ctx, two); return err }, "close 29, getdents64 1, ioctl 4, mount 2, newfstatat 13, openat 27, pread64 14, pwrite64 10, readlinkat 7, recvfrom 6, sendmsg 6, setns 12, setsockopt 6, socket 2, statx 2, unshare 2"},
		// It asks each for sockets: others may have made some there.
		{"Down of the same", func(*osl.Namespace) error { _, err := osl.Down(ctx, two); return err }, "close 13, fstatfs 4, getdents64 1, ioctl 4, newfstatat 8, openat 9, readlinkat 4, recvfrom 9, sendmsg 7, setns 8, setsockopt 6, socket 2, umount2 2, unlinkat 2"},
		{"Destroy", func(*osl.Namespace) error { return fresh.Destroy() }, "close 2, getdents64 1, newfstatat 1, openat 1, recvfrom 2, sendmsg 1, umount2 1, unlinkat 1"},
	}
}()

const rounds = 20

// makeCalls makes each call many times, with a mark in the trace before each.
func makeCalls() {
	netns.LookAgain = time.Hour
	engine.KeepLocks(time.Hour) // the tracer is slow, and a busy machine slower
	n, err := osl.Open(context.Background(), "a")
	for range rounds {
		for i, c := range systemCalls {
			_ = unix.Access(fmt.Sprintf("/mark-%d-", i), 0)
			if err == nil {
				err = c.do(n)
			}
		}
	}
	_ = unix.Access("/mark--", 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// left are the system calls that are left out, faccessat since it makes the marks.
var left = strings.Fields(`faccessat fcntl fstat futex nanosleep clock_nanosleep sched_yield madvise mmap munmap mprotect prctl rt_sigaction
	rt_sigprocmask rt_sigreturn sigaltstack gettid getpid tgkill clone clone3 epoll_pwait epoll_wait epoll_ctl eventfd2
	restart_syscall set_robust_list rseq sched_getaffinity write read exit`)

// Each call takes the system calls that are written above, exactly.
func TestSystemCalls(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the names of the calls are those of amd64")
	}
	strace := testnet.NeedProgram(t, "strace", "strace")
	w := world(t, "")
	w.a = w.make("a")
	w.make("b")
	w.must(w.ns("a").AddLink(t.Context(), osl.InterfaceSpec{Name: "eth0", Type: "veth", Peer: osl.Endpoint{Sandbox: "b", Interface: "eth0"},
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.2.0.1/15")}}))
	// What a new namespace has, is the machine's: the other value is written.
	other := "1"
	w.must(w.ns("b").InvokeFunc(func() {
		if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward"); err == nil && string(b) == "1\n" {
			other = "0"
		}
	}))
	self, err := os.Executable()
	w.must(err)
	out := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command(strace, "-f", "-qq", "-s", "32", "-o", out, self)
	cmd.Env = append(os.Environ(), callsEnv+"="+other, "XDG_RUNTIME_DIR=")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	b, err := os.ReadFile(out)
	w.must(err)
	least := make([]map[string]int, len(systemCalls))
	call := regexp.MustCompile(`(?m)^(?:\d+ +)?(\w+)\(`)
	marked := regexp.MustCompile(`"/mark-(\d*)-"`).FindAllSubmatchIndex(b, -1)
	if len(marked) != rounds*len(systemCalls)+1 {
		t.Fatalf("the trace has %d marks", len(marked))
	}
	for m, at := range marked[:len(marked)-1] {
		now := map[string]int{}
		for _, f := range call.FindAllSubmatch(b[at[1]:marked[m+1][0]], -1) {
			now[string(f[1])]++
		}
		maps.DeleteFunc(now, func(name string, _ int) bool { return slices.Contains(left, name) })
		i := m % len(systemCalls)
		if least[i] == nil {
			least[i] = now
		}
		for name := range least[i] {
			least[i][name] = min(least[i][name], now[name])
		}
	}
	for i, c := range systemCalls {
		var have []string
		for _, name := range slices.Sorted(maps.Keys(least[i])) {
			if n := least[i][name]; n > 0 {
				have = append(have, fmt.Sprint(name, " ", n))
			}
		}
		if got := strings.Join(have, ", "); got != c.want {
			t.Errorf("%s takes\n%s, want\n%s", c.name, got, c.want)
		}
	}
}
