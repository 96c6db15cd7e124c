package clients

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed59451c2b/osl/internal/testmachine"
)

var kills = flag.Int("kills", 5, "how often osl-cni is killed, for each client")

// built is osl-cni.
var built string

func TestMain(m *testing.M) {
	path, remove, err := testmachine.Build("../../..", "cmd/osl-cni")
	if err != nil {
		panic(err)
	}
	built = path
	code := m.Run()
	remove()
	os.Exit(code)
}

// need returns the path of a program, or of one that install built; without it the
// test is skipped.
func need(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	list := testmachine.Installed(name)
	if len(list) == 0 {
		t.Skipf("%s is not installed: test/cni/clients/install does that", name)
	}
	return list[len(list)-1]
}

// machine has namespaces of its own for mounts, the network and processes, and
// directories of its own where the clients and plugins write. All of it ends with it.
type machine struct {
	*testmachine.Machine
	user    bool // its commands are of a user without rights
	env     []string
	started int
}

// setUp begins a machine. What calls osl-cni there calls a script, which writes down
// each call, and kills osl-cni after the time that /opt/kill-VERB says.
const setUp = `
set -e
mount --make-rprivate /
mount -t proc proc /proc
umount /sys/fs/cgroup/unified 2>/dev/null || :
for d in /run /var/lib/cni /var/lib/containers /var/tmp /opt /etc/cni; do mkdir -p $d; mount -t tmpfs -o mode=755 new $d; done
chmod 1777 /var/tmp
ip link set lo up
mkdir -p /opt/cni/bin /opt/cni/real /etc/cni/net.d /run/rootfs/bin /run/rootfs/etc
cp "$1" /opt/cni/real/osl-cni
cat >/opt/cni/bin/osl-cni <<'script'
#!/bin/sh
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME" >>/opt/calls
name=/opt/cni/real/${0##*/}
[ -e /opt/kill-$CNI_COMMAND ] || exec $name
timeout -s KILL $(cat /opt/kill-$CNI_COMMAND) $name
code=$?
if [ $code = 137 ]; then echo "killed $CNI_COMMAND" >>/opt/calls; fi
exit $code
script
chmod 755 /opt/cni/bin/osl-cni /opt/cni/real/osl-cni
ln -s /usr/lib/cni/portmap /opt/cni/bin/portmap
for p in osl loopback; do ln -s osl-cni /opt/cni/bin/$p; ln -s osl-cni /opt/cni/real/$p; done
echo >/opt/calls; chmod 666 /opt/calls
cp "$(command -v busybox)" /run/rootfs/bin/busybox
for x in sh sleep ip ping; do ln -s busybox /run/rootfs/bin/$x; done
tar -C /run/rootfs -cf /run/rootfs.tar .
touch /run/ready
sleep 7200 & wait`

func newMachine(t *testing.T) *machine {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	for _, name := range []string{"busybox", "nft", "ip", "nsenter"} {
		need(t, name)
	}
	if _, err := os.Stat("/usr/lib/cni/portmap"); err != nil {
		t.Skip("the plugins of Debian's containernetworking-plugins are not there")
	}
	cmd := exec.Command("sh", "-c", setUp, "sh", built)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID}
	m := &machine{Machine: testmachine.Start(t, cmd)}
	m.write("/etc/cni/net.d/lab.conflist", page(t, `"name": "lab", "plugins": [ { "type": "osl", "mode": "bridge", "bridge": "cni0", "isGateway"`))
	return m
}

var blocks = regexp.MustCompile("(?s)```[a-z]+\n(.*?)```")

// page returns the one block of docs/cni.md that has a text in it.
func page(t *testing.T, has string) string {
	t.Helper()
	b, err := os.ReadFile("../../../docs/cni.md")
	if err != nil {
		t.Fatal(err)
	}
	flat := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	for _, x := range blocks.FindAllStringSubmatch(string(b), -1) {
		if strings.Contains(flat(x[1]), flat(has)) {
			return x[1]
		}
	}
	t.Fatalf("docs/cni.md has no block with %s", has)
	return ""
}

// write writes a file of the machine.
func (m *machine) write(path, text string) {
	m.T.Helper()
	if err := os.WriteFile(m.File(path), []byte(text), 0o644); err != nil { //nolint:gosec // others are to read it
		m.T.Fatal(err)
	}
}

