package osltest

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// Without netem a link is impaired by this process.
func TestImpairByRelay(t *testing.T) {
	was := noNetem.Swap(true)
	defer noNetem.Store(was)
	if n := impaired(t); len(n.relays) != 1 || len(n.netem) != 0 {
		t.Errorf("%d relays, netem at %v", len(n.relays), n.netem)
	}
}

// With netem the kernel does it, and the packets pass no relay.
func TestFeatureImpair(t *testing.T) {
	n := Up(t, lan(1))
	n.Impair("h1", "switch", Impairment{Loss: 1})
	if noNetem.Load() {
		testnet.Feature(t, "impair in tests by netem", errors.ErrUnsupported)
	}
	testnet.Feature(t, "impair in tests by netem", nil)
	if n := impaired(t); len(n.relays) != 0 {
		t.Errorf("%d relays", len(n.relays))
	}
	// Both ends, and as it was asked for.
	n.Impair("h1", "switch", Impairment{Delay: 10 * time.Millisecond, Jitter: 4 * time.Millisecond, Loss: 0.25})
	want := osl.ImpairSpec{Delay: osl.Duration(12 * time.Millisecond), Jitter: osl.Duration(2 * time.Millisecond), Loss: 25, Rate: orderly, Limit: maxQueue}
	for _, at := range []osl.Endpoint{{Sandbox: "h1", Interface: "eth0"}, {Sandbox: "switch", Interface: "p1"}} {
		if got := impairOf(t, n, at); got == nil || *got != want {
			t.Errorf("%v has %+v", at, got)
		}
	}
	// It stays where a relay comes, which is for what netem can not be told.
	n.Cut("h1", "switch")
	if got := impairOf(t, n, osl.Endpoint{Sandbox: "h1", Interface: "eth0"}); got == nil || *got != want {
		t.Errorf("after Cut: %+v", got)
	}
	n.Impair("h1", "switch", Impairment{Rate: 4000})
	r := n.relays[n.links("h1", "switch")[0]]
	if got := impairOf(t, n, osl.Endpoint{Sandbox: "h1", Interface: "eth0"}); got != nil || r.impair.Load().Rate != 4000 || !r.cut.Load() {
		t.Errorf("by netem %+v, by the relay %+v, cut %v", got, r.impair.Load(), r.cut.Load())
	}
	n.Heal("h1", "switch")
	if *r.impair.Load() != (Impairment{}) || r.cut.Load() {
		t.Errorf("healed: %+v, cut %v", r.impair.Load(), r.cut.Load())
	}
	// What the network has of its own is left to it.
	own := lan(1)
	own.Sandboxes[0].Interfaces[0].Impair = &osl.ImpairSpec{Delay: osl.Duration(time.Millisecond)}
	n = Up(t, own)
	n.Impair("h1", "switch", Impairment{Loss: 0.5})
	n.Heal("h1", "switch")
	if got := impairOf(t, n, osl.Endpoint{Sandbox: "h1", Interface: "eth0"}); got == nil || got.Delay != osl.Duration(time.Millisecond) || len(n.relays) != 1 {
		t.Errorf("%+v, %d relays", got, len(n.relays))
	}
}

func impairOf(t *testing.T, n *Network, at osl.Endpoint) *osl.ImpairSpec {
	t.Helper()
	s, err := n.Sandbox(at.Sandbox).Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(s.Interfaces, func(x osl.InterfaceStatus) bool { return x.Name == at.Interface })
	if i < 0 {
		t.Fatalf("no interface %v", at)
	}
	return s.Interfaces[i].Impair
}

