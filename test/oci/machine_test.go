package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/seed59451c2b/osl/internal/testmachine"
)

// osl is the command, and shared the directory that it is in, where others may read.
var osl, shared string

func TestMain(m *testing.M) {
	path, remove, err := testmachine.Build("../..", "cmd/osl")
	if err != nil {
		panic(err)
	}
	osl, shared = path, filepath.Dir(path)
	code := m.Run()
	remove()
	os.Exit(code)
}

// client is a runtime of containers.
type client struct{ name, path string }

// runtimes are those that are installed; the others skip their tests.
func runtimes(t *testing.T) (list []client) {
	t.Helper()
	for _, c := range append([]string{"runc", "crun"}, testmachine.Installed("runc")...) {
		path, err := exec.LookPath(c)
		if err != nil {
			t.Logf("%s is not installed: not tried; test/oci/install does that", c)
			continue
		}
		name := filepath.Base(path)
		if path == c { // the newest may be where others can not look
			name = filepath.Base(filepath.Dir(path))
			path = filepath.Join(shared, name)
			if b, err := os.ReadFile(c); err != nil || os.WriteFile(path, b, 0o755) != nil { //nolint:gosec // it is to be run
				t.Fatalf("copy %s: %v", c, err)
			}
		}
		list = append(list, client{name, path})
	}
	if len(list) == 0 {
		t.Skip("no runtime is installed")
	}
	return list
}

// machine is a network and mount namespace of its own, with an empty /run.
type machine struct {
	*testmachine.Machine
	rootless bool // its commands are of a user that has no rights
	userns   bool // its commands are of root in a user namespace of that user's
	shared   bool // that has no network of its own
	dir      string
}

const setUp = `
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=1777 tmp /var/tmp
ip link set lo up 2>/dev/null
touch /run/ready
exec sleep 3600`

