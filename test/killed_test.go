//go:build linux

package osltest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/seed59451c2b/osl"
)

// killed is one operation that is killed at each system call in turn.
type killed struct {
	name string
	args []string   // of the command
	undo [][]string // takes a complete operation back
}

// changes are the system calls by which osl changes anything.
var changes = []string{"sendmsg", "mount", "umount2", "unshare", "setns", "openat", "unlink", "mkdirat"}

// run runs the real command and kills it at the Nth of each system call that
// changes anything, for every N until it runs through. Then osl recover must
// bring back everything as it was, or the operation is found complete. (TestKills
// of the core does so for every operation, where a debugger may look on.)
func (k killed) run(t *testing.T, strace, bin string, calls []string) {
	command := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(bin, args...).CombinedOutput(); err != nil {
			t.Fatalf("osl %v: %v\n%s", args, err, out)
		}
	}
	undo := func() {
		t.Helper()
		for _, args := range k.undo {
			command(args...)
		}
	}
	down := k.args[0] == "down"
	if down {
		undo()
		defer command(k.args...)
	}
	before := everythingNow(t)
	command(k.args...)
	after := everythingNow(t)
	undo()
	points, as := 0, map[string]int{}
	for _, call := range calls {
		for n := 1; ; n++ {
			if n > 200 {
				t.Fatalf("%s: no end", call)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			c := exec.CommandContext(ctx, strace, append([]string{"-f", "-qq", "-o", os.DevNull, "-e", "trace=" + call,
				"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, n), bin}, k.args...)...)
			c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			err := c.Run()
			cancel()
			if err == nil {
				undo()
				break
			}
			points++
			command("recover")
			state := settle(t, before, after)
			as[state]++
			if state == "neither" {
				t.Errorf("killed at %s %d: neither as before nor complete:\n%s", call, n, diff(before, everythingNow(t)))
			}
			if state == "neither" {
				command(k.args...) // where it was half done, it can be done again
			}
			if state != "as before" {
				undo()
			}
		}
	}
	t.Logf("%d kills: %v", points, as)
}

// settle waits until the state is as it was or complete: the kernel deletes
// the links of a namespace in the background.
func settle(t *testing.T, before, after []string) string {
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		switch now := everythingNow(t); {
		case slices.Equal(now, before):
			return "as before"
		case slices.Equal(now, after):
			return "complete"
		}
	}
	return "neither"
}

// everythingNow is the host and each sandbox, without what is new each time a
// link is made.
func everythingNow(t *testing.T) (all []string) {
	t.Helper()
	entries, err := osl.List(context.Background())
	must(t, err)
	keys := []string{""}
	for _, e := range entries {
		keys = append(keys, e.Key)
		all = append(all, fmt.Sprintf("sandbox %s made %v %s", e.Name, e.Made, e.Problem))
	}
	for _, key := range keys {
		for _, l := range plainLinks(t, key) {
			all = append(all, key+": "+l)
		}
	}
	return all
}

// plainLinks is a namespace's links by name, with what a user gave them.
func plainLinks(t *testing.T, key string) (list []string) {
	witness(t, key, func(h *netlink.Handle) {
		for _, l := range dump(t, h.LinkList) {
			a := l.Attrs()
			alias := a.Alias
			if strings.HasPrefix(alias, "osl1;") { // has the index that it had
				alias = fmt.Sprint("tagged, under way: ", strings.Contains(alias, ";w=1"))
			}
			hw := a.HardwareAddr.String()
			if !strings.HasPrefix(hw, "02:00:00:") { // one that a test gave it
				hw = "any"
			}
			line := fmt.Sprintf("%s %s %s mtu %d qlen %d up %v %q", a.Name, l.Type(), hw, a.MTU, a.TxQLen, a.Flags&1 != 0, alias)
			for _, x := range dump(t, func() ([]netlink.Addr, error) { return h.AddrList(l, netlink.FAMILY_ALL) }) {
				if !x.IP.IsLinkLocalUnicast() {
					line += " " + x.IPNet.String()
				}
			}
			list = append(list, line)
		}
	})
	slices.Sort(list)
	return list
}
