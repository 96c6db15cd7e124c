//go:build linux

package osltest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed59451c2b/osl/internal/testnet"
)

// TestPhysicalKilled is TestKilledAtEachSystemCall with network cards, of each
// driver one.
func TestPhysicalKilled(t *testing.T) {
	list := cards(t)
	strace := testnet.NeedProgram(t, "strace", "strace")
	self, err := os.Executable()
	must(t, err)
	osl := func(t *testing.T, args ...string) {
		t.Helper()
		if out, err := child("osl", args...).CombinedOutput(); err != nil {
			t.Fatalf("osl %v: %v\n%s", args, err, out)
		}
	}
	for _, card := range []string{list[0], list[3]} {
		file := filepath.Join(t.TempDir(), card+".yaml")
		must(t, os.WriteFile(file, fmt.Appendf(nil, "sandboxes:\n  - name: edge\n    interfaces:\n"+
			"      - {name: wan0, source: %s, mtu: 1400, addresses: [10.50.0.2/24]}\n    gateway: 10.50.0.1\n", card), 0o644))
		create, rm := []string{"create", "edge"}, []string{"rm", "edge"}
		up, down := []string{"up", "--no-check", file}, []string{"down", file}
		add := []string{"link", "add", "edge", "wan0", "--source", card, "--mtu", "1400", "--address", "10.50.0.2/24"}
		remove := []string{"link", "rm", "edge", "wan0"}
		for _, k := range []struct {
			killed
			first [][]string // what must be there before
		}{
			{killed{name: "up", args: up, undo: [][]string{down}}, nil},
			{killed{name: "link add", args: add, undo: [][]string{remove}}, [][]string{create}},
			{killed{name: "link rm", args: remove, undo: [][]string{add}}, [][]string{create, add}},
			{killed{name: "rm", args: rm, undo: [][]string{create, add}}, [][]string{create, add}},
		} {
			t.Run(k.name+" "+card, func(t *testing.T) {
				if testing.Short() && card != list[0] && k.name != "link add" {
					t.Skip("only with -test.short=false")
				}
				cards(t)
				begin(t)
				t.Cleanup(func() { osl(t, "rm", "--force", "edge") })
				for _, args := range k.first {
					osl(t, args...)
				}
				// The test binary is the command.
				t.Setenv(childVar, "osl")
				k.run(t, strace, self, changes)
			})
		}
	}
}
