//go:build linux

package osltest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sort"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/seed59451c2b/osl"
)

// world is what one test may change. At its end everything must be as it was:
// the host's links, addresses and routes, the keys and the mounts.
type world struct {
	t    *testing.T
	made []string // links of the host, to be deleted at the end
}

// begin must be the first call of a test: what it registers runs last.
func begin(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	before, keys := snapshot(t, ""), mountsAndKeys(t)
	t.Cleanup(func() {
		for _, n := range w.made {
			if l := linkOf(t, "", n); l != nil {
				if err := netlink.LinkDel(l); err != nil {
					t.Errorf("clean up %s: %v", n, err)
				}
			}
		}
		same(t, "the host after the test", before, func() []string { return snapshot(t, "") })
		same(t, "mounts and keys after the test", keys, func() []string { return mountsAndKeys(t) })
	})
	return w
}

var serial atomic.Int64

// name returns a short name that no other call returns.
func name(prefix string) string { return fmt.Sprintf("%s%d", prefix, serial.Add(1)) }

// newKey returns the key of a sandbox that does not exist.
func newKey() string { return osl.GenerateKey(name("t")) }

// sandbox makes one that is destroyed at the end of the test.
func (w *world) sandbox() osl.Sandbox {
	w.t.Helper()
	return w.sandboxAt(newKey())
}

func (w *world) sandboxAt(key string) osl.Sandbox {
	w.t.Helper()
	sb, err := osl.NewSandbox(key, true, false)
	if err != nil {
		w.t.Fatalf("NewSandbox(%q, true, false): %v", key, err)
	}
	w.t.Cleanup(func() {
		if err := sb.Destroy(); err != nil {
			w.t.Errorf("Destroy %s: %v", key, err)
		}
	})
	return sb
}

// veth makes a pair on the host; both ends are down.
func (w *world) veth() (a, b string) {
	w.t.Helper()
	a, b = name("va"), name("vb")
	w.link(&netlink.Veth{LinkAttrs: attrs(a), PeerName: b})
	w.made = append(w.made, b)
	return a, b
}

// vethUp makes a pair on the host whose second end is up, so that the first
// one has a carrier as soon as it is up too.
func (w *world) vethUp() (a, b string) {
	w.t.Helper()
	a, b = w.veth()
	w.up(b)
	return a, b
}

// link makes a link on the host.
func (w *world) link(l netlink.Link) {
	w.t.Helper()
	if err := netlink.LinkAdd(l); err != nil {
		w.t.Fatalf("make the %s %s: %v", l.Type(), l.Attrs().Name, err)
	}
	w.made = append(w.made, l.Attrs().Name)
}

// vxlan makes one on the host, with number vni.
func (w *world) vxlan(vni int) string {
	w.t.Helper()
	n := name("vx")
	w.link(&netlink.Vxlan{LinkAttrs: attrs(n), VxlanId: vni, Port: 4789, Learning: true})
	return n
}

func (w *world) up(n string) {
	w.t.Helper()
	must(w.t, netlink.LinkSetUp(linkOf(w.t, "", n)))
}

// add adds an interface that must be accepted, and returns its name inside.
func (w *world) add(sb osl.Sandbox, src, prefix string, opts ...osl.IfaceOption) string {
	w.t.Helper()
	if err := sb.AddInterface(src, prefix, opts...); err != nil {
		w.t.Fatalf("AddInterface(%q, %q): %v", src, prefix, err)
	}
	return iface(w.t, sb, src).DstName()
}

// eth moves a fresh veth end in as eth<n> with the addresses given, and
// returns its source name, its name inside and the host's end, which is up.
func (w *world) eth(sb osl.Sandbox, addrs ...string) (src, dst, peer string) {
	w.t.Helper()
	src, peer = w.vethUp()
	return src, w.add(sb, src, "eth", addresses(addrs...)), peer
}

// attrs are those of a new link, with the values that mean "not set".
func attrs(n string) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name = n
	return a
}

