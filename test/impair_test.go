//go:build linux

package osltest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// impairNet is a pair of which one end, or both, are impaired.
func impairNet(a, b *osl.ImpairSpec) osl.Network {
	p := netip.MustParsePrefix
	return osl.Network{Name: "impaired", Sandboxes: []osl.Spec{
		{Name: "ia", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Addresses: []netip.Prefix{p("10.120.0.1/24")}, Impair: a}}},
		{Name: "ib", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Addresses: []netip.Prefix{p("10.120.0.2/24")}, Impair: b}}},
	}, Links: []osl.Link{{{Sandbox: "ia", Interface: "eth0"}, {Sandbox: "ib", Interface: "eth0"}}}}
}

func downAfter(t *testing.T, name string) {
	t.Cleanup(func() {
		if _, err := osl.Down(context.Background(), osl.Network{Name: name}); err != nil {
			t.Errorf("down %s: %v", name, err)
		}
	})
}

// qdiscs tells of the disciplines of a link what another library reads.
func qdiscs(t *testing.T, name, dev string) string {
	t.Helper()
	return qdiscsAt(t, osl.GenerateKey(name), dev)
}

func qdiscsAt(t *testing.T, key, dev string) string {
	t.Helper()
	var lines []string
	witness(t, key, func(h *netlink.Handle) {
		l, err := h.LinkByName(dev)
		must(t, err)
		list, err := h.QdiscList(l)
		must(t, err)
		for _, q := range list {
			a := q.Attrs()
			line := fmt.Sprintf("%s %s %s", q.Type(), netlink.HandleStr(a.Handle), netlink.HandleStr(a.Parent))
			switch q := q.(type) {
			case *netlink.Netem:
				line += fmt.Sprintf(" latency %d jitter %d loss %d dup %d reorder %d corrupt %d rate %d limit %d gap %d", q.Latency, q.Jitter, q.Loss, q.Duplicate, q.ReorderProb, q.CorruptProb, q.Rate64, q.Limit, q.Gap)
			case *netlink.Tbf:
				line += fmt.Sprintf(" rate %d limit %d", q.Rate, q.Limit)
			}
			lines = append(lines, line)
		}
	})
	return strings.Join(lines, "\n")
}

// The kernel takes a queue of no length for a mistake where a discipline comes to it.
func TestFeatureRateOfNoQueue(t *testing.T) {
	begin(t)
	downAfter(t, "impaired")
	none := 0
	for i, rate := range []osl.Rate{0, 8e6, 16e6, 0, 8e6} {
		n := impairNet(nil, nil)
		n.Sandboxes[0].Interfaces[0].TxQueueLen = &none
		if rate != 0 {
			n.Sandboxes[0].Interfaces[0].Impair = &osl.ImpairSpec{Rate: rate}
		}
		_, err := osl.Apply(t.Context(), n)
		testnet.Feature(t, "impair by a rate (tbf)", err)
		settles(t, n)
		if got := needLink(t, osl.GenerateKey("ia"), "eth0").Attrs().TxQLen; got != 0 {
			t.Errorf("step %d: its queue has the length %d", i, got)
		}
		bad := n
		bad.Sandboxes = append([]osl.Spec{{Name: "sz"}}, n.Sandboxes...)
		refusedRoute(&bad.Sandboxes[0])
		bad.Sandboxes[1].Interfaces = []osl.InterfaceSpec{n.Sandboxes[0].Interfaces[0]}
		if bad.Sandboxes[1].Interfaces[0].Impair = nil; rate == 0 {
			bad.Sandboxes[1].Interfaces[0].Impair = &osl.ImpairSpec{Rate: 8e6}
		}
		if _, err := osl.Apply(t.Context(), bad); err == nil {
			t.Fatal("what can not be is")
		}
		if got := needLink(t, osl.GenerateKey("ia"), "eth0").Attrs().TxQLen; got != 0 {
			t.Errorf("step %d, after a change that failed: its queue has the length %d", i, got)
		}
	}
}

