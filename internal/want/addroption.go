package want

import (
	"net/netip"
	"slices"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/linux"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
	"github.com/seed59451c2b/osl/internal/where"
)

// AddressOptions are what an address has beside itself: osl.AddressOptions.
type AddressOptions struct {
	Peer                netip.Addr
	Scope               string
	ValidLft            uint32
	PreferredLft        *uint32
	NoPrefixRoute, Home bool
}

// addAddressOptions gives addresses what is said of them.
func (s *Iface) addAddressOptions(f *plan.Iface) error {
	for p := range s.AddressOptions {
		if !slices.Contains(s.Addresses, p) && !slices.Contains(s.Aliases, p) {
			return where.In("address_options", p.String(), fault.Invalidf("there are options of the address %v, which the interface does not have", p))
		}
	}
	for i := range f.Addrs {
		a := &f.Addrs[i]
		if o, ok := s.AddressOptions[a.Prefix]; ok {
			if err := o.plan(a); err != nil {
				return where.In("addresses", a.Prefix.String(), err)
			}
		}
	}
	return s.oneScope(f)
}

// oneScope refuses addresses of one IPv4 subnet with several scopes, as the kernel does.
func (s *Iface) oneScope(f *plan.Iface) error {
	first := map[netip.Prefix]*plan.Addr{}
	for i := range f.Addrs {
		a := &f.Addrs[i]
		is := a.On(0)
		net := is.Subnet().Masked()
		other := first[net]
		switch {
		case !a.Prefix.Addr().Is4():
		case other == nil:
			first[net] = a
		case other.On(0).Scope != is.Scope:
			return where.In(map[bool]string{true: "addresses", false: "aliases"}[i < len(s.Addresses)], a.Prefix.String(),
				fault.Invalidf("the address %v is to have the scope %s, and %v, of the same subnet %v, %s: the kernel takes one for all of a subnet",
					a.Prefix, plan.ScopeName(is.Scope), other.Prefix, net, plan.ScopeName(other.On(0).Scope)))
		}
	}
	return nil
}

func (o AddressOptions) plan(a *plan.Addr) error {
	no := func(field, format string, args ...any) error {
		return where.In(field, "", fault.Invalidf("the address %v "+format, append([]any{a.Prefix}, args...)...))
	}
	ip := a.Prefix.Addr()
	switch {
	case o.Peer.IsValid() && (o.Peer.Is4() != ip.Is4() || o.Peer.Is4In6() || o.Peer.Zone() != "" || Unicast(netip.PrefixFrom(o.Peer, 0)) != nil):
		return no("peer", "has a peer that is none, %v", o.Peer)
	case o.Scope != "" && ip.Is6():
		return no("scope", "has a scope, which of IPv6 the kernel sees by the address itself")
	case o.Home && ip.Is4():
		return no("home", "is a home address of mobile IPv6, and is of IPv4")
	case o.PreferredLft != nil && *o.PreferredLft > o.ValidLft && o.ValidLft != 0:
		return no("preferred_lft", "is preferred for longer than it is valid, %d seconds", o.ValidLft)
	case o.PreferredLft != nil && *o.PreferredLft != 0 && *o.PreferredLft != rtnl.Forever && ip.Is4() && (o.ValidLft == 0 || o.ValidLft == rtnl.Forever):
		return no("preferred_lft", "is of IPv4 and there for good: the kernel keeps no preferred_lft of it but 0")
	}
	if o.Peer != ip {
		a.Peer = o.Peer
	}
	if o.Scope != "" {
		scope, ok := plan.ScopeOf(o.Scope)
		if !ok {
			return no("scope", "has no scope %q: there are global, site, link, host, nowhere, and numbers to 255", o.Scope)
		}
		a.Scope = &scope
	}
	if o.ValidLft != 0 || o.PreferredLft != nil {
		t := rtnl.Lifetime{Valid: rtnl.Forever, Preferred: rtnl.Forever}
		if o.ValidLft != 0 {
			t = rtnl.Lifetime{Valid: o.ValidLft, Preferred: o.ValidLft}
		}
		if o.PreferredLft != nil {
			t.Preferred = *o.PreferredLft
		}
		if t != (rtnl.Lifetime{Valid: rtnl.Forever, Preferred: rtnl.Forever}) {
			a.Lifetime = &t
		}
	}
	if o.NoPrefixRoute {
		a.Flags |= linux.IFA_F_NOPREFIXROUTE
	}
	if o.Home {
		a.Flags |= linux.IFA_F_HOMEADDRESS
	}
	return nil
}

// AddressOptionsOf says what an address of osl's has beside itself, if anything.
func AddressOptionsOf(h rtnl.Addr) (o AddressOptions, any bool) {
	a, any := plan.AddrOptions(h)
	if !any || !plan.IsOslsAddr(h) {
		return o, false
	}
	o = AddressOptions{Peer: a.Peer, NoPrefixRoute: a.Flags&linux.IFA_F_NOPREFIXROUTE != 0, Home: a.Flags&linux.IFA_F_HOMEADDRESS != 0}
	if a.Scope != nil {
		o.Scope = plan.ScopeName(*a.Scope)
	}
	if t := a.Lifetime; t != nil {
		if t.Valid != rtnl.Forever {
			o.ValidLft = t.Valid
		}
		if t.Preferred != t.Valid {
			o.PreferredLft = &t.Preferred
		}
	}
	return o, true
}
