//go:build linux

package main

import (
	"math"
	"strings"
	"testing"
)

func TestSum(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for _, c := range []struct {
		name    string
		samples []float64
		want    stat
	}{
		{"none", nil, stat{}},
		{"one", []float64{7}, stat{N: 1, Median: 7, P95: 7, Min: 7, Max: 7}},
		{"two", []float64{4, 2}, stat{N: 2, Median: 3, P95: 4, Min: 2, Max: 4}},
		{"three", []float64{9, 1, 2}, stat{N: 3, Median: 2, P95: 9, Min: 1, Max: 9}},
		{"twenty", hundred[80:], stat{N: 20, Median: 10.5, P95: 19, Min: 1, Max: 20}},
		{"hundred", hundred, stat{N: 100, Median: 50.5, P95: 95, Min: 1, Max: 100}},
	} {
		if got := sum(c.samples); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	if hundred[0] != 100 {
		t.Error("sum sorts the caller's samples")
	}
}

func TestRatio(t *testing.T) {
	if r := ratio(30, 10, false); r != 3 {
		t.Errorf("three times as long: %v", r)
	}
	if r := ratio(200, 600, true); r != 3 {
		t.Errorf("a third of the rate: %v", r)
	}
	if r := ratio(1, 0, false); !math.IsNaN(r) {
		t.Errorf("of nothing: %v", r)
	}
}

func TestCountedIn(t *testing.T) {
	for line, want := range map[string]int{
		"    calls    errors syscall":          0,
		"--------- --------- ----------------": 0,
		"       12           sendmsg":          12,
		"       12         5 openat":           12,
		"     8508      8500 write":            8,
		"      100           futex":            0,
		"     4643       100 total":            0,
		"":                                     0,
	} {
		if got := countedIn(strings.Fields(line)); got != want {
			t.Errorf("%q: %d, want %d", line, got, want)
		}
	}
}

func TestTarget(t *testing.T) {
	at := func(v float64) stat { return stat{N: 1, Median: v} }
	for _, c := range []struct {
		name       string
		t          target
		osl, floor stat
		rate       bool
		met, known bool
	}{
		{"no target", target{}, at(1), at(1), false, false, false},
		{"not measured", target{Ratio: 1.1}, stat{}, at(1), false, false, false},
		{"no floor", target{Ratio: 1.1}, at(1), stat{}, false, false, false},
		{"within", target{Ratio: 1.1}, at(110), at(100), false, true, true},
		{"beyond", target{Ratio: 1.1}, at(111), at(100), false, false, true},
		{"absolute", target{Abs: 25}, at(25), stat{}, false, true, true},
		{"absolute, beyond", target{Abs: 25}, at(26), stat{}, false, false, true},
		{"a slower machine", target{Abs: 25, Ratio: 1.8}, at(50), at(30), false, true, true},
		{"rate", target{Abs: 500, Ratio: 1.2}, at(510), at(900), true, true, true},
		{"rate of a slower machine", target{Abs: 500, Ratio: 1.2}, at(100), at(119), true, true, true},
		{"rate, beyond", target{Abs: 500, Ratio: 1.2}, at(100), at(121), true, false, true},
	} {
		if met, known := c.t.met(c.osl, c.floor, c.rate); met != c.met || known != c.known {
			t.Errorf("%s: met %v, known %v; want %v, %v", c.name, met, known, c.met, c.known)
		}
	}
}