// A rate is a tbf, which nearly every kernel has: it is changed in its place, kept
// where it is wanted still, told by Inspect, and goes when it is not wanted.
func TestFeatureRate(t *testing.T) {
	begin(t)
	downAfter(t, "impaired")
	_, err := osl.Apply(t.Context(), impairNet(&osl.ImpairSpec{Rate: 8e6}, nil))
	testnet.Feature(t, "impair by a rate (tbf)", err)
	settles(t, impairNet(&osl.ImpairSpec{Rate: 8e6}, nil))
	if got := qdiscs(t, "ia", "eth0"); got != "tbf 6f6d:0 root rate 1000000 limit 66384" {
		t.Errorf("it is %s", got)
	}
	if got := qdiscs(t, "ib", "eth0"); strings.Contains(got, "tbf") {
		t.Errorf("the other end is %s", got)
	}
	n, err := osl.Open(t.Context(), "ia")
	must(t, err)
	defer n.Close()
	index := needLink(t, n.Key(), "eth0").Attrs().Index
	st, err := n.Inspect(t.Context())
	must(t, err)
	if i := st.Interfaces[0].Impair; i == nil || *i != (osl.ImpairSpec{Rate: 8e6}) {
		t.Errorf("Inspect says %+v", i)
	}
	did := settles(t, impairNet(&osl.ImpairSpec{Rate: 16e9}, &osl.ImpairSpec{Rate: 1e12}))
	if len(did) != 2 || did[0].Command != "tc -n ia qdisc change dev eth0 root handle 6f6d: tbf rate 16gbit burst 20000000 limit 120000000" {
		t.Errorf("a change does %v", did)
	}
	if l := needLink(t, n.Key(), "eth0"); l.Attrs().Index != index || l.Attrs().Flags&net.FlagUp == 0 {
		t.Error("the link is another, or down")
	}
	did = settles(t, impairNet(nil, &osl.ImpairSpec{Rate: 1e12}))
	if len(did) != 1 || did[0].Command != "tc -n ia qdisc del dev eth0 root handle 6f6d:" {
		t.Errorf("it goes by %v", did)
	}
	if got := qdiscs(t, "ia", "eth0"); strings.Contains(got, "tbf") {
		t.Errorf("what the file dropped is %s", got)
	}
}

// What others put at the root of a link is not touched.
func TestImpairOfOthers(t *testing.T) {
	begin(t)
	downAfter(t, "impaired")
	settles(t, impairNet(nil, nil))
	key := osl.GenerateKey("ia")
	var theirs string
	witness(t, key, func(h *netlink.Handle) {
		l, err := h.LinkByName("eth0")
		must(t, err)
		must(t, h.QdiscAdd(&netlink.Tbf{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}, Rate: 5e5, Limit: 50000, Buffer: 50000}))
	})
	theirs = qdiscs(t, "ia", "eth0")
	_, err := osl.Apply(t.Context(), impairNet(&osl.ImpairSpec{Rate: 8e6}, &osl.ImpairSpec{Rate: 8e6}))
	if !errors.Is(err, osl.ErrExists) || !strings.Contains(err.Error(), "another program put the queueing discipline tbf 1: there") ||
		!strings.Contains(err.Error(), "tc -n ia qdisc del dev eth0 root handle 1:") {
		t.Errorf("it is refused with %v", err)
	}
	if got := qdiscs(t, "ib", "eth0"); strings.Contains(got, "tbf") {
		t.Errorf("the other end became %s", got)
	}
	settles(t, impairNet(nil, &osl.ImpairSpec{Rate: 8e6})) // and leaves it alone
	if got := qdiscs(t, "ia", "eth0"); got != theirs {
		t.Errorf("theirs was %s and is %s", theirs, got)
	}
}

func TestImpairRefused(t *testing.T) {
	begin(t)
	for text, i := range map[string]*osl.ImpairSpec{
		"a jitter is of a delay":         {Jitter: osl.Duration(time.Millisecond)},
		"the jitter 3s is none":          {Delay: 1, Jitter: osl.Duration(3 * time.Second)},
		"the delay -1ns is none":         {Delay: -1},
		"to reorder is to let":           {Reorder: 10},
		"8kbit at least":                 {Rate: 7999},
		"loss of 101% is none":           {Loss: 101},
		"corrupt of 1e-12% is none":      {Corrupt: 1e-12},
		"the limit -1 is no number of p": {Limit: -1},
	} {
		_, err := osl.Apply(t.Context(), impairNet(i, nil))
		if !errors.Is(err, osl.ErrInvalid) || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v", *i, err)
		}
	}
}

