//go:build linux

package osltest

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"pgregory.net/rapid"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// The model is what the documentation says that a host and its sandboxes hold,
// as plain data. It knows no tags, messages or plans of osl's.
type model struct {
	t     *rapid.T
	host  []*mlink
	boxes map[string]*mbox
	stale []*osl.Namespace // handles whose sandbox is gone
	calls int
}

// mbox is a sandbox. links are in the order in which they came; lo is not one
// of them.
type mbox struct {
	name    string
	links   []*mlink
	lo      *mlink
	routes  []mroute
	neighs  []mneigh
	handles []*osl.Namespace
	// lingers says that the last IPv6 address may have gone with the other end of
	// a link, in another sandbox. lo's IPv6 is on then until something is taken
	// away in this one.
	lingers bool
}

type mlink struct {
	name, kind string
	src        string // source name; "" on the host, unless it is the far end of a veth of osl's
	home       *mlink // what it was on the host
	was        *mlink // of one that a spec wants: what it is already
	pair       int    // and the MTU that it asks for, which its other end has too
	mac        string // "" until it was seen
	mtu, txq   int
	mtuSet     bool // of a bridge: set by hand, so that it does not follow the ports
	up         bool
	alias      string
	master     *mlink
	peer       *mlink // the other end of a veth that osl made
	box        *mbox  // nil on the host
	addrs      []maddr
	quiet      bool // DisableARPForVIP
	vni        int
}

type maddr struct {
	netip.Prefix
	alias bool
}

// mroute is a gateway, a static route or, with neither static nor via, a
// route of an interface.
type mroute struct {
	dst    netip.Prefix
	via    netip.Addr
	dev    *mlink
	static bool
}

type mneigh struct {
	dev *mlink
	ip  netip.Addr
	mac string
	fdb bool
	osl bool // held by osl
}

func (r mroute) gateway() bool { return r.dst.Bits() == 0 && r.via.IsValid() }

func (r mroute) String() string { return r.dst.String() }

func (l *mlink) ipv6() bool {
	return slices.ContainsFunc(l.addrs, func(a maddr) bool { return a.Addr().Is6() })
}

func (l *mlink) has(p netip.Prefix) bool {
	return slices.ContainsFunc(l.addrs, func(a maddr) bool { return a.Prefix == p })
}

func (b *mbox) all() []*mlink { return append([]*mlink{b.lo}, b.links...) }

func find(list []*mlink, what func(*mlink) bool) *mlink {
	if i := slices.IndexFunc(list, what); i >= 0 {
		return list[i]
	}
	return nil
}

func (b *mbox) link(name string) *mlink {
	return find(b.all(), func(l *mlink) bool { return l.name == name })
}

func (b *mbox) source(src string) *mlink {
	return find(b.links, func(l *mlink) bool { return l.src == src })
}

func (m *model) onHost(name string) *mlink {
	return find(m.host, func(l *mlink) bool { return l.name == name })
}

// lowest returns the lowest free number after a prefix.
func lowest(list []*mlink, prefix string) string {
	for n := 0; ; n++ {
		name := prefix + itoa(n)
		if find(list, func(l *mlink) bool { return l.name == name }) == nil {
			return name
		}
	}
}

// call makes a call whose outcome the model has foretold: no error, or one that
// is any of those in want; nil among them stands for any error.
func (m *model) call(what string, want []error, f func() error) (ok bool) {
	m.t.Helper()
	m.t.Logf("%s", what)
	m.calls++
	start := time.Now()
	err := f()
	if d := time.Since(start); d > 10*time.Second {
		m.t.Errorf("%s took %v", what, d)
	}
	if len(want) == 0 {
		if err != nil {
			m.t.Fatalf("%s: %v", what, err)
		}
		return true
	}
	if err == nil {
		m.t.Fatalf("%s: no error, want one of %v", what, want)
	}
	if !slices.ContainsFunc(want, func(w error) bool { return w == nil || errors.Is(err, w) }) {
		m.t.Fatalf("%s: the error is none of %v: %v", what, want, err)
	}
	if errors.Is(err, osl.ErrIncomplete) {
		m.t.Fatalf("%s: something could not be undone: %v", what, err)
	}
	return false
}

