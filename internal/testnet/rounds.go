package testnet

import (
	"iter"
	"testing"
	"time"
)

// Rounds yields the numbers below n, but none once a time is over, with -short a quarter
// of it. A quiet machine comes through all of them; a busy one takes those it gets to, at
// least one.
func Rounds(t testing.TB, n int, limit time.Duration) iter.Seq[int] {
	if testing.Short() {
		limit /= 4
	}
	return func(yield func(int) bool) {
		for i, since := 0, time.Now(); i < n; i++ {
			if i > 0 && time.Since(since) > limit {
				t.Logf("%d of %d in %v", i, n, limit)
				return
			}
			if !yield(i) {
				return
			}
		}
	}
}
