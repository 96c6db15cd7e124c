package main

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/client"

	"github.com/seed59451c2b/osl/internal/testmachine"
)

// machine has namespaces of its own for mounts, the network and processes, a daemon of
// one side, and a neighbor, out, which reaches it by a cable. All of it ends with it.
type machine struct {
	*testmachine.Machine
	*client.Client
	*version
	side string
	dir  string // of the side's programs
	at   string // the neighbor whose daemon this is, "" for the machine's
}

// setUp begins a machine. /sys stays that of the test's: what docker reads there it has
// in the namespace of who mounted it.
const setUp = `
set -e
mount --make-rprivate /
mount -t proc proc /proc
umount /sys/fs/cgroup/unified 2>/dev/null || :
for d in /run /tmp /var/lib/docker /etc/docker; do mkdir -p $d; mount -t tmpfs -o mode=755 new $d; done
ip link set lo up
ip netns add out
ip link add up0 address 02:00:00:00:00:01 type veth peer name up0 address 02:00:00:00:00:02 netns out
ip addr add 192.0.2.1/24 dev up0; ip addr add 2001:db8:2::1/64 dev up0 nodad; ip link set up0 up
ip -n out link set lo up
ip -n out addr add 192.0.2.2/24 dev up0; ip -n out addr add 2001:db8:2::2/64 dev up0 nodad; ip -n out link set up0 up
touch /run/ready
sleep 7200 & wait`

// image is that of every container: busybox.
const image = "lab"

// flags are those of each version's daemon.
var flags = map[string][]string{"v2": {"--feature", "time-namespaces=false"}} // Debian's runc knows none

func newMachine(t *testing.T, v *version, side string, options ...string) *machine {
	t.Helper()
	for _, name := range []string{"busybox", "containerd", "runc", "iptables", "ip", "nsenter"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed: test/dockerd/install does that", name)
		}
	}
	cmd := exec.Command("sh", "-c", setUp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID}
	m := &machine{Machine: testmachine.Start(t, cmd), version: v, side: side, dir: v.need(t)[side]}
	m.begin(options...)
	return m
}

// neighbor is the other machine, with a daemon of its own.
func (m *machine) neighbor() *machine {
	m.T.Helper()
	n := &machine{Machine: m.Machine, version: m.version, side: m.side, dir: m.dir, at: "out"}
	n.begin()
	return n
}

// begin starts the daemon and gives it the image.
func (m *machine) begin(options ...string) {
	m.T.Helper()
	var err error
	m.Client, err = client.NewClientWithOpts(client.WithHost("unix://"+m.File("/run/docker"+m.at+".sock")), client.WithVersion("1.42"))
	if err != nil {
		m.T.Fatal(err)
	}
	m.T.Cleanup(func() { m.Client.Close() })
	m.daemon(options...)
	m.load()
}

// daemon starts the daemon, which another one may have left.
func (m *machine) daemon(options ...string) {
	m.T.Helper()
	script := `d=$1 r=/run/docker$2 v=/var/lib/docker/of$2; shift 2; PATH=$d:$PATH exec "$d/dockerd" -H unix://$r.sock -p $r.pid \
		--exec-root $r --data-root $v --storage-driver overlay2 "$@" >>$r.log 2>&1`
	cmd := m.command(context.Background(), append([]string{"sh", "-c", script, "sh", m.dir, m.at}, append(slices.Clone(flags[m.name]), options...)...)...)
	if err := cmd.Start(); err != nil {
		m.T.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	m.Eventually("the daemon answers", func() bool {
		select {
		case err := <-ended:
			m.T.Fatalf("the daemon ended: %v\n%s", err, m.log())
		default:
		}
		_, err := m.Ping(m.T.Context())
		return err == nil
	})
	m.T.Cleanup(func() {
		if m.T.Failed() {
			m.T.Logf("the daemon of %s said:\n%s", m.side, m.log())
		}
	})
}

// log is what the daemon says that is more than information.
func (m *machine) log() string {
	b, _ := os.ReadFile(m.File("/run/docker" + m.at + ".log"))
	var list []string
	for line := range strings.Lines(string(b)) {
		if !strings.Contains(line, "level=info") && !strings.Contains(line, "level=debug") {
			list = append(list, line)
		}
	}
	return strings.Join(list, "")
}

// kill ends the daemon with a signal, and waits until it is gone.
func (m *machine) kill(signal string) {
	m.T.Helper()
	m.do("sh", "-c", `p=$(cat /run/docker`+m.at+`.pid); kill -`+signal+` $p; while kill -0 $p 2>/dev/null; do sleep 0.05; done`)
}

// load gives the daemon the image.
func (m *machine) load() {
	m.T.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		m.T.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		m.T.Fatal(err)
	}
	var text bytes.Buffer
	w := tar.NewWriter(&text)
	add := func(h tar.Header, body []byte) {
		h.Size = int64(len(body))
		if err := w.WriteHeader(&h); err != nil {
			m.T.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			m.T.Fatal(err)
		}
	}
	add(tar.Header{Name: "bin/busybox", Mode: 0o755}, program)
	for _, name := range []string{"sh", "sleep", "ping", "nc", "httpd"} {
		add(tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox"}, nil)
	}
	add(tar.Header{Name: "www/index.html", Mode: 0o644}, []byte("here\n"))
	if err := w.Close(); err != nil {
		m.T.Fatal(err)
	}
	r, err := m.ImageImport(m.T.Context(), types.ImageImportSource{Source: &text, SourceName: "-"}, image, types.ImageImportOptions{})
	if err != nil {
		m.T.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || bytes.Contains(b, []byte(`"error"`)) {
		m.T.Fatalf("import the image: %v %s", err, b)
	}
}

func (m *machine) command(ctx context.Context, argv ...string) *exec.Cmd {
	in := m.Enter("--mount", "--net", "--pid")
	if m.at != "" {
		in = append(in, "nsenter", "--net=/run/netns/"+m.at)
	}
	cmd := testmachine.Command(ctx, nil, append(in, argv...)...)
	cmd.Dir, cmd.WaitDelay = "/", time.Second
	return cmd
}

// try runs a command in the machine and returns what it says.
func (m *machine) try(argv ...string) (string, error) { return m.Try(m.command, argv...) }

// do is try of a command that must succeed.
func (m *machine) do(argv ...string) string {
	m.T.Helper()
	return m.Do(m.command, argv...)
}

// inside is a command line that runs what follows in the network of a container.
func (m *machine) inside(name string) []string {
	m.T.Helper()
	c, err := m.ContainerInspect(m.T.Context(), name)
	if err != nil {
		m.T.Fatal(err)
	}
	if c.State == nil || c.State.Pid == 0 {
		m.T.Fatalf("%s does not run", name)
	}
	return []string{"nsenter", "--target", fmt.Sprint(c.State.Pid), "--net"}
}

// pinned is how many namespaces are mounted where the daemon has its sandboxes.
func (m *machine) pinned() string {
	m.T.Helper()
	return m.do("sh", "-c", "grep -c '/run/docker"+m.at+"/netns/.* - nsfs ' /proc/self/mountinfo || :")
}