// impaired tries a link that is slow, one that loses all, and one of a low rate, and
// whether it is well then.
func impaired(t *testing.T) *Network {
	t.Helper()
	n := Up(t, lan(2))
	echo(t, n, "h2")
	const delay = 200 * time.Millisecond
	n.Impair("h1", "switch", Impairment{Delay: delay, Jitter: 10 * time.Millisecond})
	if _, ok := asks(t, n, "h1", "10.0.0.2", slow); !ok { // they learn each other's address
		t.Fatal("no answer")
	}
	if took, ok := asks(t, n, "h1", "10.0.0.2", slow); !ok || took < 2*delay {
		t.Errorf("there and back in %v, %v", took, ok)
	}
	n.Impair("h1", "switch", Impairment{Jitter: 20 * time.Millisecond})
	inOrder(t, n)
	n.Impair("h1/eth0", "switch/p1", Impairment{Loss: 1})
	if _, ok := asks(t, n, "h1", "10.0.0.2", 100*time.Millisecond); ok {
		t.Error("an answer though all is lost")
	}
	n.Impair("h1", "switch", Impairment{Rate: 8 << 20}) // a megabyte a second
	l, err := n.Sandbox("h2").Listen(t.Context(), "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if s, err := l.Accept(); err == nil {
			_, _ = io.Copy(io.Discard, s)
			_ = s.Close()
		}
	}()
	c, err := n.Sandbox("h1").DialContext(t.Context(), "tcp", "10.0.0.2:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	begin := time.Now()
	_, err = c.Write(make([]byte, 600<<10))
	_ = c.(*net.TCPConn).CloseWrite()
	_, _ = io.ReadAll(c)
	if took := time.Since(begin); err != nil || took < 400*time.Millisecond {
		t.Errorf("600 KiB at 1 MiB a second took %v, %v", took, err)
	}
	n.Heal("h1", "switch")
	for end := time.Now().Add(slow); ; {
		took, ok := asks(t, n, "h1", "10.0.0.2", slow)
		if ok && took < delay {
			return n
		}
		if time.Now().After(end) {
			t.Fatalf("healed: %v, %v", took, ok)
		}
	}
}

// inOrder demands that packets do not pass each other.
func inOrder(t *testing.T, n *Network) {
	t.Helper()
	p, err := n.Sandbox("h2").ListenPacket(t.Context(), "udp", ":9")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c, err := n.Sandbox("h1").DialContext(t.Context(), "udp", "10.0.0.2:9")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range byte(100) {
		if _, err := c.Write([]byte{i}); err != nil {
			t.Fatal(err)
		}
	}
	_ = p.SetReadDeadline(time.Now().Add(slow))
	for i := range byte(100) {
		b := []byte{0}
		if _, _, err := p.ReadFrom(b); err != nil || b[0] != i {
			t.Fatalf("packet %d comes in the place of %d, %v", b[0], i, err)
		}
	}
}

