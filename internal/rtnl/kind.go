package rtnl

import (
	"cmp"
	"maps"

	"github.com/seed59451c2b/osl/internal/linux"
)

// kind is how a type of link is told to the kernel, and read. A nil function has
// nothing to say.
type kind struct {
	// tunnel: the link below is said in the data, and IFLA_LINK says nothing.
	tunnel bool
	// shared: what is changed of one is changed of all on the same link below.
	shared   bool
	oneQueue bool                                    // where the number of queues is not said
	data     func(b *buffer, n *LinkNew)             // IFLA_INFO_DATA of one that is made
	change   func(b *buffer, d LinkData, parent int) // the part of it that can be changed
	parse    func(l *Link, t uint16, v []byte)       // one attribute of it
	// settings: it has some that SetBridge changes.
	settings bool
}

// kinds are the types that have something of their own.
var kinds = merged(pairKinds, upperKinds, masterKinds, tunnelKinds, ipTunnelKinds, map[string]kind{
	"bridge": {
		settings: true,
		parse: func(l *Link, t uint16, v []byte) {
			if l.Bridge == nil {
				l.Bridge = &Options{}
			}
			l.Bridge.parse(BridgeOptions, t, v)
		},
	},
	"tun": {parse: (*Link).parseTun}, // which tuntap makes
})

func merged(families ...map[string]kind) map[string]kind {
	all := map[string]kind{}
	for _, f := range families {
		maps.Copy(all, f)
	}
	return all
}

// Attribute numbers of linux/if_link.h.
const (
	iflaTunOwner      = 1
	iflaTunGroup      = 2
	iflaTunType       = 3
	iflaTunVNetHdr    = 5
	iflaTunMultiQueue = 7
)

func (l *Link) parseTun(t uint16, v []byte) {
	switch t {
	case iflaTunType:
		if getU8(v) == linux.IFF_TAP {
			l.Kind = "tap"
		}
	case iflaTunOwner:
		l.Data.Owner = decimal(v)
	case iflaTunGroup:
		l.Data.OwnerGroup = decimal(v)
	case iflaTunVNetHdr:
		l.Data.VNetHdr = getU8(v) != 0
	case iflaTunMultiQueue:
		l.Data.MultiQueue = getU8(v) != 0
	}
}

// queues says how many queues a link has, where that is said.
func (b *buffer) queues(tx, rx int, one bool) {
	if one {
		// More queues cost the kernel a grace period, and a sandbox's link shares
		// its few cores with everything else.
		tx, rx = cmp.Or(tx, 1), cmp.Or(rx, 1)
	}
	if tx != 0 {
		b.u32(linux.IFLA_NUM_TX_QUEUES, uint32(tx))
	}
	if rx != 0 {
		b.u32(linux.IFLA_NUM_RX_QUEUES, uint32(rx))
	}
}

// numbers are the numbers of words.
type numbers map[string]uint32

// word returns the word for a number, empty if there is none.
func (n numbers) word(number uint32) string {
	for word, m := range n {
		if m == number {
			return word
		}
	}
	return ""
}
