package want

import (
	"math"
	"slices"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/where"
)

// LinkOptions are settings that any interface has: those of osl.InterfaceSpec.
type LinkOptions struct {
	AltNames                           []string
	Group                              *int
	Promisc, AllMulticast, ARP         *bool
	AddrGenMode                        string
	GSOMaxSize, GSOMaxSegs, GROMaxSize int
}

// maxGSO is GSO_MAX_SIZE of linux/netdevice.h.
const maxGSO = 8 * 65535

func (o *LinkOptions) plan(kind string) (rtnl.Options, error) {
	var s settings
	s.number(rtnl.LinkGroup, "group", o.Group, 0, math.MaxInt32)
	s.flag(rtnl.LinkPromisc, o.Promisc)
	s.flag(rtnl.LinkAllMulticast, o.AllMulticast)
	s.flag(rtnl.LinkARP, o.ARP)
	switch i := slices.Index(plan.AddrGenModes, o.AddrGenMode); {
	case o.AddrGenMode == "":
	case o.AddrGenMode == "stable_secret":
		s.bad("addrgenmode", "stable_secret needs a secret: write the sysctl ipv6.stable_secret, which makes it so")
	case i < 0:
		s.bad("addrgenmode", "the mode %q is none of eui64, none, random", o.AddrGenMode)
	case kind == "wireguard" && o.AddrGenMode != "none":
		s.bad("addrgenmode", "a wireguard has none: the kernel sees to that each time it goes up")
	default:
		s.Set(rtnl.LinkAddrGenMode, uint32(i))
	}
	for _, x := range []struct {
		field       string
		at, n, most int
	}{
		{"gso_max_size", rtnl.LinkGSOMaxSize, o.GSOMaxSize, maxGSO}, {"gso_max_segs", rtnl.LinkGSOMaxSegs, o.GSOMaxSegs, 65535},
		{"gro_max_size", rtnl.LinkGROMaxSize, o.GROMaxSize, maxGSO},
	} {
		if x.n == 0 {
			continue
		}
		if s.number(x.at, x.field, &x.n, 1, x.most); kind == "bridge" && x.at != rtnl.LinkGROMaxSize {
			return s.Options, where.In(x.field, "", fault.Invalidf("a bridge has the %s that its ports allow", x.field))
		}
	}
	return s.Options, s.err
}

// maxAltNames is for how many of them there is room in a link's tag.
const maxAltNames = 8

func (s *Iface) altNames() ([]string, error) {
	if len(s.AltNames) > maxAltNames {
		return nil, where.In("altnames", "", fault.Invalidf("there are %d further names, and osl can keep in mind %d", len(s.AltNames), maxAltNames))
	}
	seen := map[string]bool{s.Name: true}
	for _, name := range s.AltNames {
		err := validAltName(name)
		switch {
		case err != nil:
		case s.Name == "lo":
			err = fault.Invalidf("lo has no alternative names of its own: osl keeps its notes there")
		case seen[name]:
			err = fault.Invalidf("the name %q is there twice", name)
		}
		if err != nil {
			return nil, where.In("altnames", name, err)
		}
		seen[name] = true
	}
	return s.AltNames, nil
}
