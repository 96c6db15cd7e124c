package inside

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// What each address does is in its last byte: 1 connects, 2 refuses, 3 is silent.
func TestRace(t *testing.T) { synctest.Test(t, testRace) } // on a clock of its own

func testRace(t *testing.T) {
	for _, c := range []struct {
		list string
		want string // who connects, or the error
		took time.Duration
	}{
		{"::1 10.0.0.1", "::1", 0},
		{"::2 10.0.0.1", "10.0.0.1", 0},
		{"::3 10.0.0.1", "10.0.0.1", headStart},
		{"::2 ::1 10.0.0.1", "::1", 0},
		{"::2 10.0.0.2", "refused ::2", 0},
		{"10.0.0.2 10.0.0.1", "10.0.0.1", 0},
		{"::3 10.0.0.3", "deadline ::3", 500 * time.Millisecond},
		{"10.0.0.3 ::2", "deadline 10.0.0.3", 500 * time.Millisecond},
	} {
		var list []netip.Addr
		for _, a := range strings.Fields(c.list) {
			list = append(list, netip.MustParseAddr(a))
		}
		var open sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		begin := time.Now()
		conn, err := race(ctx, list, func(ctx context.Context, a netip.Addr) (net.Conn, error) {
			b := a.As16()
			switch b[15] {
			case 1:
				open.Add(1)
				return &named{a: a, open: &open}, nil
			case 2:
				return nil, fmt.Errorf("refused %v", a)
			}
			<-ctx.Done()
			return nil, fmt.Errorf("deadline %v", a)
		})
		cancel()
		took := time.Since(begin)
		got := fmt.Sprint(err)
		if conn != nil {
			got = conn.(*named).a.String()
			_ = conn.Close()
		}
		if got != c.want || took != c.took {
			t.Errorf("%s: %s after %v, not %s", c.list, got, took, c.want)
		}
		open.Wait() // the loser's connection is closed
	}
}

// Both connect: one is returned and the other closed.
func TestRaceLoserIsClosed(t *testing.T) { synctest.Test(t, testLoserIsClosed) }

func testLoserIsClosed(t *testing.T) {
	var open sync.WaitGroup
	conn, err := race(t.Context(), []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("10.0.0.1")},
		func(_ context.Context, a netip.Addr) (net.Conn, error) {
			open.Add(1)
			if a.Is6() {
				time.Sleep(headStart + 50*time.Millisecond)
			} else {
				time.Sleep(100 * time.Millisecond)
			}
			return &named{a: a, open: &open}, nil
		})
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	open.Wait()
}

// Each address has a part of the time.
func TestInTurnSharesTheTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	var parts []time.Duration
	_, err := inTurn(ctx, make([]netip.Addr, 4), func(ctx context.Context, _ netip.Addr) (net.Conn, error) {
		end, _ := ctx.Deadline()
		parts = append(parts, time.Until(end).Round(time.Minute))
		return nil, errors.New("no")
	})
	if err == nil || fmt.Sprint(parts) != "[15m0s 20m0s 30m0s 1h0m0s]" {
		t.Errorf("%v, %v", parts, err)
	}
}

type named struct {
	net.Conn
	a    netip.Addr
	open *sync.WaitGroup
}

func (n *named) Close() error { n.open.Done(); return nil }
