package oci

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var kills = flag.Int("kills", 30, "how often the hook is killed, for each runtime")

// taking has a link of the host, which has to come home, and one that is made there.
const taking = `{"interfaces": [
	{"name": "eth0", "type": "veth", "peer": "host/v-${CONTAINER_SHORT}", "addresses": ["10.9.0.2/24", "fd09::2/64"]},
	{"name": "port0", "source": "given", "addresses": ["10.8.0.2/24"]}], "gateway": "10.9.0.1", "sysctls": {"ipv4.ip_forward": "1"}}`

// The hook is killed at any moment: after poststop nothing is left, and the link of the
// host is home as it was. Where it was done before, the container has all of it.
func TestKilled(t *testing.T) {
	each(t, []string{"root"}, func(t *testing.T, m *machine, c client) {
		m.do("ip", "link", "add", "given", "type", "veth", "peer", "name", "taken")
		m.do("ip", "link", "set", "given", "up", "mtu", "1300")
		m.do("ip", "addr", "add", "10.8.0.1/24", "dev", "given")
		// What is up anew has new addresses of its own.
		m.do("sh", "-c", "for x in given taken; do echo 1 >/proc/sys/net/ipv6/conf/$x/disable_ipv6; done")
		before := m.traces()
		run := func(after ...string) (string, error) {
			return m.try(m.runtime(c, "run", "-b", m.write("web", bundle{Args: show, Annotations: spec(taking), Before: after}), "web")...)
		}
		if out, err := run(); err != nil || m.traces() != before {
			t.Fatalf("%v: %s\n%s", err, out, m.traces())
		}
		begun := time.Now()
		if out, err := run("/usr/bin/timeout", "-s", "KILL", "20"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		whole := time.Since(begun)
		done := 0
		for i := range *kills {
			at := time.Duration(rand.Int64N(int64(whole))) //nolint:gosec // any will do
			out, err := run("/usr/bin/timeout", "-s", "KILL", fmt.Sprintf("%.6f", at.Seconds()))
			// Most of the time is the runtime's: it turns out how much is the hook's.
			whole += whole / 10
			if err == nil {
				done++
				whole = at + time.Millisecond
				for _, want := range []string{"10.9.0.2/24", "10.8.0.2/24", "fd09::2/64", "default via 10.9.0.1"} {
					if !strings.Contains(out, want) {
						t.Errorf("after %v: no %q in %s", at, want, out)
					}
				}
			}
			_, _ = m.try(m.runtime(c, "delete", "-f", "web")...) // most often it is gone
			if c.name == "crun" && err != nil {
				// It calls no poststop hook where one of createRuntime failed.
				s := map[string]any{"id": "web", "status": "stopped", "bundle": filepath.Join(m.dir, "web"), "annotations": spec(taking)}
				if out, err := m.hook(s); err != nil || out != "" {
					t.Fatalf("kill %d, after %v: poststop: %v, %s", i, at, err, out)
				}
			}
			// Who is killed before there is a key leaves the file of the locks.
			m.do("sh", "-c", `[ -n "$(ls /run/netns 2>/dev/null)" ] || rm -f /run/osl.lock`)
			if now := m.traces(); now != before {
				t.Fatalf("kill %d, after %v (%v, %s) left:\n%s\nbefore:\n%s", i, at, err, out, now, before)
			}
		}
		t.Logf("%d kills, %d after the hook was done", *kills, done)
	})
}
