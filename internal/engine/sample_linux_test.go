package engine_test

import (
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/seed59451c2b/osl/internal/testnet"
)

// sampled yields the numbers below n: all in order, or in an order of chance
// until a minute is over.
func sampled(t *testing.T, n int, all bool) iter.Seq[int] {
	order := rand.Perm(n)
	if all {
		slices.Sort(order)
		return slices.Values(order)
	}
	return func(yield func(int) bool) {
		for i := range testnet.Rounds(t, n, time.Minute) {
			if !yield(order[i]) {
				return
			}
		}
	}
}
