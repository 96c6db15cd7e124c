package engine_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/engine"
	"github.com/seed59451c2b/osl/internal/netlink"
)

// meeting holds a deletion of a link back until another one is on its way too.
type meeting struct {
	netlink.Transport
	at *meetingPoint
}

type meetingPoint struct {
	mu       sync.Mutex
	here     int
	two      chan struct{}
	attended bool
}

func deletes(b []byte) bool {
	return slices.ContainsFunc(messages(b), func(m []byte) bool { return binary.NativeEndian.Uint16(m[4:]) == unix.RTM_DELLINK })
}

func (m meeting) Send(b []byte) error {
	if deletes(b) {
		p := m.at
		p.mu.Lock()
		if p.here++; p.here == 2 && !p.attended {
			p.attended = true
			close(p.two)
		}
		p.mu.Unlock()
		select {
		case <-p.two:
		case <-time.After(5 * time.Second):
		}
		p.mu.Lock()
		p.here--
		p.mu.Unlock()
	}
	return m.Transport.Send(b)
}

// refuser lets one deletion through.
type refuser struct {
	netlink.Transport
	seen *atomic.Int64
}

func (r refuser) Send(b []byte) error {
	if deletes(b) && r.seen.Add(1) > 1 {
		return os.NewSyscallError("sendmsg", unix.EPERM)
	}
	return r.Transport.Send(b)
}

// To delete a link waits for a grace period of the kernel. Where each of many sandboxes loses
// one they wait at the same time, also where a change that was killed comes to its end.
func TestLinksGoTogether(t *testing.T) {
	net := func(ifaces ...osl.InterfaceSpec) (n osl.Network) {
		n.Name = "together"
		for i := range 4 {
			n.Sandboxes = append(n.Sandboxes, osl.Spec{Name: fmt.Sprint("t", i), Interfaces: ifaces})
		}
		return n
	}
	stays, goes := osl.InterfaceSpec{Name: "e0", Type: "bridge"}, osl.InterfaceSpec{Name: "e1", Type: "bridge"}
	defer osl.Down(t.Context(), net())
	together := func(what string, do func() error) {
		p := &meetingPoint{two: make(chan struct{})}
		netlink.Intercept = func(t netlink.Transport) netlink.Transport { return meeting{t, p} }
		err := do()
		netlink.Intercept = nil
		if err != nil || !p.attended {
			t.Errorf("%s: %v; two links went at the same time: %v", what, err, p.attended)
		}
	}
	up := func(n osl.Network) error {
		_, err := osl.Apply(t.Context(), n)
		return err
	}
	both := net(stays, goes)
	if err := up(both); err != nil {
		t.Fatal(err)
	}
	together("up", func() error { return up(net(stays)) })
	if err := up(both); err != nil {
		t.Fatal(err)
	}
	var seen atomic.Int64
	netlink.Intercept = func(t netlink.Transport) netlink.Transport { return refuser{t, &seen} }
	err := up(net(stays))
	netlink.Intercept = nil
	if err == nil {
		t.Fatal("it did not fail")
	}
	together("recover", func() error { return osl.Recover(t.Context(), "t0") })
	if c, err := osl.Diff(t.Context(), net(stays)); err != nil || len(c) > 0 {
		t.Errorf("diff after that: %v\n%s", err, c)
	}
}

// deletions counts those of links.
type deletions struct {
	netlink.Transport
	n *atomic.Int64
}

func (c deletions) Send(b []byte) error {
	for _, m := range messages(b) {
		if binary.NativeEndian.Uint16(m[4:]) == unix.RTM_DELLINK {
			c.n.Add(1)
		}
	}
	return c.Transport.Send(b)
}

// The ends that many links have on the host go in one message, and nothing else is waited for:
// also where a network is taken down by its name, which says nothing of them, and where a
// process died as it took the network down, whichever sandbox is opened first.
func TestEndsOnTheHostGoTogether(t *testing.T) {
	ctx := t.Context()
	net := osl.Network{Name: "far"}
	for i := range 5 {
		net.Sandboxes = append(net.Sandboxes, osl.Spec{Name: fmt.Sprint("far", i), Interfaces: []osl.InterfaceSpec{
			{Name: "e0", Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: fmt.Sprint("hf", i)}},
		}})
	}
	keys := make([]string, 5)
	for i := range keys {
		key, err := osl.KeyPath(fmt.Sprint("far", i))
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = key
	}
	down := func(net osl.Network) func() error {
		return func() error { _, err := osl.Down(ctx, net); return err }
	}
	killed := func(f func() error) func() error {
		return func() error {
			if err := engine.MarkToEnd(ctx, keys...); err != nil {
				return err
			}
			return f()
		}
	}
	recover := func(names ...string) func() error {
		return func() (err error) {
			for _, name := range names {
				err = errors.Join(err, osl.Recover(ctx, name))
			}
			return err
		}
	}
	for _, x := range []struct {
		what      string
		do        func() error
		deletions int64 // of those that died the leader goes by itself
	}{
		{"by its name", down(osl.Network{Name: "far"}), 1},
		{"by its file", down(net), 1},
		{"recovered", killed(recover("far0")), 2},
		{"recovered, another first", killed(recover("far3", "far0")), 2},
		{"taken down again", killed(down(net)), 2},
		{"brought up again", killed(func() error { _, err := osl.Apply(ctx, net); return err }), 2},
	} {
		if _, err := osl.Apply(ctx, net); err != nil {
			t.Fatal(err)
		}
		var n atomic.Int64
		netlink.Intercept = func(t netlink.Transport) netlink.Transport { return deletions{t, &n} }
		err := x.do()
		netlink.Intercept = nil
		if err != nil || n.Load() != x.deletions {
			t.Errorf("%s: %v, %d deletions of links for %d", x.what, err, n.Load(), x.deletions)
		}
		entries, err := osl.List(ctx)
		if up := x.what == "brought up again"; err != nil || up != (len(entries) == 5) || !up && len(entries) > 0 {
			t.Errorf("%s: %v, %d sandboxes stand", x.what, err, len(entries))
		}
	}
	if err := down(net)(); err != nil {
		t.Error(err)
	}
}
