//go:build linux

package inside_test

import (
	"context"
	"net"
	"os/exec"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/osltest"
)

func TestMain(m *testing.M) { osltest.Main(m) }

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

func sandbox(b *testing.B) *osl.Namespace {
	b.Helper()
	n, err := osl.Create(b.Context(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = n.Destroy() })
	return n
}