// A delay, loss and the rest are a netem. It is changed in its place; a rate alone
// makes it a tbf, and back, without a moment without either.
func TestFeatureImpair(t *testing.T) {
	begin(t)
	downAfter(t, "impaired")
	ms := func(n float64) osl.Duration { return osl.Duration(n * float64(time.Millisecond)) }
	all := &osl.ImpairSpec{Delay: ms(40), Jitter: ms(1.5), Loss: 0.5, Duplicate: 1, Reorder: 25, Corrupt: 0.1, Rate: 40e9, Limit: 7000}
	_, err := osl.Apply(t.Context(), impairNet(all, nil))
	if err != nil && !strings.Contains(err.Error(), "this kernel has no netem") {
		t.Errorf("it is refused with %v", err)
	}
	testnet.Feature(t, "impair by delay, loss and the rest (netem)", err)
	settles(t, impairNet(all, nil))
	part := func(p float64) uint32 { return uint32(p / 100 * (1<<32 - 1)) }
	if got, want := qdiscs(t, "ia", "eth0"), fmt.Sprintf(" dup %d reorder %d corrupt %d rate 5000000000 limit 7000 gap 1", part(1)+1, part(25)+1, part(0.1)); !strings.Contains(got, "netem 6f6c:0 root") || !strings.Contains(got, want) {
		t.Errorf("it is %s, want %s", got, want)
	}
	n, err := osl.Open(t.Context(), "ia")
	must(t, err)
	defer n.Close()
	st, err := n.Inspect(t.Context())
	must(t, err)
	if i := st.Interfaces[0].Impair; i == nil || *i != *all {
		t.Errorf("Inspect says %+v", i)
	}
	for _, next := range []*osl.ImpairSpec{{Delay: ms(30)}, {Rate: 8e6}, {Loss: 100}, {Delay: ms(20)}} {
		if did := settles(t, impairNet(next, next)); len(did) != 2 {
			t.Errorf("%+v takes %v", next, did)
		}
	}
	if rtt := roundTrip(t, "ia", "ib", "10.120.0.2:7"); rtt < 40*time.Millisecond {
		t.Errorf("with 20 ms at each end, there and back takes %v", rtt)
	}
	settles(t, impairNet(nil, &osl.ImpairSpec{Delay: ms(20)}))
	if rtt := roundTrip(t, "ia", "ib", "10.120.0.2:7"); rtt < 20*time.Millisecond {
		t.Errorf("with 20 ms at one end, there and back takes %v", rtt)
	}
	settles(t, impairNet(nil, nil))
	if got := qdiscs(t, "ia", "eth0") + qdiscs(t, "ib", "eth0"); strings.Contains(got, "netem") {
		t.Errorf("it stays: %s", got)
	}
}

// roundTrip measures how long a datagram takes from one sandbox to the other and back.
func roundTrip(t *testing.T, from, to, addr string) time.Duration {
	t.Helper()
	inside := func(name string, f func() error) {
		n, err := osl.Open(t.Context(), name)
		must(t, err)
		defer n.Close()
		var done error
		must(t, n.InvokeFunc(func() { done = f() }))
		must(t, done)
	}
	var server net.PacketConn
	var client net.Conn
	inside(to, func() (err error) { server, err = net.ListenPacket("udp", addr); return err })
	defer server.Close()
	inside(from, func() (err error) { client, err = net.Dial("udp", addr); return err })
	defer client.Close()
	go func() {
		b := make([]byte, 10)
		for {
			n, who, err := server.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(b[:n], who)
		}
	}()
	var took time.Duration
	for range 2 { // the first asks for the hardware address
		start := time.Now()
		_, err := client.Write([]byte("x"))
		must(t, err)
		must(t, client.SetDeadline(start.Add(10*time.Second)))
		_, err = client.Read(make([]byte, 10))
		must(t, err)
		took = time.Since(start)
	}
	return took
}

// In a file, what stands at a link is of both ends.
func TestImpairOfALink(t *testing.T) {
	begin(t)
	downAfter(t, "links")
	file := filepath.Join(t.TempDir(), "links.yaml")
	must(t, os.WriteFile(file, []byte(`sandboxes:
  - name: ia
    interfaces: [{name: eth0, impair: {rate: 2mbit}}]
  - name: ib
links:
  - {ends: [ia/eth0, ib/eth0], impair: {rate: 1mbit}}
`), 0o600))
	out, err := child("osl", "up", file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, rate := range map[string]string{"ia": "rate 250000 ", "ib": "rate 125000 "} {
		if got := qdiscs(t, name, "eth0"); !strings.Contains(got, rate) {
			t.Errorf("%s has %s", name, got)
		}
	}
}
