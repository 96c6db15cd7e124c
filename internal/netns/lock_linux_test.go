package netns

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func lockFile(t *testing.T) string { return filepath.Join(t.TempDir(), "osl.lock") }

// take takes a lock that must be free in time.
func take(t *testing.T, l *Locks, path, key string) Held {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	h, err := l.Lock(ctx, time.Minute, path, key)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// busy demands that a lock is not to be had.
func busy(t *testing.T, l *Locks, path, key string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	h, err := l.Lock(ctx, time.Minute, path, key)
	if err == nil {
		h.Unlock()
	}
	if !errors.Is(err, ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a lock that is held: %v", err)
	}
}

func TestLockBetweenGoroutines(t *testing.T) {
	var l Locks
	path := lockFile(t)
	h := take(t, &l, path, "a")
	busy(t, &l, path, "a")
	other := take(t, &l, path, "b") // does not wait for a
	other.Unlock()
	h.Unlock()

	// Two that count together lose nothing; the file comes and goes meanwhile.
	n := 0
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				h, err := l.Lock(context.Background(), time.Minute, path, "a")
				if err != nil {
					t.Error(err)
					return
				}
				was := n
				time.Sleep(time.Microsecond)
				n = was + 1
				h.Retire()
			}
		})
	}
	wg.Wait()
	if n != 400 {
		t.Errorf("counted to %d, want 400", n)
	}
	take(t, &l, path, "a").Retire()
	if n := remembered(&l); n != 0 {
		t.Errorf("%d keys are remembered when nobody uses one", n)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file after Retire: %v", err)
	}
}

func remembered(l *Locks) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.gates)
}

// The kernel's lock stays a moment with who had it last, and not for longer; and
// one who uses it all the time leaves it to who waits.
func TestLockLingers(t *testing.T) {
	var mine, theirs Locks
	path := lockFile(t)
	take(t, &mine, path, "a").Unlock()
	take(t, &theirs, path, "a").Unlock()
	take(t, &mine, path, "a").Unlock()
	for end := time.Now().Add(5 * time.Second); remembered(&mine)+remembered(&theirs) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a lock that nobody uses is kept")
		}
	}

	var stop atomic.Bool
	var wg sync.WaitGroup
	uses := [2]int{}
	for i, l := range []*Locks{&mine, &theirs} {
		wg.Go(func() {
			for !stop.Load() {
				take(t, l, path, "a").Unlock()
				uses[i]++
			}
		})
	}
	third := &Locks{}
	for range 10 { // beside two that never pause
		take(t, third, path, "a").Unlock()
		time.Sleep(2 * linger)
	}
	stop.Store(true)
	wg.Wait()
	if uses[0] < 10 || uses[1] < 10 {
		t.Errorf("two that use a lock all the time had it %d and %d times", uses[0], uses[1])
	}
	take(t, third, path, "a").Retire()
}

// Who may write to a base path could otherwise keep everyone waiting.
func TestLockFileOfAnother(t *testing.T) {
	path := lockFile(t)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 4711, 4711); err != nil {
		t.Skipf("only the machine's root has other users here: %v", err)
	}
	var l Locks
	if _, err := l.Lock(t.Context(), time.Second, path, "a"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("it is used: %v", err)
	}
}

// A descriptor of its own is to the kernel what another process is.
func TestLockRetiredUnderAnother(t *testing.T) {
	var mine, theirs Locks
	path := lockFile(t)
	h := take(t, &mine, path, "a")
	got := make(chan Held)
	go func() {
		h, err := theirs.Lock(context.Background(), time.Minute, path, "a")
		if err != nil {
			t.Error(err)
		}
		got <- h
	}()
	time.Sleep(20 * time.Millisecond) // it has the file open now, and waits
	h.Retire()
	other := <-got
	busy(t, &mine, path, "a") // in the file that came after
	other.Retire()

	// Nobody takes a file away under a lock of another key.
	h, other = take(t, &mine, path, "a"), take(t, &theirs, path, "b")
	h.Retire()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the file is gone under a lock: %v", err)
	}
	other.Retire()
	for _, l := range []*Locks{&mine, &theirs} {
		take(t, l, path, "a").Retire()
	}
}

// Row 5: locks keep processes apart, and a dead one holds none.
func TestLockBetweenProcesses(t *testing.T) {
	path := lockFile(t)
	child := exec.Command("/proc/self/exe")
	child.Env = append(os.Environ(), lockHelper+"="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	var l Locks
	if line != "locked\n" {
		t.Errorf("the other process says %q", line)
	} else {
		busy(t, &l, path, "key")
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	take(t, &l, path, "key").Retire()
}
