//go:build linux

package rtnl

import (
	"context"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
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

// Rules reads the rules of both families, those that the kernel begins with left
// out: the tables local, main and default.
func (c *Conn) Rules(ctx context.Context) (list []Rule, err error) {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		var part []Rule
		head := make([]byte, unix.SizeofRtMsg)
		head[0] = family
		err := c.dump(ctx, Request{Type: unix.RTM_GETRULE, Data: head}, func() { part = part[:0] }, func(p []byte) {
			if r, ok := ParseRule(p); ok && !r.first() {
				part = append(part, r)
			}
		})
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EAFNOSUPPORT) && !absentTable(err) {
			return nil, err // a kernel without has one table and no rules
		}
		list = append(list, part...)
	}
	return list, nil
}

func (r Rule) first() bool {
	plain := r.Action == 1 && !r.From.IsValid() && !r.To.IsValid() && r.In == "" && r.Out == "" && r.Mark == 0
	return plain && (r.Priority == 0 && r.Table == unix.RT_TABLE_LOCAL || r.Priority == 32766 && r.Table == unix.RT_TABLE_MAIN ||
		r.Priority == 32767 && r.Table == unix.RT_TABLE_DEFAULT)
}

// ParseRule decodes the payload of an RTM_NEWRULE of IPv4 or IPv6.
func ParseRule(p []byte) (r Rule, ok bool) {
	if len(p) < unix.SizeofRtMsg || p[0] != unix.AF_INET && p[0] != unix.AF_INET6 {
		return r, false
	}
	r.Table, r.Action = int(p[4]), p[7]
	prefix := func(v []byte, bits byte) netip.Prefix {
		ip, _ := netip.AddrFromSlice(v)
		return netip.PrefixFrom(ip, int(bits))
	}
	for t, v := range attrs(p[unix.SizeofRtMsg:]) {
		switch t {
		case unix.FRA_PRIORITY:
			r.Priority = int(getU32(v))
		case unix.FRA_DST:
			r.To = prefix(v, p[1])
		case unix.FRA_SRC:
			r.From = prefix(v, p[2])
		case unix.FRA_IIFNAME:
			r.In = getStr(v)
		case unix.FRA_OIFNAME:
			r.Out = getStr(v)
		case unix.FRA_FWMARK:
			r.Mark = getU32(v)
		case unix.FRA_TABLE:
			r.Table = int(getU32(v))
		}
	}
	return r, true
}
