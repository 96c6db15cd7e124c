//go:build linux

package osltest

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/types"
)

// untouched runs f and demands that neither the sandbox nor the host changed.
func untouched(t *testing.T, sb osl.Sandbox, what string, f func()) {
	t.Helper()
	host, within, info := snapshot(t, ""), snapshot(t, sb.Key()), infoText(sb.Info())
	ends(t, what, f)
	same(t, what+": the host", host, func() []string { return snapshot(t, "") })
	same(t, what+": the sandbox", within, func() []string { return snapshot(t, sb.Key()) })
	if got := infoText(sb.Info()); got != info {
		t.Errorf("%s: Info was\n%s\nand is\n%s", what, info, got)
	}
}

func TestBadInterfaceNames(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src, _ := w.veth()
	long := strings.Repeat("x", 16)
	for what, x := range map[string]struct {
		src, prefix string
		want        error
		opts        []osl.IfaceOption
	}{
		"a source of 16 bytes":           {src: long, prefix: "eth", want: osl.ErrInvalid},
		"a source with a slash":          {src: "a/b", prefix: "eth", want: osl.ErrInvalid},
		"a source with a NUL":            {src: "a\x00b", prefix: "eth", want: osl.ErrInvalid},
		"an empty source":                {src: "", prefix: "eth", want: osl.ErrInvalid},
		"a missing device":               {src: "nosuchdevice", prefix: "eth", want: osl.ErrNotFound},
		"a prefix of 16 bytes":           {src: src, prefix: long, want: osl.ErrInvalid},
		"a prefix of 15 and a number":    {src: src, prefix: long[:15], want: osl.ErrInvalid},
		"a prefix with a slash":          {src: src, prefix: "a/b", want: osl.ErrInvalid},
		"a prefix with a NUL":            {src: src, prefix: "a\x00b", want: osl.ErrInvalid},
		"a prefix with a colon":          {src: src, prefix: "a:b", want: osl.ErrInvalid},
		"a prefix with a space":          {src: src, prefix: "a b", want: osl.ErrInvalid},
		"an exact name of 16 bytes":      {src: src, prefix: long, want: osl.ErrInvalid, opts: []osl.IfaceOption{osl.WithName()}},
		"an exact name of one dot":       {src: src, prefix: ".", want: osl.ErrInvalid, opts: []osl.IfaceOption{osl.WithName()}},
		"an exact name of two dots":      {src: src, prefix: "..", want: osl.ErrInvalid, opts: []osl.IfaceOption{osl.WithName()}},
		"an empty exact name":            {src: src, prefix: "", want: osl.ErrInvalid, opts: []osl.IfaceOption{osl.WithName()}},
		"a pattern as exact name":        {src: src, prefix: "eth%d", want: osl.ErrInvalid, opts: []osl.IfaceOption{osl.WithName()}},
		"a missing device inside":        {src: "nosuchdevice", prefix: "eth", want: osl.ErrNotFound, opts: []osl.IfaceOption{osl.WithLinkInside()}},
		"a bridge with a name too long":  {src: long, prefix: "br", want: osl.ErrInvalid, opts: []osl.IfaceOption{sb.InterfaceOptions().Bridge(true)}},
		"a master with a name too long":  {src: src, prefix: "eth", want: nil, opts: []osl.IfaceOption{sb.InterfaceOptions().Master(long)}},
		"a master with a slash and NUL":  {src: src, prefix: "eth", want: nil, opts: []osl.IfaceOption{sb.InterfaceOptions().Master("a/\x00b")}},
		"a setting outside of its table": {src: src, prefix: "eth", want: nil, opts: []osl.IfaceOption{osl.WithSysctls(map[string]string{"ipv4/../../all/rp_filter": "2"})}},
	} {
		untouched(t, sb, what, func() {
			err := sb.AddInterface(x.src, x.prefix, x.opts...)
			refused(t, what, err, x.want, sb.Key())
			// A NUL may be shown quoted, so only what can be read is looked for.
			if err != nil && !strings.ContainsAny(x.src, "\x00") && !strings.Contains(err.Error(), x.src) {
				t.Errorf("%s: %q is not mentioned in: %v", what, x.src, err)
			}
			if err != nil && strings.Contains(err.Error(), "\x00") {
				t.Errorf("%s: a NUL in %q", what, err)
			}
		})
	}
	// The longest names that do fit.
	if dst := w.add(sb, src, long[:14]); dst != long[:14]+"0" {
		t.Errorf("14 bytes and a number became %q", dst)
	}
	must(t, iface(t, sb, src).Remove())
	if dst := w.add(sb, src, long[:15], osl.WithName()); dst != long[:15] {
		t.Errorf("15 bytes became %q", dst)
	}
}

