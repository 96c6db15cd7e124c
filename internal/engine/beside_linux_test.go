package engine_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// A program that ends with its one operation leaves the waiting for the kernel to another
// process: both ends are gone when the call returns, their names are free, and nothing of
// the program's is held open.
func TestRemoveLinkOfABriefProgram(t *testing.T) {
	ctx := t.Context()
	w := world(t, "")
	n, err := osl.Create(ctx, "b")
	w.must(err)
	defer n.Close()
	sb, err := osl.NewSandbox(osl.HostName, false, false)
	w.must(err)
	host := sb.(*osl.Namespace)
	defer host.Close()
	netlink.Brief = true
	defer func() { netlink.Brief = false }()
	outlived := 0
	for range testnet.Rounds(t, 100, 5*time.Second) {
		w.must(n.AddLink(ctx, osl.InterfaceSpec{Name: "eth0", Type: "veth", Peer: osl.Endpoint{Sandbox: "host", Interface: "b0"}}))
		var pipe [2]int
		w.must(unix.Pipe2(pipe[:], unix.O_NONBLOCK|unix.O_CLOEXEC))
		lock, err := os.Create(filepath.Join(t.TempDir(), "lock"))
		w.must(err)
		w.must(unix.Flock(int(lock.Fd()), unix.LOCK_EX))

		w.must(n.RemoveLink(ctx, "eth0"))
		unix.Close(pipe[1])
		if k, err := unix.Read(pipe[0], make([]byte, 1)); k != 0 || err != nil {
			t.Fatalf("the pipe of the program is held: %d, %v", k, err)
		}
		unix.Close(pipe[0])
		lock.Close()
		again, err := os.Open(lock.Name())
		w.must(err)
		if err := unix.Flock(int(again.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			t.Fatalf("the lock of the program is held: %v", err)
		}
		again.Close()
		if _, err := n.Interface(ctx, "eth0"); !errors.Is(err, osl.ErrNotFound) {
			t.Fatalf("inside: %v", err)
		}
		if _, err := host.Interface(ctx, "b0"); !errors.Is(err, osl.ErrNotFound) {
			t.Fatalf("on the host: %v", err)
		}
		// Here nobody else starts processes.
		switch _, err := unix.Wait4(-1, nil, 0, nil); {
		case err == nil:
			outlived++
		case !errors.Is(err, unix.ECHILD): // this process had to wait for a processor longer than that one for the kernel
			t.Fatal(err)
		}
	}
	if outlived == 0 {
		t.Error("no other process waited")
	}
}

// What the process beside can not delete the program tries itself, and says why not.
func TestRemoveLinkOfABriefProgramThatFails(t *testing.T) {
	w := world(t, "")
	n, err := osl.Create(t.Context(), "b")
	w.must(err)
	defer n.Close()
	w.must(n.InvokeFunc(func() {
		netlink.Brief = true
		defer func() { netlink.Brief = false }()
		conn, err := netlink.Dial()
		w.must(err)
		defer conn.Close()
		if conn.Beside(t.Context(), "lo", 1) {
			t.Error("lo is deleted")
		}
		if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
			t.Errorf("a process is left: %v", err)
		}
	}))
}
