package inside

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Resolver returns a resolver of package net whose questions are answered by the
// sandbox's own hosts file and name servers. What package net does before it asks can
// not be changed: it reads the process's nsswitch.conf and /etc/hosts, and appends the
// domains of the process's resolv.conf.
func (s *Space) Resolver() *net.Resolver {
	d := &net.Dialer{ControlContext: s.dialing}
	r := &responder{space: s}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		_, hosts := s.file("hosts")
		_, servers := s.file("resolv.conf")
		if !hosts && !servers {
			return d.DialContext(ctx, network, address)
		}
		return &line{ctx: ctx, answer: func(ctx context.Context, question []byte) ([]byte, error) {
			if servers {
				return r.answer(ctx, s.config(), question)
			}
			return r.answer(ctx, config{servers: []string{address}, timeout: maxWait}, question)
		}}, nil
	}}
}

// maxWait is how long a server has at most, resolv.conf(5).
const maxWait = 30 * time.Second

// responder answers the questions of a resolver.
type responder struct {
	space *Space
	first atomic.Uint32 // the server that answered last
}

// answer answers a question by the hosts file, else by the name servers.
func (r *responder) answer(ctx context.Context, c config, packet []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(packet); err != nil || len(m.Questions) != 1 {
		return nil, errors.New("it is no question")
	}
	q := m.Questions[0]
	if answer, is := r.byHosts(m.ID, q); is {
		return answer.Pack()
	}
	// A name that the caller ended in a dot comes as any other: package net ends all so.
	host := strings.TrimSuffix(q.Name.String(), ".")
	names := []string{q.Name.String()}
	if !strings.HasSuffix(strings.ToLower(host), ".arpa") {
		names = c.names(host)
	}
	var last []byte
	for _, name := range names {
		n, err := dnsmessage.NewName(name)
		if err != nil {
			continue // with the domain it is too long
		}
		m.Questions[0].Name = n
		if packet, err = m.Pack(); err != nil {
			return nil, err
		}
		answer, err := r.ask(ctx, &c, packet, m.ID, m.Questions[0])
		if err != nil {
			return nil, err
		}
		if n != q.Name {
			if answer, err = answerAs(answer, q); err != nil {
				return nil, err
			}
		}
		var h dnsmessage.Header
		if _, h, err = answerTo(answer, m.ID, q); err != nil || h.RCode == dnsmessage.RCodeSuccess {
			return answer, err
		}
		if last == nil || h.RCode != dnsmessage.RCodeNameError {
			last = answer
		}
	}
	return last, nil
}

// answerAs is an answer to a question that was asked under another name.
func answerAs(answer []byte, q dnsmessage.Question) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(answer); err != nil {
		return nil, errServer
	}
	m.Questions = []dnsmessage.Question{q}
	return m.Pack()
}

// byHosts answers a question of which the sandbox's own hosts file has the name, of
// whichever family.
func (r *responder) byHosts(id uint16, q dnsmessage.Question) (m dnsmessage.Message, is bool) {
	path, own := r.space.file("hosts")
	if !own {
		return m, false // package net has looked
	}
	text, _ := os.ReadFile(path) // one that can not be read has no names
	m.Header = dnsmessage.Header{ID: id, Response: true, Authoritative: true, RecursionDesired: true, RecursionAvailable: true}
	m.Questions = []dnsmessage.Question{q}
	h := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: dnsmessage.ClassINET}
	say := func(b dnsmessage.ResourceBody) {
		is = true
		if b != nil {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: b})
		}
	}
	switch q.Type {
	case dnsmessage.TypeA, dnsmessage.TypeAAAA:
		for _, a := range hosts(string(text), q.Name.String()) {
			switch {
			case a.Is4() && q.Type == dnsmessage.TypeA:
				say(&dnsmessage.AResource{A: a.As4()})
			case a.Is6() && q.Type == dnsmessage.TypeAAAA:
				say(&dnsmessage.AAAAResource{AAAA: a.As16()})
			default:
				say(nil)
			}
		}
	case dnsmessage.TypePTR:
		for _, name := range namesOf(string(text), arpa(q.Name.String())) {
			if n, err := dnsmessage.NewName(strings.TrimSuffix(name, ".") + "."); err == nil {
				say(&dnsmessage.PTRResource{PTR: n})
			}
		}
	}
	return m, is
}

// ask sends a question to the name servers in turn, from the one on that answered last,
// until one has an answer. Each has its part of the time.
func (r *responder) ask(ctx context.Context, c *config, packet []byte, id uint16, q dnsmessage.Question) (refusal []byte, err error) {
	for i := range c.servers {
		at := r.first.Load()
		wait := c.timeout
		if end, limited := ctx.Deadline(); limited {
			wait = min(wait, time.Until(end)/time.Duration(len(c.servers)-i))
		}
		var answer []byte
		answer, err = r.space.exchange(ctx, wait, c.servers[int(at)%len(c.servers)], packet, id, q)
		if err == nil {
			if _, h, _ := answerTo(answer, id, q); h.RCode == dnsmessage.RCodeSuccess || h.RCode == dnsmessage.RCodeNameError {
				return answer, nil
			}
			refusal = answer
		}
		r.first.CompareAndSwap(at, at+1)
		if ctx.Err() != nil {
			break
		}
	}
	if refusal != nil {
		err = nil
	}
	return refusal, err
}

// arpa returns the address that a name below in-addr.arpa or ip6.arpa stands for; the
// zero value where it is none.
func arpa(name string) (a netip.Addr) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if four, is := strings.CutSuffix(name, ".in-addr.arpa"); is {
		labels := strings.Split(four, ".")
		slices.Reverse(labels)
		a, _ = netip.ParseAddr(strings.Join(labels, "."))
		return a
	}
	six, is := strings.CutSuffix(name, ".ip6.arpa")
	digits := strings.Split(six, ".")
	if !is || len(digits) != 32 {
		return a
	}
	slices.Reverse(digits)
	var groups []string
	for four := range slices.Chunk(digits, 4) {
		groups = append(groups, strings.Join(four, ""))
	}
	a, _ = netip.ParseAddr(strings.Join(groups, ":"))
	return a
}

// line is what package net takes for a connection to a name server: what is written to
// it is a question of a stream, and what is read is its answer.
type line struct {
	ctx      context.Context
	answer   func(ctx context.Context, question []byte) ([]byte, error)
	end      time.Time
	question []byte
	answered bytes.Reader
}

func (l *line) Write(b []byte) (int, error) {
	l.question = append(l.question, b...)
	return len(b), nil
}

func (l *line) Read(b []byte) (int, error) {
	if l.answered.Len() == 0 {
		ctx := l.ctx
		if !l.end.IsZero() {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, l.end)
			defer cancel()
		}
		if len(l.question) < 2 || len(l.question)-2 < int(binary.BigEndian.Uint16(l.question)) {
			return 0, errors.New("nothing was asked")
		}
		size := 2 + int(binary.BigEndian.Uint16(l.question))
		answer, err := l.answer(ctx, l.question[2:size])
		if err != nil {
			return 0, err
		}
		l.question = l.question[size:]
		l.answered.Reset(framed(answer))
	}
	return l.answered.Read(b)
}

func (l *line) Close() error                       { return nil }
func (l *line) LocalAddr() net.Addr                { return &net.IPAddr{} }
func (l *line) RemoteAddr() net.Addr               { return &net.IPAddr{} }
func (l *line) SetDeadline(t time.Time) error      { l.end = t; return nil }
func (l *line) SetReadDeadline(t time.Time) error  { l.end = t; return nil }
func (l *line) SetWriteDeadline(_ time.Time) error { return nil }
