//go:build linux

package osltest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// everything are the groups in which the kernel reports a change of a network.
var everything = []uint{
	unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH,
	unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV4_NETCONF,
	unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_IPV6_NETCONF,
	unix.RTNLGRP_NSID,
}

// monitor keeps what the kernel reports from one namespace, from the moment
// that it was made.
type monitor struct {
	t    *testing.T
	sock *nl.NetlinkSocket
}

// watch starts a monitor of a namespace; "" is the host.
func watch(t *testing.T, key string, groups ...uint) *monitor {
	t.Helper()
	s, err := subscribe(key, groups...)
	must(t, err)
	m := &monitor{t: t, sock: s}
	t.Cleanup(m.close)
	return m
}

// subscribe is watch without a test.
func subscribe(key string, groups ...uint) (*nl.NetlinkSocket, error) {
	ns, err := netns.Get()
	if key != "" {
		ns, err = netns.GetFromPath(key)
	}
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	s, err := nl.SubscribeAt(ns, netns.None(), unix.NETLINK_ROUTE, groups...)
	if err == nil {
		// Lost events would make a silent monitor prove nothing: received
		// reports them, and a large buffer makes them unlikely.
		_ = s.SetReceiveBufferSize(1<<20, false)
	}
	return s, err
}

// close ends the monitor, which keeps its namespace alive.
func (m *monitor) close() {
	if m.sock != nil {
		m.sock.Close()
		m.sock = nil
	}
}

// events returns what was reported until nothing more came for the time given.
func (m *monitor) events(silence time.Duration) (out []event) {
	m.t.Helper()
	out, err := received(m.sock, silence)
	if err != nil {
		m.t.Fatalf("monitor: %v", err)
	}
	return out
}

// received is events without a test.
func received(s *nl.NetlinkSocket, silence time.Duration) (out []event, err error) {
	tv := unix.NsecToTimeval(int64(silence))
	if err := s.SetReceiveTimeout(&tv); err != nil {
		return nil, err
	}
	for {
		msgs, _, err := s.Receive()
		if errors.Is(err, unix.EAGAIN) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		for _, msg := range msgs {
			if msg.Header.Type == unix.RTM_DELNSID {
				continue // the end of an earlier test's sandbox
			}
			out = append(out, parseEvent(msg.Header.Type, msg.Data))
		}
	}
}

// quiet waits until the kernel has nothing more to report of earlier changes:
// its link watch waits for up to a second, and an IPv6 address of the host for
// up to two.
func (m *monitor) quiet() {
	m.t.Helper()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); {
		if len(m.events(2200*time.Millisecond)) == 0 {
			return
		}
	}
	m.t.Fatal("the namespace never became quiet")
}

// silent demands that nothing was reported.
func (m *monitor) silent(what string) {
	m.t.Helper()
	for _, e := range m.events(200 * time.Millisecond) {
		m.t.Errorf("%s: the kernel reported %v", what, e)
	}
}

// noIPv6 demands that no IPv6 address was reported, of the links given or of
// any.
func (m *monitor) noIPv6(what string, index ...int) {
	m.t.Helper()
	for _, e := range m.events(200 * time.Millisecond) {
		if e.kind == unix.RTM_NEWADDR && e.family == unix.AF_INET6 && (len(index) == 0 || slices.Contains(index, e.index)) {
			m.t.Errorf("%s: the kernel reported %v", what, e)
		}
	}
}

// event is one message of the kernel.
type event struct {
	kind   uint16
	family int
	index  int
	addr   netip.Addr
}

func (e event) String() string {
	names := map[uint16]string{
		unix.RTM_NEWLINK: "new link", unix.RTM_DELLINK: "link deleted", unix.RTM_NEWADDR: "new address",
		unix.RTM_DELADDR: "address deleted", unix.RTM_NEWROUTE: "new route", unix.RTM_DELROUTE: "route deleted",
		unix.RTM_NEWNEIGH: "new neighbor", unix.RTM_DELNEIGH: "neighbor deleted", unix.RTM_NEWNETCONF: "setting changed",
	}
	n := names[e.kind]
	if n == "" {
		n = fmt.Sprintf("message %d", e.kind)
	}
	return fmt.Sprintf("%s (family %d, link %d) %v", n, e.family, e.index, e.addr)
}

func parseEvent(kind uint16, data []byte) event {
	e := event{kind: kind}
	if len(data) < 8 {
		return e
	}
	e.family = int(data[0])
	switch kind {
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		e.index = int(binary.NativeEndian.Uint32(data[4:]))
		attrs, err := nl.ParseRouteAttr(data[unix.SizeofIfAddrmsg:])
		for _, a := range attrs {
			if err == nil && a.Attr.Type == unix.IFA_ADDRESS {
				e.addr, _ = netip.AddrFromSlice(a.Value)
			}
		}
	case unix.RTM_NEWLINK, unix.RTM_DELLINK, unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		e.index = int(binary.NativeEndian.Uint32(data[4:]))
	}
	return e
}
