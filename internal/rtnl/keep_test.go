package rtnl

import (
	"bytes"
	"net/netip"
	"reflect"
	"testing"

	"github.com/seed59451c2b/osl/internal/linux"
)

// What is put back is what was there, but for what only the kernel can set.
func TestKept(t *testing.T) {
	p := netip.MustParsePrefix
	for _, x := range []struct {
		what string
		typ  uint16
		data []byte
		own  bool
	}{
		{"an address", linux.RTM_NEWADDR, NewAddr(Addr{Index: 3, Prefix: p("192.0.2.1/24"), Flags: linux.IFA_F_PERMANENT}).Data, true},
		{"a link-local address of one's own", linux.RTM_NEWADDR, NewAddr(Addr{Index: 3, Prefix: p("fe80::5/64"), Flags: linux.IFA_F_PERMANENT}).Data, true},
		{"the kernel's link-local address", linux.RTM_NEWADDR,
			NewAddr(Addr{Index: 3, Prefix: p("fe80::5/64"), Flags: linux.IFA_F_PERMANENT, Proto: kernelLinkLocal}).Data, false},
		{"that of an old kernel", linux.RTM_NEWADDR, NewAddr(Addr{Index: 3, Prefix: p("fe80::200:ff:fe00:1/64"), Flags: linux.IFA_F_PERMANENT}).Data, false},
		{"a route", linux.RTM_NEWROUTE, NewRoute(Route{Dst: p("10.0.0.0/8"), Via: netip.MustParseAddr("192.0.2.9"), Index: 3, Proto: linux.RTPROT_STATIC, OnLink: true, Metric: 7}, nil).Data, true},
		{"a route of the kernel", linux.RTM_NEWROUTE, NewRoute(Route{Dst: p("10.0.0.0/8"), Index: 3, Proto: linux.RTPROT_KERNEL}, nil).Data, false},
	} {
		if own := x.typ == linux.RTM_NEWADDR && ownAddr(x.data) || x.typ == linux.RTM_NEWROUTE && ownRoute(x.data); own != x.own {
			t.Errorf("%s is taken to be somebody's: %v", x.what, own)
		}
		r := Kept{x.typ, x.data}.Request()
		if r.Type != x.typ || r.Flags&linux.NLM_F_CREATE == 0 || r.Flags&linux.NLM_F_REPLACE != 0 {
			t.Errorf("%s: type %d, flags %x", x.what, r.Type, r.Flags)
		}
		if x.typ == linux.RTM_NEWROUTE {
			was, _ := ParseRoute(x.data)
			if is, ok := ParseRoute(r.Data); !ok || !reflect.DeepEqual(is, was) {
				t.Errorf("%s: %+v, was %+v", x.what, is, was)
			}
			continue
		}
		was, _ := ParseAddr(x.data)
		is, ok := ParseAddr(r.Data)
		if is.Flags&^linux.IFA_F_NODAD != was.Flags&^linux.IFA_F_NODAD || is.Prefix != was.Prefix || is.Index != was.Index || !ok {
			t.Errorf("%s: %+v, was %+v", x.what, is, was)
		}
	}
}

// That a link has no carrier, or is down, the kernel says of a next hop and takes from nobody.
func TestKeptHopWithoutCarrier(t *testing.T) {
	a := netip.MustParseAddr
	data := NewRoute(Route{Dst: netip.MustParsePrefix("10.0.0.0/8"), Proto: linux.RTPROT_STATIC,
		Hops: []Hop{{Via: a("192.0.2.9"), Index: 3, OnLink: true}, {Via: a("198.51.100.9"), Index: 4}}}, nil).Data
	was, _ := ParseRoute(data)
	for typ, v := range attrs(data[linux.SizeofRtMsg:]) {
		if typ == linux.RTA_MULTIPATH {
			const linkdown = 0x10 // RTNH_F_LINKDOWN
			v[2] |= linkdown
			v[(int(getU16(v))+3)&^3+2] |= linkdown
		}
	}
	again := Kept{linux.RTM_NEWROUTE, data}.Request().Data
	for typ, v := range attrs(again[linux.SizeofRtMsg:]) {
		if typ == linux.RTA_MULTIPATH && (v[2] != linux.RTNH_F_ONLINK || v[(int(getU16(v))+3)&^3+2] != 0) {
			t.Errorf("the flags of the next hops are %x", v)
		}
	}
	if is, ok := ParseRoute(again); !ok || !reflect.DeepEqual(is, was) {
		t.Errorf("%+v, was %+v", is, was)
	}
}

