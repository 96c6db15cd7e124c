package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// runOSL runs the command in this process.
func runOSL(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	code = Run(ctx, args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// want runs the command and demands an exit code and pieces of its output.
func want(t *testing.T, code int, pieces []string, args ...string) string {
	t.Helper()
	got, out, errs := runOSL(t, args...)
	if got != code {
		t.Fatalf("osl %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, out, errs)
	}
	for _, p := range pieces {
		if !strings.Contains(out+errs, p) {
			t.Errorf("osl %s: no %q in\n%s%s", strings.Join(args, " "), p, out, errs)
		}
	}
	return out
}

func sh(t *testing.T, command string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", command).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// traces lists what a network could leave on the host.
func traces(t *testing.T) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir("/run", func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			list = append(list, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	list = append(list, strings.Split(string(mounts), "\n")...)
	// -o: one line for each, without the running numbers of the statistics.
	return append(list, strings.Split(sh(t, "ip -o -d link; ip -o addr; ip route; ip -6 route"), "\n")...)
}

// Each example comes up with its checks, is left alone by a second up, shows
// and mends a change by hand, and leaves nothing behind.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("examples: %v, %v", files, err)
	}
	// What is changed by hand, and what diff says about it.
	byHand := map[string][2]string{
		"quickstart": {"ip -n db addr del 10.10.0.3/24 dev eth0", "ip -n db addr add 10.10.0.3/24 dev eth0\n"},
		"router":     {"ip -n bob route del 10.20.1.0/24", "ip -n bob route add 10.20.1.0/24 via 10.20.2.1 proto 111\n"},
		"vxlan":      {"ip -n east neigh del 10.30.0.2 dev vx0", "ip -n east neigh replace 10.30.0.2 lladdr 02:00:00:00:42:02 dev vx0 nud permanent proto 111\n"},
		"vip":        {"ip -n backend1 addr del 10.40.0.100/32 dev lo", "ip -n backend1 addr add 10.40.0.100/32 dev lo\n"},
		"isolated":   {"bridge -n switch link set dev p1 isolated off", "ip -n switch link set dev p1 type bridge_slave isolated on\n"},
		"internet":   {"ip link set dev db-lan nomaster", "ip link set dev db-lan master br-lab\n"},
		"lossy":      {"ip -n near addr del 10.79.0.2/24 dev eth0", "ip -n near addr add 10.79.0.2/24 dev eth0\n"},
		"slow":       {"tc -n near qdisc change dev eth0 root handle 6f6d: tbf rate 1mbit burst 16384 limit 29000", "tc -n near qdisc change dev eth0 root handle 6f6d: tbf rate 2mbit burst 16384 limit 28884\n"},
		"nexthops":   {"ip -n edge nexthop replace id 10 group 2", "ip -n edge nexthop replace id 10 group 1/2,3 proto 111\n"},
		"segment":    {"ip -n segment.segments link set desk.eth0 nomaster", "ip -n segment.segments link set dev desk.eth0 master office\n"},
		"uplinks":    {"ip -n edge rule del priority 1002", "ip -n edge rule add fwmark 0x2/0xffffffff priority 1002 table 100 protocol 111\n"},
		"vrf":        {"ip -n edge1 route del 10.1.0.0/24 table 10", "ip -n edge1 route add 10.1.0.0/24 via 192.0.2.0 dev core.10 onlink table 10 proto 111\n"},
		"wireguard":  {"ip -n east link set wg0 mtu 1300", "ip -n east link set dev wg0 mtu 1420\n"},
		"uplink":     {"ip -n edge link set wan0 mtu 1300", "ip -n edge link set dev wan0 mtu 1400\n"},
	}
	// The kernel gives and takes link-local addresses of the host in its own time.
	sh(t, "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
	sh(t, "ip link add uplink0 type veth peer name uplink1 && ip addr add 10.50.0.1/24 dev uplink1 && ip link set uplink1 up && ip link set uplink0 alias 'my uplink' mtu 1450")
	defer sh(t, "ip link del uplink0")
	// The link watch has its say before the first look.
	sh(t, "for i in $(seq 100); do ip link show uplink1 | grep -q LOWERLAYERDOWN && break; sleep 0.05; done")
	for i, file := range files {
		if testing.Short() && i%3 > 0 {
			continue // each starts osl a dozen times
		}
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if name == "wireguard" {
				file = withKeys(t, dir, file)
			}
			before := traces(t)
			if code, _, errs := runOSL(t, "up", "--no-check", file); code != exitDone && unsupported(errs) != nil {
				t.Skip(unsupported(errs)) // TestFeatureExamples tries it on other kernels
			}
			want(t, exitDone, nil, "down", file)
			want(t, exitDone, []string{"created", "CHECK"}, "up", file)
			want(t, exitDone, []string{"nothing to change"}, "up", file)
			want(t, exitDone, []string{"nothing to change"}, "diff", file)
			madeOfExport(t, dir, name, file)
			change, ok := byHand[name]
			if !ok {
				t.Fatal("no change by hand for this example")
			}
			sh(t, change[0])
			if got := want(t, exitDiffer, nil, "diff", file); got != change[1] {
				t.Errorf("diff says %q, want %q", got, change[1])
			}
			want(t, exitDone, []string{"made 1 change", strings.TrimSpace(change[1])}, "up", file)
			want(t, exitDone, []string{"nothing to change"}, "up", file)
			want(t, exitDone, []string{"removed"}, "down", file)
			want(t, exitDone, []string{"nothing to take down"}, "down", file)
			eventually(t, func() []string { return difference(before, traces(t)) })
		})
	}
}

// madeOfExport takes a network down that is up, and brings it up again of what osl export
// wrote of it: it is the same, and its checks hold.
func madeOfExport(t *testing.T, dir, name, file string) {
	t.Helper()
	exported := filepath.Join(dir, "exported.yaml")
	text := want(t, exitDone, []string{"name: " + name + "\n"}, "export", name)
	if err := os.WriteFile(exported, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, exitDone, []string{"nothing to change"}, "diff", exported)
	want(t, exitDone, []string{"removed"}, "down", file)
	want(t, exitDone, []string{"created"}, "up", exported)
	want(t, exitDone, []string{"nothing to change"}, "diff", file)
	want(t, exitDone, nil, "check", file)
}

// withKeys copies the example of WireGuard to a directory with keys for it, also under the names that
// osl export gives them.
func withKeys(t *testing.T, dir, file string) string {
	t.Helper()
	write := func(text []byte, names ...string) {
		for _, name := range names {
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, names := range [][]string{{"east.key", "east.wg0.key"}, {"west.key", "west.wg0.key"}, {"both.psk", "east.wg0.1.psk", "west.wg0.1.psk"}} {
		var key [32]byte
		_, _ = rand.Read(key[:])
		write([]byte(base64.StdEncoding.EncodeToString(key[:])+"\n"), names...)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(text, filepath.Base(file))
	return filepath.Join(dir, filepath.Base(file))
}

// eventually demands that nothing is left within a while: the kernel deletes
// the links of a namespace in the background.
func eventually(t *testing.T, left func() []string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(30 * time.Millisecond) {
		l := left()
		if len(l) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Errorf("not as before:\n%s", strings.Join(l, "\n"))
			return
		}
	}
}

func difference(before, after []string) (d []string) {
	for _, l := range before {
		if !slices.Contains(after, l) {
			d = append(d, "- "+l)
		}
	}
	for _, l := range after {
		if !slices.Contains(before, l) {
			d = append(d, "+ "+l)
		}
	}
	return d
}

func TestPlanChangesNothing(t *testing.T) {
	before := traces(t)
	out := want(t, exitDone, []string{"ip netns add web", "ip -n web link add name eth0 type veth peer name p1 netns switch"},
		"up", "--dry-run", "../../examples/quickstart.yaml")
	if d := difference(before, traces(t)); len(d) > 0 {
		t.Errorf("the dry run did something: %v", d)
	}
	// The commands are real: a shell builds the same with them.
	sh(t, out)
	defer want(t, exitDone, nil, "rm", "--force", "switch", "web", "db") // they are not osl's
	sh(t, "ip netns exec web ping -V >/dev/null 2>&1 || true; ip -n web addr show eth0 | grep -q 10.10.0.2/24")
}

func TestShell(t *testing.T) {
	want(t, exitDone, []string{"created a"}, "create", "a")
	defer runOSL(t, "rm", "a")
	want(t, exitFailed, []string{"exists already", "/run/netns/a"}, "create", "a")
	want(t, exitDone, []string{"br0"}, "link", "add", "a", "br0", "--type", "bridge", "--address", "10.0.0.1/24")
	want(t, exitFailed, []string{"name is in use", "br0"}, "link", "add", "a", "br0", "--type", "bridge")
	want(t, exitUsage, []string{"other end"}, "link", "add", "a", "e0", "--type", "veth")
	want(t, exitDone, nil, "link", "add", "a", "e0", "--peer", "host/a-e0", "--master", "br0")
	sh(t, "ip link show dev a-e0 | grep -q LOWER_UP")
	want(t, exitDone, []string{"br0", "10.0.0.1/24", "e0"}, "inspect", "a")
	var status struct {
		Interfaces []struct{ Name, Master string }
	}
	if err := json.Unmarshal([]byte(want(t, exitDone, nil, "inspect", "a", "-o", "json")), &status); err != nil {
		t.Fatal(err)
	}
	if len(status.Interfaces) != 2 || status.Interfaces[1].Name != "e0" || status.Interfaces[1].Master != "br0" {
		t.Errorf("inspect -o json: %+v", status)
	}
	want(t, exitDone, []string{"a", "osl"}, "ls")
	want(t, 7, nil, "exec", "a", "--", "sh", "-c", "exit 7")
	want(t, 127, []string{"no-such-command"}, "exec", "a", "--", "no-such-command")
	want(t, exitDone, nil, "link", "rm", "a", "e0")
	eventually(t, func() []string {
		return difference(nil, strings.Fields(sh(t, "ip -o link show | grep a-e0 || true")))
	})
	want(t, exitFailed, []string{"nope", "not found"}, "link", "rm", "a", "nope")
	want(t, exitFailed, []string{"nope", "not found"}, "inspect", "nope")
	want(t, exitUsage, []string{"unknown flag"}, "ls", "--nope")
	want(t, exitUsage, nil, "up")
	want(t, exitUsage, nil, "up", "/no/such/file")
	want(t, exitDone, []string{"removed"}, "rm", "a")
}

func TestBadFiles(t *testing.T) {
	for name, x := range map[string]struct{ text, want string }{
		"unknown field": {"sandboxes:\n  - name: a\n    interfaces: [{name: e, adresses: []}]\n", `did you mean "addresses"`},
		"duplicate":     {"sandboxes: [{name: a}, {name: a}]\n", "twice"},
		"one end":       {"sandboxes: [{name: a}]\nlinks:\n  - [a/e0]\n", "bad.yaml"},
		"unknown end":   {"sandboxes: [{name: a}]\nlinks:\n  - [a/e0, b/e0]\n", `"b"`},
		"bad address":   {"sandboxes:\n  - name: a\n    interfaces: [{name: e, type: bridge, addresses: [10.0.0.300/24]}]\n", ":3"},
		"not yaml":      {"\x00\x01\x02", "bad.yaml"},
		"empty":         {"", "bad.yaml"},
		"long name":     {"sandboxes: [{name: a, interfaces: [{name: abcdefghijklmnop, type: bridge}]}]\n", "16 bytes"},
	} {
		file := filepath.Join(t.TempDir(), "bad.yaml")
		if err := os.WriteFile(file, []byte(x.text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, errs := runOSL(t, "up", file)
		if code != exitUsage && code != exitFailed || !strings.Contains(errs, x.want) || out != "" {
			t.Errorf("%s: exit code %d, no %q in %q; output %q", name, code, x.want, errs, out)
		}
	}
	if out := want(t, exitDone, nil, "ls"); strings.Contains(out, "osl") {
		t.Errorf("sandboxes were left: %s", out)
	}
}

// Of two uplinks one is cut, and all leaves by the other until the next up; a slow link is
// made faster, and as it was, in its place.
func TestCutAndRepair(t *testing.T) {
	uplinks := "../../examples/uplinks.yaml"
	want(t, exitDone, nil, "up", uplinks)
	defer runOSL(t, "down", uplinks)
	sh(t, "ip -n edge link set isp1 down")
	want(t, exitDone, []string{"ping 203.0.113.1"}, "check", uplinks)
	if got := sh(t, "ip -n edge route get 203.0.113.1"); !strings.Contains(got, "dev isp2") {
		t.Errorf("with one uplink: %s", got)
	}
	want(t, exitDone, []string{"ip -n edge link set dev isp1 up"}, "up", uplinks)
	if got := sh(t, "ip -n edge route get 203.0.113.1"); !strings.Contains(got, "dev isp1") {
		t.Errorf("with both again: %s", got)
	}

	link := func(impair string) string {
		return fileOf(t, "slow", "sandboxes: [{name: near}, {name: far}]\nlinks: [{ends: [near/e, far/e]"+impair+"}]")
	}
	want(t, exitDone, nil, "up", link(", impair: {rate: 2mbit}"))
	defer runOSL(t, "down", "slow")
	up := sh(t, "ip -n near -o link show e | cut -d: -f1")
	want(t, exitDone, []string{"made 2 changes", "qdisc change"}, "up", link(", impair: {rate: 8mbit}"))
	want(t, exitDone, []string{"made 2 changes", "qdisc del"}, "up", link(""))
	if got := sh(t, "ip -n near -o link show e | cut -d: -f1"); got != up {
		t.Errorf("the link %s is %s", up, got)
	}
}
