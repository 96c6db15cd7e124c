//go:build linux

package osltest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/seed59451c2b/osl"
)

// flows demands that TCP and UDP carry data from one sandbox to an address of
// another, both ways.
func flows(t *testing.T, from, to *osl.Namespace, addr string) {
	t.Helper()
	if err := tcpEcho(from, to, addr); err != nil {
		t.Errorf("TCP from %s to %s: %v", from.Key(), addr, err)
	}
	if err := udpEcho(from, to, addr); err != nil {
		t.Errorf("UDP from %s to %s: %v", from.Key(), addr, err)
	}
}

func tcpEcho(from, to *osl.Namespace, addr string) error {
	// The sockets are made inside, and used from anywhere.
	var l net.Listener
	var err error
	if e := to.InvokeFunc(func() { l, err = net.Listen("tcp", net.JoinHostPort(addr, "0")) }); e != nil || err != nil {
		return errors.Join(e, err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
	var c net.Conn
	if e := from.InvokeFunc(func() { c, err = net.DialTimeout("tcp", l.Addr().String(), 5*time.Second) }); e != nil || err != nil {
		return errors.Join(e, err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	sent := make([]byte, 300_000)
	_, _ = rand.Read(sent)
	go func() {
		_, _ = c.Write(sent)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err == nil && !bytes.Equal(got, sent) {
		err = fmt.Errorf("%d bytes came back, not the %d that were sent", len(got), len(sent))
	}
	return err
}

func udpEcho(from, to *osl.Namespace, addr string) error {
	var l net.PacketConn
	var c net.Conn
	var err error
	if e := to.InvokeFunc(func() { l, err = net.ListenPacket("udp", net.JoinHostPort(addr, "0")) }); e != nil || err != nil {
		return errors.Join(e, err)
	}
	defer l.Close()
	go func() {
		b := make([]byte, 2000)
		for {
			n, peer, err := l.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = l.WriteTo(b[:n], peer)
		}
	}()
	if e := from.InvokeFunc(func() { c, err = net.Dial("udp", l.LocalAddr().String()) }); e != nil || err != nil {
		return errors.Join(e, err)
	}
	defer c.Close()
	sent, got := make([]byte, 1200), make([]byte, 2000)
	_, _ = rand.Read(sent)
	for range 10 {
		_ = c.SetDeadline(time.Now().Add(500 * time.Millisecond))
		if _, err = c.Write(sent); err != nil {
			continue
		}
		var n int
		if n, err = c.Read(got); err == nil {
			if !bytes.Equal(got[:n], sent) {
				return errors.New("other bytes came back")
			}
			return nil
		}
	}
	return err
}

// applied makes a network, which is taken down at the end, and returns its
// sandboxes by name.
func applied(t *testing.T, n osl.Network) map[string]*osl.Namespace {
	t.Helper()
	ctx := context.Background()
	t.Cleanup(func() {
		if _, err := osl.Down(ctx, n); err != nil {
			t.Errorf("Down: %v", err)
		}
		again, err := osl.Down(ctx, n)
		if err != nil || len(again) > 0 {
			t.Errorf("a second Down: %v %v", again, err)
		}
	})
	changes, err := osl.Apply(ctx, n)
	must(t, err)
	if len(changes) == 0 {
		t.Error("Apply made a network and reports no changes")
	}
	again, err := osl.Apply(ctx, n)
	if err != nil || len(again) > 0 {
		t.Errorf("Apply again: %v, %v", again, err)
	}
	todo, err := osl.Diff(ctx, n)
	if err != nil || len(todo) > 0 {
		t.Errorf("Diff after Apply: %v, %v", todo, err)
	}
	out := map[string]*osl.Namespace{}
	for _, s := range n.Sandboxes {
		ns, err := osl.Open(ctx, s.Name)
		must(t, err)
		t.Cleanup(func() { _ = ns.Close() })
		out[s.Name] = ns
	}
	return out
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func cable(a, aIf, b, bIf string) osl.Link {
	return osl.Link{{Sandbox: a, Interface: aIf}, {Sandbox: b, Interface: bIf}}
}

func TestTrafficOverABridge(t *testing.T) {
	begin(t)
	s := applied(t, osl.Network{
		Sandboxes: []osl.Spec{
			{Name: "switch", Interfaces: []osl.InterfaceSpec{
				{Name: "br0", Type: "bridge", Addresses: prefixes("10.101.0.1/24", "fd65::1/64")},
				{Name: "p1", Master: "br0"}, {Name: "p2", Master: "br0"}}},
			{Name: "web", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Addresses: prefixes("10.101.0.2/24", "fd65::2/64")}},
				Gateway: netip.MustParseAddr("10.101.0.1"), Gateway6: netip.MustParseAddr("fd65::1")},
			{Name: "db", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Addresses: prefixes("10.101.0.3/24", "fd65::3/64")}}},
		},
		Links: []osl.Link{cable("web", "eth0", "switch", "p1"), cable("db", "eth0", "switch", "p2")},
	})
	flows(t, s["web"], s["db"], "10.101.0.3")
	flows(t, s["web"], s["db"], "fd65::3")
	flows(t, s["db"], s["web"], "10.101.0.2")
	flows(t, s["db"], s["switch"], "fd65::1")
	// Within a sandbox too: lo is up, in both families where there is IPv6.
	flows(t, s["web"], s["web"], "127.0.0.1")
	flows(t, s["web"], s["web"], "::1")
}

func TestTrafficOverARouter(t *testing.T) {
	begin(t)
	host := sysctl(t, "", "ipv4/ip_forward")
	s := applied(t, osl.Network{
		Sandboxes: []osl.Spec{
			{Name: "router", Sysctls: map[string]string{"ipv4.ip_forward": "1", "ipv6/conf/all/forwarding": "1"},
				Interfaces: []osl.InterfaceSpec{
					{Name: "left", Addresses: prefixes("10.102.1.1/24", "fd66:1::1/64")},
					{Name: "right", Addresses: prefixes("10.102.2.1/24", "fd66:2::1/64")}}},
			{Name: "a", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Addresses: prefixes("10.102.1.2/24", "fd66:1::2/64")}},
				Gateway: netip.MustParseAddr("10.102.1.1"), Gateway6: netip.MustParseAddr("fd66:1::1")},
			{Name: "b", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Addresses: prefixes("10.102.2.2/24", "fd66:2::2/64")}},
				Routes: []osl.RouteSpec{
					{To: netip.MustParsePrefix("10.102.1.0/24"), Via: netip.MustParseAddr("10.102.2.1")},
					{To: netip.MustParsePrefix("fd66:1::/64"), Via: netip.MustParseAddr("fd66:2::1")}}},
		},
		Links: []osl.Link{cable("a", "eth0", "router", "left"), cable("router", "right", "b", "eth0")},
	})
	if got := sysctl(t, "", "ipv4/ip_forward"); got != host {
		t.Errorf("the host's ip_forward was %s and is %s", host, got)
	}
	flows(t, s["a"], s["b"], "10.102.2.2")
	flows(t, s["a"], s["b"], "fd66:2::2")
	flows(t, s["b"], s["a"], "10.102.1.2")
	flows(t, s["b"], s["a"], "fd66:1::2")
}

