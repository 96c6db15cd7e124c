//go:build linux

package osltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/seed59451c2b/osl"
)

func init() {
	children["remove"] = func(args []string) int {
		if err := osl.Remove(context.Background(), args[0]); err != nil {
			fmt.Println(err)
			return 1
		}
		return 0
	}
}

// Who waits on a connection of a sandbox that is destroyed gets an error, whichever
// handle destroys it, and whichever process.
func TestInsideDestroyedUnderConnections(t *testing.T) {
	for _, how := range []string{"Destroy", "Remove", "Down", "another process"} {
		ctx := t.Context()
		a, b := pair(t)
		l, err := b.Listen(ctx, "tcp", "10.0.0.2:80")
		if err != nil {
			t.Fatal(err)
		}
		p, err := b.ListenPacket(ctx, "udp", ":53")
		if err != nil {
			t.Fatal(err)
		}
		c, err := a.DialContext(ctx, "tcp", "10.0.0.2:80")
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan string, 5)
		buf := make([]byte, 10)
		wait := func(what string, f func() error) {
			go func() {
				if err := f(); err == nil {
					what += " without an error"
				}
				ended <- what
			}()
		}
		wait("accept", func() error { _, err := l.Accept(); return err })
		wait("server's read", func() error { _, err := s.Read(make([]byte, 1)); return err })
		wait("datagram's read", func() error { _, _, err := p.ReadFrom(buf); return err })
		wait("dial", func() error { _, err := b.DialContext(ctx, "tcp", "10.0.0.77:80"); return err }) // which nobody answers
		time.Sleep(20 * time.Millisecond)                                                              // so that they wait
		switch how {
		case "Destroy":
			err = b.Destroy()
		case "Remove":
			err = osl.Remove(ctx, b.Name())
		case "Down":
			_, err = osl.Down(ctx, osl.Network{Sandboxes: []osl.Spec{{Name: b.Name()}}})
		case "another process":
			err = child("remove", b.Name()).Run()
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 4 {
			select {
			case what := <-ended:
				if strings.Contains(what, "without") {
					t.Errorf("%s: %s", how, what)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("%s: somebody still waits", how)
			}
		}
		for _, x := range []io.Closer{l, p, c, s} {
			_ = x.Close()
		}
		_, err = b.DialContext(ctx, "tcp", "10.0.0.1:80")
		var op *net.OpError
		if !errors.As(err, &op) || !errors.Is(err, osl.ErrClosed) {
			t.Errorf("%s: a dial after it: %v", how, err)
		}
		if _, err = b.Listen(ctx, "tcp", ":80"); !errors.As(err, &op) || !errors.Is(err, osl.ErrClosed) {
			t.Errorf("%s: a listen after it: %v", how, err)
		}
		if err := b.Command(ctx, "true").Run(); !errors.Is(err, osl.ErrClosed) {
			t.Errorf("%s: a command after it: %v", how, err)
		}
	}
}

// So it is in a sandbox with lo alone, which another process destroys.
func TestInsideDestroyedWithLoAlone(t *testing.T) {
	n := opened(t)
	l, err := n.Listen(t.Context(), "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ended := make(chan error, 1)
	go func() { _, err := l.Accept(); ended <- err }()
	time.Sleep(20 * time.Millisecond) // so that it waits
	if err := child("remove", n.Name()).Run(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("somebody connected")
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits still")
	}
}
