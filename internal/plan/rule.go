package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/shell"
)

// NewRule and DelRule add and delete a rule of policy routing.
type (
	NewRule struct{ Rule rtnl.Rule }
	DelRule struct{ Rule rtnl.Rule }
)

func (a NewRule) Request(FDs) rtnl.Request { return rtnl.NewRule(a.Rule) }
func (a DelRule) Request(FDs) rtnl.Request { return rtnl.DelRule(a.Rule) }

func (a NewRule) Command(string) string { return ruleCommand("add", a.Rule) }
func (a DelRule) Command(string) string { return ruleCommand("del", a.Rule) }

// ruleKey is what osl has one rule for: a deletion says what a rule has, and not what
// it has not, so of two at one place it could take the other.
type ruleKey struct {
	family   uint8
	priority uint32
}

// rules plans the rules of a sandbox, when the routes are there that they lead to. One
// that is otherwise goes before the new one comes, since what deletes it could take
// that for it.
func (b *builder) rules(w *Sandbox, k *known) {
	have := map[ruleKey][]rtnl.Rule{}
	for _, r := range k.Rules {
		key := ruleKey{r.Family, r.Priority}
		have[key] = append(have[key], r)
	}
	add := func(do, back Action) {
		b.config = append(b.config, Op{NS: w.Key, Do: do, Undo: []Op{{NS: w.Key, Do: back}}})
	}
	wanted := map[rtnl.Rule]bool{}
	for _, r := range w.Rules {
		r.Proto = rtnl.Protocol
		wanted[r] = true
		list := have[ruleKey{r.Family, r.Priority}]
		if slices.Contains(list, r) || slices.ContainsFunc(k.OtherRules, func(o rtnl.Rule) bool { o.Proto = r.Proto; return o == r }) {
			continue
		}
		for _, h := range list {
			add(DelRule{h}, NewRule{h})
			wanted[h] = true // it is done
		}
		add(NewRule{r}, DelRule{r})
	}
	if !w.Prune {
		return
	}
	for _, h := range k.Rules {
		if !wanted[h] {
			add(DelRule{h}, NewRule{h})
		}
	}
}

func ruleCommand(verb string, r rtnl.Rule) string {
	var b strings.Builder
	if r.Family == linux.AF_INET6 {
		b.WriteString("-6 ")
	}
	b.WriteString("rule " + verb)
	say := func(is bool, format string, args ...any) {
		if is {
			fmt.Fprintf(&b, " "+format, args...)
		}
	}
	say(r.Not, "not")
	say(r.From.IsValid(), "from %v", r.From)
	say(r.To.IsValid(), "to %v", r.To)
	say(r.Mark|r.Mask != 0, "fwmark %#x/%#x", r.Mark, r.Mask)
	say(r.In != "", "iif %s", shell.Quote(r.In))
	say(r.Out != "", "oif %s", shell.Quote(r.Out))
	say(r.IPProto != 0, "ipproto %s", IPProtoName(r.IPProto))
	say(r.SPort != rtnl.Ports{}, "sport %s", PortsText(r.SPort))
	say(r.DPort != rtnl.Ports{}, "dport %s", PortsText(r.DPort))
	say(true, "priority %d", r.Priority)
	switch {
	case r.L3MDev:
		say(true, "l3mdev")
	case r.Action == linux.FR_ACT_GOTO:
		say(true, "goto %d", r.Goto)
	case r.Action == linux.FR_ACT_TO_TBL:
		say(true, "table %d", r.Table)
	default:
		say(true, "%s", RuleActionName(r.Action))
	}
	say(r.Suppress != 0, "suppress_prefixlength %d", r.Suppress-1)
	say(r.SuppressGroup != 0, "suppress_ifgroup %d", r.SuppressGroup-1)
	say(true, "protocol %d", r.Proto)
	return b.String()
}

// PortsText is a port, or a range of them.
func PortsText(p rtnl.Ports) string {
	switch {
	case p == rtnl.Ports{}:
		return ""
	case p.First == p.Last:
		return strconv.Itoa(int(p.First))
	}
	return fmt.Sprintf("%d-%d", p.First, p.Last)
}

// ruleActions are what a rule does other than to look a table up.
var ruleActions = map[uint8]string{linux.FR_ACT_GOTO: "goto", linux.FR_ACT_NOP: "nop", linux.FR_ACT_BLACKHOLE: "blackhole",
	linux.FR_ACT_UNREACHABLE: "unreachable", linux.FR_ACT_PROHIBIT: "prohibit"}

// RuleActionName names what a rule does, empty where it looks a table up.
func RuleActionName(action uint8) string { return ruleActions[action] }

// RuleActions are the names of what a rule can do that needs nothing else.
func RuleActions() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Values(ruleActions)), func(s string) bool { return s == "goto" })
}

// RuleActionOf returns the action with one of these names.
func RuleActionOf(name string) (action uint8, ok bool) {
	for a, s := range ruleActions {
		if s == name && a != linux.FR_ACT_GOTO {
			return a, true
		}
	}
	return linux.FR_ACT_TO_TBL, name == ""
}

// Protocols above IP, of /etc/protocols.
var ipProtos = map[uint8]string{1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 33: "dccp", 47: "gre", 50: "esp", 51: "ah", 58: "ipv6-icmp",
	89: "ospf", 112: "vrrp", 132: "sctp", 136: "udplite"}

// IPProtoName names a protocol above IP, empty for none.
func IPProtoName(n uint8) string {
	if n == 0 {
		return ""
	}
	return cmp.Or(ipProtos[n], strconv.Itoa(int(n)))
}

// IPProtoOf returns the protocol with a name, or a number; 0 is none.
func IPProtoOf(name string) (n uint8, ok bool) {
	for n, s := range ipProtos {
		if s == name {
			return n, true
		}
	}
	i, err := strconv.ParseUint(name, 10, 8)
	return uint8(i), name == "" || err == nil && i > 0
}

// IPProtoNames are the names.
func IPProtoNames() []string { return slices.Sorted(maps.Values(ipProtos)) }
