//go:build linux

package osltest

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

var soakCycles = flag.Int("soak.cycles", 200, "life cycles of TestSoak, over all its processes")

const (
	soakProcesses  = 4
	soakGoroutines = 8
)

// TestSoak runs life cycles of sandboxes in several processes of several
// goroutines each; one in ten is made to fail. At the end everything must be
// as at the start: in each process its descriptors, goroutines, threads and
// their namespaces, and its heap; outside the mounts, files, links and the
// kernel's namespaces.
//
//	go test -run TestSoak -timeout 1h . -args -soak.cycles=10000
func TestSoak(t *testing.T) {
	begin(t) // compares mounts, files and the host's links at the end
	taken, err := osl.Create(t.Context(), "soak-taken")
	must(t, err)
	t.Cleanup(func() { must(t, taken.Destroy()) })
	limited := limitNamespaces(t)
	before, _ := namespaces()
	start := time.Now()
	each := *soakCycles / soakProcesses
	if testing.Short() {
		each = min(each, 20)
	}
	var wg sync.WaitGroup
	for id := range soakProcesses {
		wg.Go(func() {
			out, err := child("soak", strconv.Itoa(id), strconv.Itoa(each)).CombinedOutput()
			for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
				if figure, ok := strings.CutPrefix(s.Text(), "figure: "); ok {
					t.Logf("process %d: %s", id, figure)
				} else {
					t.Errorf("process %d: %s", id, s.Text())
				}
			}
			if err != nil {
				t.Errorf("process %d: %v", id, err)
			}
		})
	}
	wg.Wait()
	t.Logf("%d life cycles in %v", each*soakProcesses, time.Since(start).Round(time.Millisecond))
	for _, key := range sharedKeys {
		_ = osl.Remove(t.Context(), key)
	}
	allHome(t)
	// The kernel deletes the links of namespaces that are gone in the background.
	for end := time.Now().Add(30 * time.Second); len(linkNames(t, "")) > 1 && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
	if limited {
		return
	}
	// The kernel frees a namespace in the background. What others on the
	// machine do is seen here too, the tests of the other packages among them:
	// a leak is told from that by its number.
	now, exact := namespaces()
	most := before + each
	if exact {
		most = before + min(each+25, 100) // some are on their way for minutes
	}
	enough, wait := most, time.Minute
	if each >= 1000 { // the long form has the time to see them all go
		enough, wait = before, 5*time.Minute
	}
	for end := time.Now().Add(wait); now > enough && time.Now().Before(end); now, _ = namespaces() {
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("the machine's network namespaces: %d before, %d after", before, now)
	if now > most {
		t.Errorf("the kernel had %d network namespaces and has %d", before, now)
	}
}

// limitNamespaces lets the user namespace of a test without root have no more
// network namespaces than the test needs at a time: with a leak, making one
// fails. Root's limit is the machine's and is left alone.
func limitNamespaces(t *testing.T) bool {
	if testnet.IsRoot() {
		return false
	}
	const file, most = "/proc/sys/user/max_net_namespaces", 190
	was, err := os.ReadFile(file)
	must(t, err)
	if err := os.WriteFile(file, []byte(strconv.Itoa(most)), 0); err != nil {
		t.Logf("a leak of network namespaces would not be seen: %v", err)
		return true
	}
	t.Cleanup(func() { must(t, os.WriteFile(file, was, 0)) })
	t.Logf("the kernel allows %d network namespaces at a time", most)
	return true
}

// namespaces is the number of all network namespaces of the kernel, those that
// nothing visible holds too. It is exact where the kernel could be asked to give
// back what it keeps for the next ones; elsewhere it rounds up. Without root it
// is 0.
func namespaces() (n int, exact bool) {
	exact = os.WriteFile("/sys/kernel/slab/net_namespace/shrink", []byte("1"), 0) == nil
	b, _ := os.ReadFile("/proc/slabinfo")
	for _, l := range strings.Split(string(b), "\n") {
		if f := strings.Fields(l); len(f) > 1 && f[0] == "net_namespace" {
			n, _ = strconv.Atoi(f[1])
		}
	}
	return n, exact
}

