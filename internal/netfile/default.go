package netfile

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/seed59451c2b/osl"
)

// Default is what stands for the destination of all, as for the ip command.
const Default = "default"

var destination = pattern(`\.routes\[\d+\](\.to)?$`)

func isDestination(path string) bool { return destination().MatchString(path) }

func (d *decoder) isDefault(n ast.Node) bool {
	s, ok := n.(*ast.StringNode)
	return ok && s.Value == Default
}

// Defaults returns the destinations that Default stands for on an interface with
// these addresses: that of each family, of IPv4 where there is none.
func Defaults(addrs []netip.Prefix) (list []netip.Prefix) {
	is6 := func(p netip.Prefix) bool { return p.Addr().Is6() }
	is4 := func(p netip.Prefix) bool { return p.Addr().Is4() }
	if slices.ContainsFunc(addrs, is4) || !slices.ContainsFunc(addrs, is6) {
		list = append(list, netip.PrefixFrom(netip.IPv4Unspecified(), 0))
	}
	if slices.ContainsFunc(addrs, is6) {
		list = append(list, netip.PrefixFrom(netip.IPv6Unspecified(), 0))
	}
	return list
}

// defaults puts in what "default" stands for, when all else of the structure is
// known: that of the next hop's family, or of an interface's addresses.
func (d *decoder) defaults(v reflect.Value, path string) {
	switch x := v.Addr().Interface().(type) {
	case *osl.RouteSpec:
		if !d.byFamily[path+".to"] {
			return
		}
		x.To = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		hop := x.Via
		if len(x.NextHops) > 0 {
			hop = x.NextHops[0].Via
		}
		if hop.Is6() && !x.Src.Is4() || x.Src.Is6() {
			x.To = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
	case *osl.InterfaceSpec:
		var list []netip.Prefix
		for i, p := range x.Routes {
			if d.byFamily[fmt.Sprintf("%s.routes[%d]", path, i)] {
				list = append(list, Defaults(x.Addresses)...)
			} else {
				list = append(list, p)
			}
		}
		x.Routes = list
		d.addOptions(x, path)
	}
}
