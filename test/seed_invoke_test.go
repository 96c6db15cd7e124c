//go:build linux

package osltest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/seed59451c2b/osl"
)

// here is the namespace of the thread that calls it.
func here(t *testing.T) uint64 { return inode(t, "/proc/thread-self/ns/net") }

// allHome demands that no thread of the process is away.
func allHome(t *testing.T) {
	t.Helper()
	home, err := os.Readlink("/proc/self/ns/net")
	must(t, err)
	eventually(t, "every thread is in the host's namespace", func() bool {
		tasks, _ := filepath.Glob("/proc/self/task/*/ns/net")
		for _, f := range tasks {
			if ns, err := os.Readlink(f); err == nil && ns != home {
				return false
			}
		}
		return true
	})
}

func TestInvokeFunc(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	_, dst, _ := w.eth(sb, "10.51.0.2/24")
	home, want := here(t), inode(t, sb.Key())
	var got, fromGoroutine uint64
	var ifaces []net.Interface
	must(t, sb.InvokeFunc(func() {
		got = here(t)
		ifaces, _ = net.Interfaces()
		done := make(chan bool)
		go func() {
			fromGoroutine = here(t)
			close(done)
		}()
		<-done
	}))
	if got != want {
		t.Errorf("f ran in namespace %d, want %d", got, want)
	}
	if fromGoroutine != home {
		t.Errorf("a goroutine of f ran in namespace %d, not in the host's", fromGoroutine)
	}
	found := false
	for _, i := range ifaces {
		found = found || i.Name == dst
	}
	if !found {
		t.Errorf("f saw the interfaces %v", ifaces)
	}
	if here(t) != home {
		t.Error("the caller is not in the host afterwards")
	}
	allHome(t)
}

func TestInvokeFuncPanic(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	for range 20 {
		func() {
			defer func() {
				if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "burst pipe") {
					t.Errorf("recovered %v", r)
				}
			}()
			_ = sb.InvokeFunc(func() { panic("burst pipe") })
			t.Error("InvokeFunc returned after a panic")
		}()
	}
	allHome(t)
	must(t, sb.InvokeFunc(func() {}))
}

func TestInvokeFuncGoexit(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	var returned, deferred bool
	done := make(chan bool)
	go func() {
		defer close(done)
		defer func() { deferred = true }()
		_ = sb.InvokeFunc(func() { runtime.Goexit() })
		returned = true
	}()
	<-done
	if returned || !deferred {
		t.Errorf("returned is %v, deferred is %v: Goexit did not reach the caller", returned, deferred)
	}
	allHome(t)
	must(t, sb.InvokeFunc(func() {}))
}

func TestInvokeFuncNested(t *testing.T) {
	w := begin(t)
	a, b := w.sandbox(), w.sandbox()
	src, _ := w.veth()
	var seen []uint64
	ends(t, "nested InvokeFunc", func() {
		must(t, a.InvokeFunc(func() {
			seen = append(seen, here(t))
			must(t, b.InvokeFunc(func() {
				seen = append(seen, here(t))
				must(t, a.InvokeFunc(func() { seen = append(seen, here(t)) }))
				seen = append(seen, here(t))
			}))
			seen = append(seen, here(t))
			// The other methods work in there too: the host is the same one.
			must(t, b.AddInterface(src, "eth", addresses("10.52.0.2/24")))
			must(t, a.AddAliasIP("lo", ipnet("10.52.1.1/32")))
			seen = append(seen, here(t))
		}))
	})
	ka, kb := inode(t, a.Key()), inode(t, b.Key())
	if want := []uint64{ka, kb, ka, kb, ka, ka}; fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("ran in %v, want %v", seen, want)
	}
	iface(t, b, src)
	allHome(t)
}

func TestInvokeFuncFromMany(t *testing.T) {
	w := begin(t)
	sandboxes := []osl.Sandbox{w.sandbox(), w.sandbox(), w.sandbox()}
	want := make([]uint64, len(sandboxes))
	for i, sb := range sandboxes {
		want[i] = inode(t, sb.Key())
	}
	var wg sync.WaitGroup
	for n := range 24 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			i := n % len(sandboxes)
			for range 20 {
				if err := sandboxes[i].InvokeFunc(func() {
					if got := here(t); got != want[i] {
						t.Errorf("ran in %d, want %d", got, want[i])
					}
				}); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	allHome(t)
}

// Enter and leave, as InvokeFunc does it.
func TestEnter(t *testing.T) {
	w := begin(t)
	n := w.namespace()
	home, want := here(t), inode(t, n.Key())
	for range 20 {
		leave, err := n.Enter()
		must(t, err)
		if got := here(t); got != want {
			t.Errorf("it is in %d, not in %d", got, want)
		}
		must(t, leave())
		if got := here(t); got != home {
			t.Errorf("it is in %d afterwards, not in %d", got, home)
		}
	}
	leave, err := n.Enter()
	must(t, err)
	astray := make(chan error)
	go func() { astray <- leave() }()
	refused(t, "leaving in another goroutine", <-astray, osl.ErrInvalid, "leave the sandbox", n.Key())
	must(t, leave())
	again, err := osl.Open(context.Background(), n.Key())
	must(t, err)
	must(t, again.Close())
	_, err = again.Enter()
	refused(t, "entering by a handle that is closed", err, osl.ErrClosed, "enter the sandbox", n.Key())
	allHome(t)
}
