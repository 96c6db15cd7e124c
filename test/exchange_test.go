//go:build linux

package osltest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// What there can be one of goes from one link of a sandbox to another one that stays, or
// they exchange it: the kernel gives it to none as long as another one has it.
func TestExchanged(t *testing.T) {
	exchanged(t, "macvlan", func(f *osl.InterfaceSpec, n byte) { f.MAC = osl.MAC{2, 0x5b, 0, 0, 1, n} })
}

func TestFeatureExchanged(t *testing.T) {
	exchanged(t, "ipvlan", func(f *osl.InterfaceSpec, n byte) {
		f.Mode, f.Addresses = "l2", prefixes(fmt.Sprintf("10.80.%d.1/24", n), fmt.Sprintf("fd80:%d::1/64", n))
	})
}

func exchanged(t *testing.T, kind string, give func(f *osl.InterfaceSpec, n byte)) {
	begin(t)
	parent := osl.HostName + "/" + parentsOnHost(t)[0]
	net := func(has ...byte) osl.Network { // of e0, e1 and so on, 0 for none
		s := osl.Spec{Name: "sa"}
		for i, n := range has {
			f := osl.InterfaceSpec{Name: fmt.Sprint("e", i), Type: kind, Parent: parent, AltNames: []string{fmt.Sprint("alt", i)}}
			if give(&f, n); n != 0 {
				s.Interfaces = append(s.Interfaces, f)
			}
		}
		return osl.Network{Name: "lab", Sandboxes: []osl.Spec{s}}
	}
	first := everywhere(t)
	_, err := osl.Apply(t.Context(), net(1, 2, 3))
	testnet.Feature(t, "link "+kind, err)
	for _, has := range [][]byte{{2, 1, 3}, {3, 2, 1}, {2, 1, 3}, {1, 3, 2}, {0, 1, 3}, {1, 0, 3}, {2, 3, 1}} {
		n := net(has...)
		bad := net(has...)
		refusedRoute(&bad.Sandboxes[0])
		before := everywhere(t)
		if did, err := osl.Apply(t.Context(), bad); err == nil || errors.Is(err, osl.ErrIncomplete) {
			t.Errorf("%v: it did not fail: %v\n%s", has, err, did)
		}
		if changed := differs(t, before, everywhere); changed != "" {
			t.Errorf("%v: a change that failed has changed %s", has, changed)
		}
		if _, err := osl.Apply(t.Context(), n); err != nil {
			t.Fatalf("%v: %v", has, err)
		}
		if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
			t.Errorf("%v: diff after that: %v\n%s", has, err, c)
		}
		for _, f := range n.Sandboxes[0].Interfaces {
			onlyOne(t, "/run/netns/sa", f)
			if got := needLink(t, "/run/netns/sa", f.Name).Attrs().AltNames; !slices.Equal(got, f.AltNames) {
				t.Errorf("%v: %s is called %v too", has, f.Name, got)
			}
		}
	}
	_, err = osl.Down(t.Context(), osl.Network{Name: "lab"})
	must(t, err)
	if left := differs(t, first, everywhere); left != "" {
		t.Errorf("after Down: %s", left)
	}
}
