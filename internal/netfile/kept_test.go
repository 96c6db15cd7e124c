package netfile

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// A network is held while it is built, with the places of its parts for errors that come
// then: what the parser made of the text goes before.
func TestWhatIsKeptOfAFile(t *testing.T) {
	var b strings.Builder
	b.WriteString("sandboxes:\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  - {name: s%d, interfaces: [{name: eth0, addresses: [10.%d.%d.1/24]}, {name: eth1, addresses: [10.%d.%d.2/24]}]}\n", i, i>>8, i&255, i>>8, i&255)
	}
	text := []byte(b.String())
	live := func() uint64 {
		runtime.GC()
		runtime.GC() // the first may have begun before the last allocation
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := live()
	f, err := Parse("ring.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	kept := live() - before
	read, err := readTree(text)
	if err != nil {
		t.Fatal(err)
	}
	tree := live() - before - kept
	t.Logf("%d bytes of text: %d are kept, and what the parser makes of it is %d", len(text), kept, tree)
	if kept > tree {
		t.Errorf("of %d bytes of text %d are kept", len(text), kept)
	}
	runtime.KeepAlive(read)
	runtime.KeepAlive(f)
}

func readTree(text []byte) (*source, error) {
	s := &source{page: &page{name: "ring.yaml"}}
	return s, s.parse(text)
}
