//go:build linux

package osltest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

var manySandboxes = flag.Int("many.sandboxes", 100, "how many stand in TestReq9ManyCostNoMoreEach")

func init() {
	// The life of one sandbox, with a link from the host and one to it.
	children["one more"] = func(args []string) int {
		if err := oneMore(args[0]); err != nil {
			fmt.Println(err)
			return 1
		}
		return 0
	}
}

func oneMore(name string) error {
	ctx, goroutines := context.Background(), runtime.NumGoroutine()
	sb, err := osl.Create(ctx, name)
	if err != nil {
		return err
	}
	if err := sb.AddLink(ctx, oneLink("far-more")); err != nil {
		return err
	}
	if err := sb.AddInterface("moves", "net", addresses("10.2.0.2/24")); err != nil {
		return err
	}
	again, err := osl.Open(ctx, name)
	if err != nil {
		return err
	}
	if n := len(again.Info().Interfaces()); n != 2 {
		return fmt.Errorf("%d interfaces", n)
	}
	if err := again.Close(); err != nil {
		return err
	}
	if err := sb.Destroy(); err != nil {
		return err
	}
	// The kernel's answer to the deletion of the other end comes later: it counts too.
	for end := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > goroutines; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines)
		}
	}
	return nil
}

// oneLink has no IPv6: osl waits for the kernel to settle it, which takes now
// one look and now two.
func oneLink(peer string) osl.InterfaceSpec {
	return osl.InterfaceSpec{Name: "eth0", Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: peer},
		Addresses: prefixList("10.1.0.2/24")}
}

// costs counts the system calls of oneMore that change something or talk to the
// kernel about the network, and the bytes that came back. Some depend on which
// thread happens to make a call, so that the least of a few tries counts.
func costs(t *testing.T, strace string) map[string]int {
	t.Helper()
	least := map[string]int{}
	self, err := os.Executable()
	must(t, err)
	call := regexp.MustCompile(`^(\w+)\(.* = (\d+)`)
	for try := range 4 {
		// A file for each thread: in one for all, a call that another thread's
		// runs into is in two halves.
		dir := t.TempDir()
		c := child("one more", "one-more")
		cmd := exec.Command(strace, append([]string{"-ff", "-qq", "-s", "0", "-o", filepath.Join(dir, "trace"), "-e",
			"trace=sendmsg,sendto,recvmsg,recvfrom,mount,umount2,unshare,setns,unlink,unlinkat,mkdirat,getdents64", self}, c.Args[1:]...)...)
		cmd.Env = c.Env
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		files, err := filepath.Glob(filepath.Join(dir, "trace.*"))
		must(t, err)
		now := map[string]int{}
		for _, file := range files {
			b, err := os.ReadFile(file)
			must(t, err)
			for l := range strings.Lines(string(b)) {
				if f := call.FindStringSubmatch(l); f != nil {
					now[f[1]]++
					if n, _ := strconv.Atoi(f[2]); f[1] == "recvmsg" || f[1] == "recvfrom" {
						now["bytes received"] += n
					}
				}
			}
		}
		if try == 0 {
			least = now
		}
		// A call that this try did without counts as none.
		for k, n := range least {
			least[k] = min(n, now[k])
		}
		eventually(t, "the other end is gone", func() bool { return linkOf(t, "", "far-more") == nil })
	}
	return least
}

// To make, open and destroy a sandbox takes as many exchanges with the kernel
// among many as it does alone.
func TestReq9ManyCostNoMoreEach(t *testing.T) {
	strace := testnet.NeedProgram(t, "strace", "strace")
	w := begin(t)
	w.link(&netlink.Veth{LinkAttrs: attrs("moves"), PeerName: "moves-not"})
	w.made = append(w.made, "moves-not")
	t.Cleanup(func() {
		eventually(t, "the other ends are gone", func() bool { return len(links(t, "")) == 3 })
	})
	// One stands already, so that the directory and the lock do too.
	w.sandboxAt(osl.GenerateKey("first"))
	alone := costs(t, strace)
	many := *manySandboxes
	if testing.Short() {
		many = 30
	}
	for n := range many {
		sb := w.sandboxAt(osl.GenerateKey(fmt.Sprintf("many%d", n)))
		must(t, sb.(*osl.Namespace).AddLink(t.Context(), oneLink(fmt.Sprintf("far%d", n))))
	}
	among := costs(t, strace)
	// A call that a signal interrupts is begun anew and counted twice: the least
	// of several tries is what counts.
	more := func() bool {
		for k, n := range among {
			// A wait that took fewer looks at the kernel may have seen more in each.
			if n > alone[k] && !(k == "bytes received" && among["recvfrom"] != alone["recvfrom"]) {
				return true
			}
		}
		return false
	}
	for try := 0; try < 4 && more(); try++ {
		again := costs(t, strace)
		for k, n := range among {
			among[k] = min(n, again[k])
		}
	}
	t.Logf("alone: %v", alone)
	t.Logf("among %d: %v", many, among)
	if alone["sendmsg"] == 0 || alone["mount"] == 0 {
		t.Errorf("nothing was counted: %v", alone)
	}
	if more() {
		t.Errorf("alone it takes %v, among %d %v", alone, many, among)
	}
}
