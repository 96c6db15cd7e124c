package netns

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
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
	if len(l.gates) != 0 {
		t.Errorf("%d keys are remembered when nobody uses one", len(l.gates))
	}
	take(t, &l, path, "a").Retire()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file after Retire: %v", err)
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
