package inside

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
)

// The way into the sandbox is left when the socket is there, and where none came to be;
// a socket that was not made on the way is replaced, and one that can not leave is no
// connection.
func TestDialLeaves(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	stuck := errors.New("stuck")
	for _, c := range []struct {
		name, address  string
		context        func() context.Context
		refused, stuck error
		astray         bool
		left, replaced int
		want           error
	}{
		{name: "connected", left: 2},
		{name: "astray", astray: true, left: 2, replaced: 1},
		{name: "no port", address: "127.0.0.1:none", left: 1, want: &net.DNSError{}},
		{name: "ended before", context: ended, left: 1, want: context.Canceled},
		{name: "refused", refused: syscall.EPERM, replaced: 1},
		{name: "stuck", stuck: stuck, left: 2, want: stuck},
	} {
		s, left, replaced, ctx := here(t, nil), 0, 0, t.Context()
		s.RunFrom = func(_ int, f func() error) error { replaced++; return f() }
		s.Visit = func() (func() (bool, error), error) {
			if c.refused != nil {
				return nil, c.refused
			}
			return func() (bool, error) {
				if left++; left > 1 {
					return false, nil
				}
				return c.astray, c.stuck
			}, nil
		}
		if c.context != nil {
			ctx = c.context()
		}
		if c.address == "" {
			c.address = l.Addr().String()
		}
		conn, err := s.Dial(ctx, "tcp", c.address)
		if conn != nil {
			conn.Close()
		}
		var dns *net.DNSError
		ok := errors.Is(err, c.want)
		if errors.As(c.want, &dns) {
			ok = errors.As(err, &dns)
		}
		if !ok || (err == nil) != (conn != nil) || left != c.left || replaced != c.replaced {
			t.Errorf("%s: %v, %v; left %d times, replaced %d", c.name, conn, err, left, replaced)
		}
	}
}

func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
