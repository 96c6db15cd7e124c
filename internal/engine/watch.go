//go:build linux

package engine

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/netns"
	"github.com/seed59451c2b/osl/internal/stand"
)

// Watch yields what the sandbox holds, at once and after each event that has changed it,
// until yield returns false.
func (n *Namespace) Watch(ctx context.Context, yield func(*stand.Sandbox) bool) error {
	return fail("watch the sandbox", n.key, "", n.watch(ctx, yield))
}

func (n *Namespace) watch(ctx context.Context, yield func(*stand.Sandbox) bool) error {
	events, err := n.listen()
	if err != nil {
		return err
	}
	defer events.Close()
	if err := n.watched(events); err != nil {
		return err
	}
	defer n.unwatched(events)
	// AfterFunc runs Wake in a goroutine of its own, which must not come late.
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { events.Wake(); close(woken) })
	defer func() {
		if !stop() {
			<-woken
		}
	}()
	for last := (*stand.Sandbox)(nil); ; {
		r, err := n.inspect(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, closed := n.handle(); closed != nil {
			return closed
		}
		if errors.Is(err, netlink.ErrInterrupted) || errors.Is(err, unix.ENODEV) {
			// What is read changes all the while, or went between two readings.
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		if err != nil {
			return err
		}
		if now := r.Sandbox(); !reflect.DeepEqual(now, last) {
			if last = now; !yield(now) {
				return nil
			}
		}
		err = events.Wait(func() bool { _, err := n.live(); return err != nil })
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, closed := n.handle(); closed != nil {
			return closed
		}
		if err != nil {
			return err
		}
	}
}

func (n *Namespace) listen() (events *netlink.Events, err error) {
	if _, err := n.live(); err != nil {
		return nil, err
	}
	ns, err := n.file()
	if err != nil {
		return nil, err
	}
	defer ns.Release()
	err = netns.Do(ns.FD(), func() (err error) {
		events, err = netlink.Listen()
		return err
	})
	if err != nil && events != nil {
		events.Close()
	}
	return events, err
}

// watched notes who is to be woken when the handle is closed.
func (n *Namespace) watched(events *netlink.Events) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return fault.ErrClosed
	}
	n.watches = append(n.watches, events)
	return nil
}

func (n *Namespace) unwatched(events *netlink.Events) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watches = slices.DeleteFunc(n.watches, func(e *netlink.Events) bool { return e == events })
}
