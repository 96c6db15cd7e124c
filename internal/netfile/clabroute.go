package netfile

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/seed59451c2b/osl"
)

// readRoute reads what stands behind "ip route add": false where it says more than
// osl's routes can.
func (b *clabBox) readRoute(w []string, family int) (r osl.RouteSpec, ok bool) {
	to, table := "", false
	if i := slices.Index(w, "nexthop"); i >= 0 {
		if r.NextHops, ok = nextHops(w[i:]); !ok {
			return r, false
		}
		w = w[:i]
	}
	ok = options(w, func(name string, next func() string) bool {
		var err error
		number := func(to *uint32) {
			var n uint64
			n, err = strconv.ParseUint(next(), 10, 32)
			*to = uint32(n)
		}
		switch name = long(name, "metric", "table", "protocol"); name {
		case "via":
			text := next()
			if text == "inet" || text == "inet6" {
				text = next()
			}
			r.Via, err = netip.ParseAddr(text)
		case "dev":
			r.Dev = next()
		case "metric", "preference", "priority":
			number(&r.Metric)
		case "table":
			table = true
			if text := next(); text != "main" {
				var n uint64
				n, err = strconv.ParseUint(text, 10, 32)
				r.Table = uint32(n)
			}
		case "vrf":
			f := b.has(next())
			if f == nil || f.Type != "vrf" {
				return false
			}
			r.Table, table = uint32(f.Table), true
		case "mtu":
			number(&r.MTU)
		case "advmss":
			number(&r.AdvMSS)
		case "src":
			r.Src, err = netip.ParseAddr(next())
		case "scope":
			r.Scope = next()
		case "protocol":
			next()
		case "onlink":
			return r.Dev != "" || slices.Contains(w, "dev")
		case "blackhole", "unreachable", "prohibit", "throw", "local":
			r.Type = name
		case "unicast":
		case "to":
			name = next()
			fallthrough
		default:
			if to != "" {
				return false
			}
			to = name
		}
		return err == nil
	})
	if !ok || to == "" {
		return r, false
	}
	if r.Type == "local" && !table {
		r.Table = 255 // where ip puts it
	}
	six := family == 6 || r.Via.Is6() || r.Src.Is6() || len(r.NextHops) > 0 && r.NextHops[0].Via.Is6()
	switch {
	case to == Default && six:
		r.To = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	case to == Default:
		r.To = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	default:
		if r.To, ok = prefix(to); ok {
			r.To = r.To.Masked()
		}
	}
	if r.To.Addr().Is6() {
		r.Scope = "" // the kernel does not look at it
	}
	return r, ok
}

// nextHops reads several next hops, each behind the word nexthop.
func nextHops(w []string) (list []osl.NextHop, ok bool) {
	ok = options(w, func(name string, next func() string) bool {
		if name == "nexthop" {
			list = append(list, osl.NextHop{})
			return true
		}
		var err error
		switch h := &list[len(list)-1]; name {
		case "via":
			h.Via, err = netip.ParseAddr(next())
		case "dev":
			h.Dev = next()
		case "weight":
			h.Weight, err = strconv.Atoi(next())
		default:
			return name == "onlink"
		}
		return err == nil
	})
	return list, ok
}

func (b *clabBox) route(verb string, w []string, family int) bool {
	r, ok := b.readRoute(w, family)
	if !ok || r.Via.IsValid() == (r.Type != "") && r.Via.IsValid() {
		return false
	}
	if b.unmanaged(r.Dev) {
		return true
	}
	if r.Dev != "" && b.known(r.Dev) == nil {
		return false
	}
	if !r.Via.IsValid() && r.Dev == "" && r.Type == "" && len(r.NextHops) == 0 {
		return false
	}
	same := func(o clabRoute) bool {
		return o.spec.To == r.To && o.spec.Table == r.Table && o.spec.Metric == r.Metric
	}
	i := slices.IndexFunc(b.wait, same)
	switch {
	case i >= 0 && verb == "append":
		return false
	case i >= 0 && verb == "add":
		return true // as in the container: that one is there
	case i >= 0:
		b.wait = slices.Delete(b.wait, i, i+1)
	}
	b.wait = append(b.wait, clabRoute{spec: r, line: b.line, text: strings.Join(w, " ")})
	return true
}

