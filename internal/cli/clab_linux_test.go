package cli

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed59451c2b/osl"
)

const topology = `name: clablab
mgmt: {network: none}
topology:
  nodes:
    sw: {kind: bridge}
    ca:
      kind: linux
      image: some/image
      exec:
        - ip addr add 10.0.0.1/24 dev eth1
        - ip -4 route show table main
        - ip link set eth1 group default
        - ip link set nothing up
        - ip link set nothing up || true
        - touch FILE
    cb: {kind: linux, exec: ["sh -c 'ip a a 10.0.0.2/24 dev eth1 && ip r a default via 10.0.0.1'"]}
  links:
    - endpoints: ["ca:eth1", "sw:p1"]
    - endpoints: ["cb:eth1", "sw:p2"]
`

// A containerlab topology goes up as it is: what its commands mean is the network's,
// the others are run in what was made, and none touches the machine's files unasked.
func TestContainerlab(t *testing.T) {
	dir := t.TempDir()
	file, mark := filepath.Join(dir, "lab.clab.yml"), filepath.Join(dir, "mark")
	if err := os.WriteFile(file, []byte(strings.Replace(topology, "FILE", mark, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	before := traces(t)
	out := want(t, exitFailed, []string{"created 3 sandboxes (ca, cb, clablab.segments)", "lab.clab.yml:2: passed over: mgmt", "lab.clab.yml:8: passed over: image",
		"1 command failed; the network stays up", "lab.clab.yml:13: in ca, ip link set nothing up: exit status 1", "lab.clab.yml:15: not run in ca"}, "up", file)
	if strings.Contains(out, "lab.clab.yml:14") {
		t.Errorf("what may fail is told:\n%s", out)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("a command that changes files was run")
	}
	want(t, exitDone, []string{"nothing to change"}, "diff", file)
	want(t, exitDone, []string{"nothing to change"}, "up", file) // runs nothing again
	if out := sh(t, "ip -n cb route"); !strings.Contains(out, "default via 10.0.0.1") {
		t.Error(out)
	}
	reaches(t, "cb", "10.0.0.1")
	native := filepath.Join(dir, "clablab.yaml")
	if err := os.WriteFile(native, []byte(want(t, exitDone, []string{"#   osl exec ca -- touch"}, "import", file)), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, exitDone, []string{"nothing to change"}, "diff", native)
	want(t, exitDone, []string{"removed 3 sandboxes"}, "down", file)
	want(t, exitFailed, []string{"1 command failed"}, "up", "--exec-all", file)
	if _, err := os.Stat(mark); err != nil {
		t.Errorf("--exec-all: %v", err)
	}
	want(t, exitDone, []string{"removed 3 sandboxes"}, "down", "clablab")
	eventually(t, func() []string { return difference(before, traces(t)) })
}

// reaches fails the test where an address does not answer a sandbox: nobody listens
// there, and it has to say so.
func reaches(t *testing.T, sandbox, address string) {
	t.Helper()
	n, err := osl.Open(t.Context(), sandbox)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := n.DialContext(ctx, "tcp", net.JoinHostPort(address, "9")); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%s does not reach %s: %v", sandbox, address, err)
	}
}

// The example goes up, and its nodes reach each other.
func TestExampleTopology(t *testing.T) {
	const file = "../../examples/office.clab.yml"
	before := traces(t)
	want(t, exitDone, []string{"created 5 sandboxes", "passed over: image (4 times): osl runs no containers"}, "up", file)
	want(t, exitDone, []string{"nothing to change"}, "diff", file)
	reaches(t, "desk", "10.70.2.2")
	reaches(t, "server", "10.70.1.3")
	want(t, exitDone, []string{"removed 5 sandboxes"}, "down", "office")
	eventually(t, func() []string { return difference(before, traces(t)) })
}