func TestBadInterfaceOptions(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	other, _, _ := w.eth(sb, "10.81.0.2/24")
	src, _ := w.veth()
	o := sb.InterfaceOptions()
	for what, x := range map[string]struct {
		opt  osl.IfaceOption
		want error
	}{
		"an empty address":              {o.Address(&net.IPNet{}), osl.ErrInvalid},
		"an address without a mask":     {o.Address(&net.IPNet{IP: ip("10.82.0.2")}), osl.ErrInvalid},
		"a mask with holes":             {o.Address(&net.IPNet{IP: ip("10.82.0.2"), Mask: net.IPMask{255, 0, 255, 0}}), osl.ErrInvalid},
		"an address of five bytes":      {o.Address(&net.IPNet{IP: net.IP{1, 2, 3, 4, 5}, Mask: net.CIDRMask(24, 32)}), osl.ErrInvalid},
		"IPv6 as IPv4 address":          {o.Address(ipnet("fd82::2/64")), osl.ErrInvalid},
		"IPv4 as IPv6 address":          {o.AddressIPv6(ipnet("10.82.0.2/24")), osl.ErrInvalid},
		"an empty IPv6 address":         {o.AddressIPv6(&net.IPNet{}), osl.ErrInvalid},
		"the unspecified address":       {o.Address(ipnet("0.0.0.0/0")), osl.ErrInvalid},
		"a multicast address":           {o.AddressIPv6(ipnet("ff02::1/64")), osl.ErrInvalid},
		"a nil among the link-locals":   {o.LinkLocalAddresses([]*net.IPNet{nil}), osl.ErrInvalid},
		"no link-local address":         {o.LinkLocalAddresses([]*net.IPNet{ipnet("10.82.0.2/24")}), osl.ErrInvalid},
		"a nil among the routes":        {o.Routes([]*net.IPNet{nil}), osl.ErrInvalid},
		"an empty one among the routes": {o.Routes([]*net.IPNet{{}}), osl.ErrInvalid},
		"a MAC of five bytes":           {o.MacAddress(net.HardwareAddr{2, 0, 0, 0, 1}), osl.ErrInvalid},
		"a MAC of 20 bytes":             {o.MacAddress(make(net.HardwareAddr, 20)), osl.ErrInvalid},
		"a negative MTU":                {osl.WithMTU(-1), osl.ErrInvalid},
		"a negative queue":              {osl.WithTxQueueLen(-1), osl.ErrInvalid},
		"an invalid prefix":             {osl.WithAddresses(netip.Prefix{}), osl.ErrInvalid},
		"a master that is not there":    {o.Master("nothing"), osl.ErrNotFound},
		"a master that is no bridge":    {o.Master(other), osl.ErrInvalid},
		"itself as master":              {o.Master(src), nil},
		"a setting without a name":      {osl.WithSysctls(map[string]string{"": "1"}), osl.ErrInvalid},
		"a taken subnet":                {o.Address(ipnet("10.81.0.3/24")), osl.ErrAddressConflict},
	} {
		untouched(t, sb, what, func() {
			refused(t, what, sb.AddInterface(src, "eth", x.opt), x.want, src, sb.Key())
		})
	}
	ends(t, "a nil option", func() { _ = sb.AddInterface("nosuchdevice", "eth", nil) })
}