// routeAway takes a route away. One that is not there was the management network's.
func (b *clabBox) routeAway(w []string, family int) bool {
	r, ok := b.readRoute(w, family)
	if !ok {
		return false
	}
	i := slices.IndexFunc(b.wait, func(o clabRoute) bool {
		return o.spec.To == r.To && o.spec.Table == r.Table && (!r.Via.IsValid() || r.Via == o.spec.Via) && (r.Dev == "" || r.Dev == o.spec.Dev)
	})
	switch {
	case i >= 0:
		b.wait = slices.Delete(b.wait, i, i+1)
	case r.To.Bits() == 0 || r.Dev == management:
		b.d.note(b.line, managed, noManagement)
	default:
		return false
	}
	return true
}

// finish decides on what needs all of the others: routes whose next hop an address
// reaches, and those that do not.
func (b *clabBox) finish() {
	for _, r := range b.wait {
		hops := append(slices.Clone(r.spec.NextHops), osl.NextHop{Via: r.spec.Via, Dev: r.spec.Dev})
		if slices.ContainsFunc(hops, func(h osl.NextHop) bool { return h.Via.IsValid() && h.Dev == "" && !b.reaches(h.Via) }) {
			b.d.note(r.line, "ip route … "+r.text, "no address of the node reaches the next hop")
			continue
		}
		s := r.spec
		plain := osl.RouteSpec{To: s.To, Via: s.Via}
		four, six := s.To.Addr().Is4(), s.To.Addr().Is6()
		switch {
		case s.To.Bits() == 0 && s.Via.IsValid() && isPlain(s, plain) && four && s.Via.Is4() && !b.spec.Gateway.IsValid():
			b.d.at(b.path+".gateway", r.line)
			b.spec.Gateway = s.Via
		case s.To.Bits() == 0 && s.Via.IsValid() && isPlain(s, plain) && six && !b.spec.Gateway6.IsValid():
			b.d.at(b.path+".gateway6", r.line)
			b.spec.Gateway6 = s.Via
		default:
			b.d.at(fmt.Sprintf("%s.routes[%d]", b.path, len(b.spec.Routes)), r.line)
			b.spec.Routes = append(b.spec.Routes, s)
		}
	}
}

func isPlain(a, b osl.RouteSpec) bool {
	return a.Dev == b.Dev && a.Metric == 0 && a.Table == 0 && a.MTU == 0 && a.AdvMSS == 0 && !a.Src.IsValid() && a.Type == "" && a.Scope == ""
}

func (b *clabBox) reaches(via netip.Addr) bool {
	return slices.ContainsFunc(b.spec.Interfaces, func(f osl.InterfaceSpec) bool {
		return slices.ContainsFunc(f.Addresses, func(p netip.Prefix) bool { return p.Contains(via) && p.Addr() != via })
	})
}

// sysctls takes a command of sysctl in.
func (b *clabBox) sysctls(w []string) bool {
	w = slices.DeleteFunc(slices.Clone(w), func(s string) bool { return s == "-w" || s == "-q" || s == "--write" })
	for _, s := range w {
		name, _, ok := strings.Cut(s, "=")
		name = strings.ReplaceAll(strings.TrimSpace(name), "/", ".")
		if !ok || !strings.HasPrefix(name, "net.ipv4.") && !strings.HasPrefix(name, "net.ipv6.") {
			return false
		}
		if dev, _, found := strings.Cut(strings.TrimPrefix(name[len("net.ipvN."):], "conf."), "."); found && strings.HasPrefix(name[len("net.ipvN."):], "conf.") {
			if dev != "all" && dev != "default" && dev != "lo" && b.has(dev) == nil {
				return b.unmanaged(dev)
			}
		}
	}
	for _, s := range w {
		name, value, _ := strings.Cut(s, "=")
		b.sysctl(b.line, strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return len(w) > 0
}

// sysctl notes a setting; of several the last one counts.
func (b *clabBox) sysctl(at ast.Node, name, value string) {
	if !strings.Contains(name, ".") {
		name = strings.ReplaceAll(name, "/", ".")
	}
	name = strings.TrimPrefix(strings.TrimPrefix(name, "net."), "net/")
	if b.spec.Sysctls == nil {
		b.spec.Sysctls = map[string]string{}
	}
	b.d.at(b.path+".sysctls."+name, at)
	b.spec.Sysctls[name] = value
}

func (b *clabBox) setting(name string) string { return b.spec.Sysctls[name] }
