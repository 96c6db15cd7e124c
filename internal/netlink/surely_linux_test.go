package netlink

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/rtnl"
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
		repeated, err := NewConn(k).Surely(context.Background(), rtnl.DelLink(1))
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
	if err := c.One(context.Background(), rtnl.DelLink(1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := c.One(context.Background(), rtnl.DelLink(2)); !errors.Is(err, unix.EPERM) {
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
