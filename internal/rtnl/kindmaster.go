package rtnl

// masterKinds have ports.
var masterKinds = map[string]kind{
	"vrf": {
		data: func(b *buffer, n *LinkNew) { b.u32(iflaVRFTable, uint32(n.Data.Table)) },
		parse: func(l *Link, t uint16, v []byte) {
			if t == iflaVRFTable {
				l.Data.Table = int(getU32(v))
			}
		},
	},
	"bond": {
		data: func(b *buffer, n *LinkNew) {
			if n.Data.Mode != "" {
				b.u8(iflaBondMode, uint8(bondModes[n.Data.Mode]))
			}
			if n.Data.MIIMon != 0 {
				b.bond(n.Data, 0)
			}
		},
		change: (*buffer).bond,
		parse: func(l *Link, t uint16, v []byte) {
			switch t {
			case iflaBondMode:
				l.Data.Mode = bondModes.word(uint32(getU8(v)))
			case iflaBondMIIMon:
				l.Data.MIIMon = int(getU32(v))
			}
		},
	},
}

// Attribute numbers of linux/if_link.h, and modes of linux/if_bonding.h.
const (
	iflaVRFTable   = 1
	iflaBondMode   = 1
	iflaBondMIIMon = 3
)

var bondModes = numbers{"balance-rr": 0, "active-backup": 1, "balance-xor": 2, "broadcast": 3, "802.3ad": 4, "balance-tlb": 5, "balance-alb": 6}

// bond appends what can be changed of one that is up and has ports.
func (b *buffer) bond(d LinkData, _ int) { b.u32(iflaBondMIIMon, uint32(d.MIIMon)) }
