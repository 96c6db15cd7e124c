package netlink

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// kernel stands in for one: answers gives the datagrams that answer a send,
// which had the sequence number seq in its first message.
type kernel struct {
	answers func(sends int, seq uint32) [][]byte
	sends   int
	queue   [][]byte
}

func (k *kernel) Send(b []byte) error {
	k.sends++
	k.queue = append(k.queue, k.answers(k.sends, binary.NativeEndian.Uint32(b[8:]))...)
	return nil
}

func (k *kernel) Recv(b []byte) (int, error) {
	if len(k.queue) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, k.queue[0])
	k.queue = k.queue[1:]
	return n, nil
}

func (*kernel) SetDeadline(time.Time) error { return nil }
func (*kernel) Grow(int) bool               { return false }
func (*kernel) GrowAnswers(int) bool        { return true }
func (*kernel) Index(string) (int, error)   { return 0, unix.ENODEV }
func (*kernel) NSFD() (int, error)          { return -1, unix.EBADF }
func (*kernel) Close() error                { return nil }

// message is one of the kernel's.
func message(typ, flags uint16, seq uint32, payload []byte) []byte {
	return rtnl.AppendMessage(nil, rtnl.Request{Type: typ, Data: payload}, flags, seq)
}

func refusal(seq uint32, errno unix.Errno, text string) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))
	b = append(b, make([]byte, 16)...) // the header of the request
	flags := uint16(0x100)             // NLM_F_CAPPED
	if text != "" {
		flags |= 0x200 // NLM_F_ACK_TLVS
		b = attr(b, 1, append([]byte(text), 0))
	}
	return message(unix.NLMSG_ERROR, flags, seq, b)
}

func neighbour(last byte) []byte {
	b := make([]byte, 12)
	b[0] = unix.AF_INET
	return attr(b, unix.NDA_DST, []byte{10, 0, 0, last})
}

// attr appends an attribute.
func attr(b []byte, typ uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, typ), value...)
	return append(b, make([]byte, -len(b)&3)...)
}

func done(flags uint16, seq uint32) []byte {
	return message(unix.NLMSG_DONE, flags|unix.NLM_F_MULTI, seq, make([]byte, 4))
}

func TestBatchErrorsBelongToTheirMessages(t *testing.T) {
	k := &kernel{answers: func(_ int, seq uint32) [][]byte {
		return [][]byte{refusal(seq+1, unix.EEXIST, "taken"), refusal(seq-7, unix.EPERM, "of an exchange before"), refusal(seq+2, 0, "")}
	}}
	errs, err := NewConn(k).Do(context.Background(), rtnl.DelLink(1), rtnl.DelLink(2), rtnl.DelLink(3))
	if err != nil {
		t.Fatal(err)
	}
	var e *rtnl.Error
	if errs[0] != nil || errs[2] != nil || !errors.Is(errs[1], unix.EEXIST) || !errors.As(errs[1], &e) || e.Text != "taken" {
		t.Errorf("%v", errs)
	}
	if k.sends != 1 {
		t.Errorf("%d sends for one batch", k.sends)
	}
}

func TestBatchWithoutAnAnswerIsUnknown(t *testing.T) {
	k := &kernel{answers: func(int, uint32) [][]byte { return nil }}
	c := NewConn(k)
	if !c.InStep() {
		t.Error("a new socket is not in step")
	}
	if _, err := c.Do(context.Background(), rtnl.DelLink(1)); !errors.Is(err, os.ErrDeadlineExceeded) || c.InStep() {
		t.Errorf("%v, in step: %v", err, c.InStep())
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	// What was not sent is known not to have happened.
	errs, err := NewConn(k).Do(ctx, rtnl.DelLink(1), rtnl.DelLink(2))
	if err != nil || !errors.Is(errs[0], context.Canceled) || !errors.Is(errs[1], context.Canceled) {
		t.Errorf("%v, %v", errs, err)
	}
}

func TestManyMessagesAreSplit(t *testing.T) {
	reqs := make([]rtnl.Request, 200)
	for i := range reqs {
		reqs[i].Data = make([]byte, 1008)
	}
	k := &kernel{answers: func(n int, seq uint32) [][]byte {
		last := map[int]uint32{1: maxBytes/1024 - 1, 2: 200 - maxBytes/1024 - 1}[n]
		return [][]byte{refusal(seq+last, 0, "")}
	}}
	if _, err := NewConn(k).Do(context.Background(), reqs...); err != nil || k.sends != 2 {
		t.Errorf("%d sends, %v", k.sends, err)
	}
}

// An interrupted dump is read again, wherever the mark was, and nothing of the
// first attempt is in the result.
func TestInterruptedDump(t *testing.T) {
	for name, first := range map[string]func(seq uint32) [][]byte{
		"on data": func(seq uint32) [][]byte {
			return [][]byte{message(unix.RTM_NEWNEIGH, unix.NLM_F_MULTI|unix.NLM_F_DUMP_INTR, seq, neighbour(9)), done(0, seq)}
		},
		"on the closing message alone": func(seq uint32) [][]byte {
			return [][]byte{message(unix.RTM_NEWNEIGH, unix.NLM_F_MULTI, seq, neighbour(9)), done(unix.NLM_F_DUMP_INTR, seq)}
		},
	} {
		k := &kernel{answers: func(n int, seq uint32) [][]byte {
			if n == 1 {
				return first(seq)
			}
			return [][]byte{append(message(unix.RTM_NEWNEIGH, unix.NLM_F_MULTI, seq, neighbour(1)),
				message(unix.RTM_NEWNEIGH, unix.NLM_F_MULTI, seq, neighbour(2))...), done(0, seq)}
		}}
		list, err := NewConn(k).Neighs(context.Background())
		if err != nil || len(list) != 2 || list[0].IP.String() != "10.0.0.1" || k.sends != 2 {
			t.Errorf("%s: %v, %v after %d sends", name, list, err, k.sends)
		}
	}
	k := &kernel{answers: func(_ int, seq uint32) [][]byte { return [][]byte{done(unix.NLM_F_DUMP_INTR, seq)} }}
	if _, err := NewConn(k).Neighs(context.Background()); !errors.Is(err, ErrInterrupted) || k.sends != dumpTries {
		t.Errorf("%v after %d sends", err, k.sends)
	}
}

func TestMalformedAnswers(t *testing.T) {
	for name, b := range map[string][]byte{
		"short":    {1, 2, 3},
		"too long": append(binary.NativeEndian.AppendUint32(nil, 4000), make([]byte, 12)...),
		"no size":  make([]byte, 16),
	} {
		k := &kernel{answers: func(int, uint32) [][]byte { return [][]byte{b} }}
		if err := NewConn(k).One(context.Background(), rtnl.DelLink(1)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
