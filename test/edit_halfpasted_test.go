//go:build linux

package osltest

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed59451c2b/osl"
)

// Who pastes some of the commands that Diff prints of a new network, and stops in the middle,
// has what osl takes over: Apply does the rest, Diff is empty then, and Down leaves nothing.
func TestHalfPastedEdits(t *testing.T) {
	begin(t)
	has := pasteable(t)
	needPasted(t)
	keys := keyFiles(t)
	anyInput(t, 12, func(r *rapid.T) {
		d := drawer{T: r, kinds: has.kinds, rates: has.rates}
		first := everywhere(t)
		defer d.takesBack(t, first, everywhere)
		said := d.network()
		n := withKeyFiles(said, keys)
		would, err := osl.Diff(t.Context(), n)
		if err != nil {
			r.Fatalf("diff: %v", err)
		}
		pasted := rapid.IntRange(0, len(would)).Draw(r, "pasted")
		for pasted > 0 && strings.HasPrefix(would[pasted-1].Command, "ip netns add ") {
			pasted++ // the next one says that it is osl's: without that it is the one who pastes'
		}
		some := would[:pasted]
		if err := paste(some); err != nil {
			r.Fatal(err)
		}
		if _, err := osl.Apply(t.Context(), n); err != nil {
			r.Fatalf("apply after some of the commands: %v\n%s\nthe others are\n%s", err, some, would[len(some):])
		}
		if left, err := osl.Diff(t.Context(), n); err != nil || len(left) > 0 {
			r.Fatalf("diff after that: %v\n%s\npasted were\n%s", err, left, some)
		}
		d.stands(t, said)
	})
}
