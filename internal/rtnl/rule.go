package rtnl

import (
	"net/netip"

	"github.com/seed59451c2b/osl/internal/linux"
)

// Rule is a rule of policy routing.
type Rule struct {
	Priority int
	From, To netip.Prefix // not valid for any
	In, Out  string       // the names of devices, empty for any
	Mark     uint32       // 0 for any
	Table    int
	Action   uint8 // FR_ACT_*: 1 looks the table up
}

// AllRules returns the request that lists the rules of a family.
func AllRules(family uint8) Request {
	head := make([]byte, linux.SizeofRtMsg)
	head[0] = family
	return Request{Type: linux.RTM_GETRULE, Data: head}
}

// IsFirst reports whether the rule is one of those that the kernel begins with: the
// tables local, main and default.
func (r Rule) IsFirst() bool {
	plain := r.Action == 1 && !r.From.IsValid() && !r.To.IsValid() && r.In == "" && r.Out == "" && r.Mark == 0
	return plain && (r.Priority == 0 && r.Table == linux.RT_TABLE_LOCAL || r.Priority == 32766 && r.Table == linux.RT_TABLE_MAIN ||
		r.Priority == 32767 && r.Table == linux.RT_TABLE_DEFAULT)
}

// ParseRule decodes the payload of an RTM_NEWRULE of IPv4 or IPv6.
func ParseRule(p []byte) (r Rule, ok bool) {
	if len(p) < linux.SizeofRtMsg || p[0] != linux.AF_INET && p[0] != linux.AF_INET6 {
		return r, false
	}
	r.Table, r.Action = int(p[4]), p[7]
	prefix := func(v []byte, bits byte) netip.Prefix {
		ip, _ := netip.AddrFromSlice(v)
		return netip.PrefixFrom(ip, int(bits))
	}
	for t, v := range attrs(p[linux.SizeofRtMsg:]) {
		switch t {
		case linux.FRA_PRIORITY:
			r.Priority = int(getU32(v))
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
		case linux.FRA_TABLE:
			r.Table = int(getU32(v))
		}
	}
	return r, true
}
