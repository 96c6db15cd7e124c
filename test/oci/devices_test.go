package oci

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The runtime moves an end of a link that osl made into the container.
func TestNetDevices(t *testing.T) {
	each(t, []string{"root"}, func(t *testing.T, m *machine, c client) {
		if !strings.HasPrefix(c.name, "runc-") {
			t.Skip("it knows no linux.netDevices")
		}
		file := filepath.Join(m.dir, "router.yaml")
		if err := os.WriteFile(file, []byte("sandboxes: [{name: router, interfaces: [{name: c0, type: veth, peer: host/c0, addresses: [10.12.0.1/24]}]}]\n"), 0o644); err != nil { //nolint:gosec // others are to read it
			t.Fatal(err)
		}
		m.do(osl, "up", file)
		m.do("ip", "link", "add", "x0", "type", "bridge")
		m.do("ip", "addr", "add", "10.12.0.2/24", "dev", "c0")
		dir := m.write("web", bundle{Args: show})
		for arg, says := range map[string]string{"c1": `no device "c1"`, "x0": "did not make", "c0=a/b": "a/b", "c0=lo": "lo"} {
			if out, err := m.try(osl, "oci", "spec", "-b", dir, arg); err == nil || !strings.Contains(out, says) {
				t.Errorf("%s: %v, %s", arg, err, out)
			}
		}
		m.do(osl, "oci", "spec", "-b", dir, "c0=eth0")
		if out := m.do(osl, "oci", "spec", "-b", dir, "c0=eth0"); !strings.Contains(out, "nothing to change") {
			t.Errorf("again: %s", out)
		}
		out := m.do(m.runtime(c, "run", "-b", dir, "web")...)
		if !strings.Contains(out, ": eth0") || !strings.Contains(out, "10.12.0.2/24") {
			t.Errorf("the container: %s", out)
		}
		m.do(osl, "up", file) // the link went with the container
		m.do(osl, "down", file)
	})
}