// hostAddrs are those of links of the host.
var hostAddrs = map[string][]netip.Prefix{
	"h0": {netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8:99::1/64")},
	"d0": {netip.MustParsePrefix("198.51.100.1/32")},
}

// begin makes the links of the host that a check plays with.
func (m *model) begin() {
	m.boxes = map[string]*mbox{}
	for i, l := range []netlink.Link{
		&netlink.Veth{LinkAttrs: attrs("h0"), PeerName: "p0"},
		&netlink.Veth{LinkAttrs: attrs("h1"), PeerName: "p1"},
		&netlink.Veth{LinkAttrs: attrs("d0"), PeerName: "p2"},
		&netlink.Vxlan{LinkAttrs: attrs("x0"), VxlanId: 7, Port: 4789},
	} {
		a := l.Attrs()
		a.HardwareAddr = mac(fmt.Sprintf("02:00:00:00:01:%02x", i))
		a.MTU, a.TxQLen = 1500-i, 900+i
		m.must(netlink.LinkAdd(l))
	}
	m.must(netlink.LinkSetAlias(&netlink.Veth{LinkAttrs: attrs("d0")}, "a plug;o=h"))
	for _, n := range []string{"h0", "p0", "p1", "p2"} {
		l, err := netlink.LinkByName(n)
		m.must(err)
		m.must(netlink.LinkSetUp(l))
	}
	list, err := netlink.LinkList()
	m.must(err)
	for _, l := range list {
		if a := l.Attrs(); a.Name != "lo" {
			h := &mlink{name: a.Name, kind: l.Type(), mac: a.HardwareAddr.String(), mtu: a.MTU, txq: a.TxQLen,
				up: a.Flags&1 != 0, alias: a.Alias}
			for _, p := range hostAddrs[a.Name] { // they come home with it
				h.addrs = append(h.addrs, maddr{Prefix: p})
				ip, err := netlink.ParseIPNet(p.String())
				m.must(err)
				m.must(netlink.AddrAdd(l, &netlink.Addr{IPNet: ip, Flags: unix.IFA_F_NODAD}))
			}
			m.host = append(m.host, h)
		}
	}
	for _, name := range boxNames {
		m.createAt(name)
	}
}

// end leaves the namespaces as the next check, or try, must find them.
func (m *model) end() {
	for _, b := range m.boxes {
		m.stale = append(m.stale, b.handles...)
	}
	for _, n := range m.stale {
		_ = n.Close()
	}
	for _, key := range boxNames {
		if err := osl.Remove(m.t.Context(), key); err != nil && !errors.Is(err, osl.ErrNotFound) {
			m.t.Errorf("clean up %s: %v", key, err)
		}
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		list := again(m, netlink.LinkList)
		if len(list) == 1 {
			break
		}
		for _, l := range list {
			if l.Attrs().Name != "lo" {
				_ = netlink.LinkDel(l)
			}
		}
		if time.Now().After(end) {
			m.t.Fatalf("clean up: %d links are left", len(list)-1)
		}
	}
}

func (m *model) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatalf("the witness: %v", err)
	}
}

// boxNames are the sandboxes of a check.
var boxNames = []string{"ma", "mb"}

// anyInput checks a property over so many random inputs as the time allows, or over what
// the command line says instead. What fails is printed, and kept nowhere.
func anyInput(t *testing.T, checks int, property func(*rapid.T)) {
	t.Helper()
	set := func(name string, value int) { must(t, flag.Set(name, strconv.Itoa(value))) }
	must(t, flag.Set("rapid.nofailfile", "true"))
	if !given()["rapid.steps"] {
		set("rapid.steps", 20)
	}
	if given()["rapid.checks"] || given()["rapid.seed"] {
		if !given()["rapid.checks"] {
			set("rapid.checks", checks)
		}
		rapid.Check(t, property)
		return
	}
	set("rapid.checks", 1)
	if testing.Short() {
		set("rapid.checks", 5) // of which rapid makes a fifth then
	}
	for i := range testnet.Rounds(t, checks, 20*time.Second) {
		set("rapid.seed", 1+i)
		if rapid.Check(t, property); t.Failed() {
			return
		}
	}
}

// given are the flags of the command line, before a test sets others.
var given = sync.OnceValue(func() map[string]bool {
	names := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { names[f.Name] = true })
	return names
})

// TestModel makes random sequences of calls and compares what the kernel then
// holds, as another library reads it, and what Info says, with the model, after
// each call. A failure prints the shortest sequence that was found to fail.
//
//	go test -run TestModel . -args -rapid.checks=200 -rapid.steps=50 -rapid.seed=N
func TestModel(t *testing.T) {
	begin(t)
	log := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler)) // a taken name at home is logged
	defer slog.SetDefault(log)
	calls, checks, seen := 0, 0, map[string]int{}
	anyInput(t, 10, func(r *rapid.T) {
		m := &model{t: r}
		defer m.end()
		m.begin()
		m.compare()
		actions := map[string]func(*rapid.T){"": func(*rapid.T) { m.compare() }}
		for name, f := range m.actions() {
			actions[name] = func(r *rapid.T) {
				before := m.calls
				f()
				if m.calls == before {
					r.SkipNow() // there was nothing to call
				}
				seen[name]++
			}
		}
		r.Repeat(actions)
		calls += m.calls
		checks++
	})
	t.Logf("seed %s: %d checks, %d calls: %v", flag.Lookup("rapid.seed").Value, checks, calls, seen)
	for name := range (&model{}).actions() {
		if calls > 1000 && seen[name] == 0 {
			t.Errorf("%s was never called", name)
		}
	}
	if left, _ := os.ReadDir("/run/netns"); len(left) > 0 {
		t.Errorf("left in /run/netns: %v", left)
	}
}

func words(list ...any) string {
	var out []string
	for _, x := range list {
		if s := fmt.Sprint(x); s != "" && s != "[]" && s != "invalid IP" && s != "<nil>" {
			out = append(out, s)
		}
	}
	return strings.Join(out, " ")
}
