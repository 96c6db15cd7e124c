package inside

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// The sandbox's hosts file answers a resolver of package net, and its servers, with its
// domains, what that does not have.
func TestResolver(t *testing.T) {
	asked := nameServer(t, "127.0.0.8", map[string][]string{
		"db.lab": {"192.0.2.1"}, "four.lab": {"192.0.2.4"}, "four": {"2001:db8::4"}, "full.example": {"192.0.2.7", "2001:db8::7"}, "long.example": {"192.0.2.9"},
	})
	s := here(t, map[string]string{
		"hosts":       "192.0.2.80 www www.two\n2001:db8::80 www\n192.0.2.81 only4\n",
		"resolv.conf": "nameserver 127.0.0.8\nsearch lab\noptions timeout:1\n",
	})
	r := s.Resolver()
	for _, c := range []struct{ network, host, want, asked string }{
		{"ip", "www", "192.0.2.80 2001:db8::80", ""},
		{"ip6", "WWW", "2001:db8::80", ""},
		{"ip", "only4", "192.0.2.81", ""},
		{"ip6", "only4", "no such host", ""},
		{"ip", "db", "192.0.2.1", "db.lab"},
		{"ip", "four", "192.0.2.4", "four.lab"},
		{"ip", "full.example", "192.0.2.7 2001:db8::7", "full.example"},
		{"ip4", "long.example", "192.0.2.9", "long.example"},
		{"ip", "none", "no such host", "none none.lab"},
		{"ip", "bad.example", "server misbehaving", "bad.example"},
	} {
		list, err := r.LookupNetIP(t.Context(), c.network, c.host)
		var all []string
		for _, a := range list {
			all = append(all, a.Unmap().String())
		}
		slices.Sort(all)
		got := strings.Join(all, " ")
		if err != nil {
			got = err.Error()
		}
		if got != c.want && (err == nil || !strings.HasSuffix(got, c.want)) {
			t.Errorf("%s %s: %s, not %s", c.network, c.host, got, c.want)
		}
		if got := strings.Join(asked(), " "); !strings.HasPrefix(got, c.asked) || c.asked == "" && got != "" {
			t.Errorf("%s: asked for %q, not %q", c.host, got, c.asked)
		}
	}
	for address, want := range map[string]string{"192.0.2.80": "www. www.two.", "2001:db8::80": "www."} {
		names, err := r.LookupAddr(t.Context(), address)
		if got := strings.Join(names, " "); err != nil || got != want {
			t.Errorf("%s: %s, %v", address, got, err)
		}
	}
	if _, err := r.LookupAddr(t.Context(), "192.0.2.82"); err == nil || strings.Join(asked(), " ") != "82.2.0.192.in-addr.arpa" {
		t.Errorf("an address that has no name: %v", err)
	}
}

// A sandbox with a hosts file alone: what that does not have is asked of the servers that
// package net knows.
func TestResolverWithHostsAlone(t *testing.T) {
	asked := nameServer(t, "127.0.0.9", map[string][]string{"db.example": {"192.0.2.7"}})
	s := here(t, map[string]string{"hosts": "192.0.2.80 www\n"})
	r := s.Resolver()
	dial := r.Dial
	r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dial(ctx, network, "127.0.0.9:53")
	}
	for host, want := range map[string]string{"www": "192.0.2.80", "db.example": "192.0.2.7"} {
		list, err := r.LookupHost(t.Context(), host)
		if err != nil || strings.Join(list, " ") != want {
			t.Errorf("%s: %v, %v", host, list, err)
		}
	}
	if got := strings.Join(asked(), " "); got != "db.example" {
		t.Errorf("asked for %s", got)
	}
}

// A server that is mute ends with the caller's context, and not after the ten seconds that
// package net gives it.
func TestResolverEndsWithItsContext(t *testing.T) {
	nameServer(t, "127.0.0.10", nil)
	s := here(t, map[string]string{"resolv.conf": "nameserver 127.0.0.10\n"})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := s.Resolver().LookupHost(ctx, "mute.example")
	var e *net.DNSError
	if !errors.As(err, &e) || !e.IsTimeout || time.Since(begin) > 9*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

func TestArpa(t *testing.T) {
	six := "b.a.9.8." + strings.Repeat("0.", 20) + "8.b.d.0.1.0.0.2.ip6.arpa."
	for name, want := range map[string]netip.Addr{
		"4.3.2.1.in-addr.arpa.": netip.MustParseAddr("1.2.3.4"),
		six:                     netip.MustParseAddr("2001:db8::89ab"),
		"3.2.1.in-addr.arpa.":   {}, "x.ip6.arpa.": {}, "example.": {}, "": {},
	} {
		if got := arpa(name); got != want {
			t.Errorf("%s: %v, not %v", name, got, want)
		}
	}
}
