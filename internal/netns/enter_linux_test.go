package netns

import (
	"errors"
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

	"golang.org/x/sys/unix"
)

// space makes a namespace and returns a descriptor of it.
func space(t *testing.T) int {
	t.Helper()
	fd := -1
	if err := Make(func() (err error) {
		fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// here is the namespace of the calling thread.
func here() string {
	s, _ := os.Readlink("/proc/thread-self/ns/net")
	return s
}

// abroad returns the threads of the process that are not in its namespace.
func abroad(t *testing.T) (list []string) {
	t.Helper()
	home, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	tasks, _ := filepath.Glob("/proc/self/task/*/ns/net")
	for _, p := range tasks {
		if ns, err := os.Readlink(p); err == nil && ns != home {
			list = append(list, p)
		}
	}
	return list
}

// allHome waits until no thread is in another namespace: the runtime ends a
// thread a little after its goroutine.
func allHome(t *testing.T) {
	t.Helper()
	var left []string
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if left = abroad(t); len(left) == 0 {
			return
		}
	}
	t.Errorf("threads in another namespace: %v", left)
}

func TestDo(t *testing.T) {
	fd := space(t)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	home, failed := here(), errors.New("of f")
	err := Do(fd, func() error {
		var now unix.Stat_t
		if err := unix.Stat("/proc/thread-self/ns/net", &now); err != nil || now.Ino != st.Ino {
			t.Errorf("f runs in %d, %v, want %d", now.Ino, err, st.Ino)
		}
		return failed
	})
	if err != failed {
		t.Errorf("the error of f came back as %v", err)
	}
	if here() != home {
		t.Errorf("the caller is in %s, was in %s", here(), home)
	}
	called := false
	if err := Do(-1, func() error { called = true; return nil }); !errors.Is(err, unix.EBADF) || called {
		t.Errorf("a bad descriptor: %v, and f was called: %v", err, called)
	}
	allHome(t)
}

// Row 12: the main thread never moves, also where it is the one that calls.
func TestMainThreadNeverMoves(t *testing.T) {
	fd := space(t)
	home, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	var onMain atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				// A goroutine that waits lends its thread, the main one too.
				if err := Do(fd, func() error {
					if unix.Gettid() == unix.Getpid() {
						onMain.Add(1)
					}
					if ns, _ := os.Readlink("/proc/self/ns/net"); ns != home {
						onMain.Add(1)
					}
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := onMain.Load(); n > 0 {
		t.Errorf("the main thread was in the namespace %d times", n)
	}
	allHome(t)
}

func TestPanicAndGoexit(t *testing.T) {
	fd := space(t)
	func() {
		defer func() {
			if p := recover(); p != "of f" {
				t.Errorf("the panic came back as %v", p)
			}
		}()
		_ = Do(fd, func() error { panic("of f") })
		t.Error("no panic")
	}()
	done := make(chan bool)
	go func() {
		returned := false
		defer func() { done <- returned }()
		_ = Do(fd, func() error { runtime.Goexit(); return nil })
		returned = true
	}()
	if <-done {
		t.Error("Goexit did not end the caller")
	}
	allHome(t)
}

// Nested calls each come back to where they started.
func TestNested(t *testing.T) {
	a, b := space(t), space(t)
	if err := Do(a, func() error {
		in := here()
		err := Do(b, func() error {
			if here() == in {
				t.Error("the inner call is where the outer one is")
			}
			return nil
		})
		if here() != in {
			t.Errorf("after the inner call: %s, want %s", here(), in)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	allHome(t)
}

// Row 11: a thread that can not be brought home is thrown away, and no
// goroutine ever runs on it.
func TestNoWayHome(t *testing.T) {
	fd := space(t)
	back, err := Home()
	if err != nil {
		t.Fatal(err)
	}
	var refused atomic.Int64
	setns = func(fd, flags int) error {
		if fd == back {
			refused.Add(1)
			return unix.EPERM
		}
		return unix.Setns(fd, flags)
	}
	defer func() { setns = unix.Setns }()
	const times = 20
	for i := range times {
		switch i % 4 {
		case 3:
			if leave, err := Enter(fd); err != nil {
				t.Error(err)
			} else if err := leave(); !errors.Is(err, unix.EPERM) {
				t.Errorf("%v", err)
			}
		case 0:
			err = Do(fd, func() error { return nil })
			if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "bring the thread home") {
				t.Errorf("%v", err)
			}
			if isLocked() {
				t.Error("the caller is locked to the thread that it went on with")
			}
		case 1:
			func() {
				defer func() { _ = recover() }()
				_ = Do(fd, func() error { panic("of f") })
			}()
		case 2:
			if err := Make(func() error { return nil }); !errors.Is(err, unix.EPERM) {
				t.Errorf("%v", err)
			}
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if ns, _ := os.Readlink("/proc/self/ns/net"); here() != ns {
					t.Error("a goroutine runs in a namespace that it did not ask for")
				}
			})
		}
		wg.Wait()
	}
	if refused.Load() != times {
		t.Errorf("the way home was refused %d times, not %d", refused.Load(), times)
	}
	allHome(t)
}

// A caller that locked its thread keeps it: where it moved that itself it is there
// again afterwards, and where there is no way back it is told, and no other goroutine
// ever runs there.
func TestLockedCaller(t *testing.T) {
	a, b := space(t), space(t)
	defer func() { setns = unix.Setns }()
	for i := range 4 {
		moved, do := i%2 > 0, Do
		offMain(func() {
			if moved {
				if err := unix.Setns(a, unix.CLONE_NEWNET); err != nil {
					t.Error(err)
				}
			}
			if i > 1 {
				s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
				if err != nil || ofHome(s) == moved {
					t.Errorf("of home: %v, %v", ofHome(s), err)
				}
				defer unix.Close(s)
				do = func(fd int, f func() error) error { return DoFrom(s, fd, f) }
			}
			tid, was := unix.Gettid(), here()
			var inside string
			err := do(b, func() error { inside = here(); return nil })
			if err != nil || inside == was || here() != was || unix.Gettid() != tid {
				t.Errorf("moved %v: %v, from %s to %s, then in %s", moved, err, was, inside, here())
			}
			setns = func(fd, flags int) error {
				if fd != b {
					return unix.EPERM
				}
				return unix.Setns(fd, flags)
			}
			err = do(b, func() error { return nil })
			setns = unix.Setns
			stray := (*NotHomeError)(nil)
			if !errors.As(err, &stray) || !stray.Stays || here() != inside || unix.Gettid() != tid {
				t.Errorf("moved %v: %v, in %s", moved, err, here())
			}
			runtime.UnlockOSThread() // its own, and the thread is not let go of
			if !isLocked() {
				t.Error("a thread in the sandbox is given to others")
			}
		})
	}
	allHome(t)
}

// Who enters is there until it leaves, on one thread; the first never is that.
func TestEnter(t *testing.T) {
	fd := space(t)
	home := here()
	for range 200 {
		leave, err := Enter(fd)
		if err != nil {
			t.Fatal(err)
		}
		if here() == home || unix.Gettid() == firstThread || !isLocked() {
			t.Fatalf("in %s, on the thread %d of the process %d, locked %v", here(), unix.Gettid(), firstThread, isLocked())
		}
		done := make(chan error)
		go func() { done <- leave() }()
		if err := <-done; err != ErrAstray {
			t.Errorf("from another goroutine: %v", err)
		}
		if err := leave(); err != nil || here() != home || isLocked() {
			t.Fatalf("%v, in %s, locked %v", err, here(), isLocked())
		}
	}
	if _, err := Enter(-1); !errors.Is(err, unix.EBADF) || isLocked() || here() != home {
		t.Errorf("a bad descriptor: %v", err)
	}
	allHome(t)
}

// Who visits goes back to where it was, which needs not be home.
func TestVisit(t *testing.T) {
	a, b := space(t), space(t)
	offMain(func() {
		if err := unix.Setns(a, unix.CLONE_NEWNET); err != nil {
			t.Fatal(err)
		}
		was := here()
		leave, err := Visit(b)
		if err != nil || here() == was {
			t.Errorf("%v, in %s", err, here())
		} else if err := leave(); err != nil || here() != was {
			t.Errorf("%v, from %s, then in %s", err, was, here())
		}
		if _, err := Visit(-1); !errors.Is(err, unix.EBADF) || here() != was {
			t.Errorf("a bad descriptor: %v, from %s, then in %s", err, was, here())
		}
	})
	allHome(t)
}

// A thread that stays is there while f says so; where f refuses, it is back, and where
// it can not come back, the error says that.
func TestStay(t *testing.T) {
	fd := space(t)
	defer func() { setns = unix.Setns }()
	failed := errors.New("of f")
	var there string
	for _, stuck := range []bool{false, true} {
		offMain(func() {
			was := here()
			err := Stay(fd, func() error {
				there = here()
				if stuck {
					setns = func(int, int) error { return unix.EPERM }
				}
				return failed
			})
			stray := (*NotHomeError)(nil)
			if !errors.Is(err, failed) || errors.As(err, &stray) != stuck || errors.Is(err, unix.EPERM) != stuck {
				t.Errorf("stuck %v: %v", stuck, err)
			}
			if there == was || (here() == was) == stuck {
				t.Errorf("stuck %v: from %s to %s, and then in %s", stuck, was, there, here())
			}
			if !stuck {
				if err := Stay(fd, func() error { return nil }); err != nil || here() != there {
					t.Errorf("%v, in %s", err, here())
				}
			}
		})
	}
	allHome(t)
}

// offMain runs f on a thread that ends with it.
func offMain(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked but from the first thread
		if unix.Gettid() == unix.Getpid() {
			offMain(f)
			runtime.UnlockOSThread()
			return
		}
		f()
	}()
	<-done
}

func isLocked() bool { return locked(make([]byte, 128)) }

// The mounts of ip netns exec are on no thread that goes on, and the sandbox's files
// are over those of /etc there only.
func TestMounts(t *testing.T) {
	etc := t.TempDir()
	if err := os.WriteFile(filepath.Join(etc, "hosts"), []byte("192.0.2.1 from-the-sandbox\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile("/etc/hosts")
	if err != nil {
		t.Skip("there is no /etc/hosts here")
	}
	fd, err := Mounts(space(t), "web", etc)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	list, err := mountsOf("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, m := range list {
		have = append(have, m.at)
	}
	if !slices.Contains(have, "/etc/hosts") || !slices.Contains(have, "/sys") {
		t.Errorf("mounted: %v", have)
	}
	if after, err := os.ReadFile("/etc/hosts"); err != nil || string(after) != string(before) {
		t.Errorf("/etc/hosts is %q, %v", after, err)
	}
	if err := os.WriteFile(filepath.Join(etc, "no-such-file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if fd, err := Mounts(space(t), "web", etc); err == nil || !strings.Contains(err.Error(), "/etc/no-such-file") {
		t.Errorf("a file that /etc has not: %d, %v", fd, err)
	}
}
