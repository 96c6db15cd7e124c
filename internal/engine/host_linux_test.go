package engine_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/engine"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/rtnl"
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

// The host, pinned at a key that comes before those of sandboxes, goes down with them:
// its key does, and what osl did to a link of it.
func TestDownWithTheHost(t *testing.T) {
	w := world(t, plainVeth)
	w.make("b")
	sb, err := osl.NewSandbox("a", false, false)
	w.must(err)
	w.must(sb.AddInterface("va", "x", sb.InterfaceOptions().Address(cidr("10.44.0.1/24"))))
	began := time.Now()
	c, err := osl.Down(t.Context(), osl.Network{Sandboxes: []osl.Spec{{Name: "a"}, {Name: "b"}}})
	if err != nil || len(c) == 0 {
		t.Fatalf("%v, %v", c, err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	for _, name := range []string{"a", "b"} {
		if _, err := osl.Open(t.Context(), name); !errors.Is(err, osl.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	host, err := engine.DialHost()
	w.must(err)
	defer host.Close()
	index, err := host.Index("va")
	w.must(err)
	addrs, err := host.Addrs(t.Context(), index)
	if err != nil || slices.ContainsFunc(addrs, func(a rtnl.Addr) bool { return a.Prefix.Addr().Is4() }) {
		t.Errorf("va has %v, %v", addrs, err)
	}
}
