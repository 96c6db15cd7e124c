package netfile

import (
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/seed59451c2b/osl"
)

// text decodes a type that has a text form.
func (d *decoder) text(n ast.Node, u encoding.TextUnmarshaler, t reflect.Type) {
	form := textForms[t]
	s, ok := d.scalar(n, form)
	if !ok {
		return
	}
	// netip takes empty text for the zero value.
	err := fmt.Errorf("it is empty")
	if s != "" {
		err = u.UnmarshalText([]byte(s))
	}
	if err != nil {
		d.fail(n, "%q is not %s: %s", s, form, reason(err))
	}
}

var textForms = map[reflect.Type]string{
	reflect.TypeFor[netip.Addr]():     "an address such as 10.10.0.1 or fd10::1",
	reflect.TypeFor[netip.Prefix]():   "an address with a prefix length such as 10.10.0.2/24 or fd10::2/64",
	reflect.TypeFor[netip.AddrPort](): "an address and port such as 10.10.0.2:80 or [fd10::2]:80",
	reflect.TypeFor[osl.Duration]():   "a duration such as 10ms",
	reflect.TypeFor[osl.Percent]():    "a part of a hundred such as 1%",
	reflect.TypeFor[osl.Rate]():       "a number of bits each second such as 10mbit",
	reflect.TypeFor[osl.MAC]():        "a hardware address such as 02:00:00:00:00:01",
	reflect.TypeFor[osl.VLANRange]():  "a VLAN such as 20, 30-39 or \"40 untagged\"",
	reflect.TypeFor[osl.PublicKey]():  "a public key such as wg pubkey writes",
	reflect.TypeFor[osl.Endpoint]():   "an end of a link such as web/eth0 or host/eth0",
}

// reason is the last, most telling part of an error of netip or of osl.
func reason(err error) string {
	s := err.Error()
	if i := strings.LastIndex(s, "): "); i >= 0 {
		return s[i+3:]
	}
	return strings.TrimPrefix(s, osl.ErrInvalid.Error()+": ")
}

// scalar returns the text of a scalar as it stands in the file: a name may be
// 42, and a setting 1, without quotes.
func (d *decoder) scalar(n ast.Node, want string) (string, bool) {
	switch x := n.(type) {
	case *ast.StringNode:
		return x.Value, true
	case *ast.LiteralNode:
		return x.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	d.fail(n, "expected %s, found %s", want, describe(n))
	return "", false
}
