//go:build linux

// Package netlink is the socket of route netlink: it sends many messages in one
// system call, tells what became of each, reads lists, and hears of changes.
package netlink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// Transport is a netlink socket, as narrow as it can be so that a test can
// stand in for the kernel or make each exchange fail.
type Transport interface {
	// Send sends a buffer of whole messages in one system call.
	Send(b []byte) error
	// Recv reads one datagram into b and returns its length.
	Recv(b []byte) (int, error)
	// SetDeadline bounds the waiting of Send and Recv.
	SetDeadline(t time.Time) error
	// Grow makes room for a send of n bytes, and reports whether it could.
	Grow(n int) bool
	// GrowAnswers makes room for n refusals, and reports whether it could.
	GrowAnswers(n int) bool
	// NSFD returns a new descriptor of the socket's network namespace.
	NSFD() (int, error)
	// Index returns the index of the link with a name.
	Index(name string) (int, error)
	Close() error
}

// Timeout bounds each exchange whose context has no earlier deadline.
const Timeout = 10 * time.Second

// maxBytes bounds one send below the default send buffer of 208 KiB, where the
// buffer can not be made larger.
const maxBytes = 128 << 10

// dumpTries is how often an interrupted dump is read before giving up.
const dumpTries = 20

// ErrInterrupted is returned when a dump was interrupted by changes each time.
var ErrInterrupted = errors.New("the kernel's tables changed during each attempt to read them")

// Conn is a route netlink socket, for use by many goroutines.
type Conn struct {
	mu       sync.Mutex // one exchange at a time: answers carry only a sequence number
	t        Transport
	seq      uint32
	deadline time.Time
	behind   bool // an exchange ended before its answers were read
}

// buffers are shared between all sockets, so that an idle one costs nothing.
// The kernel fills at most 32 KiB of one in a dump.
var buffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// Intercept, where a test has set it, stands between every new Conn and its
// socket. It is not for use while connections are opened.
var Intercept func(Transport) Transport

// Dial opens a socket of route netlink in the calling thread's network namespace.
func Dial() (*Conn, error) { return dial(unix.NETLINK_ROUTE) }

// DialGeneric opens one of generic netlink.
func DialGeneric() (*Conn, error) { return dial(unix.NETLINK_GENERIC) }

// DialNetfilter opens one of netfilter.
func DialNetfilter() (*Conn, error) { return dial(unix.NETLINK_NETFILTER) }

func dial(protocol int) (*Conn, error) {
	s, err := dialSocket(protocol)
	if err != nil {
		return nil, err
	}
	if Intercept != nil {
		return NewConn(Intercept(s)), nil
	}
	return NewConn(s), nil
}

// NewConn returns a Conn over t.
func NewConn(t Transport) *Conn { return &Conn{t: t, seq: rand.Uint32() | 1} }

// Close closes the socket, after an exchange that is under way.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t.Close()
}

// InStep reports whether each exchange so far had its answers read, so that another
// may use the socket.
func (c *Conn) InStep() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.behind
}

// NSFD returns a new descriptor of the namespace that the socket is in. It is
// close-on-exec; the caller closes it.
func (c *Conn) NSFD() (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t.NSFD()
}

// Index returns the index of the link with a name, ENODEV if there is none.
func (c *Conn) Index(name string) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t.Index(name)
}

// Do sends the requests, in one system call if it may, and waits for the last
// one's answer. The kernel runs a message even after the one before it failed:
// errs has an entry for each request, also for those that could not be sent. A
// non-nil err means that the outcome of some is not known; nil entries then
// prove nothing.
func (c *Conn) Do(ctx context.Context, reqs ...rtnl.Request) (errs []error, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	errs = make([]error, len(reqs))
	limit := maxBytes
	if total := sizeOf(reqs); total > limit && c.t.Grow(total) {
		limit = total
	}
	most := len(reqs)
	if most > maxRefusals && !c.t.GrowAnswers(most) {
		most = maxRefusals
	}
	for start := 0; start < len(reqs); {
		end := start + min(cut(reqs[start:], limit), most)
		sent, err := c.exchange(ctx, reqs[start:end], errs[start:end])
		if !sent {
			for i := start; i < len(errs); i++ {
				errs[i] = err
			}
			return errs, nil
		}
		if err != nil {
			return errs, err
		}
		start = end
	}
	return errs, nil
}

