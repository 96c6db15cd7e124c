package engine_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/netlink"
)

// faultKind is a way in which an exchange with the kernel goes wrong.
type faultKind string

const (
	// The send fails and nothing reaches the kernel.
	sendEPERM   faultKind = "send fails with EPERM"
	sendEBUSY   faultKind = "send fails with EBUSY"
	sendENOBUFS faultKind = "send fails with ENOBUFS"
	// The kernel does the work, and its answer comes when nobody waits for it
	// any more, or never.
	replyLate faultKind = "reply comes too late"
	replyLost faultKind = "reply is lost"
	// The kernel refuses one message of a batch and runs the others.
	refused      faultKind = "kernel refuses a message"
	refusedEPERM faultKind = "kernel refuses a message with EPERM"
	// The kernel does the first or nearly all of what a change of a link asks
	// for, and then refuses.
	halfEarly faultKind = "kernel does the first part of a message"
	halfLate  faultKind = "kernel does most of a message"
)

var exchangeFaults = []faultKind{sendEPERM, sendEBUSY, sendENOBUFS, replyLate, replyLost}
var messageFaults = []faultKind{refused, refusedEPERM, halfEarly, halfLate}

// injector makes one exchange fail, of all that go through the sockets that
// were opened while it was in place. It fires once: the way back is clear.
type injector struct {
	mu    sync.Mutex
	armed bool
	kind  faultKind
	at    int // which of the exchanges, or of the messages that the fault fits
	seen  int
	fired bool
	// points are how many there were of each kind in a run without a fault.
	points map[faultKind]int
}

// count makes the injector count the points of each kind, and harm nothing.
func (in *injector) count() {
	in.arm("", 0)
	in.points = map[faultKind]int{}
}

func (in *injector) arm(kind faultKind, at int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.armed, in.kind, in.at, in.seen, in.fired = true, kind, at, 0, false
}

// disarm reports whether the fault happened.
func (in *injector) disarm() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.armed = false
	return in.fired
}

// due looks at what is to be sent and returns the fault that is due, with the
// number of the message that it is for. What asks the same again, as waiting
// does, is not a new exchange.
func (in *injector) due(list [][]byte, again bool) (kind faultKind, msg int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.armed || in.fired || again {
		return "", 0
	}
	if in.kind == "" {
		for _, k := range exchangeFaults {
			in.points[k]++
		}
		for _, k := range messageFaults {
			for _, m := range list {
				if k.fits(m) {
					in.points[k]++
				}
			}
		}
		return "", 0
	}
	if slices.Contains(exchangeFaults, in.kind) {
		list = list[:1]
	}
	for i, m := range list {
		if in.kind.fits(m) {
			in.seen++
		}
		if in.seen == in.at {
			in.fired = true
			return in.kind, i
		}
	}
	return "", 0
}

// fits reports whether a fault can be made of a message: only a change of a
// link that exists can be done by half.
func (k faultKind) fits(m []byte) bool {
	typ, flags := binary.NativeEndian.Uint16(m[4:]), binary.NativeEndian.Uint16(m[6:])
	return k != halfEarly && k != halfLate || typ == unix.RTM_NEWLINK && flags&unix.NLM_F_CREATE == 0 && !renamesOnly(m)
}

// renamesOnly reports whether a message gives a link a new name and nothing else: then
// there is no rest that the kernel could refuse.
func renamesOnly(m []byte) bool {
	const attrs = unix.NLMSG_HDRLEN + unix.SizeofIfInfomsg
	h := binary.NativeEndian
	return len(m) > attrs+unix.SizeofNlAttr && h.Uint32(m[attrs-4:]) == 0 && h.Uint16(m[attrs+2:]) == unix.IFLA_IFNAME &&
		len(m) == attrs+(int(h.Uint16(m[attrs:]))+3)&^3
}

// faulty is a socket that an injector acts on.
type faulty struct {
	netlink.Transport
	in      *injector
	last    []byte // what was sent before, without sequence numbers
	late    bool   // the next Recv runs out of time
	lost    bool   // the next Recv finds that answers were dropped
	answers [][]byte
	after   bool // answers come after the kernel's own
}

