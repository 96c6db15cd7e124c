package clients

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// daemon is what this page's machine needs of containerd besides.
const daemon = `version = 2
root = "/run/containerd/root"
state = "/run/containerd/state"
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "docker.io/local/box:1"
restrict_oom_score_adj = true
disable_cgroup = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "/usr/bin/crun"
`

// containerd starts the daemon and returns what kills it.
func (m *machine) containerd() (kill func()) {
	m.T.Helper()
	m.do("mkdir", "-p", "/run/containerd")
	m.write("/run/containerd/config.toml", strings.Replace(page(m.T, `io.containerd.grpc.v1.cri`), "version = 2\n", daemon, 1))
	kill = m.start("containerd", "-c", "/run/containerd/config.toml")
	m.Eventually("containerd answers", func() bool { _, err := m.try("ctr", "version"); return err == nil })
	return kill
}

// groups are the control groups that ctr makes, outside of the machine.
func groups(t *testing.T) (namespace string) {
	namespace = fmt.Sprintf("osl-cni-%d", os.Getpid())
	t.Cleanup(func() {
		list, _ := filepath.Glob("/sys/fs/cgroup/*/" + namespace)
		for _, dir := range list {
			_ = os.Remove(dir)
		}
	})
	return namespace
}

// ctr --cni: what it starts in the foreground.
func TestCtr(t *testing.T) {
	need(t, "containerd")
	m := newMachine(t)
	defer m.containerd()()
	space := groups(t)
	run := func(name string, args ...string) (string, error) {
		argv := append([]string{"ctr", "-n", space, "run", "--rm", "--cni", "--runc-binary", "crun", "--rootfs", "/run/rootfs", name}, args...)
		return m.try(argv...)
	}
	if out, err := run("first", "/bin/ip", "addr"); err != nil || !strings.Contains(out, "10.88.0.2/24") || !strings.Contains(out, "fd00:88::2/64") {
		t.Fatalf("%v: %s", err, out)
	}
	before := m.traces()
	if out, err := run("second", "/bin/ping", "-c1", "10.88.0.1"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	m.same("ctr run", before)
	if calls := m.do("cat", "/opt/calls"); strings.Count(calls, "DEL") != 2 {
		t.Errorf("its calls: %s", calls)
	}
}

// Pods of the CRI reach one another, also when containerd has been killed meanwhile;
// when they are removed nothing is left, nor when osl-cni is killed.
func TestCRI(t *testing.T) {
	need(t, "containerd")
	crictl := need(t, "crictl")
	m := newMachine(t)
	m.do("cp", crictl, "/run/crictl")
	kill := m.containerd()
	defer func() { kill() }()
	m.image("docker.io/local/box:1")
	m.do("ctr", "-n", "k8s.io", "images", "import", "/run/image.tar")
	cri := func(args ...string) (string, error) {
		cmd := m.command(t.Context(), append([]string{"/run/crictl", "-r", "unix:///run/containerd/containerd.sock", "-t", "60s"}, args...)...)
		var warnings bytes.Buffer
		cmd.Stderr = &warnings
		out, err := cmd.Output()
		if err != nil {
			err = fmt.Errorf("crictl %s: %w: %s", strings.Join(args, " "), err, &warnings)
		}
		return strings.TrimSpace(string(out)), err
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := cri(args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	pod := func(name string, port int) {
		m.write("/run/"+name+".json", fmt.Sprintf(`{"metadata": {"name": %q, "namespace": "default", "uid": %[1]q, "attempt": 1}, "log_directory": "/run",
			"port_mappings": [{"protocol": 0, "container_port": 80, "host_port": %d}], "linux": {}}`, name, port))
	}
	m.write("/run/box.json", `{"metadata": {"name": "one"}, "image": {"image": "docker.io/local/box:1"}, "command": ["/bin/sleep", "1000"], "linux": {}}`)
	m.write("/run/two.json", `{"metadata": {"name": "two"}, "image": {"image": "docker.io/local/box:1"}, "command": ["/bin/sleep", "1000"], "linux": {}}`)
	pod("a", 8080)
	pod("b", 8081)
	remove := func(id string) {
		t.Helper()
		must("stopp", id)
		must("stopp", id) // the second DEL
		must("rmp", id)
	}
	remove(must("runp", "/run/a.json")) // the bridge stays
	before := m.traces()
	a, b := must("runp", "/run/a.json"), must("runp", "/run/b.json")
	var in []string
	for _, file := range []string{"box", "two"} {
		c := must("create", b, "/run/"+file+".json", "/run/b.json")
		must("start", c)
		in = append(in, c)
	}
	c := must("create", a, "/run/box.json", "/run/a.json")
	must("start", c)
	show := must("exec", c, "ip", "addr")
	if !strings.Contains(show, "127.0.0.1/8") {
		t.Errorf("lo: %s", show)
	}
	four := ""
	for _, f := range strings.Fields(show) {
		if addr, ok := strings.CutSuffix(f, "/24"); ok {
			four = addr
		}
	}
	for _, c := range in {
		must("exec", c, "ping", "-c1", "-W5", four)
		must("exec", c, "ping", "-c1", "-W5", six(t, show))
	}
	if rules := m.do("nft", "list", "ruleset"); !strings.Contains(rules, "dport 8081") {
		t.Errorf("port 8081 is not published: %s", rules)
	}
	kill()
	kill = m.containerd()
	must("exec", in[0], "ping", "-c1", "-W5", four)
	remove(a)
	remove(b)
	m.same("rmp", before)
	start := func() error { _, err := cri("runp", "/run/a.json"); return err }
	end := func() error { _, err := cri("rmp", "-f", "-a"); return err }
	m.killing("ADD", start, end)
	m.killing("DEL", func() error { return errors.Join(start(), end()) }, end)
	// Containerd is killed at any moment of a pod's start.
	for range *kills {
		done := make(chan struct{})
		go func() { defer close(done); _ = start() }()
		m.pause()
		kill()
		<-done
		kill = m.containerd()
		if err := end(); err != nil {
			t.Fatal(err)
		}
		m.same("containerd, killed", before)
	}
}

// image writes an image of the root directory, as docker save does.
func (m *machine) image(name string) {
	m.T.Helper()
	layer, err := os.ReadFile(m.File("/run/rootfs.tar"))
	if err != nil {
		m.T.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{"architecture": "amd64", "os": "linux", "config": map[string]any{"Cmd": []string{"/bin/sleep", "100000"}, "Env": []string{"PATH=/bin"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}}})
	if err != nil {
		m.T.Fatal(err)
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{name}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		m.T.Fatal(err)
	}
	var all bytes.Buffer
	w := tar.NewWriter(&all)
	for name, b := range map[string][]byte{"config.json": config, "layer.tar": layer, "manifest.json": manifest} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(b))}); err != nil {
			m.T.Fatal(err)
		}
		if _, err := w.Write(b); err != nil {
			m.T.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		m.T.Fatal(err)
	}
	m.write("/run/image.tar", all.String())
}
