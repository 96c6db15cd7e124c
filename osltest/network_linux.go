package osltest

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/oslfile"
)

// Network is a network of one test.
type Network struct {
	t         testing.TB
	dir       string // its own base path
	mu        sync.Mutex
	spec      osl.Network // what stands: names are keys
	sandboxes map[string]*osl.Namespace
	relays    map[osl.Link]*relay // of links by their two ends in the file
	groups    map[string]int      // of a partition, by address
	recorders []*recorder
	captures  []*Capture
}

// Up builds a network for the test, which is gone when the test is over: sandboxes of
// one test do not meet those of another that runs at the same time, and their names are
// this test's own. What goes wrong ends the test. The ends of its links are in its
// sandboxes; the host is that of all tests of the package.
//
// Where [Main] found that the machine has no network for tests, the test is skipped.
func Up(t testing.TB, network osl.Network) *Network {
	t.Helper()
	if why := os.Getenv(refused); why != "" {
		t.Skip("no network for tests: ", why)
	}
	if os.Getenv(inside) == "" {
		t.Fatal("osltest.Main(m) must be called from TestMain")
	}
	n := &Network{t: t, sandboxes: map[string]*osl.Namespace{}, relays: map[osl.Link]*relay{}}
	err := os.MkdirAll("/run/osltest", 0o755)
	if err == nil {
		n.dir, err = os.MkdirTemp("/run/osltest", "")
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(n.dir, "netns"), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	n.spec = n.placed(network)
	if _, err := osl.Apply(t.Context(), n.spec); err != nil {
		_ = os.RemoveAll(n.dir)
		t.Fatal(n.short(err.Error()))
	}
	t.Cleanup(n.down)
	for _, s := range network.Sandboxes {
		n.open(s.Name)
	}
	n.forward()
	for _, name := range slices.Sorted(maps.Keys(n.sandboxes)) {
		n.recorders = append(n.recorders, record(t, name, n.sandboxes[name]))
	}
	return n
}

// UpFile is Up for the network file at path, and makes its checks: one that fails ends
// the test.
func UpFile(t testing.TB, path string) *Network {
	t.Helper()
	network, err := oslfile.LoadNetwork(path)
	if err != nil {
		t.Fatal(err)
	}
	n := Up(t, network)
	if _, err := oslfile.RunChecks(t.Context(), n.spec); err != nil {
		t.Fatal(n.short(err.Error()))
	}
	return n
}

// Sandbox returns the open sandbox with a name of the network; the test ends where there
// is none. The handle is the network's to close.
func (n *Network) Sandbox(name string) *osl.Namespace {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.sandboxes[name]
	if s == nil {
		n.t.Fatalf("the network has no sandbox %q, but %s", name, strings.Join(slices.Sorted(maps.Keys(n.sandboxes)), ", "))
	}
	return s
}

// open opens a sandbox of the network.
func (n *Network) open(name string) *osl.Namespace {
	n.t.Helper()
	s, err := osl.Open(n.t.Context(), n.key(name))
	if err != nil {
		n.t.Fatal(err)
	}
	n.sandboxes[name] = s
	return s
}

// forward returns when all links take packets. Of a link that went up the kernel tells
// its queue, and the bridge that it is a port of, some milliseconds later, and what is
// sent before is lost; a question for a hardware address, say, which is repeated after a
// second. Or it does so when it is asked for the link, as SetLink does, which has nothing
// to set here.
func (n *Network) forward() {
	n.t.Helper()
	for _, s := range n.spec.Sandboxes {
		for _, x := range s.Interfaces {
			if x.Down {
				continue
			}
			if err := n.sandboxes[n.short(s.Name)].SetLink(n.t.Context(), x.Name, osl.LinkChange{}); err != nil {
				n.t.Fatal(n.short(err.Error()))
			}
		}
	}
}

func (n *Network) key(name string) string { return filepath.Join(n.dir, "netns", name) }

// short takes the directory of the test out of a text.
func (n *Network) short(text string) string { return strings.ReplaceAll(text, n.key("")+"/", "") }

// placed is a network whose sandboxes are below the test's own base path. It has no
// name: by that others would be found.
func (n *Network) placed(from osl.Network) osl.Network {
	to := osl.Network{Links: slices.Clone(from.Links), Checks: slices.Clone(from.Checks)}
	place := func(name *string) {
		if *name != "" && *name != osl.HostName {
			*name = n.key(*name)
		}
	}
	for _, s := range from.Sandboxes {
		if strings.Contains(s.Name, "/") {
			n.t.Fatalf("the sandbox %q has a path: that of a test is its own", s.Name)
		}
		place(&s.Name)
		s.Interfaces = slices.Clone(s.Interfaces)
		for i := range s.Interfaces {
			place(&s.Interfaces[i].Peer.Sandbox)
		}
		to.Sandboxes = append(to.Sandboxes, s)
	}
	for i := range to.Links {
		place(&to.Links[i][0].Sandbox)
		place(&to.Links[i][1].Sandbox)
	}
	for i := range to.Checks {
		place(&to.Checks[i].From)
		place(&to.Checks[i].To)
	}
	return to
}

// down ends the network. It runs after what the test registered to be cleaned up.
func (n *Network) down() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.captures {
		c.stop()
	}
	leaks := n.leaks()
	for _, l := range leaks {
		n.t.Error("the test left", n.short(l))
	}
	if n.t.Failed() {
		n.report()
	}
	var closing []func()
	for _, r := range n.recorders {
		closing = append(closing, r.stop)
	}
	for _, r := range n.relays {
		closing = append(closing, r.stop)
	}
	// To close a packet socket the kernel waits for all processors: nobody need wait
	// for that.
	for _, c := range closing {
		ending.Go(c)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := osl.Down(ctx, n.spec); err != nil {
		n.t.Error(n.short(err.Error()))
	}
	for _, s := range n.sandboxes {
		_ = s.Close()
	}
	if err := os.RemoveAll(n.dir); err != nil {
		n.t.Error(err)
	}
}

// ends returns the links that a and b name: each is a sandbox, or one's interface
// ("web/eth0"). An empty b is any.
func (n *Network) links(a, b string) []osl.Link {
	n.t.Helper()
	is := func(e osl.Endpoint, name string) bool {
		short := n.short(e.Sandbox)
		return name == "" || name == short || name == short+"/"+e.Interface
	}
	var list []osl.Link
	for _, l := range n.all() {
		if is(l[0], a) && is(l[1], b) || is(l[0], b) && is(l[1], a) {
			list = append(list, l)
		}
	}
	if len(list) == 0 {
		n.t.Fatalf("the network has no link between %s and %s", a, b)
	}
	return list
}

// all returns the links of the network as they were asked for, those that have a relay
// by now included.
func (n *Network) all() (list []osl.Link) {
	list = slices.AppendSeq(list, maps.Keys(n.relays))
	between := func(l osl.Link) bool {
		return slices.ContainsFunc(l[:], func(e osl.Endpoint) bool {
			return e.Sandbox == osl.HostName || strings.HasPrefix(n.short(e.Sandbox), relayName)
		})
	}
	for _, l := range n.spec.Links {
		if !between(l) {
			list = append(list, l)
		}
	}
	for _, s := range n.spec.Sandboxes {
		for _, x := range s.Interfaces {
			if l := (osl.Link{{Sandbox: s.Name, Interface: x.Name}, x.Peer}); x.Peer != (osl.Endpoint{}) && !between(l) {
				list = append(list, l)
			}
		}
	}
	slices.SortFunc(list, func(a, b osl.Link) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return list
}

// Cut lets nothing through the links between a and b any more, without a word to
// either: packets are lost, as in a cable that is cut somewhere on its way. Each of a
// and b is a sandbox, or an interface of one: "web/eth0". Connections stay, until they
// time out by themselves.
func (n *Network) Cut(a, b string) { n.each(a, b, func(r *relay) { r.cut.Store(true) }) }

// Heal takes back what Cut and Impair did to the links between a and b.
func (n *Network) Heal(a, b string) {
	n.each(a, b, func(r *relay) { r.cut.Store(false); r.impair.Store(&Impairment{}) })
}

// Impairment says what becomes of the packets of a link, in each direction. The zero
// value of a field leaves that as it is on a good link.
type Impairment struct {
	// Delay is how long each packet is on its way.
	Delay time.Duration
	// Jitter is what is added to Delay, at random from 0 on. Packets keep their order.
	Jitter time.Duration
	// Loss is the part of the packets that is lost, at random: 0.01 is one of a hundred.
	Loss float64
	// Rate is what goes through, in bits per second. What comes in faster waits, 1000
	// packets at most; the others are lost.
	Rate int64
}

// Impair makes the links between a and b, as Cut knows them, as bad as i says, in place
// of what Impair said before.
func (n *Network) Impair(a, b string, i Impairment) {
	n.t.Helper()
	if i.Delay < 0 || i.Jitter < 0 || i.Loss < 0 || i.Loss > 1 || i.Rate < 0 {
		n.t.Fatalf("no link can be like this: %+v", i)
	}
	n.each(a, b, func(r *relay) { r.impair.Store(&i) })
}

// each calls f with the relays of the links between a and b.
func (n *Network) each(a, b string, f func(*relay)) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.relayed(n.links(a, b)) {
		f(r)
	}
}

// Partition loses what sandboxes of one group send to those of another, over whatever
// links and routers; each is in one group at most, and what is in none is reached by
// all. It takes the place of the partition before; without groups there is none.
func (n *Network) Partition(groups ...[]string) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	of := map[string]int{}
	var links []osl.Link
	for i, g := range groups {
		for _, name := range g {
			s := n.sandboxes[name]
			if s == nil {
				n.t.Fatalf("the network has no sandbox %q", name)
			}
			st, err := s.Inspect(n.t.Context())
			if err != nil {
				n.t.Fatal(err)
			}
			for _, x := range st.Interfaces {
				for _, p := range slices.Concat(x.Addresses, x.Aliases) {
					if was, ok := of[p.Addr().String()]; ok && was != i {
						n.t.Fatalf("%s is in two groups", p.Addr())
					}
					of[p.Addr().String()] = i
				}
			}
			for _, l := range n.links(name, "") {
				if !slices.Contains(links, l) {
					links = append(links, l)
				}
			}
		}
	}
	n.groups = of
	n.relayed(links)
	for _, r := range n.relays {
		r.groups.Store(&of)
	}
}
