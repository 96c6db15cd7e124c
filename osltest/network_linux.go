package osltest

import (
	"context"
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
	base      osl.Base // its own
	mu        sync.Mutex
	spec      osl.Network // as it was asked for, and the relays
	sandboxes map[string]*osl.Namespace
	segments  map[osl.Endpoint]string // of the ports that osl made for them
	relays    map[osl.Link]*relay     // of links by their two ends in the file
	netem     map[osl.Link]bool       // those that the kernel impairs
	groups    map[string]int          // of a partition, by address
	recorders []*recorder
	captures  []*Capture
}

// Up builds a network for the test, which is gone when the test is over: sandboxes of
// one test do not meet those of another that runs at the same time, and their names are
// this test's own. What goes wrong ends the test. It has nothing on the host, which is
// that of all tests of the package; what is to be one is a sandbox.
//
// Where [Main] found that the machine has no network for tests, the test is skipped.
func Up(t testing.TB, network osl.Network) *Network {
	t.Helper()
	if why := os.Getenv(refused); why != "" {
		t.Skip("no network for tests:", why)
	}
	if os.Getenv(inside) == "" {
		t.Fatal("osltest.Main(m) must be called from TestMain")
	}
	for _, s := range network.Sandboxes {
		if s.Name == osl.HostName || strings.Contains(s.Name, "/") {
			t.Fatalf("a network of a test has sandboxes of its own, with names, and no %q: give it a sandbox in the place of that", s.Name)
		}
	}
	err := os.MkdirAll("/run/osltest", 0o755)
	dir := ""
	if err == nil {
		dir, err = os.MkdirTemp("/run/osltest", "")
	}
	if err != nil {
		t.Fatal(err)
	}
	n := &Network{t: t, base: osl.At(dir), spec: network, sandboxes: map[string]*osl.Namespace{}, segments: map[osl.Endpoint]string{},
		relays: map[osl.Link]*relay{}, netem: map[osl.Link]bool{}}
	n.spec.Sandboxes, n.spec.Links = slices.Clone(network.Sandboxes), slices.Clone(network.Links)
	if _, err := n.base.Apply(t.Context(), n.spec); err != nil {
		_ = os.RemoveAll(dir)
		t.Fatal(n.short(err.Error()))
	}
	t.Cleanup(n.down)
	for _, s := range network.Sandboxes {
		n.open(s.Name)
	}
	for _, s := range n.spec.Sandboxes {
		for _, x := range s.Interfaces {
			if !x.Down {
				n.forward(osl.Endpoint{Sandbox: s.Name, Interface: x.Name})
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n.sandboxes)) {
		n.recorders = append(n.recorders, record(t, name, n.sandboxes[name]))
	}
	n.findSegments()
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
	checks := osl.Network{Checks: slices.Clone(n.spec.Checks)}
	for i := range checks.Checks {
		for _, name := range []*string{&checks.Checks[i].From, &checks.Checks[i].To} {
			if *name != "" && *name != osl.HostName {
				*name = n.key(*name)
			}
		}
	}
	if _, err := oslfile.RunChecks(t.Context(), checks); err != nil {
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
	s, err := n.base.Open(n.t.Context(), name)
	if err != nil {
		n.t.Fatal(err)
	}
	n.sandboxes[name] = s
	return s
}

// forward returns when an interface takes packets. Of a link that went up the kernel tells
// its queue, and the bridge that it is a port of, some milliseconds later, and what is
// sent before is lost; a question for a hardware address, say, which is repeated after a
// second. Or it does so when it is asked for the link, as SetLink does, which has nothing
// to set here.
func (n *Network) forward(e osl.Endpoint) {
	n.t.Helper()
	if err := n.sandboxes[e.Sandbox].SetLink(n.t.Context(), e.Interface, osl.LinkChange{}); err != nil {
		n.t.Fatal(n.short(err.Error()))
	}
}

func (n *Network) key(name string) string { return filepath.Join(n.base.Path(), "netns", name) }

// short takes the directory of the test out of a text.
func (n *Network) short(text string) string { return strings.ReplaceAll(text, n.key("")+"/", "") }

// findSegments finds the links that osl made for segments, with the ports of their bridges.
func (n *Network) findSegments() {
	n.t.Helper()
	if !slices.ContainsFunc(n.spec.Sandboxes, func(s osl.Spec) bool {
		return slices.ContainsFunc(s.Interfaces, func(x osl.InterfaceSpec) bool { return x.Segment != "" })
	}) {
		return
	}
	all, err := n.base.List(n.t.Context())
	if err != nil {
		n.t.Fatal(n.short(err.Error()))
	}
	names := make([]string, 0, len(all))
	for _, e := range all {
		names = append(names, e.Name)
		if n.sandboxes[e.Name] == nil {
			n.open(e.Name)
		}
	}
	stands, err := n.base.Export(n.t.Context(), names...)
	if err != nil {
		n.t.Fatal(n.short(err.Error()))
	}
	for _, l := range stands.Links {
		for i, e := range l {
			if x := interfaceOf(&n.spec, e); x != nil && x.Segment != "" {
				n.spec.Links = append(n.spec.Links, l)
				n.segments[l[1-i]] = x.Segment
			}
		}
	}
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
	if _, err := n.base.Down(ctx, n.spec); err != nil {
		n.t.Error(n.short(err.Error()))
	}
	if err := os.RemoveAll(n.base.Path()); err != nil {
		n.t.Error(err)
	}
}
