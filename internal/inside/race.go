package inside

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// A dialer of one address.
type dialOne func(context.Context, netip.Addr) (net.Conn, error)

// headStart is what the first family has before the other is tried too: the
// "Connection Attempt Delay" of RFC 8305, as package net has it.
const headStart = 300 * time.Millisecond

// leastTime is what each address of a list has of the time that is left.
const leastTime = 2 * time.Second

// race connects to the addresses of the first one's family in their order, and after
// headStart, or when these failed, to the others at the same time. The first
// connection wins. The error is the first family's, as the user wants it.
func race(ctx context.Context, list []netip.Addr, one dialOne) (net.Conn, error) {
	var first, second []netip.Addr
	for _, a := range list {
		if a.Is4() == list[0].Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	if len(second) == 0 {
		return inTurn(ctx, first, one)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type outcome struct {
		conn  net.Conn
		err   error
		first bool
	}
	results := make(chan outcome, 2)
	start := func(list []netip.Addr, isFirst bool) {
		conn, err := inTurn(ctx, list, one)
		results <- outcome{conn, err, isFirst}
	}
	go start(first, true)
	started, done := false, 0
	startSecond := func() {
		if !started {
			started = true
			go start(second, false)
		}
	}
	timer := time.NewTimer(headStart)
	defer timer.Stop()
	var err error
	for {
		select {
		case <-timer.C:
			startSecond()
		case o := <-results:
			done++
			if o.err == nil {
				if started && done < 2 { // the other may have connected as well
					cancel()
					go func() {
						if o := <-results; o.conn != nil {
							_ = o.conn.Close()
						}
					}()
				}
				return o.conn, nil
			}
			if o.first || err == nil {
				err = o.err
			}
			if done == 2 {
				return nil, err
			}
			startSecond()
		}
	}
}

// inTurn connects to one address after the other. Each has its part of the time that
// is left. The error is that of the first.
func inTurn(ctx context.Context, list []netip.Addr, one dialOne) (net.Conn, error) {
	var first error
	for i, a := range list {
		conn, err := inTime(ctx, a, len(list)-i, one)
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

func inTime(ctx context.Context, a netip.Addr, left int, one dialOne) (net.Conn, error) {
	if end, limited := ctx.Deadline(); limited && left > 1 {
		part := max(time.Until(end)/time.Duration(left), leastTime)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, part)
		defer cancel()
	}
	return one(ctx, a)
}
