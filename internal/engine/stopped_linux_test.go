package engine_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/netlink"
)

// A call that is given up while it is under way, before any of its exchanges with the
// kernel, says that it failed where all is as before, and else comes to its end.
func TestGivenUp(t *testing.T) {
	lab := faultLab()
	lab.Name = "lab"
	lab.Sandboxes = append(lab.Sandboxes, osl.Spec{Name: osl.HostName, Interfaces: []osl.InterfaceSpec{
		{Name: "lab0", Type: "bridge", Addresses: []netip.Prefix{netip.MustParsePrefix("10.99.0.1/24")}},
	}})
	edited := faultLab()
	edited.Name = "lab"
	edited.Sandboxes[0].Interfaces = edited.Sandboxes[0].Interfaces[:1]
	edited.Sandboxes, edited.Links = edited.Sandboxes[:1], nil
	edited.Sandboxes[0].Gateway = netip.Addr{}
	up := func(w *faultWorld) {
		_, err := osl.Apply(context.Background(), lab)
		w.must(err)
	}
	for _, c := range []struct {
		name   string
		before func(w *faultWorld)
		do     func(ctx context.Context) error
	}{
		{"Down", up, func(ctx context.Context) error { _, err := osl.Down(ctx, lab); return err }},
		{"Down by name", up, func(ctx context.Context) error { _, err := osl.Down(ctx, osl.Network{Name: "lab"}); return err }},
		{"Remove", up, func(ctx context.Context) error { return osl.Remove(ctx, "a") }},
		{"Apply that drops", up, func(ctx context.Context) error { _, err := osl.Apply(ctx, edited); return err }},
		{"Apply", func(w *faultWorld) {}, func(ctx context.Context) error { _, err := osl.Apply(ctx, lab); return err }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := world(t, richVeth+hostVXLAN)
			anew := func() picture { w.build(); c.before(w); w.still(); return w.look() }
			var x exchange
			netlink.Intercept = func(t netlink.Transport) netlink.Transport { return giver{t, &x} }
			defer func() { netlink.Intercept = nil }()
			anew()
			x.arm(0, nil)
			w.must(c.do(t.Context()))
			total := x.count.Load()
			wanted := w.stillFor(200 * time.Millisecond)
			points := rand.Perm(int(total))
			if !*allFaults {
				points = points[:min(len(points), 5)]
			}
			given := 0
			for _, p := range points {
				x.arm(0, nil)
				before := anew()
				ctx, cancel := context.WithCancel(t.Context())
				x.arm(int64(p)+1, cancel)
				err := c.do(ctx)
				cancel()
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("given up at %d of %d: %v", p+1, total, err)
				}
				if problem := w.judge(before, wanted, err); problem != "" {
					t.Errorf("given up at %d of %d, the call returned %v\n%s", p+1, total, err, problem)
				}
				if err != nil {
					given++
				}
			}
			t.Logf("%d of %d points, at %d of them nothing was changed", len(points), total, given)
		})
	}
}

// exchange counts what is asked of the kernel, and gives a call up at one of these.
type exchange struct {
	count, at atomic.Int64
	cancel    func()
}

func (x *exchange) arm(at int64, cancel func()) {
	x.cancel = cancel
	x.at.Store(at)
	x.count.Store(0)
}

func (x *exchange) next() {
	if x.count.Add(1) == x.at.Load() {
		x.cancel()
	}
}

type giver struct {
	netlink.Transport
	x *exchange
}

func (g giver) Send(b []byte) error {
	g.x.next()
	return g.Transport.Send(b)
}

func (g giver) Index(name string) (int, error) {
	g.x.next()
	return g.Transport.Index(name)
}