func newMachine(t *testing.T, mode string) *machine {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	m := &machine{rootless: mode == "rootless", userns: mode == "userns" || mode == "shared", shared: mode == "shared"}
	var err error
	if m.dir, err = os.MkdirTemp(shared, "machine"); err != nil {
		t.Fatal(err)
	}
	argv := []string{"unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", setUp}
	if m.shared { // the network is that of who started it
		argv = slices.DeleteFunc(argv, func(arg string) bool { return arg == "--net" })
	}
	if m.userns {
		argv = slices.Insert(argv, 1, "--user", "--map-root-user")
		argv = append(testmachine.AsNobody(), argv...)
	}
	// crun does not like version 2 of the control groups beside version 1.
	outer := []string{"unshare", "--mount", "--propagation", "private"}
	if m.shared {
		outer = append(outer, "--net")
	}
	argv = append(append(outer, "sh", "-c", `ip link set lo up; umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"`, "sh"), argv...)
	if m.rootless || m.userns {
		if err := os.Chown(m.dir, testmachine.Nobody, testmachine.Nobody); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(m.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	m.Machine = testmachine.Start(t, exec.Command(argv[0], argv[1:]...))
	return m
}

// command is one of the machine's user.
func (m *machine) command(ctx context.Context, argv ...string) *exec.Cmd {
	in, as := m.Enter("--mount", "--net", "--wd="+m.dir), testmachine.AsNobody()
	switch {
	case m.shared: // root alone can enter the network
		in = append(m.Enter("--net"), append(as, m.Enter("--mount", "--wd="+m.dir, "--user", "--preserve-credentials")...)...)
	case m.userns:
		in = append(as, append(in, "--user", "--preserve-credentials")...)
	case m.rootless:
		in = append(in, as...)
	}
	return testmachine.Command(ctx, []string{"HOME=/", "XDG_RUNTIME_DIR=" + m.dir}, append(in, argv...)...)
}

// try runs a command and returns what it says.
func (m *machine) try(argv ...string) (string, error) { return m.Try(m.command, argv...) }

// do is try of a command that must succeed.
func (m *machine) do(argv ...string) string {
	m.T.Helper()
	return m.Do(m.command, argv...)
}

// hook calls osl as a runtime does.
func (m *machine) hook(state map[string]any, args ...string) (string, error) {
	m.T.Helper()
	text, err := json.Marshal(state)
	if err != nil {
		m.T.Fatal(err)
	}
	cmd := m.command(m.T.Context(), append([]string{osl, "oci"}, args...)...)
	cmd.Stdin = bytes.NewReader(text)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// traces are the keys, links, addresses and namespaces of the machine.
func (m *machine) traces() string {
	m.T.Helper()
	// The directory of the keys stays, as with ip netns.
	list := m.do("sh", "-c", `find /run/netns /run/osl.lock "$XDG_RUNTIME_DIR"/osl ! -type d 2>/dev/null; find "$XDG_RUNTIME_DIR" -name 'user-*'
		grep 'net:\[' /proc/self/mountinfo | cut -d' ' -f 4-5
		ip -o link | sed 's/^[0-9]*: //; s/@[^:]*//; s/link-netns.*//; s/state [A-Z]*//; s/qdisc [a-z]*//'; ip -o addr | sed 's/^[0-9]*: //'`)
	return list
}

// bundle is a container's, as it is written.
type bundle struct {
	Args        []string          // of its process
	Annotations map[string]string // with a network
	Before      []string          // in front of the createRuntime hook's command
	Join        string            // the path of the network namespace
	HostNet     bool
	Merge       string // JSON with parts of the configuration that replace those
}

// write writes a bundle and returns its directory.
func (m *machine) write(name string, b bundle) string {
	m.T.Helper()
	dir := filepath.Join(m.dir, name)
	for _, d := range []string{"rootfs/bin", "rootfs/dev", "rootfs/proc", "rootfs/sys"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			m.T.Fatal(err)
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		m.T.Skip("busybox is not installed")
	}
	text, err := os.ReadFile(busybox)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "rootfs/bin/busybox"), text, 0o755) //nolint:gosec // it is to be run
	}
	if err != nil {
		m.T.Fatal(err)
	}
	type list = []map[string]any
	network := map[string]any{"type": "network"}
	if b.Join != "" {
		network["path"] = b.Join
	}
	spaces := list{{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"}}
	if !b.HostNet {
		spaces = append(spaces, network)
	}
	linux := map[string]any{"namespaces": spaces}
	if m.rootless {
		linux["namespaces"] = append(spaces, map[string]any{"type": "user"})
		linux["uidMappings"] = list{{"containerID": 0, "hostID": testmachine.Nobody, "size": 1}}
		linux["gidMappings"] = list{{"containerID": 0, "hostID": testmachine.Nobody, "size": 1}}
	}
	env := []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "XDG_RUNTIME_DIR=" + m.dir}
	path, args, timeout := osl, []string{"osl", "oci"}, 20
	if len(b.Before) > 0 {
		// crun misses now and then that two processes ended, and waits for that long.
		timeout = 5
		path, args = b.Before[0], append(slices.Clone(b.Before), osl, "oci")
	}
	config := map[string]any{
		"ociVersion": "1.0.2", "hostname": name, "linux": linux, "annotations": b.Annotations,
		"process": map[string]any{"args": append([]string{"/bin/busybox"}, b.Args...), "cwd": "/", "env": []string{"PATH=/bin"},
			"user": map[string]any{"uid": 0, "gid": 0}, "noNewPrivileges": true,
			"capabilities": map[string]any{"bounding": []string{"CAP_NET_RAW"}, "permitted": []string{"CAP_NET_RAW"}, "effective": []string{"CAP_NET_RAW"}}},
		"root": map[string]any{"path": "rootfs", "readonly": true},
		"mounts": list{{"destination": "/proc", "type": "proc", "source": "proc"},
			{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "mode=755"}}},
		"hooks": map[string]any{
			"createRuntime": list{{"path": path, "args": args, "env": env, "timeout": timeout}},
			"poststop":      list{{"path": osl, "args": []string{"osl", "oci"}, "env": env}}},
	}
	if b.Merge != "" {
		if err := json.Unmarshal([]byte(b.Merge), &config); err != nil {
			m.T.Fatal(err)
		}
	}
	if text, err = json.MarshalIndent(config, "", "\t"); err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), text, 0o644) //nolint:gosec // others are to read it
	}
	if err != nil {
		m.T.Fatal(err)
	}
	return dir
}

// runtime is a command line of a runtime.
func (m *machine) runtime(c client, args ...string) []string {
	root := "/run/root-" + c.name
	if m.rootless {
		root = filepath.Join(m.dir, "root-"+c.name)
	}
	return append([]string{c.path, "--root", root}, args...)
}

// spec is an annotation with a sandbox as JSON.
func spec(text string) map[string]string { return map[string]string{"org.osl.network": text} }
