//go:build linux

package osltest

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/seed59451c2b/osl"
)

// What is wrong with a network as it is written, Validate says as Diff does: the same error of
// the same part. What only the machine can say it leaves to Apply.
func TestValidateSaysWhatDiffDoes(t *testing.T) {
	begin(t)
	addrs := func(list ...string) (ps []netip.Prefix) {
		for _, a := range list {
			ps = append(ps, netip.MustParsePrefix(a))
		}
		return ps
	}
	with := func(f func(*osl.InterfaceSpec)) osl.Network {
		s := osl.InterfaceSpec{Name: "d0", Type: "bridge"}
		f(&s)
		return osl.Network{Sandboxes: []osl.Spec{{Name: name("v"), Interfaces: []osl.InterfaceSpec{s}}}}
	}
	twice := name("v")
	for what, net := range map[string]osl.Network{
		"no name":                 {Sandboxes: []osl.Spec{{}}},
		"one name twice":          {Sandboxes: []osl.Spec{{Name: twice}, {Name: twice}}},
		"a network's name":        {Name: "a b", Sandboxes: []osl.Spec{{Name: name("v")}}},
		"no such type":            with(func(s *osl.InterfaceSpec) { s.Type = "brigde" }),
		"a name of 16 bytes":      with(func(s *osl.InterfaceSpec) { s.Name = "sixteen-bytes-xx" }),
		"a field of another type": with(func(s *osl.InterfaceSpec) { s.VNI = 7 }),
		"an address twice":        with(func(s *osl.InterfaceSpec) { s.Addresses = addrs("10.0.0.1/24", "10.0.0.1/24") }),
		"a group's address":       with(func(s *osl.InterfaceSpec) { s.Addresses = addrs("224.0.0.1/24") }),
		"a link to nowhere": {Sandboxes: []osl.Spec{{Name: twice}},
			Links: []osl.Link{{{Sandbox: twice, Interface: "e"}, {Sandbox: "nobody", Interface: "e"}}}},
		"a key without a file": with(func(s *osl.InterfaceSpec) {
			s.Type, s.WireGuard = "wireguard", &osl.WireGuardSpec{PrivateKeyFile: t.TempDir() + "/none"}
		}),
	} {
		var v, d *osl.Error
		_, derr := osl.Diff(t.Context(), net)
		if verr := net.Validate(); !errors.As(derr, &d) {
			t.Errorf("%s: Diff says %v", what, derr)
		} else if !errors.As(verr, &v) {
			t.Errorf("%s: Validate says %v, and Diff %v", what, verr, derr)
		} else if v.Key != d.Key || v.Interface != d.Interface || v.Err.Error() != d.Err.Error() || v.Hint != d.Hint {
			t.Errorf("%s: Validate says\n%v\nand Diff\n%v", what, verr, derr)
		}
	}
	sound := with(func(s *osl.InterfaceSpec) { s.Addresses = addrs("10.0.0.1/24") })
	if err := sound.Validate(); err != nil {
		t.Errorf("of a network that is sound: %v", err)
	}
	absent := with(func(s *osl.InterfaceSpec) { s.Type, s.Source = "", "nowhere0" })
	if err := absent.Validate(); err != nil {
		t.Errorf("of a link of the host that may be there: %v", err)
	}
	if _, err := osl.Diff(t.Context(), absent); !errors.Is(err, osl.ErrNotFound) {
		t.Errorf("Diff of it: %v", err)
	}
}