// maxQuestions is how many questions go into one send: the answers wait in the
// socket's receive buffer, which holds some fifty descriptions of links.
const maxQuestions = 32

// maxRefusals is how many requests go into one send where the receive buffer can
// not be made larger: the kernel may refuse each of them, and its answers wait
// there. One of the default size holds some 250.
const maxRefusals = 200

// cut returns how many of the requests go into one send.
func cut(reqs []rtnl.Request, limit int) int {
	size, questions := 0, 0
	for i := range reqs {
		if reqs[i].Reply != nil {
			questions++
		}
		if size += sizeOf(reqs[i : i+1]); i > 0 && (size > limit || questions > maxQuestions) {
			return i
		}
	}
	return len(reqs)
}

func sizeOf(reqs []rtnl.Request) (n int) {
	for i := range reqs {
		n += 16 + (len(reqs[i].Data)+3)&^3
	}
	return n
}

// One sends a single request and returns its error.
func (c *Conn) One(ctx context.Context, r rtnl.Request) error {
	_, err := c.one(ctx, r)
	return err
}

// one also reports whether the outcome is known.
func (c *Conn) one(ctx context.Context, r rtnl.Request) (known bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs [1]error
	sent, err := c.exchange(ctx, []rtnl.Request{r}, errs[:])
	if err != nil {
		return !sent, err
	}
	return true, errs[0]
}

// Surely is One for a request that may be done twice: where its outcome is not
// known it is sent again. repeated says so, since the answer may then be that
// it was done before.
func (c *Conn) Surely(ctx context.Context, r rtnl.Request) (repeated bool, err error) {
	if known, err := c.one(ctx, r); known {
		return false, err
	}
	return true, c.One(ctx, r)
}

// exchange does one send and reads until the last request is answered. sent is
// false where the kernel did not get it.
func (c *Conn) exchange(ctx context.Context, reqs []rtnl.Request, errs []error) (sent bool, err error) {
	if err := c.setDeadline(ctx); err != nil {
		return false, err
	}
	first := c.seq
	bp := buffers.Get().(*[]byte)
	defer buffers.Put(bp)
	b := (*bp)[:0]
	if n := sizeOf(reqs); n > cap(b) {
		b = make([]byte, 0, n)
	}
	for i, r := range reqs {
		flags := r.Flags | unix.NLM_F_REQUEST
		if i == len(reqs)-1 && r.Reply == nil {
			flags |= unix.NLM_F_ACK // a question is answered anyway
		}
		b = rtnl.AppendMessage(b, r, flags, c.seq)
		c.seq++
	}
	if err := c.t.Send(b); err != nil {
		return false, timeoutOf(err)
	}
	last := uint32(len(reqs) - 1)
	return true, c.receive(ctx, *bp, func(h rtnl.Header, payload []byte) (bool, error) {
		i := h.Seq - first
		if i > last {
			return false, nil // the late answer to an exchange that timed out
		}
		if h.Type == unix.NLMSG_ERROR {
			errs[i] = rtnl.DecodeError(h, payload)
			return i == last, nil
		}
		if f := reqs[i].Reply; f != nil {
			f(payload)
			return i == last, nil
		}
		return false, nil
	})
}

// dump sends a dump request and calls f with each entry's payload. f is called
// from the start again after start was called.
func (c *Conn) dump(ctx context.Context, r rtnl.Request, start func(), f func(b []byte)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range dumpTries {
		if i > 2 {
			// Something goes on, such as the kernel's own work on many new
			// addresses: it is given time to end.
			pause := time.NewTimer(time.Duration(i) * time.Millisecond)
			select {
			case <-pause.C:
			case <-ctx.Done():
				pause.Stop()
				return context.Cause(ctx)
			}
		}
		start()
		interrupted, err := c.dumpOnce(ctx, r, f)
		if err != nil || !interrupted {
			return err
		}
	}
	return ErrInterrupted
}

