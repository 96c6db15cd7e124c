package netns

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pinned makes a namespace and pins it at a key in a directory of its own.
func pinned(t *testing.T) (key string, id ID) {
	t.Helper()
	fd := space(t)
	key = filepath.Join(t.TempDir(), "keys", "a")
	if _, err := MakeDir(filepath.Dir(key)); err != nil {
		t.Fatal(err)
	}
	if err := Pin(fd, key); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = Unpin(key) })
	id, err := IdentityOf(fd)
	if err != nil {
		t.Fatal(err)
	}
	return key, id
}

// What is unmounted, or mounted over, is seen at once, by everyone who looks.
func TestLookSeesMounts(t *testing.T) {
	LookAgain = time.Hour
	defer func() { LookAgain = 100 * time.Millisecond }()
	key, id := pinned(t)
	other := space(t)
	looks := make([]Look, 8)
	all := func(want bool) {
		t.Helper()
		var wg sync.WaitGroup
		for i := range looks {
			wg.Go(func() {
				if looks[i].Still(key, id) != want {
					t.Errorf("look %d does not say %v", i, want)
				}
			})
		}
		wg.Wait()
	}
	for range 50 {
		all(true)
		all(true)
		if err := unix.Mount(ofFD(other), key, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		all(false)
		all(false)
		if err := unix.Unmount(key, unix.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
	}
	all(true)
	if err := unix.Unmount(key, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	all(false)
}

// A directory that moves is no mount: it is seen a moment later.
func TestLookSeesMoves(t *testing.T) {
	key, id := pinned(t)
	var l Look
	for range 2 {
		if !l.Still(key, id) {
			t.Fatal("it is not there")
		}
	}
	dir := filepath.Dir(key)
	if err := os.Rename(dir, dir+"2"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Rename(dir+"2", dir) }()
	time.Sleep(2 * LookAgain)
	if l.Still(key, id) {
		t.Error("it is still there")
	}
}

// A link of /proc changes without a mount, and is looked at each time.
func TestLookAtALinkOfProc(t *testing.T) {
	LookAgain = time.Hour
	defer func() { LookAgain = 100 * time.Millisecond }()
	fd := space(t)
	offMain(func() {
		id, err := IdentityOf(fd)
		if err != nil {
			t.Error(err)
			return
		}
		var l Look
		key := "/proc/thread-self/ns/net"
		for _, in := range []bool{true, false} {
			to := fd
			if !in {
				to, _ = Home()
			}
			if err := unix.Setns(to, unix.CLONE_NEWNET); err != nil {
				t.Error(err)
			}
			if l.Still(key, id) != in {
				t.Errorf("it does not say %v", in)
			}
		}
	})
	allHome(t)
}

// A file is closed by the last that holds it, and never before.
func TestFile(t *testing.T) {
	fd, err := unix.Dup(space(t))
	if err != nil {
		t.Fatal(err)
	}
	f := NewFile(fd)
	f.Hold()
	f.Release()
	if _, err := IdentityOf(f.FD()); err != nil {
		t.Errorf("closed while it is held: %v", err)
	}
	f.Release()
	if _, err := IdentityOf(fd); err == nil {
		t.Error("open though nobody holds it")
	}
}

// A key that is pinned while somebody looks whether it is dead is not taken for one that is
// mounted at another path.
func TestDeadWhileItIsPinned(t *testing.T) {
	key, _ := pinned(t)
	fd := space(t)
	var done sync.WaitGroup
	defer done.Wait()
	stop := make(chan struct{})
	defer close(stop)
	done.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if unix.Unmount(key, unix.MNT_DETACH) == nil {
				time.Sleep(50 * time.Microsecond)
				_ = unix.Mount(ofFD(fd), key, "", unix.MS_BIND, "")
			}
		}
	})
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		if dead, err := Dead(key, true); err != nil {
			t.Fatalf("dead %v: %v", dead, err)
		}
	}
}