func (m *machine) command(ctx context.Context, argv ...string) *exec.Cmd {
	in := m.Enter("--mount", "--net", "--pid")
	if m.user {
		in = append(in, testmachine.AsNobody()...)
	}
	cmd := testmachine.Command(ctx, append([]string{"HOME=/opt/home"}, m.env...), append(in, argv...)...)
	cmd.Dir, cmd.WaitDelay = "/", time.Second // what it leaves running may hold its output
	return cmd
}

// try runs a command and returns what it says.
func (m *machine) try(argv ...string) (string, error) { return m.Try(m.command, argv...) }

// do is try of a command that must succeed.
func (m *machine) do(argv ...string) string {
	m.T.Helper()
	return m.Do(m.command, argv...)
}

// start runs a program of the machine on and on, and returns what ends it at once.
func (m *machine) start(argv ...string) (kill func()) {
	m.T.Helper()
	m.started++
	file := fmt.Sprintf("/run/started.%d", m.started)
	cmd := m.command(context.Background(), append([]string{"sh", "-c", `echo $$ >` + file + `; exec "$@"`, "sh"}, argv...)...)
	if err := cmd.Start(); err != nil {
		m.T.Fatal(err)
	}
	return func() { // the process that the other end waits for is nsenter
		_, _ = m.command(context.Background(), "sh", "-c", "kill -KILL $(cat "+file+")").CombinedOutput()
		_ = cmd.Wait()
	}
}

// look shows the links, addresses, namespaces, leases, kept results and rules that
// there are where it runs, and the plugins that do.
const look = `ip -o link | sed 's/^[0-9]*: //; s/@[^:]*//; s/link-netns.*//; s/<[^>]*>//; s/state [A-Z]*//; s/qdisc [a-z]*//'
ip -o addr | grep -v -e fe80 -e tap0 | sed 's/^[0-9]*: //; s/tentative//'
find /run/netns /var/lib/cni ! -type d ! -name 'last_reserved*' ! -name '*lock' 2>/dev/null
nft list ruleset 2>/dev/null | grep CNI- | grep -v HOSTPORT
nft list table inet osl-cni 2>/dev/null
cat /proc/*/comm 2>/dev/null | grep -x -e osl-cni -e host-local; :`

// traces are what look shows in the machine, and in the network that rootless podman
// has there.
func (m *machine) traces() string {
	m.T.Helper()
	as := *m
	as.user = false
	text := as.do("sh", "-c", look)
	if m.user {
		files := as.do("sh", "-c", "find /run/user -path '*netns*' ! -type d ! -name '*lock'")
		if text += files; files != "" { // tap0 there is podman's
			text += m.do("podman", "unshare", "--rootless-netns", "sh", "-c", look)
		}
	}
	return text
}

// same compares traces with those of before, once what is still ending has ended.
func (m *machine) same(what, before string) {
	m.T.Helper()
	m.sameWithin(10*time.Second, what, before)
}

// sameWithin is same of what takes longer to end.
func (m *machine) sameWithin(d time.Duration, what, before string) {
	m.T.Helper()
	now := ""
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if now = m.traces(); now == before {
			return
		}
	}
	m.T.Fatalf("%s left:\n%s\nbefore:\n%s", what, now, before)
}

// killing has osl-cni killed at any moment of a call with a verb that f leads to; undo
// is what a person does who sees the error. After each the traces are those of before.
func (m *machine) killing(verb string, f, undo func() error) {
	m.T.Helper()
	before, done := m.traces(), 0
	whole := 200 * time.Millisecond // of the call: it turns out
	for i := range *kills {
		after := time.Duration(rand.Int64N(int64(whole))) //nolint:gosec // any will do
		m.write("/opt/kill-"+verb, fmt.Sprintf("%.4f", after.Seconds()))
		err := f()
		if err := os.Remove(m.File("/opt/kill-" + verb)); err != nil {
			m.T.Fatal(err)
		}
		whole += whole / 4
		if err == nil {
			done++
			whole = after + time.Millisecond
		}
		what := fmt.Sprintf("%s, killed after %v (%d; %v)", verb, after, i, err)
		if err := undo(); err != nil {
			m.T.Fatalf("%s: %v", what, err)
		}
		m.same(what, before)
	}
	m.T.Logf("%s: %d kills, %d after it was done", verb, *kills, done)
}

// pause lasts a moment, of any length.
func (m *machine) pause() { time.Sleep(time.Duration(rand.Int64N(int64(time.Second)))) } //nolint:gosec // any will do

// reach has one container find another by both families.
func (m *machine) reach(in []string, others ...string) {
	m.T.Helper()
	for _, to := range others {
		m.do(append(in, "ping", "-c1", "-W5", to)...)
	}
}
