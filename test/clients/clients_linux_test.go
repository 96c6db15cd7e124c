package clients

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/osltest"
)

func TestMain(m *testing.M) {
	if run := children[os.Getenv(childVar)]; run != nil {
		os.Exit(run(os.Args[1:]))
	}
	osltest.Main(m)
}

// children are what the test binary does as a process of its own, in a sandbox.
var children = map[string]func(args []string) int{}

const childVar = "CLIENTS_CHILD"

// pair is a server, 10.0.0.1 and fd00::1, and a client, 10.0.0.2 and fd00::2.
func pair(t *testing.T) (n *osltest.Network, server, client *osl.Namespace) {
	t.Helper()
	host := func(name, last string) osl.Spec {
		return osl.Spec{Name: name, Interfaces: []osl.InterfaceSpec{{Name: "eth0", Addresses: []netip.Prefix{
			netip.MustParsePrefix("10.0.0." + last + "/24"), netip.MustParsePrefix("fd00::" + last + "/64")}}}}
	}
	n = osltest.Up(t, osl.Network{Sandboxes: []osl.Spec{host("server", "1"), host("client", "2")},
		Links: []osl.Link{{{Sandbox: "server", Interface: "eth0"}, {Sandbox: "client", Interface: "eth0"}}}})
	return n, n.Sandbox("server"), n.Sandbox("client")
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	_, server, client := pair(t)
	l, err := server.Listen(t.Context(), "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	s := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello ", r.URL.Path) })}
	go func() { _ = s.Serve(l) }()
	defer s.Close()

	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = client.DialContext
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("http://10.0.0.1/x")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "hello /x" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	_, server, client := pair(t)
	l, err := server.Listen(t.Context(), "tcp", ":50051")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	healthpb.RegisterHealthServer(s, health.NewServer())
	go func() { _ = s.Serve(l) }()
	defer s.Stop()

	dial := func(ctx context.Context, address string) (net.Conn, error) {
		return client.DialContext(ctx, "tcp", address)
	}
	c, err := grpc.NewClient("passthrough:///10.0.0.1:50051", grpc.WithContextDialer(dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	resp, err := healthpb.NewHealthClient(c).Check(t.Context(), &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
	if err != nil || resp.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("%v, %v", resp, err)
	}
}

// The server opens its listener by itself, on the goroutine that starts it: Do.
func TestRedis(t *testing.T) {
	t.Parallel()
	_, server, client := pair(t)
	m := miniredis.NewMiniRedis()
	if err := server.Do(t.Context(), func(context.Context) error { return m.StartAddr("10.0.0.1:6379") }); err != nil {
		t.Fatal(err)
	}
	defer m.Close()

	c := redis.NewClient(&redis.Options{Addr: "10.0.0.1:6379", Dialer: client.DialContext})
	defer c.Close()
	if err := c.Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Get(t.Context(), "key").Result(); err != nil || got != "value" {
		t.Errorf("%q, %v", got, err)
	}
}

// A name server in one sandbox; miekg/dns gets the dialer, package net its resolver.
func TestDNS(t *testing.T) {
	t.Parallel()
	n, server, client := pair(t)
	p, err := server.ListenPacket(t.Context(), "udp", "10.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: p, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg).SetReply(q)
		if rr, err := dns.NewRR(q.Question[0].Name + " 1 IN A 192.0.2.7"); err == nil && q.Question[0].Qtype == dns.TypeA {
			a.Answer = append(a.Answer, rr)
		}
		_ = w.WriteMsg(a)
	})}
	ready := make(chan struct{})
	s.NotifyStartedFunc = func() { close(ready) }
	go func() { _ = s.ActivateAndServe() }()
	<-ready
	defer func() { _ = s.Shutdown() }()
	capture := n.Capture("client/eth0")

	c := dns.Client{Dialer: client.Dialer()}
	a, _, err := c.ExchangeContext(t.Context(), new(dns.Msg).SetQuestion("www.example.", dns.TypeA), "10.0.0.1:53")
	if err != nil || len(a.Answer) != 1 || a.Answer[0].(*dns.A).A.String() != "192.0.2.7" {
		t.Fatalf("%v, %v", a, err)
	}
	resolver := client.Resolver()
	inner := resolver.Dial
	resolver.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return client.DialContext(ctx, network, "10.0.0.1:53")
	}
	if inner == nil {
		t.Error("the resolver has no Dial")
	}
	list, err := resolver.LookupHost(t.Context(), "db.example.")
	if err != nil || !slices.Equal(list, []string{"192.0.2.7"}) {
		t.Errorf("%v, %v", list, err)
	}
	// gopacket takes a packet as it is.
	answer := capture.Expect("the answer about db.example", func(p osltest.Packet) bool {
		d, ok := gopacket.NewPacket(p.Data, layers.LayerTypeEthernet, gopacket.Default).Layer(layers.LayerTypeDNS).(*layers.DNS)
		return ok && d.QR && string(d.Questions[0].Name) == "db.example" && len(d.Answers) == 1
	})
	if answer.Out {
		t.Error("the client sent the answer")
	}
}

// QUIC over a link that loses one packet of twenty and takes its time.
func TestQUIC(t *testing.T) {
	t.Parallel()
	n, server, client := pair(t)
	n.Impair("server", "client", osltest.Impairment{Delay: 5 * time.Millisecond, Loss: 0.05})
	config := certificate(t)
	p, err := server.ListenPacket(t.Context(), "udp", "[fd00::1]:443")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	l, err := quic.Listen(p, config, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const size = 1 << 20
	go func() {
		c, err := l.Accept(t.Context())
		if err != nil {
			return
		}
		s, err := c.AcceptStream(t.Context())
		if err != nil {
			return
		}
		_, _ = io.Copy(s, io.LimitReader(s, size))
		_ = s.Close()
	}()
	own, err := client.ListenPacket(t.Context(), "udp", "[fd00::2]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	transport := &quic.Transport{Conn: own}
	defer transport.Close()
	c, err := transport.Dial(t.Context(), &net.UDPAddr{IP: net.ParseIP("fd00::1"), Port: 443},
		&tls.Config{InsecureSkipVerify: true, NextProtos: []string{"echo"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseWithError(0, "") }()
	s, err := c.OpenStreamSync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = s.Write(make([]byte, size)); _ = s.Close() }()
	if k, err := io.Copy(io.Discard, s); err != nil || k != size {
		t.Errorf("%d bytes, %v", k, err)
	}
}

func certificate(t *testing.T) *tls.Config {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}, NextProtos: []string{"echo"}}
}

func nets(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}
