//go:build linux

package osltest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
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

// A vxlan that gets another name is the one that had settings that the file drops.
func TestRenamedDropsSettings(t *testing.T) {
	begin(t)
	for i, f := range []osl.InterfaceSpec{
		{Name: "x0", Type: "vxlan", VNI: 85, DisableARPForVIP: true, Sysctls: map[string]string{"ipv4.log_martians": "1", "ipv6.hop_limit": "33"}},
		{Name: "x1", Type: "vxlan", VNI: 85},
	} {
		n := osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "sa", Interfaces: []osl.InterfaceSpec{f}}}}
		if i > 0 {
			bad := osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "sa", Interfaces: []osl.InterfaceSpec{f}}}}
			refusedRoute(&bad.Sandboxes[0])
			before := everywhere(t)
			if did, err := osl.Apply(t.Context(), bad); err == nil || errors.Is(err, osl.ErrIncomplete) {
				t.Errorf("it did not fail: %v\n%s", err, did)
			}
			if changed := differs(t, before, everywhere); changed != "" {
				t.Errorf("a change that failed has changed %s", changed)
			}
		}
		_, err := osl.Apply(t.Context(), n)
		testnet.Feature(t, "link vxlan", err)
		ownSettings(t, f)
		if c, err := osl.Diff(t.Context(), n); err != nil || len(c) > 0 {
			t.Errorf("diff of %s after that: %v\n%s", f.Name, err, c)
		}
	}
	_, err := osl.Down(t.Context(), osl.Network{Name: "lab"})
	must(t, err)
}

// ownSettings fails unless an interface has its own settings, and the usual ones else.
func ownSettings(t *testing.T, f osl.InterfaceSpec) {
	t.Helper()
	want := []string{"0", "64", "0", "0"}
	if f.DisableARPForVIP {
		want = []string{"1", "33", "1", "2"}
	}
	var has []string
	for _, path := range []string{"ipv4/conf/%s/log_martians", "ipv6/conf/%s/hop_limit", "ipv4/conf/%s/arp_ignore", "ipv4/conf/%s/arp_announce"} {
		has = append(has, sysctl(t, "/run/netns/sa", fmt.Sprintf(path, f.Name)))
	}
	if !slices.Equal(has, want) {
		t.Errorf("%s has the settings %v, want %v", f.Name, has, want)
	}
	if marks := strings.Contains(needLink(t, "/run/netns/sa", f.Name).Attrs().Alias, ";v="); marks != f.DisableARPForVIP {
		t.Errorf("%s has marks of settings: %v", f.Name, marks)
	}
}

func exchanged(t *testing.T, kind string, give func(f *osl.InterfaceSpec, n byte)) {
	begin(t)
	parent := osl.HostName + "/" + parentsOnHost(t)[0]
	net := func(has ...byte) osl.Network { // of e0, e1 and so on, 0 for none
		s := osl.Spec{Name: "sa"}
		for i, n := range has {
			f := osl.InterfaceSpec{Name: fmt.Sprint("e", i), Type: kind, Parent: parent, AltNames: []string{fmt.Sprint("alt", i)}}
			if i == 0 {
				f.DisableARPForVIP, f.Sysctls = true, map[string]string{"ipv4.log_martians": "1", "ipv6.hop_limit": "33"}
			}
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
			ownSettings(t, f)
		}
	}
	_, err = osl.Down(t.Context(), osl.Network{Name: "lab"})
	must(t, err)
	if left := differs(t, first, everywhere); left != "" {
		t.Errorf("after Down: %s", left)
	}
}
