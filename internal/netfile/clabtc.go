package netfile

import (
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl"
)

// qdisc takes a command of tc in: a netem at the root of an interface.
func (b *clabBox) qdisc(w []string) bool {
	if len(w) < 2 || wordOf(w[0], "qdisc") == "" {
		return false
	}
	verb, dev, kind, root := wordOf(w[1], "add", "replace", "delete"), "", "", false
	i := 2
	for ; i < len(w) && kind == ""; i++ {
		switch w[i] {
		case "dev", "handle":
			if i++; i < len(w) && w[i-1] == "dev" {
				dev = w[i]
			}
		case "root":
			root = true
		default:
			kind = w[i]
		}
	}
	if b.unmanaged(dev) {
		return true
	}
	f := b.has(dev)
	switch {
	case f == nil || !root || verb == "":
		return false
	case verb == "delete":
		f.Impair = nil
		return true
	case kind != "netem" || f.Impair != nil && verb == "add":
		return false
	}
	s, ok := netem(w[i:])
	if ok {
		b.d.at(b.pathOf(dev)+".impair", b.line)
		f.Impair = s
	}
	return ok
}

// netem reads the options of a netem: false where it says more than osl's can.
func netem(w []string) (*osl.ImpairSpec, bool) {
	s := &osl.ImpairSpec{}
	for len(w) > 1 {
		name, value := w[0], []byte(w[1])
		w = w[2:]
		var err error
		switch name {
		case "delay", "latency":
			if err = s.Delay.UnmarshalText(value); err == nil && len(w) > 0 && s.Jitter.UnmarshalText([]byte(w[0])) == nil {
				w = w[1:]
			}
		case "loss":
			if string(value) == "random" && len(w) > 0 {
				value, w = []byte(w[0]), w[1:]
			}
			err = s.Loss.UnmarshalText(value)
		case "duplicate":
			err = s.Duplicate.UnmarshalText(value)
		case "corrupt":
			err = s.Corrupt.UnmarshalText(value)
		case "reorder":
			err = s.Reorder.UnmarshalText(value)
		case "rate":
			err = s.Rate.UnmarshalText(value)
		case "limit":
			s.Limit, err = strconv.Atoi(string(value))
		default:
			return nil, false
		}
		// A correlation, in percent, may come after most of them.
		if err != nil || len(w) > 0 && strings.HasSuffix(w[0], "%") {
			return nil, false
		}
	}
	return s, len(w) == 0
}
