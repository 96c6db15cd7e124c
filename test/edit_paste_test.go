//go:build linux

package osltest

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"pgregory.net/rapid"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// What Diff prints of an edit, whatever it is, does the same where it is pasted to a shell:
// no line of it fails, and then there is nothing to change.
func TestPastedEdits(t *testing.T) {
	begin(t)
	for program, from := range map[string]string{"ip": "iproute2", "ethtool": "ethtool"} {
		testnet.NeedProgram(t, program, from)
	}
	has := probe(t)
	help, _ := exec.Command("ip", "link", "help").CombinedOutput()
	kinds := slices.DeleteFunc(has.kinds, func(kind string) bool {
		return kind == "wireguard" || // its keys are not printed
			kind == "netkit" && !strings.Contains(string(help), kind) || // ip knows it since its 6.7
			kind == "IPv4 sizes" && !strings.Contains(string(help), "gso_ipv4_max_size") // ip knows them since its 6.3
	})
	anyInput(t, 12, func(r *rapid.T) {
		d := drawer{T: r, kinds: kinds, rates: has.rates}
		first := everywhere(t)
		defer d.takesBack(t, first, everywhere)
		for range 3 {
			n := d.network()
			text, _ := json.Marshal(n)
			r.Logf("apply by hand %s", text)
			would, err := osl.Diff(t.Context(), n)
			if err != nil {
				r.Fatalf("diff: %v", err)
			}
			if out, err := exec.Command("sh", "-ec", would.String()).CombinedOutput(); err != nil {
				r.Fatalf("%v\n%s\nof\n%s", err, out, would)
			}
			eventually(t, "other ends of what went with a namespace are gone", func() bool { // ip does not wait for that
				all, err := netlink.LinkList()
				return err == nil && !slices.ContainsFunc(all, func(l netlink.Link) bool {
					return (l.Type() == "veth" || l.Type() == "netkit") && !slices.ContainsFunc(n.Sandboxes, func(s osl.Spec) bool {
						return slices.ContainsFunc(s.Interfaces, func(f osl.InterfaceSpec) bool {
							return f.Peer == osl.Endpoint{Sandbox: osl.HostName, Interface: l.Attrs().Name}
						})
					})
				})
			})
			if left, err := osl.Diff(t.Context(), n); err != nil || len(left) > 0 {
				r.Fatalf("diff after the commands: %v\n%s\nthey were\n%s", err, left, would)
			}
			if did, err := osl.Apply(t.Context(), n); err != nil || len(did) > 0 {
				r.Fatalf("apply after the commands: %v\n%s", err, did)
			}
			d.stands(t, n)
		}
	})
}
