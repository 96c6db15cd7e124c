package rtnl

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"github.com/seed59451c2b/osl/internal/linux"
)

// Request is one message to the kernel.
type Request struct {
	Type  uint16
	Flags uint16
	Data  []byte
	// Reply is called with the payload of the one answer to a question. It must
	// not keep b.
	Reply func(b []byte)
}

// Error is the kernel's refusal of one message.
type Error struct {
	Errno syscall.Errno
	// Text is the kernel's own explanation, often empty.
	Text string
}

func (e *Error) Error() string {
	if e.Text != "" {
		return fmt.Sprintf("%v (%s)", e.Errno, e.Text)
	}
	return e.Errno.Error()
}

func (e *Error) Unwrap() error { return e.Errno }

// Header is what osl needs of struct nlmsghdr of linux/netlink.h.
type Header struct {
	Type, Flags uint16
	Seq         uint32
}

// AppendMessage appends a request as a message.
func AppendMessage(b []byte, r Request, flags uint16, seq uint32) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(16+len(r.Data)))
	b = binary.NativeEndian.AppendUint16(b, r.Type)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = append(b, r.Data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// NextMessage cuts the first message off b.
func NextMessage(b []byte) (h Header, payload, rest []byte, ok bool) {
	if len(b) < 16 {
		return h, nil, nil, false
	}
	n := int(binary.NativeEndian.Uint32(b))
	if n < 16 || n > len(b) {
		return h, nil, nil, false
	}
	h.Type = binary.NativeEndian.Uint16(b[4:])
	h.Flags = binary.NativeEndian.Uint16(b[6:])
	h.Seq = binary.NativeEndian.Uint32(b[8:])
	payload = b[16:n]
	if n = (n + 3) &^ 3; n > len(b) {
		n = len(b)
	}
	return h, payload, b[n:], true
}

// DecodeError returns the error of an NLMSG_ERROR, or of a dump's NLMSG_DONE;
// nil for an acknowledgement.
func DecodeError(h Header, payload []byte) error {
	code := int32(getU32(payload))
	if code >= 0 {
		return nil
	}
	e := &Error{Errno: syscall.Errno(-code)}
	if h.Flags&netlinkAckTLVs == 0 {
		return e
	}
	off := 4
	if h.Type == linux.NLMSG_ERROR {
		// The request's header follows, and its payload unless capped.
		if off += 16; h.Flags&netlinkCapped == 0 && len(payload) >= 8 {
			off = 4 + int(getU32(payload[4:]))
		}
	}
	if off = (off + 3) &^ 3; off < 0 || off > len(payload) {
		return e
	}
	for t, v := range attrs(payload[off:]) {
		if t == 1 { // NLMSGERR_ATTR_MSG
			e.Text = getStr(v)
		}
	}
	return e
}

// NLM_F_CAPPED and NLM_F_ACK_TLVS of linux/netlink.h.
const (
	netlinkCapped  = 0x100
	netlinkAckTLVs = 0x200
)
