package engine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed59451c2b/osl/internal/engine"
	"github.com/seed59451c2b/osl/internal/netlink"
)

// sockets counts the process's.
func sockets(t *testing.T) (n int) {
	t.Helper()
	fds, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range fds {
		if to, _ := os.Readlink(fd); strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// One socket on the host is kept for the next that needs it, for a moment, and no
// more than one; one from before a test's stand-in is not.
func TestHostSocketIsKept(t *testing.T) {
	time.Sleep(2 * engine.KeptFor)
	before := sockets(t)
	open := func() *engine.Namespace {
		n, err := engine.OpenHost()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	a, b := open(), open()
	if a.Conn() == b.Conn() {
		t.Fatal("two use one socket")
	}
	kept := a.Conn()
	a.Close()
	b.Close()
	if n := sockets(t); n != before+1 {
		t.Errorf("%d sockets are kept", n-before)
	}
	c := open()
	if c.Conn() != kept {
		t.Error("the socket that is there was not taken")
	}
	c.Close()
	netlink.Intercept = func(t netlink.Transport) netlink.Transport { return t }
	d := open()
	netlink.Intercept = nil
	if d.Conn() == kept {
		t.Error("a stand-in was passed by")
	}
	d.Close()
	for end := time.Now().Add(5 * time.Second); sockets(t) != before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d sockets are kept for long", sockets(t)-before)
		}
	}
}
