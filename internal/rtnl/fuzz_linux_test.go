package rtnl

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// A link and its counters are decoded without a panic from any attributes; the
// ones here reach the nested ones that random bytes alone hardly do. What is
// too short for its type counts as not there.
func FuzzLinkAttributes(f *testing.F) {
	f.Add(uint16(unix.IFLA_IFNAME), []byte("eth0\x00"), "veth", []byte{})
	f.Add(uint16(unix.IFLA_MTU), []byte{1}, "vxlan", []byte{8, 0, 1, 0, 42, 0, 0, 0})
	f.Add(uint16(unix.IFLA_ADDRESS), []byte{2, 0, 0, 0, 0, 1}, "vlan", []byte{6, 0, 1, 0, 100, 0, 0, 0})
	f.Add(uint16(unix.IFLA_AF_SPEC), []byte{8, 0, 2, 0, 4, 0, 1, 0, 12, 0, 10, 0, 8, 0, 1, 0, 0, 0, 0, 128}, "bridge", []byte{4, 0})
	f.Add(uint16(unix.IFLA_STATS64), bytes.Repeat([]byte{1, 2}, 100), "macvlan", []byte{5, 0, 1, 0, 4})
	f.Add(uint16(unix.IFLA_PROP_LIST|unix.NLA_F_NESTED), []byte{8, 0, 53, 0, 'a', 0, 0, 0}, "tun", []byte{3, 0, 1, 0})
	f.Fuzz(func(t *testing.T, kind uint16, value []byte, link string, data []byte) {
		if len(value) > 1<<14 || len(link) > 1<<10 || len(data) > 1<<14 {
			return
		}
		b := ifinfo(0, 7, unix.IFF_UP, 0)
		b.bytes(kind, value)
		b.nest(unix.IFLA_LINKINFO, func() {
			b.str(iflaInfoKind, link)
			b.bytes(unix.IFLA_INFO_DATA, data)
		})
		b.nest(unix.IFLA_PROP_LIST, func() { b.bytes(unix.IFLA_ALT_IFNAME, value) })
		if l := ParseLink(b); l.Index != 7 {
			t.Errorf("the index is %d", l.Index)
		}
		// Of each length, so that the last attribute is cut everywhere.
		for n := range b {
			ParseLink(b[:n])
		}
		ParseStats(b)
		ParseStats(data)

		// Fewer counters than every kernel has are no counters.
		s := make(buffer, sizeofStatMsg)
		s.bytes(statsLink64, value)
		got := ParseStats(s)
		if len(value) >= 64 && got.RxPackets != binary.NativeEndian.Uint64(value) || len(value) < 64 && got != (Stats{}) {
			t.Errorf("%v are decoded as %+v", value, got)
		}
	})
}
