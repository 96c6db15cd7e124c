package netfile

import (
	"encoding"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/near"
)

// text decodes a type that has a text form.
func (d *decoder) text(n ast.Node, u encoding.TextUnmarshaler, t reflect.Type, path string) {
	form := textForms[t]
	if isMapping(n) && isDestination(path) && strings.Contains(path, ".interfaces") {
		d.fail(n, "expected %s, found a mapping; a route with more than a destination is one of the sandbox", form)
		return
	}
	s, ok := d.scalar(n, form)
	if !ok {
		return
	}
	if p, is := u.(*netip.Prefix); is && ofHosts().MatchString(path) {
		if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
			if ip.IsUnspecified() {
				d.fail(n, "%s without a length is that address alone: write %s/0 for all, or %s/%d", s, s, s, ip.BitLen())
				return
			}
			*p = netip.PrefixFrom(ip, ip.BitLen())
			return
		}
	}
	// netip takes empty text for the zero value.
	err := fmt.Errorf("it is empty")
	if s != "" {
		err = u.UnmarshalText([]byte(s))
	}
	if err != nil {
		hint := ""
		if isDestination(path) {
			hint = near.Hint(s, []string{Default})
		}
		d.fail(n, "%s%s", noText(s, t, err), hint)
	}
}

// ofHosts are the networks that may be a single address without a length, which ip and wg take
// too: of an interface's own address, or a subnet, the length is what is forgotten.
var ofHosts = pattern(`\.(routes\[\d+\](\.to)?|rules\[\d+\]\.(from|to)|allowed_ips\[\d+\])$`)

// noText says that a text is none of a type, and why.
func noText(s string, t reflect.Type, err error) string {
	if ip, err := netip.ParseAddr(s); err == nil && t == reflect.TypeFor[netip.Prefix]() && ip.Zone() == "" {
		usual := map[bool]int{true: 24, false: 64}[ip.Is4()]
		return fmt.Sprintf("%s lacks the length of its subnet: write %s/%d, or what it is, and /%d for none", s, s, usual, ip.BitLen())
	}
	if p, err := netip.ParsePrefix(s); err == nil && t == reflect.TypeFor[netip.Addr]() {
		return fmt.Sprintf("%q is not an address alone: write %s, without the length", s, p.Addr())
	}
	if t == reflect.TypeFor[netip.Prefix]() && (s == "all" || s == "any") {
		return fmt.Sprintf("%q is no network: leave it out, and it is for all", s)
	}
	why := reason(err)
	if strings.HasPrefix(why, strconv.Quote(s)) {
		return why // all of it, as osl's own types do
	}
	return fmt.Sprintf("%q is not %s: %s", s, textForms[t], why)
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

// whole returns a node that is a decimal number, else nil. YAML takes 01500 for 832, and 01800
// for text.
func (d *decoder) whole(n ast.Node) *ast.IntegerNode {
	i, ok := n.(*ast.IntegerNode)
	text := n.GetToken().Value
	unsigned := text
	if text != "" && strings.ContainsRune("+-", rune(text[0])) {
		unsigned = text[1:]
	}
	digits := strings.TrimLeft(unsigned, "0")
	switch {
	case ok && isDecimal(unsigned):
		return i
	case ok && digits != unsigned && isDecimal(digits):
		d.fail(n, "%s begins with a zero, by which YAML takes it for %v: write %s", text, i.Value, strings.Replace(text, unsigned, digits, 1))
	case ok:
		d.fail(n, "%s is no decimal number: write %v", text, i.Value)
	case isDecimal(unsigned) && !isQuoted(n):
		d.fail(n, "%s is out of range", text)
	case isDecimal(unsigned):
		d.fail(n, "expected a whole number, found text: write %s, without quotes", text)
	case isDecimal(digits):
		d.fail(n, "%s begins with a zero: write %s", text, strings.Replace(text, unsigned, digits, 1))
	default:
		hint := ""
		switch table := map[string]int{"main": 254, "local": 255}[text]; {
		case table != 0:
			hint = fmt.Sprintf("; the number of that table is %d", table)
		case text == "default":
			hint = "; that is 253 as a table, and 0 as a group"
		}
		d.fail(n, "expected a whole number, found %s%s", describe(n), hint)
	}
	return nil
}

func isQuoted(n ast.Node) bool {
	t := n.GetToken().Type
	return t == token.SingleQuoteType || t == token.DoubleQuoteType
}

func isDecimal(s string) bool {
	return s == "0" || s != "" && s[0] != '0' && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

func (d *decoder) integer(n ast.Node, v reflect.Value) {
	i := d.whole(n)
	if i == nil {
		return
	}
	var val int64
	switch x := i.Value.(type) {
	case int64:
		val = x
	case uint64:
		val = int64(min(x, 1<<62))
	}
	if v.OverflowInt(val) || val > math.MaxUint32 || val < math.MinInt32 { // the kernel has no others
		d.fail(n, "%s is out of range", i.Token.Value)
		return
	}
	v.SetInt(val)
}

// unsigned decodes a number of 32 bits, such as the kernel's of tables.
func (d *decoder) unsigned(n ast.Node, v reflect.Value) {
	i := d.whole(n)
	if i == nil {
		return
	}
	val, ok := i.Value.(uint64)
	if x, signed := i.Value.(int64); signed && x >= 0 {
		val, ok = uint64(x), true
	}
	if !ok || val > math.MaxUint32 {
		d.fail(n, "%s is out of range: it is from 0 to %d", i.Token.Value, uint32(math.MaxUint32))
		return
	}
	v.SetUint(val)
}
