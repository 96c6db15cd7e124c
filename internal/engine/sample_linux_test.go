package engine_test

import (
	"iter"
	"math/rand/v2"
	"testing"
	"time"
)

// sampleTime is what a test that takes a sample of operations spends on it. A
// quiet machine comes through all of them; a busy one takes those it gets to.
const sampleTime = time.Minute

// sampled yields the numbers below n: all in order, or in an order of chance
// until the time is up.
func sampled(t *testing.T, n int, all bool) iter.Seq[int] {
	return func(yield func(int) bool) {
		order := rand.Perm(n)
		for i, since := 0, time.Now(); i < n; i++ {
			at := i
			if !all {
				at = order[i]
			}
			if !all && time.Since(since) > sampleTime {
				t.Logf("%d of %d operations in %v", i, n, sampleTime)
				return
			}
			if !yield(at) {
				return
			}
		}
	}
}
