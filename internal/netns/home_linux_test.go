package netns

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The host's namespace is that of the thread that used osl first; other threads go
// back to where they were.
func TestHomeIsTheCallersThread(t *testing.T) {
	was, wasID := home.Swap(0), homeID.Swap(nil)
	defer func() {
		if fd := home.Swap(was); fd != 0 {
			unix.Close(int(fd - 1))
		}
		homeID.Store(wasID)
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and it ends with the goroutine
		if unix.Gettid() == firstThread {
			t.Log("on the first thread, which does not move")
			return
		}
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		of := func(path string) string { s, _ := os.Readlink(path); return s }
		here := of("/proc/thread-self/ns/net")
		fd, err := Home()
		if err != nil || of(ofFD(fd)) != here {
			t.Errorf("home is %s, the thread is in %s: %v", of(ofFD(fd)), here, err)
		}
		var inside string
		if err := Do(fd, func() error { inside = of("/proc/thread-self/ns/net"); return nil }); err != nil || inside != here {
			t.Errorf("Do was in %s: %v", inside, err)
		}
		if err := Make(func() error { return unix.EIO }); err != unix.EIO {
			t.Error(err)
		}
		if now := of("/proc/thread-self/ns/net"); now != here {
			t.Errorf("the thread is in %s", now)
		}
	}()
	<-done
}

// Where /proc numbers processes as others do, the number of a thread is not asked for in it.
func TestNumbersOfOthers(t *testing.T) {
	if os.Getpid() == 1 {
		if procDir() >= 0 {
			t.Error("it is asked for")
		}
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^("+t.Name()+"|TestLockedCaller)$", "-test.v")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Count(out, []byte("--- PASS")) != 2 {
		t.Errorf("in a PID namespace of its own: %v\n%s", err, out)
	}
}
