package check

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"

	"github.com/seed59451c2b/osl"
)

// servers are the echo servers that checks with a "to" ask for.
type servers struct {
	closers []io.Closer
	errs    map[service]error
	wg      sync.WaitGroup

	mu      sync.Mutex // guards conns and stopped; the accept loops add, stop closes
	conns   map[net.Conn]bool
	stopped bool
}

// service is one server; several checks may ask for the same.
type service struct {
	sandbox, network string
	at               netip.AddrPort
}

func wanted(c osl.Check) service {
	if c.TCP.IsValid() {
		return service{c.To, "tcp", c.TCP}
	}
	return service{c.To, "udp", c.UDP}
}

func startServers(checks []osl.Check, doors *doors) *servers {
	s := &servers{errs: map[service]error{}, conns: map[net.Conn]bool{}}
	for _, c := range checks {
		w := wanted(c)
		if _, started := s.errs[w]; c.To == "" || started {
			continue
		}
		s.errs[w] = s.start(w, doors)
	}
	return s
}

func (s *servers) problem(c osl.Check) error { return s.errs[wanted(c)] }

func (s *servers) start(w service, doors *doors) error {
	in, err := doors.get(w.sandbox)
	if err != nil {
		return err
	}
	if entry := in(func() { err = s.listen(w) }); entry != nil {
		err = entry
	}
	if err != nil {
		return fmt.Errorf("no echo server in %s: %w", w.sandbox, err)
	}
	return nil
}

// listen opens the socket, inside the sandbox; serving it needs no thread
// there.
func (s *servers) listen(w service) error {
	at, err := numericZone(w.at)
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	if w.network == "udp" {
		pc, err := lc.ListenPacket(context.Background(), "udp", at.String())
		if err != nil {
			return err
		}
		s.closers = append(s.closers, pc)
		s.wg.Go(func() { echoDatagrams(pc) })
		return nil
	}
	l, err := lc.Listen(context.Background(), "tcp", at.String())
	if err != nil {
		return err
	}
	s.closers = append(s.closers, l)
	s.wg.Go(func() { s.accept(l) })
	return nil
}

func echoDatagrams(pc net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		// A lost answer is what the check is there to see.
		_, _ = pc.WriteTo(buf[:n], from)
	}
}

func (s *servers) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		if !s.keep(c) {
			return
		}
		s.wg.Go(func() {
			_, _ = io.Copy(c, c)
			s.drop(c)
		})
	}
}

// keep notes a connection, so that stop can close it; false once stopped.
func (s *servers) keep(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		_ = c.Close()
		return false
	}
	s.conns[c] = true
	return true
}

func (s *servers) drop(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	_ = c.Close()
}

func (s *servers) stop() {
	s.mu.Lock()
	s.stopped = true
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	for _, c := range s.closers {
		_ = c.Close()
	}
	s.wg.Wait()
}
