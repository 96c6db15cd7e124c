package want

import (
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/where"
)

// offloads gives each offload the one name that plans know it by.
func (s *Iface) offloads() (map[string]bool, error) {
	if len(s.Offloads) == 0 {
		return nil, nil
	}
	if s.Source != "" {
		return nil, where.In("offloads", "", fault.Invalidf("a link of the host keeps its offloads: set them there, with ethtool -K %s", s.Source))
	}
	set := map[string]bool{}
	for name, on := range s.Offloads {
		if name == "" {
			return nil, where.In("offloads", "", fault.Invalidf("an offload has no name: write tx-checksumming: off"))
		}
		as := plan.Offload(name)
		if other, there := set[as]; there && other != on {
			return nil, where.In("offloads", name, fault.Invalidf("%s is another name of %s, which is to be different", name, as))
		}
		set[as] = on
	}
	return set, nil
}
