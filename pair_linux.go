package osl

import (
	"errors"

	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"golang.org/x/sys/unix"
)

// readFarEnds reads the host's ends of links that may stand and are to have an
// MTU.
func (p *prepared) readFarEnds() error {
	var ends []*plan.End
	for i := range p.want {
		s := p.have[p.want[i].Key]
		for j := range p.want[i].Ifaces {
			f := &p.want[i].Ifaces[j]
			if s != nil && !p.part && f.Peer != nil && f.Peer.Key == plan.HostNS && f.Peer.MTU != 0 {
				ends = append(ends, f.Peer)
			}
		}
	}
	if len(ends) == 0 {
		return nil
	}
	host, err := p.run.space(plan.HostNS)
	if err != nil {
		return err
	}
	found := make([]rtnl.Link, len(ends))
	reqs := make([]rtnl.Request, len(ends))
	for i, e := range ends {
		reqs[i] = rtnl.GetLink(0, e.Name, &found[i])
	}
	errs, err := host.conn.Do(p.run.ctx, reqs...)
	if err != nil {
		return err
	}
	for i, e := range ends {
		switch {
		case errs[i] == nil:
			e.Link = &found[i]
		case !errors.Is(errs[i], unix.ENODEV):
			return errs[i]
		}
	}
	return nil
}
