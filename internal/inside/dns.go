package inside

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// maxAnswer is the size of the answers that are asked for, as package net does:
// RFC 6891, and what passes every link.
const maxAnswer = 1232

// ask asks the name servers for the addresses of a name.
func (s *Space) ask(ctx context.Context, c *config, family, name string) (list []netip.Addr, err error) {
	types := []dnsmessage.Type{dnsmessage.TypeAAAA, dnsmessage.TypeA}
	switch family {
	case "ip4":
		types = types[1:]
	case "ip6":
		types = types[:1]
	}
	lists, errs := make([][]netip.Addr, len(types)), make([]error, len(types))
	var wg sync.WaitGroup
	for i, t := range types {
		wg.Go(func() { lists[i], errs[i] = s.query(ctx, c, name, t) })
	}
	wg.Wait()
	for i := range types {
		list = append(list, lists[i]...)
		var e *net.DNSError
		if errs[i] != nil && (err == nil || !errors.As(errs[i], &e) || !e.IsNotFound) {
			err = errs[i]
		}
	}
	return list, err
}

// query asks one server after the other, some times, until one answers.
func (s *Space) query(ctx context.Context, c *config, name string, t dnsmessage.Type) ([]netip.Addr, error) {
	failed := func(server string, err error) error {
		e := &net.DNSError{UnwrapErr: err, Err: err.Error(), Name: name, Server: server}
		e.IsTimeout = errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
		e.IsTemporary = e.IsTimeout
		return e
	}
	var last error
	for range c.attempts {
		for _, server := range c.servers {
			list, err := s.addresses(ctx, c, server, name, t)
			if err == nil {
				return list, nil
			}
			var known *net.DNSError
			if errors.As(err, &known) && known.IsNotFound {
				return nil, err
			}
			last = failed(server, err)
			if ctx.Err() != nil {
				return nil, failed(server, ctx.Err())
			}
		}
	}
	return nil, last
}

var (
	errServer   = errors.New("server misbehaving")
	errNoAnswer = errors.New("it is no answer to this question")
)

// addresses asks one server once.
func (s *Space) addresses(ctx context.Context, c *config, server, name string, t dnsmessage.Type) ([]netip.Addr, error) {
	n, err := dnsmessage.NewName(name)
	if err != nil {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	q := dnsmessage.Question{Name: n, Type: t, Class: dnsmessage.ClassINET}
	id := uint16(rand.Uint32())
	packet, err := question(id, q)
	if err != nil {
		return nil, err
	}
	answer, err := s.exchange(ctx, c.timeout, server, packet, id, q)
	if err != nil {
		return nil, err
	}
	return answers(answer, id, q)
}

// exchange sends a server a question, and again by TCP where the answer is too long, and
// returns the answer.
func (s *Space) exchange(ctx context.Context, timeout time.Duration, server string, packet []byte, id uint16, q dnsmessage.Question) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	d := net.Dialer{ControlContext: s.dialing}
	for _, network := range [...]string{"udp", "tcp"} {
		conn, err := d.DialContext(ctx, network, server)
		if err != nil {
			return nil, err
		}
		answer, truncated, err := converse(ctx, conn, network == "tcp", packet, id, q)
		_ = conn.Close()
		if !truncated || err != nil {
			return answer, err
		}
	}
	return nil, errServer
}

// converse sends a question and waits for its answer.
func converse(ctx context.Context, conn net.Conn, stream bool, packet []byte, id uint16, q dnsmessage.Question) (answer []byte, truncated bool, err error) {
	end, _ := ctx.Deadline()
	if err := conn.SetDeadline(end); err != nil {
		return nil, false, err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if stream {
		packet = framed(packet)
	}
	if _, err := conn.Write(packet); err != nil {
		return nil, false, err
	}
	buf := make([]byte, maxAnswer)
	for {
		var n int
		if stream {
			var size [2]byte
			if _, err = io.ReadFull(conn, size[:]); err == nil {
				n = int(binary.BigEndian.Uint16(size[:]))
				buf = make([]byte, n)
				_, err = io.ReadFull(conn, buf)
			}
		} else {
			n, err = conn.Read(buf)
		}
		if err != nil {
			return nil, false, err
		}
		_, h, err := answerTo(buf[:n], id, q)
		if err == nil || stream {
			return buf[:n], h.Truncated, err
		}
	}
}

// framed is a packet as a stream has it.
func framed(packet []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
}

func question(id uint16, q dnsmessage.Question) ([]byte, error) {
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: id, RecursionDesired: true, AuthenticData: true})
	var edns dnsmessage.ResourceHeader
	err := errors.Join(b.StartQuestions(), b.Question(q), b.StartAdditionals(),
		edns.SetEDNS0(maxAnswer, dnsmessage.RCodeSuccess, false), b.OPTResource(edns, dnsmessage.OPTResource{}))
	if err != nil {
		return nil, err
	}
	return b.Finish()
}

// answerTo begins to read an answer, and returns errNoAnswer where it is another's.
func answerTo(packet []byte, id uint16, q dnsmessage.Question) (p dnsmessage.Parser, h dnsmessage.Header, err error) {
	h, err = p.Start(packet)
	if err != nil || h.ID != id || !h.Response {
		return p, h, errNoAnswer
	}
	asked, err := p.Question()
	if err != nil || asked.Type != q.Type || asked.Class != q.Class || !strings.EqualFold(asked.Name.String(), q.Name.String()) {
		return p, h, errNoAnswer
	}
	if err := p.SkipAllQuestions(); err != nil {
		return p, h, errServer
	}
	return p, h, nil
}

// answers returns the addresses in an answer.
func answers(packet []byte, id uint16, q dnsmessage.Question) (list []netip.Addr, err error) {
	p, h, err := answerTo(packet, id, q)
	switch {
	case err != nil:
		return nil, err
	case h.RCode == dnsmessage.RCodeNameError:
		return nil, &net.DNSError{Err: "no such host", Name: q.Name.String(), IsNotFound: true}
	case h.RCode != dnsmessage.RCodeSuccess:
		return nil, errServer
	}
	for {
		r, err := p.Answer()
		switch {
		case errors.Is(err, dnsmessage.ErrSectionDone):
			return list, nil
		case err != nil:
			return nil, errServer
		}
		switch b := r.Body.(type) {
		case *dnsmessage.AResource:
			list = append(list, netip.AddrFrom4(b.A))
		case *dnsmessage.AAAAResource:
			list = append(list, netip.AddrFrom16(b.AAAA))
		}
	}
}
