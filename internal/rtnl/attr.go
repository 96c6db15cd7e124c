package rtnl

import (
	"encoding/binary"
	"iter"
	"net/netip"
	"strings"

	"github.com/seed59451c2b/osl/internal/linux"
)

// attrTypeMask takes the nested and byte-order flags off an attribute's type:
// NLA_TYPE_MASK of linux/netlink.h.
const attrTypeMask = 0x3fff

// buffer builds the payload of one message: a fixed header, then attributes,
// each padded to four bytes.
type buffer []byte

func (b *buffer) bytes(t uint16, v []byte) {
	*b = binary.NativeEndian.AppendUint16(*b, uint16(4+len(v)))
	*b = binary.NativeEndian.AppendUint16(*b, t)
	*b = append(*b, v...)
	b.pad()
}

func (b *buffer) pad() {
	for len(*b)%4 != 0 {
		*b = append(*b, 0)
	}
}

func (b *buffer) u8(t uint16, v uint8)   { b.bytes(t, []byte{v}) }
func (b *buffer) u16(t uint16, v uint16) { b.bytes(t, binary.NativeEndian.AppendUint16(nil, v)) }
func (b *buffer) be16(t uint16, v uint16) {
	b.bytes(t, binary.BigEndian.AppendUint16(nil, v))
}

func (b *buffer) u32(t uint16, v uint32) {
	*b = binary.NativeEndian.AppendUint16(*b, 8)
	*b = binary.NativeEndian.AppendUint16(*b, t)
	*b = binary.NativeEndian.AppendUint32(*b, v)
}

// str appends a string with the closing NUL that the kernel wants.
func (b *buffer) str(t uint16, v string) { b.bytes(t, append([]byte(v), 0)) }

// ip appends an address without its zone.
func (b *buffer) ip(t uint16, a netip.Addr) {
	if a.Is4() {
		v := a.As4()
		b.bytes(t, v[:])
		return
	}
	v := a.As16()
	b.bytes(t, v[:])
}

// nest appends an attribute that holds what f appends.
func (b *buffer) nest(t uint16, f func()) {
	at := len(*b)
	*b = binary.NativeEndian.AppendUint16(*b, 0)
	*b = binary.NativeEndian.AppendUint16(*b, t|linux.NLA_F_NESTED)
	f()
	binary.NativeEndian.PutUint16((*b)[at:], uint16(len(*b)-at))
}

// Room is memory for the payloads of many requests, had in large pieces. The
// zero value is ready; a nil one gives each payload its own.
type Room struct{ rest []byte }

func (r *Room) take(n int) buffer {
	if r == nil {
		return make(buffer, 0, n)
	}
	if len(r.rest) < n {
		r.rest = make([]byte, 64<<10)
	}
	b := r.rest[:0:n]
	r.rest = r.rest[n:]
	return b
}

// attrs yields the attributes of b, their types without flags. It ends at the
// first one whose length does not fit.
func attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= 4 {
			n := int(binary.NativeEndian.Uint16(b))
			if n < 4 || n > len(b) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[2:])&attrTypeMask, b[4:n:n]) {
				return
			}
			if n = (n + 3) &^ 3; n > len(b) {
				return
			}
			b = b[n:]
		}
	}
}

func getU8(b []byte) uint8 {
	if len(b) < 1 {
		return 0
	}
	return b[0]
}

func getU16(b []byte) uint16 {
	if len(b) < 2 {
		return 0
	}
	return binary.NativeEndian.Uint16(b)
}

func getU32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

func getU64(b []byte) uint64 {
	if len(b) < 8 {
		return 0
	}
	return binary.NativeEndian.Uint64(b)
}

func getStr(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}
