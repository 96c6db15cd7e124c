package netfile

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl"
)

// address reads what stands behind "ip addr add".
func (b *clabBox) address(w []string) bool {
	var p netip.Prefix
	var o osl.AddressOptions
	dev, label := "", ""
	seconds := func(text string) (n uint32, ok bool) {
		if text == "forever" {
			return 0, true
		}
		all, err := strconv.ParseUint(strings.TrimSuffix(text, "sec"), 10, 32)
		return uint32(all), err == nil
	}
	if !options(w, func(name string, next func() string) (ok bool) {
		switch name = long(name, "broadcast", "valid_lft", "preferred_lft"); name {
		case "dev":
			dev = next()
		case "broadcast", "brd":
			next()
		case "label":
			label = "the label " + next() + " of an address"
		case "nodad":
		case "noprefixroute":
			o.NoPrefixRoute = true
		case "home":
			o.Home = true
		case "scope":
			if o.Scope = next(); o.Scope == "global" {
				o.Scope = ""
			}
		case "valid_lft":
			o.ValidLft, ok = seconds(next())
			return ok
		case "preferred_lft":
			text := next()
			n, ok := seconds(text)
			if text != "forever" {
				o.PreferredLft = &n
			}
			return ok
		case "peer", "remote":
			far, ok := prefix(next())
			if o.Peer = far.Addr(); ok && p.IsValid() { // the length is that of the peer's network
				p = netip.PrefixFrom(p.Addr(), far.Bits())
			}
			return ok && p.IsValid()
		case "local":
			name = next()
			fallthrough
		default:
			if p.IsValid() {
				return false
			}
			p, ok = prefix(name)
			return ok
		}
		return true
	}) || !p.IsValid() || dev == "" {
		return false
	}
	if p.Addr().Is6() {
		o.Scope = "" // the kernel's affair
	}
	if b.unmanaged(dev) {
		return true
	}
	f := b.known(dev)
	if f != nil && label != "" {
		b.d.note(b.line, label, notKnown)
	}
	if f == nil || p.Addr().IsLinkLocalUnicast() && p.Addr().Is6() && slices.Contains(f.Addresses, p) {
		return f != nil
	}
	if !slices.Contains(f.Addresses, p) && !(dev == "lo" && p.Addr().IsLoopback()) {
		b.d.at(fmt.Sprintf("%s.addresses[%d]", b.pathOf(dev), len(f.Addresses)), b.line)
		f.Addresses = append(f.Addresses, p)
	}
	if o != (osl.AddressOptions{}) && slices.Contains(f.Addresses, p) {
		if f.AddressOptions == nil {
			f.AddressOptions = map[netip.Prefix]osl.AddressOptions{}
		}
		f.AddressOptions[p] = o
	}
	return true
}
