package main

import (
	"fmt"
	"math"
	"slices"
)

// stat sums up the samples of one contender in one row: nanoseconds, or what
// the unit of the row is.
type stat struct {
	N      int     `json:"n"`
	Median float64 `json:"median"`
	P95    float64 `json:"p95"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	// Calls are the system calls of one operation, where they were counted.
	Calls float64 `json:"system_calls,omitempty"`
}

// sum sums samples up. The median of an even number is the mean of the two in
// the middle; the 95th percentile is the smallest sample that at least 95 of
// 100 do not exceed.
func sum(samples []float64) stat {
	if len(samples) == 0 {
		return stat{}
	}
	s := slices.Sorted(slices.Values(samples))
	n := len(s)
	return stat{N: n, Median: (s[(n-1)/2] + s[n/2]) / 2, P95: s[int(math.Ceil(0.95*float64(n)))-1], Min: s[0], Max: s[n-1]}
}

// ratio is how many times as expensive a is as b. Of a rate, where more is
// better, it is the inverse.
func ratio(a, b float64, rate bool) float64 {
	if rate {
		a, b = b, a
	}
	if b == 0 {
		return math.NaN()
	}
	return a / b
}

// target is what osl must reach in a row: a multiple of the floor, or an
// absolute value, in the unit of the row. Where both are set, the absolute one
// is of another machine, and the multiple is what it was of that machine's
// floor; one of them is enough.
type target struct {
	Text  string  `json:"text"`
	Ratio float64 `json:"ratio,omitempty"`
	Abs   float64 `json:"absolute,omitempty"`
}

// text says what is met: where the absolute value is of another machine, also the
// multiple.
func (t target) text() string {
	if t.Abs != 0 && t.Ratio != 0 {
		return fmt.Sprintf("%s or %g floor", t.Text, t.Ratio)
	}
	return t.Text
}

// met reports whether osl is at the target. known is false without a target
// or without the figures for it.
func (t target) met(osl, floor stat, rate bool) (met, known bool) {
	if osl.N == 0 || t.Ratio == 0 && t.Abs == 0 {
		return false, false
	}
	if t.Abs != 0 {
		known = true
		met = osl.Median <= t.Abs
		if rate {
			met = osl.Median >= t.Abs
		}
	}
	if t.Ratio != 0 && floor.N > 0 {
		known = true
		met = met || ratio(osl.Median, floor.Median, rate) <= t.Ratio
	}
	return met, known
}
