//go:build linux

package osltest

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

// seen is what a Watch yields, as it comes.
type seen struct {
	t    *testing.T
	ch   chan *osl.Status
	end  chan error
	stop context.CancelFunc
}

func watched(t *testing.T, n *osl.Namespace) *seen {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	s := &seen{t: t, ch: make(chan *osl.Status), end: make(chan error, 1), stop: stop}
	t.Cleanup(stop)
	go func() {
		for st, err := range n.Watch(ctx) {
			if err != nil {
				s.end <- err
				return
			}
			s.ch <- st
		}
	}()
	return s
}

// until takes states until one is as wanted.
func (s *seen) until(what string, ok func(*osl.Status) bool) {
	s.t.Helper()
	for timeout := time.After(10 * time.Second); ; {
		select {
		case st := <-s.ch:
			if ok(st) {
				return
			}
		case err := <-s.end:
			s.t.Fatalf("%s: the watch ended: %v", what, err)
		case <-timeout:
			s.t.Fatalf("%s: not seen", what)
		}
	}
}

func (s *seen) ended(want error) {
	s.t.Helper()
	for timeout := time.After(10 * time.Second); ; {
		select {
		case <-s.ch:
		case err := <-s.end:
			if !errors.Is(err, want) {
				s.t.Errorf("the watch ended with %v, want %v", err, want)
			}
			return
		case <-timeout:
			s.t.Fatal("the watch did not end")
		}
	}
}

func TestWatch(t *testing.T) {
	w := begin(t)
	n := w.namespace()
	s := watched(t, n)
	s.until("the beginning", func(st *osl.Status) bool { return len(st.Interfaces) == 0 && st.Key == n.Key() })
	_, dst, _ := w.eth(n, "10.71.0.2/24")
	s.until("an interface", func(st *osl.Status) bool {
		return len(st.Interfaces) == 1 && st.Interfaces[0].Name == dst && slices.Equal(st.Interfaces[0].Addresses, prefixes("10.71.0.2/24"))
	})
	must(t, n.SetGateway(ip("10.71.0.1")))
	s.until("a gateway", func(st *osl.Status) bool { return st.Gateway == netip.MustParseAddr("10.71.0.1") })
	// What others do is seen as well.
	inside(t, n.Key(), func() error {
		l, err := netlink.LinkByName(dst)
		must(t, err)
		return netlink.LinkSetMTU(l, 1400)
	})
	s.until("an MTU", func(st *osl.Status) bool { return st.Interfaces[0].MTU == 1400 })
	must(t, n.AddNeighbor(ip("10.71.0.9"), mac("02:00:00:00:71:09"), false))
	s.until("a neighbor", func(st *osl.Status) bool { return len(st.Neighbors) == 1 })
	s.stop()
	s.ended(context.Canceled)

	// It ends with its handle.
	closing, err := osl.Open(t.Context(), n.Key())
	must(t, err)
	s = watched(t, closing)
	s.until("the state", func(*osl.Status) bool { return true })
	must(t, closing.Close())
	s.ended(osl.ErrClosed)

	// It ends with the sandbox, whoever takes it away.
	other, err := osl.Open(t.Context(), n.Key())
	must(t, err)
	defer other.Close()
	s = watched(t, other)
	s.until("the state", func(*osl.Status) bool { return true })
	must(t, n.Destroy())
	s.ended(osl.ErrClosed)
	for _, err := range other.Watch(t.Context()) {
		refused(t, "watch what is gone", err, osl.ErrClosed, n.Key())
	}
}

// What is mounted over the key is no event of the namespace.
func TestWatchMountedOver(t *testing.T) {
	w := begin(t)
	n := w.namespace()
	for range 20 {
		s := watched(t, n)
		s.until("the state", func(*osl.Status) bool { return true })
		must(t, unix.Mount("/dev/null", n.Key(), "", unix.MS_BIND, ""))
		s.ended(osl.ErrClosed)
		must(t, unix.Unmount(n.Key(), unix.MNT_DETACH))
	}
}

func TestReq37WatcherThatLostEvents(t *testing.T) {
	w := begin(t)
	n := w.namespace()
	_, dst, _ := w.eth(n, "10.72.0.2/16")
	// An ordinary listener, to see that there was no room for the events.
	other, err := subscribe(n.Key(), unix.RTNLGRP_NEIGH)
	must(t, err)
	defer other.Close()
	must(t, other.SetReceiveBufferSize(208<<10, false))
	fds := func() int { list, _ := os.ReadDir("/proc/self/fd"); return len(list) }
	before := fds()
	s := watched(t, n)
	s.until("the beginning", func(*osl.Status) bool { return true })
	// The watcher stands still at a first change while many others come.
	must(t, n.SetGateway(ip("10.72.0.1")))
	time.Sleep(100 * time.Millisecond)
	var list []osl.NeighborSpec
	for i := range 5000 {
		list = append(list, osl.NeighborSpec{Dev: dst, IP: netip.AddrFrom4([4]byte{10, 72, byte(1 + i>>8), byte(i)}), MAC: osl.MAC(mac("02:00:00:00:72:00"))})
	}
	must(t, n.AddNeighbors(t.Context(), slices.Values(list)))
	if !lost(other) {
		t.Error("no events were lost: the test proves nothing")
	}
	want, err := n.Inspect(t.Context())
	must(t, err)
	s.until("all of it", func(st *osl.Status) bool { return reflect.DeepEqual(st, want) && len(st.Neighbors) == 5000 })
	// And it hears what comes later.
	must(t, n.DeleteNeighbors(t.Context(), slices.Values(list)))
	s.until("none", func(st *osl.Status) bool { return len(st.Neighbors) == 0 })
	s.stop()
	s.ended(context.Canceled)
	if now := fds(); now > before {
		t.Errorf("%d descriptors before, %d after", before, now)
	}
	// A loop that is left holds nothing either.
	for range n.Watch(t.Context()) {
		break
	}
	if now := fds(); now > before {
		t.Errorf("%d descriptors before, %d after a loop that was left", before, now)
	}
}

// lost reads a listener until the kernel says that there was no room.
func lost(s *nl.NetlinkSocket) bool {
	var b [1]byte
	for {
		switch _, _, err := unix.Recvfrom(s.GetFd(), b[:], unix.MSG_DONTWAIT); err {
		case nil, unix.EINTR:
		default:
			return err == unix.ENOBUFS
		}
	}
}
