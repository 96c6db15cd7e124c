package inside

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// here is a sandbox that is the namespace of the tests, with files of its own.
func here(t *testing.T, files map[string]string) *Space {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &Space{Etc: dir, Run: func(f func() error) error { return f() }, RunFrom: func(_ int, f func() error) error { return f() },
		Visit: func() (func() (bool, error), error) { return func() (bool, error) { return false, nil }, nil }}
}

// nameServer answers on 127.0.0.x:53 as say does: addresses by name, with the type
// before it; an empty list is none of this type, and what is not there is no name.
// "long" is answered by TCP only, "mute" not at all, "bad" with an error.
func nameServer(t *testing.T, ip string, names map[string][]string) (asked func() []string) {
	t.Helper()
	p, err := net.ListenPacket("udp", ip+":53")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", ip+":53")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var list []string
	answer := func(b []byte, stream bool) []byte {
		var m dnsmessage.Message
		if m.Unpack(b) != nil || len(m.Questions) != 1 {
			return nil
		}
		q := m.Questions[0]
		name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
		mu.Lock()
		list = append(list, name)
		mu.Unlock()
		m.Response, m.Additionals = true, nil
		switch {
		case strings.HasPrefix(name, "mute"):
			return nil
		case strings.HasPrefix(name, "bad"):
			m.RCode = dnsmessage.RCodeServerFailure
		case strings.HasPrefix(name, "long") && !stream:
			m.Truncated = true
		default:
			found, ok := names[name]
			if !ok {
				m.RCode = dnsmessage.RCodeNameError
			}
			for _, x := range found {
				a := netip.MustParseAddr(x)
				h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}
				if a.Is4() && q.Type == dnsmessage.TypeA {
					m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
				}
				if a.Is6() && q.Type == dnsmessage.TypeAAAA {
					m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
				}
			}
		}
		out, err := m.Pack()
		if err != nil {
			t.Error(err)
		}
		return out
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			if out := answer(buf[:n], false); out != nil {
				stray := slices.Clone(out) // an answer that is another's comes first
				stray[0]++
				_, _ = p.WriteTo(stray, from)
				_, _ = p.WriteTo(out, from)
			}
		}
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 1500)
			if n, err := c.Read(buf); err == nil && n > 2 {
				out := answer(buf[2:n], true)
				_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
			}
			_ = c.Close()
		}
	})
	t.Cleanup(func() { p.Close(); l.Close(); wg.Wait() })
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		l := list
		list = nil
		slices.Sort(l)
		return slices.Compact(l)
	}
}

