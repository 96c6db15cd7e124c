package rtnl

import "github.com/seed59451c2b/osl/internal/linux"

// The settings of any link that osl knows beside the plain ones, as places in
// LinkOptions.
const (
	LinkGroup = iota
	LinkGSOMaxSize
	LinkGSOMaxSegs
	LinkGROMaxSize
	LinkPromisc
	LinkAllMulticast
	LinkARP
	LinkAddrGenMode    // IN6_ADDR_GEN_MODE_* of linux/if_link.h
	LinkGSOIPv4MaxSize // since Linux 6.3, as the one after it
	LinkGROIPv4MaxSize
)

// LinkOptions are what is known of these: IFLA_* of linux/if_link.h, and IFF_* of
// linux/if.h.
var LinkOptions = []Option{
	LinkGroup:          {Name: "group", attr: linux.IFLA_GROUP, size: 4},
	LinkGSOMaxSize:     {Name: "gso_max_size", attr: 41, size: 4},
	LinkGSOMaxSegs:     {Name: "gso_max_segs", attr: 40, size: 4},
	LinkGROMaxSize:     {Name: "gro_max_size", attr: 58, size: 4},
	LinkPromisc:        {Name: "promisc", Switch: true, flag: 0x100},
	LinkAllMulticast:   {Name: "allmulticast", Switch: true, flag: 0x200},
	LinkARP:            {Name: "arp", Switch: true, flag: 0x80, inverse: true}, // IFF_NOARP
	LinkAddrGenMode:    {Name: "addrgenmode"},
	LinkGSOIPv4MaxSize: {Name: "gso_ipv4_max_size", attr: 63, size: 4},
	LinkGROIPv4MaxSize: {Name: "gro_ipv4_max_size", attr: 64, size: 4},
}

// iflaInet6AddrGenMode is IFLA_INET6_ADDR_GEN_MODE of linux/if_link.h.
const iflaInet6AddrGenMode = 8

// flags sets those of the settings that are flags of the link.
func (o *Options) flags(flags uint32) {
	for at := range LinkOptions {
		if x := &LinkOptions[at]; x.flag != 0 {
			o.Set(at, map[bool]uint32{true: 1}[(flags&x.flag != 0) != x.inverse])
		}
	}
}

// flagged returns the flags that they are to have, and which of them are to change.
func (o *Options) flagged() (flags, change uint32) {
	for at, x := range LinkOptions {
		if v, ok := o.Get(at); ok && x.flag != 0 {
			change |= x.flag
			if (v != 0) != x.inverse {
				flags |= x.flag
			}
		}
	}
	return flags, change
}
