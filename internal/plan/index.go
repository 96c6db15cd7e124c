package plan

import (
	"math/rand/v2"
	"slices"
	"sync"
)

// Osl's indexes lie far from those that the kernel gives out. Go's net package
// takes the number of a zone, "fe80::1%1234567", only below 2^24-1.
const (
	firstIndex = 1 << 20
	endIndex   = 1<<24 - 1
)

// indexes gives out the numbers of new links: those that follow a random one, so
// that nothing needs to be read for them, a number hardly ever comes back, and the
// many links of one change do not meet each other. Where one is taken all the
// same, the kernel says so, and the plan is made again.
var indexes numbers

type numbers struct {
	mu   sync.Mutex
	next int // zero before the first
}

func newIndex() int { return indexes.one() }

// IsChosen reports whether an index is one of those that osl gives out.
func IsChosen(index int) bool { return index >= firstIndex && index < endIndex }

func (n *numbers) one() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next < firstIndex || n.next >= endIndex {
		n.next = firstIndex + rand.IntN(endIndex-firstIndex)
	}
	n.next++
	return n.next - 1
}

// Seek makes sure that the next count indexes are none of the taken; with anew they
// begin elsewhere in any case. It sorts taken.
func Seek(count int, taken []int, anew bool) { indexes.seek(count, taken, anew) }

func (n *numbers) seek(count int, taken []int, anew bool) {
	slices.Sort(taken)
	n.mu.Lock()
	defer n.mu.Unlock()
	if !anew && free(n.next, count, taken) {
		return
	}
	const tries = 64
	for range tries {
		n.next = firstIndex + rand.IntN(max(endIndex-firstIndex-count, 1))
		if free(n.next, count, taken) {
			return
		}
	}
	n.next = widest(taken)
}

// free reports whether a run of numbers is within the range, and none of the taken,
// which are sorted.
func free(from, count int, taken []int) bool {
	if from < firstIndex || from+count > endIndex {
		return false
	}
	i, found := slices.BinarySearch(taken, from)
	return !found && (i == len(taken) || taken[i] >= from+count)
}

// widest returns where the largest gap between the taken begins.
func widest(taken []int) (from int) {
	from, last, size := firstIndex, firstIndex-1, 0
	for i := 0; i <= len(taken); i++ {
		next := endIndex
		if i < len(taken) {
			next = min(taken[i], endIndex)
		}
		if next-last-1 > size {
			from, size = last+1, next-last-1
		}
		last = max(last, next)
	}
	return from
}
