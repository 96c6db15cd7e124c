package rtnl

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// rough is a socket on which each Recv gives what the next function says.
type rough struct {
	kernel
	sent  [][]byte
	recvs []func(seq uint32) ([]byte, error)
}

func (k *rough) Send(b []byte) error {
	k.sent = append(k.sent, bytes.Clone(b))
	return nil
}

func (k *rough) Recv(b []byte) (int, error) {
	if len(k.recvs) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	f := k.recvs[0]
	k.recvs = k.recvs[1:]
	m, err := f(binary.NativeEndian.Uint32(k.sent[len(k.sent)-1][8:]))
	return copy(b, m), err
}

func (k *rough) SetDeadline(time.Time) error { return nil }

func answer(errno unix.Errno) func(uint32) ([]byte, error) {
	return func(seq uint32) ([]byte, error) { return refusal(seq, errno, ""), nil }
}

func dropped(uint32) ([]byte, error) { return nil, unix.ENOBUFS }

// Where an answer was dropped, what may be done twice is asked for again, and
// the caller learns that; what the kernel refused is not.
func TestSurely(t *testing.T) {
	for _, x := range []struct {
		what     string
		recvs    []func(uint32) ([]byte, error)
		repeated bool
		err      error
		sends    int
	}{
		{"done", []func(uint32) ([]byte, error){answer(0)}, false, nil, 1},
		{"refused", []func(uint32) ([]byte, error){answer(unix.EEXIST)}, false, unix.EEXIST, 1},
		{"the answer was dropped", []func(uint32) ([]byte, error){dropped, dropped, answer(unix.ESRCH)}, true, unix.ESRCH, 2},
		{"all answers were dropped", []func(uint32) ([]byte, error){dropped, dropped, dropped}, true, unix.ENOBUFS, 2},
	} {
		k := &rough{recvs: x.recvs}
		repeated, err := NewConn(k).Surely(context.Background(), DelLink(1))
		if repeated != x.repeated || !errors.Is(err, x.err) || len(k.sent) != x.sends {
			t.Errorf("%s: repeated %v, %v, %d sends", x.what, repeated, err, len(k.sent))
		}
	}
}

