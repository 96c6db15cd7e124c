package plan

import (
	"slices"
	"testing"
)

// The indexes of one change follow each other, below the end of the range.
func TestIndexesFollow(t *testing.T) {
	var n numbers
	seen := map[int]bool{}
	for range 50000 {
		i := n.one()
		if seen[i] || i < firstIndex || i >= endIndex {
			t.Fatalf("%d is given twice, or out of range", i)
		}
		seen[i] = true
	}
	n.next = endIndex
	if i := n.one(); i < firstIndex || i >= endIndex {
		t.Errorf("after the last comes %d", i)
	}
}

// Those that are taken are passed over, also where much is.
func TestIndexesAreNotTaken(t *testing.T) {
	var dense, scattered []int
	for i := firstIndex; i < endIndex; i++ {
		if i < 9_000_000 || i > 9_030_000 {
			dense = append(dense, i)
		}
	}
	for i := firstIndex; i < endIndex; i += 800 {
		if i < 9_000_000 || i > 9_030_000 {
			scattered = append(scattered, i)
		}
	}
	for name, taken := range map[string][]int{"none": nil, "a large part": dense, "scattered": scattered} {
		for _, anew := range []bool{false, true} {
			var n numbers
			n.seek(20000, taken, anew)
			for range 20000 {
				i := n.one()
				if _, is := slices.BinarySearch(taken, i); is {
					t.Fatalf("%s: %d is taken", name, i)
				}
			}
		}
	}
	// One at a time goes on where it is.
	var n numbers
	n.seek(2, nil, false)
	first := n.one()
	n.seek(2, []int{first}, false)
	if i := n.one(); i != first+1 {
		t.Errorf("%d after %d", i, first)
	}
}

// Addresses are announced a second time where the other end is a port of a bridge
// that stood before, and only there.
func TestAnnouncedWhereUnheard(t *testing.T) {
	announced := func(want []Sandbox, have map[string]*State) (n int) {
		for _, op := range build(t, want, have) {
			if _, is := op.Do.(Announce); is {
				n++
			}
		}
		return n
	}
	want := lab()
	want[1].Ifaces[0].Peer.Master = "br0"
	if n := announced(want, nil); n != 0 {
		t.Errorf("%d announcements at a bridge that is made too", n)
	}
	have := state()
	have["/run/netns/sw"].Links = have["/run/netns/sw"].Links[:2] // without the port
	delete(have, "/run/netns/web")
	if n := announced(want, have); n != 1 {
		t.Errorf("%d announcements at a bridge that stood before", n)
	}
	want[1].Ifaces[0].Peer.Master, want[0].Ifaces[0].Master = "", ""
	if n := announced(want, have); n != 0 {
		t.Errorf("%d announcements where the other end is no port", n)
	}
}
