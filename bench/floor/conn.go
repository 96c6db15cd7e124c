//go:build linux

// Package floor does what a sandbox needs with as few system calls as were
// found to do it: raw netlink messages, written and read without a library. It
// is what the benchmark compares everything with, and nothing to be used: it
// trusts its arguments, takes no lock, keeps no record, undoes nothing, and is
// for one goroutine at a time.
package floor

import (
	"encoding/binary"
	"fmt"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Conn is a route netlink socket with messages that wait to be sent.
type Conn struct {
	fd    int
	seq   uint32
	out   []byte
	start int   // of the message that is being written
	nests []int // starts of the attributes that are being written
}

// buffers are what is read into. The kernel fills at most 32 KiB at a time.
var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// Dial opens a socket in the namespace of the calling thread.
func Dial() (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	return &Conn{fd: fd}, nil
}

// Close closes the socket.
func (c *Conn) Close() error { return unix.Close(c.fd) }

// message begins a message; it ends where the next one begins, or is sent.
func (c *Conn) message(typ, flags uint16) {
	c.finish()
	c.start = len(c.out)
	c.seq++
	c.out = binary.NativeEndian.AppendUint32(c.out, 0)
	c.out = binary.NativeEndian.AppendUint16(c.out, typ)
	c.out = binary.NativeEndian.AppendUint16(c.out, flags|unix.NLM_F_REQUEST)
	c.out = binary.NativeEndian.AppendUint32(c.out, c.seq)
	c.out = binary.NativeEndian.AppendUint32(c.out, 0)
}

// finish writes the length of the message. Attributes keep it aligned.
func (c *Conn) finish() {
	if len(c.out) > 0 {
		binary.NativeEndian.PutUint32(c.out[c.start:], uint32(len(c.out)-c.start))
	}
}

func (c *Conn) open(typ uint16) {
	c.nests = append(c.nests, len(c.out))
	c.out = binary.NativeEndian.AppendUint16(c.out, 0)
	c.out = binary.NativeEndian.AppendUint16(c.out, typ)
}

func (c *Conn) close() {
	at := c.nests[len(c.nests)-1]
	c.nests = c.nests[:len(c.nests)-1]
	binary.NativeEndian.PutUint16(c.out[at:], uint16(len(c.out)-at))
	for len(c.out)%4 != 0 {
		c.out = append(c.out, 0)
	}
}

func (c *Conn) bytes(typ uint16, b []byte) {
	c.open(typ)
	c.out = append(c.out, b...)
	c.close()
}

func (c *Conn) str(typ uint16, s string) {
	c.open(typ)
	c.out = append(c.out, s...)
	c.out = append(c.out, 0)
	c.close()
}

func (c *Conn) u32(typ uint16, v uint32) {
	c.open(typ)
	c.out = binary.NativeEndian.AppendUint32(c.out, v)
	c.close()
}

// send writes what waits, in one system call. The last message asks for an
// answer where ack is set.
func (c *Conn) send(ack bool) error {
	c.finish()
	if ack {
		flags := binary.NativeEndian.Uint16(c.out[c.start+6:])
		binary.NativeEndian.PutUint16(c.out[c.start+6:], flags|unix.NLM_F_ACK)
	}
	n, err := unix.Write(c.fd, c.out)
	if err == nil && n != len(c.out) {
		err = unix.EMSGSIZE
	}
	c.out = c.out[:0]
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// Flush sends what waits and reads until the last message is answered. It
// returns the first error; what failed does not keep the rest from being done.
func (c *Conn) Flush() error {
	if len(c.out) == 0 {
		return nil
	}
	if err := c.send(true); err != nil {
		return err
	}
	var first error
	return c.read(func(typ uint16, seq uint32, payload []byte) (bool, error) {
		if typ != unix.NLMSG_ERROR {
			return false, nil
		}
		if code := int32(binary.NativeEndian.Uint32(payload)); code != 0 && first == nil {
			first = fmt.Errorf("message %d of the batch: %w", seq, syscall.Errno(-code))
		}
		return seq == c.seq, first
	}, &first)
}

// read hands the messages that arrive to f until it is done.
func (c *Conn) read(f func(typ uint16, seq uint32, payload []byte) (done bool, err error), failed *error) error {
	in := buffers.Get().(*[]byte)
	defer buffers.Put(in)
	for {
		n, err := unix.Read(c.fd, *in)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		for b := (*in)[:n]; len(b) >= 16; {
			size := int(binary.NativeEndian.Uint32(b))
			if size < 16 || size > len(b) {
				return fmt.Errorf("receive: a message of %d bytes", size)
			}
			done, err := f(binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint32(b[8:]), b[16:size])
			if done {
				return err
			}
			if err != nil {
				*failed = err
			}
			b = b[min((size+3)&^3, len(b)):]
		}
	}
}

// dump sends the one message that waits as a dump and hands each entry to f.
func (c *Conn) dump(f func(payload []byte)) error {
	if err := c.send(false); err != nil {
		return err
	}
	var failed error
	return c.read(func(typ uint16, _ uint32, payload []byte) (bool, error) {
		switch typ {
		case unix.NLMSG_DONE:
			return true, failed
		case unix.NLMSG_ERROR:
			return true, syscall.Errno(-int32(binary.NativeEndian.Uint32(payload)))
		}
		f(payload)
		return false, nil
	}, &failed)
}
