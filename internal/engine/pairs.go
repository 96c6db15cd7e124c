//go:build linux

package engine

import (
	"context"

	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// Each end of a pair tells the index of the other one. The indexes that osl chooses are
// there once; those that the kernel gives to links made by hand begin at 2 in each namespace,
// so that the ends of two pairs may tell the same. Then the number of the namespace, which
// the kernel keeps in the one of the link, says which is meant.

// isAcross reports whether two links of two namespaces tell each other's index.
func isAcross(l, o *rtnl.Link) bool {
	return plan.KindOf(l.Kind).Pair && o.Kind == l.Kind && l.ParentNS && o.ParentNS && o.Index == l.Parent && o.Parent == l.Index
}

// isIn reports whether the other end of a pair of the sandbox, which by the indexes may be in
// another one, is there.
func (n *Namespace) isIn(ctx context.Context, l *rtnl.Link, other *Namespace) (bool, error) {
	if !byHand(l) {
		return true, nil
	}
	file, err := other.file()
	if err != nil {
		return false, err
	}
	defer file.Release()
	id := int32(-1)
	err = n.conn.One(ctx, rtnl.GetNSID(file.FD(), &id))
	return id == l.ParentNSID, err
}

// pairs finds, among the namespaces of the change, the other ends of pairs that osl did not
// give indexes.
func (p *prepared) pairs(ctx context.Context) error {
	by := map[linkEnds][]string{} // the keys of those that have such an end
	for key, s := range p.have {
		for i := 0; s != nil && i < len(s.Links); i++ {
			if l := &s.Links[i]; byHand(l) {
				by[linkEnds{l.Index, l.Parent}] = append(by[linkEnds{l.Index, l.Parent}], key)
			}
		}
	}
	for at, keys := range by {
		for _, key := range keys {
			s := p.have[key]
			l := s.ByIndex(at.here)
			n, err := p.run.space(key)
			if err != nil {
				return err
			}
			if s.Ends == nil {
				s.Ends = map[int]string{}
			}
			s.Ends[l.Index] = ""
			for _, other := range by[linkEnds{l.Parent, l.Index}] {
				if other == key || !isAcross(l, p.have[other].ByIndex(l.Parent)) {
					continue
				}
				o, err := p.run.space(other)
				if err != nil {
					return err
				}
				is, err := n.isIn(ctx, l, o)
				if err != nil {
					return fail("look for the other end of a link", key, l.Name, err)
				}
				if is {
					s.Ends[l.Index] = other
					break
				}
			}
		}
	}
	return nil
}

func byHand(l *rtnl.Link) bool {
	return l.ParentNS && !(plan.IsChosen(l.Index) && plan.IsChosen(l.Parent)) && plan.KindOf(l.Kind).Pair
}
