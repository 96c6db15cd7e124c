package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/docs"
	"github.com/seed59451c2b/osl/internal/check"
)

// netFile writes a network file and returns its path.
func netFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "net.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSome(t *testing.T) {
	for want, list := range map[string]string{"a, b": "a b", "a, b, c, d, e, f": "a b c d e f", "a, b, c, d, e, and 2 more": "a b c d e f g"} {
		if got := some(strings.Fields(list)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestWrongUsage(t *testing.T) {
	for _, x := range []struct{ args, want string }{
		{"upp file", "unknown command"},
		{"link ad a b", "unknown command"},
		{"help foo", "unknown command"},
		{"help link foo", `unknown command "foo" for "osl link"`},
		{"link add a e --mtu 4294967296", "out of range"},
		{"completion foo", "unknown command"},
		{"destroy x", "; did you mean down?"},
		{"up --no-chekc x", "did you mean --no-check?"},
		{"create a a", "given twice"},
		{"link add a e --mtu 1e3", "a whole number, decimal"},
		{"up", "needs FILE…, nothing was given"},
		{"ls a", "takes no arguments"},
		{"exec a", "needs NAME -- COMMAND"},
		{"exec a --", "needs a command"},
		{"ls -o xml", "table, json and yaml"},
		{"ls --timeout soon", "invalid argument"},
		{"ls --timeout -1s", "negative"},
		{"link add a e --address 10.0.0.1", "--address 10.0.0.1: write an address with a prefix length"},
		{"link add a e --route 0.0.0.0", "--route 0.0.0.0: write an address with a prefix length"},
		{"link add a e --mac 1:2", "--mac 1:2"},
		{"link add a e --peer b", "--peer b"},
		{"link add a e --local x", "--local x"},
		{"create a\x00b", "invalid argument"},
		{"upp x", "; did you mean up?"},
		{"inspect ..", "invalid argument"},
		{"--base= create a", "--base is empty"},
	} {
		code, out, errs := runOSL(t, strings.Split(x.args, " ")...)
		if code != exitUsage || !strings.Contains(errs, x.want) || out != "" || !strings.HasPrefix(errs, "osl: ") || strings.Count(errs, "\n") != 1 {
			t.Errorf("osl %s: exit code %d; no %q in one line of %q; output %q", x.args, code, x.want, errs, out)
		}
	}
}

func TestBadChecks(t *testing.T) {
	const head = "sandboxes: [{name: a}]\nchecks:\n"
	for line, text := range map[string]string{
		"  - {from: b, ping: 10.0.0.1}":                `net.yaml:3: the file has no sandbox "b"`,
		"  - {from: a, tcp: \"10.0.0.1:1\", to: b}":    `net.yaml:3: the file has no sandbox "b"`,
		"  - {from: a}":                                "net.yaml:3: a check has exactly one of",
		"  - from: a\n    ping: ::1\n    expect: luck": `net.yaml:5: "luck" can't be expected`,
	} {
		file := netFile(t, head+line+"\n")
		for _, verb := range []string{"up", "check", "diff", "down"} {
			want(t, exitUsage, []string{text}, verb, file)
		}
	}
}

func TestFailedCheck(t *testing.T) {
	file := netFile(t, `
sandboxes: [{name: a}]
checks:
  - {from: a, ping: 127.0.0.1}
  - {from: a, tcp: "127.0.0.1:9"}
  - {from: a, ping: 192.0.2.1, expect: unreachable}
`)
	defer runOSL(t, "down", file)
	out := want(t, exitFailed, []string{"1 of 3 checks failed; the network stays up", "osl down " + file}, "up", file)
	for _, line := range []string{"FROM CHECK EXPECT RESULT TIME DETAIL", "a ping 127.0.0.1 ok ok", "FAILED: refused", "unreachable unreachable"} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), line) {
			t.Errorf("no %q in\n%s", line, out)
		}
	}
	want(t, exitDone, []string{"a"}, "inspect", "a")
	want(t, exitDone, []string{"nothing to change"}, "up", "--no-check", file)
	// What a program reads says the same.
	code, out, _ := runOSL(t, "check", file, "-o", "json")
	var results []struct {
		Result string
		Passed bool
	}
	if err := json.Unmarshal([]byte(out), &results); err != nil || code != exitFailed {
		t.Fatalf("exit code %d, %v: %s", code, err, out)
	}
	if len(results) != 3 || !results[0].Passed || results[1].Passed || results[1].Result != "refused" || !results[2].Passed {
		t.Errorf("got %+v", results)
	}
}

