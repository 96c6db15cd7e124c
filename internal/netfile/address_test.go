package netfile

import (
	"net/netip"
	"testing"

	"github.com/seed59451c2b/osl"
)

// Options of an address stand with it or below address_options, and mean the same.
func TestAddressOptions(t *testing.T) {
	p := netip.MustParsePrefix("10.0.0.1/32")
	for _, text := range []string{
		"sandboxes: [{name: a, interfaces: [{name: e0, addresses: [10.1.0.1/24, {address: 10.0.0.1/32, peer: 10.0.0.2, valid_lft: 60, preferred_lft: 0, noprefixroute: true}]}]}]",
		"sandboxes: [{name: a, interfaces: [{name: e0, addresses: [10.1.0.1/24, 10.0.0.1/32], address_options: {10.0.0.1/32: {peer: 10.0.0.2, valid_lft: 60, preferred_lft: 0, noprefixroute: true}}}]}]",
	} {
		f, err := Parse("lab.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		i := f.Sandboxes[0].Interfaces[0]
		o := i.AddressOptions[p]
		if len(i.Addresses) != 2 || i.Addresses[1] != p || len(i.AddressOptions) != 1 || o.PreferredLft == nil || *o.PreferredLft != 0 {
			t.Fatalf("%s\nis %+v", text, i)
		}
		if o.PreferredLft = nil; o != (osl.AddressOptions{Peer: netip.MustParseAddr("10.0.0.2"), ValidLft: 60, NoPrefixRoute: true}) {
			t.Errorf("%s\nis %+v", text, o)
		}
	}
}
