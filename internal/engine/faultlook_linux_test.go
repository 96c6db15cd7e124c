package engine_test

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/engine"
	"github.com/seed59451c2b/osl/internal/netlink"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/rtnl"
)

func infoDiff(want, got picture) string {
	if want.info == got.info {
		return ""
	}
	return "Info was\n" + want.info + "\nand is\n" + got.info
}

// diff returns the lines that are in only one of two sorted lists.
func diff(was, is []string) string {
	var b strings.Builder
	for _, l := range was {
		if !slices.Contains(is, l) {
			b.WriteString("- " + l + "\n")
		}
	}
	for _, l := range is {
		if !slices.Contains(was, l) {
			b.WriteString("+ " + l + "\n")
		}
	}
	return b.String()
}

// settled looks until ok, for a moment at most: the kernel gives links that go
// up their link-local addresses a little later, and drops those of namespaces
// that are gone.
func (w *faultWorld) settled(ok func(picture) bool) picture {
	p := w.look()
	for end := time.Now().Add(10 * time.Second); !ok(p) && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
		p = w.look()
	}
	return p
}

func (w *faultWorld) look() picture {
	w.t.Helper()
	p := picture{kernel: look(w.t)}
	if w.a != nil {
		p.info = infoText(w.a.Info())
		return p
	}
	// Through a handle that puts nothing right.
	keys, _ := filepath.Glob("/run/netns/*")
	for _, key := range keys {
		if n, err := engine.OpenAt(key); err == nil {
			p.info += key + "\n" + heldText(n) + "\n"
			n.Close()
		}
	}
	return p
}

// still looks when nothing changes any more.
func (w *faultWorld) still() picture { return w.stillFor(30 * time.Millisecond) }

func (w *faultWorld) stillFor(quiet time.Duration) picture {
	w.t.Helper()
	// On a loaded machine the kernel's own work comes late: it is waited for, and
	// not for longer than anybody would.
	for end := time.Now().Add(10 * time.Second); w.owing() && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	for last, since := w.look(), time.Now(); ; time.Sleep(5 * time.Millisecond) {
		now := w.look()
		if !slices.Equal(last.kernel, now.kernel) {
			last, since = now, time.Now()
		}
		if time.Since(since) > quiet {
			return now
		}
	}
}

// owing reports whether the kernel has yet to give a link that is up its
// link-local address, or the route to the peer of one.
func (w *faultWorld) owing() bool {
	w.t.Helper()
	conns := map[string]*netlink.Conn{}
	host, err := engine.DialHost()
	w.must(err)
	conns["host"] = host
	keys, _ := filepath.Glob("/run/netns/*")
	for _, key := range keys {
		if n, err := engine.OpenAt(key); err == nil {
			conns[key] = n.Conn()
		}
	}
	owing := false
	for _, conn := range conns {
		links, err := conn.Links(context.Background())
		w.must(err)
		addrs, err := conn.Addrs(context.Background(), 0)
		w.must(err)
		for _, l := range links {
			runs := l.Up() && l.Flags&unix.IFF_LOWER_UP != 0 && l.Flags&(unix.IFF_LOOPBACK|unix.IFF_NOARP) == 0
			owing = owing || runs && !l.Inet.DisableIPv6 && !slices.ContainsFunc(addrs, func(a rtnl.Addr) bool {
				return a.Index == l.Index && a.Prefix.Addr().Is6() && a.Prefix.Addr().IsLinkLocalUnicast()
			})
			for _, a := range addrs {
				if a.Index != l.Index || !a.Peer.Is6() || !l.Up() || a.Flags&unix.IFA_F_NOPREFIXROUTE != 0 {
					continue
				}
				routes, err := conn.Routes(context.Background(), unix.RTPROT_KERNEL, l.Index)
				w.must(err)
				owing = owing || !slices.ContainsFunc(routes, func(r rtnl.Route) bool { return r.Dst.Addr() == a.Peer })
			}
		}
		conn.Close()
	}
	return owing
}

// infoText is all that Info says.
func infoText(i osl.Info) string {
	var lines []string
	for _, x := range i.Interfaces() {
		lines = append(lines, fmt.Sprintf("%s as %s %v %v %v %v bridge %v master %s", x.SrcName(), x.DstName(), x.Address(), x.AddressIPv6(),
			x.LinkLocalAddresses(), x.Routes(), x.Bridge(), x.Master()))
	}
	for _, r := range i.StaticRoutes() {
		via, _ := netip.AddrFromSlice(r.NextHop)
		lines = append(lines, fmt.Sprintf("%v type %d via %v", r.Destination, r.RouteType, via))
	}
	slices.Sort(lines)
	return strings.Join(append(lines, fmt.Sprintf("gateways %v %v", i.Gateway(), i.GatewayIPv6())), "\n")
}

// heldText is what the engine holds of a sandbox for Info.
func heldText(n *engine.Namespace) string {
	s := n.Held()
	var lines []string
	names := map[int]string{}
	for i := range s.Links {
		names[s.Links[i].Index] = s.Links[i].Name
	}
	for i := range s.Links {
		l := &s.Links[i]
		if t, ok := plan.ParseTag(l.Alias); ok {
			lines = append(lines, fmt.Sprintf("%s as %s, of %s", t.Source, l.Name, names[l.Master]))
		}
	}
	for _, a := range s.Addrs {
		if a.Proto == rtnl.Protocol {
			lines = append(lines, fmt.Sprintf("%v on %s", a.Prefix, names[a.Index]))
		}
	}
	for _, r := range s.Routes {
		lines = append(lines, fmt.Sprintf("%v via %v on %s, of the sandbox: %v", r.Dst, r.Via, names[r.Index], plan.IsStatic(r)))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