// A network that is not up is no matter of its checks; of one that is in part each check that
// can not be made says so, once.
func TestCheckOfWhatIsNotUp(t *testing.T) {
	file := netFile(t, `
name: lab
sandboxes: [{name: a}, {name: b}, {name: host}]
links: [[a/e, b/e]]
checks: [{from: host, ping: 192.0.2.1, timeout: 10ms}, {from: a, ping: 127.0.0.1}, {from: b, ping: 127.0.0.1}]
`)
	out := want(t, exitFailed, []string{`check: the network "lab" is not up, there is no sandbox of it (a, b); bring it up with: osl up ` + file}, "check", file)
	if out != "" {
		t.Errorf("it was checked: %s", out)
	}
	want(t, exitDone, nil, "create", "a")
	defer runOSL(t, "rm", "a")
	_, out, errs := runOSL(t, "check", file, "-o", "json")
	if strings.Contains(errs, "no such sandbox") || strings.Count(out, `there is no sandbox \"b\"`) != 1 {
		t.Errorf("%s%s", out, errs)
	}
}

func TestMachineReadable(t *testing.T) {
	file := netFile(t, "sandboxes: [{name: a, labels: {tier: x}}]\n")
	defer runOSL(t, "down", file)
	for _, x := range [][]string{
		{"up", "--dry-run", file}, {"up", file}, {"up", file}, {"diff", file}, {"check", file}, {"ls"}, {"inspect", "a"},
		{"recover"}, {"rm", "--force", "nope"}, {"down", "--dry-run", file}, {"down", file}, {"down", file}, {"ls"}, {"version"}, {"schema"},
	} {
		var v any
		out := want(t, exitDone, nil, append(x, "-o", "json")...)
		if err := json.Unmarshal([]byte(out), &v); err != nil || v == nil {
			t.Errorf("osl %v -o json: %v: %s", x, err, out)
		}
		out = want(t, exitDone, nil, append(x, "-o", "yaml")...)
		if err := yaml.Unmarshal([]byte(out), &v); err != nil || v == nil {
			t.Errorf("osl %v -o yaml: %v: %s", x, err, out)
		}
	}
}

func TestStandardInput(t *testing.T) {
	const text = "sandboxes: [{name: a}]\n"
	for _, x := range []struct {
		verb, text, want string
		code             int
	}{
		{"up", text, "created 1 sandbox (a)", exitDone},
		{"down", text, "removed 1 sandbox (a)", exitDone},
		{"up", "sandboxs: []\n", "<stdin>:1: ", exitUsage},
	} {
		var out bytes.Buffer
		if code := Run(t.Context(), []string{x.verb, "-"}, strings.NewReader(x.text), &out, &out); code != x.code || !strings.Contains(out.String(), x.want) {
			t.Errorf("%s: exit code %d: %s", x.verb, code, out.String())
		}
	}
}

func TestCreateAllOrNone(t *testing.T) {
	want(t, exitDone, nil, "create", "b")
	defer runOSL(t, "rm", "b")
	want(t, exitFailed, []string{"exists already"}, "create", "a", "b", "c")
	want(t, exitFailed, []string{"exists already"}, "create", "--dry-run", "a", "b")
	if out := want(t, exitDone, nil, "ls"); strings.Contains(out, "a ") || strings.Contains(out, "c ") {
		t.Errorf("left behind:\n%s", out)
	}
	want(t, exitDone, []string{"ip netns add a\n", "ip netns add c\n"}, "create", "--dry-run", "a", "c")
	want(t, exitFailed, []string{"nothing was removed"}, "rm", "b", "nope")
	want(t, exitDone, []string{"ip netns del b"}, "rm", "--dry-run", "b")
	want(t, exitDone, []string{"b "}, "ls")
	want(t, exitDone, []string{"removed 1 sandbox (b)"}, "rm", "--force", "b", "nope")
}

func TestLinkOfTheHost(t *testing.T) {
	sh(t, "ip link add h0 type veth peer name h1 && ip link set h0 mtu 1400")
	defer sh(t, "ip link del h0")
	want(t, exitDone, nil, "create", "a")
	defer runOSL(t, "rm", "a")
	out := want(t, exitDone, nil, "link", "add", "a", "eth0", "--source", "h0", "--address", "10.0.0.1/24", "--dry-run")
	if !strings.Contains(out, "h0") || !strings.Contains(sh(t, "ip link show h0"), "h0") {
		t.Errorf("dry run: %s", out)
	}
	want(t, exitDone, []string{"added eth0"}, "link", "add", "a", "eth0", "--source", "h0", "--address", "10.0.0.1/24")
	want(t, exitDone, []string{"host/h0", "10.0.0.1/24", "1400"}, "inspect", "a")
	want(t, exitDone, []string{"eth0", "h0"}, "link", "rm", "a", "eth0", "--dry-run")
	want(t, exitDone, []string{"eth0"}, "inspect", "a")
	want(t, exitDone, []string{"h0"}, "link", "rm", "a", "eth0")
	if !strings.Contains(sh(t, "ip link show h0"), "mtu 1400") {
		t.Error("h0 is not home as it was")
	}
}

