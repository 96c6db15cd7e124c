package netns

import (
	"net"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// The kernel counts the sockets of a namespace by family and protocol, and none of another.
func TestSocketsHere(t *testing.T) {
	have := func() (list []Sockets) {
		if err := Make(func() error { list = SocketsHere(); return nil }); err != nil || len(list) > 0 {
			t.Errorf("in a new namespace: %v, %v", list, err)
		}
		return SocketsHere()
	}
	if list := have(); len(list) > 0 {
		t.Fatalf("before: %v", list)
	}
	if err := unix.Mount("tmpfs", "/proc", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	without := SocketsHere()
	if err := unix.Unmount("/proc", unix.MNT_DETACH); err != nil || len(without) != len(counted) {
		t.Errorf("without /proc: %v, %v", without, err)
	}
	for _, c := range []struct {
		network, address string
		want             Sockets
	}{
		{"tcp4", "127.0.0.1:0", Sockets{unix.AF_INET, unix.IPPROTO_TCP}},
		{"udp4", "127.0.0.1:0", Sockets{unix.AF_INET, unix.IPPROTO_UDP}},
		{"tcp6", "[::]:0", Sockets{unix.AF_INET6, unix.IPPROTO_TCP}},
		{"udp6", "[::]:0", Sockets{unix.AF_INET6, unix.IPPROTO_UDP}},
	} {
		var l interface{ Close() error }
		var err error
		if c.want.Protocol == unix.IPPROTO_TCP {
			l, err = net.Listen(c.network, c.address)
		} else {
			l, err = net.ListenPacket(c.network, c.address)
		}
		if err != nil {
			t.Fatal(err)
		}
		if list := have(); !slices.Equal(list, []Sockets{c.want}) {
			t.Errorf("%s: %v", c.network, list)
		}
		l.Close()
	}
}
