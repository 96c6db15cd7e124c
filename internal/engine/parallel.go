//go:build linux

package engine

import (
	"cmp"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/seed59451c2b/osl/internal/netns"
)

// inParallel calls f for each i below n, as many at a time as there are
// processors, and returns an error. After one it begins no more.
//
// It runs them on other threads, so the caller's is asked first whose namespace is the
// host's; who needs that is told where it can not be had.
func inParallel(n int, f func(i int) error) error { return atOnce(runtime.GOMAXPROCS(0), n, f) }

// atOnce does so for as many at a time as it is told.
func atOnce(many, n int, f func(i int) error) error {
	_, _ = netns.Home()
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, min(n, many))
	for w := range errs {
		wg.Go(func() {
			for errs[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				errs[w] = f(i)
			}
			next.Store(int64(n))
		})
	}
	wg.Wait()
	return cmp.Or(errs...)
}