func TestOtherBase(t *testing.T) {
	base := t.TempDir()
	want(t, exitDone, []string{base + "/netns/a"}, "create", "--base", base, "a")
	defer runOSL(t, "rm", "--base", base, "a")
	if out := want(t, exitDone, nil, "ls"); strings.Contains(out, "a ") {
		t.Errorf("it is in the usual base path too:\n%s", out)
	}
	// A relative one is relative to the working directory.
	t.Chdir(base)
	want(t, exitDone, []string{"a "}, "ls", "--base", ".")
	t.Setenv("OSL_BASE", base)
	want(t, exitDone, []string{"a "}, "ls")
}

// A namespace that another program made stays, and osl says so.
func TestNamespaceOfAnother(t *testing.T) {
	sh(t, "mkdir -p /run/netns && touch /run/netns/other && unshare --net=/run/netns/other true")
	defer runOSL(t, "rm", "--force", "other")
	want(t, exitDone, nil, "link", "add", "other", "eth1", "--peer", "host/h9", "--address", "10.0.0.1/24")
	want(t, exitDone, []string{"eth1", "is not osl's and stays"}, "rm", "other", "--dry-run")
	want(t, exitDone, []string{"other: took out eth1; the namespace is not osl's and stays (osl rm --force ends it)"}, "rm", "other")
	want(t, exitFailed, []string{"osl: create /nowhere/web: not found: open /nowhere: no such file or directory\n"}, "create", "/nowhere/web")
	sh(t, "touch /run/netns/hosts && mount --bind /proc/self/ns/net /run/netns/hosts")
	want(t, exitDone, []string{"hosts: there was nothing of osl's; the namespace is not osl's and stays\n"}, "rm", "--force", "hosts")
	sh(t, "umount /run/netns/hosts && rm /run/netns/hosts")
	want(t, exitDone, []string{"other"}, "ls")
	want(t, exitDone, []string{"removed 1 sandbox (other)"}, "rm", "--force", "other")
	if out := want(t, exitDone, nil, "ls"); strings.Contains(out, "other ") {
		t.Errorf("it is there still:\n%s", out)
	}
}

func TestCompletion(t *testing.T) {
	want(t, exitDone, nil, "create", "web", "weft", "db")
	defer runOSL(t, "rm", "web", "weft", "db")
	for _, x := range []struct {
		args     []string
		want, no string
	}{
		{[]string{"inspect", "we"}, "web\nweft\n", "db"},
		{[]string{"rm", "web", ""}, "db\nweft\n", "web"},
		{[]string{"link", "add", ""}, "db\nweb\nweft\n", "\x00"},
		{[]string{"inspect", "web", ""}, "\x00", "weft"},
		{[]string{"up", ""}, "yaml\nyml\n", "web"},
		{[]string{"ls", "-o", ""}, "table\njson\nyaml\n", "web"},
		{[]string{"link", "add", "web", "e", "--type", ""}, "bridge\nveth\n", "web"},
	} {
		out := want(t, exitDone, nil, append([]string{"__complete"}, x.args...)...)
		if x.want != "\x00" && !strings.Contains(out, x.want) || strings.Contains(out, x.no) {
			t.Errorf("%v: %q", x.args, out)
		}
	}
	want(t, exitDone, []string{"bash completion"}, "completion", "bash")
}

// A number of a flag is decimal, whatever it begins with, and a route may be one host.
func TestFlagsOfLinkAdd(t *testing.T) {
	want(t, exitDone, nil, "create", "a")
	defer runOSL(t, "rm", "a")
	want(t, exitDone, nil, "link", "add", "a", "e", "--type", "bridge", "--mtu", "01400", "--route", "10.9.9.9")
	if out := want(t, exitDone, nil, "inspect", "a"); !strings.Contains(out, " 1400 ") || !strings.Contains(out, "10.9.9.9/32") {
		t.Errorf("got:\n%s", out)
	}
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err == nil {
		_ = f.Close()
		want(t, exitDone, nil, "link", "add", "a", "t", "--type", "tap", "--owner", "4000000000", "--owner-group", "4294967290")
		out := want(t, exitDone, nil, "export", "a")
		if !strings.Contains(out, "owner: 4000000000, owner_group: 4294967290") {
			t.Errorf("got:\n%s", out)
		}
		want(t, exitDone, nil, "diff", netFile(t, out))
	}
	want(t, exitDone, nil, "link", "add", "a", "g", "--type", "gre", "--local", "10.0.0.1", "--remote", "10.0.0.2", "--key", "3000000000", "--dry-run")
	want(t, exitDone, nil, "link", "add", "a", "v", "--type", "vrf", "--table", "4294967290", "--dry-run")
	want(t, exitFailed, []string{`network "a", but a sandbox; osl rm a removes it`}, "down", "a")
}

