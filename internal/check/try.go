package check

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/seed59451c2b/osl"
)

// attemptTime bounds one attempt of a check that is to succeed: the kernel
// repeats a lost SYN later and later, and a fresh one finds a way that has
// opened meanwhile. A datagram is sent again every resend.
const (
	attemptTime = time.Second
	resend      = 200 * time.Millisecond
)

// outcome is what came of one attempt.
type outcome struct {
	kind   string
	detail string
	took   time.Duration
}

// try makes one attempt. It opens its sockets on the calling goroutine, whose
// thread is in the sandbox.
func try(ctx context.Context, c osl.Check) outcome {
	if expected(c) != Timeout {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, attemptTime)
		defer cancel()
	}
	switch {
	case c.Ping.IsValid():
		return ping(ctx, c.Ping)
	case c.TCP.IsValid():
		return connect(ctx, c.TCP)
	}
	return datagram(ctx, c.UDP)
}

func connect(ctx context.Context, to netip.AddrPort) outcome {
	begin := time.Now()
	to, err := numericZone(to)
	if err != nil {
		return judge(err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", to.String())
	if err != nil {
		return judge(err)
	}
	took := time.Since(begin)
	// What the check has shown does not depend on how the closing goes.
	_ = conn.Close()
	return outcome{OK, "", took}
}

func datagram(ctx context.Context, to netip.AddrPort) outcome {
	to, err := numericZone(to)
	if err != nil {
		return judge(err)
	}
	dialer := net.Dialer{Control: allErrors}
	conn, err := dialer.DialContext(ctx, "udp", to.String())
	if err != nil {
		return judge(err)
	}
	defer conn.Close()
	word := []byte("osl check")
	return converse(ctx, conn, func(int) error {
		_, err := conn.Write(word)
		return err
	}, func(buf []byte) (bool, error) {
		n, err := conn.Read(buf)
		return string(buf[:n]) == string(word), err
	})
}

// converse sends, and waits for an answer, again and again until one comes,
// an error does, or the time is over.
func converse(ctx context.Context, conn deadliner, send func(seq int) error, receive func([]byte) (bool, error)) outcome {
	buf := make([]byte, 1500)
	for seq := 0; ; seq++ {
		begin := time.Now()
		if err := send(seq); err != nil {
			return judge(err)
		}
		if err := conn.SetReadDeadline(begin.Add(resend)); err != nil {
			return judge(err)
		}
		for {
			answered, err := receive(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return judge(err)
			}
			if answered {
				return outcome{OK, "", time.Since(begin)}
			}
		}
		if err := ctx.Err(); err != nil {
			return judge(err)
		}
	}
}

type deadliner interface{ SetReadDeadline(time.Time) error }

// judge says what an error of a socket means for a check.
func judge(err error) outcome {
	var errno syscall.Errno
	timedOut, ok := err.(interface{ Timeout() bool })
	switch {
	case errors.Is(err, context.Canceled):
		return outcome{kind: failed, detail: "interrupted"}
	case errors.As(err, &errno):
		return outcome{kind: kinds[errno], detail: errno.Error()}.orFailed()
	case ok && timedOut.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return outcome{kind: Timeout, detail: "no answer"}
	}
	return outcome{kind: failed, detail: err.Error()}
}

// kinds are the errors that are an answer. EACCES is that of a route which
// prohibits, EADDRNOTAVAIL that of a sandbox without an address of the family.
var kinds = map[syscall.Errno]string{
	syscall.ECONNREFUSED:  Refused,
	syscall.EHOSTUNREACH:  Unreachable,
	syscall.ENETUNREACH:   Unreachable,
	syscall.ENETDOWN:      Unreachable,
	syscall.EACCES:        Unreachable,
	syscall.EADDRNOTAVAIL: Unreachable,
	syscall.ETIMEDOUT:     Timeout,
}

func (o outcome) orFailed() outcome {
	if o.kind == "" {
		o.kind = failed
	}
	return o
}

// numericZone turns the zone of an address into an index. The net package
// remembers the indexes of names for a minute, for all namespaces alike.
func numericZone(to netip.AddrPort) (netip.AddrPort, error) {
	a, err := zoneIndex(to.Addr())
	return netip.AddrPortFrom(a, to.Port()), err
}

func zoneIndex(a netip.Addr) (netip.Addr, error) {
	if a.Zone() == "" {
		return a, nil
	}
	// This does ask the kernel, and on this thread.
	link, err := net.InterfaceByName(a.Zone())
	if err != nil {
		return a, err
	}
	return a.WithZone(strconv.Itoa(link.Index)), nil
}
