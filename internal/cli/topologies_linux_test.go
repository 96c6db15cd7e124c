package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seed59451c2b/osl/internal/testnet"
)

// topologyChecks are what must hold in topologies that have no checks of their own.
var topologyChecks = map[string]string{
	"fabric":   `{from: h2, ping: 10.81.2.1}`,
	"lan":      `{from: host1, ping: 10.82.2.10}, {from: host3, tcp: "10.82.1.10:80", to: host1}`,
	"pods":     `{from: pod1, ping: 10.84.1.2}, {from: pod2, tcp: "10.84.0.2:80", to: pod1}`,
	"switches": `{from: h1, ping: 10.85.5.2}, {from: h2, ping: 10.85.8.2}, {from: h1, ping: 10.85.8.2, expect: unreachable}`,
	"wan":      `{from: a, ping: 172.16.0.2}, {from: b, ping: 172.16.0.1}`,
}

// Topologies of others, and those that say what these do, come up as they are: what is
// up is no difference, and nothing of it is left. OSL_TOPOLOGIES is a directory of
// further ones.
func TestFeatureTopologies(t *testing.T) {
	files, err := filepath.Glob("testdata/clab/*.clab.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("topologies: %v, %v", files, err)
	}
	if dir := os.Getenv("OSL_TOPOLOGIES"); dir != "" {
		more, err := filepath.Glob(filepath.Join(dir, "*.y*ml"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	var lacks error
	t.Run("each", func(t *testing.T) {
		// The kernel gives and takes link-local addresses of the host in its own time.
		sh(t, "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; ip link add ens3 type veth peer name ens3p")
		defer sh(t, "ip link del ens3")
		for _, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), ".clab.yml")
			t.Run(name, func(t *testing.T) {
				if err := upAndDown(t, t.TempDir(), file, topologyChecks[name]); err != nil {
					lacks = err
					t.Skip(err)
				}
			})
		}
	})
	testnet.Feature(t, "containerlab topologies", lacks)
}

// Public topologies of other programs, as network files of ours, and the examples that
// need more of the kernel.
func TestFeatureExamples(t *testing.T) {
	files, err := filepath.Glob("../../examples/topologies/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("examples: %v, %v", files, err)
	}
	sh(t, "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
	dir := t.TempDir()
	for _, file := range append(files, "../../examples/vrf.yaml", withKeys(t, dir, "../../examples/wireguard.yaml")) {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			testnet.Feature(t, "example "+name, upAndDown(t, dir, file, ""))
		})
	}
}

// upAndDown brings a file up and down, with its checks and further ones, and once more of
// what is exported to dir; the error says what the kernel lacks.
func upAndDown(t *testing.T, dir, file, checks string) error {
	t.Helper()
	before := traces(t)
	code, out, errs := runOSL(t, "up", file)
	if err := unsupported(errs); code != exitDone && err != nil {
		want(t, exitDone, []string{"nothing to take down"}, "down", file)
		eventually(t, func() []string { return difference(before, traces(t)) })
		return err
	}
	if code != exitDone {
		t.Fatalf("up: exit code %d\n%s%s", code, out, errs)
	}
	want(t, exitDone, []string{"nothing to change"}, "up", file)
	want(t, exitDone, []string{"nothing to change"}, "diff", file)
	if checks != "" {
		more := filepath.Join(t.TempDir(), "checks.yaml")
		if err := os.WriteFile(more, []byte("sandboxes: []\nchecks: ["+checks+"]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		want(t, exitDone, nil, "check", file, more)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimSuffix(filepath.Base(file), ".yaml")
	if m := regexp.MustCompile(`(?m)^name: *(\S+)`).FindSubmatch(text); m != nil {
		name = string(m[1])
	}
	madeOfExport(t, dir, name, file)
	want(t, exitDone, []string{"removed"}, "down", file)
	eventually(t, func() []string { return difference(before, traces(t)) })
	return nil
}

// unsupported returns what the kernel lacks by the words of an error, nil if it is none
// of that.
func unsupported(errs string) error {
	known := regexp.MustCompile(`the kernel lacks this type of link|it needs the module sch_|the kernel has no VRF|CONFIG_BRIDGE_VLAN_FILTERING|this kernel has no nftables`)
	if !strings.Contains(errs, "not supported on this system") || !known.MatchString(errs) {
		return nil
	}
	_, reason, _ := strings.Cut(errs, "osl: ")
	first, _, _ := strings.Cut(reason, "\n")
	return fmt.Errorf("%w: %s", errors.ErrUnsupported, first)
}
