package sysctl

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Clean returns a value as it is written: single blanks between its parts, and
// 1 and 0 for true and false, which the kernel does not know.
func Clean(value string) string {
	switch v := strings.Join(strings.Fields(value), " "); strings.ToLower(v) {
	case "true":
		return "1"
	case "false":
		return "0"
	default:
		return v
	}
}

// Same reports whether have, as the kernel prints it, is what was asked for. The
// kernel prints numbers in decimal, whichever way they were written, with tabs
// between them; a list of ports in order, with ranges; an address in full.
func Same(want, have string) bool {
	w, h := strings.Fields(want), strings.Fields(have)
	if len(w) == len(h) {
		same := true
		for i := range w {
			same = same && (w[i] == h[i] || sameNumber(w[i], h[i]) || sameAddr(w[i], h[i]))
		}
		if same {
			return true
		}
	}
	a, okA := ranges(want)
	b, okB := ranges(have)
	return okA && okB && slices.Equal(a, b)
}

// number reads a number as the kernel does: 0x begins a hexadecimal one, 0 an
// octal one.
func number(s string) (int64, bool) {
	if strings.ContainsAny(s, "_oObB+") && !strings.HasPrefix(strings.ToLower(strings.TrimPrefix(s, "-")), "0x") {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 0, 64)
	return n, err == nil
}

func sameNumber(a, b string) bool {
	x, okA := number(a)
	y, okB := number(b)
	return okA && okB && x == y
}

func sameAddr(a, b string) bool {
	x, errA := netip.ParseAddr(a)
	y, errB := netip.ParseAddr(b)
	return errA == nil && errB == nil && x == y
}

type span struct{ from, to uint64 }

// ranges reads a list such as 1-3,5; in order, and joined where they touch.
func ranges(s string) (list []span, ok bool) {
	for _, part := range strings.Split(s, ",") {
		from, to, is := strings.Cut(part, "-")
		if !is {
			to = from
		}
		f, errF := strconv.ParseUint(strings.TrimSpace(from), 10, 32)
		t, errT := strconv.ParseUint(strings.TrimSpace(to), 10, 32)
		if errF != nil || errT != nil || t < f {
			return nil, false
		}
		list = append(list, span{f, t})
	}
	slices.SortFunc(list, func(a, b span) int { return int(int64(a.from) - int64(b.from)) })
	joined := list[:1]
	for _, x := range list[1:] {
		if last := &joined[len(joined)-1]; x.from <= last.to+1 {
			last.to = max(last.to, x.to)
		} else {
			joined = append(joined, x)
		}
	}
	return joined, true
}
