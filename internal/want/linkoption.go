package want

import (
	"math"
	"net"
	"slices"
	"strings"

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
	GSOIPv4MaxSize, GROIPv4MaxSize     int
}

// LinkChange is what is changed of a link that is there: osl.LinkChange.
type LinkChange struct {
	Name       string
	MTU        int
	MAC        net.HardwareAddr
	TxQueueLen *int
	Up         *bool
}

// What a piece to send may be: more than MAX_TCP_HEADER of net/tcp.h, of the kernel that
// has the lowest, and up to GSO_MAX_SIZE of linux/netdevice.h.
const (
	minGSO = 193
	maxGSO = 8 * 65535
)

// BySecret is the AddrGenMode of a link whose addresses are made by a secret. It can not
// be asked for: to write the secret makes it so.
const BySecret = "stable_secret"

func (o *LinkOptions) plan(kind string) (rtnl.Options, error) {
	var s settings
	s.number(rtnl.LinkGroup, "group", o.Group, 0, math.MaxInt32)
	s.flag(rtnl.LinkPromisc, o.Promisc)
	s.flag(rtnl.LinkAllMulticast, o.AllMulticast)
	s.flag(rtnl.LinkARP, o.ARP)
	switch i := slices.Index(plan.AddrGenModes, o.AddrGenMode); {
	case o.AddrGenMode == "":
	case o.AddrGenMode == BySecret:
		s.bad("addrgenmode", "stable_secret needs a secret: write the sysctl ipv6.stable_secret, which makes it so")
	case i < 0:
		s.bad("addrgenmode", "the mode %q is none of eui64, none, random", o.AddrGenMode)
	case plan.KindOf(kind).NoAddrGen && o.AddrGenMode != "none":
		s.bad("addrgenmode", "%s has none: the kernel sees to that each time it goes up", plan.A(kind))
	default:
		s.Set(rtnl.LinkAddrGenMode, uint32(i))
	}
	for _, x := range []struct {
		field              string
		at, n, least, most int
	}{
		{"gso_max_size", rtnl.LinkGSOMaxSize, o.GSOMaxSize, minGSO, maxGSO}, {"gso_max_segs", rtnl.LinkGSOMaxSegs, o.GSOMaxSegs, 1, 65535},
		{"gro_max_size", rtnl.LinkGROMaxSize, o.GROMaxSize, 1, maxGSO},
		{"gso_ipv4_max_size", rtnl.LinkGSOIPv4MaxSize, o.GSOIPv4MaxSize, minGSO, maxGSO}, {"gro_ipv4_max_size", rtnl.LinkGROIPv4MaxSize, o.GROIPv4MaxSize, 1, maxGSO},
	} {
		if x.n == 0 {
			continue
		}
		if s.number(x.at, x.field, &x.n, x.least, x.most); kind == "bridge" && !strings.HasPrefix(x.field, "gro") {
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

// LinkOptionsOf says which settings these are; nil and zero for what is not among them.
func LinkOptionsOf(o *rtnl.Options) LinkOptions {
	is := told{o}
	x := LinkOptions{Group: is.number(rtnl.LinkGroup), Promisc: is.flag(rtnl.LinkPromisc), AllMulticast: is.flag(rtnl.LinkAllMulticast), ARP: is.flag(rtnl.LinkARP),
		GSOMaxSize: is.size(rtnl.LinkGSOMaxSize), GSOMaxSegs: is.size(rtnl.LinkGSOMaxSegs), GROMaxSize: is.size(rtnl.LinkGROMaxSize),
		GSOIPv4MaxSize: is.size(rtnl.LinkGSOIPv4MaxSize), GROIPv4MaxSize: is.size(rtnl.LinkGROIPv4MaxSize)}
	if v, ok := o.Get(rtnl.LinkAddrGenMode); ok && int(v) < len(plan.AddrGenModes) {
		x.AddrGenMode = plan.AddrGenModes[v]
	}
	return x
}