func TestLookup(t *testing.T) {
	asked := nameServer(t, "127.0.0.5", map[string][]string{
		"both.example": {"192.0.2.1", "2001:db8::1"}, "four.example": {"192.0.2.4"}, "long.example": {"192.0.2.9"}, "web": {"192.0.2.5"},
	})
	s := here(t, map[string]string{
		"hosts":       "# a comment\n192.0.2.80 www WWW.example www2 # another\n2001:db8::80 www\nnonsense www\n::ffff:192.0.2.81 mapped\n",
		"resolv.conf": "nameserver 127.0.0.5\nsearch example lab\noptions timeout:1 attempts:1 ndots:1\n",
	})
	for _, c := range []struct{ family, host, want, asked string }{
		{"ip", "www", "192.0.2.80 2001:db8::80", ""},
		{"ip4", "WWW.Example.", "192.0.2.80", ""},
		{"ip6", "www", "2001:db8::80", ""},
		{"ip4", "mapped", "192.0.2.81", ""},
		{"ip", "both", "2001:db8::1 192.0.2.1", "both.example"},
		{"ip4", "both.example", "192.0.2.1", "both.example"},
		{"ip", "web", "192.0.2.5", "web web.example web.lab"},
		{"ip", "four.example.", "192.0.2.4", "four.example"},
		{"ip", "long.example", "192.0.2.9", "long.example"},
		{"ip6", "four.example.", "no such host", "four.example"},
		{"ip", "none.example.", "no such host", "none.example"},
		{"ip", "bad.", "server misbehaving", "bad"},
		{"ip", "mute.", "timeout", "mute"},
		{"ip", "a b", "no such host", ""},
		{"ip", "a..b", "no such host", ""},
		{"ip", "", "no such host", ""},
	} {
		list, err := s.Lookup(t.Context(), c.family, c.host)
		got := strings.Trim(fmt.Sprint(list), "[]")
		if err != nil {
			var e *net.DNSError
			if !errors.As(err, &e) || e.Name != c.host || e.IsNotFound != (c.want == "no such host") || e.IsTimeout != (c.want == "timeout") {
				t.Errorf("%s: %#v", c.host, err)
			}
			if got = c.want; !strings.Contains(err.Error(), c.want) && !e.IsTimeout {
				got = err.Error()
			}
		}
		if got != c.want {
			t.Errorf("%s %s: %s, not %s", c.family, c.host, got, c.want)
		}
		if got := strings.Join(asked(), " "); got != c.asked {
			t.Errorf("%s: asked for %q, not %q", c.host, got, c.asked)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	patient := here(t, map[string]string{"resolv.conf": "nameserver 127.0.0.5\noptions timeout:30 attempts:5\n"})
	begin := time.Now()
	if _, err := patient.Lookup(ctx, "ip", "mute."); !errors.Is(err, context.Canceled) || time.Since(begin) > 25*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

// What has the name of a file and is none is not there.
func TestNoFiles(t *testing.T) {
	s := here(t, nil)
	if err := unix.Mkfifo(filepath.Join(s.Etc, "hosts"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(s.Etc, "resolv.conf"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"hosts", "resolv.conf"} {
		if path, own := s.file(name); own || path != "/etc/"+name {
			t.Errorf("%s is at %s", name, path)
		}
	}
}

// The first server is mute: the second is asked.
func TestSecondServer(t *testing.T) {
	nameServer(t, "127.0.0.6", map[string][]string{"db.example": {"192.0.2.7"}})
	s := here(t, map[string]string{"hosts": "", "resolv.conf": "nameserver 127.0.0.77\nnameserver 127.0.0.6\noptions timeout:1\n"})
	list, err := s.Lookup(t.Context(), "ip4", "db.example")
	if err != nil || len(list) != 1 || list[0].String() != "192.0.2.7" {
		t.Errorf("%v, %v", list, err)
	}
	names, err := s.Resolver().LookupHost(t.Context(), "db.example.")
	if err != nil || !slices.Equal(names, []string{"192.0.2.7"}) {
		t.Errorf("package net: %v, %v", names, err)
	}
}

func TestParseConfig(t *testing.T) {
	for text, want := range map[string]config{
		"": {servers: []string{"127.0.0.1:53", "[::1]:53"}, ndots: 1, attempts: 2, timeout: 5 * time.Second},
		"nameserver\nnameserver x\nnameserver fe80::1%eth0\ndomain a\noptions ndots:99 timeout:0 attempts:x rotate\n": {
			servers: []string{"[fe80::1%eth0]:53"}, search: []string{"a"}, ndots: 15, attempts: 2, timeout: time.Second},
	} {
		if got := parseConfig(text); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: %v, not %v", text, got, want)
		}
	}
}

// Nothing that a server sends makes more than an error.
func FuzzAnswers(f *testing.F) {
	n := dnsmessage.MustNewName("db.example.")
	q := dnsmessage.Question{Name: n, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, Response: true}, Questions: []dnsmessage.Question{q}, Answers: []dnsmessage.Resource{
		{Header: dnsmessage.ResourceHeader{Name: n, Class: q.Class}, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}}}}
	b, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := answers(b, 7, q)
		if err != nil && len(list) > 0 {
			t.Errorf("%v and %v", list, err)
		}
	})
}