func TestTrafficOverAVXLAN(t *testing.T) {
	begin(t)
	// One side of the tunnel: its number is the last part of all addresses.
	side := func(name string, me, other byte) osl.Spec {
		m := func(n byte) osl.MAC { return osl.MAC{2, 0, 0, 0x67, 0, n} }
		under, over, over6 := func(n byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, n}) },
			func(n byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 103, 0, n}) },
			func(n byte) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fd67::%d", n)) }
		return osl.Spec{Name: name,
			Interfaces: []osl.InterfaceSpec{
				{Name: "eth0", Addresses: []netip.Prefix{netip.PrefixFrom(under(me), 24)}},
				{Name: "vx0", Type: "vxlan", VNI: 103, Local: under(me), MAC: m(me),
					Addresses: []netip.Prefix{netip.PrefixFrom(over(me), 24), netip.PrefixFrom(over6(me), 64)}},
			},
			Neighbors: []osl.NeighborSpec{
				{Dev: "vx0", IP: under(other), MAC: m(other), FDB: true},
				{Dev: "vx0", IP: over(other), MAC: m(other)},
				{Dev: "vx0", IP: over6(other), MAC: m(other)},
			},
		}
	}
	s := applied(t, osl.Network{
		Sandboxes: []osl.Spec{side("east", 1, 2), side("west", 2, 1)},
		Links:     []osl.Link{cable("east", "eth0", "west", "eth0")},
	})
	flows(t, s["east"], s["west"], "10.103.0.2")
	flows(t, s["east"], s["west"], "fd67::2")
	flows(t, s["west"], s["east"], "10.103.0.1")
	flows(t, s["west"], s["east"], "fd67::1")
}

