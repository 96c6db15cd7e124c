//go:build linux

package osltest

import (
	"errors"
	"net"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

// searchError demands a NeighborSearchError, both found by errors.As and, as
// programs written for the seed look for it, by a type assertion.
func searchError(t *testing.T, what string, err error) {
	t.Helper()
	var n osl.NeighborSearchError
	if !errors.As(err, &n) {
		t.Errorf("%s: no NeighborSearchError but %T: %v", what, err, err)
		return
	}
	if _, ok := err.(osl.NeighborSearchError); !ok { //nolint:errorlint // the seed's programs do so
		t.Errorf("%s: the NeighborSearchError is wrapped in a %T", what, err)
	}
	if n.Error() == "" {
		t.Errorf("%s: the error has no text", what)
	}
}

func TestNeighbors(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src, dst, _ := w.eth(sb, "10.41.0.2/24", "fd41::2/64")
	o := sb.NeighborOptions()
	m1, m2 := mac("02:00:00:00:41:01"), mac("02:00:00:00:41:02")
	for _, x := range []struct {
		addr   net.IP
		family int
		opts   []osl.NeighOption
	}{
		{ip("10.41.0.9"), unix.AF_INET, []osl.NeighOption{o.LinkName(src)}},
		{ip("fd41::9"), unix.AF_INET6, []osl.NeighOption{o.LinkName(src)}},
		{ip("10.41.0.10"), unix.AF_INET, []osl.NeighOption{o.LinkName(src), o.Family(unix.AF_INET)}},
		{ip("fd41::10"), unix.AF_INET6, []osl.NeighOption{o.LinkName(src), o.Family(unix.AF_INET6)}},
	} {
		entries := func() []string { return neighborsOf(t, sb.Key(), dst, x.family) }
		one, two := x.addr.String()+" "+m1.String(), x.addr.String()+" "+m2.String()
		must(t, sb.AddNeighbor(x.addr, m1, false, x.opts...))
		if got := entries(); !slices.Equal(got, []string{one}) {
			t.Errorf("AddNeighbor %v: %v", x.addr, got)
		}
		searchError(t, "the same again", sb.AddNeighbor(x.addr, m1, false, x.opts...))
		searchError(t, "another address", sb.AddNeighbor(x.addr, m2, false, x.opts...))
		if got := entries(); !slices.Equal(got, []string{one}) {
			t.Errorf("after a refusal: %v", got)
		}
		must(t, sb.AddNeighbor(x.addr, m2, true, x.opts...))
		if got := entries(); !slices.Equal(got, []string{two}) {
			t.Errorf("forced: %v", got)
		}
		searchError(t, "delete one that is not there", sb.DeleteNeighbor(x.addr, m1, true))
		must(t, sb.DeleteNeighbor(x.addr, m2, true))
		if got := entries(); len(got) > 0 {
			t.Errorf("after DeleteNeighbor: %v", got)
		}
		searchError(t, "delete it again", sb.DeleteNeighbor(x.addr, m2, true))
		// Another process may have taken it away already.
		must(t, sb.AddNeighbor(x.addr, m1, false, x.opts...))
		must(t, sb.DeleteNeighbor(x.addr, m1, true))
	}
}

func TestDeleteNeighborKeepsItInTheKernel(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src, dst, _ := w.eth(sb, "10.42.0.2/24")
	m := mac("02:00:00:00:42:01")
	link := sb.NeighborOptions().LinkName(src)
	must(t, sb.AddNeighbor(ip("10.42.0.9"), m, false, link))
	must(t, sb.DeleteNeighbor(ip("10.42.0.9"), m, false))
	if got := neighborsOf(t, sb.Key(), dst, unix.AF_INET); !slices.Equal(got, []string{"10.42.0.9 " + m.String()}) {
		t.Errorf("the kernel has %v", got)
	}
	searchError(t, "osl does not hold it any more", sb.DeleteNeighbor(ip("10.42.0.9"), m, true))
	must(t, sb.AddNeighbor(ip("10.42.0.9"), m, false, link))
	must(t, sb.DeleteNeighbor(ip("10.42.0.9"), m, true))
}

func TestNeighborOfNoLink(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	w.eth(sb, "10.43.0.2/24")
	err := sb.AddNeighbor(ip("10.43.0.9"), mac("02:00:00:00:43:01"), false, sb.NeighborOptions().LinkName("nothing"))
	refused(t, "a link that is not there", err, osl.ErrNotFound, "nothing", sb.Key())
}

func TestForwardingEntries(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	vx := w.vxlan(4101)
	dst := w.add(sb, vx, "vxlan", addresses("10.44.0.2/24"))
	o := sb.NeighborOptions()
	fdb := []osl.NeighOption{o.LinkName(vx), o.Family(unix.AF_BRIDGE)}
	entries := func() []string { return neighborsOf(t, sb.Key(), dst, unix.AF_BRIDGE) }
	vtep, m1, m2 := ip("192.0.2.9"), mac("02:00:00:00:44:01"), mac("02:00:00:00:44:02")
	must(t, sb.AddNeighbor(vtep, m1, false, fdb...))
	searchError(t, "the same again", sb.AddNeighbor(vtep, m1, false, fdb...))
	// One tunnel endpoint has many machines behind it.
	must(t, sb.AddNeighbor(vtep, m2, false, fdb...))
	if got, want := entries(), []string{"192.0.2.9 " + m1.String(), "192.0.2.9 " + m2.String()}; !slices.Equal(got, want) {
		t.Errorf("entries are %v, want %v", got, want)
	}
	// A machine that moved is behind another endpoint now.
	must(t, sb.AddNeighbor(ip("192.0.2.10"), m1, true, fdb...))
	if got, want := entries(), []string{"192.0.2.10 " + m1.String(), "192.0.2.9 " + m2.String()}; !slices.Equal(got, want) {
		t.Errorf("entries are %v, want %v", got, want)
	}
	must(t, sb.DeleteNeighbor(ip("192.0.2.10"), m1, true))
	must(t, sb.DeleteNeighbor(vtep, m2, true))
	if got := entries(); len(got) > 0 {
		t.Errorf("left are %v", got)
	}
	searchError(t, "delete it again", sb.DeleteNeighbor(vtep, m2, true))
}

// An ARP entry and a forwarding entry of the same addresses are two things.
func TestNeighborAndForwardingEntryTogether(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	vx := w.vxlan(4102)
	dst := w.add(sb, vx, "vxlan", addresses("10.45.0.2/24"))
	o := sb.NeighborOptions()
	m := mac("02:00:00:00:45:01")
	must(t, sb.AddNeighbor(ip("10.45.0.9"), m, false, o.LinkName(vx)))
	must(t, sb.AddNeighbor(ip("192.0.2.9"), m, false, o.LinkName(vx), o.Family(unix.AF_BRIDGE)))
	must(t, sb.DeleteNeighbor(ip("192.0.2.9"), m, true))
	if got := neighborsOf(t, sb.Key(), dst, unix.AF_BRIDGE); len(got) > 0 {
		t.Errorf("forwarding entries left: %v", got)
	}
	if got := neighborsOf(t, sb.Key(), dst, unix.AF_INET); !slices.Equal(got, []string{"10.45.0.9 " + m.String()}) {
		t.Errorf("ARP entries are %v", got)
	}
	must(t, sb.DeleteNeighbor(ip("10.45.0.9"), m, true))
}