func init() {
	children["soak"] = func(args []string) int {
		id, _ := strconv.Atoi(args[0])
		cycles, _ := strconv.Atoi(args[1])
		s := &soaker{id: id}
		s.run(cycles)
		return 0
	}
}

// soaker is one process of TestSoak. What it prints is a problem, or a figure.
type soaker struct {
	id     int
	serial atomic.Int64
	failed atomic.Int64 // cycles that were made to fail
	print  sync.Mutex
}

func (s *soaker) problem(format string, args ...any) {
	s.print.Lock()
	defer s.print.Unlock()
	fmt.Printf(format+"\n", args...)
}

// quiet returns what is held when that has not changed for a moment: a thread may
// still wait for the kernel to be done with links that are gone.
func (s *soaker) quiet() (held []string) {
	held = s.held()
	for since, end := time.Now(), time.Now().Add(3*time.Second); time.Since(since) < 200*time.Millisecond && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
		if now := s.held(); !slices.Equal(held, now) {
			held, since = now, time.Now()
		}
	}
	return held
}

func (s *soaker) run(cycles int) {
	s.phase(3 * soakGoroutines) // lets the runtime have its threads and pools
	before, beforeThreads := s.quiet(), len(threads())
	s.failed.Store(0)
	var heap []uint64
	for _, part := range []int{cycles / 10, cycles * 4 / 10, cycles - cycles/10 - cycles*4/10} {
		s.phase(part)
		s.quiet() // who still waits has buffers of its own
		heap = append(heap, liveHeap())
	}
	var after []string
	for end := time.Now().Add(3 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if after = s.held(); slices.Equal(before, after) || time.Now().After(end) {
			break
		}
	}
	if !slices.Equal(before, after) {
		s.problem("held at the end (+) and not at the start (-): %s", strings.ReplaceAll(diff(before, after), "\n", ";"))
	}
	now := threads()
	if len(now) > beforeThreads+soakGoroutines {
		s.problem("%d threads at the start, %d at the end", beforeThreads, len(now))
	}
	home, _ := os.Readlink("/proc/self/ns/net")
	for tid, ns := range now {
		if ns != home {
			s.problem("thread %s is in %s, the process in %s", tid, ns, home)
		}
	}
	if heap[2] > heap[0]+512<<10 {
		s.problem("the heap after 10, 50 and 100 %%: %v bytes", heap)
	}
	fmt.Printf("figure: %d cycles, %d made to fail; descriptors and goroutines %d, threads %d then %d; heap after 10, 50, 100 %%: %d, %d, %d KiB\n",
		cycles, s.failed.Load(), len(after), beforeThreads, len(now), heap[0]>>10, heap[1]>>10, heap[2]>>10)
}

// phase runs a number of life cycles.
func (s *soaker) phase(cycles int) {
	var left atomic.Int64
	left.Store(int64(cycles))
	var wg sync.WaitGroup
	for range soakGoroutines {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				l := &life{s: s, n: int(s.serial.Add(1))}
				l.run()
			}
		})
	}
	wg.Wait()
}

// held is what the process has that a cycle could leave: its descriptors by
// what they point to, and its goroutines.
func (s *soaker) held() (list []string) {
	runtime.GC()
	fds, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range fds {
		to, err := os.Readlink(fd)
		if err != nil {
			continue // the one that read the directory
		}
		if strings.HasPrefix(to, "socket:") || strings.HasPrefix(to, "pipe:") {
			to, _, _ = strings.Cut(to, "[")
		}
		list = append(list, "descriptor of "+strings.TrimSuffix(to, " (deleted)"))
	}
	for n := range runtime.NumGoroutine() {
		list = append(list, fmt.Sprintf("goroutine %d", n))
	}
	slices.Sort(list)
	return list
}

// threads returns the network namespace of each thread.
func threads() map[string]string {
	out := map[string]string{}
	list, _ := filepath.Glob("/proc/self/task/*/ns/net")
	for _, p := range list {
		if ns, err := os.Readlink(p); err == nil {
			out[p] = ns
		}
	}
	return out
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
