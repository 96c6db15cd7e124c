package rtnl

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// upperKinds are made on another link, which stays below them.
var upperKinds = map[string]kind{
	"macvlan": macvlan, "macvtap": macvlan,
	"ipvlan": ipvlan, "ipvtap": ipvlan,
	"vlan": {
		data: func(b *buffer, n *LinkNew) {
			b.u16(iflaVlanID, uint16(n.Data.VLAN))
			if n.Data.Protocol != "" {
				b.be16(iflaVlanProtocol, uint16(vlanProtocols[n.Data.Protocol]))
			}
			b.vlanQoS(n.Data, 0)
		},
		change: (*buffer).vlanQoS,
		parse:  (*Link).parseVLAN,
	},
}

var macvlan = kind{
	data:   func(b *buffer, n *LinkNew) { b.macvlan(n.Data, 0) },
	change: (*buffer).macvlan,
	parse: func(l *Link, t uint16, v []byte) {
		if t == iflaMacvlanMode {
			l.Data.Mode = macvlanModes.word(getU32(v))
		}
	},
}

var ipvlan = kind{
	shared: true,
	data:   func(b *buffer, n *LinkNew) { b.ipvlan(n.Data, 0) },
	change: (*buffer).ipvlan,
	parse: func(l *Link, t uint16, v []byte) {
		switch t {
		case iflaIPVlanMode:
			l.Data.Mode = ipvlanModes.word(uint32(getU16(v)))
		case iflaIPVlanFlags:
			l.Data.Flags = ipvlanFlags.word(uint32(getU16(v)))
		}
	},
}

// Attribute numbers and values of linux/if_link.h and linux/if_ether.h.
const (
	iflaVlanID         = 1
	iflaVlanEgressQoS  = 3
	iflaVlanIngressQoS = 4
	iflaVlanProtocol   = 5
	iflaVlanQoSMapping = 1
	iflaMacvlanMode    = 1
	iflaIPVlanMode     = 1
	iflaIPVlanFlags    = 2
)

var (
	macvlanModes  = numbers{"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
	ipvlanModes   = numbers{"l2": 0, "l3": 1, "l3s": 2}
	ipvlanFlags   = numbers{"bridge": 0, "private": 1, "vepa": 2}
	vlanProtocols = numbers{"802.1Q": 0x8100, "802.1ad": 0x88a8}
)

func (b *buffer) macvlan(d LinkData, _ int) {
	if d.Mode != "" {
		b.u32(iflaMacvlanMode, macvlanModes[d.Mode])
	}
}

func (b *buffer) ipvlan(d LinkData, _ int) {
	if d.Mode != "" {
		b.u16(iflaIPVlanMode, uint16(ipvlanModes[d.Mode]))
	}
	if d.Flags != "" {
		b.u16(iflaIPVlanFlags, uint16(ipvlanFlags[d.Flags]))
	}
}

// vlanQoS appends what can be changed of a vlan.
func (b *buffer) vlanQoS(d LinkData, _ int) {
	add := func(t uint16, list string) {
		if list == "" {
			return
		}
		b.nest(t, func() {
			for _, m := range QoS(list) {
				b.bytes(iflaVlanQoSMapping, binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, m[0]), m[1]))
			}
		})
	}
	add(iflaVlanEgressQoS, d.EgressQoS)
	add(iflaVlanIngressQoS, d.IngressQoS)
}

func (l *Link) parseVLAN(t uint16, v []byte) {
	switch t {
	case iflaVlanID:
		l.Data.VLAN = int(getU16(v))
	case iflaVlanProtocol:
		if len(v) >= 2 {
			l.Data.Protocol = vlanProtocols.word(uint32(binary.BigEndian.Uint16(v)))
		}
	case iflaVlanEgressQoS:
		l.Data.EgressQoS = parseQoS(v)
	case iflaVlanIngressQoS:
		l.Data.IngressQoS = parseQoS(v)
	}
}

func parseQoS(b []byte) string {
	var list [][2]uint32
	for _, v := range attrs(b) {
		if len(v) >= 8 {
			list = append(list, [2]uint32{getU32(v), getU32(v[4:])})
		}
	}
	return QoSText(list)
}

// QoS reads a mapping of priorities as LinkData has it.
func QoS(text string) (list [][2]uint32) {
	for _, word := range strings.Fields(text) {
		from, to, _ := strings.Cut(word, ":")
		f, ferr := strconv.ParseUint(from, 10, 32)
		t, terr := strconv.ParseUint(to, 10, 32)
		if ferr == nil && terr == nil {
			list = append(list, [2]uint32{uint32(f), uint32(t)})
		}
	}
	return list
}

// QoSText returns a mapping of priorities as LinkData has it.
func QoSText(list [][2]uint32) string {
	slices.SortFunc(list, func(a, b [2]uint32) int { return int(int64(a[0]) - int64(b[0])) })
	var words []string
	for _, m := range list {
		words = append(words, fmt.Sprintf("%d:%d", m[0], m[1]))
	}
	return strings.Join(words, " ")
}

// decimal reads a number of four bytes, all ones for none.
func decimal(v []byte) string {
	if n := getU32(v); len(v) >= 4 && n != ^uint32(0) {
		return strconv.FormatUint(uint64(n), 10)
	}
	return ""
}
