package rtnl

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/seed59451c2b/osl/internal/linux"
)

// struct br_mdb_entry, MDBA_* and MDBE_* of linux/if_bridge.h, and ethertypes of
// linux/if_ether.h.
const (
	sizeofMDBEntry   = 28
	mdbPermanent     = 1
	mdbaSetEntry     = 1
	mdbaSetAttrs     = 2
	mdbeProtocol     = 4
	mdbaMDB          = 1
	mdbaMDBEntry     = 1
	mdbaMDBEntryInfo = 1
	mdbaEntryProto   = 5
	etherIPv4        = 0x0800
	etherIPv6        = 0x86dd
)

// mdb begins a message about the multicast entry of a port. It says whose it is,
// which the kernel keeps since Linux 6.3.
func (n Neigh) mdb(typ uint16, room *Room) Request {
	b := room.take(64)
	b = append(b, linux.AF_BRIDGE, 0, 0, 0)
	b = binary.NativeEndian.AppendUint32(b, uint32(n.Bridge))
	e := binary.NativeEndian.AppendUint32(nil, uint32(n.Index))
	e = append(e, mdbPermanent, 0)
	e = binary.NativeEndian.AppendUint16(e, n.VLAN)
	group, proto := []byte(n.MAC), uint16(0)
	switch {
	case n.IP.Is4():
		group, proto = n.IP.AsSlice(), etherIPv4
	case n.IP.Is6():
		group, proto = n.IP.AsSlice(), etherIPv6
	}
	e = append(e, group...)
	e = append(e, make([]byte, 24-len(e))...)
	e = binary.BigEndian.AppendUint16(e, proto)
	b.bytes(mdbaSetEntry, append(e, 0, 0))
	r := Request{Type: typ}
	if typ == linux.RTM_NEWMDB {
		r.Flags = linux.NLM_F_CREATE | linux.NLM_F_REPLACE
		b.nest(mdbaSetAttrs, func() { b.u8(mdbeProtocol, n.Proto) })
	}
	r.Data = b
	return r
}

// AllMDB returns the request that lists the multicast entries of all bridges.
func AllMDB() Request {
	b := make([]byte, 8)
	b[0] = linux.AF_BRIDGE
	return Request{Type: linux.RTM_GETMDB, Data: b}
}

// ParseMDB decodes the payload of an answer to AllMDB: the permanent entries of the
// ports of one bridge.
func ParseMDB(p []byte) (list []Neigh, ok bool) {
	if len(p) < 8 {
		return nil, false
	}
	bridge := int(int32(getU32(p[4:])))
	for t, v := range attrs(p[8:]) {
		if t != mdbaMDB {
			continue
		}
		for t, v := range attrs(v) {
			if t != mdbaMDBEntry {
				continue
			}
			for t, v := range attrs(v) {
				if n, ok := parseMDBEntry(v); ok && t == mdbaMDBEntryInfo && n.Index != bridge {
					n.Bridge = bridge
					list = append(list, n)
				}
			}
		}
	}
	return list, len(list) > 0
}

func parseMDBEntry(v []byte) (n Neigh, ok bool) {
	if len(v) < sizeofMDBEntry || v[4] != mdbPermanent {
		return n, false
	}
	n = Neigh{Index: int(int32(getU32(v))), VLAN: getU16(v[6:]), FDB: true, MDB: true, State: linux.NUD_PERMANENT}
	switch binary.BigEndian.Uint16(v[24:]) {
	case etherIPv4:
		n.IP, _ = netip.AddrFromSlice(v[8:12])
	case etherIPv6:
		n.IP, _ = netip.AddrFromSlice(v[8:24])
	default:
		n.MAC = append(net.HardwareAddr(nil), v[8:14]...)
	}
	for t, v := range attrs(v[sizeofMDBEntry:]) {
		if t == mdbaEntryProto {
			n.Proto = getU8(v)
		}
	}
	return n, true
}
