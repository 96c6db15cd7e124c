package want

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/where"
)

// Nexthop is a next hop that is an object of its own: osl.NexthopSpec.
type Nexthop struct {
	ID        uint32
	Via       netip.Addr
	Dev       string
	Family    string
	Blackhole bool
	Group     []NexthopMember

	Type                       string
	Buckets                    int
	IdleTimer, UnbalancedTimer *time.Duration
}

// GroupTypes are those of groups; the first is that of one that says none.
var GroupTypes = []string{"mpath", "resilient"}

// usualIdle is the idle timer of a resilient group that says none, in hundredths of a
// second, as the kernel has it.
const usualIdle = 12000

// longestTimer is the longest of a resilient group, in seconds: the kernel keeps 32 bits of
// its ticks, of which there are up to a thousand in each.
const longestTimer = (1<<32 - 1) / 1000

// NexthopMember is a next hop of a group: osl.NexthopMember.
type NexthopMember struct {
	ID     uint32
	Weight int
}

// planNexthops checks next hops that are objects.
func planNexthops(nexthops []Nexthop) (list []plan.Nexthop, err error) {
	groups := map[uint32]bool{}
	for _, x := range nexthops {
		groups[x.ID] = len(x.Group) > 0
	}
	seen := map[uint32]bool{}
	for _, x := range nexthops {
		n, err := x.plan(groups)
		if err == nil && seen[x.ID] {
			err = fault.Invalidf("another nexthop has the id %d too", x.ID)
		}
		if err != nil {
			return nil, where.In("nexthops", strconv.FormatUint(uint64(x.ID), 10), err)
		}
		seen[x.ID] = true
		list = append(list, n)
	}
	return list, nil
}

func (x Nexthop) plan(groups map[uint32]bool) (n plan.Nexthop, err error) {
	no := func(field, format string, args ...any) error {
		return where.In(field, "", fault.Invalidf("the nexthop %d "+format, append([]any{x.ID}, args...)...))
	}
	families := map[string]uint8{"": 0, "ipv4": linux.AF_INET, "ipv6": linux.AF_INET6}
	family, known := families[x.Family]
	is := "is "
	if x.Blackhole {
		is = "is a blackhole, "
	} else if len(x.Group) > 0 {
		is = "is a group, "
	}
	switch {
	case x.ID == 0:
		return n, fault.Invalidf("a nexthop needs an id, 1 to 4294967295, by which routes name it")
	case !known:
		return n, no("family", "has no family %q: there are ipv4 and ipv6", x.Family)
	case len(x.Group) > 0 && (x.Blackhole || family != 0), is != "is " && (x.Via.IsValid() || x.Dev != ""):
		return n, no("", "%sand has something else beside that", is)
	case is == "is " && x.Dev == "":
		return n, no("", "needs dev: the kernel makes none that is on no interface but a blackhole or a group")
	case x.Via.IsValid() && (!ofOne(x.Via) || x.Via.Is4In6()):
		return n, no("via", "is via %v, which is no address of one host", x.Via)
	case x.Via.IsValid() && x.Via.Zone() != "" && x.Via.Zone() != x.Dev:
		return n, no("dev", "is on %q and on %q", x.Via.Zone(), x.Dev)
	case x.Via.IsValid() && family != 0 && (family == linux.AF_INET) != x.Via.Is4():
		return n, no("via", "is via %v, which is not of the family %s", x.Via, x.Family)
	}
	resilient, err := x.resilient(no)
	if err != nil {
		return n, err
	}
	n = plan.Nexthop{Dev: x.Dev, Nexthop: rtnl.Nexthop{ID: x.ID, Via: x.Via.WithZone(""), Family: family, Blackhole: x.Blackhole, OnLink: x.Via.IsValid(), Resilient: resilient}}
	switch {
	case len(x.Group) > 0:
	case x.Via.Is6():
		n.Family = linux.AF_INET6
	case family == 0:
		n.Family = linux.AF_INET
	}
	in := map[uint32]bool{}
	for i, m := range x.Group {
		at := fmt.Sprintf("group[%d]", i)
		switch {
		case m.Weight < 0 || m.Weight > 256:
			return n, no(at+".weight", "has a next hop of the weight %d: it is from 1 to 256", m.Weight)
		case in[m.ID]:
			return n, no(at, "is a group that has the nexthop %d twice", m.ID)
		case groups[m.ID]:
			return n, no(at, "is a group that has the group %d in it, which the kernel does not make", m.ID)
		}
		in[m.ID] = true
		n.Group = append(n.Group, rtnl.Member{ID: m.ID, Weight: max(m.Weight, 1)})
	}
	return n, nil
}

// resilient checks what is said of a group beside its members.
func (x Nexthop) resilient(no func(string, string, ...any) error) (r rtnl.Resilient, err error) {
	says := x.Buckets != 0 || x.IdleTimer != nil || x.UnbalancedTimer != nil
	switch {
	case x.Type == "" && !says:
		return r, nil
	case len(x.Group) == 0:
		return r, no("", "is no group, and has a type, buckets or timers of one")
	case x.Type != "" && !slices.Contains(GroupTypes, x.Type):
		return r, no("type", "has no type %q: a group is mpath or resilient", x.Type)
	case x.Type != "resilient" && says:
		return r, no("", "has buckets or timers, which only a group of the type resilient has")
	case x.Type != "resilient":
		return r, nil
	case x.Buckets < 1 || x.Buckets > 1<<16-1:
		return r, no("buckets", "is resilient and needs buckets, 1 to 65535, and not %d", x.Buckets)
	}
	r = rtnl.Resilient{Buckets: uint16(x.Buckets), Idle: usualIdle}
	for _, t := range []struct {
		name string
		d    *time.Duration
		to   *uint32
	}{{"idle_timer", x.IdleTimer, &r.Idle}, {"unbalanced_timer", x.UnbalancedTimer, &r.Unbalanced}} {
		switch {
		case t.d == nil:
		case *t.d < 0 || *t.d > longestTimer*time.Second || *t.d%time.Second != 0:
			return r, no(t.name, "has the %s %v: it is in whole seconds, up to %ds", t.name, *t.d, longestTimer)
		default:
			*t.to = uint32(*t.d / (time.Second / 100))
		}
	}
	return r, nil
}

// NexthopOf says what a next hop is that is an object; devices have names by their
// indexes.
func NexthopOf(n rtnl.Nexthop, names map[int]string) Nexthop {
	x := Nexthop{ID: n.ID, Via: n.Via, Blackhole: n.Blackhole}
	if !n.Blackhole {
		x.Dev = names[n.Index]
	}
	if n.Family == linux.AF_INET6 && !n.Via.IsValid() {
		x.Family = "ipv6"
	}
	for _, m := range n.Group {
		x.Group = append(x.Group, NexthopMember{m.ID, m.Weight})
	}
	if r := n.Resilient; r.Buckets != 0 {
		x.Type, x.Buckets = "resilient", int(r.Buckets)
		timer := func(v uint32) *time.Duration {
			d := time.Duration(v) * (time.Second / 100)
			return &d
		}
		if r.Idle != usualIdle {
			x.IdleTimer = timer(r.Idle)
		}
		if r.Unbalanced != 0 {
			x.UnbalancedTimer = timer(r.Unbalanced)
		}
	}
	return x
}
