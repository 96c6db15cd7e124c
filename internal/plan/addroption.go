package plan

import (
	"fmt"
	"strings"

	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

// addrFlags are those that osl sets.
const addrFlags = linux.IFA_F_NOPREFIXROUTE | linux.IFA_F_HOMEADDRESS

// addrOptions are how the ip command says what an address has beside itself.
func addrOptions(a rtnl.Addr) string {
	var b strings.Builder
	if a.Scope != usualAddrScope(a) {
		b.WriteString(" scope " + ScopeName(a.Scope))
	}
	if t := a.Lifetime; t != nil {
		for _, x := range []struct {
			name string
			n    uint32
		}{{"valid_lft", t.Valid}, {"preferred_lft", t.Preferred}} {
			if x.n != rtnl.Forever {
				fmt.Fprintf(&b, " %s %d", x.name, x.n)
			}
		}
	}
	if a.Flags&linux.IFA_F_NOPREFIXROUTE != 0 {
		b.WriteString(" noprefixroute")
	}
	if a.Flags&linux.IFA_F_HOMEADDRESS != 0 {
		b.WriteString(" home")
	}
	return b.String()
}

// addrText is an address as the ip command takes it, with its peer.
func addrText(a rtnl.Addr) string {
	if a.Peer.IsValid() {
		return a.Prefix.Addr().String() + " peer " + a.Subnet().String()
	}
	return a.Prefix.String()
}

// usualAddrScope is the scope of an address that names none.
func usualAddrScope(a rtnl.Addr) uint8 {
	return Addr{Prefix: a.Prefix}.On(0).Scope
}

// sameAddr reports whether an address that is there is as it is wanted. Of its time a
// part may be over.
func sameAddr(h, w rtnl.Addr) bool {
	return h.Peer == w.Peer && h.Flags&addrFlags == w.Flags&addrFlags && (h.Prefix.Addr().Is6() || h.Scope == w.Scope) && sameLifetime(h.Lifetime, w.Lifetime)
}

func sameLifetime(h, w *rtnl.Lifetime) bool {
	if h == nil || w == nil {
		return h == w
	}
	within := func(h, w uint32) bool { return (h == rtnl.Forever) == (w == rtnl.Forever) && h <= w }
	return within(h.Valid, w.Valid) && within(h.Preferred, w.Preferred)
}

// changesInPlace reports whether the kernel can make of an address that is there what is
// wanted, and the other way round: of IPv4 it changes the lifetime alone. Of IPv6 it takes a
// peer from none that has one, and with another one the route to the subnet goes.
func changesInPlace(h, w rtnl.Addr) bool {
	if h.Prefix.Addr().Is6() {
		return h.Peer == w.Peer || h.Peer.IsValid() && w.Peer.IsValid() && h.Prefix.IsSingleIP()
	}
	return h.Peer == w.Peer && h.Flags&addrFlags == w.Flags&addrFlags && h.Scope == w.Scope
}

// AddrOptions returns what an address that is there has beside itself, as a wish.
func AddrOptions(h rtnl.Addr) (a Addr, any bool) {
	a = Addr{Peer: h.Peer, Lifetime: h.Lifetime, Flags: h.Flags & addrFlags}
	if h.Prefix.Addr().Is4() && h.Scope != usualAddrScope(h) {
		a.Scope = &h.Scope
	}
	return a, a != Addr{}
}