func (c *Conn) dumpOnce(ctx context.Context, r rtnl.Request, f func(b []byte)) (interrupted bool, err error) {
	if err := c.setDeadline(ctx); err != nil {
		return false, err
	}
	seq := c.seq
	c.seq++
	bp := buffers.Get().(*[]byte)
	defer buffers.Put(bp)
	if err := c.t.Send(rtnl.AppendMessage((*bp)[:0], r, r.Flags|unix.NLM_F_REQUEST|unix.NLM_F_DUMP, seq)); err != nil {
		return false, timeoutOf(err)
	}
	err = c.receive(ctx, *bp, func(h rtnl.Header, payload []byte) (bool, error) {
		if h.Seq != seq {
			return false, nil
		}
		// The flag may be on the closing message alone, when an entry was
		// skipped after the last one that was sent.
		interrupted = interrupted || h.Flags&unix.NLM_F_DUMP_INTR != 0
		switch h.Type {
		case unix.NLMSG_DONE, unix.NLMSG_ERROR:
			return true, rtnl.DecodeError(h, payload)
		}
		f(payload)
		return false, nil
	})
	return interrupted, err
}

// receive reads datagrams and hands each message to f until f is done.
func (c *Conn) receive(ctx context.Context, buf []byte, f func(h rtnl.Header, payload []byte) (done bool, err error)) error {
	var dropped error // answers did not fit into the socket's buffer; others are there
	for {
		n, err := c.t.Recv(buf)
		switch {
		case err == nil:
		case dropped == nil && errors.Is(err, unix.ENOBUFS):
			dropped, c.deadline = err, time.Now().Add(lateTime)
			if err := c.t.SetDeadline(c.deadline); err != nil {
				return err
			}
			continue
		case dropped != nil:
			return dropped
		default:
			c.behind = true
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return timeoutOf(err)
		}
		if n > len(buf) {
			c.behind = true
			return fmt.Errorf("a netlink message of %d bytes does not fit", n)
		}
		for b := buf[:n]; len(b) > 0; {
			h, payload, rest, ok := rtnl.NextMessage(b)
			if !ok {
				c.behind = true
				return errors.New("malformed netlink message")
			}
			if done, err := f(h, payload); err != nil || done {
				return errors.Join(err, dropped)
			}
			b = rest
		}
	}
}

// lateTime is how long to wait for answers that are there or are lost.
const lateTime = 10 * time.Millisecond

// setDeadline makes the next waits end. Without a deadline in ctx the socket's
// is only moved when half of it is gone, which saves a timer per exchange.
func (c *Conn) setDeadline(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := c.catchUp(); err != nil {
		return err
	}
	now := time.Now()
	if d, ok := ctx.Deadline(); ok && d.Before(now.Add(Timeout)) {
		c.deadline = d
		return c.t.SetDeadline(d)
	}
	if c.deadline.Sub(now) >= Timeout/2 {
		return nil
	}
	c.deadline = now.Add(Timeout)
	return c.t.SetDeadline(c.deadline)
}

// catchUp reads away what came too late. An unfinished dump would make the
// kernel refuse the next one with EBUSY.
func (c *Conn) catchUp() error {
	if !c.behind {
		return nil
	}
	c.deadline = time.Now().Add(lateTime)
	if err := c.t.SetDeadline(c.deadline); err != nil {
		return err
	}
	bp := buffers.Get().(*[]byte)
	defer buffers.Put(bp)
	for range 10000 {
		if _, err := c.t.Recv(*bp); err != nil {
			break
		}
	}
	c.behind = false
	return nil
}

// timeoutOf makes every form of an expired deadline the same error.
func timeoutOf(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the kernel did not answer in time: %w", os.ErrDeadlineExceeded)
	}
	return err
}
