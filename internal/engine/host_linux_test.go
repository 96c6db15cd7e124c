package engine_test

import (
	"testing"
	"time"

	"github.com/seed59451c2b/osl/internal/engine"
	"github.com/seed59451c2b/osl/internal/netlink"
)

// One socket on the host is kept for the next that needs it, for a moment, and no
// more than one; one from before a test's stand-in is not.
func TestHostSocketIsKept(t *testing.T) {
	lasts := engine.KeepHostSocket(time.Hour)
	open := func() *engine.Namespace {
		n, err := engine.OpenHost()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	closed := func(c *netlink.Conn) bool { _, err := c.Index("lo"); return err != nil }
	a, b := open(), open()
	if a.Conn() == b.Conn() {
		t.Fatal("two use one socket")
	}
	kept := a.Conn()
	a.Close()
	b.Close()
	if closed(kept) || !closed(b.Conn()) {
		t.Error("not the first of the two is kept")
	}
	c := open()
	if c.Conn() != kept {
		t.Error("the socket that is there was not taken")
	}
	c.Close()
	netlink.Intercept = func(t netlink.Transport) netlink.Transport { return t }
	d := open()
	if d.Conn() == kept || !closed(kept) {
		t.Error("a stand-in was passed by")
	}
	d.Close()
	netlink.Intercept = nil
	if !closed(d.Conn()) {
		t.Error("a stand-in is kept")
	}
	engine.KeepHostSocket(lasts)
	e := open()
	e.Close()
	for end := time.Now().Add(5 * time.Second); !closed(e.Conn()); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is kept for long")
		}
	}
}
