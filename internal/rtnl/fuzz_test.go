package rtnl

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/seed59451c2b/osl/internal/linux"
)

// A link and its counters are decoded without a panic from any attributes; the
// ones here reach the nested ones that random bytes alone hardly do. What is
// too short for its type counts as not there.
func FuzzLinkAttributes(f *testing.F) {
	f.Add(uint16(linux.IFLA_IFNAME), []byte("eth0\x00"), "veth", []byte{})
	f.Add(uint16(linux.IFLA_MTU), []byte{1}, "vxlan", []byte{8, 0, 1, 0, 42, 0, 0, 0})
	f.Add(uint16(linux.IFLA_ADDRESS), []byte{2, 0, 0, 0, 0, 1}, "vlan", []byte{6, 0, 1, 0, 100, 0, 0, 0})
	f.Add(uint16(linux.IFLA_AF_SPEC), []byte{8, 0, 2, 0, 4, 0, 1, 0, 12, 0, 10, 0, 8, 0, 1, 0, 0, 0, 0, 128}, "bridge", []byte{4, 0})
	f.Add(uint16(23), bytes.Repeat([]byte{1, 2}, 100), "macvlan", []byte{5, 0, 1, 0, 4})
	f.Add(uint16(iflaPropList|linux.NLA_F_NESTED), []byte{8, 0, 53, 0, 'a', 0, 0, 0}, "tun", []byte{3, 0, 1, 0})
	f.Add(uint16(linux.IFLA_NUM_TX_QUEUES), []byte{4, 0, 0, 0}, "vlan", []byte{16, 0, 3, 128, 12, 0, 1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 6, 0, 5, 0, 0x88, 0xa8})
	f.Add(uint16(1), []byte{}, "gre", []byte{8, 0, 4, 0, 0, 0, 0, 7, 8, 0, 6, 0, 192, 0, 2, 1, 5, 0, 8, 0, 9})
	f.Add(uint16(1), []byte{}, "ip6gre", []byte{8, 0, 12, 0, 1, 0, 0, 0})
	f.Add(uint16(1), []byte{}, "netkit", []byte{5, 0, 2, 0, 0, 0, 0, 0, 8, 0, 3, 0, 2, 0, 0, 0})
	f.Add(uint16(1), []byte{}, "ipvlan", []byte{6, 0, 1, 0, 2, 0, 0, 0, 6, 0, 2, 0, 1})
	f.Add(uint16(1), []byte{}, "bond", []byte{5, 0, 1, 0, 4, 0, 0, 0, 8, 0, 3, 0, 100, 0, 0, 0})
	f.Add(uint16(1), []byte{}, "tun", []byte{8, 0, 1, 0, 0xe8, 3, 0, 0, 5, 0, 7, 0, 1})
	f.Add(uint16(1), []byte{}, "geneve", []byte{6, 0, 5, 0, 0x17, 0xc1, 0, 0, 8, 0, 2, 0, 192, 0, 2, 9})
	f.Fuzz(func(t *testing.T, kind uint16, value []byte, link string, data []byte) {
		if len(value) > 1<<14 || len(link) > 1<<10 || len(data) > 1<<14 {
			return
		}
		b := ifinfo(0, 7, linux.IFF_UP, 0)
		b.bytes(kind, value)
		b.nest(linux.IFLA_LINKINFO, func() {
			b.str(iflaInfoKind, link)
			b.bytes(iflaInfoData, data)
		})
		b.nest(iflaPropList, func() { b.bytes(iflaAltIfname, value) })
		if l := ParseLink(b); l.Index != 7 {
			t.Errorf("the index is %d", l.Index)
		}
		// Of each length, so that the last attribute is cut everywhere.
		for n := range b {
			ParseLink(b[:n])
			ParseSetElements(b[:n])
		}
		ParseStats(b)
		ParseStats(data)
		JoinWireGuard([]WireGuard{ParseWireGuard(data), ParseWireGuard(value)})

		// Fewer counters than every kernel has are no counters.
		s := make(buffer, sizeofStatMsg)
		s.bytes(statsLink64, value)
		got := ParseStats(s)
		if len(value) >= 64 && got.RxPackets != binary.NativeEndian.Uint64(value) || len(value) < 64 && got != (Stats{}) {
			t.Errorf("%v are decoded as %+v", value, got)
		}
	})
}

// What the kernel sends is decoded without a panic, whatever it is.
func FuzzDecode(f *testing.F) {
	mtu := ifinfo(0, 3, 1, 0)
	mtu.str(linux.IFLA_IFNAME, "eth0")
	mtu.nest(linux.IFLA_LINKINFO, func() { mtu.str(iflaInfoKind, "vxlan") })
	f.Add([]byte(mtu))
	f.Add(NewNeigh(Neigh{Index: 3, IP: netip.MustParseAddr("10.0.0.1")}, nil).Data)
	f.Add([]byte(NewAddr(Addr{Index: 1}).Data))
	f.Add(NewQdisc(Impair{Rate: 1e6}.Qdisc(3)).Data)
	f.Add(NewQdisc(Impair{Delay: 1e6, Rate: 1e10}.Qdisc(3)).Data)
	f.Add(SetFeatures(20, 3, map[string]bool{"rx-gro": true}).Data)
	f.Add(NewNexthop(Nexthop{ID: 7, Group: []Member{{1, 1}, {2, 256}}}).Data)
	f.Add(NewNexthop(Nexthop{ID: 7, Family: linux.AF_INET, Via: netip.MustParseAddr("10.0.0.1"), Index: 3, OnLink: true, Proto: Protocol}).Data)
	said := buffer(append([]byte{0xea, 0xff, 0xff, 0xff}, make([]byte, 16)...)) // EINVAL, the request's header, and why
	said.str(1, "text")
	f.Add(AppendMessage(nil, Request{Type: linux.NLMSG_ERROR, Data: said}, netlinkCapped|netlinkAckTLVs, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		ParseLink(b)
		ParseAddr(b)
		ParseRoute(b)
		if r, ok := ParseRule(b); ok {
			NewRule(r)
		}
		if n, ok := ParseNexthop(b); ok { // one that is made again as it is said is read as the same
			if again, ok := ParseNexthop(NewNexthop(n).Data); !ok || again.ID != n.ID || !slices.Equal(again.Group, n.Group) {
				t.Errorf("of %+v came back %+v", n, again)
			}
		}
		ParseNeigh(b)
		ParseQdisc(b)
		ParseFeatures(b)
		for len(b) > 0 {
			h, payload, rest, ok := NextMessage(b)
			if !ok {
				return
			}
			_ = DecodeError(h, payload)
			b = rest
		}
	})
}

// What is written of a discipline is what is read, whatever it is.
func FuzzQdisc(f *testing.F) {
	f.Add(int64(1e7), int64(1e6), uint32(1<<20), uint32(5), uint64(1e10), uint32(1000))
	f.Add(int64(0), int64(0), uint32(0), uint32(0), uint64(1250), uint32(0))
	f.Fuzz(func(t *testing.T, delay, jitter int64, loss, other uint32, rate uint64, limit uint32) {
		i := Impair{Delay: time.Duration(delay), Jitter: time.Duration(jitter), Loss: loss, Duplicate: other, Reorder: other / 3, Corrupt: other / 5, Rate: rate, Limit: limit}
		q := i.Qdisc(9)
		if got, ok := ParseQdisc(NewQdisc(q).Data); !ok || got != q || !got.Osls() {
			t.Errorf("%+v is read as %+v", q, got)
		}
	})
}
