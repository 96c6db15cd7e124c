package engine_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/engine"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl/internal/netlink"
)

// The documentation promises which sentinel errors.Is finds where.
func TestSentinels(t *testing.T) {
	ctx := context.Background()
	w := &faultWorld{t: t}
	defer w.clear()
	w.clear()
	w.batch(plainVeth)
	w.a = w.make("a")
	n := w.ns("a")
	o := w.a.InterfaceOptions()
	w.must(w.a.AddInterface("br", "br", o.Bridge(true), o.Address(cidr("10.1.0.1/16"))))
	gone := w.make("gone")
	w.must(gone.Destroy())
	replaced := w.make("replaced")
	w.make("replaced")
	w.must(os.WriteFile("/run/netns/plain", []byte("x"), 0o600))
	defer os.Remove("/run/netns/plain")
	host := look(t)

	create := func(name string) error { _, err := osl.Create(ctx, name); return err }
	open := func(name string) error { _, err := osl.Open(ctx, name); return err }
	link := func(s osl.InterfaceSpec) error { return n.AddLink(ctx, s) }
	for _, x := range []struct {
		what     string
		err      error
		sentinel error
		errno    error // nil where the kernel was not asked
	}{
		{"Create of what is there", create("a"), osl.ErrExists, nil},
		{"Create of a bad name", create("a\tb"), osl.ErrInvalid, nil},
		{"Create on a plain file with something in it", create("plain"), osl.ErrNotNamespace, nil},
		{"Open of nothing", open("none"), osl.ErrNotFound, nil},
		{"Open of a plain file", open("plain"), osl.ErrNotNamespace, nil},
		{"Open of a directory", open("/run/netns"), osl.ErrNotNamespace, nil},
		{"Remove of nothing", osl.Remove(ctx, "none"), osl.ErrNotFound, nil},
		{"a change after Destroy", gone.AddInterface("va", "eth"), osl.ErrClosed, nil},
		{"a change of a key that holds another", replaced.SetGateway(net.ParseIP("10.1.0.2")), osl.ErrClosed, nil},
		{"a function after Destroy", gone.InvokeFunc(func() {}), osl.ErrClosed, nil},
		{"AddInterface of nothing", w.a.AddInterface("none", "eth"), osl.ErrNotFound, nil},
		{"AddInterface under a bad name", w.a.AddInterface("va", "a/b"), osl.ErrInvalid, nil},
		{"AddInterface under a name that is taken", w.a.AddInterface("va", "br0", osl.WithName()), osl.ErrNameInUse, unix.EEXIST},
		{"AddInterface into a subnet that is there", w.a.AddInterface("va", "eth", o.Address(cidr("10.1.0.2/16"))), osl.ErrAddressConflict, nil},
		{"AddInterface as a port of nothing", w.a.AddInterface("va", "eth", o.Master("none")), osl.ErrNotFound, nil},
		{"AddLink under a name that is taken", link(osl.InterfaceSpec{Name: "br0", Type: "bridge"}), osl.ErrNameInUse, nil},
		{"AddLink of a bad type", link(osl.InterfaceSpec{Name: "x0", Type: "token-ring"}), osl.ErrInvalid, nil},
		{"AddLink into no sandbox", link(osl.InterfaceSpec{Name: "x0", Peer: osl.Endpoint{Sandbox: "none", Interface: "y0"}}), osl.ErrNotFound, nil},
		{"RemoveLink of nothing", n.RemoveLink(ctx, "none"), osl.ErrNotFound, nil},
		{"SetGateway out of reach", w.a.SetGateway(net.ParseIP("192.0.2.1")), osl.ErrUnreachable, unix.ENETUNREACH},
		{"SetGateway of the wrong family", w.a.SetGateway(net.ParseIP("2001:db8::1")), osl.ErrInvalid, nil},
		{"AddStaticRoute out of reach", w.a.AddStaticRoute(nextHop), osl.ErrUnreachable, unix.ENETUNREACH},
		{"AddAliasIP on nothing", w.a.AddAliasIP("none", cidr("10.9.9.9/32")), osl.ErrNotFound, unix.ENODEV},
		{"AddAliasIP of nothing", w.a.AddAliasIP("br0", nil), osl.ErrInvalid, nil},
		{"Apply of one sandbox twice", second(osl.Apply(ctx, osl.Network{Sandboxes: []osl.Spec{{Name: "x"}, {Name: "x"}}})), osl.ErrInvalid, nil},
	} {
		var typed *osl.Error
		switch {
		case x.err == nil:
			t.Errorf("%s: no error", x.what)
		case !errors.Is(x.err, x.sentinel):
			t.Errorf("%s: no %q in: %v", x.what, x.sentinel, x.err)
		case !errors.As(x.err, &typed) || typed.Op == "":
			t.Errorf("%s: %T, want an *Error with its operation: %v", x.what, x.err, x.err)
		case x.errno != nil && !errors.Is(x.err, x.errno):
			t.Errorf("%s: the kernel's %v is not found in: %v", x.what, x.errno, x.err)
		}
	}
	if now := look(t); !slices.Equal(host, now) {
		t.Errorf("what failed has changed something:\n%s", diff(host, now))
	}
	if !errors.Is(osl.ErrUnsupported, errors.ErrUnsupported) {
		t.Error("ErrUnsupported is not errors.ErrUnsupported")
	}
	for _, err := range []error{w.a.DeleteNeighbor(net.ParseIP("10.1.0.9"), hw(9), true)} {
		if found := (osl.NeighborSearchError{}); !errors.As(err, &found) {
			t.Errorf("DeleteNeighbor of nothing: %v", err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// broken is a socket whose exchanges fail from number from on.
type broken struct {
	netlink.Transport
	sends *int
	from  int
	err   error
}

func (b *broken) Send(m []byte) error {
	if *b.sends++; b.from > 0 && *b.sends >= b.from {
		return b.err
	}
	return b.Transport.Send(m)
}

// What can not be undone is in the error, with what mends it; a deadline and a
// lack of rights have sentinels of their own.
func TestSentinelsOfTheTransport(t *testing.T) {
	sends, b := 0, broken{}
	netlink.Intercept = func(t netlink.Transport) netlink.Transport { return &broken{t, &sends, b.from, b.err} }
	defer func() { netlink.Intercept = nil }()
	w := &faultWorld{t: t, op: faultOp{host: richVeth}}
	defer w.clear()
	for _, x := range []struct {
		err, sentinel error
	}{{unix.EPERM, osl.ErrPermission}, {os.ErrDeadlineExceeded, osl.ErrTimeout}} {
		b = broken{}
		w.build()
		b = broken{from: 1, err: x.err}
		sends = 0
		_, err := osl.NewSandbox("x", true, false)
		if !errors.Is(err, x.sentinel) || errors.Is(err, osl.ErrIncomplete) {
			t.Errorf("%v: %v", x.err, err)
		}
	}
	b = broken{}
	incomplete := 0
	for from, err := 1, error(unix.EPERM); err != nil && from < 100; from++ {
		w.build()
		w.make("a")
		b, sends = broken{from: from, err: unix.EPERM}, 0
		_, err = osl.Apply(context.Background(), osl.Network{Sandboxes: []osl.Spec{{Name: "a", Interfaces: []osl.InterfaceSpec{
			{Name: "eth0", Source: "va", Addresses: []netip.Prefix{netip.MustParsePrefix("10.2.0.1/24")}}}}}})
		b = broken{}
		if err == nil {
			break
		}
		if !errors.Is(err, osl.ErrPermission) {
			t.Errorf("from exchange %d on: %v", from, err)
		}
		var typed *osl.Error
		if errors.Is(err, osl.ErrIncomplete) {
			incomplete++
			_, moved := net.InterfaceByName("va")
			if !errors.As(err, &typed) || moved != nil && !strings.Contains(strings.Join(typed.Left, "\n"), "netns /proc/$$/ns/net name va") {
				t.Errorf("from exchange %d on, the way to mend it is not told: %v", from, err)
			}
			for _, left := range typed.Left {
				if !strings.Contains(left, "try: ") && !strings.Contains(left, "osl recover") {
					t.Errorf("from exchange %d on, no way to mend it: %s", from, left)
				}
			}
		}
		// Whoever opens the sandbox next brings the link home.
		again, oerr := osl.Open(context.Background(), "a")
		w.must(oerr)
		w.open = append(w.open, again)
		if l, err := net.InterfaceByName("va"); err != nil || l.HardwareAddr.String() != hw(1).String() || l.MTU != 1400 {
			t.Errorf("from exchange %d on, the link is not on the host again: %v, %v", from, l, err)
		}
	}
	if incomplete == 0 {
		t.Error("no failure was one that could not be undone")
	}
}

// Every wait for another operation on the same key ends.
func TestLockedKeyTimesOut(t *testing.T) {
	w := &faultWorld{t: t}
	defer w.clear()
	w.clear()
	w.make("a")
	unlock, err := engine.Lock(context.Background(), "/run/netns/a")
	w.must(err)
	defer unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err = osl.Apply(ctx, osl.Network{Sandboxes: []osl.Spec{{Name: "a"}}})
	if !errors.Is(err, osl.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := create(t, "b"); err != nil {
		t.Errorf("another key waits too: %v", err)
	}
}

func create(t *testing.T, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	n, err := osl.Create(ctx, name)
	if err == nil {
		err = n.Close()
	}
	return err
}