// The answer to an exchange that was given up is not taken for the next one's.
func TestLateAnswer(t *testing.T) {
	var late uint32
	k := &rough{recvs: []func(uint32) ([]byte, error){
		func(seq uint32) ([]byte, error) { late = seq; return nil, os.ErrDeadlineExceeded },
		func(uint32) ([]byte, error) { return nil, os.ErrDeadlineExceeded }, // nothing to read away yet
		func(uint32) ([]byte, error) { return refusal(late, 0, ""), nil },
		answer(unix.EPERM),
	}}
	c := NewConn(k)
	if err := c.One(context.Background(), DelLink(1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := c.One(context.Background(), DelLink(2)); !errors.Is(err, unix.EPERM) {
		t.Errorf("the answer before was taken for this one's: %v", err)
	}
}

// A dump of which the kernel dropped a part is no list.
func TestDumpThatLostAnswers(t *testing.T) {
	k := &rough{recvs: []func(uint32) ([]byte, error){
		func(seq uint32) ([]byte, error) {
			return message(unix.RTM_NEWNEIGH, unix.NLM_F_MULTI, seq, neighbour(1)), nil
		}, dropped,
	}}
	if list, err := NewConn(k).Neighs(context.Background()); !errors.Is(err, unix.ENOBUFS) {
		t.Errorf("%v, %v", list, err)
	}
}

// What is put back is what was there, but for what only the kernel can set.
func TestKept(t *testing.T) {
	p := netip.MustParsePrefix
	for _, x := range []struct {
		what string
		typ  uint16
		data []byte
		own  bool
	}{
		{"an address", unix.RTM_NEWADDR, NewAddr(Addr{Index: 3, Prefix: p("192.0.2.1/24"), Flags: unix.IFA_F_PERMANENT}).Data, true},
		{"a link-local address of one's own", unix.RTM_NEWADDR, NewAddr(Addr{Index: 3, Prefix: p("fe80::5/64"), Flags: unix.IFA_F_PERMANENT}).Data, true},
		{"the kernel's link-local address", unix.RTM_NEWADDR,
			NewAddr(Addr{Index: 3, Prefix: p("fe80::5/64"), Flags: unix.IFA_F_PERMANENT, Proto: kernelLinkLocal}).Data, false},
		{"that of an old kernel", unix.RTM_NEWADDR, NewAddr(Addr{Index: 3, Prefix: p("fe80::200:ff:fe00:1/64"), Flags: unix.IFA_F_PERMANENT}).Data, false},
		{"a route", unix.RTM_NEWROUTE, NewRoute(Route{Dst: p("10.0.0.0/8"), Via: netip.MustParseAddr("192.0.2.9"), Index: 3, Proto: unix.RTPROT_STATIC, OnLink: true, Metric: 7}, nil).Data, true},
		{"a route of the kernel", unix.RTM_NEWROUTE, NewRoute(Route{Dst: p("10.0.0.0/8"), Index: 3, Proto: unix.RTPROT_KERNEL}, nil).Data, false},
	} {
		if own := x.typ == unix.RTM_NEWADDR && ownAddr(x.data) || x.typ == unix.RTM_NEWROUTE && ownRoute(x.data); own != x.own {
			t.Errorf("%s is taken to be somebody's: %v", x.what, own)
		}
		r := Kept{x.typ, x.data}.Request()
		if r.Type != x.typ || r.Flags&unix.NLM_F_CREATE == 0 || r.Flags&unix.NLM_F_REPLACE != 0 {
			t.Errorf("%s: type %d, flags %x", x.what, r.Type, r.Flags)
		}
		if x.typ == unix.RTM_NEWROUTE {
			was, _ := ParseRoute(x.data)
			if is, ok := ParseRoute(r.Data); !ok || is != was {
				t.Errorf("%s: %+v, was %+v", x.what, is, was)
			}
			continue
		}
		was, _ := ParseAddr(x.data)
		is, ok := ParseAddr(r.Data)
		if is.Flags&^unix.IFA_F_NODAD != was.Flags&^unix.IFA_F_NODAD || is.Prefix != was.Prefix || is.Index != was.Index || !ok {
			t.Errorf("%s: %+v, was %+v", x.what, is, was)
		}
	}
}

// Each decoder reads back what the encoder wrote, and what it read from
// anything at all it can write again.
func FuzzAddr(f *testing.F) {
	f.Add([]byte(NewAddr(Addr{Index: 1, Prefix: netip.MustParsePrefix("10.0.0.1/8"), Proto: Protocol}).Data))
	f.Add([]byte(NewAddr(Addr{Index: 1, Prefix: netip.MustParsePrefix("fe80::1/64"), Scope: unix.RT_SCOPE_LINK}).Data))
	f.Fuzz(func(t *testing.T, b []byte) {
		ownAddr(b)
		a, ok := ParseAddr(b)
		if !ok {
			return
		}
		again, ok := ParseAddr(NewAddr(a).Data)
		if a.Flags |= unix.IFA_F_NODAD; !ok || again.Prefix != a.Prefix || again.Index != a.Index || again.Proto != a.Proto || again.Flags|unix.IFA_F_NODAD != a.Flags {
			t.Errorf("%+v was read as %+v", a, again)
		}
	})
}

func FuzzRoute(f *testing.F) {
	f.Add([]byte(NewRoute(Route{Dst: netip.MustParsePrefix("10.0.0.0/8"), Index: 2, Global: true, Metric: 9}, nil).Data))
	f.Add([]byte(NewRoute(Route{Dst: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("fe80::1"), Index: 2, OnLink: true}, nil).Data))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := ParseRoute(b)
		if ownRoute(b) {
			hasVia(b)
			_ = Kept{unix.RTM_NEWROUTE, b}.String()
			_ = Kept{unix.RTM_NEWROUTE, b}.Request()
		}
		// What the kernel never sends: bits beyond the mask, another family's
		// address. The scope of a route with a next hop is not kept.
		if !ok || r.Via.IsValid() || r.Dst != r.Dst.Masked() || r.Dst.Addr().Is4() != (b[0] == unix.AF_INET) {
			return
		}
		if again, ok := ParseRoute(NewRoute(r, nil).Data); !ok || again != r {
			t.Errorf("%+v was read as %+v", r, again)
		}
	})
}

func FuzzNeigh(f *testing.F) {
	f.Add([]byte(neighbour(1)))
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