// TestApplyMendsWhatWasChangedByHand: Diff shows the address that is gone, and
// Apply brings back just that.
func TestApplyMendsWhatWasChangedByHand(t *testing.T) {
	begin(t)
	ctx := context.Background()
	n := osl.Network{
		Sandboxes: []osl.Spec{
			{Name: "m1", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Addresses: prefixes("10.104.0.1/24", "fd68::1/64")}}},
			{Name: "m2", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Addresses: prefixes("10.104.0.2/24", "fd68::2/64")}}},
		},
		Links: []osl.Link{cable("m1", "eth0", "m2", "eth0")},
	}
	s := applied(t, n)
	key := s["m1"].Key()
	before := snapshot(t, key)
	delAddr(t, key, "eth0", "10.104.0.1/24")
	todo, err := osl.Diff(ctx, n)
	must(t, err)
	if len(todo) != 1 || !bytes.Contains([]byte(todo[0].Command), []byte("10.104.0.1/24")) {
		t.Errorf("Diff shows:\n%v", todo)
	}
	done, err := osl.Apply(ctx, n)
	must(t, err)
	if done.String() != todo.String() {
		t.Errorf("Apply did\n%vand Diff had said\n%v", done, todo)
	}
	same(t, "the sandbox", before, func() []string { return snapshot(t, key) })
}

// TestApplyIsAllOrNothing: when the last of a network can't be made, nothing of
// it is left.
func TestApplyIsAllOrNothing(t *testing.T) {
	begin(t)
	for what, bad := range map[string]osl.InterfaceSpec{
		"a source that is not there": {Name: "eth1", Source: "nosuchdevice"},
		"a master that is no bridge": {Name: "eth1", Type: "veth", Peer: osl.Endpoint{Sandbox: "n1", Interface: "other"}, Master: "eth0"},
		"a subnet twice":             {Name: "eth1", Type: "bridge", Addresses: prefixes("10.105.0.9/24")},
		"no type":                    {Name: "eth1", Type: "carrier-pigeon"},
		"an MTU that can't be":       {Name: "eth1", Type: "bridge", MTU: 1 << 30},
	} {
		host, files := snapshot(t, ""), mountsAndKeys(t)
		ends(t, what, func() {
			_, err := osl.Apply(context.Background(), osl.Network{
				Sandboxes: []osl.Spec{
					{Name: "n1", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Addresses: prefixes("10.105.1.1/24")}}},
					{Name: "n2", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Addresses: prefixes("10.105.0.2/24")}, bad}},
				},
				Links: []osl.Link{cable("n1", "eth0", "n2", "eth0"), cable("host", "tohost", "n1", "up")},
			})
			refused(t, what, err, nil, "eth1")
		})
		same(t, what+": the host", host, func() []string { return snapshot(t, "") })
		same(t, what+": mounts and keys", files, func() []string { return mountsAndKeys(t) })
	}
}
