//go:build linux

package osltest

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
)

// What TestEdits says of packets that are impaired, and of priorities in VLANs.

// impairLine is what becomes of packets, in a line.
func impairLine(i osl.ImpairSpec) string {
	if i == (osl.ImpairSpec{Rate: i.Rate}) {
		return fmt.Sprint("rate ", int(i.Rate/8))
	}
	return netemLine(float64(i.Delay)/1e9, float64(i.Jitter)/1e9, float64(i.Loss)/100, float64(i.Duplicate)/100, float64(i.Reorder)/100, float64(i.Corrupt)/100,
		float64(i.Rate/8), float64(cmp.Or(i.Limit, 1000)))
}

// netemLine rounds what the kernel has in its own parts.
func netemLine(of ...float64) string {
	for i := range of {
		of[i] = math.Round(of[i]*1e5) / 1e5
	}
	return fmt.Sprint("netem ", of)
}

// netemSays is the same as tc tells it.
func netemSays(t *testing.T, key, dev string) string {
	t.Helper()
	list := asked[[]struct {
		Options map[string]any
	}](t, key, "tc", "-json", "qdisc", "show", "dev", dev, "root")
	one := func(what, part string) float64 {
		of, _ := list[0].Options[what].(map[string]any)
		n, _ := of[part].(float64)
		return n
	}
	limit, _ := list[0].Options["limit"].(float64)
	return netemLine(one("delay", "delay"), one("delay", "jitter"), one("loss-random", "loss"), one("duplicate", "duplicate"), one("reorder", "reorder"),
		one("corrupt", "corrupt"), one("rate", "rate"), limit)
}

// qosText says which priorities become which others.
func qosText[P cmp.Ordered](m map[P]P) string {
	var list []string
	for _, from := range slices.Sorted(maps.Keys(m)) {
		list = append(list, fmt.Sprint(from, ":", m[from]))
	}
	return strings.Join(list, " ")
}
