package clients

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl/internal/testmachine"
)

// settings is what this page's machine needs of podman besides: it has no systemd and
// no control groups of its own, and may have no right to raise a limit.
const settings = `
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "crun"
[containers]
cgroups = "disabled"
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
`

// Containers of podman reach one another; when they are removed nothing is left, nor
// when osl-cni is killed.
func TestPodman(t *testing.T) {
	for _, mode := range []string{"root", "rootless"} {
		t.Run(mode, func(t *testing.T) {
			need(t, "podman")
			m := newMachine(t)
			m.write("/opt/containers.conf", page(t, `network_backend = "cni"`)+settings)
			m.write("/opt/storage.conf", "[storage]\ndriver = \"vfs\"\ngraphroot = \"/opt/home/storage\"\nrunroot = \"/opt/home/run\"\n")
			m.do("sh", "-c", "mkdir -p /opt/home /run/user; chmod 1777 /run/user")
			m.env = []string{"CONTAINERS_CONF=/opt/containers.conf", "CONTAINERS_STORAGE_CONF=/opt/storage.conf"}
			if mode == "rootless" {
				m.rootless()
			}
			m.do("podman", "import", "-q", "/run/rootfs.tar", "box")
			run := func(name string, args ...string) error {
				out, err := m.try(append(append([]string{"podman", "run", "-d", "--network", "lab", "--name", name}, args...), "box", "/bin/sleep", "1000")...)
				if err != nil {
					return fmt.Errorf("%w: %s", err, out)
				}
				return nil
			}
			remove := func(names ...string) error {
				out, err := m.try(append([]string{"podman", "rm", "-f", "-t0", "-i"}, names...)...)
				if err != nil || strings.Contains(out, "rror") {
					return fmt.Errorf("%w: %s", err, out)
				}
				return nil
			}
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			must(run("first"))
			must(remove("first")) // the bridge stays
			before := m.traces()
			must(run("a", "--ip", "10.88.0.20", "--mac-address", "02:11:22:33:44:55"))
			must(run("b", "-p", "8080:80"))
			show := m.do("podman", "exec", "a", "ip", "addr", "show", "eth0")
			if !strings.Contains(show, "10.88.0.20/24") || !strings.Contains(show, "02:11:22:33:44:55") {
				t.Errorf("a: %s", show)
			}
			m.reach([]string{"podman", "exec", "b"}, "10.88.0.20", six(t, show))
			must(remove("a", "b"))
			m.same("rm", before)
			must(run("c")) // what rootless podman has for all containers stays with the last
			m.killing("ADD", func() error { return run("k") }, func() error { return remove("k") })
			must(remove("c"))
			m.same("rm of the last", before)
		})
	}
}

// rootless makes the machine's commands those of a user without rights, who has
// further ids.
func (m *machine) rootless() {
	m.T.Helper()
	for _, name := range []string{"slirp4netns", "newuidmap"} {
		need(m.T, name)
	}
	m.do("sh", "-c", fmt.Sprintf(`set -e
		mkdir -p /opt/home/.config/cni; cp -r /etc/cni/net.d /opt/home/.config/cni/
		chown -R %[1]d:%[1]d /opt/home /run/rootfs.tar
		for x in subuid subgid; do echo nobody:100000:65536 >/run/$x; echo nogroup:100000:65536 >>/run/$x; mount --bind /run/$x /etc/$x; done
		mount -t tmpfs new /dev/net; mknod -m 666 /dev/net/tun c 10 200
		mkdir -p -m 700 /run/user/%[1]d; chown %[1]d:%[1]d /run/user/%[1]d
		mount --make-rshared /`, testmachine.Nobody))
	m.user, m.env = true, append(m.env, fmt.Sprintf("XDG_RUNTIME_DIR=/run/user/%d", testmachine.Nobody))
}

// six returns the address of the network's IPv6 range that a container shows.
func six(t *testing.T, show string) string {
	t.Helper()
	for _, f := range strings.Fields(show) {
		if addr, bits, ok := strings.Cut(f, "/"); ok && bits == "64" && strings.HasPrefix(addr, "fd00:88::") {
			return addr
		}
	}
	t.Fatalf("no IPv6 address: %s", show)
	return ""
}
