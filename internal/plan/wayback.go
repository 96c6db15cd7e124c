package plan

import (
	"slices"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// On the way back a route comes when all else is as it was, since it needs addresses,
// other routes and links that are up, and these may be of other steps than the one that
// took it: those with a next hop, which has to be reachable, after the others, and after
// the next hops that are objects, which need links with a carrier. What
// knows that a change is under way goes at the very end.
const (
	atOnce = iota
	onLinks
	whenCarried // when all links are up that are to be
	nextHops
	nextGroups
	byNextHops
	atEnd
)

func turn(a Action) int {
	switch a := a.(type) {
	case NewRoute:
		return turnOf(a.Route)
	case ReplaceRoute:
		return turnOf(a.Route)
	case PutBack:
		if r, is := a.Kept.Route(); is {
			return turnOf(r)
		}
	case AwaitCarrier:
		return whenCarried
	case ReplaceNexthop:
		return turnOfNexthop(a.Nexthop)
	case DelAltName:
		if a.Index == loopback {
			return atEnd
		}
	case DelRule:
		if a.Rule.Priority == 0 { // openWays made it
			return atEnd
		}
	case MakeNS:
		return atEnd
	}
	return atOnce
}

func turnOf(r rtnl.Route) int {
	if r.Via.IsValid() || len(r.Hops) > 0 || r.Nexthop != 0 {
		return byNextHops
	}
	return onLinks
}

func turnOfNexthop(n rtnl.Nexthop) int {
	if len(n.Group) > 0 {
		return nextGroups
	}
	return nextHops
}

// InTurn puts inverses into the order in which they are carried out, where they come as
// those of the last step first.
func InTurn(ops []Op) {
	slices.SortStableFunc(ops, func(a, b Op) int { return turn(a.Do) - turn(b.Do) })
}

// inTurn does so for the steps of a record.
func inTurn(steps []Step) {
	turn := func(s Step) int {
		switch {
		case s.Type == linux.RTM_NEWNEXTHOP:
			n, _ := rtnl.ParseNexthop(s.Data)
			return turnOfNexthop(n)
		case s.Type == linux.RTM_DELRULE:
			if r, _ := rtnl.ParseRule(s.Data); r.Priority == 0 {
				return atEnd
			}
			return atOnce
		case s.Type != linux.RTM_NEWROUTE:
			return atOnce
		case rtnl.HasVia(s.Data):
			return byNextHops
		}
		return onLinks
	}
	slices.SortStableFunc(steps, func(a, b Step) int { return turn(a) - turn(b) })
}