// What the test itself changed stays where a link is cut, impaired or healed: addresses
// and routes, and that a sandbox is gone.
func TestTroubleKeepsWhatTheTestChanged(t *testing.T) {
	t.Parallel()
	n := Up(t, lan(3))
	h1, extra, far := n.Sandbox("h1"), netip.MustParsePrefix("10.9.9.9/24"), netip.MustParsePrefix("203.0.113.0/24")
	if err := h1.AddAddress(t.Context(), "eth0", extra); err != nil {
		t.Fatal(err)
	}
	if err := h1.AddRoute(t.Context(), osl.RouteSpec{To: far, Via: netip.MustParseAddr("10.0.0.2")}); err != nil {
		t.Fatal(err)
	}
	if err := n.Sandbox("h3").Destroy(); err != nil {
		t.Fatal(err)
	}
	for what, do := range map[string]func(){
		"Impair": func() {
			n.Impair("h1", "switch", Impairment{Delay: 50 * time.Millisecond})
		},
		"Cut":       func() { n.Cut("h1", "switch") },
		"Partition": func() { n.Partition([]string{"h1"}, []string{"h2"}) },
		"Heal":      func() { n.Heal("h1", "switch") },
	} {
		do()
		s, err := h1.Spec(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if x := s.Interfaces[0]; !slices.Contains(slices.Concat(x.Addresses, x.Aliases), extra) {
			t.Errorf("after %s h1 has %v and %v", what, x.Addresses, x.Aliases)
		}
		if !slices.ContainsFunc(s.Routes, func(r osl.RouteSpec) bool { return r.To == far }) {
			t.Errorf("after %s h1 has the routes %v", what, s.Routes)
		}
		if h3, err := n.base.Open(t.Context(), "h3"); err == nil {
			_ = h3.Close()
			t.Errorf("after %s h3 is there again", what)
		}
	}
}

// A wireguard keeps its key, which can not be read, where a link of its sandbox is cut.
func TestFeatureTroubleKeepsKeys(t *testing.T) {
	n, key := Up(t, lan(1)), osl.GenerateSecretKey()
	h1 := n.Sandbox("h1")
	testnet.Feature(t, "link wireguard", h1.AddLink(t.Context(), osl.InterfaceSpec{Name: "wg0", Type: "wireguard",
		WireGuard: &osl.WireGuardSpec{PrivateKey: key, ListenPort: 7777}, Addresses: []netip.Prefix{netip.MustParsePrefix("10.7.0.1/24")}}))
	n.Cut("h1", "switch")
	n.Impair("h1", "switch", Impairment{Loss: 0.5})
	n.Heal("h1", "switch")
	s, err := h1.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(s.Interfaces, func(x osl.InterfaceStatus) bool { return x.Name == "wg0" })
	if i < 0 || s.Interfaces[i].WireGuard == nil || s.Interfaces[i].WireGuard.PublicKey != key.Public() || s.Interfaces[i].WireGuard.ListenPort != 7777 || len(s.Interfaces[i].Addresses) != 1 {
		t.Errorf("%+v", s.Interfaces)
	}
}

// Links to a segment are known by its name. Networks of one name do not meet.
func TestSegments(t *testing.T) {
	blue := osl.Network{Name: "segments", Segments: []osl.SegmentSpec{{Name: "blue", Subnet: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}}}}
	for _, name := range []string{"h1", "h2", "h3"} {
		blue.Sandboxes = append(blue.Sandboxes, osl.Spec{Name: name, Interfaces: []osl.InterfaceSpec{{Name: "eth0", Segment: "blue"}}})
	}
	for _, name := range []string{"one", "two"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := Up(t, blue)
			echo(t, n, "h2")
			reach := func(from string, want bool) {
				t.Helper()
				patience := slow
				if !want {
					patience = 60 * time.Millisecond
				}
				if _, ok := asks(t, n, from, "10.0.0.2", patience); ok != want {
					t.Errorf("%s reaches h2: %v", from, ok)
				}
			}
			reach("h1", true)
			n.Cut("h1", "blue")
			reach("h1", false)
			reach("h3", true)
			n.Heal("h1", "blue")
			reach("h1", true)
			n.Impair("blue", "h3/eth0", Impairment{Loss: 1})
			reach("h3", false)
			n.Heal("blue", "h3")
			n.Partition([]string{"h1"}, []string{"h2"})
			reach("h1", false)
			reach("h3", true)
		})
	}
}

// What can be no network of a test is told before anything is made, and an empty one is
// one.
func TestNoNetworkOfATest(t *testing.T) {
	Up(t, osl.Network{})
	for _, name := range []string{osl.HostName, "/run/netns/there"} {
		r := &recordingT{TB: t}
		func() {
			defer func() { _ = recover() }()
			Up(r, osl.Network{Sandboxes: []osl.Spec{{Name: name}}})
		}()
		if !r.failed || len(r.cleanups) != 0 {
			t.Errorf("%s: %s", name, r.text.String())
		}
	}
}

// A capture goes on where its link is taken apart.
func TestCaptureOfACutLink(t *testing.T) {
	t.Parallel()
	n := Up(t, lan(2))
	echo(t, n, "h2")
	c := n.Capture("h2/eth0")
	n.Cut("h2", "switch")
	n.Heal("h2", "switch")
	if _, ok := asks(t, n, "h1", "10.0.0.2", slow); !ok {
		t.Fatal("no answer")
	}
	c.Expect("the answer", func(p Packet) bool {
		return p.Out && p.Interface == "eth0" && strings.HasSuffix(string(p.Data), "hello")
	})
	switched := n.Capture("switch/p1")
	if _, ok := asks(t, n, "h1", "10.0.0.2", slow); !ok {
		t.Fatal("no answer")
	}
	switched.Expect("the question", func(p Packet) bool { return strings.HasSuffix(string(p.Data), "hello") })
	switched.ExpectNone("a packet of another port", func(p Packet) bool { return p.Interface != "p1" })
}
