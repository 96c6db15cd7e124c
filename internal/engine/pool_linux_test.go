package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/engine"
)

// A sandbox from a pool is as any other, also when the pool is empty, and what
// is left in a pool ends with it.
func TestPool(t *testing.T) {
	lasts := engine.KeepHostSocket(0) // it would be counted, or not
	defer engine.KeepHostSocket(lasts)
	w := &faultWorld{t: t}
	w.clear()
	defer w.clear()
	ctx := context.Background()
	w.make("a")
	want := w.still().kernel
	w.clear()
	descriptors := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		w.must(err)
		return len(list)
	}
	before := descriptors()

	p := osl.NewPool(4)
	p.Wait()
	if n := descriptors() - before; n < 8 || n > 10 { // two each, and what osl keeps open
		t.Errorf("a full pool of 4 holds %d descriptors", n)
	}
	n, err := p.Create(ctx, "a")
	w.must(err)
	w.open = append(w.open, n)
	if got := w.still().kernel; !slices.Equal(anew(got), anew(want)) {
		t.Errorf("a sandbox of a pool is not as others:\n%s", diff(anew(want), anew(got)))
	}
	if _, err := p.Create(ctx, "a"); !errors.Is(err, osl.ErrExists) {
		t.Errorf("a key that is there: %v", err)
	}
	// More at a time than it has.
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			n, err := p.Create(ctx, fmt.Sprintf("p%d", i))
			if err == nil {
				err = n.Close()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	list, err := osl.List(ctx)
	w.must(err)
	if len(list) != 13 || slices.ContainsFunc(list, func(e osl.Entry) bool { return !e.Made || e.Problem != "" }) {
		t.Errorf("the sandboxes are %v", list)
	}
	w.must(p.Close())
	w.must(p.Close())
	w.clear()
	if n := descriptors(); n > before+1 { // the lock file may be open
		t.Errorf("%d descriptors before, %d after", before, n)
	}
	if _, err := p.Create(ctx, "late"); !errors.Is(err, osl.ErrClosed) {
		t.Errorf("a pool that is closed: %v", err)
	}
}

// The other end of a link is the port of a bridge of the host, up at once.
func TestPeerMaster(t *testing.T) {
	w := &faultWorld{t: t}
	w.clear()
	defer w.clear()
	w.batch("link add hb type bridge\nlink set hb up\n")
	w.make("a")
	n := w.ns("a")
	ctx := context.Background()
	w.must(n.AddLink(ctx, osl.InterfaceSpec{Name: "eth0", Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "a-eth0"}, PeerMaster: "hb", Addresses: prefixes(1)}))
	if !slices.ContainsFunc(w.look().kernel, func(l string) bool {
		return strings.Contains(l, "host: link a-eth0 ") && strings.Contains(l, " up true ") && strings.Contains(l, " master hb ")
	}) {
		t.Errorf("the port is not as wanted:\n%s", strings.Join(w.look().kernel, "\n"))
	}
	for _, s := range []osl.InterfaceSpec{
		{Name: "eth1", Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "a-eth1"}, PeerMaster: "a-eth0"},
		{Name: "eth1", Type: "veth", Peer: osl.Endpoint{Sandbox: "a", Interface: "other"}, PeerMaster: "hb"},
		{Name: "eth1", Type: "bridge", PeerMaster: "hb"},
	} {
		if err := n.AddLink(ctx, s); !errors.Is(err, osl.ErrInvalid) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	if err := n.AddLink(ctx, osl.InterfaceSpec{Name: "eth1", Type: "veth", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "a-eth1"}, PeerMaster: "none"}); !errors.Is(err, osl.ErrNotFound) {
		t.Errorf("a master that is not there: %v", err)
	}
}
