package engine_test

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/netlink"
)

// Diff looks at a network while it is being made, before any exchange with the kernel, as
// after a kill there: what is of a change that has not happened is neither in the way of
// it nor missing.
func TestDiffMeanwhile(t *testing.T) {
	lab := faultLab()
	lab.Name = "lab"
	lab.Sandboxes = append(lab.Sandboxes, osl.Spec{Name: osl.HostName, Interfaces: []osl.InterfaceSpec{
		{Name: "lab0", Type: "bridge", Addresses: []netip.Prefix{netip.MustParsePrefix("10.99.0.1/24")}},
		{Name: "up0-host", Master: "lab0"},
	}})
	part := faultLab()
	part.Name = "lab"
	part.Sandboxes[0].Interfaces = part.Sandboxes[0].Interfaces[:1]
	part.Sandboxes, part.Links = part.Sandboxes[:1], nil
	part.Sandboxes[0].Gateway = netip.Addr{}
	plain := lab // the end on the host is no entry of that
	plain.Sandboxes = lab.Sandboxes[:2]
	for _, c := range []struct {
		name   string
		before *osl.Network
		net    osl.Network
	}{{"from nothing", nil, lab}, {"from nothing, without the host", nil, plain}, {"from a part", &part, lab}} {
		t.Run(c.name, func(t *testing.T) {
			w := world(t, richVeth+hostVXLAN)
			var x exchange
			netlink.Intercept = func(t netlink.Transport) netlink.Transport { return giver{t, &x} }
			defer func() { netlink.Intercept = nil }()
			apply := func(at int64, look func()) {
				x.arm(0, nil)
				w.build()
				if c.before != nil {
					_, err := osl.Apply(context.Background(), *c.before)
					w.must(err)
				}
				w.still()
				x.arm(at, look)
				_, err := osl.Apply(context.Background(), c.net)
				w.must(err)
			}
			apply(0, nil)
			points := rand.Perm(int(x.count.Load()))
			if !*allFaults {
				points = points[:min(len(points), 6)]
			}
			for _, p := range points {
				var err error
				apply(int64(p)+1, func() { _, err = osl.Diff(context.Background(), c.net) })
				// Of a link that has left the host, and may be back, it says so.
				if err != nil && !strings.Contains(err.Error(), "in the middle of another change; osl recover") {
					t.Errorf("before exchange %d: %v", p+1, err)
				}
			}
		})
	}
}
