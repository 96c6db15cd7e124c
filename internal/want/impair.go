package want

import (
	"math"
	"time"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/where"
)

// Impair is what becomes of the packets that leave by an interface: osl.ImpairSpec.
type Impair struct {
	Delay, Jitter                     time.Duration
	Loss, Duplicate, Reorder, Corrupt float64 // in percent
	Rate                              uint64  // in bits each second
	Limit                             int
}

// The bounds of what the kernel keeps as it is told.
const (
	maxDelay  = time.Hour
	maxJitter = 2 * time.Second
)

func (s *Iface) impair() (*rtnl.Impair, error) {
	if s.Impair == nil || *s.Impair == (Impair{}) {
		return nil, nil
	}
	i := s.Impair
	bad := func(field, format string, args ...any) (*rtnl.Impair, error) {
		return nil, where.In("impair."+field, "", fault.Invalidf(format, args...))
	}
	switch {
	case i.Delay < 0 || i.Delay > maxDelay:
		return bad("delay", "the delay %v is none: it is up to %v", i.Delay, maxDelay)
	case i.Jitter < 0 || i.Jitter > maxJitter:
		return bad("jitter", "the jitter %v is none: it is up to %v", i.Jitter, maxJitter)
	case i.Jitter != 0 && i.Delay == 0:
		return bad("jitter", "a jitter is of a delay: say that too")
	case i.Reorder != 0 && i.Delay == 0:
		return bad("reorder", "to reorder is to let some packets pass without the delay: say that too")
	case i.Rate != 0 && (i.Rate%8 != 0 || i.Rate/8 < rtnl.MinRate):
		return bad("rate", "the rate of %d bits each second is none that the kernel has: it is %dkbit at least, and whole bytes", i.Rate, rtnl.MinRate*8/1000)
	case i.Limit < 0 || i.Limit > math.MaxInt32:
		return bad("limit", "the limit %d is no number of packets", i.Limit)
	}
	r := rtnl.Impair{Delay: i.Delay, Jitter: i.Jitter, Rate: i.Rate / 8, Limit: uint32(i.Limit)}
	for _, x := range []struct {
		name string
		from float64
		to   *uint32
	}{{"loss", i.Loss, &r.Loss}, {"duplicate", i.Duplicate, &r.Duplicate}, {"reorder", i.Reorder, &r.Reorder}, {"corrupt", i.Corrupt, &r.Corrupt}} {
		*x.to = uint32(math.Round(max(min(x.from, 100), 0) / 100 * math.MaxUint32))
		if !(x.from >= 0 && x.from <= 100) || x.from > 0 && *x.to == 0 {
			return bad(x.name, "%s of %v%% is none: it is from 0%% to 100%%", x.name, x.from)
		}
	}
	if q := r.Qdisc(0); q.Kind == "tbf" && s.Name != "lo" && s.MTU > rtnl.TBFMaxMTU {
		return bad("rate", "a rate alone lets no packets through of more than %d bytes, and the MTU is %d: say a limit too", rtnl.TBFMaxMTU, s.MTU)
	}
	return &r, nil
}

// ImpairOf says what a discipline of osl's does.
func ImpairOf(i rtnl.Impair) *Impair {
	return &Impair{Delay: i.Delay, Jitter: i.Jitter, Loss: plan.Percent(i.Loss), Duplicate: plan.Percent(i.Duplicate),
		Reorder: plan.Percent(i.Reorder), Corrupt: plan.Percent(i.Corrupt), Rate: 8 * i.Rate, Limit: int(i.Limit)}
}
