package cli

import (
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// The link of the example loses packets, and none any more when the file that lacks the loss is
// up: while pings go on, the link is never down, and its addresses stay.
func TestFeatureLossAndRepair(t *testing.T) {
	file := "../../examples/lossy.yaml"
	code, _, errs := runOSL(t, "up", file)
	if code != exitDone && unsupported(errs) != nil {
		testnet.Feature(t, "impair by delay, loss and the rest (netem)", unsupported(errs))
	}
	defer want(t, exitDone, nil, "down", file)
	if code != exitDone {
		t.Fatal(errs)
	}
	testnet.Feature(t, "impair by delay, loss and the rest (netem)", nil)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lossy := ", impair: {loss: 20%}"
	if !strings.Contains(string(text), lossy) {
		t.Fatalf("the example says no %q", lossy)
	}
	repaired := fileOf(t, "lossy", strings.ReplaceAll(string(text), lossy, ""))
	look := func() string {
		return sh(t, "for s in near far; do ip -n $s -o link show eth0 | sed 's/ qdisc [^ ]*//'; ip -n $s -o addr show eth0; done") +
			want(t, exitDone, nil, "exec", "near", "--", "cat", "/sys/class/net/eth0/carrier_down_count") +
			want(t, exitDone, nil, "exec", "far", "--", "cat", "/sys/class/net/eth0/carrier_down_count")
	}
	before := look()
	p := pingAll(t, "near", "10.79.0.3")
	const some = 200
	if lost := p.lost(t, some); lost < some/20 || lost > some*9/10 {
		t.Errorf("of %d pings %d are lost, where a fifth is lost in each direction", some, lost)
	}
	want(t, exitDone, []string{"made 2 changes", "qdisc del"}, "up", repaired)
	if lost := p.lost(t, some); lost > 0 {
		t.Errorf("of %d pings %d are lost after the repair", some, lost)
	}
	if after := look(); after != before {
		t.Errorf("the link was\n%s\nand is\n%s", before, after)
	}
	want(t, exitDone, []string{"made 2 changes", "qdisc add"}, "up", file)
	if lost := p.lost(t, some); lost < some/20 {
		t.Errorf("of %d pings %d are lost after the loss is back", some, lost)
	}
	if after := look(); after != before {
		t.Errorf("the link was\n%s\nand, lossy again, is\n%s", before, after)
	}
}

// pings are those of a sandbox that go on until the end of the test, one each few milliseconds.
type pings struct {
	sent     atomic.Int64
	answered [1 << 16]atomic.Bool // by the number in sequence
}

func pingAll(t *testing.T, from, to string) *pings {
	t.Helper()
	n, err := osl.Open(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	var conn *icmp.PacketConn
	if err := n.InvokeFunc(func() { conn, err = icmp.ListenPacket("ip4:icmp", "0.0.0.0") }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, stop := &pings{}, make(chan struct{})
	t.Cleanup(func() { close(stop); conn.Close() })
	go func() {
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
			}
			m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: 79, Seq: int(p.sent.Load())}}
			b, err := m.Marshal(nil)
			if err == nil {
				_, err = conn.WriteTo(b, &net.IPAddr{IP: net.ParseIP(to)})
			}
			if err == nil && p.sent.Load() < int64(len(p.answered)-1) {
				p.sent.Add(1)
			}
		}
	}()
	go func() {
		for b := make([]byte, 1500); ; {
			size, _, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			m, err := icmp.ParseMessage(1, b[:size])
			if echo, is := (*icmp.Echo)(nil), false; err == nil && m.Type == ipv4.ICMPTypeEchoReply {
				if echo, is = m.Body.(*icmp.Echo); is && echo.ID == 79 {
					p.answered[echo.Seq].Store(true)
				}
			}
		}
	}()
	return p
}

// lost waits for so many pings more, and says how many of them have no answer a while later.
func (p *pings) lost(t *testing.T, n int) (lost int) {
	t.Helper()
	first := p.sent.Load() + 1 // the one before may be under way
	for end := time.Now().Add(30 * time.Second); p.sent.Load() < first+int64(n); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("only %d pings were sent", p.sent.Load()-first)
		}
	}
	time.Sleep(500 * time.Millisecond) // an answer is there at once, but this machine may be busy
	for i := range n {
		if !p.answered[int(first)+i].Load() {
			lost++
		}
	}
	return lost
}
