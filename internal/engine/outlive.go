//go:build linux

package engine

import (
	"context"
	"time"

	"github.com/seed59451c2b/osl/internal/plan"
)

// lonelyWait is how long a link of which only one end is left may take to vanish:
// the kernel deletes the links of a dead namespace a little later.
const lonelyWait = 2 * time.Second

// outlive waits for ends of links to vanish whose other ends were in sandboxes that
// are gone. One that somebody keeps stays, and is dealt with as it is.
func (p *prepared) outlive(ctx context.Context, write bool) error {
	for end := time.Now().Add(lonelyWait); time.Now().Before(end); {
		lonely := p.lonely()
		if len(lonely) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
		for _, w := range lonely {
			if err := p.read(ctx, w, write); err != nil {
				return fail("read the sandbox", w.Key, "", err)
			}
		}
		if err := p.readHost(); err != nil {
			return fail("read the host", "", "", err)
		}
	}
	return nil
}

// lonely returns the sandboxes with an end of a link whose other end is to be in a
// sandbox that is not there, or to be on the host where its own is not.
func (p *prepared) lonely() (list []*plan.Sandbox) {
	ends := map[linkEnds]int{} // those that were read
	for _, s := range p.have {
		for i := 0; s != nil && i < len(s.Links); i++ {
			ends[linkEnds{s.Links[i].Parent, s.Links[i].Index}]++
		}
	}
	for i := range p.want {
		w := &p.want[i]
		s := p.have[w.Key]
		for j := range w.Ifaces {
			f := &w.Ifaces[j]
			other := f.OtherEnd()
			if other == nil || !plan.KindOf(f.Kind).Pair {
				continue
			}
			alone := func(at *plan.State, name string) bool {
				if at == nil {
					return false
				}
				l := at.Link(name)
				if l == nil || !plan.KindOf(l.Kind).Pair || !l.ParentNS || l.Alias == "" {
					return false
				}
				found := ends[linkEnds{l.Index, l.Parent}]
				if l.Index == l.Parent { // numbers of the kernel's, and one is its own
					found--
				}
				return found == 0
			}
			if s != nil && p.have[other.Key] == nil && alone(s, f.Name) ||
				s == nil && other.Key == plan.HostNS && alone(p.have[plan.HostNS], other.Name) {
				list = append(list, w)
				break
			}
		}
	}
	return list
}
