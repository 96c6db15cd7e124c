package rtnl

import (
	"encoding/binary"
	"net/netip"

	"github.com/seed59451c2b/osl/internal/linux"
)

// Rule is a rule of policy routing. Two are the same if they are equal, but for Proto.
type Rule struct {
	Family   uint8 // AF_INET or AF_INET6
	Priority uint32
	Not      bool         // it is for what is not so
	From, To netip.Prefix // not valid for any
	In, Out  string       // the names of devices, empty for any
	// Mark and Mask are of a packet's mark; both 0 for any.
	Mark, Mask   uint32
	IPProto      uint8 // 0 for any
	SPort, DPort Ports
	Table        uint32
	Action       uint8 // FR_ACT_*: FR_ACT_TO_TBL looks the table up
	Goto         uint32
	// Suppress passes over a route whose prefix is shorter than this; 0 over none.
	Suppress uint32
	// SuppressGroup passes over a route by a device of the group one below this; 0 over none.
	SuppressGroup uint32
	L3MDev        bool // it looks the table of a device's VRF up
	Proto         uint8
}

// Ports is a range, both 0 for any.
type Ports struct{ First, Last uint16 }

func (r Rule) message() buffer {
	b := make(buffer, 0, 160)
	table := uint8(linux.RT_TABLE_UNSPEC)
	if r.Table < 256 {
		table = uint8(r.Table)
	}
	flags := uint32(0)
	if r.Not {
		flags = fibRuleInvert
	}
	b = append(b, r.Family, uint8(max(r.To.Bits(), 0)), uint8(max(r.From.Bits(), 0)), 0, table, 0, 0, r.Action)
	b = binary.NativeEndian.AppendUint32(b, flags)
	b.u32(linux.FRA_PRIORITY, r.Priority)
	if r.To.IsValid() {
		b.ip(linux.FRA_DST, r.To.Addr())
	}
	if r.From.IsValid() {
		b.ip(linux.FRA_SRC, r.From.Addr())
	}
	if r.In != "" {
		b.str(linux.FRA_IIFNAME, r.In)
	}
	if r.Out != "" {
		b.str(linux.FRA_OIFNAME, r.Out)
	}
	if r.Mark|r.Mask != 0 {
		b.u32(linux.FRA_FWMARK, r.Mark)
		b.u32(linux.FRA_FWMASK, r.Mask)
	}
	if r.IPProto != 0 {
		b.u8(linux.FRA_IP_PROTO, r.IPProto)
	}
	ports := func(t uint16, p Ports) {
		if p != (Ports{}) {
			b.bytes(t, binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, p.First), p.Last))
		}
	}
	ports(linux.FRA_SPORT_RANGE, r.SPort)
	ports(linux.FRA_DPORT_RANGE, r.DPort)
	b = b.number(linux.FRA_TABLE, r.Table).number(linux.FRA_GOTO, r.Goto)
	if r.Suppress != 0 {
		b.u32(linux.FRA_SUPPRESS_PREFIXLEN, r.Suppress-1)
	}
	if r.SuppressGroup != 0 {
		b.u32(linux.FRA_SUPPRESS_IFGROUP, r.SuppressGroup-1)
	}
	if r.L3MDev {
		b.u8(linux.FRA_L3MDEV, 1)
	}
	b.u8(linux.FRA_PROTOCOL, r.Proto)
	return b
}

// fibRuleInvert is FIB_RULE_INVERT of linux/fib_rules.h.
const fibRuleInvert = 2

// NewRule returns the request that adds a rule. It fails with EEXIST where there is
// the same.
func NewRule(r Rule) Request {
	return Request{Type: linux.RTM_NEWRULE, Flags: linux.NLM_F_CREATE | linux.NLM_F_EXCL, Data: r.message()}
}

// DelRule returns the request that deletes a rule: the first that has all that is
// said of r, whatever else it has.
func DelRule(r Rule) Request { return Request{Type: linux.RTM_DELRULE, Data: r.message()} }

// AllRules returns the request that lists the rules of a family, or of all.
func AllRules(family uint8) Request {
	head := make([]byte, linux.SizeofRtMsg)
	head[0] = family
	return Request{Type: linux.RTM_GETRULE, Data: head}
}

// IsFirst reports whether the rule is one of those that the kernel begins with: the
// tables local, main and default.
func (r Rule) IsFirst() bool {
	plain := Rule{Family: r.Family, Priority: r.Priority, Table: r.Table, Action: linux.FR_ACT_TO_TBL, Proto: r.Proto}
	return r == plain && r.Proto != Protocol && (r.Priority == 0 && r.Table == linux.RT_TABLE_LOCAL ||
		r.Priority == 32766 && r.Table == linux.RT_TABLE_MAIN || r.Priority == 32767 && r.Table == linux.RT_TABLE_DEFAULT)
}

// ParseRule decodes the payload of an RTM_NEWRULE of IPv4 or IPv6.
func ParseRule(p []byte) (r Rule, ok bool) {
	if len(p) < linux.SizeofRtMsg || p[0] != linux.AF_INET && p[0] != linux.AF_INET6 {
		return r, false
	}
	r.Family, r.Table, r.Action = p[0], uint32(p[4]), p[7]
	r.Not = getU32(p[8:])&fibRuleInvert != 0
	prefix := func(v []byte, bits byte) netip.Prefix {
		ip, _ := netip.AddrFromSlice(v)
		return netip.PrefixFrom(ip, int(bits))
	}
	ports := func(v []byte) (r Ports) {
		if len(v) >= 4 {
			r = Ports{getU16(v), getU16(v[2:])}
		}
		return r
	}
	for t, v := range attrs(p[linux.SizeofRtMsg:]) {
		switch t {
		case linux.FRA_PRIORITY:
			r.Priority = getU32(v)
		case linux.FRA_DST:
			r.To = prefix(v, p[1])
		case linux.FRA_SRC:
			r.From = prefix(v, p[2])
		case linux.FRA_IIFNAME:
			r.In = getStr(v)
		case linux.FRA_OIFNAME:
			r.Out = getStr(v)
		case linux.FRA_FWMARK:
			r.Mark = getU32(v)
		case linux.FRA_FWMASK:
			r.Mask = getU32(v)
		case linux.FRA_IP_PROTO:
			r.IPProto = getU8(v)
		case linux.FRA_SPORT_RANGE:
			r.SPort = ports(v)
		case linux.FRA_DPORT_RANGE:
			r.DPort = ports(v)
		case linux.FRA_TABLE:
			r.Table = getU32(v)
		case linux.FRA_GOTO:
			r.Goto = getU32(v)
		case linux.FRA_SUPPRESS_PREFIXLEN:
			r.Suppress = getU32(v) + 1 // none is 2³²-1
		case linux.FRA_SUPPRESS_IFGROUP:
			r.SuppressGroup = getU32(v) + 1
		case linux.FRA_L3MDEV:
			r.L3MDev = getU8(v) != 0
		case linux.FRA_PROTOCOL:
			r.Proto = getU8(v)
		}
	}
	return r, true
}
