//go:build linux

package engine

import (
	"cmp"
	"runtime"
	"sync"
	"sync/atomic"
)

// inParallel calls f for each i below n, as many at a time as there are
// processors, and returns an error. After one it begins no more.
func inParallel(n int, f func(i int) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, min(n, runtime.GOMAXPROCS(0)))
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