// Who is inside a sandbox, and brings its network up from there, is told to leave it.
func TestUpFromInside(t *testing.T) {
	file := netFile(t, "sandboxes: [{name: a}]\n")
	defer runOSL(t, "down", file)
	want(t, exitDone, nil, "up", file)
	t.Setenv(asCommand, "1")
	want(t, exitUsage, []string{"where osl runs inside a sandbox (osl exec), leave that first"}, "exec", "a", "--", self(t), "up", file)
}

// Checks that are over when the time of the verb is have their results, and others are none.
func TestChecksAtTheEndOfTime(t *testing.T) {
	refused := osl.Check{From: osl.HostName, TCP: netip.MustParseAddrPort("127.0.0.1:1"), Expect: check.Refused}
	silent := osl.Check{From: osl.HostName, UDP: netip.MustParseAddrPort("127.0.0.1:1"), Expect: check.Timeout}
	ctx, cancel := context.WithCancel(t.Context())
	results := check.Run(ctx, []osl.Check{refused}, nil)
	cancel()
	if err := verdict(ctx, results, "look"); err != nil || !results[0].Passed {
		t.Errorf("over: %v, %+v", err, results)
	}
	results = check.Run(ctx, []osl.Check{silent}, nil)
	if err := verdict(ctx, results, "look"); err == nil || !strings.Contains(err.Error(), "not tried to their end; look") || results[0].Passed {
		t.Errorf("not tried: %v, %+v", err, results)
	}
}

// What there is not to check is said, and no more.
func TestNoChecks(t *testing.T) {
	file := netFile(t, "sandboxes: [{name: a}]\n")
	defer runOSL(t, "down", file)
	want(t, exitDone, nil, "up", file)
	if code, out, errs := runOSL(t, "check", file); code != exitDone || out != "" || errs != "there are no checks in "+file+"\n" {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
}

func TestSchema(t *testing.T) {
	if out := want(t, exitDone, nil, "schema"); out != string(docs.Schema) {
		t.Error("not the schema of the repository")
	}
}

// The host is inspected by its name: what osl has there stands beside all else.
func TestInspectHost(t *testing.T) {
	file := netFile(t, "name: seen\nsandboxes: [{name: host, interfaces: [{name: br-seen, type: bridge, addresses: [192.0.2.1/24]}]}, {name: a}]")
	want(t, exitDone, nil, "up", file)
	defer runOSL(t, "down", file)
	out := want(t, exitDone, nil, "inspect", "host")
	if !strings.HasPrefix(out, "the host:") || !regexp.MustCompile(`br-seen +bridge .* made +192.0.2.1/24`).MatchString(out) {
		t.Errorf("got:\n%s", out)
	}
	var st osl.Status
	if err := json.Unmarshal([]byte(want(t, exitDone, nil, "inspect", "host", "-o", "json")), &st); err != nil || st.Name != osl.HostName {
		t.Errorf("it is called %q, %v", st.Name, err)
	}
}

// A watch prints each state, ends well when it is interrupted, and says so when
// the sandbox goes.
func TestInspectWatch(t *testing.T) {
	want(t, exitDone, nil, "create", "w")
	defer runOSL(t, "rm", "w")
	r, w := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	code := make(chan int, 1)
	go func() {
		code <- Run(ctx, []string{"inspect", "w", "-w", "-o", "json"}, strings.NewReader(""), w, io.Discard)
		w.Close()
	}()
	docs := json.NewDecoder(r)
	next := func(ifaces int) {
		t.Helper()
		var st osl.Status
		for {
			if err := docs.Decode(&st); err != nil {
				t.Fatal(err)
			}
			if len(st.Interfaces) == ifaces {
				return
			}
		}
	}
	next(0)
	want(t, exitDone, nil, "link", "add", "w", "br0", "--type", "bridge")
	next(1)
	stop()
	if got := <-code; got != exitDone {
		t.Errorf("interrupted: exit code %d", got)
	}
	var errs strings.Builder
	again, to := io.Pipe()
	docs = json.NewDecoder(again)
	go func() {
		code <- Run(t.Context(), []string{"inspect", "w", "--watch", "-o", "json"}, strings.NewReader(""), to, &errs)
		to.Close()
	}()
	next(1)
	want(t, exitDone, nil, "rm", "w")
	go io.Copy(io.Discard, again) // what was seen on the way
	if got := <-code; got != exitFailed || !strings.Contains(errs.String(), "was destroyed") {
		t.Errorf("a sandbox that goes: exit code %d, %q", got, errs.String())
	}
}
