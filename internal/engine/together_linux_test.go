package engine_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
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

// The ends that many links have on the host go in one message, and nothing else is waited for,
// also where a network is taken down by its name, which says nothing of them.
func TestEndsOnTheHostGoTogether(t *testing.T) {
	net := osl.Network{Name: "far"}
	for i := range 5 {
		net.Sandboxes = append(net.Sandboxes, osl.Spec{Name: fmt.Sprint("far", i), Interfaces: []osl.InterfaceSpec{
			{Name: "e0", Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: fmt.Sprint("hf", i)}},
		}})
	}
	for what, down := range map[string]osl.Network{"by its name": {Name: "far"}, "by its file": net} {
		if _, err := osl.Apply(t.Context(), net); err != nil {
			t.Fatal(err)
		}
		var n atomic.Int64
		netlink.Intercept = func(t netlink.Transport) netlink.Transport { return deletions{t, &n} }
		_, err := osl.Down(t.Context(), down)
		netlink.Intercept = nil
		if err != nil || n.Load() != 1 {
			t.Errorf("%s: %v, %d deletions of links for 1", what, err, n.Load())
		}
		for i := range 5 {
			if _, err := os.Stat(fmt.Sprint("/sys/class/net/hf", i)); err == nil {
				t.Errorf("%s: hf%d is there", what, i)
			}
		}
	}
}