// addresses is the option of several addresses of either family.
func addresses(list ...string) osl.IfaceOption {
	var ps []netip.Prefix
	for _, s := range list {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return osl.WithAddresses(ps...)
}

// iface returns the interface with a source name.
func iface(t *testing.T, sb osl.Sandbox, src string) osl.Interface {
	t.Helper()
	i := findIface(sb, src)
	if i == nil {
		t.Fatalf("Info has no interface with source name %q:\n%s", src, infoText(sb.Info()))
	}
	return i
}

func findIface(sb osl.Sandbox, src string) osl.Interface {
	for _, i := range sb.Info().Interfaces() {
		if i.SrcName() == src {
			return i
		}
	}
	return nil
}

// infoText is everything that Info says.
func infoText(info osl.Info) string {
	var lines []string
	for _, i := range info.Interfaces() {
		lines = append(lines, fmt.Sprintf("interface %s as %s %v %v ll=%v routes=%v bridge=%v master=%q", i.SrcName(), i.DstName(),
			i.Address(), i.AddressIPv6(), sorted(i.LinkLocalAddresses()), sorted(i.Routes()), i.Bridge(), i.Master()))
	}
	var routes []string
	for _, r := range info.StaticRoutes() {
		routes = append(routes, fmt.Sprintf("route %v type %d via %v", r.Destination, r.RouteType, r.NextHop))
	}
	sort.Strings(routes)
	lines = append(lines, fmt.Sprintf("gateway %v, %v", info.Gateway(), info.GatewayIPv6()))
	return strings.Join(append(lines, routes...), "\n")
}

func sorted(list []*net.IPNet) []string {
	out := []string{}
	for _, n := range list {
		out = append(out, n.String())
	}
	sort.Strings(out)
	return out
}

// ipnet parses an address with its prefix length.
func ipnet(s string) *net.IPNet {
	ip, n, err := net.ParseCIDR(s)
	if err != nil {
		panic(err)
	}
	if v4 := ip.To4(); v4 != nil {
		ip = v4
	}
	n.IP = ip
	return n
}

func ip(s string) net.IP {
	a := net.ParseIP(s)
	if a == nil {
		panic("no address: " + s)
	}
	return a
}

func mac(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused demands an error of osl's own type that is the sentinel and has all
// the words in its text.
func refused(t *testing.T, what string, err, sentinel error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error, want %v", what, sentinel)
		return
	}
	if sentinel != nil && !errors.Is(err, sentinel) {
		t.Errorf("%s: errors.Is finds no %q in: %v", what, sentinel, err)
	}
	var typed *osl.Error
	if !errors.As(err, &typed) {
		t.Errorf("%s: no *osl.Error but %T: %v", what, err, err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %q is not mentioned in: %v", what, word, err)
		}
	}
}

// ends demands that f returns in time and does not panic.
func ends(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan string, 1)
	go func() {
		said := "runtime.Goexit"
		defer func() {
			if r := recover(); r != nil {
				said = fmt.Sprintf("panic: %v", r)
			}
			done <- said
		}()
		f()
		said = ""
	}()
	select {
	case said := <-done:
		if said != "" {
			t.Errorf("%s: %s", what, said)
		}
	case <-time.After(20 * time.Second):
		// What waits for a lock would make all later tests wait with it.
		fmt.Fprintf(os.Stderr, "%s: %s does not end\n", t.Name(), what)
		panic(t.Name() + ": " + what + " does not end")
	}
}

// eventually waits until what holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if holds() {
			return
		}
		if time.Now().After(end) {
			t.Errorf("never: %s", what)
			return
		}
	}
}

func itoa(n int) string { return fmt.Sprint(n) }

// errorsIs names the sentinels that errors.Is finds.
func errorsIs(err error) (out []string) {
	for n, s := range map[string]error{
		"ErrUnsupported": osl.ErrUnsupported, "ErrClosed": osl.ErrClosed, "ErrNotNamespace": osl.ErrNotNamespace,
		"ErrNotFound": osl.ErrNotFound, "ErrExists": osl.ErrExists, "ErrNameInUse": osl.ErrNameInUse, "ErrInvalid": osl.ErrInvalid,
		"ErrAddressConflict": osl.ErrAddressConflict, "ErrUnreachable": osl.ErrUnreachable, "ErrPermission": osl.ErrPermission,
		"ErrTimeout": osl.ErrTimeout, "ErrIncomplete": osl.ErrIncomplete,
	} {
		if errors.Is(err, s) {
			out = append(out, n)
		}
	}
	return out
}
