package want

import (
	"math"
	"net/netip"
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/where"
)

// Rule is a rule of policy routing: osl.RuleSpec.
type Rule struct {
	Priority             uint32
	Family               string
	Not                  bool
	From, To             netip.Prefix
	IIF, OIF             string
	FWMark, FWMask       uint32
	IPProto              string
	SPort, DPort         string
	Table                uint32
	SuppressPrefixLength *int
	SuppressIfGroup      *int
	Goto                 uint32
	Action               string
	L3MDev               bool
}

// ToRules checks rules: those without a family and addresses are of both.
func ToRules(rules []Rule) (list []rtnl.Rule, err error) {
	type place struct {
		family   uint8
		priority uint32
	}
	seen := map[place]bool{}
	for _, x := range rules {
		r, err := x.plan()
		families := []uint8{r.Family}
		if r.Family == 0 {
			families = []uint8{linux.AF_INET, linux.AF_INET6}
		}
		for _, r.Family = range families {
			if at := (place{r.Family, r.Priority}); err == nil && seen[at] {
				err = fault.Invalidf("another rule has the priority %d too", x.Priority)
			} else {
				seen[at] = true
			}
			list = append(list, r)
		}
		if err != nil {
			return nil, where.In("rules", strconv.FormatUint(uint64(x.Priority), 10), err)
		}
	}
	return list, nil
}

func (x Rule) plan() (r rtnl.Rule, err error) {
	no := func(field, format string, args ...any) error {
		return where.In(field, "", fault.Invalidf("the rule of the priority %d "+format, append([]any{x.Priority}, args...)...))
	}
	r = rtnl.Rule{Priority: x.Priority, Not: x.Not, In: x.IIF, Out: x.OIF, Mark: x.FWMark, Mask: x.FWMask, Table: x.Table, Goto: x.Goto, L3MDev: x.L3MDev}
	if x.Priority == 0 {
		return r, fault.Invalidf("a rule needs a priority, 1 to 4294967295: the kernel tries the lower first, and the main table at 32766")
	}
	families := map[string]uint8{"": 0, "ipv4": linux.AF_INET, "ipv6": linux.AF_INET6}
	var known bool
	if r.Family, known = families[x.Family]; !known {
		return r, no("family", "has no family %q: there are ipv4 and ipv6", x.Family)
	}
	for _, p := range []struct {
		name string
		from netip.Prefix
		to   *netip.Prefix
	}{{"from", x.From, &r.From}, {"to", x.To, &r.To}} {
		if p.from == (netip.Prefix{}) {
			continue
		}
		family := uint8(linux.AF_INET6)
		if p.from.Addr().Is4() {
			family = linux.AF_INET
		}
		switch {
		case !p.from.IsValid() || p.from.Addr().Is4In6():
			return r, no(p.name, "has %s %v, which is no network", p.name, p.from)
		case r.Family != 0 && r.Family != family:
			return r, no(p.name, "is of two families")
		}
		if r.Family = family; p.from.Bits() > 0 { // else it is for all
			*p.to = p.from.Masked()
		}
	}
	for _, of := range [][2]string{{"iif", x.IIF}, {"oif", x.OIF}} {
		if of[1] != "" {
			if err := ValidName(of[1]); err != nil {
				return r, where.In(of[0], "", err)
			}
		}
	}
	if r.Mark != 0 && r.Mask == 0 {
		r.Mask = 1<<32 - 1
	}
	if r.Mark&^r.Mask != 0 {
		return r, no("fwmark", "asks for bits of a mark, %#x, that its mask %#x leaves out", r.Mark, r.Mask)
	}
	if r.IPProto, known = plan.IPProtoOf(x.IPProto); !known {
		return r, no("ipproto", "has no protocol %q%s", x.IPProto, near.Hint(x.IPProto, plan.IPProtoNames()))
	}
	if r.SPort, known = portsOf(x.SPort); !known {
		return r, no("sport", "has the ports %q: write 80, or 8000-8080", x.SPort)
	}
	if r.DPort, known = portsOf(x.DPort); !known {
		return r, no("dport", "has the ports %q: write 80, or 8000-8080", x.DPort)
	}
	if r.Action, known = plan.RuleActionOf(x.Action); !known {
		return r, no("action", "has no action %q: there are %s%s", x.Action, strings.Join(plan.RuleActions(), ", "), near.Hint(x.Action, plan.RuleActions()))
	}
	return r, x.does(&r, no)
}

