//go:build linux

package osltest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

// expected are the errors that a handle may meet whose key others destroy and
// make again all the time.
func expected(err error) bool {
	return err == nil || errors.Is(err, osl.ErrClosed) || errors.Is(err, osl.ErrNotFound)
}

// contend makes, opens, uses and destroys the sandbox at a key, and reports
// anything that shows another's work. Its bridges have names of its own.
func contend(key, who string, rounds int) (problems []string) {
	for n := range rounds {
		sb, err := osl.NewSandbox(key, true, false)
		if !expected(err) {
			return append(problems, fmt.Sprintf("NewSandbox: %v", err))
		} else if err != nil {
			continue
		}
		mine := fmt.Sprintf("%sx%d", who, n)
		if err := sb.AddInterface(mine, "br", sb.InterfaceOptions().Bridge(true)); !expected(err) {
			problems = append(problems, fmt.Sprintf("AddInterface: %v", err))
		} else if err == nil {
			for _, i := range sb.Info().Interfaces() {
				if i.SrcName() != mine {
					problems = append(problems, fmt.Sprintf("%s sees %s", mine, i.SrcName()))
				}
			}
		}
		if again, err := osl.NewSandbox(key, false, true); !expected(err) {
			problems = append(problems, fmt.Sprintf("open: %v", err))
		} else if err == nil {
			if n := len(again.Info().Interfaces()); n > 1 {
				problems = append(problems, fmt.Sprintf("%d bridges in one sandbox", n))
			}
			if err := again.InvokeFunc(func() {}); !expected(err) {
				problems = append(problems, fmt.Sprintf("InvokeFunc: %v", err))
			}
			// Its handle would stay open otherwise.
			if c, ok := again.(*osl.Namespace); ok {
				_ = c.Close()
			}
		}
		if err := sb.Destroy(); err != nil {
			problems = append(problems, fmt.Sprintf("Destroy: %v", err))
		}
	}
	return problems
}

func init() {
	children["contend"] = func(args []string) int {
		n, _ := strconv.Atoi(args[2])
		for _, p := range contend(args[0], args[1], n) {
			fmt.Println(p)
		}
		return 0
	}
}

func TestReq5OneKeyManyThreadsAndProcesses(t *testing.T) {
	begin(t)
	key := newKey()
	rounds := 15
	if testing.Short() {
		rounds = 4
	}
	var wg sync.WaitGroup
	for n := range 3 {
		wg.Add(2)
		go func() {
			defer wg.Done()
			for _, p := range contend(key, fmt.Sprintf("t%d", n), rounds) {
				t.Errorf("thread %d: %s", n, p)
			}
		}()
		go func() {
			defer wg.Done()
			out, err := child("contend", key, fmt.Sprintf("p%d", n), strconv.Itoa(rounds)).CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Errorf("process %d: %v\n%s", n, err, out)
			}
		}()
	}
	wg.Wait()
	// The last Destroy of each was of its own sandbox; another's may stand.
	if sb, err := osl.NewSandbox(key, false, true); err == nil {
		must(t, sb.Destroy())
	}
	if _, err := os.Lstat(key); !os.IsNotExist(err) {
		t.Errorf("the key is there: %v", err)
	}
	allHome(t)
}

func TestReq8ModesWhateverTheUmask(t *testing.T) {
	w := begin(t)
	modes := map[int]string{}
	for _, mask := range []int{0, 0o077, 0o022} {
		func() {
			was := unix.Umask(mask)
			defer unix.Umask(was)
			base := withBase(t)
			sb := w.sandboxAt(osl.GenerateKey("modes"))
			text := ""
			must(t, filepath.WalkDir(base, func(p string, d fs.DirEntry, err error) error {
				must(t, err)
				if p == sb.Key() {
					return nil // the namespace's own mode; its file is below it
				}
				i, err := d.Info()
				must(t, err)
				rel, _ := filepath.Rel(base, p)
				text += fmt.Sprintf("%s %v\n", rel, i.Mode())
				if i.Mode().Perm()&0o022 != 0 {
					t.Errorf("umask %o: others may write %s: %v", mask, p, i.Mode())
				}
				return nil
			}))
			must(t, unix.Unmount(sb.Key(), unix.MNT_DETACH))
			i, err := os.Lstat(sb.Key())
			must(t, err)
			modes[mask] = text + "key " + i.Mode().String()
			must(t, sb.Destroy())
		}()
	}
	if modes[0] != modes[0o077] || modes[0] != modes[0o022] {
		t.Errorf("modes depend on the umask:\n0:\n%s\n077:\n%s\n022:\n%s", modes[0], modes[0o077], modes[0o022])
	}
}

func TestReq10aAHandleNeverTouchesItsSuccessor(t *testing.T) {
	w := begin(t)
	src, _ := w.vethUp()
	key := newKey()
	first := w.sandboxAt(key)
	w.add(first, "br-one", "br", first.InterfaceOptions().Bridge(true))
	old := iface(t, first, "br-one")
	second := w.sandboxAt(key)
	w.add(second, "br-one", "br", second.InterfaceOptions().Bridge(true))
	inner, _, _ := w.eth(second, "10.73.0.2/24", "fd73::2/64")
	must(t, second.SetGateway(ip("10.73.0.1")))
	must(t, second.AddAliasIP("lo", ipnet("10.171.0.1/32")))
	was, within, info := inode(t, key), snapshot(t, key), infoText(second.Info())
	afterDestroy(t, first, src)
	must(t, old.Remove())
	_, _ = old.Statistics()
	must(t, first.Destroy())
	osl.GC()
	if inode(t, key) != was {
		t.Error("the successor was replaced")
	}
	same(t, "the successor", within, func() []string { return snapshot(t, key) })
	if got := infoText(second.Info()); got != info {
		t.Errorf("the successor's Info was\n%s\nand is\n%s", info, got)
	}
	iface(t, second, inner)
}

// The same when another program made the successor.
func TestReq10aASuccessorOfAnotherProgram(t *testing.T) {
	w := begin(t)
	ipBase(t)
	src, _ := w.vethUp()
	sb := w.sandboxAt("/run/netns/succ")
	ipCommand(t, "netns", "del", "succ")
	ipCommand(t, "netns", "add", "succ")
	ipCommand(t, "-n", "succ", "link", "add", "br0", "type", "bridge")
	was, within := inode(t, sb.Key()), snapshot(t, sb.Key())
	afterDestroy(t, sb, src)
	if !slices.Equal(ipNetnsNames(t), []string{"succ"}) || inode(t, sb.Key()) != was {
		t.Errorf("the successor is not there any more: %v", ipNetnsNames(t))
	}
	same(t, "the successor", within, func() []string { return snapshot(t, sb.Key()) })
	ipCommand(t, "netns", "del", "succ")
}
