package netfile

import (
	"fmt"
	"net/netip"
	"reflect"

	"github.com/goccy/go-yaml/ast"

	"github.com/seed59451c2b/osl"
)

// hasOptions matches the paths of addresses with which their options can stand.
var hasOptions = pattern(`\.(addresses|aliases)\[\d+\]$`)

// addressItem is an address with its options, which are those of osl.AddressOptions.
type addressItem struct {
	Address       netip.Prefix `json:"address"`
	Peer          netip.Addr   `json:"peer,omitzero"`
	Scope         string       `json:"scope,omitempty"`
	ValidLft      uint32       `json:"valid_lft,omitempty"`
	PreferredLft  *uint32      `json:"preferred_lft,omitempty"`
	NoPrefixRoute bool         `json:"noprefixroute,omitempty"`
	Home          bool         `json:"home,omitempty"`
}

func isMapping(n ast.Node) bool {
	return n.Type() == ast.MappingType || n.Type() == ast.MappingValueType
}

// address decodes an address that stands with its options, and keeps these until all
// of the interface is known.
func (d *decoder) address(n ast.Node, p *netip.Prefix, path string) {
	var x addressItem
	d.value(n, nil, reflect.ValueOf(&x).Elem(), path)
	*p = x.Address
	d.options[path] = osl.AddressOptions{Peer: x.Peer, Scope: x.Scope, ValidLft: x.ValidLft, PreferredLft: x.PreferredLft,
		NoPrefixRoute: x.NoPrefixRoute, Home: x.Home}
}

// addOptions gives an interface the options that stand with its addresses.
func (d *decoder) addOptions(x *osl.InterfaceSpec, path string) {
	for field, addrs := range map[string][]netip.Prefix{"addresses": x.Addresses, "aliases": x.Aliases} {
		for i, p := range addrs {
			o, ok := d.options[fmt.Sprintf("%s.%s[%d]", path, field, i)]
			if !ok {
				continue
			}
			if x.AddressOptions == nil {
				x.AddressOptions = map[netip.Prefix]osl.AddressOptions{}
			}
			x.AddressOptions[p] = o
		}
	}
}
