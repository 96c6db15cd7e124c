package plan

import (
	"fmt"
	"net/netip"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// Overtaken names the routes of others that the kernel takes before those that a sandbox is
// to have: they are to the same destination, and have a lower metric. Nothing refuses such
// a route, or the one behind it. Those by links that go with ops are none.
func Overtaken(w *Sandbox, s *State, ops []Op) (list []string) {
	gone := map[int]bool{}
	for _, op := range ops {
		if op.NS != w.Key {
			continue
		}
		switch a := op.Do.(type) {
		case DelLink:
			gone[a.Index] = true
		case SetLink:
			if a.To != nil {
				gone[a.Link.Index] = true
			}
		}
	}
	type place struct {
		table uint32
		dst   netip.Prefix
	}
	lowest := map[place]uint32{} // metric of what is asked for
	asked := func(r rtnl.Route) {
		at, metric := place{r.Table, r.Dst}, KeyOfRoute(r).metric
		if m, is := lowest[at]; !is || metric < m {
			lowest[at] = metric
		}
	}
	for _, r := range w.Routes {
		asked(r.Route)
	}
	for _, r := range w.Gateways {
		asked(r)
	}
	for i := range w.Ifaces {
		for _, dst := range w.Ifaces[i].Routes {
			asked(rtnl.Route{Dst: dst})
		}
	}
	for _, r := range s.Others {
		m, is := lowest[place{r.Table, r.Dst}]
		if metric := KeyOfRoute(r).metric; is && metric < m && r.Proto != linux.RTPROT_KERNEL && !r.Touches(gone) {
			dev := ""
			if l := s.ByIndex(r.Index); l != nil {
				dev = l.Name
			}
			list = append(list, fmt.Sprintf("%v %s metric %d", r.Dst, way(r, dev), metric))
		}
	}
	return list
}
