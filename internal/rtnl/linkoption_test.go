package rtnl

import "testing"

// Each setting of a link is read as it is told.
func TestLinkOptionsAreRead(t *testing.T) {
	for at, x := range LinkOptions {
		var o Options
		if o.Set(at, 1); x.size == 0 { // a flag, or one of its IPv6, of which more is told
			continue
		}
		if l := ParseLink(SetLink(LinkSet{Index: 1, Options: o}).Data); !l.Options.Is(at, 1) {
			t.Errorf("%s is not read", x.Name)
		}
	}
}