func TestBadAddressesElsewhere(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src, dst, _ := w.eth(sb, "10.83.0.2/24", "fd83::2/64")
	link := sb.NeighborOptions().LinkName(src)
	m := mac("02:00:00:00:83:01")
	five := net.IP{1, 2, 3, 4, 5}
	for what, x := range map[string]struct {
		f     func() error
		want  error
		words []string
	}{
		"v4 as v6 gateway":          {func() error { return sb.SetGatewayIPv6(ip("10.83.0.1")) }, osl.ErrInvalid, nil},
		"v6 as v4 gateway":          {func() error { return sb.SetGateway(ip("fd83::1")) }, osl.ErrInvalid, nil},
		"gateway of five bytes":     {func() error { return sb.SetGateway(five) }, osl.ErrInvalid, nil},
		"gateway of five bytes, v6": {func() error { return sb.SetGatewayIPv6(five) }, osl.ErrInvalid, nil},
		"multicast gateway":         {func() error { return sb.SetGateway(ip("224.0.0.1")) }, nil, nil},
		"a nil alias":               {func() error { return sb.AddAliasIP(dst, nil) }, osl.ErrInvalid, []string{dst}},
		"an empty alias":            {func() error { return sb.AddAliasIP(dst, &net.IPNet{}) }, osl.ErrInvalid, []string{dst}},
		"an alias without a mask":   {func() error { return sb.AddAliasIP(dst, &net.IPNet{IP: ip("10.84.0.1")}) }, osl.ErrInvalid, []string{dst}},
		"removing a nil alias":      {func() error { return sb.RemoveAliasIP(dst, nil) }, osl.ErrInvalid, []string{dst}},
		"alias of no interface":     {func() error { return sb.AddAliasIP("nothing", ipnet("10.84.0.1/32")) }, osl.ErrNotFound, []string{"nothing"}},
		"alias of a long name":      {func() error { return sb.AddAliasIP(strings.Repeat("y", 16), ipnet("10.84.0.1/32")) }, nil, nil},
		"ARP of no interface":       {func() error { return sb.DisableARPForVIP("nothing") }, osl.ErrNotFound, []string{"nothing"}},
		"ARP of a path":             {func() error { return sb.DisableARPForVIP("../all") }, nil, nil},
		"ARP of the empty name":     {func() error { return sb.DisableARPForVIP("") }, nil, nil},
		"a nil route":               {func() error { return sb.AddStaticRoute(nil) }, osl.ErrInvalid, nil},
		"an empty route":            {func() error { return sb.AddStaticRoute(&types.StaticRoute{}) }, osl.ErrInvalid, nil},
		"a route without next hop":  {func() error { return sb.AddStaticRoute(route("10.85.0.0/16", types.NEXTHOP, "")) }, osl.ErrInvalid, nil},
		"a route of two families":   {func() error { return sb.AddStaticRoute(route("10.85.0.0/16", types.NEXTHOP, "fd83::9")) }, osl.ErrInvalid, nil},
		"a route of no known type":  {func() error { return sb.AddStaticRoute(route("10.85.0.0/16", 7, "10.83.0.9")) }, osl.ErrInvalid, nil},
		"a route without a mask": {func() error {
			return sb.AddStaticRoute(&types.StaticRoute{Destination: &net.IPNet{IP: ip("10.85.0.0")}, NextHop: ip("10.83.0.9")})
		}, osl.ErrInvalid, nil},
		"a nil neighbor":           {func() error { return sb.AddNeighbor(nil, m, false, link) }, osl.ErrInvalid, nil},
		"a neighbor without a MAC": {func() error { return sb.AddNeighbor(ip("10.83.0.9"), nil, false, link) }, osl.ErrInvalid, nil},
		"a MAC of five bytes":      {func() error { return sb.AddNeighbor(ip("10.83.0.9"), m[:5], false, link) }, osl.ErrInvalid, nil},
		"a neighbor of five bytes": {func() error { return sb.AddNeighbor(five, m, false, link) }, osl.ErrInvalid, nil},
		"a family of no neighbor":  {func() error { return sb.AddNeighbor(ip("10.83.0.9"), m, false, link, sb.NeighborOptions().Family(99)) }, osl.ErrInvalid, nil},
		"FDB on what is no vxlan": {func() error {
			return sb.AddNeighbor(ip("192.0.2.9"), m, false, link, sb.NeighborOptions().Family(unix.AF_BRIDGE))
		}, nil, nil},
		"InvokeFunc of nil": {func() error { return sb.InvokeFunc(nil) }, osl.ErrInvalid, nil},
	} {
		untouched(t, sb, what, func() { refused(t, what, x.f(), x.want, append(x.words, sb.Key())...) })
	}
	untouched(t, sb, "what has no error to give, or need not", func() {
		_ = sb.RemoveStaticRoute(nil)
		_ = sb.RemoveStaticRoute(&types.StaticRoute{})
		_ = sb.RemoveStaticRoute(route("10.85.0.0/16", 7, ""))
		_ = sb.RemoveAliasIP(dst, &net.IPNet{})
		_ = sb.RemoveAliasIP("nothing", ipnet("10.84.0.1/32"))
		_ = sb.DeleteNeighbor(nil, nil, true)
		_ = sb.DeleteNeighbor(five, m[:5], true)
		_ = sb.AddNeighbor(ip("10.83.0.9"), nil, false, nil)
		sb.ApplyOSTweaks([]osl.SandboxType{-1, 99})
		_ = sb.Restore(map[string][]osl.IfaceOption{src + "+eth": {nil}}, nil, nil, nil)
		_ = sb.Restore(nil, []*types.StaticRoute{nil, {}}, five, five)
	})
	for _, id := range []string{"", "-", "--------------------", "/", "../..", "a/b", "\x00", strings.Repeat("é", 9), "%d", " "} {
		ends(t, "GenerateKey", func() { _ = osl.GenerateKey(id) })
	}
}
