//go:build linux

package osltest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
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
	pastes(t, pasteable(t))
}

// pasteable draws what the programs of every Debian know.
func pasteable(t *testing.T) drawer {
	has := probe(t)
	has.kinds = slices.DeleteFunc(has.kinds, func(kind string) bool { return slices.Contains(newerKinds, kind) })
	return has
}

// paste runs commands that Diff printed.
func paste(c osl.Changes) error {
	if out, err := exec.Command("sh", "-ec", c.String()).CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s\nof\n%s", err, out, c)
	}
	return nil
}

// needPasted are the programs that the commands need.
func needPasted(t *testing.T) {
	for program, from := range map[string]string{"ip": "iproute2", "ethtool": "ethtool"} {
		testnet.NeedProgram(t, program, from)
	}
}

// newerKinds are those for which a newer ip is needed, or another program.
var newerKinds = []string{"wireguard", "netkit", "IPv4 sizes"}

// So it is with what takes other programs than every Debian has.
func TestFeaturePastedEdits(t *testing.T) {
	begin(t)
	has := probe(t)
	for _, kind := range newerKinds {
		t.Run(kind, func(t *testing.T) {
			var err error
			if !slices.Contains(has.kinds, kind) {
				err = fmt.Errorf("there is no %s here: %w", kind, errors.ErrUnsupported)
			}
			path := os.Getenv("PATH")
			if _, err := os.Stat("/newer/ip"); err == nil { // of the machine of test/kernel
				path = "/newer:" + path
			}
			t.Setenv("PATH", path)
			if err == nil && kind == "wireguard" {
				testnet.NeedProgram(t, "wg", "wireguard-tools")
			}
			word := map[string]string{"netkit": "netkit", "IPv4 sizes": "gso_ipv4_max_size"}[kind]
			if help, _ := exec.Command("ip", "link", "help").CombinedOutput(); err == nil && !strings.Contains(string(help), word) {
				t.Skipf("the ip here knows no %s", word)
			}
			testnet.Feature(t, "commands of osl diff for "+kind, err)
			pastes(t, drawer{kinds: []string{"bridge", kind, kind}})
		})
	}
}

// pastes applies networks with these kinds by the commands that Diff prints.
func pastes(t *testing.T, has drawer) {
	needPasted(t)
	keys := keyFiles(t)
	anyInput(t, 12, func(r *rapid.T) {
		d := drawer{T: r, kinds: has.kinds, rates: has.rates}
		first := everywhere(t)
		defer d.takesBack(t, first, everywhere)
		for range 3 {
			said := d.network()
			n := withKeyFiles(said, keys)
			text, _ := json.Marshal(n)
			r.Logf("apply by hand %s", text)
			would, err := osl.Diff(t.Context(), n)
			if err != nil {
				r.Fatalf("diff: %v", err)
			}
			if err := paste(would); err != nil {
				r.Fatal(err)
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
			d.stands(t, said)
		}
	})
}

// keyFiles writes the secrets that are drawn into files, since no command has them, and returns
// how they are called.
func keyFiles(t *testing.T) map[osl.PublicKey]string {
	dir, files := t.TempDir(), map[osl.PublicKey]string{}
	for n := 1; n <= 6; n++ {
		key := drawnKey(n)
		path := filepath.Join(dir, fmt.Sprint(n, ".key"))
		must(t, os.WriteFile(path, []byte(base64.StdEncoding.EncodeToString(key[:])+"\n"), 0o600))
		files[osl.NewSecretKey(key).Public()] = path
	}
	return files
}

// withKeyFiles is a network with the files of its secrets in their place.
func withKeyFiles(n osl.Network, files map[osl.PublicKey]string) osl.Network {
	n.Sandboxes = slices.Clone(n.Sandboxes)
	for i := range n.Sandboxes {
		s := &n.Sandboxes[i]
		s.Interfaces = slices.Clone(s.Interfaces)
		for j := range s.Interfaces {
			if s.Interfaces[j].WireGuard == nil {
				continue
			}
			w := *s.Interfaces[j].WireGuard
			w.PrivateKey, w.PrivateKeyFile, w.Peers = osl.SecretKey{}, files[w.PrivateKey.Public()], slices.Clone(w.Peers)
			for k := range w.Peers {
				if p := &w.Peers[k]; !p.PresharedKey.IsZero() {
					p.PresharedKey, p.PresharedKeyFile = osl.SecretKey{}, files[p.PresharedKey.Public()]
				}
			}
			s.Interfaces[j].WireGuard = &w
		}
	}
	return n
}

// So it is where somebody renamed links that others lie on or are ports of, and exchanged
// their names: what is made again is told to lie on what has the name at that moment.
func TestPastedAfterRenames(t *testing.T) {
	begin(t)
	lab := osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "edge", Interfaces: []osl.InterfaceSpec{
		{Name: "p0", Type: "veth", Peer: osl.Endpoint{Sandbox: "edge", Interface: "p1"}, Master: "br"}, {Name: "mv", Type: "macvlan", Parent: "e0"},
		{Name: "vx", Type: "vxlan", VNI: 4, Remote: netip.MustParseAddr("192.0.2.1"), Parent: "e0"}, {Name: "p1"},
		{Name: "br", Type: "bridge"}, {Name: "e0", Type: "veth", Peer: osl.Endpoint{Sandbox: "edge", Interface: "e1"}}, {Name: "e1"},
	}}}}
	defer func() { _, err := osl.Down(t.Context(), lab); must(t, err) }()
	settled(t, lab)
	for _, names := range [][]string{{"e0", "x0", "br", "x1"}, {"br", "x", "e0", "br", "x", "e0"}} {
		for _, args := range [][]string{{"link", "set", "dev", "p0", "nomaster"}, {"link", "del", "dev", "mv"}, {"link", "del", "dev", "vx"}} {
			ipCommand(t, append([]string{"-n", "edge"}, args...)...)
		}
		for pair := range slices.Chunk(names, 2) {
			ipCommand(t, "-n", "edge", "link", "set", "dev", pair[0], "name", pair[1])
		}
		c, err := osl.Diff(t.Context(), lab)
		must(t, err)
		must(t, paste(c))
		if c, err := osl.Apply(t.Context(), lab); err != nil || len(c) > 0 {
			t.Errorf("after its commands up does: %v\n%s", err, c)
		}
	}
}
