//go:build linux

package inside_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/osltest"
)

func TestMain(m *testing.M) { osltest.Main(m) }

// BenchmarkTest is a test as users of osltest write it: three hosts and a router are
// built, a request goes from one host to another, and all is taken down. It is the first:
// the others leave a hundred thousand connections behind that wait for their end, and the
// kernel goes through all of those of the machine to end those of a sandbox.
func BenchmarkTest(b *testing.B) {
	host := func(i int) osl.Spec {
		return osl.Spec{Name: fmt.Sprint("h", i), Gateway: netip.MustParseAddr(fmt.Sprintf("10.0.%d.1", i)),
			Interfaces: []osl.InterfaceSpec{{Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.0.%d.2/24", i))}}}}
	}
	router := osl.Spec{Name: "router", Sysctls: map[string]string{"ipv4.ip_forward": "1"}}
	var network osl.Network
	for i := 1; i <= 3; i++ {
		network.Sandboxes = append(network.Sandboxes, host(i))
		to := fmt.Sprint("h", i)
		router.Interfaces = append(router.Interfaces, osl.InterfaceSpec{Name: to, Addresses: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.0.%d.1/24", i))}})
		network.Links = append(network.Links, osl.Link{{Sandbox: to, Interface: "eth0"}, {Sandbox: "router", Interface: to}})
	}
	network.Sandboxes = append(network.Sandboxes, router)
	for b.Loop() {
		// Up takes the network down with the test, so each round is one.
		if !testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "Request", F: func(t *testing.T) {
			request(t, osltest.Up(t, network))
		}}}) {
			b.Fatal("the test failed")
		}
	}
}

// What it costs to connect and close in a sandbox, beside the same on the host, and to
// start a command there, beside os/exec alone.

func BenchmarkConnect(b *testing.B) {
	n := sandbox(b)
	for _, where := range []struct {
		name   string
		listen func(ctx context.Context, network, address string) (net.Listener, error)
		dial   func(ctx context.Context, network, address string) (net.Conn, error)
	}{
		{"host", new(net.ListenConfig).Listen, new(net.Dialer).DialContext},
		{"sandbox", n.Listen, n.DialContext},
	} {
		b.Run(where.name, func(b *testing.B) {
			l, err := where.listen(b.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					_ = c.Close()
				}
			}()
			for b.Loop() {
				c, err := where.dial(b.Context(), "tcp", l.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				_ = c.Close()
			}
		})
	}
}

func BenchmarkCommand(b *testing.B) {
	n := sandbox(b)
	for _, where := range []struct {
		name    string
		command func(ctx context.Context, name string, args ...string) *exec.Cmd
	}{{"host", exec.CommandContext}, {"sandbox", n.Command}, {"mounts", n.CommandWithMounts}} {
		b.Run(where.name, func(b *testing.B) {
			for b.Loop() {
				if err := where.command(b.Context(), "true").Run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func request(t *testing.T, n *osltest.Network) {
	l, err := n.Sandbox("h3").Listen(t.Context(), "tcp", "10.0.3.2:80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.WriteString(c, "answer") // who asked sees it
			_ = c.Close()
		}
	}()
	c, err := n.Sandbox("h1").DialContext(t.Context(), "tcp", "10.0.3.2:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if answer, err := io.ReadAll(c); err != nil || string(answer) != "answer" {
		t.Fatalf("%q, %v", answer, err)
	}
}

func sandbox(b *testing.B) *osl.Namespace {
	b.Helper()
	n, err := osl.Create(b.Context(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = n.Destroy() })
	return n
}