// does checks what a rule does: one thing.
func (x Rule) does(r *rtnl.Rule, no func(field, format string, args ...any) error) error {
	var does []string
	for _, d := range []struct {
		name string
		is   bool
	}{{"table", x.Table != 0}, {"goto", x.Goto != 0}, {"action", x.Action != ""}, {"l3mdev", x.L3MDev}} {
		if d.is {
			does = append(does, d.name)
		}
	}
	if len(does) > 1 {
		return no(does[1], "does several things: %s", strings.Join(does, " and "))
	}
	if s := x.SuppressPrefixLength; s != nil {
		if *s < 0 || *s > 128 {
			return no("suppress_prefixlength", "has a suppress_prefixlength of %d: it is from 0 to 128", *s)
		}
		if x.Goto != 0 || x.Action != "" {
			return no("suppress_prefixlength", "has a suppress_prefixlength, and looks no table up")
		}
		r.Suppress = uint32(*s) + 1
	}
	if s := x.SuppressIfGroup; s != nil {
		if *s < 0 || *s > math.MaxInt32 {
			return no("suppress_ifgroup", "has a suppress_ifgroup of %d: it is a group of interfaces, from 0 to %d", *s, math.MaxInt32)
		}
		if x.Goto != 0 || x.Action != "" {
			return no("suppress_ifgroup", "has a suppress_ifgroup, and looks no table up")
		}
		r.SuppressGroup = uint32(*s) + 1
	}
	switch {
	case x.Goto != 0 && x.Goto <= x.Priority:
		return no("goto", "goes to %d: it leads on, to a higher priority", x.Goto)
	case x.Goto != 0:
		r.Action = linux.FR_ACT_GOTO
	case x.Table == 0 && x.Action == "" && !x.L3MDev:
		r.Table = linux.RT_TABLE_MAIN
	}
	return nil
}

func portsOf(text string) (p rtnl.Ports, ok bool) {
	if text == "" {
		return p, true
	}
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	a, err := strconv.ParseUint(strings.TrimSpace(first), 10, 16)
	b, err2 := strconv.ParseUint(strings.TrimSpace(last), 10, 16)
	p = rtnl.Ports{First: uint16(a), Last: uint16(b)}
	return p, err == nil && err2 == nil && a > 0 && a <= b
}

// RuleOf says what a rule is.
func RuleOf(r rtnl.Rule) Rule {
	x := Rule{Priority: r.Priority, Not: r.Not, From: r.From, To: r.To, IIF: r.In, OIF: r.Out, FWMark: r.Mark, FWMask: r.Mask,
		IPProto: plan.IPProtoName(r.IPProto), SPort: plan.PortsText(r.SPort), DPort: plan.PortsText(r.DPort),
		Table: r.Table, Goto: r.Goto, L3MDev: r.L3MDev}
	if !r.From.IsValid() && !r.To.IsValid() {
		x.Family = map[bool]string{true: "ipv4", false: "ipv6"}[r.Family == linux.AF_INET]
	}
	if r.Mark != 0 && r.Mask == 1<<32-1 {
		x.FWMask = 0
	}
	if r.Suppress != 0 {
		n := int(r.Suppress - 1)
		x.SuppressPrefixLength = &n
	}
	if r.SuppressGroup != 0 {
		n := int(r.SuppressGroup - 1)
		x.SuppressIfGroup = &n
	}
	if r.Action != linux.FR_ACT_GOTO {
		x.Action = plan.RuleActionName(r.Action)
	}
	return x
}
