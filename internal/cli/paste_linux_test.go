package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/shell"
	"github.com/seed59451c2b/osl/internal/testnet"
)

// awkward is a network whose names and values a shell would take apart.
const awkward = `
sandboxes:
  - name: it's-a$b
    sysctls: {ipv4.ip_local_port_range: "2000 60000"}
    interfaces:
      - {name: "e$0;x", addresses: [10.4.0.1/24], peer: "host/h&0", disable_arp_for_vip: true}
      - {name: "v.10", addresses: ["fd04::1/64"], sysctls: {ipv4.rp_filter: 2}}
  - name: other
links: [["it's-a$b/v.10", "other/p'1"]]
`

// What a dry run prints builds the same, where it is pasted: as root, and without.
func TestPaste(t *testing.T) {
	file := netFile(t, awkward)
	defer sh(t, "umount /run/netns") // ip netns mounts it on itself
	defer runOSL(t, "rm", "--force", "it's-a$b", "other")
	sh(t, want(t, exitDone, []string{"netns /proc/$$/ns/net"}, "up", "--dry-run", file))
	out := sh(t, `ip -n "it's-a\$b" -o addr; ip netns exec "it's-a\$b" sysctl -n net.ipv4.ip_local_port_range; ip -o link show 'h&0'`)
	for _, piece := range []string{"10.4.0.1/24", "fd04::1/64", "2000\t60000", "h&0"} {
		if !strings.Contains(out, piece) {
			t.Errorf("no %q in\n%s", piece, out)
		}
	}
}

func TestPasteWithoutRoot(t *testing.T) {
	u := newUser(t)
	file := netFile(t, awkward)
	if err := os.Chmod(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	code, plan := u.osl("up", "--dry-run", file)
	if code != exitDone || !strings.Contains(plan, "osl exec 'it'\\''s-a$b' -- ip addr add 10.4.0.1/24") {
		t.Fatalf("exit code %d:\n%s", code, plan)
	}
	script := "osl() { " + shell.Quote(self(t)) + " \"$@\"; }\nset -e\nosl create keep\n" + plan +
		"osl exec \"it's-a\\$b\" -- ip -o addr; osl exec host -- ip -o link show 'h&0'; osl exec other -- ip -o link show \"p'1\"\n"
	b, err := u.command("sh", "-c", script).CombinedOutput()
	for _, piece := range []string{"10.4.0.1/24", "fd04::1/64", "h&0", "p'1"} {
		if err != nil || !strings.Contains(string(b), piece) {
			t.Fatalf("%v: no %q in\n%s\n%s", err, piece, b, script)
		}
	}
	u.want(exitDone, "", "rm", "--force", "it's-a$b", "other", "keep")
}

// Machines read the kind of each change.
func TestKindOfChange(t *testing.T) {
	testnet.NeedTun(t)
	want(t, exitDone, nil, "create", "k")
	defer runOSL(t, "rm", "k")
	for _, args := range [][]string{{"link", "add", "-o", "json", "k", "br0", "--type", "bridge"}, {"link", "add", "k", "tap0", "--type", "tap", "-o", "json"}, {"link", "rm", "-o", "json", "k", "br0"}} {
		var changes osl.Changes
		if err := json.Unmarshal([]byte(want(t, exitDone, nil, args...)), &changes); err != nil || len(changes) == 0 {
			t.Fatalf("%v: %v", changes, err)
		}
		for _, c := range changes {
			if c.Kind != osl.ChangeEdit {
				t.Errorf("%v: the kind of %+v", args, c)
			}
		}
	}
	want(t, exitDone, []string{"tap0       tap"}, "inspect", "k")
}

// What is misspelt is offered as it is meant, and errors name the file's line.
func TestWhatIsMeant(t *testing.T) {
	want(t, exitDone, nil, "create", "web")
	defer runOSL(t, "rm", "web")
	for _, x := range []struct{ args, says string }{
		{"exec wbe -- true", `exec wbe (/run/netns/wbe): not found`}, {"exec wbe -- true", `did you mean "web"?`},
		{"inspect wbe", `did you mean "web"?`}, {"rm wbe", `did you mean "web"?`},
	} {
		want(t, exitFailed, []string{x.says}, strings.Split(x.args, " ")...)
	}
	want(t, exitUsage, []string{`did you mean "add"?`}, "link", "ad", "web", "x")
	file := netFile(t, "sandboxes:\n  - name: web\n    interfaces:\n      - {name: br0, type: bridge}\n      - name: e\n        master: br1\n        peer: host/e9\n")
	want(t, exitFailed, []string{"up " + file + ":6: ", `did you mean "br0"?`, "|         master: br1"}, "up", file)
	want(t, exitFailed, []string{"diff " + file + ":6: "}, "diff", file)
}
