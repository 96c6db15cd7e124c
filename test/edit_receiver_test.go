//go:build linux

package osltest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

func TestReceivers(t *testing.T) {
	receivers(t, "macvlan", "macvtap", "bridge", "macvlan passthru", "macvtap passthru")
}

func TestFeatureReceivers(t *testing.T) { receivers(t, "macvlan", "ipvlan", "bond") }

// receivers gives a link one receiver of what comes in after the other, each in one change:
// what is made on it, or a master.
func receivers(t *testing.T, kinds ...string) {
	begin(t)
	with := func(kind string) osl.Network {
		p := osl.InterfaceSpec{Name: "p", Type: "veth", Peer: osl.Endpoint{Sandbox: "sb", Interface: "q"}}
		kind, mode, _ := strings.Cut(kind, " ")
		m := osl.InterfaceSpec{Name: "m", Type: kind, Mode: mode, Addresses: prefixes("10.88.0.1/24", "fd88::1/64"), Routes: prefixes("172.20.7.0/24"), Sysctls: map[string]string{"ipv4.rp_filter": "2"}}
		if kind == "bridge" || kind == "bond" {
			p.Master, m.Addresses, m.Routes = "m", prefixes("10.89.0.1/24"), nil
		} else {
			m.Parent = "p"
		}
		return osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "sa", Interfaces: []osl.InterfaceSpec{p, m}}, {Name: "sb"}}}
	}
	for _, from := range kinds {
		for _, to := range kinds {
			if from == to {
				continue
			}
			t.Run(from+" then "+to, func(t *testing.T) {
				before := everywhere(t)
				t.Cleanup(func() {
					_, err := osl.Down(context.Background(), osl.Network{Name: "lab"})
					must(t, err)
				})
				for _, kind := range []string{to, from} {
					_, err := osl.Apply(t.Context(), with(kind))
					if kind == "ipvlan" || kind == "bond" {
						testnet.Feature(t, "link "+kind, err)
					}
					must(t, err)
				}
				at := everywhere(t)
				bad := with(to)
				refusedRoute(&bad.Sandboxes[0])
				if did, err := osl.Apply(t.Context(), bad); err == nil || errors.Is(err, osl.ErrIncomplete) {
					t.Errorf("it did not fail: %v\n%s", err, did)
				}
				if changed := differs(t, at, everywhere); changed != "" {
					t.Errorf("a change that failed has changed %s", changed)
				}
				would, err := osl.Diff(t.Context(), with(to))
				must(t, err)
				if did, err := osl.Apply(t.Context(), with(to)); err != nil || born.ReplaceAllString(did.String(), "") != born.ReplaceAllString(would.String(), "") {
					t.Fatalf("apply: %v\n%s\ndiff had said\n%s", err, did, would)
				}
				if c, err := osl.Diff(t.Context(), with(to)); err != nil || len(c) > 0 {
					t.Errorf("diff after that: %v\n%s", err, c)
				}
				if l := needLink(t, "/run/netns/sa", "m"); l.Type() != strings.Fields(to)[0] {
					t.Errorf("it is %s", l.Type())
				}
				port := needLink(t, "/run/netns/sa", "p").Attrs().MasterIndex != 0
				if port != slices.Contains([]string{"bridge", "bond"}, to) {
					t.Errorf("whether it is a port: %v", port)
				}
				_, err = osl.Down(t.Context(), osl.Network{Name: "lab"})
				must(t, err)
				if left := differs(t, before, everywhere); left != "" {
					t.Errorf("after Down: %s", left)
				}
			})
		}
	}
}

// What a link has on it goes with it, a vxlan too: so it does not go first, and the change fails
// with all as before.
func TestReceiverWithAnotherOnIt(t *testing.T) {
	begin(t)
	lab := func(mode string, vxlan bool) osl.Network {
		list := []osl.InterfaceSpec{{Name: "p", Type: "veth", Peer: osl.Endpoint{Sandbox: "sb", Interface: "q"}}, {Name: "m", Type: "macvlan", Mode: mode, Parent: "p"}}
		if vxlan {
			list = append(list, osl.InterfaceSpec{Name: "x", Type: "vxlan", VNI: 4, Parent: "m", Addresses: prefixes("10.88.0.1/24")})
		}
		return osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "sa", Interfaces: list}, {Name: "sb"}}}
	}
	for _, stays := range []bool{true, false} {
		_, err := osl.Apply(t.Context(), lab("", true))
		must(t, err)
		before := everywhere(t)
		if did, err := osl.Apply(t.Context(), lab("passthru", stays)); err == nil || errors.Is(err, osl.ErrIncomplete) {
			t.Errorf("it did not fail: %v\n%s", err, did)
		}
		if changed := differs(t, before, everywhere); changed != "" {
			t.Errorf("a change that failed has changed %s", changed)
		}
		settled(t, lab("", false))
		settled(t, lab("passthru", false))
		_, err = osl.Down(t.Context(), osl.Network{Name: "lab"})
		must(t, err)
	}
}

// On a link of the host a macvlan goes at the end of a change: another in its place, of which one
// has the mode passthru, is refused before anything is done.
func TestPassthruOnTheHost(t *testing.T) {
	begin(t)
	lab := func(kind, mode string) osl.Network {
		list := []osl.InterfaceSpec{{Name: "q", Peer: osl.Endpoint{Sandbox: osl.HostName, Interface: "hq"}}}
		if kind != "" {
			list = append(list, osl.InterfaceSpec{Name: "m", Type: kind, Mode: mode, Parent: "host/hq", Addresses: prefixes("10.88.0.1/24")})
		}
		return osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "sa", Interfaces: list}}}
	}
	for _, x := range [][4]string{{"macvlan", "", "macvlan", "passthru"}, {"macvtap", "passthru", "macvtap", "vepa"}, {"macvlan", "passthru", "macvtap", "passthru"}} {
		_, err := osl.Apply(t.Context(), lab(x[0], x[1]))
		must(t, err)
		before := everywhere(t)
		_, err = osl.Diff(t.Context(), lab(x[2], x[3]))
		refused(t, "diff", err, osl.ErrExists, `"m" of the sandbox sa is on the host's "hq"`)
		_, err = osl.Apply(t.Context(), lab(x[2], x[3]))
		refused(t, "apply", err, osl.ErrExists, "take that away before")
		if changed := differs(t, before, everywhere); changed != "" {
			t.Errorf("a change that was refused has changed %s", changed)
		}
		settled(t, lab("", ""))
		settled(t, lab(x[2], x[3]))
		_, err = osl.Down(t.Context(), osl.Network{Name: "lab"})
		must(t, err)
	}
}