func (f *faulty) Send(b []byte) error {
	plain := unnumbered(b)
	again := bytes.Equal(plain, f.last)
	f.last = plain
	list := messages(b)
	switch kind, msg := f.in.due(list, again); kind {
	case "":
	case sendEPERM:
		return os.NewSyscallError("sendmsg", unix.EPERM)
	case sendEBUSY:
		return os.NewSyscallError("sendmsg", unix.EBUSY)
	case sendENOBUFS:
		return os.NewSyscallError("sendmsg", unix.ENOBUFS)
	case replyLate:
		f.late = true
	case replyLost:
		f.lost = true
	default:
		list[msg] = f.harm(kind, list[msg])
		f.after = msg == len(list)-1
		b = bytes.Join(list, nil)
	}
	return f.Transport.Send(b)
}

// harm changes a message so that the kernel refuses it, or a part of it.
func (f *faulty) harm(kind faultKind, m []byte) []byte {
	m = bytes.Clone(m)
	h := binary.NativeEndian
	flags := h.Uint16(m[6:])
	switch kind {
	case refused:
		h.PutUint16(m[4:], unix.RTM_NEWLINK|0x0ff0) // no such message
		h.PutUint16(m[6:], flags&^(unix.NLM_F_DUMP))
		return m
	case refusedEPERM:
		// The kernel passes over it, and the answer is made here. The real
		// acknowledgement, if any, is then of a message that was answered.
		h.PutUint16(m[4:], unix.NLMSG_NOOP)
		h.PutUint16(m[6:], unix.NLM_F_REQUEST)
		f.answers = append(f.answers, refusal(h.Uint32(m[8:]), unix.EPERM))
		return m
	}
	// What no virtual link has: the one is looked at right after a move, the
	// other when nearly all is done.
	attr := uint16(unix.IFLA_MAP)
	length := 28 // struct rtnl_link_ifmap
	if kind == halfLate {
		attr, length = unix.IFLA_PORT_SELF|unix.NLA_F_NESTED, 0
	}
	m = h.AppendUint16(m, uint16(4+length))
	m = h.AppendUint16(m, attr)
	m = append(m, make([]byte, length)...)
	h.PutUint32(m, uint32(len(m)))
	return m
}

func (f *faulty) Recv(b []byte) (int, error) {
	switch {
	case f.late:
		f.late = false
		return 0, os.ErrDeadlineExceeded
	case f.lost:
		// The answers are dropped, as the kernel does where a socket's buffer
		// is full.
		f.lost = false
		_ = f.Transport.SetDeadline(time.Now().Add(5 * time.Millisecond))
		for {
			if _, err := f.Transport.Recv(b); err != nil {
				break
			}
		}
		_ = f.Transport.SetDeadline(time.Now().Add(netlink.Timeout))
		return 0, os.NewSyscallError("recvfrom", unix.ENOBUFS)
	case len(f.answers) > 0:
		if f.after {
			_ = f.Transport.SetDeadline(time.Now()) // they are there, or none is
			n, err := f.Transport.Recv(b)
			_ = f.Transport.SetDeadline(time.Now().Add(netlink.Timeout))
			if err == nil {
				return n, nil
			}
		}
		n := copy(b, f.answers[0])
		f.answers = f.answers[1:]
		return n, nil
	}
	return f.Transport.Recv(b)
}

// messages cuts a buffer into its messages.
func messages(b []byte) (list [][]byte) {
	for len(b) >= 16 {
		n := min((int(binary.NativeEndian.Uint32(b))+3)&^3, len(b))
		list = append(list, b[:n:n])
		b = b[n:]
	}
	return list
}

func unnumbered(b []byte) []byte {
	b = bytes.Clone(b)
	for _, m := range messages(b) {
		clear(m[8:12])
	}
	return b
}

// refusal is the kernel's answer to a message that it refuses.
func refusal(seq uint32, errno syscall.Errno) []byte {
	h := binary.NativeEndian
	b := h.AppendUint32(nil, 36)
	b = h.AppendUint16(b, unix.NLMSG_ERROR)
	b = h.AppendUint16(b, 0)
	b = h.AppendUint32(b, seq)
	b = h.AppendUint32(b, 0)
	b = h.AppendUint32(b, uint32(-int32(errno)))
	return append(b, make([]byte, 16)...)
}