// Each decoder reads back what the encoder wrote, and what it read from
// anything at all it can write again.
func FuzzAddr(f *testing.F) {
	f.Add([]byte(NewAddr(Addr{Index: 1, Prefix: netip.MustParsePrefix("10.0.0.1/8"), Proto: Protocol}).Data))
	f.Add([]byte(NewAddr(Addr{Index: 1, Prefix: netip.MustParsePrefix("fe80::1/64"), Scope: linux.RT_SCOPE_LINK}).Data))
	f.Fuzz(func(t *testing.T, b []byte) {
		ownAddr(b)
		a, ok := ParseAddr(b)
		if !ok {
			return
		}
		again, ok := ParseAddr(NewAddr(a).Data)
		if a.Flags |= linux.IFA_F_NODAD; !ok || again.Prefix != a.Prefix || again.Index != a.Index || again.Proto != a.Proto || again.Flags|linux.IFA_F_NODAD != a.Flags {
			t.Errorf("%+v was read as %+v", a, again)
		}
	})
}

func FuzzRoute(f *testing.F) {
	f.Add([]byte(NewRoute(Route{Dst: netip.MustParsePrefix("10.0.0.0/8"), Index: 2, Scope: linux.RT_SCOPE_SITE, Metric: 9}, nil).Data))
	f.Add([]byte(NewRoute(Route{Dst: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("fe80::1"), Index: 2, OnLink: true}, nil).Data))
	f.Add([]byte(NewRoute(Route{Dst: netip.MustParsePrefix("10.0.0.0/8"), Type: linux.RTN_BLACKHOLE, Table: 7001, Src: netip.MustParseAddr("10.0.0.1"), MTU: 1300, AdvMSS: 1200}, nil).Data))
	f.Add([]byte(NewRoute(Route{Dst: netip.MustParsePrefix("10.0.0.0/8"), Hops: []Hop{
		{Via: netip.MustParseAddr("192.0.2.1"), Index: 2, Weight: 256, OnLink: true}, {Via: netip.MustParseAddr("fe80::1"), Index: 3, Weight: 1}}}, nil).Data))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := ParseRoute(b)
		if ownRoute(b) {
			HasVia(b)
			_ = Kept{linux.RTM_NEWROUTE, b}.String()
			_ = Kept{linux.RTM_NEWROUTE, b}.Request()
		}
		// What the kernel never sends: bits beyond the mask, another family's
		// address. How the family of a next hop is written is not kept.
		if !ok || r.Via.IsValid() || r.Dst != r.Dst.Masked() || r.Dst.Addr().Is4() != (b[0] == linux.AF_INET) {
			return
		}
		if again, ok := ParseRoute(NewRoute(r, nil).Data); !ok || !reflect.DeepEqual(again, r) {
			t.Errorf("%+v was read as %+v", r, again)
		}
	})
}

func FuzzNeigh(f *testing.F) {
	f.Add(NewNeigh(Neigh{Index: 3, IP: netip.MustParseAddr("10.0.0.1")}, nil).Data)
	f.Add([]byte(NewNeigh(Neigh{Index: 4, IP: netip.MustParseAddr("192.0.2.1"), MAC: []byte{2, 0, 0, 0, 0, 1}, FDB: true}, nil).Data))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, ok := ParseNeigh(b)
		if !ok || n.State == 0 {
			return
		}
		again, ok := ParseNeigh(NewNeigh(n, nil).Data)
		if !ok || again.IP != n.IP || !bytes.Equal(again.MAC, n.MAC) || again.Index != n.Index || again.State != n.State || again.FDB != n.FDB {
			t.Errorf("%+v was read as %+v", n, again)
		}
	})
}
