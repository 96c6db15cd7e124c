package osl

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/want"
)

// ImpairSpec says what becomes of the packets that leave by an interface: what comes
// the other way is up to the other end. The zero value of a field does nothing of that
// kind. It is a netem at the root of the interface, or a tbf where there is a Rate and
// nothing else, with a handle of osl's.
type ImpairSpec struct {
	// Delay is how long each packet is held back, up to an hour: "10ms".
	Delay Duration `json:"delay,omitempty"`
	// Jitter is how much more or less that may be, up to two seconds: "2ms". Packets
	// may overtake each other by it. It needs a Delay.
	Jitter Duration `json:"jitter,omitempty"`
	// Loss is how many packets are lost, by chance: "1%".
	Loss Percent `json:"loss,omitempty"`
	// Duplicate is how many packets come twice: "0.5%".
	Duplicate Percent `json:"duplicate,omitempty"`
	// Reorder is how many packets are sent at once, before those that are held back:
	// "25%". It needs a Delay.
	Reorder Percent `json:"reorder,omitempty"`
	// Corrupt is how many packets get a wrong bit: "0.1%".
	Corrupt Percent `json:"corrupt,omitempty"`
	// Rate is how much leaves in a second, from 8kbit on: "10mbit". What is more
	// waits: as many packets as Limit says, or what takes 50 ms where there is nothing
	// but a Rate.
	Rate Rate `json:"rate,omitempty"`
	// Limit is how many packets wait, and are held back, at most; others are dropped.
	// 0 means 1000. A long Delay at a high Rate needs more.
	Limit int `json:"limit,omitempty"`
}

// Duration is a time as text "10ms": a number and ns, us, ms, s, m or h.
type Duration time.Duration

// String returns the duration as Go writes it.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText returns the text form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText parses the text form.
func (d *Duration) UnmarshalText(b []byte) error {
	t, err := time.ParseDuration(string(b))
	if err != nil {
		return fault.Invalidf("%q is no duration: write 10ms", b)
	}
	*d = Duration(t)
	return nil
}

// Percent is a part of a hundred as text "1%".
type Percent float64

// String returns the text form.
func (p Percent) String() string { return strconv.FormatFloat(float64(p), 'f', -1, 64) + "%" }

// MarshalText returns the text form.
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText parses the text form.
func (p *Percent) UnmarshalText(b []byte) error {
	text, ok := strings.CutSuffix(string(b), "%")
	f, err := strconv.ParseFloat(text, 64)
	if !ok || err != nil || math.IsNaN(f) || f < 0 || f > 100 {
		return fault.Invalidf("%q is no part of a hundred: write 1%%", b)
	}
	*p = Percent(f)
	return nil
}

// Rate is a number of bits each second as text "10mbit", in bit, kbit, mbit, gbit or
// tbit, each a thousand of the one before.
type Rate uint64

var rateUnits = []struct {
	name string
	bits float64
}{{"tbit", 1e12}, {"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}}

// String returns the text form.
func (r Rate) String() string {
	for _, u := range rateUnits {
		if r != 0 && uint64(r)%uint64(u.bits) == 0 {
			return strconv.FormatUint(uint64(r)/uint64(u.bits), 10) + u.name
		}
	}
	return "0bit"
}

// MarshalText returns the text form.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText parses the text form, in letters of any case.
func (r *Rate) UnmarshalText(b []byte) error {
	for _, u := range rateUnits {
		text, ok := strings.CutSuffix(strings.ToLower(string(b)), u.name)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(text, 64)
		if bits := f * u.bits; err == nil && bits >= 0 && bits <= 1e15 && bits == math.Trunc(bits) {
			*r = Rate(bits)
			return nil
		}
		break
	}
	return fault.Invalidf("%q is no number of bits each second: write 10mbit", b)
}

// impairOf tells what a discipline of osl's does.
func impairOf(q *rtnl.Qdisc) *ImpairSpec {
	i := q.Impair
	part := func(p uint32) Percent { return Percent(plan.Percent(p)) }
	return &ImpairSpec{Delay: Duration(i.Delay), Jitter: Duration(i.Jitter), Loss: part(i.Loss), Duplicate: part(i.Duplicate),
		Reorder: part(i.Reorder), Corrupt: part(i.Corrupt), Rate: Rate(8 * i.Rate), Limit: int(i.Limit)}
}

func (s *ImpairSpec) wanted() *want.Impair {
	if s == nil {
		return nil
	}
	return &want.Impair{Delay: time.Duration(s.Delay), Jitter: time.Duration(s.Jitter), Loss: float64(s.Loss), Duplicate: float64(s.Duplicate),
		Reorder: float64(s.Reorder), Corrupt: float64(s.Corrupt), Rate: uint64(s.Rate), Limit: s.Limit}
}
