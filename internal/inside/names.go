package inside

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// file returns the path of a file of /etc as the sandbox has it, and whether that is
// one of its own. A directory of that name is none, nor is a pipe: who reads it may wait
// for ever.
func (s *Space) file(name string) (path string, own bool) {
	if s.Etc != "" {
		path = filepath.Join(s.Etc, name)
		if st, err := os.Stat(path); err == nil && st.Mode()&(fs.ModeDir|fs.ModeNamedPipe|fs.ModeSocket) == 0 {
			return path, true
		}
	}
	return filepath.Join("/etc", name), false
}

// config is what a resolv.conf says; resolv.conf(5).
type config struct {
	servers  []string // with ports
	search   []string
	ndots    int
	attempts int
	timeout  time.Duration
}

func (s *Space) config() config {
	path, _ := s.file("resolv.conf")
	text, _ := os.ReadFile(path) // without one, the servers are those of this machine
	return parseConfig(string(text))
}

func parseConfig(text string) config {
	c := config{ndots: 1, attempts: 2, timeout: 5 * time.Second}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(f[1]); err == nil && len(c.servers) < 3 {
				c.servers = append(c.servers, net.JoinHostPort(a.String(), "53"))
			}
		case "domain":
			c.search = f[1:2]
		case "search":
			c.search = f[1:]
		case "options":
			for _, o := range f[1:] {
				c.option(o)
			}
		}
	}
	if len(c.servers) == 0 {
		c.servers = []string{"127.0.0.1:53", "[::1]:53"}
	}
	return c
}

func (c *config) option(o string) {
	name, value, _ := strings.Cut(o, ":")
	n, err := strconv.Atoi(value)
	if err != nil {
		return
	}
	switch name {
	case "ndots":
		c.ndots = min(max(n, 0), 15)
	case "attempts":
		c.attempts = min(max(n, 1), 5)
	case "timeout":
		c.timeout = time.Duration(min(max(n, 1), 30)) * time.Second
	}
}

// names are the names to ask for, in their order, when a host is looked up.
func (c *config) names(host string) (list []string) {
	if rooted, is := strings.CutSuffix(host, "."); is {
		return []string{rooted + "."}
	}
	for _, domain := range c.search {
		if domain = strings.Trim(domain, "."); domain != "" {
			list = append(list, host+"."+domain+".")
		}
	}
	at := len(list)
	if strings.Count(host, ".") >= c.ndots {
		at = 0
	}
	return slices.Insert(list, at, host+".")
}

// hosts returns the addresses of a host in the text of a hosts file; hosts(5).
func hosts(text, host string) (list []netip.Addr) {
	host = strings.TrimSuffix(host, ".")
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		a, err := netip.ParseAddr(f[0])
		if err != nil {
			continue
		}
		a = a.Unmap() // as package net takes one of IPv4 that is written as IPv6
		if slices.ContainsFunc(f[1:], func(n string) bool { return strings.EqualFold(strings.TrimSuffix(n, "."), host) }) && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list
}

// namesOf returns the names of an address in the text of a hosts file.
func namesOf(text string, a netip.Addr) (list []string) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		if b, err := netip.ParseAddr(f[0]); err == nil && a == b.Unmap() {
			list = append(list, f[1:]...)
		}
	}
	return list
}

func wanted(family string, a netip.Addr) bool {
	return family == "ip" || family == "ip4" && a.Is4() || family == "ip6" && a.Is6()
}

// Lookup returns the addresses of a host, at least one, of the family ip, ip4 or ip6:
// itself where it is one, what the hosts file says, else what the name servers say,
// which are asked from within the sandbox. Its errors are of type *net.DNSError, or
// those of Run.
func (s *Space) Lookup(ctx context.Context, family, host string) ([]netip.Addr, error) {
	if family != "ip" && family != "ip4" && family != "ip6" {
		return nil, net.UnknownNetworkError(family)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if !wanted(family, a) {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		return []netip.Addr{a}, nil
	}
	path, _ := s.file("hosts")
	text, _ := os.ReadFile(path) // there need be none
	list := slices.DeleteFunc(hosts(string(text), host), func(a netip.Addr) bool { return !wanted(family, a) })
	if len(list) > 0 {
		return list, nil
	}
	if !isName(host) {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	c := s.config()
	var last error
	for _, name := range c.names(host) {
		list, err := s.ask(ctx, &c, family, name)
		if len(list) > 0 {
			return list, nil
		}
		if err == nil {
			continue
		}
		var e *net.DNSError
		if !errors.As(err, &e) {
			return nil, err
		}
		e.Name = host
		if last == nil || !e.IsNotFound {
			last = e
		}
		if ctx.Err() != nil {
			break
		}
	}
	if last == nil {
		last = &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return nil, last
}

// isName reports whether name can be a name in the DNS: RFC 1035, and with _ as in
// use.
func isName(name string) bool {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}
